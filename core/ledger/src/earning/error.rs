//! Why nothing is earned.

use fogcompute_base::UnixMillis;
use thiserror::Error;

use super::{Comparison, Name};
use crate::Amount;

/// Why nothing is earned or paid. Nothing has changed then.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum EarningError {
    /// The host's clock was set back. Ask again when it has caught up.
    #[error("time {} is before the last event ({})", .now, .last)]
    ClockBehind {
        /// The time that was given.
        now: UnixMillis,
        /// The time of the last event.
        last: UnixMillis,
    },
    /// There is no rule of that name.
    #[error("there is no rule {rule}")]
    UnknownRule {
        /// The name.
        rule: Name,
    },
    /// The rule asks nothing of that fact: its name is misspelt, or it belongs to another rule.
    #[error("rule {rule} knows no fact {fact}")]
    UnknownFact {
        /// The rule.
        rule: Name,
        /// The fact.
        fact: Name,
    },
    /// More facts were told than an event can keep.
    #[error("contribution of rule {rule} tells {actual} facts, more than {limit}")]
    TooManyFacts {
        /// The rule.
        rule: Name,
        /// How many were told.
        actual: usize,
        /// [`FACTS_MAX`](super::FACTS_MAX).
        limit: usize,
    },
    /// A fact that is required was not told.
    #[error("rule {rule} requires {fact} {comparison} {needed}, and it is missing")]
    FactMissing {
        /// The rule.
        rule: Name,
        /// The fact.
        fact: Name,
        /// How it would be compared.
        comparison: Comparison,
        /// With what, in thousandths.
        needed: u64,
    },
    /// A requirement is not met.
    #[error("rule {rule} requires {fact} {comparison} {needed}, and it is {actual}")]
    RequirementNotMet {
        /// The rule.
        rule: Name,
        /// The fact.
        fact: Name,
        /// How it is compared.
        comparison: Comparison,
        /// With what, in thousandths.
        needed: u64,
        /// What it is, in thousandths.
        actual: u64,
    },
    /// A fact is greater than it can be.
    #[error("fact {fact} of rule {rule} is {most} at most, not {actual}")]
    FactTooLarge {
        /// The rule.
        rule: Name,
        /// The fact.
        fact: Name,
        /// The most it can be, in thousandths.
        most: u64,
        /// What it is said to be, in thousandths.
        actual: u64,
    },
    /// The session was too short to be paid.
    #[error("session of {actual_ms} ms is shorter than {needed_ms} ms")]
    SessionTooShort {
        /// How long it was.
        actual_ms: u64,
        /// The shortest that is paid.
        needed_ms: u64,
    },
    /// The session is longer than a session can be.
    #[error("session of {actual_ms} ms is longer than {most_ms} ms")]
    SessionTooLong {
        /// How long it is said to be.
        actual_ms: u64,
        /// The longest.
        most_ms: u64,
    },
    /// The power is higher than a device's can be.
    #[error("power of {actual_milli} thousandths exceeds {most_milli}")]
    PowerTooLarge {
        /// What it is said to be.
        actual_milli: u64,
        /// The highest.
        most_milli: u64,
    },
    /// The bonuses are higher than they can be.
    #[error("bonus of {actual_per_mille} thousandths exceeds {most_per_mille}")]
    BonusTooLarge {
        /// Their sum.
        actual_per_mille: u32,
        /// The highest sum.
        most_per_mille: u32,
    },
    /// The account has been granted all that one day allows.
    #[error("limit of {limit} a day of rule {rule} is used up until {}", .renews_at)]
    LimitReached {
        /// The rule.
        rule: Name,
        /// Its daily limit.
        limit: Amount,
        /// When the next day begins.
        renews_at: UnixMillis,
    },
    /// The reward rounds down to nothing, or a fee is nothing.
    #[error("amount is zero")]
    AmountZero,
    /// The reward is above [`Amount::MAX`].
    #[error("reward of rule {rule} exceeds what an amount can count")]
    Overflow {
        /// The rule.
        rule: Name,
    },
}

/// What is wrong with an event or a snapshot: it was made by other rules, or changed.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Corruption {
    /// The event is older than the last one.
    #[error("event of {} comes after one of {}", .time, .last)]
    OutOfOrder {
        /// Its time.
        time: UnixMillis,
        /// The time of the last event.
        last: UnixMillis,
    },
    /// The event grants nothing, or divides a fee into more or less than it is.
    #[error("event records amounts that do not add up")]
    Amounts,
    /// The event tells more facts than any can.
    #[error("event of rule {rule} tells {actual} facts, more than {limit}")]
    TooManyFacts {
        /// The rule.
        rule: Name,
        /// How many it tells.
        actual: usize,
        /// [`FACTS_MAX`](super::FACTS_MAX).
        limit: usize,
    },
    /// What was granted in a day exceeds what an amount can count.
    #[error("grants of rule {rule} in a day exceed what an amount can count")]
    Overflow {
        /// The rule.
        rule: Name,
    },
    /// The snapshot holds a row twice or out of order.
    #[error("snapshot holds a row of rule {rule} twice or out of order")]
    Misplaced {
        /// The rule.
        rule: Name,
    },
}
