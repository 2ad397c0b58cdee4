//! Where a task is in its life on the node that runs it, and how it came there.
//!
//! [`TaskState`](crate::TaskState) is the shorter view that a coordinator of many nodes has.
//!
//! | state | meaning | becomes |
//! |---|---|---|
//! | [`Submitted`](State::Submitted) | written down, not yet accepted | admitted, failed (refused) |
//! | [`Admitted`](State::Admitted) | accepted, waits for other tasks | queued, skipped |
//! | [`Queued`](State::Queued) | could run, waits for a slot | assigned |
//! | [`Assigned`](State::Assigned) | the runtime is told to start it | running, and as running |
//! | [`Running`](State::Running) | runs; becomes running again at each checkpoint | running, suspended, stopping, succeeded, failed, retrying, lost |
//! | [`Suspended`](State::Suspended) | holds its slot and memory, uses no processor | as running |
//! | [`Stopping`](State::Stopping) | the runtime is told to stop it | cancelled, timed out, retrying, lost |
//! | [`Retrying`](State::Retrying) | an attempt ended without a result; waits for the next | queued |
//! | [`Succeeded`](State::Succeeded) | ended with an output | |
//! | [`Failed`](State::Failed) | ended with an error | |
//! | [`Cancelled`](State::Cancelled) | ended by its owner | |
//! | [`TimedOut`](State::TimedOut) | ended by its deadline or its longest run time | |
//! | [`Lost`](State::Lost) | given up: attempts kept vanishing | |
//! | [`Skipped`](State::Skipped) | never ran: a task that it waited for did not succeed | |
//!
//! From each state that is not an end, cancelling and the deadline lead to `Cancelled` and
//! `TimedOut`: by way of `Stopping` where the runtime has the task, at once where it has not.

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{TaskId, UnixMillis};
use thiserror::Error;

use crate::{ContentId, TaskError, Usage};

/// Version of the encodings.
const VERSION: u8 = 1;

/// Which attempt, and where.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Attempt {
    /// Its number, from 1. It rises with every assignment and is a fencing token: what is said of
    /// an earlier attempt changes nothing any more.
    pub number: u32,
    /// The slot it has, from 0.
    pub slot: u32,
}

/// What is made of a task when it has stopped.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
pub enum Stop {
    /// It is cancelled.
    Cancel = 1,
    /// It has timed out.
    TimeOut = 2,
    /// It makes way and is tried again, from its last checkpoint.
    Preempt = 3,
    /// It was not started in time and is tried again.
    Restart = 4,
}

/// Where a task is in its life: see the table of the [module](self).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum State {
    /// Written down, not yet accepted.
    Submitted,
    /// Accepted, waits for other tasks.
    Admitted,
    /// Waits for a slot.
    Queued,
    /// The runtime is told to start it.
    Assigned(Attempt),
    /// Runs.
    Running(Attempt),
    /// Holds its slot and its memory, uses no processor.
    Suspended(Attempt),
    /// The runtime is told to stop it.
    Stopping {
        /// The attempt that is stopped.
        attempt: Attempt,
        /// What comes then.
        stop: Stop,
    },
    /// An attempt ended without a result; the next is made at that time.
    Retrying {
        /// When it is queued again.
        due: UnixMillis,
    },
    /// Ended with an output.
    Succeeded {
        /// What it returned.
        output: ContentId,
    },
    /// Ended with an error, which [`Life::error`] has, or refused.
    Failed,
    /// Ended by its owner.
    Cancelled,
    /// Ended by its deadline or its longest run time.
    TimedOut,
    /// Given up: attempts kept vanishing, or it had to make way too often.
    Lost,
    /// Never ran: a task that it waited for did not succeed.
    Skipped,
}

impl State {
    /// Whether the task has ended.
    #[must_use]
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Succeeded { .. }
                | Self::Failed
                | Self::Cancelled
                | Self::TimedOut
                | Self::Lost
                | Self::Skipped
        )
    }

    /// The attempt that the runtime has.
    #[must_use]
    pub const fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Assigned(attempt)
            | Self::Running(attempt)
            | Self::Suspended(attempt)
            | Self::Stopping { attempt, .. } => Some(*attempt),
            _ => None,
        }
    }

    /// One word, for people and for tables.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Admitted => "admitted",
            Self::Queued => "queued",
            Self::Assigned(_) => "assigned",
            Self::Running(_) => "running",
            Self::Suspended(_) => "suspended",
            Self::Stopping { .. } => "stopping",
            Self::Retrying { .. } => "retrying",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed-out",
            Self::Lost => "lost",
            Self::Skipped => "skipped",
        }
    }

    /// Whether a task may go from here to `next` in one step.
    #[must_use]
    pub fn may_become(&self, next: &Self) -> bool {
        if self.is_terminal() {
            return false;
        }
        // An attempt keeps its number and slot until it is over.
        if let (Some(attempt), Some(same)) = (self.attempt(), next.attempt())
            && attempt != same
        {
            return false;
        }
        match (self, next) {
            (Self::Submitted, to) => {
                matches!(
                    to,
                    Self::Admitted | Self::Failed | Self::Cancelled | Self::TimedOut
                )
            }
            (Self::Admitted, to) => matches!(
                to,
                Self::Queued | Self::Skipped | Self::Cancelled | Self::TimedOut
            ),
            (Self::Queued, to) => {
                matches!(to, Self::Assigned(_) | Self::Cancelled | Self::TimedOut)
            }
            (Self::Retrying { .. }, to) => {
                matches!(to, Self::Queued | Self::Cancelled | Self::TimedOut)
            }
            (Self::Assigned(_) | Self::Running(_) | Self::Suspended(_), to) => matches!(
                to,
                Self::Running(_)
                    | Self::Suspended(_)
                    | Self::Stopping { .. }
                    | Self::Retrying { .. }
                    | Self::Succeeded { .. }
                    | Self::Failed
                    | Self::Lost
            ),
            // A stop that makes way may still become one for good, and one for good stays that. It
            // stays what it is when a checkpoint still comes.
            (Self::Stopping { stop, .. }, Self::Stopping { stop: next, .. }) => {
                matches!(stop, Stop::Preempt | Stop::Restart)
                    && (stop == next || matches!(next, Stop::Cancel | Stop::TimeOut))
            }
            (Self::Stopping { stop, .. }, to) => match stop {
                Stop::Cancel => *to == Self::Cancelled,
                Stop::TimeOut => *to == Self::TimedOut,
                Stop::Preempt | Stop::Restart => matches!(
                    to,
                    Self::Retrying { .. } | Self::Lost | Self::Succeeded { .. } | Self::Failed
                ),
            },
            _ => false,
        }
    }

    fn encode_to(&self, writer: &mut Writer) {
        let attempt = |writer: &mut Writer, attempt: &Attempt| {
            writer.u32(attempt.number);
            writer.u32(attempt.slot);
        };
        match self {
            Self::Submitted => writer.u8(1),
            Self::Admitted => writer.u8(2),
            Self::Queued => writer.u8(3),
            Self::Assigned(a) => {
                writer.u8(4);
                attempt(writer, a);
            }
            Self::Running(a) => {
                writer.u8(5);
                attempt(writer, a);
            }
            Self::Suspended(a) => {
                writer.u8(6);
                attempt(writer, a);
            }
            Self::Stopping { attempt: a, stop } => {
                writer.u8(7);
                attempt(writer, a);
                writer.u8(*stop as u8);
            }
            Self::Retrying { due } => {
                writer.u8(8);
                writer.u64(due.0);
            }
            Self::Succeeded { output } => {
                writer.u8(9);
                writer.raw(output.as_bytes());
            }
            Self::Failed => writer.u8(10),
            Self::Cancelled => writer.u8(11),
            Self::TimedOut => writer.u8(12),
            Self::Lost => writer.u8(13),
            Self::Skipped => writer.u8(14),
        }
    }

    fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = reader.position();
        let attempt = |reader: &mut Reader<'_>| {
            Ok(Attempt {
                number: reader.u32()?,
                slot: reader.u32()?,
            })
        };
        Ok(match reader.u8()? {
            1 => Self::Submitted,
            2 => Self::Admitted,
            3 => Self::Queued,
            4 => Self::Assigned(attempt(reader)?),
            5 => Self::Running(attempt(reader)?),
            6 => Self::Suspended(attempt(reader)?),
            7 => Self::Stopping {
                attempt: attempt(reader)?,
                stop: {
                    let at = reader.position();
                    match reader.u8()? {
                        1 => Stop::Cancel,
                        2 => Stop::TimeOut,
                        3 => Stop::Preempt,
                        4 => Stop::Restart,
                        other => return Err(unknown(at, other)),
                    }
                },
            },
            8 => Self::Retrying {
                due: UnixMillis(reader.u64()?),
            },
            9 => Self::Succeeded {
                output: ContentId::decode_from(reader)?,
            },
            10 => Self::Failed,
            11 => Self::Cancelled,
            12 => Self::TimedOut,
            13 => Self::Lost,
            14 => Self::Skipped,
            other => return Err(unknown(at, other)),
        })
    }
}

/// Why a task went from one state to the next.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Cause {
    /// It was submitted.
    Submitted,
    /// It was accepted.
    Admitted,
    /// It was not accepted.
    Refused,
    /// All that it waited for has succeeded.
    Ready,
    /// A task that it waited for did not succeed.
    DependencyEnded {
        /// That task.
        task: TaskId,
    },
    /// It has waited long enough after its last attempt.
    BackoffOver,
    /// There was a slot for it, and the budget had room.
    SlotFree,
    /// The runtime has started it.
    Started,
    /// The device's owner needs the device for a while.
    Suspended,
    /// The device is free again.
    Resumed,
    /// It has written a checkpoint.
    Checkpointed {
        /// Number of the checkpoint, from 1.
        sequence: u64,
    },
    /// It returned an output.
    Returned,
    /// It ended with an error, for good or for this attempt.
    TaskFailed,
    /// What ran it is gone.
    AttemptLost,
    /// The runtime did not start it in time.
    NotStarted,
    /// The executor itself was started again.
    ExecutorRestarted,
    /// Its owner does not want it any more.
    CancelAsked,
    /// Its deadline has passed.
    DeadlinePassed,
    /// The attempt has run longer than it may.
    RunTimeOver,
    /// The device's owner needs the device, or its budget has shrunk.
    Preempted,
    /// The runtime says that it has stopped.
    StopConfirmed,
    /// The runtime did not say that it has stopped. Its slot stays taken until it does.
    StopUnconfirmed,
}

impl Cause {
    /// One word, for people and for tables.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Admitted => "admitted",
            Self::Refused => "refused",
            Self::Ready => "ready",
            Self::DependencyEnded { .. } => "dependency-ended",
            Self::BackoffOver => "backoff-over",
            Self::SlotFree => "slot-free",
            Self::Started => "started",
            Self::Suspended => "suspended",
            Self::Resumed => "resumed",
            Self::Checkpointed { .. } => "checkpointed",
            Self::Returned => "returned",
            Self::TaskFailed => "task-failed",
            Self::AttemptLost => "attempt-lost",
            Self::NotStarted => "not-started",
            Self::ExecutorRestarted => "executor-restarted",
            Self::CancelAsked => "cancel-asked",
            Self::DeadlinePassed => "deadline-passed",
            Self::RunTimeOver => "run-time-over",
            Self::Preempted => "preempted",
            Self::StopConfirmed => "stop-confirmed",
            Self::StopUnconfirmed => "stop-unconfirmed",
        }
    }

    /// Causes without fields, and their numbers.
    const PLAIN: [(u8, Self); 20] = [
        (1, Self::Submitted),
        (2, Self::Admitted),
        (3, Self::Refused),
        (4, Self::Ready),
        (6, Self::BackoffOver),
        (7, Self::SlotFree),
        (8, Self::Started),
        (9, Self::Suspended),
        (10, Self::Resumed),
        (12, Self::Returned),
        (13, Self::TaskFailed),
        (14, Self::AttemptLost),
        (15, Self::NotStarted),
        (16, Self::ExecutorRestarted),
        (17, Self::CancelAsked),
        (18, Self::DeadlinePassed),
        (19, Self::RunTimeOver),
        (20, Self::Preempted),
        (21, Self::StopConfirmed),
        (22, Self::StopUnconfirmed),
    ];

    fn encode_to(&self, writer: &mut Writer) {
        match self {
            Self::DependencyEnded { task } => {
                writer.u8(5);
                writer.raw(task.as_bytes());
            }
            Self::Checkpointed { sequence } => {
                writer.u8(11);
                writer.u64(*sequence);
            }
            plain => {
                let row = Self::PLAIN.iter().find(|(_, cause)| cause == plain);
                writer.u8(row.expect("the table has all others").0);
            }
        }
    }

    fn decode_from(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let at = reader.position();
        match reader.u8()? {
            5 => Ok(Self::DependencyEnded {
                task: TaskId::from_bytes(reader.array()?),
            }),
            11 => Ok(Self::Checkpointed {
                sequence: reader.u64()?,
            }),
            code => Self::PLAIN
                .iter()
                .find(|(row, _)| *row == code)
                .map(|(_, cause)| *cause)
                .ok_or(unknown(at, code)),
        }
    }
}

fn unknown(at: usize, value: u8) -> DecodeError {
    DecodeError::Unknown {
        at,
        value: value.into(),
    }
}

/// One step of a task's life, as it is stored.
///
/// Encoding, version 1, integers big-endian: version of 1 byte, task of 16, number of 4, time of
/// 8, state, cause. A state is 1 byte and its fields, and so is a cause.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transition {
    /// The task.
    pub task: TaskId,
    /// Number of the step in the task's life, from 1.
    pub number: u32,
    /// When.
    pub time: UnixMillis,
    /// Where the task is then.
    pub to: State,
    /// Why.
    pub cause: Cause,
}

impl Transition {
    /// The step as bytes, see above.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.raw(self.task.as_bytes());
        writer.u32(self.number);
        writer.u64(self.time.0);
        self.to.encode_to(&mut writer);
        self.cause.encode_to(&mut writer);
        writer.finish()
    }

    /// Reads a step.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let transition = Self {
            task: TaskId::from_bytes(reader.array()?),
            number: reader.u32()?,
            time: UnixMillis(reader.u64()?),
            to: State::decode_from(&mut reader)?,
            cause: Cause::decode_from(&mut reader)?,
        };
        reader.finish()?;
        Ok(transition)
    }
}

fn version(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let at = reader.position();
    match reader.u8()? {
        VERSION => Ok(()),
        other => Err(unknown(at, other)),
    }
}

/// What a task can go on from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CheckpointRecord {
    /// Number of the checkpoint in the task's life, from 1.
    pub sequence: u64,
    /// Its bytes, by name.
    pub content: ContentId,
    /// Length of the bytes.
    pub bytes: u64,
    /// Fuel that the task had used by then, in all attempts that led there.
    pub fuel: u64,
    /// The attempt that wrote it.
    pub attempt: u32,
}

/// Why a checkpoint is not taken.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum CheckpointError {
    /// It is longer than the executor's limit. The task goes on without it.
    #[error("checkpoint of {actual} bytes exceeds {limit}")]
    TooLong {
        /// Its length, in bytes.
        actual: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The task had used more fuel at an earlier checkpoint.
    #[error("checkpoint at fuel {actual} comes after one at {last}")]
    Backwards {
        /// Fuel at this one.
        actual: u64,
        /// Fuel at the one before.
        last: u64,
    },
}

/// Everything about a task that changes.
///
/// Encoding, version 1, integers big-endian; an optional field is 1 byte 0, or 1 byte 1 and the
/// field:
///
/// | field | bytes |
/// |---|---|
/// | version | 1, value 1 |
/// | state | 1 and its fields |
/// | steps, attempts, failures, preemptions | 4 each |
/// | submitted, changed | 8 each |
/// | deadline, optional | 8 |
/// | time run before, in ms | 8 |
/// | checkpoint, optional: sequence, content, bytes, fuel, attempt | 8, 32, 8, 8, 4 |
/// | usage: fuel, peak memory in bytes, wall time in ns | 8 each |
/// | error, optional | see [`TaskError`] |
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Life {
    /// Where it is.
    pub state: State,
    /// Steps it has made.
    pub steps: u32,
    /// Attempts that were begun.
    pub attempts: u32,
    /// Attempts that failed or vanished.
    pub failures: u32,
    /// Attempts that made way.
    pub preemptions: u32,
    /// When it was submitted.
    pub submitted: UnixMillis,
    /// When it came to its state.
    pub changed: UnixMillis,
    /// When it is over at the latest.
    pub deadline: Option<UnixMillis>,
    /// How long this attempt has run before it came to its state, in milliseconds.
    pub ran_ms: u64,
    /// The last checkpoint.
    pub checkpoint: Option<CheckpointRecord>,
    /// What the attempt that succeeded has used.
    pub usage: Usage,
    /// Why the last attempt failed, if it said so.
    pub error: Option<TaskError>,
}

impl Life {
    /// A task that was submitted at that time.
    #[must_use]
    pub fn new(submitted: UnixMillis, deadline: Option<UnixMillis>) -> Self {
        Self {
            state: State::Submitted,
            steps: 1,
            attempts: 0,
            failures: 0,
            preemptions: 0,
            submitted,
            changed: submitted,
            deadline,
            ran_ms: 0,
            checkpoint: None,
            usage: Usage::default(),
            error: None,
        }
    }

    /// The step with which the life of `task` began.
    #[must_use]
    pub const fn first_step(&self, task: TaskId) -> Transition {
        Transition {
            task,
            number: 1,
            time: self.submitted,
            to: State::Submitted,
            cause: Cause::Submitted,
        }
    }

    /// The life as bytes, see the table above.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        self.state.encode_to(&mut writer);
        for count in [self.steps, self.attempts, self.failures, self.preemptions] {
            writer.u32(count);
        }
        writer.u64(self.submitted.0);
        writer.u64(self.changed.0);
        writer.u8(self.deadline.is_some().into());
        if let Some(deadline) = self.deadline {
            writer.u64(deadline.0);
        }
        writer.u64(self.ran_ms);
        writer.u8(self.checkpoint.is_some().into());
        if let Some(checkpoint) = &self.checkpoint {
            writer.u64(checkpoint.sequence);
            writer.raw(checkpoint.content.as_bytes());
            writer.u64(checkpoint.bytes);
            writer.u64(checkpoint.fuel);
            writer.u32(checkpoint.attempt);
        }
        writer.u64(self.usage.fuel);
        writer.u64(self.usage.memory_bytes_peak);
        writer.u64(u64::try_from(self.usage.wall.as_nanos()).unwrap_or(u64::MAX));
        writer.u8(self.error.is_some().into());
        if let Some(error) = &self.error {
            error.encode_to(&mut writer);
        }
        writer.finish()
    }

    /// Reads a life.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        fn optional<T>(
            reader: &mut Reader<'_>,
            field: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
        ) -> Result<Option<T>, DecodeError> {
            let at = reader.position();
            match reader.u8()? {
                0 => Ok(None),
                1 => field(reader).map(Some),
                other => Err(unknown(at, other)),
            }
        }
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let life = Self {
            state: State::decode_from(&mut reader)?,
            steps: reader.u32()?,
            attempts: reader.u32()?,
            failures: reader.u32()?,
            preemptions: reader.u32()?,
            submitted: UnixMillis(reader.u64()?),
            changed: UnixMillis(reader.u64()?),
            deadline: optional(&mut reader, |reader| reader.u64().map(UnixMillis))?,
            ran_ms: reader.u64()?,
            checkpoint: optional(&mut reader, |reader| {
                Ok(CheckpointRecord {
                    sequence: reader.u64()?,
                    content: ContentId::decode_from(reader)?,
                    bytes: reader.u64()?,
                    fuel: reader.u64()?,
                    attempt: reader.u32()?,
                })
            })?,
            usage: Usage {
                fuel: reader.u64()?,
                memory_bytes_peak: reader.u64()?,
                wall: std::time::Duration::from_nanos(reader.u64()?),
            },
            error: optional(&mut reader, TaskError::decode_from)?,
        };
        reader.finish()?;
        Ok(life)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::tests::one_of_each;
    use proptest::prelude::*;
    use std::time::Duration;

    const AT: Attempt = Attempt { number: 1, slot: 0 };

    fn states() -> Vec<State> {
        let stopping = |stop| State::Stopping { attempt: AT, stop };
        vec![
            State::Submitted,
            State::Admitted,
            State::Queued,
            State::Assigned(AT),
            State::Running(AT),
            State::Suspended(AT),
            stopping(Stop::Cancel),
            stopping(Stop::TimeOut),
            stopping(Stop::Preempt),
            stopping(Stop::Restart),
            State::Retrying { due: UnixMillis(7) },
            State::Succeeded {
                output: ContentId::of(b""),
            },
            State::Failed,
            State::Cancelled,
            State::TimedOut,
            State::Lost,
            State::Skipped,
        ]
    }

    fn causes() -> Vec<Cause> {
        let task = TaskId::from_bytes([9; 16]);
        let fields = [
            Cause::DependencyEnded { task },
            Cause::Checkpointed { sequence: 3 },
        ];
        Cause::PLAIN
            .iter()
            .map(|(_, cause)| *cause)
            .chain(fields)
            .collect()
    }

    #[test]
    fn nothing_follows_an_end_and_every_other_state_can_end() {
        for state in states() {
            let next: Vec<_> = states()
                .into_iter()
                .filter(|next| state.may_become(next))
                .collect();
            assert_eq!(next.is_empty(), state.is_terminal(), "{state:?}");
        }
        // Reachability of an end, by any number of steps.
        for state in states() {
            let mut reached = vec![state];
            let mut at = 0;
            while at < reached.len() {
                for next in states() {
                    if reached[at].may_become(&next) && !reached.contains(&next) {
                        reached.push(next);
                    }
                }
                at += 1;
            }
            assert!(reached.iter().any(State::is_terminal), "{state:?}");
        }
    }

    #[test]
    fn cancelled_task_becomes_nothing_else() {
        let cancelling = State::Stopping {
            attempt: AT,
            stop: Stop::Cancel,
        };
        let next: Vec<_> = states()
            .into_iter()
            .filter(|next| cancelling.may_become(next))
            .collect();
        assert_eq!(next, [State::Cancelled]);
    }

    #[test]
    fn attempt_does_not_change_on_its_way() {
        let other = Attempt { number: 2, slot: 0 };
        assert!(!State::Assigned(AT).may_become(&State::Running(other)));
        assert!(State::Assigned(AT).may_become(&State::Running(AT)));
    }

    #[test]
    fn names_and_codes_are_all_different() {
        let mut names: Vec<_> = causes().iter().map(Cause::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), causes().len());
        let codes: std::collections::BTreeSet<_> = causes()
            .iter()
            .map(|cause| {
                let mut writer = Writer::new();
                cause.encode_to(&mut writer);
                writer.finish()[0]
            })
            .collect();
        assert_eq!(codes.len(), causes().len());
    }

    #[test]
    fn every_state_cause_and_error_round_trips() {
        for to in states() {
            for cause in causes() {
                let transition = Transition {
                    task: TaskId::from_bytes([1; 16]),
                    number: 5,
                    time: UnixMillis(6),
                    to,
                    cause,
                };
                assert_eq!(Transition::decode(&transition.encode()), Ok(transition));
            }
            for error in one_of_each().into_iter().map(Some).chain([None]) {
                let life = Life {
                    state: to,
                    checkpoint: error.is_some().then_some(CheckpointRecord {
                        sequence: 1,
                        content: ContentId::of(b"c"),
                        bytes: 2,
                        fuel: 3,
                        attempt: 4,
                    }),
                    usage: Usage {
                        fuel: 1,
                        memory_bytes_peak: 2,
                        wall: Duration::from_nanos(3),
                    },
                    error,
                    ..Life::new(UnixMillis(1), Some(UnixMillis(2)))
                };
                assert_eq!(Life::decode(&life.encode()), Ok(life));
            }
        }
    }

    proptest! {
        #[test]
        fn damaged_bytes_are_refused_or_mean_themselves(
            at in any::<prop::sample::Index>(), value in any::<u8>(), cut in 0_usize..3,
        ) {
            let life = Life::new(UnixMillis(1), Some(UnixMillis(2)));
            let mut bytes = life.encode();
            let at = at.index(bytes.len());
            bytes[at] = value;
            bytes.truncate(bytes.len() - cut);
            if let Ok(life) = Life::decode(&bytes) {
                prop_assert_eq!(life.encode(), bytes);
            }
        }
    }
}
