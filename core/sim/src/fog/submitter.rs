//! Who wants things done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fogcompute_base::{AccountId, Instant, JobId, Priority};
use fogcompute_coord::{JobSpec, JobSummary, PrivacyLevel, TaskOrder};
use fogcompute_exec::Limits;
use fogcompute_ledger::Amount;

use crate::chance::{below, between, chance, exponential, happens};
use crate::fog::member::{Fact, FogContext};
use crate::fog::message::FogMessage;
use crate::fog::work::{Work, job_id, task_id};
use crate::process::ProcessId;

/// What jobs are like.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JobShape {
    /// Tasks of a job, fewest and most.
    pub tasks: (u32, u32),
    /// Fuel of a task, least and most.
    pub fuel: (u64, u64),
    /// Memory limit of a task in bytes, least and most.
    pub memory_bytes: (u64, u64),
    /// Most that may be paid for a task.
    pub price_max: Amount,
    /// Tasks of a million that fail by themselves.
    pub fails_ppm: u32,
}

/// What a submitter is started with.
#[derive(Clone, Debug)]
pub struct SubmitterSetup {
    /// Where it submits.
    pub coordinator: ProcessId,
    /// Who pays.
    pub owner: AccountId,
    /// What its jobs follow from.
    pub seed: u64,
    /// How many it has.
    pub jobs: u64,
    /// Mean time from one to the next.
    pub interval_mean: Duration,
    /// What they are like.
    pub shape: JobShape,
    /// After so long it asks again.
    pub again: Duration,
    /// Times of a million at which it asks again that it cancels a task instead.
    pub cancels_ppm: u32,
}

impl SubmitterSetup {
    /// The job of a number: the same whenever it is asked for.
    #[must_use]
    pub fn job(&self, me: ProcessId, number: u64) -> JobSpec {
        let rng = &mut chance(self.seed, "job", (u64::from(me.0) << 32) | number);
        let id = job_id(me, number);
        let shape = self.shape;
        let priority = [Priority::High, Priority::Normal, Priority::Low][below(rng, 3) as usize];
        let count = between(rng, shape.tasks.0.into(), shape.tasks.1.into());
        let tasks = (0..u32::try_from(count).unwrap_or(1))
            .filter_map(|number| {
                let id = task_id(id, number);
                let fuel = between(rng, shape.fuel.0, shape.fuel.1);
                let work = Work {
                    fuel,
                    fails: happens(rng, shape.fails_ppm),
                };
                // Estimates are wrong by up to a half.
                let fuel_estimate = between(rng, fuel / 2, fuel + fuel / 2);
                let limits = Limits {
                    fuel: fuel * 2,
                    memory_bytes: between(rng, shape.memory_bytes.0, shape.memory_bytes.1),
                    output_bytes: 64,
                    ..Limits::default()
                };
                Some(TaskOrder {
                    id,
                    spec: work.to_spec(id, limits).ok()?,
                    fuel_estimate,
                    price_max: shape.price_max,
                })
            })
            .collect();
        JobSpec {
            id,
            owner: self.owner,
            priority,
            privacy: PrivacyLevel::Private,
            tasks,
        }
    }
}

/// What a submitter's disk keeps.
#[derive(Debug, Default)]
pub struct SubmitterKept {
    /// Jobs it has begun to submit.
    begun: u64,
    /// Numbers of jobs that are over, by what became of them.
    over: BTreeSet<u64>,
    /// Numbers of jobs it was told are admitted.
    admitted: BTreeSet<u64>,
}

/// Somebody with jobs over time, who asks again until there is an answer.
#[derive(Debug)]
pub struct Submitter {
    setup: SubmitterSetup,
    me: ProcessId,
    next_at: Instant,
    again_at: Instant,
    /// Jobs it waits for, by their ids.
    open: BTreeMap<JobId, u64>,
}

impl Submitter {
    pub(crate) fn boot(setup: &SubmitterSetup, context: &mut FogContext<'_>) -> Self {
        let me = context.me();
        let begun = context.kept().submitter().map_or(0, |kept| kept.begun);
        let open = (0..begun)
            .filter(|number| {
                let kept = context.kept().submitter();
                kept.is_none_or(|kept| !kept.over.contains(number))
            })
            .map(|number| (job_id(me, number), number))
            .collect();
        let next_at = context.now() + exponential(context.rng(), setup.interval_mean);
        let submitter = Self {
            setup: setup.clone(),
            me,
            next_at,
            again_at: context.now() + setup.again,
            open,
        };
        submitter.set_timer(context);
        submitter
    }

    /// Whether all its jobs are over.
    #[must_use]
    pub fn is_done(&self, kept: &SubmitterKept) -> bool {
        self.open.is_empty() && kept.begun == self.setup.jobs
    }

    pub(crate) fn receive(&mut self, message: &FogMessage, context: &mut FogContext<'_>) {
        match *message {
            FogMessage::Admitted(job) => self.admit(job, context),
            FogMessage::Status { job, summary } => {
                self.admit(job, context);
                if summary.open == 0 {
                    self.finish(job, summary, context);
                }
            }
            FogMessage::Refused { job, again: false } => {
                context.tell(Fact::Refused { job });
                self.close(job, context);
            }
            FogMessage::Unknown(job) => {
                if let Some(&number) = self.open.get(&job) {
                    if context
                        .kept()
                        .submitter()
                        .is_some_and(|kept| kept.admitted.contains(&number))
                    {
                        context.tell(Fact::Forgotten { job });
                    }
                    self.submit(number, context);
                }
            }
            _ => {}
        }
        self.set_timer(context);
    }

    pub(crate) fn wake(&mut self, context: &mut FogContext<'_>) {
        let now = context.now();
        let begun = context.kept().submitter().map_or(0, |kept| kept.begun);
        if self.next_at <= now && begun < self.setup.jobs {
            // First to disk, then out: what was asked for once is asked for until it is answered.
            if context
                .commit(|kept| kept.submitter_mut().begun = begun + 1)
                .is_ok()
            {
                self.open.insert(job_id(self.me, begun), begun);
                self.submit(begun, context);
            }
            self.next_at = now + exponential(context.rng(), self.setup.interval_mean);
        }
        if self.again_at <= now {
            self.again_at = now + self.setup.again;
            for (job, number) in self.open.clone() {
                let admitted = context
                    .kept()
                    .submitter()
                    .is_some_and(|kept| kept.admitted.contains(&number));
                if !admitted {
                    self.submit(number, context);
                } else if happens(context.rng(), self.setup.cancels_ppm) {
                    let tasks = self.setup.job(self.me, number).tasks.len() as u64;
                    let task = between(context.rng(), 0, tasks.saturating_sub(1));
                    let task = task_id(job, u32::try_from(task).unwrap_or(0));
                    context.send(self.setup.coordinator, FogMessage::Cancel(task));
                } else {
                    context.send(self.setup.coordinator, FogMessage::Ask(job));
                }
            }
        }
        self.set_timer(context);
    }

    fn submit(&self, number: u64, context: &mut FogContext<'_>) {
        let job = self.setup.job(self.me, number);
        context.send(self.setup.coordinator, FogMessage::Submit(job));
    }

    fn admit(&self, job: JobId, context: &mut FogContext<'_>) {
        let Some(&number) = self.open.get(&job) else {
            return;
        };
        let known = |kept: &SubmitterKept| kept.admitted.contains(&number);
        if context.kept().submitter().is_some_and(known) {
            return;
        }
        context.tell(Fact::Acknowledged { job });
        // If that fails, it is submitted again, which is no harm.
        let _ = context.commit(|kept| kept.submitter_mut().admitted.insert(number));
    }

    fn finish(&mut self, job: JobId, summary: JobSummary, context: &mut FogContext<'_>) {
        context.tell(Fact::Finished { job, summary });
        self.close(job, context);
    }

    fn close(&mut self, job: JobId, context: &mut FogContext<'_>) {
        let Some(&number) = self.open.get(&job) else {
            return;
        };
        // If that fails, it asks again, and is told again.
        if context
            .commit(|kept| kept.submitter_mut().over.insert(number))
            .is_ok()
        {
            self.open.remove(&job);
        }
    }

    fn set_timer(&self, context: &mut FogContext<'_>) {
        let begun = context.kept().submitter().map_or(0, |kept| kept.begun);
        let next = [
            (begun < self.setup.jobs).then_some(self.next_at),
            (!self.open.is_empty()).then_some(self.again_at.max(context.now())),
        ];
        if let Some(at) = next.into_iter().flatten().min() {
            context.wake_at(at);
        }
    }
}
