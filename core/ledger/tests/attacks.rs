//! The attacks that worked on the prototype (its audit, section 6), against the real book. Each
//! fails here, changes nothing, and is told why.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use ed25519_dalek::SigningKey;
use fogcompute_base::{AccountId, NodeId, TransferId, UnixMillis};
use fogcompute_ledger::earning::{self, EarningError};
use fogcompute_ledger::economy::{Economy, EconomyError, Event, Request};
use fogcompute_ledger::staking::{self, Evidence, StakingError};
use fogcompute_ledger::{
    AccountKind, Amount, AssetId, Book, Entry, EntryKind, LedgerError, Limits, Memo, Operation,
    Ppm, PublicKey, Purse, Receipt, Restore, SignedBatch,
};

const ANA: AccountId = AccountId::from_bytes([1; 16]);
const BEN: AccountId = AccountId::from_bytes([2; 16]);
const NODE: NodeId = NodeId::from_bytes([9; 32]);
const DAY: u64 = 86_400_000;
/// The first millisecond of a day.
const NOW: UnixMillis = UnixMillis(20_000 * DAY);
const CREDIT: u128 = 10_u128.pow(18);

fn id(n: u64) -> TransferId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    TransferId::from_bytes(bytes)
}

fn credits(n: u64) -> Amount {
    Amount::from_credits(n)
}

fn open(account: AccountId) -> Operation {
    Operation::Open {
        account,
        asset: AssetId::CREDITS,
        kind: AccountKind::Holder,
    }
}

fn transfer(n: u64, from: AccountId, to: AccountId, amount: Amount) -> Operation {
    Operation::Transfer {
        id: id(n),
        from,
        to,
        amount,
        memo: Memo::NONE,
    }
}

fn reserve(n: u64, from: AccountId, to: AccountId, amount: Amount) -> Operation {
    Operation::Reserve {
        id: id(n),
        from,
        to,
        amount,
        expires: None,
        memo: Memo::NONE,
    }
}

fn economy(n: u64, request: Request) -> Operation {
    Operation::Economy {
        id: id(n),
        request: Box::new(request),
    }
}

fn stake(n: u64, operation: staking::Operation) -> Operation {
    economy(n, Request::Staking(operation))
}

fn earn(n: u64, rule: &str, facts: &[(&str, u64)]) -> Operation {
    let facts = facts.iter();
    economy(
        n,
        Request::Earning(earning::Operation::Earn {
            rule: rule.parse().unwrap(),
            account: ANA,
            facts: facts
                .map(|&(fact, value)| (fact.parse().unwrap(), value))
                .collect(),
        }),
    )
}

/// An economy with Ana, who has 100 credits of the treasury, and Ben, who has nothing.
fn founded() -> Book {
    let mut book = Book::new();
    let batch = [
        economy(1, Request::Configure(Economy::default())),
        open(ANA),
        open(BEN),
        transfer(2, Purse::Treasury.account(), ANA, credits(100)),
    ];
    book.execute(&batch, NOW).unwrap();
    book
}

fn balance(book: &Book, account: AccountId) -> Amount {
    book.account(account).unwrap().balance()
}

fn purse(book: &Book, purse: Purse) -> Amount {
    balance(book, purse.account())
}

/// What is refused changes nothing.
fn refusal(book: &Book, batch: &[Operation], now: UnixMillis) -> LedgerError {
    let mut copy = book.clone();
    let refused = copy.execute(batch, now).unwrap_err();
    assert_eq!(copy, *book);
    refused
}

fn earning_refusal(book: &Book, operation: Operation, now: UnixMillis) -> EarningError {
    match refusal(book, &[operation], now) {
        LedgerError::Earning { reason, .. } => *reason,
        other => panic!("{other}"),
    }
}

fn staking_refusal(book: &Book, operation: Operation, now: UnixMillis) -> StakingError {
    match refusal(book, &[operation], now) {
        LedgerError::Staking { reason, .. } => *reason,
        other => panic!("{other}"),
    }
}

/// What was paid out under a rule by these receipts.
fn granted(receipts: &[Receipt]) -> Amount {
    let sum = receipts.iter().map(|receipt| match &receipt.entry.kind {
        EntryKind::Economy { event, .. } => match **event {
            Event::Earning(earning::EventKind::Earned { granted, .. }) => granted.0,
            _ => 0,
        },
        _ => 0,
    });
    Amount(sum.sum())
}

#[test]
fn spending_a_negative_amount_mints_nothing() {
    // `spend_tokens(user, -1_000_000)` minted a million.
    for text in ["-1000000", "-1", "+1", "1e6", "", " 1", "0x10", "1_000"] {
        assert!(text.parse::<Amount>().is_err(), "{text:?}");
        let operation = format!(
            r#"{{"Transfer":{{"id":"{}","from":"{ANA}","to":"{BEN}","amount":"{text}"}}}}"#,
            id(9)
        );
        assert!(serde_json::from_str::<Operation>(&operation).is_err());
    }
    let book = founded();
    let nothing = transfer(9, ANA, BEN, Amount::ZERO);
    let refused = refusal(&book, &[nothing], NOW);
    assert_eq!(refused, LedgerError::ZeroAmount { id: id(9) });
    // A number that wrapped around from a negative one is far beyond what there is.
    let wrapped = transfer(9, ANA, BEN, Amount(u128::MAX - 999_999));
    assert!(matches!(
        refusal(&book, &[wrapped], NOW),
        LedgerError::InsufficientFunds { .. } | LedgerError::Overflow { .. }
    ));
}

#[test]
fn nobody_mints_beyond_the_largest_supply() {
    // There was no cap, and awards minted whatever they said.
    let mut book = founded();
    let mint = Purse::Mint.account();
    let rest = credits(1_000_000_000 - 1_000_000);
    let one = Amount(1);
    assert!(matches!(
        refusal(&book, &[transfer(9, mint, ANA, Amount(rest.0 + 1))], NOW),
        LedgerError::SupplyExceeded { left, .. } if left == rest
    ));
    book.execute(&[transfer(9, mint, ANA, rest)], NOW).unwrap();
    assert_eq!(book.supply(AssetId::CREDITS), Some(credits(1_000_000_000)));
    // Neither by hand, nor by earning, nor as a staking reward.
    let register = staking::Operation::Register {
        operator: NODE,
        account: BEN,
        commission: Ppm::ZERO,
    };
    let bond = staking::Operation::Bond {
        operator: NODE,
        delegator: ANA,
        amount: one,
    };
    book.execute(&[stake(10, register), stake(11, bond)], NOW)
        .unwrap();
    let reward = staking::Operation::Reward {
        operator: NODE,
        source: Purse::Mint,
        amount: one,
    };
    for operation in [
        transfer(12, mint, BEN, one),
        earn(12, "hosting", &[]),
        stake(12, reward),
    ] {
        let refused = refusal(&book, &[operation], NOW);
        assert!(
            matches!(refused, LedgerError::SupplyExceeded { .. }),
            "{refused}"
        );
    }
    // The cap is the economy's, not for whoever has a limit to set.
    let limit = Operation::Limit {
        id: id(12),
        account: mint,
        limits: Limits::default(),
    };
    assert!(matches!(
        refusal(&book, &[limit], NOW),
        LedgerError::PurseAccount {
            purse: Purse::Mint,
            ..
        }
    ));
}

#[test]
fn a_daily_limit_holds_whatever_the_number_of_claims() {
    // 100 awards for hosting paid 500 against a limit of 100.
    let mut book = founded();
    let mut paid = Amount::ZERO;
    let mut refused = 0;
    for n in 0..100 {
        match book.execute(&[earn(100 + n, "hosting", &[])], NOW) {
            Ok(receipts) => paid.0 += granted(&receipts).0,
            Err(LedgerError::Earning { reason, .. }) => {
                assert!(matches!(*reason, EarningError::LimitReached { .. }));
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((paid, refused), (credits(100), 80));
    assert_eq!(balance(&book, ANA), credits(200));
    // All hundred in one batch are more than the day has: none of them happens.
    let mut fresh = founded();
    let batch: Vec<_> = (0..100).map(|n| earn(100 + n, "hosting", &[])).collect();
    assert!(matches!(
        refusal(&fresh, &batch, NOW),
        LedgerError::Earning { .. }
    ));
    // As many as it has do.
    let receipts = fresh.execute(&batch[..20], NOW).unwrap();
    assert_eq!(granted(&receipts), credits(100));
    // The next day is another day; a clock that is set back brings no earlier day back.
    let tomorrow = UnixMillis(NOW.0 + DAY);
    fresh
        .execute(&[earn(300, "hosting", &[])], tomorrow)
        .unwrap();
    assert!(matches!(
        earning_refusal(&fresh, earn(301, "hosting", &[]), NOW),
        EarningError::ClockBehind { .. }
    ));
}

#[test]
fn computing_pays_and_a_misspelt_fact_is_told() {
    // The requirement's key was never among the facts, so that computing paid nothing.
    let mut book = founded();
    let session = |n, minutes: u64| {
        economy(
            n,
            Request::Earning(earning::Operation::Session {
                account: ANA,
                power_milli: 100_000,
                duration_ms: minutes * 60_000,
                bonus_per_mille: 0,
            }),
        )
    };
    let receipts = book.execute(&[session(9, 60)], NOW).unwrap();
    assert_eq!(granted(&receipts), credits(9));
    assert_eq!(balance(&book, ANA), credits(109));
    assert!(matches!(
        earning_refusal(&book, session(10, 4), NOW),
        EarningError::SessionTooShort { .. }
    ));
    assert!(matches!(
        earning_refusal(&book, earn(10, "compute", &[("min_duration", 60_000)]), NOW),
        EarningError::UnknownFact { .. }
    ));
    assert!(matches!(
        earning_refusal(&book, earn(10, "compute", &[]), NOW),
        EarningError::FactMissing { .. }
    ));
    // "At least 0.7" was tested with "not equal": 0.95 was refused.
    book.execute(&[earn(10, "knowledge", &[("quality", 950)])], NOW)
        .unwrap();
    assert!(matches!(
        earning_refusal(&book, earn(11, "knowledge", &[("quality", 699)]), NOW),
        EarningError::RequirementNotMet { .. }
    ));
}

#[test]
fn every_vote_of_one_voter_is_not_paid() {
    // Each of five votes on one proposal paid 3 credits, and so raised the next one's power.
    let mut book = founded();
    let vote = |n, first| earn(n, "governance", &[("first_vote", first)]);
    book.execute(&[vote(9, 1_000)], NOW).unwrap();
    // Asked again in the same words, it is answered and not paid.
    assert!(book.execute(&[vote(9, 1_000)], NOW).unwrap()[0].replayed);
    assert!(matches!(
        earning_refusal(&book, vote(10, 0), NOW),
        EarningError::RequirementNotMet { .. }
    ));
    assert_eq!(balance(&book, ANA), credits(103));
    // The same id with other facts is another request.
    assert!(matches!(
        refusal(
            &book,
            &[earn(
                9,
                "governance",
                &[("first_vote", 1_000), ("importance", 1_000)]
            )],
            NOW
        ),
        LedgerError::IdReused { .. }
    ));
}

#[test]
fn the_treasury_is_filled_once() {
    // It was 150,000 again after each start.
    let mut book = founded();
    let left = credits(1_000_000 - 100);
    assert_eq!(purse(&book, Purse::Treasury), left);
    let again = book
        .execute(&[economy(1, Request::Configure(Economy::default()))], NOW)
        .unwrap();
    assert!(again[0].replayed);
    book.execute(&[economy(9, Request::Configure(Economy::default()))], NOW)
        .unwrap();
    assert_eq!(purse(&book, Purse::Treasury), left);
    // A second founding with more in it is refused.
    let mut more = Economy::default();
    more.supply.initial = credits(2_000_000);
    let refused = refusal(&book, &[economy(10, Request::Configure(more))], NOW);
    assert!(matches!(
        refused,
        LedgerError::Economy { ref reason, .. }
            if matches!(**reason, EconomyError::OutOfBounds { .. })
    ));
    let set = Request::SetParameter {
        name: "supply.initial".to_owned(),
        value: 2_000_000 * CREDIT,
    };
    assert!(matches!(
        refusal(&book, &[economy(10, set)], NOW),
        LedgerError::Economy { .. }
    ));
    // What a restart reads is the history.
    let mut restore = Restore::new();
    restore.push(book.entries()).unwrap();
    let state = restore.finish(book.accounts().copied()).unwrap();
    assert_eq!(state, *book.state());
    let treasury = state.account(Purse::Treasury.account()).unwrap();
    assert_eq!(treasury.balance(), left);
}

#[test]
fn one_escrow_backs_one_bid() {
    // Escrow was a word in a column: the same credits backed any number of bids.
    let mut book = founded();
    book.execute(&[reserve(9, ANA, BEN, credits(60))], NOW)
        .unwrap();
    for operation in [
        reserve(10, ANA, BEN, credits(60)),
        transfer(10, ANA, BEN, credits(60)),
    ] {
        assert!(matches!(
            refusal(&book, &[operation], NOW),
            LedgerError::InsufficientFunds { available, .. } if available == credits(40)
        ));
    }
    // Nor can what is reserved be staked or paid as a fee.
    let register = staking::Operation::Register {
        operator: NODE,
        account: BEN,
        commission: Ppm::ZERO,
    };
    book.execute(&[stake(10, register)], NOW).unwrap();
    let bond = staking::Operation::Bond {
        operator: NODE,
        delegator: ANA,
        amount: credits(41),
    };
    let fee = earning::Operation::Fee {
        payer: ANA,
        payee: BEN,
        amount: credits(41),
    };
    for request in [Request::Staking(bond), Request::Earning(fee)] {
        assert!(matches!(
            refusal(&book, &[economy(11, request)], NOW),
            LedgerError::InsufficientFunds { .. }
        ));
    }
}

#[test]
fn a_fee_is_charged_and_not_only_counted() {
    // `amount + fee` was computed and thrown away, and the fee was counted as burned.
    let mut book = founded();
    let fee = earning::Operation::Fee {
        payer: ANA,
        payee: BEN,
        amount: credits(10),
    };
    let treasury = purse(&book, Purse::Treasury);
    book.execute(&[economy(9, Request::Earning(fee))], NOW)
        .unwrap();
    assert_eq!(balance(&book, ANA), credits(90));
    assert_eq!(balance(&book, BEN), credits(8));
    assert_eq!(
        purse(&book, Purse::Treasury).0 - treasury.0,
        15 * CREDIT / 10
    );
    assert_eq!(purse(&book, Purse::SovereignFund).0, CREDIT / 2);
    assert_eq!(book.supply(AssetId::CREDITS), Some(credits(1_000_000)));
}

#[test]
fn no_balance_is_without_its_history() {
    // Balance and transaction were two commits.
    let mut book = founded();
    let batch = [
        earn(9, "hosting", &[]),
        transfer(10, ANA, BEN, credits(3)),
        reserve(11, BEN, ANA, credits(2)),
    ];
    book.execute(&batch, NOW).unwrap();
    for account in book.accounts() {
        let (mut credits, mut debits) = (0, 0);
        for Entry { kind, .. } in book.entries() {
            if let Some((from, to)) = kind.parties() {
                debits += if from == account.id {
                    kind.moved().0
                } else {
                    0
                };
                credits += if to == account.id { kind.moved().0 } else { 0 };
            }
        }
        assert_eq!(
            (account.credits_posted.0, account.debits_posted.0),
            (credits, debits)
        );
    }
    assert_eq!(book.check(), Ok(()));
}

#[test]
fn nobody_signs_for_another_or_twice() {
    // Votes and transfers were unsigned: whoever named an account could spend from it.
    let (secret, other) = (
        SigningKey::from_bytes(&[7; 32]),
        SigningKey::from_bytes(&[8; 32]),
    );
    let mut book = founded();
    for (n, account, secret) in [(9, ANA, &secret), (10, BEN, &other)] {
        let own = Operation::Own {
            id: id(n),
            account,
            key: PublicKey::of(secret),
        };
        book.execute(&[own], NOW).unwrap();
    }
    let later = UnixMillis(NOW.0 + 1_000);
    let pay = vec![transfer(11, ANA, BEN, credits(5))];
    let signed = |account, nonce, operations, secret| {
        SignedBatch::new(account, nonce, later, operations, secret)
    };
    let refused = |book: &Book, batch: &SignedBatch| book.plan_signed(batch, NOW).unwrap_err();
    // Ben's key for Ana's account; Ben's own signature over her money.
    assert!(matches!(
        refused(&book, &signed(ANA, 1, pay.clone(), &other)),
        LedgerError::SignatureForged { account: ANA }
    ));
    assert!(matches!(
        refused(&book, &signed(BEN, 1, pay.clone(), &other)),
        LedgerError::NotTheOwner {
            signer: BEN,
            account: ANA
        }
    ));
    // Changed on the way.
    let mut changed = signed(ANA, 1, pay.clone(), &secret);
    changed.operations = vec![transfer(11, ANA, BEN, credits(50))];
    assert!(matches!(
        refused(&book, &changed),
        LedgerError::SignatureForged { .. }
    ));
    let sound = signed(ANA, 1, pay, &secret);
    let plan = book.plan_signed(&sound, NOW).unwrap();
    book.commit(plan).unwrap();
    assert!(matches!(
        refused(&book, &sound),
        LedgerError::SignatureReplayed { nonce: 1, .. }
    ));
    // Nobody grants, slashes, founds, changes parameters or takes a node for theirs by signing.
    let operations = [
        stake(
            12,
            staking::Operation::Register {
                operator: NODE,
                account: ANA,
                commission: Ppm::ZERO,
            },
        ),
        earn(12, "bug", &[("verified", 1_000)]),
        economy(12, Request::Configure(Economy::default())),
        economy(
            12,
            Request::SetParameter {
                name: "earning.contributions.bug.base".to_owned(),
                value: 1,
            },
        ),
        stake(
            12,
            staking::Operation::Slash {
                operator: NODE,
                evidence: Evidence::Downtime,
                infraction: NOW,
                power: Amount(1),
            },
        ),
        stake(
            12,
            staking::Operation::PayInsurance {
                claim: id(1),
                to: ANA,
                amount: Amount(1),
            },
        ),
        stake(
            12,
            staking::Operation::Reward {
                operator: NODE,
                source: Purse::Treasury,
                amount: Amount(1),
            },
        ),
    ];
    for operation in operations {
        assert!(matches!(
            refused(&book, &signed(ANA, 2, vec![operation], &secret)),
            LedgerError::HostOnly { signer: ANA, .. }
        ));
    }
    // Nor does anybody stake, unstake or claim for another.
    let register = staking::Operation::Register {
        operator: NODE,
        account: BEN,
        commission: Ppm::ZERO,
    };
    book.execute(&[stake(12, register)], NOW).unwrap();
    let of_others = [
        staking::Operation::Bond {
            operator: NODE,
            delegator: ANA,
            amount: credits(1),
        },
        staking::Operation::Unbond {
            operator: NODE,
            delegator: ANA,
            amount: None,
        },
        staking::Operation::Claim {
            operator: NODE,
            delegator: ANA,
        },
    ];
    for operation in of_others {
        assert!(matches!(
            refused(&book, &signed(BEN, 1, vec![stake(13, operation)], &other)),
            LedgerError::NotTheOwner { signer: BEN, .. }
        ));
    }
    let commission = staking::Operation::ClaimCommission { operator: NODE };
    assert!(matches!(
        refused(&book, &signed(ANA, 2, vec![stake(13, commission)], &secret)),
        LedgerError::NotTheOwner { signer: ANA, .. }
    ));
}

#[test]
fn the_purses_of_the_economy_are_not_to_be_emptied_by_hand() {
    let mut book = founded();
    let register = staking::Operation::Register {
        operator: NODE,
        account: BEN,
        commission: Ppm::ZERO,
    };
    let bond = staking::Operation::Bond {
        operator: NODE,
        delegator: ANA,
        amount: credits(50),
    };
    book.execute(&[stake(9, register), stake(10, bond)], NOW)
        .unwrap();
    let bonded = Purse::Bonded.account();
    for operation in [
        transfer(11, bonded, BEN, credits(50)),
        transfer(11, ANA, bonded, credits(1)),
        reserve(11, bonded, BEN, credits(1)),
        transfer(11, Purse::SovereignFund.account(), BEN, credits(1)),
        Operation::Close {
            id: id(11),
            account: Purse::Insurance.account(),
        },
        Operation::Own {
            id: id(11),
            account: Purse::Treasury.account(),
            key: PublicKey::from_bytes([1; 32]),
        },
        // Named as somebody's account.
        stake(
            11,
            staking::Operation::Bond {
                operator: NODE,
                delegator: Purse::Treasury.account(),
                amount: credits(1),
            },
        ),
        economy(
            11,
            Request::Earning(earning::Operation::Fee {
                payer: ANA,
                payee: bonded,
                amount: credits(10),
            }),
        ),
        stake(
            11,
            staking::Operation::Reward {
                operator: NODE,
                source: Purse::Account(bonded),
                amount: credits(1),
            },
        ),
    ] {
        let refused = refusal(&book, std::slice::from_ref(&operation), NOW);
        assert!(
            matches!(refused, LedgerError::PurseAccount { .. }),
            "{operation:?}: {refused}"
        );
    }
    // Nor can one be had before there is an economy, as something else than it will be.
    let mut empty = Book::new();
    let issuer = Operation::Open {
        account: bonded,
        asset: AssetId::CREDITS,
        kind: AccountKind::Issuer,
    };
    assert!(matches!(
        empty.execute(&[issuer], NOW).unwrap_err(),
        LedgerError::PurseAccount { .. }
    ));
}

#[test]
fn rewards_are_claimed_once_and_no_faster_by_asking_more_often() {
    // 5 % a year was compounded each hour: the rate depended on how often somebody asked.
    let mut book = founded();
    let register = staking::Operation::Register {
        operator: NODE,
        account: BEN,
        commission: Ppm::ZERO,
    };
    let bond = staking::Operation::Bond {
        operator: NODE,
        delegator: ANA,
        amount: credits(100),
    };
    book.execute(&[stake(9, register), stake(10, bond)], NOW)
        .unwrap();
    let rules = book.economy().unwrap().staking;
    let year = rules.reward_for(credits(100), 365 * DAY).unwrap();
    assert_eq!(year, credits(5));
    let hourly = rules.reward_for(credits(100), DAY / 24).unwrap();
    assert!(hourly.0 * 8_760 <= year.0);

    let reward = staking::Operation::Reward {
        operator: NODE,
        source: Purse::Treasury,
        amount: year,
    };
    let claim = staking::Operation::Claim {
        operator: NODE,
        delegator: ANA,
    };
    book.execute(&[stake(11, reward), stake(12, claim)], NOW)
        .unwrap();
    assert_eq!(balance(&book, ANA), credits(5));
    assert!(book.execute(&[stake(12, claim)], NOW).unwrap()[0].replayed);
    assert!(matches!(
        staking_refusal(&book, stake(13, claim), NOW),
        StakingError::NothingToClaim { .. }
    ));
    assert_eq!(balance(&book, ANA), credits(5));
}

#[test]
fn leaving_does_not_escape_a_slash() {
    let mut book = founded();
    let register = staking::Operation::Register {
        operator: NODE,
        account: BEN,
        commission: Ppm::ZERO,
    };
    let bond = staking::Operation::Bond {
        operator: NODE,
        delegator: ANA,
        amount: credits(100),
    };
    let unbond = staking::Operation::Unbond {
        operator: NODE,
        delegator: ANA,
        amount: None,
    };
    book.execute(&[stake(9, register), stake(10, bond)], NOW)
        .unwrap();
    let later = UnixMillis(NOW.0 + DAY);
    book.execute(&[stake(11, unbond)], later).unwrap();
    // The account cannot be closed meanwhile, or there would be nobody to pay out to.
    let close = Operation::Close {
        id: id(12),
        account: ANA,
    };
    assert!(matches!(
        refusal(&book, &[close], later),
        LedgerError::AccountStaked { account: ANA, .. }
    ));
    let slash = staking::Operation::Slash {
        operator: NODE,
        evidence: Evidence::DoubleResult,
        infraction: NOW,
        power: credits(100),
    };
    let after = UnixMillis(NOW.0 + 2 * DAY);
    book.execute(&[stake(12, slash)], after).unwrap();
    assert!(matches!(
        staking_refusal(&book, stake(13, slash), after),
        StakingError::Tombstoned { .. }
    ));
    assert_eq!(purse(&book, Purse::Unbonding), credits(95));
    assert_eq!(purse(&book, Purse::Insurance).0, 5 * CREDIT / 2);
    // Half of it is burned.
    assert_eq!(
        book.supply(AssetId::CREDITS).unwrap().0,
        1_000_000 * CREDIT - 5 * CREDIT / 2
    );
    let free = UnixMillis(later.0 + 21 * DAY);
    assert_eq!(book.next_expiry(), Some(free));
    let plan = book.expire(UnixMillis(free.0 - 1));
    assert!(plan.is_empty());
    let plan = book.expire(free);
    book.commit(plan).unwrap();
    assert_eq!(balance(&book, ANA), credits(95));
    assert_eq!(book.check(), Ok(()));
}
