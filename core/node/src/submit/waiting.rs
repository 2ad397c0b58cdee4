//! Why tasks of a job wait, as a coordinator tells it: first of them, how many `u32`, code of the reason
//! `u8`, tasks before the first `u32`, text for people.

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{JobId, TaskId};
use fogcompute_coord::{WAITING_MAX, WaitReason, Waiting};

use super::protocol::{SAID_BYTES_MAX, read_all, shortened, unknown};
use crate::coordinate::CoordinatorService;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// What a task waits for. The number is its code on the wire and never changes.
        #[non_exhaustive]
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[repr(u8)]
        pub enum WaitingFor {
            $($(#[$doc])* $name = $code,)*
        }

        impl WaitingFor {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name for programs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// The coordinator cannot write down what happens.
    Disk = 1, "disk";
    /// There is no compute node.
    Node = 2, "node";
    /// A layer of the mixnet has no mixnode, and the job is not public.
    Mixnet = 3, "mixnet";
    /// No node lends anything just now.
    Lending = 4, "lending";
    /// No node that is there takes it as it is now.
    FittingNode = 5, "fitting_node";
    /// Nodes that can take it have others to do first.
    Turn = 6, "turn";
}

/// Tasks of a job that wait for the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WaitingTasks {
    /// The first of them.
    pub task: TaskId,
    /// How many.
    pub tasks: u32,
    /// What they wait for.
    pub waiting_for: WaitingFor,
    /// Tasks of the fog whose turn is before the first. Of [`WaitingFor::Turn`] alone; else 0.
    pub before: u32,
    /// The same for people, with the nearest miss where no node fits.
    pub said: String,
}

impl From<Waiting> for WaitingTasks {
    fn from(waiting: Waiting) -> Self {
        let count = |tasks: usize| u32::try_from(tasks).unwrap_or(u32::MAX);
        let (waiting_for, before) = match &waiting.reason {
            WaitReason::Stalled => (WaitingFor::Disk, 0),
            WaitReason::NoNode => (WaitingFor::Node, 0),
            WaitReason::NoMixnet => (WaitingFor::Mixnet, 0),
            WaitReason::NothingLent { .. } => (WaitingFor::Lending, 0),
            WaitReason::Busy { before } => (WaitingFor::Turn, count(*before)),
            // There are two more in this workspace, and both are about what nodes offer.
            _ => (WaitingFor::FittingNode, 0),
        };
        Self {
            task: waiting.task,
            tasks: count(waiting.tasks),
            waiting_for,
            before,
            said: shortened(&waiting.reason.to_string()).to_owned(),
        }
    }
}

pub(super) fn write_waiting(waiting: &WaitingTasks, out: &mut Writer) {
    out.raw(waiting.task.as_bytes());
    out.u32(waiting.tasks);
    out.u8(waiting.waiting_for as u8);
    out.u32(waiting.before);
    out.text(shortened(&waiting.said));
}

pub(super) fn read_all_waiting(reader: &mut Reader<'_>) -> Result<Vec<WaitingTasks>, DecodeError> {
    read_all(reader, WAITING_MAX, |reader| {
        let task = TaskId::from_bytes(reader.array()?);
        let tasks = reader.u32()?;
        let (at, code) = (reader.position(), reader.u8()?);
        let mut kinds = WaitingFor::ALL.iter().copied();
        let waiting_for = kinds.find(|it| *it as u8 == code);
        Ok(WaitingTasks {
            task,
            tasks,
            waiting_for: waiting_for.ok_or_else(|| unknown(at, code.into()))?,
            before: reader.u32()?,
            said: reader.text(SAID_BYTES_MAX)?.to_owned(),
        })
    })
}

impl CoordinatorService {
    /// Why tasks of a job wait, whosever it is.
    pub(super) fn waiting(&self, job: JobId) -> Vec<WaitingTasks> {
        let told = self.rules().waiting(job).into_iter();
        told.map(WaitingTasks::from).collect()
    }
}
