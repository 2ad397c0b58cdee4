//! The tasks of this device, kept in a file and done when its owner permits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fogcompute::base::Instant;
use fogcompute::exec::IdempotencyKey;
use fogcompute::exec::executor::{Permission, Submitted};
use fogcompute::exec::job::task_id;
use fogcompute::{TaskId, WorkerConfig, WorkerHarvest, WorkerHost, WorkerJob};

use crate::FogError;
use crate::error::{guarded, invalid_argument};
use crate::fog::{Limits, TaskOutput};
use crate::policy::{DeviceState, HarvestPolicy, ProbeError, Reason};
use crate::waiting::Waiting;

/// Reads the whole device. Implemented by the application; called on a thread of its own, so it may
/// take its time: a reading that is late is not accepted, and holds nothing up.
#[uniffi::export(foreign)]
pub trait DeviceProbe: Send + Sync {
    /// The device as it is now. What cannot be read is left out.
    ///
    /// # Errors
    /// [`ProbeError`] when nothing could be read: the device is then unknown.
    fn read(&self) -> Result<DeviceState, ProbeError>;
}

pub(crate) struct HostProbe(Arc<dyn DeviceProbe>);

impl HostProbe {
    pub(crate) fn boxed(probe: Arc<dyn DeviceProbe>) -> Box<dyn fogcompute::harvest::DeviceProbe> {
        Box::new(Self(probe))
    }
}

impl fogcompute::harvest::DeviceProbe for HostProbe {
    fn read(&mut self, now: Instant) -> Result<fogcompute::DeviceState, fogcompute::ProbeError> {
        let state = self.0.read().map_err(fogcompute::ProbeError::from)?;
        Ok(fogcompute::DeviceState {
            read_at: now,
            ..state.into()
        })
    }
}

/// Where a task of a worker is.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct TaskStatus {
    /// `queued`, `running`, `suspended`, `succeeded`, `failed` and so on.
    pub state: String,
    /// Attempts that were begun.
    pub attempts: u32,
    /// Attempts that failed or vanished.
    pub failures: u32,
    /// Attempts that made way for the device's owner.
    pub preemptions: u32,
    /// Number of its last checkpoint, from 1; 0 without one.
    pub checkpoints: u64,
    /// How much the running attempt says is done, 0 to 1: not to be trusted.
    pub fraction_done: f64,
    /// Log that was kept, in bytes.
    pub log_bytes: u64,
}

/// How a worker is.
#[derive(Clone, Debug, PartialEq, uniffi::Record)]
pub struct WorkerStatus {
    /// Whether tasks may run now.
    pub lends: bool,
    /// Tasks that may run at a time now.
    pub slots: u32,
    /// Part of a processor that each of them may take, 0 to 1.
    pub cpu_share: f64,
    /// What the policy makes of the device: `idle`, `running`, `throttled`, `suspended`, `vacating`
    /// or `cooldown`; nothing before the first reading.
    pub state: Option<String>,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Readings that were looked at.
    pub readings: u64,
    /// Why the last reading failed, if it did.
    pub probe_error: Option<String>,
    /// Why the file cannot be written now, if it cannot.
    pub store_error: Option<String>,
    /// Tasks that have not ended.
    pub tasks_open: u64,
    /// Tasks that run or are suspended.
    pub tasks_running: u64,
}

/// The tasks of this device: kept in a file, run in sandboxes, when the policy allows it.
#[derive(uniffi::Object)]
pub struct Worker(Arc<fogcompute::Worker>);

#[uniffi::export]
impl Worker {
    /// Opens the file of tasks, or makes it, and goes on with those that have not ended, each from
    /// its last checkpoint.
    ///
    /// - `path`: the file; without it tasks are in memory.
    /// - `policy`: when tasks run.
    /// - `probe`: reads the device, again each `reading_every_ms`.
    /// - `slots`: most tasks at a time; without it one on each processor.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`], [`FogError::StorageLocked`] and the others of storage.
    #[uniffi::constructor(default(path = None, slots = None, reading_every_ms = 1000))]
    pub fn new(
        policy: Arc<HarvestPolicy>,
        probe: Arc<dyn DeviceProbe>,
        path: Option<String>,
        slots: Option<u32>,
        reading_every_ms: u64,
    ) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let usual = WorkerConfig::default();
            let config = WorkerConfig {
                path: path.map(PathBuf::from),
                slots: slots.unwrap_or(usual.slots),
                ..usual
            };
            let harvest = WorkerHarvest {
                reading_every: Duration::from_millis(reading_every_ms),
                ..WorkerHarvest::new(Some(policy.0.clone()), Box::new(HostProbe(probe)))
            };
            let host = WorkerHost {
                harvest: Some(harvest),
                ..WorkerHost::default()
            };
            Ok(Arc::new(Self(Arc::new(fogcompute::Worker::start(
                config, host,
            )?))))
        })
    }

    /// Hands a WebAssembly task in. Returns when it is on disk. Handed in again with its `key`, it is
    /// the same task.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`], [`FogError::IdReused`] for a key of another task,
    /// [`FogError::TooManyTasks`], [`FogError::Closed`], and those of storage.
    #[uniffi::method(default(limits = None, key = None))]
    pub fn submit(
        &self,
        module: Vec<u8>,
        input: Vec<u8>,
        limits: Option<Limits>,
        key: Option<String>,
    ) -> Result<Arc<WorkerTask>, FogError> {
        guarded(|| {
            let submitted = self.hand_in(module, vec![input], limits, key.as_deref())?;
            // A job of one input has one task.
            Ok(self.handle(task_id(submitted.job, 0)))
        })
    }

    /// Hands in a task for each input, all or none. Returns when they are on disk. Handed in again with
    /// their `key`, they are the same tasks.
    ///
    /// # Errors
    /// As [`Worker::submit`].
    #[uniffi::method(default(limits = None, key = None))]
    pub fn submit_all(
        &self,
        module: Vec<u8>,
        inputs: Vec<Vec<u8>>,
        limits: Option<Limits>,
        key: Option<String>,
    ) -> Result<Vec<Arc<WorkerTask>>, FogError> {
        guarded(|| {
            let submitted = self.hand_in(module, inputs, limits, key.as_deref())?;
            Ok(submitted.task_ids().map(|id| self.handle(id)).collect())
        })
    }

    /// The task of that id, whoever handed it in.
    ///
    /// # Errors
    /// [`FogError::UnknownTask`], [`FogError::InvalidArgument`], [`FogError::Closed`].
    pub fn task(&self, id: String) -> Result<Arc<WorkerTask>, FogError> {
        guarded(|| {
            let id: TaskId = id.parse().map_err(fogcompute::Error::Id)?;
            self.0.task(id).wait()?;
            Ok(self.handle(id))
        })
    }

    /// How the worker is.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn status(&self) -> Result<WorkerStatus, FogError> {
        guarded(|| {
            let status = self.0.status().wait()?;
            let (lends, slots, permille) = match status.permission {
                Permission::Run(budget) => (true, budget.slots, budget.cpu_permille),
                Permission::Suspend | Permission::Vacate | Permission::Stop => (false, 0, 0),
            };
            let reasons = status.answer.iter().flat_map(|answer| &answer.reasons);
            Ok(WorkerStatus {
                lends,
                slots,
                cpu_share: f64::from(permille) / 1_000.0,
                state: status
                    .answer
                    .as_ref()
                    .map(|answer| answer.state.to_string()),
                reasons: reasons.map(Reason::from).collect(),
                readings: status.readings,
                probe_error: status.probe_error.map(|error| error.to_string()),
                store_error: status.store_error.map(|error| error.to_string()),
                tasks_open: status.open as u64,
                tasks_running: status.running as u64,
            })
        })
    }

    /// Goes on under another policy.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn set_policy(&self, policy: Arc<HarvestPolicy>) -> Result<(), FogError> {
        guarded(|| Ok(self.0.set_policy(policy.0.clone()).wait()?))
    }

    /// Reads the device now: for an application that hears of a change.
    pub fn look(&self) {
        self.0.look();
    }

    /// Stops running tasks, which go on when the worker is opened again, and closes the file. Closing
    /// again does nothing. Releasing the last reference closes it too.
    pub fn close(&self) {
        // Every failure of closing is a thread that has ended already.
        let _ = guarded(|| {
            self.0.close();
            Ok(())
        });
    }
}

impl Drop for Worker {
    /// Tasks have a reference of their own to what they ask: without this, whoever still holds one
    /// would keep the file open.
    fn drop(&mut self) {
        self.close();
    }
}

impl Worker {
    fn hand_in(
        &self,
        module: Vec<u8>,
        inputs: Vec<Vec<u8>>,
        limits: Option<Limits>,
        key: Option<&str>,
    ) -> Result<Submitted, FogError> {
        let key = key.map(IdempotencyKey::new).transpose();
        let job = WorkerJob {
            key: key.map_err(|error| invalid_argument(format!("key: {error}")))?,
            limits: limits.map(Into::into).unwrap_or_default(),
            ..WorkerJob::new(module, inputs)
        };
        Ok(self.0.submit(job).wait()?)
    }

    fn handle(&self, id: TaskId) -> Arc<WorkerTask> {
        Arc::new(WorkerTask {
            id,
            worker: Arc::clone(&self.0),
        })
    }
}

/// A task of a worker, which goes on whether or not anybody has this.
#[derive(uniffi::Object)]
pub struct WorkerTask {
    id: TaskId,
    worker: Arc<fogcompute::Worker>,
}

#[uniffi::export]
impl WorkerTask {
    /// The task's id, 32 hexadecimal digits, under which `Worker.task` finds it again.
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// Where the task is.
    ///
    /// # Errors
    /// [`FogError::Closed`], and those of storage.
    pub fn status(&self) -> Result<TaskStatus, FogError> {
        guarded(|| {
            let status = self.worker.task(self.id).wait()?;
            Ok(TaskStatus {
                state: status.state.name().to_owned(),
                attempts: status.attempts,
                failures: status.failures,
                preemptions: status.preemptions,
                checkpoints: status.checkpoints,
                fraction_done: f64::from(status.permille) / 1_000.0,
                log_bytes: status.log_bytes,
            })
        })
    }

    /// Ends the task: its output is [`FogError::Cancelled`] from now on.
    ///
    /// # Errors
    /// [`FogError::Cancelled`] if it has ended already, [`FogError::Closed`], and those of storage.
    pub fn cancel(&self) -> Result<(), FogError> {
        guarded(|| Ok(self.worker.cancel(self.id).wait()?))
    }

    /// The output of a task that has ended.
    ///
    /// # Errors
    /// [`FogError::TaskOpen`] if it has not, whatever ended it without an output,
    /// [`FogError::Closed`].
    pub fn fetch(&self) -> Result<TaskOutput, FogError> {
        guarded(|| {
            let output = self.worker.fetch(self.id).wait()?;
            Ok(TaskOutput {
                output: output.output,
                usage: output.usage,
            })
        })
    }

    /// Begins to wait for the output.
    pub fn start_wait(&self) -> Arc<PendingOutput> {
        let output = self.worker.output(self.id);
        Arc::new(PendingOutput(Waiting::new(async move {
            let output = output.await?;
            Ok(TaskOutput {
                output: output.output,
                usage: output.usage,
            })
        })))
    }

    /// Begins to wait for more of the log: at most `bytes_max` bytes from byte `start` on.
    #[uniffi::method(default(bytes_max = 65536))]
    pub fn start_read_log(&self, start: u64, bytes_max: u32) -> Arc<PendingLog> {
        let log = self.worker.log(self.id, start, bytes_max as usize);
        Arc::new(PendingLog(Waiting::new(async move {
            let log = log.await?;
            Ok(TaskLog {
                data: log.bytes,
                next: log.next,
                ended: log.ended,
            })
        })))
    }
}

/// A piece of a task's log.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct TaskLog {
    /// The bytes.
    pub data: Vec<u8>,
    /// Where the next piece begins, from the log's beginning.
    pub next: u64,
    /// Nothing will follow.
    pub ended: bool,
}

/// An output that is waited for. Releasing it leaves the task as it is.
#[derive(uniffi::Object)]
pub struct PendingOutput(Waiting<TaskOutput>);

#[uniffi::export]
impl PendingOutput {
    /// Waits for the output. It can be taken once.
    ///
    /// # Errors
    /// Those of [`WorkerTask::fetch`] but [`FogError::TaskOpen`], [`FogError::Cancelled`] if the wait
    /// was given up, and [`FogError::Closed`] if the output was taken before.
    pub async fn wait(&self) -> Result<TaskOutput, FogError> {
        self.0.wait().await
    }

    /// Ends the wait with [`FogError::Cancelled`]. The task goes on.
    pub fn cancel(&self) {
        self.0.give_up();
    }
}

/// A piece of a log that is waited for.
#[derive(uniffi::Object)]
pub struct PendingLog(Waiting<TaskLog>);

#[uniffi::export]
impl PendingLog {
    /// Waits until there is some log, or the task has ended. It can be taken once.
    ///
    /// # Errors
    /// [`FogError::Closed`], also if it was taken before, [`FogError::Cancelled`] if the wait was given
    /// up, and those of storage.
    pub async fn wait(&self) -> Result<TaskLog, FogError> {
        self.0.wait().await
    }

    /// Ends the wait with [`FogError::Cancelled`].
    pub fn cancel(&self) {
        self.0.give_up();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};

    use fogcompute::{Battery, DeviceClass, Network};

    use super::*;

    const SUM: &[u8] = include_bytes!("../../../examples/wasm/sum.wasm");
    const ENDLESS: &[u8] = include_bytes!("../../vectors/endless.wasm");

    struct Fixed(Mutex<Result<f64, ProbeError>>);

    impl DeviceProbe for Fixed {
        fn read(&self) -> Result<DeviceState, ProbeError> {
            let temperature = self.0.lock().unwrap().clone()?;
            Ok(DeviceState {
                device_class: DeviceClass::Server,
                battery: Battery::Absent,
                network: Network::Ethernet,
                cpu_cores: Some(4),
                cpu_load: Some(0.1),
                memory_total_bytes: Some(16 << 30),
                memory_available_bytes: Some(8 << 30),
                battery_temperature_celsius: None,
                temperature_celsius: Some(temperature),
                metered: Some(false),
                screen_on: Some(false),
                user_idle_ms: None,
                minute_of_day: None,
            })
        }
    }

    fn worker(probe: &Arc<Fixed>) -> Arc<Worker> {
        let policy = "window = \"any\"\nuser_idle_min_seconds = 0\n\
                      user_idle_continue_min_seconds = 0\nresume_delay_seconds = 0";
        let policy = HarvestPolicy::from_toml(policy.to_owned()).unwrap();
        let probe = Arc::clone(probe) as Arc<dyn DeviceProbe>;
        Worker::new(policy, probe, None, Some(2), 3_600_000).unwrap()
    }

    fn in_state(worker: &Worker, state: &str) -> WorkerStatus {
        loop {
            let status = worker.status().unwrap();
            if status.state.as_deref() == Some(state) {
                return status;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn tasks_run_while_the_probe_says_that_they_may() {
        let probe = Arc::new(Fixed(Mutex::new(Ok(40.0))));
        let worker = worker(&probe);
        assert!(in_state(&worker, "running").lends);
        let task = worker
            .submit(SUM.to_vec(), vec![40, 2], None, Some("once".to_owned()))
            .unwrap();
        while task.status().unwrap().state != "succeeded" {
            std::thread::yield_now();
        }
        assert_eq!(task.fetch().unwrap().output, 42_u64.to_le_bytes());
        let again = worker.task(task.id()).unwrap();
        assert_eq!(again.status().unwrap().attempts, 1);

        let limits = Limits {
            fuel: Some(100_000_000_000_000),
            memory_bytes: None,
            output_bytes: None,
            log_bytes: None,
            wall_ms: None,
        };
        let long = worker
            .submit(ENDLESS.to_vec(), vec![], Some(limits), None)
            .unwrap();
        while long.status().unwrap().state != "running" {
            std::thread::yield_now();
        }
        // To give a wait up leaves the task as it is.
        let (output, log) = (long.start_wait(), long.start_read_log(0, 10));
        output.cancel();
        log.cancel();
        let poll = |future: Pin<&mut dyn Future<Output = FogError>>| {
            future.poll(&mut Context::from_waker(Waker::noop()))
        };
        let waited = poll(pin!(async { output.wait().await.unwrap_err() }));
        let read = poll(pin!(async { log.wait().await.unwrap_err() }));
        for given_up in [waited, read] {
            assert!(matches!(given_up, Poll::Ready(FogError::Cancelled { .. })));
        }
        let open = long.fetch().unwrap_err();
        assert!(matches!(open, FogError::TaskOpen { .. }), "{open:?}");
        *probe.0.lock().unwrap() = Err(ProbeError::Host {
            reason: "no permission".to_owned(),
        });
        worker.look();
        let status = in_state(&worker, "suspended");
        assert!(status.probe_error.unwrap().contains("no permission"));
        assert_eq!(long.status().unwrap().state, "suspended");
        long.cancel().unwrap();
        worker.close();
        assert!(matches!(task.status(), Err(FogError::Closed { .. })));
    }
}
