//! The mixnet inside a program: a mixnode, and a client that sends and receives messages.

mod client;
mod driver;
mod inbox;
mod node;
mod pending;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use fogcompute_base::NodeId;
use fogcompute_mix::{
    Geometry, MessageId, SendError, SurbStoreError, TooManyTags, TopologyError, TopologyFileError,
};
use fogcompute_net::{DirectoryError, EngineError};
use thiserror::Error;

pub use client::{MixnetClient, MixnetClientConfig, MixnetClientStats, Restored};
pub use inbox::{MixnetMessage, ReplyBlocks};
pub use node::{MixnetNode, MixnetNodeConfig};
pub use pending::Pending;

/// Why a mixnode or a mixnet client cannot start or do something.
#[non_exhaustive]
#[derive(Debug, Error)]
pub enum MixnetError {
    /// It was closed.
    #[error("the {what} is closed")]
    Closed {
        /// What was closed.
        what: &'static str,
    },
    /// It was made before this process was forked: its threads stayed with the parent.
    #[error("the {what} was made before this process was forked")]
    Forked {
        /// What belongs to the parent.
        what: &'static str,
    },
    /// The topology has packets of another size, hop count or suite than was agreed at the start.
    #[error(
        "the topology has packets of {theirs} bytes, this {what} was started for {ours}, \
         or their hops or suites differ"
    )]
    OtherPackets {
        /// What was started.
        what: &'static str,
        /// Bytes of its packets.
        ours: usize,
        /// Bytes of the topology's packets.
        theirs: usize,
    },
    /// A mixnode was given a topology in which it does not stand.
    #[error("node {node} is not in the topology it was given")]
    NotInTopology {
        /// The node.
        node: NodeId,
    },
    /// The topology is not valid now.
    #[error(transparent)]
    TopologyFile(#[from] TopologyFileError),
    /// No route.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// Two nodes of the topology cannot be told apart.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The sockets or threads.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no memory for so many replay tags.
    #[error(transparent)]
    TooManyTags(#[from] TooManyTags),
    /// The operating system gives no thread.
    #[error("thread: {0}")]
    Thread(#[source] io::Error),
    /// A message cannot be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The message was sent as often as is allowed, and not all of it was acknowledged.
    #[error("message was given up: {arrived} of its {packets} packets are known to have arrived")]
    GivenUp {
        /// Packets that are known to have arrived.
        arrived: usize,
        /// All its packets.
        packets: usize,
    },
    /// No answer came in time.
    #[error("no answer within {within:?}")]
    NoAnswer {
        /// How long was waited.
        within: Duration,
    },
    /// The message wants no answer.
    #[error("the message came without reply blocks")]
    NoReplyWanted,
    /// The message came before the last epoch: the mixnodes have erased the keys its reply blocks
    /// were made for.
    #[error("the message's reply blocks have expired")]
    ReplyExpired,
    /// The message was answered before; its reply blocks work once.
    #[error("the message was answered before")]
    Answered,
    /// What a client before this one kept cannot be used.
    #[error(transparent)]
    SurbStore(#[from] SurbStoreError),
    /// The configuration says another identity than the client had that is to go on. Leave it out.
    #[error("the client to be restored had another identity than the configuration says")]
    OtherIdentity,
    /// No request of that id was kept across a restart, or its answer was asked for before.
    #[error("no request {id:?} was kept")]
    UnknownRequest {
        /// The id that was asked for.
        id: MessageId,
    },
}

const NODE: &str = "mixnode";
const CLIENT: &str = "mixnet client";

fn check_packets(what: &'static str, ours: Geometry, theirs: Geometry) -> Result<(), MixnetError> {
    if ours == theirs {
        return Ok(());
    }
    Err(MixnetError::OtherPackets {
        what,
        ours: ours.packet_bytes(),
        theirs: theirs.packet_bytes(),
    })
}
