//! What a batch asks of the economy, and the entries that follow from it.

use fogcompute_base::{AccountId, Digest, NodeId, TransferId};

use super::governance::same_start;
use super::{Draft, fits};
use crate::dao::{DaoError, Effect};
use crate::earning::draft::Draft as EarningDraft;
use crate::economy::{Economy, EconomyError, Event, Request};
use crate::staking::draft::Draft as StakingDraft;
use crate::{
    Account, Amount, AssetId, EntryKind, LedgerError, Limits, Movement, Purse, dao, earning,
    staking,
};

impl<'a> Draft<'a> {
    /// Refuses transfers and reservations by hand that the economy's sums could not bear.
    ///
    /// Anybody may pay into the treasury, the sovereign fund and (burning) the mint; whoever
    /// decides over the host's operations decides over what leaves mint and treasury until
    /// governance is established, and nobody takes from the sovereign fund.
    pub(super) fn free(&self, from: AccountId, to: AccountId) -> Result<(), LedgerError> {
        for (account, gives) in [(from, true), (to, false)] {
            match Purse::of(account) {
                Some(purse @ (Purse::Treasury | Purse::Mint)) if gives && self.is_governed() => {
                    return Err(LedgerError::Governed { purse: Some(purse) });
                }
                None | Some(Purse::Account(_) | Purse::Treasury | Purse::Mint) => {}
                Some(Purse::SovereignFund) if !gives => {}
                Some(
                    purse @ (Purse::SovereignFund
                    | Purse::Bonded
                    | Purse::Unbonding
                    | Purse::Rewards
                    | Purse::Insurance),
                ) => return Err(LedgerError::PurseAccount { account, purse }),
            }
        }
        Ok(())
    }

    pub(super) fn not_a_purse(&self, account: AccountId) -> Result<(), LedgerError> {
        match Purse::of(account) {
            Some(purse) => Err(LedgerError::PurseAccount { account, purse }),
            None => Ok(()),
        }
    }

    /// Whether the account has something to do with staking.
    pub(super) fn takes_part(&self, account: AccountId) -> bool {
        match &self.staking {
            Some(draft) => draft.takes_part(account),
            None => self.state.staking.takes_part(account),
        }
    }

    pub(super) fn account_of_operator(&self, operator: NodeId) -> Option<AccountId> {
        match &self.staking {
            Some(draft) => draft.account_of(operator),
            None => (self.state.staking.operator(operator)).map(|record| record.account),
        }
    }

    /// Does what is asked of the economy.
    pub(super) fn economy(&mut self, id: TransferId, request: &Request) -> Result<(), LedgerError> {
        let founding = self.economy_now().is_none();
        let mut effects = Vec::new();
        let event = match request {
            Request::Configure(economy) => {
                self.configure(id, economy)?;
                Event::Configured(economy.clone())
            }
            Request::SetParameter { name, value } => {
                let economy = self.economy_now().ok_or(LedgerError::NoEconomy { id })?;
                let mut economy = economy.clone();
                economy.set(name, *value).map_err(refused(id))?;
                self.configure(id, &economy)?;
                Event::ParameterSet {
                    name: name.clone(),
                    value: *value,
                }
            }
            Request::Staking(operation) => {
                let event = self.stake(id, operation)?;
                if operation.asks_for_all() {
                    Event::StakingOfAll(event)
                } else {
                    Event::Staking(event)
                }
            }
            Request::Earning(operation) => Event::Earning(self.earn(id, operation)?),
            Request::Governance(operation) => {
                let done = self.govern(id, operation)?;
                effects = done.effects;
                Event::Governance(done.event)
            }
        };
        self.follow(id, event, founding, effects)
    }

    /// Does again what made an entry. `None` if it has other effects than the entry says.
    pub(crate) fn repeat_economy(
        &mut self,
        id: TransferId,
        event: &Event,
    ) -> Result<Option<()>, LedgerError> {
        let mut effects = Vec::new();
        let sound = match event {
            Event::Configured(economy) => {
                self.economy(id, &Request::Configure(economy.clone()))?;
                return Ok(Some(()));
            }
            Event::ParameterSet { name, value } => {
                let (name, value) = (name.clone(), *value);
                self.economy(id, &Request::SetParameter { name, value })?;
                return Ok(Some(()));
            }
            Event::Staking(kind) | Event::StakingOfAll(kind) => match self.staking().repeat(kind) {
                Ok(()) => true,
                Err(staking::Corruption::Impossible { reason }) => {
                    let reason = Box::new(reason);
                    return Err(LedgerError::Staking { id, reason });
                }
                Err(_) => false,
            },
            Event::Earning(kind) => {
                let (state, now) = (self.state, self.now);
                let draft = || EarningDraft::new(&state.earning, now);
                self.earning.get_or_insert_with(draft).repeat(kind).is_ok()
            }
            Event::Governance(kind) => match self.dao().repeat(kind) {
                Ok(asked) => {
                    effects = asked;
                    true
                }
                Err(dao::Corruption::Impossible { reason }) => {
                    return Err(LedgerError::Dao { id, reason });
                }
                Err(_) => false,
            },
        };
        if !sound {
            return Ok(None);
        }
        self.follow(id, event.clone(), false, effects).map(Some)
    }

    /// Pays out stake whose time has come, and forgets redelegations; at most so many.
    pub(crate) fn mature(&mut self, limit: usize) {
        let state = self.state;
        for kind in state.staking.due_by(self.now, limit) {
            // Where somebody's counter is full, that stake stays due, and nobody waits for it.
            let _ = self.repeat_matured(&kind);
        }
    }

    /// Records what matured and pays it out; `None`, and nothing is done, if that cannot be.
    pub(crate) fn repeat_matured(&mut self, kind: &staking::EventKind) -> Option<()> {
        let id = TransferId::from_bytes([0; TransferId::LEN]);
        for Movement { from, to, amount } in kind.movements() {
            let (debtor, creditor) = (self.touch(from.account())?, self.touch(to.account())?);
            fits(id, self.at(debtor), self.at(creditor), amount).ok()?;
        }
        self.staking().repeat(kind).ok()?;
        self.receipt(EntryKind::Matured {
            event: Box::new(*kind),
        });
        let cause = self.plan.head.sequence;
        for movement in kind.movements() {
            self.moved(id, cause, movement).ok()?;
        }
        self.weigh_stakes().ok()
    }

    /// The rules as the batch has left them.
    pub(super) fn economy_now(&self) -> Option<&Economy> {
        self.plan.economy.as_deref().or(self.state.economy())
    }

    pub(super) fn staking(&mut self) -> &mut StakingDraft<'a> {
        let (state, now) = (self.state, self.now);
        self.staking
            .get_or_insert_with(|| StakingDraft::new(&state.staking, now))
    }

    /// Takes the rules over; the first ones open the purses.
    fn configure(&mut self, id: TransferId, economy: &Economy) -> Result<(), LedgerError> {
        economy.validate().map_err(refused(id))?;
        match self.economy_now() {
            None => {
                for purse in Purse::ALL {
                    let account = purse.account();
                    if self.touch(account).is_none() {
                        let (asset, kind) = (AssetId::CREDITS, purse.account_kind());
                        self.add(Account::new(account, asset, kind));
                        self.record(EntryKind::Opened {
                            account,
                            asset,
                            kind,
                        });
                    }
                }
            }
            Some(now) => same_start(now, economy).map_err(refused(id))?,
        }
        self.plan.economy = Some(Box::new(economy.clone()));
        let weights = economy.dao.weights;
        self.dao().set_weights(weights).map_err(governance(id))
    }

    fn stake(
        &mut self,
        id: TransferId,
        operation: &staking::Operation,
    ) -> Result<staking::EventKind, LedgerError> {
        let economy = self.economy_now().ok_or(LedgerError::NoEconomy { id })?;
        let rules = economy.staking;
        match *operation {
            staking::Operation::Mature => return Err(LedgerError::MaturesByTime { id }),
            staking::Operation::Register { account, .. } => {
                // Nothing moves yet, and everything that will needs the account.
                self.not_a_purse(account)?;
                let index = self.usable(id, account)?;
                let asset = self.at(index).asset;
                if asset != AssetId::CREDITS {
                    return Err(LedgerError::AssetMismatch {
                        id,
                        from_asset: AssetId::CREDITS,
                        to_asset: asset,
                    });
                }
            }
            _ => {}
        }
        let done = self.staking().execute(&rules, operation);
        let done = done.map_err(|reason| LedgerError::Staking {
            id,
            reason: Box::new(reason),
        })?;
        // Only time does several things at once.
        done.into_iter()
            .next()
            .ok_or(LedgerError::MaturesByTime { id })
    }

    fn earn(
        &mut self,
        id: TransferId,
        operation: &earning::Operation,
    ) -> Result<earning::EventKind, LedgerError> {
        if self.economy_now().is_none() {
            return Err(LedgerError::NoEconomy { id });
        }
        if let earning::Operation::Fee {
            payer,
            payee,
            amount,
        } = *operation
            && !amount.is_zero()
        {
            // Whatever the parts are, refusals are about the whole.
            for account in [payer, payee] {
                self.not_a_purse(account)?;
            }
            let (debtor, creditor) = self.parties(id, payer, payee, amount)?;
            fits(id, self.at(debtor), self.at(creditor), amount)?;
            self.spends(id, debtor, amount)?;
        }
        let (state, now) = (self.state, self.now);
        let economy = self.plan.economy.as_deref().or(state.economy());
        let rules = &economy.ok_or(LedgerError::NoEconomy { id })?.earning;
        let draft = || EarningDraft::new(&state.earning, now);
        let done = self.earning.get_or_insert_with(draft);
        let done = done.execute(rules, operation);
        let (event, _) = done.map_err(|reason| LedgerError::Earning {
            id,
            reason: Box::new(reason),
        })?;
        Ok(event)
    }

    /// Records an event and everything that follows from it.
    fn follow(
        &mut self,
        id: TransferId,
        event: Event,
        founding: bool,
        effects: Vec<Effect>,
    ) -> Result<(), LedgerError> {
        let mut movements = event.movements();
        let mut configured = matches!(event, Event::Configured(_) | Event::ParameterSet { .. });
        self.receipt(EntryKind::Economy {
            id,
            event: Box::new(event),
        });
        let cause = self.plan.head.sequence;
        for effect in effects {
            match effect {
                Effect::SetParameter { name, value, .. } => {
                    let economy = self.economy_now().ok_or(LedgerError::NoEconomy { id })?;
                    let mut economy = economy.clone();
                    economy.set(&name, value).map_err(refused(id))?;
                    self.configure(id, &economy)?;
                    configured = true;
                }
                Effect::Pay { to, amount, .. } => movements.push(Movement {
                    from: Purse::Treasury,
                    to: Purse::Account(to),
                    amount,
                }),
            }
        }
        if configured {
            let supply = self.economy_now().map(|economy| economy.supply);
            let supply = supply.ok_or(LedgerError::NoEconomy { id })?;
            self.cap(id, supply.max)?;
            if founding && !supply.initial.is_zero() {
                movements.push(Movement {
                    from: Purse::Mint,
                    to: Purse::Treasury,
                    amount: supply.initial,
                });
            }
        }
        for movement in movements {
            self.moved(id, cause, movement)?;
        }
        self.weigh_stakes().map_err(governance(id))?;
        self.fits_a_record()
    }

    /// Lets the mint put out so much and no more.
    fn cap(&mut self, id: TransferId, max: Amount) -> Result<(), LedgerError> {
        let account = Purse::Mint.account();
        let index = self.usable(id, account)?;
        let limits = Limits {
            max_supply: Some(max),
            ..self.at(index).limits
        };
        if self.at(index).limits == limits {
            return Ok(());
        }
        let bytes = Digest::derive(
            "fogcompute 2026-11-21 ledger supply limit id v1",
            id.as_bytes(),
        );
        let id = TransferId::from_bytes(*bytes.as_bytes().first_chunk().expect("16 of 32 bytes"));
        if let Some(place) = self.place(id) {
            let sequence = place.sequence();
            return Err(LedgerError::IdReused { id, sequence });
        }
        self.at_mut(index).limits = limits;
        self.record(EntryKind::Limited {
            id,
            account,
            limits,
        });
        Ok(())
    }

    fn moved(
        &mut self,
        id: TransferId,
        cause: u64,
        Movement { from, to, amount }: Movement,
    ) -> Result<(), LedgerError> {
        for purse in [from, to] {
            // Rules name purses; who names one as somebody's account means mischief.
            if let Purse::Account(account) = purse {
                self.not_a_purse(account)?;
            }
        }
        let (from, to) = (from.account(), to.account());
        self.transfer(id, from, to, amount)?;
        self.record(EntryKind::Moved {
            cause,
            from,
            to,
            amount,
        });
        Ok(())
    }
}

pub(super) fn governance(id: TransferId) -> impl Fn(DaoError) -> LedgerError {
    move |reason| LedgerError::Dao {
        id,
        reason: Box::new(reason),
    }
}

fn refused(id: TransferId) -> impl Fn(EconomyError) -> LedgerError {
    move |reason| LedgerError::Economy {
        id,
        reason: Box::new(reason),
    }
}
