//! Random walks of a whole fog over a ledger in memory, checked after every step.

#![expect(
    clippy::unwrap_used,
    reason = "a walk that cannot be set up or looked at has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fogcompute_base::{AccountId, Instant, JobId, NodeId, Priority, TaskId, UnixMillis};
use fogcompute_coord::routing::Strategy as Routing;
use fogcompute_coord::{
    Config, Coordinator, Event, Host, JobSpec, LossReason, MemoryJournal, Offer, Placement,
    PrivacyLevel, ReportError, Status, SubmitError, TaskOrder, clearing_account, genesis,
    mint_account, node_account,
};
use fogcompute_exec::{Limits, TaskError, TaskOutput, TaskReport, TaskSpec, TaskState, Usage};
use fogcompute_ledger::{Amount, Book, LedgerError};
use fogcompute_schedule::evolution::Nsga2;
use proptest::collection::vec;
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const OWNER: AccountId = AccountId::from_bytes([9; 16]);
const ENDOWMENT: u128 = 20_000;
const NODES: u8 = 5;
const MIB: u64 = 1 << 20;
const FUEL: u64 = 1_000_000_000;
const LIMIT_FUEL: u64 = 2 * FUEL;

#[derive(Clone, Debug)]
enum Step {
    Register(u8, Offer),
    Heartbeat(u8, Offer),
    NodeLost(u8),
    /// Tasks as (memory, estimate, highest price).
    Submit(Vec<(u64, u64, u128)>),
    /// A report on one of the attempts that were ever dispatched, live or not.
    Report(usize, Outcome),
    /// A report by somebody who was not asked, or on an attempt that never was.
    Forge {
        attempt: usize,
        node: u8,
        offset: u32,
    },
    Cancel(usize),
    /// An attempt comes back, one that was begun or not, live or not.
    GiveBack(usize),
    /// The coordinator is killed and goes on from its journal.
    Crash,
    Hold,
    Resume,
    Pass {
        seconds: u64,
        /// Nodes that are heard meanwhile, one bit each.
        heard: u8,
    },
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Output { fuel: u64 },
    OverFuel,
    OverOutput,
    Fails,
    GivesBack,
}

fn offers() -> impl Strategy<Value = Offer> {
    (
        prop_oneof![1 => Just(0), 1 => Just(999), 8 => 1_000..4_000_u64],
        prop_oneof![1 => Just(0), 1 => 1..64 * MIB, 8 => 64 * MIB..1024 * MIB],
        prop_oneof![1 => Just(FUEL / 1_000), 8 => FUEL / 10..2 * FUEL],
        0..200_u128,
        prop_oneof![30 => 0.0..50.0_f64, 1 => Just(-1.0), 1 => Just(f64::NAN), 1 => Just(1e13)],
    )
        .prop_map(
            |(cpu_millis, memory_bytes, fuel_per_second, rate, latency_ms)| Offer {
                cpu_millis,
                memory_bytes,
                fuel_per_second,
                price_per_gigafuel: Amount(rate),
                latency_ms,
            },
        )
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => (0..=LIMIT_FUEL).prop_map(|fuel| Outcome::Output { fuel }),
        1 => Just(Outcome::OverFuel),
        1 => Just(Outcome::OverOutput),
        1 => Just(Outcome::Fails),
        2 => Just(Outcome::GivesBack),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let task = (
        (1..300_u64).prop_map(|mib| mib * MIB),
        prop_oneof![2 => Just(0), 16 => 0..LIMIT_FUEL, 1 => Just(1 << 40)],
        1..500_u128,
    );
    prop_oneof![
        4 => (0..NODES, offers()).prop_map(|(node, offer)| Step::Register(node, offer)),
        3 => (0..NODES, offers()).prop_map(|(node, offer)| Step::Heartbeat(node, offer)),
        2 => (0..NODES).prop_map(Step::NodeLost),
        3 => vec(task, 0..8).prop_map(Step::Submit),
        8 => (any::<usize>(), outcomes()).prop_map(|(index, outcome)| Step::Report(index, outcome)),
        2 => (any::<usize>(), 0..=NODES, 0..3_u32)
            .prop_map(|(attempt, node, offset)| Step::Forge { attempt, node, offset }),
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => any::<usize>().prop_map(Step::GiveBack),
        1 => Just(Step::Crash),
        1 => Just(Step::Hold),
        2 => Just(Step::Resume),
        4 => (0..100_u64, any::<u8>()).prop_map(|(seconds, heard)| Step::Pass { seconds, heard }),
    ]
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Attempt {
    task: TaskId,
    node: NodeId,
    number: u32,
}

/// A fog, and what an onlooker knows of it from its events alone.
struct World {
    coordinator: Coordinator,
    seed: u64,
    book: Book,
    journal: MemoryJournal,
    /// Whether the coordinator has been killed: it has forgotten what is settled.
    killed: bool,
    /// Whether the mixnet is shut.
    held: bool,
    rng: ChaCha8Rng,
    now: Instant,
    /// Every attempt that was dispatched, in order.
    dispatched: Vec<Attempt>,
    /// The attempt that may end its task.
    live: BTreeMap<TaskId, Attempt>,
    recalled: BTreeSet<Attempt>,
    ended: BTreeSet<TaskId>,
    ended_jobs: BTreeSet<JobId>,
    tasks: BTreeMap<TaskId, (JobId, u64)>,
    escrowed: BTreeMap<JobId, u128>,
    earned: BTreeMap<NodeId, u128>,
    log: Vec<String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut book = Book::new();
        book.execute(&genesis(OWNER, Amount(ENDOWMENT)), UnixMillis(0))
            .unwrap();
        Self {
            coordinator: Coordinator::new(config(seed)).unwrap(),
            seed,
            book,
            journal: MemoryJournal::default(),
            killed: false,
            held: false,
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: Instant::from_millis(1),
            dispatched: Vec::new(),
            live: BTreeMap::new(),
            recalled: BTreeSet::new(),
            ended: BTreeSet::new(),
            ended_jobs: BTreeSet::new(),
            tasks: BTreeMap::new(),
            escrowed: BTreeMap::new(),
            earned: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Coordinator, &mut Host<'_, Book, ChaCha8Rng>) -> T,
    ) -> T {
        let mut host = Host {
            bank: &mut self.book,
            rng: &mut self.rng,
            now: self.now,
            wall: UnixMillis(self.now.as_nanos() / 1_000_000),
        };
        call(&mut self.coordinator, &mut host)
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Register(index, offer) => {
                let sensible = (0.0..1e9).contains(&offer.latency_ms);
                let done = self.call(|rules, host| rules.register(node(*index), *offer, host));
                assert_eq!(done.is_ok(), sensible, "{done:?}");
            }
            Step::Heartbeat(index, offer) => {
                let there = self.status(node(*index)).is_some();
                let sensible = (0.0..1e9).contains(&offer.latency_ms);
                let done = self.call(|rules, host| rules.heartbeat(node(*index), *offer, host));
                if there {
                    assert_eq!(done.is_ok(), sensible, "{done:?}");
                } else {
                    assert_eq!(done, Ok(false));
                }
            }
            Step::NodeLost(index) => self.call(|rules, host| {
                rules.node_lost(node(*index), LossReason::Disconnected, host);
            }),
            Step::Submit(tasks) => self.submit(tasks),
            Step::Report(index, outcome) => {
                if !self.dispatched.is_empty() {
                    let attempt = self.dispatched[index % self.dispatched.len()];
                    self.report(attempt, *outcome);
                }
            }
            Step::Forge {
                attempt,
                node: index,
                offset,
            } => {
                if !self.dispatched.is_empty() {
                    let asked = self.dispatched[attempt % self.dispatched.len()];
                    let forged = Attempt {
                        node: node(*index),
                        number: asked.number + offset,
                        ..asked
                    };
                    self.report(forged, Outcome::Output { fuel: FUEL });
                }
            }
            Step::Cancel(index) => {
                let ids: Vec<_> = self.tasks.keys().copied().collect();
                if !ids.is_empty() {
                    let id = ids[index % ids.len()];
                    let over = self.ended.contains(&id);
                    let done = self.call(|rules, host| rules.cancel(id, host));
                    assert_eq!(done.is_err(), over, "{done:?}");
                }
            }
            Step::GiveBack(index) => {
                if !self.dispatched.is_empty() {
                    let Attempt { task, node, number } =
                        self.dispatched[index % self.dispatched.len()];
                    let attempt = Attempt { task, node, number };
                    let live = self.live.get(&task) == Some(&attempt);
                    let had = self.call(|rules, host| rules.gave_back(node, task, number, host));
                    // Cancelled ones have a slot until the node lets go of them.
                    assert!(had || !live);
                }
            }
            Step::Crash => {
                self.killed = true;
                let stored = self.journal.stored();
                self.coordinator =
                    Coordinator::recover(config(self.seed), stored, self.now).unwrap();
                self.held = false;
            }
            Step::Hold => {
                self.held = true;
                self.call(Coordinator::hold);
            }
            Step::Resume => {
                self.held = false;
                self.call(Coordinator::resume);
            }
            Step::Pass { seconds, heard } => self.pass(Duration::from_secs(*seconds), *heard),
        }
        self.observe();
    }

    fn status(&self, node: NodeId) -> Option<Status> {
        let views = self.coordinator.nodes();
        let view = views.iter().find(|view| view.node == node)?;
        Some(view.status).filter(|status| *status != Status::Offline)
    }

    fn submit(&mut self, tasks: &[(u64, u64, u128)]) {
        let number = u8::try_from(self.escrowed.len()).unwrap();
        let id = JobId::from_bytes([number; 16]);
        let tasks: Vec<_> = tasks
            .iter()
            .enumerate()
            .map(|(index, &(memory_bytes, fuel_estimate, price_max))| {
                let limits = Limits {
                    fuel: LIMIT_FUEL,
                    memory_bytes,
                    output_bytes: 8,
                    ..Limits::default()
                };
                TaskOrder {
                    // Later tasks have lower ids as often as higher ones.
                    id: TaskId::from_bytes([index as u8 ^ number.wrapping_mul(89); 16]),
                    spec: TaskSpec::new(vec![0], vec![], limits).unwrap(),
                    fuel_estimate,
                    price_max: Amount(price_max),
                }
            })
            .collect();
        let known = tasks.iter().any(|order| self.tasks.contains_key(&order.id));
        let orders: Vec<_> = tasks
            .iter()
            .map(|order| (order.id, order.spec.limits().memory_bytes))
            .collect();
        let price: u128 = tasks.iter().map(|order| order.price_max.0).sum();
        let available = self.book.account(OWNER).unwrap().available().0;
        let job = JobSpec {
            id,
            owner: OWNER,
            priority: [Priority::High, Priority::Normal][usize::from(number % 2)],
            privacy: [PrivacyLevel::Public, PrivacyLevel::Private][usize::from(number % 2)],
            tasks,
        };
        match self.call(|rules, host| rules.submit(job, host)) {
            Ok(()) => {
                assert!(!known && price <= available);
                self.escrowed.insert(id, price);
                for (task, memory_bytes) in orders {
                    self.tasks.insert(task, (id, memory_bytes));
                }
            }
            Err(SubmitError::Unroutable { .. }) => {}
            Err(SubmitError::NoTasks { .. }) => assert!(orders.is_empty()),
            Err(SubmitError::KnownTask { .. }) => assert!(known),
            Err(SubmitError::Bank(LedgerError::InsufficientFunds { .. })) => {
                assert!(price > available);
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn report(&mut self, attempt: Attempt, outcome: Outcome) {
        let output = |bytes, fuel| {
            Ok(TaskOutput {
                output: vec![0; bytes],
                usage: Usage {
                    fuel,
                    ..Usage::default()
                },
            })
        };
        let result = match outcome {
            Outcome::Output { fuel } => output(8, fuel),
            Outcome::OverFuel => output(8, LIMIT_FUEL + 1),
            Outcome::OverOutput => output(9, 0),
            Outcome::Fails => Err(TaskError::OutOfFuel { limit: LIMIT_FUEL }),
            Outcome::GivesBack => Err(TaskError::Cancelled),
        };
        let live = self.live.get(&attempt.task) == Some(&attempt);
        let report = TaskReport {
            task: attempt.task,
            result,
        };
        let done =
            self.call(|rules, host| rules.report(attempt.node, attempt.number, report, host));
        // Only the attempt that runs can do anything.
        match done {
            Ok(_) => assert!(live, "{attempt:?} ended its task"),
            Err(ReportError::OverLimits { .. }) => {
                assert!(live && matches!(outcome, Outcome::OverFuel | Outcome::OverOutput));
            }
            Err(ReportError::Transition(_)) => assert!(!live),
            Err(ReportError::UnknownTask { task }) => {
                assert!(self.killed && self.ended.contains(&task));
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn pass(&mut self, time: Duration, heard: u8) {
        self.now = self.now + time;
        for view in self.coordinator.nodes() {
            let bit = view.node.as_bytes()[0];
            if heard & (1 << bit) != 0 {
                let known = view.status != Status::Offline;
                let done = self.call(|rules, host| rules.heartbeat(view.node, view.offer, host));
                assert_eq!(done, Ok(known));
            }
        }
        self.call(Coordinator::handle_timeout);
        if let Some(due) = self.coordinator.poll_timeout() {
            assert!(due > self.now, "nothing is left that was due");
        }
    }

    /// Takes the events in and checks everything that can be seen from outside.
    fn observe(&mut self) {
        let wall = UnixMillis(self.now.as_nanos() / 1_000_000);
        self.coordinator
            .flush(&mut self.journal, &mut self.book, wall)
            .unwrap();
        let mut sent_to = BTreeSet::new();
        while let Some(event) = self.coordinator.poll_event() {
            self.log.push(format!("{event:?}"));
            match event {
                Event::Dispatch {
                    node,
                    task,
                    attempt,
                    privacy,
                    ..
                } => {
                    let attempt = Attempt {
                        task,
                        node,
                        number: attempt,
                    };
                    assert!(!self.ended.contains(&task));
                    assert!(!(self.held && privacy.needs_mixnet()), "{task} is let out");
                    let before = self.live.insert(task, attempt);
                    // A coordinator that was killed asks once more for what it had asked for.
                    if self.killed && before == Some(attempt) {
                        continue;
                    }
                    assert_eq!(before, None, "{task} runs twice");
                    let before = self.dispatched.iter().filter(|known| known.task == task);
                    assert!(before.map(|known| known.number).all(|n| n < attempt.number));
                    self.dispatched.push(attempt);
                    sent_to.insert((node, task));
                }
                Event::Recall {
                    node,
                    task,
                    attempt: number,
                } => {
                    let attempt = Attempt { task, node, number };
                    assert_eq!(self.live.get(&task), Some(&attempt));
                    assert!(
                        self.recalled.insert(attempt),
                        "{attempt:?} is recalled twice"
                    );
                }
                Event::TaskEnded {
                    task,
                    node,
                    attempt,
                    paid,
                    ..
                } => {
                    let attempt = Attempt {
                        task,
                        node,
                        number: attempt,
                    };
                    // A coordinator that was killed tells once more of what it had not written as
                    // settled.
                    if self.killed && self.ended.contains(&task) {
                        continue;
                    }
                    assert_eq!(self.live.remove(&task), Some(attempt));
                    *self.earned.entry(node).or_default() += paid.0;
                    self.end(task);
                }
                Event::AttemptLost {
                    task,
                    node,
                    attempt,
                    ..
                } => {
                    let attempt = Attempt {
                        task,
                        node,
                        number: attempt,
                    };
                    assert_eq!(self.live.remove(&task), Some(attempt));
                }
                Event::TaskCancelled { task } => {
                    self.live.remove(&task);
                    self.end(task);
                }
                Event::TaskLost { task } => self.end(task),
                Event::JobEnded { job, summary } => {
                    assert!(
                        self.ended_jobs.insert(job) || self.killed,
                        "{job} ends twice"
                    );
                    assert_eq!(self.coordinator.job(job), Some(summary));
                    assert_eq!(summary.open, 0);
                }
                Event::NotPlaced { error } => panic!("{error}"),
                _ => {}
            }
        }
        self.check_places(&sent_to);
        self.check_money();
    }

    fn end(&mut self, task: TaskId) {
        assert!(self.ended.insert(task) || self.killed, "{task} ends twice");
    }

    fn check_places(&self, sent_to: &BTreeSet<(NodeId, TaskId)>) {
        assert_eq!(self.coordinator.check(), Ok(()));
        let mut queued = 0;
        for &id in self.tasks.keys() {
            let Some(view) = self.coordinator.task(id) else {
                assert!(self.killed && self.ended.contains(&id));
                continue;
            };
            match view.state {
                TaskState::Queued { .. } => queued += 1,
                TaskState::Assigned { node, attempt } => {
                    let attempt = Attempt {
                        task: id,
                        node,
                        number: attempt,
                    };
                    assert_eq!(self.live.get(&id), Some(&attempt));
                }
                state => assert!(state.is_terminal() && self.ended.contains(&id)),
            }
        }
        let views = self.coordinator.nodes();
        let waiting: usize = views.iter().map(|view| view.waiting).sum();
        assert_eq!(queued, waiting + self.coordinator.unplaced());
        for view in views {
            let here = self.live.values().filter(|live| live.node == view.node);
            assert!(here.clone().count() <= view.running + view.ahead);
            let Offer {
                cpu_millis,
                memory_bytes,
                ..
            } = view.offer;
            // What was running when the coordinator was killed may be running still.
            if view.status == Status::Offline && !self.killed {
                assert_eq!((view.running, view.ahead, view.waiting), (0, 0, 0));
            }
            // An offer may shrink below what runs, but then nothing is sent.
            let was_sent = sent_to.iter().any(|(node, _)| *node == view.node);
            if was_sent && view.status != Status::Offline {
                assert!(view.running as u64 <= cpu_millis / 1_000);
                assert!(view.memory_bytes <= memory_bytes);
                // What was given ahead of time could run there.
                for (_, task) in sent_to.iter().filter(|(node, _)| *node == view.node) {
                    assert!(self.tasks[task].1 <= memory_bytes);
                }
            }
        }
    }

    fn check_money(&self) {
        assert_eq!(self.book.check(), Ok(()));
        let account = |id| self.book.account(id).unwrap();
        let (mut reserved, mut paid) = (0, 0);
        for (&job, &escrowed) in &self.escrowed {
            let summary = self.coordinator.job(job).unwrap();
            assert_eq!(
                summary.reserved.0 + summary.paid.0 + summary.released.0,
                escrowed
            );
            let tasks = self.tasks.values().filter(|(of, _)| *of == job).count();
            assert_eq!(
                summary.succeeded
                    + summary.failed
                    + summary.lost
                    + summary.cancelled
                    + summary.open,
                tasks
            );
            assert_eq!(summary.open == 0, self.ended_jobs.contains(&job));
            reserved += summary.reserved.0;
            paid += summary.paid.0;
        }
        let earned: u128 = self.earned.values().sum();
        for view in self.coordinator.nodes() {
            let earned = self.earned.get(&view.node).copied().unwrap_or_default();
            assert_eq!(account(node_account(view.node)).balance().0, earned);
        }
        assert_eq!(paid, earned);
        assert_eq!(account(clearing_account()).balance(), Amount::ZERO);
        assert_eq!(account(clearing_account()).credits_pending.0, reserved);
        assert_eq!(account(OWNER).available().0, ENDOWMENT - paid - reserved);
        assert_eq!(account(mint_account()).issued().0, ENDOWMENT);
    }

    /// Gives the fog a node that takes everything and stays, and answers whatever is asked: every
    /// job must end.
    fn drain(&mut self) {
        let generous = Offer {
            cpu_millis: 1_000,
            memory_bytes: u64::MAX,
            fuel_per_second: FUEL,
            price_per_gigafuel: Amount::ZERO,
            latency_ms: 1.0,
        };
        self.step(&Step::Register(NODES, generous));
        self.step(&Step::Resume);
        // A task has at most three attempts, and each turn ends one or lets a lease lapse.
        for _ in 0..=4 * self.tasks.len() {
            let live: Vec<_> = self.live.values().copied().collect();
            for attempt in &live {
                self.report(*attempt, Outcome::Output { fuel: FUEL });
                self.observe();
            }
            if live.is_empty() {
                // Slots are held by cancelled attempts whose nodes say nothing: until the longest
                // lease is over.
                self.pass(
                    Duration::from_secs((1 << 40) / (FUEL / 1_000) * 10),
                    u8::MAX,
                );
                self.observe();
            }
            if self.ended.len() == self.tasks.len() {
                break;
            }
        }
        assert_eq!(self.ended.len(), self.tasks.len());
        assert_eq!(self.ended_jobs.len(), self.escrowed.len());
        assert_eq!(self.coordinator.unplaced(), 0);
        assert_eq!(
            self.book.account(OWNER).unwrap().debits_pending,
            Amount::ZERO
        );
    }
}

/// The optimiser for every other seed, and each strategy in turn for the rest.
fn config(seed: u64) -> Config {
    let strategies = Routing::ALL;
    let turn = usize::try_from(seed / 2).unwrap() % strategies.len();
    let placement = if seed.is_multiple_of(2) {
        Placement::Optimised
    } else {
        Placement::Routed(strategies[turn])
    };
    Config {
        placement,
        nsga2: Nsga2 {
            population: 4,
            generations: 2,
            ..Nsga2::default()
        },
        attempts_max: 3,
        ..Config::default()
    }
}

fn node(index: u8) -> NodeId {
    NodeId::from_bytes([index; 32])
}

fn walk(seed: u64, steps: &[Step]) -> World {
    let mut world = World::new(seed);
    for step in steps {
        world.step(step);
    }
    world.drain();
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_fog_keeps_its_promises_whatever_happens(
        seed in any::<u64>(),
        steps in vec(steps(), 0..120),
    ) {
        walk(seed, &steps);
    }

    #[test]
    fn the_same_seed_and_steps_give_the_same_events(
        seed in any::<u64>(),
        steps in vec(steps(), 0..60),
    ) {
        prop_assert_eq!(walk(seed, &steps).log, walk(seed, &steps).log);
    }
}
