use std::ffi::c_char;

use fogcompute::ReplyKey;

use super::{fog_hop, fog_sphinx, read_route};
use crate::support::{chars, fill, free, give, guard, hex, read_or, reference, result, slice};
use crate::{FOG_NODE_REF_SIZE, fog_id, fog_status};

/// Opens the reply that comes by one reply block.
pub struct fog_reply_key(ReplyKey);

/// The short name of a node that packets have room for.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_node_ref {
    /// The first 16 digits of its identifier, and a NUL byte.
    pub text: [c_char; FOG_NODE_REF_SIZE],
}

/// Length of every reply block.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param sphinx the size of the network's packets
/// @return 0 if `sphinx` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_surb_bytes(sphinx: *const fog_sphinx) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(sphinx, 0, |sphinx| sphinx.0.surb_bytes()) }
}

/// Makes a single-use reply block (SURB) whose route ends at its maker, and the key that opens the
/// reply. The block goes to whoever is to reply, the key stays.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param sphinx    the size of the network's packets
/// @param route     the hops of the way back, the maker last
/// @param route_len how many, 1 to fog_sphinx_hops_max()
/// @param out       receives the block
/// @param capacity  bytes that fit `out`, at least fog_sphinx_surb_bytes()
/// @param out_len   receives the block's length
/// @param key       receives the key; free it with fog_reply_key_free()
/// @return FOG_STATUS_INVALID_ROUTE, FOG_STATUS_BUFFER_TOO_SMALL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_make_surb(
    sphinx: *const fog_sphinx,
    route: *const fog_hop,
    route_len: usize,
    out: *mut u8,
    capacity: usize,
    out_len: *mut usize,
    key: *mut *mut fog_reply_key,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many hops as it says, hops whose nodes are
        // strings, a buffer of `capacity` bytes and room for its length and a handle.
        unsafe {
            let sphinx = reference(sphinx, "sphinx")?;
            let out_len = result(out_len, "out_len")?;
            let key = result(key, "key")?;
            let (block, opens) = sphinx.0.make_surb(&read_route(route, route_len)?)?;
            fill(&block, out, capacity, out_len)?;
            give(key, fog_reply_key(opens));
            Ok(())
        }
    })
}

/// The packet that carries a reply back by a reply block, and the first node it goes to.
///
/// A block works once: a second packet by it is dropped by that node.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param sphinx      the size of the network's packets
/// @param surb        the block
/// @param surb_len    its length
/// @param payload     the reply
/// @param payload_len its length, at most fog_sphinx_payload_bytes()
/// @param next        receives the node to send the packet to
/// @param out         receives the packet
/// @param capacity    bytes that fit `out`, at least fog_sphinx_packet_bytes()
/// @param out_len     receives the packet's length
/// @return FOG_STATUS_INVALID_REPLY_BLOCK, FOG_STATUS_PAYLOAD_TOO_LARGE,
///         FOG_STATUS_BUFFER_TOO_SMALL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_reply(
    sphinx: *const fog_sphinx,
    surb: *const u8,
    surb_len: usize,
    payload: *const u8,
    payload_len: usize,
    next: *mut fog_node_ref,
    out: *mut u8,
    capacity: usize,
    out_len: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many bytes as it says, a buffer of `capacity`
        // bytes and room for its length and the node.
        unsafe {
            let sphinx = reference(sphinx, "sphinx")?;
            let surb = slice(surb, surb_len, "surb")?;
            let payload = slice(payload, payload_len, "payload")?;
            let next = result(next, "next")?;
            let out_len = result(out_len, "out_len")?;
            let (first, packet) = sphinx.0.reply(surb, payload)?;
            fill(&packet, out, capacity, out_len)?;
            next.write(fog_node_ref {
                text: chars(&first.to_string()),
            });
            Ok(())
        }
    })
}

/// Opens the sealed reply that came by a reply block, with FOG_PROCESSED_KIND_REPLY.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param sphinx     the size of the network's packets
/// @param key        the key that was made with the block
/// @param sealed     the sealed reply
/// @param sealed_len its length
/// @param out        receives the reply
/// @param capacity   bytes that fit `out`; fog_sphinx_payload_bytes() are always enough
/// @param out_len    receives the reply's length
/// @return FOG_STATUS_INVALID_REPLY_BLOCK if it came by another block or was changed,
///         FOG_STATUS_BUFFER_TOO_SMALL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_open_reply(
    sphinx: *const fog_sphinx,
    key: *const fog_reply_key,
    sealed: *const u8,
    sealed_len: usize,
    out: *mut u8,
    capacity: usize,
    out_len: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes live handles, as many bytes as it says, a buffer of `capacity`
        // bytes and room for its length.
        unsafe {
            let sphinx = reference(sphinx, "sphinx")?;
            let key = reference(key, "key")?;
            let sealed = slice(sealed, sealed_len, "sealed")?;
            let out_len = result(out_len, "out_len")?;
            fill(
                &sphinx.0.open_reply(&key.0, sealed)?,
                out,
                capacity,
                out_len,
            )
        }
    })
}

/// Puts the identifier of the reply block that a key belongs to into a struct.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param key the key
/// @param out receives the identifier, as in the surb of a processed packet
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_reply_key_id(
    key: *const fog_reply_key,
    out: *mut fog_id,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (key, out) = unsafe { (reference(key, "key")?, result(out, "out")?) };
        out.write(fog_id {
            text: hex(key.0.id().as_bytes()),
        });
        Ok(())
    })
}

/// Erases the key of a reply block and frees it.
///
/// Thread safety: no other call may use the key.
/// @param key the key, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_reply_key_free(key: *mut fog_reply_key) {
    // SAFETY: the caller passes a key of ours, once, or NULL.
    unsafe { free(key) }
}
