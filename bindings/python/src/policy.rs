//! Harvest decisions.

use std::sync::{Mutex, PoisonError};

use fogcompute::base::Instant;
use fogcompute::{BatteryProbe, Error, ProbeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::{DeviceClass, Network, Number, Span, Verdict};
use crate::error;
use crate::value::value;

/// A reading of the battery: both values, or neither on a device without one.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Battery {
    /// Charge in percent, 0 to 100.
    level_percent: Option<f64>,
    /// Whether the device is connected to power.
    charging: Option<bool>,
}

value! {
    Battery { level_percent, charging }

    #[new]
    #[pyo3(signature = (level_percent = None, charging = None))]
    fn new(
        py: Python<'_>,
        level_percent: Option<Number<f64>>,
        charging: Option<bool>,
    ) -> PyResult<Self> {
        if level_percent.is_some() != charging.is_some() {
            return Err(error::argument(
                py,
                "a battery has both level_percent and charging, or neither when it is absent",
            ));
        }
        Ok(Self { level_percent: level_percent.map(|number| number.0), charging })
    }

    /// The device has no battery.
    #[classattr]
    const ABSENT: Self = Self { level_percent: None, charging: None };
}

impl Battery {
    /// No reading is an unknown battery.
    fn to_facade(battery: Option<&Self>) -> fogcompute::Battery {
        let Some(battery) = battery else {
            return fogcompute::Battery::Unknown;
        };
        match (battery.level_percent, battery.charging) {
            (Some(level_percent), Some(charging)) => fogcompute::Battery::Present {
                level_percent,
                charging,
            },
            _ => fogcompute::Battery::Absent,
        }
    }
}

/// One reading of a device's sensors, just now. `None` is a reading that could not be taken.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct DeviceState {
    /// What kind of device this is.
    device_class: DeviceClass,
    /// Logical processors.
    cpu_cores: Option<u32>,
    /// Share of all processors that the owner's own work uses, 0 to 1.
    cpu_load: Option<f64>,
    /// Memory installed.
    memory_total_bytes: Option<u64>,
    /// Memory that can be had without swapping.
    memory_available_bytes: Option<u64>,
    /// The battery.
    battery: Option<Battery>,
    /// Temperature of the battery.
    battery_temperature_celsius: Option<f64>,
    /// Highest temperature of the device itself.
    temperature_celsius: Option<f64>,
    /// How the device reaches others.
    network: Network,
    /// Whether the network is paid for by volume.
    metered: Option<bool>,
    /// Whether a screen is lit.
    screen_on: Option<bool>,
    /// Time since the user last touched the device.
    user_idle: Option<Span>,
    /// Local time of day in minutes since midnight, 0 to 1439.
    minute_of_day: Option<u16>,
}

value! {
    DeviceState {
        device_class,
        cpu_cores,
        cpu_load,
        memory_total_bytes,
        memory_available_bytes,
        battery,
        battery_temperature_celsius,
        temperature_celsius,
        network,
        metered,
        screen_on,
        user_idle,
        minute_of_day,
    }

    #[new]
    #[pyo3(
        signature = (
            device_class,
            *,
            cpu_cores = None,
            cpu_load = None,
            memory_total_bytes = None,
            memory_available_bytes = None,
            battery = None,
            battery_temperature_celsius = None,
            temperature_celsius = None,
            network = Network(fogcompute::Network::default()),
            metered = None,
            screen_on = None,
            user_idle = None,
            minute_of_day = None,
        ),
        text_signature = "(device_class, *, cpu_cores=None, cpu_load=None, \
                          memory_total_bytes=None, memory_available_bytes=None, battery=None, \
                          battery_temperature_celsius=None, temperature_celsius=None, \
                          network=Network.UNKNOWN, metered=None, screen_on=None, user_idle=None, \
                          minute_of_day=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn new(
        device_class: DeviceClass,
        cpu_cores: Option<Number<u32>>,
        cpu_load: Option<Number<f64>>,
        memory_total_bytes: Option<Number<u64>>,
        memory_available_bytes: Option<Number<u64>>,
        battery: Option<Battery>,
        battery_temperature_celsius: Option<Number<f64>>,
        temperature_celsius: Option<Number<f64>>,
        network: Network,
        metered: Option<bool>,
        screen_on: Option<bool>,
        user_idle: Option<Span>,
        minute_of_day: Option<Number<u16>>,
    ) -> Self {
        Self {
            device_class,
            cpu_cores: cpu_cores.map(|number| number.0),
            cpu_load: cpu_load.map(|number| number.0),
            memory_total_bytes: memory_total_bytes.map(|number| number.0),
            memory_available_bytes: memory_available_bytes.map(|number| number.0),
            battery,
            battery_temperature_celsius: battery_temperature_celsius.map(|number| number.0),
            temperature_celsius: temperature_celsius.map(|number| number.0),
            network,
            metered,
            screen_on,
            user_idle,
            minute_of_day: minute_of_day.map(|number| number.0),
        }
    }
}

impl DeviceState {
    /// The state as of now: the facade decides about readings that were taken just now.
    pub(crate) fn to_facade(&self) -> fogcompute::DeviceState {
        fogcompute::DeviceState {
            cpu_cores: self.cpu_cores,
            cpu_load: self.cpu_load,
            memory_total_bytes: self.memory_total_bytes,
            memory_available_bytes: self.memory_available_bytes,
            battery: Battery::to_facade(self.battery.as_ref()),
            battery_temperature_celsius: self.battery_temperature_celsius,
            temperature_celsius: self.temperature_celsius,
            network: self.network.0,
            metered: self.metered,
            screen_on: self.screen_on,
            user_idle: self.user_idle.map(|span| span.0),
            minute_of_day: self.minute_of_day,
            ..fogcompute::DeviceState::unknown(self.device_class.0, Instant::ZERO)
        }
    }
}

/// How much may be used. All zero when refused.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute")]
#[derive(Clone)]
pub(crate) struct Budget {
    /// Share of all processors together, 0 to 1.
    cpu_share: f64,
    /// Memory.
    memory_bytes: u64,
    /// Bandwidth.
    bandwidth_bits_per_second: u64,
}

value! {
    Budget { cpu_share, memory_bytes, bandwidth_bits_per_second }

    #[new]
    fn new(
        cpu_share: Number<f64>,
        memory_bytes: Number<u64>,
        bandwidth_bits_per_second: Number<u64>,
    ) -> Self {
        Self {
            cpu_share: cpu_share.0,
            memory_bytes: memory_bytes.0,
            bandwidth_bits_per_second: bandwidth_bits_per_second.0,
        }
    }
}

/// One thing that contributed to a decision.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct Reason {
    /// A name for programs, which never changes.
    code: String,
    /// A sentence for people.
    text: String,
    /// Whether it alone is enough for an enforced policy to refuse.
    objection: bool,
}

value! {
    Reason { code, text, objection }

    #[new]
    fn new(code: String, text: String, objection: bool) -> Self {
        Self { code, text, objection }
    }
}

impl Reason {
    pub(crate) fn from_facade(reason: &fogcompute::harvest::Reason) -> Self {
        Self {
            code: reason.code().to_owned(),
            text: reason.to_string(),
            objection: reason.is_objection(),
        }
    }
}

/// What a policy answers about a device at one moment.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct Decision {
    /// Whether.
    verdict: Verdict,
    /// How much.
    budget: Budget,
    /// Everything that speaks against lending, or for lending less, or is merely unknown.
    reasons: Py<PyTuple>,
}

value! {
    Decision { verdict, budget, reasons }

    #[new]
    fn new(
        py: Python<'_>,
        verdict: Verdict,
        budget: Budget,
        reasons: Vec<Py<Reason>>,
    ) -> PyResult<Self> {
        let reasons = PyTuple::new(py, reasons)?.unbind();
        Ok(Self { verdict, budget, reasons })
    }
}

impl Decision {
    fn from_facade(py: Python<'_>, decision: &fogcompute::Decision) -> PyResult<Self> {
        let reasons = decision.reasons.iter().map(Reason::from_facade);
        Ok(Self {
            verdict: Verdict(decision.verdict),
            budget: Budget {
                cpu_share: decision.budget.cpu_share,
                memory_bytes: decision.budget.memory_bytes,
                bandwidth_bits_per_second: decision.budget.bandwidth_bits_per_second,
            },
            reasons: PyTuple::new(py, reasons.collect::<Vec<_>>())?.unbind(),
        })
    }
}

/// A probe written in Python. What it raises is kept, to come out unchanged.
struct Probe {
    object: Py<PyAny>,
    raised: Mutex<Option<PyErr>>,
}

impl BatteryProbe for Probe {
    fn battery(&self) -> Result<fogcompute::Battery, ProbeError> {
        let read = Python::attach(|py| {
            let reading = self.object.bind(py).call_method0(intern!(py, "battery"))?;
            Ok(reading.extract::<Option<Battery>>()?)
        });
        read.map(|battery| Battery::to_facade(battery.as_ref()))
            .map_err(|exception: PyErr| {
                let reason = exception.to_string();
                *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = Some(exception);
                ProbeError::Host { reason }
            })
    }
}

/// What the owner of a device permits. The defaults suit a phone that charges at night.
#[pyclass(frozen, eq, module = "fogcompute")]
#[derive(PartialEq)]
pub(crate) struct HarvestPolicy(pub(crate) fogcompute::HarvestPolicy);

#[pymethods]
impl HarvestPolicy {
    #[new]
    fn new() -> Self {
        Self(fogcompute::HarvestPolicy::default())
    }

    /// Allows whatever the state is; objections are only named.
    #[staticmethod]
    fn always() -> Self {
        Self(fogcompute::HarvestPolicy::always())
    }

    /// What suits a phone or a tablet: stricter about its battery, and with a daily quota of bytes.
    #[staticmethod]
    fn phone() -> Self {
        Self(fogcompute::HarvestPolicy::phone())
    }

    /// Reads a policy from TOML; what is not named keeps its default.
    ///
    /// Raises `PolicyError`.
    #[staticmethod]
    fn from_toml(py: Python<'_>, text: &str) -> PyResult<Self> {
        error::call(py, || fogcompute::policy_from_toml(text)).map(Self)
    }

    /// Reads a policy from TOML; what is not named is as in this one, which stays as it is.
    ///
    /// Raises `PolicyError`.
    fn with_toml(&self, py: Python<'_>, text: &str) -> PyResult<Self> {
        error::call(py, || fogcompute::policy_from_toml_over(&self.0, text)).map(Self)
    }

    /// What the policy says of readings that were taken just now.
    fn decide(&self, py: Python<'_>, state: &DeviceState) -> PyResult<Decision> {
        let state = state.to_facade();
        let decision = error::call(py, || fogcompute::decide(&self.0, &state))?;
        Decision::from_facade(py, &decision)
    }

    /// The same with the battery read by `probe`. What that raises comes out unchanged.
    fn decide_with_probe(
        &self,
        py: Python<'_>,
        state: &DeviceState,
        probe: Py<PyAny>,
    ) -> PyResult<Decision> {
        let state = state.to_facade();
        let probe = Probe {
            object: probe,
            raised: Mutex::new(None),
        };
        let decide = || fogcompute::decide_with_probe(&self.0, &state, &probe);
        let decision = error::catch(py, decide)?.map_err(|error| {
            let mut raised = probe.raised.lock().unwrap_or_else(PoisonError::into_inner);
            match (raised.take(), &error) {
                (Some(exception), Error::Probe(_)) => exception,
                _ => error::of_error(py, &error),
            }
        })?;
        Decision::from_facade(py, &decision)
    }

    fn __repr__(&self) -> String {
        let enforced = if self.0.enforced { "True" } else { "False" };
        format!("<fogcompute.HarvestPolicy enforced={enforced}>")
    }
}
