//! What this device is, how fast it is, and what it lends.

use std::sync::Arc;
use std::thread::available_parallelism;

use fogcompute_base::{Clock, Instant};
use fogcompute_exec::executor::Permission;
use fogcompute_exec::{Limits, Runtime, TaskError, TaskSpec};
use fogcompute_harvest::{
    Action, Decision, DeviceClass, DeviceProbe, DeviceState, Effect, HarvestState, ProbeError,
    Reason, Verdict,
};
use fogcompute_ledger::Amount;
use fogcompute_runtime::WasmRuntime;
use serde::Serialize;

use crate::mandelbrot::{MODULE, View};
use crate::protocol::Lending;
use crate::worker::WorkerStatus;

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
    state: HarvestState,
    decision: Decision,
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

/// What a node lends whose worker is so: what the policy's state machine permits, and of that its part.
///
/// Tasks take whole processors: each slot of the worker is promised as a processor of the speed that
/// a task gets there.
pub(crate) fn lending(
    worker: &WorkerStatus,
    enforced: bool,
    fuel_per_second: u64,
    price_per_gigafuel: Amount,
) -> Lending {
    let (slots, cpu_permille, memory_bytes) = match worker.permission {
        Permission::Run(budget) => (budget.slots, budget.cpu_permille, budget.memory_bytes),
        Permission::Suspend | Permission::Vacate | Permission::Stop => (0, 0, 0),
    };
    let slowed = u128::from(fuel_per_second) * u128::from(cpu_permille) / 1000;
    Lending {
        cpu_millis: u64::from(slots) * 1000,
        memory_bytes,
        // A speed of 0 would be no speed at all.
        fuel_per_second: u64::try_from(slowed).unwrap_or(u64::MAX).max(1),
        price_per_gigafuel,
        status: status(worker, enforced, u64::from(slots) * u64::from(cpu_permille)),
    }
}

/// As JSON; empty before the first reading.
fn status(worker: &WorkerStatus, enforced: bool, part_cpu_millis: u64) -> String {
    let (Some(device), Some(answer)) = (&worker.device, &worker.answer) else {
        return String::new();
    };
    let budget = answer.action.budget();
    let cores = device.cpu_cores.map_or_else(processors, u64::from);
    let worst = answer.reasons.iter().map(Reason::effect).max();
    let (objections, notes): (Vec<_>, Vec<_>) = answer
        .reasons
        .iter()
        .partition(|reason| reason.effect() > Effect::Note && Some(reason.effect()) == worst);
    let in_words = |reasons: Vec<&Reason>| reasons.iter().map(ToString::to_string).collect();
    let status = Status {
        device,
        state: answer.state,
        decision: Decision {
            verdict: match answer.action {
                Action::Allow(_) => Verdict::Allow,
                Action::Throttle(_) => Verdict::Throttle,
                Action::Suspend | Action::Stop => Verdict::Refuse,
            },
            budget,
            reasons: answer.reasons.clone(),
        },
        enforced,
        objections: in_words(objections),
        notes: in_words(notes),
        machine_cpu_millis: (cores as f64 * budget.cpu_share * 1000.0) as u64,
        part_cpu_millis,
    };
    serde_json::to_string(&status).unwrap_or_default()
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
    use std::num::NonZeroU16;
    use std::sync::Mutex;
    use std::time::Duration;

    use fogcompute_harvest::HarvestPolicy;

    use super::*;
    use crate::worker::{Worker, WorkerConfig, WorkerHarvest, WorkerHost};

    /// A device that is as it is told.
    #[derive(Clone)]
    struct Told(Arc<Mutex<DeviceState>>);

    impl DeviceProbe for Told {
        fn read(&mut self, now: Instant) -> Result<DeviceState, ProbeError> {
            Ok(DeviceState {
                read_at: now,
                ..self.0.lock().unwrap().clone()
            })
        }
    }

    fn server(cores: u32) -> DeviceState {
        DeviceState {
            cpu_cores: Some(cores),
            memory_total_bytes: Some(8 << 30),
            memory_available_bytes: Some(6 << 30),
            ..DeviceState::unknown(DeviceClass::Server, Instant::ZERO)
        }
    }

    /// A node's worker on a device.
    struct Node {
        worker: Worker,
        told: Told,
        enforced: bool,
    }

    impl Node {
        fn new(policy: HarvestPolicy, device: DeviceState, nodes_on_machine: u16) -> Self {
            let told = Told(Arc::new(Mutex::new(device)));
            let enforced = policy.enforced;
            let harvest = WorkerHarvest {
                // The test says when.
                reading_every: Duration::from_secs(3_600),
                shared_by: NonZeroU16::new(nodes_on_machine).unwrap(),
                ..WorkerHarvest::new(Some(policy), Box::new(told.clone()))
            };
            let config = WorkerConfig {
                slots: 1_000,
                memory_bytes: u64::MAX,
                ..WorkerConfig::default()
            };
            let host = WorkerHost {
                harvest: Some(harvest),
                ..WorkerHost::default()
            };
            let worker = Worker::start(config, host).unwrap();
            let node = Self {
                worker,
                told,
                enforced,
            };
            node.after(0);
            node
        }

        /// Its status after more readings than that.
        fn after(&self, readings: u64) -> WorkerStatus {
            loop {
                let status = self.worker.status().wait().unwrap();
                if status.readings > readings {
                    return status;
                }
                std::thread::yield_now();
            }
        }

        /// What it lends after it has read that.
        fn reads(&self, device: DeviceState) -> (Lending, serde_json::Value) {
            *self.told.0.lock().unwrap() = device;
            let before = self.worker.status().wait().unwrap().readings;
            self.worker.look();
            let lent = lending(&self.after(before), self.enforced, 1_000_000, Amount(3));
            let said = serde_json::from_str(&lent.status).unwrap();
            (lent, said)
        }
    }

    fn lend(cores: u32, nodes: u16) -> Lending {
        let node = Node::new(HarvestPolicy::always(), server(cores), nodes);
        node.reads(server(cores)).0
    }

    #[test]
    fn a_device_lends_the_share_of_its_processors_that_the_policy_allows() {
        let policy = HarvestPolicy {
            cpu_share_max: 0.5,
            ..HarvestPolicy::always()
        };
        let node = Node::new(policy.clone(), server(4), 1);
        let (four, said) = node.reads(server(4));
        assert_eq!((four.cpu_millis, four.fuel_per_second), (2_000, 1_000_000));
        assert_eq!(four.price_per_gigafuel, Amount(3));
        assert_eq!(said["device"]["cpu_cores"], 4);
        assert_eq!(said["machine_cpu_millis"], 2_000);
        assert_eq!(
            said["decision"]["budget"]["memory_bytes"],
            four.memory_bytes
        );
        // A processor and a half is two at three quarters of the speed.
        let node = Node::new(policy, server(3), 1);
        let (three, said) = node.reads(server(3));
        assert_eq!((three.cpu_millis, three.fuel_per_second), (2_000, 750_000));
        assert_eq!(said["part_cpu_millis"], 1_500);
    }

    #[test]
    fn nodes_that_share_a_machine_promise_no_more_than_it_lends() {
        // Each of four nodes promised the whole machine.
        for (cores, nodes) in [(1, 1), (2, 1), (2, 4), (4, 4), (8, 3), (64, 32), (64, 5)] {
            let (whole, part) = (lend(cores, 1), lend(cores, nodes));
            let speed = |lent: &Lending| lent.cpu_millis * lent.fuel_per_second;
            assert!(speed(&part) * u64::from(nodes) <= speed(&whole));
            assert!(part.memory_bytes * u64::from(nodes) <= whole.memory_bytes);
            // Who shares a processor can run a task all the same.
            assert!(part.cpu_millis >= 1_000);
        }
    }

    #[test]
    fn what_decided_is_told_from_what_is_merely_noted() {
        // A refusal was explained with thermometers that are not there.
        let state = DeviceState {
            cpu_load: Some(0.9),
            metered: Some(true),
            ..server(2)
        };
        let node = Node::new(HarvestPolicy::default(), state.clone(), 1);
        let (_, refused) = node.reads(state.clone());
        let both = refused["objections"].to_string();
        assert!(both.contains("90 %") && both.contains("the network is metered"));
        let notes = refused["notes"].to_string();
        assert!(notes.contains("the temperature is unknown"));
        let (_, busy) = node.reads(DeviceState {
            metered: Some(false),
            ..state.clone()
        });
        assert!(busy["objections"][0].to_string().contains("90 %"));
        let (_, idle) = node.reads(DeviceState {
            metered: Some(false),
            cpu_load: Some(0.0),
            ..state
        });
        assert_eq!(idle["objections"], serde_json::json!([]));
    }

    #[test]
    fn a_node_goes_on_when_its_device_has_been_well_for_a_while() {
        // Nodes asked for a decision on each reading alone: whatever had just refused, the next
        // reading that did not was enough.
        let well = DeviceState {
            cpu_load: Some(0.1),
            metered: Some(false),
            network: fogcompute_harvest::Network::Ethernet,
            battery: fogcompute_harvest::Battery::Absent,
            ..server(4)
        };
        let policy = HarvestPolicy {
            window: None,
            ..HarvestPolicy::default()
        };
        let node = Node::new(policy.clone(), well.clone(), 1);
        let (lent, said) = node.reads(well.clone());
        assert!(lent.cpu_millis > 0, "{said}");
        assert_eq!(said["state"], "running");
        let (lent, said) = node.reads(DeviceState {
            cpu_load: Some(0.9),
            ..well.clone()
        });
        assert_eq!((lent.cpu_millis, &said["state"]), (0, &"suspended".into()));
        assert_eq!(said["decision"]["verdict"], "refuse");
        let (lent, said) = node.reads(well.clone());
        let decision = policy.decide(&well, well.read_at);
        assert_ne!(
            decision.verdict,
            Verdict::Refuse,
            "the reading alone permits it"
        );
        assert_eq!((lent.cpu_millis, &said["state"]), (0, &"suspended".into()));
    }
}
