//! Why a mixnode does not start or ends.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use fogcompute_base::NodeId;
use fogcompute_mix::{PublicKey, TooManyTags, TopologyFileError};
use fogcompute_net::{DirectoryError, EngineError};
use thiserror::Error;

use crate::epochs::{EpochsError, ReadError};
use crate::error::NodeError;

/// Why a mixnode does not start or ends, and why one of its commands fails.
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
    /// The configuration was changed in what a running node cannot change.
    #[error("{what} was changed, for which the node must be started again")]
    NeedsRestart {
        /// What was changed.
        what: &'static str,
    },
    /// Loops are to be sent more often than is allowed.
    #[error("loop_mean_ms is {actual}, must be 0 or at least {min}")]
    LoopMean {
        /// Milliseconds asked for.
        actual: u64,
        /// Fewest milliseconds.
        min: u64,
    },
    /// There is no memory for so many replay tags.
    #[error("replay_tags_max: {0}")]
    TooManyTags(#[from] TooManyTags),
    /// A file of a key has another length.
    #[error("{} has {actual} bytes, a key has 32", path.display())]
    KeyLength {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        actual: usize,
    },
    /// A file holds another key than its name says.
    #[error("{} holds another key than its name says", path.display())]
    KeyName {
        /// The file.
        path: PathBuf,
    },
    /// The key that the topology has for this node is not in the data folder.
    #[error(
        "the topology of epoch {epoch} has the key {key} for this node, which is not in {}; make \
         one with --new-key or --next-key and have it put into the topology",
        data.display()
    )]
    NoKey {
        /// The topology's epoch.
        epoch: u64,
        /// The key.
        key: PublicKey,
        /// The data folder.
        data: PathBuf,
    },
    /// The last run did not end cleanly, so nobody knows what was seen under the mix key.
    #[error(
        "the last run did not end cleanly, so packets to its mix key {key} could be replayed; \
         make another with --new-key and have it put into the topology"
    )]
    Unclean {
        /// The key.
        key: PublicKey,
    },
    /// A node that runs has the data folder.
    #[error("a node that runs has {}", data.display())]
    Taken {
        /// The data folder.
        data: PathBuf,
    },
    /// A topology cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The topologies do not go together.
    #[error(transparent)]
    Epochs(#[from] EpochsError),
    /// No topology is valid now, or what is to be signed is none.
    #[error(transparent)]
    Topology(#[from] TopologyFileError),
    /// The node is not in the topology.
    #[error("node {node} is not in the topology of epoch {epoch}")]
    NotInTopology {
        /// The topology's epoch.
        epoch: u64,
        /// This node.
        node: NodeId,
    },
    /// Packets have another size than those the node was started with.
    #[error("the topology of epoch {epoch} has packets of another size; end the node and start it")]
    OtherGeometry {
        /// The topology's epoch.
        epoch: u64,
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
    /// Keys stay marked as in use although the run ended cleanly.
    #[error("{}", listed(failed))]
    NotPutBack {
        /// Of each, why.
        failed: Vec<MixnodeError>,
    },
    /// No thread to write lines for the operator.
    #[error("starting to write lines: {0}")]
    Lines(#[source] io::Error),
    /// Packets of the topology fit no datagram.
    #[error(
        "packets of {actual} bytes do not fit a datagram, which has room for {max}; payload_bytes \
         must be less"
    )]
    PacketBytes {
        /// Bytes of a packet.
        actual: usize,
        /// Most bytes.
        max: usize,
    },
    /// The self-test.
    #[error(transparent)]
    SelfTest(#[from] super::self_test::SelfTestError),
}

fn listed(errors: &[MixnodeError]) -> String {
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

pub(super) fn file_error(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> MixnodeError {
    let path = path.to_owned();
    move |source| MixnodeError::File {
        doing,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_told_a_key_as_the_topology_has_it() {
        let key = PublicKey::from_bytes([0xab; 32]);
        let text = MixnodeError::Unclean { key }.to_string();
        assert!(
            text.contains(&format!("mix key {} could", "ab".repeat(32))),
            "{text}"
        );
        let data = PathBuf::from("data");
        let text = MixnodeError::NoKey {
            epoch: 7,
            key,
            data,
        }
        .to_string();
        assert!(
            text.contains(&format!("has the key {} for", "ab".repeat(32))),
            "{text}"
        );
    }
}
