//! The network that a command is to use.

use std::net::SocketAddr;
use std::path::PathBuf;

use fogcompute_base::{Clock, NodeId, SystemClock};
use fogcompute_mix::{TopologyFile, TopologyFileError};
use thiserror::Error;

use crate::epochs::{Epochs, EpochsError, ReadError, read};

/// Which network, and from where.
#[derive(Clone, Debug)]
pub(crate) struct NetworkConfig {
    /// Topologies of different epochs; the one that is valid now is used.
    pub(crate) topologies: Vec<PathBuf>,
    /// Whose signature they have.
    pub(crate) authority: NodeId,
    /// Where to send from and receive.
    pub(crate) listen: SocketAddr,
}

/// Why there is no topology to go by.
#[non_exhaustive]
#[derive(Debug, Error)]
pub(crate) enum NetworkError {
    /// One cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// They do not go together.
    #[error(transparent)]
    Epochs(#[from] EpochsError),
    /// None is valid now.
    #[error(transparent)]
    Topology(#[from] TopologyFileError),
}

impl NetworkConfig {
    pub(crate) fn epochs(&self) -> Result<Epochs, NetworkError> {
        let paths = self.topologies.iter();
        let files: Result<_, _> = paths.map(|path| read(path, self.authority)).collect();
        Ok(Epochs::new(files?)?)
    }

    /// The topology that is valid now.
    pub(crate) fn current(&self, clock: &SystemClock) -> Result<TopologyFile, NetworkError> {
        Ok(self.epochs()?.current(clock.unix_now())?.clone())
    }
}
