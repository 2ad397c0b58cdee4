mod batch;
mod processor;
mod surb;

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::time::Duration;

use fogcompute::base::OsEntropy;
use fogcompute::{Hop, PrivateKey, Processed, PublicKey, Sphinx, Unwrapped};

use crate::support::{
    Failure, chars, fill, fill_exactly, free, give, guard, hex, key_bytes, parsed, read_or,
    reference, result, slice,
};
use crate::{FOG_ID_SIZE, FOG_KEY_BYTES, FOG_NODE_REF_SIZE, fog_status};

pub use batch::*;
pub use processor::*;
pub use surb::*;

/// Most hops of a route in a network that chose nothing else.
pub const FOG_SPHINX_HOPS: usize = 7;

/// Bytes of message a packet carries in a network that chose nothing else.
pub const FOG_SPHINX_PAYLOAD_BYTES: usize = 2048;

/// Builds and processes Sphinx packets of one network's size.
pub struct fog_sphinx(pub(crate) Sphinx);

/// A node's private mix key. Erased from memory when freed.
pub struct fog_private_key(PrivateKey);

/// One stop of a route.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_hop {
    /// The node's identifier, 64 hexadecimal digits.
    pub node: *const c_char,
    /// The node's public mix key.
    pub key: [u8; FOG_KEY_BYTES],
    /// How long the node holds the packet, in nanoseconds, cut to whole microseconds, at most
    /// 4294967295000. The last hop does not wait.
    pub delay_ns: u64,
}

/// What one layer of a packet said to do.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_processed_kind {
    /// Hold the packet in the buffer for delay_ns, then send it to next.
    Forward = 0,
    /// The buffer has the message: this node is the receiver.
    Deliver = 1,
    /// This node made the reply block surb, by which the packet came. The buffer has the sealed
    /// reply, for fog_sphinx_open_reply().
    Reply = 2,
}

/// A packet with one layer taken off.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_processed {
    /// What to do.
    pub kind: fog_processed_kind,
    /// Names the packet at this hop, whatever was done to its bytes: see it twice, drop it.
    pub replay_tag: [u8; 16],
    /// The next hop, with FOG_PROCESSED_KIND_FORWARD: the first 16 digits of its identifier; else
    /// empty.
    pub next: [c_char; FOG_NODE_REF_SIZE],
    /// How long to hold the packet, in nanoseconds, with FOG_PROCESSED_KIND_FORWARD; else 0.
    pub delay_ns: u64,
    /// The reply block, with FOG_PROCESSED_KIND_REPLY; else empty.
    pub surb: [c_char; FOG_ID_SIZE],
}

/// Makes a new private key from the randomness of the operating system.
///
/// Thread safety: any thread.
/// @param out receives the key; free it with fog_private_key_free()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_private_key_generate(out: *mut *mut fog_private_key) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { result(out, "out") }?;
        give(out, fog_private_key(PrivateKey::random(&mut OsEntropy)));
        Ok(())
    })
}

/// Takes a private key from its bytes.
///
/// Thread safety: any thread.
/// @param bytes FOG_KEY_BYTES secret bytes
/// @param len   must be FOG_KEY_BYTES
/// @param out   receives the key; free it with fog_private_key_free()
/// @return FOG_STATUS_INVALID_ARGUMENT for another length
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_private_key_from_bytes(
    bytes: *const u8,
    len: usize,
    out: *mut *mut fog_private_key,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller lends `len` bytes and gives room for a handle.
        let (bytes, out) = unsafe { (key_bytes(bytes, len, "bytes")?, result(out, "out")?) };
        give(out, fog_private_key(PrivateKey::from_bytes(bytes)));
        Ok(())
    })
}

/// Copies the secret bytes of a key.
///
/// Thread safety: any thread, at the same time as other calls with the key.
/// @param key      the key
/// @param out      receives FOG_KEY_BYTES bytes; erase them after use
/// @param capacity bytes that fit `out`
/// @return FOG_STATUS_BUFFER_TOO_SMALL if that is less
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_private_key_to_bytes(
    key: *const fog_private_key,
    out: *mut u8,
    capacity: usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live key and a buffer of `capacity` bytes.
        unsafe { fill_exactly(&reference(key, "key")?.0.to_bytes(), out, capacity) }
    })
}

/// Copies the public half of a key.
///
/// Thread safety: any thread, at the same time as other calls with the key.
/// @param key      the key
/// @param out      receives FOG_KEY_BYTES bytes
/// @param capacity bytes that fit `out`
/// @return FOG_STATUS_BUFFER_TOO_SMALL if that is less
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_private_key_public_key(
    key: *const fog_private_key,
    out: *mut u8,
    capacity: usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live key and a buffer of `capacity` bytes.
        unsafe { fill_exactly(reference(key, "key")?.0.public().as_bytes(), out, capacity) }
    })
}

/// Erases a key and frees it.
///
/// Thread safety: no other call may use the key.
/// @param key the key, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_private_key_free(key: *mut fog_private_key) {
    // SAFETY: the caller passes a key of ours, once, or NULL.
    unsafe { free(key) }
}

/// Makes a builder and processor of packets.
///
/// Thread safety: any thread.
/// @param payload_bytes bytes of message a packet carries, a multiple of 1024 up to 65536; all
///                      nodes of a network use the same, FOG_SPHINX_PAYLOAD_BYTES unless they
///                      agreed on another
/// @param out           receives it; free it with fog_sphinx_free()
/// @return FOG_STATUS_INVALID_ARGUMENT for another size
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_new(
    payload_bytes: usize,
    out: *mut *mut fog_sphinx,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { result(out, "out") }?;
        give(out, fog_sphinx(Sphinx::new(payload_bytes)?));
        Ok(())
    })
}

/// The same for routes of at most so many hops. With 5 hops and 1024 bytes a packet fits one UDP
/// datagram.
///
/// Thread safety: any thread.
/// @param hops_max      most hops of a route, 1 to 7; FOG_SPHINX_HOPS unless the network agreed on
///                      another number
/// @param payload_bytes as of fog_sphinx_new()
/// @param out           receives it; free it with fog_sphinx_free()
/// @return FOG_STATUS_INVALID_ARGUMENT for other numbers
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_with_hops(
    hops_max: usize,
    payload_bytes: usize,
    out: *mut *mut fog_sphinx,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { result(out, "out") }?;
        give(out, fog_sphinx(Sphinx::with_hops(hops_max, payload_bytes)?));
        Ok(())
    })
}

/// Frees a builder and processor of packets.
///
/// Thread safety: no other call may use it.
/// @param sphinx it, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_free(sphinx: *mut fog_sphinx) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(sphinx) }
}

/// Most hops of a route.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param sphinx the size of the network's packets
/// @return 0 if `sphinx` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_hops_max(sphinx: *const fog_sphinx) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(sphinx, 0, |sphinx| sphinx.0.hops_max()) }
}

/// Bytes of message one packet carries.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param sphinx the size of the network's packets
/// @return 0 if `sphinx` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_payload_bytes(sphinx: *const fog_sphinx) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(sphinx, 0, |sphinx| sphinx.0.payload_bytes()) }
}

/// Length of every packet.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param sphinx the size of the network's packets
/// @return 0 if `sphinx` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_packet_bytes(sphinx: *const fog_sphinx) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(sphinx, 0, |sphinx| sphinx.0.packet_bytes()) }
}

/// Builds a packet that takes a route and delivers a message to its last hop.
///
/// Randomness is the operating system's, so no two packets are alike.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param sphinx      the size of the network's packets
/// @param route       the hops, the receiver last
/// @param route_len   how many, 1 to fog_sphinx_hops_max()
/// @param payload     the message
/// @param payload_len its length, at most fog_sphinx_payload_bytes()
/// @param out         receives the packet
/// @param capacity    bytes that fit `out`, at least fog_sphinx_packet_bytes()
/// @param out_len     receives the packet's length
/// @return FOG_STATUS_INVALID_ROUTE, FOG_STATUS_PAYLOAD_TOO_LARGE, FOG_STATUS_BUFFER_TOO_SMALL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_build(
    sphinx: *const fog_sphinx,
    route: *const fog_hop,
    route_len: usize,
    payload: *const u8,
    payload_len: usize,
    out: *mut u8,
    capacity: usize,
    out_len: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many hops and bytes as it says, hops whose
        // nodes are strings, a buffer of `capacity` bytes and room for its length.
        unsafe {
            let sphinx = reference(sphinx, "sphinx")?;
            let payload = slice(payload, payload_len, "payload")?;
            let out_len = result(out_len, "out_len")?;
            let route = read_route(route, route_len)?;
            fill(&sphinx.0.build(&route, payload)?, out, capacity, out_len)
        }
    })
}

/// # Safety
/// The pointer is to as many hops as the length says, and their nodes are strings or NULL.
unsafe fn read_route(route: *const fog_hop, len: usize) -> Result<Vec<Hop>, Failure> {
    // SAFETY: as the caller promises.
    let hops = unsafe { slice(route, len, "route") }?;
    hops.iter()
        .map(|hop| {
            Ok(Hop::new(
                // SAFETY: as the caller promises.
                unsafe { parsed(hop.node, "node") }?,
                PublicKey::from_bytes(hop.key),
                Duration::from_nanos(hop.delay_ns),
            ))
        })
        .collect()
}

/// Takes one layer off a packet with this node's key.
///
/// Nothing is remembered, so it may be called again with a larger buffer. Noticing a replay tag
/// that was seen before is for the caller.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param sphinx     the size of the network's packets
/// @param key        this node's key
/// @param packet     the packet
/// @param packet_len its length
/// @param out        receives the packet to forward, the message or the sealed reply; must not
///                   overlap `packet`
/// @param capacity   bytes that fit `out`; fog_sphinx_packet_bytes() are always enough
/// @param out_len    receives how many bytes were put into `out`
/// @param processed  receives what to do
/// @return FOG_STATUS_INVALID_PACKET, FOG_STATUS_BUFFER_TOO_SMALL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_process(
    sphinx: *const fog_sphinx,
    key: *const fog_private_key,
    packet: *const u8,
    packet_len: usize,
    out: *mut u8,
    capacity: usize,
    out_len: *mut usize,
    processed: *mut fog_processed,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes live handles, as many bytes as it says, a buffer of `capacity`
        // bytes and room for its length and for what to do.
        unsafe {
            let sphinx = reference(sphinx, "sphinx")?;
            let key = reference(key, "key")?;
            let packet = slice(packet, packet_len, "packet")?;
            let out_len = result(out_len, "out_len")?;
            let processed = result(processed, "processed")?;
            let unwrapped = sphinx.0.process(&key.0, packet)?;
            tell(unwrapped, out, capacity, out_len, processed)
        }
    })
}

/// # Safety
/// As [`fill`].
unsafe fn tell(
    unwrapped: Unwrapped,
    out: *mut u8,
    capacity: usize,
    out_len: &mut MaybeUninit<usize>,
    processed: &mut MaybeUninit<fog_processed>,
) -> Result<(), Failure> {
    let mut told = fog_processed {
        kind: fog_processed_kind::Forward,
        replay_tag: *unwrapped.replay_tag.as_bytes(),
        next: [0; FOG_NODE_REF_SIZE],
        delay_ns: 0,
        surb: [0; FOG_ID_SIZE],
    };
    // SAFETY: as the caller promises.
    let mut fill = |bytes: &[u8]| unsafe { fill(bytes, out, capacity, out_len) };
    match unwrapped.outcome {
        Processed::Forward {
            next,
            delay,
            packet,
        } => {
            told.next = chars(&next.to_string());
            told.delay_ns = nanoseconds(delay);
            fill(packet.as_bytes())?;
        }
        Processed::Deliver { payload } => {
            told.kind = fog_processed_kind::Deliver;
            fill(&payload)?;
        }
        Processed::Reply { surb, reply } => {
            told.kind = fog_processed_kind::Reply;
            told.surb = hex(surb.as_bytes());
            fill(reply.as_bytes())?;
        }
    }
    processed.write(told);
    Ok(())
}

/// A delay of a packet, which has no room for more than 32 bits of microseconds.
fn nanoseconds(delay: Duration) -> u64 {
    u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_sizes_are_the_facades() {
        let usual = Sphinx::default();
        assert_eq!(usual.payload_bytes(), FOG_SPHINX_PAYLOAD_BYTES);
        assert_eq!(usual.hops_max(), FOG_SPHINX_HOPS);
    }
}
