//! The rules of a BitChat mesh.

mod announce;
pub mod call;
pub mod chunks;
mod counters;
pub mod courier;
mod deflate;
pub mod file;
pub mod fragment;
mod gcs;
pub mod group;
mod identity;
mod link;
mod node;
pub mod noise;
mod packet;
mod payload;
pub mod relay;
mod seen;
mod sessions;
mod sync;
mod tlv;
pub mod voice;

pub use announce::{Announce, Capabilities, NEIGHBOURS_MAX, NICKNAME_BYTES_MAX};
pub use counters::Counters;
pub use fragment::Fragment;
pub use gcs::{GCS_BYTES_MAX, GCS_REMAINDER_BITS, Gcs, GcsError};
pub use identity::{Fingerprint, Identity, NoiseKey, VerifyKey};
pub use link::{LinkConfig, LinkId};
pub use node::{
    DeliveryState, Event, Node, NodeConfig, PUBLIC_BYTES_MAX, PeerView, RestoreError, SendError,
    Transmit,
};
pub use packet::{
    PAYLOAD_BYTES_MAX, Packet, PacketError, PacketType, PeerId, ROUTE_HOPS_MAX, SIGNATURE_BYTES,
    TTL_MAX, Tail,
};
pub use payload::{Content, MessageId, PRIVATE_BYTES_MAX, PeerState};
pub use sync::{Keep, SYNC_FRAGMENTS_MAX, SyncError, SyncRequest, SyncStore, SyncTypes};
pub use tlv::FormatError;
