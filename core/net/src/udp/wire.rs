//! Where the fields of datagrams are, and why one is refused.

use thiserror::Error;

/// Bytes a datagram has beyond its frame.
pub const DATAGRAM_OVERHEAD_BYTES: usize = HEAD_BYTES + TAG_BYTES;

/// Longest datagram that UDP over IPv4 carries.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;

/// Threads of a node that can send on one link, each with counts of its own.
pub const LANES: usize = 32;

pub(super) const INITIATION: u8 = 0x11;
pub(super) const RESPONSE: u8 = 0x12;
pub(crate) const DATA: u8 = 0x13;
pub(super) const RETRY: u8 = 0x14;

pub(super) const INDEX_AT: usize = 1;
pub(super) const LANE_AT: usize = 5;
pub(super) const COUNT_AT: usize = 6;
/// First byte, index, lane, count.
pub(super) const HEAD_BYTES: usize = 10;
pub(super) const TAG_BYTES: usize = 16;

/// Why a datagram was dropped. Its sender is never told.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Refusal {
    /// Not the one length that datagrams of this network have.
    #[error("length of a datagram")]
    Length,
    /// The first byte means nothing, or not to whom it was given.
    #[error("kind of a datagram")]
    Kind,
    /// There is no such link or handshake, or no more.
    #[error("no such link")]
    Index,
    /// It does not verify: it was changed, or made by somebody without the key.
    #[error("does not verify")]
    Forged,
    /// It came before, or too long after its neighbours.
    #[error("came before")]
    Replayed,
    /// An initiation, while many come, from an address that has not shown that it gets answers. It
    /// got a token to show that with.
    #[error("address is not proven")]
    Unproven,
    /// The peer sends more than it may, or everybody together starts more handshakes.
    #[error("over the rate")]
    OverRate,
    /// There is no room for a link to another stranger.
    #[error("no room for another link")]
    Full,
}

pub(super) fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

pub(super) fn index(datagram: &[u8]) -> Result<u32, Refusal> {
    field(datagram, INDEX_AT)
        .map(u32::from_be_bytes)
        .ok_or(Refusal::Length)
}
