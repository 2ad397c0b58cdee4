//! A fog in this process.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fogcompute::{FogCanceller, FogConfig, TaskSpec, Usage};

use crate::FogError;
use crate::error::guarded;

/// What a task may use before it is stopped. What is left out keeps the library's default.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Limits {
    /// Work, in units of fuel; about one per simple instruction.
    #[uniffi(default = None)]
    pub fuel: Option<u64>,
    /// Memory in bytes: 64 KiB to 4 GiB.
    #[uniffi(default = None)]
    pub memory_bytes: Option<u64>,
    /// Output in bytes: at most 1 MiB.
    #[uniffi(default = None)]
    pub output_bytes: Option<u64>,
    /// Log that is kept, in bytes: at most 1 MiB. What is over it is dropped, and the task goes on.
    #[uniffi(default = None)]
    pub log_bytes: Option<u64>,
    /// Time in milliseconds, that in suspension left out: up to a year. Without it, until the fuel is
    /// used up.
    #[uniffi(default = None)]
    pub wall_ms: Option<u64>,
}

impl From<Limits> for fogcompute::Limits {
    fn from(limits: Limits) -> Self {
        let default = Self::default();
        Self {
            fuel: limits.fuel.unwrap_or(default.fuel),
            memory_bytes: limits.memory_bytes.unwrap_or(default.memory_bytes),
            output_bytes: limits.output_bytes.unwrap_or(default.output_bytes),
            log_bytes: limits.log_bytes.unwrap_or(default.log_bytes),
            wall: limits.wall_ms.map(Duration::from_millis).or(default.wall),
        }
    }
}

/// What a task used.
#[uniffi::remote(Record)]
pub struct Usage {
    /// Work done, in units of fuel: the same on every machine.
    pub fuel: u64,
    /// Most memory held at once, in bytes.
    pub memory_bytes_peak: u64,
    /// Time from call to return: differs from run to run.
    pub wall: Duration,
}

/// The result of a task that succeeded.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct TaskOutput {
    /// What the task returned.
    pub output: Vec<u8>,
    /// What it used.
    pub usage: Usage,
}

/// What a fog has done so far. Amounts are decimal text of base units.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct FogStats {
    /// Tasks that ended with an output.
    pub succeeded: u64,
    /// Tasks that ended otherwise.
    pub failed: u64,
    /// What the owner can still spend.
    pub available: String,
    /// What was paid to workers.
    pub paid: String,
}

/// A fog inside this process: a coordinator, worker threads with WASM sandboxes, and a ledger in
/// memory. Tasks are admitted, placed, run and paid for as in a fog of many machines.
#[derive(uniffi::Object)]
pub struct Fog(fogcompute::Fog);

#[uniffi::export]
impl Fog {
    /// Starts a fog. What is left out keeps the library's default; amounts are decimal text of
    /// base units. It measures how fast this machine is, which takes some milliseconds.
    ///
    /// - `workers`: worker threads, each a node of its own.
    /// - `seed`: of the optimiser that places tasks.
    /// - `memory_bytes`: memory each worker lends.
    /// - `endowment`: credits the owner starts with, to pay the workers from.
    /// - `price_per_gigafuel`: what a worker asks for 10⁹ fuel.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for a number of workers or an amount that makes no sense.
    #[uniffi::constructor(default(
        workers = None,
        seed = None,
        memory_bytes = None,
        endowment = None,
        price_per_gigafuel = None
    ))]
    pub fn new(
        workers: Option<u32>,
        seed: Option<u64>,
        memory_bytes: Option<u64>,
        endowment: Option<String>,
        price_per_gigafuel: Option<String>,
    ) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let mut config = FogConfig::default();
            if let Some(workers) = workers {
                config.workers = workers as usize;
            }
            if let Some(seed) = seed {
                config.seed = seed;
            }
            if let Some(memory_bytes) = memory_bytes {
                config.memory_bytes = memory_bytes;
            }
            if let Some(endowment) = endowment {
                config.endowment = endowment.parse()?;
            }
            if let Some(price) = price_per_gigafuel {
                config.price_per_gigafuel = price.parse()?;
            }
            Ok(Arc::new(Self(fogcompute::Fog::new(config)?)))
        })
    }

    /// Hands a WebAssembly task in. What goes wrong later comes out of the task.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] for a module, an input or limits that cannot be handed in,
    /// [`FogError::Closed`].
    #[uniffi::method(default(limits = None))]
    pub fn submit(
        &self,
        module: Vec<u8>,
        input: Vec<u8>,
        limits: Option<Limits>,
    ) -> Result<Arc<FogTask>, FogError> {
        guarded(|| {
            let limits = limits.map(Into::into).unwrap_or_default();
            let task = self.0.submit(TaskSpec::new(module, input, limits)?)?;
            Ok(Arc::new(FogTask {
                id: task.id().to_string(),
                canceller: task.canceller(),
                task: Mutex::new(Some(task)),
            }))
        })
    }

    /// What the fog has done so far.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn stats(&self) -> Result<FogStats, FogError> {
        guarded(|| {
            let stats = self.0.stats()?;
            Ok(FogStats {
                succeeded: stats.succeeded,
                failed: stats.failed,
                available: stats.available.to_string(),
                paid: stats.paid.to_string(),
            })
        })
    }

    /// Stops the fog: running tasks are cancelled, waiting ones end with [`FogError::Closed`].
    /// Closing again does nothing. Releasing the last reference closes it too.
    pub fn close(&self) {
        // Every failure of closing is a thread that has ended already.
        let _ = guarded(|| {
            self.0.close();
            Ok(())
        });
    }
}

/// A task of a fog: wait for it, or cancel it. Releasing it unwaited cancels it.
#[derive(uniffi::Object)]
pub struct FogTask {
    id: String,
    canceller: FogCanceller,
    task: Mutex<Option<fogcompute::FogTask>>,
}

#[uniffi::export]
impl FogTask {
    /// The task's id, 32 hexadecimal digits.
    pub fn id(&self) -> String {
        self.id.clone()
    }

    /// Asks the task to stop: it ends with [`FogError::Cancelled`] unless it ends otherwise first.
    pub fn cancel(&self) {
        self.canceller.cancel();
    }

    /// Waits for the output. It can be taken once. A wait that is given up cancels the task.
    ///
    /// # Errors
    /// Whatever ended the task, [`FogError::Closed`] if the fog was closed or the output was taken
    /// before.
    pub async fn wait(&self) -> Result<TaskOutput, FogError> {
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(task) = task else {
            let message = "the task was waited for already".to_owned();
            return Err(FogError::Closed { message });
        };
        let output = task.await?;
        Ok(TaskOutput {
            output: output.output,
            usage: output.usage,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::{self, Thread};

    use super::*;

    const SUM: &[u8] = include_bytes!("../../../examples/wasm/sum.wasm");
    const ENDLESS: &[u8] = include_bytes!("../../vectors/endless.wasm");

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn wait(task: &FogTask) -> Result<TaskOutput, FogError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = pin!(task.wait());
        loop {
            if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return result;
            }
            thread::park();
        }
    }

    fn fog() -> Arc<Fog> {
        // Cheap enough for the endless task: a placement's cost must fit 64 bits.
        Fog::new(Some(1), None, None, None, Some("1".to_owned())).unwrap()
    }

    fn endless(fog: &Fog) -> Arc<FogTask> {
        let limits = Limits {
            // Days of work.
            fuel: Some(100_000_000_000_000),
            memory_bytes: None,
            output_bytes: None,
            log_bytes: None,
            wall_ms: None,
        };
        fog.submit(ENDLESS.to_vec(), vec![], Some(limits)).unwrap()
    }

    #[test]
    fn a_task_gives_its_output_once() {
        let fog = fog();
        let task = fog.submit(SUM.to_vec(), vec![40, 2], None).unwrap();
        assert_eq!(task.id().len(), 32);
        let output = wait(&task).unwrap();
        assert_eq!(output.output, 42_u64.to_le_bytes());
        assert!(output.usage.fuel > 0);
        assert!(matches!(wait(&task), Err(FogError::Closed { .. })));
        assert_eq!(fog.stats().unwrap().succeeded, 1);
    }

    #[test]
    fn a_cancelled_task_ends() {
        let fog = fog();
        let task = endless(&fog);
        task.cancel();
        let ended = wait(&task);
        assert!(
            matches!(ended, Err(FogError::Cancelled { .. })),
            "{ended:?}"
        );
    }

    #[test]
    fn a_wait_that_is_given_up_cancels_the_task() {
        let fog = fog();
        let task = endless(&fog);
        {
            let mut future = pin!(task.wait());
            let polled = future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
        }
        // The only worker is free again, so the next task ends.
        let next = fog.submit(SUM.to_vec(), vec![1], None).unwrap();
        assert_eq!(wait(&next).unwrap().output, 1_u64.to_le_bytes());
        assert_eq!(fog.stats().unwrap().failed, 1);
    }

    #[test]
    fn closing_ends_what_waits() {
        let fog = fog();
        let task = endless(&fog);
        fog.close();
        fog.close();
        let ended = wait(&task);
        assert!(matches!(ended, Err(FogError::Closed { .. })), "{ended:?}");
        assert!(matches!(fog.stats(), Err(FogError::Closed { .. })));
    }

    #[test]
    fn arguments_that_make_no_sense_are_refused() {
        let refused = |fog: Result<Arc<Fog>, FogError>| {
            assert!(matches!(fog, Err(FogError::InvalidArgument { .. })));
        };
        refused(Fog::new(Some(0), None, None, None, None));
        refused(Fog::new(None, None, None, Some("-1".to_owned()), None));
        let error = fog().submit(vec![], vec![], None);
        assert!(matches!(error, Err(FogError::InvalidArgument { .. })));
    }
}
