//! What this machine can do as a mixnode, measured.

use std::fmt;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use fogcompute_base::{Clock, NodeId, OsEntropy, UnixMillis};
use fogcompute_mix::{
    BuildError, Descriptor, EpochKey, EpochParity, Geometry, Hop, Mixnode, MixnodeConfig, NodeRef,
    Packet, PrivateKey, x25519_backends,
};
use fogcompute_net::{
    DATAGRAM_OVERHEAD_BYTES, EngineConfig, Identity, UdpLink, UdpLinks, UdpLinksConfig,
    UdpLinksError,
};
use serde::Serialize;
use thiserror::Error;

/// Packets of a round. They are the same in each, at a node that has seen none of them.
const ROUND: usize = 256;
/// Packets whose layers the engine takes off together.
const BATCH: usize = 16;
/// How long each figure is measured.
const MEASURED: Duration = Duration::from_secs(1);
/// Of what the machine can do when it does nothing else, the part that is kept free: for the
/// system's own work with datagrams, which is not measured, and for bursts. Packets come by chance,
/// and at half the capacity one waits half as long as it is worked on (M/D/1).
const SPARE: u64 = 2;

/// Why there are no figures.
#[non_exhaustive]
#[derive(Debug, Error)]
pub(crate) enum SelfTestError {
    /// The network's packets do not fit datagrams.
    #[error(transparent)]
    Links(#[from] UdpLinksError),
    /// A packet cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// What the node sent to itself did not come through.
    #[error("self-test: {lost} of {sent} packets were not processed")]
    Lost {
        /// Packets that were processed wrongly or not at all.
        lost: u64,
        /// Packets.
        sent: u64,
    },
    /// No link between two ends in memory, or no thread.
    #[error("self-test: {doing}")]
    Failed {
        /// What failed.
        doing: &'static str,
    },
}

/// Packets a second.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Capacity {
    /// X25519 for one packet, and for batches of them.
    x25519: [&'static str; 2],
    hops_max: usize,
    payload_bytes: usize,
    packet_bytes: usize,
    /// Whether the packets are those of the network's topology, or of a default for want of one.
    from_topology: bool,
    workers: usize,
    /// One thread takes layers off.
    unwraps_per_second_solo: u64,
    /// All threads at once do.
    unwraps_per_second_saturated: u64,
    /// All threads at once do, and open what links sealed and seal it for the next ones.
    relays_per_second_saturated: u64,
    /// What the node may be trusted with.
    trusted_packets_per_second: u64,
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [single, batch] = self.x25519;
        let origin = if self.from_topology {
            "of the topology"
        } else {
            "a default, for there is no topology"
        };
        write!(
            f,
            "packets of {} bytes ({} hops, {} bytes of payload: {origin})\n\
             X25519 by {single}, in batches by {batch}\n\
             one thread takes the layers off {} packets/s\n\
             {} threads at once take the layers off {} packets/s\n\
             with the links' encryption {} packets/s\n\
             the node may be trusted with {} packets/s: half of that",
            self.packet_bytes,
            self.hops_max,
            self.payload_bytes,
            self.unwraps_per_second_solo,
            self.workers,
            self.unwraps_per_second_saturated,
            self.relays_per_second_saturated,
            self.trusted_packets_per_second
        )
    }
}

/// Measures what this machine does with packets of this geometry.
pub(super) fn measure(
    geometry: Geometry,
    from_topology: bool,
    workers: usize,
    clock: &dyn Clock,
) -> Result<Capacity, SelfTestError> {
    let config = EngineConfig {
        workers,
        ..EngineConfig::default()
    };
    let workers = config.threads();
    let node = Subject::new(geometry)?;
    let relays = node.rate(workers, true, MEASURED, clock)?;
    Ok(Capacity {
        x25519: x25519_backends(),
        hops_max: geometry.hops_max(),
        payload_bytes: geometry.payload_bytes(),
        packet_bytes: geometry.packet_bytes(),
        from_topology,
        workers,
        unwraps_per_second_solo: node.rate(1, false, MEASURED, clock)?,
        unwraps_per_second_saturated: node.rate(workers, false, MEASURED, clock)?,
        relays_per_second_saturated: relays,
        trusted_packets_per_second: relays / SPARE,
    })
}

/// A node that is measured.
struct Subject {
    geometry: Geometry,
    key: PrivateKey,
    packets: Vec<Vec<u8>>,
}

impl Subject {
    fn new(geometry: Geometry) -> Result<Self, SelfTestError> {
        let (key, next) = (
            PrivateKey::random(&mut OsEntropy),
            PrivateKey::random(&mut OsEntropy),
        );
        let hop = |id, key: &PrivateKey| {
            Hop::new(NodeId::from_bytes([id; 32]), key.public(), Duration::ZERO)
        };
        let route = [hop(1, &key), hop(2, &next)];
        let orders = vec![(&route[..], &b""[..]); ROUND];
        let packets = Packet::build_batch(geometry, &orders, &mut OsEntropy)?;
        Ok(Self {
            geometry,
            key,
            packets: packets.into_iter().map(Packet::into_bytes).collect(),
        })
    }

    /// Packets a second of so many threads at once, each working for `time`.
    fn rate(
        &self,
        threads: usize,
        with_links: bool,
        time: Duration,
        clock: &dyn Clock,
    ) -> Result<u64, SelfTestError> {
        let start = Barrier::new(threads);
        let work = || {
            let thread = Thread::new(self, with_links, clock);
            // All wait for the slowest, whatever became of its links.
            start.wait();
            thread?.run(time, clock)
        };
        let results: Vec<_> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            handles
                .into_iter()
                .map(std::thread::ScopedJoinHandle::join)
                .collect()
        });
        let mut sum = 0.0;
        for result in results {
            sum += result.map_err(|_| SelfTestError::Failed { doing: "a thread" })??;
        }
        Ok(sum as u64)
    }
}

/// One thread of a node, and what it works on.
struct Thread<'a> {
    subject: &'a Subject,
    links: Option<Ends>,
    frame: Vec<u8>,
    datagram: Vec<u8>,
}

/// Both ends of a link in memory.
struct Ends {
    /// By which the node gets packets.
    before: Arc<UdpLink>,
    inbound: Arc<UdpLink>,
    /// By which it sends them on.
    outbound: Arc<UdpLink>,
}

impl<'a> Thread<'a> {
    fn new(
        subject: &'a Subject,
        with_links: bool,
        clock: &dyn Clock,
    ) -> Result<Self, SelfTestError> {
        let frame_bytes = subject.geometry.packet_bytes();
        let links = with_links.then(|| Ends::connect(frame_bytes, clock));
        Ok(Self {
            subject,
            links: links.transpose()?,
            frame: vec![0; frame_bytes],
            datagram: vec![0; frame_bytes + DATAGRAM_OVERHEAD_BYTES],
        })
    }

    /// Packets a second of this thread's own time.
    fn run(&mut self, time: Duration, clock: &dyn Clock) -> Result<f64, SelfTestError> {
        let (mut taken, mut packets) = (Duration::ZERO, 0);
        while taken < time {
            taken += self.round(clock)?;
            packets += ROUND as u64;
        }
        Ok(packets as f64 / taken.as_secs_f64())
    }

    /// Processes every packet once and says how long that took.
    fn round(&mut self, clock: &dyn Clock) -> Result<Duration, SelfTestError> {
        let config = MixnodeConfig {
            geometry: self.subject.geometry,
            ..MixnodeConfig::default()
        };
        let key = EpochKey::new(self.subject.key.clone(), ROUND);
        let mut mixnode = Mixnode::with_epoch_key(EpochParity::Even, key, config);
        let mut inputs = self.inputs(clock);
        let mut batch = Vec::with_capacity(BATCH);
        let (start, mut sent) = (clock.now(), 0);
        while !inputs.is_empty() {
            for input in inputs.drain(..BATCH.min(inputs.len())) {
                let packet = match &self.links {
                    Some(ends) if ends.open(&input, &mut self.frame, clock) => self.frame.clone(),
                    Some(_) => continue,
                    None => input,
                };
                batch.push(packet);
            }
            let now = clock.now();
            mixnode.handle_inputs(&mut batch, now);
            // Behind the end of the tick in which they are due.
            let due = now + Duration::from_millis(1);
            while let Some(transmit) = mixnode.poll_transmit(due) {
                let packet = transmit.packet.into_bytes();
                let is_sealed = self.links.as_ref().is_none_or(|ends| {
                    let sealed = ends.outbound.seal(0, &packet, &mut self.datagram, now);
                    sealed.is_ok()
                });
                sent += u64::from(is_sealed);
            }
        }
        let took = clock.now().duration_since(start);
        let all = ROUND as u64;
        if sent == all {
            Ok(took)
        } else {
            let lost = all - sent;
            Err(SelfTestError::Lost { lost, sent: all })
        }
    }

    /// What comes in: packets, or datagrams in which the link before has sealed them.
    fn inputs(&mut self, clock: &dyn Clock) -> Vec<Vec<u8>> {
        let mut inputs = self.subject.packets.clone();
        if let Some(ends) = &self.links {
            for input in &mut inputs {
                // Those that a link at its end does not seal do not open either.
                let _ = ends.before.seal(0, input, &mut self.datagram, clock.now());
                input.clone_from(&self.datagram);
            }
        }
        inputs
    }
}

impl Ends {
    fn connect(frame_bytes: usize, clock: &dyn Clock) -> Result<Self, SelfTestError> {
        let config = UdpLinksConfig {
            link_packets_per_second_max: u32::MAX,
            link_burst_packets_max: u32::MAX,
            ..UdpLinksConfig::default()
        };
        let links = || {
            let identity = Identity::random(&mut OsEntropy);
            let node = identity.node();
            let links = UdpLinks::new(identity, frame_bytes, config.clone(), &mut OsEntropy)?;
            Ok::<_, UdpLinksError>((links, node))
        };
        let ((mut peer, peer_id), (mut own, own_id)) = (links()?, links()?);
        let address = |port| ([127, 0, 0, 1], port).into();
        let descriptor = Descriptor {
            node: own_id,
            key: PrivateKey::random(&mut OsEntropy).public(),
            epoch: EpochParity::Even,
            address: address(2),
        };
        let failed = || SelfTestError::Failed {
            doing: "a link in memory",
        };
        peer.set_directory([&descriptor]).map_err(|_| failed())?;
        let (now, date) = (clock.now(), UnixMillis(1));
        let reference = NodeRef::from(own_id);
        let _ = peer.link(reference, now, date);
        let (_, initiation) = peer.poll_transmit().ok_or_else(failed)?;
        own.handle_input(address(1), &initiation, now)
            .map_err(|_| failed())?;
        let (_, response) = own.poll_transmit().ok_or_else(failed)?;
        peer.handle_input(address(2), &response, now)
            .map_err(|_| failed())?;
        let before = peer.link(reference, now, date).ok().flatten();
        let before = before.ok_or_else(failed)?;
        // With a first frame both have shown their keys.
        let mut frame = vec![0; frame_bytes];
        let mut datagram = vec![0; frame_bytes + DATAGRAM_OVERHEAD_BYTES];
        before
            .seal(0, &frame, &mut datagram, now)
            .map_err(|_| failed())?;
        own.open(&datagram, &mut frame, now).map_err(|_| failed())?;
        let table = own.table();
        Ok(Self {
            before,
            inbound: Arc::clone(table.link_of(&datagram).ok_or_else(failed)?),
            outbound: Arc::clone(table.link_to(peer_id.into()).ok_or_else(failed)?),
        })
    }

    fn open(&self, datagram: &[u8], frame: &mut [u8], clock: &dyn Clock) -> bool {
        self.inbound.open(datagram, frame, clock.now()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_base::SystemClock;

    #[test]
    fn every_packet_is_processed_and_sent_on_with_links_and_without() {
        let clock = SystemClock::new();
        let subject = Subject::new(Geometry::DATAGRAM).unwrap();
        for with_links in [false, true] {
            let mut thread = Thread::new(&subject, with_links, &clock).unwrap();
            // One round uses up the packets of its node only.
            for _ in 0..2 {
                assert!(thread.round(&clock).is_ok());
            }
            let rate = subject.rate(2, with_links, Duration::from_millis(1), &clock);
            assert!(rate.unwrap() > 0);
        }
    }

    #[test]
    fn packets_that_are_not_for_the_key_are_no_capacity() {
        let clock = SystemClock::new();
        let mut subject = Subject::new(Geometry::DATAGRAM).unwrap();
        for byte in &mut subject.packets[7][60..70] {
            *byte ^= 1;
        }
        assert!(matches!(
            subject.rate(1, true, Duration::from_millis(1), &clock),
            Err(SelfTestError::Lost { lost: 1, sent: 256 })
        ));
    }

    #[test]
    fn packets_too_large_for_a_datagram_are_an_error() {
        let geometry = Geometry::new(7, 65_536).unwrap();
        let clock = SystemClock::new();
        let subject = Subject::new(geometry).unwrap();
        assert!(matches!(
            subject.rate(1, true, Duration::from_millis(1), &clock),
            Err(SelfTestError::Links(_))
        ));
    }

    #[test]
    fn the_account_names_every_figure() {
        let capacity = Capacity {
            x25519: ["one", "many"],
            hops_max: 5,
            payload_bytes: 1024,
            packet_bytes: 1426,
            from_topology: false,
            workers: 2,
            unwraps_per_second_solo: 30_001,
            unwraps_per_second_saturated: 50_003,
            relays_per_second_saturated: 40_005,
            trusted_packets_per_second: 20_002,
        };
        let text = capacity.to_string();
        for part in [
            "one",
            "many",
            "30001",
            "50003",
            "40005",
            "20002",
            "default",
            "2 threads",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
