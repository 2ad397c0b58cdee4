//! The queue against a world that runs what it says, and checkers that know nothing of how it works.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fogcompute_base::{Domain, Instant, NodeId, Priority, TaskId, Tier};
use fogcompute_schedule::queue::{
    Backfill, Cause, Config, Decision, Obstacle, Preemption, Queue, QueueError, Reservation, Why,
};
use fogcompute_schedule::{Constraint, Job, Node, PlacementError, Rates, Spread};
use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

fn task(id: u16) -> TaskId {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    TaskId::from_bytes(bytes)
}

fn node_id(id: u16) -> NodeId {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&id.to_be_bytes());
    NodeId::from_bytes(bytes)
}

fn job(id: u16, cpu_millis: u64, duration_ms: u64) -> Job {
    Job::new(task(id), cpu_millis, 100, duration_ms)
}

fn node(id: u16, cpu_millis: u64) -> Node {
    Node {
        disk_bytes_free: 1_000,
        gpus_free: 4,
        bandwidth_bps_free: 1_000_000,
        zone: format!("zone {}", id % 3),
        ..Node::new(node_id(id), cpu_millis, 1_000)
    }
}

fn below(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    rng.next_u64() % bound
}

fn ms(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

/// What a job takes of a node, and what a node has.
fn need(job: &Job) -> [u64; 5] {
    [
        job.cpu_millis,
        job.memory_bytes,
        job.disk_bytes,
        job.gpus,
        job.bandwidth_bps,
    ]
}

fn room(node: &Node) -> [u64; 5] {
    [
        node.cpu_millis_free,
        node.memory_bytes_free,
        node.disk_bytes_free,
        node.gpus_free,
        node.bandwidth_bps_free,
    ]
}

/// A world in which jobs do what the queue says. Everything it says is checked.
struct World {
    queue: Queue,
    now: u64,
    nodes: BTreeMap<NodeId, Node>,
    drained: BTreeSet<NodeId>,
    jobs: BTreeMap<TaskId, Job>,
    submitted: BTreeMap<TaskId, u64>,
    /// How long a job really takes, as a share of what it says, in thousandths.
    takes_permille: BTreeMap<TaskId, u64>,
    running: BTreeMap<(TaskId, NodeId), u64>,
    ends: BTreeSet<(u64, TaskId, NodeId)>,
    notices: BTreeMap<(TaskId, NodeId), (u64, TaskId)>,
    started: Vec<(u64, TaskId, NodeId)>,
    done: BTreeSet<TaskId>,
    /// Of which a replica is done.
    partly_done: BTreeSet<TaskId>,
    expired: BTreeSet<TaskId>,
    stops: usize,
    cancelled: BTreeSet<TaskId>,
    moved: BTreeSet<(TaskId, NodeId)>,
    log: Vec<(u64, Decision)>,
}

impl World {
    fn new(config: Config, nodes: impl IntoIterator<Item = Node>) -> Self {
        let mut world = Self {
            queue: Queue::new(config).unwrap(),
            now: 0,
            nodes: BTreeMap::new(),
            drained: BTreeSet::new(),
            jobs: BTreeMap::new(),
            submitted: BTreeMap::new(),
            takes_permille: BTreeMap::new(),
            running: BTreeMap::new(),
            ends: BTreeSet::new(),
            notices: BTreeMap::new(),
            started: Vec::new(),
            done: BTreeSet::new(),
            partly_done: BTreeSet::new(),
            expired: BTreeSet::new(),
            stops: 0,
            cancelled: BTreeSet::new(),
            moved: BTreeSet::new(),
            log: Vec::new(),
        };
        for node in nodes {
            world.add(node);
        }
        world
    }

    fn add(&mut self, node: Node) {
        self.queue.add_node(node.clone()).unwrap();
        self.nodes.insert(node.id, node);
        self.settle();
    }

    fn remove(&mut self, id: NodeId) {
        self.queue.remove_node(id, ms(self.now)).unwrap();
        self.nodes.remove(&id);
        self.drained.remove(&id);
        let lost = self.running.keys().filter(|run| run.1 == id).copied();
        for run in lost.collect::<Vec<_>>() {
            self.forget_run(run);
        }
        self.settle();
    }

    fn submit(&mut self, jobs: Vec<Job>, takes_permille: u64) {
        self.queue.submit(&jobs, ms(self.now)).unwrap();
        self.submitted(jobs, takes_permille);
    }

    fn submitted(&mut self, jobs: Vec<Job>, takes_permille: u64) {
        for job in jobs {
            self.submitted.insert(job.id, self.now);
            self.takes_permille.insert(job.id, takes_permille);
            self.jobs.insert(job.id, job);
        }
        self.settle();
    }

    fn forget_run(&mut self, run: (TaskId, NodeId)) {
        self.running.remove(&run).unwrap();
        self.notices.remove(&run);
        self.ends.retain(|&(_, job, node)| (job, node) != run);
    }

    /// Does what the queue says until it has nothing more to say.
    fn settle(&mut self) {
        let mut gangs: BTreeMap<String, BTreeSet<TaskId>> = BTreeMap::new();
        for round in 0.. {
            assert!(round < 5_000, "the queue never has nothing to say");
            let Some(decision) = self.queue.poll(ms(self.now)) else {
                if self
                    .queue
                    .poll_timeout()
                    .is_some_and(|at| at <= ms(self.now))
                {
                    continue;
                }
                break;
            };
            self.log.push((self.now, decision));
            match decision {
                Decision::Start { job, node } => {
                    let said = self.jobs[&job].clone();
                    let speed = self.nodes[&node].speed;
                    let takes = said.duration_ms as f64 / speed * self.takes_permille[&job] as f64
                        / 1_000.0;
                    let end = self.now + (takes.ceil() as u64).max(1);
                    assert!(self.running.insert((job, node), self.now).is_none());
                    assert!(!self.drained.contains(&node), "started on a drained node");
                    self.ends.insert((end, job, node));
                    self.started.push((self.now, job, node));
                    self.check_place(&said, node);
                    if let Some(gang) = &said.gang {
                        gangs.entry(gang.clone()).or_default().insert(job);
                    }
                }
                Decision::Notice {
                    job,
                    node,
                    until,
                    for_job,
                } => {
                    assert!(self.running.contains_key(&(job, node)));
                    let (victim, urgent) = (&self.jobs[&job], &self.jobs[&for_job]);
                    assert!(victim.priority > urgent.priority, "only downwards");
                    let notice_ms = match victim.tier {
                        _ if victim.preemptible => 0,
                        Tier::Bronze => 30_000,
                        Tier::Silver => 300_000,
                        Tier::Gold | Tier::Platinum => panic!("those stay"),
                    };
                    let until = until.as_nanos() / 1_000_000;
                    assert_eq!(until, self.now + notice_ms);
                    let before = self.notices.insert((job, node), (until, for_job));
                    assert_eq!(before, None);
                }
                Decision::Reprieve { job, node } => {
                    assert!(self.notices.remove(&(job, node)).is_some());
                }
                Decision::Stop { job, node, cause } => {
                    if let Cause::Preempted { for_job } = cause {
                        let (until, urgent) = self.notices[&(job, node)];
                        assert!(until <= self.now, "not before its notice is over");
                        assert_eq!(urgent, for_job);
                        self.stops += 1;
                    }
                    let may = match cause {
                        Cause::Preempted { .. } => true,
                        Cause::Gang => self.jobs[&job].gang.is_some(),
                        Cause::Cancelled => self.cancelled.contains(&job),
                        Cause::Moved => self.moved.remove(&(job, node)),
                    };
                    assert!(may, "{job} was stopped without need");
                    self.forget_run((job, node));
                }
                Decision::Expire { job } => {
                    let gang = &self.jobs[&job].gang;
                    let late = |other: &Job| {
                        let at =
                            self.submitted[&other.id] + other.deadline_ms.unwrap_or(u64::MAX / 2);
                        (other.id == job || (gang.is_some() && other.gang == *gang))
                            && at <= self.now
                    };
                    assert!(self.jobs.values().any(late));
                    self.expired.insert(job);
                }
                _ => {}
            }
        }
        for (gang, started) in gangs {
            let all = self
                .jobs
                .values()
                .filter(|job| job.gang.as_ref() == Some(&gang));
            let all = all.filter(|job| !self.done.contains(&job.id));
            assert_eq!(
                all.map(|job| job.id).collect::<BTreeSet<_>>(),
                started,
                "all of {gang}"
            );
        }
        self.check_room();
        assert_eq!(
            self.queue.is_empty(),
            self.jobs
                .keys()
                .all(|job| self.done.contains(job) || self.is_expired(job))
        );
    }

    /// Whether nothing is left of a job that came too late.
    fn is_expired(&self, job: &TaskId) -> bool {
        self.expired.contains(job) && !self.running.keys().any(|run| run.0 == *job)
    }

    /// No node is overcommitted in anything.
    fn check_room(&self) {
        for node in self.nodes.values() {
            let mut used = [0; 5];
            for (job, _) in self.running.keys().filter(|run| run.1 == node.id) {
                for (used, need) in used.iter_mut().zip(need(&self.jobs[job])) {
                    *used += need;
                }
            }
            assert!(
                used.iter()
                    .zip(room(node))
                    .all(|(&used, room)| used <= room),
                "{used:?}"
            );
        }
    }

    /// A job may be where it is, beside those that run.
    fn check_place(&self, job: &Job, place: NodeId) {
        assert!(!job.excluded.contains(&place));
        for &(other, there) in self.running.keys().filter(|run| **run != (job.id, place)) {
            let other = &self.jobs[&other];
            let (a, b) = (&self.nodes[&place], &self.nodes[&there]);
            if other.id == job.id {
                assert_ne!(place, there);
                if matches!(job.tier, Tier::Gold | Tier::Platinum) {
                    assert!(a.zone != b.zone && a.operator != b.operator);
                }
            }
            if job.anti_affinity.contains(&other.id) || other.anti_affinity.contains(&job.id) {
                assert_ne!(place, there);
            }
            let is_partly_done = [job.id, other.id]
                .iter()
                .any(|it| self.partly_done.contains(it));
            let names = job.affinity.contains(&other.id) || other.affinity.contains(&job.id);
            if names && !is_partly_done {
                assert!(self.running.contains_key(&(other.id, place)));
            }
        }
        if let Some(spread) = &job.spread {
            let domain = |node: &NodeId| match spread.over {
                Domain::Zone => self.nodes[node].zone.clone(),
                _ => format!("{node}"),
            };
            let here = self.running.keys().filter(|(other, there)| {
                self.jobs[other]
                    .spread
                    .as_ref()
                    .is_some_and(|it| it.group == spread.group)
                    && domain(there) == domain(&place)
            });
            assert!(here.count() <= spread.most as usize, "{}", spread.group);
        }
    }

    /// When the next thing happens by itself.
    fn next(&self) -> Option<u64> {
        let end = self.ends.first().map(|&(at, ..)| at);
        let timer = self
            .queue
            .poll_timeout()
            .map(|at| at.as_nanos().div_ceil(1_000_000));
        end.into_iter().chain(timer).min()
    }

    /// Lets time pass until `until`, or until nothing happens any more.
    fn run_until(&mut self, until: u64, mut each: impl FnMut(&Self)) {
        let mut steps = 0;
        while let Some(next) = self.next().filter(|&next| next <= until) {
            steps += 1;
            assert!(steps < 20_000, "nothing comes to an end");
            self.now = next.max(self.now);
            while let Some(&(at, job, node)) = self.ends.first() {
                if at > self.now {
                    break;
                }
                self.forget_run((job, node));
                self.queue.finish(job, node, ms(self.now)).unwrap();
                self.partly_done.insert(job);
                if self.queue.times_preempted(job).is_none() {
                    self.done.insert(job);
                }
            }
            self.settle();
            each(self);
        }
        self.now = self.now.max(if until == u64::MAX { 0 } else { until });
    }

    fn drain(&mut self, id: NodeId) {
        self.queue.drain_node(id).unwrap();
        self.drained.insert(id);
        self.settle();
    }

    fn cancel(&mut self, job: TaskId) {
        if self.queue.cancel(job, ms(self.now)).is_ok() {
            self.done.insert(job);
            self.cancelled.insert(job);
        }
        self.settle();
    }

    fn waits(&self, job: TaskId) -> bool {
        self.queue.waiting().any(|other| other == job)
    }

    fn starts(&self) -> BTreeMap<TaskId, u64> {
        let mut starts = BTreeMap::new();
        for &(at, job, _) in &self.started {
            starts.entry(job).or_insert(at);
        }
        starts
    }
}

fn config(backfill: Backfill) -> Config {
    Config {
        backfill,
        ..Config::default()
    }
}

const ALL: [Backfill; 3] = [Backfill::None, Backfill::Easy, Backfill::Conservative];

/// Two nodes; the first job of two is wide and has to wait, a short one fits before it.
#[test]
fn backfilling_fills_the_hole_before_a_wide_job_and_does_not_delay_it() {
    for backfill in ALL {
        let mut world = World::new(config(backfill), [node(1, 1_000)]);
        world.submit(vec![job(1, 600, 10_000)], 1_000);
        world.submit(vec![job(2, 1_000, 5_000)], 1_000);
        world.submit(vec![job(3, 400, 9_000)], 1_000);
        world.submit(vec![job(4, 400, 11_000)], 1_000);
        assert_eq!(world.waits(task(3)), backfill == Backfill::None);
        assert_eq!(world.queue.reservations(task(2))[0].at, ms(10_000));
        assert_eq!(
            world.queue.reservations(task(4)).len(),
            usize::from(backfill == Backfill::Conservative)
        );
        world.run_until(u64::MAX, |_| {});
        let starts = world.starts();
        assert_eq!(starts[&task(2)], 10_000);
        let third = if backfill == Backfill::None {
            15_000
        } else {
            0
        };
        assert_eq!(starts[&task(3)], third);
        assert_eq!(starts[&task(4)], 15_000);
        assert!(world.queue.is_empty());
    }
}

#[test]
fn the_end_of_a_job_moves_reservations() {
    for backfill in [Backfill::Easy, Backfill::Conservative] {
        let mut world = World::new(config(backfill), [node(1, 1_000)]);
        // The first ends at half its time, the second takes twice as long as it said.
        world.submit(vec![job(1, 1_000, 10_000)], 500);
        world.submit(vec![job(2, 1_000, 10_000)], 2_000);
        world.submit(vec![job(3, 1_000, 10_000)], 1_000);
        world.run_until(5_000, |_| {});
        assert_eq!(world.queue.reservations(task(3))[0].at, ms(15_000));
        // It has run for ten seconds, so five more are expected, and at those seven and a half.
        world.run_until(15_000, |_| {});
        assert_eq!(world.queue.reservations(task(3))[0].at, ms(20_000));
        world.run_until(20_000, |_| {});
        assert_eq!(world.queue.reservations(task(3))[0].at, ms(27_500));
        world.run_until(u64::MAX, |_| {});
        assert_eq!(world.starts()[&task(3)], 25_000);
    }
}

#[test]
fn a_more_urgent_job_goes_first_but_waiting_makes_urgent() {
    for backfill in ALL {
        let ageing = Duration::from_secs(60);
        let mut world = World::new(
            Config {
                ageing,
                ..config(backfill)
            },
            [node(1, 1_000)],
        );
        let with = |id, priority| Job {
            priority,
            ..job(id, 1_000, 7_000)
        };
        world.submit(vec![with(0, Priority::Bulk)], 1_000);
        world.submit(vec![with(1, Priority::Bulk)], 1_000);
        let mut id = 2;
        // Critical jobs never leave the node idle.
        while !world.starts().contains_key(&task(1)) {
            world.submit(vec![with(id, Priority::Critical)], 1_000);
            id += 1;
            world.run_until(world.now + 5_000, |_| {});
            assert!(world.now < 1_000_000, "the bulk job starves");
        }
        let at = world.starts()[&task(1)];
        assert!(
            at > 200_000,
            "{backfill:?}: those that come sooner are first, {at}"
        );
    }
}

fn preempting(backfill: Backfill) -> Config {
    Config {
        preemption: Some(Preemption::default()),
        ..config(backfill)
    }
}

fn urgent(id: u16, cpu_millis: u64) -> Job {
    Job {
        priority: Priority::Critical,
        ..job(id, cpu_millis, 10_000)
    }
}

#[test]
fn the_fewest_and_least_urgent_give_way_and_only_after_their_notice() {
    for backfill in ALL {
        let mut world = World::new(preempting(backfill), [node(1, 1_000), node(2, 1_000)]);
        let with = |id, cpu, priority| Job {
            priority,
            ..job(id, cpu, 900_000)
        };
        // On one node two have to go, on the other one of two: the less urgent.
        world.submit(
            vec![with(1, 500, Priority::Bulk), with(2, 500, Priority::Bulk)],
            1_000,
        );
        let first = world.queue.nodes_of(task(1));
        if world.queue.nodes_of(task(2)) != first {
            // They were spread. Fill up both.
            world.submit(
                vec![with(3, 500, Priority::Low), with(4, 500, Priority::Normal)],
                1_000,
            );
        } else {
            world.submit(
                vec![with(3, 600, Priority::Low), with(4, 400, Priority::Bulk)],
                1_000,
            );
        }
        assert!(world.queue.waiting().next().is_none());
        world.submit(vec![urgent(9, 500)], 1_000);
        let [
            (
                at,
                Decision::Notice {
                    job: victim,
                    node: place,
                    until,
                    for_job,
                },
            ),
        ] = world
            .log
            .iter()
            .filter(|(_, decision)| matches!(decision, Decision::Notice { .. }))
            .copied()
            .collect::<Vec<_>>()[..]
        else {
            panic!("one has to go, and one is enough");
        };
        assert_eq!((at, until, for_job), (0, ms(30_000), task(9)));
        assert_eq!(world.jobs[&victim].priority, Priority::Bulk);
        assert_eq!(
            world.queue.reservations(task(9)),
            [Reservation {
                node: place,
                at: ms(30_000)
            }]
        );
        world.run_until(30_000, |_| {});
        assert_eq!(world.starts()[&task(9)], 30_000);
        assert_eq!(world.stops, 1);
        assert_eq!(world.queue.times_preempted(victim), Some(1));
        // It goes on when there is room.
        world.run_until(40_000, |_| {});
        assert!(!world.waits(victim));
        world.run_until(u64::MAX, |_| {});
        assert!(world.queue.is_empty());
    }
}

#[test]
fn nobody_is_pushed_out_by_equals_or_from_a_tier_that_stays_or_too_often() {
    for backfill in ALL {
        let protected = Job {
            priority: Priority::Bulk,
            tier: Tier::Gold,
            replicas: Some(1),
            ..job(1, 1_000, 100_000)
        };
        let reliable = Node {
            availability: Some(1.0),
            error_rate: Some(0.0),
            ..node(1, 1_000)
        };
        let equal = Job {
            priority: Priority::Critical,
            ..job(1, 1_000, 100_000)
        };
        for first in [protected, equal] {
            let mut world = World::new(preempting(backfill), [reliable.clone()]);
            world.submit(vec![first], 1_000);
            world.submit(vec![urgent(2, 1_000)], 1_000);
            world.run_until(u64::MAX, |_| {});
            assert_eq!((world.stops, world.starts()[&task(2)]), (0, 100_000));
        }
        let mut world = World::new(preempting(backfill), [node(1, 1_000)]);
        let tossed = Job {
            preemptible: true,
            priority: Priority::Bulk,
            ..job(1, 1_000, 100_000)
        };
        world.submit(vec![tossed], 1_000);
        for id in 2..9 {
            world.submit(vec![urgent(id, 1_000)], 1_000);
            world.run_until(world.now + 20_000, |_| {});
        }
        assert_eq!(world.stops, 3);
        world.run_until(u64::MAX, |_| {});
        assert!(world.queue.is_empty());
    }
}

#[test]
fn who_was_given_notice_stays_if_the_urgent_job_is_gone() {
    for backfill in ALL {
        let mut world = World::new(preempting(backfill), [node(1, 1_000)]);
        world.submit(vec![job(1, 1_000, 100_000)], 1_000);
        world.submit(vec![urgent(2, 1_000)], 1_000);
        world.submit(vec![job(3, 1_000, 100_000)], 1_000);
        world.run_until(10_000, |_| {});
        world.cancel(task(2));
        assert!(world.log.iter().any(|(at, decision)| {
            *at == 10_000 && matches!(decision, Decision::Reprieve { job, .. } if *job == task(1))
        }));
        world.run_until(u64::MAX, |_| {});
        assert_eq!((world.stops, world.starts()[&task(3)]), (0, 100_000));
    }
}

#[test]
fn what_no_node_can_take_sleeps_until_one_can() {
    for backfill in ALL {
        let mut world = World::new(config(backfill), [node(1, 1_000), node(2, 500)]);
        world.submit(
            vec![Job {
                gpus: 9,
                ..job(1, 600, 1_000)
            }],
            1_000,
        );
        world.submit(vec![job(2, 600, 1_000)], 1_000);
        let waits = Decision::Wait {
            job: task(1),
            obstacle: Obstacle::Node,
        };
        assert!(world.log.contains(&(0, waits)));
        let Some(Why::Node(PlacementError::Infeasible {
            removed_by,
            nearest,
            ..
        })) = world.queue.why(task(1))
        else {
            panic!("it has no node");
        };
        assert_eq!(removed_by[Constraint::Gpu as usize], 2);
        assert_eq!(removed_by[Constraint::Cpu as usize], 1);
        assert_eq!(nearest, node_id(1));
        // It holds up nobody and asks for no attention.
        world.run_until(u64::MAX, |_| {});
        assert!(world.done.contains(&task(2)));
        assert_eq!(world.queue.poll_timeout(), None);
        world.add(Node {
            gpus_free: 8,
            ..node(3, 1_000)
        });
        assert!(world.waits(task(1)));
        world
            .queue
            .update_node(Node {
                gpus_free: 9,
                ..node(3, 1_000)
            })
            .unwrap();
        world.nodes.insert(
            node_id(3),
            Node {
                gpus_free: 9,
                ..node(3, 1_000)
            },
        );
        world.settle();
        assert_eq!(world.queue.nodes_of(task(1)), [node_id(3)]);
        assert_eq!(world.queue.why(task(1)), None);
    }
}

#[test]
fn what_is_said_about_a_wait_is_what_is_waited_for() {
    let mut world = World::new(config(Backfill::None), [node(1, 1_000)]);
    world.submit(vec![job(1, 1_000, 5_000)], 1_000);
    world.submit(vec![job(2, 1_000, 5_000)], 1_000);
    world.submit(vec![job(3, 1_000, 5_000)], 1_000);
    let until = Some(ms(5_000));
    assert_eq!(world.queue.why(task(1)), None);
    assert_eq!(world.queue.why(task(2)), Some(Why::Capacity { until }));
    assert_eq!(world.queue.why(task(3)), Some(Why::Turn { ahead: 1 }));
    let gang = |id, cpu| Job {
        gang: Some("pair".to_owned()),
        ..job(id, cpu, 1_000)
    };
    world.submit(vec![gang(4, 100), gang(5, 2_000)], 1_000);
    assert_eq!(world.queue.why(task(4)), Some(Why::Gang { job: task(5) }));
    assert!(matches!(world.queue.why(task(5)), Some(Why::Node(_))));
    let packed = |id| Job {
        gang: Some("three".to_owned()),
        ..job(id, 600, 1_000)
    };
    world.submit(vec![packed(6), packed(7)], 1_000);
    world.run_until(u64::MAX, |_| {});
    assert_eq!(world.queue.why(task(6)), Some(Why::Together));
    world.add(node(2, 600));
    assert_eq!(world.queue.nodes_of(task(6)).len(), 1);
    assert_eq!(world.queue.nodes_of(task(7)).len(), 1);
}

#[test]
fn deadlines_are_kept_or_the_job_is_dropped() {
    for backfill in ALL {
        let mut world = World::new(config(backfill), [node(1, 1_000)]);
        let soon = |id, deadline_ms| Job {
            deadline_ms: Some(deadline_ms),
            ..job(id, 1_000, 10_000)
        };
        world.submit(vec![job(1, 1_000, 30_000)], 500);
        world.submit(vec![soon(2, 30_000)], 1_000);
        world.submit(vec![soon(3, 20_000)], 1_000);
        world.submit(vec![job(4, 1_000, 1_000)], 1_000);
        world.run_until(u64::MAX, |_| {});
        // The first took half its time, which let the second be in time.
        assert_eq!(world.starts().get(&task(2)), Some(&15_000), "{backfill:?}");
        assert_eq!(world.expired, BTreeSet::from([task(3)]));
        assert!(world.done.contains(&task(4)));
    }
}

#[test]
fn a_node_that_leaves_puts_its_jobs_back_first_and_the_others_stay() {
    for backfill in ALL {
        let mut world = World::new(config(backfill), [node(1, 1_000), node(2, 1_000)]);
        world.submit(vec![job(1, 1_000, 50_000), job(2, 1_000, 50_000)], 1_000);
        world.submit(vec![job(3, 1_000, 1_000)], 1_000);
        let (lost, kept) = (
            world.queue.nodes_of(task(1))[0],
            world.queue.nodes_of(task(2))[0],
        );
        world.run_until(5_000, |_| {});
        world.remove(lost);
        assert_eq!(world.queue.waiting().next(), Some(task(1)));
        assert_eq!(world.queue.nodes_of(task(2)), [kept]);
        assert_eq!(world.queue.times_preempted(task(1)), Some(0));
        world.run_until(u64::MAX, |_| {});
        let again: Vec<u64> = world
            .started
            .iter()
            .filter(|it| it.1 == task(1))
            .map(|it| it.0)
            .collect();
        assert_eq!(again, [0, 50_000]);
        assert_eq!(world.starts()[&task(3)], 100_000);
    }
}

#[test]
fn a_gang_that_loses_one_goes_back_whole() {
    for backfill in ALL {
        let mut world = World::new(config(backfill), [node(1, 1_000), node(2, 1_000)]);
        let gang = |id| Job {
            gang: Some("pair".to_owned()),
            ..job(id, 1_000, 50_000)
        };
        world.submit(vec![gang(1), gang(2)], 1_000);
        world.submit(vec![job(3, 500, 1_000)], 1_000);
        world.remove(node_id(1));
        assert!(world.waits(task(1)) && world.waits(task(2)));
        assert!(world.log.iter().any(|(_, decision)| {
            matches!(
                decision,
                Decision::Stop {
                    cause: Cause::Gang,
                    ..
                }
            )
        }));
        world.add(node(3, 1_000));
        world.run_until(u64::MAX, |_| {});
        assert!(world.queue.is_empty(), "{backfill:?}");
    }
}

#[test]
fn replicas_are_on_distinct_infrastructure_and_are_replaced_one_by_one() {
    let at = |id, zone: &str, operator: &str| Node {
        availability: Some(0.99),
        error_rate: Some(0.0),
        zone: zone.to_owned(),
        operator: operator.to_owned(),
        ..node(id, 1_000)
    };
    for backfill in ALL {
        let nodes = [
            at(1, "a", "x"),
            at(2, "a", "y"),
            at(3, "b", "x"),
            at(4, "c", "z"),
        ];
        let mut world = World::new(config(backfill), nodes);
        world.submit(
            vec![Job {
                tier: Tier::Gold,
                ..job(1, 1_000, 50_000)
            }],
            1_000,
        );
        // Node 1 is of no use: who takes it leaves no third.
        let on = |world: &World| world.queue.nodes_of(task(1)).into_iter().collect();
        assert_eq!(BTreeSet::from([2, 3, 4].map(node_id)), on(&world));
        world.remove(node_id(4));
        assert_eq!(world.queue.nodes_of(task(1)).len(), 2);
        assert!(world.waits(task(1)));
        world.add(at(5, "d", "w"));
        assert_eq!(BTreeSet::from([2, 3, 5].map(node_id)), on(&world));
        world.run_until(u64::MAX, |_| {});
        assert!(world.queue.is_empty());
    }
}

#[test]
fn moves_are_few_and_pay_for_themselves() {
    let rates = Rates {
        completion_ms: 0.001,
        node_use: 0.0,
        distrust: 0.0,
        cost: 0.0,
        price: 0.0,
    };
    let config = Config {
        rates,
        move_cost: 20.0,
        ..Config::default()
    };
    let mut world = World::new(config, [node(1, 1_000), node(2, 1_000)]);
    // 100, 30 and 90 seconds; on a node ten times as fast, 90, 27 and 81 less.
    world.submit(
        vec![
            job(1, 500, 100_000),
            job(2, 500, 30_000),
            job(3, 500, 90_000),
        ],
        1_000,
    );
    assert_eq!(world.queue.plan_moves(ms(0), 9), []);
    world.add(Node {
        speed: 10.0,
        ..node(3, 1_000)
    });
    let moves = world.queue.plan_moves(ms(0), 9);
    let jobs: Vec<TaskId> = moves.iter().map(|it| it.job).collect();
    assert_eq!(jobs, [task(1), task(3)], "there is room for two");
    assert!((moves[0].gain - 90.0).abs() < 1e-6 && (moves[1].gain - 81.0).abs() < 1e-6);
    assert_eq!(world.queue.plan_moves(ms(0), 1), moves[..1]);
    world.queue.move_job(&moves[0], ms(0)).unwrap();
    let (job, to) = (moves[0].job, moves[0].to);
    let stop = Decision::Stop {
        job,
        node: moves[0].from,
        cause: Cause::Moved,
    };
    assert_eq!(world.queue.poll(ms(0)), Some(stop));
    assert_eq!(
        world.queue.poll(ms(0)),
        Some(Decision::Start { job, node: to })
    );
    assert!(matches!(
        world.queue.move_job(&moves[0], ms(0)),
        Err(QueueError::NotRunning { .. })
    ));
    // A drained node is left whatever it costs.
    let mut world = World::new(config, [node(1, 1_000)]);
    world.submit(vec![self::job(1, 500, 10_000)], 1_000);
    world.drain(node_id(1));
    assert_eq!(world.queue.plan_moves(ms(0), 9), []);
    world.add(node(2, 1_000));
    assert_eq!(world.queue.plan_moves(ms(5_000), 9)[0].to, node_id(2));
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    for value in [-1.0, f64::NAN, f64::INFINITY] {
        let config = Config {
            move_cost: value,
            ..Config::default()
        };
        let refused = Queue::new(config).map(|_| ());
        assert!(matches!(
            refused,
            Err(QueueError::Number {
                field: "move_cost",
                ..
            })
        ));
    }
    let mut queue = Queue::new(Config {
        jobs_max: 2,
        ..Config::default()
    })
    .unwrap();
    let now = Instant::ZERO;
    let refused = |jobs: &[Job], queue: &mut Queue| queue.submit(jobs, now).unwrap_err();
    assert_eq!(refused(&[], &mut queue), PlacementError::NoJobs.into());
    let three = vec![job(1, 1, 1), job(2, 1, 1), job(3, 1, 1)];
    assert_eq!(
        refused(&three, &mut queue),
        QueueError::Full { jobs_max: 2 }
    );
    let alone = Job {
        anti_affinity: vec![task(1)],
        ..job(1, 1, 1)
    };
    assert!(matches!(
        refused(&[alone], &mut queue),
        QueueError::Placement(PlacementError::AffinityContradiction { .. })
    ));
    let spread = |id, most| Job {
        spread: Some(Spread {
            group: "web".to_owned(),
            over: Domain::Zone,
            most,
        }),
        ..job(id, 1, 1)
    };
    assert!(matches!(
        refused(&[spread(1, 0)], &mut queue),
        QueueError::Placement(PlacementError::SpreadOfNone { .. })
    ));
    assert!(matches!(
        refused(&[spread(1, 1), spread(2, 2)], &mut queue),
        QueueError::Placement(PlacementError::SpreadMismatch { .. })
    ));
    assert!(queue.is_empty());
    let gang = |id| Job {
        gang: Some("g".to_owned()),
        ..spread(id, 1)
    };
    queue.submit(&[gang(1)], now).unwrap();
    assert_eq!(
        refused(&[job(1, 1, 1)], &mut queue),
        QueueError::JobKnown { job: task(1) }
    );
    assert_eq!(
        refused(&[gang(2)], &mut queue),
        QueueError::GangKnown {
            gang: "g".to_owned(),
            job: task(2)
        }
    );
    assert!(matches!(
        refused(&[spread(2, 2)], &mut queue),
        QueueError::Placement(PlacementError::SpreadMismatch { .. })
    ));
    assert_eq!(
        queue.cancel(task(7), now),
        Err(QueueError::JobUnknown { job: task(7) })
    );
    let unknown = Err(QueueError::NodeUnknown { node: node_id(1) });
    assert_eq!(queue.finish(task(1), node_id(1), now), unknown);
    assert_eq!(queue.drain_node(node_id(1)), unknown);
    queue
        .add_node(Node {
            cpu_millis_free: 0,
            ..node(1, 1)
        })
        .unwrap();
    let twice = PlacementError::DuplicateNode { node: node_id(1) };
    assert_eq!(queue.add_node(node(1, 1)), Err(twice.into()));
    assert_eq!(
        queue.finish(task(1), node_id(1), now),
        Err(QueueError::NotRunning {
            job: task(1),
            node: node_id(1)
        })
    );
    // What is gone is forgotten: names are free again.
    queue.cancel(task(1), now).unwrap();
    queue.submit(&[gang(1), spread(2, 1)], now).unwrap();
}

#[test]
fn jobs_of_no_size_and_of_no_end_are_as_good_as_any() {
    for backfill in ALL {
        let mut world = World::new(preempting(backfill), [node(1, 1_000)]);
        world.submit(
            vec![
                Job::new(task(1), 0, 0, 0),
                Job::new(task(2), 1_000, 0, 1 << 46),
            ],
            1_000,
        );
        world.submit(vec![Job::new(task(3), 1_000, 0, 1 << 46)], 1_000);
        world.submit(vec![Job::new(task(4), 1_000, 0, u64::MAX)], 1_000);
        world.run_until(10, |_| {});
        assert!(world.done.contains(&task(1)));
        assert!(world.waits(task(3)) && matches!(world.queue.why(task(4)), Some(Why::Node(_))));
        let end = ms(1_000_000_000_000);
        while world.queue.poll(end).is_some() {}
        world.queue.finish(task(2), node_id(1), end).unwrap();
        assert_eq!(
            world.queue.poll(end),
            Some(Decision::Start {
                job: task(3),
                node: node_id(1)
            })
        );
    }
}

/// A job with something of everything.
fn any_job(id: u16, rng: &mut ChaCha8Rng) -> Job {
    let chance = |rng: &mut ChaCha8Rng, one_in| below(rng, one_in) == 0;
    let mut job = job(id, 100 * below(rng, 10), 1_000 * below(rng, 200));
    job.priority = [
        Priority::Critical,
        Priority::High,
        Priority::Normal,
        Priority::Low,
        Priority::Bulk,
    ][below(rng, 5) as usize];
    job.disk_bytes = below(rng, 300);
    job.gpus = below(rng, 3);
    job.bandwidth_bps = below(rng, 400_000);
    job.tier = [Tier::Bronze, Tier::Bronze, Tier::Silver, Tier::Gold][below(rng, 4) as usize];
    job.preemptible = chance(rng, 6);
    if chance(rng, 5) {
        job.replicas = Some(1 + below(rng, 2) as u8);
    }
    if chance(rng, 6) {
        job.deadline_ms = Some(job.duration_ms * 3 + 1_000);
    }
    if chance(rng, 5) && id > 0 {
        job.anti_affinity = vec![task(below(rng, u64::from(id)) as u16)];
    } else if chance(rng, 5) && id > 0 {
        job.affinity = vec![task(below(rng, u64::from(id)) as u16)];
    }
    if chance(rng, 5) {
        let (group, over) = ("web".to_owned(), Domain::Zone);
        job.spread = Some(Spread {
            group,
            over,
            most: 2,
        });
    }
    if chance(rng, 8) {
        job.excluded = vec![node_id(below(rng, 6) as u16)];
    }
    job
}

fn any_node(id: u16, rng: &mut ChaCha8Rng) -> Node {
    Node {
        availability: Some(0.999),
        error_rate: Some(0.0),
        operator: format!("operator {id}"),
        speed: [0.5, 1.0, 2.0][below(rng, 3) as usize],
        trust: below(rng, 10) as f64 / 10.0,
        price_per_cpu_second: below(rng, 9),
        ..node(id, 500 + 500 * below(rng, 4))
    }
}

/// Everything that can happen.
fn chaos(seed: u64, backfill: Backfill) -> World {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let config = Config {
        ageing: Duration::from_secs(below(rng, 100)),
        ..if below(rng, 3) == 0 {
            config(backfill)
        } else {
            preempting(backfill)
        }
    };
    let nodes: Vec<Node> = (0..5).map(|id| any_node(id, rng)).collect();
    let mut world = World::new(config, nodes);
    let (mut next_job, mut next_node) = (0, 5);
    for _ in 0..60 {
        match below(rng, 12) {
            0..=6 => {
                let count = 1 + below(rng, 3) as u16;
                let mut jobs: Vec<Job> = (next_job..next_job + count)
                    .map(|id| any_job(id, rng))
                    .collect();
                if below(rng, 4) == 0 {
                    for job in &mut jobs {
                        job.gang = Some(format!("gang {next_job}"));
                    }
                }
                next_job += count;
                let takes_permille = 200 + below(rng, 1_200);
                match world.queue.submit(&jobs, ms(world.now)) {
                    Ok(()) => world.submitted(jobs, takes_permille),
                    // A gang that could never be together.
                    Err(error) => assert!(jobs[0].gang.is_some(), "{error}"),
                }
            }
            7 if next_job > 0 => world.cancel(task(below(rng, u64::from(next_job)) as u16)),
            8 => {
                world.add(any_node(next_node, rng));
                next_node += 1;
            }
            9 => {
                let count = world.nodes.len() as u64;
                if count > 3 {
                    let at = below(rng, count) as usize;
                    let id = *world.nodes.keys().nth(at).unwrap();
                    world.remove(id);
                }
            }
            10 => {
                let at = below(rng, world.nodes.len() as u64) as usize;
                let id = *world.nodes.keys().nth(at).unwrap();
                world.drain(id);
            }
            _ => {
                for step in world.queue.plan_moves(ms(world.now), 2) {
                    world.queue.move_job(&step, ms(world.now)).unwrap();
                    world.moved.insert((step.job, step.from));
                }
                world.settle();
            }
        }
        world.run_until(world.now + below(rng, 60_000), |_| {});
    }
    world
}

/// Thousands of jobs on a busy cluster; users say that they take longer than they do.
#[test]
fn backfilling_lets_jobs_wait_less_and_nodes_idle_less() {
    let mut waits = Vec::new();
    let mut ends = Vec::new();
    for backfill in ALL {
        let rng = &mut ChaCha8Rng::seed_from_u64(7);
        let mut world = World::new(config(backfill), (0..8).map(|id| node(id, 8_000)));
        let mut work = 0;
        for id in 0..2_000 {
            let cores = 1 << below(rng, 4);
            let takes_ms = 1_000 << below(rng, 10);
            let takes_permille = 200 + below(rng, 800);
            let wanted = Job {
                memory_bytes: 0,
                ..job(id, cores * 1_000, takes_ms * 1_000 / takes_permille)
            };
            world.submit(vec![wanted], takes_permille);
            work += cores * takes_ms;
            // Nine tenths of what there is.
            world.run_until(work / 58, |_| {});
        }
        world.run_until(u64::MAX, |_| {});
        let starts = world.starts();
        assert_eq!(starts.len(), 2_000);
        let waited = starts
            .iter()
            .map(|(job, start)| start - world.submitted[job]);
        waits.push(waited.sum::<u64>());
        // The work is the same, so who is done sooner leaves less idle.
        ends.push(world.now);
    }
    let [none, easy, conservative] = waits[..] else {
        panic!("there are three");
    };
    assert!(easy * 2 < none && conservative * 2 < none, "{waits:?}");
    assert!(ends[1] <= ends[0] && ends[2] <= ends[0], "{ends:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The world checks every decision; and all happens the same way again.
    #[test]
    fn whatever_happens_the_rules_are_kept(seed: u64, kind in 0..ALL.len()) {
        let mut world = chaos(seed, ALL[kind]);
        prop_assert_eq!(&chaos(seed, ALL[kind]).log, &world.log);
        // Once there is a node for everything, everything is done.
        for id in 1_000..1_010 {
            world.add(Node {
                cpu_millis_free: 10_000,
                cpu_millis_total: 10_000,
                memory_bytes_free: 100_000,
                disk_bytes_free: 100_000,
                gpus_free: 100,
                bandwidth_bps_free: 100_000_000,
                zone: format!("zone {id}"),
                ..any_node(id, &mut ChaCha8Rng::seed_from_u64(0))
            });
        }
        world.run_until(u64::MAX, |_| {});
        let left: Vec<_> = world.queue.waiting().map(|job| (job, world.queue.why(job))).collect();
        prop_assert!(world.queue.is_empty(), "{left:?}");
    }

    /// Of jobs that do not take longer than they said, none starts after what it was once promised.
    #[test]
    fn reservations_are_kept(seed: u64, conservative: bool) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let backfill = if conservative { Backfill::Conservative } else { Backfill::Easy };
        let nodes = [node(1, 1_000), node(2, 1_500), node(3, 700)];
        let mut world = World::new(config(backfill), nodes);
        let mut promised: BTreeMap<TaskId, Instant> = BTreeMap::new();
        let mut check = |world: &World| {
            let count = if conservative { usize::MAX } else { 1 };
            for job in world.queue.waiting().take(count) {
                let at = world.queue.reservations(job)[0].at;
                let before = promised.insert(job, at).unwrap_or(at);
                assert!(at <= before, "{job} was delayed from {before:?} to {at:?}");
            }
        };
        for id in 0..80 {
            let mut wanted = job(id, 100 + 100 * below(rng, 7), 1_000 * (1 + below(rng, 100)));
            wanted.memory_bytes = below(rng, 600);
            world.submit(vec![wanted], 100 + below(rng, 901));
            check(&world);
            world.run_until(world.now + below(rng, 20_000), &mut check);
        }
        world.run_until(u64::MAX, &mut check);
        let starts = world.starts();
        prop_assert_eq!(starts.len(), 80);
        for (job, at) in promised {
            prop_assert!(ms(starts[&job]) <= at);
        }
    }

    /// First come, first served is in the order of coming. No other leaves idle what a waiting job
    /// could use without being in the way of a reservation.
    #[test]
    fn no_room_is_left_that_could_be_used(seed: u64, kind in 0..ALL.len()) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let backfill = ALL[kind];
        let mut world = World::new(config(backfill), [node(1, 1_000), node(2, 1_500), node(3, 700)]);
        let check = |world: &World| {
            let waiting: Vec<TaskId> = world.queue.waiting().collect();
            let reserved = waiting.iter().flat_map(|&job| {
                world.queue.reservations(job).into_iter().map(move |kept| (job, kept))
            });
            let reserved: Vec<(TaskId, Reservation)> = reserved.collect();
            let count = if backfill == Backfill::None { 1 } else { usize::MAX };
            for job in waiting.iter().take(count).map(|job| &world.jobs[job]) {
                for node in world.nodes.values() {
                    let others = reserved.iter().filter(|(other, kept)| {
                        *other != job.id && kept.node == node.id
                    });
                    let spans = world.running.iter().filter(|((_, there), _)| *there == node.id);
                    let spans = spans.map(|((other, _), &start)| (*other, ms(start)));
                    let spans: Vec<_> = spans.chain(others.map(|(other, it)| (*other, it.at))).collect();
                    let used = |at: Instant| -> u64 {
                        let then = spans.iter().filter(|(other, start)| {
                            let length = Duration::from_millis(world.jobs[other].duration_ms);
                            *start <= at && at < *start + length
                        });
                        then.map(|(other, _)| world.jobs[other].cpu_millis).sum()
                    };
                    let now = ms(world.now);
                    let end = now + Duration::from_millis(job.duration_ms);
                    let mut times = spans.iter().map(|&(_, start)| start.max(now));
                    let fits = |at| used(at) + job.cpu_millis <= node.cpu_millis_free;
                    let has_room = fits(now) && times.all(|at| at >= end || fits(at));
                    assert!(!has_room, "{} could start on {}", job.id, node.id);
                }
            }
        };
        for id in 0..80 {
            let wanted = Job {
                memory_bytes: 0,
                ..job(id, 100 + 100 * below(rng, 7), 1_000 * (1 + below(rng, 100)))
            };
            world.submit(vec![wanted], 100 + below(rng, 901));
            check(&world);
            world.run_until(world.now + below(rng, 20_000), |world| check(world));
        }
        world.run_until(u64::MAX, |world| check(world));
        if backfill == Backfill::None {
            let order: Vec<TaskId> = world.started.iter().map(|it| it.1).collect();
            prop_assert!(order.is_sorted());
        }
    }
}
