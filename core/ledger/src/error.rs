//! Why the ledger refuses, and what can be wrong with a stored one.

use fogcompute_base::{AccountId, TransferId, UnixMillis};
use thiserror::Error;

use crate::{Account, AccountKind, Amount, AssetId, Head};

/// Why a batch is refused. A refused batch changes nothing, and none of its ids is used up.
///
/// When several reasons apply the first found wins: the batch's size, then operation by operation
/// a reused id, the amount, the parties, the reservation, overflow, and the funds last.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum LedgerError {
    /// The batch has no operations.
    #[error("batch is empty")]
    BatchEmpty,
    /// The batch has more operations than [`crate::BATCH_OPERATIONS_MAX`]; split it.
    #[error("batch of {count} operations exceeds the limit of {limit}")]
    BatchTooLarge {
        /// Operations in the batch.
        count: usize,
        /// Most operations a batch may have.
        limit: usize,
    },
    /// The id was used for something else; repeat the original request or choose a new id.
    #[error("id {id} was used for another operation at entry {sequence}")]
    IdReused {
        /// The operation.
        id: TransferId,
        /// The entry that used the id first.
        sequence: u64,
    },
    /// The account is open with another asset or kind.
    #[error("account {account} exists as {kind:?} of asset {asset}")]
    AccountExists {
        /// The account.
        account: AccountId,
        /// The asset it holds.
        asset: AssetId,
        /// What it may do.
        kind: AccountKind,
    },
    /// Every operation must move or hold something.
    #[error("operation {id} has amount zero")]
    ZeroAmount {
        /// The operation.
        id: TransferId,
    },
    /// An account cannot pay itself.
    #[error("operation {id} names account {account} on both sides")]
    SameAccount {
        /// The operation.
        id: TransferId,
        /// The account.
        account: AccountId,
    },
    /// The account is not open.
    #[error("operation {id} names unknown account {account}")]
    UnknownAccount {
        /// The operation.
        id: TransferId,
        /// The account.
        account: AccountId,
    },
    /// The two accounts hold different assets.
    #[error("operation {id} would move asset {from_asset} into asset {to_asset}")]
    AssetMismatch {
        /// The operation.
        id: TransferId,
        /// Asset of the account that gives.
        from_asset: AssetId,
        /// Asset of the account that receives.
        to_asset: AssetId,
    },
    /// There is no operation of that id.
    #[error("operation {id} names unknown reservation {reservation}")]
    UnknownReservation {
        /// The operation.
        id: TransferId,
        /// The id that names nothing.
        reservation: TransferId,
    },
    /// There is an operation of that id, but it reserved nothing.
    #[error("operation {id} names {reservation}, which is not a reservation")]
    NotAReservation {
        /// The operation.
        id: TransferId,
        /// The id that names something else.
        reservation: TransferId,
    },
    /// More was asked for than is reserved.
    #[error("operation {id} posts {asked} of reservation {reservation}, which holds {reserved}")]
    PostExceedsReservation {
        /// The operation.
        id: TransferId,
        /// The reservation.
        reservation: TransferId,
        /// What it holds.
        reserved: Amount,
        /// What was asked for.
        asked: Amount,
    },
    /// The reservation was closed by a post.
    #[error("operation {id} names reservation {reservation}, which is already posted")]
    ReservationPosted {
        /// The operation.
        id: TransferId,
        /// The reservation.
        reservation: TransferId,
    },
    /// The reservation was closed by a void.
    #[error("operation {id} names reservation {reservation}, which is already voided")]
    ReservationVoided {
        /// The operation.
        id: TransferId,
        /// The reservation.
        reservation: TransferId,
    },
    /// The reservation's time has come, whether or not [`crate::Book::expire`] has released it.
    #[error("operation {id} names reservation {reservation}, which expired at {}", .expires.0)]
    ReservationExpired {
        /// The operation.
        id: TransferId,
        /// The reservation.
        reservation: TransferId,
        /// When it expired.
        expires: UnixMillis,
    },
    /// The reservation would be expired from the start.
    #[error("reservation {id} would expire at {}, not after now ({})", .expires.0, .now.0)]
    ExpiresInPast {
        /// The operation.
        id: TransferId,
        /// When it would expire.
        expires: UnixMillis,
        /// The time of the batch.
        now: UnixMillis,
    },
    /// A counter of the account cannot count that much more.
    #[error("operation {id} of {amount} overflows account {account}, which can count {room} more")]
    Overflow {
        /// The operation.
        id: TransferId,
        /// The account whose counter is full.
        account: AccountId,
        /// What was to be counted.
        amount: Amount,
        /// What it can still count.
        room: Amount,
    },
    /// The account does not have that much at its disposal.
    #[error("operation {id} needs {needed} of account {account}, which has {available} available")]
    InsufficientFunds {
        /// The operation.
        id: TransferId,
        /// The account that was to give.
        account: AccountId,
        /// What it can give.
        available: Amount,
        /// What was to be given.
        needed: Amount,
    },
    /// The plan was made for another state of the book; plan again.
    #[error(
        "plan was made at entry {} of another history or state; the book is at entry {}",
        .planned.sequence, .current.sequence
    )]
    PlanStale {
        /// Where the book was when the plan was made.
        planned: Head,
        /// Where the book is.
        current: Head,
    },
}

/// What is wrong with a book or with a stored history. None of these can be caused by a caller:
/// memory, disk or a stored row was changed behind the ledger's back. Restore from a copy.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Corruption {
    /// An entry is missing, repeated or out of place.
    #[error("history has entry {found} where entry {expected} belongs")]
    SequenceGap {
        /// The number that belongs there.
        expected: u64,
        /// The number that is there.
        found: u64,
    },
    /// An entry or its digest was changed.
    #[error("chain of the history is broken at entry {sequence}")]
    ChainBroken {
        /// The entry.
        sequence: u64,
    },
    /// The entry records what the rules refuse.
    #[error("entry {sequence} records an operation that is not allowed")]
    Impossible {
        /// The entry.
        sequence: u64,
        /// Why it is not allowed.
        #[source]
        reason: LedgerError,
    },
    /// The rules would have recorded something else (another released amount, say, or the entry is
    /// a repeat that moves nothing).
    #[error("entry {sequence} does not record what its operation does")]
    Inconsistent {
        /// The entry.
        sequence: u64,
    },
    /// A stored account differs from what the history makes of it.
    #[error("account {account} does not match the history")]
    AccountDiffers {
        /// The account.
        account: AccountId,
        /// What is stored.
        stored: Box<Account>,
        /// What the history says.
        history: Box<Account>,
    },
    /// The history opens an account that is not stored.
    #[error("account {account} is in the history but not among the accounts")]
    AccountMissing {
        /// The account.
        account: AccountId,
    },
    /// An account is stored that the history never opened, or it is stored twice.
    #[error("account {account} is among the accounts but not in the history")]
    AccountUnknown {
        /// The account.
        account: AccountId,
    },
    /// Credits and debits of an asset differ.
    #[error("credits and debits of asset {asset} differ")]
    Unbalanced {
        /// The asset.
        asset: AssetId,
    },
    /// A holder has given or promised more than it received.
    #[error("holder {account} received {credits}, gave {debits} and has {pending} reserved")]
    Overdrawn {
        /// The account.
        account: AccountId,
        /// All it received.
        credits: Amount,
        /// All it gave.
        debits: Amount,
        /// What is held back.
        pending: Amount,
    },
    /// An account's pending counters are not the sums of its open reservations.
    #[error("pending counters of account {account} do not match the open reservations")]
    PendingDiffers {
        /// The account.
        account: AccountId,
    },
}
