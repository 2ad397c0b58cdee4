//! A fog of processes, for languages whose enums have no fields.

use std::str::FromStr;

use fogcompute_base::{JobId, NodeId, Priority, TaskId, UnixMillis};
use fogcompute_coord::routing::Strategy as Routing;
use fogcompute_coord::token::Action;
use fogcompute_coord::{Placement, PrivacyLevel};
use fogcompute_exec::{TaskOutput, TaskReport, TaskState};
use fogcompute_ledger::Amount;
use fogcompute_node::{Role, Watched};
use fogcompute_store::{JobChange, JobEvent};

use crate::Error;

/// What a [`FogRecord`] tells.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FogEventKind {
    /// A job was admitted.
    Admitted,
    /// A task goes to a node.
    Assigned,
    /// An attempt came to nothing: its task waits again.
    Queued,
    /// A task ended.
    Ended,
    /// All tasks of a job have ended.
    JobEnded,
    /// The watcher was so slow, or away for so long, that events are forgotten.
    Lagged,
}

impl FogEventKind {
    /// Its name in lower case, as in `job_ended`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Assigned => "assigned",
            Self::Queued => "queued",
            Self::Ended => "ended",
            Self::JobEnded => "job_ended",
            Self::Lagged => "lagged",
        }
    }
}

/// Where a task of a fog is.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum FogTaskState {
    /// It waits for a node.
    Queued,
    /// A node has it.
    Assigned,
    /// It ended with an output.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It was given up after its last attempt.
    Lost,
}

impl FogTaskState {
    /// Its name in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Assigned => "assigned",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }
}

impl From<TaskState> for FogTaskState {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Submitted | TaskState::Queued { .. } => Self::Queued,
            TaskState::Assigned { .. } => Self::Assigned,
            TaskState::Succeeded => Self::Succeeded,
            TaskState::Failed => Self::Failed,
            TaskState::Cancelled => Self::Cancelled,
            TaskState::Lost { .. } => Self::Lost,
        }
    }
}

/// Something that happened in a fog, with its parts side by side; those that its kind has not are
/// `None` or 0.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FogRecord {
    /// What it tells.
    pub kind: Option<FogEventKind>,
    /// Its number: watching goes on behind it.
    pub number: u64,
    /// When it was, by the coordinator's clock.
    pub at: Option<UnixMillis>,
    /// The job it is about.
    pub job: Option<JobId>,
    /// The task it is about.
    pub task: Option<TaskId>,
    /// The node a task goes to.
    pub node: Option<NodeId>,
    /// The attempt that begins, from 1, or the attempts that were begun.
    pub attempts: u32,
    /// How a task ended.
    pub state: Option<FogTaskState>,
    /// What was paid for a task that ended.
    pub paid: Amount,
    /// Tasks of a job that was admitted.
    pub tasks: u32,
    /// Events that are forgotten; 0 if nobody can tell how many.
    pub missed: u64,
}

impl From<Watched> for FogRecord {
    fn from(watched: Watched) -> Self {
        match watched {
            Watched::Lagged { missed } => Self {
                kind: Some(FogEventKind::Lagged),
                missed,
                ..Self::default()
            },
            Watched::Event(event) => of_event(&event),
        }
    }
}

fn of_event(event: &JobEvent) -> FogRecord {
    let base = FogRecord {
        number: event.number,
        at: Some(event.at),
        job: Some(event.job),
        ..FogRecord::default()
    };
    match event.change {
        JobChange::Admitted { tasks } => FogRecord {
            kind: Some(FogEventKind::Admitted),
            tasks,
            ..base
        },
        JobChange::Assigned {
            task,
            node,
            attempt,
        } => FogRecord {
            kind: Some(FogEventKind::Assigned),
            task: Some(task),
            node: Some(node),
            attempts: attempt,
            ..base
        },
        JobChange::Queued { task, attempts } => FogRecord {
            kind: Some(FogEventKind::Queued),
            task: Some(task),
            attempts,
            ..base
        },
        JobChange::Ended { task, state, paid } => FogRecord {
            kind: Some(FogEventKind::Ended),
            task: Some(task),
            state: Some(state.into()),
            paid,
            ..base
        },
        JobChange::JobEnded => FogRecord {
            kind: Some(FogEventKind::JobEnded),
            ..base
        },
        _ => base,
    }
}

/// The mix layer of a role; `None` for nodes that compute.
#[must_use]
pub const fn mix_layer(role: Role) -> Option<u8> {
    match role {
        Role::Mix { layer } => Some(layer),
        Role::Compute => None,
    }
}

/// The role of a node in a mix layer; without one it computes.
#[must_use]
pub const fn role_of(layer: Option<u8>) -> Role {
    match layer {
        Some(layer) => Role::Mix { layer },
        None => Role::Compute,
    }
}

/// The output of a task of a fog.
///
/// # Errors
/// Why the task has none.
pub fn output_of(report: TaskReport) -> Result<TaskOutput, Error> {
    let output = report.result.map_err(fogcompute_node::FogError::Task)?;
    Ok(output)
}

/// How tasks come to nodes, by name: `optimised`, `round_robin`, `least_loaded`, `affinity`,
/// `proximity`, `privacy_aware` or `random`.
///
/// # Errors
/// [`Error::UnknownName`].
pub fn placement_named(name: &str) -> Result<Placement, Error> {
    if name == "optimised" {
        return Ok(Placement::Optimised);
    }
    named(Routing::from_str(name).ok(), name, "placement").map(Placement::Routed)
}

/// How well tasks are hidden on their way, by name: `public`, `private`, `confidential` or `secret`.
///
/// # Errors
/// [`Error::UnknownName`].
pub fn privacy_named(name: &str) -> Result<PrivacyLevel, Error> {
    named(PrivacyLevel::from_str(name).ok(), name, "privacy level")
}

/// How urgent a job is, by name: `critical`, `high`, `normal`, `low` or `bulk`.
///
/// # Errors
/// [`Error::UnknownName`].
pub fn priority_named(name: &str) -> Result<Priority, Error> {
    let found = match name {
        "critical" => Some(Priority::Critical),
        "high" => Some(Priority::High),
        "normal" => Some(Priority::Normal),
        "low" => Some(Priority::Low),
        "bulk" => Some(Priority::Bulk),
        _ => None,
    };
    named(found, name, "priority")
}

/// What a token permits, by name: `submit`, `cancel`, `query`, `drain` or `maintain`.
///
/// # Errors
/// [`Error::UnknownName`].
pub fn action_named(name: &str) -> Result<Action, Error> {
    let found = Action::ALL.into_iter().find(|action| action.name() == name);
    named(found, name, "action")
}

fn named<T>(found: Option<T>, name: &str, what: &'static str) -> Result<T, Error> {
    found.ok_or_else(|| Error::UnknownName {
        name: name.to_owned(),
        what,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    const JOB: JobId = JobId::from_bytes([1; 16]);
    const TASK: TaskId = TaskId::from_bytes([2; 16]);
    const NODE: NodeId = NodeId::from_bytes([3; 32]);

    #[test]
    fn every_event_is_told_with_all_it_says() {
        let paid = Amount(5);
        let state = TaskState::Lost { attempts: 3 };
        for (change, kind, rest) in [
            (
                JobChange::Admitted { tasks: 7 },
                FogEventKind::Admitted,
                FogRecord {
                    tasks: 7,
                    ..FogRecord::default()
                },
            ),
            (
                JobChange::Assigned {
                    task: TASK,
                    node: NODE,
                    attempt: 2,
                },
                FogEventKind::Assigned,
                FogRecord {
                    task: Some(TASK),
                    node: Some(NODE),
                    attempts: 2,
                    ..FogRecord::default()
                },
            ),
            (
                JobChange::Queued {
                    task: TASK,
                    attempts: 2,
                },
                FogEventKind::Queued,
                FogRecord {
                    task: Some(TASK),
                    attempts: 2,
                    ..FogRecord::default()
                },
            ),
            (
                JobChange::Ended {
                    task: TASK,
                    state,
                    paid,
                },
                FogEventKind::Ended,
                FogRecord {
                    task: Some(TASK),
                    state: Some(FogTaskState::Lost),
                    paid,
                    ..FogRecord::default()
                },
            ),
            (
                JobChange::JobEnded,
                FogEventKind::JobEnded,
                FogRecord::default(),
            ),
        ] {
            let (number, at, job) = (9, UnixMillis(4), JOB);
            let event = Watched::Event(JobEvent {
                number,
                at,
                job,
                change,
            });
            let expected = FogRecord {
                kind: Some(kind),
                number,
                at: Some(at),
                job: Some(job),
                ..rest
            };
            assert_eq!(FogRecord::from(event), expected);
        }
        let lagged = FogRecord::from(Watched::Lagged { missed: 3 });
        assert_eq!(
            (lagged.kind, lagged.missed),
            (Some(FogEventKind::Lagged), 3)
        );
    }

    #[test]
    fn what_has_a_name_is_found_by_it_and_nothing_else_is() {
        for action in Action::ALL {
            assert_eq!(action_named(action.name()).unwrap(), action);
        }
        for privacy in ["public", "private", "confidential", "secret"] {
            assert_eq!(privacy_named(privacy).unwrap().name(), privacy);
        }
        for strategy in Routing::ALL {
            let found = placement_named(strategy.name()).unwrap();
            assert_eq!(found, Placement::Routed(strategy));
        }
        assert_eq!(placement_named("optimised").unwrap(), Placement::Optimised);
        assert_eq!(priority_named("bulk").unwrap(), Priority::Bulk);
        for refused in [
            action_named("x").unwrap_err(),
            privacy_named("Public").unwrap_err(),
            placement_named("").unwrap_err(),
            priority_named("urgent").unwrap_err(),
        ] {
            assert_eq!(refused.code(), ErrorCode::InvalidArgument);
        }
        for layer in [None, Some(2)] {
            assert_eq!(mix_layer(role_of(layer)), layer);
        }
    }
}
