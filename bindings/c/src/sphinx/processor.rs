use fogcompute::{ProcessorStats, SphinxProcessor};

use super::batch::Batch;
use super::{fog_opened, fog_private_key, fog_processed, fog_sphinx, tell};
use crate::fog_status;
use crate::support::{
    Failure, check_room, fill_exactly, free, give, guard, reference, result, slice,
};

/// Processes the packets of one mix key and remembers them, so that none is processed twice.
///
/// It is a mixnode's cryptography without its delays and links.
pub struct fog_sphinx_processor(SphinxProcessor);

/// What a processor of packets counted since it was made.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_processor_stats {
    /// Packets that came in.
    pub received: u64,
    /// Of those, to be sent on.
    pub forwarded: u64,
    /// Of those, messages for this node.
    pub delivered: u64,
    /// Of those, replies for this node.
    pub replies: u64,
    /// Of those, refused: wrong length, version, tag, key or payload.
    pub malformed: u64,
    /// Of those, refused: processed before.
    pub replayed: u64,
    /// Of those, refused: no more packets of this key can be remembered.
    pub overloaded: u64,
}

/// Makes a processor for a key, which must not have been used before: what was seen under it
/// earlier is not known.
///
/// Thread safety: any thread.
/// @param sphinx      the size of the network's packets
/// @param key         this node's key, which is copied
/// @param packets_max packets it remembers, in 5 bytes each, which are taken from the system as
///                    they are used; well beyond that it refuses further ones, and needs a new key
/// @param out         receives it; free it with fog_sphinx_processor_free()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_processor_new(
    sphinx: *const fog_sphinx,
    key: *const fog_private_key,
    packets_max: usize,
    out: *mut *mut fog_sphinx_processor,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes live handles and gives room for one.
        let (sphinx, key, out) = unsafe {
            (
                reference(sphinx, "sphinx")?,
                reference(key, "key")?,
                result(out, "out")?,
            )
        };
        let processor = SphinxProcessor::new(sphinx.0, key.0.clone(), packets_max)?;
        give(out, fog_sphinx_processor(processor));
        Ok(())
    })
}

/// Copies the public half of a processor's key.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param processor the processor
/// @param out       receives FOG_KEY_BYTES bytes
/// @param capacity  bytes that fit `out`
/// @return FOG_STATUS_BUFFER_TOO_SMALL if that is less
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_processor_public_key(
    processor: *const fog_sphinx_processor,
    out: *mut u8,
    capacity: usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and a buffer of `capacity` bytes.
        unsafe {
            let key = reference(processor, "processor")?.0.public_key();
            fill_exactly(key.as_bytes(), out, capacity)
        }
    })
}

/// Takes one layer off a packet that was not processed before.
///
/// Thread safety: any thread, at the same time as other calls: of those that process the same
/// packet, one succeeds.
/// @param processor  the processor
/// @param packet     the packet
/// @param packet_len its length
/// @param out        receives the packet to forward, the message or the sealed reply; must not
///                   overlap `packet`
/// @param capacity   bytes that fit `out`, at least fog_sphinx_packet_bytes()
/// @param out_len    receives how many bytes were put into `out`
/// @param processed  receives what to do
/// @return FOG_STATUS_INVALID_PACKET, FOG_STATUS_REPLAYED, FOG_STATUS_MIXNET_BUSY if it cannot
///         remember more; FOG_STATUS_BUFFER_TOO_SMALL, then the packet counts as not processed
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_processor_process(
    processor: *const fog_sphinx_processor,
    packet: *const u8,
    packet_len: usize,
    out: *mut u8,
    capacity: usize,
    out_len: *mut usize,
    processed: *mut fog_processed,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many bytes as it says, a buffer of `capacity`
        // bytes and room for its length and for what to do.
        unsafe {
            let processor = reference(processor, "processor")?;
            let packet = slice(packet, packet_len, "packet")?;
            let out_len = result(out_len, "out_len")?;
            let processed = result(processed, "processed")?;
            // Before the work, for a packet that was processed is refused from then on.
            check_room(processor.0.sphinx().packet_bytes(), capacity, out_len)?;
            if out.is_null() {
                return Err(Failure::argument("out is NULL"));
            }
            tell(
                processor.0.process(packet)?,
                out,
                capacity,
                out_len,
                processed,
            )
        }
    })
}

/// What fog_sphinx_process_batch() does, for packets that were not processed before: the status of
/// each may also be FOG_STATUS_REPLAYED, or FOG_STATUS_MIXNET_BUSY if no more can be remembered.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param processor        the processor
/// @param packets          the packets; become what the results say
/// @param packets_len      their length together, a multiple of fog_sphinx_packet_bytes()
/// @param results          receives one result for each packet, in their order
/// @param results_capacity results that fit
/// @param results_len      receives how many results there are
/// @return as of fog_sphinx_process_batch()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_processor_process_batch(
    processor: *const fog_sphinx_processor,
    packets: *mut u8,
    packets_len: usize,
    results: *mut fog_opened,
    results_capacity: usize,
    results_len: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, as many bytes as it says, which nothing else
        // uses, room for as many results as it says and for their number.
        unsafe {
            let processor = reference(processor, "processor")?;
            let batch = Batch {
                packet_bytes: processor.0.sphinx().packet_bytes(),
                packets,
                packets_len,
                results,
                results_capacity,
                results_len,
            };
            batch.process(|packets| processor.0.process_batch(packets))
        }
    })
}

/// Puts what a processor counted into a struct.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param processor the processor
/// @param out       receives the figures
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_processor_stats(
    processor: *const fog_sphinx_processor,
    out: *mut fog_processor_stats,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (processor, out) = unsafe { (reference(processor, "processor")?, result(out, "out")?) };
        let ProcessorStats {
            received,
            forwarded,
            delivered,
            replies,
            malformed,
            replayed,
            overloaded,
        } = processor.0.stats();
        out.write(fog_processor_stats {
            received,
            forwarded,
            delivered,
            replies,
            malformed,
            replayed,
            overloaded,
        });
        Ok(())
    })
}

/// Erases a processor's key and frees it.
///
/// Thread safety: no other call may use it.
/// @param processor the processor, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_sphinx_processor_free(processor: *mut fog_sphinx_processor) {
    // SAFETY: the caller passes a processor of ours, once, or NULL.
    unsafe { free(processor) }
}
