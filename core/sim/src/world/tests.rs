use super::*;
use crate::{CrashPoint, DiskError, WALL_AT_START};
use fogcompute_base::{Rng, UnixMillis};
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);

/// A message: a number, answered by the next one until [`LAST`].
#[derive(Clone, Debug, Eq, PartialEq)]
struct Number(u64);

impl Message for Number {
    fn bytes(&self) -> u64 {
        8
    }

    fn fold(&self, fingerprint: &mut Fingerprint) {
        fingerprint.u64(self.0);
    }
}

const LAST: u64 = 40;

/// Keeps the highest number it saw, answers each with the next, and says something every so often.
struct Counter {
    begun_with: u64,
    seen: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Setup {
    /// Whom it sends the first number.
    peer: Option<ProcessId>,
    period: Option<Duration>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Fact {
    Woken(Instant, UnixMillis),
    HungUp(ProcessId),
    Refused(DiskError),
    /// Told after the commit of a number.
    Kept(u64),
}

impl Process for Counter {
    type Message = Number;
    type Setup = Setup;
    type Storage = u64;
    type Fact = Fact;

    fn boot(setup: &Setup, context: &mut Context<'_, Self>) -> Self {
        if let Some(peer) = setup.peer {
            context.send(peer, Number(*context.kept()));
        }
        if let Some(period) = setup.period {
            context.wake_at(context.now() + period);
        }
        Self {
            begun_with: *context.kept(),
            seen: Vec::new(),
        }
    }

    fn receive(
        &mut self,
        from: ProcessId,
        Number(number): Number,
        context: &mut Context<'_, Self>,
    ) {
        self.seen.push(number);
        if let Err(error) = context.commit(|kept| *kept = number.max(*kept)) {
            context.tell(Fact::Refused(error));
            return;
        }
        context.tell(Fact::Kept(number));
        // Something of its own stream, so that a changed stream changes the run.
        let odd = context.rng().next_u64() % 2;
        if number < LAST {
            context.send(from, Number(number + 1 + odd));
        }
    }

    fn wake(&mut self, context: &mut Context<'_, Self>) {
        context.tell(Fact::Woken(context.now(), context.wall()));
    }

    fn hung_up(&mut self, peer: ProcessId, context: &mut Context<'_, Self>) {
        context.tell(Fact::HungUp(peer));
    }
}

/// Everything an observer is told.
#[derive(Debug, Default)]
struct Record {
    facts: Vec<(Instant, ProcessId, Fact)>,
    sent: u64,
    received: u64,
    boots: u64,
    crashes: Vec<(Instant, ProcessId)>,
}

impl Record {
    fn facts_of(&self, id: ProcessId) -> Vec<Fact> {
        let facts = self.facts.iter().filter(|(_, from, _)| *from == id);
        facts.map(|(.., fact)| fact.clone()).collect()
    }
}

impl Observer<Counter> for Record {
    fn sent(&mut self, _: Instant, _: ProcessId, _: ProcessId, _: &Number) {
        self.sent += 1;
    }

    fn receives(&mut self, _: Instant, _: ProcessId, _: ProcessId, _: &Number) {
        self.received += 1;
    }

    fn told(&mut self, now: Instant, process: ProcessId, fact: Fact) {
        self.facts.push((now, process, fact));
    }

    fn booted(&mut self, _: Instant, _: ProcessId) {
        self.boots += 1;
    }

    fn crashed(&mut self, now: Instant, process: ProcessId) {
        self.crashes.push((now, process));
    }
}

const QUIET: Setup = Setup {
    peer: None,
    period: None,
};
const A: ProcessId = ProcessId(0);
const B: ProcessId = ProcessId(1);

fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}

/// Two that count to [`LAST`], over a link of 5 ms.
fn pair(seed: u64, link: LinkConfig) -> World<Counter> {
    let mut world = World::new(seed, link);
    assert_eq!(world.add(QUIET, ClockConfig::default(), Duration::ZERO), A);
    let asks = Setup {
        peer: Some(A),
        period: None,
    };
    assert_eq!(world.add(asks, ClockConfig::default(), MS), B);
    world
}

fn perfect_pair() -> World<Counter> {
    pair(1, LinkConfig::perfect(5 * MS))
}

const BAD: LinkConfig = LinkConfig {
    latency_mean: Duration::from_millis(20),
    loss_ppm: 20_000,
    duplicate_ppm: 50_000,
    reorder_ppm: 50_000,
    ..LinkConfig::perfect(Duration::from_millis(1))
};

fn crash(process: ProcessId, down: Option<Duration>) -> Fault {
    Fault::Crash {
        process,
        silent: false,
        down,
    }
}

fn faults() -> Vec<(Duration, Fault)> {
    vec![
        (30 * MS, crash(A, Some(50 * MS))),
        (
            200 * MS,
            Fault::Partition {
                members: vec![B],
                cut: Cut::Out,
                lasts: 20 * MS,
            },
        ),
        (
            250 * MS,
            Fault::ClockJump {
                process: A,
                by_ms: 3_600_000,
            },
        ),
    ]
}

fn run(seed: u64, trace: usize) -> (Digest, Counts, String) {
    let mut world = pair(seed, BAD).with_trace(trace);
    for (delay, fault) in faults() {
        world.inject(delay, fault);
    }
    // They may have stopped talking when a message was lost.
    for number in 1..10 {
        world.inject(100 * number * MS, crash(B, Some(MS)));
    }
    world.run_until(at(2_000), &mut ());
    (
        world.fingerprint(),
        world.counts(),
        world.trace().to_string(),
    )
}

#[test]
fn one_seed_gives_one_run_and_another_seed_another() {
    let first = run(7, 100_000);
    assert_eq!(first, run(7, 100_000));
    assert!(first.1.lost > 0 && first.1.duplicated > 0, "{:?}", first.1);
    assert!(first.2.contains("p0 begins, time 2"), "{}", first.2);
    assert_ne!(first.0, run(8, 0).0);
    // Looking on changes nothing.
    assert_eq!(first.0, run(7, 0).0);
}

#[test]
fn numbers_go_to_and_fro_in_time() {
    let mut world = perfect_pair();
    let mut record = Record::default();
    world.run_until(at(1_000), &mut record);
    let a = world.process(A).unwrap();
    assert_eq!(a.seen[0], 0);
    let highest = a.seen.iter().chain(&world.process(B).unwrap().seen).max();
    assert!(highest >= Some(&LAST));
    assert_eq!(record.sent, record.received);
    // Sent at 1 ms, under way for 5.
    assert_eq!(record.facts[0], (at(6), A, Fact::Kept(0)));
    assert_eq!(record.facts[1].0, at(11));
    assert_eq!(world.now(), at(1_000));
    assert_eq!(world.next_at(), None);
}

#[test]
fn a_process_that_dies_begins_again_with_what_it_kept() {
    let mut world = perfect_pair();
    world.inject(30 * MS, crash(A, Some(10 * MS)));
    let mut record = Record::default();
    world.run_until(at(1_000), &mut record);
    let kept = *world.disk(A).unwrap().kept();
    assert!(kept > 0);
    assert_eq!(world.process(A).unwrap().begun_with, kept);
    assert_eq!((world.boots(A), world.boots(B)), (2, 1));
    assert_eq!(record.crashes, [(at(30), A)]);
    assert_eq!(record.boots, 3);
    // Whom it talked to saw the connection close; what was under way to it found nobody.
    assert!(record.facts.contains(&(at(35), B, Fact::HungUp(A))));
    assert!(world.counts().unheard <= 1);
}

#[test]
fn a_silent_death_tells_nobody_and_the_dead_stay_dead_without_a_time() {
    let mut world = perfect_pair();
    let fault = Fault::Crash {
        process: A,
        silent: true,
        down: None,
    };
    world.inject(30 * MS, fault.clone());
    // Twice dead is dead.
    world.inject(31 * MS, fault);
    let mut record = Record::default();
    world.run_until(at(10_000), &mut record);
    assert!(world.process(A).is_none());
    assert_eq!(record.crashes.len(), 1);
    assert!(!record.facts_of(B).contains(&Fact::HungUp(A)));
}

#[test]
fn what_comes_after_a_crash_in_a_commit_never_happened() {
    for point in CrashPoint::ALL {
        let mut world = perfect_pair();
        let fault = Fault::CrashInCommit {
            process: A,
            commits: 1,
            point,
            silent: false,
            down: Some(10 * MS),
        };
        world.inject(Duration::ZERO, fault);
        let mut record = Record::default();
        world.run_until(at(1_000), &mut record);
        assert_eq!(world.counts().crashes_in_commits, 1);
        // The first number was kept and answered. Of the second it told nothing and answered
        // nothing, and whether it is kept is a matter of where it died.
        assert_eq!(record.facts_of(A), [Fact::Kept(0)]);
        assert_eq!(record.sent, 3);
        let kept = *world.disk(A).unwrap().kept();
        assert_eq!(kept > 0, point == CrashPoint::After, "{kept}");
        assert_eq!(world.process(A).unwrap().begun_with, kept);
    }
}

#[test]
fn a_full_disk_is_told_and_has_room_again() {
    let mut world = perfect_pair();
    for lasts in [5 * MS, 10 * MS] {
        world.inject(Duration::ZERO, Fault::DiskFull { process: A, lasts });
    }
    // B begins again, and so sends again, when there is room.
    world.inject(20 * MS, crash(B, Some(MS)));
    let mut record = Record::default();
    world.run_until(at(1_000), &mut record);
    let facts = record.facts_of(A);
    assert_eq!(facts[0], Fact::Refused(DiskError::Full));
    assert_eq!(facts[1], Fact::HungUp(B));
    assert_eq!(facts[2], Fact::Kept(0));
}

#[test]
fn a_partition_cuts_the_way_it_says_until_it_heals() {
    for (cut, heard) in [
        (Cut::Both, [false, false]),
        (Cut::Out, [true, false]),
        (Cut::In, [false, true]),
    ] {
        let mut world = pair(1, LinkConfig::perfect(5 * MS));
        let third = world.add(
            Setup {
                peer: Some(A),
                period: None,
            },
            ClockConfig::default(),
            40 * MS,
        );
        world.inject(
            Duration::ZERO,
            Fault::Partition {
                members: vec![A],
                cut,
                lasts: 50 * MS,
            },
        );
        let mut record = Record::default();
        world.run_until(at(48), &mut record);
        // Into the part, and out of it.
        let a_hears = !world.process(A).unwrap().seen.is_empty();
        assert_eq!(a_hears, heard[0], "{cut:?}");
        let answered = !world.process(B).unwrap().seen.is_empty();
        assert_eq!(answered, heard[0] && heard[1]);
        assert!(world.counts().cut > 0);
        world.inject(Duration::from_millis(10), crash(third, Some(MS)));
        world.run_until(at(1_000), &mut record);
        assert!(
            !world.process(third).unwrap().seen.is_empty(),
            "{cut:?}: it has healed"
        );
    }
}

#[test]
fn members_of_a_part_hear_each_other() {
    let mut world = perfect_pair();
    world.inject(
        Duration::ZERO,
        Fault::Partition {
            members: vec![A, B],
            cut: Cut::Both,
            lasts: 500 * MS,
        },
    );
    world.run_until(at(400), &mut ());
    assert_eq!(world.counts().cut, 0);
    assert!(world.process(A).unwrap().seen.len() > 10);
}

#[test]
fn more_partitions_than_there_are_bits_are_refused() {
    let mut partitions = Partitions {
        bits: vec![0; 2],
        ..Partitions::default()
    };
    for number in 0..PARTITIONS_MAX {
        assert_eq!(
            partitions.begin(&[A], Cut::Both),
            u32::try_from(number).ok()
        );
    }
    assert_eq!(partitions.begin(&[A], Cut::Both), None);
    assert!(!partitions.lets_through(A, B));
    for number in 0..63 {
        partitions.heal(number);
        assert!(!partitions.lets_through(A, B), "one is left");
    }
    partitions.heal(63);
    assert!(partitions.lets_through(A, B));
    assert_eq!(partitions.begin(&[A], Cut::In), Some(0));
    assert!(partitions.lets_through(A, B) && !partitions.lets_through(B, A));
}

#[test]
fn timers_follow_the_clock_of_their_process() {
    let mut world = World::<Counter>::new(1, LinkConfig::perfect(MS));
    let periodic = Setup {
        peer: None,
        period: Some(1_000 * MS),
    };
    let slow = ClockConfig {
        drift_ppm: -100_000,
        wall_offset_ms: -60_000,
    };
    let id = world.add(periodic, slow, 90 * MS);
    world.inject(
        500 * MS,
        Fault::ClockJump {
            process: id,
            by_ms: 3_600_000,
        },
    );
    let mut record = Record::default();
    world.run_until(at(10_000), &mut record);
    let (at_true, _, fact) = &record.facts[0];
    // A second of a clock that is a tenth slow takes 1.111 s. An hour that jumps is none for it.
    assert_eq!(at_true.as_nanos(), 90_000_000 + 1_111_111_112);
    let Fact::Woken(local, wall) = fact else {
        panic!("{fact:?}")
    };
    assert_eq!(local.as_nanos() / 1_000, 1_000_000);
    let since_start = i64::try_from(wall.0).unwrap() - i64::try_from(WALL_AT_START.0).unwrap();
    assert_eq!(since_start, 1_081 - 60_000 + 3_600_000);
    assert_eq!(record.facts.len(), 1, "it is called once");
}

proptest! {
    /// Nothing is heard that was not sent, and everything that was sent is accounted for.
    #[test]
    fn messages_are_accounted_for(seed: u64, crashes in prop::collection::vec((0..2_u32, 0..1_000_u64), 0..10)) {
        let mut world = pair(seed, BAD);
        for (process, ms) in crashes {
            world.inject(Duration::from_millis(ms), crash(ProcessId(process), Some(7 * MS)));
        }
        let mut record = Record::default();
        world.run_until(at(60_000), &mut record);
        let counts = world.counts();
        prop_assert_eq!(world.next_at(), None);
        prop_assert_eq!((counts.sent, counts.received), (record.sent, record.received));
        prop_assert_eq!(counts.sent + counts.duplicated, counts.received + counts.lost + counts.unheard);
    }
}
