use std::ffi::c_char;

use fogcompute::{Error, Opened, Step};

use super::{fog_hop, fog_private_key, fog_processed_kind, fog_sphinx, nanoseconds, read_route};
use crate::support::{
    Failure, bytes_mut, chars, check_room, fill, fill_items, guard, hex, reference, result, slice,
};
use crate::{FOG_ID_SIZE, FOG_NODE_REF_SIZE, fog_status};

/// A packet to be built.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_order {
    /// The hops, the receiver last.
    pub route: *const fog_hop,
    /// How many, 1 to fog_sphinx_hops_max().
    pub route_len: usize,
    /// The message.
    pub payload: *const u8,
    /// Its length, at most fog_sphinx_payload_bytes().
    pub payload_len: usize,
}

/// What became of one packet of a batch.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_opened {
    /// FOG_STATUS_OK, or why the packet was refused; then its bytes are worth nothing, and so is
    /// the rest of this.
    pub status: fog_status,
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
    /// Where in the buffer of the batch the packet to forward, the message or the sealed reply
    /// begins.
    pub offset: usize,
    /// How many bytes it has.
    pub length: usize,
}

impl From<Result<Opened, Error>> for fog_opened {
    fn from(result: Result<Opened, Error>) -> Self {
        let mut told = Self {
            status: fog_status::Ok,
            kind: fog_processed_kind::Forward,
            replay_tag: [0; 16],
            next: [0; FOG_NODE_REF_SIZE],
            delay_ns: 0,
            surb: [0; FOG_ID_SIZE],
            offset: 0,
            length: 0,
        };
        let opened = match result {
            Ok(opened) => opened,
            Err(error) => {
                told.status = error.code().into();
                return told;
            }
        };
        told.replay_tag = *opened.replay_tag.as_bytes();
        let range = match opened.step {
            Step::Forward {
                next,
                delay,
                packet,
            } => {
                told.next = chars(&next.to_string());
                told.delay_ns = nanoseconds(delay);
                packet
            }
            Step::Deliver { payload } => {
                told.kind = fog_processed_kind::Deliver;
                payload
            }
            Step::Reply { surb, sealed } => {
                told.kind = fog_processed_kind::Reply;
                told.surb = hex(surb.as_bytes());
                sealed
            }
        };
        (told.offset, told.length) = (range.start, range.len());
        told
    }
}

/// Builds many packets, each of a route and a message, one after the other in one buffer. That is
/// faster than one by one.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param sphinx     the size of the network's packets
/// @param orders     what to build
/// @param orders_len how many
/// @param out        receives the packets
/// @param capacity   bytes that fit `out`, at least orders_len times fog_sphinx_packet_bytes()
/// @param out_len    receives the length of all packets together
/// @return FOG_STATUS_INVALID_ROUTE or FOG_STATUS_PAYLOAD_TOO_LARGE for the first that is refused,
///         then none is built; FOG_STATUS_BUFFER_TOO_SMALL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_build_batch(
    sphinx: *const fog_sphinx,
    orders: *const fog_order,
    orders_len: usize,
    out: *mut u8,
    capacity: usize,
    out_len: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many orders as it says, with as many hops and
        // bytes as they say, a buffer of `capacity` bytes and room for its length.
        unsafe {
            let sphinx = reference(sphinx, "sphinx")?;
            let orders = slice(orders, orders_len, "orders")?;
            let out_len = result(out_len, "out_len")?;
            let needed = orders.len().saturating_mul(sphinx.0.packet_bytes());
            check_room(needed, capacity, out_len)?;
            let routes = orders
                .iter()
                .map(|order| read_route(order.route, order.route_len))
                .collect::<Result<Vec<_>, _>>()?;
            let packets = orders
                .iter()
                .zip(&routes)
                .map(|(order, route)| {
                    let payload = slice(order.payload, order.payload_len, "payload")?;
                    Ok((route.as_slice(), payload))
                })
                .collect::<Result<Vec<_>, Failure>>()?;
            fill(&sphinx.0.build_batch(&packets)?, out, capacity, out_len)
        }
    })
}

/// Takes one layer off each of the packets that stand one after the other in a buffer, in place:
/// nothing is copied. That is faster than one by one.
///
/// Nothing is remembered. Noticing a replay tag that was seen before is for the caller.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param sphinx           the size of the network's packets
/// @param key              this node's key
/// @param packets          the packets; become what the results say
/// @param packets_len      their length together, a multiple of fog_sphinx_packet_bytes()
/// @param results          receives one result for each packet, in their order
/// @param results_capacity results that fit
/// @param results_len      receives how many results there are
/// @return FOG_STATUS_INVALID_PACKET if they are not whole packets and FOG_STATUS_BUFFER_TOO_SMALL
///         if their results do not fit; then nothing was changed. FOG_STATUS_OK if packets are
///         refused each for itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_process_batch(
    sphinx: *const fog_sphinx,
    key: *const fog_private_key,
    packets: *mut u8,
    packets_len: usize,
    results: *mut fog_opened,
    results_capacity: usize,
    results_len: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes live handles, as many bytes as it says, which nothing else
        // uses, room for as many results as it says and for their number.
        unsafe {
            let sphinx = reference(sphinx, "sphinx")?;
            let key = reference(key, "key")?;
            let batch = Batch {
                packet_bytes: sphinx.0.packet_bytes(),
                packets,
                packets_len,
                results,
                results_capacity,
                results_len,
            };
            batch.process(|packets| sphinx.0.process_batch(&key.0, packets))
        }
    })
}

/// What a caller passes to have a batch processed.
pub(super) struct Batch {
    pub(super) packet_bytes: usize,
    pub(super) packets: *mut u8,
    pub(super) packets_len: usize,
    pub(super) results: *mut fog_opened,
    pub(super) results_capacity: usize,
    pub(super) results_len: *mut usize,
}

impl Batch {
    /// # Safety
    /// The pointers are to as many bytes and to room for as many results as is said, which nothing
    /// else uses, and to room for the number of results.
    pub(super) unsafe fn process(
        self,
        process: impl FnOnce(&mut [u8]) -> Result<Vec<Result<Opened, Error>>, Error>,
    ) -> Result<(), Failure> {
        // SAFETY: as the caller promises.
        let (packets, results_len) = unsafe {
            (
                bytes_mut(self.packets, self.packets_len, "packets")?,
                result(self.results_len, "results_len")?,
            )
        };
        let count = packets.len() / self.packet_bytes;
        // Before the work: packets that were opened cannot be opened again.
        check_room(count, self.results_capacity, results_len)?;
        if count > 0 && self.results.is_null() {
            return Err(Failure::argument("results is NULL"));
        }
        let opened: Vec<_> = process(packets)?
            .into_iter()
            .map(fog_opened::from)
            .collect();
        // SAFETY: there is a result for each whole packet, and as much room.
        unsafe { fill_items(&opened, self.results, "results") }?;
        results_len.write(opened.len());
        Ok(())
    }
}
