use std::ffi::c_char;

use fogcompute::{MessageId, MixnetMessage, ReplyBlocks, TransferId};

use crate::support::{Failure, free, guard, hex, parsed, read_or, reference, result};
use crate::{fog_id, fog_status};

/// A message that came in.
pub struct fog_mixnet_message(pub(super) MixnetMessage);

/// What came back for a request.
pub struct fog_mixnet_answer(pub(super) Vec<u8>);

/// What to answer a message with that came to a client before.
pub struct fog_reply_blocks(pub(super) ReplyBlocks);

/// What a client that was suspended left to the one after it, sealed.
pub struct fog_mixnet_state(pub(super) Vec<u8>);

/// # Safety
/// As [`parsed`].
pub(super) unsafe fn read_id(text: *const c_char, name: &str) -> Result<MessageId, Failure> {
    // All identifiers of 16 bytes are written alike, and only some kinds of them read their text.
    // SAFETY: as the caller promises.
    let id: TransferId = unsafe { parsed(text, name) }?;
    Ok(MessageId::from_bytes(*id.as_bytes()))
}

impl From<MessageId> for fog_id {
    fn from(id: MessageId) -> Self {
        Self {
            text: hex(id.as_bytes()),
        }
    }
}

/// Puts the sender's identifier of a message into a struct.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param message the message
/// @param out     receives the identifier
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_message_id(
    message: *const fog_mixnet_message,
    out: *mut fog_id,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (message, out) = unsafe { (reference(message, "message")?, result(out, "out")?) };
        out.write(message.0.id.into());
        Ok(())
    })
}

/// The bytes of a message.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param message the message
/// @return the bytes, as many as fog_mixnet_message_len() says, valid until the message is freed;
///         NULL if `message` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_message_data(message: *const fog_mixnet_message) -> *const u8 {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(message, std::ptr::null(), |message| message.0.body.as_ptr()) }
}

/// How many bytes a message has.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param message the message
/// @return 0 if `message` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_message_len(message: *const fog_mixnet_message) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(message, 0, |message| message.0.body.len()) }
}

/// How many reply blocks came with a message: packets its answer may have. 0 if it wants none.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param message the message
/// @return 0 if `message` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_message_reply_blocks(
    message: *const fog_mixnet_message,
) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(message, 0, |message| message.0.reply.count()) }
}

/// Frees a message, whether or not it was answered.
///
/// Thread safety: no other call may use it.
/// @param message the message, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_message_free(message: *mut fog_mixnet_message) {
    // SAFETY: the caller passes a message of ours, once, or NULL.
    unsafe { free(message) }
}

/// The bytes of an answer.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param answer the answer
/// @return the bytes, as many as fog_mixnet_answer_len() says, valid until the answer is freed;
///         NULL if `answer` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_answer_data(answer: *const fog_mixnet_answer) -> *const u8 {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(answer, std::ptr::null(), |answer| answer.0.as_ptr()) }
}

/// How many bytes an answer has.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param answer the answer
/// @return 0 if `answer` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_answer_len(answer: *const fog_mixnet_answer) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(answer, 0, |answer| answer.0.len()) }
}

/// Frees an answer. Not the one a callback was given.
///
/// Thread safety: no other call may use it.
/// @param answer the answer, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_answer_free(answer: *mut fog_mixnet_answer) {
    // SAFETY: the caller passes an answer of ours, once, or NULL.
    unsafe { free(answer) }
}

/// How many reply blocks there are: packets an answer may have.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param blocks the reply blocks
/// @return 0 if `blocks` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_reply_blocks_count(blocks: *const fog_reply_blocks) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(blocks, 0, |blocks| blocks.0.count()) }
}

/// Frees reply blocks, whether or not they were used.
///
/// Thread safety: no other call may use them.
/// @param blocks the reply blocks, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_reply_blocks_free(blocks: *mut fog_reply_blocks) {
    // SAFETY: the caller passes reply blocks of ours, once, or NULL.
    unsafe { free(blocks) }
}

/// The bytes of a state.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param state the state
/// @return the bytes, as many as fog_mixnet_state_len() says, valid until the state is freed; NULL
///         if `state` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_state_data(state: *const fog_mixnet_state) -> *const u8 {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(state, std::ptr::null(), |state| state.0.as_ptr()) }
}

/// How many bytes a state has.
///
/// Thread safety: any thread, at the same time as other calls.
/// @param state the state
/// @return 0 if `state` is NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_state_len(state: *const fog_mixnet_state) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { read_or(state, 0, |state| state.0.len()) }
}

/// Frees a state.
///
/// Thread safety: no other call may use it.
/// @param state the state, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_state_free(state: *mut fog_mixnet_state) {
    // SAFETY: the caller passes a state of ours, once, or NULL.
    unsafe { free(state) }
}
