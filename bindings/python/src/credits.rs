//! The ledger.

mod economy;
mod entry;
mod governance;
mod operation;
mod signed;

use std::path::PathBuf;

use fogcompute::base::{Digest, UnixMillis};
use fogcompute::ledger::{AssetId, Spent};
use fogcompute::{AccountId, LEDGER_PAGE_MAX, LedgerOptions, Moment, TransferId};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

pub(crate) use self::economy::{
    Economy, EconomyReceipt, Operator, Parameter, Stake, Unbonding, purse_account,
};
pub(crate) use self::entry::{Entries, Entry, Receipt, Receipts};
pub(crate) use self::governance::{
    Action, Agent, Ballot, Governance, GovernanceOverview, Member, Proposal, Resolution, Tally,
    Upgrade, VotingPower,
};
pub(crate) use self::operation::{AccountLimits, Operation};
use self::operation::{Operations, memo};
pub(crate) use self::signed::{Checkpoint, SignedBatch, owner_key};
use crate::convert::{
    AccountKind, Buffer, Durability, Hex, Money, Number, Owner, TextFormat, Tuple,
};
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
        limits,
        closed,
        spent_day,
        spent,
    }

    #[new]
    #[pyo3(
        signature = (id, asset, kind, credits_posted, debits_posted, credits_pending,
                     debits_pending, limits = None, closed = false, spent_day = Number(0),
                     spent = Money(fogcompute::Amount::ZERO)),
        text_signature = "(id, asset, kind, credits_posted, debits_posted, credits_pending, \
                          debits_pending, limits=None, closed=False, spent_day=0, spent=0)"
    )]
    #[expect(clippy::too_many_arguments, reason = "fields in Python")]
    fn new(
        id: Hex<AccountId>,
        asset: Number<u32>,
        kind: AccountKind,
        credits_posted: Money,
        debits_posted: Money,
        credits_pending: Money,
        debits_pending: Money,
        limits: Option<AccountLimits>,
        closed: bool,
        spent_day: Number<u64>,
        spent: Money,
    ) -> Self {
        Self(fogcompute::Account {
            id: id.0,
            asset: AssetId(asset.0),
            kind: kind.0,
            credits_posted: credits_posted.0,
            debits_posted: debits_posted.0,
            credits_pending: credits_pending.0,
            debits_pending: debits_pending.0,
            limits: limits.map(|limits| limits.0).unwrap_or_default(),
            closed,
            spent: Spent {
                day: spent_day.0,
                amount: spent.0,
            },
        })
    }

    /// Bounds beyond those of its kind.
    #[getter]
    fn limits(&self) -> AccountLimits {
        AccountLimits(self.0.limits)
    }

    /// It gives and receives nothing any more.
    #[getter]
    fn closed(&self) -> bool {
        self.0.closed
    }

    /// The last UTC day on which it gave anything, in days since 1970.
    #[getter]
    fn spent_day(&self) -> u64 {
        self.0.spent.day
    }

    /// Base units that transfers and posts took from it on that day.
    #[getter]
    fn spent(&self) -> u128 {
        self.0.spent.amount.0
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

/// What a check of the whole history found. What is wrong is raised.
#[pyclass(frozen, get_all, module = "fogcompute")]
pub(crate) struct Verification {
    /// Number of entries.
    sequence: u64,
    /// Digest of the whole history, 64 hexadecimal digits.
    chain: Hex<Digest>,
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
        chain: Hex<Digest>,
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

impl From<fogcompute::store::Verification> for Verification {
    fn from(verified: fogcompute::store::Verification) -> Self {
        Self {
            sequence: verified.head.sequence,
            chain: Hex(verified.head.chain),
            accounts: verified.accounts,
            open_reservations: verified.open_reservations,
        }
    }
}

/// Where a history ends.
#[pyclass(frozen, get_all, module = "fogcompute.ledger")]
pub(crate) struct Head {
    /// Number of entries.
    sequence: u64,
    /// Digest of the whole history, 64 hexadecimal digits.
    chain: Hex<Digest>,
}

value! {
    Head { sequence, chain }

    #[new]
    fn new(sequence: Number<u64>, chain: Hex<Digest>) -> Self {
        Self {
            sequence: sequence.0,
            chain,
        }
    }
}

/// What an account had received and given at some moment of the past, in base units.
#[pyclass(frozen, module = "fogcompute.ledger")]
pub(crate) struct Standing(fogcompute::store::Standing);

value! {
    Standing { sequence, credits_posted, debits_posted }

    #[new]
    fn new(sequence: Number<u64>, credits_posted: Money, debits_posted: Money) -> Self {
        Self(fogcompute::store::Standing {
            sequence: sequence.0,
            credits_posted: credits_posted.0,
            debits_posted: debits_posted.0,
        })
    }

    /// The last entry before that moment that named the account.
    #[getter]
    fn sequence(&self) -> u64 {
        self.0.sequence
    }

    /// All it had received.
    #[getter]
    fn credits_posted(&self) -> u128 {
        self.0.credits_posted.0
    }

    /// All it had given.
    #[getter]
    fn debits_posted(&self) -> u128 {
        self.0.debits_posted.0
    }

    /// Posted balance, including what was reserved then.
    #[getter]
    fn balance(&self) -> u128 {
        self.0.balance().0
    }
}

/// Double-entry credits in a SQLite file, or in memory. Each call is one transaction.
///
/// Ids are chosen by the caller, as 32 hexadecimal digits or a `uuid.UUID`: the same request under
/// the same id moves nothing twice. Amounts are ints of base units.
///
/// Calls wait for the disk without the interpreter's lock: in a coroutine,
/// `await asyncio.to_thread(ledger.transfer, ...)`. What threads ask for at the same time shares
/// one wait.
#[pyclass(frozen, weakref, module = "fogcompute")]
pub(crate) struct Ledger(Handle<fogcompute::Ledger>);

impl Ledger {
    fn perform(&self, py: Python<'_>, operation: fogcompute::Operation) -> PyResult<Receipt> {
        let ledger = self.0.get(py)?;
        let receipt = error::call(py, || ledger.perform(operation))?;
        Ok((&receipt).into())
    }
}

#[pymethods]
impl Ledger {
    /// Opens a ledger's file, or makes it unless `create` is false: then a mistyped name makes no
    /// new ledger. An empty file is a new ledger if one may be made, and none otherwise. Every
    /// change waits for the disk, unless `durability` says otherwise. A snapshot is made every
    /// `snapshot_entries` entries.
    ///
    /// Raises `StorageMissingError`, `StorageForeignError`, `StorageLockedError`,
    /// `StorageCorruptError`, `StorageReadOnlyError`, `StorageError`.
    #[staticmethod]
    #[pyo3(
        signature = (path, create = true, *, durability = Durability(fogcompute::Durability::Full),
                     snapshot_entries = Number(131_072)),
        text_signature = "(path, create=True, *, durability=fogcompute.ledger.Durability.FULL, \
                          snapshot_entries=131072)"
    )]
    fn open(
        py: Python<'_>,
        path: PathBuf,
        create: bool,
        durability: Durability,
        snapshot_entries: Number<u64>,
    ) -> PyResult<Self> {
        let options = LedgerOptions {
            durability: durability.0,
            snapshot_entries: snapshot_entries.0,
        };
        let ledger = error::call(py, || {
            if create {
                fogcompute::Ledger::open_with(path, options)
            } else {
                fogcompute::Ledger::open_existing(path, options)
            }
        })?;
        Ok(Self(Handle::new("ledger", ledger)))
    }

    /// A ledger that ends with the process.
    #[staticmethod]
    fn in_memory(py: Python<'_>) -> PyResult<Self> {
        let ledger = error::call(py, fogcompute::Ledger::in_memory)?;
        Ok(Self(Handle::new("ledger", ledger)))
    }

    /// Executes a batch as a whole or not at all. Gives a receipt for each operation.
    ///
    /// A transfer may be a tuple: id, account that gives, account that receives, amount.
    ///
    /// Raises `BatchEmptyError`, `BatchTooLargeError`, and what the operations raise.
    fn execute(&self, py: Python<'_>, operations: Operations) -> PyResult<Receipts> {
        let ledger = self.0.get(py)?;
        let receipts = error::call(py, || ledger.execute(operations.0))?;
        Ok(Receipts(receipts))
    }

    /// Executes a batch that the owner of an account has signed, as a whole or not at all.
    ///
    /// Raises `SignatureForgedError`, `SignatureReplayedError`, `NonceSkippedError`,
    /// `SignatureExpiredError`, `NoOwnerError`, `NotTheOwnerError`, `NotForOwnersError`, and what
    /// the operations raise.
    fn execute_signed(&self, py: Python<'_>, batch: &SignedBatch) -> PyResult<Receipts> {
        let ledger = self.0.get(py)?;
        let receipts = error::call(py, || ledger.execute_signed(&batch.0))?;
        Ok(Receipts(receipts))
    }

    /// Opens an account for an asset; 0 is credits. Raises `AccountExistsError`.
    #[pyo3(
        signature = (account, kind, *, asset = Number(0)),
        text_signature = "($self, account, kind, *, asset=0)"
    )]
    fn open_account(
        &self,
        py: Python<'_>,
        account: Hex<AccountId>,
        kind: AccountKind,
        asset: Number<u32>,
    ) -> PyResult<Receipt> {
        self.perform(
            py,
            fogcompute::Operation::Open {
                account: account.0,
                asset: AssetId(asset.0),
                kind: kind.0,
            },
        )
    }

    /// Moves an amount. From an issuer it mints, to one it burns. `code` and `reference`, 16 bytes,
    /// say what it is for; the ledger keeps them.
    ///
    /// Raises `InsufficientFundsError`, `UnknownAccountError`, `IdReusedError`, `ZeroAmountError`,
    /// `SameAccountError`, `AssetMismatchError`, `AccountClosedError`, `QuotaExceededError`,
    /// `SupplyExceededError`, `CreditsExceedDebitsError`, `AmountOverflowError`.
    #[pyo3(
        signature = (id, from_account, to_account, amount, *, code = Number(0), reference = None),
        text_signature = "($self, id, from_account, to_account, amount, *, code=0, reference=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn transfer(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        from_account: Hex<AccountId>,
        to_account: Hex<AccountId>,
        amount: Money,
        code: Number<u16>,
        reference: Option<Buffer>,
    ) -> PyResult<Receipt> {
        let memo = memo(py, code, reference)?;
        self.perform(
            py,
            fogcompute::Operation::Transfer {
                id: id.0,
                from: from_account.0,
                to: to_account.0,
                amount: amount.0,
                memo,
            },
        )
    }

    /// Holds an amount back for a later `post` or `void`, or until it expires. Raises like
    /// `transfer`, and `ExpiresInPastError`.
    #[pyo3(
        signature = (id, from_account, to_account, amount, *, expires_unix_ms = None,
                     code = Number(0), reference = None),
        text_signature = "($self, id, from_account, to_account, amount, *, expires_unix_ms=None, \
                          code=0, reference=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn reserve(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        from_account: Hex<AccountId>,
        to_account: Hex<AccountId>,
        amount: Money,
        expires_unix_ms: Option<Number<u64>>,
        code: Number<u16>,
        reference: Option<Buffer>,
    ) -> PyResult<Receipt> {
        let memo = memo(py, code, reference)?;
        self.perform(
            py,
            fogcompute::Operation::Reserve {
                id: id.0,
                from: from_account.0,
                to: to_account.0,
                amount: amount.0,
                expires: expires_unix_ms.map(|expires| UnixMillis(expires.0)),
                memo,
            },
        )
    }

    /// Moves a reserved amount, or part of it; what is left is released.
    ///
    /// Raises `UnknownReservationError`, `ReservationClosedError`, `ReservationExpiredError`,
    /// `PostExceedsReservationError`, `NotAReservationError`, `ZeroAmountError`, `IdReusedError`.
    #[pyo3(signature = (id, reservation, amount = None))]
    fn post(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        reservation: Hex<TransferId>,
        amount: Option<Money>,
    ) -> PyResult<Receipt> {
        self.perform(
            py,
            fogcompute::Operation::Post {
                id: id.0,
                reservation: reservation.0,
                amount: amount.map(|amount| amount.0),
            },
        )
    }

    /// Releases a reservation.
    ///
    /// Raises `UnknownReservationError`, `ReservationClosedError`, `ReservationExpiredError`,
    /// `NotAReservationError`, `IdReusedError`.
    fn void(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        reservation: Hex<TransferId>,
    ) -> PyResult<Receipt> {
        let (id, reservation) = (id.0, reservation.0);
        self.perform(py, fogcompute::Operation::Void { id, reservation })
    }

    /// Sets all limits of an account anew. Raises `NotAnIssuerError`, `UnknownAccountError`,
    /// `AccountClosedError`, `IdReusedError`.
    fn limit(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        account: Hex<AccountId>,
        limits: AccountLimits,
    ) -> PyResult<Receipt> {
        let (id, account, limits) = (id.0, account.0, limits.0);
        let operation = fogcompute::Operation::Limit {
            id,
            account,
            limits,
        };
        self.perform(py, operation)
    }

    /// Closes an account for good. Raises `AccountInUseError`, `UnknownAccountError`,
    /// `AccountClosedError`, `IdReusedError`.
    fn close_account(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        account: Hex<AccountId>,
    ) -> PyResult<Receipt> {
        let (id, account) = (id.0, account.0);
        self.perform(py, fogcompute::Operation::Close { id, account })
    }

    /// Registers the key, 32 bytes, whose signatures move an account's money. Raises
    /// `UnknownAccountError`, `AccountClosedError`, `IdReusedError`.
    fn own(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        account: Hex<AccountId>,
        key: Owner,
    ) -> PyResult<Receipt> {
        let (id, account, key) = (id.0, account.0, key.0);
        self.perform(py, fogcompute::Operation::Own { id, account, key })
    }

    /// The key whose signatures move an account's money, if one was registered.
    fn owner(&self, py: Python<'_>, account: Hex<AccountId>) -> PyResult<Option<Owner>> {
        let ledger = self.0.get(py)?;
        let key = error::call(py, || ledger.owner(account.0))?;
        Ok(key.map(Owner))
    }

    /// Number of the next signature for an account. Raises `NoOwnerError`.
    fn next_nonce(&self, py: Python<'_>, account: Hex<AccountId>) -> PyResult<u64> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.next_nonce(account.0))
    }

    /// An account as it stands. Raises `UnknownAccountError`.
    fn account(&self, py: Python<'_>, account: Hex<AccountId>) -> PyResult<Account> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.account(account.0)).map(Account)
    }

    /// Accounts with an id above `after`, by id: at most `limit`, at most 10,000.
    #[pyo3(
        signature = (after = None, limit = Number(LEDGER_PAGE_MAX)),
        text_signature = "($self, after=None, limit=10000)"
    )]
    fn accounts(
        &self,
        py: Python<'_>,
        after: Option<Hex<AccountId>>,
        limit: Number<usize>,
    ) -> PyResult<Tuple<Account>> {
        let ledger = self.0.get(py)?;
        let after = after.map(|after| after.0);
        let accounts = error::call(py, || ledger.accounts(after, limit.0))?;
        Ok(Tuple(accounts.into_iter().map(Account).collect()))
    }

    /// What an account has, in base units, including what open reservations hold back. Raises
    /// `UnknownAccountError`.
    fn balance(&self, py: Python<'_>, account: Hex<AccountId>) -> PyResult<u128> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.balance(account.0)).map(|amount| amount.0)
    }

    /// What an account can spend, in base units: its balance less what open reservations hold back.
    /// Raises `UnknownAccountError`.
    fn available(&self, py: Python<'_>, account: Hex<AccountId>) -> PyResult<u128> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.available(account.0)).map(|amount| amount.0)
    }

    /// What an account had received and given after the entry of that sequence, or at that time;
    /// `None` if it was opened later. Raises `UnknownAccountError`.
    #[pyo3(signature = (account, *, sequence = None, unix_ms = None))]
    fn balance_as_of(
        &self,
        py: Python<'_>,
        account: Hex<AccountId>,
        sequence: Option<Number<u64>>,
        unix_ms: Option<Number<u64>>,
    ) -> PyResult<Option<Standing>> {
        let ledger = self.0.get(py)?;
        let moment = match (sequence, unix_ms) {
            (Some(sequence), None) => Moment::Sequence(sequence.0),
            (None, Some(time)) => Moment::Time(UnixMillis(time.0)),
            _ => return Err(error::argument(py, "give either sequence or unix_ms")),
        };
        let standing = error::call(py, || ledger.balance_as_of(account.0, moment))?;
        Ok(standing.map(Standing))
    }

    /// What all holders of an asset have together, in base units; `None` above 2**128 - 1.
    #[pyo3(signature = (asset = Number(0)), text_signature = "($self, asset=0)")]
    fn supply(&self, py: Python<'_>, asset: Number<u32>) -> PyResult<Option<u128>> {
        let ledger = self.0.get(py)?;
        let supply = error::call(py, || ledger.supply(AssetId(asset.0)))?;
        Ok(supply.map(|amount| amount.0))
    }

    /// The entry that an id was used for, to learn what became of a request whose answer was lost.
    fn entry(&self, py: Python<'_>, id: Hex<TransferId>) -> PyResult<Option<Entry>> {
        let ledger = self.0.get(py)?;
        let entry = error::call(py, || ledger.entry(id.0))?;
        Ok(entry.map(Into::into))
    }

    /// Iterates over the entries after that sequence, in order. They are read in pages as they are
    /// needed.
    #[pyo3(
        signature = (after = Number(0), limit = None),
        text_signature = "($self, after=0, limit=None)"
    )]
    fn entries(slf: Py<Self>, after: Number<u64>, limit: Option<Number<usize>>) -> Entries {
        Entries::new(slf, None, after.0, limit.map(|limit| limit.0))
    }

    /// Iterates over the entries after that sequence that name the account, in order. They are read
    /// in pages as they are needed. Raises `UnknownAccountError` on the first.
    #[pyo3(
        signature = (account, after = Number(0), limit = None),
        text_signature = "($self, account, after=0, limit=None)"
    )]
    fn history(
        slf: Py<Self>,
        account: Hex<AccountId>,
        after: Number<u64>,
        limit: Option<Number<usize>>,
    ) -> Entries {
        Entries::new(slf, Some(account.0), after.0, limit.map(|limit| limit.0))
    }

    /// The economy of this ledger: staking, earning and parameters.
    #[getter]
    fn economy(slf: Py<Self>) -> Economy {
        Economy { ledger: slf }
    }

    /// Governance of this ledger: proposals, votes, delegation and roles.
    #[getter]
    fn governance(slf: Py<Self>) -> Governance {
        Governance { ledger: slf }
    }

    /// The time at which an operation would happen now, in milliseconds since 1970: the wall
    /// clock's, or the one that was set.
    fn now(&self, py: Python<'_>) -> PyResult<u64> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.now()).map(|time| time.0)
    }

    /// Lets everything happen at that time from now on, in milliseconds since 1970, for simulations
    /// and tests, or at the wall clock's again if there is none. It is not part of the file.
    ///
    /// Nothing happens by this alone: `expire`, or the next call, does what the time brings. Staking
    /// and earning never go back: before the time of their last operation they raise
    /// `ClockBehindError`, also once the wall clock has its say again.
    #[pyo3(signature = (unix_ms = None))]
    fn set_time(&self, py: Python<'_>, unix_ms: Option<Number<u64>>) -> PyResult<()> {
        let ledger = self.0.get(py)?;
        let time = unix_ms.map(|time| UnixMillis(time.0));
        error::call(py, || ledger.set_time(time))
    }

    /// Does what time brings: releases the reservations whose time has come, pays out stake that has
    /// left and frees stake that has moved. Says how many they were. Every other call does so first.
    fn expire(&self, py: Python<'_>) -> PyResult<usize> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.expire())
    }

    /// Where the history ends.
    fn head(&self, py: Python<'_>) -> PyResult<Head> {
        let ledger = self.0.get(py)?;
        let head = error::call(py, || ledger.head())?;
        Ok(Head {
            sequence: head.sequence,
            chain: Hex(head.chain),
        })
    }

    /// What a power cut may cost, as the file has it.
    fn durability(&self, py: Python<'_>) -> PyResult<Durability> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.durability()).map(Durability)
    }

    /// Checks the whole history against its chain of digests and the balances.
    ///
    /// Raises `StorageCorruptError`.
    fn verify(&self, py: Python<'_>) -> PyResult<Verification> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.verify()).map(Into::into)
    }

    /// The same, and that this is the history of which `key` signed a checkpoint: nothing before
    /// that was rewritten since.
    ///
    /// Raises `CheckpointForgedError`, `CheckpointDiffersError`, `CheckpointMissingError`,
    /// `StorageCorruptError`.
    fn verify_since(
        &self,
        py: Python<'_>,
        checkpoint: &Checkpoint,
        key: Owner,
    ) -> PyResult<Verification> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.verify_since(&checkpoint.0, &key.0)).map(Into::into)
    }

    /// A statement about the ledger as it is now, signed with 32 secret bytes, for others to keep.
    fn checkpoint(&self, py: Python<'_>, secret: Buffer) -> PyResult<Checkpoint> {
        let ledger = self.0.get(py)?;
        let secret = secret.array(py, "secret")?;
        error::call(py, || ledger.checkpoint(&secret)).map(Checkpoint)
    }

    /// SQLite's own check of pages, indexes and rows. Raises `StorageCorruptError`.
    fn check_integrity(&self, py: Python<'_>) -> PyResult<()> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.check_integrity())
    }

    /// Makes a snapshot now, so that opening has nothing to carry out again.
    fn snapshot(&self, py: Python<'_>) -> PyResult<()> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.snapshot())
    }

    /// Copies the ledger into a new file, which is a ledger of its own. Raises
    /// `StorageExistsError`.
    fn backup(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let ledger = self.0.get(py)?;
        error::call(py, || ledger.backup(path))
    }

    /// Writes the history into a new file as text, and says how many entries that were. Without a
    /// format it is the one that the file's name tells: it ends with .csv or .jsonl.
    ///
    /// Raises `ArgumentError` if the name tells none, `StorageExistsError`, `StorageFullError`.
    #[pyo3(signature = (path, format = None))]
    fn export_history(
        &self,
        py: Python<'_>,
        path: PathBuf,
        format: Option<TextFormat>,
    ) -> PyResult<u64> {
        let ledger = self.0.get(py)?;
        let format = format.map(|format| format.0);
        error::call(py, || ledger.export(path, format))
    }

    /// Reads a history that `export_history` wrote into this ledger, which must be empty. Every
    /// entry is carried out again and must come out the same; all of them or nothing. Without a
    /// format it is the one that the file's name tells.
    ///
    /// Raises `ArgumentError` if the name tells none, `StorageNotEmptyError`, `TranscriptError`,
    /// `StorageCorruptError`.
    #[pyo3(signature = (path, format = None))]
    fn import_history(
        &self,
        py: Python<'_>,
        path: PathBuf,
        format: Option<TextFormat>,
    ) -> PyResult<()> {
        let ledger = self.0.get(py)?;
        let format = format.map(|format| format.0);
        error::call(py, || ledger.import(path, format))
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
