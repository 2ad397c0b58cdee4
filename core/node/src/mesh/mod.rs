//! A peer of the mesh inside a program: links, a file, and a thread that drives the rules.

mod events;
mod files;
mod kept;
mod local;
mod node;
mod state;
#[cfg(test)]
mod tests;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use fogcompute_base::Digest;
use fogcompute_mesh::{FormatError, RestoreError, SendError};
use fogcompute_store::StoreError;
use thiserror::Error;

pub use events::{MeshEvent, MeshFileEnd};
pub(crate) use files::open_to_send;
pub use node::{MeshGroup, MeshHistory, MeshNode, MeshNodeConfig, MeshNodeStats};
pub(crate) use state::{DialNew, DialNews};
pub use transport::MeshTransport;

/// Why a mesh node cannot start or do something.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum MeshError {
    /// It was closed.
    #[error("the mesh node is closed")]
    Closed,
    /// It has ended, for its file could not be written. Every call says so, from the first on that would have had
    /// something written. What the file has is as it was: start a node with it when that can be written again.
    #[error("the mesh node has ended: {0}")]
    Failed(#[source] Arc<StoreError>),
    /// It was made before this process was forked: its thread stayed with the parent.
    #[error("the mesh node was made before this process was forked")]
    Forked,
    /// The rules refuse it.
    #[error(transparent)]
    Send(#[from] SendError),
    /// What the file says of the rules makes no sense.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system gives no thread.
    #[error("thread: {0}")]
    Thread(#[source] io::Error),
    /// A file to send or to receive cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A name, an identifier or a file is longer than its format allows.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Something has the name already that a file is to be written to, or written to on the way (`.part`). It stays as
    /// it is: choose another name.
    #[error("{} is there already, and stays as it is: choose another name", path.display())]
    FileExists {
        /// What is there.
        path: PathBuf,
    },
    /// What is to be sent is no regular file, but a pipe or a device, which has no end.
    #[error("{} is no regular file", path.display())]
    NotAFile {
        /// What it is called.
        path: PathBuf,
    },
    /// Nobody offered such a file, or too long ago.
    #[error("file {file} was not offered")]
    UnknownFile {
        /// Its name.
        file: Digest,
    },
    /// As many files are sent and received as may be.
    #[error("{limit} files are under way already")]
    FilesFull {
        /// The limit.
        limit: usize,
    },
    /// There are as many radios as there may be.
    #[error("there are {limit} radios already")]
    RadiosFull {
        /// The limit.
        limit: usize,
    },
}
