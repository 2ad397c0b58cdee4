use super::*;
use crate::bank::{clearing_account, genesis, node_account};
use crate::index::SHOWN_MAX;
use crate::job::TaskOrder;
use crate::journal::MemoryJournal;
use crate::kind::{PrivacyLevel, Status};
use crate::routing::{Obstacle, Unroutable};
use fogcompute_base::{AccountId, TransferId};
use fogcompute_exec::{Limits, TaskError, TransitionError, Usage};
use fogcompute_ledger::{Book, LedgerError, Limits as AccountLimits, Operation, Receipt};
use fogcompute_schedule::PreferenceError;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use thiserror::Error;

const OWNER: AccountId = AccountId::from_bytes([9; 16]);
const ENDOWMENT: u128 = 1_000_000;
const MIB: u64 = 1 << 20;
/// A second of work at [`OFFER`], for 100 base units.
const FUEL: u64 = 1_000_000_000;
const OFFER: Offer = Offer {
    cpu_millis: 1_000,
    memory_bytes: 64 * MIB,
    fuel_per_second: FUEL,
    price_per_gigafuel: Amount(100),
    latency_ms: 1.0,
};
const A: NodeId = NodeId::from_bytes([1; 32]);
const B: NodeId = NodeId::from_bytes([2; 32]);
const C: NodeId = NodeId::from_bytes([3; 32]);

/// A ledger that can be out of order.
#[derive(Debug)]
struct Till {
    book: Book,
    shut: bool,
    /// How many batches each group had.
    groups: Vec<usize>,
}

#[derive(Debug, Error, PartialEq)]
enum TillError {
    #[error("shut")]
    Shut,
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Bank for Till {
    type Error = TillError;

    fn execute(&mut self, batch: &[Operation], now: UnixMillis) -> Result<Vec<Receipt>, TillError> {
        if self.shut {
            return Err(TillError::Shut);
        }
        Ok(self.book.execute(batch, now)?)
    }

    fn execute_group(
        &mut self,
        batches: Vec<Vec<Operation>>,
        now: UnixMillis,
    ) -> Vec<Result<Vec<Receipt>, TillError>> {
        self.groups.push(batches.len());
        let batches = batches.iter();
        batches.map(|batch| self.execute(batch, now)).collect()
    }

    fn is_reserved(&self, id: TransferId) -> Result<bool, TillError> {
        if self.shut {
            return Err(TillError::Shut);
        }
        Ok(Bank::is_reserved(&self.book, id)?)
    }

    fn is_refusal(error: &TillError) -> bool {
        matches!(error, TillError::Ledger(_))
    }
}

/// A journal that can be full.
#[derive(Debug, Default)]
struct Paper {
    records: Vec<Record>,
    full: bool,
}

#[derive(Debug, Error, PartialEq)]
#[error("full")]
struct PaperError;

impl Journal for Paper {
    type Error = PaperError;

    fn commit(&mut self, records: &[Record], _: UnixMillis) -> Result<(), PaperError> {
        if self.full {
            return Err(PaperError);
        }
        self.records.extend_from_slice(records);
        Ok(())
    }
}

struct World {
    coordinator: Coordinator,
    till: Till,
    journal: Paper,
    /// What came of the last flush.
    flushed: Result<(), FlushError<PaperError, TillError>>,
    rng: ChaCha8Rng,
    now: Instant,
}

fn config() -> Config {
    Config {
        nsga2: Nsga2 {
            population: 8,
            generations: 4,
            ..Nsga2::default()
        },
        // Tasks spread over equal nodes.
        preference: Preference::Lexicographic([0, 1, 2, 3, 4]),
        attempts_max: 3,
        // One at a time, except where a test is about more.
        ahead: Duration::ZERO,
        ..Config::default()
    }
}

impl World {
    fn new() -> Self {
        Self::with(config())
    }

    fn with(config: Config) -> Self {
        let mut book = Book::new();
        book.execute(&genesis(OWNER, Amount(ENDOWMENT)), UnixMillis(0))
            .unwrap();
        Self {
            coordinator: Coordinator::new(config).unwrap(),
            till: Till {
                book,
                shut: false,
                groups: Vec::new(),
            },
            journal: Paper::default(),
            flushed: Ok(()),
            rng: ChaCha8Rng::seed_from_u64(1),
            now: Instant::from_millis(1_000),
        }
    }

    /// Calls the coordinator and checks it afterwards.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Coordinator, &mut Host<'_, Till, ChaCha8Rng>) -> T,
    ) -> T {
        let result = self.call_unchecked(call);
        self.flushed = self.flush();
        assert_eq!(self.coordinator.check(), Ok(()));
        assert_eq!(self.till.book.check(), Ok(()));
        assert_eq!(self.balance(clearing_account()), 0);
        result
    }

    /// Calls the coordinator, for what is checked afterwards.
    fn call_unchecked<T>(
        &mut self,
        call: impl FnOnce(&mut Coordinator, &mut Host<'_, Till, ChaCha8Rng>) -> T,
    ) -> T {
        let mut host = Host {
            bank: &mut self.till,
            rng: &mut self.rng,
            now: self.now,
            wall: UnixMillis(self.now.as_nanos() / 1_000_000),
        };
        call(&mut self.coordinator, &mut host)
    }

    fn flush(&mut self) -> Result<(), FlushError<PaperError, TillError>> {
        let wall = UnixMillis(self.now.as_nanos() / 1_000_000);
        self.coordinator
            .flush(&mut self.journal, &mut self.till, wall)
    }

    fn register(&mut self, node: NodeId, offer: Offer) {
        self.call(|rules, host| rules.register(node, offer, host))
            .unwrap();
    }

    fn heartbeat(&mut self, node: NodeId, offer: Offer) -> Result<bool, OfferError> {
        self.call(|rules, host| rules.heartbeat(node, offer, host))
    }

    fn submit(&mut self, job: u8, tasks: Vec<TaskOrder>) -> Result<(), SubmitError<TillError>> {
        let job = JobSpec {
            id: job_id(job),
            owner: OWNER,
            priority: Priority::Normal,
            privacy: PrivacyLevel::Private,
            tasks,
        };
        self.call(|rules, host| rules.submit(job, host))
    }

    fn report(
        &mut self,
        node: NodeId,
        task: u8,
        attempt: u32,
        result: Result<TaskOutput, TaskError>,
    ) -> Result<Amount, ReportError> {
        let report = TaskReport {
            task: id(task),
            result,
        };
        self.call(|rules, host| rules.report(node, attempt, report, host))
    }

    fn timeout(&mut self) {
        self.call(Coordinator::handle_timeout);
    }

    /// Lets time pass in which all nodes that are there are heard.
    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        for view in self.coordinator.nodes() {
            let _ = self.heartbeat(view.node, view.offer);
        }
        self.timeout();
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.coordinator.poll_event()).collect()
    }

    /// Who was sent what since events were last looked at.
    fn dispatched(&mut self) -> Vec<(NodeId, TaskId, u32)> {
        dispatches(&self.events())
    }

    fn balance(&self, account: AccountId) -> u128 {
        self.till.book.account(account).unwrap().balance().0
    }

    fn available(&self) -> u128 {
        self.till.book.account(OWNER).unwrap().available().0
    }

    fn state(&self, task: u8) -> TaskState {
        self.coordinator.task(id(task)).unwrap().state
    }

    fn view(&self, node: NodeId) -> NodeView {
        let views = self.coordinator.nodes();
        views.into_iter().find(|view| view.node == node).unwrap()
    }

    fn summary(&self, job: u8) -> JobSummary {
        self.coordinator.job(job_id(job)).unwrap()
    }
}

fn dispatches(events: &[Event]) -> Vec<(NodeId, TaskId, u32)> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Dispatch {
                node,
                task,
                attempt,
                ..
            } => Some((*node, *task, *attempt)),
            _ => None,
        })
        .collect()
}

/// What events say about tasks that no node can take.
fn unplaceable(events: &[Event]) -> Vec<(TaskId, Vec<Constraint>)> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Unplaceable {
                task,
                error: PlacementError::Infeasible { nearest_fails, .. },
            } => Some((*task, nearest_fails.clone())),
            _ => None,
        })
        .collect()
}

fn id(task: u8) -> TaskId {
    TaskId::from_bytes([task; 16])
}

fn job_id(job: u8) -> JobId {
    JobId::from_bytes([job; 16])
}

fn order(task: u8) -> TaskOrder {
    TaskOrder {
        id: id(task),
        spec: TaskSpec::new(vec![0], vec![], Limits::default()).unwrap(),
        fuel_estimate: FUEL,
        price_max: Amount(1_000),
    }
}

fn orders(tasks: impl IntoIterator<Item = u8>) -> Vec<TaskOrder> {
    tasks.into_iter().map(order).collect()
}

fn order_with_memory(task: u8, memory_bytes: u64) -> TaskOrder {
    let limits = Limits {
        memory_bytes,
        ..Limits::default()
    };
    TaskOrder {
        spec: TaskSpec::new(vec![0], vec![], limits).unwrap(),
        ..order(task)
    }
}

fn done(fuel: u64) -> Result<TaskOutput, TaskError> {
    Ok(TaskOutput {
        output: b"done".to_vec(),
        usage: Usage {
            fuel,
            ..Usage::default()
        },
    })
}

#[test]
fn a_node_that_works_is_paid_and_trusted() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1, 2])).unwrap();
    assert_eq!(world.available(), ENDOWMENT - 2_000);
    assert_eq!(world.summary(1).reserved, Amount(2_000));
    assert_eq!(world.dispatched(), [(A, id(1), 1)]);
    let before = world.view(A).reputation;

    assert_eq!(world.report(A, 1, 1, done(FUEL / 2)), Ok(Amount(50)));
    assert_eq!(world.balance(node_account(A)), 50);
    assert_eq!(world.available(), ENDOWMENT - 1_000 - 50);
    assert!(world.view(A).reputation.expected() > before.expected());
    assert_eq!(world.dispatched(), [(A, id(2), 1)]);

    world.report(A, 2, 1, done(FUEL)).unwrap();
    let summary = JobSummary {
        succeeded: 2,
        paid: Amount(150),
        released: Amount(1_850),
        ..JobSummary::default()
    };
    assert_eq!(world.summary(1), summary);
    assert!(world.events().iter().any(|event| matches!(
        event,
        Event::JobEnded { job, summary: told } if *job == job_id(1) && *told == summary
    )));
    assert_eq!(world.available(), ENDOWMENT - 150);
}

#[test]
fn a_task_that_fails_everywhere_ends_unpaid_and_leaves_trust_alone() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1])).unwrap();
    let before = world.view(A).reputation;
    let failed = Err(TaskError::OutOfFuel { limit: 1 });
    assert_eq!(world.report(A, 1, 1, failed), Ok(Amount::ZERO));
    assert_eq!(world.state(1), TaskState::Failed);
    assert_eq!(world.summary(1).failed, 1);
    assert_eq!(world.view(A).reputation, before);
    assert_eq!(world.available(), ENDOWMENT);
}

#[test]
fn tasks_of_a_node_that_dies_go_to_others() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders(1..=4)).unwrap();
    assert_eq!((world.view(A).running, world.view(A).waiting), (1, 3));
    let trust = world.view(A).reputation.expected();
    world.register(B, OFFER);
    world.events();

    world.call(|rules, host| rules.node_lost(A, LossReason::Disconnected, host));
    assert_eq!(world.view(A).status, Status::Offline);
    assert_eq!((world.view(A).running, world.view(A).waiting), (0, 0));
    assert_eq!((world.view(B).running, world.view(B).waiting), (1, 3));
    assert!(world.view(A).reputation.expected() < trust);
    let events = world.events();
    let lost: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::AttemptLost { node, attempt, .. } => Some((*node, *attempt)),
            _ => None,
        })
        .collect();
    assert_eq!(lost, [(A, 1)]);
    assert!(events.iter().any(|event| matches!(
        event,
        Event::NodeLost { node, reason: LossReason::Disconnected } if *node == A
    )));

    // Once more changes nothing.
    world.call(|rules, host| rules.node_lost(A, LossReason::Silent, host));
    assert!(world.events().is_empty());
    // A node that is gone is not heard, and not one that nobody knows.
    assert_eq!(world.heartbeat(A, OFFER), Ok(false));
    assert_eq!(world.heartbeat(C, OFFER), Ok(false));
}

#[test]
fn a_node_that_registers_twice_keeps_its_tasks() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1, 2])).unwrap();
    world.events();
    world.register(A, OFFER);
    assert_eq!((world.view(A).running, world.view(A).waiting), (1, 1));
    assert!(world.dispatched().is_empty());
    assert_eq!(world.report(A, 1, 1, done(FUEL)), Ok(Amount(100)));
}

#[test]
fn a_late_report_does_not_free_the_slot_of_a_later_attempt() {
    // The report of attempt 1 freed the slot of attempt 2 on the same node: the node was sent
    // more than it has slots for, and the task was left behind when it died.
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1, 2])).unwrap();
    world.call(|rules, host| rules.node_lost(A, LossReason::Disconnected, host));
    world.register(A, OFFER);
    assert_eq!(world.dispatched(), [(A, id(1), 1), (A, id(1), 2)]);

    assert_eq!(
        world.report(A, 1, 1, done(FUEL)),
        Err(ReportError::Transition(TransitionError::Stale {
            attempt: 1,
            current: 2
        }))
    );
    assert_eq!(world.view(A).running, 1);
    assert!(world.dispatched().is_empty());
    assert_eq!(world.report(A, 1, 2, done(FUEL)), Ok(Amount(100)));
    assert_eq!(world.dispatched(), [(A, id(2), 1)]);
}

#[test]
fn a_report_after_the_lease_is_refused() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1])).unwrap();
    world.register(B, OFFER);
    world.events();
    world.pass(Duration::from_secs(59));
    assert!(world.events().is_empty());
    world.pass(Duration::from_secs(1));
    let events = world.events();
    assert_eq!(dispatches(&events), [(B, id(1), 2)]);
    assert!(events.iter().any(|event| matches!(
        event,
        Event::AttemptLost {
            node: A,
            attempt: 1,
            reason: LossReason::LeaseExpired,
            ..
        }
    )));
    assert!(events.iter().any(|event| matches!(
        event,
        Event::Revoke {
            node: A,
            attempt: 1,
            ..
        }
    )));
    assert!(matches!(
        world.report(A, 1, 1, done(FUEL)),
        Err(ReportError::Transition(TransitionError::Stale { .. }))
    ));
    assert_eq!(world.report(B, 1, 2, done(FUEL)), Ok(Amount(100)));
    assert!(matches!(
        world.report(A, 1, 1, done(FUEL)),
        Err(ReportError::Transition(TransitionError::Ended { .. }))
    ));
    assert_eq!(world.balance(node_account(A)), 0);
}

#[test]
fn long_tasks_have_long_leases() {
    let mut world = World::new();
    world.register(A, OFFER);
    let long = TaskOrder {
        fuel_estimate: 7 * FUEL,
        ..order(1)
    };
    world.submit(1, vec![long]).unwrap();
    world.pass(Duration::from_secs(69));
    assert!(matches!(world.state(1), TaskState::Assigned { .. }));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.coordinator.task(id(1)).unwrap().attempts, 2);
}

#[test]
fn giving_up_after_the_last_attempt_releases_the_escrow() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1])).unwrap();
    for attempt in 1..=3 {
        assert_eq!(world.available(), ENDOWMENT - 1_000);
        let given_back = Err(TaskError::Cancelled);
        assert_eq!(world.report(A, 1, attempt, given_back), Ok(Amount::ZERO));
    }
    assert_eq!(world.state(1), TaskState::Lost { attempts: 3 });
    assert_eq!(world.available(), ENDOWMENT);
    let summary = JobSummary {
        lost: 1,
        released: Amount(1_000),
        ..JobSummary::default()
    };
    assert_eq!(world.summary(1), summary);
    let events = world.events();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::TaskLost { task } if *task == id(1)))
    );
    assert!(matches!(events.last(), Some(Event::JobEnded { .. })));
}

#[test]
fn a_task_nobody_can_take_is_told_once_and_placed_when_somebody_can() {
    let mut world = World::new();
    let dear = Offer {
        price_per_gigafuel: Amount(1_001),
        ..OFFER
    };
    world
        .submit(1, vec![order(1), order_with_memory(2, 65 * MIB)])
        .unwrap();
    world.register(A, dear);
    let told = unplaceable(&world.events());
    assert_eq!(
        told,
        [
            (id(1), vec![Constraint::Cost]),
            (id(2), vec![Constraint::Cost, Constraint::Memory]),
        ]
    );
    assert_eq!(world.coordinator.unplaced(), 2);
    // Nothing that matters to them has changed.
    world.heartbeat(A, OFFER_WITH_LESS_MEMORY_AND_DEAR).unwrap();
    world.register(A, dear);
    assert!(unplaceable(&world.events()).is_empty());

    world.register(B, OFFER);
    let events = world.events();
    assert_eq!(dispatches(&events), [(B, id(1), 1)]);
    assert_eq!(unplaceable(&events), [(id(2), vec![Constraint::Memory])]);
    world.register(
        C,
        Offer {
            memory_bytes: 65 * MIB,
            ..OFFER
        },
    );
    assert_eq!(world.dispatched(), [(C, id(2), 1)]);
    assert_eq!(world.coordinator.unplaced(), 0);
}

const OFFER_WITH_LESS_MEMORY_AND_DEAR: Offer = Offer {
    memory_bytes: 60 * MIB,
    price_per_gigafuel: Amount(2_000),
    ..OFFER
};

#[test]
fn a_heartbeat_that_offers_more_memory_or_a_lower_price_is_noticed() {
    // Only a change of processors was: tasks waited for ever for what was there.
    for (poor, enough) in [
        (
            OFFER,
            Offer {
                memory_bytes: 128 * MIB,
                ..OFFER
            },
        ),
        (
            Offer {
                memory_bytes: 128 * MIB,
                price_per_gigafuel: Amount(5_000),
                ..OFFER
            },
            Offer {
                memory_bytes: 128 * MIB,
                ..OFFER
            },
        ),
        (
            Offer {
                cpu_millis: 999,
                memory_bytes: 128 * MIB,
                ..OFFER
            },
            Offer {
                memory_bytes: 128 * MIB,
                ..OFFER
            },
        ),
    ] {
        let mut world = World::new();
        world
            .submit(1, vec![order_with_memory(1, 128 * MIB)])
            .unwrap();
        world.register(A, poor);
        assert_eq!(world.dispatched(), []);
        assert_eq!(world.heartbeat(A, enough), Ok(true));
        assert_eq!(world.dispatched(), [(A, id(1), 1)]);
    }
}

#[test]
fn a_heartbeat_that_lowers_the_offer_moves_what_waits() {
    let two = Offer {
        cpu_millis: 2_000,
        memory_bytes: 256 * MIB,
        ..OFFER
    };
    for lowered in [
        Offer {
            cpu_millis: 1_000,
            ..two
        },
        Offer {
            cpu_millis: 0,
            ..two
        },
        Offer {
            memory_bytes: 0,
            ..two
        },
        Offer {
            memory_bytes: 63 * MIB,
            ..two
        },
        Offer {
            price_per_gigafuel: Amount(1_001),
            ..two
        },
    ] {
        let mut world = World::new();
        world.register(A, two);
        world.submit(1, orders(1..=6)).unwrap();
        let idle = Offer {
            cpu_millis: 0,
            ..two
        };
        world.register(B, idle);
        // B lends again, and A no longer what it did. What runs stays.
        let registry = &mut world.coordinator.registry;
        registry.update(B, |node| node.offer = two).unwrap();
        assert_eq!((world.view(A).running, world.view(A).waiting), (2, 4));
        assert_eq!(world.heartbeat(A, lowered), Ok(true));
        assert_eq!(world.view(A).running, 2);
        assert_eq!(world.view(B).running, 2);
        if lowered.cpu_millis < 1_000
            || lowered.memory_bytes < 64 * MIB
            || lowered.price_per_gigafuel > Amount(1_000)
        {
            assert_eq!((world.view(A).waiting, world.view(B).waiting), (0, 2));
        }
    }
}

#[test]
fn an_offer_that_makes_no_sense_is_refused_and_the_node_heard() {
    let mut world = World::new();
    let no_speed = Offer {
        fuel_per_second: 0,
        ..OFFER
    };
    for (latency_ms, fine) in [
        (0.0, true),
        (1e8, true),
        (-1.0, false),
        (f64::NAN, false),
        (f64::INFINITY, false),
        // The optimiser refused the whole batch for it.
        (1e13, false),
    ] {
        let offer = Offer {
            latency_ms,
            ..OFFER
        };
        let registered = world.call(|rules, host| rules.register(A, offer, host));
        assert_eq!(registered.is_ok(), fine, "{latency_ms}");
        if !fine {
            assert!(matches!(
                registered,
                Err(RegisterError::Offer(OfferError::Latency { .. }))
            ));
        }
    }
    world.register(A, OFFER);
    world.now = world.now + Duration::from_secs(60);
    assert_eq!(
        world.heartbeat(A, no_speed),
        Err(OfferError::Speed { cpu_millis: 1_000 })
    );
    assert_eq!(world.view(A).offer, OFFER);
    world.now = world.now + Duration::from_secs(60);
    world.timeout();
    assert_ne!(world.view(A).status, Status::Offline);
    let nothing = Offer {
        cpu_millis: 0,
        ..no_speed
    };
    assert_eq!(world.heartbeat(A, nothing), Ok(true));
    assert_eq!(world.view(A).status, Status::Busy);
}

#[test]
fn insufficient_funds_admit_nothing() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.events();
    let poor = TaskOrder {
        price_max: Amount(ENDOWMENT),
        ..order(2)
    };
    let refused = world.submit(1, vec![order(1), poor]);
    assert!(matches!(
        refused,
        Err(SubmitError::Bank(TillError::Ledger(
            LedgerError::InsufficientFunds { .. }
        )))
    ));
    assert_eq!(world.coordinator.job(job_id(1)), None);
    assert_eq!(world.coordinator.task(id(1)), None);
    assert_eq!(world.coordinator.unplaced(), 0);
    assert_eq!(world.available(), ENDOWMENT);
    assert!(world.events().is_empty());
    // Neither the job's id nor its tasks' are used up.
    world.submit(1, orders([1])).unwrap();
}

#[test]
fn a_job_that_cannot_be_admitted_says_why() {
    let mut world = World::new();
    assert!(matches!(
        world.submit(1, vec![]),
        Err(SubmitError::NoTasks { job }) if job == job_id(1)
    ));
    let many = (0..=JOB_TASKS_MAX)
        .map(|index| TaskOrder {
            id: TaskId::from_bytes((index as u128).to_be_bytes()),
            ..order(0)
        })
        .collect();
    assert!(matches!(
        world.submit(1, many),
        Err(SubmitError::TooManyTasks { actual, limit, .. })
            if actual == limit + 1 && limit == JOB_TASKS_MAX
    ));
    assert!(matches!(
        world.submit(1, orders([1, 2, 1])),
        Err(SubmitError::KnownTask { task }) if task == id(1)
    ));
    world.submit(1, orders([1])).unwrap();
    assert!(matches!(
        world.submit(1, orders([2])),
        Err(SubmitError::KnownJob { .. })
    ));
    assert!(matches!(
        world.submit(2, orders([2, 1])),
        Err(SubmitError::KnownTask { task }) if task == id(1)
    ));
    let free = TaskOrder {
        price_max: Amount::ZERO,
        ..order(2)
    };
    assert!(matches!(
        world.submit(2, vec![free]),
        Err(SubmitError::Bank(TillError::Ledger(
            LedgerError::ZeroAmount { .. }
        )))
    ));
    assert_eq!(world.available(), ENDOWMENT - 1_000);
}

#[test]
fn open_tasks_have_a_limit() {
    let mut world = World::new();
    let watermark = Watermarks::default().of(Priority::Normal);
    world.coordinator.open = watermark - 1;
    let job = JobSpec {
        id: job_id(1),
        owner: OWNER,
        priority: Priority::Normal,
        privacy: PrivacyLevel::Private,
        tasks: orders([1, 2]),
    };
    let refused: Result<(), SubmitError<TillError>> =
        world.coordinator.check_job(&job, &mut Together::default());
    assert!(matches!(
        refused,
        Err(SubmitError::Shed(shed)) if shed.open == watermark - 1 && shed.watermark == watermark
    ));
    // What is more urgent is let in all the same.
    let urgent = JobSpec {
        priority: Priority::High,
        ..job.clone()
    };
    let admitted: Result<(), SubmitError<TillError>> = world
        .coordinator
        .check_job(&urgent, &mut Together::default());
    assert!(admitted.is_ok());
    world.coordinator.open -= 1;
    let admitted: Result<(), SubmitError<TillError>> =
        world.coordinator.check_job(&job, &mut Together::default());
    assert!(admitted.is_ok());
}

#[test]
fn tasks_of_an_earlier_coordinator_are_not_paid_from_its_reservations() {
    // Reserving them again was answered with the first receipt: the job ran on a reservation
    // that was spent, and no report could ever be settled.
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1, 2])).unwrap();
    world.report(A, 1, 1, done(FUEL)).unwrap();
    let available = world.available();

    world.coordinator = Coordinator::new(config()).unwrap();
    assert!(matches!(
        world.submit(1, orders([3, 1, 4, 2])),
        Err(SubmitError::KnownTask { task }) if task == id(1)
    ));
    assert_eq!(world.coordinator.job(job_id(1)), None);
    assert_eq!(world.available(), available);
    world.submit(1, orders([5])).unwrap();
}

#[test]
fn a_cancelled_task_keeps_its_slot_until_its_node_lets_go() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1, 2, 3])).unwrap();
    world.events();
    world.call(|rules, host| rules.cancel(id(1), host)).unwrap();
    let events = world.events();
    assert!(matches!(
        events[..],
        [
            Event::Revoke {
                node: A,
                attempt: 1,
                ..
            },
            Event::TaskCancelled { .. }
        ]
    ));
    assert_eq!(world.available(), ENDOWMENT - 2_000);
    assert_eq!((world.view(A).running, world.view(A).waiting), (1, 2));

    // One that waits simply goes, and one that no node can take. As long as one lends nothing, it
    // may be that one.
    world.call(|rules, host| rules.cancel(id(2), host)).unwrap();
    assert_eq!((world.view(A).running, world.view(A).waiting), (1, 1));
    let impossible = vec![order_with_memory(4, 65 * MIB)];
    let refused = world.submit(2, impossible.clone());
    assert!(matches!(refused, Err(SubmitError::Unroutable { .. })));
    let resting = Offer {
        cpu_millis: 0,
        ..OFFER
    };
    world.register(B, resting);
    world.submit(2, impossible).unwrap();
    world.register(C, resting);
    assert_eq!(world.coordinator.stuck.len(), 1);
    world.call(|rules, host| rules.cancel(id(4), host)).unwrap();
    assert_eq!(world.coordinator.unplaced(), 0);
    world.events();

    let late = world.report(A, 1, 1, Err(TaskError::Cancelled));
    assert!(matches!(
        late,
        Err(ReportError::Transition(TransitionError::Ended { .. }))
    ));
    assert_eq!(world.dispatched(), [(A, id(3), 1)]);
    assert_eq!((world.summary(1).lost, world.summary(1).cancelled), (0, 2));
    // Nobody else can free the slot that is taken now.
    assert!(world.report(B, 3, 1, done(FUEL)).is_err());
    assert!(world.report(A, 3, 2, done(FUEL)).is_err());
    assert_eq!(world.view(A).running, 1);
}

#[test]
fn the_slot_of_a_cancelled_task_is_free_when_its_lease_is_over() {
    // It was held until the node was lost, if the node's last report did not arrive.
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1, 2])).unwrap();
    world.events();
    world.call(|rules, host| rules.cancel(id(1), host)).unwrap();
    let trust = world.view(A).reputation;
    world.pass(Duration::from_secs(59));
    assert_eq!(world.dispatched(), []);
    assert_eq!(
        world.coordinator.poll_timeout(),
        Some(world.now + Duration::from_secs(1))
    );
    world.pass(Duration::from_secs(1));
    assert_eq!(world.dispatched(), [(A, id(2), 1)]);
    assert_eq!(world.view(A).reputation, trust);
}

#[test]
fn what_cannot_be_cancelled_says_why() {
    let mut world = World::new();
    let cancel = |world: &mut World| world.call(|rules, host| rules.cancel(id(1), host));
    assert!(matches!(
        cancel(&mut world),
        Err(CancelError::UnknownTask { task }) if task == id(1)
    ));
    world.submit(1, orders([1])).unwrap();
    cancel(&mut world).unwrap();
    assert!(matches!(
        cancel(&mut world),
        Err(CancelError::Transition(TransitionError::Ended {
            state: TaskState::Cancelled
        }))
    ));
}

#[test]
fn reports_that_are_not_accepted_say_why() {
    let mut world = World::new();
    world.register(A, OFFER);
    assert!(matches!(
        world.report(A, 1, 1, done(1)),
        Err(ReportError::UnknownTask { task }) if task == id(1)
    ));
    world.submit(1, orders([1])).unwrap();
    assert_eq!(world.report(A, 1, 1, done(FUEL)), Ok(Amount(100)));
    assert!(matches!(
        world.report(A, 1, 1, done(FUEL)),
        Err(ReportError::Transition(TransitionError::Ended { .. }))
    ));
}

#[test]
fn a_report_over_the_limits_costs_the_attempt() {
    let limits = Limits::default();
    let over = [
        TaskOutput {
            output: vec![],
            usage: Usage {
                fuel: limits.fuel + 1,
                ..Usage::default()
            },
        },
        TaskOutput {
            output: vec![],
            usage: Usage {
                memory_bytes_peak: limits.memory_bytes + 1,
                ..Usage::default()
            },
        },
        TaskOutput {
            output: vec![0; limits.output_bytes as usize + 1],
            usage: Usage::default(),
        },
    ];
    for output in over {
        let mut world = World::new();
        world.register(A, OFFER);
        world.submit(1, orders([1])).unwrap();
        // From somebody else it costs nothing.
        assert!(matches!(
            world.report(B, 1, 1, Ok(output.clone())),
            Err(ReportError::Transition(TransitionError::Stale { .. }))
        ));
        world.events();
        assert!(matches!(
            world.report(A, 1, 1, Ok(output)),
            Err(ReportError::OverLimits { task }) if task == id(1)
        ));
        assert_eq!(world.balance(node_account(A)), 0);
        let events = world.events();
        assert!(matches!(
            events[0],
            Event::AttemptLost {
                reason: LossReason::OverLimits,
                ..
            }
        ));
        // There is no other node, so the same is asked again.
        assert_eq!(dispatches(&events), [(A, id(1), 2)]);
    }
}

#[test]
fn a_node_is_paid_at_the_price_it_asked_for_when_it_got_the_task() {
    // It was paid at the price of its last heartbeat: cheap nodes got the tasks, and could
    // become dear before they reported.
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1])).unwrap();
    let dear = Offer {
        price_per_gigafuel: Amount(900),
        ..OFFER
    };
    world.heartbeat(A, dear).unwrap();
    assert_eq!(world.report(A, 1, 1, done(FUEL)), Ok(Amount(100)));
}

#[test]
fn tasks_that_run_together_fit_the_memory_that_is_lent() {
    // Each was compared with all of it, so two that fill it ran at once.
    let mut world = World::new();
    world.register(
        A,
        Offer {
            cpu_millis: 4_000,
            memory_bytes: 100 * MIB,
            ..OFFER
        },
    );
    let tasks = (1..=4).map(|task| order_with_memory(task, 40 * MIB));
    world.submit(1, tasks.collect()).unwrap();
    assert_eq!(world.dispatched(), [(A, id(1), 1), (A, id(2), 1)]);
    world.report(A, 1, 1, done(FUEL)).unwrap();
    assert_eq!(world.dispatched(), [(A, id(3), 1)]);
}

#[test]
fn a_node_that_is_late_keeps_what_it_has_and_gets_nothing_new() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1])).unwrap();
    assert_eq!(world.dispatched(), [(A, id(1), 1)]);
    world.now = world.coordinator.poll_timeout().unwrap();
    world.timeout();
    assert_eq!(world.view(A).status, Status::Suspect);
    world.submit(2, orders([2])).unwrap();
    world.report(A, 1, 1, done(FUEL)).unwrap();
    // A report is a sign of life, as a heartbeat is.
    assert_eq!(world.dispatched(), [(A, id(2), 1)]);
}

#[test]
fn a_coordinator_that_slept_blames_no_node_for_its_own_silence() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1])).unwrap();
    world.now = world.now + Duration::from_secs(3_600);
    world.timeout();
    assert_ne!(world.view(A).status, Status::Offline);
    assert_eq!(world.heartbeat(A, OFFER), Ok(true));
}

#[test]
fn a_node_that_fails_again_and_again_is_left_alone_and_then_tried_with_one_task() {
    let mut world = World::with(Config {
        attempts_max: 50,
        ..config()
    });
    world.register(
        A,
        Offer {
            cpu_millis: 4_000,
            memory_bytes: 1024 * MIB,
            ..OFFER
        },
    );
    world.submit(1, orders(1..=4)).unwrap();
    let over = |fuel| done(fuel);
    let mut failures = 0;
    while !world.view(A).barred {
        let (_, task, attempt) = world.dispatched()[0];
        let refused = world.report(A, task.as_bytes()[0], attempt, over(u64::MAX));
        assert!(
            matches!(refused, Err(ReportError::OverLimits { .. })),
            "{refused:?}"
        );
        failures += 1;
        assert!(failures < 10);
    }
    assert_eq!(failures, 5);
    world.events();
    world.pass(Duration::from_secs(59));
    assert!(world.dispatched().is_empty());
    world.pass(Duration::from_secs(2));
    // Half open: one trial at a time, whatever number of slots there is.
    let trial = world.dispatched();
    assert_eq!(trial.len(), 1);
    assert!(world.view(A).barred);
    world
        .report(A, trial[0].1.as_bytes()[0], trial[0].2, done(FUEL))
        .unwrap();
    let second = world.dispatched();
    assert_eq!(second.len(), 1);
    world
        .report(A, second[0].1.as_bytes()[0], second[0].2, done(FUEL))
        .unwrap();
    assert!(!world.view(A).barred);
    assert_eq!(world.dispatched().len(), 2);
}

#[test]
fn a_node_that_is_drained_finishes_and_gets_nothing_more() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1, 2])).unwrap();
    assert_eq!(world.dispatched(), [(A, id(1), 1)]);
    assert!(world.call(|rules, host| rules.drain(A, host)));
    assert_eq!(world.view(A).status, Status::Draining);
    let drained = |world: &mut World| {
        let told = |event: &Event| matches!(event, Event::Drained { node: A });
        world.events().iter().any(told)
    };
    assert!(!drained(&mut world));
    // What waits for it goes to others.
    world.register(B, OFFER);
    assert_eq!(world.dispatched(), [(B, id(2), 1)]);
    world.report(A, 1, 1, done(FUEL)).unwrap();
    assert!(drained(&mut world));
    assert_eq!(world.view(A).status, Status::Maintenance);
    world.submit(2, orders([3])).unwrap();
    assert!(world.dispatched().is_empty());
    assert!(world.call(|rules, host| rules.undrain(A, host)));
    assert_eq!(world.dispatched(), [(A, id(3), 1)]);
    assert!(!world.call(|rules, host| rules.drain(C, host)));
    assert!(!world.call(|rules, host| rules.undrain(C, host)));
}

fn routed(strategy: Strategy) -> Config {
    Config {
        placement: Placement::Routed(strategy),
        ..config()
    }
}

#[test]
fn every_strategy_gives_every_task_to_a_node_that_has_room() {
    for strategy in Strategy::ALL {
        let mut world = World::with(routed(strategy));
        world.register(
            A,
            Offer {
                cpu_millis: 2_000,
                memory_bytes: 1024 * MIB,
                ..OFFER
            },
        );
        world.register(B, OFFER);
        world.submit(1, orders(1..=6)).unwrap();
        let mut out = world.dispatched();
        assert_eq!(out.len(), 3, "{strategy}");
        for _ in 0..6 {
            let (node, task, attempt) = out.remove(0);
            world
                .report(node, task.as_bytes()[0], attempt, done(FUEL))
                .unwrap();
            out.extend(world.dispatched());
            assert!(out.len() <= 3, "{strategy}");
        }
        assert_eq!(world.summary(1).succeeded, 6, "{strategy}");
    }
}

#[test]
fn urgent_tasks_are_routed_first_and_small_ones_pass_those_that_fit_nowhere() {
    let mut world = World::with(routed(Strategy::LeastLoaded));
    world.register(A, OFFER);
    world.submit(1, orders([1, 2])).unwrap();
    let urgent = JobSpec {
        id: job_id(2),
        owner: OWNER,
        priority: Priority::Critical,
        privacy: PrivacyLevel::Private,
        tasks: orders([3]),
    };
    world
        .call(|rules, host| rules.submit(urgent, host))
        .unwrap();
    assert_eq!(world.dispatched(), [(A, id(1), 1)]);
    world.report(A, 1, 1, done(FUEL)).unwrap();
    assert_eq!(world.dispatched(), [(A, id(3), 1)]);
    // A node with room for little, while the large task waits for the one that is busy.
    world
        .submit(
            3,
            vec![order_with_memory(4, 60 * MIB), order_with_memory(5, MIB)],
        )
        .unwrap();
    world.report(A, 3, 1, done(FUEL)).unwrap();
    world.register(
        B,
        Offer {
            memory_bytes: 2 * MIB,
            ..OFFER
        },
    );
    assert_eq!(world.dispatched(), [(A, id(2), 1), (B, id(5), 1)]);
}

#[test]
fn a_task_that_no_node_could_ever_take_is_refused_with_the_nearest_miss() {
    for config in [routed(Strategy::LeastLoaded), config()] {
        let mut world = World::with(config);
        // As long as there is no node, nobody knows what there will be.
        world
            .submit(1, vec![order_with_memory(1, 512 * MIB)])
            .unwrap();
        world.register(A, OFFER);
        let refused = world.submit(2, vec![order(2), order_with_memory(3, 65 * MIB)]);
        let Err(SubmitError::Unroutable { task, error }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((task, error.nodes), (id(3), 1));
        assert_eq!(
            error.nearest,
            Some((
                A,
                Obstacle::Memory {
                    bytes: 64 * MIB,
                    needed: 65 * MIB
                }
            ))
        );
        // Nothing is reserved for it.
        assert_eq!(world.available(), ENDOWMENT - 1_000);
    }
}

/// No command said why a task waits: one that no node could take looked like one that was next.
#[test]
fn a_task_that_waits_says_why() {
    for config in [routed(Strategy::LeastLoaded), config()] {
        let mut world = World::with(config);
        let why = |world: &World, job: u8| -> Vec<_> {
            let told = world.coordinator.waiting(job_id(job)).into_iter();
            told.map(|it| (it.task, it.tasks, it.reason)).collect()
        };
        world
            .submit(1, vec![order(1), order_with_memory(2, 65 * MIB), order(3)])
            .unwrap();
        assert_eq!(
            why(&world, 1),
            [
                (id(1), 2, WaitReason::NoNode),
                (id(2), 1, WaitReason::NoNode)
            ]
        );
        assert_eq!(why(&world, 2), []);
        let asleep = Offer {
            cpu_millis: 0,
            ..OFFER
        };
        world.register(A, asleep);
        let nothing = WaitReason::NothingLent { nodes: 1 };
        assert_eq!(why(&world, 1)[0], (id(1), 2, nothing));
        world.heartbeat(A, OFFER).unwrap();
        let held = Obstacle::Memory {
            bytes: 64 * MIB,
            needed: 65 * MIB,
        };
        let misses = WaitReason::NoFit(Unroutable {
            nodes: 1,
            nearest: Some((A, held)),
        });
        // The first runs, the last waits for it, and the one that fits nowhere is before that.
        let told = why(&world, 1);
        assert_eq!(told[0], (id(2), 1, misses));
        assert_eq!(told[1], (id(3), 1, WaitReason::Busy { before: 1 }));
        world.call(|rules, host| rules.drain(A, host));
        let leaving = Obstacle::Status {
            status: Status::Draining,
        };
        let leaving = WaitReason::NoFit(Unroutable {
            nodes: 1,
            nearest: Some((A, leaving)),
        });
        assert_eq!(why(&world, 1)[1], (id(3), 1, leaving));
        world.call(|rules, host| rules.undrain(A, host));
        world.report(A, 1, 1, done(FUEL)).unwrap();
        world.call(Coordinator::hold);
        world.submit(4, orders([4])).unwrap();
        assert_eq!(why(&world, 4), [(id(4), 1, WaitReason::NoMixnet)]);
        world.journal.full = true;
        world.call(|rules, host| rules.cancel(id(4), host)).unwrap();
        assert_eq!(why(&world, 1)[0].2, WaitReason::Stalled);
    }
}

/// Each of many jobs that came at once had waited for the ledger's disk by itself.
#[test]
fn jobs_that_come_together_ask_the_ledger_once_and_are_refused_apart() {
    let mut world = World::new();
    let job = |number: u8, tasks: Vec<TaskOrder>| JobSpec {
        id: job_id(number),
        owner: OWNER,
        priority: Priority::Normal,
        privacy: PrivacyLevel::Private,
        tasks,
    };
    let dear = TaskOrder {
        price_max: Amount(ENDOWMENT),
        ..order(3)
    };
    let jobs = vec![
        job(1, orders([1])),
        job(2, vec![]),
        job(3, vec![dear]),
        job(1, orders([4])),
        job(5, orders([1])),
        job(6, orders([6, 7])),
    ];
    let admitted = world.call(|rules, host| rules.submit_all(jobs, host));
    assert_eq!(world.till.groups, [3]);
    assert_eq!(admitted[0], Ok(()));
    assert_eq!(admitted[1], Err(SubmitError::NoTasks { job: job_id(2) }));
    assert!(matches!(admitted[2], Err(SubmitError::Bank(_))));
    assert_eq!(admitted[3], Err(SubmitError::KnownJob { job: job_id(1) }));
    assert_eq!(admitted[4], Err(SubmitError::KnownTask { task: id(1) }));
    assert_eq!(admitted[5], Ok(()));
    assert_eq!(world.available(), ENDOWMENT - 3_000);
    let metrics = world.coordinator.metrics();
    assert_eq!((metrics.jobs_admitted, metrics.jobs_refused), (2, 4));
}

#[test]
fn of_a_job_of_many_kinds_of_tasks_the_first_are_told() {
    let mut world = World::with(routed(Strategy::LeastLoaded));
    let kinds =
        (1..=WAITING_MAX as u8 + 1).map(|task| order_with_memory(task, u64::from(task) * MIB));
    world.submit(1, kinds.collect()).unwrap();
    let told = world.coordinator.waiting(job_id(1));
    assert_eq!(told.len(), WAITING_MAX);
    assert_eq!(told[0].task, id(1));
}

#[test]
fn a_node_that_let_an_attempt_lapse_is_asked_again_only_if_no_other_could() {
    let mut world = World::with(routed(Strategy::RoundRobin));
    world.register(A, OFFER);
    world.submit(1, orders([1])).unwrap();
    world.report(A, 1, 1, Err(TaskError::Cancelled)).unwrap();
    assert_eq!(world.dispatched(), [(A, id(1), 1), (A, id(1), 2)]);
    // There is another now: it is waited for.
    world.register(B, OFFER);
    world.submit(2, orders([2])).unwrap();
    assert_eq!(world.dispatched(), [(B, id(2), 1)]);
    world.report(A, 1, 2, Err(TaskError::Cancelled)).unwrap();
    assert!(world.dispatched().is_empty());
    world.report(B, 2, 1, done(FUEL)).unwrap();
    assert_eq!(world.dispatched(), [(B, id(1), 3)]);
}

#[test]
fn silence_of_the_whole_fog_costs_a_task_one_attempt() {
    // Nodes were taken down one by one and the tasks sent to the next that was silent, until
    // they had no attempts left.
    let mut world = World::new();
    for node in 1..=5 {
        world.register(NodeId::from_bytes([node; 32]), OFFER);
    }
    world.submit(1, orders([1])).unwrap();
    world.events();
    let heard = world.now;
    let mut suspects = 0;
    while let Some(due) = world.coordinator.poll_timeout() {
        assert!(due <= heard + Duration::from_secs(90));
        world.now = due;
        world.timeout();
        let views = world.coordinator.nodes();
        let suspect = views.iter().filter(|view| view.status == Status::Suspect);
        suspects = suspects.max(suspect.count());
    }
    assert_eq!(suspects, 5);
    assert_eq!(world.now, heard + Duration::from_secs(90));
    assert_eq!(world.state(1), TaskState::Queued { attempts: 1 });
    let lost = world.coordinator.nodes();
    assert!(lost.iter().all(|view| view.status == Status::Offline));
    assert_eq!(world.coordinator.poll_timeout(), None);
    world.register(C, OFFER);
    assert_eq!(world.dispatched(), [(C, id(1), 2)]);
}

#[test]
fn a_node_that_let_an_attempt_lapse_is_asked_again_if_no_other_can_take_the_task() {
    // Any other node was enough to rule it out, also one that could not take the task.
    let mut world = World::new();
    world.register(A, OFFER);
    world.register(
        B,
        Offer {
            memory_bytes: MIB,
            ..OFFER
        },
    );
    world.submit(1, orders([1])).unwrap();
    world.report(A, 1, 1, Err(TaskError::Cancelled)).unwrap();
    assert_eq!(world.dispatched(), [(A, id(1), 1), (A, id(1), 2)]);
    // Where another can, it is asked, though it is slow.
    world.register(
        C,
        Offer {
            fuel_per_second: FUEL / 10,
            ..OFFER
        },
    );
    world.report(A, 1, 2, Err(TaskError::Cancelled)).unwrap();
    assert_eq!(world.dispatched(), [(C, id(1), 3)]);
}

#[test]
fn a_lone_task_does_not_queue_behind_a_busy_node() {
    // The optimiser prefers the fastest node, and was not told that it is busy.
    let mut world = World::new();
    let fast = Offer {
        fuel_per_second: 10 * FUEL,
        price_per_gigafuel: Amount(1),
        ..OFFER
    };
    world.register(A, fast);
    world.submit(1, orders([1])).unwrap();
    assert_eq!(world.dispatched(), [(A, id(1), 1)]);
    world.register(B, OFFER);
    world.submit(2, orders([2])).unwrap();
    assert_eq!(world.dispatched(), [(B, id(2), 1)]);
    // Nobody is free: it waits, and for the fast one again when that is.
    world.submit(3, orders([3])).unwrap();
    assert_eq!(world.dispatched(), []);
    world.report(A, 1, 1, done(FUEL)).unwrap();
    assert_eq!(world.dispatched(), [(A, id(3), 1)]);
}

#[test]
fn a_node_that_has_nothing_left_takes_what_waits_at_others() {
    // Where a batch was planned to queue said where its rest would be for as long as it took.
    let mut world = World::new();
    world.register(A, OFFER);
    world.register(B, OFFER);
    world.submit(1, orders([1, 2, 3, 4, 5, 6])).unwrap();
    let started = world.dispatched();
    assert_eq!(started.len(), 2);
    let at = |node| started.iter().find(|(at, ..)| *at == node).unwrap();
    // A never reports; B does all the rest.
    let (_, mut task, _) = *at(B);
    for _ in 0..5 {
        world.report(B, task.as_bytes()[0], 1, done(FUEL)).unwrap();
        if let [(node, next, _)] = world.dispatched()[..] {
            assert_eq!(node, B);
            task = next;
        }
    }
    assert_eq!(world.summary(1).succeeded, 5);
    assert_eq!(world.view(A).waiting, 0);
}

#[test]
fn a_large_task_that_is_cancelled_or_moved_lets_the_next_start() {
    let wide = Offer {
        cpu_millis: 2_000,
        ..OFFER
    };
    for cancelled in [true, false] {
        let mut world = World::new();
        world.register(A, wide);
        world
            .submit(1, vec![order_with_memory(1, 40 * MIB)])
            .unwrap();
        world
            .submit(2, vec![order_with_memory(2, 40 * MIB)])
            .unwrap();
        world
            .submit(3, vec![order_with_memory(3, 8 * MIB)])
            .unwrap();
        assert_eq!(world.dispatched(), [(A, id(1), 1)]);
        if cancelled {
            world.call(|rules, host| rules.cancel(id(2), host)).unwrap();
            assert_eq!(world.dispatched(), [(A, id(3), 1)]);
        } else {
            world.register(B, OFFER);
            let started: BTreeSet<_> = world.dispatched().into_iter().collect();
            let both = BTreeSet::from([(A, id(3), 1), (B, id(2), 1)]);
            assert_eq!(started, both);
        }
    }
}

#[test]
fn who_came_first_is_served_first() {
    // Tasks were served in the order of their ids, which submitters choose.
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([9, 8])).unwrap();
    world.submit(2, orders([1, 2])).unwrap();
    let mut served = Vec::new();
    while let Some((node, task, attempt)) = world.dispatched().pop() {
        served.push(task);
        world
            .report(node, task.as_bytes()[0], attempt, done(FUEL))
            .unwrap();
    }
    assert_eq!(served, [id(9), id(8), id(1), id(2)]);
}

#[test]
fn more_tasks_than_the_optimiser_takes_are_placed_in_turns() {
    let quick = Config {
        nsga2: Nsga2 {
            population: 4,
            generations: 0,
            ..Nsga2::default()
        },
        ..config()
    };
    let mut world = World::with(quick);
    let many = |from: u128| -> Vec<TaskOrder> {
        (from..from + 5_000)
            .map(|index| TaskOrder {
                id: TaskId::from_bytes(index.to_be_bytes()),
                price_max: Amount(100),
                ..order(0)
            })
            .collect()
    };
    world.submit(1, many(0)).unwrap();
    world.submit(2, many(5_000)).unwrap();
    world.events();
    world.register(A, OFFER);
    let placed: Vec<_> = world
        .events()
        .iter()
        .filter_map(|event| match event {
            Event::Placed { tasks, .. } => Some(*tasks),
            _ => None,
        })
        .collect();
    assert_eq!(placed, [TASKS_PLACED_MAX]);
    assert_eq!(world.coordinator.unplaced(), 10_000 - TASKS_PLACED_MAX);
    // A second node has nothing to do, and gets a share of all.
    world.register(B, OFFER);
    assert_eq!(world.view(B).running, 1);
}

#[test]
fn a_ledger_that_fails_while_a_node_dies_is_asked_again() {
    let mut world = World::with(Config {
        attempts_max: 1,
        ..config()
    });
    world.register(A, OFFER);
    world.submit(1, orders([1, 2])).unwrap();
    world.events();
    world.till.shut = true;
    world.call(|rules, host| rules.node_lost(A, LossReason::Silent, host));
    assert_eq!(world.flushed, Err(FlushError::Bank(TillError::Shut)));
    // It is gone and its task has ended, but nobody hears of it before the money is back.
    assert_eq!(world.view(A).status, Status::Offline);
    assert_eq!((world.view(A).running, world.view(A).waiting), (0, 0));
    assert!(world.events().is_empty());
    assert_eq!(world.available(), ENDOWMENT - 2_000);
    assert_eq!(world.submit(2, orders([3])), Err(SubmitError::Stalled));
    world.now = world.now + Duration::from_secs(60);
    world.timeout();
    assert_eq!(world.flushed, Err(FlushError::Bank(TillError::Shut)));

    world.till.shut = false;
    world.flush().unwrap();
    assert!(!world.events().is_empty());
    assert_eq!(world.state(1), TaskState::Lost { attempts: 1 });
    assert_eq!(world.state(2), TaskState::Queued { attempts: 0 });
    assert_eq!(world.available(), ENDOWMENT - 1_000);
    world.submit(2, orders([3])).unwrap();
}

#[test]
fn nothing_is_told_before_it_is_written_down() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.journal.full = true;
    world.submit(1, orders([1])).unwrap();
    assert_eq!(world.flushed, Err(FlushError::Journal(PaperError)));
    assert!(world.events().is_empty());
    assert_eq!(world.submit(2, orders([2])), Err(SubmitError::Stalled));
    world.journal.full = false;
    world.flush().unwrap();
    let events = world.events();
    assert!(
        matches!(events[..], [Event::Admitted { .. }, ..]),
        "{events:?}"
    );
    assert_eq!(dispatches(&events), [(A, id(1), 1)]);
    assert!(!world.coordinator.needs_flush());

    // A result is not acknowledged before it is kept, and not paid either.
    world.journal.full = true;
    assert_eq!(world.report(A, 1, 1, done(FUEL)), Ok(Amount(100)));
    assert!(world.events().is_empty());
    assert_eq!(world.balance(node_account(A)), 0);
    world.journal.full = false;
    world.flush().unwrap();
    assert_eq!(world.balance(node_account(A)), 100);
    let ended = |event: &Event| matches!(event, Event::TaskEnded { .. });
    assert!(world.events().iter().any(ended));
}

#[test]
fn a_payment_that_the_ledger_refuses_keeps_its_money_and_stops_nobody() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1, 2, 3])).unwrap();
    let spend = |number, spend_per_day| Operation::Limit {
        id: TransferId::from_bytes([number; 16]),
        account: OWNER,
        limits: AccountLimits {
            spend_per_day,
            ..AccountLimits::default()
        },
    };
    let set = |world: &mut World, number, limit| {
        let now = UnixMillis(world.now.as_nanos() / 1_000_000);
        world
            .till
            .book
            .execute(&[spend(number, limit)], now)
            .unwrap();
    };
    set(&mut world, 1, Some(Amount(120)));
    world.report(A, 1, 1, done(FUEL)).unwrap();
    world.events();
    world.report(A, 2, 1, done(FUEL)).unwrap();
    assert_eq!(world.flushed, Ok(()));
    let refused =
        |event: &Event| matches!(event, Event::SettlementRefused { task } if *task == id(2));
    assert!(world.events().iter().any(refused));
    assert_eq!(world.coordinator.unsettled().collect::<Vec<_>>(), [id(2)]);
    // What was reserved for it is still there, and the next one is settled.
    world
        .report(A, 3, 1, Err(TaskError::OutOfFuel { limit: 1 }))
        .unwrap();
    assert_eq!(world.flushed, Ok(()));
    assert_eq!(world.available(), ENDOWMENT - 1_000 - 100);

    set(&mut world, 2, None);
    world.coordinator.settle_again();
    world.flush().unwrap();
    assert_eq!(world.balance(node_account(A)), 200);
    assert_eq!(world.available(), ENDOWMENT - 200);
    assert_eq!(world.coordinator.unsettled().count(), 0);
}

/// A coordinator that is killed, and one that goes on from what was written.
fn kill(world: &mut World) {
    let mut journal = MemoryJournal::default();
    journal
        .commit(&world.journal.records, UnixMillis(0))
        .unwrap();
    let rules = Coordinator::recover(config(), journal.stored(), world.now).unwrap();
    assert_eq!(rules.check(), Ok(()));
    world.coordinator = rules;
}

#[test]
fn a_coordinator_that_was_killed_goes_on() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders(1..=3)).unwrap();
    world.report(A, 1, 1, done(FUEL)).unwrap();
    world.report(A, 2, 1, Err(TaskError::Cancelled)).unwrap();
    world.flush().unwrap();
    let (summary, trust) = (world.summary(1), world.view(A).reputation);
    let running = match world.state(3) {
        TaskState::Assigned {
            node: A,
            attempt: 1,
        } => 3,
        _ => 2,
    };
    kill(&mut world);
    world.flush().unwrap();
    assert_eq!(world.summary(1), summary);
    assert_eq!(world.view(A).reputation, trust);
    assert_eq!(world.view(A).status, Status::Offline);
    // It is the same attempt, once: the node may have done it meanwhile.
    let attempt = world.coordinator.task(id(running)).unwrap().attempts;
    world.register(A, OFFER);
    assert_eq!(world.dispatched(), [(A, id(running), attempt)]);
    world.register(A, OFFER);
    assert!(world.dispatched().is_empty());
    world.report(A, running, attempt, done(FUEL)).unwrap();
    assert_eq!(world.dispatched().len(), 1);
    assert!(matches!(
        world.submit(1, orders([9])),
        Err(SubmitError::KnownJob { .. })
    ));
}

#[test]
fn a_node_that_died_with_the_coordinator_loses_its_tasks_when_their_lease_ends() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1])).unwrap();
    kill(&mut world);
    world.register(B, OFFER);
    assert!(world.dispatched().is_empty());
    world.pass(Duration::from_secs(91));
    assert_eq!(world.dispatched(), [(B, id(1), 2)]);
    // What the first node says now is too late.
    assert!(matches!(
        world.report(A, 1, 1, done(FUEL)),
        Err(ReportError::Transition(TransitionError::Stale {
            attempt: 1,
            current: 2
        }))
    ));
}

#[test]
fn what_was_due_to_the_ledger_is_done_after_a_crash_and_once() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1, 2])).unwrap();
    world.till.shut = true;
    world.report(A, 1, 1, done(FUEL)).unwrap();
    world.call(|rules, host| rules.cancel(id(2), host)).unwrap();
    assert!(world.flushed.is_err());
    kill(&mut world);
    world.till.shut = false;
    for _ in 0..2 {
        world.flush().unwrap();
        assert_eq!(world.balance(node_account(A)), 100);
        assert_eq!(world.available(), ENDOWMENT - 100);
        // The journal does not know yet that it is settled: it is asked for again.
        kill(&mut world);
    }
}

#[test]
fn a_job_that_was_reserved_and_not_written_down_is_admitted_when_it_comes_again() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.journal.full = true;
    world.submit(1, orders([1, 2])).unwrap();
    assert_eq!(world.available(), ENDOWMENT - 2_000);
    kill(&mut world);
    world.journal.full = false;
    world.flush().unwrap();
    assert_eq!(world.coordinator.job(job_id(1)), None);
    world.submit(1, orders([1, 2])).unwrap();
    assert_eq!(world.available(), ENDOWMENT - 2_000);
    world.register(A, OFFER);
    world.report(A, 1, 1, done(FUEL)).unwrap();
    assert_eq!(world.available(), ENDOWMENT - 1_100);
}

#[test]
fn a_store_that_contradicts_itself_is_refused() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1])).unwrap();
    let mut journal = MemoryJournal::default();
    journal
        .commit(&world.journal.records, UnixMillis(0))
        .unwrap();
    let stored = journal.stored();
    let refused = |change: &dyn Fn(&mut Stored)| {
        let mut stored = stored.clone();
        change(&mut stored);
        Coordinator::recover(config(), stored, Instant::ZERO).unwrap_err()
    };
    let (task, job) = (id(1), job_id(1));
    assert_eq!(
        refused(&|stored| stored.jobs.clear()),
        RecoverError::NoJob { task }
    );
    assert_eq!(
        refused(&|stored| stored.jobs.push(stored.jobs[0])),
        RecoverError::JobTwice { job }
    );
    assert_eq!(
        refused(&|stored| stored.tasks.push(stored.tasks[0].clone())),
        RecoverError::TaskTwice { task }
    );
    assert_eq!(
        refused(&|stored| stored.tasks[0].spec = None),
        RecoverError::NoSpec { task }
    );
    assert_eq!(
        refused(&|stored| stored.tasks[0].state = TaskState::Submitted),
        RecoverError::State { task }
    );
}

#[test]
fn tasks_that_have_ended_keep_no_input() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1, 2])).unwrap();
    world.report(A, 1, 1, done(1)).unwrap();
    world.call(|rules, host| rules.cancel(id(2), host)).unwrap();
    let kept = |task: &Task| task.spec.is_some();
    assert!(!world.coordinator.tasks.values().any(kept));
}

#[test]
fn a_full_registry_opens_no_account() {
    let mut world = World::new();
    world.register(A, OFFER);
    let stranger = NodeId::from_bytes([255; 32]);
    for index in 1..REGISTRY_NODES_MAX {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&(index as u64).to_be_bytes());
        let known = NodeId::from_bytes(bytes);
        let registry = &mut world.coordinator.registry;
        assert!(registry.insert(known, OFFER, world.now));
    }
    let refused = world.call(|rules, host| rules.register(stranger, OFFER, host));
    assert!(matches!(
        refused,
        Err(RegisterError::Full {
            limit: REGISTRY_NODES_MAX
        })
    ));
    assert!(world.till.book.account(node_account(stranger)).is_none());
    // Those that are known come back, and a lost one makes room.
    world.register(A, OFFER);
    let registry = &mut world.coordinator.registry;
    registry.update(A, |node| node.lost = true).unwrap();
    world.register(stranger, OFFER);
    assert!(!world.coordinator.registry.nodes().contains_key(&A));
}

#[test]
fn a_node_gets_its_account_when_the_ledger_is_back() {
    let mut world = World::new();
    world.till.shut = true;
    world.register(A, OFFER);
    assert!(world.flushed.is_err());
    assert!(world.till.book.account(node_account(A)).is_none());
    world.till.shut = false;
    world.flush().unwrap();
    assert!(world.till.book.account(node_account(A)).is_some());
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let refused = |config| Coordinator::new(config).unwrap_err();
    assert!(matches!(
        refused(Config {
            nsga2: Nsga2 {
                population: 5,
                ..Nsga2::default()
            },
            ..Config::default()
        }),
        ConfigError::Nsga2(_)
    ));
    assert!(matches!(
        refused(Config {
            attempts_max: 0,
            ..Config::default()
        }),
        ConfigError::NoAttempts
    ));
    // Beyond what a task can have, its next attempt could not begin and it was nowhere.
    assert!(matches!(
        refused(Config {
            attempts_max: ATTEMPTS_MAX + 1,
            ..Config::default()
        }),
        ConfigError::TooManyAttempts {
            actual: 101,
            limit: 100
        }
    ));
    assert!(matches!(
        refused(Config {
            preference: Preference::Weights([0.0; 5]),
            ..Config::default()
        }),
        ConfigError::Preference(PreferenceError::NoWeight)
    ));
    for factor in [0.9, f64::NAN, f64::NEG_INFINITY] {
        assert!(matches!(
            refused(Config {
                lease_factor: factor,
                ..Config::default()
            }),
            ConfigError::LeaseFactor { .. }
        ));
    }
    assert!(matches!(
        refused(Config {
            lease_min: Duration::ZERO,
            ..Config::default()
        }),
        ConfigError::NoLease
    ));
    assert!(matches!(
        refused(Config {
            detector: DetectorConfig {
                interval: Duration::ZERO,
                ..DetectorConfig::default()
            },
            ..Config::default()
        }),
        ConfigError::Detector(_)
    ));
    assert!(
        Coordinator::new(Config {
            attempts_max: ATTEMPTS_MAX,
            lease_factor: f64::INFINITY,
            ..Config::default()
        })
        .is_ok()
    );
}

#[test]
fn the_check_finds_what_must_not_be() {
    let sound = || {
        let mut world = World::new();
        world.register(A, OFFER);
        world.submit(1, orders([1, 2])).unwrap();
        world.coordinator
    };
    assert_eq!(sound().check(), Ok(()));

    let mut rules = sound();
    let turn = (Priority::Normal, 1, id(2));
    rules.leave_node(A, turn);
    let misplaced = |task, state, places| {
        Err(Inconsistency::Misplaced {
            task,
            state,
            places,
        })
    };
    let queued = TaskState::Queued { attempts: 0 };
    assert_eq!(rules.check(), misplaced(id(2), queued, 0));

    let mut rules = sound();
    rules.unplaced.insert((Priority::Normal, 1, id(2)));
    assert_eq!(rules.check(), misplaced(id(2), queued, 2));

    let mut rules = sound();
    let renumber = |node: &mut Node| node.running_mut().get_mut(&id(1)).unwrap().number = 2;
    rules.registry.update(A, renumber);
    let assigned = TaskState::Assigned {
        node: A,
        attempt: 1,
    };
    assert_eq!(rules.check(), misplaced(id(1), assigned, 0));

    let mut rules = sound();
    rules.stuck.insert((Priority::Normal, 7, id(7)));
    assert_eq!(rules.check(), Err(Inconsistency::Strays { count: 1 }));

    let mut rules = sound();
    rules.open = 1;
    assert_eq!(rules.check(), Err(Inconsistency::Strays { count: 0 }));

    let mut rules = sound();
    rules.registry.insert(B, OFFER, Instant::ZERO);
    let (node, task) = (B, id(2));
    assert_eq!(rules.check(), Err(Inconsistency::Idle { node, task }));

    let mut rules = sound();
    rules.registry.forget_in_index(A);
    assert_eq!(rules.check(), Err(Inconsistency::Index { node: A }));

    let mut rules = sound();
    rules.queues.insert((turn, B));
    assert_eq!(rules.check(), Err(Inconsistency::Index { node: B }));

    let mut rules = sound();
    rules.tried.insert(turn);
    assert_eq!(rules.check(), Err(Inconsistency::Strays { count: 0 }));

    let mut rules = sound();
    rules.jobs.get_mut(&job_id(1)).unwrap().paid = Amount(1);
    assert_eq!(
        rules.check(),
        Err(Inconsistency::Summary { job: job_id(1) })
    );
}

#[test]
fn while_the_mixnet_is_shut_public_tasks_go_on() {
    for config in [config(), routed(Strategy::PrivacyAware)] {
        let mut world = World::with(config);
        world.call(Coordinator::hold);
        world.register(A, OFFER);
        // More than a router looks past.
        world.submit(1, orders(1..=BACKFILL_MAX as u8 + 1)).unwrap();
        let public = JobSpec {
            id: job_id(2),
            owner: OWNER,
            priority: Priority::Bulk,
            privacy: PrivacyLevel::Public,
            tasks: orders([100, 101]),
        };
        world
            .call(|rules, host| rules.submit(public, host))
            .unwrap();
        let sent = world.events();
        assert_eq!(dispatches(&sent), [(A, id(100), 1)]);
        let ways: Vec<_> = sent
            .iter()
            .filter_map(|event| match event {
                Event::Dispatch { privacy, .. } => Some(*privacy),
                _ => None,
            })
            .collect();
        assert_eq!(ways, [PrivacyLevel::Public]);
        // One that waits for the mixnet can be cancelled.
        world.call(|rules, host| rules.cancel(id(1), host)).unwrap();
        world.report(A, 100, 1, done(FUEL)).unwrap();
        assert_eq!(world.dispatched(), [(A, id(101), 1)]);
        world.call(Coordinator::resume);
        world.report(A, 101, 1, done(FUEL)).unwrap();
        assert_eq!(world.dispatched(), [(A, id(2), 1)]);
        // What is under way goes on, also when it ends without a result.
        world.call(Coordinator::hold);
        world.report(A, 2, 1, Err(TaskError::Cancelled)).unwrap();
        assert_eq!(world.dispatched(), []);
        world.call(Coordinator::resume);
        assert_eq!(world.dispatched().len(), 1);
    }
}

/// A job that nobody needs to hide.
fn public(job: u8, tasks: Vec<TaskOrder>) -> JobSpec {
    JobSpec {
        id: job_id(job),
        owner: OWNER,
        priority: Priority::Normal,
        privacy: PrivacyLevel::Public,
        tasks,
    }
}

fn ahead(config: &Config) -> Config {
    Config {
        ahead: Duration::from_millis(50),
        ..config.clone()
    }
}

fn recalls(events: &[Event]) -> Vec<(NodeId, TaskId, u32)> {
    let recalls = events.iter().filter_map(|event| match event {
        Event::Recall {
            node,
            task,
            attempt,
        } => Some((*node, *task, *attempt)),
        _ => None,
    });
    recalls.collect()
}

#[test]
fn a_node_never_waits_for_the_next_public_task() {
    for config in [config(), routed(Strategy::RoundRobin)] {
        let mut world = World::with(ahead(&config));
        world.register(A, OFFER);
        // Of those that go through the mixnet it gets no more than it has room for.
        world.submit(1, orders([1, 2])).unwrap();
        assert_eq!(world.dispatched(), [(A, id(1), 1)]);
        world.report(A, 1, 1, done(FUEL)).unwrap();
        assert_eq!(world.dispatched(), [(A, id(2), 1)]);
        world.report(A, 2, 1, done(FUEL)).unwrap();

        let job = public(2, orders(3..=6));
        world.call(|rules, host| rules.submit(job, host)).unwrap();
        assert_eq!(world.dispatched(), [(A, id(3), 1), (A, id(4), 1)]);
        let view = world.view(A);
        assert_eq!((view.running, view.ahead), (1, 1));
        let attempts: Vec<_> = world.coordinator.attempts(A).collect();
        assert_eq!(attempts.len(), 2);
        world.report(A, 3, 1, done(FUEL)).unwrap();
        assert_eq!(world.dispatched(), [(A, id(5), 1)]);
        // Whichever it does first.
        world.report(A, 5, 1, done(FUEL)).unwrap();
        world.report(A, 4, 1, done(FUEL)).unwrap();
        assert_eq!(world.dispatched(), [(A, id(6), 1)]);
        world.report(A, 6, 1, done(FUEL)).unwrap();
        assert_eq!(world.view(A).running, 0);
    }
}

#[test]
fn what_was_given_ahead_comes_back_for_whoever_has_nothing_to_do() {
    for config in [config(), routed(Strategy::RoundRobin)] {
        let mut world = World::with(ahead(&config));
        world.register(A, OFFER);
        let job = public(1, orders([1, 2]));
        world.call(|rules, host| rules.submit(job, host)).unwrap();
        assert_eq!(world.dispatched(), [(A, id(1), 1), (A, id(2), 1)]);
        world.register(B, OFFER);
        assert_eq!(recalls(&world.events()), [(A, id(2), 1)]);
        let trusted = world.view(A).reputation;
        assert!(world.call(|rules, host| rules.gave_back(A, id(2), 1, host)));
        assert!(!world.call(|rules, host| rules.gave_back(A, id(2), 1, host)));
        assert_eq!(world.dispatched(), [(B, id(2), 2)]);
        assert_eq!(world.view(A).reputation, trusted, "it did as it was asked");
        // What the first one says of it now is of no use.
        assert!(world.report(A, 2, 1, done(FUEL)).is_err());
        assert_eq!(world.report(B, 2, 2, done(FUEL)), Ok(Amount(100)));
    }
}

#[test]
fn a_node_that_dies_with_tasks_ahead_is_blamed_for_those_it_had_begun() {
    let blamed = |tasks: u8| {
        let mut world = World::with(ahead(&routed(Strategy::RoundRobin)));
        world.register(A, OFFER);
        let job = public(1, orders(1..=tasks));
        world.call(|rules, host| rules.submit(job, host)).unwrap();
        assert_eq!(world.dispatched().len(), usize::from(tasks));
        world.call(|rules, host| rules.node_lost(A, LossReason::Disconnected, host));
        assert_eq!(world.coordinator.unplaced(), usize::from(tasks));
        world.view(A).reputation
    };
    assert_eq!(blamed(1), blamed(2));
}

#[test]
fn a_node_that_drains_is_asked_for_what_it_has_not_begun() {
    let mut world = World::with(ahead(&routed(Strategy::RoundRobin)));
    world.register(A, OFFER);
    let job = public(1, orders([1, 2]));
    world.call(|rules, host| rules.submit(job, host)).unwrap();
    world.events();
    world.call(|rules, host| rules.drain(A, host));
    assert_eq!(recalls(&world.events()), [(A, id(2), 1)]);
    world.call(|rules, host| rules.gave_back(A, id(2), 1, host));
    assert_eq!(world.dispatched(), []);
    world.report(A, 1, 1, done(FUEL)).unwrap();
    let drained = world.events();
    assert!(
        drained
            .iter()
            .any(|event| matches!(event, Event::Drained { .. }))
    );
}

#[test]
fn a_node_that_gives_back_whatever_it_gets_does_not_have_it_for_ever() {
    let mut world = World::with(ahead(&routed(Strategy::RoundRobin)));
    world.register(A, OFFER);
    let job = public(1, orders([1]));
    world.call(|rules, host| rules.submit(job, host)).unwrap();
    for attempt in 1..=3 {
        assert_eq!(world.dispatched(), [(A, id(1), attempt)]);
        assert!(world.call(|rules, host| rules.gave_back(A, id(1), attempt, host)));
    }
    assert_eq!(world.state(1), TaskState::Lost { attempts: 3 });
}

#[test]
fn while_the_host_can_send_nothing_jobs_wait_and_nothing_is_dispatched() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders(1..=2)).unwrap();
    assert_eq!(world.dispatched(), [(A, id(1), 1)]);
    world.call(Coordinator::hold);
    // Neither a new node, nor a new job, nor a free slot gets anything under way.
    world.register(B, OFFER);
    world.submit(2, orders([3])).unwrap();
    world.report(A, 1, 1, done(FUEL)).unwrap();
    world.call(|rules, host| rules.node_lost(B, LossReason::Disconnected, host));
    world.pass(Duration::from_secs(60));
    assert_eq!(world.dispatched(), []);
    assert_eq!(world.coordinator.unplaced(), 2);
    world.call(Coordinator::resume);
    assert_eq!(world.dispatched(), [(A, id(2), 1)]);
    // Resuming again does nothing.
    world.call(Coordinator::resume);
    assert!(world.events().is_empty());
}

fn disk_full(world: &mut World, full: bool) {
    world.journal.full = full;
}

#[test]
fn what_was_decided_while_the_disk_was_full_is_not_sent_where_it_fits_no_more() {
    // Dispatches that were withheld went out under the offer of when they were decided.
    for config in [config(), routed(Strategy::LeastLoaded)] {
        let mut world = World::with(config);
        world.register(A, OFFER);
        world.submit(1, orders([1, 2])).unwrap();
        assert_eq!(world.dispatched(), [(A, id(1), 1)]);
        disk_full(&mut world, true);
        world.report(A, 1, 1, done(FUEL)).unwrap();
        assert_eq!(world.flushed, Err(FlushError::Journal(PaperError)));
        assert!(matches!(
            world.state(2),
            TaskState::Assigned { node: A, .. }
        ));
        let nothing = Offer {
            cpu_millis: 0,
            ..OFFER
        };
        assert_eq!(world.heartbeat(A, nothing), Ok(true));
        assert_eq!(world.state(2), TaskState::Queued { attempts: 1 });
        disk_full(&mut world, false);
        world.timeout();
        assert_eq!(world.flushed, Ok(()));
        assert_eq!(world.dispatched(), []);
        // Its owner is not blamed, and the number of the attempt is not used again.
        assert_eq!(
            world.view(A).reputation.failures().to_bits(),
            0_f64.to_bits()
        );
        world.register(B, OFFER);
        assert_eq!(world.dispatched(), [(B, id(2), 2)]);
    }
}

#[test]
fn a_lease_does_not_end_before_its_node_can_have_heard_of_it() {
    let mut world = World::with(routed(Strategy::RoundRobin));
    world.register(A, OFFER);
    disk_full(&mut world, true);
    // Refused until it can be written again; what was admitted before goes on.
    disk_full(&mut world, false);
    world.submit(1, orders([1, 2])).unwrap();
    world.events();
    disk_full(&mut world, true);
    world.report(A, 1, 1, done(FUEL)).unwrap();
    for _ in 0..10 {
        world.pass(Duration::from_secs(20));
    }
    disk_full(&mut world, false);
    world.timeout();
    assert_eq!(world.dispatched(), [(A, id(2), 1)]);
    assert_eq!(world.view(A).running, 1);
}

#[test]
fn a_draining_node_gets_nothing_that_was_withheld() {
    let mut world = World::with(routed(Strategy::RoundRobin));
    world.register(A, OFFER);
    world.submit(1, orders([1, 2])).unwrap();
    world.events();
    disk_full(&mut world, true);
    world.report(A, 1, 1, done(FUEL)).unwrap();
    world.call(|rules, host| rules.drain(A, host));
    disk_full(&mut world, false);
    world.timeout();
    let events = world.events();
    assert_eq!(dispatches(&events), []);
    assert!(
        events
            .iter()
            .any(|it| matches!(it, Event::Drained { node: A }))
    );
}

/// A coordinator that was killed, on what it had written.
fn killed(world: &mut World, config: Config) {
    let mut journal = MemoryJournal::default();
    journal
        .commit(&world.journal.records, UnixMillis(0))
        .unwrap();
    world.coordinator = Coordinator::recover(config, journal.stored(), world.now).unwrap();
}

#[test]
fn after_a_crash_a_node_that_lends_nothing_now_is_not_sent_what_it_had() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1])).unwrap();
    assert_eq!(world.dispatched(), [(A, id(1), 1)]);
    killed(&mut world, config());
    let nothing = Offer {
        cpu_millis: 0,
        ..OFFER
    };
    world.register(A, nothing);
    assert_eq!(world.dispatched(), []);
    // It may have it all the same; else it is asked again when it lends.
    assert_eq!(world.heartbeat(A, OFFER), Ok(true));
    assert_eq!(world.dispatched(), [(A, id(1), 1)]);
    assert_eq!(world.heartbeat(A, OFFER), Ok(true));
    assert_eq!(world.dispatched(), []);
    world.report(A, 1, 1, done(FUEL)).unwrap();
    assert_eq!(world.summary(1).succeeded, 1);
}

#[test]
fn the_end_of_a_task_that_was_written_and_not_told_is_told_after_the_crash() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1, 2])).unwrap();
    let report = TaskReport {
        task: id(1),
        result: done(FUEL),
    };
    world.call(|rules, host| {
        rules.cancel(id(2), host).unwrap();
        rules.report(A, 1, report, host).unwrap();
    });
    // Nobody has looked at the events.
    killed(&mut world, config());
    world.timeout();
    let told = world.events();
    assert!(told.iter().any(|event| matches!(
        event,
        Event::TaskEnded { task, node: A, attempt: 1, result: Ok(_), paid: Amount(100) }
            if *task == id(1)
    )));
    assert!(
        told.iter()
            .any(|event| matches!(event, Event::TaskCancelled { task } if *task == id(2)))
    );
    let ended = told
        .iter()
        .filter(|event| matches!(event, Event::JobEnded { .. }));
    assert_eq!(ended.count(), 1);
}

#[test]
fn what_happens_is_counted() {
    let mut world = World::with(Config {
        lease_min: Duration::from_secs(1_000),
        ..routed(Strategy::LeastLoaded)
    });
    world.register(A, OFFER);
    world.submit(1, orders([1, 2])).unwrap();
    let urgent = JobSpec {
        id: job_id(2),
        owner: OWNER,
        priority: Priority::High,
        privacy: PrivacyLevel::Private,
        tasks: orders([3]),
    };
    world
        .call(|rules, host| rules.submit(urgent, host))
        .unwrap();
    assert!(world.submit(2, orders([4])).is_err());
    let counted = world.coordinator.metrics();
    assert_eq!((counted.jobs_admitted, counted.jobs_refused), (2, 1));
    assert_eq!(counted.queue_depth, [0, 1, 1, 0, 0]);
    assert_eq!(
        (
            counted.tasks_open,
            counted.tasks_queued,
            counted.tasks_running
        ),
        (3, 2, 1)
    );
    assert_eq!(counted.nodes[usize::from(Status::Busy.code())], 1);
    // It falls silent at once and is given up after ninety seconds; ten later there is another.
    while world.view(A).status != Status::Offline {
        world.now = world.coordinator.poll_timeout().unwrap();
        world.timeout();
    }
    assert_eq!(world.coordinator.metrics().nodes_suspected, 1);
    world.now = world.now + Duration::from_secs(10);
    world.register(B, OFFER);
    let counted = world.coordinator.metrics();
    assert_eq!((counted.nodes_died, counted.nodes_silent), (1, 1));
    assert_eq!(counted.detection_millis, 90_000);
    assert_eq!((counted.attempts_lost, counted.attempts_reassigned), (1, 0));
    let task = |state| matches!(state, TaskState::Assigned { node: B, .. });
    assert!(task(world.state(3)));
    world.report(B, 3, 1, done(FUEL)).unwrap();
    assert!(world.report(B, 3, 1, done(FUEL)).is_err());
    world
        .report(B, 1, 2, Err(TaskError::OutOfFuel { limit: 1 }))
        .unwrap();
    world.call(|rules, host| rules.cancel(id(2), host)).unwrap();
    let counted = world.coordinator.metrics();
    assert_eq!(counted.reassignment_millis, 10_000);
    assert_eq!(
        (counted.attempts_reassigned, counted.tasks_dispatched),
        (1, 4)
    );
    assert_eq!((counted.tasks_succeeded, counted.tasks_failed), (1, 1));
    assert_eq!((counted.tasks_cancelled, counted.tasks_lost), (1, 0));
    assert_eq!((counted.settlements, counted.settlements_refused), (3, 0));
    assert_eq!(counted.reports_refused, 1);
    assert_eq!(counted.tasks_open, 0);
    disk_full(&mut world, true);
    world.register(C, OFFER);
    world.timeout();
    let counted = world.coordinator.metrics();
    assert_eq!(counted.flushes_failed, 2);
    assert!(
        counted
            .render()
            .contains("queue_depth{priority=\"normal\"} 0")
    );
}

#[test]
fn the_fog_is_looked_at_once_a_minute_and_when_asked() {
    let mut world = World::new();
    world.register(A, OFFER);
    world.register(B, OFFER);
    assert!(world.call(|rules, host| rules.classify(B, NodeKind::EdgeDevice, host)));
    assert!(!world.call(|rules, host| rules.classify(C, NodeKind::EdgeDevice, host)));
    let now = world.coordinator.topology(UnixMillis(7));
    assert_eq!((now.at, now.nodes()), (UnixMillis(7), 2));
    assert_eq!(now.of_kind(NodeKind::EdgeDevice), 1);
    assert_eq!(now.free.memory_bytes, 2 * OFFER.memory_bytes);
    assert_eq!(world.coordinator.history().iter().len(), 1);
    for _ in 0..240 {
        world.pass(Duration::from_secs(15));
    }
    assert_eq!(world.coordinator.history().iter().len(), 61);
    let latest = world.coordinator.history().latest().unwrap();
    assert_eq!(latest.nodes(), 2);
}

#[test]
fn a_node_of_a_kind_that_runs_no_tasks_gets_none() {
    for config in [config(), routed(Strategy::LeastLoaded)] {
        let mut world = World::with(config);
        world.register(A, OFFER);
        world.call(|rules, host| rules.classify(A, NodeKind::Gateway, host));
        let _ = world.submit(1, orders([1]));
        assert_eq!(world.dispatched(), []);
        assert_eq!(world.view(A).kind, NodeKind::Gateway);
    }
}

#[test]
fn proximity_goes_by_where_nodes_are_once_it_was_measured() {
    let mut world = World::with(routed(Strategy::Proximity));
    let far = Offer {
        latency_ms: 5.0,
        ..OFFER
    };
    world.register(A, OFFER);
    world.register(B, far);
    // One slow answer, and a hundred that say that A is not near at all.
    for _ in 0..100 {
        for (node, millis) in [(A, 80), (B, 20)] {
            let time = Duration::from_millis(millis);
            let there = world.call(|rules, host| rules.measured(node, time, None, host.rng));
            assert_eq!(there, Ok(true));
        }
    }
    let distance = |world: &World, node| {
        let place = world.view(node).coordinate.unwrap();
        world.coordinator.coordinate().distance_ms(&place)
    };
    assert!(
        (distance(&world, A) - 80.0).abs() < 16.0,
        "{}",
        distance(&world, A)
    );
    assert!(
        (distance(&world, B) - 20.0).abs() < 8.0,
        "{}",
        distance(&world, B)
    );
    world.submit(1, orders([1])).unwrap();
    assert_eq!(world.dispatched(), [(B, id(1), 1)]);
    // No measurement, and nobody there.
    let measured = |world: &mut World, node, time| {
        world.call(|rules, host| rules.measured(node, time, None, host.rng))
    };
    assert!(measured(&mut world, A, Duration::ZERO).is_err());
    assert!(measured(&mut world, A, Duration::from_hours(1)).is_err());
    assert_eq!(measured(&mut world, C, Duration::from_millis(1)), Ok(false));
    // What a node says of its place is taken for it.
    let place = Coordinate::new([1.0, 2.0, 3.0], 4.0, 0.5).unwrap();
    world
        .call(|rules, host| rules.measured(A, Duration::from_millis(80), Some(place), host.rng))
        .unwrap();
    assert_eq!(world.view(A).coordinate, Some(place));
}

#[test]
fn what_may_run_since_before_the_crash_is_not_taken_from_its_node() {
    // It was taken back as if nobody had ever heard of it, and given to another without a word.
    let mut world = World::new();
    world.register(A, OFFER);
    world.submit(1, orders([1])).unwrap();
    world.events();
    killed(&mut world, config());
    world.till.shut = true;
    world.register(A, OFFER);
    assert_eq!(world.flushed, Err(FlushError::Bank(TillError::Shut)));
    let nothing = Offer {
        cpu_millis: 0,
        ..OFFER
    };
    assert_eq!(world.heartbeat(A, nothing), Ok(true));
    let (node, attempt) = (A, 1);
    assert_eq!(world.state(1), TaskState::Assigned { node, attempt });
    world.till.shut = false;
    world.timeout();
    assert_eq!(world.dispatched(), []);
    world.report(A, 1, 1, done(FUEL)).unwrap();
    assert_eq!(world.summary(1).succeeded, 1);
}

#[test]
fn a_node_that_lies_about_its_capacity_is_left_alone_after_some_failures() {
    let mut world = World::with(routed(Strategy::LeastLoaded));
    let boasts = Offer {
        cpu_millis: u64::MAX,
        memory_bytes: u64::MAX,
        fuel_per_second: u64::MAX,
        ..OFFER
    };
    world.register(A, boasts);
    world.submit(1, orders(1..=10)).unwrap();
    assert_eq!(world.dispatched().len(), 10);
    // It has none of it: the leases end, and what it had goes to one that is honest.
    world.now = world.now + config().lease_min;
    assert_eq!(world.heartbeat(A, boasts), Ok(true));
    world.timeout();
    assert!(world.view(A).barred);
    assert_eq!(world.coordinator.metrics().breakers_opened, 1);
    world.events();
    world.register(B, OFFER);
    assert_eq!(world.dispatched().len(), 1);
    let given =
        (1..=10).filter(|task| matches!(world.state(*task), TaskState::Assigned { node: B, .. }));
    assert_eq!(given.count(), 1);
}

#[test]
fn a_wall_clock_that_jumps_an_hour_changes_nothing_but_stamps() {
    for wall in [UnixMillis(0), UnixMillis(7_200_000)] {
        let mut world = World::new();
        world.now = Instant::from_millis(3_600_000);
        world.register(A, OFFER);
        world.submit(1, orders([1])).unwrap();
        world.events();
        let report = TaskReport {
            task: id(1),
            result: done(FUEL),
        };
        let mut host = Host {
            bank: &mut world.till,
            rng: &mut world.rng,
            now: world.now,
            wall,
        };
        world.coordinator.handle_timeout(&mut host);
        world.coordinator.report(A, 1, report, &mut host).unwrap();
        world
            .coordinator
            .flush(&mut world.journal, &mut world.till, wall)
            .unwrap();
        assert_eq!(world.view(A).status, Status::Idle);
        assert_eq!(world.balance(node_account(A)), 100);
        assert_eq!(world.coordinator.check(), Ok(()));
    }
}

#[test]
fn a_hundred_thousand_submissions_at_once_are_admitted_or_shed_and_none_is_lost() {
    let watermarks = Watermarks::new([60_000, 50_000, 40_000, 30_000, 20_000]).unwrap();
    let mut world = World::with(Config {
        watermarks,
        ..routed(Strategy::LeastLoaded)
    });
    let (till, rng, now) = (&mut world.till, &mut world.rng, world.now);
    let spec = TaskSpec::new(vec![0], vec![], Limits::default()).unwrap();
    let (mut admitted, mut shed) = (0, 0);
    for number in 0..100_000_u32 {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let job = JobSpec {
            id: JobId::from_bytes(bytes),
            owner: OWNER,
            priority: Priority::Normal,
            privacy: PrivacyLevel::Public,
            tasks: vec![TaskOrder {
                id: TaskId::from_bytes(bytes),
                spec: spec.clone(),
                fuel_estimate: FUEL,
                price_max: Amount(1),
            }],
        };
        let mut free = Free;
        let mut host = Host {
            bank: &mut free,
            rng,
            now,
            wall: UnixMillis(0),
        };
        match world.coordinator.submit(job, &mut host) {
            Ok(()) => admitted += 1,
            Err(SubmitError::Shed(refused)) => {
                assert_eq!((refused.open, refused.watermark), (40_000, 40_000));
                shed += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((admitted, shed), (40_000, 60_000));
    let counted = world.coordinator.metrics();
    assert_eq!((counted.tasks_queued, counted.jobs_shed), (40_000, 60_000));
    let flushed = world
        .coordinator
        .flush(&mut world.journal, till, UnixMillis(0));
    assert_eq!(flushed, Ok(()));
    assert_eq!(world.journal.records.len(), 40_000);
    assert_eq!(world.coordinator.check(), Ok(()));
}

/// A bank for which nothing costs anything.
#[derive(Debug)]
struct Free;

impl Bank for Free {
    type Error = TillError;

    fn execute(&mut self, _: &[Operation], _: UnixMillis) -> Result<Vec<Receipt>, TillError> {
        Ok(Vec::new())
    }

    fn is_reserved(&self, _: TransferId) -> Result<bool, TillError> {
        Ok(false)
    }

    fn is_refusal(_: &TillError) -> bool {
        false
    }
}

/// In a fog of more nodes than a router is shown, what is chosen is what the strategy says.
#[test]
fn many_nodes_are_chosen_among_as_few_are() {
    let many = u16::try_from(SHOWN_MAX).unwrap() * 4;
    let node = |number: u16| {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        NodeId::from_bytes(bytes)
    };
    for strategy in Strategy::ALL {
        let mut world = World::with(routed(strategy));
        for number in 0..many {
            let offer = Offer {
                // One in four has room for what is asked.
                memory_bytes: if number % 4 == 0 { 64 * MIB } else { MIB },
                latency_ms: f64::from(many - number),
                ..OFFER
            };
            world
                .call_unchecked(|rules, host| rules.register(node(number), offer, host))
                .unwrap();
        }
        world.submit(1, orders(1..=64)).unwrap();
        let sent = world.dispatched();
        let nodes: BTreeSet<_> = sent.iter().map(|(node, ..)| *node).collect();
        // Each of those that have room got one, and then there was none left.
        assert_eq!((sent.len(), nodes.len()), (64, 64), "{strategy}");
        let order: Vec<_> = sent.iter().map(|(node, ..)| *node).collect();
        let rooms = (0..many).step_by(4).map(node);
        match strategy {
            Strategy::RoundRobin => assert!(order.into_iter().eq(rooms)),
            Strategy::Proximity => assert!(order.into_iter().eq(rooms.rev())),
            _ => {}
        }
        world.submit(2, orders([65])).unwrap();
        assert_eq!(world.dispatched(), []);
        world
            .report(node(8), task_at(&sent, node(8)), 1, done(FUEL))
            .unwrap();
        assert_eq!(world.dispatched(), [(node(8), id(65), 1)]);
    }
}

/// The number of the task that a node was sent.
fn task_at(sent: &[(NodeId, TaskId, u32)], node: NodeId) -> u8 {
    let found = sent.iter().find(|(to, ..)| *to == node);
    let task = found.unwrap().1;
    (1..=64).find(|number| id(*number) == task).unwrap()
}

#[test]
fn a_drained_node_stays_drained_after_a_crash() {
    // A coordinator that was started again gave tasks to nodes that were to leave.
    let mut world = World::new();
    world.register(A, OFFER);
    assert!(world.call(|rules, host| rules.drain(A, host)));
    killed(&mut world, config());
    world.register(A, OFFER);
    assert_eq!(world.view(A).status, Status::Maintenance);
    let told = world.events();
    assert!(
        told.iter()
            .any(|it| matches!(it, Event::Drained { node: A }))
    );
    world.submit(1, orders([1])).unwrap();
    assert_eq!(world.dispatched(), []);
    // What is known of it otherwise is not lost with that.
    assert!(world.call(|rules, host| rules.undrain(A, host)));
    assert_eq!(world.dispatched(), [(A, id(1), 1)]);
    world.report(A, 1, 1, done(FUEL)).unwrap();
    let trust = world.view(A).reputation;
    world.flush().unwrap();
    killed(&mut world, config());
    world.register(A, OFFER);
    let view = world.view(A);
    assert_eq!((view.status, view.reputation), (Status::Idle, trust));
}

#[test]
fn what_a_node_had_before_the_crash_is_dispatched_when_a_slot_is_free() {
    // It waited for the node's next heartbeat.
    for config in [config(), routed(Strategy::LeastLoaded)] {
        let mut world = World::with(config.clone());
        let large = Offer {
            cpu_millis: 4_000,
            ..OFFER
        };
        world.register(A, large);
        let orders = (1..=4).map(|task| order_with_memory(task, MIB));
        world.submit(1, orders.collect()).unwrap();
        assert_eq!(world.dispatched().len(), 4);
        killed(&mut world, config);
        // It lends less now.
        world.register(A, OFFER);
        assert_eq!(world.dispatched(), [(A, id(1), 1)]);
        world.report(A, 1, 1, done(FUEL)).unwrap();
        assert_eq!(world.dispatched(), [(A, id(2), 1)]);
        assert!(world.call(|rules, host| rules.gave_back(A, id(2), 1, host)));
        assert_eq!(world.dispatched(), [(A, id(3), 1)]);
        world.report(A, 3, 1, Err(TaskError::Cancelled)).unwrap();
        assert_eq!(world.dispatched(), [(A, id(4), 1)]);
    }
}

#[test]
fn jobs_that_ended_long_ago_are_forgotten_and_no_other() {
    // Every job ever admitted stayed in memory, and came back with every start.
    let config = Config {
        ended_jobs_max: 2,
        ..config()
    };
    let mut world = World::with(config.clone());
    world.submit(9, orders([9])).unwrap();
    let known = |world: &World| -> Vec<u8> {
        let known = (1..=9).filter(|job| world.coordinator.job(job_id(*job)).is_some());
        known.collect()
    };
    for job in 1..=4 {
        world.submit(job, orders([job])).unwrap();
        world
            .call(|rules, host| rules.cancel(id(job), host))
            .unwrap();
    }
    assert_eq!(known(&world), [3, 4, 9]);
    assert!(matches!(
        world.submit(4, orders([44])),
        Err(SubmitError::KnownJob { .. })
    ));
    // The ledger knows its tasks, whoever has forgotten the job.
    assert!(matches!(
        world.submit(1, orders([1])),
        Err(SubmitError::KnownTask { .. })
    ));
    killed(&mut world, config);
    assert_eq!(world.coordinator.check(), Ok(()));
    assert_eq!(known(&world), [3, 4, 9]);
}
