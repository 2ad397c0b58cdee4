//! What simulated tasks do.

use std::time::Duration;

use fogcompute_base::{Digest, JobId, NodeId, TaskId};
use fogcompute_exec::{Limits, SpecError, TaskError, TaskOutput, TaskSpec, Usage};

use crate::process::ProcessId;

/// What a task takes and what becomes of it. It is written in the task's input, so that every node
/// that runs the task comes to the same result, as the sandbox does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Work {
    /// Fuel it burns.
    pub fuel: u64,
    /// Whether it ends with an error of its own.
    pub fails: bool,
}

impl Work {
    /// The task as it is sent to nodes. `id` makes its output its own.
    ///
    /// # Errors
    /// [`SpecError`], if `limits` are not usable.
    pub fn to_spec(self, id: TaskId, limits: Limits) -> Result<TaskSpec, SpecError> {
        let mut input = Vec::with_capacity(9 + TaskId::LEN);
        input.extend(self.fuel.to_be_bytes());
        input.push(self.fails.into());
        input.extend(id.as_bytes());
        TaskSpec::new(vec![0], input, limits)
    }

    fn of(spec: &TaskSpec) -> Self {
        let mut fuel = [0; 8];
        for (to, from) in fuel.iter_mut().zip(spec.input()) {
            *to = *from;
        }
        Self {
            fuel: u64::from_be_bytes(fuel),
            fails: spec.input().get(8) == Some(&1),
        }
    }
}

/// What the task comes to, wherever it runs.
///
/// # Errors
/// [`TaskError::OutOfFuel`], if it was made to fail, or needs more than its limit.
pub fn result_of(spec: &TaskSpec) -> Result<TaskOutput, TaskError> {
    let work = Work::of(spec);
    let limit = spec.limits().fuel;
    if work.fails || work.fuel > limit {
        return Err(TaskError::OutOfFuel { limit });
    }
    Ok(TaskOutput {
        output: Digest::of(spec.input()).as_bytes()[..8].to_vec(),
        usage: Usage {
            fuel: work.fuel,
            ..Usage::default()
        },
    })
}

/// How long the task keeps one processor of a node busy.
#[must_use]
pub fn run_time(spec: &TaskSpec, fuel_per_second: u64) -> Duration {
    let fuel = Work::of(spec).fuel.min(spec.limits().fuel);
    let nanos = u128::from(fuel) * 1_000_000_000 / u128::from(fuel_per_second.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The key of the node that a process is.
#[must_use]
pub fn node_id(process: ProcessId) -> NodeId {
    let mut bytes = [0; NodeId::LEN];
    bytes[..4].copy_from_slice(&process.0.to_be_bytes());
    NodeId::from_bytes(bytes)
}

/// The process that a node is.
#[must_use]
pub fn process_of(node: NodeId) -> ProcessId {
    let [a, b, c, d, ..] = *node.as_bytes();
    ProcessId(u32::from_be_bytes([a, b, c, d]))
}

/// The job of this number of a submitter.
#[must_use]
pub fn job_id(submitter: ProcessId, number: u64) -> JobId {
    let mut bytes = [0; JobId::LEN];
    bytes[..4].copy_from_slice(&submitter.0.to_be_bytes());
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    JobId::from_bytes(bytes)
}

/// The task of this number of a job.
#[must_use]
pub fn task_id(job: JobId, number: u32) -> TaskId {
    let mut bytes = *job.as_bytes();
    bytes[4..8].copy_from_slice(&number.to_be_bytes());
    TaskId::from_bytes(bytes)
}

/// The job that a task belongs to.
#[must_use]
pub fn job_of(task: TaskId) -> JobId {
    let mut bytes = *task.as_bytes();
    bytes[4..8].fill(0);
    JobId::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(work: Work, limit: u64) -> TaskSpec {
        let limits = Limits {
            fuel: limit,
            ..Limits::default()
        };
        work.to_spec(TaskId::from_bytes([7; 16]), limits).unwrap()
    }

    #[test]
    fn a_task_takes_and_becomes_what_it_was_made_for() {
        let work = Work {
            fuel: 3_000,
            fails: false,
        };
        let spec = spec(work, 5_000);
        assert_eq!(Work::of(&spec), work);
        assert_eq!(run_time(&spec, 1_000), Duration::from_secs(3));
        assert_eq!(result_of(&spec).unwrap().usage.fuel, 3_000);
    }

    #[test]
    fn a_task_that_needs_more_than_it_may_stops_at_its_limit() {
        let work = Work {
            fuel: 6_000,
            fails: false,
        };
        let greedy = spec(work, 5_000);
        assert_eq!(run_time(&greedy, 1_000), Duration::from_secs(5));
        assert_eq!(
            result_of(&greedy),
            Err(TaskError::OutOfFuel { limit: 5_000 })
        );
        let fails = Work {
            fuel: 1,
            fails: true,
        };
        assert!(result_of(&spec(fails, 5_000)).is_err());
    }

    #[test]
    fn ids_lead_back() {
        let process = ProcessId(77);
        assert_eq!(process_of(node_id(process)), process);
        let job = job_id(process, 3);
        assert_eq!(job_of(task_id(job, 9)), job);
        assert_ne!(task_id(job, 9), task_id(job, 8));
        assert_ne!(job_id(process, 4), job);
    }
}
