//! What this device is, how fast it is, and what it lends.

use std::sync::Arc;
use std::thread::available_parallelism;

use fogcompute_base::{Clock, Instant};
use fogcompute_exec::{Limits, Runtime, TaskError, TaskSpec};
use fogcompute_harvest::{Decision, DeviceClass, DeviceState, HarvestPolicy};
use fogcompute_ledger::Amount;
use fogcompute_runtime::WasmRuntime;
use serde::Serialize;

use crate::mandelbrot::{MODULE, View};
use crate::protocol::Lending;

/// Reads this device's sensors.
#[derive(Debug)]
pub struct Device {
    #[cfg(target_os = "linux")]
    probe: fogcompute_runtime::probe::LinuxProbe,
}

impl Device {
    /// The device this process runs on.
    #[must_use]
    pub fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            probe: fogcompute_runtime::probe::LinuxProbe::new(),
        }
    }

    /// What the sensors say now. What cannot be read is unknown.
    pub fn read(&mut self, now: Instant) -> DeviceState {
        #[cfg(target_os = "linux")]
        if let Ok(state) = self.probe.read(now) {
            return state;
        }
        DeviceState::unknown(DeviceClass::Laptop, now)
    }
}

impl Default for Device {
    fn default() -> Self {
        Self::new()
    }
}

/// What a policy said about a reading, as JSON for people.
#[derive(Serialize)]
struct Status<'a> {
    device: &'a DeviceState,
    decision: &'a Decision,
    enforced: bool,
    /// The reasons in words.
    words: Vec<String>,
}

/// What the device lends under a policy, now.
pub(crate) fn lending(
    policy: &HarvestPolicy,
    state: &DeviceState,
    now: Instant,
    fuel_per_second: u64,
    price_per_gigafuel: Amount,
) -> Lending {
    let decision = policy.decide(state, now);
    let cores = state.cpu_cores.map_or_else(processors, u64::from);
    let words = decision.reasons.iter().map(ToString::to_string).collect();
    let status = Status {
        device: state,
        decision: &decision,
        enforced: policy.enforced,
        words,
    };
    Lending {
        cpu_millis: (cores as f64 * decision.budget.cpu_share * 1000.0) as u64,
        memory_bytes: decision.budget.memory_bytes,
        fuel_per_second,
        price_per_gigafuel,
        status: serde_json::to_string(&status).unwrap_or_default(),
    }
}

/// Processors this process may use.
pub(crate) fn processors() -> u64 {
    available_parallelism().map_or(1, |count| count.get() as u64)
}

/// Fuel one processor burns in a second here and now: measured by rendering a small picture.
///
/// # Errors
/// [`TaskError`]: the sandbox does not work on this device.
pub(crate) fn measure_speed(
    runtime: &WasmRuntime,
    clock: &Arc<dyn Clock>,
) -> Result<u64, TaskError> {
    let view = View {
        width: 96,
        height: 64,
        ..View::default()
    };
    let limits = Limits {
        fuel: 1_000_000_000,
        ..Limits::default()
    };
    let spec = TaskSpec::new(MODULE, view.input(0, view.height), limits)
        .expect("the self-test is within the limits");
    // The first run compiles the module, so the second one tells the speed.
    runtime.run(&spec)?;
    let start = clock.now();
    let fuel = runtime.run(&spec)?.usage.fuel;
    let seconds = clock.now().duration_since(start).as_secs_f64().max(1e-6);
    Ok((fuel as f64 / seconds) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_lends_the_share_of_its_processors_that_the_policy_allows() {
        let now = Instant::from_millis(1);
        let policy = HarvestPolicy::always();
        let lend = |cores| {
            let state = DeviceState {
                cpu_cores: Some(cores),
                memory_total_bytes: Some(8 << 30),
                memory_available_bytes: Some(6 << 30),
                ..DeviceState::unknown(DeviceClass::Server, now)
            };
            let budget = policy.decide(&state, now).budget;
            (lending(&policy, &state, now, 7, Amount(3)), budget)
        };
        let (four, budget) = lend(4);
        assert!(budget.cpu_share > 0.0);
        assert_eq!(four.cpu_millis, (4000.0 * budget.cpu_share) as u64);
        assert_eq!(four.memory_bytes, budget.memory_bytes);
        assert_eq!(
            (four.fuel_per_second, four.price_per_gigafuel),
            (7, Amount(3))
        );
        assert_eq!(lend(8).0.cpu_millis, 2 * four.cpu_millis);
        let status: serde_json::Value = serde_json::from_str(&four.status).unwrap();
        assert_eq!(status["device"]["cpu_cores"], 4);
    }
}
