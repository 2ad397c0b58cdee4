//! What a batch asks of governance, and what it makes of voting weights.

use std::collections::{BTreeSet, HashMap};

use fogcompute_base::{AccountId, TransferId};

use super::economy::governance;
use super::{Authority, Draft};
use crate::dao::{self, Checks, DaoError, Done, Scope};
use crate::economy::{Economy, EconomyError, Request};
use crate::{Account, AccountKind, Amount, AssetId, LedgerError, Purse, State, earning, staking};

/// Which accounts have changed since governance was told what they have.
pub(super) struct Weighing {
    /// Whether anybody is enrolled. Until then there is nothing to tell, and nothing is noted.
    on: bool,
    /// Places of accounts in the plan, some of them more than once.
    touched: Vec<usize>,
    /// What accounts counted for when that was told, where it differs from the state.
    told: HashMap<usize, Amount>,
}

impl Weighing {
    pub(super) fn of(state: &State) -> Self {
        Self {
            on: state.dao.member_count() > 0,
            touched: Vec::new(),
            told: HashMap::new(),
        }
    }

    pub(super) fn touched(&mut self, index: usize) {
        if self.on {
            self.touched.push(index);
        }
    }
}

/// What a host knows and governance asks, as the batch has left it.
struct Host<'b> {
    economy: &'b Economy,
    treasury: Amount,
    account: &'b dyn Fn(AccountId) -> bool,
}

impl Checks for Host<'_> {
    fn parameters(&self, changes: &[(&str, u128)]) -> Result<(), (usize, EconomyError)> {
        let mut economy = self.economy.clone();
        for (index, (name, value)) in changes.iter().enumerate() {
            (economy.set(name, *value))
                .and_then(|()| same_start(self.economy, &economy))
                .map_err(|reason| (index, reason))?;
        }
        Ok(())
    }

    fn parameter(&self, name: &str) -> Option<u128> {
        self.economy.get(name)
    }

    fn payable(&self, sum: Amount) -> Result<(), Amount> {
        if sum <= self.treasury {
            Ok(())
        } else {
            Err(self.treasury)
        }
    }

    fn account(&self, account: AccountId) -> bool {
        (self.account)(account)
    }
}

/// What was minted at the start cannot be changed afterwards.
pub(super) fn same_start(was: &Economy, is: &Economy) -> Result<(), EconomyError> {
    let (minted, value) = (was.supply.initial, is.supply.initial);
    if minted == value {
        return Ok(());
    }
    Err(EconomyError::OutOfBounds {
        name: "supply.initial".to_owned(),
        value: value.0,
        min: minted.0,
        max: minted.0,
    })
}

/// What an account counts for among what circulates: what a holder has of credits, and what is
/// staked. Purses are nobody's, but for the one that holds everybody's stake.
pub(crate) fn counts(account: &Account) -> Amount {
    let circulates = account.asset == AssetId::CREDITS
        && account.kind == AccountKind::Holder
        && matches!(Purse::of(account.id), None | Some(Purse::Bonded));
    if circulates {
        account.balance()
    } else {
        Amount::ZERO
    }
}

impl<'a> Draft<'a> {
    pub(super) fn dao(&mut self) -> &mut dao::Draft<'a> {
        let (state, now) = (self.state, self.now);
        self.dao.get_or_insert_with(|| state.dao.draft(now))
    }

    /// Whether rules and treasury are decided about by proposals.
    pub(super) fn is_governed(&self) -> bool {
        match &self.dao {
            Some(draft) => draft.is_established(),
            None => self.state.dao.is_established(),
        }
    }

    fn is_paused(&self, scope: Scope) -> bool {
        match &self.dao {
            Some(draft) => draft.is_paused(scope),
            None => self.state.dao.is_paused(scope),
        }
    }

    /// Refuses what governance has taken from the host, what it has paused, and what an account
    /// must sign for.
    pub(super) fn permitted(&self, id: TransferId, request: &Request) -> Result<(), LedgerError> {
        let scope = match request {
            Request::Configure(_) | Request::SetParameter { .. } => {
                if self.is_governed() {
                    return Err(LedgerError::Governed { purse: None });
                }
                return Ok(());
            }
            Request::Staking(staking::Operation::Reward {
                source: purse @ (Purse::Treasury | Purse::Mint),
                ..
            }) if self.is_governed() => {
                let purse = Some(*purse);
                return Err(LedgerError::Governed { purse });
            }
            Request::Staking(_) => Scope::Staking,
            Request::Earning(earning::Operation::Fee { .. }) => Scope::Fees,
            Request::Earning(_) => Scope::Earning,
            Request::Governance(operation) => {
                let required = self
                    .economy_now()
                    .is_some_and(|economy| economy.dao.signatures_required);
                return match operation.actor() {
                    Some(account) if required && self.authority == Authority::Host => {
                        Err(LedgerError::SignatureRequired { id, account })
                    }
                    _ => Ok(()),
                };
            }
        };
        if self.is_paused(scope) {
            return Err(LedgerError::Paused { id, scope });
        }
        Ok(())
    }

    /// Does what is asked of governance. What it leaves to do is the caller's.
    pub(super) fn govern(
        &mut self,
        id: TransferId,
        operation: &dao::Operation,
    ) -> Result<Done, LedgerError> {
        self.dao();
        let mut draft = self.dao.take().ok_or(LedgerError::NoEconomy { id })?;
        let economy = self.economy_now().ok_or(LedgerError::NoEconomy { id })?;
        let treasury = self.find(Purse::Treasury.account());
        let account = |account| self.find(account).is_some_and(may_take_part);
        let host = Host {
            economy,
            treasury: treasury.map_or(Amount::ZERO, Account::available),
            account: &account,
        };
        let done = draft.execute(&economy.dao, operation, &host);
        self.dao = Some(draft);
        done.map_err(governance(id))
    }

    /// Tells governance what accounts have since it was told last. Whatever batches the entries
    /// came in, what it knows at the end of a millisecond is the same.
    pub(super) fn weigh(&mut self) -> Result<(), LedgerError> {
        let begins = !self.weighing.on && self.dao.as_ref().is_some_and(dao::Draft::has_members);
        if !(self.weighing.on || begins) || self.plan.entries.is_empty() {
            return Ok(());
        }
        let id = TransferId::from_bytes([0; TransferId::LEN]);
        self.dao().tick();
        let mut touched = std::mem::take(&mut self.weighing.touched);
        touched.sort_unstable();
        touched.dedup();
        let circulating = if begins {
            self.weighing.on = true;
            // What was touched before anybody was enrolled is told by this sum.
            touched = (0..self.plan.slots.len()).collect();
            self.circulating()
        } else {
            let before = self.dao().circulating().0;
            touched.iter().try_fold(before, |sum, index| {
                let account = self.at(*index);
                let known = self.state.account(account.id).map_or(Amount::ZERO, counts);
                let told = self.weighing.told.get(index).copied().unwrap_or(known);
                sum.checked_sub(told.0)?.checked_add(counts(account).0)
            })
        };
        let circulating = circulating.ok_or(DaoError::WeightOverflow);
        let circulating = circulating.map_err(governance(id))?;
        let held: Vec<_> = touched.iter().map(|index| *self.at(*index)).collect();
        for (index, account) in touched.into_iter().zip(&held) {
            self.weighing.told.insert(index, counts(account));
        }
        let tell = |dao: &mut dao::Draft<'_>| {
            dao.set_circulating(Amount(circulating))?;
            (held.iter()).try_for_each(|account| dao.set_tokens(account.id, counts(account)))
        };
        tell(self.dao()).map_err(governance(id))
    }

    /// Tells governance what stakes are worth, and what those have who were enrolled, after each
    /// step that may have changed it: others' steps may change it by what is rounded, so that it
    /// must not depend on which steps came in one batch.
    pub(super) fn weigh_stakes(&mut self) -> Result<(), DaoError> {
        if !(self.weighing.on || self.dao.as_ref().is_some_and(dao::Draft::has_members)) {
            return Ok(());
        }
        let (mut stakes, slashed) = match &mut self.staking {
            Some(draft) => draft.take_moved(),
            None => (BTreeSet::new(), BTreeSet::new()),
        };
        for operator in slashed {
            let stakers = self.dao().stakers(operator);
            stakes.extend(stakers.into_iter().map(|account| (operator, account)));
        }
        for account in self.dao().take_enrolled() {
            let held = self.find(account).map_or(Amount::ZERO, counts);
            self.dao().set_tokens(account, held)?;
            let operators = self.staking().operators_of(account);
            stakes.extend(operators.into_iter().map(|operator| (operator, account)));
        }
        for (operator, account) in stakes {
            let worth = self.staking().staked((operator, account));
            self.dao().set_stake(operator, account, worth)?;
        }
        Ok(())
    }

    /// What circulates, counted anew; `None` above 128 bits.
    fn circulating(&self) -> Option<u128> {
        let planned = (self.plan.slots.iter()).map(|(_, slot)| &slot.account);
        let untouched = (self.state.slots.iter().map(|slot| &slot.account))
            .filter(|account| !self.touched.contains_key(&account.id));
        planned
            .chain(untouched)
            .try_fold(0_u128, |sum, account| sum.checked_add(counts(account).0))
    }

    /// An account as the batch has left it.
    fn find(&self, account: AccountId) -> Option<&Account> {
        match self.touched.get(&account) {
            Some(index) => Some(self.at(*index)),
            None => self.state.account(account),
        }
    }
}

/// Whether an account can have a say: it is somebody's, of credits, and open.
fn may_take_part(account: &Account) -> bool {
    account.asset == AssetId::CREDITS
        && account.kind == AccountKind::Holder
        && !account.closed
        && Purse::of(account.id).is_none()
}
