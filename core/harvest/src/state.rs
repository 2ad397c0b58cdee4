//! What a host knows about its device at one moment.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use fogcompute_base::Instant;
use serde::{Deserialize, Serialize};

/// The device's battery.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Battery {
    /// Nobody could say whether there is one.
    #[default]
    Unknown,
    /// The device runs on mains power only.
    Absent,
    /// A battery was read.
    Present {
        /// Charge in percent, 0 to 100.
        level_percent: f64,
        /// Whether the device is connected to power.
        charging: bool,
    },
}

/// How the device reaches other devices.
#[derive(
    Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Nobody could say.
    #[default]
    Unknown,
    /// There is no network.
    Offline,
    /// A cable.
    Ethernet,
    /// A wireless local network.
    Wifi,
    /// A mobile operator's network.
    Cellular,
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Offline => "offline",
            Self::Ethernet => "ethernet",
            Self::Wifi => "wi-fi",
            Self::Cellular => "cellular",
        })
    }
}

/// What kind of device this is. It decides what an unknown reading means.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceClass {
    /// A phone or a tablet: held in a hand, on a battery, often on a mobile network.
    Phone,
    /// A portable computer.
    Laptop,
    /// A computer that stays where it is and has a user.
    Desktop,
    /// A computer nobody sits at.
    Server,
}

impl DeviceClass {
    /// Whether the device is carried about, so that its power and its network may change.
    #[must_use]
    pub const fn is_portable(self) -> bool {
        matches!(self, Self::Phone | Self::Laptop)
    }
}

/// One reading of a device's sensors. `None` and `Unknown` mean that a reading could not be taken.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceState {
    /// What kind of device this is.
    pub class: DeviceClass,
    /// Logical processors.
    pub cpu_cores: Option<u32>,
    /// Share of all processors that the owner's own work uses, 0 to 1, without the work done here.
    pub cpu_load: Option<f64>,
    /// Memory installed, in bytes.
    pub memory_total_bytes: Option<u64>,
    /// Memory that can be had without swapping, in bytes.
    pub memory_available_bytes: Option<u64>,
    /// The battery.
    #[serde(default)]
    pub battery: Battery,
    /// Temperature of the battery in degrees Celsius.
    pub battery_temperature_celsius: Option<f64>,
    /// Highest temperature of the device itself in degrees Celsius.
    pub temperature_celsius: Option<f64>,
    /// How the device reaches others.
    #[serde(default)]
    pub network: Network,
    /// Whether the network is paid for by volume.
    pub metered: Option<bool>,
    /// Whether a screen is lit.
    pub screen_on: Option<bool>,
    /// Time since the user last touched the device.
    pub user_idle: Option<Duration>,
    /// Local time of day in minutes since midnight, 0 to 1439, as the device's clock shows it: the
    /// host converts at each reading, so that a change of the clocks needs no rule here.
    pub minute_of_day: Option<u16>,
    /// Local date in days since 1970-01-01, from which the day of the week follows.
    pub local_day: Option<u32>,
    /// Speed of the network in bits per second.
    pub bandwidth_bits_per_second: Option<u64>,
    /// What else the host knows, for [`HarvestPolicy::require`](crate::HarvestPolicy::require).
    #[serde(default)]
    pub flags: BTreeMap<String, bool>,
    /// When the readings were taken.
    pub read_at: Instant,
}

impl DeviceState {
    /// A state of which nothing but the class is known.
    #[must_use]
    pub const fn unknown(class: DeviceClass, read_at: Instant) -> Self {
        Self {
            class,
            cpu_cores: None,
            cpu_load: None,
            memory_total_bytes: None,
            memory_available_bytes: None,
            battery: Battery::Unknown,
            battery_temperature_celsius: None,
            temperature_celsius: None,
            network: Network::Unknown,
            metered: None,
            screen_on: None,
            user_idle: None,
            minute_of_day: None,
            local_day: None,
            bandwidth_bits_per_second: None,
            flags: BTreeMap::new(),
            read_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_fields_are_unknown_and_misspelt_ones_are_refused() {
        let state: DeviceState =
            serde_json::from_str(r#"{"class": "phone", "read_at": 5}"#).unwrap();
        assert_eq!(
            state,
            DeviceState::unknown(DeviceClass::Phone, Instant::from_nanos(5))
        );
        assert!(
            serde_json::from_str::<DeviceState>(
                r#"{"class": "phone", "read_at": 5, "temperature": 20}"#
            )
            .is_err()
        );
    }

    #[test]
    fn a_full_state_round_trips() {
        let state = DeviceState {
            cpu_cores: Some(8),
            cpu_load: Some(0.25),
            memory_total_bytes: Some(8 << 30),
            memory_available_bytes: Some(4 << 30),
            battery: Battery::Present {
                level_percent: 80.5,
                charging: true,
            },
            battery_temperature_celsius: Some(31.5),
            temperature_celsius: Some(40.0),
            network: Network::Wifi,
            metered: Some(false),
            screen_on: Some(false),
            user_idle: Some(Duration::from_secs(600)),
            minute_of_day: Some(1_400),
            local_day: Some(20_778),
            bandwidth_bits_per_second: Some(1_000_000_000),
            flags: BTreeMap::from([("on_call".to_owned(), true)]),
            ..DeviceState::unknown(DeviceClass::Laptop, Instant::from_millis(3))
        };
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<DeviceState>(&text).unwrap(), state);
    }
}
