//! What was done: receipts and the history.

use std::collections::VecDeque;

use fogcompute::base::Digest;
use fogcompute::{AccountId, LedgerEntry, TransferId};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyTuple};

use super::{AccountLimits, Ledger};
use crate::convert::{AccountKind, Buffer, Hex, Number, Owner};
use crate::error;
use crate::value::value;

/// What became of a change to the ledger.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct Receipt {
    /// Place of its entry in the history, from 1.
    sequence: u64,
    /// When it was made, in milliseconds since 1970.
    unix_ms: u64,
    /// Base units that went from one account to another; of what was asked of the economy, what
    /// `EconomyReceipt.amount` says.
    moved: u128,
    /// Digest of the whole history up to its entry, 64 hexadecimal digits.
    chain: Hex<Digest>,
    /// The same was asked for before: nothing moved this time.
    replayed: bool,
}

value! {
    Receipt { sequence, unix_ms, moved, chain, replayed }

    #[new]
    fn new(
        sequence: Number<u64>,
        unix_ms: Number<u64>,
        moved: Number<u128>,
        chain: Hex<Digest>,
        replayed: bool,
    ) -> Self {
        Self {
            sequence: sequence.0,
            unix_ms: unix_ms.0,
            moved: moved.0,
            chain,
            replayed,
        }
    }
}

impl From<&fogcompute::Receipt> for Receipt {
    fn from(receipt: &fogcompute::Receipt) -> Self {
        Self {
            sequence: receipt.entry.sequence,
            unix_ms: receipt.entry.time.0,
            moved: fogcompute::moved(receipt).0,
            chain: Hex(receipt.entry.chain),
            replayed: receipt.replayed,
        }
    }
}

/// The receipts of a batch, in the order of its operations. Each becomes an object when it is
/// looked at: most callers of large batches look at none.
#[pyclass(frozen, module = "fogcompute.ledger")]
pub(crate) struct Receipts(pub(super) Vec<fogcompute::Receipt>);

#[pymethods]
impl Receipts {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __getitem__(&self, index: isize) -> PyResult<Receipt> {
        let place = if index < 0 {
            self.0.len().checked_add_signed(index)
        } else {
            usize::try_from(index).ok()
        };
        let receipt = place.and_then(|place| self.0.get(place));
        let receipt = receipt.ok_or_else(|| PyIndexError::new_err("no such receipt"))?;
        Ok(receipt.into())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let receipts = self.0.iter().map(Receipt::from);
        PyTuple::new(py, receipts.collect::<Vec<_>>())?.try_iter()
    }
}

/// One line of a ledger's history. What an entry of its kind does not say is `None`, or 0.
#[pyclass(frozen, get_all, module = "fogcompute.ledger")]
pub(crate) struct Entry {
    /// Place in the history, from 1 without gaps.
    sequence: u64,
    /// When it was made, in milliseconds since 1970.
    unix_ms: u64,
    /// What happened: "opened", "transferred", "reserved", "posted", "voided", "expired",
    /// "limited", "closed", "owned", "signed", "economy", "matured", "moved". There may be more
    /// later.
    kind: String,
    /// Digest of the whole history up to it, 64 hexadecimal digits.
    chain: Hex<Digest>,
    /// The operation that made it, if that had an id of its own.
    id: Option<Hex<TransferId>>,
    /// The reservation that it closed.
    reservation: Option<Hex<TransferId>>,
    /// The account, of what is about one only.
    account: Option<Hex<AccountId>>,
    /// The account that gives, or would have.
    from_account: Option<Hex<AccountId>>,
    /// The account that receives, or would have.
    to_account: Option<Hex<AccountId>>,
    /// Base units that moved, or that a reservation holds back.
    amount: u128,
    /// Base units that were reserved and are free again.
    released: u128,
    /// What it was for, from a list of the caller's.
    code: u16,
    /// The caller's own reference, 16 bytes.
    reference: [u8; 16],
    /// When a reservation expires, in milliseconds since 1970.
    expires_unix_ms: Option<u64>,
    /// What an opened account holds.
    asset: Option<u32>,
    /// What an opened account may do.
    account_kind: Option<AccountKind>,
    /// An account's new limits.
    limits: Option<AccountLimits>,
    /// An account's new key, 32 bytes.
    key: Option<Owner>,
    /// Number of a signature.
    nonce: Option<u64>,
    /// Digest of what was signed, 64 hexadecimal digits.
    digest: Option<Hex<Digest>>,
    /// Sequence of the entry of the economy that a movement follows from.
    cause: Option<u64>,
    /// What happened in the economy, as JSON text.
    event: Option<String>,
}

value! {
    Entry {
        sequence,
        unix_ms,
        kind,
        chain,
        id,
        reservation,
        account,
        from_account,
        to_account,
        amount,
        released,
        code,
        reference,
        expires_unix_ms,
        asset,
        account_kind,
        limits,
        key,
        nonce,
        digest,
        cause,
        event,
    }

    #[new]
    #[pyo3(
        signature = (sequence, unix_ms, kind, chain, *, id = None, reservation = None,
                     account = None, from_account = None, to_account = None, amount = Number(0),
                     released = Number(0), code = Number(0), reference = None,
                     expires_unix_ms = None, asset = None, account_kind = None, limits = None,
                     key = None, nonce = None, digest = None, cause = None, event = None),
        text_signature = "(sequence, unix_ms, kind, chain, *, id=None, reservation=None, \
                          account=None, from_account=None, to_account=None, amount=0, released=0, \
                          code=0, reference=None, expires_unix_ms=None, asset=None, \
                          account_kind=None, limits=None, key=None, nonce=None, digest=None, \
                          cause=None, event=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "fields in Python")]
    fn new(
        py: Python<'_>,
        sequence: Number<u64>,
        unix_ms: Number<u64>,
        kind: String,
        chain: Hex<Digest>,
        id: Option<Hex<TransferId>>,
        reservation: Option<Hex<TransferId>>,
        account: Option<Hex<AccountId>>,
        from_account: Option<Hex<AccountId>>,
        to_account: Option<Hex<AccountId>>,
        amount: Number<u128>,
        released: Number<u128>,
        code: Number<u16>,
        reference: Option<Buffer>,
        expires_unix_ms: Option<Number<u64>>,
        asset: Option<Number<u32>>,
        account_kind: Option<AccountKind>,
        limits: Option<AccountLimits>,
        key: Option<Owner>,
        nonce: Option<Number<u64>>,
        digest: Option<Hex<Digest>>,
        cause: Option<Number<u64>>,
        event: Option<String>,
    ) -> PyResult<Self> {
        let reference = reference.map(|bytes| bytes.array(py, "reference"));
        Ok(Self {
            sequence: sequence.0,
            unix_ms: unix_ms.0,
            kind,
            chain,
            id,
            reservation,
            account,
            from_account,
            to_account,
            amount: amount.0,
            released: released.0,
            code: code.0,
            reference: reference.transpose()?.unwrap_or_default(),
            expires_unix_ms: expires_unix_ms.map(|expires| expires.0),
            asset: asset.map(|asset| asset.0),
            account_kind,
            limits,
            key,
            nonce: nonce.map(|nonce| nonce.0),
            digest,
            cause: cause.map(|cause| cause.0),
            event,
        })
    }
}

impl From<LedgerEntry> for Entry {
    fn from(entry: LedgerEntry) -> Self {
        Self {
            sequence: entry.sequence,
            unix_ms: entry.time.0,
            kind: entry.kind.to_owned(),
            chain: Hex(entry.chain),
            id: entry.id.map(Hex),
            reservation: entry.reservation.map(Hex),
            account: entry.account.map(Hex),
            from_account: entry.from.map(Hex),
            to_account: entry.to.map(Hex),
            amount: entry.amount.0,
            released: entry.released.0,
            code: entry.memo.code,
            reference: entry.memo.reference,
            expires_unix_ms: entry.expires.map(|expires| expires.0),
            asset: entry.opened.map(|(asset, _)| asset.0),
            account_kind: entry.opened.map(|(_, kind)| AccountKind(kind)),
            limits: entry.limits.map(AccountLimits),
            key: entry.key.map(Owner),
            nonce: entry.signature.map(|(nonce, _)| nonce),
            digest: entry.signature.map(|(_, digest)| Hex(digest)),
            cause: entry.cause,
            event: entry.event,
        }
    }
}

/// Entries one after the other, read in pages.
#[pyclass(module = "fogcompute.ledger")]
pub(crate) struct Entries {
    ledger: Py<Ledger>,
    account: Option<AccountId>,
    /// Sequence of the last entry that was read.
    after: u64,
    /// Entries that may still be read; `None` is all there are.
    left: Option<usize>,
    page: VecDeque<LedgerEntry>,
}

impl Entries {
    /// Entries of a page: as many as are read in a few milliseconds.
    const PAGE: usize = 1_000;

    pub(super) fn new(
        ledger: Py<Ledger>,
        account: Option<AccountId>,
        after: u64,
        limit: Option<usize>,
    ) -> Self {
        Self {
            ledger,
            account,
            after,
            left: limit,
            page: VecDeque::new(),
        }
    }
}

#[pymethods]
impl Entries {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Option<Entry>> {
        if self.page.is_empty() {
            let limit = self.left.unwrap_or(Self::PAGE).min(Self::PAGE);
            let ledger = self.ledger.get().0.get(py)?;
            let (account, after) = (self.account, self.after);
            let page = error::call(py, || match account {
                Some(account) => ledger.history(account, after, limit),
                None => ledger.entries(after, limit),
            })?;
            self.left = self.left.map(|left| left.saturating_sub(page.len()));
            self.after = page.last().map_or(after, |entry| entry.sequence);
            self.page = page.into();
        }
        Ok(self.page.pop_front().map(Into::into))
    }
}
