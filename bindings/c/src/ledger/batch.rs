use std::ffi::c_char;
use std::mem::MaybeUninit;

use fogcompute::base::UnixMillis;
use fogcompute::ledger::{AssetId, Memo};
use fogcompute::{Operation, OwnerKey, Receipt, SignedBatch};

use super::{account_kind, fog_account_limits, fog_ledger, fog_receipt};
use crate::fog_status;
use crate::support::{
    Failure, check_room, fill, fill_exactly, fill_items, free, give, guard, key_bytes,
    optional_result, parsed, reference, result, slice,
};

/// What a transfer or a reservation is for. The ledger keeps it and makes nothing of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct fog_memo {
    /// The purpose, from a list of the caller's; 0 is unsaid.
    pub code: u16,
    /// The caller's own reference; zeros are unsaid.
    pub reference: [u8; 16],
}

/// Operations that happen as a whole or not at all: fog_ledger_execute().
///
/// Thread safety: one thread at a time.
pub struct fog_batch(Vec<Operation>);

/// Makes an empty batch.
///
/// Thread safety: any thread.
/// @param out receives the batch; free it with fog_batch_free()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_new(out: *mut *mut fog_batch) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for a handle.
        give(unsafe { result(out, "out") }?, fog_batch(Vec::new()));
        Ok(())
    })
}

/// Frees a batch.
///
/// Thread safety: no other call may use it.
/// @param batch the batch, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_free(batch: *mut fog_batch) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(batch) }
}

/// Takes all operations out of a batch.
///
/// Thread safety: one thread at a time.
/// @param batch the batch
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_clear(batch: *mut fog_batch) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle that nothing else uses now.
        unsafe { batch_mut(batch) }?.0.clear();
        Ok(())
    })
}

/// Operations in a batch.
///
/// Thread safety: any thread, but not while it is changed.
/// @param batch the batch, or NULL
/// @return their number; 0 for NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_len(batch: *const fog_batch) -> usize {
    // SAFETY: the caller passes a live handle or NULL.
    unsafe { crate::support::read_or(batch, 0, |batch| batch.0.len()) }
}

/// # Safety
/// The pointer is NULL or a live handle that nothing else uses during `'a`.
unsafe fn batch_mut<'a>(batch: *mut fog_batch) -> Result<&'a mut fog_batch, Failure> {
    // SAFETY: as the caller promises.
    unsafe { batch.as_mut() }.ok_or_else(|| Failure::argument("batch is NULL"))
}

/// Adds an operation that is made from arguments.
///
/// # Safety
/// As [`batch_mut`].
pub(super) unsafe fn add(
    batch: *mut fog_batch,
    operation: impl FnOnce() -> Result<Operation, Failure>,
) -> fog_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let batch = unsafe { batch_mut(batch) }?;
        batch.0.push(operation()?);
        Ok(())
    })
}

/// # Safety
/// The pointer is NULL or points to a memo.
unsafe fn memo(pointer: *const fog_memo) -> Memo {
    // SAFETY: as the caller promises.
    unsafe { pointer.as_ref() }.map_or(Memo::NONE, |memo| Memo {
        code: memo.code,
        reference: memo.reference,
    })
}

/// Adds the opening of an account.
///
/// Thread safety: one thread at a time.
/// @param batch   the batch
/// @param account the account's identifier, 32 hexadecimal digits
/// @param kind    a fog_account_kind
/// @param asset   what it is to hold; 0 is credits
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_open_account(
    batch: *mut fog_batch,
    account: *const c_char,
    kind: i32,
    asset: u32,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and a string.
    unsafe {
        add(batch, || {
            Ok(Operation::Open {
                account: parsed(account, "account")?,
                asset: AssetId(asset),
                kind: account_kind(kind)?,
            })
        })
    }
}

/// Adds a transfer.
///
/// Thread safety: one thread at a time.
/// @param batch  the batch
/// @param id     names the transfer, 32 hexadecimal digits chosen by the caller
/// @param from   the account that gives
/// @param to     the account that receives
/// @param amount decimal text of base units
/// @param memo_  what it is for, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_transfer(
    batch: *mut fog_batch,
    id: *const c_char,
    from: *const c_char,
    to: *const c_char,
    amount: *const c_char,
    memo_: *const fog_memo,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, strings, and NULL or a
    // memo.
    unsafe {
        add(batch, || {
            Ok(Operation::Transfer {
                id: parsed(id, "id")?,
                from: parsed(from, "from")?,
                to: parsed(to, "to")?,
                amount: parsed(amount, "amount")?,
                memo: memo(memo_),
            })
        })
    }
}

/// Adds a reservation.
///
/// Thread safety: one thread at a time.
/// @param batch           the batch
/// @param id              names the reservation, 32 hexadecimal digits chosen by the caller
/// @param from            the account that will give
/// @param to              the account that will receive
/// @param amount          decimal text of base units
/// @param expires_unix_ms when it is released by itself, in milliseconds since 1970; 0 for never
/// @param memo_           what it is for, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_reserve(
    batch: *mut fog_batch,
    id: *const c_char,
    from: *const c_char,
    to: *const c_char,
    amount: *const c_char,
    expires_unix_ms: u64,
    memo_: *const fog_memo,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, strings, and NULL or a
    // memo.
    unsafe {
        add(batch, || {
            Ok(Operation::Reserve {
                id: parsed(id, "id")?,
                from: parsed(from, "from")?,
                to: parsed(to, "to")?,
                amount: parsed(amount, "amount")?,
                expires: (expires_unix_ms > 0).then_some(UnixMillis(expires_unix_ms)),
                memo: memo(memo_),
            })
        })
    }
}

/// Adds a post: a reserved amount moves, or part of it, and what is left is released.
///
/// Thread safety: one thread at a time.
/// @param batch       the batch
/// @param id          names this operation, 32 hexadecimal digits chosen by the caller
/// @param reservation the reservation
/// @param amount      decimal text of base units, or NULL for all that is reserved
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_post(
    batch: *mut fog_batch,
    id: *const c_char,
    reservation: *const c_char,
    amount: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, strings, and NULL or a
    // string.
    unsafe {
        add(batch, || {
            let amount = if amount.is_null() {
                None
            } else {
                Some(parsed(amount, "amount")?)
            };
            Ok(Operation::Post {
                id: parsed(id, "id")?,
                reservation: parsed(reservation, "reservation")?,
                amount,
            })
        })
    }
}

/// Adds the release of a reservation.
///
/// Thread safety: one thread at a time.
/// @param batch       the batch
/// @param id          names this operation, 32 hexadecimal digits chosen by the caller
/// @param reservation the reservation
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_void(
    batch: *mut fog_batch,
    id: *const c_char,
    reservation: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe {
        add(batch, || {
            Ok(Operation::Void {
                id: parsed(id, "id")?,
                reservation: parsed(reservation, "reservation")?,
            })
        })
    }
}

/// Adds the setting of an account's limits.
///
/// Thread safety: one thread at a time.
/// @param batch   the batch
/// @param id      names this operation, 32 hexadecimal digits chosen by the caller
/// @param account the account
/// @param limits  its limits from then on
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_limit(
    batch: *mut fog_batch,
    id: *const c_char,
    account: *const c_char,
    limits: *const fog_account_limits,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, strings and a struct.
    unsafe {
        add(batch, || {
            Ok(Operation::Limit {
                id: parsed(id, "id")?,
                account: parsed(account, "account")?,
                limits: reference(limits, "limits")?.read()?,
            })
        })
    }
}

/// Adds the closing of an account.
///
/// Thread safety: one thread at a time.
/// @param batch   the batch
/// @param id      names this operation, 32 hexadecimal digits chosen by the caller
/// @param account the account
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_close_account(
    batch: *mut fog_batch,
    id: *const c_char,
    account: *const c_char,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, and strings.
    unsafe {
        add(batch, || {
            Ok(Operation::Close {
                id: parsed(id, "id")?,
                account: parsed(account, "account")?,
            })
        })
    }
}

/// Adds the registration of an owner's key.
///
/// Thread safety: one thread at a time.
/// @param batch   the batch
/// @param id      names this operation, 32 hexadecimal digits chosen by the caller
/// @param account the account
/// @param key     the owner's Ed25519 key, FOG_KEY_BYTES bytes
/// @param key_len their number
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_own(
    batch: *mut fog_batch,
    id: *const c_char,
    account: *const c_char,
    key: *const u8,
    key_len: usize,
) -> fog_status {
    // SAFETY: the caller passes a live handle that nothing else uses now, strings and bytes.
    unsafe {
        add(batch, || {
            Ok(Operation::Own {
                id: parsed(id, "id")?,
                account: parsed(account, "account")?,
                key: OwnerKey::from_bytes(key_bytes(key, key_len, "key")?),
            })
        })
    }
}

/// # Safety
/// `out` is NULL or has room for as many as there are receipts.
unsafe fn fill_receipts(receipts: Vec<Receipt>, out: *mut fog_receipt) -> Result<(), Failure> {
    if out.is_null() {
        return Ok(());
    }
    let receipts: Vec<fog_receipt> = receipts.into_iter().map(Into::into).collect();
    // SAFETY: as the caller promises.
    unsafe { fill_items(&receipts, out, "receipts") }
}

/// Executes a batch as a whole or not at all. The batch stays as it is: executing it again moves
/// nothing.
///
/// Thread safety: any thread, at the same time as other calls; those that wait while the disk is
/// busy share one wait for it.
/// @param ledger   the ledger
/// @param batch    the batch
/// @param receipts receives a receipt for each operation, or NULL
/// @param capacity receipts that there is room for; nothing is done if they are too few
/// @return FOG_STATUS_BATCH_EMPTY, FOG_STATUS_BATCH_TOO_LARGE, FOG_STATUS_BUFFER_TOO_SMALL,
///         and what the operations return
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_execute(
    ledger: *const fog_ledger,
    batch: *const fog_batch,
    receipts: *mut fog_receipt,
    capacity: usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes live handles.
        let (ledger, batch) = unsafe { (reference(ledger, "ledger")?, reference(batch, "batch")?) };
        if !receipts.is_null() {
            check_room(batch.0.len(), capacity, &mut MaybeUninit::uninit())?;
        }
        let done = ledger.0.execute(batch.0.as_slice())?;
        // SAFETY: NULL, or room for as many as there are operations.
        unsafe { fill_receipts(done, receipts) }
    })
}

/// The public key to an Ed25519 key's secret bytes: for fog_ledger_own(), and to check checkpoints
/// against.
///
/// Thread safety: any thread.
/// @param secret     FOG_KEY_BYTES secret bytes
/// @param secret_len their number
/// @param out        receives FOG_KEY_BYTES bytes
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_owner_key(
    secret: *const u8,
    secret_len: usize,
    out: *mut u8,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes bytes.
        let secret = unsafe { key_bytes(secret, secret_len, "secret") }?;
        let key = fogcompute::owner_key(&secret);
        // SAFETY: the caller gives room for a key.
        unsafe { fill_exactly(key.as_bytes(), out, crate::FOG_KEY_BYTES) }
    })
}

/// Signs a batch as the owner of an account. The bytes are the same in every language.
///
/// Thread safety: any thread, but not while the batch is changed.
/// @param batch           the batch
/// @param account         the account
/// @param nonce           fog_ledger_next_nonce()
/// @param expires_unix_ms from when on the signature is worth nothing
/// @param secret          FOG_KEY_BYTES secret bytes
/// @param secret_len      their number
/// @param out             receives the signed batch
/// @param capacity        bytes that `out` has room for
/// @param out_len         receives their number, also when there is no room
/// @return FOG_STATUS_BUFFER_TOO_SMALL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_sign(
    batch: *const fog_batch,
    account: *const c_char,
    nonce: u64,
    expires_unix_ms: u64,
    secret: *const u8,
    secret_len: usize,
    out: *mut u8,
    capacity: usize,
    out_len: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string, bytes and room for a number.
        let (batch, account, secret, out_len) = unsafe {
            (
                reference(batch, "batch")?,
                parsed(account, "account")?,
                key_bytes(secret, secret_len, "secret")?,
                result(out_len, "out_len")?,
            )
        };
        let expires = UnixMillis(expires_unix_ms);
        let signed = fogcompute::sign_batch(account, nonce, expires, batch.0.clone(), &secret);
        // SAFETY: the caller gives room for `capacity` bytes.
        unsafe { fill(&signed.encode(), out, capacity, out_len) }
    })
}

/// The bytes that an owner's signature is over, for keys that are kept elsewhere. A signed batch is
/// fog_batch_sign() with any secret, its last 64 bytes replaced by the signature.
///
/// Thread safety: any thread, but not while the batch is changed.
/// @param batch           the batch
/// @param account         the account
/// @param nonce           fog_ledger_next_nonce()
/// @param expires_unix_ms from when on the signature is worth nothing
/// @param out             receives the bytes
/// @param capacity        bytes that `out` has room for
/// @param out_len         receives their number, also when there is no room
/// @return FOG_STATUS_BUFFER_TOO_SMALL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_batch_message(
    batch: *const fog_batch,
    account: *const c_char,
    nonce: u64,
    expires_unix_ms: u64,
    out: *mut u8,
    capacity: usize,
    out_len: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string and room for a number.
        let (batch, account, out_len) = unsafe {
            (
                reference(batch, "batch")?,
                parsed(account, "account")?,
                result(out_len, "out_len")?,
            )
        };
        let unsigned = SignedBatch {
            account,
            nonce,
            expires: UnixMillis(expires_unix_ms),
            operations: batch.0.clone(),
            signature: [0; 64],
        };
        // SAFETY: the caller gives room for `capacity` bytes.
        unsafe {
            fill(
                &fogcompute::batch_message(&unsigned),
                out,
                capacity,
                out_len,
            )
        }
    })
}

/// Executes a batch that the owner of an account has signed, as a whole or not at all.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger   the ledger
/// @param signed_batch what fog_batch_sign() made
/// @param len      its bytes
/// @param receipts receives a receipt for each operation, or NULL
/// @param capacity receipts that there is room for; nothing is done if they are too few
/// @param count    receives the number of operations, also when there is no room, or NULL
/// @return FOG_STATUS_SIGNATURE_FORGED, FOG_STATUS_SIGNATURE_REPLAYED, FOG_STATUS_NONCE_SKIPPED,
///         FOG_STATUS_SIGNATURE_EXPIRED, FOG_STATUS_NO_OWNER, FOG_STATUS_NOT_THE_OWNER,
///         FOG_STATUS_NOT_FOR_OWNERS, and what the operations return
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_execute_signed(
    ledger: *const fog_ledger,
    signed_batch: *const u8,
    len: usize,
    receipts: *mut fog_receipt,
    capacity: usize,
    count: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, bytes and NULL or room for a number.
        let (ledger, bytes, count) = unsafe {
            (
                reference(ledger, "ledger")?,
                slice(signed_batch, len, "signed_batch")?,
                optional_result(count),
            )
        };
        let signed = fogcompute::decode_batch(bytes)?;
        let operations = signed.operations.len();
        let mut unreported = MaybeUninit::uninit();
        let count = count.unwrap_or(&mut unreported);
        if !receipts.is_null() {
            check_room(operations, capacity, count)?;
        }
        let done = ledger.0.execute_signed(&signed)?;
        count.write(operations);
        // SAFETY: NULL, or room for as many as there are operations.
        unsafe { fill_receipts(done, receipts) }
    })
}
