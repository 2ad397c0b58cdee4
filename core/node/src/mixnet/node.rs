//! A mixnode in this program.

use std::mem;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fogcompute_base::{Clock, OsEntropy, SystemClock};
use fogcompute_mix::{
    Descriptor, EpochKey, EpochParity, Geometry, Mixnode, MixnodeConfig, PrivateKey, TopologyFile,
};
use fogcompute_net::{EngineConfig, EngineHandle, EngineStats, Identity, MixEngine};
use fogcompute_store::HomeProcess;

use super::{MixnetError, NODE, check_packets};

/// How a [`MixnetNode`] is made.
#[derive(Clone, Debug)]
pub struct MixnetNodeConfig {
    /// The UDP address it listens on; port 0 is any that is free.
    pub listen: SocketAddr,
    /// Where others reach it, if that is not where it listens.
    pub address: Option<SocketAddr>,
    /// The secret key of its identity; the default is a new one.
    pub identity: Option<[u8; 32]>,
    /// The epoch its mix key is of. The key itself is always new, so that packets which somebody
    /// recorded before a restart cannot be replayed after it.
    pub epoch: u64,
    /// The network's packet sizes.
    pub geometry: Geometry,
    /// Threads that process packets; 0 is one for each processor.
    pub workers: usize,
    /// Packets of the mix key there is room for, 5 bytes each, taken from the system as they come.
    pub replay_tags_max: usize,
}

impl Default for MixnetNodeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            address: None,
            identity: None,
            epoch: 0,
            geometry: Geometry::DEFAULT,
            workers: 1,
            replay_tags_max: MixnodeConfig::default().replay_tags_max,
        }
    }
}

/// A mixnode that runs on threads of this program, over UDP.
///
/// It relays for everybody who opens a link to it, as soon as it knows the network:
/// make the nodes, put their descriptors into a topology, and give that to each of them.
///
/// A forked child has none of its threads: there every call fails with [`MixnetError::Forked`].
#[derive(Debug)]
pub struct MixnetNode {
    engine: Mutex<Option<EngineHandle>>,
    descriptor: Descriptor,
    geometry: Geometry,
    home: HomeProcess,
}

impl MixnetNode {
    /// Starts a mixnode that knows no other yet.
    ///
    /// # Errors
    /// [`MixnetError::Engine`], [`MixnetError::TooManyTags`].
    #[expect(clippy::needless_pass_by_value, reason = "a configuration is used up")]
    pub fn start(config: MixnetNodeConfig) -> Result<Self, MixnetError> {
        let identity = config
            .identity
            .map_or_else(|| Identity::random(&mut OsEntropy), Identity::from_bytes);
        let node = identity.node();
        let key = PrivateKey::random(&mut OsEntropy);
        let epoch = EpochParity::of(config.epoch);
        let public = key.public();
        let mixnode_config = MixnodeConfig {
            geometry: config.geometry,
            replay_tags_max: config.replay_tags_max,
            ..MixnodeConfig::default()
        };
        let key = EpochKey::try_new(key, config.replay_tags_max)?;
        let mixnode = Mixnode::with_epoch_key(epoch, key, mixnode_config);
        let engine_config = EngineConfig {
            workers: config.workers,
            ..EngineConfig::default()
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        // What ends at this node is cover and the packets that open links; the engine counts it.
        let (engine, _) =
            MixEngine::start(mixnode, identity, config.listen, &engine_config, &clock)?;
        let descriptor = Descriptor {
            node,
            key: public,
            epoch,
            address: config.address.unwrap_or(engine.address()),
        };
        Ok(Self {
            engine: Mutex::new(Some(engine)),
            descriptor,
            geometry: config.geometry,
            home: HomeProcess::here(),
        })
    }

    fn engine(&self) -> Result<MutexGuard<'_, Option<EngineHandle>>, MixnetError> {
        if !self.home.is_here() {
            return Err(MixnetError::Forked { what: NODE });
        }
        Ok(self.engine.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What others must know of it.
    #[must_use]
    pub const fn descriptor(&self) -> Descriptor {
        self.descriptor
    }

    /// Tells it of the other nodes. It sends packets to those and to whoever opened a link to it.
    ///
    /// # Errors
    /// [`MixnetError::OtherPackets`], [`MixnetError::NotInTopology`], [`MixnetError::Directory`],
    /// [`MixnetError::Closed`], [`MixnetError::Forked`]; then what was known before stays.
    pub fn set_topology(&self, file: &TopologyFile) -> Result<(), MixnetError> {
        let engine = self.engine()?;
        let engine = engine.as_ref().ok_or(MixnetError::Closed { what: NODE })?;
        check_packets(NODE, self.geometry, file.geometry)?;
        let node = self.descriptor.node;
        let mut nodes = file.topology.layers().iter().flatten();
        if nodes.all(|other| other.node != node) {
            return Err(MixnetError::NotInTopology { node });
        }
        Ok(engine.set_directory(file.topology.layers().iter().flatten())?)
    }

    /// What it counted since its start.
    ///
    /// # Errors
    /// [`MixnetError::Closed`], [`MixnetError::Forked`].
    pub fn stats(&self) -> Result<EngineStats, MixnetError> {
        let engine = self.engine()?;
        let engine = engine.as_ref().ok_or(MixnetError::Closed { what: NODE })?;
        Ok(engine.stats())
    }

    /// Takes no further packets, sends what is held when it is due, and ends: when nothing is held
    /// any more, or after `within`. Blocks until then. Returns what it counted.
    ///
    /// # Errors
    /// [`MixnetError::Closed`], [`MixnetError::Forked`].
    pub fn drain(&self, within: Duration) -> Result<EngineStats, MixnetError> {
        let engine = self.engine()?.take();
        let engine = engine.ok_or(MixnetError::Closed { what: NODE })?;
        Ok(engine.drain(within))
    }

    /// Ends it at once; what it holds is lost. Closing again does nothing, nor does closing in a
    /// forked child. Dropping it closes it.
    pub fn close(&self) {
        if let Ok(mut engine) = self.engine() {
            engine.take();
        }
    }
}

impl Drop for MixnetNode {
    fn drop(&mut self) {
        if !self.home.is_here() {
            // Its threads are the parent's: waiting for them would never end.
            let engine = self.engine.get_mut();
            mem::forget(engine.unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}
