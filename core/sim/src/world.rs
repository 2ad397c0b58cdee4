//! Time, processes, and the ways between them.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::fmt;
use std::time::Duration;

use fogcompute_base::{Digest, Instant};

use crate::chance::{Chance, chance};
use crate::clock::{ClockConfig, ProcessClock};
use crate::disk::Disk;
use crate::fault::{Cut, Fault};
use crate::fingerprint::Fingerprint;
use crate::link::{Link, LinkConfig};
use crate::process::{Context, Message, Output, Process, ProcessId};
use crate::trace::Trace;

/// Most partitions at once; more are refused until one heals.
pub const PARTITIONS_MAX: usize = 64;

/// Who looks at a world from outside, to check it. It is told everything in the order it happens,
/// and changes nothing.
pub trait Observer<P: Process> {
    /// A message was put on its way.
    fn sent(&mut self, now: Instant, from: ProcessId, to: ProcessId, message: &P::Message);

    /// A message is about to be received.
    fn receives(&mut self, now: Instant, from: ProcessId, to: ProcessId, message: &P::Message);

    /// A process told something.
    fn told(&mut self, now: Instant, process: ProcessId, fact: P::Fact);

    /// A process begins, for the first time or again.
    fn booted(&mut self, now: Instant, process: ProcessId);

    /// A process has died.
    fn crashed(&mut self, now: Instant, process: ProcessId);
}

/// Looks away.
impl<P: Process> Observer<P> for () {
    fn sent(&mut self, _: Instant, _: ProcessId, _: ProcessId, _: &P::Message) {}
    fn receives(&mut self, _: Instant, _: ProcessId, _: ProcessId, _: &P::Message) {}
    fn told(&mut self, _: Instant, _: ProcessId, _: P::Fact) {}
    fn booted(&mut self, _: Instant, _: ProcessId) {}
    fn crashed(&mut self, _: Instant, _: ProcessId) {}
}

/// What has happened in a world so far, in numbers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Events of any kind.
    pub events: u64,
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that were received, duplicates included.
    pub received: u64,
    /// Messages that links lost.
    pub lost: u64,
    /// Second copies that links made.
    pub duplicated: u64,
    /// Messages that a partition stopped.
    pub cut: u64,
    /// Messages whose receiver was down.
    pub unheard: u64,
    /// Processes that died.
    pub crashes: u64,
    /// Of those, in a commit.
    pub crashes_in_commits: u64,
    /// Commits of all disks.
    pub commits: u64,
}

/// Processes, links, disks and clocks, moved by one seed.
///
/// The same seed, setups and faults give the same run to the last bit, on every machine:
/// [`World::fingerprint`] is how that is known.
pub struct World<P: Process> {
    seed: u64,
    now: Instant,
    queue: BinaryHeap<Reverse<Queued<P::Message>>>,
    /// Number of the next event: those of one moment happen in the order they were made.
    sequence: u64,
    slots: Vec<Slot<P>>,
    links: BTreeMap<(ProcessId, ProcessId), Link>,
    link_config: LinkConfig,
    partitions: Partitions,
    /// What links draw from.
    rng: Chance,
    fingerprint: Fingerprint,
    trace: Trace,
    counts: Counts,
    outputs: Vec<Output<P::Message, P::Fact>>,
}

impl<P: Process> fmt::Debug for World<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.seed)
            .field("now", &self.now)
            .field("processes", &self.slots.len())
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

struct Slot<P: Process> {
    setup: P::Setup,
    /// `None` while it is down.
    process: Option<P>,
    disk: Disk<P::Storage>,
    clock: ProcessClock,
    rng: Chance,
    boots: u64,
    /// The time it asked to be woken at.
    wake: Option<Instant>,
    /// Whom it has exchanged messages with since it began: they see its connection close.
    peers: BTreeSet<ProcessId>,
    /// How it goes on after a crash in a commit: silently, and when it begins again.
    after_crash: (bool, Option<Duration>),
    /// How many faults fill its disk just now.
    full: u32,
}

struct Queued<M> {
    at: Instant,
    sequence: u64,
    event: Event<M>,
}

enum Event<M> {
    Boot(ProcessId),
    Deliver {
        from: ProcessId,
        to: ProcessId,
        message: M,
    },
    Wake(ProcessId),
    HangUp {
        from: ProcessId,
        to: ProcessId,
    },
    Fault(Fault),
    Heal(u32),
    DiskFree(ProcessId),
}

impl<M> Queued<M> {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.sequence)
    }
}

impl<M> PartialEq for Queued<M> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<M> Eq for Queued<M> {}

impl<M> PartialOrd for Queued<M> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<M> Ord for Queued<M> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Who is cut off from whom. A partition is a bit that its members have set.
#[derive(Debug, Default)]
struct Partitions {
    bits: Vec<u64>,
    /// Partitions that are there, by the way in which they cut.
    in_use: u64,
    out: u64,
    into: u64,
}

impl Partitions {
    fn lets_through(&self, from: ProcessId, to: ProcessId) -> bool {
        let (from, to) = (self.bits[from.0 as usize], self.bits[to.0 as usize]);
        from & !to & self.out == 0 && to & !from & self.into == 0
    }

    fn begin(&mut self, members: &[ProcessId], cut: Cut) -> Option<u32> {
        let number = (!self.in_use).trailing_zeros();
        if number as usize == PARTITIONS_MAX {
            return None;
        }
        let bit = 1 << number;
        self.in_use |= bit;
        if cut != Cut::In {
            self.out |= bit;
        }
        if cut != Cut::Out {
            self.into |= bit;
        }
        for member in members {
            if let Some(bits) = self.bits.get_mut(member.0 as usize) {
                *bits |= bit;
            }
        }
        Some(number)
    }

    fn heal(&mut self, number: u32) {
        let bit = 1 << number;
        self.in_use &= !bit;
        self.out &= !bit;
        self.into &= !bit;
        self.bits.iter_mut().for_each(|bits| *bits &= !bit);
    }
}

impl<P: Process> World<P> {
    /// An empty world whose links are all like this one.
    #[must_use]
    pub fn new(seed: u64, link: LinkConfig) -> Self {
        let mut fingerprint = Fingerprint::default();
        fingerprint.u64(seed);
        Self {
            seed,
            now: Instant::ZERO,
            queue: BinaryHeap::new(),
            sequence: 0,
            slots: Vec::new(),
            links: BTreeMap::new(),
            link_config: link,
            partitions: Partitions::default(),
            rng: chance(seed, "links", 0),
            fingerprint,
            trace: Trace::default(),
            counts: Counts::default(),
            outputs: Vec::new(),
        }
    }

    /// Keeps the last `lines_max` events as text.
    #[must_use]
    pub fn with_trace(mut self, lines_max: usize) -> Self {
        self.trace = Trace::new(lines_max);
        self
    }

    /// Adds a process that begins after `delay`.
    pub fn add(&mut self, setup: P::Setup, clock: ClockConfig, delay: Duration) -> ProcessId {
        let id = ProcessId(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.slots.push(Slot {
            setup,
            process: None,
            disk: Disk::default(),
            clock: ProcessClock::new(clock),
            rng: chance(self.seed, "process", u64::from(id.0) << 32),
            boots: 0,
            wake: None,
            peers: BTreeSet::new(),
            after_crash: (false, None),
            full: 0,
        });
        self.partitions.bits.push(0);
        self.schedule(self.now + delay, Event::Boot(id));
        id
    }

    /// Sets what the link from one process to another is like, from now on.
    pub fn set_link(&mut self, from: ProcessId, to: ProcessId, config: LinkConfig) {
        let link = self.links.entry((from, to));
        link.or_insert_with(|| Link::new(config)).set_config(config);
    }

    /// Lets something go wrong after `delay`.
    pub fn inject(&mut self, delay: Duration, fault: Fault) {
        self.schedule(self.now + delay, Event::Fault(fault));
    }

    /// True time since the beginning.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// When the next event is due.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse(queued)| queued.at)
    }

    /// What has happened so far, in numbers.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let commits = self.slots.iter().map(|slot| slot.disk.commits()).sum();
        Counts {
            commits,
            ..self.counts
        }
    }

    /// All that has happened so far, as one digest.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint.digest()
    }

    /// The last events as text, if they are kept.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// A process, unless it is down or never was.
    #[must_use]
    pub fn process(&self, id: ProcessId) -> Option<&P> {
        self.slots.get(id.0 as usize)?.process.as_ref()
    }

    /// The disk of a process, which is there while it is down.
    #[must_use]
    pub fn disk(&self, id: ProcessId) -> Option<&Disk<P::Storage>> {
        self.slots.get(id.0 as usize).map(|slot| &slot.disk)
    }

    /// How often a process has begun.
    #[must_use]
    pub fn boots(&self, id: ProcessId) -> u64 {
        self.slots.get(id.0 as usize).map_or(0, |slot| slot.boots)
    }

    /// Every process, down or not.
    pub fn processes(&self) -> impl ExactSizeIterator<Item = ProcessId> + use<P> {
        (0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX)).map(ProcessId)
    }

    /// Lets the next event happen. `false` if there is none.
    pub fn step(&mut self, observer: &mut impl Observer<P>) -> bool {
        let Some(Reverse(Queued { at, event, .. })) = self.queue.pop() else {
            return false;
        };
        self.now = at;
        self.counts.events += 1;
        self.fingerprint.u64(at.as_nanos());
        match event {
            Event::Boot(id) => self.boot(id, observer),
            Event::Deliver { from, to, message } => self.deliver(from, to, message, observer),
            Event::Wake(id) => self.wake(id, observer),
            Event::HangUp { from, to } => self.notice(from, to, observer),
            Event::Fault(fault) => self.fail(fault, observer),
            Event::Heal(number) => {
                self.note(5, &[number.into()]);
                self.trace
                    .write(at, format_args!("partition {number} heals"));
                self.partitions.heal(number);
            }
            Event::DiskFree(id) => {
                self.note(6, &[id.0.into()]);
                self.trace
                    .write(at, format_args!("{id} has room on its disk"));
                let slot = &mut self.slots[id.0 as usize];
                slot.full -= 1;
                slot.disk.set_full(slot.full > 0);
            }
        }
        true
    }

    /// Lets everything happen that is due until `end`, which becomes the present.
    pub fn run_until(&mut self, end: Instant, observer: &mut impl Observer<P>) {
        while self.next_at().is_some_and(|at| at <= end) {
            self.step(observer);
        }
        self.now = self.now.max(end);
    }

    fn schedule(&mut self, at: Instant, event: Event<P::Message>) {
        let sequence = self.sequence;
        self.sequence += 1;
        self.queue.push(Reverse(Queued {
            at,
            sequence,
            event,
        }));
    }

    /// Adds an event to the fingerprint.
    fn note(&mut self, kind: u64, numbers: &[u64]) {
        self.fingerprint.u64(kind);
        numbers
            .iter()
            .for_each(|&number| self.fingerprint.u64(number));
    }

    fn boot(&mut self, id: ProcessId, observer: &mut impl Observer<P>) {
        let slot = &mut self.slots[id.0 as usize];
        if slot.process.is_some() {
            return;
        }
        slot.boots += 1;
        let boots = slot.boots;
        slot.disk.boot();
        slot.clock.boot(self.now);
        // Another stream for each life: a process that begins again is not where it was.
        slot.rng = chance(self.seed, "process", (u64::from(id.0) << 32) | boots);
        self.note(0, &[id.0.into(), boots]);
        self.trace
            .write(self.now, format_args!("{id} begins, time {boots}"));
        observer.booted(self.now, id);
        self.call(id, observer, |process, setup, context| {
            *process = Some(P::boot(setup, context));
        });
    }

    fn deliver(
        &mut self,
        from: ProcessId,
        to: ProcessId,
        message: P::Message,
        observer: &mut impl Observer<P>,
    ) {
        if !self.partitions.lets_through(from, to) {
            self.counts.cut += 1;
            self.note(1, &[from.0.into(), to.0.into()]);
            self.trace.write(
                self.now,
                format_args!("{from} to {to}: cut off: {message:?}"),
            );
            return;
        }
        if self.slots[to.0 as usize].process.is_none() {
            self.counts.unheard += 1;
            self.note(2, &[from.0.into(), to.0.into()]);
            self.trace.write(
                self.now,
                format_args!("{from} to {to}: is down: {message:?}"),
            );
            return;
        }
        self.counts.received += 1;
        self.note(3, &[from.0.into(), to.0.into()]);
        message.fold(&mut self.fingerprint);
        self.trace
            .write(self.now, format_args!("{from} to {to}: {message:?}"));
        self.slots[to.0 as usize].peers.insert(from);
        observer.receives(self.now, from, to, &message);
        self.call(to, observer, |process, _, context| {
            if let Some(process) = process {
                process.receive(from, message, context);
            }
        });
    }

    fn wake(&mut self, id: ProcessId, observer: &mut impl Observer<P>) {
        let slot = &mut self.slots[id.0 as usize];
        // It has asked for another time since, or began again.
        if slot.wake != Some(self.now) || slot.process.is_none() {
            return;
        }
        slot.wake = None;
        self.note(4, &[id.0.into()]);
        self.call(id, observer, |process, _, context| {
            if let Some(process) = process {
                process.wake(context);
            }
        });
    }

    /// The end of a connection is seen at its other side.
    fn notice(&mut self, from: ProcessId, to: ProcessId, observer: &mut impl Observer<P>) {
        let seen =
            self.partitions.lets_through(from, to) && self.slots[to.0 as usize].process.is_some();
        self.note(7, &[from.0.into(), to.0.into(), seen.into()]);
        if !seen {
            return;
        }
        self.trace.write(
            self.now,
            format_args!("{to} sees the connection of {from} close"),
        );
        self.slots[to.0 as usize].peers.remove(&from);
        self.call(to, observer, |process, _, context| {
            if let Some(process) = process {
                process.hung_up(from, context);
            }
        });
    }

    fn fail(&mut self, fault: Fault, observer: &mut impl Observer<P>) {
        self.note(8, &[]);
        self.trace.write(self.now, format_args!("fault: {fault:?}"));
        match fault {
            Fault::Crash {
                process,
                silent,
                down,
            } => self.crash(process, silent, down, observer),
            Fault::CrashInCommit {
                process,
                commits,
                point,
                silent,
                down,
            } => {
                let slot = &mut self.slots[process.0 as usize];
                slot.disk.arm(commits, point);
                slot.after_crash = (silent, down);
            }
            Fault::Partition {
                members,
                cut,
                lasts,
            } => {
                if let Some(number) = self.partitions.begin(&members, cut) {
                    self.schedule(self.now + lasts, Event::Heal(number));
                }
            }
            Fault::ClockJump { process, by_ms } => {
                self.slots[process.0 as usize].clock.jump(by_ms);
            }
            Fault::DoubtfulCommits { process, commits } => {
                self.slots[process.0 as usize].disk.doubt(commits);
            }
            Fault::DiskFull { process, lasts } => {
                let slot = &mut self.slots[process.0 as usize];
                slot.full += 1;
                slot.disk.set_full(true);
                self.schedule(self.now + lasts, Event::DiskFree(process));
            }
        }
    }

    fn crash(
        &mut self,
        id: ProcessId,
        silent: bool,
        down: Option<Duration>,
        observer: &mut impl Observer<P>,
    ) {
        let slot = &mut self.slots[id.0 as usize];
        if slot.process.take().is_none() {
            return;
        }
        slot.wake = None;
        let peers = std::mem::take(&mut slot.peers);
        self.counts.crashes += 1;
        self.note(9, &[id.0.into()]);
        self.trace.write(self.now, format_args!("{id} dies"));
        observer.crashed(self.now, id);
        if !silent {
            let now = self.now;
            for peer in peers {
                let at = self.link(id, peer).hang_up(now);
                self.schedule(at, Event::HangUp { from: id, to: peer });
            }
        }
        if let Some(down) = down {
            self.schedule(self.now + down, Event::Boot(id));
        }
    }

    fn link(&mut self, from: ProcessId, to: ProcessId) -> &mut Link {
        let config = self.link_config;
        let link = self.links.entry((from, to));
        link.or_insert_with(|| Link::new(config))
    }

    /// Calls a process and does what it asked for.
    fn call(
        &mut self,
        id: ProcessId,
        observer: &mut impl Observer<P>,
        call: impl FnOnce(&mut Option<P>, &P::Setup, &mut Context<'_, P>),
    ) {
        let mut outputs = std::mem::take(&mut self.outputs);
        let slot = &mut self.slots[id.0 as usize];
        let mut context = Context {
            me: id,
            now: slot.clock.local(self.now),
            wall: slot.clock.wall(self.now),
            rng: &mut slot.rng,
            disk: &mut slot.disk,
            outputs: &mut outputs,
            wake: None,
        };
        call(&mut slot.process, &slot.setup, &mut context);
        let wake = context.wake;
        let crashed = slot.disk.has_crashed();
        if let Some(local) = wake
            && !crashed
        {
            // Not now again, or time would stand still.
            let at = slot.clock.true_time(local).max(self.now + NEXT_MOMENT);
            if slot.wake != Some(at) {
                slot.wake = Some(at);
                self.schedule(at, Event::Wake(id));
            }
        }
        for output in outputs.drain(..) {
            match output {
                Output::Send { to, message } => self.send(id, to, message, observer),
                Output::Fact(fact) => observer.told(self.now, id, fact),
            }
        }
        self.outputs = outputs;
        if crashed {
            self.counts.crashes_in_commits += 1;
            let (silent, down) = self.slots[id.0 as usize].after_crash;
            self.crash(id, silent, down, observer);
        }
    }

    fn send(
        &mut self,
        from: ProcessId,
        to: ProcessId,
        message: P::Message,
        observer: &mut impl Observer<P>,
    ) {
        if to.0 as usize >= self.slots.len() {
            return;
        }
        self.counts.sent += 1;
        observer.sent(self.now, from, to, &message);
        self.slots[from.0 as usize].peers.insert(to);
        if !self.partitions.lets_through(from, to) {
            self.counts.cut += 1;
            self.note(10, &[from.0.into(), to.0.into()]);
            self.trace.write(
                self.now,
                format_args!("{from} to {to}: cut off: {message:?}"),
            );
            return;
        }
        let config = self.link_config;
        let link = self.links.entry((from, to));
        let link = link.or_insert_with(|| Link::new(config));
        let arrivals = link.carry(self.now, message.bytes(), &mut self.rng);
        let Some(first) = arrivals.first else {
            self.counts.lost += 1;
            self.note(11, &[from.0.into(), to.0.into()]);
            self.trace
                .write(self.now, format_args!("{from} to {to}: lost: {message:?}"));
            return;
        };
        if let Some(second) = arrivals.second {
            self.counts.duplicated += 1;
            let message = message.clone();
            self.schedule(second, Event::Deliver { from, to, message });
        }
        self.schedule(first, Event::Deliver { from, to, message });
    }
}

/// The shortest time from one call of a process to its next timer.
const NEXT_MOMENT: Duration = Duration::from_nanos(1);

#[cfg(test)]
mod tests;
