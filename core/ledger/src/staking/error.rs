//! Why staking refuses, and what is wrong with an event or a snapshot.

use fogcompute_base::{AccountId, NodeId, TransferId, UnixMillis};
use thiserror::Error;

use super::{Evidence, Shares};
use crate::{Amount, Ppm, Purse};

/// Why an operation is refused. Nothing has changed then.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum StakingError {
    /// The host's clock was set back. Ask again when it has caught up.
    #[error("time {} is before the last event ({})", .now, .last)]
    ClockBehind {
        /// The time that was given.
        now: UnixMillis,
        /// The time of the last event.
        last: UnixMillis,
    },
    /// The node is not an operator.
    #[error("operator {operator} is not registered")]
    UnknownOperator {
        /// The node.
        operator: NodeId,
    },
    /// The node is an operator already.
    #[error("operator {operator} is already registered")]
    OperatorExists {
        /// The node.
        operator: NodeId,
    },
    /// The account has neither stake nor rewards there.
    #[error("account {delegator} has nothing staked on operator {operator}")]
    UnknownDelegator {
        /// The operator.
        operator: NodeId,
        /// The account.
        delegator: AccountId,
    },
    /// Nothing was to be moved.
    #[error("amount is zero")]
    AmountZero,
    /// A counter of the operator cannot count that much more.
    #[error("amount overflows a counter of operator {operator}")]
    Overflow {
        /// The operator.
        operator: NodeId,
    },
    /// A purse cannot count that much more, or less than its records say is in it.
    #[error("amount overflows {purse}")]
    PurseOverflow {
        /// The purse.
        purse: Purse,
    },
    /// More was asked for than is staked.
    #[error("account {delegator} has {staked} staked on operator {operator}, not {asked}")]
    ExceedsStake {
        /// The operator.
        operator: NodeId,
        /// Whose stake it is.
        delegator: AccountId,
        /// What it is worth.
        staked: Amount,
        /// What was asked for.
        asked: Amount,
    },
    /// Slashes have left nothing of the operator's stake, so that a share has no price.
    #[error(
        "stake on operator {operator} was slashed to nothing; its {shares} shares have no price"
    )]
    Worthless {
        /// The operator.
        operator: NodeId,
        /// The shares that are left.
        shares: Shares,
    },
    /// The operator is in jail: it takes no stake and no rewards, and its absence is no infraction.
    #[error("operator {operator} is in jail, until {} at least", .until)]
    Jailed {
        /// The operator.
        operator: NodeId,
        /// When it may come back.
        until: UnixMillis,
    },
    /// The operator will never come back.
    #[error("operator {operator} is tombstoned")]
    Tombstoned {
        /// The operator.
        operator: NodeId,
    },
    /// The operator is not in jail.
    #[error("operator {operator} is not in jail")]
    NotJailed {
        /// The operator.
        operator: NodeId,
    },
    /// So many unbondings or redelegations are open already. Wait for one to mature.
    #[error(
        "account {delegator} has {limit} open entries at operator {operator}, the most allowed"
    )]
    TooManyEntries {
        /// The operator the stake would leave.
        operator: NodeId,
        /// Whose stake it is.
        delegator: AccountId,
        /// [`Rules::entries_max`](super::Rules::entries_max).
        limit: u32,
    },
    /// There is no such unbonding or redelegation.
    #[error("account {delegator} has no open entry {entry} at operator {operator}")]
    UnknownEntry {
        /// The operator the stake leaves.
        operator: NodeId,
        /// Whose stake it is.
        delegator: AccountId,
        /// The entry.
        entry: u64,
    },
    /// The unbonding's time has come: it can only be paid out.
    #[error("unbonding {entry} matured at {}", .matures)]
    EntryMatured {
        /// The unbonding.
        entry: u64,
        /// When it matured.
        matures: UnixMillis,
    },
    /// The entry's time has not come.
    #[error("entry {entry} matures at {}", .matures)]
    EntryNotMature {
        /// The unbonding or redelegation.
        entry: u64,
        /// When it matures.
        matures: UnixMillis,
    },
    /// More was asked for than the unbonding holds.
    #[error("unbonding {entry} holds {balance}, not {asked}")]
    ExceedsEntry {
        /// The unbonding.
        entry: u64,
        /// What it holds.
        balance: Amount,
        /// What was asked for.
        asked: Amount,
    },
    /// Stake was to be moved to where it is.
    #[error("redelegation from operator {operator} to itself")]
    SameOperator {
        /// The operator.
        operator: NodeId,
    },
    /// The stake came from elsewhere and still answers for it there.
    #[error(
        "account {delegator} redelegated to operator {operator} and may not move on before {}",
        .until
    )]
    TransitiveRedelegation {
        /// The operator it came to.
        operator: NodeId,
        /// Whose stake it is.
        delegator: AccountId,
        /// When it is free.
        until: UnixMillis,
    },
    /// No rewards are due: they were claimed, or none were paid in.
    #[error("account {delegator} has no rewards of operator {operator} to claim")]
    NothingToClaim {
        /// The operator.
        operator: NodeId,
        /// Who claimed.
        delegator: AccountId,
    },
    /// No commission is due.
    #[error("operator {operator} has no commission to claim")]
    NoCommission {
        /// The operator.
        operator: NodeId,
    },
    /// Rewards may not be paid from there.
    #[error("rewards cannot be paid from {purse}")]
    SourceNotAllowed {
        /// The purse.
        purse: Purse,
    },
    /// The infraction has not happened yet.
    #[error("infraction at {} is after now ({})", .infraction, .now)]
    InfractionInFuture {
        /// When it is said to have happened.
        infraction: UnixMillis,
        /// The time.
        now: UnixMillis,
    },
    /// The infraction is too long ago.
    #[error("infraction at {} is before {}, the oldest that is punished", .infraction, .oldest)]
    EvidenceTooOld {
        /// When it happened.
        infraction: UnixMillis,
        /// The oldest that is punished now.
        oldest: UnixMillis,
    },
    /// The infraction was punished already.
    #[error("{evidence:?} of operator {operator} at {} was punished already", .infraction)]
    EvidenceRepeated {
        /// The operator.
        operator: NodeId,
        /// What it did.
        evidence: Evidence,
        /// When it did so.
        infraction: UnixMillis,
    },
    /// The operator cannot have had that much stake at the infraction.
    #[error("operator {operator} had at most {most} staked at the infraction, not {power}")]
    PowerTooLarge {
        /// The operator.
        operator: NodeId,
        /// What was claimed.
        power: Amount,
        /// The stake it has, all that left since, and all that was slashed since.
        most: Amount,
    },
    /// The commission is above the highest allowed.
    #[error("commission of {asked} exceeds {limit}")]
    CommissionTooLarge {
        /// What was asked for.
        asked: Ppm,
        /// [`Rules::commission_max`](super::Rules::commission_max).
        limit: Ppm,
    },
    /// The commission would change by too much at once.
    #[error("commission may change by {step} at a time, not from {current} to {asked}")]
    CommissionTooFast {
        /// What was asked for.
        asked: Ppm,
        /// What it is.
        current: Ppm,
        /// [`Rules::commission_step`](super::Rules::commission_step).
        step: Ppm,
    },
    /// The commission was set less than a day ago.
    #[error("commission of operator {operator} may change again at {}", .again)]
    CommissionTooSoon {
        /// The operator.
        operator: NodeId,
        /// When it may change.
        again: UnixMillis,
    },
    /// The claim was paid already.
    #[error("claim {claim} was paid already")]
    ClaimRepeated {
        /// The claim.
        claim: TransferId,
    },
    /// The insurance fund does not have that much.
    #[error("insurance fund has {available}, not {asked}")]
    InsuranceShort {
        /// What it has.
        available: Amount,
        /// What was asked for.
        asked: Amount,
    },
}

/// What is wrong with an event or a snapshot: it was made by other rules, or changed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Corruption {
    /// The event records what the state does not allow.
    #[error("event cannot have happened")]
    Impossible {
        /// Why.
        #[source]
        reason: StakingError,
    },
    /// The event records another effect than it has on this state.
    #[error("event does not record the effect it has")]
    Inconsistent,
    /// The snapshot names an operator it does not hold, or holds a record twice or out of order.
    #[error("snapshot holds a record of operator {operator} that does not belong there")]
    Misplaced {
        /// The operator.
        operator: NodeId,
    },
    /// The snapshot holds a paid claim twice or out of order.
    #[error("snapshot holds claim {claim} twice or out of order")]
    ClaimMisplaced {
        /// The claim.
        claim: TransferId,
    },
    /// The operator's stake and its shares do not match those of its delegators.
    #[error("shares of operator {operator} do not match its delegators")]
    SharesDiffer {
        /// The operator.
        operator: NodeId,
    },
    /// What the operator's delegators may claim is not what was paid in for them.
    #[error("rewards of operator {operator} do not match what was paid in")]
    RewardsDiffer {
        /// The operator.
        operator: NodeId,
    },
    /// A purse does not hold what the records in it add up to.
    #[error("{purse} does not hold what its records add up to")]
    PurseDiffers {
        /// The purse.
        purse: Purse,
    },
}
