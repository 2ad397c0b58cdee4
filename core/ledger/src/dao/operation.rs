//! What can be asked of governance.

use fogcompute_base::{AccountId, TransferId};
use serde::{Deserialize, Serialize};

use super::{Choice, Content, ProposalKind, Role};
use crate::Ppm;

/// A part of somebody's votes, and who casts it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Casts it.
    pub to: AccountId,
    /// How much of it, rounded down to base units.
    pub part: Ppm,
}

/// A role and who has it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Who has it.
    pub account: AccountId,
    /// The role.
    pub role: Role,
}

/// What can be asked of governance. Who may ask is checked elsewhere, by signatures of the account
/// that is named first; `Establish` and `SetReputation` are the host's.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Operation {
    /// Gives the founding roles, once.
    Establish {
        /// Who has which, each once.
        roles: Vec<Holder>,
    },
    /// Lets an account vote with what it has. Delegating and being granted a role do so too.
    ///
    /// Nothing an account had before counts: OpenZeppelin's `Votes` are likewise counted from the
    /// first delegation on, also to oneself.
    Enrol {
        /// The account.
        account: AccountId,
    },
    /// Delegates votes, in place of what was delegated before on those topics.
    Delegate {
        /// Whose votes they are.
        voter: AccountId,
        /// On what kinds of proposals; on all of them if empty.
        topics: Vec<ProposalKind>,
        /// To whom, at most [`DELEGATES_MAX`](super::DELEGATES_MAX). The rest stays with the voter;
        /// all of it if empty, which revokes.
        to: Vec<Part>,
    },
    /// Sets what [`Reputation`](super::Reputation) counts an account's votes by from now on.
    SetReputation {
        /// The account.
        account: AccountId,
        /// Its reputation.
        reputation: Ppm,
    },
    /// Keeps a proposal that is not submitted yet. Who may not propose may not draft.
    Draft {
        /// Its author.
        author: AccountId,
        /// Names the proposal, for ever.
        proposal: TransferId,
        /// What it says.
        content: Content,
    },
    /// Submits a draft.
    Submit {
        /// Its author.
        author: AccountId,
        /// The draft.
        proposal: TransferId,
    },
    /// Submits a proposal that was no draft.
    Propose {
        /// Its author.
        author: AccountId,
        /// Names the proposal, for ever.
        proposal: TransferId,
        /// What it says.
        content: Content,
    },
    /// Votes, or changes a vote.
    Vote {
        /// Who votes.
        voter: AccountId,
        /// On what.
        proposal: TransferId,
        /// What it says.
        choice: Choice,
    },
    /// Cancels a proposal.
    Cancel {
        /// Its author, a guardian or a king.
        by: AccountId,
        /// The proposal.
        proposal: TransferId,
    },
    /// Starts the timelock of a proposal that has passed. Anybody may.
    Queue {
        /// The proposal.
        proposal: TransferId,
    },
    /// Does what a proposal says, all or nothing. Anybody may.
    Execute {
        /// The proposal.
        proposal: TransferId,
    },
}

impl Operation {
    /// The account that asks, for what an account asks.
    #[must_use]
    pub const fn actor(&self) -> Option<AccountId> {
        match *self {
            Self::Enrol { account: actor }
            | Self::Delegate { voter: actor, .. }
            | Self::Draft { author: actor, .. }
            | Self::Submit { author: actor, .. }
            | Self::Propose { author: actor, .. }
            | Self::Vote { voter: actor, .. }
            | Self::Cancel { by: actor, .. } => Some(actor),
            Self::Establish { .. }
            | Self::SetReputation { .. }
            | Self::Queue { .. }
            | Self::Execute { .. } => None,
        }
    }

    /// Whether only the host asks so.
    #[must_use]
    pub const fn is_of_the_host(&self) -> bool {
        matches!(self, Self::Establish { .. } | Self::SetReputation { .. })
    }
}

impl Part {
    /// This part of somebody's power, rounded down.
    #[must_use]
    pub fn of(&self, power: super::Weight) -> super::Weight {
        super::Weight(self.part.of(crate::Amount(power.0)).0)
    }
}
