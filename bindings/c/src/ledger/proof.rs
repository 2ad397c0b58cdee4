use std::ffi::c_char;

use fogcompute::{Ledger, OwnerKey, SignedCheckpoint, TextFormat};

use super::{FOG_DIGEST_SIZE, fog_ledger, fog_verification};
use crate::fog_status;
use crate::support::{
    Failure, chars, fill_exactly, guard, key_bytes, optional_result, reference, result, slice, text,
};

/// Bytes of a signed checkpoint.
pub const FOG_CHECKPOINT_BYTES: usize = 177;

const _: () = assert!(FOG_CHECKPOINT_BYTES == SignedCheckpoint::LEN);

/// Where a history ends.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_ledger_head {
    /// Number of entries.
    pub sequence: u64,
    /// Digest of the whole history.
    pub chain: [c_char; FOG_DIGEST_SIZE],
}

/// What a checkpoint states.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_checkpoint {
    /// Where the history ended.
    pub head: fog_ledger_head,
    /// When it was made, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Digest of all accounts.
    pub accounts_root: [c_char; FOG_DIGEST_SIZE],
}

impl From<fogcompute::ledger::Head> for fog_ledger_head {
    fn from(head: fogcompute::ledger::Head) -> Self {
        Self {
            sequence: head.sequence,
            chain: chars(&head.chain.to_string()),
        }
    }
}

/// How a history is written as text, a line for each entry.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_text_format {
    /// The one that the file's name tells: it ends with .csv or .jsonl.
    OfName = 0,
    /// Columns under a line with their names, for spreadsheets.
    Csv = 1,
    /// One JSON object a line, amounts as text.
    JsonLines = 2,
}

fn text_format(format: i32) -> Result<Option<TextFormat>, Failure> {
    match format {
        0 => Ok(None),
        1 => Ok(Some(TextFormat::Csv)),
        2 => Ok(Some(TextFormat::JsonLines)),
        _ => Err(Failure::argument("format is no fog_text_format")),
    }
}

/// Calls a ledger with nothing to report but that it worked.
///
/// # Safety
/// `ledger` is NULL or live.
unsafe fn with_ledger(
    ledger: *const fog_ledger,
    call: impl FnOnce(&Ledger) -> Result<(), Failure>,
) -> fog_status {
    guard(|| {
        // SAFETY: as the caller promises.
        call(&unsafe { reference(ledger, "ledger") }?.0)
    })
}

/// Where the history ends.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param out    receives the end
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_end(
    ledger: *const fog_ledger,
    out: *mut fog_ledger_head,
) -> fog_status {
    // SAFETY: the caller passes a live handle and room for the struct.
    unsafe {
        with_ledger(ledger, |ledger| {
            result(out, "out")?.write(ledger.head()?.into());
            Ok(())
        })
    }
}

/// A statement about the ledger as it is now, signed, for others to keep: whoever has it notices
/// any rewriting of what came before it.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger     the ledger
/// @param secret     an Ed25519 key's FOG_KEY_BYTES secret bytes
/// @param secret_len their number
/// @param out        receives FOG_CHECKPOINT_BYTES bytes, the same in every language
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_checkpoint(
    ledger: *const fog_ledger,
    secret: *const u8,
    secret_len: usize,
    out: *mut u8,
) -> fog_status {
    // SAFETY: the caller passes a live handle, bytes and room for a checkpoint.
    unsafe {
        with_ledger(ledger, |ledger| {
            let secret = key_bytes(secret, secret_len, "secret")?;
            let signed = ledger.checkpoint(&secret)?.encode();
            fill_exactly(&signed, out, FOG_CHECKPOINT_BYTES)
        })
    }
}

/// Checks that a checkpoint was signed by the key that is trusted.
///
/// Thread safety: any thread.
/// @param checkpoint the checkpoint
/// @param len        its bytes
/// @param key        the key, FOG_KEY_BYTES bytes
/// @param key_len    their number
/// @param out        receives what it states, or NULL
/// @return FOG_STATUS_CHECKPOINT_FORGED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_checkpoint_verify(
    checkpoint: *const u8,
    len: usize,
    key: *const u8,
    key_len: usize,
    out: *mut fog_checkpoint,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes bytes, and NULL or room for the struct.
        let (bytes, key, out) = unsafe {
            (
                slice(checkpoint, len, "checkpoint")?,
                key_bytes(key, key_len, "key")?,
                optional_result(out),
            )
        };
        let signed = fogcompute::decode_checkpoint(bytes)?;
        let stated = fogcompute::verify_checkpoint(&signed, &OwnerKey::from_bytes(key))?;
        if let Some(out) = out {
            out.write(fog_checkpoint {
                head: stated.head.into(),
                unix_ms: stated.time.0,
                accounts_root: chars(&stated.accounts_root.to_string()),
            });
        }
        Ok(())
    })
}

/// Checks the whole history, as fog_ledger_verify() does, and that it is the one of which `key`
/// signed a checkpoint: nothing before that was rewritten since.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger     the ledger
/// @param checkpoint the checkpoint
/// @param len        its bytes
/// @param key        the key that is trusted, FOG_KEY_BYTES bytes
/// @param key_len    their number
/// @param out        receives what was checked, or NULL
/// @return FOG_STATUS_CHECKPOINT_FORGED, FOG_STATUS_CHECKPOINT_DIFFERS,
///         FOG_STATUS_CHECKPOINT_MISSING, FOG_STATUS_STORAGE_CORRUPT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_verify_since(
    ledger: *const fog_ledger,
    checkpoint: *const u8,
    len: usize,
    key: *const u8,
    key_len: usize,
    out: *mut fog_verification,
) -> fog_status {
    // SAFETY: the caller passes a live handle, bytes, and NULL or room for the struct.
    unsafe {
        with_ledger(ledger, |ledger| {
            let signed = fogcompute::decode_checkpoint(slice(checkpoint, len, "checkpoint")?)?;
            let key = OwnerKey::from_bytes(key_bytes(key, key_len, "key")?);
            let verified = ledger.verify_since(&signed, &key)?;
            if let Some(out) = optional_result(out) {
                out.write(verified.into());
            }
            Ok(())
        })
    }
}

/// SQLite's own check of pages, indexes and rows.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @return FOG_STATUS_STORAGE_CORRUPT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_check_integrity(ledger: *const fog_ledger) -> fog_status {
    // SAFETY: the caller passes a live handle.
    unsafe { with_ledger(ledger, |ledger| Ok(ledger.check_integrity()?)) }
}

/// Makes a snapshot now, so that opening has nothing to carry out again.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @return FOG_STATUS_STORAGE_FULL, FOG_STATUS_STORAGE
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_snapshot(ledger: *const fog_ledger) -> fog_status {
    // SAFETY: the caller passes a live handle.
    unsafe { with_ledger(ledger, |ledger| Ok(ledger.snapshot()?)) }
}

/// Copies the ledger into a new file, which is a ledger of its own.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param path   the new file
/// @return FOG_STATUS_STORAGE_EXISTS, FOG_STATUS_STORAGE_FULL, FOG_STATUS_STORAGE
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_backup(
    ledger: *const fog_ledger,
    path: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle and a string.
    unsafe { with_ledger(ledger, |ledger| Ok(ledger.backup(text(path, "path")?)?)) }
}

/// Writes the history into a new file as text.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param path    the new file
/// @param format  a fog_text_format
/// @param entries receives how many entries were written, or NULL
/// @return FOG_STATUS_INVALID_ARGUMENT if the name tells no format, FOG_STATUS_STORAGE_EXISTS,
///         FOG_STATUS_STORAGE_FULL, FOG_STATUS_STORAGE
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_export(
    ledger: *const fog_ledger,
    path: *const c_char,
    format: i32,
    entries: *mut u64,
) -> fog_status {
    // SAFETY: the caller passes a live handle, a string, and NULL or room for a number.
    unsafe {
        with_ledger(ledger, |ledger| {
            let written = ledger.export(text(path, "path")?, text_format(format)?)?;
            if let Some(entries) = optional_result(entries) {
                entries.write(written);
            }
            Ok(())
        })
    }
}

/// Reads a history that fog_ledger_export() wrote into this ledger, which must be empty. Every
/// entry is carried out again and must come out the same; all of them or nothing.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param path   the file
/// @param format a fog_text_format
/// @return FOG_STATUS_INVALID_ARGUMENT if the name tells no format, FOG_STATUS_STORAGE_NOT_EMPTY,
///         FOG_STATUS_INVALID_TRANSCRIPT, FOG_STATUS_STORAGE_CORRUPT, FOG_STATUS_STORAGE
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_import(
    ledger: *const fog_ledger,
    path: *const c_char,
    format: i32,
) -> fog_status {
    // SAFETY: the caller passes a live handle and a string.
    unsafe {
        with_ledger(ledger, |ledger| {
            Ok(ledger.import(text(path, "path")?, text_format(format)?)?)
        })
    }
}
