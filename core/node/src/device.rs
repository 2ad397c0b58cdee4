//! What this device is, how fast it is, and what it lends.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::thread::available_parallelism;

use fogcompute_base::{Clock, Instant};
use fogcompute_exec::{Limits, Runtime, TaskError, TaskSpec};
use fogcompute_harvest::{
    Decision, DeviceClass, DeviceProbe, DeviceState, Effect, HarvestPolicy, ProbeError, Reason,
};
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

impl DeviceProbe for Device {
    fn read(&mut self, now: Instant) -> Result<DeviceState, ProbeError> {
        Ok(Self::read(self, now))
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
    /// What decided, in words: the reasons with the strongest effect, if they have one.
    objections: Vec<String>,
    /// The other reasons in words.
    notes: Vec<String>,
    /// Thousandths of a processor that the policy lends of the whole machine.
    machine_cpu_millis: u64,
    /// The node's part of them.
    part_cpu_millis: u64,
}

/// What the device lends under a policy, now, if so many nodes on it lend the same.
pub(crate) fn lending(
    policy: &HarvestPolicy,
    state: &DeviceState,
    now: Instant,
    nodes_on_machine: NonZeroU16,
    fuel_per_second: u64,
    price_per_gigafuel: Amount,
) -> Lending {
    let decision = policy.decide(state, now);
    let cores = state.cpu_cores.map_or_else(processors, u64::from);
    let machine_cpu_millis = (cores as f64 * decision.budget.cpu_share * 1000.0) as u64;
    let nodes = u64::from(nodes_on_machine.get());
    let part_cpu_millis = machine_cpu_millis / nodes;
    let (cpu_millis, fuel_per_second) =
        promise(machine_cpu_millis, part_cpu_millis, fuel_per_second);
    let worst = decision.reasons.iter().map(Reason::effect).max();
    let (objections, notes): (Vec<_>, Vec<_>) = decision
        .reasons
        .iter()
        .partition(|reason| reason.effect() > Effect::Note && Some(reason.effect()) == worst);
    let in_words = |reasons: Vec<&Reason>| reasons.iter().map(ToString::to_string).collect();
    let status = Status {
        device: state,
        decision: &decision,
        enforced: policy.enforced,
        objections: in_words(objections),
        notes: in_words(notes),
        machine_cpu_millis,
        part_cpu_millis,
    };
    Lending {
        cpu_millis,
        memory_bytes: decision.budget.memory_bytes / nodes,
        fuel_per_second,
        price_per_gigafuel,
        status: serde_json::to_string(&status).unwrap_or_default(),
    }
}

/// What a node promises that has a part of its machine: thousandths of a processor, and the fuel one
/// burns in a second.
///
/// Tasks take whole processors. A part of less, of a machine that lends at least one, is promised as
/// one processor of that part of the speed: nodes that share a processor are as slow as that.
fn promise(machine_cpu_millis: u64, part_cpu_millis: u64, fuel_per_second: u64) -> (u64, u64) {
    if machine_cpu_millis < 1000 || part_cpu_millis >= 1000 {
        return (part_cpu_millis, fuel_per_second);
    }
    let slowed = u128::from(fuel_per_second) * u128::from(part_cpu_millis) / 1000;
    // A speed of 0 would be no speed at all.
    (1000, u64::try_from(slowed).unwrap_or(u64::MAX).max(1))
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
            let one = NonZeroU16::MIN;
            (lending(&policy, &state, now, one, 7, Amount(3)), budget)
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

    #[test]
    fn nodes_that_share_a_machine_promise_no_more_than_it_lends() {
        // Each of four nodes promised the whole machine.
        let now = Instant::from_millis(1);
        let policy = HarvestPolicy::always();
        for (cores, nodes) in [(1, 1), (2, 1), (2, 4), (4, 4), (8, 3), (64, 32), (64, 5)] {
            let state = DeviceState {
                cpu_cores: Some(cores),
                memory_total_bytes: Some(8 << 30),
                memory_available_bytes: Some(6 << 30),
                ..DeviceState::unknown(DeviceClass::Server, now)
            };
            let lend = |nodes| {
                let nodes = NonZeroU16::new(nodes).unwrap();
                lending(&policy, &state, now, nodes, 1_000_000, Amount(3))
            };
            let (whole, part) = (lend(1), lend(nodes));
            let speed = |lent: &Lending| lent.cpu_millis * lent.fuel_per_second;
            assert!(speed(&part) * u64::from(nodes) <= speed(&whole));
            assert!(part.memory_bytes * u64::from(nodes) <= whole.memory_bytes);
            // Who shares a processor can run a task all the same.
            assert_eq!(part.cpu_millis >= 1000, whole.cpu_millis >= 1000);
        }
    }

    #[test]
    fn what_decided_is_told_from_what_is_merely_noted() {
        // A refusal was explained with thermometers that are not there.
        let now = Instant::from_millis(1);
        let state = DeviceState {
            cpu_cores: Some(2),
            cpu_load: Some(0.9),
            memory_available_bytes: Some(6 << 30),
            metered: Some(true),
            ..DeviceState::unknown(DeviceClass::Server, now)
        };
        let said = |state: &DeviceState| {
            let policy = HarvestPolicy::default();
            let lent = lending(&policy, state, now, NonZeroU16::MIN, 7, Amount(3));
            serde_json::from_str::<serde_json::Value>(&lent.status).unwrap()
        };
        let refused = said(&state);
        let both = refused["objections"].to_string();
        assert!(both.contains("90 %") && both.contains("the network is metered"));
        let notes = refused["notes"].to_string();
        assert!(notes.contains("the temperature is unknown"));
        let busy = said(&DeviceState {
            metered: Some(false),
            ..state.clone()
        });
        assert!(busy["objections"][0].to_string().contains("90 %"));
        let idle = said(&DeviceState {
            metered: Some(false),
            cpu_load: Some(0.0),
            ..state
        });
        assert_eq!(idle["objections"], serde_json::json!([]));
    }
}
