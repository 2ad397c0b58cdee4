//! Earning and fees: what is paid for contributions and for sessions of computing, by rules that
//! are data, with daily limits that hold.
//!
//! [`Earning`] decides and a [`Book`](crate::Book) moves the money, asked by
//! [`Request::Earning`](crate::economy::Request::Earning). Used alone, [`plan`](Earning::plan) works an
//! [`Operation`] out without changing anything, and [`apply`](Earning::apply) takes its event in.
//!
//! - Facts and multipliers are integers in thousandths; a quality of 0.95 is 950. A fact the rule
//!   does not know is refused, one it requires must be told, one that is too great is refused: a
//!   misspelt name never pays nothing, nor too much, in silence.
//! - An event keeps the facts it was granted for, so that every reward can be worked out again.
//! - Rewards are rounded down to base units, each multiplier's for itself and a session's once.
//! - A limit holds per rule and account for one UTC day. What it cuts off is told and lost, not
//!   owed. Past days are forgotten, so the state holds one day's earners.
//! - Fees are divided exactly: the parts of treasury and sovereign fund are rounded down, and the
//!   rest is the payee's.
//!
//! Not here: who may say what is a fact, and that one contribution is told once. A host settles
//! both by signatures and by the ids of its book.
//!
//! ```
//! use fogcompute_base::{AccountId, UnixMillis};
//! use fogcompute_ledger::Amount;
//! use fogcompute_ledger::earning::{Earning, EarningError, Operation, Rules};
//!
//! let (rules, mut earning) = (Rules::default(), Earning::default());
//! let knowledge = |quality| Operation::Earn {
//!     rule: "knowledge".parse().unwrap(),
//!     account: AccountId::from_bytes([1; 16]),
//!     facts: [("quality".parse().unwrap(), quality)].into(),
//! };
//! let now = UnixMillis(1_795_000_000_000);
//!
//! // 15 credits, and 80 % of them for a quality of 1.
//! let plan = earning.plan(&rules, &knowledge(1_000), now)?;
//! assert_eq!(plan.grant.unwrap().granted, Amount::from_credits(27));
//! earning.apply(&plan.event)?;
//!
//! // Below 0.7 nothing is paid.
//! assert!(matches!(
//!     earning.plan(&rules, &knowledge(699), now),
//!     Err(EarningError::RequirementNotMet { needed: 700, actual: 699, .. })
//! ));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod draft;
mod error;
mod event;
mod name;
mod rules;
mod snapshot;

use std::collections::BTreeMap;

use fogcompute_base::{AccountId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::{Amount, Movement};
use draft::{Changes, Draft};

pub use error::{Corruption, EarningError};
pub use event::{Basis, Event, EventKind, FACTS_MAX};
pub use name::{Name, NameError};
pub use rules::{
    Comparison, FeeSplit, Fees, Multiplier, Requirement, Rule, Rules, RulesError, Session,
};
pub use snapshot::{GrantedRow, Snapshot};

const DAY_MS: u64 = 86_400_000;

/// What can be asked of earning.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Operation {
    /// Rewards a contribution.
    Earn {
        /// The rule, one of [`Rules::contributions`].
        rule: Name,
        /// Receives.
        account: AccountId,
        /// What is so, in thousandths; yes is 1,000. At most [`FACTS_MAX`] facts.
        facts: BTreeMap<Name, u64>,
    },
    /// Rewards a session of computing.
    Session {
        /// Receives.
        account: AccountId,
        /// The device's power, in thousandths.
        power_milli: u64,
        /// How long it computed, in milliseconds.
        duration_ms: u64,
        /// The sum of its bonuses, in thousandths.
        bonus_per_mille: u32,
    },
    /// Pays a fee.
    Fee {
        /// Pays.
        payer: AccountId,
        /// Receives what the funds leave.
        payee: AccountId,
        /// Base units.
        amount: Amount,
    },
}

/// What is granted of what was earned.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Grant {
    /// What the rule gives.
    pub earned: Amount,
    /// What is paid.
    pub granted: Amount,
    /// What the daily limit cuts off: `earned - granted`.
    pub cut_by_limit: Amount,
    /// When the limit begins anew: the next midnight, UTC.
    pub renews_at: UnixMillis,
}

/// What an operation will do: for a host to write down and to move money by.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "a plan does nothing until its event is applied"]
pub struct Plan {
    /// What will have happened.
    pub event: Event,
    /// The money that moves with it, in order.
    pub movements: Vec<Movement>,
    /// What is granted; `None` for a fee.
    pub grant: Option<Grant>,
}

/// Who has been granted what today. It begins with nothing granted ([`default`](Self::default)).
///
/// Rules are not part of it: they are given to what is planned and may differ each time. What was
/// granted today counts under any.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Earning {
    /// The time of the last event; its day is that of `granted`.
    clock: UnixMillis,
    granted: BTreeMap<(Name, AccountId), Amount>,
}

impl Earning {
    /// Works out what an operation would do at the time `now` under those rules, without doing it.
    ///
    /// Rules that [`Rules::validate`] refuses are worked with as they are.
    ///
    /// # Errors
    /// Any [`EarningError`].
    pub fn plan(
        &self,
        rules: &Rules,
        operation: &Operation,
        now: UnixMillis,
    ) -> Result<Plan, EarningError> {
        let (kind, grant) = Draft::new(self, now).execute(rules, operation)?;
        Ok(Plan {
            movements: kind.movements(),
            event: Event { time: now, kind },
            grant,
        })
    }

    /// Takes in an event that was planned, now or earlier. Rules are not asked, so a journal
    /// replays whatever they have become.
    ///
    /// # Errors
    /// [`Corruption::OutOfOrder`], [`Corruption::Amounts`], [`Corruption::TooManyFacts`],
    /// [`Corruption::Overflow`]; nothing changes then.
    pub fn apply(&mut self, event: &Event) -> Result<(), Corruption> {
        let mut draft = Draft::new(self, event.time);
        draft.repeat(&event.kind)?;
        let changes = draft.finish();
        self.absorb(changes);
        Ok(())
    }

    /// What an account was granted under a rule on the UTC day of `now`.
    #[must_use]
    pub fn granted_on(&self, rule: &Name, account: AccountId, now: UnixMillis) -> Amount {
        if day(now) != day(self.clock) {
            return Amount::ZERO;
        }
        let granted = self.granted.get(&(rule.clone(), account));
        granted.copied().unwrap_or_default()
    }

    /// Makes a finished draft part of the state it was made for.
    pub(crate) fn absorb(&mut self, changes: Changes) {
        let Changes {
            clock,
            new_day,
            granted,
        } = changes;
        self.clock = clock;
        if new_day {
            self.granted.clear();
        }
        self.granted.extend(granted);
    }
}

const fn day(time: UnixMillis) -> u64 {
    time.0 / DAY_MS
}
