//! What the owner of a device permits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::window::DAY_MINUTES;
use crate::{DayWindow, DeviceClass, Expression, Network, Weekday, Window};

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
    /// A window that ends where it starts, on one day of the week. Say `all_day` or `closed`.
    #[error("the window of {weekday} starts and ends at minute {minute}")]
    EmptyDayWindow {
        /// The day.
        weekday: Weekday,
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
    /// How far above `battery_percent_min`, in percent, the charge must be before what it suspended
    /// goes on, so that a charge at the limit does not start and stop it all the time.
    pub battery_percent_margin: f64,
    /// At this battery temperature, in degrees Celsius, nothing is lent. 45 °C is where charging a
    /// lithium cell begins to damage it.
    pub battery_celsius_max: f64,
    /// From this device temperature on, in degrees Celsius, less is lent: linearly down to nothing
    /// at `celsius_critical`.
    pub celsius_throttle: f64,
    /// At this device temperature, in degrees Celsius, nothing is lent.
    pub celsius_critical: f64,
    /// How far below a limit, in kelvin, a temperature must fall before what it slowed or suspended
    /// goes on as before.
    pub celsius_margin: f64,
    /// Above this load of the owner's own, a share of all processors from 0 to 1, work that runs is
    /// suspended. Our own load is not in it.
    pub owner_load_max: f64,
    /// Above this load of the owner's own nothing begins, and nothing that was suspended goes on.
    pub owner_load_start_max: f64,
    /// Largest share of all processors that is lent, 0 to 1.
    pub cpu_share_max: f64,
    /// Largest share of installed memory that is lent, 0 to 1.
    pub memory_share_max: f64,
    /// Largest bandwidth that is lent, in bits per second.
    pub bandwidth_bits_per_second_max: u64,
    /// Least speed of the network, in bits per second, where the device knows it.
    pub bandwidth_bits_per_second_min: u64,
    /// Most bytes that are sent and received in a day together; `"any"` for no limit.
    #[serde(with = "or_any")]
    pub bytes_per_day_max: Option<u64>,
    /// Networks over which work is done.
    pub networks: BTreeSet<Network>,
    /// Whether a network that is paid for by volume may be used.
    pub allow_metered: bool,
    /// Whether the screen must be dark.
    pub require_screen_off: bool,
    /// How long the user must have left the device alone before work begins. Zero asks for nothing.
    #[serde(rename = "user_idle_min_seconds", with = "seconds")]
    pub user_idle_min: Duration,
    /// How long the user must have left the device alone before work that he interrupted goes on.
    #[serde(rename = "user_idle_continue_min_seconds", with = "seconds")]
    pub user_idle_continue_min: Duration,
    /// The part of the day in which work is done; `"any"` for every hour.
    #[serde(with = "or_any")]
    pub window: Option<Window>,
    /// Days of the week that have something else than `window`.
    pub weekday_windows: BTreeMap<Weekday, DayWindow>,
    /// What must hold besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require: Option<Expression>,
    /// Longest session. A [`Harvester`](crate::Harvester) ends it then; [`decide`](Self::decide)
    /// does not know when it began and does not read this, nor the durations below.
    #[serde(rename = "session_max_seconds", with = "seconds")]
    pub session_max: Duration,
    /// Rest between sessions.
    #[serde(rename = "cooldown_seconds", with = "seconds")]
    pub cooldown: Duration,
    /// How long nothing must have spoken against it before suspended work goes on.
    #[serde(rename = "resume_delay_seconds", with = "seconds")]
    pub resume_delay: Duration,
    /// Longest suspension. Then the tasks write a checkpoint and leave.
    #[serde(rename = "suspend_max_seconds", with = "seconds")]
    pub suspend_max: Duration,
    /// How long tasks have for that checkpoint. Then they are killed.
    #[serde(rename = "vacate_max_seconds", with = "seconds")]
    pub vacate_max: Duration,
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
            battery_percent_margin: 5.0,
            require_charging: true,
            battery_celsius_max: 45.0,
            celsius_throttle: 55.0,
            celsius_critical: 65.0,
            celsius_margin: 5.0,
            // HTCondor's HighLoad and BackgroundLoad.
            owner_load_max: 0.5,
            owner_load_start_max: 0.3,
            cpu_share_max: 0.5,
            memory_share_max: 0.3,
            bandwidth_bits_per_second_max: 10_000_000,
            bandwidth_bits_per_second_min: 5_000_000,
            bytes_per_day_max: None,
            networks: BTreeSet::from([Network::Ethernet, Network::Wifi]),
            allow_metered: false,
            require_screen_off: true,
            user_idle_min: Duration::from_secs(5 * 60),
            user_idle_continue_min: Duration::from_secs(60),
            window: Some(Window {
                from_minute: 22 * 60,
                to_minute: 7 * 60,
            }),
            weekday_windows: BTreeMap::new(),
            require: None,
            session_max: Duration::from_secs(8 * 60 * 60),
            cooldown: Duration::from_secs(30 * 60),
            resume_delay: Duration::from_secs(10),
            // HTCondor's MaxSuspendTime. Its MaxVacateTime is the same, for programs of any kind; a
            // checkpoint of ours is a copy of a sandbox's memory.
            suspend_max: Duration::from_secs(10 * 60),
            vacate_max: Duration::from_secs(60),
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

    /// What suits a phone or a tablet: a warm battery ages, and mobile data is counted.
    ///
    /// The battery's limit of 40 °C and the owner's load of 25 % are BOINC's for Android, whose
    /// least charge of 90 % is here the charge from which on the device lends fully.
    #[must_use]
    pub fn phone() -> Self {
        Self {
            battery_percent_min: 50.0,
            battery_percent_optimal: 90.0,
            battery_celsius_max: 40.0,
            celsius_throttle: 45.0,
            celsius_critical: 55.0,
            owner_load_max: 0.25,
            owner_load_start_max: 0.15,
            cpu_share_max: 0.35,
            memory_share_max: 0.15,
            bytes_per_day_max: Some(100_000_000),
            resume_delay: Duration::from_secs(60),
            suspend_max: Duration::from_secs(2 * 60),
            vacate_max: Duration::from_secs(15),
            ..Self::default()
        }
    }

    /// The defaults for a class of devices: [`phone`](Self::phone) or [`default`](Self::default).
    #[must_use]
    pub fn for_class(class: DeviceClass) -> Self {
        match class {
            DeviceClass::Phone => Self::phone(),
            DeviceClass::Laptop | DeviceClass::Desktop | DeviceClass::Server => Self::default(),
        }
    }

    /// Whether the week's windows are open at a minute of a day; `None` if the answer hangs on the
    /// day of the week and that is unknown.
    #[must_use]
    pub fn is_open(&self, minute_of_day: u16, weekday: Option<Weekday>) -> Option<bool> {
        if self.weekday_windows.is_empty() {
            return Some(
                self.window
                    .is_none_or(|window| window.contains(minute_of_day)),
            );
        }
        let weekday = weekday?;
        Some(
            self.window_of(weekday).contains_evening(minute_of_day)
                || self
                    .window_of(weekday.before())
                    .contains_morning(minute_of_day),
        )
    }

    /// What a day of the week has.
    #[must_use]
    pub fn window_of(&self, weekday: Weekday) -> DayWindow {
        match self.weekday_windows.get(&weekday) {
            Some(window) => *window,
            None => self.window.map_or(DayWindow::AllDay, DayWindow::Window),
        }
    }

    /// Checks that the settings make sense together.
    ///
    /// # Errors
    ///
    /// [`PolicyError`] for the first setting that is not finite, out of range, zero where that
    /// forbids everything, or reversed against its partner; for a window without length, and for
    /// an allowed network that cannot carry anything. Durations in it are in seconds.
    pub fn validate(&self) -> Result<(), PolicyError> {
        const ABSOLUTE_ZERO: f64 = -273.15;
        // Longer than any of them makes sense, and short enough to be added to any time.
        const SECONDS_MAX: f64 = 366.0 * 86_400.0;
        // TOML's integers have a sign.
        const INTEGER_MAX: u64 = i64::MAX as u64;
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
            (
                "battery_percent_margin",
                self.battery_percent_margin,
                0.0,
                100.0 - self.battery_percent_min.clamp(0.0, 100.0),
            ),
            ("celsius_margin", self.celsius_margin, 0.0, 50.0),
            ("owner_load_max", self.owner_load_max, 0.0, 1.0),
            ("owner_load_start_max", self.owner_load_start_max, 0.0, 1.0),
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
        for (field, duration) in [
            ("user_idle_min_seconds", self.user_idle_min),
            (
                "user_idle_continue_min_seconds",
                self.user_idle_continue_min,
            ),
            ("session_max_seconds", self.session_max),
            ("cooldown_seconds", self.cooldown),
            ("resume_delay_seconds", self.resume_delay),
            ("suspend_max_seconds", self.suspend_max),
            ("vacate_max_seconds", self.vacate_max),
            ("reading_age_max_seconds", self.reading_age_max),
        ] {
            let value = duration.as_secs_f64();
            if value > SECONDS_MAX {
                return Err(PolicyError::OutOfRange {
                    field,
                    value,
                    low: 0.0,
                    high: SECONDS_MAX,
                });
            }
        }
        for (field, value) in [
            (
                "bandwidth_bits_per_second_max",
                self.bandwidth_bits_per_second_max,
            ),
            ("bytes_per_day_max", self.bytes_per_day_max.unwrap_or(0)),
        ] {
            if value > INTEGER_MAX {
                return Err(PolicyError::OutOfRange {
                    field,
                    value: value as f64,
                    low: 0.0,
                    high: INTEGER_MAX as f64,
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
        if self.celsius_throttle >= self.celsius_critical {
            return Err(PolicyError::Reversed {
                lower_field: "celsius_throttle",
                lower: self.celsius_throttle,
                upper_field: "celsius_critical",
                upper: self.celsius_critical,
            });
        }
        for (lower_field, lower, upper_field, upper) in [
            (
                "battery_percent_min",
                self.battery_percent_min,
                "battery_percent_optimal",
                self.battery_percent_optimal,
            ),
            (
                "owner_load_start_max",
                self.owner_load_start_max,
                "owner_load_max",
                self.owner_load_max,
            ),
            (
                "user_idle_continue_min_seconds",
                self.user_idle_continue_min.as_secs_f64(),
                "user_idle_min_seconds",
                self.user_idle_min.as_secs_f64(),
            ),
            (
                "bandwidth_bits_per_second_min",
                self.bandwidth_bits_per_second_min as f64,
                "bandwidth_bits_per_second_max",
                self.bandwidth_bits_per_second_max as f64,
            ),
        ] {
            if lower > upper {
                return Err(PolicyError::Reversed {
                    lower_field,
                    lower,
                    upper_field,
                    upper,
                });
            }
        }
        for network in [Network::Unknown, Network::Offline] {
            if self.networks.contains(&network) {
                return Err(PolicyError::UnusableNetwork { network });
            }
        }
        if let Some(window) = self.window {
            check_minutes("window", window)?;
            if window.from_minute == window.to_minute {
                return Err(PolicyError::EmptyWindow {
                    minute: window.from_minute,
                });
            }
        }
        for (weekday, window) in &self.weekday_windows {
            let DayWindow::Window(window) = *window else {
                continue;
            };
            check_minutes("weekday_windows", window)?;
            if window.from_minute == window.to_minute {
                return Err(PolicyError::EmptyDayWindow {
                    weekday: *weekday,
                    minute: window.from_minute,
                });
            }
        }
        Ok(())
    }
}

fn check_minutes(field: &'static str, window: Window) -> Result<(), PolicyError> {
    for minute in [window.from_minute, window.to_minute] {
        if minute >= DAY_MINUTES {
            return Err(PolicyError::OutOfRange {
                field,
                value: f64::from(minute),
                low: 0.0,
                high: f64::from(DAY_MINUTES - 1),
            });
        }
    }
    Ok(())
}

/// A limit that may be left away: `"any"` or null. TOML has no null, and a field that is not there
/// means its default.
mod or_any {
    use std::fmt;
    use std::marker::PhantomData;

    use serde::de::value::{MapAccessDeserializer, U64Deserializer};
    use serde::de::{self, MapAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        limit: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match limit {
            Some(limit) => limit.serialize(serializer),
            None => serializer.serialize_str("any"),
        }
    }

    pub(super) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        struct Limit<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Limit<T> {
            type Value = Option<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a limit or \"any\"")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                if text == "any" {
                    return Ok(None);
                }
                Err(E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
                T::deserialize(U64Deserializer::new(value)).map(Some)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
                match u64::try_from(value) {
                    Ok(value) => self.visit_u64(value),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(value), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Some)
            }
        }

        deserializer.deserialize_any(Limit(PhantomData))
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
        assert_eq!(HarvestPolicy::phone().validate(), Ok(()));
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
            refused(|p| p.user_idle_continue_min = Duration::from_secs(301)),
            PolicyError::Reversed {
                lower_field: "user_idle_continue_min_seconds",
                lower: 301.0,
                upper_field: "user_idle_min_seconds",
                upper: 300.0
            }
        );
        for (field, change) in [
            (
                "cooldown_seconds",
                (|p| p.cooldown = Duration::MAX) as fn(&mut HarvestPolicy),
            ),
            ("bytes_per_day_max", |p| {
                p.bytes_per_day_max = Some(u64::MAX);
            }),
            ("bandwidth_bits_per_second_max", |p| {
                p.bandwidth_bits_per_second_max = u64::MAX;
            }),
        ] {
            assert!(
                matches!(
                    refused(change),
                    PolicyError::OutOfRange { field: named, .. } if named == field
                ),
                "{field}"
            );
        }
        for (field, change) in [
            (
                "owner_load_start_max",
                (|p| p.owner_load_max = 0.1) as fn(&mut HarvestPolicy),
            ),
            ("bandwidth_bits_per_second_min", |p| {
                p.bandwidth_bits_per_second_max = 1;
            }),
        ] {
            assert!(
                matches!(
                    refused(change),
                    PolicyError::Reversed { lower_field, .. } if lower_field == field
                ),
                "{field}"
            );
        }
        assert_eq!(
            refused(|p| {
                let window = Window {
                    from_minute: 9,
                    to_minute: 9,
                };
                p.weekday_windows
                    .insert(Weekday::Friday, DayWindow::Window(window));
            }),
            PolicyError::EmptyDayWindow {
                weekday: Weekday::Friday,
                minute: 9
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
                field: "window",
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

    #[test]
    fn a_limit_may_be_left_away_in_words() {
        for text in [
            r#"{"window": "any", "bytes_per_day_max": "any"}"#,
            r#"{"window": null, "bytes_per_day_max": null}"#,
        ] {
            let policy: HarvestPolicy = serde_json::from_str(text).unwrap();
            assert_eq!((policy.window, policy.bytes_per_day_max), (None, None));
            let text = serde_json::to_string(&policy).unwrap();
            assert_eq!(
                serde_json::from_str::<HarvestPolicy>(&text).unwrap(),
                policy
            );
        }
        for wrong in [
            r#"{"window": "never"}"#,
            r#"{"bytes_per_day_max": -1}"#,
            r#"{"window": 3}"#,
        ] {
            assert!(
                serde_json::from_str::<HarvestPolicy>(wrong).is_err(),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_opens() {
        let mut policy = HarvestPolicy::default();
        policy
            .weekday_windows
            .insert(Weekday::Saturday, DayWindow::AllDay);
        policy
            .weekday_windows
            .insert(Weekday::Sunday, DayWindow::Closed);
        let open = |day, hour: u16| policy.is_open(hour * 60, Some(day)).unwrap();
        assert!(open(Weekday::Friday, 23) && !open(Weekday::Friday, 12));
        assert!(open(Weekday::Saturday, 3) && open(Weekday::Saturday, 12));
        // Saturday is over at midnight, and Sunday opens nothing, neither its evening nor what would
        // reach into Monday.
        assert!(!open(Weekday::Sunday, 3) && !open(Weekday::Sunday, 23));
        assert!(!open(Weekday::Monday, 3) && open(Weekday::Monday, 23));
        assert!(open(Weekday::Tuesday, 3));
        assert_eq!(policy.is_open(0, None), None);
        assert_eq!(HarvestPolicy::default().is_open(0, None), Some(true));
    }

    #[test]
    fn a_phone_is_treated_more_carefully_than_others() {
        let (phone, other) = (HarvestPolicy::phone(), HarvestPolicy::default());
        assert_eq!(HarvestPolicy::for_class(DeviceClass::Phone), phone);
        assert_eq!(HarvestPolicy::for_class(DeviceClass::Laptop), other);
        assert!(phone.battery_percent_min > other.battery_percent_min);
        assert!(phone.battery_celsius_max < other.battery_celsius_max);
        assert!(phone.celsius_critical < other.celsius_critical);
        assert!(phone.cpu_share_max < other.cpu_share_max);
        assert!(phone.owner_load_max < other.owner_load_max);
        assert!(phone.vacate_max < other.vacate_max);
        assert!(phone.bytes_per_day_max.is_some());
    }
}
