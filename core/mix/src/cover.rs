//! Cover traffic: packets that carry nothing, sent whether or not there is something to say.

use std::collections::VecDeque;
use std::time::Duration;

use fogcompute_base::{CryptoRng, Instant, Rng};

use crate::message::MessageId;
use crate::poisson::PoissonProcess;

/// How a device is powered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PowerClass {
    /// From the mains, or charging.
    Mains,
    /// From a battery with charge to spare.
    Battery,
    /// From a battery that is low.
    LowBattery,
}

/// Mean times between packets of cover traffic, each kind a Poisson process of its own.
///
/// Loops come back to their sender, who learns how many were lost on the way; drops end at a
/// random node of the last layer (Piotrowska et al. 2017, "The Loopix Anonymity System", §4.1).
/// The default is none. Cover hides *whether* somebody sends; it adds little to how well a packet
/// hides among others.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CoverConfig {
    /// Mean time between loops.
    pub loops: Option<Duration>,
    /// Mean time between drops.
    pub drops: Option<Duration>,
}

impl CoverConfig {
    /// Cover that makes up `share` (0 to 0.9) of all packets of a client that sends
    /// `packets_per_second` on average: half loops, half drops. Other shares count as the nearest.
    #[must_use]
    pub fn for_share(share: f64, packets_per_second: f64) -> Self {
        let share = if share.is_nan() {
            0.0
        } else {
            share.clamp(0.0, 0.9)
        };
        let each_per_second = packets_per_second * share / (1.0 - share) / 2.0;
        let mean = Duration::try_from_secs_f64(1.0 / each_per_second)
            .ok()
            .filter(|mean| !mean.is_zero());
        Self {
            loops: mean,
            drops: mean,
        }
    }

    /// What a device so powered should send: the same on the mains, a quarter on battery, loops
    /// only at a quarter of that when it is low.
    #[must_use]
    pub fn for_power(self, power: PowerClass) -> Self {
        let scaled = |mean: Option<Duration>, factor| mean.map(|mean| mean.saturating_mul(factor));
        match power {
            PowerClass::Mains => self,
            PowerClass::Battery => Self {
                loops: scaled(self.loops, 4),
                drops: scaled(self.drops, 4),
            },
            PowerClass::LowBattery => Self {
                loops: scaled(self.loops, 16),
                drops: None,
            },
        }
    }
}

/// What became of cover traffic since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CoverStats {
    /// Loops sent.
    pub loops_sent: u64,
    /// Loops that came back in time.
    pub loops_returned: u64,
    /// Loops that did not come back in time: lost on the way, or somebody drops packets.
    pub loops_lost: u64,
    /// Drops sent.
    pub drops_sent: u64,
    /// Drops of others that ended here.
    pub drops_received: u64,
}

/// A packet of cover traffic to be built.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum CoverPacket {
    Loop(MessageId),
    Drop,
}

/// When to send which cover, and which loops are out.
#[derive(Debug)]
pub(crate) struct Cover {
    loops: Option<PoissonProcess>,
    drops: Option<PoissonProcess>,
    out: VecDeque<(Instant, MessageId)>,
    timeout: Duration,
    pub(crate) stats: CoverStats,
}

impl Cover {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            loops: None,
            drops: None,
            out: VecDeque::new(),
            timeout,
            stats: CoverStats::default(),
        }
    }

    pub(crate) fn set(&mut self, config: CoverConfig, now: Instant, rng: &mut impl Rng) {
        let mut process =
            |mean: Option<Duration>| mean.map(|mean| PoissonProcess::new(mean, now, rng));
        self.loops = process(config.loops);
        self.drops = process(config.drops);
    }

    /// The next packet that is due.
    pub(crate) fn poll(&mut self, now: Instant, rng: &mut impl CryptoRng) -> Option<CoverPacket> {
        self.expire(now);
        if self
            .loops
            .as_mut()
            .is_some_and(|loops| loops.poll(now, rng))
        {
            let id = MessageId::random(rng);
            self.out.push_back((now, id));
            self.stats.loops_sent += 1;
            return Some(CoverPacket::Loop(id));
        }
        if self
            .drops
            .as_mut()
            .is_some_and(|drops| drops.poll(now, rng))
        {
            self.stats.drops_sent += 1;
            return Some(CoverPacket::Drop);
        }
        None
    }

    /// A loop came back. One that is not out, or not any more, is nothing.
    pub(crate) fn returned(&mut self, id: MessageId, now: Instant) {
        self.expire(now);
        if let Some(at) = self.out.iter().position(|(_, out)| *out == id) {
            self.out.remove(at);
            self.stats.loops_returned += 1;
        }
    }

    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((sent, _)) = self.out.front()
            && now.duration_since(*sent) > self.timeout
        {
            self.out.pop_front();
            self.stats.loops_lost += 1;
        }
    }

    pub(crate) fn next_event(&self) -> Option<Instant> {
        let processes = [&self.loops, &self.drops].into_iter().flatten();
        processes.map(PoissonProcess::next_event).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn the_share_of_cover_is_the_one_asked_for() {
        let mut rng = ChaCha20Rng::seed_from_u64(17);
        let real_per_second = 20.0;
        for share in [0.1, 0.2, 0.3] {
            let mut cover = Cover::new(Duration::from_secs(10));
            let config = CoverConfig::for_share(share, real_per_second);
            cover.set(config, Instant::ZERO, &mut rng);
            let seconds = 5_000;
            for second in 0..seconds {
                while cover
                    .poll(Instant::from_millis(second * 1_000), &mut rng)
                    .is_some()
                {}
            }
            let sent = (cover.stats.loops_sent + cover.stats.drops_sent) as f64;
            // Its standard deviation is the root of a Poisson number.
            let expected = real_per_second * seconds as f64 * share / (1.0 - share);
            assert!(
                (sent - expected).abs() < 3.0 * expected.sqrt(),
                "{sent} of {expected}"
            );
            let parts = cover.stats.loops_sent as f64 - sent / 2.0;
            assert!(parts.abs() < 3.0 * sent.sqrt() / 2.0, "{:?}", cover.stats);
        }
    }

    #[test]
    fn loops_return_once_or_are_lost() {
        let mut rng = ChaCha20Rng::seed_from_u64(19);
        let mut cover = Cover::new(Duration::from_secs(10));
        assert_eq!(cover.next_event(), None);
        let loops = Some(Duration::from_secs(1));
        cover.set(CoverConfig { loops, drops: None }, Instant::ZERO, &mut rng);
        let mut loops = Vec::new();
        while loops.len() < 4 {
            let now = cover.next_event().unwrap();
            while let Some(packet) = cover.poll(now, &mut rng) {
                let CoverPacket::Loop(id) = packet else {
                    panic!("no drops were asked for");
                };
                loops.push((now, id));
            }
        }
        let (now, first) = loops[0];
        for _ in 0..2 {
            cover.returned(first, now);
        }
        cover.returned(MessageId::from_bytes([0; 16]), now);
        let stats = cover.stats;
        assert_eq!((stats.loops_returned, stats.loops_lost), (1, 0));
        cover.set(CoverConfig::default(), now, &mut rng);
        let late = loops[3].0 + Duration::from_secs(11);
        assert_eq!(cover.poll(late, &mut rng), None);
        cover.returned(loops[1].1, late);
        assert_eq!((cover.stats.loops_returned, cover.stats.loops_lost), (1, 3));
    }

    #[test]
    fn cover_is_what_the_power_allows() {
        let second = Some(Duration::from_secs(1));
        let full = CoverConfig {
            loops: second,
            drops: second,
        };
        assert_eq!(full.for_power(PowerClass::Mains), full);
        let battery = full.for_power(PowerClass::Battery);
        assert_eq!(battery.drops, Some(Duration::from_secs(4)));
        let low = full.for_power(PowerClass::LowBattery);
        assert_eq!(
            (low.loops, low.drops),
            (Some(Duration::from_secs(16)), None)
        );
        for nothing in [
            CoverConfig::for_share(0.0, 10.0),
            CoverConfig::for_share(f64::NAN, 10.0),
            CoverConfig::for_share(0.3, 0.0),
            CoverConfig::for_share(0.3, -1.0),
            CoverConfig::for_share(0.3, f64::INFINITY),
        ] {
            assert_eq!(nothing, CoverConfig::default());
        }
        assert_eq!(
            CoverConfig::for_share(2.0, 1.0),
            CoverConfig::for_share(0.9, 1.0)
        );
    }
}
