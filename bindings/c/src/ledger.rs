mod batch;
mod economy;
mod governance;
mod history;
mod proof;

use std::ffi::c_char;

use fogcompute::{
    Account, AccountKind, AccountLimits, Durability, Ledger, LedgerOptions, OwnerKey, Receipt,
};

pub use self::batch::*;
pub use self::economy::*;
pub use self::governance::*;
pub use self::history::*;
pub use self::proof::*;
use crate::support::{
    Failure, chars, fill_exactly, fill_items, free, give, guard, key_bytes, optional_result,
    parsed, parsed_chars, read_chars, reference, result, text,
};
use crate::{FOG_AMOUNT_SIZE, FOG_ID_SIZE, fog_status};

/// An amount in base units, as decimal text.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct fog_amount {
    /// The digits and a NUL byte.
    pub text: [c_char; FOG_AMOUNT_SIZE],
}

/// What an account may do.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_account_kind {
    /// Puts credits out and takes them back: it may give more than it received.
    Issuer = 1,
    /// Holds what it was given.
    Holder = 2,
}

/// What a power cut may cost a ledger. A killed process costs nothing.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_durability {
    /// Every change waits for the disk.
    Full = 1,
    /// The last changes may be lost, never torn.
    Normal = 2,
}

/// Bounds of an account beyond those of its kind. All zeros are none.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_account_limits {
    /// Most that an issuer may have out at once, open reservations included; empty for no bound.
    pub max_supply: fog_amount,
    /// Most that transfers and posts may take from the account in one UTC day; empty for no bound.
    pub spend_per_day: fog_amount,
    /// An issuer takes back no more than it has put out.
    pub credits_must_not_exceed_debits: bool,
}

impl From<AccountLimits> for fog_account_limits {
    fn from(limits: AccountLimits) -> Self {
        let amount = |bound: Option<fogcompute::Amount>| match bound {
            Some(amount) => amount.into(),
            None => fog_amount { text: chars("") },
        };
        Self {
            max_supply: amount(limits.max_supply),
            spend_per_day: amount(limits.spend_per_day),
            credits_must_not_exceed_debits: limits.credits_must_not_exceed_debits,
        }
    }
}

impl fog_account_limits {
    /// What the caller has written into it.
    fn read(&self) -> Result<AccountLimits, Failure> {
        let amount = |bound: &fog_amount, name| {
            let given = !read_chars(&bound.text).is_empty();
            given.then(|| parsed_chars(&bound.text, name)).transpose()
        };
        Ok(AccountLimits {
            max_supply: amount(&self.max_supply, "max_supply")?,
            spend_per_day: amount(&self.spend_per_day, "spend_per_day")?,
            credits_must_not_exceed_debits: self.credits_must_not_exceed_debits,
        })
    }
}

/// An account: its counters since it was opened, in base units.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_account {
    /// Its identifier.
    pub id: [c_char; FOG_ID_SIZE],
    /// What it may do.
    pub kind: fog_account_kind,
    /// What may be transferred or reserved from it now.
    pub available: fog_amount,
    /// All it ever received.
    pub credits_posted: fog_amount,
    /// All it ever gave.
    pub debits_posted: fog_amount,
    /// What open reservations may still bring.
    pub credits_pending: fog_amount,
    /// What open reservations hold back.
    pub debits_pending: fog_amount,
    /// What it holds; 0 is credits.
    pub asset: u32,
    /// It gives and receives nothing any more.
    pub closed: bool,
    /// Bounds beyond those of its kind.
    pub limits: fog_account_limits,
    /// What transfers and posts took from it on `spent_day`.
    pub spent: fog_amount,
    /// The last UTC day on which it gave anything, in days since 1970.
    pub spent_day: u64,
}

/// What became of an operation.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_receipt {
    /// Number of the entry in the history that it made, now or when it was first asked for.
    pub sequence: u64,
    /// It was done before: nothing moved this time.
    pub replayed: bool,
}

/// What a check of the history went through.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_verification {
    /// Entries that were carried out again.
    pub entries: u64,
    /// Accounts that were compared.
    pub accounts: usize,
    /// Reservations that hold something back.
    pub open_reservations: usize,
}

/// Double-entry credits in a file, or in memory. Every call is one transaction.
///
/// A ledger stays with the process that opened it: in a child of fork() calls fail with
/// FOG_STATUS_CLOSED and touch nothing, and fog_ledger_free() leaves the file to the parent. Open
/// ledgers after forking.
pub struct fog_ledger(Ledger);

/// Does one operation and reports its receipt.
///
/// # Safety
/// `ledger` is NULL or live, `receipt` is NULL or has room.
unsafe fn operate(
    ledger: *const fog_ledger,
    receipt: *mut fog_receipt,
    operation: impl FnOnce(&Ledger) -> Result<Receipt, Failure>,
) -> fog_status {
    guard(|| {
        // SAFETY: as the caller promises.
        let (ledger, out) = unsafe { (reference(ledger, "ledger")?, optional_result(receipt)) };
        let receipt = operation(&ledger.0)?;
        if let Some(out) = out {
            out.write(receipt.into());
        }
        Ok(())
    })
}

impl From<Receipt> for fog_receipt {
    fn from(receipt: Receipt) -> Self {
        Self {
            sequence: receipt.entry.sequence,
            replayed: receipt.replayed,
        }
    }
}

/// The kind that a number names.
fn account_kind(kind: i32) -> Result<AccountKind, Failure> {
    let kind = u8::try_from(kind).ok().and_then(AccountKind::from_code);
    kind.ok_or_else(|| Failure::argument("kind is no fog_account_kind"))
}

/// Opens a ledger's file, or makes it; an empty file is a new ledger. Every change waits for the
/// disk. The file belongs to this handle until it is freed.
///
/// Thread safety: any thread.
/// @param path the file
/// @param out  receives the ledger; free it with fog_ledger_free()
/// @return FOG_STATUS_STORAGE, FOG_STATUS_STORAGE_LOCKED, FOG_STATUS_STORAGE_CORRUPT,
///         FOG_STATUS_STORAGE_FOREIGN
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_open(
    path: *const c_char,
    out: *mut *mut fog_ledger,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a string and gives room for a handle.
        let (path, out) = unsafe { (text(path, "path")?, result(out, "out")?) };
        give(out, fog_ledger(Ledger::open(path)?));
        Ok(())
    })
}

/// Opens a ledger's file, or makes it, with options.
///
/// Thread safety: any thread.
/// @param path             the file
/// @param durability       a fog_durability
/// @param snapshot_entries entries between two snapshots, which spare opening the whole history;
///                         131072 is what fog_ledger_open() takes
/// @param out              receives the ledger; free it with fog_ledger_free()
/// @return as fog_ledger_open()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_open_with(
    path: *const c_char,
    durability: i32,
    snapshot_entries: u64,
    out: *mut *mut fog_ledger,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a string and gives room for a handle.
        let (path, out) = unsafe { (text(path, "path")?, result(out, "out")?) };
        let options = options(durability, snapshot_entries)?;
        give(out, fog_ledger(Ledger::open_with(path, options)?));
        Ok(())
    })
}

/// Opens a ledger's file that is there already, so that a mistyped name makes no new ledger. An
/// empty file is no ledger.
///
/// Thread safety: any thread.
/// @param path             the file
/// @param durability       a fog_durability
/// @param snapshot_entries as for fog_ledger_open_with()
/// @param out              receives the ledger; free it with fog_ledger_free()
/// @return FOG_STATUS_STORAGE_MISSING, and as fog_ledger_open()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_open_existing(
    path: *const c_char,
    durability: i32,
    snapshot_entries: u64,
    out: *mut *mut fog_ledger,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a string and gives room for a handle.
        let (path, out) = unsafe { (text(path, "path")?, result(out, "out")?) };
        let options = options(durability, snapshot_entries)?;
        give(out, fog_ledger(Ledger::open_existing(path, options)?));
        Ok(())
    })
}

fn options(durability: i32, snapshot_entries: u64) -> Result<LedgerOptions, Failure> {
    let durability = match durability {
        1 => Durability::Full,
        2 => Durability::Normal,
        _ => return Err(Failure::argument("durability is no fog_durability")),
    };
    Ok(LedgerOptions {
        durability,
        snapshot_entries,
    })
}

/// Makes a ledger that ends with its handle.
///
/// Thread safety: any thread.
/// @param out receives the ledger; free it with fog_ledger_free()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_in_memory(out: *mut *mut fog_ledger) -> fog_status {
    guard(|| {
        // SAFETY: the caller gives room for a handle.
        let out = unsafe { result(out, "out") }?;
        give(out, fog_ledger(Ledger::in_memory()?));
        Ok(())
    })
}

/// Closes a ledger and frees it.
///
/// Thread safety: no other call may use it.
/// @param ledger the ledger, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_free(ledger: *mut fog_ledger) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(ledger) }
}

/// Opens an account for credits. Opening it again with the same kind changes nothing.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param account the account's identifier, 32 hexadecimal digits
/// @param kind    a fog_account_kind
/// @param receipt receives what became of it, or NULL
/// @return FOG_STATUS_ACCOUNT_EXISTS, FOG_STATUS_STORAGE
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_open_account(
    ledger: *const fog_ledger,
    account: *const c_char,
    kind: i32,
    receipt: *mut fog_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, a string and NULL or room for a receipt.
    unsafe {
        operate(ledger, receipt, |ledger| {
            let account = parsed(account, "account")?;
            Ok(ledger.open_account(account, account_kind(kind)?)?)
        })
    }
}

/// Moves an amount from one account to another. From an issuer it mints, to an issuer it burns.
///
/// Asking again for the same under the same identifier moves nothing and succeeds.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param id      names the transfer, 32 hexadecimal digits chosen by the caller, never used before
/// @param from    the account that gives
/// @param to      the account that receives
/// @param amount  decimal text of base units, more than 0
/// @param receipt receives what became of it, or NULL
/// @return FOG_STATUS_INSUFFICIENT_FUNDS, FOG_STATUS_UNKNOWN_ACCOUNT, FOG_STATUS_ID_REUSED,
///         FOG_STATUS_ZERO_AMOUNT, FOG_STATUS_SAME_ACCOUNT, FOG_STATUS_ASSET_MISMATCH,
///         FOG_STATUS_ACCOUNT_CLOSED, FOG_STATUS_QUOTA_EXCEEDED, FOG_STATUS_SUPPLY_EXCEEDED,
///         FOG_STATUS_CREDITS_EXCEED_DEBITS, FOG_STATUS_AMOUNT_OVERFLOW, FOG_STATUS_STORAGE
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_transfer(
    ledger: *const fog_ledger,
    id: *const c_char,
    from: *const c_char,
    to: *const c_char,
    amount: *const c_char,
    receipt: *mut fog_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        operate(ledger, receipt, |ledger| {
            let (from, to) = (parsed(from, "from")?, parsed(to, "to")?);
            Ok(ledger.transfer(parsed(id, "id")?, from, to, parsed(amount, "amount")?)?)
        })
    }
}

/// Holds an amount back for a later fog_ledger_post() or fog_ledger_void().
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param id      names the reservation, 32 hexadecimal digits chosen by the caller
/// @param from    the account that will give
/// @param to      the account that will receive
/// @param amount  decimal text of base units, more than 0
/// @param receipt receives what became of it, or NULL
/// @return as fog_ledger_transfer()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_reserve(
    ledger: *const fog_ledger,
    id: *const c_char,
    from: *const c_char,
    to: *const c_char,
    amount: *const c_char,
    receipt: *mut fog_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        operate(ledger, receipt, |ledger| {
            let (from, to) = (parsed(from, "from")?, parsed(to, "to")?);
            Ok(ledger.reserve(parsed(id, "id")?, from, to, parsed(amount, "amount")?)?)
        })
    }
}

/// Moves a reserved amount, or part of it; what is left is released.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger      the ledger
/// @param id          names this operation, 32 hexadecimal digits chosen by the caller
/// @param reservation the reservation
/// @param amount      decimal text of base units, or NULL for all that is reserved
/// @param receipt     receives what became of it, or NULL
/// @return FOG_STATUS_UNKNOWN_RESERVATION, FOG_STATUS_RESERVATION_CLOSED,
///         FOG_STATUS_RESERVATION_EXPIRED, FOG_STATUS_POST_EXCEEDS_RESERVATION,
///         FOG_STATUS_NOT_A_RESERVATION, FOG_STATUS_ZERO_AMOUNT, FOG_STATUS_ID_REUSED,
///         FOG_STATUS_STORAGE
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_post(
    ledger: *const fog_ledger,
    id: *const c_char,
    reservation: *const c_char,
    amount: *const c_char,
    receipt: *mut fog_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings, NULL or a string, and NULL or room for a
    // receipt.
    unsafe {
        operate(ledger, receipt, |ledger| {
            let (id, reservation) = (parsed(id, "id")?, parsed(reservation, "reservation")?);
            let amount = if amount.is_null() {
                None
            } else {
                Some(parsed(amount, "amount")?)
            };
            Ok(ledger.post(id, reservation, amount)?)
        })
    }
}

/// Releases a reservation without moving anything.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger      the ledger
/// @param id          names this operation, 32 hexadecimal digits chosen by the caller
/// @param reservation the reservation
/// @param receipt     receives what became of it, or NULL
/// @return as fog_ledger_post()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_void(
    ledger: *const fog_ledger,
    id: *const c_char,
    reservation: *const c_char,
    receipt: *mut fog_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        operate(ledger, receipt, |ledger| {
            Ok(ledger.void(parsed(id, "id")?, parsed(reservation, "reservation")?)?)
        })
    }
}

/// Sets all limits of an account anew.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param id      names this operation, 32 hexadecimal digits chosen by the caller
/// @param account the account
/// @param limits  its limits from now on
/// @param receipt receives what became of it, or NULL
/// @return FOG_STATUS_UNKNOWN_ACCOUNT, FOG_STATUS_NOT_AN_ISSUER, FOG_STATUS_ACCOUNT_CLOSED,
///         FOG_STATUS_ID_REUSED, FOG_STATUS_STORAGE
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_limit(
    ledger: *const fog_ledger,
    id: *const c_char,
    account: *const c_char,
    limits: *const fog_account_limits,
    receipt: *mut fog_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings, a struct and NULL or room for a receipt.
    unsafe {
        operate(ledger, receipt, |ledger| {
            let limits = reference(limits, "limits")?.read()?;
            Ok(ledger.limit(parsed(id, "id")?, parsed(account, "account")?, limits)?)
        })
    }
}

/// Closes an account for good. It must be empty, and nothing reserved from or for it.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param id      names this operation, 32 hexadecimal digits chosen by the caller
/// @param account the account
/// @param receipt receives what became of it, or NULL
/// @return FOG_STATUS_UNKNOWN_ACCOUNT, FOG_STATUS_ACCOUNT_IN_USE, FOG_STATUS_ACCOUNT_CLOSED,
///         FOG_STATUS_ID_REUSED, FOG_STATUS_STORAGE
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_close_account(
    ledger: *const fog_ledger,
    id: *const c_char,
    account: *const c_char,
    receipt: *mut fog_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings and NULL or room for a receipt.
    unsafe {
        operate(ledger, receipt, |ledger| {
            Ok(ledger.close_account(parsed(id, "id")?, parsed(account, "account")?)?)
        })
    }
}

/// Registers the key whose signatures move an account's money.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param id      names this operation, 32 hexadecimal digits chosen by the caller
/// @param account the account
/// @param key     the owner's Ed25519 key, FOG_KEY_BYTES bytes: fog_owner_key()
/// @param key_len their number
/// @param receipt receives what became of it, or NULL
/// @return FOG_STATUS_UNKNOWN_ACCOUNT, FOG_STATUS_ACCOUNT_CLOSED, FOG_STATUS_ID_REUSED,
///         FOG_STATUS_STORAGE
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_own(
    ledger: *const fog_ledger,
    id: *const c_char,
    account: *const c_char,
    key: *const u8,
    key_len: usize,
    receipt: *mut fog_receipt,
) -> fog_status {
    // SAFETY: the caller passes a live handle, strings, bytes and NULL or room for a receipt.
    unsafe {
        operate(ledger, receipt, |ledger| {
            let key = OwnerKey::from_bytes(key_bytes(key, key_len, "key")?);
            Ok(ledger.own(parsed(id, "id")?, parsed(account, "account")?, key)?)
        })
    }
}

/// The key whose signatures move an account's money.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param account the account
/// @param out     receives FOG_KEY_BYTES bytes
/// @param found   receives whether a key was registered; nothing is written to `out` otherwise
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_owner(
    ledger: *const fog_ledger,
    account: *const c_char,
    out: *mut u8,
    found: *mut bool,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string and room for a bool.
        let (ledger, account, found) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(account, "account")?,
                result(found, "found")?,
            )
        };
        let key = ledger.0.owner(account)?;
        if let Some(key) = key {
            // SAFETY: the caller gives room for a key.
            unsafe { fill_exactly(key.as_bytes(), out, crate::FOG_KEY_BYTES) }?;
        }
        found.write(key.is_some());
        Ok(())
    })
}

/// Number of the next signature for an account.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param account the account
/// @param out     receives the number
/// @return FOG_STATUS_NO_OWNER
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_next_nonce(
    ledger: *const fog_ledger,
    account: *const c_char,
    out: *mut u64,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string and room for a number.
        let (ledger, account, out) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(account, "account")?,
                result(out, "out")?,
            )
        };
        out.write(ledger.0.next_nonce(account)?);
        Ok(())
    })
}

/// What an account has, including what open reservations hold back.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param account the account's identifier
/// @param out     receives the amount
/// @return FOG_STATUS_UNKNOWN_ACCOUNT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_balance(
    ledger: *const fog_ledger,
    account: *const c_char,
    out: *mut fog_amount,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string and room for the struct.
        let (ledger, account, out) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(account, "account")?,
                result(out, "out")?,
            )
        };
        out.write(ledger.0.balance(account)?.into());
        Ok(())
    })
}

/// What may be transferred or reserved from an account now: its balance less what open reservations
/// hold back.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param account the account's identifier
/// @param out     receives the amount
/// @return FOG_STATUS_UNKNOWN_ACCOUNT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_available(
    ledger: *const fog_ledger,
    account: *const c_char,
    out: *mut fog_amount,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string and room for the struct.
        let (ledger, account, out) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(account, "account")?,
                result(out, "out")?,
            )
        };
        out.write(ledger.0.available(account)?.into());
        Ok(())
    })
}

impl From<Account> for fog_account {
    fn from(account: Account) -> Self {
        Self {
            id: chars(&account.id.to_string()),
            kind: match account.kind {
                AccountKind::Issuer => fog_account_kind::Issuer,
                AccountKind::Holder => fog_account_kind::Holder,
            },
            available: account.available().into(),
            credits_posted: account.credits_posted.into(),
            debits_posted: account.debits_posted.into(),
            credits_pending: account.credits_pending.into(),
            debits_pending: account.debits_pending.into(),
            asset: account.asset.0,
            closed: account.closed,
            limits: account.limits.into(),
            spent: account.spent.amount.into(),
            spent_day: account.spent.day,
        }
    }
}

/// An account as it stands.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger  the ledger
/// @param account the account's identifier
/// @param out     receives the account
/// @return FOG_STATUS_UNKNOWN_ACCOUNT
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_account(
    ledger: *const fog_ledger,
    account: *const c_char,
    out: *mut fog_account,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, a string and room for the struct.
        let (ledger, account, out) = unsafe {
            (
                reference(ledger, "ledger")?,
                parsed(account, "account")?,
                result(out, "out")?,
            )
        };
        out.write(ledger.0.account(account)?.into());
        Ok(())
    })
}

/// Accounts with an identifier above another, by identifier.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger   the ledger
/// @param after    the account after which they begin, or NULL for the first
/// @param out      receives the accounts
/// @param capacity accounts that `out` has room for; at most 10000 are written
/// @param count    receives how many were written
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_accounts(
    ledger: *const fog_ledger,
    after: *const c_char,
    out: *mut fog_account,
    capacity: usize,
    count: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, NULL or a string, and room for a number.
        let (ledger, count) = unsafe { (reference(ledger, "ledger")?, result(count, "count")?) };
        let after = if after.is_null() {
            None
        } else {
            // SAFETY: as above.
            Some(unsafe { parsed(after, "after") }?)
        };
        let accounts = ledger.0.accounts(after, capacity)?;
        let accounts: Vec<fog_account> = accounts.into_iter().map(Into::into).collect();
        // SAFETY: the caller gives room for `capacity`, and there are no more.
        unsafe { fill_items(&accounts, out, "out") }?;
        count.write(accounts.len());
        Ok(())
    })
}

/// What all holders of an asset have together, in base units.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param asset  the asset; 0 is credits
/// @param out    receives the amount; the text is empty if it is too large to be counted
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_supply(
    ledger: *const fog_ledger,
    asset: u32,
    out: *mut fog_amount,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (ledger, out) = unsafe { (reference(ledger, "ledger")?, result(out, "out")?) };
        let supply = ledger.0.supply(fogcompute::ledger::AssetId(asset))?;
        out.write(match supply {
            Some(amount) => amount.into(),
            None => fog_amount { text: chars("") },
        });
        Ok(())
    })
}

/// Does what time brings: releases the reservations whose time has come, pays out stake that has left
/// and frees stake that has moved. Every other call does so first; this is for ledgers that nobody
/// calls.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param count  receives how many they were, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_expire(
    ledger: *const fog_ledger,
    count: *mut usize,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and NULL or room for a number.
        let (ledger, count) = unsafe { (reference(ledger, "ledger")?, optional_result(count)) };
        let released = ledger.0.expire()?;
        if let Some(count) = count {
            count.write(released);
        }
        Ok(())
    })
}

/// Checks the whole history against its chain of digests and the balances.
///
/// Thread safety: any thread, at the same time as other calls; they take turns.
/// @param ledger the ledger
/// @param out    receives what was checked, or NULL
/// @return FOG_STATUS_STORAGE_CORRUPT if something is damaged
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_ledger_verify(
    ledger: *const fog_ledger,
    out: *mut fog_verification,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and NULL or room for the struct.
        let (ledger, out) = unsafe { (reference(ledger, "ledger")?, optional_result(out)) };
        let verified = ledger.0.verify()?;
        if let Some(out) = out {
            out.write(verified.into());
        }
        Ok(())
    })
}

impl From<fogcompute::store::Verification> for fog_verification {
    fn from(verified: fogcompute::store::Verification) -> Self {
        Self {
            entries: verified.head.sequence,
            accounts: verified.accounts,
            open_reservations: verified.open_reservations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_the_ledgers_codes() {
        assert_eq!(fog_account_kind::Issuer as u8, AccountKind::Issuer.code());
        assert_eq!(fog_account_kind::Holder as u8, AccountKind::Holder.code());
    }
}
