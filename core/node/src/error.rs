//! Why a node, a coordinator or a demonstration cannot go on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use fogcompute_coord::{RecoverError, SubmitError};
use fogcompute_mix::{SendError, TopologyError};
use fogcompute_net::LinkError;
use fogcompute_store::StoreError;
use thiserror::Error;

use crate::fogs::FogFileError;
use crate::protocol::Refusal;
use crate::worker::WorkerError;

/// Why a node or a coordinator stopped.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum NodeError {
    /// The data directory cannot be used.
    #[error("data directory {path}: {source}")]
    DataDirectory {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The node's database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What does its tasks.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The coordinator cannot be reached, or the link to it ended.
    #[error("coordinator {address}: {source}")]
    Coordinator {
        /// Where it was expected.
        address: SocketAddr,
        /// What went wrong.
        source: LinkError,
    },
    /// The coordinator does not let this node in, or sent it away.
    #[error("coordinator {address} refused this node: {reason}")]
    Refused {
        /// The coordinator.
        address: SocketAddr,
        /// What it objects to.
        reason: Refusal,
    },
    /// A coordinator is to hold more nodes than a directory names.
    #[error("nodes_max is {actual}, must be 1 to {max}")]
    NodesMax {
        /// What was asked for.
        actual: usize,
        /// Most nodes.
        max: usize,
    },
    /// A mixnode is to stand in a layer that no fog can have.
    #[error("mix layer {layer} is none: they are 0 to {max}")]
    MixLayer {
        /// What was asked for.
        layer: u8,
        /// The last layer that a fog can have.
        max: u8,
    },
    /// The sandbox fails its self-test.
    #[error("self-test of the sandbox: {0}")]
    SelfTest(#[source] fogcompute_exec::TaskError),
    /// The coordinator's configuration, or the file it should go on from.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// A job was not admitted.
    #[error(transparent)]
    Submit(#[from] SubmitError<StoreError>),
    /// There are not enough mixnodes for a route.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A task could not be sent into the mixnet.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The files of a coordinator or of a token.
    #[error(transparent)]
    Files(#[from] FogFileError),
    /// It was closed, or has ended.
    #[error("the {what} is closed")]
    Closed {
        /// What was closed.
        what: &'static str,
    },
    /// It was made before this process was forked: its thread stayed with the parent.
    #[error("the {what} was made before this process was forked")]
    Forked {
        /// What belongs to the parent.
        what: &'static str,
    },
    /// The operating system refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
}

impl NodeError {
    pub(crate) const fn io(doing: &'static str, source: io::Error) -> Self {
        Self::Io { doing, source }
    }
}
