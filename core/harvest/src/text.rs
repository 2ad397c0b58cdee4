//! Policies as their owners write them.

use thiserror::Error;
use toml::{Table, Value};

use crate::{Expression, ExpressionError, HarvestPolicy, PolicyError};

/// Longest text of a policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 64 << 10;

/// Why a text is no policy.
#[non_exhaustive]
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PolicyTextError {
    /// It is too long.
    #[error("the policy has {bytes} bytes, at most {bytes_max} are accepted")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
        /// Longest accepted.
        bytes_max: usize,
    },
    /// A setting that does not exist, or of another place.
    #[error("unknown setting {}", shown(.key))]
    UnknownKey {
        /// Where it stands: tables before it are joined by dots.
        key: String,
    },
    /// It is not TOML, or a setting has a value of another kind.
    #[error(transparent)]
    Toml(Box<toml::de::Error>),
    /// What it requires is no expression.
    #[error("require: {0}")]
    Require(#[from] ExpressionError),
    /// Its settings make no sense together.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// A key for people: a stranger's key may be as long as the text.
fn shown(key: &str) -> String {
    const CHARS_MAX: usize = 100;
    match key.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{:?}…", &key[..end]),
        None => format!("{key:?}"),
    }
}

/// Settings and what may stand below them. A test compares this with what a policy writes.
const KEYS: &[(&str, Below)] = &[
    ("enforced", Below::Nothing),
    ("battery_percent_min", Below::Nothing),
    ("battery_percent_optimal", Below::Nothing),
    ("battery_percent_margin", Below::Nothing),
    ("require_charging", Below::Nothing),
    ("battery_celsius_max", Below::Nothing),
    ("celsius_throttle", Below::Nothing),
    ("celsius_critical", Below::Nothing),
    ("celsius_margin", Below::Nothing),
    ("owner_load_max", Below::Nothing),
    ("owner_load_start_max", Below::Nothing),
    ("cpu_share_max", Below::Nothing),
    ("memory_share_max", Below::Nothing),
    ("bandwidth_bits_per_second_max", Below::Nothing),
    ("bandwidth_bits_per_second_min", Below::Nothing),
    ("bytes_per_day_max", Below::Nothing),
    ("networks", Below::Nothing),
    ("allow_metered", Below::Nothing),
    ("require_screen_off", Below::Nothing),
    ("user_idle_min_seconds", Below::Nothing),
    ("user_idle_continue_min_seconds", Below::Nothing),
    ("window", Below::Keys(MINUTES)),
    ("weekday_windows", Below::Keys(DAYS)),
    ("require", Below::Nothing),
    ("session_max_seconds", Below::Nothing),
    ("cooldown_seconds", Below::Nothing),
    ("resume_delay_seconds", Below::Nothing),
    ("suspend_max_seconds", Below::Nothing),
    ("vacate_max_seconds", Below::Nothing),
    ("reading_age_max_seconds", Below::Nothing),
];

const MINUTES: &[(&str, Below)] = &[
    ("from_minute", Below::Nothing),
    ("to_minute", Below::Nothing),
];

const DAY: &[(&str, Below)] = &[("window", Below::Keys(MINUTES))];

const DAYS: &[(&str, Below)] = &[
    ("monday", Below::Keys(DAY)),
    ("tuesday", Below::Keys(DAY)),
    ("wednesday", Below::Keys(DAY)),
    ("thursday", Below::Keys(DAY)),
    ("friday", Below::Keys(DAY)),
    ("saturday", Below::Keys(DAY)),
    ("sunday", Below::Keys(DAY)),
];

#[derive(Clone, Copy)]
enum Below {
    Nothing,
    Keys(&'static [(&'static str, Below)]),
}

/// The first key of `table` that is not one of `keys`.
fn unknown_key(table: &Table, keys: &[(&str, Below)]) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let Some((_, below)) = keys.iter().find(|(known, _)| known == key) else {
            return Some(key.clone());
        };
        match (below, value) {
            (Below::Keys(keys), Value::Table(table)) => {
                unknown_key(table, keys).map(|inner| format!("{key}.{inner}"))
            }
            _ => None,
        }
    })
}

impl HarvestPolicy {
    /// Reads a policy from TOML. What it does not name keeps its default.
    ///
    /// ```
    /// use fogcompute_harvest::HarvestPolicy;
    ///
    /// let policy = HarvestPolicy::from_toml(
    ///     r#"
    ///     battery_percent_min = 35.0
    ///     require = "battery > 60 || !on_call"
    ///     weekday_windows.sunday = "all_day"
    ///     weekday_windows.monday = { window = { from_minute = 1380, to_minute = 300 } }
    ///     "#,
    /// )?;
    /// assert_eq!(policy.battery_percent_min, 35.0);
    /// assert!(HarvestPolicy::from_toml("batery_percent_min = 35.0").is_err());
    /// # Ok::<(), fogcompute_harvest::PolicyTextError>(())
    /// ```
    ///
    /// # Errors
    /// [`PolicyTextError`].
    pub fn from_toml(text: &str) -> Result<Self, PolicyTextError> {
        Self::from_toml_over(&Self::default(), text)
    }

    /// The same, but what the text does not name is as in `base`: for a phone's owner,
    /// [`HarvestPolicy::phone`].
    ///
    /// # Errors
    /// [`PolicyTextError`]; also if the base contradicts itself.
    ///
    /// # Panics
    /// Never.
    pub fn from_toml_over(base: &Self, text: &str) -> Result<Self, PolicyTextError> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(PolicyTextError::TooLong {
                bytes: text.len(),
                bytes_max: POLICY_BYTES_MAX,
            });
        }
        let toml = |error| PolicyTextError::Toml(Box::new(error));
        let table: Table = toml::from_str(text).map_err(toml)?;
        if let Some(key) = unknown_key(&table, KEYS) {
            return Err(PolicyTextError::UnknownKey { key });
        }
        if let Some(Value::String(require)) = table.get("require") {
            Expression::parse(require)?;
        }
        // Read by itself first: errors then show the line, which a table no longer knows.
        toml::from_str::<Self>(text).map_err(toml)?;
        base.validate()?;
        let mut merged =
            Table::try_from(base).expect("what is valid has numbers that TOML can hold");
        merged.extend(table);
        let policy: Self = merged.try_into().map_err(toml)?;
        policy.validate()?;
        Ok(policy)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::{DayWindow, Weekday, Window};

    /// A policy whose every field is written.
    fn full() -> HarvestPolicy {
        let mut policy = HarvestPolicy {
            require: Some(Expression::parse("wifi").unwrap()),
            bytes_per_day_max: Some(5),
            ..HarvestPolicy::default()
        };
        for weekday in Weekday::ALL {
            let window = DayWindow::Window(Window {
                from_minute: 1,
                to_minute: 2,
            });
            policy.weekday_windows.insert(weekday, window);
        }
        policy
    }

    fn keys_of(table: &Table) -> BTreeSet<String> {
        table
            .iter()
            .flat_map(|(key, value)| {
                let below = match value {
                    Value::Table(table) => keys_of(table),
                    _ => BTreeSet::new(),
                };
                let below = below.into_iter().map(move |inner| format!("{key}.{inner}"));
                std::iter::once(key.clone()).chain(below)
            })
            .collect()
    }

    fn keys_of_list(keys: &[(&str, Below)]) -> BTreeSet<String> {
        keys.iter()
            .flat_map(|(key, below)| {
                let below = match below {
                    Below::Keys(keys) => keys_of_list(keys),
                    Below::Nothing => BTreeSet::new(),
                };
                let below = below.into_iter().map(move |inner| format!("{key}.{inner}"));
                std::iter::once((*key).to_owned()).chain(below)
            })
            .collect()
    }

    #[test]
    fn known_settings_are_those_that_a_policy_writes() {
        let written = Table::try_from(full()).unwrap();
        assert_eq!(keys_of(&written), keys_of_list(KEYS));
    }

    #[test]
    fn every_policy_survives_being_written_and_read() {
        for policy in [
            HarvestPolicy::default(),
            HarvestPolicy::phone(),
            HarvestPolicy::always(),
            HarvestPolicy {
                window: None,
                ..full()
            },
            full(),
        ] {
            let text = toml::to_string(&policy).unwrap();
            assert_eq!(HarvestPolicy::from_toml(&text), Ok(policy.clone()));
            // Everything is named, so nothing of the base is left.
            let over = HarvestPolicy::from_toml_over(&HarvestPolicy::phone(), &text);
            assert_eq!(over, Ok(policy));
        }
    }

    #[test]
    fn what_a_text_does_not_name_is_as_in_the_base() {
        let phone = HarvestPolicy::phone();
        let text = "cooldown_seconds = 7\nbytes_per_day_max = \"any\"";
        let policy = HarvestPolicy::from_toml_over(&phone, text).unwrap();
        assert_eq!(
            policy,
            HarvestPolicy {
                cooldown: Duration::from_secs(7),
                bytes_per_day_max: None,
                ..phone
            }
        );
    }

    #[test]
    fn a_base_that_contradicts_itself_is_refused() {
        let base = HarvestPolicy {
            bytes_per_day_max: Some(u64::MAX),
            ..HarvestPolicy::default()
        };
        assert!(matches!(
            HarvestPolicy::from_toml_over(&base, ""),
            Err(PolicyTextError::Policy(PolicyError::OutOfRange { .. }))
        ));
    }

    #[test]
    fn unknown_settings_are_named() {
        for (text, key) in [
            ("batery = 3", "batery"),
            ("window.zone = 3", "window.zone"),
            (
                "weekday_windows.funday = \"closed\"",
                "weekday_windows.funday",
            ),
            (
                "weekday_windows.monday.window.to = 3",
                "weekday_windows.monday.window.to",
            ),
            ("[enforce]\nd = true", "enforce"),
        ] {
            assert_eq!(
                HarvestPolicy::from_toml(text),
                Err(PolicyTextError::UnknownKey {
                    key: key.to_owned()
                })
            );
        }
        let long = PolicyTextError::UnknownKey {
            key: "ü".repeat(1_000),
        };
        assert!(long.to_string().chars().count() < 150);
    }

    #[test]
    fn other_mistakes_are_told_apart() {
        let error = |text: &str| HarvestPolicy::from_toml(text).unwrap_err();
        for text in [
            "cpu_share_max = ",
            "cpu_share_max = \"much\"",
            "require = 3",
            "cooldown_seconds = -1",
            "networks = [\"pigeon\"]",
            "weekday_windows.monday = \"sometimes\"",
            "window = \"never\"",
            "enforced = true\nenforced = true",
        ] {
            assert!(matches!(error(text), PolicyTextError::Toml(_)), "{text}");
        }
        assert!(
            error("a = 1\ncooldown_seconds = -1")
                .to_string()
                .contains('a')
        );
        let text = error("enforced = true\ncooldown_seconds = -1").to_string();
        assert!(text.contains("line 2"), "{text}");
        assert_eq!(
            error("require = \"battery >\""),
            PolicyTextError::Require(Expression::parse("battery >").unwrap_err())
        );
        assert_eq!(
            error("celsius_throttle = 70.0"),
            PolicyTextError::Policy(PolicyError::Reversed {
                lower_field: "celsius_throttle",
                lower: 70.0,
                upper_field: "celsius_critical",
                upper: 65.0
            })
        );
        assert_eq!(
            error(&" ".repeat(POLICY_BYTES_MAX + 1)),
            PolicyTextError::TooLong {
                bytes: POLICY_BYTES_MAX + 1,
                bytes_max: POLICY_BYTES_MAX
            }
        );
    }
}
