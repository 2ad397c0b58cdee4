//! `fogcompute mixnode`: a mixnode of a network with a signed topology file.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fogcompute_base::{Clock, CryptoRng, NodeId, OsEntropy, SystemClock};
use fogcompute_mix::{
    Descriptor, EpochKey, EpochParity, Geometry, Mixnode, MixnodeConfig, PrivateKey, PublicKey,
    TopologyFile, TopologyFileError,
};
use fogcompute_net::{
    DirectoryError, EngineConfig, EngineError, EngineHandle, EngineStats, Identity, MixEngine,
};
use serde::Deserialize;
use thiserror::Error;

use crate::error::NodeError;
use crate::files::{Readers, rename, replace};
use crate::metrics;
use crate::signals::{Asked, Signals};

/// The node's mix key, before and between its runs.
const KEY: &str = "mix.key";
/// The same while the node runs: a start that finds it knows that the last run did not end cleanly.
const KEY_IN_USE: &str = "mix.key.in-use";
/// What the last run saw under the key.
const SEEN: &str = "mix.seen";
const IDENTITY: &str = "identity.key";

/// What `fogcompute mixnode --config` reads.
///
/// ```toml
/// listen = "0.0.0.0:4000"            # UDP
/// data = "/var/lib/fogcompute"       # keys; relative paths are to this file
/// topology = "topology.toml"
/// authority = "<64 hex digits>"      # whose signature the topology has
/// workers = 0                        # threads; 0 is one for each processor
/// metrics = "127.0.0.1:9100"         # optional: /metrics and /health by HTTP
/// replay_tags_max = 4000000          # packets of one key, 5 bytes each
/// drain_seconds = 10                 # how long packets may still be held when the node is to end
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct MixnodeFile {
    listen: SocketAddr,
    data: PathBuf,
    topology: PathBuf,
    // 32 bytes in hexadecimal digits, as node ids are written.
    authority: NodeId,
    #[serde(default)]
    workers: usize,
    metrics: Option<SocketAddr>,
    #[serde(default = "default_replay_tags")]
    replay_tags_max: usize,
    #[serde(default = "default_drain")]
    drain_seconds: u64,
}

fn default_replay_tags() -> usize {
    MixnodeConfig::default().replay_tags_max
}

const fn default_drain() -> u64 {
    10
}

/// Why a mixnode does not start or ends.
#[non_exhaustive]
#[derive(Debug, Error)]
pub(crate) enum MixnodeError {
    /// A file or folder.
    #[error("{doing} {}: {source}", path.display())]
    File {
        /// What was attempted.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The configuration is not of this form.
    #[error("{}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<toml::de::Error>,
    },
    /// A file of a key has another length.
    #[error("{} has {actual} bytes, a key has 32", path.display())]
    KeyLength {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        actual: usize,
    },
    /// There is no mix key yet.
    #[error("no mix key in {}; make one with --new-key and have it put into the topology", data.display())]
    NoKey {
        /// The data folder.
        data: PathBuf,
    },
    /// The last run did not end cleanly, so nobody knows what was seen under the mix key.
    #[error(
        "the last run did not end cleanly, so packets to its mix key could be replayed; \
         make another with --new-key and have it put into the topology"
    )]
    Unclean,
    /// The topology.
    #[error("{}: {source}", path.display())]
    Topology {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TopologyFileError,
    },
    /// The node is not in the topology.
    #[error("node {node} is not in the topology")]
    NotInTopology {
        /// This node.
        node: NodeId,
    },
    /// The topology has another key for the node.
    #[error("the topology has the key {theirs:?} for this node, which has {ours:?}")]
    OtherKey {
        /// The topology's.
        theirs: PublicKey,
        /// The node's.
        ours: PublicKey,
    },
    /// The network's directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Signals cannot be listened for.
    #[error(transparent)]
    Signals(#[from] NodeError),
    /// The address for metrics cannot be listened on.
    #[error("cannot listen on {address} for metrics: {source}")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
}

fn file_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MixnodeError {
    let path = path.to_owned();
    move |source| MixnodeError::File {
        doing,
        path,
        source,
    }
}

impl MixnodeFile {
    fn read(path: &Path) -> Result<Self, MixnodeError> {
        let text = fs::read_to_string(path).map_err(file_error("reading", path))?;
        let mut file: Self = toml::from_str(&text).map_err(|source| MixnodeError::Config {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        file.data = folder.join(&file.data);
        file.topology = folder.join(&file.topology);
        Ok(file)
    }

    fn topology(&self, clock: &dyn Clock) -> Result<TopologyFile, MixnodeError> {
        let path = &self.topology;
        let text = fs::read_to_string(path).map_err(file_error("reading", path))?;
        TopologyFile::verify(&text, self.authority.as_bytes(), clock.unix_now()).map_err(|source| {
            MixnodeError::Topology {
                path: path.clone(),
                source,
            }
        })
    }
}

fn read_key(path: &Path) -> Result<Option<[u8; 32]>, MixnodeError> {
    match fs::read(path) {
        Ok(bytes) => {
            let actual = bytes.len();
            let key = <[u8; 32]>::try_from(bytes).map_err(|_| MixnodeError::KeyLength {
                path: path.to_owned(),
                actual,
            })?;
            Ok(Some(key))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error("reading", path)(error)),
    }
}

fn random_key(rng: &mut impl CryptoRng) -> [u8; 32] {
    let mut key = [0; 32];
    rng.fill_bytes(&mut key);
    key
}

/// The node's keys in its data folder.
struct Keys {
    data: PathBuf,
}

impl Keys {
    fn open(data: &Path) -> Result<Self, MixnodeError> {
        fs::create_dir_all(data).map_err(file_error("creating", data))?;
        Ok(Self {
            data: data.to_owned(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.join(name)
    }

    /// The node's long-term key, made when it is first asked for.
    fn identity(&self) -> Result<Identity, MixnodeError> {
        let path = self.path(IDENTITY);
        let secret = if let Some(secret) = read_key(&path)? {
            secret
        } else {
            let secret = random_key(&mut OsEntropy);
            replace(&path, &secret, Readers::Owner).map_err(file_error("writing", &path))?;
            secret
        };
        Ok(Identity::from_bytes(secret))
    }

    /// Makes a mix key in place of the one there is.
    fn renew(&self) -> Result<PrivateKey, MixnodeError> {
        let secret = random_key(&mut OsEntropy);
        let path = self.path(KEY);
        // What was seen under the old key first: beside the new one it would mean nothing.
        for name in [SEEN, KEY_IN_USE] {
            self.remove(name)?;
        }
        replace(&path, &secret, Readers::Owner).map_err(file_error("writing", &path))?;
        Ok(PrivateKey::from_bytes(secret))
    }

    fn remove(&self, name: &str) -> Result<(), MixnodeError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(file_error("removing", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The mix key for a run. From here on it counts as in use, until [`Keys::put_back`].
    fn take(&self, replay_tags_max: usize) -> Result<EpochKey, MixnodeError> {
        let (path, in_use) = (self.path(KEY), self.path(KEY_IN_USE));
        let Some(secret) = read_key(&path)? else {
            return Err(if in_use.exists() {
                MixnodeError::Unclean
            } else {
                MixnodeError::NoKey {
                    data: self.data.clone(),
                }
            });
        };
        let key = PrivateKey::from_bytes(secret);
        let seen = self.path(SEEN);
        let key = match fs::read(&seen) {
            Ok(bytes) => EpochKey::restore(key, &bytes).ok_or(MixnodeError::Unclean)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                EpochKey::new(key, replay_tags_max)
            }
            Err(error) => return Err(file_error("reading", &seen)(error)),
        };
        rename(&path, &in_use).map_err(file_error("renaming", &path))?;
        Ok(key)
    }

    /// After a clean end: the key may be used again, with what was seen under it.
    fn put_back(&self, key: &EpochKey) -> Result<(), MixnodeError> {
        let (seen, in_use) = (self.path(SEEN), self.path(KEY_IN_USE));
        replace(&seen, &key.replay_filter().to_bytes(), Readers::Owner)
            .map_err(file_error("writing", &seen))?;
        rename(&in_use, &self.path(KEY)).map_err(file_error("renaming", &in_use))
    }
}

/// Writes lines to the standard output. A reader that has gone away stops nothing.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// `fogcompute mixnode --new-key`: makes a mix key and says what the topology needs.
pub(crate) fn new_key(config: &Path) -> Result<(), MixnodeError> {
    let file = MixnodeFile::read(config)?;
    let keys = Keys::open(&file.data)?;
    let (identity, key) = (keys.identity()?, keys.renew()?);
    say(&format!(
        "{{ node = \"{}\", key = \"{}\", address = \"{}\" }}",
        identity.node(),
        hex(key.public()),
        file.listen
    ));
    Ok(())
}

/// `fogcompute mix sign`: prints a topology with its signature.
pub(crate) fn sign(key: &Path, topology: &Path) -> Result<(), MixnodeError> {
    let secret = match fs::read_to_string(key) {
        Ok(text) => {
            let text = text.trim();
            let secret: NodeId = text.parse().map_err(|_| MixnodeError::KeyLength {
                path: key.to_owned(),
                actual: text.len() / 2,
            })?;
            *secret.as_bytes()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = random_key(&mut OsEntropy);
            let text = format!("{}\n", NodeId::from_bytes(secret));
            replace(key, text.as_bytes(), Readers::Owner).map_err(file_error("writing", key))?;
            secret
        }
        Err(error) => return Err(file_error("reading", key)(error)),
    };
    let text = fs::read_to_string(topology).map_err(file_error("reading", topology))?;
    let authority = NodeId::from_bytes(TopologyFile::authority_of(&secret));
    let _ = writeln!(io::stderr(), "authority {authority}");
    say(TopologyFile::sign_text(&text, &secret).trim_end());
    Ok(())
}

fn hex(key: PublicKey) -> String {
    fogcompute_base::Digest::from_bytes(*key.as_bytes()).to_string()
}

/// A topology that has this node in it, with its key.
fn own_topology(
    file: &MixnodeFile,
    node: NodeId,
    key: PublicKey,
    clock: &dyn Clock,
) -> Result<TopologyFile, MixnodeError> {
    let topology = file.topology(clock)?;
    let mut nodes = topology.topology.layers().iter().flatten();
    let own = nodes
        .find(|descriptor| descriptor.node == node)
        .ok_or(MixnodeError::NotInTopology { node })?;
    if own.key != key {
        return Err(MixnodeError::OtherKey {
            theirs: own.key,
            ours: key,
        });
    }
    Ok(topology)
}

/// A mixnode that runs.
struct Running {
    engine: EngineHandle,
    geometry: Geometry,
    epoch: EpochParity,
}

fn directory(topology: &TopologyFile) -> impl Iterator<Item = &Descriptor> {
    topology.topology.layers().iter().flatten()
}

fn start(
    file: &MixnodeFile,
    identity: Identity,
    key: &EpochKey,
    clock: &Arc<dyn Clock>,
) -> Result<Running, MixnodeError> {
    let topology = own_topology(file, identity.node(), key.public_key(), &**clock)?;
    let epoch = EpochParity::of(topology.epoch);
    let config = MixnodeConfig {
        geometry: topology.geometry,
        replay_tags_max: file.replay_tags_max,
        ..MixnodeConfig::default()
    };
    let engine_config = EngineConfig {
        workers: file.workers,
        ..EngineConfig::default()
    };
    let mixnode = Mixnode::with_epoch_key(epoch, key.clone(), config);
    // A mixnode receives cover and loops of nobody but itself: what is for it is dropped here.
    let (engine, _) = MixEngine::start(mixnode, identity, file.listen, &engine_config, clock)?;
    engine.set_directory(directory(&topology))?;
    Ok(Running {
        engine,
        geometry: topology.geometry,
        epoch,
    })
}

/// `fogcompute mixnode`: runs until the process is asked to stop, then sends what it holds.
///
/// SIGHUP reads the configuration's topology again.
pub(crate) async fn run(config: &Path) -> Result<(), MixnodeError> {
    let mut signals = Signals::listen()?;
    let file = MixnodeFile::read(config)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let keys = Keys::open(&file.data)?;
    let identity = keys.identity()?;
    let node = identity.node();
    let metrics = match file.metrics {
        Some(address) => Some(
            tokio::net::TcpListener::bind(address)
                .await
                .map_err(|source| MixnodeError::Metrics { address, source })?,
        ),
        None => None,
    };
    // Last, because from here on the key is in use.
    let key = keys.take(file.replay_tags_max)?;
    let started = start(&file, identity, &key, &clock);
    let Running {
        engine,
        geometry,
        epoch,
    } = match started {
        Ok(running) => running,
        Err(error) => {
            // Nothing was received, so nothing was seen.
            keys.put_back(&key)?;
            return Err(error);
        }
    };
    say(&format!(
        "node {node}\nlistening on {} with {} threads, packets of {} bytes, {epoch:?} epoch",
        engine.address(),
        engine.workers(),
        geometry.packet_bytes()
    ));
    let engine = Arc::new(engine);
    let served =
        metrics.map(|listener| tokio::spawn(metrics::serve(listener, Arc::clone(&engine))));
    while signals.stop_or_reload().await == Asked::Reload {
        let again = own_topology(&file, node, key.public_key(), &*clock)
            .and_then(|topology| Ok(engine.set_directory(directory(&topology))?));
        match again {
            Ok(()) => say("topology read again"),
            Err(error) => say(&format!("the topology stays as it was: {error}")),
        }
    }
    if let Some(served) = served {
        served.abort();
        let _ = served.await;
    }
    say("asked to stop: sending what is held");
    let stats = drain(engine, Duration::from_secs(file.drain_seconds)).await;
    keys.put_back(&key)?;
    say(&format!(
        "received {}, forwarded {}, lost {} that were held too long",
        stats.mix.received, stats.mix.forwarded, stats.undrained
    ));
    Ok(())
}

async fn drain(engine: Arc<EngineHandle>, within: Duration) -> EngineStats {
    let Some(engine) = Arc::into_inner(engine) else {
        unreachable!("who served the metrics has ended");
    };
    let drained = tokio::task::spawn_blocking(move || engine.drain(within));
    drained.await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fogcompute_mix::{Hop, Packet, ReplayVerdict};

    fn keys() -> (tempfile::TempDir, Keys) {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(&folder.path().join("data")).unwrap();
        (folder, keys)
    }

    #[test]
    fn a_key_is_used_again_only_after_a_clean_end_and_with_what_was_seen() {
        let (_folder, keys) = keys();
        assert!(matches!(keys.take(100), Err(MixnodeError::NoKey { .. })));
        let made = keys.renew().unwrap();
        let key = keys.take(100).unwrap();
        assert_eq!(key.public_key(), made.public());
        // As long as it is in use, nobody else gets it: not after a crash, either.
        assert!(matches!(keys.take(100), Err(MixnodeError::Unclean)));
        let tag = fogcompute_mix::ReplayTag::from_bytes([5; 16]);
        assert_eq!(key.replay_filter().check(tag), ReplayVerdict::Fresh);
        keys.put_back(&key).unwrap();
        let again = keys.take(100).unwrap();
        assert_eq!(again.public_key(), made.public());
        assert_eq!(again.replay_filter().check(tag), ReplayVerdict::Replayed);
        // A new key starts with nothing seen.
        let other = keys.renew().unwrap();
        assert_ne!(other.public(), made.public());
        assert!(keys.take(100).unwrap().replay_filter().is_empty());
    }

    #[test]
    fn damaged_keys_are_refused_by_name_and_the_identity_stays() {
        let (_folder, keys) = keys();
        let node = keys.identity().unwrap().node();
        assert_eq!(keys.identity().unwrap().node(), node);
        fs::write(keys.path(KEY), [1; 31]).unwrap();
        let refused = keys.take(100).unwrap_err();
        assert!(matches!(
            refused,
            MixnodeError::KeyLength { actual: 31, .. }
        ));
        keys.renew().unwrap();
        fs::write(keys.path(SEEN), b"nonsense").unwrap();
        assert!(matches!(keys.take(100), Err(MixnodeError::Unclean)));
        #[cfg(unix)]
        {
            let mode = fs::metadata(keys.path(IDENTITY)).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_node_that_is_not_in_the_topology_keeps_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        let secret = [3; 32];
        let authority = fogcompute_base::Digest::from_bytes(TopologyFile::authority_of(&secret));
        let text = format!(
            "listen = '127.0.0.1:0'\ndata = 'data'\ntopology = 't.toml'\nauthority = '{authority}'\n"
        );
        fs::write(&path, &text).unwrap();
        let file = MixnodeFile::read(&path).unwrap();
        assert_eq!(file.data, folder.path().join("data"));
        fs::write(&path, format!("{text}workres = 2\n")).unwrap();
        assert!(matches!(
            MixnodeFile::read(&path),
            Err(MixnodeError::Config { .. })
        ));

        let keys = Keys::open(&file.data).unwrap();
        keys.renew().unwrap();
        let key = keys.take(100).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let node = keys.identity().unwrap().node();
        let write = |node, key, epoch| {
            let descriptor = Descriptor {
                node,
                key,
                epoch: EpochParity::of(epoch),
                address: ([127, 0, 0, 1], 4000).into(),
            };
            let topology =
                fogcompute_mix::Topology::new(vec![vec![descriptor]], Duration::from_millis(1));
            let signed = TopologyFile {
                epoch,
                valid_from: fogcompute_base::UnixMillis(0),
                valid_until: fogcompute_base::UnixMillis(u64::MAX),
                geometry: Geometry::DATAGRAM,
                topology: topology.unwrap(),
            };
            fs::write(&file.topology, signed.sign(&secret).unwrap()).unwrap();
        };
        let started = || start(&file, keys.identity().unwrap(), &key, &clock);
        assert!(matches!(started(), Err(MixnodeError::File { .. })));
        write(NodeId::from_bytes([9; 32]), key.public_key(), 1);
        assert!(matches!(started(), Err(MixnodeError::NotInTopology { .. })));
        let other = PrivateKey::from_bytes([4; 32]).public();
        write(node, other, 1);
        assert!(matches!(started(), Err(MixnodeError::OtherKey { .. })));
        write(node, key.public_key(), 1);
        let running = started().unwrap();
        assert_eq!(running.epoch, EpochParity::Odd);
        // A packet to the key of the topology's epoch is one that the node takes.
        let hop = Hop {
            epoch: EpochParity::Odd,
            ..Hop::new(node, key.public_key(), Duration::ZERO)
        };
        assert!(Packet::build(running.geometry, &[hop], b"", &mut OsEntropy).is_ok());
    }
}
