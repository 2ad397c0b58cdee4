use std::ffi::{c_char, c_void};
use std::path::PathBuf;
use std::ptr;
use std::time::Duration;

use fogcompute::bitchat::file::File;
use fogcompute::bitchat::history::Conversation;
use fogcompute::bitchat::{FogConfig, FogKey, NodeConfig};
use fogcompute::node::MeshError;
use fogcompute::{MeshNode, MeshNodeConfig};

use super::radio::CRadio;
use super::{
    fog_file_id, fog_mesh_event, fog_mesh_groups, fog_mesh_messages, fog_mesh_peers, fog_peer_id,
    fog_radio, read_group, read_peers,
};
use crate::completions::{Callback, Completions, UserData};
use crate::support::{
    Failure, chars, free, give, give_text, guard, key_bytes, optional_result, parse_address,
    parsed, reference, result, slice, text,
};
use crate::{FOG_ADDRESS_SIZE, fog_id, fog_status};

/// A network address as text.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_address {
    /// An IP address, a colon, a port and a NUL byte.
    pub text: [c_char; FOG_ADDRESS_SIZE],
}

/// What a mesh node counted since its start. What its rules did and refused is told by
/// fog_mesh_node_counter().
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_mesh_stats {
    /// Links that are up.
    pub links: u64,
    /// Bytes of frames that came in.
    pub bytes_in: u64,
    /// Bytes of frames that left.
    pub bytes_out: u64,
    /// Events that nobody received in time.
    pub events_dropped: u64,
    /// Envelopes that are carried for others.
    pub carried: u64,
    /// Private messages that wait to be delivered.
    pub waiting: u64,
}

/// Tells that there is an event to receive, or that none will come. Runs once for each call that was
/// given it, on a thread of the library, so it should be quick. It may call any function of the library
/// but fog_mesh_node_free() of its node.
///
/// @param user_data what was given with it
pub type fog_mesh_readable = Option<unsafe extern "C" fn(user_data: *mut c_void)>;

/// A peer of a BitChat mesh that runs on a thread of this process: over TCP, over radios, and to other
/// nodes of the program.
///
/// What it says was sent or received is on disk, if it has a file: started again with the same file it is
/// the same peer, goes on delivering what waited, and shows nothing twice. Its functions do not wait for
/// the network, but for fog_mesh_node_receive().
///
/// A child of fork() has none of its threads: there calls fail with FOG_STATUS_CLOSED, callbacks do not
/// run, and fog_mesh_node_free() stops nothing.
pub struct fog_mesh_node {
    node: MeshNode,
    completions: Completions,
}

impl Drop for fog_mesh_node {
    fn drop(&mut self) {
        // Nothing comes any more, so that all callbacks run.
        self.node.close();
        self.completions.finish();
    }
}

/// How a mesh node is made. Fill it with fog_mesh_node_config_default() and change what should differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_mesh_node_config {
    /// Where it keeps its secrets, what waits to be delivered, and its messages; NULL makes it a new peer
    /// that forgets everything.
    pub file: *const c_char,
    /// Events that wait to be received; when there are more, the oldest are dropped.
    pub events_max: usize,
    /// A key of FOG_KEY_BYTES random bytes that the members of a fog share: the node talks to them alone,
    /// sealed on the air and under identifiers that change, and to nobody who has not got the key, the
    /// BitChat apps among them. NULL to talk to everybody.
    pub fog_key: *const u8,
    /// How many bytes that are.
    pub fog_key_len: usize,
    /// How long such an identifier lasts, in milliseconds, and at least 10,000: what is shorter lasts as
    /// long. All members must say the same.
    pub fog_period_ms: u64,
}

/// Puts the usual configuration of a mesh node into a struct: no file, 4,096 events, no fog; identifiers of
/// a fog last a quarter of an hour.
///
/// Thread safety: any thread.
/// @param out receives the configuration
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_config_default(
    out: *mut fog_mesh_node_config,
) -> fog_status {
    guard(|| {
        let period_ms = FogConfig::PERIOD.as_millis();
        // SAFETY: the caller gives room for the struct.
        unsafe { result(out, "out") }?.write(fog_mesh_node_config {
            file: ptr::null(),
            events_max: MeshNodeConfig::default().events_max,
            fog_key: ptr::null(),
            fog_key_len: 0,
            fog_period_ms: u64::try_from(period_ms).unwrap_or(u64::MAX),
        });
        Ok(())
    })
}

/// # Safety
/// Pointers of the configuration are NULL or to what they say.
unsafe fn read_config(
    nickname: &str,
    config: &fog_mesh_node_config,
) -> Result<MeshNodeConfig, Failure> {
    // SAFETY: as the caller promises.
    let (file, key) = unsafe {
        let key = match config.fog_key.is_null() {
            true => None,
            false => Some(key_bytes(config.fog_key, config.fog_key_len, "fog_key")?),
        };
        (optional_text(config.file, "file")?, key)
    };
    let usual = MeshNodeConfig::default();
    Ok(MeshNodeConfig {
        nickname: nickname.to_owned(),
        file: file.map(PathBuf::from),
        events_max: config.events_max,
        rules: NodeConfig {
            fog: key.map(|key| FogConfig {
                key: FogKey::from_bytes(key),
                period: Duration::from_millis(config.fog_period_ms),
            }),
            ..usual.rules
        },
        ..usual
    })
}

/// Starts a node.
///
/// Thread safety: any thread.
/// @param nickname what the peer is called, 1 to 255 bytes; one that has a file is called what it was
///                 before if this is empty
/// @param config   the configuration, or NULL for the usual
/// @param out      receives the node; free it with fog_mesh_node_free()
/// @return FOG_STATUS_INVALID_MESH_CONTENT for a nickname that is empty or too long;
///         FOG_STATUS_INVALID_ARGUMENT for a key of another length; FOG_STATUS_NODE if the system gives no
///         thread; the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_start(
    nickname: *const c_char,
    config: *const fog_mesh_node_config,
    out: *mut *mut fog_mesh_node,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a string, a configuration whose pointers are NULL or to what they
        // say, or NULL, and room for a handle.
        let (config, out) = unsafe {
            let nickname = text(nickname, "nickname")?;
            let config = match config.as_ref() {
                Some(config) => read_config(nickname, config)?,
                None => MeshNodeConfig {
                    nickname: nickname.to_owned(),
                    ..MeshNodeConfig::default()
                },
            };
            (config, result(out, "out")?)
        };
        let handle = fog_mesh_node {
            node: MeshNode::start(config)?,
            completions: Completions::default(),
        };
        give(out, handle);
        Ok(())
    })
}

/// Text that the caller may leave out.
///
/// # Safety
/// As [`text`].
unsafe fn optional_text<'a>(
    pointer: *const c_char,
    name: &str,
) -> Result<Option<&'a str>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller promises.
    unsafe { text(pointer, name) }.map(Some)
}

/// Puts who a node is into a struct.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node the node
/// @param out  receives the identifier
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_id(
    node: *const fog_mesh_node,
    out: *mut fog_peer_id,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (node, out) = unsafe { (reference(node, "node")?, result(out, "out")?) };
        out.write(node.node.id().into());
        Ok(())
    })
}

/// Puts what a node is called on the air now into a struct: something else after a while if it talks only
/// to the members of a fog, and who it is if not.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node the node
/// @param out  receives the identifier
/// @return FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_air_id(
    node: *const fog_mesh_node,
    out: *mut fog_peer_id,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (node, out) = unsafe { (reference(node, "node")?, result(out, "out")?) };
        out.write(node.node.air_id()?.into());
        Ok(())
    })
}

/// What a node is called.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node the node
/// @param out  receives the name; free it with fog_string_free()
/// @return FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_nickname(
    node: *const fog_mesh_node,
    out: *mut *mut c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a pointer.
        let (node, out) = unsafe { (reference(node, "node")?, result(out, "out")?) };
        give_text(out, &node.node.nickname()?);
        Ok(())
    })
}

/// Gives a node another name.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node     the node
/// @param nickname the name, 1 to 255 bytes
/// @return FOG_STATUS_INVALID_MESH_CONTENT, FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_set_nickname(
    node: *const fog_mesh_node,
    nickname: *const c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and a string.
        let (node, nickname) = unsafe { (reference(node, "node")?, text(nickname, "nickname")?) };
        Ok(node.node.set_nickname(nickname)?)
    })
}

/// Accepts TCP links at an address.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node    the node
/// @param address the address, such as 127.0.0.1:0; port 0 is any that is free
/// @param out     receives the address with the port that was chosen, or NULL
/// @return FOG_STATUS_LISTEN if the address is in use or not one of this machine;
///         FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_listen(
    node: *const fog_mesh_node,
    address: *const c_char,
    out: *mut fog_address,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and NULL or room for the struct.
        let (node, address, out) = unsafe {
            (
                reference(node, "node")?,
                parse_address(text(address, "address")?, "address")?,
                optional_result(out),
            )
        };
        let listening = node.node.listen(address)?;
        if let Some(out) = out {
            out.write(fog_address {
                text: chars(&listening.to_string()),
            });
        }
        Ok(())
    })
}

/// Keeps a TCP link with whoever answers at an address: it is dialled again when it ends.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node    the node
/// @param address the address
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_connect(
    node: *const fog_mesh_node,
    address: *const c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and a string.
        let (node, address) = unsafe { (reference(node, "node")?, text(address, "address")?) };
        Ok(node.node.connect(parse_address(address, "address")?)?)
    })
}

/// Keeps no link with an address any more, and ends the one it has.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node    the node
/// @param address the address
/// @param was     receives whether it kept one, or NULL
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_disconnect(
    node: *const fog_mesh_node,
    address: *const c_char,
    was: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and NULL or room for the result.
        let (node, address, was) = unsafe {
            (
                reference(node, "node")?,
                text(address, "address")?,
                optional_result(was),
            )
        };
        let kept = node.node.disconnect(parse_address(address, "address")?)?;
        if let Some(was) = was {
            was.write(kept);
        }
        Ok(())
    })
}

/// Makes a link between two nodes of this program, without any socket.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node  one node
/// @param other the other
/// @return FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_link_with(
    node: *const fog_mesh_node,
    other: *const fog_mesh_node,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes live handles.
        let (node, other) = unsafe { (reference(node, "node")?, reference(other, "other")?) };
        Ok(node.node.link_with(&other.node)?)
    })
}

/// Talks over a radio too. Its attach runs in this call.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node  the node
/// @param radio the radio; the struct is copied
/// @return FOG_STATUS_HOST_CALLBACK if attach fails; FOG_STATUS_MESH_BUSY for a ninth radio;
///         FOG_STATUS_INVALID_ARGUMENT for a callback that is NULL, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_add_radio(
    node: *const fog_mesh_node,
    radio: *const fog_radio,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and a struct.
        let (node, radio) = unsafe { (reference(node, "node")?, reference(radio, "radio")?) };
        let radio = CRadio::new(radio)?;
        let attaching = radio.attaching();
        let (radio, inbox) = fogcompute::host_radio(radio);
        attaching.attach(inbox)?;
        Ok(node.node.add_radio(radio)?)
    })
}

/// Writes to everybody near.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node    the node
/// @param message the text
/// @param id      receives what the message is known by, or NULL; free it with fog_string_free()
/// @return FOG_STATUS_INVALID_MESH_CONTENT, FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_send_public(
    node: *const fog_mesh_node,
    message: *const c_char,
    id: *mut *mut c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and NULL or room for a pointer.
        let (node, message, id) = unsafe {
            (
                reference(node, "node")?,
                text(message, "message")?,
                optional_result(id),
            )
        };
        let sent = node.node.send_public(message)?;
        if let Some(id) = id {
            give_text(id, sent.as_str());
        }
        Ok(())
    })
}

/// Writes to one peer. The message is kept, and on disk if there is a file, and sent until the peer has it
/// or a day has passed.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node    the node
/// @param peer    the peer, the text of a fog_peer_id
/// @param message the text
/// @param id      receives what the message is known by, or NULL; free it with fog_string_free()
/// @return FOG_STATUS_UNKNOWN_PEER, FOG_STATUS_INVALID_MESH_CONTENT, FOG_STATUS_MESH_BUSY,
///         FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_send_private(
    node: *const fog_mesh_node,
    peer: *const c_char,
    message: *const c_char,
    id: *mut *mut c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, strings, and NULL or room for a pointer.
        let (node, peer, message, id) = unsafe {
            (
                reference(node, "node")?,
                parsed(peer, "peer")?,
                text(message, "message")?,
                optional_result(id),
            )
        };
        let sent = node.node.send_private(peer, message)?;
        if let Some(id) = id {
            give_text(id, sent.as_str());
        }
        Ok(())
    })
}

/// Tells a peer that the user saw its message.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node the node
/// @param peer the peer, the text of a fog_peer_id
/// @param id   what the message is known by
/// @return FOG_STATUS_UNKNOWN_PEER, FOG_STATUS_MESH_BUSY, FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_mark_read(
    node: *const fog_mesh_node,
    peer: *const c_char,
    id: *const c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and strings.
        let (node, peer, id) = unsafe {
            (
                reference(node, "node")?,
                parsed(peer, "peer")?,
                text(id, "id")?,
            )
        };
        Ok(node.node.mark_read(peer, id)?)
    })
}

/// Makes a group of this peer and others who are known, and invites them.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node        the node
/// @param name        what the group is called
/// @param members     the others
/// @param members_len how many
/// @param out         receives the group's identifier
/// @return FOG_STATUS_UNKNOWN_PEER, FOG_STATUS_INVALID_MESH_CONTENT, FOG_STATUS_MESH_BUSY,
///         FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_create_group(
    node: *const fog_mesh_node,
    name: *const c_char,
    members: *const fog_peer_id,
    members_len: usize,
    out: *mut fog_id,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, as many peers as it says, and room for
        // the struct.
        let (node, name, members, out) = unsafe {
            (
                reference(node, "node")?,
                text(name, "name")?,
                slice(members, members_len, "members")?,
                result(out, "out")?,
            )
        };
        let group = node.node.create_group(name, &read_peers(members)?)?;
        out.write(group.into());
        Ok(())
    })
}

/// Makes a group of up to 255, each of whom writes under a key of its own. All have to be of this library;
/// they are told when they are there. It is changed, written to and left as any other.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node        the node
/// @param name        what the group is called
/// @param members     the others
/// @param members_len how many
/// @param out         receives the group's identifier
/// @return FOG_STATUS_NOT_UNDERSTOOD, FOG_STATUS_UNKNOWN_PEER, FOG_STATUS_INVALID_MESH_CONTENT,
///         FOG_STATUS_MESH_BUSY, FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_create_large_group(
    node: *const fog_mesh_node,
    name: *const c_char,
    members: *const fog_peer_id,
    members_len: usize,
    out: *mut fog_id,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, as many peers as it says, and room for
        // the struct.
        let (node, name, members, out) = unsafe {
            (
                reference(node, "node")?,
                text(name, "name")?,
                slice(members, members_len, "members")?,
                result(out, "out")?,
            )
        };
        let group = node.node.create_large_group(name, &read_peers(members)?)?;
        out.write(group.into());
        Ok(())
    })
}

/// Changes who is in a group of this peer's, and gives it another key, which those who are not in it any
/// more do not get.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node        the node
/// @param group       the group, the text of a fog_id
/// @param members     the others who are in it from now on
/// @param members_len how many
/// @return FOG_STATUS_UNKNOWN_GROUP, FOG_STATUS_NOT_GROUP_CREATOR, and as of fog_mesh_node_create_group()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_change_group(
    node: *const fog_mesh_node,
    group: *const c_char,
    members: *const fog_peer_id,
    members_len: usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and as many peers as it says.
        let (node, group, members) = unsafe {
            (
                reference(node, "node")?,
                read_group(group)?,
                slice(members, members_len, "members")?,
            )
        };
        Ok(node.node.change_group(group, &read_peers(members)?)?)
    })
}

/// Leaves a group; nobody is told.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node  the node
/// @param group the group, the text of a fog_id
/// @param was   receives whether this peer was in it, or NULL
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_leave_group(
    node: *const fog_mesh_node,
    group: *const c_char,
    was: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and NULL or room for the result.
        let (node, group, was) = unsafe {
            (
                reference(node, "node")?,
                read_group(group)?,
                optional_result(was),
            )
        };
        let left = node.node.leave_group(group)?;
        if let Some(was) = was {
            was.write(left);
        }
        Ok(())
    })
}

/// Writes to a group.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node    the node
/// @param group   the group, the text of a fog_id
/// @param message the text
/// @param id      receives what the message is known by, or NULL; free it with fog_string_free()
/// @return FOG_STATUS_UNKNOWN_GROUP, FOG_STATUS_INVALID_MESH_CONTENT, FOG_STATUS_INVALID_ARGUMENT,
///         FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_send_group(
    node: *const fog_mesh_node,
    group: *const c_char,
    message: *const c_char,
    id: *mut *mut c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, strings, and NULL or room for a pointer.
        let (node, group, message, id) = unsafe {
            (
                reference(node, "node")?,
                read_group(group)?,
                text(message, "message")?,
                optional_result(id),
            )
        };
        let sent = node.node.send_group(group, message)?;
        if let Some(id) = id {
            give_text(id, sent.as_str());
        }
        Ok(())
    })
}

/// Lists the groups a node is in.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node the node
/// @param out  receives the list; free it with fog_mesh_groups_free()
/// @return FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_groups(
    node: *const fog_mesh_node,
    out: *mut *mut fog_mesh_groups,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for one.
        let (node, out) = unsafe { (reference(node, "node")?, result(out, "out")?) };
        give(out, node.node.groups()?.into());
        Ok(())
    })
}

/// Sends a file of at most a MiB in one piece. It is sent once; what is lost is not sent again.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node        the node
/// @param peer        the peer, the text of a fog_peer_id; NULL for everybody near
/// @param content     what is in it
/// @param content_len its length
/// @param name        what it is called, or NULL
/// @param mime        its media type, or NULL
/// @return FOG_STATUS_UNKNOWN_PEER, FOG_STATUS_INVALID_MESH_CONTENT, FOG_STATUS_MESH_BUSY,
///         FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_send_file(
    node: *const fog_mesh_node,
    peer: *const c_char,
    content: *const u8,
    content_len: usize,
    name: *const c_char,
    mime: *const c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, strings or NULL, and as many bytes as it says.
        let (node, peer, content, name, mime) = unsafe {
            let peer = match peer.is_null() {
                true => None,
                false => Some(parsed(peer, "peer")?),
            };
            (
                reference(node, "node")?,
                peer,
                slice(content, content_len, "content")?,
                optional_text(name, "name")?,
                optional_text(mime, "mime")?,
            )
        };
        let file = File {
            name: name.map(str::to_owned),
            mime: mime.map(str::to_owned),
            content: content.to_vec(),
        };
        Ok(node.node.send_file(peer, file)?)
    })
}

/// Offers a file on disk of at most a GiB to a peer, which takes it in chunks, when it wants. It is read
/// when it is asked for: leave it as it is until then. Only peers of this library understand.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node the node
/// @param peer the peer, the text of a fog_peer_id
/// @param path the file
/// @param mime its media type
/// @param out  receives what the file is known by
/// @return FOG_STATUS_NOT_UNDERSTOOD, FOG_STATUS_UNKNOWN_PEER, FOG_STATUS_INVALID_MESH_CONTENT,
///         FOG_STATUS_MESH_BUSY, FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_offer_file(
    node: *const fog_mesh_node,
    peer: *const c_char,
    path: *const c_char,
    mime: *const c_char,
    out: *mut fog_file_id,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, strings, and room for the struct.
        let (node, peer, path, mime, out) = unsafe {
            (
                reference(node, "node")?,
                parsed(peer, "peer")?,
                text(path, "path")?,
                text(mime, "mime")?,
                result(out, "out")?,
            )
        };
        let file = node.node.offer_file(peer, path.as_ref(), mime)?;
        out.write(fog_file_id {
            text: chars(&file.to_string()),
        });
        Ok(())
    })
}

/// Takes a file that was offered, and writes it to a path: to that with .part behind it until it is whole.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node the node
/// @param file the file, the text of a fog_file_id
/// @param path where to
/// @return FOG_STATUS_UNKNOWN_FILE, FOG_STATUS_MESH_BUSY, FOG_STATUS_INVALID_ARGUMENT,
///         FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_accept_file(
    node: *const fog_mesh_node,
    file: *const c_char,
    path: *const c_char,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and strings.
        let (node, file, path) = unsafe {
            (
                reference(node, "node")?,
                parsed(file, "file")?,
                text(path, "path")?,
            )
        };
        Ok(node.node.accept_file(file, path.as_ref())?)
    })
}

/// Offers a file no longer, or does not take the rest of it.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node the node
/// @param file the file, the text of a fog_file_id
/// @param was  receives whether there was such a file, or NULL
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_cancel_file(
    node: *const fog_mesh_node,
    file: *const c_char,
    was: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and NULL or room for the result.
        let (node, file, was) = unsafe {
            (
                reference(node, "node")?,
                parsed(file, "file")?,
                optional_result(was),
            )
        };
        let cancelled = node.node.cancel_file(file)?;
        if let Some(was) = was {
            was.write(cancelled);
        }
        Ok(())
    })
}

/// Lists the peers that a node knows.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node the node
/// @param out  receives the list; free it with fog_mesh_peers_free()
/// @return FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_peers(
    node: *const fog_mesh_node,
    out: *mut *mut fog_mesh_peers,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for one.
        let (node, out) = unsafe { (reference(node, "node")?, result(out, "out")?) };
        give(out, node.node.peers()?.into());
        Ok(())
    })
}

/// Lists the newest messages, the newest first. Without a file those since the start.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node   the node
/// @param before only those with numbers below this; UINT64_MAX for all
/// @param limit  how many at most
/// @param out    receives the list; free it with fog_mesh_messages_free()
/// @return FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_history(
    node: *const fog_mesh_node,
    before: u64,
    limit: usize,
    out: *mut *mut fog_mesh_messages,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for one.
        let (node, out) = unsafe { (reference(node, "node")?, result(out, "out")?) };
        give(out, node.node.history(before, limit)?.into());
        Ok(())
    })
}

/// Lists the newest messages from and to one peer, the newest first. Without a file those since the start.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node   the node
/// @param peer   the peer, the text of a fog_peer_id
/// @param before only those with numbers below this; UINT64_MAX for all
/// @param limit  how many at most
/// @param out    receives the list; free it with fog_mesh_messages_free()
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_history_with_peer(
    node: *const fog_mesh_node,
    peer: *const c_char,
    before: u64,
    limit: usize,
    out: *mut *mut fog_mesh_messages,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for a handle.
        let (node, peer, out) = unsafe {
            (
                reference(node, "node")?,
                parsed(peer, "peer")?,
                result(out, "out")?,
            )
        };
        let with = Conversation::Peer(peer);
        give(out, node.node.history_of(with, before, limit)?.into());
        Ok(())
    })
}

/// Lists the newest messages of one group, the newest first. Without a file those since the start.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node   the node
/// @param group  the group, the text of a fog_id
/// @param before only those with numbers below this; UINT64_MAX for all
/// @param limit  how many at most
/// @param out    receives the list; free it with fog_mesh_messages_free()
/// @return FOG_STATUS_INVALID_ARGUMENT, FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_history_of_group(
    node: *const fog_mesh_node,
    group: *const c_char,
    before: u64,
    limit: usize,
    out: *mut *mut fog_mesh_messages,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, and room for a handle.
        let (node, group, out) = unsafe {
            (
                reference(node, "node")?,
                read_group(group)?,
                result(out, "out")?,
            )
        };
        let of = Conversation::Group(group);
        give(out, node.node.history_of(of, before, limit)?.into());
        Ok(())
    })
}

/// Deletes a message from the history, by its number; from here alone.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node   the node
/// @param number the message's number
/// @param was    receives whether there was one, or NULL
/// @return FOG_STATUS_CLOSED, and the codes of storage
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_delete_message(
    node: *const fog_mesh_node,
    number: u64,
    was: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, and NULL or room for the result.
        let (node, was) = unsafe { (reference(node, "node")?, optional_result(was)) };
        let deleted = node.node.delete_message(number)?;
        if let Some(was) = was {
            was.write(deleted);
        }
        Ok(())
    })
}

/// Puts what a node counted since its start into a struct.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node the node
/// @param out  receives the counts
/// @return FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_stats(
    node: *const fog_mesh_node,
    out: *mut fog_mesh_stats,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (node, out) = unsafe { (reference(node, "node")?, result(out, "out")?) };
        let stats = node.node.stats()?;
        out.write(fog_mesh_stats {
            links: stats.links as u64,
            bytes_in: stats.bytes_in,
            bytes_out: stats.bytes_out,
            events_dropped: stats.events_dropped,
            carried: stats.carried as u64,
            waiting: stats.waiting as u64,
        });
        Ok(())
    })
}

/// How often the rules of a node did, or refused, something since its start.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node the node
/// @param name what, such as "received"
/// @param out  receives how often
/// @return FOG_STATUS_INVALID_ARGUMENT if nothing is counted by that name, FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_counter(
    node: *const fog_mesh_node,
    name: *const c_char,
    out: *mut u64,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string and room for the number.
        let (node, name, out) = unsafe {
            (
                reference(node, "node")?,
                text(name, "name")?,
                result(out, "out")?,
            )
        };
        let rules = node.node.stats()?.rules;
        let counted = rules.iter().find(|(counter, _)| *counter == name);
        let (_, count) =
            counted.ok_or_else(|| Failure::argument(format!("nothing is counted as {name:?}")))?;
        out.write(count);
        Ok(())
    })
}

/// The next event. Waits for it if there is none.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free(). Another thread
/// ends the waiting with fog_mesh_node_close().
/// @param node       the node
/// @param timeout_ns how long to wait, in nanoseconds; 0 to take only what is there
/// @param out        receives the event, or NULL if none came in time; free it with fog_mesh_event_free()
/// @return FOG_STATUS_CLOSED when there is none and none will come
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_receive(
    node: *const fog_mesh_node,
    timeout_ns: u64,
    out: *mut *mut fog_mesh_event,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for one.
        let (node, out) = unsafe { (reference(node, "node")?, result(out, "out")?) };
        let timeout = Duration::from_nanos(timeout_ns);
        match node.node.receive_within(timeout)? {
            Some(event) => give(out, event.into()),
            None => {
                out.write(ptr::null_mut());
            }
        }
        Ok(())
    })
}

/// Has a callback run, once, as soon as there is an event to receive, or none will come: to wake a loop
/// that then takes events by fog_mesh_node_receive() with a timeout of 0, until there is none, and calls
/// this again. If this call fails, it does not run.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node      the node
/// @param readable  runs, maybe before this call returns
/// @param user_data passed to `readable` as it is; must be usable from another thread until then
/// @return FOG_STATUS_CLOSED in a forked child; FOG_STATUS_NODE if the system gives no thread
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_when_readable(
    node: *const fog_mesh_node,
    readable: fog_mesh_readable,
    user_data: *mut c_void,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        let node = unsafe { reference(node, "node") }?;
        let readable = readable.ok_or_else(|| Failure::argument("readable is NULL"))?;
        // A forked child is refused before it waits for a lock, which a thread that only its parent
        // has may hold. A closed node may still have events.
        if let Err(error @ MeshError::Forked) = node.node.nickname() {
            return Err(error.into());
        }
        node.completions.start().map_err(|error| Failure {
            status: fog_status::Node,
            message: format!("thread: {error}"),
        })?;
        let user_data = UserData::new(user_data);
        let callback = Callback::new(move |_: Result<(), Failure>| {
            // SAFETY: as the caller of this function promises.
            unsafe { readable(user_data.into_pointer()) };
        });
        let wait = node.node.readable();
        let outcome = async move {
            wait.await;
            Ok::<(), MeshError>(())
        };
        node.completions.add(outcome, callback);
        Ok(())
    })
}

/// Says goodbye, lets what waits leave for at most two seconds, and ends a node. Events that came before
/// can still be received. Closing again does nothing.
///
/// Thread safety: any thread, at the same time as other calls but fog_mesh_node_free().
/// @param node the node
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_close(node: *const fog_mesh_node) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        let node = unsafe { reference(node, "node") }?;
        node.node.close();
        Ok(())
    })
}

/// Closes a node and frees it. All callbacks have run when it returns.
///
/// Thread safety: no other call may use it.
/// @param node the node, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mesh_node_free(node: *mut fog_mesh_node) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(node) }
}
