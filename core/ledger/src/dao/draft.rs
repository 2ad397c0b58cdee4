//! Operations and events worked out against a state, one after another, not yet part of it.

mod delegation;
mod scene;
mod vote;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fogcompute_base::{AccountId, Digest, NodeId, TransferId, UnixMillis};

use super::event::all_topics;
use super::graph::{Topic, Upstream};
use super::proposal::later;
use super::trace::Tails;
use super::{
    Action, ActionError, Agent, Ballot, Content, Corruption, Dao, DaoError, Effect, EventKind,
    Holder, Member, Operation, Part, Proposal, ProposalKind, ProposalState, Resolution, Role,
    Rules, Scope, Stage, Standing, Terms, Upgrade, Weight, Weights,
};
use crate::economy::EconomyError;
use crate::{Amount, Ppm};
use scene::Scene;

/// What only the host knows.
pub trait Checks {
    /// Whether parameters could be set to those values now, one after the other.
    ///
    /// # Errors
    /// The position of the first that cannot, from 0, and why.
    fn parameters(&self, changes: &[(&str, u128)]) -> Result<(), (usize, EconomyError)>;

    /// What a parameter is set to now, if there is such a one.
    fn parameter(&self, name: &str) -> Option<u128>;

    /// Whether the treasury could pay that much now.
    ///
    /// # Errors
    /// What it has.
    fn payable(&self, sum: Amount) -> Result<(), Amount>;

    /// Whether an account is somebody's: open, and no purse of the economy.
    fn account(&self, account: AccountId) -> bool;
}

/// A host without an economy: it has no parameters and an empty treasury, and knows every account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoHost;

impl Checks for NoHost {
    fn parameters(&self, changes: &[(&str, u128)]) -> Result<(), (usize, EconomyError)> {
        match changes.first() {
            None => Ok(()),
            Some(&(name, _)) => Err((
                0,
                EconomyError::UnknownParameter {
                    name: name.to_owned(),
                },
            )),
        }
    }

    fn parameter(&self, _name: &str) -> Option<u128> {
        None
    }

    fn payable(&self, sum: Amount) -> Result<(), Amount> {
        if sum.is_zero() {
            Ok(())
        } else {
            Err(Amount::ZERO)
        }
    }

    fn account(&self, _account: AccountId) -> bool {
        true
    }
}

/// What an operation did, and what its host must do with it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "the host must do what it asks for, or refuse the batch"]
pub struct Done {
    /// What happened.
    pub event: EventKind,
    /// What is left to do, in order. Only executions leave something.
    pub effects: Vec<Effect>,
}

/// What operations or events make of a state, not yet part of it.
///
/// Each sees what those before it have done. Only what is touched is copied, so that a draft costs
/// what its steps touch, however much the state holds. A step that is refused may have been done by
/// half: the draft is then of no more use.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    base: &'a Dao,
    now: UnixMillis,
    /// The state as it will be, where it differs.
    changes: Changes,
    /// Accounts that were enrolled since the host asked last.
    enrolled: Vec<AccountId>,
}

/// The finished draft: free of the state it was made for, which [`absorb`](Dao::absorb)s it.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    pub(super) clock: UnixMillis,
    pub(super) weights: Weights,
    pub(super) established: bool,
    pub(super) circulating: Weight,
    pub(super) extra: Weight,
    pub(super) total: Tails<(), Weight>,
    pub(super) members: BTreeMap<AccountId, Member>,
    /// None of something is nothing.
    pub(super) stakes: BTreeMap<(NodeId, AccountId), Amount>,
    pub(super) holders: Option<BTreeMap<AccountId, Role>>,
    pub(super) roles: Tails<AccountId, Role>,
    pub(super) reputations: Tails<AccountId, Option<Ppm>>,
    pub(super) own: Tails<AccountId, Weight>,
    pub(super) received: Tails<Topic, Weight>,
    pub(super) delegations: Tails<Topic, Vec<Part>>,
    pub(super) upstream: BTreeMap<Topic, Upstream>,
    pub(super) proposals: BTreeMap<TransferId, Proposal>,
    pub(super) ballots: BTreeMap<(TransferId, AccountId), Ballot>,
    pub(super) diverted: BTreeMap<(TransferId, AccountId), Weight>,
    pub(super) live: Option<BTreeSet<(UnixMillis, TransferId)>>,
    pub(super) drafts: Option<BTreeSet<(AccountId, TransferId)>>,
    /// Proposals that are over, whose ballots are forgotten.
    pub(super) closed: BTreeSet<TransferId>,
    pub(super) paused: Option<BTreeSet<Scope>>,
    pub(super) upgrades: BTreeMap<String, Upgrade>,
    pub(super) agents: BTreeMap<Digest, Agent>,
    pub(super) resolutions: Vec<Resolution>,
}

const FIRST_ACCOUNT: AccountId = AccountId::from_bytes([0; AccountId::LEN]);
const LAST_ACCOUNT: AccountId = AccountId::from_bytes([0xff; AccountId::LEN]);
const FIRST_ID: TransferId = TransferId::from_bytes([0; TransferId::LEN]);
const LAST_ID: TransferId = TransferId::from_bytes([0xff; TransferId::LEN]);

impl<'a> Draft<'a> {
    /// Nothing done yet; what is done first is done at the time `now`.
    pub(crate) fn new(base: &'a Dao, now: UnixMillis) -> Self {
        Self {
            base,
            now,
            changes: Changes {
                clock: base.clock,
                weights: base.weights,
                established: base.established,
                circulating: base.circulating,
                extra: base.extra,
                total: Tails::default(),
                members: BTreeMap::new(),
                stakes: BTreeMap::new(),
                holders: None,
                roles: Tails::default(),
                reputations: Tails::default(),
                own: Tails::default(),
                received: Tails::default(),
                delegations: Tails::default(),
                upstream: BTreeMap::new(),
                proposals: BTreeMap::new(),
                ballots: BTreeMap::new(),
                diverted: BTreeMap::new(),
                live: None,
                drafts: None,
                closed: BTreeSet::new(),
                paused: None,
                upgrades: BTreeMap::new(),
                agents: BTreeMap::new(),
                resolutions: Vec::new(),
            },
            enrolled: Vec::new(),
        }
    }

    /// Does what an operation asks, under those rules.
    ///
    /// Accounts it enrols have nothing until the host says otherwise: see
    /// [`take_enrolled`](Self::take_enrolled).
    ///
    /// # Errors
    /// Any [`DaoError`]; the draft is of no more use then.
    pub fn execute(
        &mut self,
        rules: &Rules,
        operation: &Operation,
        checks: &dyn Checks,
    ) -> Result<Done, DaoError> {
        self.begin()?;
        let wish = self.wish(rules, operation, checks)?;
        self.effect(wish)
    }

    /// Takes in an event that happened: works it out again and compares the effects. Rules are not
    /// asked, so a journal replays whatever they have become. Returns what the host had to do.
    ///
    /// # Errors
    /// [`Corruption::Impossible`], [`Corruption::Inconsistent`]; the draft is of no more use then.
    pub fn repeat(&mut self, event: &EventKind) -> Result<Vec<Effect>, Corruption> {
        let impossible = |reason| Corruption::Impossible {
            reason: Box::new(reason),
        };
        self.begin().map_err(impossible)?;
        let done = self.effect(event.clone()).map_err(impossible)?;
        if done.event == *event {
            Ok(done.effects)
        } else {
            Err(Corruption::Inconsistent)
        }
    }

    /// Accounts that were enrolled since this was asked last, each once. The host then says what
    /// they have: [`set_tokens`](Self::set_tokens), [`set_stake`](Self::set_stake) for each operator.
    pub fn take_enrolled(&mut self) -> Vec<AccountId> {
        std::mem::take(&mut self.enrolled)
    }

    /// Goes on at another time. One before the last change is found by the next operation.
    pub(crate) const fn set_time(&mut self, now: UnixMillis) {
        self.now = now;
    }

    /// Says that the host did something at the time set: nothing is asked for an earlier one.
    pub(crate) fn tick(&mut self) {
        self.changes.clock = self.now.max(self.changes.clock);
    }

    /// Whether anybody is enrolled.
    pub(crate) fn has_members(&self) -> bool {
        self.base.member_count() > 0 || !self.changes.members.is_empty()
    }

    /// Whether founding roles were given.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        self.changes.established
    }

    /// How much circulates, as far as the host said.
    pub(crate) const fn circulating(&self) -> Weight {
        self.changes.circulating
    }

    /// Whether an account is enrolled.
    #[must_use]
    pub fn is_enrolled(&self, account: AccountId) -> bool {
        self.member(account).is_some()
    }

    /// Whether something is paused.
    #[must_use]
    pub fn is_paused(&self, scope: Scope) -> bool {
        self.paused().contains(&scope)
    }

    /// The enrolled accounts that have something staked on an operator, for the host to value anew
    /// after a slash.
    #[must_use]
    pub fn stakers(&self, operator: NodeId) -> Vec<AccountId> {
        let range = (operator, FIRST_ACCOUNT)..=(operator, LAST_ACCOUNT);
        let mut found: BTreeSet<_> = self.base.stakers(operator).collect();
        for (&(_, account), amount) in self.changes.stakes.range(range) {
            if amount.is_zero() {
                found.remove(&account);
            } else {
                found.insert(account);
            }
        }
        found.into_iter().collect()
    }

    /// Says what an account holds. Nothing happens if it is not enrolled.
    ///
    /// If the time is before the last change, it counts from that on.
    ///
    /// # Errors
    /// [`DaoError::WeightOverflow`]; the draft is of no more use then.
    pub fn set_tokens(&mut self, account: AccountId, tokens: Amount) -> Result<(), DaoError> {
        let Some(mut member) = self.member(account) else {
            return Ok(());
        };
        if member.tokens == tokens {
            return Ok(());
        }
        member.tokens = tokens;
        self.weigh(account, member)
    }

    /// Says what an account's stake on an operator is worth. Nothing happens if it is not enrolled.
    ///
    /// # Errors
    /// [`DaoError::WeightOverflow`]; the draft is of no more use then.
    pub fn set_stake(
        &mut self,
        operator: NodeId,
        account: AccountId,
        worth: Amount,
    ) -> Result<(), DaoError> {
        let Some(mut member) = self.member(account) else {
            return Ok(());
        };
        let key = (operator, account);
        let before = (self.changes.stakes.get(&key)).or_else(|| self.base.stakes.get(&key));
        let before = before.copied().unwrap_or_default();
        if before == worth {
            return Ok(());
        }
        let others = member.staked.checked_sub(before);
        let staked = others.and_then(|others| others.checked_add(worth));
        member.staked = staked.ok_or(DaoError::WeightOverflow)?;
        self.changes.stakes.insert(key, worth);
        self.weigh(account, member)
    }

    /// Says what everybody holds and has staked, enrolled or not: what circulates.
    ///
    /// # Errors
    /// [`DaoError::WeightOverflow`]; the draft is of no more use then.
    pub fn set_circulating(&mut self, circulating: Amount) -> Result<(), DaoError> {
        if self.changes.circulating.0 == circulating.0 {
            return Ok(());
        }
        self.changes.circulating = Weight(circulating.0);
        self.sum_up()
    }

    /// Sets what roles weigh from now on; all who have one are weighed anew.
    ///
    /// # Errors
    /// [`DaoError::WeightOverflow`]; the draft is of no more use then.
    pub fn set_weights(&mut self, weights: Weights) -> Result<(), DaoError> {
        if self.changes.weights == weights {
            return Ok(());
        }
        self.changes.weights = weights;
        let holders: Vec<_> = self.holders().keys().copied().collect();
        for account in holders {
            let member = self.member(account).unwrap_or_default();
            self.weigh(account, member)?;
        }
        Ok(())
    }

    /// What is to be taken in by the state this was made for.
    pub(crate) fn finish(self) -> Changes {
        self.changes
    }

    /// Checks the clock, and forgets the ballots of what is over by now.
    fn begin(&mut self) -> Result<(), DaoError> {
        let (now, last) = (self.now, self.changes.clock);
        if now < last {
            return Err(DaoError::ClockBehind { now, last });
        }
        self.changes.clock = now;
        // At most `Rules::live_max` of them.
        let due: Vec<_> = (self.live().iter())
            .take_while(|(until, _)| *until < now)
            .copied()
            .collect();
        for (until, proposal) in due {
            let record = self.proposal(proposal)?.clone();
            let state = self.state_of(&record);
            let live = self.live_mut();
            live.remove(&(until, proposal));
            if state.is_final() {
                self.changes.closed.insert(proposal);
            } else {
                live.insert((certain_until(&record, state), proposal));
            }
        }
        Ok(())
    }

    /// What an operation asks for, as far as rules and the host decide about it.
    fn wish(
        &self,
        rules: &Rules,
        operation: &Operation,
        checks: &dyn Checks,
    ) -> Result<EventKind, DaoError> {
        Ok(match operation {
            Operation::Establish { roles } => {
                let limit = rules.role_holders_max;
                if roles.len() > limit as usize {
                    return Err(DaoError::TooManyRoleHolders { limit });
                }
                for holder in roles {
                    known(checks, holder.account)?;
                }
                EventKind::Established {
                    roles: roles.clone(),
                }
            }
            &Operation::Enrol { account } => {
                known(checks, account)?;
                EventKind::Enrolled { account }
            }
            Operation::Delegate { voter, topics, to } => {
                known(checks, *voter)?;
                for part in to {
                    known(checks, part.to)?;
                }
                let topics = all_topics(topics);
                self.sound_parts(*voter, &topics, to)?;
                for &topic in &topics {
                    self.no_circle(*voter, topic, to)?;
                    self.within_reach(rules, *voter, topic, to)?;
                }
                EventKind::Delegated {
                    voter: *voter,
                    topics,
                    to: to.clone(),
                }
            }
            &Operation::SetReputation {
                account,
                reputation,
            } => {
                known(checks, account)?;
                EventKind::ReputationSet {
                    account,
                    reputation,
                }
            }
            Operation::Draft {
                author,
                proposal,
                content,
            } => {
                content.validate()?;
                self.is_new(*proposal)?;
                self.may_propose(rules, *author, content.kind)?;
                let limit = rules.drafts_per_author_max;
                let author = *author;
                let range = (author, FIRST_ID)..=(author, LAST_ID);
                if self.drafts().range(range).count() >= limit as usize {
                    return Err(DaoError::TooManyDraftsOfAuthor { author, limit });
                }
                let limit = rules.drafts_max;
                if self.drafts().len() >= limit as usize {
                    return Err(DaoError::TooManyDrafts { limit });
                }
                EventKind::Drafted {
                    author,
                    proposal: *proposal,
                    content: content.clone(),
                }
            }
            &Operation::Submit { author, proposal } => {
                let record = self.draft_of(author, proposal)?;
                let terms = self.submit(rules, author, &record.content, checks)?;
                EventKind::Submitted {
                    author,
                    proposal,
                    terms,
                }
            }
            Operation::Propose {
                author,
                proposal,
                content,
            } => {
                content.validate()?;
                self.is_new(*proposal)?;
                let terms = self.submit(rules, *author, content, checks)?;
                EventKind::Proposed {
                    author: *author,
                    proposal: *proposal,
                    content: content.clone(),
                    terms,
                }
            }
            &Operation::Vote {
                voter,
                proposal,
                choice,
            } => EventKind::Voted {
                voter,
                proposal,
                choice,
                power: Weight::ZERO,
                deadline: UnixMillis(0),
            },
            &Operation::Cancel { by, proposal } => EventKind::Cancelled { by, proposal },
            &Operation::Queue { proposal } => EventKind::Queued {
                proposal,
                eta: UnixMillis(0),
            },
            &Operation::Execute { proposal } => {
                let content = Arc::clone(&self.executable(proposal)?.content);
                let failed = failed(proposal);
                let scene = Scene::play(self, proposal, &content, rules.role_holders_max, self.now)
                    .map_err(&failed)?;
                scene.allowed_by(checks, &content).map_err(&failed)?;
                EventKind::Executed { proposal }
            }
        })
    }

    /// Does what an event asks. Its effects are ignored; it is returned with those it has.
    fn effect(&mut self, wish: EventKind) -> Result<Done, DaoError> {
        let mut effects = Vec::new();
        let event = match wish {
            EventKind::Established { roles } => {
                self.establish(&roles)?;
                EventKind::Established { roles }
            }
            EventKind::Enrolled { account } => {
                if self.is_enrolled(account) {
                    return Err(DaoError::AlreadyEnrolled { account });
                }
                self.enrol(account);
                EventKind::Enrolled { account }
            }
            EventKind::Delegated { voter, topics, to } => {
                self.sound_parts(voter, &topics, &to)?;
                self.delegate(voter, &topics, &to)?;
                EventKind::Delegated { voter, topics, to }
            }
            EventKind::ReputationSet {
                account,
                reputation,
            } => {
                let known = self
                    .changes
                    .reputations
                    .last(&self.base.reputations, account);
                if known.copied().flatten() == Some(reputation) {
                    return Err(DaoError::ReputationUnchanged {
                        account,
                        reputation,
                    });
                }
                let (base, now) = (&self.base.reputations, self.now);
                (self.changes.reputations).push(base, account, now, Some(reputation));
                EventKind::ReputationSet {
                    account,
                    reputation,
                }
            }
            EventKind::Drafted {
                author,
                proposal,
                content,
            } => {
                content.validate()?;
                self.is_new(proposal)?;
                let record = Proposal::new(author, Arc::new(content.clone()), None);
                self.changes.proposals.insert(proposal, record);
                self.drafts_mut().insert((author, proposal));
                EventKind::Drafted {
                    author,
                    proposal,
                    content,
                }
            }
            EventKind::Submitted {
                author,
                proposal,
                terms,
            } => {
                let content = Arc::clone(&self.draft_of(author, proposal)?.content);
                self.drafts_mut().remove(&(author, proposal));
                let terms = self.open(author, proposal, content, terms);
                EventKind::Submitted {
                    author,
                    proposal,
                    terms,
                }
            }
            EventKind::Proposed {
                author,
                proposal,
                content,
                terms,
            } => {
                content.validate()?;
                self.is_new(proposal)?;
                let terms = self.open(author, proposal, Arc::new(content.clone()), terms);
                EventKind::Proposed {
                    author,
                    proposal,
                    content,
                    terms,
                }
            }
            EventKind::Voted {
                voter,
                proposal,
                choice,
                ..
            } => self.vote(voter, proposal, choice)?,
            EventKind::Cancelled { by, proposal } => {
                self.cancel(by, proposal)?;
                EventKind::Cancelled { by, proposal }
            }
            EventKind::Queued { proposal, .. } => {
                let mut record = self.proposal(proposal)?.clone();
                let state = self.state_of(&record);
                let (ProposalState::Succeeded, Some(terms)) = (state, record.terms) else {
                    return Err(DaoError::NotSucceeded { proposal, state });
                };
                let eta = later(self.now, terms.timelock_ms);
                record.stage = Stage::Queued { eta };
                self.put(proposal, record);
                EventKind::Queued { proposal, eta }
            }
            EventKind::Executed { proposal } => {
                effects = self.carry_out(proposal)?;
                EventKind::Executed { proposal }
            }
        };
        Ok(Done { event, effects })
    }

    fn establish(&mut self, roles: &[Holder]) -> Result<(), DaoError> {
        if self.changes.established || !self.holders().is_empty() {
            return Err(DaoError::AlreadyEstablished);
        }
        if roles.is_empty() {
            return Err(DaoError::NoRoles);
        }
        let mut holders = BTreeMap::new();
        for &Holder { account, role } in roles {
            if role == Role::Citizen {
                return Err(DaoError::RoleIsCitizen { account });
            }
            if holders.insert(account, role).is_some() {
                return Err(DaoError::RoleRepeated { account });
            }
        }
        self.changes.established = true;
        self.set_holders(holders)
    }

    /// Gives everybody the role they are to have.
    fn set_holders(&mut self, holders: BTreeMap<AccountId, Role>) -> Result<(), DaoError> {
        let before = self.holders();
        let touched: BTreeSet<_> = before.keys().chain(holders.keys()).copied().collect();
        let role = |of: &BTreeMap<_, _>, account| of.get(&account).copied().unwrap_or_default();
        let changed: Vec<(_, Role)> = (touched.into_iter())
            .filter(|&account| role(before, account) != role(&holders, account))
            .map(|account| (account, role(&holders, account)))
            .collect();
        self.changes.holders = Some(holders);
        for (account, role) in changed {
            if !self.is_enrolled(account) {
                self.enrol(account);
            }
            let (base, now) = (&self.base.roles, self.now);
            self.changes.roles.push(base, account, now, role);
            let member = self.member(account).unwrap_or_default();
            self.weigh(account, member)?;
        }
        Ok(())
    }

    fn enrol(&mut self, account: AccountId) {
        self.changes.members.insert(account, Member::default());
        self.enrolled.push(account);
    }

    /// Records what an account weighs with what it has, and passes the difference on.
    fn weigh(&mut self, account: AccountId, mut member: Member) -> Result<(), DaoError> {
        let units = member.tokens.checked_add(member.staked);
        let units = units.ok_or(DaoError::WeightOverflow)?.0;
        let role = self.holders().get(&account).copied().unwrap_or_default();
        let weight = self.changes.weights.weigh(role, units);
        let weight = weight.ok_or(DaoError::WeightOverflow)?;
        // No role weighs less than a citizen.
        let extra = Weight(weight.0 - units);
        let before = self.own(account);
        if extra != member.extra {
            let others = self.changes.extra.0 - member.extra.0;
            let sum = others.checked_add(extra.0);
            self.changes.extra = Weight(sum.ok_or(DaoError::WeightOverflow)?);
            member.extra = extra;
            self.sum_up()?;
        }
        self.changes.members.insert(account, member);
        let now = self.changes_from();
        self.changes.own.push(&self.base.own, account, now, weight);
        if before != weight && member.delegates_on != 0 {
            for topic in ProposalKind::ALL {
                if member.delegates_on & topic.bit() != 0 {
                    self.pass_on_own(account, topic, before, weight)?;
                }
            }
        }
        Ok(())
    }

    fn sum_up(&mut self) -> Result<(), DaoError> {
        let sum = self.changes.circulating.0.checked_add(self.changes.extra.0);
        let sum = Weight(sum.ok_or(DaoError::WeightOverflow)?);
        let now = self.changes_from();
        self.changes.total.push(&self.base.total, (), now, sum);
        Ok(())
    }

    /// When a change told by the host counts from, and the last change there is then.
    fn changes_from(&mut self) -> UnixMillis {
        self.changes.clock = self.now.max(self.changes.clock);
        self.changes.clock
    }

    fn is_new(&self, proposal: TransferId) -> Result<(), DaoError> {
        match self.proposal(proposal) {
            Ok(_) => Err(DaoError::ProposalExists { proposal }),
            Err(_) => Ok(()),
        }
    }

    fn draft_of(&self, by: AccountId, proposal: TransferId) -> Result<&Proposal, DaoError> {
        let record = self.proposal(proposal)?;
        let (author, state) = (record.author, self.state_of(record));
        if state != ProposalState::Draft {
            return Err(DaoError::NotADraft { proposal, state });
        }
        if author != by {
            return Err(DaoError::NotTheAuthor {
                proposal,
                author,
                by,
            });
        }
        Ok(record)
    }

    fn may_propose(
        &self,
        rules: &Rules,
        author: AccountId,
        kind: ProposalKind,
    ) -> Result<(), DaoError> {
        let threshold = rules.path(kind).threshold;
        // Before this millisecond, so that nothing borrowed within it counts.
        let weight = match self.now.0.checked_sub(1) {
            Some(before) => self.standing_at(author, kind, UnixMillis(before)).kept(),
            None => Weight::ZERO,
        };
        if weight.0 < threshold.0 {
            return Err(DaoError::ThresholdNotMet {
                author,
                weight,
                threshold,
            });
        }
        Ok(())
    }

    /// The terms of a proposal that may be submitted.
    fn submit(
        &self,
        rules: &Rules,
        author: AccountId,
        content: &Content,
        checks: &dyn Checks,
    ) -> Result<Terms, DaoError> {
        self.may_propose(rules, author, content.kind)?;
        let limit = rules.live_max;
        if self.live().len() >= limit as usize {
            return Err(DaoError::TooManyProposals { limit });
        }
        let limit = rules.live_per_author_max;
        let of_author = (self.live().iter())
            .filter_map(|(_, proposal)| self.proposal(*proposal).ok())
            .filter(|record| record.author == author);
        if of_author.count() >= limit as usize {
            return Err(DaoError::TooManyProposalsOfAuthor { author, limit });
        }
        let terms = Terms::new(rules, &rules.path(content.kind), self.now);
        let earliest = later(terms.deadline, terms.timelock_ms);
        let invalid = |(index, reason): (usize, ActionError)| DaoError::ActionInvalid {
            index,
            reason: Box::new(reason),
        };
        // The proposal has no name yet, and needs none to be tried.
        let scene = Scene::play(self, FIRST_ID, content, rules.role_holders_max, earliest);
        scene
            .and_then(|scene| scene.allowed_by(checks, content))
            .and_then(|()| scene::meant(content, checks))
            .map_err(invalid)?;
        Ok(terms)
    }

    /// Opens a proposal under those terms, none of which may be in the past.
    fn open(
        &mut self,
        author: AccountId,
        proposal: TransferId,
        content: Arc<Content>,
        mut terms: Terms,
    ) -> Terms {
        terms.snapshot = terms.snapshot.max(self.now);
        terms.deadline = terms.deadline.max(terms.snapshot);
        self.put(proposal, Proposal::new(author, content, Some(terms)));
        terms
    }

    fn cancel(&mut self, by: AccountId, proposal: TransferId) -> Result<(), DaoError> {
        let mut record = self.proposal(proposal)?.clone();
        let state = self.state_of(&record);
        let own =
            record.author == by && matches!(state, ProposalState::Draft | ProposalState::Pending);
        if state.is_final() || !(own || self.guards(by)) {
            return Err(DaoError::CancelRefused {
                proposal,
                by,
                state,
            });
        }
        if state == ProposalState::Draft {
            self.drafts_mut().remove(&(record.author, proposal));
        }
        record.stage = Stage::Cancelled { time: self.now, by };
        self.put(proposal, record);
        Ok(())
    }

    /// Whether an account is a guardian and was one before this millisecond.
    fn guards(&self, account: AccountId) -> bool {
        let role = self.holders().get(&account).copied().unwrap_or_default();
        let before = self.now.0.checked_sub(1).and_then(|time| {
            let (tails, base) = (&self.changes.roles, &self.base.roles);
            tails.at(base, account, UnixMillis(time))
        });
        role.guards() && before.is_some_and(|before| before.guards())
    }

    /// A proposal whose time to be executed has come.
    fn executable(&self, proposal: TransferId) -> Result<&Proposal, DaoError> {
        let record = self.proposal(proposal)?;
        let state = self.state_of(record);
        match record.stage {
            Stage::Queued { eta } if state == ProposalState::Queued => {
                if self.now < eta {
                    return Err(DaoError::TimelockRunning { proposal, eta });
                }
                Ok(record)
            }
            _ => Err(DaoError::NotQueued { proposal, state }),
        }
    }

    /// Does what a proposal says, and returns what is left to the host.
    fn carry_out(&mut self, proposal: TransferId) -> Result<Vec<Effect>, DaoError> {
        let mut record = self.executable(proposal)?.clone();
        // Who may have a role was asked when it was executed.
        let scene = Scene::play(self, proposal, &record.content, u32::MAX, self.now)
            .map_err(failed(proposal))?;
        let Scene {
            holders,
            paused,
            upgrades,
            agents,
            resolutions,
            effects,
            ..
        } = scene;
        self.changes.paused = Some(paused);
        self.changes.upgrades.extend(upgrades);
        self.changes.agents.extend(agents);
        self.changes.resolutions.extend(resolutions);
        self.set_holders(holders)?;
        record.stage = Stage::Executed { time: self.now };
        self.put(proposal, record);
        Ok(effects)
    }

    /// Records a proposal, and until when it is certainly not over.
    fn put(&mut self, proposal: TransferId, record: Proposal) {
        let before = self.proposal(proposal).ok().map(|before| {
            let state = self.state_of(before);
            certain_until(before, state)
        });
        let state = self.state_of(&record);
        let live = state != ProposalState::Draft && !state.is_final();
        let until = certain_until(&record, state);
        if !(live && before == Some(until) && self.live().contains(&(until, proposal))) {
            let index = self.live_mut();
            if let Some(before) = before {
                index.remove(&(before, proposal));
            }
            if live {
                index.insert((until, proposal));
            } else if state.is_final() {
                self.changes.closed.insert(proposal);
            }
        }
        self.changes.proposals.insert(proposal, record);
    }

    fn member(&self, account: AccountId) -> Option<Member> {
        let changed = self.changes.members.get(&account);
        changed.or_else(|| self.base.members.get(&account)).copied()
    }

    fn holders(&self) -> &BTreeMap<AccountId, Role> {
        self.changes.holders.as_ref().unwrap_or(&self.base.holders)
    }

    fn paused(&self) -> &BTreeSet<Scope> {
        self.changes.paused.as_ref().unwrap_or(&self.base.paused)
    }

    fn live(&self) -> &BTreeSet<(UnixMillis, TransferId)> {
        self.changes.live.as_ref().unwrap_or(&self.base.live)
    }

    fn live_mut(&mut self) -> &mut BTreeSet<(UnixMillis, TransferId)> {
        let base = &self.base.live;
        self.changes.live.get_or_insert_with(|| base.clone())
    }

    fn drafts(&self) -> &BTreeSet<(AccountId, TransferId)> {
        self.changes.drafts.as_ref().unwrap_or(&self.base.drafts)
    }

    fn drafts_mut(&mut self) -> &mut BTreeSet<(AccountId, TransferId)> {
        let base = &self.base.drafts;
        self.changes.drafts.get_or_insert_with(|| base.clone())
    }

    fn proposal(&self, proposal: TransferId) -> Result<&Proposal, DaoError> {
        let changed = self.changes.proposals.get(&proposal);
        changed
            .or_else(|| self.base.proposals.get(&proposal))
            .ok_or(DaoError::UnknownProposal { proposal })
    }

    fn state_of(&self, record: &Proposal) -> ProposalState {
        record.state(self.now, || {
            (record.terms).map_or(Weight::ZERO, |terms| self.total_at(terms.snapshot))
        })
    }

    fn total_at(&self, time: UnixMillis) -> Weight {
        let total = self.changes.total.at(&self.base.total, (), time);
        total.copied().unwrap_or_default()
    }

    fn own(&self, account: AccountId) -> Weight {
        let own = self.changes.own.last(&self.base.own, account);
        own.copied().unwrap_or_default()
    }

    fn standing_at(&self, account: AccountId, topic: ProposalKind, time: UnixMillis) -> Standing {
        let key = (account, topic);
        let own = self.changes.own.at(&self.base.own, account, time);
        let received = self.changes.received.at(&self.base.received, key, time);
        super::standing(
            own.copied().unwrap_or_default(),
            received.copied().unwrap_or_default(),
            self.parts_at(account, topic, time),
        )
    }

    fn parts_at(&self, account: AccountId, topic: ProposalKind, time: UnixMillis) -> &[Part] {
        let key = (account, topic);
        let parts = self
            .changes
            .delegations
            .at(&self.base.delegations, key, time);
        parts.map_or(&[], Vec::as_slice)
    }
}

/// The last millisecond in which a proposal that is not over is certainly not.
fn certain_until(record: &Proposal, state: ProposalState) -> UnixMillis {
    let grace = record.terms.map_or(0, |terms| terms.grace_ms);
    match (record.stage, state) {
        (Stage::Queued { eta }, _) => later(eta, grace),
        (_, ProposalState::Succeeded) => later(record.deadline, grace),
        _ => record.deadline,
    }
}

fn known(checks: &dyn Checks, account: AccountId) -> Result<(), DaoError> {
    if checks.account(account) {
        Ok(())
    } else {
        Err(DaoError::UnknownAccount { account })
    }
}

fn failed(proposal: TransferId) -> impl Fn((usize, ActionError)) -> DaoError {
    move |(index, reason)| DaoError::ActionFailed {
        proposal,
        index,
        reason: Box::new(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dao::Choice;

    fn account(n: u16) -> AccountId {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        AccountId::from_bytes(bytes)
    }

    fn all_to(voter: u16, to: u16) -> Operation {
        Operation::Delegate {
            voter: account(voter),
            topics: vec![ProposalKind::General],
            to: vec![Part {
                to: account(to),
                part: Ppm::WHOLE,
            }],
        }
    }

    /// Five hundred who delegate to one, who delegates to another, who delegates to a third.
    fn popular() -> Dao {
        let mut dao = Dao::default();
        let made = dao.update(UnixMillis(1), |draft| {
            for voter in 10..510 {
                let _ = draft.execute(&Rules::default(), &all_to(voter, 1), &NoHost)?;
                draft.set_tokens(account(voter), Amount(1_000))?;
            }
            for voter in 1..3 {
                let _ = draft.execute(&Rules::default(), &all_to(voter, voter + 1), &NoHost)?;
            }
            draft.set_circulating(Amount(500_000))
        });
        assert_eq!(made, Ok(()));
        dao
    }

    #[test]
    fn an_update_touches_what_lies_downstream_and_nobody_upstream() {
        let dao = popular();
        let mut draft = dao.draft(UnixMillis(2));
        draft.set_tokens(account(77), Amount(1_001)).unwrap();
        assert_eq!(draft.changes.members.len(), 1);
        assert_eq!(draft.changes.own.len(), 1);
        assert_eq!(draft.changes.received.len(), 3);
        let mut draft = dao.draft(UnixMillis(2));
        let _ = draft
            .execute(&Rules::default(), &all_to(77, 4), &NoHost)
            .unwrap();
        assert_eq!(draft.changes.received.len(), 4);
        assert_eq!(draft.changes.upstream.len(), 2);
        assert_eq!(draft.changes.delegations.len(), 1);
        // A delegate that takes its own way moves all it has received, at the same cost.
        let mut draft = dao.draft(UnixMillis(2));
        let _ = draft
            .execute(&Rules::default(), &all_to(1, 4), &NoHost)
            .unwrap();
        assert_eq!(draft.changes.received.len(), 3);
        assert_eq!(draft.changes.delegations.len(), 1);
    }

    #[test]
    fn a_vote_touches_ballots_downstream_and_nobody_upstream() {
        let mut dao = popular();
        let proposal = TransferId::from_bytes([1; 16]);
        let rules = Rules {
            proposal_threshold: Amount::ZERO,
            voting_delay_ms: 1,
            voter_share_max: Ppm::WHOLE,
            ..Rules::default()
        };
        let propose = Operation::Propose {
            author: account(9),
            proposal,
            content: Content {
                kind: ProposalKind::General,
                title: "A".to_owned(),
                description: String::new(),
                actions: vec![Action::Resolve {
                    text: Digest::of(b"x"),
                }],
            },
        };
        let vote = |voter, choice| Operation::Vote {
            voter: account(voter),
            proposal,
            choice,
        };
        let done = dao.update(UnixMillis(2), |draft| {
            draft.execute(&rules, &propose, &NoHost)
        });
        assert!(done.is_ok());
        let mut draft = dao.draft(UnixMillis(4));
        let _ = draft
            .execute(&rules, &vote(1, Choice::For), &NoHost)
            .unwrap();
        assert_eq!(draft.changes.ballots.len(), 1);
        // Those it goes on to have not voted.
        assert_eq!(draft.changes.diverted.len(), 2);
        let changes = draft.finish();
        dao.absorb(changes);
        let mut draft = dao.draft(UnixMillis(5));
        let _ = draft
            .execute(&rules, &vote(77, Choice::Against), &NoHost)
            .unwrap();
        assert_eq!(draft.changes.ballots.len(), 2);
        // The first on the way has voted: beyond it, nothing is lost.
        assert_eq!(draft.changes.diverted.len(), 0);
        let changes = draft.finish();
        dao.absorb(changes);
        let tally = dao.proposal(proposal).unwrap().power;
        assert_eq!(
            (tally.in_favor, tally.against),
            (Weight(499_000), Weight(1_000))
        );
    }

    #[test]
    fn who_is_enrolled_is_told_once() {
        let dao = Dao::default();
        let mut draft = dao.draft(UnixMillis(1));
        let _ = draft
            .execute(&Rules::default(), &all_to(1, 2), &NoHost)
            .unwrap();
        let _ = draft
            .execute(&Rules::default(), &all_to(1, 3), &NoHost)
            .unwrap();
        assert_eq!(draft.take_enrolled(), [account(1)]);
        assert_eq!(draft.take_enrolled(), []);
        // Who only receives is not.
        assert!(!draft.is_enrolled(account(2)));
    }

    #[test]
    fn stakers_are_those_of_the_state_and_of_the_draft() {
        let mut dao = Dao::default();
        let operator = NodeId::from_bytes([1; 32]);
        let enrol = |n| Operation::Enrol {
            account: account(n),
        };
        let staked = dao.update(UnixMillis(1), |draft| {
            for n in 1..4 {
                let _ = draft.execute(&Rules::default(), &enrol(n), &NoHost)?;
            }
            draft.set_stake(operator, account(1), Amount(5))?;
            draft.set_stake(operator, account(2), Amount(5))
        });
        assert_eq!(staked, Ok(()));
        let mut draft = dao.draft(UnixMillis(2));
        draft.set_stake(operator, account(1), Amount::ZERO).unwrap();
        draft.set_stake(operator, account(3), Amount(1)).unwrap();
        assert_eq!(draft.stakers(operator), [account(2), account(3)]);
        assert_eq!(draft.stakers(NodeId::from_bytes([2; 32])), []);
    }
}
