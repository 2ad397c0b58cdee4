//! Readings that the host's own code takes.

use fogcompute_base::Instant;
use thiserror::Error;

use crate::{Battery, Decision, DeviceState, HarvestPolicy};

/// Why a probe could not read.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ProbeError {
    /// The platform does not tell. Try again later or decide on [`Battery::Unknown`].
    #[error("the battery cannot be read on this platform")]
    Unavailable,
    /// The probe's code panicked or threw something that no error describes.
    #[error("the probe broke off")]
    Broken,
    /// The host's own code failed.
    #[error("the host could not read the device: {reason}")]
    Host {
        /// What the host said.
        reason: String,
    },
}

/// Reads the battery. A phone application implements it in its own language.
pub trait BatteryProbe: Send + Sync {
    /// The battery as it is now.
    ///
    /// # Errors
    ///
    /// [`ProbeError`] when no reading could be had; a device without a battery is
    /// [`Battery::Absent`], not an error.
    fn battery(&self) -> Result<Battery, ProbeError>;
}

/// Reads the whole device. What it cannot read it leaves unknown.
pub trait DeviceProbe: Send {
    /// The device as it is now. `now` becomes [`DeviceState::read_at`].
    ///
    /// # Errors
    ///
    /// [`ProbeError`] when nothing at all could be read.
    fn read(&mut self, now: Instant) -> Result<DeviceState, ProbeError>;
}

impl<P: DeviceProbe + ?Sized> DeviceProbe for Box<P> {
    fn read(&mut self, now: Instant) -> Result<DeviceState, ProbeError> {
        (**self).read(now)
    }
}

impl HarvestPolicy {
    /// Decides on `state` with the battery taken from `probe`.
    ///
    /// # Errors
    ///
    /// What the probe returned, unchanged. There is no decision then: the caller lends nothing, or
    /// calls [`decide`](Self::decide) with [`Battery::Unknown`].
    pub fn decide_with_probe(
        &self,
        state: &DeviceState,
        probe: &dyn BatteryProbe,
        now: Instant,
    ) -> Result<Decision, ProbeError> {
        let state = DeviceState {
            battery: probe.battery()?,
            ..state.clone()
        };
        Ok(self.decide(&state, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceClass, Reason};

    struct Fixed(Result<Battery, ProbeError>);

    impl BatteryProbe for Fixed {
        fn battery(&self) -> Result<Battery, ProbeError> {
            self.0.clone()
        }
    }

    #[test]
    fn the_probe_replaces_the_battery_of_the_state() {
        let state = DeviceState {
            battery: Battery::Absent,
            ..DeviceState::unknown(DeviceClass::Laptop, Instant::ZERO)
        };
        let probe = Fixed(Ok(Battery::Present {
            level_percent: 12.0,
            charging: true,
        }));
        let decision = HarvestPolicy::default()
            .decide_with_probe(&state, &probe, Instant::ZERO)
            .unwrap();
        assert!(decision.reasons.contains(&Reason::BatteryLow {
            level_percent: 12.0,
            level_percent_min: 20.0
        }));
    }

    #[test]
    fn the_probes_error_comes_back_unchanged() {
        let state = DeviceState::unknown(DeviceClass::Phone, Instant::ZERO);
        for error in [
            ProbeError::Unavailable,
            ProbeError::Host {
                reason: "permission denied".to_owned(),
            },
        ] {
            assert_eq!(
                HarvestPolicy::always().decide_with_probe(
                    &state,
                    &Fixed(Err(error.clone())),
                    Instant::ZERO
                ),
                Err(error)
            );
        }
    }
}
