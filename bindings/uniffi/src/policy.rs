//! Whether this device lends compute.

use std::sync::Arc;
use std::time::Duration;

use fogcompute::base::Instant;
use fogcompute::harvest::Budget;
use fogcompute::{Battery, DeviceClass, Network, Verdict};
use thiserror::Error;

use crate::FogError;
use crate::error::{first_line, guarded};

/// The device's battery.
#[uniffi::remote(Enum)]
pub enum Battery {
    /// Nobody could say whether there is one.
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
#[uniffi::remote(Enum)]
pub enum Network {
    /// Nobody could say.
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

/// What kind of device this is. It decides what an unknown reading means.
#[uniffi::remote(Enum)]
pub enum DeviceClass {
    /// A phone or a tablet.
    Phone,
    /// A portable computer.
    Laptop,
    /// A computer that stays where it is and has a user.
    Desktop,
    /// A computer nobody sits at.
    Server,
}

/// Whether the device lends compute now.
#[uniffi::remote(Enum)]
pub enum Verdict {
    /// As much as the policy permits.
    Allow,
    /// Less than that; the budget says how much.
    Throttle,
    /// Nothing.
    Refuse,
}

/// How much may be used. All zero when refused.
#[uniffi::remote(Record)]
pub struct Budget {
    /// Share of all processors together, 0 to 1.
    pub cpu_share: f64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Bandwidth in bits per second.
    pub bandwidth_bits_per_second: u64,
}

/// A reading of the device's sensors, taken just now. What is left out could not be read.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct DeviceState {
    /// What kind of device this is.
    pub device_class: DeviceClass,
    /// The battery.
    pub battery: Battery,
    /// How the device reaches others.
    pub network: Network,
    /// Logical processors.
    #[uniffi(default = None)]
    pub cpu_cores: Option<u32>,
    /// Share of all processors that the owner's own work uses, 0 to 1.
    #[uniffi(default = None)]
    pub cpu_load: Option<f64>,
    /// Memory installed, in bytes.
    #[uniffi(default = None)]
    pub memory_total_bytes: Option<u64>,
    /// Memory that can be had without swapping, in bytes.
    #[uniffi(default = None)]
    pub memory_available_bytes: Option<u64>,
    /// Temperature of the battery in degrees Celsius.
    #[uniffi(default = None)]
    pub battery_temperature_celsius: Option<f64>,
    /// Highest temperature of the device itself in degrees Celsius.
    #[uniffi(default = None)]
    pub temperature_celsius: Option<f64>,
    /// Whether the network is paid for by volume.
    #[uniffi(default = None)]
    pub metered: Option<bool>,
    /// Whether a screen is lit.
    #[uniffi(default = None)]
    pub screen_on: Option<bool>,
    /// Time since the user last touched the device, in milliseconds.
    #[uniffi(default = None)]
    pub user_idle_ms: Option<u64>,
    /// Local time of day in minutes since midnight, 0 to 1439.
    #[uniffi(default = None)]
    pub minute_of_day: Option<u16>,
}

impl From<DeviceState> for fogcompute::DeviceState {
    fn from(state: DeviceState) -> Self {
        Self {
            cpu_cores: state.cpu_cores,
            cpu_load: state.cpu_load,
            memory_total_bytes: state.memory_total_bytes,
            memory_available_bytes: state.memory_available_bytes,
            battery: state.battery,
            battery_temperature_celsius: state.battery_temperature_celsius,
            temperature_celsius: state.temperature_celsius,
            network: state.network,
            metered: state.metered,
            screen_on: state.screen_on,
            user_idle: state.user_idle_ms.map(Duration::from_millis),
            minute_of_day: state.minute_of_day,
            // The facade decides at the moment of the reading, whichever that is.
            ..Self::unknown(state.device_class, Instant::ZERO)
        }
    }
}

/// One thing that contributed to a decision.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Reason {
    /// A name for programs: it never changes.
    pub code: String,
    /// The same for people.
    pub text: String,
    /// Whether it alone is enough for an enforced policy to refuse.
    pub objection: bool,
}

impl From<&fogcompute::harvest::Reason> for Reason {
    fn from(reason: &fogcompute::harvest::Reason) -> Self {
        Self {
            code: reason.code().to_owned(),
            text: reason.to_string(),
            objection: reason.is_objection(),
        }
    }
}

/// What a policy answers about a device at one moment.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct Decision {
    /// Whether.
    pub verdict: Verdict,
    /// How much.
    pub budget: Budget,
    /// Everything that speaks against lending, or for lending less, or that is merely unknown.
    pub reasons: Vec<Reason>,
}

impl From<fogcompute::Decision> for Decision {
    fn from(decision: fogcompute::Decision) -> Self {
        Self {
            verdict: decision.verdict,
            budget: decision.budget,
            reasons: decision.reasons.iter().map(Reason::from).collect(),
        }
    }
}

/// Why a probe could not read. Anything else that a probe throws counts as `Host`.
#[derive(Clone, Debug, Eq, Error, PartialEq, uniffi::Error)]
pub enum ProbeError {
    /// The platform does not tell.
    #[error("the battery cannot be read on this platform")]
    Unavailable,
    /// The host's own code failed.
    #[error("{reason}")]
    Host {
        /// What happened.
        reason: String,
    },
}

impl From<ProbeError> for fogcompute::ProbeError {
    fn from(error: ProbeError) -> Self {
        match error {
            ProbeError::Unavailable => Self::Unavailable,
            ProbeError::Host { reason } => Self::Host { reason },
        }
    }
}

impl From<uniffi::UnexpectedUniFFICallbackError> for ProbeError {
    fn from(error: uniffi::UnexpectedUniFFICallbackError) -> Self {
        let reason = first_line(&error);
        Self::Host { reason }
    }
}

/// Reads the battery. Implemented by the application; called on the thread that asks for a
/// decision.
#[uniffi::export(foreign)]
pub trait BatteryProbe: Send + Sync {
    /// The battery as it is now.
    ///
    /// # Errors
    /// [`ProbeError`] when no reading could be had; a device without a battery is
    /// [`Battery::Absent`], not an error.
    fn battery(&self) -> Result<Battery, ProbeError>;
}

struct HostProbe(Arc<dyn BatteryProbe>);

impl fogcompute::BatteryProbe for HostProbe {
    fn battery(&self) -> Result<Battery, fogcompute::ProbeError> {
        Ok(self.0.battery()?)
    }
}

/// What the owner of a device permits.
#[derive(uniffi::Object)]
pub struct HarvestPolicy(pub(crate) fogcompute::HarvestPolicy);

#[uniffi::export]
impl HarvestPolicy {
    /// The default: suits a phone that charges at night.
    #[uniffi::constructor]
    #[expect(
        clippy::new_without_default,
        reason = "a constructor of the two languages"
    )]
    pub fn new() -> Self {
        Self(fogcompute::HarvestPolicy::default())
    }

    /// Allows whatever the state is, for a machine whose owner has given it to this work.
    #[uniffi::constructor]
    pub fn always() -> Self {
        Self(fogcompute::HarvestPolicy::always())
    }

    /// What suits a phone or a tablet: stricter about its battery, and with a daily quota of bytes.
    #[uniffi::constructor]
    pub fn phone() -> Self {
        Self(fogcompute::HarvestPolicy::phone())
    }

    /// Reads a policy from TOML; what is not named keeps its default.
    ///
    /// # Errors
    /// [`FogError::InvalidPolicy`], also for unknown keys.
    #[uniffi::constructor]
    pub fn from_toml(text: String) -> Result<Arc<Self>, FogError> {
        guarded(|| Ok(Arc::new(Self(fogcompute::policy_from_toml(&text)?))))
    }

    /// Reads a policy from TOML; what is not named is as in this one, which stays as it is.
    ///
    /// # Errors
    /// [`FogError::InvalidPolicy`], also for unknown keys.
    pub fn with_toml(&self, text: String) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let policy = fogcompute::policy_from_toml_over(&self.0, &text)?;
            Ok(Arc::new(Self(policy)))
        })
    }

    /// Decides on a reading.
    ///
    /// # Errors
    /// [`FogError::InvalidPolicy`].
    pub fn decide(&self, state: DeviceState) -> Result<Decision, FogError> {
        guarded(|| Ok(fogcompute::decide(&self.0, &state.into())?.into()))
    }

    /// Decides on a reading with the battery read by a probe.
    ///
    /// # Errors
    /// [`FogError::ProbeFailed`] if the probe says that the platform does not tell,
    /// [`FogError::HostCallback`] if it failed.
    pub fn decide_with_probe(
        &self,
        state: DeviceState,
        probe: Arc<dyn BatteryProbe>,
    ) -> Result<Decision, FogError> {
        guarded(|| {
            let probe = HostProbe(probe);
            Ok(fogcompute::decide_with_probe(&self.0, &state.into(), &probe)?.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Result<Battery, ProbeError>);

    impl BatteryProbe for Fixed {
        fn battery(&self) -> Result<Battery, ProbeError> {
            self.0.clone()
        }
    }

    fn decide(battery: Result<Battery, ProbeError>) -> Result<Decision, FogError> {
        let state = DeviceState {
            device_class: DeviceClass::Server,
            battery: Battery::Unknown,
            network: Network::Ethernet,
            cpu_cores: None,
            cpu_load: None,
            memory_total_bytes: None,
            memory_available_bytes: None,
            battery_temperature_celsius: None,
            temperature_celsius: None,
            metered: None,
            screen_on: None,
            user_idle_ms: None,
            minute_of_day: None,
        };
        HarvestPolicy::new().decide_with_probe(state, Arc::new(Fixed(battery)))
    }

    #[test]
    fn the_probes_reading_is_decided_on() {
        let low = Battery::Present {
            level_percent: 3.0,
            charging: true,
        };
        let decision = decide(Ok(low)).unwrap();
        assert_eq!(decision.verdict, Verdict::Refuse);
        let low = |reason: &Reason| reason.code == "battery_low" && reason.objection;
        assert!(decision.reasons.iter().any(low), "{decision:?}");
    }

    #[test]
    fn the_probes_errors_have_their_codes() {
        let error = decide(Err(ProbeError::Unavailable)).unwrap_err();
        assert!(matches!(error, FogError::ProbeFailed { .. }), "{error:?}");
        let reason = "no permission".to_owned();
        let error = decide(Err(ProbeError::Host { reason })).unwrap_err();
        assert!(matches!(error, FogError::HostCallback { .. }), "{error:?}");
        assert!(error.to_string().ends_with("no permission"), "{error}");
    }
}
