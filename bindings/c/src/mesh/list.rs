use std::ffi::{CString, c_char};
use std::ptr;

use fogcompute::bitchat::group::GroupId;
use fogcompute::bitchat::{PeerId, PeerView};
use fogcompute::node::{MeshGroup, MeshHistory};

use super::event::delivery;
use super::fog_peer_id;
use crate::support::{Failure, c_string, chars, free, guard, read_or, reference, result};
use crate::{FOG_ID_SIZE, FOG_KEY_BYTES, FOG_PEER_ID_SIZE, fog_id, fog_status};

/// What is known of a peer of a mesh. Its texts belong to the list.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_mesh_peer {
    /// Who.
    pub id: fog_peer_id,
    /// What it wants to be called.
    pub nickname: *const c_char,
    /// Its key for sessions.
    pub noise_key: [u8; FOG_KEY_BYTES],
    /// Whether it was heard of in the last minute.
    pub is_reachable: bool,
    /// Whether it has a link here.
    pub is_linked: bool,
    /// Whether there is a session with it.
    pub has_session: bool,
    /// Whether private messages to it are under keys of their own.
    pub has_ratchet: bool,
    /// Whom it has links to, says it.
    pub neighbours: *const fog_peer_id,
    /// How many.
    pub neighbours_len: usize,
}

/// A group of a mesh that this peer is in. Its texts belong to the list.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_mesh_group {
    /// The group.
    pub id: fog_id,
    /// What it is called.
    pub name: *const c_char,
    /// Who is in it, the one who made it first.
    pub members: *const fog_peer_id,
    /// How many.
    pub members_len: usize,
    /// Whether each writes under a key of its own.
    pub is_large: bool,
}

/// A message of a node's history. Its texts belong to the list.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_mesh_message {
    /// Its number: what came or was sent later has a higher one.
    pub number: u64,
    /// What sender and receiver know it by.
    pub id: *const c_char,
    /// Who wrote it; of a private one from here, whom it is for.
    pub peer: fog_peer_id,
    /// Whether it was written here.
    pub is_own: bool,
    /// Whether it is for one peer.
    pub is_private: bool,
    /// The group it is for, as 32 hexadecimal digits; empty if it is for none.
    pub group: [c_char; FOG_ID_SIZE],
    /// Its text.
    pub text: *const c_char,
    /// When it was written, says its writer, in milliseconds since 1970.
    pub unix_ms: u64,
    /// A fog_delivery_state: how far one from here has come.
    pub state: i32,
    /// The neighbour it came from; empty if it is not known.
    pub via: [c_char; FOG_PEER_ID_SIZE],
    /// Hops it seems to have taken; 0 if that is not known.
    pub hops: u8,
}

/// Peers that a mesh node knows.
pub struct fog_mesh_peers(Vec<(PeerView, CString, Vec<fog_peer_id>)>);

/// Groups that a mesh node is in.
pub struct fog_mesh_groups(Vec<(GroupId, CString, Vec<fog_peer_id>, bool)>);

/// Messages of a mesh node's history, the newest first.
pub struct fog_mesh_messages(Vec<(MeshHistory, CString, CString)>);

fn ids(peers: &[PeerId]) -> Vec<fog_peer_id> {
    peers.iter().map(|peer| (*peer).into()).collect()
}

impl From<Vec<PeerView>> for fog_mesh_peers {
    fn from(peers: Vec<PeerView>) -> Self {
        let peers = peers.into_iter();
        let owned = |peer: PeerView| {
            let (nickname, neighbours) = (c_string(&peer.nickname), ids(&peer.neighbours));
            (peer, nickname, neighbours)
        };
        Self(peers.map(owned).collect())
    }
}

impl From<Vec<MeshGroup>> for fog_mesh_groups {
    fn from(groups: Vec<MeshGroup>) -> Self {
        let groups = groups.into_iter();
        let owned = |group: MeshGroup| {
            let members = group.members.iter();
            let members = members.map(|member| member.fingerprint.peer_id().into());
            (
                group.id,
                c_string(&group.name),
                members.collect(),
                group.is_large,
            )
        };
        Self(groups.map(owned).collect())
    }
}

impl From<Vec<MeshHistory>> for fog_mesh_messages {
    fn from(messages: Vec<MeshHistory>) -> Self {
        let messages = messages.into_iter();
        let owned = |message: MeshHistory| {
            let (id, text) = (c_string(&message.id), c_string(&message.text));
            (message, id, text)
        };
        Self(messages.map(owned).collect())
    }
}

fn item<'a, T>(items: &'a [T], index: usize, what: &str) -> Result<&'a T, Failure> {
    items.get(index).ok_or_else(|| {
        let count = items.len();
        Failure::argument(format!("index {index} is outside {count} {what}"))
    })
}

/// How many peers a list has.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param peers the list
/// @return 0 if `peers` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_peers_count(peers: *const fog_mesh_peers) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(peers, 0, |peers| peers.0.len()) }
}

/// One peer of a list.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param peers the list
/// @param index which, below fog_mesh_peers_count()
/// @param out   receives the peer, whose texts are valid until the list is freed
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such peer
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_peers_read(
    peers: *const fog_mesh_peers,
    index: usize,
    out: *mut fog_mesh_peer,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (peers, out) = unsafe { (reference(peers, "peers")?, result(out, "out")?) };
        let (peer, nickname, neighbours) = item(&peers.0, index, "peers")?;
        out.write(fog_mesh_peer {
            id: peer.id.into(),
            nickname: nickname.as_ptr(),
            noise_key: *peer.noise_key.as_bytes(),
            is_reachable: peer.is_reachable,
            is_linked: peer.is_linked,
            has_session: peer.has_session,
            has_ratchet: peer.has_ratchet,
            neighbours: pointer(neighbours),
            neighbours_len: neighbours.len(),
        });
        Ok(())
    })
}

fn pointer(peers: &[fog_peer_id]) -> *const fog_peer_id {
    if peers.is_empty() {
        ptr::null()
    } else {
        peers.as_ptr()
    }
}

/// Frees a list of peers, and with it their texts.
///
/// Thread safety: no other call may use it.
/// @param peers the list, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_peers_free(peers: *mut fog_mesh_peers) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(peers) }
}

/// How many groups a list has.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param groups the list
/// @return 0 if `groups` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_groups_count(groups: *const fog_mesh_groups) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(groups, 0, |groups| groups.0.len()) }
}

/// One group of a list.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param groups the list
/// @param index  which, below fog_mesh_groups_count()
/// @param out    receives the group, whose texts are valid until the list is freed
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such group
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_groups_read(
    groups: *const fog_mesh_groups,
    index: usize,
    out: *mut fog_mesh_group,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (groups, out) = unsafe { (reference(groups, "groups")?, result(out, "out")?) };
        let (id, name, members, is_large) = item(&groups.0, index, "groups")?;
        out.write(fog_mesh_group {
            id: (*id).into(),
            name: name.as_ptr(),
            members: pointer(members),
            members_len: members.len(),
            is_large: *is_large,
        });
        Ok(())
    })
}

/// Frees a list of groups, and with it their texts.
///
/// Thread safety: no other call may use it.
/// @param groups the list, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_groups_free(groups: *mut fog_mesh_groups) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(groups) }
}

/// How many messages a list has.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param messages the list
/// @return 0 if `messages` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_messages_count(messages: *const fog_mesh_messages) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(messages, 0, |messages| messages.0.len()) }
}

/// One message of a list.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param messages the list
/// @param index    which, below fog_mesh_messages_count()
/// @param out      receives the message, whose texts are valid until the list is freed
/// @return FOG_STATUS_INVALID_ARGUMENT if there is no such message
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_messages_read(
    messages: *const fog_mesh_messages,
    index: usize,
    out: *mut fog_mesh_message,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (messages, out) = unsafe { (reference(messages, "messages")?, result(out, "out")?) };
        let (message, id, text) = item(&messages.0, index, "messages")?;
        let group = message.group.map(|group| group.to_string());
        let via = message.via.map(|via| via.to_string());
        out.write(fog_mesh_message {
            number: message.number,
            id: id.as_ptr(),
            peer: message.peer.into(),
            is_own: message.is_own,
            is_private: message.is_private,
            group: chars(&group.unwrap_or_default()),
            text: text.as_ptr(),
            unix_ms: message.at.0,
            state: delivery(message.state),
            via: chars(&via.unwrap_or_default()),
            hops: message.hops,
        });
        Ok(())
    })
}

/// Frees a list of messages, and with it their texts.
///
/// Thread safety: no other call may use it.
/// @param messages the list, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_messages_free(messages: *mut fog_mesh_messages) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(messages) }
}
