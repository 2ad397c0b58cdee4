//! The ledger.

use std::path::PathBuf;

use fogcompute::ledger::{AssetId, Limits, Spent};
use fogcompute::{AccountId, Amount, TransferId};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::{AccountKind, Hex, Number};
use crate::error;
use crate::handle::Handle;
use crate::value::value;

/// An account: its counters since it was opened, in base units.
#[pyclass(frozen, module = "fogcompute")]
pub(crate) struct Account(fogcompute::Account);

value! {
    Account {
        id,
        asset,
        kind,
        credits_posted,
        debits_posted,
        credits_pending,
        debits_pending,
    }

    #[new]
    fn new(
        id: Hex<AccountId>,
        asset: Number<u32>,
        kind: AccountKind,
        credits_posted: Number<u128>,
        debits_posted: Number<u128>,
        credits_pending: Number<u128>,
        debits_pending: Number<u128>,
    ) -> Self {
        Self(fogcompute::Account {
            id: id.0,
            asset: AssetId(asset.0),
            kind: kind.0,
            credits_posted: Amount(credits_posted.0),
            debits_posted: Amount(debits_posted.0),
            credits_pending: Amount(credits_pending.0),
            debits_pending: Amount(debits_pending.0),
            limits: Limits::default(),
            closed: false,
            spent: Spent::default(),
        })
    }

    /// The account's name, 32 hexadecimal digits.
    #[getter]
    fn id(&self) -> Hex<AccountId> {
        Hex(self.0.id)
    }

    /// What it holds; 0 is credits.
    #[getter]
    fn asset(&self) -> u32 {
        self.0.asset.0
    }

    /// What it may do.
    #[getter]
    fn kind(&self) -> AccountKind {
        AccountKind(self.0.kind)
    }

    /// All it ever received.
    #[getter]
    fn credits_posted(&self) -> u128 {
        self.0.credits_posted.0
    }

    /// All it ever gave.
    #[getter]
    fn debits_posted(&self) -> u128 {
        self.0.debits_posted.0
    }

    /// What open reservations may still bring.
    #[getter]
    fn credits_pending(&self) -> u128 {
        self.0.credits_pending.0
    }

    /// What open reservations hold back.
    #[getter]
    fn debits_pending(&self) -> u128 {
        self.0.debits_pending.0
    }

    /// What may be transferred or reserved now.
    #[getter]
    fn available(&self) -> u128 {
        self.0.available().0
    }

    /// Posted balance, including what open reservations hold back.
    #[getter]
    fn balance(&self) -> u128 {
        self.0.balance().0
    }

    /// The supply an issuer has put out.
    #[getter]
    fn issued(&self) -> u128 {
        self.0.issued().0
    }
}

/// What became of a change to the ledger.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct Receipt {
    /// Place of its entry in the history, from 1.
    sequence: u64,
    /// When it was made, in milliseconds since 1970.
    unix_ms: u64,
    /// Base units that went from one account to another.
    moved: u128,
    /// Digest of the whole history up to its entry, 64 hexadecimal digits.
    chain: String,
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
        chain: String,
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

impl From<fogcompute::Receipt> for Receipt {
    fn from(receipt: fogcompute::Receipt) -> Self {
        Self {
            sequence: receipt.entry.sequence,
            unix_ms: receipt.entry.time.0,
            moved: receipt.entry.kind.moved().0,
            chain: receipt.entry.chain.to_string(),
            replayed: receipt.replayed,
        }
    }
}

/// What a check of the whole history found. What is wrong is raised.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct Verification {
    /// Number of entries.
    sequence: u64,
    /// Digest of the whole history, 64 hexadecimal digits.
    chain: String,
    /// Accounts that were compared.
    accounts: usize,
    /// Reservations that hold something back.
    open_reservations: usize,
}

value! {
    Verification { sequence, chain, accounts, open_reservations }

    #[new]
    fn new(
        sequence: Number<u64>,
        chain: String,
        accounts: Number<usize>,
        open_reservations: Number<usize>,
    ) -> Self {
        Self {
            sequence: sequence.0,
            chain,
            accounts: accounts.0,
            open_reservations: open_reservations.0,
        }
    }
}

/// Double-entry credits in a SQLite file, or in memory. Each call is one transaction.
///
/// Ids are chosen by the caller, as 32 hexadecimal digits or a `uuid.UUID`: the same request under
/// the same id moves nothing twice.
#[pyclass(frozen, weakref, module = "fogcompute")]
pub(crate) struct Ledger(Handle<fogcompute::Ledger>);

#[pymethods]
impl Ledger {
    /// Opens a ledger's file, or makes it. Every change waits for the disk.
    ///
    /// Raises `StorageError`.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let ledger = error::call(py, || fogcompute::Ledger::open(path))?;
        Ok(Self(Handle::new("ledger", ledger)))
    }

    /// A ledger that ends with the process.
    #[staticmethod]
    fn in_memory(py: Python<'_>) -> PyResult<Self> {
        let ledger = error::call(py, fogcompute::Ledger::in_memory)?;
        Ok(Self(Handle::new("ledger", ledger)))
    }

    /// Opens an account for credits. Raises `AccountExistsError`.
    fn open_account(
        &self,
        py: Python<'_>,
        account: Hex<AccountId>,
        kind: AccountKind,
    ) -> PyResult<Receipt> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.open_account(account.0, kind.0)).map(Into::into)
    }

    /// Moves an amount. From an issuer it mints, to one it burns.
    ///
    /// Raises `InsufficientFundsError`, `UnknownAccountError`, `IdReusedError`, `OperationError`.
    fn transfer(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        from_account: Hex<AccountId>,
        to_account: Hex<AccountId>,
        amount: Number<u128>,
    ) -> PyResult<Receipt> {
        let ledger = self.0.get(py)?;
        let (from, to, amount) = (from_account.0, to_account.0, Amount(amount.0));
        error::call(py, || ledger.transfer(id.0, from, to, amount)).map(Into::into)
    }

    /// Holds an amount back for a later `post` or `void`. Raises like `transfer`.
    fn reserve(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        from_account: Hex<AccountId>,
        to_account: Hex<AccountId>,
        amount: Number<u128>,
    ) -> PyResult<Receipt> {
        let ledger = self.0.get(py)?;
        let (from, to, amount) = (from_account.0, to_account.0, Amount(amount.0));
        error::call(py, || ledger.reserve(id.0, from, to, amount)).map(Into::into)
    }

    /// Moves a reserved amount, or part of it; what is left is released.
    ///
    /// Raises `UnknownReservationError`, `ReservationClosedError`, `InsufficientFundsError`,
    /// `IdReusedError`.
    #[pyo3(signature = (id, reservation, amount = None))]
    fn post(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        reservation: Hex<TransferId>,
        amount: Option<Number<u128>>,
    ) -> PyResult<Receipt> {
        let ledger = self.0.get(py)?;
        let amount = amount.map(|amount| Amount(amount.0));
        error::call(py, || ledger.post(id.0, reservation.0, amount)).map(Into::into)
    }

    /// Releases a reservation.
    ///
    /// Raises `UnknownReservationError`, `ReservationClosedError`, `IdReusedError`.
    fn void(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        reservation: Hex<TransferId>,
    ) -> PyResult<Receipt> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.void(id.0, reservation.0)).map(Into::into)
    }

    /// An account as it stands. Raises `UnknownAccountError`.
    fn account(&self, py: Python<'_>, account: Hex<AccountId>) -> PyResult<Account> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.account(account.0)).map(Account)
    }

    /// What an account can spend, in base units. Raises `UnknownAccountError`.
    fn balance(&self, py: Python<'_>, account: Hex<AccountId>) -> PyResult<u128> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.balance(account.0)).map(|amount| amount.0)
    }

    /// Checks the whole history against its chain of digests and the balances.
    ///
    /// Raises `StorageCorruptError`.
    fn verify(&self, py: Python<'_>) -> PyResult<Verification> {
        let ledger = self.0.get(py)?;
        let verified = error::call(py, || ledger.verify())?;
        Ok(Verification {
            sequence: verified.head.sequence,
            chain: verified.head.chain.to_string(),
            accounts: verified.accounts,
            open_reservations: verified.open_reservations,
        })
    }

    /// Closes the file. Closing again does nothing; any other call raises `ClosedError`.
    fn close(&self, py: Python<'_>) {
        let ledger = self.0.take();
        py.detach(|| drop(ledger));
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }
}
