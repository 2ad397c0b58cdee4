//! Staking: operators, delegators, rewards, slashing and insurance, in integers.
//!
//! [`Staking`] decides which money must move. In a [`Book`](crate::Book) it is asked by
//! [`Request::Staking`](crate::economy::Request::Staking), and the book makes the [`Movement`]s in the
//! same batch. It can be used without one: [`plan`](Staking::plan) works an [`Operation`] out without
//! changing anything, and [`apply`](Staking::apply) takes its [`Event`]s in, now or when a journal is
//! replayed; writing down and moving are then the host's.
//!
//! - **Shares.** A delegator holds shares of an operator's stake. A slash takes tokens, not shares,
//!   so one subtraction slashes everybody. A share is worth at most one token and never more than
//!   before but by rounding in favour of those who stay; so no first delegator can price the second
//!   out.
//! - **Rewards** are counted per share (F1, Ojha and Goes 2019): a claim reads one operator and one
//!   delegation, whatever the number of delegators. What does not divide is kept and carried to the
//!   next reward when it makes a base unit; nothing is lost and nothing made. Rewards that were
//!   earned before a slash are not touched by it. A reward for an operator on which nothing is
//!   staked goes to the treasury: were it kept, whoever came first with one base unit would have it
//!   all.
//! - **Leaving** takes [`Rules::unbonding_ms`]. Stake on its way out earns nothing and can be
//!   slashed.
//! - **Slashing** follows Cosmos (x/staking `Keeper.Slash`, x/evidence, x/slashing; named where it
//!   is done): a fraction of the stake *at the infraction* is taken, from what left since, each
//!   entry its part, and the rest from what is bonded. What left before the infraction is not
//!   touched. Who joined after it shares the loss of what is bonded, as there. The cost grows with
//!   the entries on their way out of the operator, not with its delegators.
//! - **Insurance.** A part of what is slashed fills a fund that pays claims; the rest is burned.
//!
//! Times within one event are those of its plan and never run backwards. Not here: who may ask for
//! what (signatures), whether evidence is true, which operators are given work.
//!
//! ```
//! use fogcompute_base::{AccountId, NodeId, UnixMillis};
//! use fogcompute_ledger::staking::{Operation, Rules, Staking};
//! use fogcompute_ledger::{Amount, Movement, Ppm, Purse};
//!
//! let operator = NodeId::from_bytes([1; 32]);
//! let (owner, ana) = (AccountId::from_bytes([1; 16]), AccountId::from_bytes([2; 16]));
//! let (rules, mut staking) = (Rules::default(), Staking::default());
//! let mut run = |operation, day: u64| {
//!     let plan = staking.plan(&rules, &operation, UnixMillis(day * 86_400_000))?;
//!     for event in &plan.events {
//!         staking.apply(event).expect("it was planned for this state");
//!     }
//!     Ok::<_, fogcompute_ledger::staking::StakingError>(plan.movements)
//! };
//!
//! run(Operation::Register { operator, account: owner, commission: Ppm::percent(10) }, 1)?;
//! run(Operation::Bond { operator, delegator: ana, amount: Amount(1_000) }, 1)?;
//! run(Operation::Reward { operator, source: Purse::Mint, amount: Amount(50) }, 2)?;
//! let paid = run(Operation::Claim { operator, delegator: ana }, 3)?;
//! assert_eq!(
//!     paid,
//!     [Movement { from: Purse::Rewards, to: Purse::Account(ana), amount: Amount(45) }]
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod arithmetic;
mod codec;
pub(crate) mod draft;
mod error;
mod event;
mod operation;
mod rules;
mod snapshot;
mod state;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use fogcompute_base::{AccountId, NodeId, TransferId, UnixMillis};

use crate::{Amount, Movement};
use draft::{Changes, Draft};
use state::{Due, Hop, Stake};

pub use arithmetic::Shares;
pub use error::{Corruption, StakingError};
pub use event::{Event, EventKind};
pub use operation::Operation;
pub use rules::{Evidence, Penalty, Rules, RulesError};
pub use snapshot::{DelegationRow, OperatorRow, RedelegationRow, Snapshot, UnbondingRow};
pub use state::{Delegation, Loss, Operator, Punished, Purses, Redelegation, Unbonding};

/// Most entries one [`Operation::Mature`] closes.
pub const MATURE_MAX: usize = 1_024;

/// What an operation will do: for a host to write down and to move money by.
///
/// It fits the one state it was made for; [`Staking::apply`] refuses the events otherwise.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[must_use = "a plan does nothing until its events are applied"]
pub struct Plan {
    /// What will have happened, in order. Empty only if nothing was due.
    pub events: Vec<Event>,
    /// The money that moves with it, in order.
    pub movements: Vec<Movement>,
}

/// Who has staked what on whom. It begins with no operators and nothing staked
/// ([`default`](Self::default)).
///
/// Rules are not part of it: they are given to what is planned, may differ each time, and what has
/// begun keeps its times.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Staking {
    /// The time of the last event.
    clock: UnixMillis,
    operators: BTreeMap<NodeId, Operator>,
    /// Hashed, so that a claim costs the same among a million; walked only where the order of the
    /// walk cannot be told.
    delegations: HashMap<Stake, Delegation>,
    unbondings: BTreeMap<Stake, Vec<Unbonding>>,
    redelegations: BTreeMap<Hop, Vec<Redelegation>>,
    /// Open entries, soonest first.
    due: BTreeMap<(UnixMillis, u64), Due>,
    /// Until when a delegator's stake on an operator answers for another one.
    receiving: BTreeMap<(AccountId, NodeId), UnixMillis>,
    next_entry: u64,
    purses: Purses,
    /// For each account, how many stakes it has, how many operators' unbondings and how many
    /// operators.
    ties: HashMap<AccountId, u32>,
    /// Claims the insurance has paid. Never forgotten, so that none is paid twice.
    claims_paid: BTreeSet<TransferId>,
}

impl Default for Staking {
    fn default() -> Self {
        Self {
            clock: UnixMillis(0),
            operators: BTreeMap::new(),
            delegations: HashMap::new(),
            unbondings: BTreeMap::new(),
            redelegations: BTreeMap::new(),
            due: BTreeMap::new(),
            receiving: BTreeMap::new(),
            next_entry: 1,
            purses: Purses::default(),
            ties: HashMap::new(),
            claims_paid: BTreeSet::new(),
        }
    }
}

impl Staking {
    /// Works out what an operation would do at the time `now` under those rules, without doing it.
    ///
    /// Rules that [`Rules::validate`] refuses are worked with as they are.
    ///
    /// # Errors
    /// Any [`StakingError`].
    pub fn plan(
        &self,
        rules: &Rules,
        operation: &Operation,
        now: UnixMillis,
    ) -> Result<Plan, StakingError> {
        let kinds = Draft::new(self, now).execute(rules, operation)?;
        Ok(Plan {
            movements: kinds.iter().flat_map(EventKind::movements).collect(),
            events: kinds
                .into_iter()
                .map(|kind| Event { time: now, kind })
                .collect(),
        })
    }

    /// Takes in an event that was planned for this state, now or earlier.
    ///
    /// The event is worked out again from its inputs, and its effects are compared: rules are not
    /// asked, so a journal replays whatever they have become.
    ///
    /// # Errors
    /// [`Corruption::Impossible`], [`Corruption::Inconsistent`]; nothing changes then.
    pub fn apply(&mut self, event: &Event) -> Result<(), Corruption> {
        let mut draft = Draft::new(self, event.time);
        draft.repeat(&event.kind)?;
        let changes = draft.finish();
        self.absorb(changes);
        Ok(())
    }

    /// When [`Operation::Mature`] next has something to do.
    #[must_use]
    pub fn next_due(&self) -> Option<UnixMillis> {
        self.due.keys().next().map(|(time, _)| *time)
    }

    /// Whether an account has stake, stake on its way out, rewards or an operator: something that
    /// may yet have to be paid to it.
    #[must_use]
    pub fn takes_part(&self, account: AccountId) -> bool {
        self.ties.contains_key(&account)
    }

    /// What [`Operation::Mature`] would do at that time, but for the order of what is due together.
    pub(crate) fn due_by(&self, now: UnixMillis, limit: usize) -> Vec<EventKind> {
        let due = self.due.iter().take_while(|((time, _), _)| *time <= now);
        due.take(limit)
            .map(|(&(_, entry), due)| match *due {
                Due::Unbonding((operator, delegator)) => {
                    let list = self.unbondings(operator, delegator);
                    let found = list.iter().find(|unbonding| unbonding.entry == entry);
                    EventKind::Released {
                        operator,
                        delegator,
                        entry,
                        amount: found.map_or(Amount::ZERO, |unbonding| unbonding.balance),
                    }
                }
                Due::Redelegation((from, delegator, to)) => EventKind::RedelegationEnded {
                    delegator,
                    from,
                    to,
                    entry,
                },
            })
            .collect()
    }

    /// What staking holds: the balances that a host's book must show.
    #[must_use]
    pub const fn purses(&self) -> Purses {
        self.purses
    }

    /// An operator.
    #[must_use]
    pub fn operator(&self, operator: NodeId) -> Option<&Operator> {
        self.operators.get(&operator)
    }

    /// All operators, by id.
    pub fn operators(&self) -> impl Iterator<Item = (NodeId, &Operator)> {
        self.operators.iter().map(|(id, operator)| (*id, operator))
    }

    /// What an account has staked on an operator, in base units, rounded down. Nothing if it has
    /// not.
    #[must_use]
    pub fn staked(&self, operator: NodeId, delegator: AccountId) -> Amount {
        let stake =
            (self.operators.get(&operator)).zip(self.delegations.get(&(operator, delegator)));
        stake.map_or(Amount::ZERO, |(operator, delegation)| {
            operator.worth(delegation.shares)
        })
    }

    /// The shares an account has of an operator's stake.
    #[must_use]
    pub fn shares(&self, operator: NodeId, delegator: AccountId) -> Shares {
        let delegation = self.delegations.get(&(operator, delegator));
        delegation.map_or(Shares::ZERO, |delegation| delegation.shares)
    }

    /// What an account would be paid by [`Operation::Claim`] now.
    #[must_use]
    pub fn claimable(&self, operator: NodeId, delegator: AccountId) -> Amount {
        let Some((operator, delegation)) = self
            .find_operator(operator)
            .zip(self.find_delegation((operator, delegator)))
        else {
            return Amount::ZERO;
        };
        // Only a foreign state overflows, and that is found when it is restored.
        delegation.claimable(operator).unwrap_or_default()
    }

    /// An account's stake on its way out of an operator, oldest first.
    #[must_use]
    pub fn unbondings(&self, operator: NodeId, delegator: AccountId) -> &[Unbonding] {
        self.unbondings
            .get(&(operator, delegator))
            .map_or(&[], Vec::as_slice)
    }

    /// An account's stake that went from one operator to the other and still answers for the first.
    #[must_use]
    pub fn redelegations(&self, from: NodeId, delegator: AccountId, to: NodeId) -> &[Redelegation] {
        self.redelegations
            .get(&(from, delegator, to))
            .map_or(&[], Vec::as_slice)
    }

    fn find_operator(&self, operator: NodeId) -> Option<&Operator> {
        #[cfg(test)]
        tests::count_read();
        self.operators.get(&operator)
    }

    fn find_delegation(&self, stake: Stake) -> Option<&Delegation> {
        #[cfg(test)]
        tests::count_read();
        self.delegations.get(&stake)
    }

    /// Makes a finished draft part of the state it was made for.
    pub(crate) fn absorb(&mut self, changes: Changes) {
        let ties: Vec<_> = changes.ties(self).collect();
        for (account, change) in ties {
            self.tie(account, change);
        }
        let Changes {
            clock,
            operators,
            delegations,
            unbondings,
            redelegations,
            due_added,
            due_removed,
            receiving,
            next_entry,
            purses,
            claims_paid,
        } = changes;
        self.clock = clock;
        self.next_entry = next_entry;
        self.purses = purses;
        self.claims_paid.extend(claims_paid);
        self.operators.extend(operators);
        for (key, delegation) in delegations {
            match delegation {
                Some(delegation) => self.delegations.insert(key, delegation),
                None => self.delegations.remove(&key),
            };
        }
        put_lists(&mut self.unbondings, unbondings);
        put_lists(&mut self.redelegations, redelegations);
        for key in due_removed {
            self.due.remove(&key);
        }
        self.due.extend(due_added);
        for (key, until) in receiving {
            match until {
                Some(until) => self.receiving.insert(key, until),
                None => self.receiving.remove(&key),
            };
        }
    }
}

impl Staking {
    fn tie(&mut self, account: AccountId, change: i32) {
        let ties = self.ties.entry(account).or_default();
        *ties = ties.saturating_add_signed(change);
        if *ties == 0 {
            self.ties.remove(&account);
        }
    }

    /// Counts the ties of a state that was put together from rows.
    fn tie_all(&mut self) {
        let stakes = self.delegations.keys().chain(self.unbondings.keys());
        let owners = self.operators.values().map(|operator| operator.account);
        let accounts: Vec<_> = stakes.map(|key| key.1).chain(owners).collect();
        for account in accounts {
            self.tie(account, 1);
        }
    }
}

fn put_lists<K: Ord, T>(map: &mut BTreeMap<K, Vec<T>>, changes: BTreeMap<K, Vec<T>>) {
    for (key, list) in changes {
        if list.is_empty() {
            map.remove(&key);
        } else {
            map.insert(key, list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Ppm, Purse};
    use std::cell::Cell;

    thread_local! {
        static READS: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts a record that was looked up.
    pub(super) fn count_read() {
        READS.set(READS.get() + 1);
    }

    const OPERATOR: NodeId = NodeId::from_bytes([1; 32]);

    fn account(n: u32) -> AccountId {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        AccountId::from_bytes(bytes)
    }

    fn run(staking: &mut Staking, operation: &Operation, now: u64) -> Vec<Movement> {
        let plan = staking
            .plan(&Rules::default(), operation, UnixMillis(now))
            .unwrap();
        for event in &plan.events {
            staking.apply(event).unwrap();
        }
        plan.movements
    }

    fn with_stakers(count: u32) -> Staking {
        let mut staking = Staking::default();
        let register = Operation::Register {
            operator: OPERATOR,
            account: account(0),
            commission: Ppm::percent(10),
        };
        run(&mut staking, &register, 1);
        for n in 1..=count {
            let bond = Operation::Bond {
                operator: OPERATOR,
                delegator: account(n),
                amount: Amount(1_000),
            };
            run(&mut staking, &bond, 2);
        }
        staking
    }

    #[test]
    fn rewards_slashes_and_claims_read_as_many_records_whatever_the_number_of_stakers() {
        let counts = [10, 1_000, 100_000].map(|stakers| {
            let mut staking = with_stakers(stakers);
            READS.set(0);
            let reward = Operation::Reward {
                operator: OPERATOR,
                source: Purse::Mint,
                amount: Amount(10_000_000),
            };
            run(&mut staking, &reward, 3);
            let rewarding = READS.replace(0);
            let slash = Operation::Slash {
                operator: OPERATOR,
                evidence: Evidence::InvalidResult,
                infraction: UnixMillis(3),
                power: Amount(1_000 * u128::from(stakers)),
            };
            run(&mut staking, &slash, 4);
            let slashing = READS.replace(0);
            let claim = Operation::Claim {
                operator: OPERATOR,
                delegator: account(7),
            };
            let movements = run(&mut staking, &claim, 5);
            assert_eq!(movements[0].amount.0, 9_000_000 / u128::from(stakers));
            let claiming = READS.replace(0);
            staking.check().unwrap();
            (rewarding, slashing, claiming)
        });
        // Twice each: once planned, once applied. A claim reads an operator and a delegation.
        assert_eq!(counts, [(2, 2, 4); 3]);
    }

    #[test]
    fn a_batch_of_claims_reads_and_copies_only_what_it_touches() {
        let mut staking = with_stakers(10_000);
        let reward = Operation::Reward {
            operator: OPERATOR,
            source: Purse::Mint,
            amount: Amount(10_000_000),
        };
        run(&mut staking, &reward, 3);
        READS.set(0);
        let mut draft = Draft::new(&staking, UnixMillis(4));
        for n in 1..=50 {
            let claim = Operation::Claim {
                operator: OPERATOR,
                delegator: account(n),
            };
            draft.execute(&Rules::default(), &claim).unwrap();
        }
        // The operator once, and each delegation.
        assert_eq!(READS.replace(0), 51);
        let changes = draft.finish();
        assert_eq!(
            (changes.operators.len(), changes.delegations.len()),
            (1, 50)
        );
        staking.absorb(changes);
        assert_eq!(READS.replace(0), 0);
        staking.check().unwrap();
    }

    #[test]
    fn snapshot_restores_the_same_state() {
        let mut staking = with_stakers(5);
        let leave = Operation::Unbond {
            operator: OPERATOR,
            delegator: account(1),
            amount: Some(Amount(300)),
        };
        run(&mut staking, &leave, 3);
        let text = serde_json::to_string(&staking.snapshot()).unwrap();
        let snapshot: Snapshot = serde_json::from_str(&text).unwrap();
        let restored = Staking::restore(&snapshot).unwrap();
        assert_eq!(restored, staking);
    }

    #[test]
    fn snapshot_that_does_not_add_up_is_refused() {
        let good = with_stakers(2).snapshot();
        let restored = |change: &dyn Fn(&mut Snapshot)| {
            let mut bad = good.clone();
            change(&mut bad);
            Staking::restore(&bad)
        };
        let operator = OPERATOR;
        assert_eq!(
            restored(&|bad| bad.delegations[0].record.shares.0 += 1),
            Err(Corruption::SharesDiffer { operator })
        );
        assert_eq!(
            restored(&|bad| bad.delegations[0].record.accrued.0 += 1),
            Err(Corruption::RewardsDiffer { operator })
        );
        assert_eq!(
            restored(&|bad| bad.purses.bonded.0 += 1),
            Err(Corruption::PurseDiffers {
                purse: Purse::Bonded
            })
        );
        assert_eq!(
            restored(&|bad| bad.delegations.swap_remove(0).record = bad.delegations[0].record),
            Err(Corruption::SharesDiffer { operator })
        );
        assert_eq!(
            restored(&|bad| bad.delegations.push(bad.delegations[0])),
            Err(Corruption::Misplaced { operator })
        );
        assert_eq!(
            restored(&|bad| bad.operators.clear()),
            Err(Corruption::Misplaced { operator })
        );
    }

    #[test]
    fn of_several_faults_the_same_is_found_each_time() {
        let mut staking = with_stakers(20);
        for n in 2..20 {
            let register = Operation::Register {
                operator: NodeId::from_bytes([n; 32]),
                account: account(0),
                commission: Ppm::percent(10),
            };
            run(&mut staking, &register, 3);
            let bond = Operation::Bond {
                operator: NodeId::from_bytes([n; 32]),
                delegator: account(1),
                amount: Amount(1),
            };
            run(&mut staking, &bond, 3);
        }
        // Of all operators but the first, shares are wrong and rewards more than can be counted.
        for (&(operator, _), delegation) in &mut staking.delegations {
            if operator != OPERATOR {
                delegation.shares = Shares(u128::MAX);
                delegation.accrued = Amount::MAX;
            }
        }
        let operator = NodeId::from_bytes([2; 32]);
        assert_eq!(staking.check(), Err(Corruption::SharesDiffer { operator }));
    }
}
