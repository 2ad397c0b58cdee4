//! What an executor is told, and what it tells the runtime.

use fogcompute_base::TaskId;

use crate::lifecycle::CheckpointRecord;
use crate::{ContentId, Limits, RuntimeKind, TaskError, Usage};

/// What the device lends now.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Budget {
    /// Tasks at a time.
    pub slots: u32,
    /// Memory of all running tasks together, by their limits, in bytes.
    pub memory_bytes: u64,
    /// Processor time that each task may take, in thousandths of one processor.
    pub cpu_permille: u32,
    /// Network traffic of each task, in bits a second.
    pub bits_per_second: u64,
}

/// Whether tasks may run now.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Permission {
    /// They may, with that budget.
    Run(Budget),
    /// Those that run keep their memory and pause; none starts.
    Suspend,
    /// Those that run write a checkpoint and make way.
    Vacate,
    /// Those that run are stopped at once.
    Stop,
}

/// What the runtime, or the host, tells the executor about an attempt.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It runs.
    Started,
    /// It was suspended.
    Suspended,
    /// It goes on.
    Resumed,
    /// It has written a checkpoint. The host hands the bytes to its store together with the record
    /// that follows.
    Checkpointed {
        /// The bytes, by name.
        content: ContentId,
        /// Their length.
        bytes: u64,
        /// Fuel used so far, in all attempts that led there.
        fuel: u64,
    },
    /// It has written to its log.
    Log {
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// It returned an output. It is over.
    Succeeded {
        /// The output, by name.
        output: ContentId,
        /// What the attempt used.
        usage: Usage,
    },
    /// It ended with an error. It is over.
    Failed {
        /// The error.
        error: TaskError,
    },
    /// It was stopped, as [`Command::Cancel`] asked. It is over.
    Stopped,
    /// What ran it is gone: a thread, a process, a node. It is over.
    Lost,
}

impl Event {
    /// Whether the attempt is over with it.
    #[must_use]
    pub const fn ends_attempt(&self) -> bool {
        matches!(
            self,
            Self::Succeeded { .. } | Self::Failed { .. } | Self::Stopped | Self::Lost
        )
    }
}

/// Names the attempt that a command is about; events name it by task and attempt.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Target {
    /// The task.
    pub task: TaskId,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// The slot it has.
    pub slot: u32,
}

/// What a runtime needs to start an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The attempt.
    pub target: Target,
    /// What runs it.
    pub runtime: RuntimeKind,
    /// The program, by name.
    pub program: ContentId,
    /// The inputs, by name; see [`join_inputs`](crate::join_inputs).
    pub inputs: Vec<ContentId>,
    /// For the runtime.
    pub options: Vec<u8>,
    /// What it may use.
    pub limits: Limits,
    /// Where to go on. If its bytes are not to be had, the attempt begins at the start.
    pub resume: Option<CheckpointRecord>,
    /// Processor time, in thousandths of one processor.
    pub cpu_permille: u32,
    /// Network traffic, in bits a second.
    pub bits_per_second: u64,
}

/// What the runtime is to do. Commands about one attempt are carried out in their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Start it, then say [`Event::Started`].
    Start(Box<Start>),
    /// Stop it for good, then say [`Event::Stopped`], or how it ended if it was faster.
    Cancel(Target),
    /// Pause it, then say [`Event::Suspended`].
    Suspend(Target),
    /// Let it go on, then say [`Event::Resumed`].
    Resume(Target),
    /// Ask it for a checkpoint; [`Event::Checkpointed`] may follow or not.
    Checkpoint(Target),
    /// Change what it may take from the device.
    Throttle {
        /// The attempt.
        target: Target,
        /// Processor time, in thousandths of one processor.
        cpu_permille: u32,
        /// Network traffic, in bits a second.
        bits_per_second: u64,
    },
}

impl Command {
    /// The attempt it is about.
    #[must_use]
    pub const fn target(&self) -> Target {
        match self {
            Self::Start(start) => start.target,
            Self::Cancel(target)
            | Self::Suspend(target)
            | Self::Resume(target)
            | Self::Checkpoint(target)
            | Self::Throttle { target, .. } => *target,
        }
    }
}
