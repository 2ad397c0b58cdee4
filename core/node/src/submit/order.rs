//! Jobs of one module.

use std::sync::Arc;

use fogcompute_base::{Digest, JobId, OsEntropy, Priority, Rng as _, TaskId};
use fogcompute_coord::{PrivacyLevel, TaskOrder};
use fogcompute_exec::{Grants, Limits, SpecError, TaskSpec};
use fogcompute_ledger::Amount;

use super::protocol::JobOrder;

/// What all tasks of a job have in common.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct JobTerms {
    /// Names the job; at random if it is not said. Submitted once more it is the same job.
    pub job: Option<JobId>,
    /// What each task may use.
    pub limits: Limits,
    /// What each task is let do and see beside computing.
    pub grants: Grants,
    /// Fuel each will take, as well as one can tell; a tenth of what it may use if it is not said.
    pub fuel_estimate: Option<u64>,
    /// Most that is paid for each. What is not used comes back.
    pub price_max: Amount,
    /// How urgent it is.
    pub priority: Priority,
    /// How well its tasks are hidden on their way.
    pub privacy: PrivacyLevel,
}

impl Default for JobTerms {
    fn default() -> Self {
        Self {
            job: None,
            limits: Limits::default(),
            grants: Grants::default(),
            fuel_estimate: None,
            price_max: Amount::from_credits(1),
            priority: Priority::default(),
            privacy: PrivacyLevel::default(),
        }
    }
}

impl JobOrder {
    /// A job that runs a module once on each input. The ids of its tasks follow from its own.
    ///
    /// # Errors
    /// [`SpecError`].
    pub fn of(
        module: &Arc<[u8]>,
        inputs: impl IntoIterator<Item = Vec<u8>>,
        terms: &JobTerms,
    ) -> Result<Self, SpecError> {
        let id = terms.job.unwrap_or_else(|| {
            let mut id = [0; 16];
            OsEntropy.fill_bytes(&mut id);
            JobId::from_bytes(id)
        });
        let fuel_estimate = terms.fuel_estimate.unwrap_or(terms.limits.fuel / 10).max(1);
        let tasks = (0_u64..).zip(inputs).map(|(number, input)| {
            Ok(TaskOrder {
                id: task_id(id, number),
                spec: TaskSpec::new(Arc::clone(module), input, terms.limits)?
                    .with_grants(terms.grants.clone())?,
                fuel_estimate,
                price_max: terms.price_max,
            })
        });
        Ok(Self {
            id,
            priority: terms.priority,
            privacy: terms.privacy,
            tasks: tasks.collect::<Result<_, SpecError>>()?,
        })
    }

    /// The ids of its tasks, in the order of their inputs.
    pub fn task_ids(&self) -> impl ExactSizeIterator<Item = TaskId> + '_ {
        self.tasks.iter().map(|task| task.id)
    }
}

/// The id of a task: the same job has the same tasks.
fn task_id(job: JobId, number: u64) -> TaskId {
    let name = [&job.as_bytes()[..], &number.to_be_bytes()].concat();
    let digest = Digest::derive("fogcompute 2026-11-22 task of a submitted job", &name);
    let mut id = [0; 16];
    id.copy_from_slice(&digest.as_bytes()[..16]);
    TaskId::from_bytes(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_of_a_name_is_the_same_job_and_one_without_is_another_each_time() {
        let module: Arc<[u8]> = vec![1].into();
        let order = |job| {
            let terms = JobTerms {
                job,
                ..JobTerms::default()
            };
            JobOrder::of(&module, [vec![1], vec![2]], &terms).unwrap()
        };
        let named = Some(JobId::from_bytes([1; 16]));
        assert_eq!(order(named), order(named));
        let ids: std::collections::BTreeSet<_> = order(named).task_ids().collect();
        assert_eq!(ids.len(), 2);
        assert_ne!(order(None).id, order(None).id);
        let fuel = Limits::default().fuel;
        assert_eq!(order(None).tasks[0].fuel_estimate, fuel / 10);
    }
}
