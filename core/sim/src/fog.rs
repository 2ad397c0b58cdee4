//! Whole fogs: a coordinator, nodes, submitters, and checkers that look on.
//!
//! ```
//! use fogcompute_sim::{Fog, Plan};
//!
//! let run = Fog::new(Plan::random(7))?.run()?;
//! assert!(run.figures.ended() > 0);
//! // The same seed is the same run, to the last bit.
//! let again = Fog::new(Plan::random(7))?.run()?;
//! assert_eq!(run.fingerprint, again.fingerprint);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
mod coordinator;
mod figures;
mod flaw;
mod member;
mod message;
mod node;
mod plan;
mod submitter;
mod work;

use std::fmt;
use std::time::Duration;

use fogcompute_base::{AccountId, Digest, Instant};
use fogcompute_coord::{ConfigError, Coordinator};
use fogcompute_ledger::Amount;

pub use check::{End, Violation};
pub use coordinator::{BankError, CoordinatorKept, CoordinatorProcess, CoordinatorSetup};
pub use figures::{Figures, Minute, Times};
pub use flaw::Flaw;
pub use member::{Fact, Kept, Member, Setup};
pub use message::FogMessage;
pub use node::{Lie, Node, NodeKept, NodeSetup};
pub use plan::{COORDINATOR, Plan, PlannedNode, PlannedSubmitter};
pub use submitter::{JobShape, Submitter, SubmitterKept, SubmitterSetup};
pub use work::{Work, job_id, job_of, node_id, process_of, result_of, run_time, task_id};

use crate::clock::ClockConfig;
use crate::fog::check::Checker;
use crate::world::{Counts, World};

/// Who pays for everything.
const OWNER: AccountId = AccountId::from_bytes([9; 16]);

/// After so long, what was not answered is said again.
const AGAIN: Duration = Duration::from_secs(10);

/// A fog that runs.
#[derive(Debug)]
pub struct Fog {
    plan: Plan,
    world: World<Member>,
    checker: Checker,
}

/// A run that ended well.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it shows.
    pub figures: Figures,
    /// What happened, in numbers.
    pub counts: Counts,
    /// All of it as one digest.
    pub fingerprint: Digest,
}

/// A run that found something.
#[derive(Debug)]
pub struct Failure {
    /// The seed that replays it.
    pub seed: u64,
    /// When.
    pub at: Instant,
    /// What.
    pub violation: Violation,
    /// The last events as text, if they were kept.
    pub trace: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.as_nanos() / 1_000_000_000;
        write!(f, "after {seconds} s: {}", self.violation)?;
        if !self.trace.is_empty() {
            write!(f, "\n{}", self.trace)?;
        }
        write!(f, "\nFOG_SEED={}", self.seed)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.violation)
    }
}

impl Fog {
    /// A fog of this plan, before its first event.
    ///
    /// # Errors
    /// [`ConfigError`], if the coordinator's configuration cannot work.
    pub fn new(plan: Plan) -> Result<Self, ConfigError> {
        Coordinator::new(plan.rules.clone())?;
        let mut world = World::new(plan.seed, plan.link).with_trace(plan.trace_lines);
        let coordinator = Setup::Coordinator(Box::new(CoordinatorSetup {
            rules: plan.rules.clone(),
            owner: OWNER,
            endowment: Amount(u128::from(u64::MAX)),
            tick: Duration::from_secs(1),
            flaw: plan.flaw,
        }));
        world.add(coordinator, plan.clock, Duration::ZERO);
        for submitter in &plan.submitters {
            let setup = Setup::Submitter(SubmitterSetup {
                coordinator: COORDINATOR,
                owner: OWNER,
                seed: plan.seed,
                jobs: submitter.jobs,
                interval_mean: submitter.interval_mean,
                shape: submitter.shape,
                again: AGAIN,
                cancels_ppm: submitter.cancels_ppm,
            });
            world.add(setup, ClockConfig::default(), Duration::ZERO);
        }
        let mut checker = Checker::new(
            COORDINATOR,
            plan.rules.clone(),
            plan.clock.drift_ppm,
            plan.full_every,
        );
        for node in &plan.nodes {
            let setup = Setup::Node(NodeSetup {
                coordinator: COORDINATOR,
                offer: node.offer,
                lie: node.lie,
                heartbeat: plan.heartbeat,
                again: AGAIN,
                vacates_ppm: node.vacates_ppm,
            });
            let process = world.add(setup, node.clock, node.begins);
            checker.expect_node(process, node.lie.is_some());
        }
        for (delay, fault) in &plan.faults {
            world.inject(*delay, fault.clone());
        }
        Ok(Self {
            plan,
            world,
            checker,
        })
    }

    /// The world it runs in.
    #[must_use]
    pub const fn world(&self) -> &World<Member> {
        &self.world
    }

    /// Runs until every submitter has its answers, and looks once more at everything.
    ///
    /// # Errors
    /// [`Failure`], at the first violation.
    pub fn run(mut self) -> Result<Run, Box<Failure>> {
        match self.run_to_end() {
            Ok(()) => {
                let mut figures = self.checker.figures;
                figures.span = self.world.now().duration_since(Instant::ZERO);
                Ok(Run {
                    figures,
                    counts: self.world.counts(),
                    fingerprint: self.world.fingerprint(),
                })
            }
            Err(violation) => Err(Box::new(Failure {
                seed: self.plan.seed,
                at: self.world.now(),
                violation,
                trace: self.world.trace().to_string(),
            })),
        }
    }

    fn run_to_end(&mut self) -> Result<(), Violation> {
        let deadline = Instant::ZERO + self.plan.deadline;
        while !self.is_done() && self.world.now() < deadline {
            if !self.world.step(&mut self.checker) {
                break;
            }
            self.checker.look(&self.world)?;
        }
        self.checker.look_at_end(&self.world)
    }

    /// Whether every submitter has had all its answers, and the coordinator is there to be looked
    /// at.
    fn is_done(&self) -> bool {
        let coordinator = self.world.process(COORDINATOR);
        let flushed = matches!(coordinator, Some(Member::Coordinator(it)) if it.is_flushed());
        flushed
            && (0..self.plan.submitters.len()).all(|number| {
                let id = self.plan.submitter(number);
                let kept = self.world.disk(id).and_then(|disk| disk.kept().submitter());
                match (self.world.process(id), kept) {
                    (Some(Member::Submitter(submitter)), Some(kept)) => submitter.is_done(kept),
                    _ => false,
                }
            })
    }
}

#[cfg(test)]
mod tests;
