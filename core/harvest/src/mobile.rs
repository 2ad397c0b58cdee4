//! What a phone may take on at once.

use serde::Serialize;

use crate::{Battery, DeviceState, Reading};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// How careful a phone is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerMode {
    /// At most 10 % of charge, or 65 °C and more.
    Critical,
    /// At most 20 %, or 55 °C and more.
    PowerSave,
    /// At most 40 %, or 45 °C and more.
    Balanced,
    /// Better than that.
    Performance,
}

/// How hot a phone is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ThermalBand {
    /// Below 35 °C.
    Cool,
    /// From 35 °C.
    Normal,
    /// From 45 °C.
    Warm,
    /// From 55 °C.
    Hot,
    /// From 65 °C.
    Critical,
}

impl ThermalBand {
    /// The band of a temperature. One that is no number is critical.
    #[must_use]
    pub fn of(celsius: f64) -> Self {
        match celsius {
            celsius if celsius < 35.0 => Self::Cool,
            celsius if celsius < 45.0 => Self::Normal,
            celsius if celsius < 55.0 => Self::Warm,
            celsius if celsius < 65.0 => Self::Hot,
            _ => Self::Critical,
        }
    }
}

/// How full a battery is; connected to power, or without one, as full as can be.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum ChargeBand {
    Critical,
    Low,
    Moderate,
    Good,
}

/// What a phone may take on at once, and in what portions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MobileLimits {
    /// How careful the phone is.
    pub mode: PowerMode,
    /// Share of all processors, 0 to 1.
    pub cpu_share: f64,
    /// Memory in bytes, at most half of what is available.
    pub memory_bytes: u64,
    /// Tasks at the same time.
    pub tasks: u32,
    /// Portion of a text or batch that is worked on at once, in the units of the caller, 64 to
    /// 2048.
    pub chunk: u32,
    /// Units that neighbouring portions share: a tenth.
    pub chunk_overlap: u32,
    /// Bytes to send and receive in a day.
    pub bytes_per_day: u64,
}

impl MobileLimits {
    /// The limits for a reading.
    ///
    /// A battery that is charging limits nothing: the prototype these figures are from slowed a
    /// phone down at 10 % even while it charged.
    ///
    /// # Errors
    /// The first of battery, temperature and available memory that is unknown: then nothing may be
    /// taken on. Of the two temperatures the hotter one counts.
    pub fn of(state: &DeviceState) -> Result<Self, Reading> {
        let charge = match state.battery {
            Battery::Unknown => return Err(Reading::Battery),
            Battery::Absent | Battery::Present { charging: true, .. } => ChargeBand::Good,
            Battery::Present { level_percent, .. } => match level_percent {
                level if level > 40.0 => ChargeBand::Good,
                level if level > 20.0 => ChargeBand::Moderate,
                level if level > 10.0 => ChargeBand::Low,
                // Also a level that is no number.
                _ => ChargeBand::Critical,
            },
        };
        let temperatures = [state.temperature_celsius, state.battery_temperature_celsius];
        let thermal = temperatures
            .into_iter()
            .flatten()
            .map(ThermalBand::of)
            .max()
            .ok_or(Reading::Temperature)?;
        let available = state
            .memory_available_bytes
            .ok_or(Reading::MemoryAvailable)?;
        let mode = match (charge, thermal) {
            (ChargeBand::Critical, _) | (_, ThermalBand::Critical) => PowerMode::Critical,
            (ChargeBand::Low, _) | (_, ThermalBand::Hot) => PowerMode::PowerSave,
            (ChargeBand::Moderate, _) | (_, ThermalBand::Warm) => PowerMode::Balanced,
            _ => PowerMode::Performance,
        };
        let half = available / 2;
        let base = half.min(1_024 * MIB);
        let (mut cpu_share, mut memory_bytes, mut tasks) = (0.5_f64, base, 2);
        // Each condition may only take away.
        let mut limit = |share: f64, bytes: u64, count: u32| {
            cpu_share = cpu_share.min(share);
            memory_bytes = memory_bytes.min(bytes);
            tasks = tasks.min(count);
        };
        // What holds of a mild case holds of a severe one too: the severe one has limits in bytes,
        // which may be above a part of little memory.
        if charge <= ChargeBand::Low {
            limit(0.35, base / 10 * 7, 1);
        }
        if charge == ChargeBand::Critical {
            limit(0.2, 256 * MIB, 1);
        }
        if thermal >= ThermalBand::Hot {
            limit(0.3, base / 10 * 6, 2);
        }
        if thermal == ThermalBand::Critical {
            limit(0.15, 256 * MIB, 1);
        }
        if available < 2 * GIB {
            limit(0.5, 512 * MIB, 1);
        }
        let by_memory = match available {
            bytes if bytes < 2 * GIB => 0.5,
            bytes if bytes < 4 * GIB => 0.75,
            bytes if bytes < 8 * GIB => 1.0,
            _ => 1.25,
        };
        let by_heat = match thermal {
            ThermalBand::Critical => 0.3,
            ThermalBand::Hot => 0.5,
            ThermalBand::Warm => 0.75,
            ThermalBand::Normal | ThermalBand::Cool => 1.0,
        };
        let by_charge = match charge {
            ChargeBand::Critical => 0.3,
            ChargeBand::Low => 0.6,
            ChargeBand::Moderate => 0.8,
            ChargeBand::Good => 1.0,
        };
        let chunk = (512.0_f64 * by_memory * by_heat * by_charge).clamp(64.0, 2_048.0) as u32;
        Ok(Self {
            mode,
            cpu_share,
            memory_bytes,
            tasks,
            chunk,
            chunk_overlap: chunk / 10,
            bytes_per_day: match mode {
                PowerMode::Critical | PowerMode::PowerSave => 100_000_000,
                PowerMode::Balanced => 500_000_000,
                PowerMode::Performance => 1_000_000_000,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use fogcompute_base::Instant;
    use proptest::prelude::*;

    use super::*;
    use crate::DeviceClass;

    fn phone(level_percent: f64, charging: bool, celsius: f64, available: u64) -> DeviceState {
        DeviceState {
            battery: Battery::Present {
                level_percent,
                charging,
            },
            temperature_celsius: Some(celsius),
            memory_available_bytes: Some(available),
            ..DeviceState::unknown(DeviceClass::Phone, Instant::ZERO)
        }
    }

    #[test]
    fn limits_are_those_of_the_table() {
        use PowerMode::{Balanced, Critical, Performance, PowerSave};
        for (state, mode, cpu_share, mib, tasks, chunk) in [
            (
                phone(80.0, false, 30.0, 6 * GIB),
                Performance,
                0.5,
                1_024,
                2,
                512,
            ),
            (
                phone(80.0, false, 30.0, 9 * GIB),
                Performance,
                0.5,
                1_024,
                2,
                640,
            ),
            (
                phone(40.0, false, 30.0, 6 * GIB),
                Balanced,
                0.5,
                1_024,
                2,
                409,
            ),
            (
                phone(80.0, false, 45.0, 6 * GIB),
                Balanced,
                0.5,
                1_024,
                2,
                384,
            ),
            (
                phone(20.0, false, 30.0, 6 * GIB),
                PowerSave,
                0.35,
                716,
                1,
                307,
            ),
            (
                phone(80.0, false, 55.0, 6 * GIB),
                PowerSave,
                0.3,
                614,
                2,
                256,
            ),
            (
                phone(10.0, false, 30.0, 6 * GIB),
                Critical,
                0.2,
                256,
                1,
                153,
            ),
            (
                phone(80.0, false, 65.0, 6 * GIB),
                Critical,
                0.15,
                256,
                1,
                153,
            ),
            (phone(5.0, false, 70.0, GIB), Critical, 0.15, 256, 1, 64),
            // A charger takes the battery's limits away.
            (
                phone(5.0, true, 30.0, 6 * GIB),
                Performance,
                0.5,
                1_024,
                2,
                512,
            ),
            (phone(80.0, false, 30.0, GIB), Performance, 0.5, 512, 1, 256),
            (
                phone(80.0, false, 30.0, 3 * GIB),
                Performance,
                0.5,
                1_024,
                2,
                384,
            ),
        ] {
            let limits = MobileLimits::of(&state).unwrap();
            assert_eq!(limits.mode, mode, "{state:?}");
            assert!((limits.cpu_share - cpu_share).abs() < 1e-12, "{state:?}");
            assert_eq!(limits.memory_bytes / MIB, mib, "{state:?}");
            assert_eq!((limits.tasks, limits.chunk), (tasks, chunk), "{state:?}");
            assert_eq!(limits.chunk_overlap, chunk / 10);
        }
        let limits = MobileLimits::of(&phone(80.0, false, 30.0, 600 * MIB)).unwrap();
        assert_eq!(limits.memory_bytes, 300 * MIB);
        assert_eq!(limits.bytes_per_day, 1_000_000_000);
    }

    #[test]
    fn what_must_be_known_is_named() {
        let state = phone(80.0, false, 30.0, GIB);
        for (state, reading) in [
            (
                DeviceState {
                    battery: Battery::Unknown,
                    ..state.clone()
                },
                Reading::Battery,
            ),
            (
                DeviceState {
                    temperature_celsius: None,
                    ..state.clone()
                },
                Reading::Temperature,
            ),
            (
                DeviceState {
                    memory_available_bytes: None,
                    ..state.clone()
                },
                Reading::MemoryAvailable,
            ),
        ] {
            assert_eq!(MobileLimits::of(&state), Err(reading));
        }
        // The hotter of two thermometers counts, and one that shows no number is the hottest.
        for celsius in [70.0, f64::NAN] {
            let state = DeviceState {
                battery_temperature_celsius: Some(celsius),
                ..state.clone()
            };
            assert_eq!(
                MobileLimits::of(&state).map(|limits| limits.mode),
                Ok(PowerMode::Critical)
            );
        }
    }

    proptest! {
        #[test]
        fn hotter_emptier_or_fuller_never_allows_more(
            level in 0.0..100.0,
            charging in any::<bool>(),
            celsius in 0.0..90.0,
            available in 0_u64..16 * GIB,
            (drained, rise, used) in (0.0..=1.0, 0.0..40.0, 0.0..=1.0),
        ) {
            let better = MobileLimits::of(&phone(level, charging, celsius, available)).unwrap();
            let worse = phone(
                level * drained,
                charging,
                celsius + rise,
                (available as f64 * used) as u64,
            );
            let worse = MobileLimits::of(&worse).unwrap();
            prop_assert!(worse.mode <= better.mode);
            prop_assert!(worse.cpu_share <= better.cpu_share);
            prop_assert!(worse.memory_bytes <= better.memory_bytes);
            prop_assert!(worse.tasks <= better.tasks && worse.chunk <= better.chunk);
            prop_assert!((64..=2_048).contains(&worse.chunk));
        }
    }
}
