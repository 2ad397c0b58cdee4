mod event;
mod list;
mod node;
mod radio;

use std::ffi::c_char;

use fogcompute::bitchat::PeerId;
use fogcompute::bitchat::group::GroupId;

use crate::support::{Failure, chars, parsed, parsed_chars};
use crate::{FOG_FILE_ID_SIZE, FOG_PEER_ID_SIZE, fog_id};

pub use event::*;
pub use list::*;
pub use node::*;
pub use radio::*;

/// A peer of a mesh as text.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_peer_id {
    /// 16 hexadecimal digits and a NUL byte.
    pub text: [c_char; FOG_PEER_ID_SIZE],
}

impl From<PeerId> for fog_peer_id {
    fn from(peer: PeerId) -> Self {
        Self {
            text: chars(&peer.to_string()),
        }
    }
}

/// What names a file of a mesh that goes in chunks, as text.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_file_id {
    /// 64 hexadecimal digits and a NUL byte.
    pub text: [c_char; FOG_FILE_ID_SIZE],
}

/// All identifiers of 16 bytes are written alike, and only some kinds of them read their text.
///
/// # Safety
/// As [`parsed`].
unsafe fn read_group(text: *const c_char) -> Result<GroupId, Failure> {
    // SAFETY: as the caller promises.
    let id: fogcompute::TaskId = unsafe { parsed(text, "group") }?;
    Ok(GroupId(*id.as_bytes()))
}

fn read_peers(peers: &[fog_peer_id]) -> Result<Vec<PeerId>, Failure> {
    let peers = peers.iter();
    peers.map(|peer| parsed_chars(&peer.text, "peer")).collect()
}

impl From<GroupId> for fog_id {
    fn from(group: GroupId) -> Self {
        Self {
            text: chars(&group.to_string()),
        }
    }
}
