//! Governance in the book: votes that are signed, proposals that change what the ledger pays, and
//! what it takes from the host.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use ed25519_dalek::SigningKey;
use fogcompute_base::{AccountId, Digest, NodeId, TransferId, UnixMillis};
use fogcompute_ledger::dao::{
    Action, Choice, Content, DaoError, Holder, ProposalKind, ProposalState, Role, Scope, Weight,
};
use fogcompute_ledger::economy::{Economy, EconomyError, Event, Request};
use fogcompute_ledger::staking::{self, Evidence};
use fogcompute_ledger::{
    AccountKind, Amount, AssetId, Book, EntryKind, LedgerError, Memo, Operation, Ppm, PublicKey,
    Purse, SignedBatch, dao, earning,
};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
const START: UnixMillis = UnixMillis(20_000 * DAY);
const ANA: AccountId = AccountId::from_bytes([1; 16]);
const BEN: AccountId = AccountId::from_bytes([2; 16]);
const EVE: AccountId = AccountId::from_bytes([3; 16]);
const NODE: NodeId = NodeId::from_bytes([9; 32]);

fn id(n: u64) -> TransferId {
    let mut bytes = [0xff; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    TransferId::from_bytes(bytes)
}

fn credits(n: u64) -> Amount {
    Amount::from_credits(n)
}

/// A book that draws ids and numbers of signatures by itself.
struct World {
    book: Book,
    now: UnixMillis,
    next: u64,
}

impl World {
    /// Ana and Ben have 40,000 credits each, Eve 20,000, the treasury the rest of 1,000,000.
    fn new() -> Self {
        let mut world = Self {
            book: Book::new(),
            now: START,
            next: 1,
        };
        let mut economy = Economy::default();
        economy.dao.voter_share_max = Ppm::WHOLE;
        world.host(Request::Configure(economy)).unwrap();
        for (account, amount) in [(ANA, 40_000), (BEN, 40_000), (EVE, 20_000)] {
            let (asset, kind) = (AssetId::CREDITS, AccountKind::Holder);
            world
                .run(Operation::Open {
                    account,
                    asset,
                    kind,
                })
                .unwrap();
            world
                .pay(Purse::Treasury.account(), account, amount)
                .unwrap();
            world.next += 1;
            let own = Operation::Own {
                id: id(world.next),
                account,
                key: PublicKey::of(&secret(account)),
            };
            world.run(own).unwrap();
        }
        world
    }

    fn established() -> Self {
        let mut world = Self::new();
        for account in [ANA, BEN, EVE] {
            world
                .signed(account, dao::Operation::Enrol { account })
                .unwrap();
        }
        let roles = vec![Holder {
            account: EVE,
            role: Role::Guardian,
        }];
        world
            .host(Request::Governance(dao::Operation::Establish { roles }))
            .unwrap();
        world.wait(DAY);
        world
    }

    fn wait(&mut self, ms: u64) {
        self.now.0 += ms;
    }

    fn run(&mut self, operation: Operation) -> Result<(), LedgerError> {
        let before = self.book.clone();
        let done = self.book.execute(&[operation], self.now).map(drop);
        if done.is_err() {
            assert_eq!(self.book, before, "what is refused changes nothing");
        }
        assert_eq!(self.book.check(), Ok(()));
        done
    }

    fn ask(&mut self, request: Request) -> Operation {
        self.next += 1;
        Operation::Economy {
            id: id(self.next),
            request: Box::new(request),
        }
    }

    fn host(&mut self, request: Request) -> Result<(), LedgerError> {
        let operation = self.ask(request);
        self.run(operation)
    }

    fn stake(&mut self, operation: staking::Operation) {
        self.host(Request::Staking(operation)).unwrap();
    }

    fn pay(&mut self, from: AccountId, to: AccountId, amount: u64) -> Result<(), LedgerError> {
        self.next += 1;
        self.run(Operation::Transfer {
            id: id(self.next),
            from,
            to,
            amount: credits(amount),
            memo: Memo::NONE,
        })
    }

    fn signed(&mut self, by: AccountId, operation: dao::Operation) -> Result<(), LedgerError> {
        let operation = self.ask(Request::Governance(operation));
        let nonce = self.book.owner(by).unwrap().nonce + 1;
        let expires = UnixMillis(self.now.0 + HOUR);
        let batch = SignedBatch::new(by, nonce, expires, vec![operation], &secret(by));
        let plan = self.book.plan_signed(&batch, self.now)?;
        self.book.commit(plan).map(drop)
    }

    fn propose(&mut self, n: u64, content: Content) -> Result<TransferId, LedgerError> {
        let proposal = id(1_000 + n);
        let author = ANA;
        let propose = dao::Operation::Propose {
            author,
            proposal,
            content,
        };
        self.signed(author, propose).map(|()| proposal)
    }

    fn vote(&mut self, voter: AccountId, proposal: TransferId) -> Result<(), LedgerError> {
        let choice = Choice::For;
        self.signed(
            voter,
            dao::Operation::Vote {
                voter,
                proposal,
                choice,
            },
        )
    }

    /// From the proposal to the moment it can be executed, with everybody in favour.
    fn pass(&mut self, n: u64, content: Content) -> TransferId {
        let proposal = self.propose(n, content).unwrap();
        self.wait(DAY + 1);
        for voter in [ANA, BEN, EVE] {
            self.vote(voter, proposal).unwrap();
        }
        self.wait(7 * DAY);
        self.queue(proposal).unwrap();
        self.wait(DAY);
        proposal
    }

    fn queue(&mut self, proposal: TransferId) -> Result<(), LedgerError> {
        self.host(Request::Governance(dao::Operation::Queue { proposal }))
    }

    fn execute(&mut self, proposal: TransferId) -> Result<(), LedgerError> {
        self.host(Request::Governance(dao::Operation::Execute { proposal }))
    }

    fn state(&self, proposal: TransferId) -> ProposalState {
        self.book.dao().state(proposal, self.now).unwrap()
    }

    fn balance(&self, account: AccountId) -> Amount {
        self.book.account(account).unwrap().balance()
    }

    fn own_weight(&self, account: AccountId) -> Weight {
        self.book.dao().standing(account, ProposalKind::General).own
    }

    /// The history gives this book again.
    fn read_again(&self) {
        let accounts = self.book.accounts().copied();
        let again = Book::restore(self.book.entries().to_vec(), accounts).unwrap();
        assert_eq!(again.state(), self.book.state());
    }
}

fn secret(account: AccountId) -> SigningKey {
    SigningKey::from_bytes(&[account.as_bytes()[0]; 32])
}

fn content(kind: ProposalKind, actions: Vec<Action>) -> Content {
    Content {
        kind,
        title: "A change".to_owned(),
        description: String::new(),
        actions,
    }
}

fn set(name: &str, value: u128) -> Content {
    let name = name.to_owned();
    content(
        ProposalKind::ParameterChange,
        vec![Action::SetParameter { name, value }],
    )
}

fn treasury(to: AccountId, amount: Amount) -> Content {
    content(
        ProposalKind::TreasuryAllocation,
        vec![Action::Pay {
            to,
            amount,
            code: 7,
        }],
    )
}

fn refusal(done: Result<impl std::fmt::Debug, LedgerError>) -> DaoError {
    match done {
        Err(LedgerError::Dao { reason, .. }) => *reason,
        other => panic!("governance did not refuse: {other:?}"),
    }
}

fn hosting(account: AccountId) -> Request {
    Request::Earning(earning::Operation::Earn {
        rule: "hosting".parse().unwrap(),
        account,
        facts: std::collections::BTreeMap::new(),
    })
}

#[test]
fn a_vote_changes_what_the_ledger_pays() {
    let mut world = World::established();
    world.host(hosting(BEN)).unwrap();
    assert_eq!(world.balance(BEN), credits(40_005));
    let proposal = world.pass(1, set("earning.contributions.hosting.base", credits(8).0));
    world.host(hosting(BEN)).unwrap();
    assert_eq!(world.balance(BEN), credits(40_010));
    world.execute(proposal).unwrap();
    assert_eq!(world.state(proposal), ProposalState::Executed);
    world.host(hosting(BEN)).unwrap();
    assert_eq!(world.balance(BEN), credits(40_018));
    assert!(matches!(
        refusal(world.execute(proposal)),
        DaoError::NotQueued {
            state: ProposalState::Executed,
            ..
        }
    ));
    world.read_again();
}

#[test]
fn the_treasury_pays_what_was_voted_and_nothing_else() {
    let mut world = World::established();
    let before = world.balance(Purse::Treasury.account());
    let proposal = world.pass(1, treasury(BEN, credits(500)));
    world.execute(proposal).unwrap();
    assert_eq!(world.balance(BEN), credits(40_500));
    assert_eq!(
        world.balance(Purse::Treasury.account()).0,
        before.0 - credits(500).0
    );
    let moved = world.book.entries().last().unwrap();
    let EntryKind::Moved {
        cause, to, amount, ..
    } = moved.kind
    else {
        panic!("the payment comes last: {moved:?}");
    };
    assert_eq!((to, amount), (BEN, credits(500)));
    let cause = &world.book.entries()[cause as usize - 1];
    assert!(matches!(
        &cause.kind,
        EntryKind::Economy { event, .. } if matches!(
            **event,
            Event::Governance(dao::EventKind::Executed { proposal: done }) if done == proposal
        )
    ));
    // The host has no hand in it any more, nor in the mint and the rules.
    for (purse, account) in [
        (Purse::Treasury, Purse::Treasury.account()),
        (Purse::Mint, Purse::Mint.account()),
    ] {
        assert_eq!(
            world.pay(account, EVE, 1),
            Err(LedgerError::Governed { purse: Some(purse) })
        );
    }
    let name = "earning.contributions.hosting.base".to_owned();
    for request in [
        Request::SetParameter { name, value: 1 },
        Request::Configure(Economy::default()),
    ] {
        assert_eq!(
            world.host(request),
            Err(LedgerError::Governed { purse: None })
        );
    }
    // It takes what everybody gives.
    world.pay(ANA, Purse::Treasury.account(), 1).unwrap();
    let all = world.balance(Purse::Treasury.account());
    let more = all.checked_add(Amount(1)).unwrap();
    assert!(matches!(
        refusal(world.propose(2, treasury(BEN, more))),
        DaoError::ActionInvalid { index: 0, .. }
    ));
    world.read_again();
}

#[test]
fn an_action_that_fails_undoes_the_ones_before_it() {
    let mut world = World::established();
    let half = Amount(world.balance(Purse::Treasury.account()).0 / 2 + 1);
    let first = world.propose(1, treasury(BEN, half)).unwrap();
    let pays_twice = content(
        ProposalKind::TreasuryAllocation,
        vec![
            Action::Pay {
                to: EVE,
                amount: credits(1),
                code: 0,
            },
            Action::Pay {
                to: EVE,
                amount: half,
                code: 0,
            },
        ],
    );
    let second = world.propose(2, pays_twice).unwrap();
    world.wait(DAY + 1);
    for proposal in [first, second] {
        for voter in [ANA, BEN] {
            world.vote(voter, proposal).unwrap();
        }
    }
    world.wait(7 * DAY);
    for proposal in [first, second] {
        world.queue(proposal).unwrap();
    }
    world.wait(DAY);
    world.execute(first).unwrap();
    let refused = world.execute(second);
    assert!(refused.is_err(), "the treasury has half of it left");
    assert_eq!(world.balance(EVE), credits(20_000));
    assert!(matches!(world.state(second), ProposalState::Queued));
    // Once it can, it does so, before its time is over.
    world.pay(ANA, Purse::Treasury.account(), 100).unwrap();
    world.execute(second).unwrap();
    assert_eq!(world.state(second), ProposalState::Executed);
    world.read_again();
}

#[test]
fn two_proposals_of_one_value_are_both_done() {
    let mut world = World::established();
    let first = world.propose(1, set("dao.live_max", 50)).unwrap();
    let second = world.propose(2, set("dao.live_max", 50)).unwrap();
    world.wait(DAY + 1);
    for proposal in [first, second] {
        for voter in [ANA, BEN] {
            world.vote(voter, proposal).unwrap();
        }
    }
    world.wait(7 * DAY);
    for proposal in [first, second] {
        world.queue(proposal).unwrap();
    }
    world.wait(DAY);
    world.execute(first).unwrap();
    // To propose it again is to ask for nothing; what was proposed before is as it was to be.
    assert!(matches!(
        refusal(world.propose(3, set("dao.live_max", 50))),
        DaoError::ActionInvalid { index: 0, .. }
    ));
    world.execute(second).unwrap();
    assert_eq!(world.state(second), ProposalState::Executed);
    world.read_again();
}

#[test]
fn a_host_takes_no_voters_key() {
    // Whoever could write the file gave a voter another key, and voted with that.
    let mut world = World::established();
    let other = secret(EVE);
    let own = |n: u64, account, key: &SigningKey| Operation::Own {
        id: id(5_000 + n),
        account,
        key: PublicKey::of(key),
    };
    assert_eq!(
        world.run(own(1, BEN, &other)),
        Err(LedgerError::SignatureRequired {
            id: id(5_001),
            account: BEN
        })
    );
    // To say again what is so takes nothing from anybody, and who has no key is given the first.
    world.run(own(2, BEN, &secret(BEN))).unwrap();
    let newcomer = AccountId::from_bytes([77; 16]);
    let (asset, kind) = (AssetId::CREDITS, AccountKind::Holder);
    let open = Operation::Open {
        account: newcomer,
        asset,
        kind,
    };
    world.run(open).unwrap();
    world.run(own(3, newcomer, &other)).unwrap();
    assert!(world.run(own(4, newcomer, &secret(BEN))).is_err());
    // The owner replaces it, by a signature under the old one.
    let nonce = world.book.owner(BEN).unwrap().nonce + 1;
    let expires = UnixMillis(world.now.0 + HOUR);
    let operations = vec![own(5, BEN, &other)];
    let batch = SignedBatch::new(BEN, nonce, expires, operations, &secret(BEN));
    let plan = world.book.plan_signed(&batch, world.now).unwrap();
    world.book.commit(plan).unwrap();
    assert_eq!(world.book.owner(BEN).unwrap().key, PublicKey::of(&other));
    world.read_again();
    // Before roles are established, the host may: nobody decides yet but it.
    let mut before = World::new();
    before.run(own(1, BEN, &other)).unwrap();
}

#[test]
fn accounts_speak_by_signatures() {
    let mut world = World::established();
    let proposal = world
        .propose(1, set("earning.contributions.hosting.base", 1))
        .unwrap();
    world.wait(DAY + 1);
    let vote = dao::Operation::Vote {
        voter: BEN,
        proposal,
        choice: Choice::For,
    };
    let asked = world.ask(Request::Governance(vote.clone()));
    let op_id = asked.id().unwrap();
    assert_eq!(
        world.run(asked),
        Err(LedgerError::SignatureRequired {
            id: op_id,
            account: BEN
        })
    );
    assert_eq!(
        world.signed(EVE, vote.clone()),
        Err(LedgerError::NotTheOwner {
            signer: EVE,
            account: BEN
        })
    );
    let establish = dao::Operation::Establish { roles: Vec::new() };
    assert!(matches!(
        world.signed(EVE, establish),
        Err(LedgerError::HostOnly { signer: EVE, .. })
    ));
    // Signed on a phone, handed over later, once.
    let operation = world.ask(Request::Governance(vote));
    let expires = UnixMillis(world.now.0 + DAY);
    let nonce = world.book.owner(BEN).unwrap().nonce + 1;
    let batch = SignedBatch::new(BEN, nonce, expires, vec![operation], &secret(BEN));
    world.wait(HOUR);
    let received = SignedBatch::decode(&batch.encode()).unwrap();
    let plan = world.book.plan_signed(&received, world.now).unwrap();
    world.book.commit(plan).unwrap();
    assert!(matches!(
        world.book.plan_signed(&received, world.now),
        Err(LedgerError::SignatureReplayed { account: BEN, .. })
    ));
    let ballot = world.book.dao().ballot(proposal, BEN).unwrap();
    assert_eq!(ballot.choice, Choice::For);
    // A host that holds its users' accounts may say so in the rules, before they are governed.
    let mut custody = World::new();
    let name = "dao.signatures_required".to_owned();
    custody
        .host(Request::SetParameter { name, value: 0 })
        .unwrap();
    custody
        .host(Request::Governance(dao::Operation::Enrol { account: ANA }))
        .unwrap();
}

#[test]
fn weights_follow_tokens_and_stake_and_slashes() {
    let mut world = World::new();
    world.stake(staking::Operation::Register {
        operator: NODE,
        account: EVE,
        commission: Ppm::ZERO,
    });
    world.stake(staking::Operation::Bond {
        operator: NODE,
        delegator: ANA,
        amount: credits(10_000),
    });
    world
        .signed(ANA, dao::Operation::Enrol { account: ANA })
        .unwrap();
    // Stake from before counts, and what circulates is everybody's.
    assert_eq!(world.own_weight(ANA).0, credits(40_000).0);
    assert_eq!(world.book.dao().total().0, credits(100_000).0);
    world.stake(staking::Operation::Bond {
        operator: NODE,
        delegator: BEN,
        amount: credits(5_000),
    });
    world.pay(ANA, BEN, 1_000).unwrap();
    assert_eq!(world.own_weight(ANA).0, credits(39_000).0);
    assert_eq!(world.own_weight(BEN).0, 0);
    assert_eq!(world.book.dao().total().0, credits(100_000).0);
    world.wait(HOUR);
    world.stake(staking::Operation::Slash {
        operator: NODE,
        evidence: Evidence::DoubleResult,
        infraction: START,
        power: credits(10_000),
    });
    // 5 % of 10,000 at the time, which two thirds of the stake bear two thirds of.
    let share = credits(500).0 * 2 / 3;
    let weight = world.own_weight(ANA).0;
    assert!(weight.abs_diff(credits(39_000).0 - share) <= 1, "{weight}");
    assert_eq!(world.book.dao().total().0, credits(99_500).0);
    // What leaves has no say until it is paid out.
    world.wait(HOUR);
    world.stake(staking::Operation::Unbond {
        operator: NODE,
        delegator: ANA,
        amount: None,
    });
    assert_eq!(world.own_weight(ANA).0, credits(29_000).0);
    world.wait(22 * DAY);
    let plan = world.book.expire(world.now);
    world.book.commit(plan).unwrap();
    assert!(world.own_weight(ANA).0 > credits(38_600).0);
    world.read_again();
}

#[test]
fn what_moves_after_the_snapshot_changes_nothing() {
    let mut world = World::established();
    let proposal = world
        .propose(1, set("earning.contributions.hosting.base", 1))
        .unwrap();
    world.wait(DAY + 1);
    // Bought, voted, sold: the votes are of what was there at the snapshot.
    world.pay(ANA, EVE, 39_000).unwrap();
    world.vote(EVE, proposal).unwrap();
    world.pay(EVE, BEN, 59_000).unwrap();
    world.vote(BEN, proposal).unwrap();
    let eve = world.book.dao().ballot(proposal, EVE).unwrap();
    assert_eq!(eve.power.0, 5 * credits(20_000).0);
    let ben = world.book.dao().ballot(proposal, BEN).unwrap();
    assert_eq!(ben.power.0, credits(40_000).0);
    world.read_again();
}

#[test]
fn what_is_paused_is_refused_until_it_is_not() {
    let mut world = World::established();
    let pause = content(
        ProposalKind::EmergencyAction,
        vec![Action::Pause {
            scope: Scope::Earning,
        }],
    );
    let proposal = world.propose(1, pause).unwrap();
    world.wait(HOUR + 1);
    for voter in [ANA, BEN, EVE] {
        world.vote(voter, proposal).unwrap();
    }
    world.wait(DAY + 1);
    world.queue(proposal).unwrap();
    world.wait(HOUR);
    world.execute(proposal).unwrap();
    assert!(matches!(
        world.host(hosting(BEN)),
        Err(LedgerError::Paused {
            scope: Scope::Earning,
            ..
        })
    ));
    world.pay(ANA, BEN, 1).unwrap();
    let again = content(
        ProposalKind::General,
        vec![
            Action::Unpause {
                scope: Scope::Earning,
            },
            Action::Resolve {
                text: Digest::of(b"It is over."),
            },
        ],
    );
    let proposal = world.pass(2, again);
    world.execute(proposal).unwrap();
    world.host(hosting(BEN)).unwrap();
    world.read_again();
}

#[test]
fn parameters_are_tried_before_anybody_votes_on_them() {
    let mut world = World::established();
    let mut refused = |content| match refusal(world.propose(1, content)) {
        DaoError::ActionInvalid { index, reason } => (index, reason.to_string()),
        other => panic!("{other:?}"),
    };
    let (index, reason) = refused(set("earning.contributions.hosting.speed", 1));
    assert_eq!(
        (
            index,
            reason.contains("earning.contributions.hosting.speed")
        ),
        (0, true)
    );
    let (_, reason) = refused(set("dao.quorum", 2_000_000));
    assert!(reason.contains("dao.quorum"), "{reason}");
    let (_, reason) = refused(set("supply.initial", 5));
    assert!(reason.contains("supply.initial"), "{reason}");
    // Until governance is established, the host sets them.
    let mut founding = World::new();
    let name = "supply.initial".to_owned();
    assert!(matches!(
        founding.host(Request::SetParameter { name, value: 5 }),
        Err(LedgerError::Economy { reason, .. })
            if matches!(*reason, EconomyError::OutOfBounds { .. })
    ));
}
