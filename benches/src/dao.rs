//! Governance: votes with their signatures, beside `ed25519-dalek` alone; the past, delegation, tallies
//! and coming back, beside the same with fewer people or the project's limit.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use cpu_time::ThreadTime;
use ed25519_dalek::{Signature, SigningKey, VerifyingKey, verify_batch};
use fogcompute::base::{Digest, UnixMillis};
use fogcompute::ledger::dao::{
    self, Action, Choice, Content, Dao, NoHost, Part, ProposalKind, Rules, Snapshot,
};
use fogcompute::ledger::economy::{Economy, Request};
use fogcompute::ledger::{
    AccountKind, Amount, AssetId, Entry, Memo, Operation, Ppm, PublicKey, Purse, SignedBatch, State,
};
use fogcompute::{AccountId, TransferId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::measure::{Effort, in_turns, median};
use crate::row::{Output, Row};

const DAY: u64 = 86_400_000;
const START: UnixMillis = UnixMillis(20_000 * DAY);
const TOPIC: ProposalKind = ProposalKind::General;
/// Signatures that are verified together.
const TOGETHER: usize = 256;
/// Seconds that the project asks coming back with a million who delegate to stay below.
const RESTORE_SECONDS: f64 = 5.0;

struct Sizes {
    voters: u32,
    rounds: u32,
    few: u32,
    many: u32,
}

pub(crate) fn run(effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let sizes = match effort {
        Effort::Full => Sizes {
            voters: 1_024,
            rounds: 15,
            few: 1_000,
            many: 1_000_000,
        },
        Effort::Smoke => Sizes {
            voters: 4,
            rounds: 1,
            few: 10,
            many: 100,
        },
    };
    votes(&sizes, output)?;
    past(&sizes, effort, output)?;
    delegation(&sizes, effort, output)?;
    tally(&sizes, effort, output)
}

fn account(number: u32) -> AccountId {
    let mut bytes = [1; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    AccountId::from_bytes(bytes)
}

fn secret(number: u32) -> SigningKey {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    SigningKey::from_bytes(&bytes)
}

/// Draws ids that nobody has used.
struct Ids(u64);

impl Ids {
    fn next(&mut self) -> TransferId {
        self.0 += 1;
        let mut bytes = [2; 16];
        bytes[..8].copy_from_slice(&self.0.to_be_bytes());
        TransferId::from_bytes(bytes)
    }
}

fn execute(state: &mut State, operations: &[Operation], now: UnixMillis) -> Result<(), Failure> {
    let history: &[Entry] = &[];
    let plan = state.plan(history, operations, now)?;
    state.commit(plan)?;
    Ok(())
}

type Failure = Box<dyn Error>;

fn signed(
    ids: &mut Ids,
    voter: u32,
    nonce: u64,
    now: UnixMillis,
    asked: dao::Operation,
) -> SignedBatch {
    let operation = Operation::Economy {
        id: ids.next(),
        request: Box::new(Request::Governance(asked)),
    };
    let expires = UnixMillis(now.0 + DAY);
    SignedBatch::new(
        account(voter),
        nonce,
        expires,
        vec![operation],
        &secret(voter),
    )
}

fn content() -> Content {
    Content {
        kind: TOPIC,
        title: "a vote".to_owned(),
        description: String::new(),
        actions: vec![Action::Resolve {
            text: Digest::of(b"a vote"),
        }],
    }
}

/// Votes on a ledger in memory, each signed by its voter: verified, counted, and part of the history.
fn votes(sizes: &Sizes, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let (mut state, mut ids) = (State::new(), Ids(0));
    let mut economy = Economy::default();
    economy.dao.vote_changes_max = 1_000;
    let configure = Operation::Economy {
        id: ids.next(),
        request: Box::new(Request::Configure(economy)),
    };
    execute(&mut state, &[configure], START)?;
    for voter in 0..sizes.voters {
        let account = account(voter);
        let operations = [
            Operation::Open {
                account,
                asset: AssetId::CREDITS,
                kind: AccountKind::Holder,
            },
            Operation::Transfer {
                id: ids.next(),
                from: Purse::Treasury.account(),
                to: account,
                amount: Amount::from_credits(if voter == 0 { 1_000 } else { 10 }),
                memo: Memo::NONE,
            },
            Operation::Own {
                id: ids.next(),
                account,
                key: PublicKey::of(&secret(voter)),
            },
        ];
        execute(&mut state, &operations, START)?;
        let enrol = dao::Operation::Enrol { account };
        let enrol = signed(&mut ids, voter, 1, START, enrol);
        let history: &[Entry] = &[];
        let plan = state.plan_signed(history, &enrol, START)?;
        state.commit(plan)?;
    }
    let (proposal, now) = (ids.next(), UnixMillis(START.0 + DAY));
    let propose = dao::Operation::Propose {
        author: account(0),
        proposal,
        content: content(),
    };
    let propose = signed(&mut ids, 0, 2, now, propose);
    let history: &[Entry] = &[];
    let plan = state.plan_signed(history, &propose, now)?;
    state.commit(plan)?;

    let now = UnixMillis(now.0 + DAY + 1);
    let keys: Vec<VerifyingKey> = (0..sizes.voters)
        .map(|n| secret(n).verifying_key())
        .collect();
    let mut times = [(); 4].map(|()| Vec::new());
    for round in 0..2 * sizes.rounds {
        let choice = if round % 2 == 0 {
            Choice::For
        } else {
            Choice::Against
        };
        let batches: Vec<SignedBatch> = (0..sizes.voters)
            .map(|voter| {
                let nonce = u64::from(round) + if voter == 0 { 3 } else { 2 };
                let vote = dao::Operation::Vote {
                    voter: account(voter),
                    proposal,
                    choice,
                };
                signed(&mut ids, voter, nonce, now, vote)
            })
            .collect();
        let (messages, signatures) = bare(&batches);
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        // One round is voted one by one and the next together.
        let together = round % 2 == 1;
        let start = ThreadTime::now();
        if together {
            for chunk in batches.chunks(TOGETHER) {
                let chunk: Vec<_> = chunk.iter().collect();
                for verified in state.verify(&chunk) {
                    let plan = state.plan_verified(history, verified?, now)?;
                    state.commit(plan)?;
                }
            }
        } else {
            for batch in &batches {
                let plan = state.plan_signed(history, batch, now)?;
                state.commit(plan)?;
            }
        }
        let each =
            |start: &ThreadTime| start.elapsed().as_secs_f64() * 1e9 / f64::from(sizes.voters);
        times[usize::from(together)].push(each(&start));
        let start = ThreadTime::now();
        if together {
            for ((messages, signatures), keys) in (messages.chunks(TOGETHER))
                .zip(signatures.chunks(TOGETHER))
                .zip(keys.chunks(TOGETHER))
            {
                verify_batch(messages, signatures, keys)?;
            }
        } else {
            for ((message, signature), key) in messages.iter().zip(&signatures).zip(&keys) {
                key.verify_strict(message, signature)?;
            }
        }
        times[2 + usize::from(together)].push(each(&start));
    }
    let [single, together, bare_single, bare_together] = times.map(median);
    let n = u64::from(sizes.voters) * u64::from(sizes.rounds);
    for (case, ours, peer, theirs) in [
        (
            "signed votes",
            single,
            "ed25519-dalek verify_strict",
            bare_single,
        ),
        (
            "signed votes, together",
            together,
            "ed25519-dalek verify_batch",
            bare_together,
        ),
    ] {
        output.print(Row {
            area: "dao",
            case: case.to_owned(),
            ours,
            unit: "ns",
            peer: peer.to_owned(),
            peer_version: env!("PEER_ED25519_DALEK").to_owned(),
            theirs,
            ratio: 0.0,
            n,
        })?;
    }
    Ok(())
}

/// What a signature is about, as the ledger documents it, and the signature.
fn bare(batches: &[SignedBatch]) -> (Vec<Vec<u8>>, Vec<Signature>) {
    const DOMAIN: &[u8] = b"fogcompute 2026-11-21 ledger signed batch v1\0";
    let message = |batch: &SignedBatch| [DOMAIN, batch.digest().as_bytes()].concat();
    let signature = |batch: &SignedBatch| Signature::from_bytes(&batch.signature);
    (
        batches.iter().map(message).collect(),
        batches.iter().map(signature).collect(),
    )
}

/// A row that compares many with few: the ratio is how much of its speed is left.
fn beside_few(
    sizes: &Sizes,
    case: String,
    of: &str,
    pair: crate::measure::Pair,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    output.print(Row {
        area: "dao",
        case,
        ours: pair.ours,
        unit: "ns",
        peer: format!("the same of {} {of}", sizes.few),
        peer_version: String::new(),
        theirs: pair.theirs,
        ratio: 0.0,
        n: pair.n,
    })
}

/// An account whose power has changed so often, once a millisecond.
fn changing(checkpoints: u32) -> Result<Dao, dao::DaoError> {
    let (mut dao, who, rules) = (Dao::default(), account(1), Rules::default());
    dao.update(UnixMillis(0), |draft| {
        let enrol = dao::Operation::Enrol { account: who };
        draft.execute(&rules, &enrol, &NoHost).map(drop)
    })?;
    for time in 1..=checkpoints {
        dao.update(UnixMillis(u64::from(time)), |draft| {
            draft.set_tokens(who, Amount(u128::from(time)))
        })?;
    }
    Ok(dao)
}

fn past(sizes: &Sizes, effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let (few, many) = (changing(sizes.few)?, changing(sizes.many)?);
    let looking = |dao: &Dao, checkpoints: u32| {
        let (dao, now) = (dao.clone(), UnixMillis(u64::from(checkpoints) + 1));
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        move || {
            let time = UnixMillis(u64::from(rng.next_u32() % checkpoints));
            let _ = black_box(dao.past_standing(account(1), TOPIC, time, now));
        }
    };
    let pair = in_turns(effort, looking(&many, sizes.many), looking(&few, sizes.few));
    let case = format!("past power, {} changes", sizes.many);
    beside_few(sizes, case, "changes", pair, output)
}

/// So many who delegate on every topic to one of eight, and one who does not.
fn delegating(members: u32) -> Result<Dao, dao::DaoError> {
    let (mut dao, rules) = (Dao::default(), Rules::default());
    let mut next = 0;
    while next < members {
        let chunk = next..members.min(next + 1_000);
        dao.update(START, |draft| {
            for number in chunk.clone() {
                let voter = account(8 + number);
                let part = Part {
                    to: account(number % 8),
                    part: Ppm::WHOLE,
                };
                let delegate = dao::Operation::Delegate {
                    voter,
                    topics: Vec::new(),
                    to: vec![part],
                };
                let _ = draft.execute(&rules, &delegate, &NoHost)?;
                draft.set_tokens(voter, Amount::from_credits(1))?;
            }
            draft.set_circulating(Amount::from_credits(u64::from(chunk.end)))
        })?;
        next = chunk.end;
    }
    Ok(dao)
}

fn delegation(sizes: &Sizes, effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let (few, many) = (delegating(sizes.few)?, delegating(sizes.many)?);
    let bytes = many.snapshot().encode();
    // Goes to another delegate each time, on one topic.
    let moving = |mut dao: Dao| {
        let (rules, mut round) = (Rules::default(), 0_u32);
        move || {
            round += 1;
            let part = Part {
                to: account(round % 8),
                part: Ppm::WHOLE,
            };
            let delegate = dao::Operation::Delegate {
                voter: account(8),
                topics: vec![TOPIC],
                to: vec![part],
            };
            let now = UnixMillis(START.0 + u64::from(round));
            let done = dao.update(now, |draft| draft.execute(&rules, &delegate, &NoHost));
            let _ = black_box(done).expect("what is delegated may be delegated again");
        }
    };
    let pair = in_turns(effort, moving(many), moving(few));
    let case = format!("delegate, among {}", sizes.many);
    beside_few(sizes, case, "who delegate", pair, output)?;

    let mut times = Vec::new();
    let rounds = if effort == Effort::Full { 5 } else { 1 };
    for _ in 0..rounds {
        let start = now();
        let dao = Dao::restore(&Snapshot::decode(&bytes)?)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if dao.member_count() < sizes.many as usize {
            return Err("members were lost".into());
        }
    }
    output.print(Row {
        area: "dao",
        case: format!("restore {} who delegate", sizes.many),
        ours: median(times),
        unit: "ms",
        peer: "limit".to_owned(),
        peer_version: "project".to_owned(),
        theirs: RESTORE_SECONDS * 1e3,
        ratio: 0.0,
        n: rounds,
    })
}

/// A proposal on which so many have voted.
fn voted(voters: u32) -> Result<(Dao, TransferId), dao::DaoError> {
    let mut dao = Dao::default();
    let rules = Rules {
        proposal_threshold: Amount::ZERO,
        ..Rules::default()
    };
    let (proposal, one) = (Ids(0).next(), Amount::from_credits(1));
    let chunks = |size: u32| {
        (0..voters)
            .step_by(size as usize)
            .map(move |n| n..voters.min(n + size))
    };
    for chunk in chunks(1_000) {
        dao.update(START, |draft| {
            for number in chunk {
                let account = account(number);
                let enrol = dao::Operation::Enrol { account };
                let _ = draft.execute(&rules, &enrol, &NoHost)?;
                draft.set_tokens(account, one)?;
            }
            draft.set_circulating(Amount::from_credits(u64::from(voters)))
        })?;
    }
    let propose = dao::Operation::Propose {
        author: account(0),
        proposal,
        content: content(),
    };
    let now = UnixMillis(START.0 + DAY);
    dao.update(now, |draft| {
        draft.execute(&rules, &propose, &NoHost).map(drop)
    })?;
    let now = UnixMillis(now.0 + DAY + 1);
    for chunk in chunks(1_000) {
        dao.update(now, |draft| {
            for number in chunk {
                let vote = dao::Operation::Vote {
                    voter: account(number),
                    proposal,
                    choice: Choice::For,
                };
                let _ = draft.execute(&rules, &vote, &NoHost)?;
            }
            Ok::<(), dao::DaoError>(())
        })?;
    }
    Ok((dao, proposal))
}

fn tally(sizes: &Sizes, effort: Effort, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let counting = |(dao, proposal): (Dao, TransferId)| {
        let end = UnixMillis(START.0 + 30 * DAY);
        move || {
            let votes = dao.proposal(proposal).map(|record| record.votes(end));
            let _ = black_box((dao.state(proposal, end), votes));
        }
    };
    let (few, many) = (voted(sizes.few)?, voted(sizes.many)?);
    let pair = in_turns(effort, counting(many), counting(few));
    let case = format!("tally of {} votes", sizes.many);
    beside_few(sizes, case, "votes", pair, output)
}

#[expect(clippy::disallowed_methods, reason = "a bench measures elapsed time")]
fn now() -> Instant {
    Instant::now()
}
