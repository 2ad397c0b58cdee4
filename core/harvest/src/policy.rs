//! What the owner of a device permits.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Network;

/// Minutes in a day.
pub(crate) const DAY_MINUTES: u16 = 24 * 60;

/// Why a policy makes no sense.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum PolicyError {
    /// A setting is not a number, or infinite.
    #[error("{field} is not a finite number")]
    NotFinite {
        /// The setting.
        field: &'static str,
    },
    /// A setting is outside its range.
    #[error("{field} is {value}, outside {low} to {high}")]
    OutOfRange {
        /// The setting.
        field: &'static str,
        /// What it is set to.
        value: f64,
        /// Smallest value allowed.
        low: f64,
        /// Largest value allowed.
        high: f64,
    },
    /// Two settings are the wrong way round.
    #[error("{lower_field} ({lower}) must be below {upper_field} ({upper})")]
    Reversed {
        /// The setting that must be smaller.
        lower_field: &'static str,
        /// What it is set to.
        lower: f64,
        /// The setting that must be larger.
        upper_field: &'static str,
        /// What it is set to.
        upper: f64,
    },
    /// A setting must be more than zero.
    #[error("{field} is zero, so nothing would ever be allowed")]
    Zero {
        /// The setting.
        field: &'static str,
    },
    /// A window that ends where it starts. Leave the window out to allow every hour.
    #[error("the window starts and ends at minute {minute}")]
    EmptyWindow {
        /// Start and end in minutes since midnight.
        minute: u16,
    },
    /// `offline` and `unknown` cannot be allowed networks: nothing can be lent over them.
    #[error("{network} cannot be an allowed network")]
    UnusableNetwork {
        /// The entry to take out.
        network: Network,
    },
}

/// A part of the day, in local time. It may reach over midnight.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// First minute inside, since midnight, 0 to 1439.
    pub from_minute: u16,
    /// First minute outside again, since midnight, 0 to 1439.
    pub to_minute: u16,
}

impl Window {
    /// Whether `minute_of_day` lies inside.
    #[must_use]
    pub const fn contains(self, minute_of_day: u16) -> bool {
        if self.from_minute <= self.to_minute {
            self.from_minute <= minute_of_day && minute_of_day < self.to_minute
        } else {
            self.from_minute <= minute_of_day || minute_of_day < self.to_minute
        }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (self.from_minute, self.to_minute);
        write!(
            f,
            "{:02}:{:02} to {:02}:{:02}",
            from / 60,
            from % 60,
            to / 60,
            to % 60
        )
    }
}

/// What the owner of a device permits. The defaults suit a phone that charges at night.
///
/// In a configuration file durations are seconds, in fields that end in `_seconds`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HarvestPolicy {
    /// Whether objections count. When false everything is allowed and the objections are only
    /// named, see [`HarvestPolicy::always`].
    pub enforced: bool,
    /// Below this charge, in percent, nothing is lent.
    pub battery_percent_min: f64,
    /// Below this charge, in percent, less is lent: in proportion to the charge.
    pub battery_percent_optimal: f64,
    /// Whether a device with a battery must be connected to power.
    pub require_charging: bool,
    /// At this battery temperature, in degrees Celsius, nothing is lent. 45 °C is where charging a
    /// lithium cell begins to damage it.
    pub battery_celsius_max: f64,
    /// From this device temperature on, in degrees Celsius, less is lent: linearly down to nothing
    /// at `celsius_critical`.
    pub celsius_throttle: f64,
    /// At this device temperature, in degrees Celsius, nothing is lent.
    pub celsius_critical: f64,
    /// Largest share of all processors that is lent, 0 to 1.
    pub cpu_share_max: f64,
    /// Largest share of installed memory that is lent, 0 to 1.
    pub memory_share_max: f64,
    /// Largest bandwidth that is lent, in bits per second.
    pub bandwidth_bits_per_second_max: u64,
    /// Networks over which work is done.
    pub networks: BTreeSet<Network>,
    /// Whether a network that is paid for by volume may be used.
    pub allow_metered: bool,
    /// Whether the screen must be dark.
    pub require_screen_off: bool,
    /// How long the user must have left the device alone. Zero asks for nothing.
    #[serde(rename = "user_idle_min_seconds", with = "seconds")]
    pub user_idle_min: Duration,
    /// The part of the day in which work is done; without one, every hour.
    pub window: Option<Window>,
    /// Longest session. The host ends a session then; [`decide`](Self::decide) does not know when
    /// it began and does not read this.
    #[serde(rename = "session_max_seconds", with = "seconds")]
    pub session_max: Duration,
    /// Rest between sessions. For the host, like `session_max`.
    #[serde(rename = "cooldown_seconds", with = "seconds")]
    pub cooldown: Duration,
    /// Readings older than this are refused.
    #[serde(rename = "reading_age_max_seconds", with = "seconds")]
    pub reading_age_max: Duration,
}

impl Default for HarvestPolicy {
    fn default() -> Self {
        Self {
            enforced: true,
            battery_percent_min: 20.0,
            battery_percent_optimal: 50.0,
            require_charging: true,
            battery_celsius_max: 45.0,
            celsius_throttle: 55.0,
            celsius_critical: 65.0,
            cpu_share_max: 0.5,
            memory_share_max: 0.3,
            bandwidth_bits_per_second_max: 10_000_000,
            networks: BTreeSet::from([Network::Ethernet, Network::Wifi]),
            allow_metered: false,
            require_screen_off: true,
            user_idle_min: Duration::from_secs(5 * 60),
            window: Some(Window {
                from_minute: 22 * 60,
                to_minute: 7 * 60,
            }),
            session_max: Duration::from_secs(8 * 60 * 60),
            cooldown: Duration::from_secs(30 * 60),
            reading_age_max: Duration::from_secs(30),
        }
    }
}

impl HarvestPolicy {
    /// Allows whatever the state is, for a machine whose owner has given it to this work.
    ///
    /// It is the default policy with `enforced` off: decisions still name what the default would
    /// have objected to, and the shares of processor, memory and bandwidth still limit the budget.
    #[must_use]
    pub fn always() -> Self {
        Self {
            enforced: false,
            ..Self::default()
        }
    }

    /// Checks that the settings make sense together.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] for the first setting that is not finite, out of range, zero where that
    /// forbids everything, or reversed against its partner; for a window without length, and for
    /// an allowed network that cannot carry anything.
    pub fn validate(&self) -> Result<(), PolicyError> {
        const ABSOLUTE_ZERO: f64 = -273.15;
        let ranged = [
            ("battery_percent_min", self.battery_percent_min, 0.0, 100.0),
            (
                "battery_percent_optimal",
                self.battery_percent_optimal,
                0.0,
                100.0,
            ),
            (
                "battery_celsius_max",
                self.battery_celsius_max,
                ABSOLUTE_ZERO,
                200.0,
            ),
            (
                "celsius_throttle",
                self.celsius_throttle,
                ABSOLUTE_ZERO,
                200.0,
            ),
            (
                "celsius_critical",
                self.celsius_critical,
                ABSOLUTE_ZERO,
                200.0,
            ),
            ("cpu_share_max", self.cpu_share_max, 0.0, 1.0),
            ("memory_share_max", self.memory_share_max, 0.0, 1.0),
        ];
        for (field, value, low, high) in ranged {
            if !value.is_finite() {
                return Err(PolicyError::NotFinite { field });
            }
            if !(low..=high).contains(&value) {
                return Err(PolicyError::OutOfRange {
                    field,
                    value,
                    low,
                    high,
                });
            }
        }
        for (field, is_zero) in [
            ("cpu_share_max", self.cpu_share_max <= 0.0),
            ("memory_share_max", self.memory_share_max <= 0.0),
            (
                "bandwidth_bits_per_second_max",
                self.bandwidth_bits_per_second_max == 0,
            ),
            ("session_max", self.session_max.is_zero()),
            ("reading_age_max", self.reading_age_max.is_zero()),
        ] {
            if is_zero {
                return Err(PolicyError::Zero { field });
            }
        }
        if self.battery_percent_min > self.battery_percent_optimal {
            return Err(PolicyError::Reversed {
                lower_field: "battery_percent_min",
                lower: self.battery_percent_min,
                upper_field: "battery_percent_optimal",
                upper: self.battery_percent_optimal,
            });
        }
        if self.celsius_throttle >= self.celsius_critical {
            return Err(PolicyError::Reversed {
                lower_field: "celsius_throttle",
                lower: self.celsius_throttle,
                upper_field: "celsius_critical",
                upper: self.celsius_critical,
            });
        }
        for network in [Network::Unknown, Network::Offline] {
            if self.networks.contains(&network) {
                return Err(PolicyError::UnusableNetwork { network });
            }
        }
        if let Some(window) = self.window {
            for (field, minute) in [
                ("window.from_minute", window.from_minute),
                ("window.to_minute", window.to_minute),
            ] {
                if minute >= DAY_MINUTES {
                    return Err(PolicyError::OutOfRange {
                        field,
                        value: f64::from(minute),
                        low: 0.0,
                        high: f64::from(DAY_MINUTES - 1),
                    });
                }
            }
            if window.from_minute == window.to_minute {
                return Err(PolicyError::EmptyWindow {
                    minute: window.from_minute,
                });
            }
        }
        Ok(())
    }
}

/// Durations as seconds, whole where they are whole.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if duration.subsec_nanos() == 0 {
            serializer.serialize_u64(duration.as_secs())
        } else {
            serializer.serialize_f64(duration.as_secs_f64())
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut HarvestPolicy)) -> PolicyError {
        let mut policy = HarvestPolicy::default();
        change(&mut policy);
        policy.validate().unwrap_err()
    }

    #[test]
    fn the_default_and_always_are_valid() {
        assert_eq!(HarvestPolicy::default().validate(), Ok(()));
        assert_eq!(HarvestPolicy::always().validate(), Ok(()));
    }

    #[test]
    fn a_window_may_reach_over_midnight() {
        let night = HarvestPolicy::default().window.unwrap();
        assert_eq!(night.to_string(), "22:00 to 07:00");
        for (minute, inside) in [
            (21 * 60 + 59, false),
            (22 * 60, true),
            (0, true),
            (7 * 60 - 1, true),
            (7 * 60, false),
            (12 * 60, false),
        ] {
            assert_eq!(night.contains(minute), inside, "minute {minute}");
        }
        let day = Window {
            from_minute: 60,
            to_minute: 120,
        };
        assert!(day.contains(60) && day.contains(119));
        assert!(!day.contains(59) && !day.contains(120));
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!(
            refused(|p| p.celsius_throttle = f64::NAN),
            PolicyError::NotFinite {
                field: "celsius_throttle"
            }
        );
        assert_eq!(
            refused(|p| p.cpu_share_max = 1.5),
            PolicyError::OutOfRange {
                field: "cpu_share_max",
                value: 1.5,
                low: 0.0,
                high: 1.0
            }
        );
        assert_eq!(
            refused(|p| p.battery_percent_min = 60.0),
            PolicyError::Reversed {
                lower_field: "battery_percent_min",
                lower: 60.0,
                upper_field: "battery_percent_optimal",
                upper: 50.0
            }
        );
        assert_eq!(
            refused(|p| p.celsius_throttle = 65.0),
            PolicyError::Reversed {
                lower_field: "celsius_throttle",
                lower: 65.0,
                upper_field: "celsius_critical",
                upper: 65.0
            }
        );
        assert_eq!(
            refused(|p| p.reading_age_max = Duration::ZERO),
            PolicyError::Zero {
                field: "reading_age_max"
            }
        );
        assert_eq!(
            refused(|p| {
                p.window = Some(Window {
                    from_minute: 5,
                    to_minute: 5,
                });
            }),
            PolicyError::EmptyWindow { minute: 5 }
        );
        assert!(matches!(
            refused(|p| {
                p.window = Some(Window {
                    from_minute: 5,
                    to_minute: 1_440,
                });
            }),
            PolicyError::OutOfRange {
                field: "window.to_minute",
                ..
            }
        ));
        assert_eq!(
            refused(|p| {
                p.networks.insert(Network::Offline);
            }),
            PolicyError::UnusableNetwork {
                network: Network::Offline
            }
        );
    }

    #[test]
    fn a_policy_file_may_name_only_what_differs() {
        let policy: HarvestPolicy = serde_json::from_str(
            r#"{"user_idle_min_seconds": 90, "window": null, "networks": ["ethernet"]}"#,
        )
        .unwrap();
        assert_eq!(policy.user_idle_min, Duration::from_secs(90));
        assert_eq!(policy.window, None);
        assert_eq!(policy.networks, BTreeSet::from([Network::Ethernet]));
        assert_eq!(policy.cooldown, HarvestPolicy::default().cooldown);
        let text = serde_json::to_string(&policy).unwrap();
        assert_eq!(
            serde_json::from_str::<HarvestPolicy>(&text).unwrap(),
            policy
        );
        for wrong in [
            r#"{"battery_min": 20}"#,
            r#"{"cooldown_seconds": -1}"#,
            r#"{"window": {"from_minute": 1, "to_minute": 2, "zone": 3}}"#,
        ] {
            assert!(
                serde_json::from_str::<HarvestPolicy>(wrong).is_err(),
                "{wrong}"
            );
        }
    }
}
