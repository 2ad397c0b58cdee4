//! Balances of the past: after random batches, what each account had as of every earlier entry is
//! what a model had then.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use fogcompute_base::{AccountId, Rng, TransferId, UnixMillis};
use fogcompute_ledger::{AccountKind, Amount, AssetId, EntryKind, Memo, Operation};
use fogcompute_store::{Durability, LedgerOptions, SqliteLedger, Standing};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use tempfile::TempDir;

const PEOPLE: u8 = 4;
const BATCHES: u64 = 200;
const MINT: AccountId = AccountId::from_bytes([0xff; 16]);

fn person(n: u32) -> AccountId {
    AccountId::from_bytes([u8::try_from(n).unwrap() % PEOPLE + 1; 16])
}

fn id(n: u64) -> TransferId {
    TransferId::from_bytes(u128::from(n).to_be_bytes())
}

/// What accounts have received and given: too simple to be wrong.
type Model = BTreeMap<AccountId, (u128, u128)>;

/// A random operation; many of them are refused.
fn draw(n: u64, now: UnixMillis, rng: &mut impl Rng) -> Operation {
    let mut below = |bound: u32| rng.next_u32() % bound;
    let (from, to) = match below(6) {
        0..=2 => (MINT, person(below(4))),
        3 => (person(below(4)), MINT),
        _ => (person(below(4)), person(below(4))),
    };
    let amount = Amount(below(60).into());
    let earlier = id(n.saturating_sub(1 + u64::from(below(8))));
    match below(6) {
        0 => Operation::Reserve {
            id: id(n),
            from,
            to,
            amount,
            expires: (below(2) == 0).then_some(UnixMillis(now.0 + u64::from(below(3_000)))),
            memo: Memo::NONE,
        },
        1 => Operation::Post {
            id: id(n),
            reservation: earlier,
            amount: (below(2) == 0).then_some(amount),
        },
        2 => Operation::Void {
            id: id(n),
            reservation: earlier,
        },
        _ => Operation::Transfer {
            id: id(n),
            from,
            to,
            amount,
            memo: Memo::NONE,
        },
    }
}

/// Runs random batches; gives the model after every entry, and the time of each.
fn run(ledger: &mut SqliteLedger, rng: &mut impl Rng) -> (Vec<Model>, Vec<UnixMillis>) {
    let (mut models, mut times) = (vec![Model::new()], Vec::new());
    let mut now = UnixMillis(1_700_000_000_000);
    let open = |account, kind| Operation::Open {
        account,
        asset: AssetId::CREDITS,
        kind,
    };
    let mut number = 100;
    for round in 0..BATCHES {
        now.0 += u64::from(rng.next_u32() % 1_000);
        let mut done = ledger.expire(now).unwrap();
        let batch: Vec<_> = match round {
            0 => vec![open(MINT, AccountKind::Issuer)],
            // One after the other, so that some are not there yet.
            1..=4 => {
                let account = person(u32::try_from(round).unwrap());
                vec![open(account, AccountKind::Holder)]
            }
            _ => (0..=rng.next_u32() % 3)
                .map(|_| {
                    number += 1;
                    draw(number, now, rng)
                })
                .collect(),
        };
        done.extend(ledger.execute(&batch, now).unwrap_or_default());
        for receipt in done {
            let mut model = models.last().unwrap().clone();
            let kind = &receipt.entry.kind;
            if let EntryKind::Opened { account, .. } = kind {
                model.insert(*account, (0, 0));
            }
            if let Some((from, to)) = kind.parties() {
                model.get_mut(&from).unwrap().1 += kind.moved().0;
                model.get_mut(&to).unwrap().0 += kind.moved().0;
            }
            assert_eq!(receipt.entry.sequence, models.len() as u64);
            models.push(model);
            times.push(now);
        }
        // The model is what the accounts say themselves.
        let accounts = ledger.state().accounts();
        let now: Model = accounts
            .map(|it| (it.id, (it.credits_posted.0, it.debits_posted.0)))
            .collect();
        assert_eq!(*models.last().unwrap(), now);
    }
    (models, times)
}

fn counters(standing: Option<Standing>) -> Option<(u128, u128)> {
    standing.map(|it| (it.credits_posted.0, it.debits_posted.0))
}

#[test]
fn the_balance_as_of_every_entry_is_what_a_model_had_then() {
    for seed in 0..12 {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ledger");
        let mut ledger = SqliteLedger::open(&path, Durability::Normal).unwrap();
        let (models, times) = run(&mut ledger, &mut rng);
        assert!(models.len() > 60, "seed {seed}: {} entries", models.len());
        let check = |ledger: &mut SqliteLedger| {
            for account in (0..u32::from(PEOPLE)).map(person).chain([MINT]) {
                for (sequence, model) in (0..).zip(&models) {
                    assert_eq!(
                        counters(ledger.as_of(account, sequence).unwrap()),
                        model.get(&account).copied(),
                        "seed {seed}: {account} as of entry {sequence}"
                    );
                }
                // Times never go back here: the last entry of a time is what counts at it.
                for (index, time) in times.iter().enumerate() {
                    if times.get(index + 1) != Some(time) {
                        assert_eq!(
                            counters(ledger.as_of_time(account, *time).unwrap()),
                            models[index + 1].get(&account).copied(),
                            "seed {seed}: {account} at {time}"
                        );
                    }
                }
            }
        };
        check(&mut ledger);
        drop(ledger);
        let mut again = SqliteLedger::open_existing(&path, LedgerOptions::default()).unwrap();
        check(&mut again);
        again.project_anew().unwrap();
        check(&mut again);
    }
}
