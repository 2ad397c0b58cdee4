//! Strategies alone, for thousands of phones.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fogcompute_base::Instant;
use fogcompute_mesh::NoiseKey;
use fogcompute_mesh::courier::{CourierStrategy, Knowledge, Predictability, Predictions};

use super::contacts::{Meeting, Meetings};
use super::figures::{MeshFigures, radio_microjoules};
use super::{MeshPlan, Planned};
use crate::chance::{Chance, chance, happens};

/// To how many couriers a sender gives a message, as `Node` does.
const COURIERS: usize = 3;
/// How often those who stay together tell each other whom they meet, as nodes do.
const NEWS_INTERVAL: Duration = Duration::from_secs(600);
/// A sealed message with its headers and signature, and what is told about one peer and about one message.
const ENVELOPE_BYTES: u64 = 320;
const PREDICTION_BYTES: u64 = 34;
const CARRIED_BYTES: u64 = 8;
/// Headers of a packet with what couriers tell, and the session made for it.
const NEWS_BYTES: u64 = 500;
/// A frame of the radio.
const FRAME_BYTES: u64 = 512;

/// What a phone has of a message. There are millions of them.
#[derive(Debug)]
struct Held {
    copies: u8,
    forwards: u8,
    /// Who gave it.
    from: u32,
}

impl Held {
    const fn new(copies: u8, from: u32) -> Self {
        Self {
            copies,
            forwards: 0,
            from,
        }
    }
}

/// Numbers of messages, a bit each: what one phone has and another one never had is asked at every meeting.
#[derive(Debug, Default)]
struct Numbers(Vec<u64>);

impl Numbers {
    fn insert(&mut self, number: u32) -> bool {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    fn remove(&mut self, number: u32) {
        if let Some(word) = self.0.get_mut(number as usize / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    fn contains(&self, number: u32) -> bool {
        let word = self.0.get(number as usize / 64);
        word.is_some_and(|word| word & 1 << (number % 64) != 0)
    }

    /// Those that are not in the other, in order.
    fn without(&self, other: &Self) -> impl Iterator<Item = u32> {
        (0_u32..).zip(&self.0).flat_map(move |(at, word)| {
            let mut left = word & !other.0.get(at as usize).copied().unwrap_or(0);
            std::iter::from_fn(move || {
                let next = (left != 0).then_some(at * 64 + left.trailing_zeros())?;
                left &= left - 1;
                Some(next)
            })
        })
    }
}

struct Phone {
    /// Messages that it sends, with who was given them.
    own: BTreeMap<u32, BTreeSet<u32>>,
    carries: BTreeMap<u32, Held>,
    /// The messages that it carries.
    carried: Numbers,
    /// Messages that it had, has or got: they are not given again.
    had: Numbers,
    /// Messages that it gave away, with to whom: they are not given to them again. Without those who say that they
    /// have them.
    given: BTreeSet<(u32, u32)>,
    predictions: Option<Predictions>,
}

struct World<'a> {
    strategy: CourierStrategy,
    planned: &'a [Planned],
    /// Messages by their receivers.
    letters: BTreeMap<u32, Vec<u32>>,
    phones: Vec<Phone>,
    /// Who has links, and when they last told each other whom they meet.
    links: Vec<BTreeMap<u32, Instant>>,
    /// Links, by when both told each other: the longest ago first. Some have ended since.
    told: VecDeque<(Instant, u32, u32)>,
    arrived: BTreeMap<u32, Instant>,
    figures: MeshFigures,
    loss_ppm: u32,
    rng: Chance,
}

fn key(phone: u32) -> NoiseKey {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&phone.to_be_bytes());
    NoiseKey::from_bytes(bytes)
}

pub(super) fn run(plan: &MeshPlan) -> MeshFigures {
    let planned = plan.planned();
    let phones = (0..plan.phones).map(|_| Phone {
        own: BTreeMap::new(),
        carries: BTreeMap::new(),
        carried: Numbers::default(),
        had: Numbers::default(),
        given: BTreeSet::new(),
        predictions: plan
            .strategy
            .prophet()
            .map(|config| Predictions::new(config, Instant::ZERO)),
    });
    let mut letters: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (message, planned) in (0_u32..).zip(&planned) {
        letters.entry(planned.to).or_default().push(message);
    }
    let mut world = World {
        strategy: plan.strategy,
        planned: &planned,
        letters,
        phones: phones.collect(),
        links: vec![BTreeMap::new(); plan.phones as usize],
        told: VecDeque::new(),
        arrived: BTreeMap::new(),
        figures: MeshFigures::default(),
        loss_ppm: plan.radio.loss_ppm,
        rng: chance(plan.seed, "mesh: loss", 0),
    };
    let mut meetings = Meetings::new(plan);
    let end = Instant::ZERO + plan.span;
    let mut next = 0;
    while meetings.next_at() <= end {
        let now = meetings.next_at();
        // Phones that have something new, or somebody new: the others have nothing to say.
        let mut stirred = BTreeSet::new();
        for meeting in meetings.tick() {
            world.meeting(meeting, now, &mut stirred);
        }
        world.tell_again(now, &mut stirred);
        while let Some(planned) = planned.get(next)
            && planned.at <= now
        {
            let message = u32::try_from(next).unwrap_or(u32::MAX);
            next += 1;
            world.figures.sent += 1;
            let phone = &mut world.phones[planned.from as usize];
            phone.own.insert(message, BTreeSet::new());
            phone.had.insert(message);
            stirred.insert(planned.from);
        }
        world.exchange(stirred, now);
    }
    for (message, at) in &world.arrived {
        world.figures.fingerprint.u64((*message).into());
        world.figures.fingerprint.u64(at.as_nanos());
        let sent = planned[*message as usize].at;
        world.figures.delays.add(at.duration_since(sent));
    }
    world.figures.fingerprint.u64(world.figures.transfers);
    world.figures
}

impl World<'_> {
    fn meeting(&mut self, meeting: Meeting, now: Instant, stirred: &mut BTreeSet<u32>) {
        match meeting {
            Meeting::Begins(a, b) => {
                self.figures.meetings += 1;
                self.tell(a, b, now);
                stirred.extend([a, b]);
            }
            Meeting::Ends(a, b) => {
                for (from, to) in [(a, b), (b, a)] {
                    self.links[from as usize].remove(&to);
                }
            }
        }
    }

    /// Those who stay together tell each other again from time to time.
    fn tell_again(&mut self, now: Instant, stirred: &mut BTreeSet<u32>) {
        let mut due = Vec::new();
        while let Some((told, a, b)) = self.told.front().copied()
            && now.duration_since(told) >= NEWS_INTERVAL
        {
            self.told.pop_front();
            if self.links[a as usize].get(&b) == Some(&told) {
                due.push((a, b));
            }
        }
        due.sort_unstable();
        for (a, b) in due {
            self.tell(a, b, now);
            stirred.extend([a, b]);
        }
    }

    /// Two phones with a link say what couriers say.
    fn tell(&mut self, a: u32, b: u32, now: Instant) {
        for (from, to) in [(a, b), (b, a)] {
            self.links[from as usize].insert(to, now);
        }
        if !self.strategy.asks() {
            return;
        }
        self.told.push_back((now, a, b));
        for (phone, other) in [(a, b), (b, a)] {
            if let Some(predictions) = &mut self.phones[phone as usize].predictions {
                predictions.meet(key(other), now);
            }
        }
        let told = [a, b].map(|phone| {
            let phone = &self.phones[phone as usize];
            let carried = (phone.carries.len() + phone.own.len()) as u64;
            let all = phone.predictions.as_ref().map(Predictions::told);
            let all = all.unwrap_or_default();
            let bytes = NEWS_BYTES + all.len() as u64 * PREDICTION_BYTES + carried * CARRIED_BYTES;
            (all, bytes)
        });
        for (phone, other, (all, bytes)) in [(b, a, &told[0]), (a, b, &told[1])] {
            self.count(*bytes);
            if let Some(predictions) = &mut self.phones[phone as usize].predictions {
                let all = all.iter().map(|(key, chance)| (key, *chance));
                predictions.learn(key(other), key(phone), all, now);
            }
        }
    }

    fn count(&mut self, mut bytes: u64) {
        self.figures.bytes += bytes;
        while bytes > 0 {
            let frame = bytes.min(FRAME_BYTES);
            self.figures.frames += 1;
            self.figures.microjoules += radio_microjoules(frame);
            bytes -= frame;
        }
    }

    /// Everybody with something new gives to those with a link, until nobody has anything new.
    fn exchange(&mut self, stirred: BTreeSet<u32>, now: Instant) {
        let mut queue: VecDeque<u32> = stirred.iter().copied().collect();
        let mut queued = stirred;
        while let Some(from) = queue.pop_front() {
            queued.remove(&from);
            let linked: Vec<_> = self.links[from as usize].keys().copied().collect();
            for to in linked {
                if self.give(from, to, now) && queued.insert(to) {
                    queue.push_back(to);
                }
            }
        }
    }

    /// What one phone may have for another, its own messages first.
    fn offered(&self, from: u32, to: u32) -> Vec<u32> {
        let phone = &self.phones[from as usize];
        let own = phone.own.keys().copied();
        if !self.strategy.asks() {
            return own.chain(phone.carries.keys().copied()).collect();
        }
        // Who is asked says what it had; what is for it is given in any case.
        let other = &self.phones[to as usize];
        let mut carried: Vec<_> = phone.carried.without(&other.had).collect();
        let letters = self.letters.get(&to).into_iter().flatten().copied();
        carried.extend(letters.filter(|it| phone.carried.contains(*it) && other.had.contains(*it)));
        carried.sort_unstable();
        own.chain(carried).collect()
    }

    /// Gives all that the strategy says to a phone with a link; whether that one has something new to give.
    fn give(&mut self, from: u32, to: u32, now: Instant) -> bool {
        let mut has_new = false;
        for message in self.offered(from, to) {
            let receiver = self.planned[message as usize].to;
            let given = if receiver == to {
                let phone = &mut self.phones[from as usize];
                phone.own.remove(&message);
                phone.carries.remove(&message);
                phone.carried.remove(message);
                Some(0)
            } else {
                self.divide(from, to, message)
            };
            let Some(copies) = given else {
                continue;
            };
            self.figures.transfers += 1;
            self.count(ENVELOPE_BYTES);
            let is_lost = happens(&mut self.rng, self.loss_ppm);
            if receiver != to && (is_lost || !self.strategy.asks()) {
                self.phones[from as usize].given.insert((message, to));
            }
            if is_lost {
                // Who gave it does not know.
                continue;
            }
            let other = &mut self.phones[to as usize];
            let is_new = other.had.insert(message);
            if receiver == to {
                self.arrived.entry(message).or_insert(now);
            } else if is_new {
                other.carries.insert(message, Held::new(copies, from));
                other.carried.insert(message);
                has_new = true;
            }
        }
        has_new
    }

    /// Copies of a message that one phone gives another as the strategy says; its own part is kept in mind.
    fn divide(&mut self, from: u32, to: u32, message: u32) -> Option<u8> {
        let receiver = key(self.planned[message as usize].to);
        let has = self.phones[to as usize].had.contains(message);
        // Those who are asked say what they have.
        if self.strategy.asks() && has {
            return None;
        }
        let of = |phone: u32| {
            let predictions = self.phones[phone as usize].predictions.as_ref();
            predictions.map_or(Predictability::ZERO, |all| all.of(&receiver))
        };
        let own = of(from);
        let theirs = if self.strategy.asks() {
            Knowledge::Says(of(to))
        } else {
            Knowledge::Unsaid
        };
        let phone = &mut self.phones[from as usize];
        if let Some(couriers) = phone.own.get_mut(&message) {
            let is_enough = match self.strategy {
                CourierStrategy::Epidemic => false,
                _ => couriers.len() >= COURIERS,
            };
            if is_enough || couriers.contains(&to) || !self.strategy.starts(own, theirs) {
                return None;
            }
            couriers.insert(to);
            return Some(self.strategy.copies());
        }
        let held = phone.carries.get_mut(&message)?;
        if held.from == to || phone.given.contains(&(message, to)) {
            return None;
        }
        let division = self
            .strategy
            .divide(held.copies, held.forwards, own, theirs)?;
        held.copies = division.kept;
        held.forwards = held.forwards.saturating_add(1);
        if division.kept == 0 {
            phone.carries.remove(&message);
            phone.carried.remove(message);
        }
        Some(division.given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_one_that_are_not_in_the_other() {
        let (mut some, mut others) = (Numbers::default(), Numbers::default());
        for number in [0, 63, 64, 130, 700] {
            assert!(some.insert(number));
            assert!(!some.insert(number));
        }
        for number in [63, 65, 130, 9000] {
            others.insert(number);
        }
        assert_eq!(some.without(&others).collect::<Vec<_>>(), [0, 64, 700]);
        assert_eq!(others.without(&some).collect::<Vec<_>>(), [65, 9000]);
        some.remove(64);
        some.remove(9000);
        assert!(!some.contains(64) && !some.contains(9000) && some.contains(700));
        assert_eq!(some.without(&Numbers::default()).count(), 4);
    }
}
