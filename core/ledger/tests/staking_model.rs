//! Staking in any order of events, against a model that is too simple to be wrong: lists that are
//! walked through, big integers, and rewards as exact fractions.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use fogcompute_base::{AccountId, NodeId, TransferId, UnixMillis};
use fogcompute_ledger::staking::{
    Event, EventKind, Evidence, Operation, Rules, Shares, Snapshot, Staking,
};
use fogcompute_ledger::{Amount, Movement, Ppm, Purse};
use num_bigint::BigInt;
use num_rational::BigRational;
use proptest::prelude::*;

const OPERATORS: u8 = 3;
const DELEGATORS: u8 = 3;
const UNBONDING: u64 = 1_000;

fn node(n: u8) -> NodeId {
    NodeId::from_bytes([n; 32])
}

fn account(n: u8) -> AccountId {
    AccountId::from_bytes([n; 16])
}

fn rules() -> Rules {
    let mut rules = Rules {
        unbonding_ms: UNBONDING,
        evidence_age_ms: UNBONDING,
        entries_max: 3,
        ..Rules::default()
    };
    rules.double_result.fraction = Ppm::percent(90);
    rules.invalid_result.fraction = Ppm::percent(33);
    rules.invalid_result.jail_ms = 0;
    rules.downtime.jail_ms = 50;
    rules
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Bond(u8, u8, u128),
    /// Of what is staked, in thousandths; above 1,000 all of it.
    Unbond(u8, u8, u64),
    Redelegate(u8, u8, u8, u64),
    /// Cancels one of the open unbondings, in thousandths.
    Cancel(usize, u64),
    Reward(u8, u128),
    Claim(u8, u8),
    Commission(u8),
    /// The kind, how long ago it was, and for how many thousandths of the stake.
    Slash(u8, u8, u64, u64),
    Unjail(u8),
    Mature,
    Insurance(u128),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let op = 0..OPERATORS;
    let del = 0..DELEGATORS;
    let amount = prop_oneof![
        4 => 1..2_000_u128,
        1 => 10_u128.pow(18)..10_u128.pow(25),
    ];
    let part = prop_oneof![3 => 1..1_000_u64, 1 => Just(1_001)];
    let ago = prop_oneof![4 => 0..100_u64, 2 => 0..UNBONDING / 2, 1 => 0..UNBONDING + 20];
    let step = prop_oneof![
        5 => (op.clone(), del.clone(), amount.clone())
            .prop_map(|(o, d, amount)| Step::Bond(o, d, amount)),
        4 => (op.clone(), del.clone(), part.clone()).prop_map(|(o, d, p)| Step::Unbond(o, d, p)),
        3 => (op.clone(), del.clone(), op.clone(), part.clone())
            .prop_map(|(o, d, t, p)| Step::Redelegate(o, d, t, p)),
        2 => (any::<usize>(), part.clone()).prop_map(|(n, p)| Step::Cancel(n, p)),
        4 => (op.clone(), amount.clone()).prop_map(|(o, a)| Step::Reward(o, a)),
        3 => (op.clone(), del).prop_map(|(o, d)| Step::Claim(o, d)),
        1 => op.clone().prop_map(Step::Commission),
        3 => (op.clone(), prop_oneof![1 => Just(0_u8), 20 => Just(1_u8), 4 => Just(2_u8)], ago, part.clone())
            .prop_map(|(o, k, a, p)| Step::Slash(o, k, a, p.min(1_000))),
        4 => op.prop_map(Step::Unjail),
        2 => Just(Step::Mature),
        1 => amount.prop_map(Step::Insurance),
        4 => (1..150_u64).prop_map(Step::Wait),
        1 => Just(Step::Wait(UNBONDING)),
    ];
    proptest::collection::vec(step, 1..200)
}

/// Stake that left an operator: for nowhere, or for another operator.
#[derive(Clone, Debug)]
struct Exit {
    entry: u64,
    from: u8,
    to: Option<u8>,
    delegator: u8,
    started: u64,
    matures: u64,
    initial: BigInt,
    balance: BigInt,
    /// At the operator it went to.
    shares: BigInt,
}

#[derive(Clone, Debug)]
struct Model {
    now: u64,
    tokens: Vec<BigInt>,
    shares: BTreeMap<(u8, u8), BigInt>,
    exits: Vec<Exit>,
    jailed: Vec<Option<u64>>,
    dead: Vec<bool>,
    punished: Vec<(u8, u8, u64)>,
    losses: Vec<(u8, u64, BigInt)>,
    insurance: BigInt,
    commission: Vec<BigInt>,
    /// Exact rewards of each stake, and what of them was claimed.
    earned: BTreeMap<(u8, u8), BigRational>,
    claimed: BTreeMap<(u8, u8), BigInt>,
    /// What was less than a base unit when a stake ended; the system carries it to the others.
    dust: Vec<BigRational>,
    next: u64,
}

fn int(value: impl Into<BigInt>) -> BigInt {
    value.into()
}

fn zero() -> BigInt {
    int(0)
}

fn exact(value: &BigInt) -> BigRational {
    BigRational::from_integer(value.clone())
}

fn least<'a>(a: &'a BigInt, b: &'a BigInt) -> BigInt {
    a.min(b).clone()
}

fn less(a: &BigInt, b: &BigInt) -> BigInt {
    (a - b).max(zero())
}

/// `a * b / c`, rounded up.
fn up(a: &BigInt, b: &BigInt, c: &BigInt) -> BigInt {
    (a * b + c - int(1)) / c
}

impl Model {
    fn new() -> Self {
        let each = usize::from(OPERATORS);
        Self {
            now: 10_000,
            tokens: vec![zero(); each],
            shares: BTreeMap::new(),
            exits: Vec::new(),
            jailed: vec![None; each],
            dead: vec![false; each],
            punished: Vec::new(),
            losses: Vec::new(),
            insurance: zero(),
            commission: vec![zero(); each],
            earned: BTreeMap::new(),
            claimed: BTreeMap::new(),
            dust: vec![exact(&zero()); each],
            next: 1,
        }
    }

    fn held(&self, o: u8, d: u8) -> BigInt {
        self.shares.get(&(o, d)).cloned().unwrap_or_default()
    }

    fn all(&self, o: u8) -> BigInt {
        (0..DELEGATORS).map(|d| self.held(o, d)).sum()
    }

    fn tokens(&self, o: u8) -> &BigInt {
        &self.tokens[usize::from(o)]
    }

    fn worth(&self, o: u8, shares: &BigInt) -> BigInt {
        let all = self.all(o);
        if all == zero() {
            return zero();
        }
        shares * self.tokens(o) / all
    }

    fn free(&self, o: u8) -> Option<()> {
        let o = usize::from(o);
        (!self.dead[o] && self.jailed[o].is_none()).then_some(())
    }

    fn join(&mut self, o: u8, d: u8, amount: &BigInt) -> Option<BigInt> {
        let (all, tokens) = (self.all(o), self.tokens(o).clone());
        let shares = if all == zero() {
            amount.clone()
        } else if tokens == zero() {
            return None;
        } else {
            amount * all / tokens
        };
        *self.shares.entry((o, d)).or_default() += &shares;
        self.tokens[usize::from(o)] += amount;
        Some(shares)
    }

    fn leave(&mut self, o: u8, d: u8, amount: &BigInt) -> Option<()> {
        let (held, worth) = (self.held(o, d), self.worth(o, &self.held(o, d)));
        if held == zero() || *amount > worth {
            return None;
        }
        let shares = if *amount == worth {
            held
        } else {
            up(amount, &self.all(o), self.tokens(o))
        };
        *self.shares.get_mut(&(o, d))? -= shares;
        self.tokens[usize::from(o)] -= amount;
        Some(())
    }

    fn part(&self, o: u8, d: u8, part: u64) -> BigInt {
        let worth = self.worth(o, &self.held(o, d));
        if part > 1_000 {
            worth
        } else {
            worth * part / 1_000
        }
    }

    /// Whether so few entries are open that another may be.
    fn room(&self, from: u8, d: u8, to: Option<u8>) -> Option<()> {
        let open = self.exits.iter();
        let open = open.filter(|e| (e.from, e.delegator, e.to) == (from, d, to));
        (open.count() < 3).then_some(())
    }

    fn exit(&mut self, from: u8, d: u8, to: Option<u8>, amount: BigInt, shares: BigInt) {
        if amount > zero() {
            self.exits.push(Exit {
                entry: self.next,
                from,
                to,
                delegator: d,
                started: self.now,
                matures: self.now + UNBONDING,
                initial: amount.clone(),
                balance: amount,
                shares,
            });
        }
        self.next += 1;
    }

    fn unbonding(&self, which: usize) -> Option<usize> {
        let open = (0..self.exits.len()).filter(|&place| self.exits[place].to.is_none());
        let open: Vec<_> = open.collect();
        (!open.is_empty()).then(|| open[which % open.len()])
    }

    /// Does a step; `None` if it is refused, and then the model is thrown away.
    fn step(&mut self, step: Step) -> Option<()> {
        let now = self.now;
        match step {
            Step::Wait(ms) => self.now += ms,
            Step::Bond(o, d, amount) => {
                self.free(o)?;
                self.join(o, d, &int(amount))?;
            }
            Step::Unbond(o, d, part) => {
                self.room(o, d, None)?;
                let amount = self.part(o, d, part);
                if part <= 1_000 && amount == zero() {
                    return None;
                }
                self.leave(o, d, &amount)?;
                self.exit(o, d, None, amount, zero());
            }
            Step::Redelegate(o, d, to, part) => {
                self.room(o, d, Some(to))?;
                let amount = self.part(o, d, part);
                let came = self
                    .exits
                    .iter()
                    .any(|exit| (exit.delegator, exit.to) == (d, Some(o)) && exit.matures > now);
                if amount == zero() || o == to || came {
                    return None;
                }
                self.free(to)?;
                self.leave(o, d, &amount)?;
                let shares = self.join(to, d, &amount)?;
                self.exit(o, d, Some(to), amount, shares);
            }
            Step::Cancel(which, part) => {
                let place = self.unbonding(which)?;
                let (o, d) = (self.exits[place].from, self.exits[place].delegator);
                self.free(o)?;
                let exit = &mut self.exits[place];
                let amount = if part > 1_000 {
                    exit.balance.clone()
                } else {
                    &exit.balance * part / 1_000
                };
                if amount == zero() || exit.matures <= now {
                    return None;
                }
                exit.balance -= &amount;
                exit.initial = less(&exit.initial, &amount);
                if exit.balance == zero() {
                    self.exits.remove(place);
                }
                self.join(o, d, &amount)?;
            }
            Step::Reward(o, amount) => {
                self.free(o)?;
                if *self.tokens(o) > zero() {
                    let commission = int(amount) / 10;
                    let rest = exact(&(int(amount) - &commission));
                    let all = exact(&self.all(o));
                    for d in 0..DELEGATORS {
                        let part = &rest * exact(&self.held(o, d)) / &all;
                        let earned = self.earned.entry((o, d)).or_insert_with(|| exact(&zero()));
                        *earned += part;
                    }
                    self.commission[usize::from(o)] += commission;
                }
            }
            Step::Claim(..) => unreachable!("compared by its amount"),
            Step::Commission(o) => {
                if self.commission[usize::from(o)] == zero() {
                    return None;
                }
                self.commission[usize::from(o)] = zero();
            }
            Step::Slash(o, kind, ago, part) => self.slash(o, kind, ago, part)?,
            Step::Unjail(o) => {
                let jail = &mut self.jailed[usize::from(o)];
                if self.dead[usize::from(o)] || (*jail)? > now {
                    return None;
                }
                *jail = None;
            }
            Step::Mature => self.exits.retain(|exit| exit.matures > now),
            Step::Insurance(amount) => {
                if int(amount) > self.insurance {
                    return None;
                }
                self.insurance -= amount;
            }
        }
        Some(())
    }

    /// The most that can have been there at a time.
    fn power(&self, o: u8, at: u64) -> BigInt {
        let exits = self.exits.iter().filter(|e| e.from == o && e.started >= at);
        let losses = self
            .losses
            .iter()
            .filter(|(of, time, _)| *of == o && *time >= at);
        self.tokens(o)
            + exits.map(|exit| &exit.initial).sum::<BigInt>()
            + losses.map(|(_, _, loss)| loss).sum::<BigInt>()
    }

    fn slash(&mut self, o: u8, kind: u8, ago: u64, part: u64) -> Option<()> {
        let (now, at) = (self.now, self.now - ago);
        let power = self.power(o, at) * part / 1_000;
        let repeated = self.punished.contains(&(o, kind, at));
        if ago > UNBONDING || power == zero() || self.dead[usize::from(o)] || repeated {
            return None;
        }
        if kind == 2 && self.jailed[usize::from(o)].is_some() {
            return None;
        }
        let ppm = [900_000, 330_000, 100][usize::from(kind)];
        let of = |amount: &BigInt| amount * ppm / 1_000_000;
        let mut rest = of(&power);
        let mut total = zero();
        // What each pays is rounded, so that the order is part of the rule: by delegator, where to and
        // number.
        let mut order: Vec<_> = (0..self.exits.len()).collect();
        order.sort_by_key(|&place| {
            let exit = &self.exits[place];
            (exit.delegator, exit.to, exit.entry)
        });
        for place in order {
            let exit = self.exits[place].clone();
            if exit.from != o || exit.started < at || exit.matures <= now {
                continue;
            }
            let mut wanted = of(&exit.initial);
            rest = less(&rest, &wanted);
            let Some(to) = exit.to else {
                let take = least(&wanted, &exit.balance);
                self.exits[place].balance -= &take;
                total += take;
                continue;
            };
            for other in &mut self.exits {
                let same = (other.from, other.delegator, other.to) == (to, exit.delegator, None);
                if same && other.entry > exit.entry && other.matures > now {
                    let take = least(&wanted, &other.balance);
                    other.balance -= &take;
                    wanted -= &take;
                    total += take;
                }
            }
            if *self.tokens(to) > zero() {
                let needed = up(&wanted, &self.all(to), self.tokens(to));
                let most = least(&of(&exit.shares), &self.held(to, exit.delegator));
                let shares = least(&needed, &most);
                let take = self.worth(to, &shares);
                if take > zero() {
                    *self.shares.get_mut(&(to, exit.delegator))? -= shares;
                    self.tokens[usize::from(to)] -= &take;
                    self.losses.push((to, now, take.clone()));
                    total += take;
                }
            }
        }
        let take = least(&rest, self.tokens(o));
        self.tokens[usize::from(o)] -= &take;
        self.losses.push((o, now, take.clone()));
        total += take;
        self.insurance += total / 2;
        self.punished.push((o, kind, at));
        let until = now + [0, 0, 50][usize::from(kind)];
        let jail = &mut self.jailed[usize::from(o)];
        *jail = Some(jail.map_or(until, |before| before.max(until)));
        self.dead[usize::from(o)] = kind == 0;
        Some(())
    }
}

struct World {
    staking: Staking,
    replayed: Staking,
    model: Model,
    balances: BTreeMap<Purse, BigInt>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            staking: Staking::default(),
            replayed: Staking::default(),
            model: Model::new(),
            balances: BTreeMap::new(),
        };
        for o in 0..OPERATORS {
            let register = Operation::Register {
                operator: node(o),
                account: account(200 + o),
                commission: Ppm::percent(10),
            };
            assert!(world.run(&register).is_some());
        }
        world
    }

    fn run(&mut self, operation: &Operation) -> Option<Vec<EventKind>> {
        let plan = self
            .staking
            .plan(&rules(), operation, UnixMillis(self.model.now))
            .ok()?;
        for event in &plan.events {
            self.staking.apply(event).unwrap();
            self.replayed
                .apply(&Event::decode(&event.encode()).unwrap())
                .unwrap();
        }
        for Movement { from, to, amount } in plan.movements {
            *self.balances.entry(from).or_default() -= amount.0;
            *self.balances.entry(to).or_default() += amount.0;
        }
        Some(plan.events.into_iter().map(|event| event.kind).collect())
    }

    fn operation(&self, step: Step) -> Option<Operation> {
        let (model, amount) = (&self.model, |value: BigInt| {
            Amount(u128::try_from(value).unwrap())
        });
        Some(match step {
            Step::Wait(_) => return None,
            Step::Bond(o, d, amount) => Operation::Bond {
                operator: node(o),
                delegator: account(d),
                amount: Amount(amount),
            },
            Step::Unbond(o, d, part) => Operation::Unbond {
                operator: node(o),
                delegator: account(d),
                amount: (part <= 1_000).then(|| amount(model.part(o, d, part))),
            },
            Step::Redelegate(o, d, to, part) => Operation::Redelegate {
                delegator: account(d),
                from: node(o),
                to: node(to),
                amount: (part <= 1_000).then(|| amount(model.part(o, d, part))),
            },
            Step::Cancel(which, part) => {
                let exit = &model.exits[model.unbonding(which)?];
                Operation::CancelUnbonding {
                    operator: node(exit.from),
                    delegator: account(exit.delegator),
                    entry: exit.entry,
                    amount: (part <= 1_000).then(|| amount(&exit.balance * part / 1_000)),
                }
            }
            Step::Reward(o, amount) => Operation::Reward {
                operator: node(o),
                source: Purse::Mint,
                amount: Amount(amount),
            },
            Step::Claim(o, d) => Operation::Claim {
                operator: node(o),
                delegator: account(d),
            },
            Step::Commission(o) => Operation::ClaimCommission { operator: node(o) },
            Step::Slash(o, kind, ago, part) => Operation::Slash {
                operator: node(o),
                evidence: Evidence::ALL[usize::from(kind)],
                infraction: UnixMillis(model.now - ago),
                power: amount(model.power(o, model.now - ago) * part / 1_000),
            },
            Step::Unjail(o) => Operation::Unjail { operator: node(o) },
            Step::Mature => Operation::Mature,
            Step::Insurance(amount) => Operation::PayInsurance {
                claim: TransferId::from_bytes(
                    u128::try_from(self.staking.snapshot().claims_paid.len())
                        .unwrap()
                        .to_be_bytes(),
                ),
                to: account(100),
                amount: Amount(amount),
            },
        })
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let Some(operation) = self.operation(step) else {
            // Time passes, or there is nothing to cancel.
            let _ = self.model.step(step);
            return Ok(());
        };
        let untouched: Vec<_> = match operation {
            Operation::Slash { infraction, .. } => self.left_before(infraction),
            _ => Vec::new(),
        };
        let done = self.run(&operation);
        if let Step::Claim(o, d) = step {
            if let Some([EventKind::Claimed { amount, .. }]) = done.as_deref() {
                *self.model.claimed.entry((o, d)).or_default() += amount.0;
                prop_assert_eq!(self.staking.claimable(node(o), account(d)), Amount::ZERO);
            }
        } else {
            let mut next = self.model.clone();
            let allowed = next.step(step).is_some();
            prop_assert_eq!(done.is_some(), allowed, "{:?}", operation);
            if allowed {
                self.model = next;
            }
        }
        if let Operation::Slash { infraction, .. } = operation {
            prop_assert_eq!(untouched, self.left_before(infraction));
        }
        self.check()
    }

    /// What is on its way out since before a time.
    fn left_before(&self, time: UnixMillis) -> Vec<(u64, Amount)> {
        let rows = self.staking.snapshot().unbondings;
        rows.iter()
            .filter(|row| row.record.started < time)
            .map(|row| (row.record.entry, row.record.balance))
            .collect()
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.staking.check(), Ok(()));
        prop_assert_eq!(&self.replayed, &self.staking);
        let model = &mut self.model;
        let purses = self.staking.purses();
        let balance = |purse| self.balances.get(&purse).cloned().unwrap_or_default();
        for (purse, amount) in [
            (Purse::Bonded, purses.bonded),
            (Purse::Unbonding, purses.unbonding),
            (Purse::Rewards, purses.rewards),
            (Purse::Insurance, purses.insurance),
        ] {
            prop_assert_eq!(balance(purse), int(amount.0), "{}", purse);
        }
        prop_assert_eq!(self.balances.values().sum::<BigInt>(), zero());
        prop_assert_eq!(&model.insurance, &int(purses.insurance.0));
        let leaving: BigInt = (model.exits.iter())
            .filter(|exit| exit.to.is_none())
            .map(|exit| &exit.balance)
            .sum();
        prop_assert_eq!(leaving, int(purses.unbonding.0));

        let slack = BigRational::new(int(1), int(1_000));
        let mut claimable = zero();
        for o in 0..OPERATORS {
            let operator = self.staking.operator(node(o)).unwrap();
            prop_assert_eq!(model.tokens(o), &int(operator.tokens.0));
            prop_assert_eq!(model.all(o), int(operator.shares.0));
            prop_assert_eq!(
                &model.commission[usize::from(o)],
                &int(operator.commission_due.0)
            );
            prop_assert_eq!(
                model.jailed[usize::from(o)],
                operator.jailed_until.map(|t| t.0)
            );
            claimable += operator.commission_due.0;
            for d in 0..DELEGATORS {
                let key = (o, d);
                let shares = self.staking.shares(node(o), account(d));
                prop_assert_eq!(model.held(o, d), int(shares.0));
                let due = int(self.staking.claimable(node(o), account(d)).0);
                claimable += &due;
                let claimed = model.claimed.get(&key).cloned().unwrap_or_default();
                let got = exact(&(&claimed + &due));
                let earned = model
                    .earned
                    .get(&key)
                    .cloned()
                    .unwrap_or_else(|| exact(&zero()));
                // Paid to the base unit, and no more than is due but for the dust of who left.
                let dust = &model.dust[usize::from(o)];
                prop_assert!(got <= &earned + dust + &slack, "{} of {}", got, earned);
                prop_assert!(
                    got > &earned - exact(&int(1)) - &slack,
                    "{} of {}",
                    got,
                    earned
                );
                if shares.0 == 0 && due == zero() {
                    model.dust[usize::from(o)] += less_exact(&earned, &claimed);
                    model.earned.insert(key, exact(&claimed));
                }
            }
        }
        // What may be claimed is there; what more is there is less than a unit for each stake.
        let rewards = int(purses.rewards.0);
        prop_assert!(claimable <= rewards);
        Ok(())
    }
}

fn less_exact(a: &BigRational, b: &BigInt) -> BigRational {
    let rest = a - exact(b);
    if rest < exact(&zero()) {
        exact(&zero())
    } else {
        rest
    }
}

fn foreign() -> impl Strategy<Value = EventKind> {
    let id = 0..OPERATORS + 1;
    let number = prop_oneof![
        4 => 0..50_u128,
        1 => any::<u128>(),
        1 => Just(u128::MAX),
    ];
    let amounts = (number.clone(), number.clone(), number);
    let flags = (0..3_usize, any::<bool>(), 0..=1_000_000_u32);
    (
        0..12_u8,
        (id.clone(), id.clone(), id),
        amounts,
        (0..20_u64, 9_000..12_000_u64),
        flags,
    )
        .prop_map(
            |(code, (o, d, t), (a, b, c), (entry, time), (kind, tombstone, ppm))| {
                let (operator, delegator, to) = (node(o), account(d), node(t));
                let (amount, matures) = (Amount(a), UnixMillis(time));
                let shares = Shares(b);
                match code {
                    0 => EventKind::Bonded {
                        operator,
                        delegator,
                        amount,
                        shares,
                    },
                    1 => EventKind::Unbonded {
                        operator,
                        delegator,
                        amount,
                        shares,
                        matures,
                        entry,
                    },
                    2 => EventKind::UnbondingCancelled {
                        operator,
                        delegator,
                        entry,
                        amount,
                        shares,
                    },
                    3 => EventKind::Redelegated {
                        delegator,
                        from: operator,
                        to,
                        amount,
                        left: shares,
                        joined: shares,
                        matures,
                        entry,
                    },
                    4 => EventKind::Claimed {
                        operator,
                        delegator,
                        amount,
                    },
                    5 => EventKind::Rewarded {
                        operator,
                        source: Purse::Mint,
                        amount,
                        commission: Amount(a / 10),
                        treasury: Amount(0),
                    },
                    6 | 7 => EventKind::Slashed {
                        operator,
                        evidence: Evidence::ALL[kind],
                        infraction: matures,
                        power: amount,
                        fraction: Ppm::new(ppm).unwrap(),
                        insured: Ppm::new(ppm).unwrap(),
                        jailed_until: UnixMillis(0),
                        tombstone,
                        forget_before: matures,
                        bonded: Amount(b),
                        unbonding: Amount(c),
                    },
                    8 => EventKind::Released {
                        operator,
                        delegator,
                        entry,
                        amount,
                    },
                    9 => EventKind::RedelegationEnded {
                        delegator,
                        from: operator,
                        to,
                        entry,
                    },
                    10 => EventKind::InsurancePaid {
                        claim: TransferId::from_bytes([0; 16]),
                        to: delegator,
                        amount,
                    },
                    _ => EventKind::Registered {
                        operator,
                        account: delegator,
                        commission: Ppm::new(ppm).unwrap(),
                    },
                }
            },
        )
}

proptest! {
    /// Whatever a journal holds: nothing panics, what is refused changes nothing, and what is taken
    /// leaves a state that adds up.
    #[test]
    fn foreign_events_leave_a_sound_state(
        steps in steps(),
        events in proptest::collection::vec((0..50_u64, foreign()), 1..60),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step)?;
        }
        let mut staking = world.staking;
        let mut time = world.model.now;
        for (wait, kind) in events {
            time += wait;
            let before = staking.clone();
            if staking.apply(&Event { time: UnixMillis(time), kind }).is_err() {
                prop_assert_eq!(&staking, &before);
            }
            prop_assert_eq!(staking.check(), Ok(()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_order_of_events_agrees_with_exact_fractions(steps in steps()) {
        let mut world = World::new();
        for step in steps {
            world.step(step)?;
        }
        let text = serde_json::to_string(&world.staking.snapshot()).unwrap();
        let snapshot: Snapshot = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&Snapshot::decode(&snapshot.encode()).unwrap(), &snapshot);
        prop_assert_eq!(Staking::restore(&snapshot).unwrap(), world.staking);
    }
}
