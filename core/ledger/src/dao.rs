//! Governance: weights with a past, delegation, proposals and votes, in integers.
//!
//! [`Dao`] decides what counts and what follows. It is asked by [`Operation`]s and told by its host
//! what accounts have ([`Draft::set_tokens`], [`Draft::set_stake`], [`Draft::set_circulating`]). What
//! it cannot do itself, payments and parameters, it gives back as [`Effect`]s.
//!
//! - **Weight** is tokens and stake, times what a role weighs ([`Weights`]), of enrolled accounts. It
//!   is recorded with its past, and a proposal counts what was so at its snapshot: what is moved
//!   afterwards changes nothing. All weight, of which a quorum is a part, is what circulates and
//!   what roles add to it, whether enrolled or not.
//! - **Delegation** is by topic, may be split, passes on, and never closes a circle. A role weighs
//!   what its holder has, never what was delegated to it.
//! - **Override.** A vote takes the voter's power back from whomever it was delegated to, for that
//!   proposal: each unit of power goes to the first on its way who votes, and counts once. Voting
//!   costs what lies downstream of the voter, never what lies upstream.
//! - **Two tallies.** The quorum is counted in power, approval in the votes that a [`Strategy`]
//!   makes of it; so no strategy makes a quorum of nothing.
//! - **Life.** As OpenZeppelin's Governor times it, with a timelock and a grace period:
//!   [`ProposalState`]. Rules in force when a proposal is submitted bind it to its end.
//! - **Late quorum.** A vote that reaches the quorum leaves at least
//!   [`Rules::late_quorum_ms`] to answer. Unlike OpenZeppelin's `GovernorPreventLateQuorum` it does
//!   so each time, since votes may be changed here: else one could reach the quorum early, leave
//!   and come back in the last millisecond. [`Rules::vote_changes_max`] bounds how often.
//!
//! A change of role weights is passed on by the host ([`Draft::set_weights`]). Not here: signatures,
//! balances, whether a parameter exists.
//!
//! ```
//! use fogcompute_base::{AccountId, Digest, TransferId, UnixMillis};
//! use fogcompute_ledger::dao::{
//!     Action, Choice, Content, Dao, NoHost, Operation, ProposalKind, ProposalState, Rules,
//! };
//! use fogcompute_ledger::Amount;
//!
//! let (ana, proposal) = (AccountId::from_bytes([1; 16]), TransferId::from_bytes([2; 16]));
//! let rules = Rules { voter_share_max: fogcompute_ledger::Ppm::WHOLE, ..Rules::default() };
//! let (day, mut dao) = (86_400_000, Dao::default());
//! dao.update(UnixMillis(day), |draft| {
//!     let _ = draft.execute(&rules, &Operation::Enrol { account: ana }, &NoHost)?;
//!     draft.set_tokens(ana, Amount::from_credits(5_000))?;
//!     draft.set_circulating(Amount::from_credits(20_000))
//! })?;
//! let mut run = |operation: Operation, time: u64| {
//!     dao.update(UnixMillis(time), |draft| draft.execute(&rules, &operation, &NoHost))
//! };
//! let content = Content {
//!     kind: ProposalKind::General,
//!     title: "Be kind".to_owned(),
//!     description: String::new(),
//!     actions: vec![Action::Resolve { text: Digest::of(b"Be kind.") }],
//! };
//! let _ = run(Operation::Propose { author: ana, proposal, content }, 2 * day)?;
//! let _ = run(Operation::Vote { voter: ana, proposal, choice: Choice::For }, 3 * day + 1)?;
//! let _ = run(Operation::Queue { proposal }, 10 * day + 1)?;
//! let _ = run(Operation::Execute { proposal }, 11 * day + 1)?;
//! assert_eq!(dao.state(proposal, UnixMillis(11 * day + 1))?, ProposalState::Executed);
//! # Ok::<(), fogcompute_ledger::dao::DaoError>(())
//! ```

mod action;
mod codec;
pub(crate) mod draft;
mod error;
mod event;
mod flows;
mod graph;
mod operation;
mod proposal;
mod role;
pub(crate) mod rules;
mod snapshot;
mod strategy;
mod trace;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fogcompute_base::{AccountId, Digest, NodeId, TransferId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::{Amount, Ppm};
use draft::Changes;
use graph::{Topic, Upstream};
use trace::Traces;

pub use action::{Action, Effect, Scope};
pub use draft::{Checks, Done, Draft, NoHost};
pub use error::{ActionError, Corruption, DaoError};
pub use event::{Event, EventKind};
pub use operation::{Holder, Operation, Part};
pub use proposal::{
    Ballot, Choice, Content, Proposal, ProposalKind, ProposalState, Stage, Tally, Terms,
};
pub use role::{Role, Weights};
pub(crate) use rules::visit_dao;
pub use rules::{Emergency, Rules, RulesError};
pub use snapshot::{
    AgentRow, BallotRow, DelegationRow, DiversionRow, LiveRow, MemberRow, OwnRow, ProposalRow,
    ReceivedRow, ReputationRow, RoleRow, Snapshot, StakeRow, UpgradeRow,
};
pub use strategy::{
    Conviction, Linear, Quadratic, Reputation, Strategy, UnknownWeighing, Weighing,
};
pub use trace::Weight;

/// Most parts one account's votes are split into.
pub const DELEGATES_MAX: usize = 8;

/// What an enrolled account has.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Base units in its account.
    pub tokens: Amount,
    /// Base units its stakes are worth.
    pub staked: Amount,
    /// What its role adds to that.
    pub(crate) extra: Weight,
    /// The topics it delegates on, a bit for each.
    pub(crate) delegates_on: u8,
}

/// Where an account's power on a topic comes from and goes to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// What it weighs itself, by its role.
    pub own: Weight,
    /// What was delegated to it, directly or through others.
    pub received: Weight,
    /// What it delegates of both.
    pub passed_on: Weight,
}

impl Standing {
    /// What it can vote with, if nobody whose votes it casts votes: for a vote of its own takes back
    /// what it delegated.
    #[must_use]
    pub const fn power(&self) -> Weight {
        // Both are parts of all weight, which was counted.
        Weight(self.own.0.saturating_add(self.received.0))
    }

    /// What stays with it: what OpenZeppelin's `getVotes` gives, and what a proposer must weigh.
    #[must_use]
    pub const fn kept(&self) -> Weight {
        Weight(self.power().0.saturating_sub(self.passed_on.0))
    }
}

/// A version that nodes are to run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Upgrade {
    /// The proposal that scheduled it.
    pub proposal: TransferId,
    /// Digest of what is to be run.
    pub digest: Digest,
    /// From when on.
    pub activates: UnixMillis,
}

/// An agent that was deployed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// The proposal that deployed it.
    pub proposal: TransferId,
    /// Runs it.
    pub operator: AccountId,
    /// What was paid for it.
    pub budget: Amount,
}

/// A resolution.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Resolution {
    /// The proposal that resolved it.
    pub proposal: TransferId,
    /// Digest of its text.
    pub text: Digest,
    /// When.
    pub time: UnixMillis,
}

/// The ballots of a proposal that is not over, and what was taken from those who have not voted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Poll {
    pub(crate) ballots: HashMap<AccountId, Ballot>,
    pub(crate) diverted: HashMap<AccountId, Weight>,
}

/// Who weighs what, has which role, delegates to whom and has proposed and voted what. It begins
/// with nobody enrolled ([`default`](Self::default)).
///
/// Rules are not part of it, but for what roles weigh: they are given to what is asked, may differ
/// each time, and what was submitted keeps its own.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Dao {
    /// The time of the last change.
    clock: UnixMillis,
    weights: Weights,
    established: bool,
    circulating: Weight,
    /// What roles add to what their holders have, together.
    extra: Weight,
    total: Traces<(), Weight>,
    /// Hashed, so that an update costs the same among a million.
    members: HashMap<AccountId, Member>,
    stakes: BTreeMap<(NodeId, AccountId), Amount>,
    holders: BTreeMap<AccountId, Role>,
    roles: Traces<AccountId, Role>,
    reputations: Traces<AccountId, Option<Ppm>>,
    own: Traces<AccountId, Weight>,
    received: Traces<Topic, Weight>,
    delegations: Traces<Topic, Vec<Part>>,
    upstream: HashMap<Topic, Upstream>,
    proposals: BTreeMap<TransferId, Proposal>,
    polls: HashMap<TransferId, Poll>,
    /// Proposals that are not over, each with the last millisecond in which that is certain.
    live: BTreeSet<(UnixMillis, TransferId)>,
    drafts: BTreeSet<(AccountId, TransferId)>,
    paused: BTreeSet<Scope>,
    upgrades: BTreeMap<String, Upgrade>,
    agents: BTreeMap<Digest, Agent>,
    resolutions: Vec<Resolution>,
}

impl Dao {
    /// Begins changes at the time `now`, not yet part of the state.
    pub(crate) fn draft(&self, now: UnixMillis) -> Draft<'_> {
        Draft::new(self, now)
    }

    /// Changes the state by what is done to a draft of it, if all of that is done.
    ///
    /// # Errors
    /// What `change` returns; nothing changes then.
    pub fn update<T, E>(
        &mut self,
        now: UnixMillis,
        change: impl FnOnce(&mut Draft<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut draft = self.draft(now);
        let done = change(&mut draft)?;
        let changes = draft.finish();
        self.absorb(changes);
        Ok(done)
    }

    /// The time of the last change.
    #[must_use]
    pub const fn clock(&self) -> UnixMillis {
        self.clock
    }

    /// An enrolled account.
    #[must_use]
    pub fn member(&self, account: AccountId) -> Option<&Member> {
        self.members.get(&account)
    }

    /// How many accounts are enrolled.
    #[must_use]
    pub fn member_count(&self) -> usize {
        self.members.len()
    }

    /// The enrolled accounts that have something staked on an operator, for the host to value anew
    /// after a slash.
    pub fn stakers(&self, operator: NodeId) -> impl Iterator<Item = AccountId> {
        let all = AccountId::from_bytes([0; 16])..=AccountId::from_bytes([0xff; 16]);
        let range = (operator, *all.start())..=(operator, *all.end());
        self.stakes.range(range).map(|((_, account), _)| *account)
    }

    /// Whether founding roles were given: from then on, rules and treasury are governed.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        self.established
    }

    /// What circulates: what everybody holds and has staked, as far as the host said.
    #[must_use]
    pub const fn circulating(&self) -> Weight {
        self.circulating
    }

    /// Enrolled accounts, in no order.
    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = (AccountId, &Member)> {
        self.members
            .iter()
            .map(|(account, member)| (*account, member))
    }

    /// What enrolled accounts have staked, as far as the host said.
    pub(crate) fn stakes(&self) -> impl ExactSizeIterator<Item = (NodeId, AccountId, Amount)> {
        (self.stakes.iter()).map(|(&(operator, account), &worth)| (operator, account, worth))
    }

    /// The role of an account.
    #[must_use]
    pub fn role(&self, account: AccountId) -> Role {
        self.holders.get(&account).copied().unwrap_or_default()
    }

    /// Accounts with a role, by id.
    pub fn holders(&self) -> impl ExactSizeIterator<Item = Holder> {
        let holder = |(&account, &role)| Holder { account, role };
        self.holders.iter().map(holder)
    }

    /// What roles weigh now.
    #[must_use]
    pub const fn weights(&self) -> Weights {
        self.weights
    }

    /// The reputation that was set for an account.
    #[must_use]
    pub fn reputation(&self, account: AccountId) -> Option<Ppm> {
        self.reputations.last(account).copied().flatten()
    }

    /// What an account delegates on a topic.
    #[must_use]
    pub fn delegation(&self, voter: AccountId, topic: ProposalKind) -> &[Part] {
        self.delegations
            .last((voter, topic))
            .map_or(&[], Vec::as_slice)
    }

    /// Where an account stands on a topic now.
    #[must_use]
    pub fn standing(&self, account: AccountId, topic: ProposalKind) -> Standing {
        self.standing_at(account, topic, UnixMillis(u64::MAX))
    }

    /// Where an account stood on a topic at the end of a millisecond.
    ///
    /// Complexity: O(log checkpoints).
    ///
    /// # Errors
    /// [`DaoError::FutureLookup`] if that millisecond is not over.
    pub fn past_standing(
        &self,
        account: AccountId,
        topic: ProposalKind,
        time: UnixMillis,
        now: UnixMillis,
    ) -> Result<Standing, DaoError> {
        past(time, now)?;
        Ok(self.standing_at(account, topic, time))
    }

    fn standing_at(&self, account: AccountId, topic: ProposalKind, time: UnixMillis) -> Standing {
        let key = (account, topic);
        let own = self.own.at(account, time).copied().unwrap_or_default();
        let received = self.received.at(key, time).copied().unwrap_or_default();
        let parts = self
            .delegations
            .at(key, time)
            .map_or(&[][..], Vec::as_slice);
        standing(own, received, parts)
    }

    /// How often what an account receives on a topic has changed.
    #[must_use]
    pub fn checkpoints(&self, account: AccountId, topic: ProposalKind) -> usize {
        let trace = self.received.get((account, topic));
        trace.map_or(0, |trace| trace.checkpoints().len())
    }

    /// All weight now: what circulates, and what roles add to it.
    #[must_use]
    pub fn total(&self) -> Weight {
        self.total.last(()).copied().unwrap_or_default()
    }

    /// All weight at the end of a millisecond.
    ///
    /// # Errors
    /// [`DaoError::FutureLookup`] if that millisecond is not over.
    pub fn past_total(&self, time: UnixMillis, now: UnixMillis) -> Result<Weight, DaoError> {
        past(time, now)?;
        Ok(self.total_at(time))
    }

    fn total_at(&self, time: UnixMillis) -> Weight {
        self.total.at((), time).copied().unwrap_or_default()
    }

    /// A proposal.
    #[must_use]
    pub fn proposal(&self, proposal: TransferId) -> Option<&Proposal> {
        self.proposals.get(&proposal)
    }

    /// All proposals, by id.
    pub fn proposals(&self) -> impl ExactSizeIterator<Item = (TransferId, &Proposal)> {
        self.proposals.iter().map(|(id, record)| (*id, record))
    }

    /// Where a proposal is in its life at that time, which is not before the last change.
    ///
    /// # Errors
    /// [`DaoError::UnknownProposal`].
    pub fn state(&self, proposal: TransferId, now: UnixMillis) -> Result<ProposalState, DaoError> {
        let record = self.proposals.get(&proposal);
        let record = record.ok_or(DaoError::UnknownProposal { proposal })?;
        Ok(record.state(now, || {
            (record.terms).map_or(Weight::ZERO, |terms| self.total_at(terms.snapshot))
        }))
    }

    /// What a voter has said about a proposal. Ballots are forgotten once a proposal is over: the
    /// history has them.
    #[must_use]
    pub fn ballot(&self, proposal: TransferId, voter: AccountId) -> Option<Ballot> {
        self.polls.get(&proposal)?.ballots.get(&voter).copied()
    }

    /// How many have voted on a proposal that is not over.
    #[must_use]
    pub fn ballot_count(&self, proposal: TransferId) -> usize {
        (self.polls.get(&proposal)).map_or(0, |poll| poll.ballots.len())
    }

    /// Whether something is paused.
    #[must_use]
    pub fn is_paused(&self, scope: Scope) -> bool {
        self.paused.contains(&scope)
    }

    /// Versions that were scheduled, by name.
    pub fn upgrades(&self) -> impl ExactSizeIterator<Item = (&str, &Upgrade)> {
        self.upgrades.iter().map(|(name, it)| (name.as_str(), it))
    }

    /// Agents that were deployed, by digest.
    pub fn agents(&self) -> impl ExactSizeIterator<Item = (Digest, &Agent)> {
        self.agents.iter().map(|(digest, agent)| (*digest, agent))
    }

    /// Resolutions, in order.
    #[must_use]
    pub fn resolutions(&self) -> &[Resolution] {
        &self.resolutions
    }

    /// Makes a finished draft part of the state it was made for.
    pub(crate) fn absorb(&mut self, changes: Changes) {
        let Changes {
            clock,
            weights,
            established,
            circulating,
            extra,
            total,
            members,
            stakes,
            holders,
            roles,
            reputations,
            own,
            received,
            delegations,
            upstream,
            proposals,
            ballots,
            diverted,
            live,
            drafts,
            closed,
            paused,
            upgrades,
            agents,
            resolutions,
        } = changes;
        self.clock = clock;
        self.weights = weights;
        self.established = established;
        self.circulating = circulating;
        self.extra = extra;
        self.total.absorb(total);
        self.members.extend(members);
        for (key, amount) in stakes {
            if amount.is_zero() {
                self.stakes.remove(&key);
            } else {
                self.stakes.insert(key, amount);
            }
        }
        self.roles.absorb(roles);
        self.reputations.absorb(reputations);
        self.own.absorb(own);
        self.received.absorb(received);
        self.delegations.absorb(delegations);
        for (key, upstream) in upstream {
            if upstream.is_empty() {
                self.upstream.remove(&key);
            } else {
                self.upstream.insert(key, upstream);
            }
        }
        self.proposals.extend(proposals);
        for ((proposal, voter), ballot) in ballots {
            let poll = self.polls.entry(proposal).or_default();
            poll.ballots.insert(voter, ballot);
            poll.diverted.remove(&voter);
        }
        for ((proposal, account), weight) in diverted {
            let poll = self.polls.entry(proposal).or_default();
            if !poll.ballots.contains_key(&account) {
                poll.diverted.insert(account, weight);
            }
        }
        for proposal in closed {
            self.polls.remove(&proposal);
        }
        put(&mut self.holders, holders);
        put(&mut self.live, live);
        put(&mut self.drafts, drafts);
        put(&mut self.paused, paused);
        self.upgrades.extend(upgrades);
        self.agents.extend(agents);
        self.resolutions.extend(resolutions);
    }
}

fn put<T>(place: &mut T, changed: Option<T>) {
    if let Some(changed) = changed {
        *place = changed;
    }
}

fn past(time: UnixMillis, now: UnixMillis) -> Result<(), DaoError> {
    if time >= now {
        return Err(DaoError::FutureLookup { time, now });
    }
    Ok(())
}

/// Own and received weight, and what those parts of both are.
fn standing(own: Weight, received: Weight, parts: &[Part]) -> Standing {
    let mut standing = Standing {
        own,
        received,
        passed_on: Weight::ZERO,
    };
    let power = standing.power();
    // Parts together are at most the whole.
    let passed_on = parts.iter().map(|part| part.of(power).0).sum();
    standing.passed_on = Weight(passed_on);
    standing
}
