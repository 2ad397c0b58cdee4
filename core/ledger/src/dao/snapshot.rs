//! The whole state in rows, and whether it adds up.

mod codec;

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use fogcompute_base::{AccountId, Digest, NodeId, TransferId, UnixMillis};
use serde::{Deserialize, Serialize};

use super::flows::{Delegations, Flows};
use super::graph::{Topic, Upstream};
use super::proposal::later;
use super::trace::{Checkpoint, Trace, Traces};
use super::{
    Agent, Ballot, Corruption, DELEGATES_MAX, Dao, Member, Part, Poll, Proposal, ProposalKind,
    ProposalState, Resolution, Role, Scope, Stage, Tally, Upgrade, Weight, Weights,
};
use crate::{Amount, Ppm};

/// The whole state, in rows: for a store to keep. Each list is in the order of its keys.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The time of the last change.
    pub clock: UnixMillis,
    /// What roles weigh.
    pub weights: Weights,
    /// Whether founding roles were given.
    pub established: bool,
    /// What circulates.
    pub circulating: Weight,
    /// All weight, since when.
    pub total: Vec<(UnixMillis, Weight)>,
    /// Enrolled accounts.
    pub members: Vec<MemberRow>,
    /// What their stakes are worth, by operator.
    pub stakes: Vec<StakeRow>,
    /// Roles, since when.
    pub roles: Vec<RoleRow>,
    /// Reputations, since when.
    pub reputations: Vec<ReputationRow>,
    /// What enrolled accounts weigh themselves, since when.
    pub own: Vec<OwnRow>,
    /// What accounts have received on a topic, since when.
    pub received: Vec<ReceivedRow>,
    /// What accounts delegate on a topic, since when.
    pub delegations: Vec<DelegationRow>,
    /// Proposals.
    pub proposals: Vec<ProposalRow>,
    /// Proposals that are not known to be over.
    pub live: Vec<LiveRow>,
    /// Their ballots.
    pub ballots: Vec<BallotRow>,
    /// What was taken by voters from those who have not voted.
    pub diversions: Vec<DiversionRow>,
    /// What is paused.
    pub paused: Vec<Scope>,
    /// Versions that were scheduled.
    pub upgrades: Vec<UpgradeRow>,
    /// Agents that were deployed.
    pub agents: Vec<AgentRow>,
    /// Resolutions.
    pub resolutions: Vec<Resolution>,
}

/// An enrolled account in a [`Snapshot`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MemberRow {
    /// The account.
    pub account: AccountId,
    /// What it holds.
    pub tokens: Amount,
}

/// A stake in a [`Snapshot`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StakeRow {
    /// On whom.
    pub operator: NodeId,
    /// Whose it is.
    pub account: AccountId,
    /// What it is worth, above nothing.
    pub worth: Amount,
}

/// The roles of an account in a [`Snapshot`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RoleRow {
    /// The account.
    pub account: AccountId,
    /// Which, since when.
    pub trace: Vec<(UnixMillis, Role)>,
}

/// The reputations of an account in a [`Snapshot`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReputationRow {
    /// The account.
    pub account: AccountId,
    /// Which, since when.
    pub trace: Vec<(UnixMillis, Option<Ppm>)>,
}

/// The weight of an account in a [`Snapshot`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OwnRow {
    /// The account.
    pub account: AccountId,
    /// What it weighs, since when.
    pub trace: Vec<(UnixMillis, Weight)>,
}

/// What an account has received in a [`Snapshot`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ReceivedRow {
    /// The account.
    pub account: AccountId,
    /// On what.
    pub topic: ProposalKind,
    /// How much, since when.
    pub trace: Vec<(UnixMillis, Weight)>,
}

/// What an account delegates in a [`Snapshot`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DelegationRow {
    /// The account.
    pub account: AccountId,
    /// On what.
    pub topic: ProposalKind,
    /// To whom, since when.
    pub trace: Vec<(UnixMillis, Vec<Part>)>,
}

/// A proposal in a [`Snapshot`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ProposalRow {
    /// Its name.
    pub proposal: TransferId,
    /// The record.
    pub record: Proposal,
}

/// A proposal that is not known to be over, in a [`Snapshot`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LiveRow {
    /// The last millisecond in which it certainly is not.
    pub until: UnixMillis,
    /// Its name.
    pub proposal: TransferId,
}

/// A ballot in a [`Snapshot`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BallotRow {
    /// On what.
    pub proposal: TransferId,
    /// Whose.
    pub voter: AccountId,
    /// The record.
    pub record: Ballot,
}

/// What voters have taken from an account, in a [`Snapshot`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DiversionRow {
    /// On what.
    pub proposal: TransferId,
    /// From whom.
    pub account: AccountId,
    /// How much.
    pub weight: Weight,
}

/// A version in a [`Snapshot`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct UpgradeRow {
    /// Its name.
    pub version: String,
    /// The record.
    pub record: Upgrade,
}

/// An agent in a [`Snapshot`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AgentRow {
    /// Its digest.
    pub agent: Digest,
    /// The record.
    pub record: Agent,
}

impl Dao {
    /// The whole state, in rows.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut members: Vec<_> = (self.members.iter())
            .map(|(&account, member)| MemberRow {
                account,
                tokens: member.tokens,
            })
            .collect();
        members.sort_unstable_by_key(|row| row.account);
        let mut ballots = Vec::new();
        let mut diversions = Vec::new();
        for (&proposal, poll) in &self.polls {
            ballots.extend(poll.ballots.iter().map(|(&voter, &record)| BallotRow {
                proposal,
                voter,
                record,
            }));
            let diverted = poll.diverted.iter();
            diversions.extend(diverted.map(|(&account, &weight)| DiversionRow {
                proposal,
                account,
                weight,
            }));
        }
        ballots.sort_unstable_by_key(|row| (row.proposal, row.voter));
        diversions.sort_unstable_by_key(|row| (row.proposal, row.account));
        Snapshot {
            clock: self.clock,
            weights: self.weights,
            established: self.established,
            circulating: self.circulating,
            total: (self.total.get(())).map_or_else(Vec::new, |trace| trace.checkpoints().to_vec()),
            members,
            stakes: (self.stakes.iter())
                .map(|(&(operator, account), &worth)| StakeRow {
                    operator,
                    account,
                    worth,
                })
                .collect(),
            roles: rows(&self.roles, |account, trace| RoleRow { account, trace }),
            reputations: rows(&self.reputations, |account, trace| ReputationRow {
                account,
                trace,
            }),
            own: rows(&self.own, |account, trace| OwnRow { account, trace }),
            received: rows(&self.received, |(account, topic), trace| ReceivedRow {
                account,
                topic,
                trace,
            }),
            delegations: rows(&self.delegations, |(account, topic), trace| DelegationRow {
                account,
                topic,
                trace,
            }),
            proposals: (self.proposals.iter())
                .map(|(&proposal, record)| ProposalRow {
                    proposal,
                    record: record.clone(),
                })
                .collect(),
            live: (self.live.iter())
                .map(|&(until, proposal)| LiveRow { until, proposal })
                .collect(),
            ballots,
            diversions,
            paused: self.paused.iter().copied().collect(),
            upgrades: (self.upgrades.iter())
                .map(|(version, record)| UpgradeRow {
                    version: version.clone(),
                    record: record.clone(),
                })
                .collect(),
            agents: (self.agents.iter())
                .map(|(&agent, record)| AgentRow {
                    agent,
                    record: record.clone(),
                })
                .collect(),
            resolutions: self.resolutions.clone(),
        }
    }

    /// The state of a snapshot, checked as by [`check`](Self::check).
    ///
    /// # Errors
    /// Any [`Corruption`] of snapshots.
    pub fn restore(snapshot: &Snapshot) -> Result<Self, Corruption> {
        Self::restore_from(snapshot.clone())
    }

    /// As [`restore`](Self::restore), of rows that nobody else needs.
    pub(crate) fn restore_from(mut snapshot: Snapshot) -> Result<Self, Corruption> {
        ordered("members", &snapshot.members, |row| row.account)?;
        ordered("stakes", &snapshot.stakes, |row| {
            (row.operator, row.account)
        })?;
        ordered("proposals", &snapshot.proposals, |row| row.proposal)?;
        ordered("live", &snapshot.live, |row| (row.until, row.proposal))?;
        ordered("ballots", &snapshot.ballots, |row| {
            (row.proposal, row.voter)
        })?;
        let place = |row: &DiversionRow| (row.proposal, row.account);
        ordered("diversions", &snapshot.diversions, place)?;
        ordered("paused", &snapshot.paused, |scope| *scope)?;
        ordered("upgrades", &snapshot.upgrades, |row| row.version.clone())?;
        ordered("agents", &snapshot.agents, |row| row.agent)?;
        let clock = snapshot.clock;
        // Most of it is traces, which are moved and not copied.
        let take = &mut snapshot;
        let total = std::mem::take(&mut take.total);
        let total = (!total.is_empty()).then_some(((), total));
        let (roles, own) = (
            std::mem::take(&mut take.roles),
            std::mem::take(&mut take.own),
        );
        let received = std::mem::take(&mut take.received);
        let reputations = std::mem::take(&mut take.reputations);
        let mut dao = Self {
            clock,
            weights: snapshot.weights,
            established: snapshot.established,
            circulating: snapshot.circulating,
            total: traces("total", total, clock)?,
            members: (snapshot.members.iter())
                .map(|row| {
                    let member = Member {
                        tokens: row.tokens,
                        ..Member::default()
                    };
                    (row.account, member)
                })
                .collect(),
            stakes: (snapshot.stakes.iter())
                .map(|row| ((row.operator, row.account), row.worth))
                .collect(),
            roles: traces(
                "roles",
                roles.into_iter().map(|row| (row.account, row.trace)),
                clock,
            )?,
            reputations: traces(
                "reputations",
                (reputations.into_iter()).map(|row| (row.account, row.trace)),
                clock,
            )?,
            own: traces(
                "own",
                own.into_iter().map(|row| (row.account, row.trace)),
                clock,
            )?,
            received: traces(
                "received",
                (received.into_iter()).map(|row| ((row.account, row.topic), row.trace)),
                clock,
            )?,
            proposals: (snapshot.proposals.iter())
                .map(|row| (row.proposal, row.record.clone()))
                .collect(),
            live: (snapshot.live.iter())
                .map(|row| (row.until, row.proposal))
                .collect(),
            paused: snapshot.paused.iter().copied().collect(),
            upgrades: (snapshot.upgrades.iter())
                .map(|row| (row.version.clone(), row.record.clone()))
                .collect(),
            agents: (snapshot.agents.iter())
                .map(|row| (row.agent, row.record.clone()))
                .collect(),
            resolutions: snapshot.resolutions.clone(),
            ..Self::default()
        };
        dao.take_ballots(&snapshot)?;
        dao.take_stakes(&snapshot)?;
        dao.take_delegations(snapshot.delegations)?;
        dao.derive()?;
        dao.check_weights()?;
        // Walked through once, for the check and for what follows from it.
        let mut upstream: HashMap<Topic, Upstream> = HashMap::new();
        dao.check_flows(|topic, flows| {
            let mut ways = vec![Upstream::default(); flows.accounts.len()];
            for &place in &flows.order {
                let parts = flows.parts[place];
                let reach = ways[place].reach();
                for part in parts {
                    ways[flows.place(part)].add(reach.through(parts.len()));
                }
            }
            let found = flows.accounts.iter().zip(ways);
            let found = found.filter(|(_, ways)| !ways.is_empty());
            upstream.extend(found.map(|(&account, ways)| ((account, topic), ways)));
        })?;
        dao.upstream = upstream;
        dao.check_lives()?;
        Ok(dao)
    }

    fn take_ballots(&mut self, snapshot: &Snapshot) -> Result<(), Corruption> {
        let live: BTreeSet<_> = self.live.iter().map(|(_, proposal)| *proposal).collect();
        for (row, ballot) in snapshot.ballots.iter().enumerate() {
            if !live.contains(&ballot.proposal) {
                return Err(misplaced("ballots", row));
            }
            let poll = self.polls.entry(ballot.proposal).or_default();
            poll.ballots.insert(ballot.voter, ballot.record);
        }
        for (row, diversion) in snapshot.diversions.iter().enumerate() {
            let poll = self.polls.get_mut(&diversion.proposal);
            let poll = poll.filter(|poll| !poll.ballots.contains_key(&diversion.account));
            let poll = poll.ok_or_else(|| misplaced("diversions", row))?;
            poll.diverted.insert(diversion.account, diversion.weight);
        }
        Ok(())
    }

    fn take_stakes(&mut self, snapshot: &Snapshot) -> Result<(), Corruption> {
        for (row, stake) in snapshot.stakes.iter().enumerate() {
            let member = self.members.get_mut(&stake.account);
            let member = member.filter(|_| !stake.worth.is_zero());
            let member = member.ok_or_else(|| misplaced("stakes", row))?;
            let staked = member.staked.checked_add(stake.worth);
            member.staked = staked.ok_or_else(|| misplaced("stakes", row))?;
        }
        Ok(())
    }

    fn take_delegations(&mut self, rows: Vec<DelegationRow>) -> Result<(), Corruption> {
        for (row, delegation) in rows.iter().enumerate() {
            let parts = delegation.trace.last().map_or(&[][..], |(_, parts)| parts);
            let sound = |(_, parts): &Checkpoint<Vec<Part>>| {
                let whole: u64 = parts.iter().map(|part| u64::from(part.part.get())).sum();
                parts.len() <= DELEGATES_MAX && whole <= u64::from(Ppm::WHOLE.get())
            };
            let member = self.members.get_mut(&delegation.account);
            let member = member.filter(|_| delegation.trace.iter().all(sound));
            let member = member.ok_or_else(|| misplaced("delegations", row))?;
            if !parts.is_empty() {
                member.delegates_on |= delegation.topic.bit();
            }
        }
        let rows = rows
            .into_iter()
            .map(|row| ((row.account, row.topic), row.trace));
        self.delegations = traces("delegations", rows, self.clock)?;
        Ok(())
    }

    /// Fills in what follows from the rows, but for the ways of power.
    fn derive(&mut self) -> Result<(), Corruption> {
        for (account, trace) in self.roles.sorted() {
            if let Some(&role) = trace.last().filter(|role| **role != Role::Citizen) {
                self.holders.insert(account, role);
            }
        }
        for (&account, member) in &mut self.members {
            let role = self.holders.get(&account).copied().unwrap_or_default();
            let differs = Corruption::WeightsDiffer { account };
            let units = member.tokens.checked_add(member.staked);
            let weight = units.and_then(|units| self.weights.weigh(role, units.0));
            let extra = units.zip(weight).map(|(units, weight)| weight.0 - units.0);
            let extra = extra.ok_or(differs)?;
            member.extra = Weight(extra);
            let sum = self.extra.0.checked_add(extra);
            self.extra = Weight(sum.ok_or(Corruption::TotalDiffers)?);
        }
        for (&proposal, record) in &self.proposals {
            if record.stage == Stage::Draft {
                self.drafts.insert((record.author, proposal));
            }
        }
        Ok(())
    }

    /// Checks that the state adds up: weights are what accounts have, by their roles; what accounts
    /// have received is what was delegated to them, and no delegation is circular; all weight is the
    /// sum of its parts; tallies are those of their ballots. Walks through everything.
    ///
    /// # Errors
    /// [`Corruption::WeightsDiffer`], [`Corruption::FlowsDiffer`], [`Corruption::TotalDiffers`],
    /// [`Corruption::TallyDiffers`], [`Corruption::RowMisplaced`].
    pub fn check(&self) -> Result<(), Corruption> {
        self.check_weights()?;
        self.check_flows(|_, _| {})?;
        self.check_lives()
    }

    fn check_weights(&self) -> Result<(), Corruption> {
        let differs = |account: &AccountId| {
            let Some(member) = self.members.get(account) else {
                return true;
            };
            let weight = (member.tokens.checked_add(member.staked))
                .and_then(|units| self.weights.weigh(self.role(*account), units.0));
            weight != Some(self.own.last(*account).copied().unwrap_or_default())
        };
        // The first by id, since the order of the walk differs from run to run.
        let accounts = self.members.keys().chain(self.holders.keys()).copied();
        let strange = (self.own.iter()).map(|(account, _)| account);
        let accounts =
            accounts.chain(strange.filter(|account| !self.members.contains_key(account)));
        if let Some(account) = accounts.filter(differs).min() {
            return Err(Corruption::WeightsDiffer { account });
        }
        let total = self.circulating.0.checked_add(self.extra.0);
        if total != Some(self.total().0) {
            return Err(Corruption::TotalDiffers);
        }
        Ok(())
    }

    fn check_lives(&self) -> Result<(), Corruption> {
        for (row, &(until, proposal)) in self.live.iter().enumerate() {
            let Some(record) = self.proposals.get(&proposal) else {
                return Err(misplaced("live", row));
            };
            let grace = record.terms.map_or(0, |terms| terms.grace_ms);
            let fits = match record.stage {
                Stage::Submitted => {
                    [record.deadline, later(record.deadline, grace)].contains(&until)
                }
                Stage::Queued { eta } => until == later(eta, grace),
                Stage::Draft | Stage::Executed { .. } | Stage::Cancelled { .. } => false,
            };
            if !fits {
                return Err(misplaced("live", row));
            }
            self.check_tally(proposal)?;
        }
        self.check_proposals()
    }

    /// Checks that proposals have what their stage needs, and that none is forgotten before it is
    /// over.
    fn check_proposals(&self) -> Result<(), Corruption> {
        let live: BTreeSet<_> = self.live.iter().map(|(_, proposal)| *proposal).collect();
        for (row, (&proposal, record)) in self.proposals.iter().enumerate() {
            let bound = match record.stage {
                Stage::Draft => record.terms.is_none(),
                Stage::Submitted | Stage::Queued { .. } | Stage::Executed { .. } => {
                    record.terms.is_some()
                }
                Stage::Cancelled { .. } => true,
            };
            let state = self.state(proposal, self.clock);
            let over = state.is_ok_and(|state| state == ProposalState::Draft || state.is_final());
            let kept = over || live.contains(&proposal);
            if !bound || !kept || record.content.validate().is_err() {
                return Err(misplaced("proposals", row));
            }
        }
        Ok(())
    }

    /// Checks the ways of power on every topic, and shows them.
    fn check_flows(
        &self,
        mut seen: impl FnMut(ProposalKind, &Flows<'_>),
    ) -> Result<(), Corruption> {
        let mut own: Vec<_> = (self.own.iter())
            .map(|(account, trace)| (account, trace.last().copied().unwrap_or_default()))
            .collect();
        own.sort_unstable();
        let mut received: Vec<_> = (self.received.iter())
            .map(|((account, topic), trace)| {
                (topic, account, trace.last().copied().unwrap_or_default())
            })
            .collect();
        received.sort_unstable();
        let delegations = Delegations::of(self);
        for topic in ProposalKind::ALL {
            let first = received.partition_point(|(about, ..)| *about < topic);
            let here = received[first..]
                .iter()
                .take_while(|(about, ..)| *about == topic);
            let here: Vec<_> = here
                .map(|&(_, account, weight)| (account, weight))
                .collect();
            let flows = delegations.flows(topic)?;
            flows.check(&own, &here)?;
            seen(topic, &flows);
        }
        Ok(())
    }

    fn check_tally(&self, proposal: TransferId) -> Result<(), Corruption> {
        let mut power = Tally::default();
        let mut votes = Tally::default();
        let nothing = Poll::default();
        let poll = self.polls.get(&proposal).unwrap_or(&nothing);
        for ballot in poll.ballots.values() {
            for (tally, weight) in [(&mut power, ballot.counted), (&mut votes, ballot.votes)] {
                let sum = tally.of_mut(ballot.choice);
                sum.0 = sum.0.saturating_add(weight.0);
            }
        }
        match self.proposals.get(&proposal) {
            Some(record) if record.power == power && record.votes == votes => Ok(()),
            _ => Err(Corruption::TallyDiffers { proposal }),
        }
    }
}

/// Rows of traces, by key.
fn rows<K: Copy + Eq + Hash + Ord, T: Clone, R>(
    traces: &Traces<K, T>,
    row: impl Fn(K, Vec<Checkpoint<T>>) -> R,
) -> Vec<R> {
    let sorted = traces.sorted().into_iter();
    sorted
        .map(|(key, trace)| row(key, trace.checkpoints().to_vec()))
        .collect()
}

/// The traces of rows that are in order and not from the future.
fn traces<K: Copy + Eq + Hash + Ord, T: Clone>(
    table: &'static str,
    rows: impl IntoIterator<Item = (K, Vec<Checkpoint<T>>)>,
    clock: UnixMillis,
) -> Result<Traces<K, T>, Corruption> {
    let rows = rows.into_iter();
    let mut traces = Traces::with_capacity(rows.size_hint().0);
    let mut last = None;
    for (row, (key, trace)) in rows.enumerate() {
        let follows = last.is_none_or(|last| last < key);
        let past = trace.last().is_some_and(|(time, _)| *time <= clock);
        match Trace::from_checkpoints(trace).filter(|_| follows && past) {
            Some(trace) => traces.insert(key, trace),
            None => return Err(misplaced(table, row)),
        }
        last = Some(key);
    }
    Ok(traces)
}

fn ordered<R, K: Ord>(
    table: &'static str,
    rows: &[R],
    key: impl Fn(&R) -> K,
) -> Result<(), Corruption> {
    let wrong = rows
        .windows(2)
        .position(|pair| key(&pair[0]) >= key(&pair[1]));
    wrong.map_or(Ok(()), |row| Err(misplaced(table, row + 1)))
}

const fn misplaced(table: &'static str, row: usize) -> Corruption {
    Corruption::RowMisplaced { table, row }
}
