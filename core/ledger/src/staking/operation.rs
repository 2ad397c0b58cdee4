//! What can be asked of staking.

use fogcompute_base::{AccountId, NodeId, TransferId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::Evidence;
use crate::{Amount, Ppm, Purse};

/// What can be asked of staking. Who may ask is checked elsewhere, by signatures.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Operation {
    /// Makes a node an operator that may be staked on.
    Register {
        /// The node.
        operator: NodeId,
        /// Receives its commission.
        account: AccountId,
        /// Its part of every reward, at most
        /// [`Rules::commission_max`](super::Rules::commission_max).
        commission: Ppm,
    },
    /// Changes an operator's commission, by at most
    /// [`Rules::commission_step`](super::Rules::commission_step) and once in 24 hours.
    SetCommission {
        /// The operator.
        operator: NodeId,
        /// Its new part of every reward from now on.
        commission: Ppm,
    },
    /// Stakes on an operator.
    Bond {
        /// The operator.
        operator: NodeId,
        /// Whose stake it is.
        delegator: AccountId,
        /// Base units.
        amount: Amount,
    },
    /// Starts to take stake back. It is paid out by [`Operation::Mature`] after the delay and can
    /// be slashed until then for infractions it was there for.
    Unbond {
        /// The operator.
        operator: NodeId,
        /// Whose stake it is.
        delegator: AccountId,
        /// Base units; all of it if `None`, also if slashes have left nothing of it.
        amount: Option<Amount>,
    },
    /// Returns stake on its way out to its operator.
    CancelUnbonding {
        /// The operator.
        operator: NodeId,
        /// Whose stake it is.
        delegator: AccountId,
        /// The unbonding.
        entry: u64,
        /// Base units; all of it if `None`.
        amount: Option<Amount>,
    },
    /// Moves stake to another operator at once. It can be slashed for infractions of the first
    /// until the delay is over, and may not move on before.
    Redelegate {
        /// Whose stake it is.
        delegator: AccountId,
        /// The operator it leaves.
        from: NodeId,
        /// The operator it goes to.
        to: NodeId,
        /// Base units; all of it if `None`.
        amount: Option<Amount>,
    },
    /// Pays a delegator's rewards out.
    Claim {
        /// The operator.
        operator: NodeId,
        /// Whose rewards they are.
        delegator: AccountId,
    },
    /// Pays an operator's commission out.
    ClaimCommission {
        /// The operator.
        operator: NodeId,
    },
    /// Shares a reward between an operator and its delegators.
    Reward {
        /// The operator.
        operator: NodeId,
        /// Pays: an account, the treasury or the mint.
        source: Purse,
        /// Base units.
        amount: Amount,
    },
    /// Punishes an infraction.
    Slash {
        /// The operator.
        operator: NodeId,
        /// What it did.
        evidence: Evidence,
        /// When it did so. One operator has one infraction of a kind at a time.
        infraction: UnixMillis,
        /// The operator's stake at that time, in base units.
        power: Amount,
    },
    /// Lets an operator back whose time in jail is over.
    Unjail {
        /// The operator.
        operator: NodeId,
    },
    /// Pays out the unbondings whose time has come and forgets such redelegations, soonest first:
    /// at most [`MATURE_MAX`](super::MATURE_MAX) of them. Ask again until the plan is empty.
    Mature,
    /// Pays a claim from the insurance fund, once.
    PayInsurance {
        /// The claim that was granted.
        claim: TransferId,
        /// Receives.
        to: AccountId,
        /// Base units.
        amount: Amount,
    },
}

impl Operation {
    /// Whether it is about all there is, for no amount is named.
    #[must_use]
    pub const fn asks_for_all(&self) -> bool {
        matches!(
            self,
            Self::Unbond { amount: None, .. }
                | Self::CancelUnbonding { amount: None, .. }
                | Self::Redelegate { amount: None, .. }
        )
    }
}
