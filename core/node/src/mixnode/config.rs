//! What `fogcompute mixnode --config` reads.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fogcompute_base::NodeId;
use fogcompute_mix::{Geometry, MixnodeConfig, TopologyFile};
use serde::Deserialize;

use crate::epochs::{self, Epochs, ReadError};

use super::error::{MixnodeError, file_error};

/// Fewest milliseconds between a node's loops on average.
const LOOP_MEAN_MS_MIN: u64 = 10;

/// What `fogcompute mixnode --config` reads.
///
/// ```toml
/// listen = "0.0.0.0:4000"            # UDP
/// data = "/var/lib/fogcompute"       # keys; relative paths are to this file
/// topology = "topology.toml"
/// next_topology = "next.toml"        # optional: that of the next epoch, once it is there
/// authority = "<64 hex digits>"      # whose signature the topologies have
/// workers = 0                        # threads; 0 is one for each processor
/// metrics = "127.0.0.1:9100"         # optional: /metrics and /health by HTTP
/// replay_tags_max = 4000000          # packets of one key, 5 bytes each
/// drain_seconds = 10                 # how long packets may still be held when the node is to end
///
/// [cover]
/// loop_mean_ms = 1000                # mean time between loops; 0 is none
/// ```
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct MixnodeFile {
    pub(super) listen: SocketAddr,
    pub(super) data: PathBuf,
    topology: PathBuf,
    next_topology: Option<PathBuf>,
    // 32 bytes in hexadecimal digits, as node ids are written.
    authority: NodeId,
    #[serde(default)]
    pub(super) workers: usize,
    pub(super) metrics: Option<SocketAddr>,
    #[serde(default = "default_replay_tags")]
    pub(super) replay_tags_max: usize,
    #[serde(default = "default_drain")]
    drain_seconds: u64,
    #[serde(default)]
    cover: CoverTable,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct CoverTable {
    #[serde(default = "default_loop_mean")]
    loop_mean_ms: u64,
}

impl Default for CoverTable {
    fn default() -> Self {
        Self {
            loop_mean_ms: default_loop_mean(),
        }
    }
}

const fn default_loop_mean() -> u64 {
    1_000
}

fn default_replay_tags() -> usize {
    MixnodeConfig::default().replay_tags_max
}

const fn default_drain() -> u64 {
    10
}

impl MixnodeFile {
    pub(super) fn read(path: &Path) -> Result<Self, MixnodeError> {
        let text = fs::read_to_string(path).map_err(file_error("reading", path))?;
        let mut file: Self = toml::from_str(&text).map_err(|source| MixnodeError::Config {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let actual = file.cover.loop_mean_ms;
        if actual != 0 && actual < LOOP_MEAN_MS_MIN {
            let min = LOOP_MEAN_MS_MIN;
            return Err(MixnodeError::LoopMean { actual, min });
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        file.data = folder.join(&file.data);
        file.topology = folder.join(&file.topology);
        file.next_topology = file.next_topology.map(|next| folder.join(next));
        Ok(file)
    }

    /// What another configuration has changed that a running node cannot change.
    pub(super) fn needs_restart(&self, other: &Self) -> Option<&'static str> {
        [
            ("listen", self.listen == other.listen),
            ("data", self.data == other.data),
            ("authority", self.authority == other.authority),
            ("workers", self.workers == other.workers),
            ("metrics", self.metrics == other.metrics),
        ]
        .into_iter()
        .find_map(|(what, same)| (!same).then_some(what))
    }

    /// The topologies there are. That of the next epoch may be missing.
    pub(super) fn epochs(&self) -> Result<Epochs, MixnodeError> {
        let mut files = vec![epochs::read(&self.topology, self.authority)?];
        files.extend(self.next()?);
        Ok(Epochs::new(files)?)
    }

    /// The topologies there are, if any, whether or not they go together.
    pub(super) fn topologies(&self) -> Result<Vec<TopologyFile>, MixnodeError> {
        let first = self.read_if_any(&self.topology)?;
        Ok(first.into_iter().chain(self.next()?).collect())
    }

    fn next(&self) -> Result<Option<TopologyFile>, MixnodeError> {
        let next = self.next_topology.as_ref();
        next.map_or(Ok(None), |next| self.read_if_any(next))
    }

    fn read_if_any(&self, path: &Path) -> Result<Option<TopologyFile>, MixnodeError> {
        match epochs::read(path, self.authority) {
            Ok(file) => Ok(Some(file)),
            Err(ReadError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The packet sizes of its network; nothing if there is no topology yet.
    pub(super) fn geometry(&self) -> Result<Option<Geometry>, MixnodeError> {
        let file = self.read_if_any(&self.topology)?;
        Ok(file.map(|file| file.geometry))
    }

    pub(super) const fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    /// Mean time between the node's loops.
    pub(super) fn loops(&self) -> Option<Duration> {
        let mean = Duration::from_millis(self.cover.loop_mean_ms);
        (!mean.is_zero()).then_some(mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "listen = '127.0.0.1:0'\ndata = 'data'\ntopology = 't.toml'\n";

    fn read(more: &str) -> Result<MixnodeFile, MixnodeError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        let authority = "00".repeat(32);
        fs::write(&path, format!("{TEXT}authority = '{authority}'\n{more}")).unwrap();
        let file = MixnodeFile::read(&path)?;
        assert_eq!(file.data, folder.path().join("data"));
        assert_eq!(file.topology, folder.path().join("t.toml"));
        Ok(file)
    }

    #[test]
    fn what_is_left_out_has_its_default_and_what_is_unknown_is_refused() {
        let file = read("").unwrap();
        assert_eq!(file.loops(), Some(Duration::from_secs(1)));
        assert_eq!(file.drain(), Duration::from_secs(10));
        assert_eq!(read("[cover]\nloop_mean_ms = 0\n").unwrap().loops(), None);
        assert_eq!(read("[cover]\n").unwrap().loops(), file.loops());
        let other = read("metrics = '127.0.0.1:1'\n").unwrap();
        assert_eq!(
            other.needs_restart(&file).filter(|what| *what != "data"),
            None
        );
        for unknown in ["workres = 2\n", "[cover]\nloops_mean_ms = 5\n"] {
            assert!(matches!(read(unknown), Err(MixnodeError::Config { .. })));
        }
        assert!(matches!(
            read("[cover]\nloop_mean_ms = 9\n"),
            Err(MixnodeError::LoopMean { actual: 9, min: 10 })
        ));
    }
}
