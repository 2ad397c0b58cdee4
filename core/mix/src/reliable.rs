//! Reliable delivery: what to send again, when, and how much at once.

use std::time::Duration;

use fogcompute_base::Instant;

/// Times and limits of reliable delivery.
#[derive(Clone, Debug)]
pub struct ReliabilityConfig {
    /// How long the first packets wait for an acknowledgement, before any time was measured.
    pub timeout_initial: Duration,
    /// Shortest wait.
    pub timeout_min: Duration,
    /// Longest wait.
    pub timeout_max: Duration,
    /// Packets that may be on their way at the start.
    pub window_initial: u32,
    /// Most packets that may be on their way.
    pub window_max: u32,
    /// How often one packet is sent before its message is given up.
    pub tries_max: u32,
}

impl Default for ReliabilityConfig {
    fn default() -> Self {
        Self {
            timeout_initial: Duration::from_secs(3),
            timeout_min: Duration::from_millis(200),
            timeout_max: Duration::from_secs(60),
            window_initial: 10,
            window_max: 512,
            tries_max: 12,
        }
    }
}

/// How many packets may be on their way, and how long one may take.
///
/// The window is TCP's (RFC 5681: slow start, additive increase, halving at a loss), the timeout is
/// that of RFC 6298 without the clock's granularity. Losses are seen by the timeout only: delays of
/// a mixnet reorder everything, so a gap in what arrived says nothing.
#[derive(Debug)]
pub(crate) struct Pace {
    config: ReliabilityConfig,
    window: f64,
    threshold: f64,
    /// Smoothed time until an acknowledgement and its variation.
    smoothed: Option<(Duration, Duration)>,
    /// When the window was last halved.
    halved: Option<Instant>,
    pub(crate) in_flight: u32,
}

impl Pace {
    pub(crate) fn new(config: ReliabilityConfig) -> Self {
        Self {
            window: f64::from(config.window_initial.max(1)),
            threshold: f64::from(config.window_max.max(1)),
            smoothed: None,
            halved: None,
            in_flight: 0,
            config,
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        f64::from(self.in_flight + 1) <= self.window
    }

    /// How long the `tries`th sending of a packet waits for its acknowledgement.
    pub(crate) fn timeout(&self, tries: u32) -> Duration {
        let base = self
            .smoothed
            .map_or(self.config.timeout_initial, |(mean, variation)| {
                mean.saturating_add(variation.saturating_mul(4))
            });
        base.max(self.config.timeout_min)
            .saturating_mul(1 << tries.saturating_sub(1).min(16))
            .min(self.config.timeout_max)
    }

    /// A packet arrived. `took` is the time until its acknowledgement, if it was sent only once:
    /// else nobody knows which sending was acknowledged (Karn and Partridge 1987).
    fn arrived(&mut self, took: Option<Duration>) {
        if let Some(took) = took {
            self.smoothed = Some(self.smoothed.map_or((took, took / 2), |(mean, variation)| {
                (
                    (mean * 7 + took) / 8,
                    (variation * 3 + mean.abs_diff(took)) / 4,
                )
            }));
        }
        self.window += if self.window < self.threshold {
            1.0
        } else {
            1.0 / self.window
        };
        self.window = self.window.min(f64::from(self.config.window_max.max(1)));
    }

    /// A packet that was sent at `sent` is lost.
    fn lost(&mut self, sent: Instant, now: Instant) {
        // What was sent before the window was halved says nothing about the smaller window.
        if self.halved.is_none_or(|halved| sent >= halved) {
            self.threshold = (self.window / 2.0).max(2.0);
            self.window = self.threshold;
            self.halved = Some(now);
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Waiting,
    InFlight { sent: Instant, tries: u32 },
    Lost { tries: u32 },
    Arrived,
}

/// The fragments of one message on their way.
#[derive(Debug)]
pub(crate) struct Outgoing {
    states: Vec<State>,
    arrived: usize,
    /// Fragments before this one are not waiting.
    next_waiting: usize,
    /// Data packets since acknowledgements were last asked for.
    unasked: u32,
    /// When acknowledgements were last asked for.
    asked: Option<Instant>,
}

/// Data packets after which acknowledgements are asked for.
const ASK_EVERY: u32 = 12;

/// What to send next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Send {
    /// A fragment of the message.
    Fragment(u16),
    /// Reply blocks to acknowledge with.
    Ask,
}

impl Outgoing {
    pub(crate) fn new(fragments: u16) -> Self {
        Self {
            states: vec![State::Waiting; usize::from(fragments)],
            arrived: 0,
            next_waiting: 0,
            unasked: 0,
            asked: None,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.arrived == self.states.len()
    }

    pub(crate) const fn arrived(&self) -> usize {
        self.arrived
    }

    pub(crate) const fn packets(&self) -> usize {
        self.states.len()
    }

    /// Whether [`Outgoing::next`] has something without waiting.
    pub(crate) fn is_ready(&self, pace: &Pace) -> bool {
        let unsent = |state: &State| matches!(state, State::Waiting | State::Lost { .. });
        self.unasked > 0 || (pace.has_room() && self.states.iter().any(unsent))
    }

    /// Takes what is lost out of flight. `false` if the message has to be given up.
    pub(crate) fn expire(&mut self, pace: &mut Pace, now: Instant) -> bool {
        for state in &mut self.states {
            if let State::InFlight { sent, tries } = *state
                && now.duration_since(sent) >= pace.timeout(tries)
            {
                pace.in_flight -= 1;
                pace.lost(sent, now);
                if tries >= pace.config.tries_max {
                    *state = State::Waiting;
                    self.give_up(pace);
                    return false;
                }
                *state = State::Lost { tries };
            }
        }
        true
    }

    /// What is in flight cannot be acknowledged any more: it is to be sent again.
    pub(crate) fn send_again(&mut self, pace: &mut Pace) {
        for state in &mut self.states {
            if let State::InFlight { tries, .. } = *state {
                pace.in_flight -= 1;
                *state = State::Lost { tries };
            }
        }
    }

    /// Takes everything out of flight.
    pub(crate) fn give_up(&mut self, pace: &mut Pace) {
        for state in &mut self.states {
            if let State::InFlight { .. } = state {
                pace.in_flight -= 1;
                *state = State::Waiting;
            }
        }
    }

    /// What to send next, if the window has room; it counts as sent.
    pub(crate) fn next(&mut self, pace: &mut Pace, now: Instant) -> Option<Send> {
        if self.is_done() {
            return None;
        }
        let first_ask = self.asked.is_none();
        if self.unasked >= ASK_EVERY || (first_ask && self.unasked > 0) {
            return Some(self.ask(now));
        }
        if pace.has_room()
            && let Some((index, tries)) = self.next_fragment()
        {
            self.states[index] = State::InFlight { sent: now, tries };
            self.unasked += 1;
            pace.in_flight += 1;
            // A fragment's index is below the 16-bit number of fragments.
            return Some(Send::Fragment(index as u16));
        }
        // Nothing more may leave: let the last ones be acknowledged, too.
        (self.unasked > 0).then(|| self.ask(now))
    }

    fn ask(&mut self, now: Instant) -> Send {
        self.unasked = 0;
        self.asked = Some(now);
        Send::Ask
    }

    fn next_fragment(&mut self) -> Option<(usize, u32)> {
        let lost = self
            .states
            .iter()
            .enumerate()
            .find_map(|(index, state)| match state {
                State::Lost { tries } => Some((index, tries + 1)),
                _ => None,
            });
        if lost.is_some() {
            return lost;
        }
        while self
            .states
            .get(self.next_waiting)
            .is_some_and(|state| *state != State::Waiting)
        {
            self.next_waiting += 1;
        }
        (self.next_waiting < self.states.len()).then_some((self.next_waiting, 1))
    }

    /// Takes an acknowledgement: bit n of `bitmap`, lowest bit of a byte first, is fragment n.
    pub(crate) fn acknowledge(&mut self, bitmap: &[u8], pace: &mut Pace, now: Instant) {
        for (index, state) in self.states.iter_mut().enumerate() {
            let has = bitmap
                .get(index / 8)
                .is_some_and(|byte| byte >> (index % 8) & 1 == 1);
            if !has || *state == State::Arrived {
                continue;
            }
            if let State::InFlight { sent, tries } = *state {
                pace.in_flight -= 1;
                pace.arrived((tries == 1).then(|| now.duration_since(sent)));
            }
            *state = State::Arrived;
            self.arrived += 1;
        }
    }

    /// When [`Outgoing::expire`] next finds something lost.
    pub(crate) fn next_timeout(&self, pace: &Pace) -> Option<Instant> {
        let timeout = |state: &State| match *state {
            State::InFlight { sent, tries } => Some(sent + pace.timeout(tries)),
            _ => None,
        };
        self.states.iter().filter_map(timeout).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn millis(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn bitmap(indices: &[u16], count: usize) -> Vec<u8> {
        let mut bitmap = vec![0; count.div_ceil(8)];
        for index in indices {
            bitmap[usize::from(index / 8)] |= 1 << (index % 8);
        }
        bitmap
    }

    fn send_all(outgoing: &mut Outgoing, pace: &mut Pace, now: Instant) -> (Vec<u16>, usize) {
        let (mut fragments, mut asks) = (Vec::new(), 0);
        while let Some(send) = outgoing.next(pace, now) {
            match send {
                Send::Fragment(index) => fragments.push(index),
                Send::Ask => asks += 1,
            }
        }
        (fragments, asks)
    }

    #[test]
    fn the_window_opens_with_what_arrives_and_halves_once_a_loss() {
        let mut pace = Pace::new(ReliabilityConfig::default());
        let mut outgoing = Outgoing::new(100);
        let (sent, asks) = send_all(&mut outgoing, &mut pace, millis(0));
        // An early request, so that the first time is measured soon, and one at the end.
        assert_eq!((sent, asks), ((0..10).collect(), 2));
        outgoing.acknowledge(&bitmap(&[0, 1, 2, 9], 100), &mut pace, millis(100));
        assert_eq!((pace.in_flight, pace.window as u32), (6, 14));
        assert_eq!(pace.timeout(1), Duration::from_micros(200_000));
        let (sent, _) = send_all(&mut outgoing, &mut pace, millis(101));
        assert_eq!(sent, (10..18).collect::<Vec<_>>());
        // Fragments 3 to 8 are lost together: one halving.
        assert_eq!(outgoing.next_timeout(&pace), Some(millis(200)));
        assert!(outgoing.expire(&mut pace, millis(250)));
        assert_eq!((pace.in_flight, pace.window as u32), (8, 7));
        assert!(send_all(&mut outgoing, &mut pace, millis(250)).0.is_empty());
        outgoing.acknowledge(&bitmap(&[10, 11, 12], 100), &mut pace, millis(260));
        // Lost ones first.
        let (sent, _) = send_all(&mut outgoing, &mut pace, millis(260));
        assert_eq!(sent, [3, 4]);
    }

    #[test]
    fn a_message_is_given_up_after_its_tries_and_leaves_nothing_in_flight() {
        let config = ReliabilityConfig {
            tries_max: 3,
            ..ReliabilityConfig::default()
        };
        let mut pace = Pace::new(config);
        let mut outgoing = Outgoing::new(2);
        let mut now = millis(0);
        let mut sendings = 0;
        loop {
            sendings += send_all(&mut outgoing, &mut pace, now).0.len();
            let Some(timeout) = outgoing.next_timeout(&pace) else {
                panic!("something is in flight");
            };
            now = timeout;
            if !outgoing.expire(&mut pace, now) {
                break;
            }
        }
        assert_eq!((sendings, pace.in_flight), (6, 0));
        // 3 s, 6 s, 12 s: the wait doubles.
        assert_eq!(now, millis(21_000));
    }

    #[test]
    fn acknowledgements_of_anything_are_harmless() {
        let mut pace = Pace::new(ReliabilityConfig::default());
        let mut outgoing = Outgoing::new(3);
        outgoing.acknowledge(&[0xff; 40], &mut pace, millis(0));
        assert!(outgoing.is_done());
        assert_eq!(outgoing.arrived(), 3);
        outgoing.acknowledge(&[], &mut pace, millis(0));
        assert_eq!(outgoing.next(&mut pace, millis(1)), None);
        assert_eq!(pace.in_flight, 0);
    }

    proptest! {
        #[test]
        fn everything_arrives_over_any_losses(
            count in 1_u16..300,
            seed in proptest::collection::vec(any::<u8>(), 1..64),
            loss in 0_u8..100,
        ) {
            let config = ReliabilityConfig { tries_max: u32::MAX, ..ReliabilityConfig::default() };
            let mut pace = Pace::new(config);
            let mut outgoing = Outgoing::new(count);
            let mut there = Vec::new();
            let mut now = millis(0);
            let mut draws = seed.iter().cycle().enumerate().map(|(n, byte)| byte.wrapping_mul(31).wrapping_add((n * 7) as u8));
            let mut rounds = 0;
            while !outgoing.is_done() {
                rounds += 1;
                prop_assert!(rounds < 20_000);
                prop_assert!(outgoing.expire(&mut pace, now));
                let mut asked = false;
                while let Some(send) = outgoing.next(&mut pace, now) {
                    let survives = draws.next().unwrap() % 128 >= loss;
                    match send {
                        Send::Fragment(index) if survives => there.push(index),
                        Send::Ask if survives => asked = true,
                        _ => {}
                    }
                    prop_assert!(pace.in_flight <= 512);
                }
                now = now + Duration::from_millis(100);
                if asked {
                    outgoing.acknowledge(&bitmap(&there, usize::from(count)), &mut pace, now);
                } else if let Some(timeout) = outgoing.next_timeout(&pace) {
                    now = now.max(timeout);
                }
            }
            prop_assert_eq!(pace.in_flight, 0);
        }
    }
}
