//! `fogcompute mix ping`: packets round a network and back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::{Clock, Instant, NodeId, OsEntropy, SystemClock};
use fogcompute_mix::{
    BuildError, Contact, Delivery, EpochParity, Hop, MessageId, Mixnode, MixnodeConfig, NodeRef,
    Packet, PrivateKey, TopologyError, TopologyFile, Transmit,
};
use fogcompute_net::{
    Busy, DirectoryError, EngineConfig, EngineError, EngineHandle, Identity, MixEngine,
};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::network::{NetworkConfig, NetworkError};

/// How long a node of the last layer has to send the first packet back, before it gets another.
const OPEN_AGAIN: Duration = Duration::from_millis(250);

/// What to ping.
#[derive(Clone, Debug)]
pub(crate) struct PingConfig {
    pub(crate) network: NetworkConfig,
    pub(crate) count: u32,
    pub(crate) interval: Duration,
    /// How long to wait for the last ones.
    pub(crate) timeout: Duration,
}

/// Why there is no ping.
#[non_exhaustive]
#[derive(Debug, Error)]
pub(crate) enum PingError {
    /// There is no topology for now.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// There is no route.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A packet cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The network's directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine does not take packets.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// Nothing came back.
    #[error("none of {sent} packets came back")]
    NoneReturned {
        /// Packets sent.
        sent: u32,
    },
}

struct Ping {
    clock: SystemClock,
    contact: Contact,
    file: TopologyFile,
    engine: EngineHandle,
    deliveries: mpsc::Receiver<Delivery>,
    /// Packets on their way to nodes of the last layer and back, and nodes that have sent one back.
    opening: BTreeMap<MessageId, NodeId>,
    open: BTreeSet<NodeId>,
    /// What is out: its number, when it was sent, and the delays it was given.
    out: BTreeMap<MessageId, (u32, Instant, Duration)>,
    /// Of each that returned: its time, and what of that was its delays.
    returned: Vec<(Duration, Duration)>,
}

/// Sends packets over random routes of the network to this program itself.
pub(crate) async fn ping(config: PingConfig) -> Result<(), PingError> {
    let mut ping = Ping::start(&config)?;
    println!(
        "pinging through {} layers, mean delay {:?} a hop, packets of {} bytes",
        ping.file.topology.layers().len(),
        ping.file.topology.delay_mean(),
        ping.file.geometry.packet_bytes()
    );
    ping.open_links(config.timeout).await?;
    for number in 0..config.count {
        ping.send(number)?;
        let end = ping.clock.now() + config.interval;
        while ping.receive_before(end).await {}
    }
    let end = ping.clock.now() + config.timeout;
    while !ping.out.is_empty() && ping.receive_before(end).await {}
    ping.tell(config.count)
}

impl Ping {
    fn start(config: &PingConfig) -> Result<Self, PingError> {
        let clock = SystemClock::new();
        let file = config.network.current(&clock)?;
        let identity = Identity::random(&mut OsEntropy);
        let key = PrivateKey::random(&mut OsEntropy);
        let contact = Contact {
            node: identity.node(),
            key: key.public(),
            epoch: EpochParity::of(file.epoch),
        };
        let mixnode_config = MixnodeConfig {
            geometry: file.geometry,
            relay: false,
            replay_tags_max: 100_000,
            ..MixnodeConfig::default()
        };
        let key = fogcompute_mix::EpochKey::new(key, mixnode_config.replay_tags_max);
        let mixnode = Mixnode::with_epoch_key(contact.epoch, key, mixnode_config);
        let engine_config = EngineConfig {
            workers: 1,
            ..EngineConfig::default()
        };
        let shared: Arc<dyn Clock> = Arc::new(clock);
        let (engine, deliveries) = MixEngine::start(
            mixnode,
            identity,
            config.network.listen,
            &engine_config,
            &shared,
        )?;
        engine.set_directory(file.topology.layers().iter().flatten())?;
        Ok(Self {
            clock,
            contact,
            file,
            engine,
            deliveries,
            opening: BTreeMap::new(),
            open: BTreeSet::new(),
            out: BTreeMap::new(),
            returned: Vec::new(),
        })
    }

    /// A node sends to this program only over a link that this program has opened. So before any
    /// packet is counted, each node of the last layer has sent one back, or had the time to.
    async fn open_links(&mut self, timeout: Duration) -> Result<(), PingError> {
        let last = self.file.topology.layers().last().into_iter().flatten();
        let last: Vec<_> = last.copied().collect();
        let end = self.clock.now() + timeout;
        while self.open.len() < last.len() && self.clock.now() < end {
            let mut transmits = Vec::new();
            for node in last.iter().filter(|node| !self.open.contains(&node.node)) {
                let id = MessageId::random(&mut OsEntropy);
                let route = [node.contact(), self.contact].map(|hop| Hop::at(hop, Duration::ZERO));
                transmits.push(self.packet(&route, id.as_bytes())?);
                self.opening.insert(id, node.node);
            }
            self.engine.send(transmits)?;
            let again = end.min(self.clock.now() + OPEN_AGAIN);
            while self.open.len() < last.len() && self.receive_before(again).await {}
        }
        Ok(())
    }

    fn packet(&self, route: &[Hop], payload: &[u8]) -> Result<Transmit, PingError> {
        Ok(Transmit {
            to: NodeRef::from(route[0].node),
            packet: Packet::build(self.file.geometry, route, payload, &mut OsEntropy)?,
        })
    }

    fn send(&mut self, number: u32) -> Result<(), PingError> {
        let route = self.file.topology.route(self.contact, &mut OsEntropy)?;
        let id = MessageId::random(&mut OsEntropy);
        let transmit = self.packet(&route, id.as_bytes())?;
        let delays = route.iter().map(|hop| hop.delay).sum();
        self.out.insert(id, (number, self.clock.now(), delays));
        Ok(self.engine.send(vec![transmit])?)
    }

    /// Takes the next packet that comes. `false` if none does before `end`.
    async fn receive_before(&mut self, end: Instant) -> bool {
        let left = end.duration_since(self.clock.now());
        let Ok(Some(delivery)) = tokio::time::timeout(left, self.deliveries.recv()).await else {
            return false;
        };
        let Delivery::Message(payload) = delivery else {
            return true;
        };
        let Ok(id) = <[u8; 16]>::try_from(payload).map(MessageId::from_bytes) else {
            return true;
        };
        self.open.extend(self.opening.remove(&id));
        if let Some((number, sent, delays)) = self.out.remove(&id) {
            let took = self.clock.now().duration_since(sent);
            println!("packet {number}: {took:.1?}, of which {delays:.1?} were its delays");
            self.returned.push((took, delays));
        }
        true
    }

    fn tell(mut self, sent: u32) -> Result<(), PingError> {
        self.returned.sort_unstable();
        let Some((median, _)) = self.returned.get(self.returned.len() / 2) else {
            return Err(PingError::NoneReturned { sent });
        };
        let overheads = self
            .returned
            .iter()
            .map(|(took, delays)| took.saturating_sub(*delays));
        let most = overheads.max().unwrap_or_default();
        println!(
            "{} of {sent} came back; median {median:.1?}; at most {most:.1?} beside the delays",
            self.returned.len()
        );
        Ok(())
    }
}
