//! The coordinator's host: what `core/node` is to the rules on sockets, in a world.

use std::cell::RefCell;
use std::time::Duration;

use fogcompute_base::{AccountId, JobId, TransferId, UnixMillis};
use fogcompute_coord::{
    Bank, Config, Coordinator, Event, Host, JobSpec, Journal, LossReason, MemoryJournal, Record,
    Stored, SubmitError, genesis, mint_account,
};
use fogcompute_exec::{TaskReport, TaskState};
use fogcompute_ledger::{Amount, Book, LedgerError, Memo, Operation, Receipt, ReservationState};
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
    /// What its rules wrote down.
    pub journal: MemoryJournal,
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

/// The coordinator's disk, for its ledger and its journal at once.
type SharedDisk<'a> = RefCell<&'a mut Disk<Kept>>;

/// The ledger on the coordinator's disk: every batch is a commit.
#[derive(Debug)]
struct DiskBank<'a> {
    disk: &'a SharedDisk<'a>,
    setup: &'a CoordinatorSetup,
}

impl DiskBank<'_> {
    fn commit(&self, batch: &[Operation], now: UnixMillis) -> Result<Vec<Receipt>, BankError> {
        let mut disk = self.disk.borrow_mut();
        let empty = Book::new();
        let kept = disk.kept().coordinator();
        let plan = kept.map_or(&empty, |kept| &kept.book).plan(batch, now)?;
        if plan.entries().is_empty() {
            // All of it was done before: nothing is to be written.
            return Ok(plan.receipts().to_vec());
        }
        Ok(disk.commit(|kept| kept.coordinator_mut().book.commit(plan))??)
    }

    /// Whether the mint is open: what a new ledger begins with.
    fn is_new(&self) -> bool {
        let disk = self.disk.borrow();
        let kept = disk.kept().coordinator();
        kept.is_none_or(|kept| kept.book.account(mint_account()).is_none())
    }
}

impl Bank for DiskBank<'_> {
    type Error = BankError;

    fn execute(&mut self, batch: &[Operation], now: UnixMillis) -> Result<Vec<Receipt>, BankError> {
        if self.is_new() {
            self.commit(&genesis(self.setup.owner, self.setup.endowment), now)?;
        }
        match self.setup.flaw {
            Some(Flaw::KeepReservations) => {
                let kept: Vec<_> = batch
                    .iter()
                    .filter(|operation| !matches!(operation, Operation::Void { .. }))
                    .cloned()
                    .collect();
                if kept.is_empty() {
                    return Ok(Vec::new());
                }
                self.commit(&kept, now)
            }
            Some(Flaw::PayTwice) => {
                let receipts = self.commit(batch, now)?;
                for operation in batch {
                    let Operation::Transfer { id, to, amount, .. } = operation else {
                        continue;
                    };
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
                }
                Ok(receipts)
            }
            _ => self.commit(batch, now),
        }
    }

    fn is_reserved(&self, id: TransferId) -> Result<bool, BankError> {
        let disk = self.disk.borrow();
        let book = disk.kept().coordinator().map(|kept| &kept.book);
        let state = book.and_then(|book| book.reservation_state(id));
        Ok(state == Some(ReservationState::Open))
    }

    fn is_refusal(error: &BankError) -> bool {
        matches!(error, BankError::Ledger(_))
    }
}

/// The journal on the coordinator's disk: every call is a commit.
#[derive(Debug)]
struct DiskJournal<'a> {
    disk: &'a SharedDisk<'a>,
    /// What [`Flaw::WriteLate`] has not written yet.
    late: Option<&'a mut Vec<Record>>,
}

impl Journal for DiskJournal<'_> {
    type Error = DiskError;

    fn commit(&mut self, records: &[Record], now: UnixMillis) -> Result<(), DiskError> {
        let written = match &mut self.late {
            Some(late) => std::mem::replace(*late, records.to_vec()),
            None => records.to_vec(),
        };
        let mut disk = self.disk.borrow_mut();
        disk.commit(|kept| {
            let journal = &mut kept.coordinator_mut().journal;
            let Ok(()) = Journal::commit(journal, &written, now);
        })
    }
}

/// A coordinator and the host around it.
#[derive(Debug)]
pub struct CoordinatorProcess {
    setup: CoordinatorSetup,
    rules: Coordinator,
    /// Answers that nobody may hear before what they say is written down.
    answers: Vec<(ProcessId, FogMessage)>,
    /// Whether all that happened is written down and settled.
    flushed: bool,
    /// The last node that registered: where [`Flaw::DispatchTwice`] sends.
    newest: Option<ProcessId>,
    /// What [`Flaw::WriteLate`] has not written yet.
    late: Vec<Record>,
}

impl CoordinatorProcess {
    pub(crate) fn boot(setup: &CoordinatorSetup, context: &mut FogContext<'_>) -> Self {
        let now = context.now();
        let kept = context.kept().coordinator();
        let stored = kept.map_or_else(Stored::default, |kept| kept.journal.stored());
        let rules = match Coordinator::recover(setup.rules.clone(), stored, now) {
            Ok(rules) => rules,
            Err(error) => {
                context.tell(Fact::NotRecovered(error));
                let empty = Coordinator::new(setup.rules.clone());
                empty.expect("a fog is made of configurations that were tried")
            }
        };
        let mut process = Self {
            setup: setup.clone(),
            rules,
            answers: Vec::new(),
            flushed: false,
            newest: None,
            late: Vec::new(),
        };
        process.act(context);
        context.wake_at(now + setup.tick);
        process
    }

    /// Its rules, to look at.
    #[must_use]
    pub const fn rules(&self) -> &Coordinator {
        &self.rules
    }

    /// Whether all that happened is written down and settled.
    #[must_use]
    pub const fn is_flushed(&self) -> bool {
        self.flushed
    }

    fn with_rules<T>(
        &mut self,
        context: &mut FogContext<'_>,
        call: impl FnOnce(&mut Coordinator, &mut Host<'_, DiskBank<'_>, Chance>) -> T,
    ) -> T {
        let (now, wall) = (context.now(), context.wall());
        let (rng, disk) = context.parts();
        let disk = RefCell::new(disk);
        let mut bank = DiskBank {
            disk: &disk,
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
                    self.answers.push((from, FogMessage::Registered));
                }
            }
            FogMessage::Heartbeat(offer) => {
                let node = node_id(from);
                let known =
                    self.with_rules(context, |rules, host| rules.heartbeat(node, offer, host));
                let known = known.unwrap_or(true);
                self.answers.push((from, FogMessage::Heard { known }));
            }
            FogMessage::Report { attempt, report } => self.report(from, attempt, report, context),
            FogMessage::Submit(job) => self.submit(from, job, context),
            FogMessage::Ask(job) => {
                let answer = match self.rules.job(job) {
                    Some(summary) => FogMessage::Status { job, summary },
                    None => FogMessage::Unknown(job),
                };
                self.answers.push((from, answer));
            }
            FogMessage::Cancel(task) => {
                // Whether it could be cancelled shows in the job's sums.
                let _ = self.with_rules(context, |rules, host| rules.cancel(task, host));
            }
            _ => {}
        }
        self.act(context);
    }

    pub(crate) fn wake(&mut self, context: &mut FogContext<'_>) {
        self.with_rules(context, |rules, host| {
            rules.handle_timeout(host);
        });
        self.act(context);
        context.wake_at(context.now() + self.setup.tick);
    }

    pub(crate) fn hung_up(&mut self, peer: ProcessId, context: &mut FogContext<'_>) {
        let node = node_id(peer);
        self.with_rules(context, |rules, host| {
            rules.node_lost(node, LossReason::Disconnected, host);
        });
        self.act(context);
    }

    fn submit(&mut self, from: ProcessId, job: JobSpec, context: &mut FogContext<'_>) {
        let id = job.id;
        let done = self.with_rules(context, |rules, host| rules.submit(job, host));
        let again = match done {
            // An event will say so.
            Ok(()) => return,
            Err(SubmitError::KnownJob { .. }) => {
                self.answers.push((from, FogMessage::Admitted(id)));
                return;
            }
            Err(error) => matches!(
                error,
                SubmitError::Shed(_) | SubmitError::Stalled | SubmitError::Bank(_)
            ),
        };
        // Nothing has changed, so there is nothing to wait for.
        context.send(from, FogMessage::Refused { job: id, again });
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
        // Whatever the rules say of it, saying it again would change nothing.
        let _ = self.with_rules(context, |rules, host| {
            rules.report(node, number, report, host)
        });
        self.answers
            .push((from, FogMessage::ReportTaken { task, attempt }));
    }

    /// Writes down what happened, and does what the rules say.
    fn act(&mut self, context: &mut FogContext<'_>) {
        let (now, wall) = (context.now(), context.wall());
        let (_, disk) = context.parts();
        let disk = RefCell::new(disk);
        let mut journal = DiskJournal {
            disk: &disk,
            late: (self.setup.flaw == Some(Flaw::WriteLate)).then_some(&mut self.late),
        };
        let mut bank = DiskBank {
            disk: &disk,
            setup: &self.setup,
        };
        self.flushed = self.rules.flush(&mut journal, &mut bank, wall).is_ok();
        if !self.flushed {
            // It is tried again with the next message, at the latest with the next tick.
            context.tell(Fact::Stalled);
            return;
        }
        for (to, answer) in self.answers.drain(..) {
            context.send(to, answer);
        }
        while let Some(event) = self.rules.poll_event() {
            match event {
                Event::Dispatch {
                    node,
                    task,
                    attempt,
                    spec,
                    ..
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
                Event::Admitted { job } => {
                    context.send(submitter_of(job), FogMessage::Admitted(job));
                }
                Event::JobEnded { job, summary } => {
                    context.send(submitter_of(job), FogMessage::Status { job, summary });
                }
                // Large, and nothing follows from it.
                Event::Placed { .. } => {}
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
