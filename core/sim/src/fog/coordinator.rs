//! The coordinator's host: what `core/node` is to the rules on sockets, in a world.

use std::time::Duration;

use fogcompute_base::{AccountId, JobId, TransferId, UnixMillis};
use fogcompute_coord::{
    Bank, Config, Coordinator, Event, Host, LossReason, ReportError, SubmitError, genesis,
    mint_account,
};
use fogcompute_exec::{TaskReport, TaskState};
use fogcompute_ledger::{Amount, Book, LedgerError, Memo, Operation, Receipt};
use thiserror::Error;

use crate::chance::Chance;
use crate::disk::{Disk, DiskError};
use crate::fog::flaw::Flaw;
use crate::fog::member::{Fact, FogContext, Kept};
use crate::fog::message::FogMessage;
use crate::fog::work::{node_id, process_of};
use crate::process::ProcessId;

/// What a coordinator is started with.
#[derive(Clone, Debug)]
pub struct CoordinatorSetup {
    /// Its rules' configuration, which must be valid.
    pub rules: Config,
    /// Who owns the fog's first credits.
    pub owner: AccountId,
    /// How many.
    pub endowment: Amount,
    /// Time from one look at what is due to the next.
    pub tick: Duration,
    /// What is wrong with it on purpose.
    pub flaw: Option<Flaw>,
}

/// What a coordinator's disk keeps.
#[derive(Debug, Default)]
pub struct CoordinatorKept {
    /// The ledger.
    pub book: Book,
}

/// Why the ledger does not do something.
#[derive(Debug, Error, Eq, PartialEq)]
pub enum BankError {
    /// It cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It refuses.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The ledger on the coordinator's disk: every batch is a commit.
#[derive(Debug)]
struct DiskBank<'a> {
    disk: &'a mut Disk<Kept>,
    setup: &'a CoordinatorSetup,
}

impl DiskBank<'_> {
    fn commit(&mut self, batch: &[Operation], now: UnixMillis) -> Result<Vec<Receipt>, BankError> {
        let empty = Book::new();
        let kept = self.disk.kept().coordinator();
        let plan = kept.map_or(&empty, |kept| &kept.book).plan(batch, now)?;
        if plan.entries().is_empty() {
            // All of it was done before: nothing is to be written.
            return Ok(plan.receipts().to_vec());
        }
        Ok(self
            .disk
            .commit(|kept| kept.coordinator_mut().book.commit(plan))??)
    }
}

impl Bank for DiskBank<'_> {
    type Error = BankError;

    fn execute(&mut self, batch: &[Operation], now: UnixMillis) -> Result<Vec<Receipt>, BankError> {
        let is_new = self
            .disk
            .kept()
            .coordinator()
            .is_none_or(|kept| kept.book.account(mint_account()).is_none());
        if is_new {
            self.commit(&genesis(self.setup.owner, self.setup.endowment), now)?;
        }
        match (self.setup.flaw, batch) {
            (Some(Flaw::KeepReservations), [Operation::Void { .. }]) => {
                // Any receipt will do: nobody reads more than that there is one.
                self.commit(&genesis(self.setup.owner, self.setup.endowment)[..1], now)
            }
            (
                Some(Flaw::PayTwice),
                [
                    Operation::Post { .. },
                    Operation::Transfer { id, to, amount, .. },
                ],
            ) => {
                let receipts = self.commit(batch, now)?;
                let mut other = *id.as_bytes();
                other[0] ^= 1;
                let again = Operation::Transfer {
                    id: TransferId::from_bytes(other),
                    from: mint_account(),
                    to: *to,
                    amount: *amount,
                    memo: Memo::NONE,
                };
                self.commit(&[again], now)?;
                Ok(receipts)
            }
            _ => self.commit(batch, now),
        }
    }
}

/// A coordinator and the host around it.
#[derive(Debug)]
pub struct CoordinatorProcess {
    setup: CoordinatorSetup,
    rules: Coordinator,
    /// The last node that registered: where [`Flaw::DispatchTwice`] sends.
    newest: Option<ProcessId>,
}

impl CoordinatorProcess {
    pub(crate) fn boot(setup: &CoordinatorSetup, context: &mut FogContext<'_>) -> Self {
        let rules = Coordinator::new(setup.rules.clone());
        let process = Self {
            setup: setup.clone(),
            rules: rules.expect("a fog is made of configurations that were tried"),
            newest: None,
        };
        context.wake_at(context.now() + setup.tick);
        process
    }

    /// Its rules, to look at.
    #[must_use]
    pub const fn rules(&self) -> &Coordinator {
        &self.rules
    }

    fn with_rules<T>(
        &mut self,
        context: &mut FogContext<'_>,
        call: impl FnOnce(&mut Coordinator, &mut Host<'_, DiskBank<'_>, Chance>) -> T,
    ) -> T {
        let (now, wall) = (context.now(), context.wall());
        let (rng, disk) = context.parts();
        let mut bank = DiskBank {
            disk,
            setup: &self.setup,
        };
        let mut host = Host {
            bank: &mut bank,
            rng,
            now,
            wall,
        };
        call(&mut self.rules, &mut host)
    }

    pub(crate) fn receive(
        &mut self,
        from: ProcessId,
        message: FogMessage,
        context: &mut FogContext<'_>,
    ) {
        match message {
            FogMessage::Register(offer) => {
                let node = node_id(from);
                let done =
                    self.with_rules(context, |rules, host| rules.register(node, offer, host));
                // Who is not let in asks again.
                if done.is_ok() {
                    self.newest = Some(from);
                    context.send(from, FogMessage::Registered);
                }
            }
            FogMessage::Heartbeat(offer) => {
                let node = node_id(from);
                let known =
                    self.with_rules(context, |rules, host| rules.heartbeat(node, offer, host));
                context.send(
                    from,
                    FogMessage::Heard {
                        known: known.unwrap_or(true),
                    },
                );
            }
            FogMessage::Report { attempt, report } => self.report(from, attempt, report, context),
            FogMessage::Submit(job) => {
                let id = job.id;
                let done = self.with_rules(context, |rules, host| rules.submit(job, host));
                let answer = match done {
                    Ok(()) | Err(SubmitError::KnownJob { .. }) => FogMessage::Admitted(id),
                    Err(SubmitError::Full { .. } | SubmitError::Bank(_)) => FogMessage::Refused {
                        job: id,
                        again: true,
                    },
                    Err(_) => FogMessage::Refused {
                        job: id,
                        again: false,
                    },
                };
                context.send(from, answer);
            }
            FogMessage::Ask(job) => self.tell(from, job, context),
            FogMessage::Cancel(task) => {
                // Whether it could be cancelled shows in the job's sums.
                let _ = self.with_rules(context, |rules, host| rules.cancel(task, host));
            }
            _ => {}
        }
        self.act(context);
    }

    pub(crate) fn wake(&mut self, context: &mut FogContext<'_>) {
        // What the ledger does not write is due again at the next tick.
        let _ = self.with_rules(context, Coordinator::handle_timeout);
        self.act(context);
        context.wake_at(context.now() + self.setup.tick);
    }

    pub(crate) fn hung_up(&mut self, peer: ProcessId, context: &mut FogContext<'_>) {
        let node = node_id(peer);
        // If the ledger does not write, its silence will be noticed.
        let _ = self.with_rules(context, |rules, host| {
            rules.node_lost(node, LossReason::Disconnected, host)
        });
        self.act(context);
    }

    fn report(
        &mut self,
        from: ProcessId,
        attempt: u32,
        report: TaskReport,
        context: &mut FogContext<'_>,
    ) {
        let task = report.task;
        let (mut node, mut number) = (node_id(from), attempt);
        if self.setup.flaw == Some(Flaw::AcceptLate)
            && let Some(view) = self.rules.task(task)
            && let TaskState::Assigned {
                node: current,
                attempt,
            } = view.state
        {
            (node, number) = (current, attempt);
        }
        let done = self.with_rules(context, |rules, host| {
            rules.report(node, number, report, host)
        });
        if !matches!(done, Err(ReportError::Bank(_))) {
            context.send(from, FogMessage::ReportTaken { task, attempt });
        }
    }

    fn tell(&self, to: ProcessId, job: JobId, context: &mut FogContext<'_>) {
        let answer = match self.rules.job(job) {
            Some(summary) => FogMessage::Status { job, summary },
            None => FogMessage::Unknown(job),
        };
        context.send(to, answer);
    }

    /// Does what the rules say.
    fn act(&mut self, context: &mut FogContext<'_>) {
        let now = context.now();
        while let Some(event) = self.rules.poll_event() {
            match event {
                Event::Dispatch {
                    node,
                    task,
                    attempt,
                    spec,
                } => {
                    let dispatch = FogMessage::Dispatch {
                        task,
                        attempt,
                        spec,
                    };
                    let to = process_of(node);
                    if self.setup.flaw == Some(Flaw::DispatchTwice)
                        && let Some(newest) = self.newest.filter(|newest| *newest != to)
                    {
                        context.send(newest, dispatch.clone());
                    }
                    context.send(to, dispatch);
                }
                Event::Revoke {
                    node,
                    task,
                    attempt,
                } => context.send(process_of(node), FogMessage::Revoke { task, attempt }),
                // Large, and nothing follows from it.
                Event::Placed { .. } => {}
                Event::JobEnded { job, summary } => {
                    context.send(submitter_of(job), FogMessage::Status { job, summary });
                    context.tell(Fact::Decided {
                        now,
                        event: Event::JobEnded { job, summary },
                    });
                }
                event => context.tell(Fact::Decided { now, event }),
            }
        }
    }
}

/// The process whose job it is.
fn submitter_of(job: JobId) -> ProcessId {
    let [a, b, c, d, ..] = *job.as_bytes();
    ProcessId(u32::from_be_bytes([a, b, c, d]))
}
