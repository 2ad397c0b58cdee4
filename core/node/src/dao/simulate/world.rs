//! A governance of voters who do as they are told.

use fogcompute_base::{AccountId, Digest, TransferId, UnixMillis};
use fogcompute_ledger::Amount;
use fogcompute_ledger::dao::{
    Action, Choice, Content, Dao, DaoError, Holder, NoHost, Operation, ProposalKind, ProposalState,
    Role, Rules, Weight,
};

use super::{DaoCommandError, PARTS};

const TOPIC: ProposalKind = ProposalKind::General;

pub(super) struct World {
    dao: Dao,
    rules: Rules,
    now: u64,
    proposals: u64,
    stakes: u128,
    voters: usize,
    /// Accounts of an attacker, after those of the voters.
    attackers: u32,
}

/// What became of a proposal.
pub(super) struct Outcome {
    /// The part of all weight that took part.
    pub(super) part: f64,
    pub(super) quorum: bool,
    pub(super) passed: bool,
}

fn account(index: usize) -> AccountId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&(index as u64).to_be_bytes());
    AccountId::from_bytes(bytes)
}

/// Has nothing, and proposes what is tried.
const AUTHOR: AccountId = AccountId::from_bytes([0xaa; 16]);

impl World {
    /// The largest of the voters, who are in order, have the roles.
    pub(super) fn new(
        rules: Rules,
        stakes: &[u128],
        roles: &[(Role, u32)],
        attackers: u32,
    ) -> Result<Self, DaoCommandError> {
        let mut largest = 0..stakes.len();
        let mut holders = Vec::new();
        for &(role, count) in roles {
            let more = largest.by_ref().take(count as usize);
            holders.extend(more.map(|index| Holder {
                account: account(index),
                role,
            }));
        }
        let mut world = Self {
            dao: Dao::default(),
            // Whether somebody may propose is not what is tried.
            rules: Rules {
                proposal_threshold: Amount::ZERO,
                ..rules
            },
            now: 1,
            proposals: 0,
            stakes: 0,
            voters: stakes.len(),
            attackers,
        };
        let sum = stakes
            .iter()
            .try_fold(0, |sum: u128, stake| sum.checked_add(*stake));
        world.stakes = sum.ok_or(DaoCommandError::Untried(DaoError::WeightOverflow))?;
        let all = world.voters + attackers as usize;
        let (rules, sum) = (world.rules, world.stakes);
        world.change(|draft| {
            for index in 0..all {
                let account = account(index);
                let _ = draft.execute(&rules, &Operation::Enrol { account }, &NoHost)?;
            }
            for (index, stake) in stakes.iter().enumerate() {
                draft.set_tokens(account(index), Amount(*stake))?;
            }
            draft.set_weights(rules.weights)?;
            draft.set_circulating(Amount(sum))?;
            if holders.is_empty() {
                return Ok(());
            }
            let establish = Operation::Establish { roles: holders };
            draft.execute(&rules, &establish, &NoHost).map(drop)
        })?;
        Ok(world)
    }

    fn change<T>(
        &mut self,
        change: impl FnOnce(&mut fogcompute_ledger::dao::Draft<'_>) -> Result<T, DaoError>,
    ) -> Result<T, DaoCommandError> {
        let now = UnixMillis(self.now);
        self.dao
            .update(now, change)
            .map_err(DaoCommandError::Untried)
    }

    fn own(&self, voter: usize) -> Weight {
        self.dao.standing(account(voter), TOPIC).own
    }

    pub(super) fn weight(&self, voter: usize) -> f64 {
        self.own(voter).0 as f64
    }

    pub(super) fn total(&self) -> f64 {
        self.dao.total().0 as f64
    }

    /// Voters, the weightiest first.
    pub(super) fn by_weight(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.voters).collect();
        order.sort_by_key(|&voter| std::cmp::Reverse(self.own(voter)));
        order
    }

    /// Proposes something, has it voted on as soon as that is possible, and looks at what became
    /// of it.
    pub(super) fn vote(&mut self, votes: &[(usize, Choice)]) -> Result<Outcome, DaoCommandError> {
        self.now += 1;
        self.proposals += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.proposals.to_be_bytes());
        let (rules, proposal) = (self.rules, TransferId::from_bytes(id));
        let content = Content {
            kind: TOPIC,
            title: "a trial".to_owned(),
            description: String::new(),
            actions: vec![Action::Resolve {
                text: Digest::of(b"a trial"),
            }],
        };
        let propose = Operation::Propose {
            author: AUTHOR,
            proposal,
            content,
        };
        self.change(|draft| draft.execute(&rules, &propose, &NoHost).map(drop))?;
        self.now += rules.voting_delay_ms + 1;
        self.change(|draft| {
            votes.iter().try_for_each(|&(voter, choice)| {
                let vote = Operation::Vote {
                    voter: account(voter),
                    proposal,
                    choice,
                };
                draft.execute(&rules, &vote, &NoHost).map(drop)
            })
        })?;
        self.now += rules.voting_ms;
        let now = UnixMillis(self.now);
        let state = self.dao.state(proposal, now);
        let state = state.map_err(DaoCommandError::Untried)?;
        let record = self.dao.proposal(proposal);
        let (record, terms) = record
            .and_then(|record| Some((record, record.terms?)))
            .ok_or(DaoCommandError::UnknownProposal { proposal })?;
        let total = self.dao.past_total(terms.snapshot, now);
        let total = total.map_err(DaoCommandError::Untried)?;
        let power: u128 = Choice::ALL
            .map(|choice| record.power.of(choice).0)
            .iter()
            .sum();
        let outcome = Outcome {
            part: power as f64 / total.0 as f64,
            quorum: record.power.reaches(terms.quorum_of(total)),
            passed: state == ProposalState::Succeeded,
        };
        // Until nobody can queue it any more: so many may not wait.
        self.now += rules.grace_ms + 1;
        Ok(outcome)
    }

    /// Whether somebody who has so many of [`PARTS`] of all that circulates, in so many accounts,
    /// passes a proposal that others vote on as they do.
    pub(super) fn attack(
        &mut self,
        parts: u32,
        accounts: u32,
        others: &[(usize, Choice)],
    ) -> Result<bool, DaoCommandError> {
        let overflow = || DaoCommandError::Untried(DaoError::WeightOverflow);
        let rest = PARTS as u128 - u128::from(parts);
        let bought = self.stakes.checked_mul(u128::from(parts));
        let bought = bought.ok_or_else(overflow)?.div_ceil(rest);
        let first = self.voters;
        let attackers = first..first + self.attackers as usize;
        let each = bought.div_ceil(u128::from(accounts));
        let holding = |index: usize| match index - first < accounts as usize {
            true => each,
            false => 0,
        };
        let sum = (self.stakes).checked_add(each * u128::from(accounts));
        let sum = sum.ok_or_else(overflow)?;
        self.now += 1;
        self.change(|draft| {
            for index in attackers.clone() {
                draft.set_tokens(account(index), Amount(holding(index)))?;
            }
            draft.set_circulating(Amount(sum))
        })?;
        let theirs = attackers.filter(|&index| holding(index) > 0);
        let theirs = theirs.map(|index| (index, Choice::For));
        let votes: Vec<_> = others.iter().copied().chain(theirs).collect();
        Ok(self.vote(&votes)?.passed)
    }
}
