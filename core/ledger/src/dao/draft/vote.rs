//! Ballots, and the way of power to the first who votes.

use std::collections::HashMap;

use fogcompute_base::{AccountId, TransferId};

use super::Draft;
use crate::dao::graph::downstream;
use crate::dao::proposal::later;
use crate::dao::{
    Ballot, Choice, DaoError, EventKind, Proposal, ProposalKind, ProposalState, Terms, Weight,
};

/// A proposal under the vote in hand.
struct Count {
    proposal: TransferId,
    kind: ProposalKind,
    record: Proposal,
    terms: Terms,
    /// All weight at the snapshot.
    total: Weight,
}

impl Draft<'_> {
    /// Casts or changes a vote.
    pub(super) fn vote(
        &mut self,
        voter: AccountId,
        proposal: TransferId,
        choice: Choice,
    ) -> Result<EventKind, DaoError> {
        let mut count = self.counting(proposal)?;
        let quorum = count.terms.quorum_of(count.total);
        let reached_before = count.record.power.reaches(quorum);
        count.record.settle(&count.terms, self.now);
        let ballot = match self.ballot(proposal, voter) {
            Some(before) => {
                if before.choice == choice {
                    return Err(DaoError::AlreadyVoted {
                        proposal,
                        voter,
                        choice,
                    });
                }
                let limit = count.terms.vote_changes_max;
                if before.changes >= limit {
                    return Err(DaoError::TooManyChanges {
                        proposal,
                        voter,
                        limit,
                    });
                }
                count.record.count(&before, false);
                Ballot {
                    choice,
                    changes: before.changes + 1,
                    ..before
                }
            }
            None => {
                let power = self.power_on(&count, voter);
                if power.is_zero() {
                    return Err(DaoError::NoVotingPower { proposal, voter });
                }
                self.divert(&mut count, voter, power);
                self.counted(&count, voter, choice, power, 0)
            }
        };
        count.record.count(&ballot, true);
        self.changes.ballots.insert((proposal, voter), ballot);
        let mut record = count.record;
        if !reached_before && record.power.reaches(quorum) {
            let extended = later(self.now, count.terms.late_quorum_ms);
            record.deadline = record.deadline.max(extended);
        }
        let (power, deadline) = (ballot.power, record.deadline);
        self.put(proposal, record);
        Ok(EventKind::Voted {
            voter,
            proposal,
            choice,
            power,
            deadline,
        })
    }

    fn counting(&self, proposal: TransferId) -> Result<Count, DaoError> {
        let record = self.proposal(proposal)?.clone();
        let state = self.state_of(&record);
        let terms = match (state, record.terms) {
            (ProposalState::Active, Some(terms)) => terms,
            (ProposalState::Pending, Some(terms)) => {
                let snapshot = terms.snapshot;
                return Err(DaoError::VotingNotStarted { proposal, snapshot });
            }
            _ => return Err(DaoError::VotingOver { proposal, state }),
        };
        Ok(Count {
            proposal,
            kind: record.content.kind,
            total: self.total_at(terms.snapshot),
            record,
            terms,
        })
    }

    /// A ballot of that much power.
    fn counted(
        &self,
        count: &Count,
        voter: AccountId,
        choice: Choice,
        power: Weight,
        changes: u32,
    ) -> Ballot {
        let counted = power.min(count.terms.cap_of(count.total));
        let (tails, base) = (&self.changes.reputations, &self.base.reputations);
        let reputation = tails.at(base, voter, count.terms.snapshot);
        let reputation = reputation.copied().flatten();
        let reputation = reputation.unwrap_or(count.terms.reputation_default);
        Ballot {
            choice,
            power,
            counted,
            votes: count.terms.strategy().votes(counted, reputation),
            changes,
        }
    }

    /// What somebody who has not voted could vote with: all that reached it at the snapshot, but for
    /// what others have taken back.
    fn power_on(&self, count: &Count, voter: AccountId) -> Weight {
        let standing = self.standing_at(voter, count.kind, count.terms.snapshot);
        let diverted = self.diverted(count.proposal, voter);
        Weight(standing.power().0.saturating_sub(diverted.0))
    }

    /// Takes the power of a voter from those it was delegated to, up to the first on each way who
    /// has voted: all beyond have nothing of it.
    fn divert(&mut self, count: &mut Count, voter: AccountId, power: Weight) {
        let (proposal, kind, snapshot) = (count.proposal, count.kind, count.terms.snapshot);
        let mut losses: HashMap<AccountId, u128> = HashMap::new();
        let given = self.parts_at(voter, kind, snapshot).to_vec();
        for part in &given {
            losses.insert(part.to, part.of(power).0);
        }
        let order = downstream(given.iter().map(|part| part.to), |account| {
            if self.ballot(proposal, account).is_some() {
                Vec::new()
            } else {
                self.parts_at(account, kind, snapshot).to_vec()
            }
        });
        for account in order {
            let Some(loss) = losses.remove(&account).filter(|loss| *loss > 0) else {
                continue;
            };
            if let Some(before) = self.ballot(proposal, account) {
                count.record.count(&before, false);
                // What is lost was part of it.
                let left = Weight(before.power.0.saturating_sub(loss));
                let after = self.counted(count, account, before.choice, left, before.changes);
                count.record.count(&after, true);
                self.changes.ballots.insert((proposal, account), after);
                continue;
            }
            let before = self.power_on(count, account);
            let after = Weight(before.0.saturating_sub(loss));
            let diverted = self.diverted(proposal, account);
            let diverted = Weight(diverted.0.saturating_add(loss));
            self.changes.diverted.insert((proposal, account), diverted);
            for part in self.parts_at(account, kind, snapshot) {
                let loss = part.of(before).0 - part.of(after).0;
                *losses.entry(part.to).or_default() += loss;
            }
        }
    }

    fn ballot(&self, proposal: TransferId, voter: AccountId) -> Option<Ballot> {
        let changed = self.changes.ballots.get(&(proposal, voter)).copied();
        changed.or_else(|| self.base.ballot(proposal, voter))
    }

    fn diverted(&self, proposal: TransferId, account: AccountId) -> Weight {
        let changed = self.changes.diverted.get(&(proposal, account));
        let stored = || self.base.polls.get(&proposal)?.diverted.get(&account);
        changed.or_else(stored).copied().unwrap_or_default()
    }
}
