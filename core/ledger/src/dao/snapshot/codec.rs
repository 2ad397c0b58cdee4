//! Snapshots as bytes.

use std::sync::Arc;

use fogcompute_base::Digest;
use fogcompute_base::wire::{DecodeError, Reader, Writer};

use super::{
    AgentRow, BallotRow, DelegationRow, DiversionRow, LiveRow, MemberRow, OwnRow, ProposalRow,
    ReceivedRow, ReputationRow, RoleRow, Snapshot, StakeRow, UpgradeRow,
};
use crate::dao::action::{VERSION_BYTES_MAX, role, scope};
use crate::dao::codec::{
    account, amount, choice, content, flag, kind, list, node, parts, ppm, proposal, terms, time,
    unknown, weight, write_content, write_count, write_parts, write_terms,
};
use crate::dao::trace::Checkpoint;
use crate::dao::{Agent, Ballot, Proposal, Resolution, Stage, Tally, Upgrade, Weights};

const VERSION: u8 = 1;

/// A snapshot as bytes. Integers are big-endian ([`fogcompute_base::wire`]); each list begins with its
/// number as `u32`. A *trace* is a list of checkpoints, each a time `u64` and the value.
///
/// | item | bytes |
/// |---|---|
/// | version | 1, of value 1 |
/// | clock | `u64` |
/// | weights | four `u32` in their order |
/// | established | 1 |
/// | circulating | `u128` |
/// | total | trace of `u128` |
/// | members | list of account 16, tokens `u128` |
/// | stakes | list of operator 32, account 16, worth `u128` |
/// | roles | list of account 16, trace of 1 |
/// | reputations | list of account 16, trace of flag 1 and, if it is 1, millionths `u32` |
/// | own | list of account 16, trace of `u128` |
/// | received | list of account 16, topic 1, trace of `u128` |
/// | delegations | list of account 16, topic 1, trace of lists of account 16, millionths `u32` |
/// | proposals | list of id 16, author 16, content and, after a flag, terms as in [`Event`](crate::dao::Event), stage, deadline `u64`, power, votes, charged (three `u128` each), settled `u64` |
/// | live | list of time `u64`, id 16 |
/// | ballots | list of id 16, voter 16, choice 1, power, counted, votes (`u128` each), changes `u32` |
/// | diversions | list of id 16, account 16, `u128` |
/// | paused | list of 1 |
/// | upgrades | list of version (text), proposal 16, digest 32, time `u64` |
/// | agents | list of digest 32, proposal 16, operator 16, budget `u128` |
/// | resolutions | list of proposal 16, digest 32, time `u64` |
///
/// A stage is 0 draft; 1 submitted; 2 queued, eta `u64`; 3 executed, time `u64`; 4 cancelled, time
/// `u64`, by 16.
impl Snapshot {
    /// Its bytes.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` rows of a kind, for which no memory suffices.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let w = &mut writer;
        w.u8(VERSION);
        w.u64(self.clock.0);
        let weights = &self.weights;
        for weight in [
            weights.delegate,
            weights.councilor,
            weights.guardian,
            weights.king,
        ] {
            w.u32(weight);
        }
        w.u8(u8::from(self.established));
        w.u128(self.circulating.0);
        write_trace(w, &self.total, |w, weight| w.u128(weight.0));
        write_list(w, &self.members, |w, row| {
            w.raw(row.account.as_bytes());
            w.u128(row.tokens.0);
        });
        write_list(w, &self.stakes, |w, row| {
            w.raw(row.operator.as_bytes());
            w.raw(row.account.as_bytes());
            w.u128(row.worth.0);
        });
        write_list(w, &self.roles, |w, row| {
            w.raw(row.account.as_bytes());
            write_trace(w, &row.trace, |w, role| w.u8(role.code()));
        });
        write_list(w, &self.reputations, |w, row| {
            w.raw(row.account.as_bytes());
            write_trace(w, &row.trace, |w, reputation| {
                w.u8(u8::from(reputation.is_some()));
                if let Some(part) = reputation {
                    w.u32(part.get());
                }
            });
        });
        write_list(w, &self.own, |w, row| {
            w.raw(row.account.as_bytes());
            write_trace(w, &row.trace, |w, weight| w.u128(weight.0));
        });
        write_list(w, &self.received, |w, row| {
            w.raw(row.account.as_bytes());
            w.u8(row.topic.code());
            write_trace(w, &row.trace, |w, weight| w.u128(weight.0));
        });
        write_list(w, &self.delegations, |w, row| {
            w.raw(row.account.as_bytes());
            w.u8(row.topic.code());
            write_trace(w, &row.trace, |w, parts| write_parts(w, parts));
        });
        write_list(w, &self.proposals, |w, row| {
            w.raw(row.proposal.as_bytes());
            write_proposal(w, &row.record);
        });
        write_list(w, &self.live, |w, row| {
            w.u64(row.until.0);
            w.raw(row.proposal.as_bytes());
        });
        write_list(w, &self.ballots, |w, row| {
            w.raw(row.proposal.as_bytes());
            w.raw(row.voter.as_bytes());
            let ballot = &row.record;
            w.u8(ballot.choice.code());
            w.u128(ballot.power.0);
            w.u128(ballot.counted.0);
            w.u128(ballot.votes.0);
            w.u32(ballot.changes);
        });
        write_list(w, &self.diversions, |w, row| {
            w.raw(row.proposal.as_bytes());
            w.raw(row.account.as_bytes());
            w.u128(row.weight.0);
        });
        write_list(w, &self.paused, |w, scope| w.u8(scope.code()));
        write_list(w, &self.upgrades, |w, row| {
            w.text(&row.version);
            w.raw(row.record.proposal.as_bytes());
            w.raw(row.record.digest.as_bytes());
            w.u64(row.record.activates.0);
        });
        write_list(w, &self.agents, |w, row| {
            w.raw(row.agent.as_bytes());
            w.raw(row.record.proposal.as_bytes());
            w.raw(row.record.operator.as_bytes());
            w.u128(row.record.budget.0);
        });
        write_list(w, &self.resolutions, |w, row| {
            w.raw(row.proposal.as_bytes());
            w.raw(row.text.as_bytes());
            w.u64(row.time.0);
        });
        writer.finish()
    }

    /// Reads its bytes. Whether the rows add up is found by
    /// [`Dao::restore`](crate::dao::Dao::restore).
    ///
    /// # Errors
    /// [`DecodeError`] for whatever [`encode`](Self::encode) never writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let r = &mut reader;
        match r.u8()? {
            VERSION => {}
            version => return Err(unknown(0, version)),
        }
        let snapshot = Self {
            clock: time(r)?,
            weights: Weights {
                delegate: r.u32()?,
                councilor: r.u32()?,
                guardian: r.u32()?,
                king: r.u32()?,
            },
            established: flag(r)?,
            circulating: weight(r)?,
            total: trace(r, weight)?,
            members: list(r, |r| {
                Ok(MemberRow {
                    account: account(r)?,
                    tokens: amount(r)?,
                })
            })?,
            stakes: list(r, |r| {
                Ok(StakeRow {
                    operator: node(r)?,
                    account: account(r)?,
                    worth: amount(r)?,
                })
            })?,
            roles: list(r, |r| {
                Ok(RoleRow {
                    account: account(r)?,
                    trace: trace(r, role)?,
                })
            })?,
            reputations: list(r, |r| {
                Ok(ReputationRow {
                    account: account(r)?,
                    trace: trace(r, |r| if flag(r)? { ppm(r).map(Some) } else { Ok(None) })?,
                })
            })?,
            own: list(r, |r| {
                Ok(OwnRow {
                    account: account(r)?,
                    trace: trace(r, weight)?,
                })
            })?,
            received: list(r, |r| {
                Ok(ReceivedRow {
                    account: account(r)?,
                    topic: kind(r)?,
                    trace: trace(r, weight)?,
                })
            })?,
            delegations: list(r, |r| {
                Ok(DelegationRow {
                    account: account(r)?,
                    topic: kind(r)?,
                    trace: trace(r, parts)?,
                })
            })?,
            proposals: list(r, |r| {
                Ok(ProposalRow {
                    proposal: proposal(r)?,
                    record: read_proposal(r)?,
                })
            })?,
            live: list(r, |r| {
                Ok(LiveRow {
                    until: time(r)?,
                    proposal: proposal(r)?,
                })
            })?,
            ballots: list(r, |r| {
                Ok(BallotRow {
                    proposal: proposal(r)?,
                    voter: account(r)?,
                    record: Ballot {
                        choice: choice(r)?,
                        power: weight(r)?,
                        counted: weight(r)?,
                        votes: weight(r)?,
                        changes: r.u32()?,
                    },
                })
            })?,
            diversions: list(r, |r| {
                Ok(DiversionRow {
                    proposal: proposal(r)?,
                    account: account(r)?,
                    weight: weight(r)?,
                })
            })?,
            paused: list(r, scope)?,
            upgrades: list(r, |r| {
                Ok(UpgradeRow {
                    version: r.text(VERSION_BYTES_MAX)?.to_owned(),
                    record: Upgrade {
                        proposal: proposal(r)?,
                        digest: digest(r)?,
                        activates: time(r)?,
                    },
                })
            })?,
            agents: list(r, |r| {
                Ok(AgentRow {
                    agent: digest(r)?,
                    record: Agent {
                        proposal: proposal(r)?,
                        operator: account(r)?,
                        budget: amount(r)?,
                    },
                })
            })?,
            resolutions: list(r, |r| {
                Ok(Resolution {
                    proposal: proposal(r)?,
                    text: digest(r)?,
                    time: time(r)?,
                })
            })?,
        };
        reader.finish()?;
        Ok(snapshot)
    }
}

fn write_list<T>(w: &mut Writer, rows: &[T], write: impl Fn(&mut Writer, &T)) {
    write_count(w, rows.len());
    for row in rows {
        write(w, row);
    }
}

fn write_trace<T>(w: &mut Writer, trace: &[Checkpoint<T>], write: impl Fn(&mut Writer, &T)) {
    write_list(w, trace, |w, (time, value)| {
        w.u64(time.0);
        write(w, value);
    });
}

fn trace<T>(
    r: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<Checkpoint<T>>, DecodeError> {
    list(r, |r| Ok((time(r)?, read(r)?)))
}

fn digest(r: &mut Reader<'_>) -> Result<Digest, DecodeError> {
    r.array().map(Digest::from_bytes)
}

fn write_proposal(w: &mut Writer, record: &Proposal) {
    w.raw(record.author.as_bytes());
    write_content(w, &record.content);
    w.u8(u8::from(record.terms.is_some()));
    if let Some(terms) = &record.terms {
        write_terms(w, terms);
    }
    match record.stage {
        Stage::Draft => w.u8(0),
        Stage::Submitted => w.u8(1),
        Stage::Queued { eta } => {
            w.u8(2);
            w.u64(eta.0);
        }
        Stage::Executed { time } => {
            w.u8(3);
            w.u64(time.0);
        }
        Stage::Cancelled { time, by } => {
            w.u8(4);
            w.u64(time.0);
            w.raw(by.as_bytes());
        }
    }
    w.u64(record.deadline.0);
    for tally in [&record.power, &record.votes, &record.charged] {
        w.u128(tally.against.0);
        w.u128(tally.in_favor.0);
        w.u128(tally.abstain.0);
    }
    w.u64(record.settled);
}

fn read_proposal(r: &mut Reader<'_>) -> Result<Proposal, DecodeError> {
    let author = account(r)?;
    let content = Arc::new(content(r)?);
    let terms = if flag(r)? { Some(terms(r)?) } else { None };
    let at = r.position();
    let stage = match r.u8()? {
        0 => Stage::Draft,
        1 => Stage::Submitted,
        2 => Stage::Queued { eta: time(r)? },
        3 => Stage::Executed { time: time(r)? },
        4 => Stage::Cancelled {
            time: time(r)?,
            by: account(r)?,
        },
        code => return Err(unknown(at, code)),
    };
    Ok(Proposal {
        author,
        content,
        stage,
        terms,
        deadline: time(r)?,
        power: tally(r)?,
        votes: tally(r)?,
        charged: tally(r)?,
        settled: r.u64()?,
    })
}

fn tally(r: &mut Reader<'_>) -> Result<Tally, DecodeError> {
    Ok(Tally {
        against: weight(r)?,
        in_favor: weight(r)?,
        abstain: weight(r)?,
    })
}
