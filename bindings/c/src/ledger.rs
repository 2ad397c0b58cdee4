use std::ffi::c_char;

use fogcompute::{Account, AccountKind, Ledger, Receipt};

use crate::support::{
    Failure, chars, free, give, guard, optional_result, parsed, reference, result, text,
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
            out.write(fog_receipt {
                sequence: receipt.entry.sequence,
                replayed: receipt.replayed,
            });
        }
        Ok(())
    })
}

/// Opens a ledger's file, or makes it. Every change waits for the disk. The file belongs to this
/// handle until it is freed.
///
/// Thread safety: any thread.
/// @param path the file
/// @param out  receives the ledger; free it with fog_ledger_free()
/// @return FOG_STATUS_STORAGE, FOG_STATUS_STORAGE_LOCKED, FOG_STATUS_STORAGE_CORRUPT
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
            let kind = u8::try_from(kind).ok().and_then(AccountKind::from_code);
            let kind = kind.ok_or_else(|| Failure::argument("kind is no fog_account_kind"))?;
            Ok(ledger.open_account(account, kind)?)
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
///         FOG_STATUS_INVALID_OPERATION, FOG_STATUS_STORAGE
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
///         FOG_STATUS_INVALID_OPERATION, FOG_STATUS_ID_REUSED, FOG_STATUS_STORAGE
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

/// What may be transferred or reserved from an account now.
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
            out.write(fog_verification {
                entries: verified.head.sequence,
                accounts: verified.accounts,
                open_reservations: verified.open_reservations,
            });
        }
        Ok(())
    })
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
