//! Why the ledger refuses, and what can be wrong with a stored one.

use fogcompute_base::{AccountId, TransferId, UnixMillis};
use thiserror::Error;

use crate::dao::{self, DaoError, Scope};
use crate::earning::EarningError;
use crate::economy::EconomyError;
use crate::staking::{self, StakingError};
use crate::{Account, AccountKind, Amount, AssetId, Head, Purse};

/// Why a batch is refused. A refused batch changes nothing, and none of its ids is used up.
///
/// When several reasons apply the first found wins: the batch's size, then operation by operation
/// a reused id, the amount, the parties, the reservation, overflow, caps on supply, the funds, and
/// the day's quota last. Of a signed batch the signature comes before its operations, and who may
/// ask for an operation before the operation.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
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
    /// The account was closed, for good.
    #[error("operation {id} names account {account}, which is closed")]
    AccountClosed {
        /// The operation.
        id: TransferId,
        /// The account.
        account: AccountId,
    },
    /// The account still holds something, or something is reserved from or for it. Move it first.
    #[error(
        "operation {id} would close account {account}, which has {balance}, \
         {debits_pending} reserved and {credits_pending} promised"
    )]
    AccountInUse {
        /// The operation.
        id: TransferId,
        /// The account.
        account: AccountId,
        /// What a holder has.
        balance: Amount,
        /// What is reserved on it.
        debits_pending: Amount,
        /// What is reserved for it.
        credits_pending: Amount,
    },
    /// Limits on supply are for issuers.
    #[error("operation {id} would limit the supply of account {account}, which is no issuer")]
    NotAnIssuer {
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
    /// The reservation's time has come, whether or not [`crate::State::expire`] has released it.
    #[error("operation {id} names reservation {reservation}, which expired at {}", .expires)]
    ReservationExpired {
        /// The operation.
        id: TransferId,
        /// The reservation.
        reservation: TransferId,
        /// When it expired.
        expires: UnixMillis,
    },
    /// The reservation would be expired from the start.
    #[error("reservation {id} would expire at {}, not after now ({})", .expires, .now)]
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
    /// The issuer would have more out than its `max_supply`.
    #[error("operation {id} of {needed} exceeds the supply left to account {account}, {left}")]
    SupplyExceeded {
        /// The operation.
        id: TransferId,
        /// The issuer.
        account: AccountId,
        /// What it may still put out.
        left: Amount,
        /// What was to be put out.
        needed: Amount,
    },
    /// The issuer would take back more than it has put out.
    #[error("operation {id} of {amount} exceeds what account {account} may take back, {left}")]
    CreditsExceedDebits {
        /// The operation.
        id: TransferId,
        /// The issuer.
        account: AccountId,
        /// What it may still take back.
        left: Amount,
        /// What was to come back.
        amount: Amount,
    },
    /// The account may not spend that much more today.
    #[error(
        "operation {id} of {needed} exceeds today's quota of account {account}: {left} left \
         until {}", .renews_at
    )]
    QuotaExceeded {
        /// The operation.
        id: TransferId,
        /// The account.
        account: AccountId,
        /// What it may still spend today.
        left: Amount,
        /// What was to be spent.
        needed: Amount,
        /// When the quota begins anew, the start of a UTC day.
        renews_at: UnixMillis,
    },
    /// The signature was good until a time that has passed. Sign again.
    #[error("signature for account {account} expired at {}, now is {}", .expires, .now)]
    SignatureExpired {
        /// The account it was made for.
        account: AccountId,
        /// When it expired.
        expires: UnixMillis,
        /// The time of the batch.
        now: UnixMillis,
    },
    /// No key is registered for the account, or it does not exist: nobody can sign for it.
    #[error("account {account} has no owner who could sign")]
    NoOwner {
        /// The account.
        account: AccountId,
    },
    /// The signature is not one of the account's key over this batch.
    #[error("signature for account {account} is forged, or of another key or batch")]
    SignatureForged {
        /// The account.
        account: AccountId,
    },
    /// The number of the signature was used. The batch may have been executed: look its ids up.
    #[error("signature {nonce} for account {account} was used, the next is {next}")]
    SignatureReplayed {
        /// The account.
        account: AccountId,
        /// The number.
        nonce: u64,
        /// The number to use.
        next: u64,
    },
    /// The number of the signature is not the next one.
    #[error("signature {nonce} for account {account} comes before signature {next}")]
    NonceSkipped {
        /// The account.
        account: AccountId,
        /// The number.
        nonce: u64,
        /// The number to use.
        next: u64,
    },
    /// The signer has no say over the account that the operation is about.
    #[error("the owner of account {signer} cannot sign for account {account}")]
    NotTheOwner {
        /// The account that the batch is signed for.
        signer: AccountId,
        /// The account whose owner would have to sign.
        account: AccountId,
    },
    /// Opening accounts and setting limits is for the host, not for owners.
    #[error("the owner of account {signer} can neither open nor limit account {account}")]
    NotForOwners {
        /// The account that the batch is signed for.
        signer: AccountId,
        /// The account that the operation is about.
        account: AccountId,
    },
    /// What is asked of the economy is not for owners of accounts to ask.
    #[error("operation {id} is for the host, not for the owner of account {signer}")]
    HostOnly {
        /// The operation.
        id: TransferId,
        /// The account that the batch is signed for.
        signer: AccountId,
    },
    /// The batch would make more entries than [`crate::BATCH_ENTRIES_MAX`]; split it.
    #[error("batch would make {count} entries, more than the limit of {limit}")]
    BatchTooLong {
        /// Entries it would make.
        count: usize,
        /// Most entries a batch may make.
        limit: usize,
    },
    /// The account is a purse of the economy, which its rules alone may use so.
    #[error("account {account} is the {purse} of the economy, which only its rules use so")]
    PurseAccount {
        /// The account.
        account: AccountId,
        /// The purse it holds.
        purse: Purse,
    },
    /// Something is asked of an economy before there is one ([`crate::economy::Request::Configure`]).
    #[error("operation {id} needs an economy, and none was configured")]
    NoEconomy {
        /// The operation.
        id: TransferId,
    },
    /// The account has stake, stake on its way out, rewards, or an operator.
    #[error("operation {id} would close account {account}, which takes part in staking")]
    AccountStaked {
        /// The operation.
        id: TransferId,
        /// The account.
        account: AccountId,
    },
    /// What stakes mature is a matter of time, not of asking: [`crate::State::expire`].
    #[error("operation {id} asks for what time does by itself")]
    MaturesByTime {
        /// The operation.
        id: TransferId,
    },
    /// It was the host's to decide until governance was established, and is decided by proposals
    /// since ([`crate::dao`]).
    #[error("{} by proposals", governed(*.purse))]
    Governed {
        /// The purse that would be taken from; none if the rules would be changed.
        purse: Option<Purse>,
    },
    /// It is paused, by a decision of governance.
    #[error("operation {id} is refused, as {scope} is paused")]
    Paused {
        /// The operation.
        id: TransferId,
        /// What is paused.
        scope: Scope,
    },
    /// In governance, accounts speak by signatures ([`crate::dao::Rules::signatures_required`]).
    #[error("operation {id} needs a signature of the owner of account {account}")]
    SignatureRequired {
        /// The operation.
        id: TransferId,
        /// The account.
        account: AccountId,
    },
    /// Governance refuses.
    #[error("operation {id} of governance is refused: {reason}")]
    Dao {
        /// The operation.
        id: TransferId,
        /// Why.
        #[source]
        reason: Box<DaoError>,
    },
    /// The numbers of an economy do not agree, or there is no such parameter.
    #[error("operation {id} does not fit the economy: {reason}")]
    Economy {
        /// The operation.
        id: TransferId,
        /// Why.
        #[source]
        reason: Box<EconomyError>,
    },
    /// The rules of staking refuse it.
    #[error("operation {id} is refused by the rules of staking: {reason}")]
    Staking {
        /// The operation.
        id: TransferId,
        /// Why.
        #[source]
        reason: Box<StakingError>,
    },
    /// The rules of earning refuse it.
    #[error("operation {id} is refused by the rules of earning: {reason}")]
    Earning {
        /// The operation.
        id: TransferId,
        /// Why.
        #[source]
        reason: Box<EarningError>,
    },
    /// The history given does not have an entry that the state has made.
    #[error("history has no entry {sequence}")]
    HistoryTooShort {
        /// The entry.
        sequence: u64,
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
    /// The history is not the one that a checkpoint was made of: something before it was rewritten.
    #[error("history differs from the checkpoint at entry {}", .checkpoint.sequence)]
    CheckpointDiffers {
        /// Where the checkpoint was made.
        checkpoint: Head,
    },
    /// The history ends before the checkpoint: it was cut short.
    #[error("history ends at entry {end}, before the checkpoint at entry {}", .checkpoint.sequence)]
    CheckpointMissing {
        /// Where the checkpoint was made.
        checkpoint: Head,
        /// The last entry there is.
        end: u64,
    },
    /// The checkpoint is not signed by the key that is trusted.
    #[error("checkpoint at entry {} is forged, or signed by another key", .checkpoint.sequence)]
    CheckpointForged {
        /// Where it claims to have been made.
        checkpoint: Head,
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
    /// A purse of the economy does not hold what its rules say.
    #[error("{purse} should hold {expected}, and its account has {found}")]
    PurseDiffers {
        /// The purse.
        purse: Purse,
        /// What the rules say.
        expected: Amount,
        /// What the account has.
        found: Amount,
    },
    /// The records of governance do not add up.
    #[error("records of governance do not add up")]
    Dao(#[source] dao::Corruption),
    /// What governance knows of an account is not what it has.
    #[error("voting weight of account {account} is not of what it has")]
    WeightDiffers {
        /// The account.
        account: AccountId,
    },
    /// What circulates is not what the accounts add up to.
    #[error("voting weights are of {recorded} in circulation, the accounts have {found:?}")]
    CirculationDiffers {
        /// As governance knows it.
        recorded: Amount,
        /// As the accounts have it; `None` above 128 bits.
        found: Option<Amount>,
    },
    /// The records of staking do not add up.
    #[error("records of staking do not add up")]
    Staking(#[source] staking::Corruption),
    /// An account's pending counters are not the sums of its open reservations.
    #[error("pending counters of account {account} do not match the open reservations")]
    PendingDiffers {
        /// The account.
        account: AccountId,
    },
}

fn governed(purse: Option<Purse>) -> &'static str {
    match purse {
        None => "rules of the economy are set",
        Some(Purse::Treasury) => "the treasury pays",
        Some(_) => "money is made beside the rules",
    }
}
