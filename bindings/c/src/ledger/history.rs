use std::ffi::c_char;

use fogcompute::base::UnixMillis;
use fogcompute::{LedgerEntry, Moment};

use super::{fog_account_limits, fog_amount, fog_ledger, fog_memo};
use crate::support::{chars, fill_items, guard, parsed, reference, result};
use crate::{FOG_ID_SIZE, FOG_KEY_BYTES, fog_status};

/// Size of a digest as text: 64 hexadecimal digits and a NUL byte.
pub const FOG_DIGEST_SIZE: usize = 65;

/// Size of the word that says what an entry records, with its NUL byte.
pub const FOG_ENTRY_KIND_SIZE: usize = 16;

/// One line of a ledger's history. What an entry of its kind does not say is empty, zero or false.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_ledger_entry {
    /// Place in the history, from 1 without gaps.
    pub sequence: u64,
    /// When it was made, in milliseconds since 1970.
    pub unix_ms: u64,
    /// What happened: "opened", "transferred", "reserved", "posted", "voided", "expired",
    /// "limited", "closed", "owned", "signed", "economy", "matured", "moved". There may be more
    /// later.
    pub kind: [c_char; FOG_ENTRY_KIND_SIZE],
    /// Digest of the whole history up to it.
    pub chain: [c_char; FOG_DIGEST_SIZE],
    /// The operation that made it.
    pub id: [c_char; FOG_ID_SIZE],
    /// The reservation that it closed.
    pub reservation: [c_char; FOG_ID_SIZE],
    /// The account, of what is about one only.
    pub account: [c_char; FOG_ID_SIZE],
    /// The account that gives, or would have.
    pub from: [c_char; FOG_ID_SIZE],
    /// The account that receives, or would have.
    pub to: [c_char; FOG_ID_SIZE],
    /// Base units that moved, or that a reservation holds back.
    pub amount: fog_amount,
    /// Base units that were reserved and are free again.
    pub released: fog_amount,
    /// What a transfer or a reservation was for.
    pub memo: fog_memo,
    /// When a reservation expires, in milliseconds since 1970.
    pub expires_unix_ms: u64,
    /// What an opened account holds.
    pub asset: u32,
    /// A fog_account_kind: what an opened account may do.
    pub account_kind: i32,
    /// An account's new limits.
    pub limits: fog_account_limits,
    /// An account's new key.
    pub key: [u8; FOG_KEY_BYTES],
    /// Number of a signature.
    pub nonce: u64,
    /// Digest of what was signed.
    pub digest: [c_char; FOG_DIGEST_SIZE],
    /// Sequence of the entry of the economy that a movement follows from.
    pub cause: u64,
}

fn optional<const N: usize>(value: Option<impl ToString>) -> [c_char; N] {
    chars(&value.map(|value| value.to_string()).unwrap_or_default())
}

impl From<LedgerEntry> for fog_ledger_entry {
    fn from(entry: LedgerEntry) -> Self {
        Self {
            sequence: entry.sequence,
            unix_ms: entry.time.0,
            kind: chars(entry.kind),
            chain: chars(&entry.chain.to_string()),
            id: optional(entry.id),
            reservation: optional(entry.reservation),
            account: optional(entry.account),
            from: optional(entry.from),
            to: optional(entry.to),
            amount: entry.amount.into(),
            released: entry.released.into(),
            memo: fog_memo {
                code: entry.memo.code,
                reference: entry.memo.reference,
            },
            expires_unix_ms: entry.expires.map_or(0, |expires| expires.0),
            asset: entry.opened.map_or(0, |(asset, _)| asset.0),
            account_kind: entry.opened.map_or(0, |(_, kind)| kind.code().into()),
            limits: entry.limits.unwrap_or_default().into(),
            key: entry.key.map_or([0; FOG_KEY_BYTES], |key| *key.as_bytes()),
            nonce: entry.signature.map_or(0, |(nonce, _)| nonce),
            digest: optional(entry.signature.map(|(_, digest)| digest)),
            cause: entry.cause.unwrap_or(0),
        }
    }
}

/// What an account had received and given at some moment of the past.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_standing {
    /// The last entry before that moment that named the account.
    pub sequence: u64,
    /// All it had received.
    pub credits_posted: fog_amount,
    /// All it had given.
    pub debits_posted: fog_amount,
    /// The one less the other, including what was reserved then.
    pub balance: fog_amount,
}

/// The entry that an identifier was used for, to learn what became of a request whose answer was
/// lost.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param id     the identifier
/// @param out    receives the entry
/// @param found  receives whether there is one; nothing is written to `out` otherwise
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_entry_of(
    ledger: *const fog_ledger,
    id: *const c_char,
    out: *mut fog_ledger_entry,
    found: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string and room for both.
        let (ledger, id, out, found) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(id, "id")?,
                result(out, "out")?,
                result(found, "found")?,
            )
        };
        let entry = ledger.0.entry(id)?;
        found.write(entry.is_some());
        if let Some(entry) = entry {
            out.write(entry.into());
        }
        Ok(())
    })
}

/// Entries after a sequence, in order.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger   the ledger
/// @param after    the sequence; 0 for the first entries
/// @param out      receives the entries
/// @param capacity entries that `out` has room for; at most 10000 are written
/// @param count    receives how many were written
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_entries(
    ledger: *const fog_ledger,
    after: u64,
    out: *mut fog_ledger_entry,
    capacity: usize,
    count: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for a number.
        let (ledger, count) = unsafe { (reference(ledger, "ledger")?, result(count, "count")?) };
        let entries = ledger.0.entries(after, capacity)?;
        let entries: Vec<fog_ledger_entry> = entries.into_iter().map(Into::into).collect();
        // SAFETY: the caller gives room for `capacity`, and there are no more.
        unsafe { fill_items(&entries, out, "out") }?;
        count.write(entries.len());
        Ok(())
    })
}

/// Entries after a sequence that name an account, in order.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger   the ledger
/// @param account  the account
/// @param after    the sequence; 0 for the first entries
/// @param out      receives the entries
/// @param capacity entries that `out` has room for; at most 10000 are written
/// @param count    receives how many were written
/// @return FOG_STATUS_UNKNOWN_ACCOUNT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_history(
    ledger: *const fog_ledger,
    account: *const c_char,
    after: u64,
    out: *mut fog_ledger_entry,
    capacity: usize,
    count: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string and room for a number.
        let (ledger, account, count) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(account, "account")?,
                result(count, "count")?,
            )
        };
        let entries = ledger.0.history(account, after, capacity)?;
        let entries: Vec<fog_ledger_entry> = entries.into_iter().map(Into::into).collect();
        // SAFETY: the caller gives room for `capacity`, and there are no more.
        unsafe { fill_items(&entries, out, "out") }?;
        count.write(entries.len());
        Ok(())
    })
}

/// # Safety
/// `ledger` is NULL or live, `account` is NULL or a string, `out` and `found` are NULL or have
/// room.
unsafe fn standing(
    ledger: *const fog_ledger,
    account: *const c_char,
    moment: Moment,
    out: *mut fog_standing,
    found: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let (ledger, account, out, found) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(account, "account")?,
                result(out, "out")?,
                result(found, "found")?,
            )
        };
        let standing = ledger.0.balance_as_of(account, moment)?;
        found.write(standing.is_some());
        if let Some(standing) = standing {
            out.write(fog_standing {
                sequence: standing.sequence,
                credits_posted: standing.credits_posted.into(),
                debits_posted: standing.debits_posted.into(),
                balance: standing.balance().into(),
            });
        }
        Ok(())
    })
}

/// What an account had received and given after an entry.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger   the ledger
/// @param account  the account
/// @param sequence the entry
/// @param out      receives the counters
/// @param found    receives whether it was open by then; nothing is written to `out` otherwise
/// @return FOG_STATUS_UNKNOWN_ACCOUNT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_balance_as_of(
    ledger: *const fog_ledger,
    account: *const c_char,
    sequence: u64,
    out: *mut fog_standing,
    found: *mut bool,
) -> fog_status {
    // SAFETY: the caller passes a live handle, a string and room for both.
    unsafe { standing(ledger, account, Moment::Sequence(sequence), out, found) }
}

/// The same at a time.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param account the account
/// @param unix_ms milliseconds since 1970
/// @param out     receives the counters
/// @param found   receives whether it was open by then; nothing is written to `out` otherwise
/// @return FOG_STATUS_UNKNOWN_ACCOUNT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_balance_as_of_time(
    ledger: *const fog_ledger,
    account: *const c_char,
    unix_ms: u64,
    out: *mut fog_standing,
    found: *mut bool,
) -> fog_status {
    let moment = Moment::Time(UnixMillis(unix_ms));
    // SAFETY: the caller passes a live handle, a string and room for both.
    unsafe { standing(ledger, account, moment, out, found) }
}
