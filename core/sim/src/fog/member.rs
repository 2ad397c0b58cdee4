//! The processes of a fog as one type.

use fogcompute_base::{Instant, JobId, TaskId};
use fogcompute_coord::{Event, JobSummary, RecoverError};

use crate::fog::coordinator::{CoordinatorKept, CoordinatorProcess, CoordinatorSetup};
use crate::fog::message::FogMessage;
use crate::fog::node::{Node, NodeKept, NodeSetup};
use crate::fog::submitter::{Submitter, SubmitterKept, SubmitterSetup};
use crate::process::{Context, Process, ProcessId};

pub(crate) type FogContext<'a> = Context<'a, Member>;

/// One process of a fog.
#[derive(Debug)]
pub enum Member {
    /// The coordinator.
    Coordinator(Box<CoordinatorProcess>),
    /// A node.
    Node(Node),
    /// A submitter.
    Submitter(Submitter),
}

/// What a process of a fog is started with.
#[derive(Clone, Debug)]
pub enum Setup {
    /// The coordinator.
    Coordinator(Box<CoordinatorSetup>),
    /// A node.
    Node(NodeSetup),
    /// A submitter.
    Submitter(SubmitterSetup),
}

/// What the disk of a process of a fog keeps.
#[derive(Debug, Default)]
pub enum Kept {
    /// Nothing was ever written.
    #[default]
    Nothing,
    /// A coordinator's.
    Coordinator(Box<CoordinatorKept>),
    /// A node's.
    Node(NodeKept),
    /// A submitter's.
    Submitter(SubmitterKept),
}

impl Kept {
    /// What a coordinator keeps.
    #[must_use]
    pub fn coordinator(&self) -> Option<&CoordinatorKept> {
        match self {
            Self::Coordinator(kept) => Some(kept),
            _ => None,
        }
    }

    /// What a node keeps.
    #[must_use]
    pub const fn node(&self) -> Option<&NodeKept> {
        match self {
            Self::Node(kept) => Some(kept),
            _ => None,
        }
    }

    /// What a submitter keeps.
    #[must_use]
    pub const fn submitter(&self) -> Option<&SubmitterKept> {
        match self {
            Self::Submitter(kept) => Some(kept),
            _ => None,
        }
    }

    pub(crate) fn coordinator_mut(&mut self) -> &mut CoordinatorKept {
        if !matches!(self, Self::Coordinator(_)) {
            *self = Self::Coordinator(Box::default());
        }
        let Self::Coordinator(kept) = self else {
            unreachable!("it was made so above");
        };
        kept
    }

    pub(crate) fn node_mut(&mut self) -> &mut NodeKept {
        if !matches!(self, Self::Node(_)) {
            *self = Self::Node(NodeKept::default());
        }
        let Self::Node(kept) = self else {
            unreachable!("it was made so above");
        };
        kept
    }

    pub(crate) fn submitter_mut(&mut self) -> &mut SubmitterKept {
        if !matches!(self, Self::Submitter(_)) {
            *self = Self::Submitter(SubmitterKept::default());
        }
        let Self::Submitter(kept) = self else {
            unreachable!("it was made so above");
        };
        kept
    }
}

/// What a process of a fog tells those who look on.
#[derive(Debug)]
pub enum Fact {
    /// The coordinator's rules decided something. Dispatches are known from their messages.
    Decided {
        /// By the coordinator's clock.
        now: Instant,
        /// What.
        event: Event,
    },
    /// The coordinator could not go on from what it kept.
    NotRecovered(RecoverError),
    /// The coordinator could not write down, or settle, what happened.
    Stalled,
    /// A node has done an attempt.
    Done {
        /// Which task.
        task: TaskId,
        /// Which attempt.
        attempt: u32,
    },
    /// A submitter was told that its job is admitted.
    Acknowledged {
        /// Which.
        job: JobId,
    },
    /// A submitter was told that its job will never be admitted.
    Refused {
        /// Which.
        job: JobId,
    },
    /// A submitter was told that its job has ended.
    Finished {
        /// Which.
        job: JobId,
        /// What became of it.
        summary: JobSummary,
    },
    /// A submitter was told that nobody knows its job, which was admitted.
    Forgotten {
        /// Which.
        job: JobId,
    },
}

impl Process for Member {
    type Message = FogMessage;
    type Setup = Setup;
    type Storage = Kept;
    type Fact = Fact;

    fn boot(setup: &Setup, context: &mut FogContext<'_>) -> Self {
        match setup {
            Setup::Coordinator(setup) => {
                Self::Coordinator(Box::new(CoordinatorProcess::boot(setup, context)))
            }
            Setup::Node(setup) => Self::Node(Node::boot(setup, context)),
            Setup::Submitter(setup) => Self::Submitter(Submitter::boot(setup, context)),
        }
    }

    fn receive(&mut self, from: ProcessId, message: FogMessage, context: &mut FogContext<'_>) {
        match self {
            Self::Coordinator(coordinator) => coordinator.receive(from, message, context),
            Self::Node(node) => node.receive(message, context),
            Self::Submitter(submitter) => submitter.receive(&message, context),
        }
    }

    fn wake(&mut self, context: &mut FogContext<'_>) {
        match self {
            Self::Coordinator(coordinator) => coordinator.wake(context),
            Self::Node(node) => node.wake(context),
            Self::Submitter(submitter) => submitter.wake(context),
        }
    }

    fn hung_up(&mut self, peer: ProcessId, context: &mut FogContext<'_>) {
        match self {
            Self::Coordinator(coordinator) => coordinator.hung_up(peer, context),
            Self::Node(node) => node.hung_up(context),
            // It asks again when it always would.
            Self::Submitter(_) => {}
        }
    }
}
