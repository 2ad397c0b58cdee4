//! Staking, earning and parameters of a ledger, in calls that every language can have.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};

use fogcompute_base::{AccountId, NodeId, TransferId, UnixMillis};
use fogcompute_ledger::dao::{EventKind as Governed, Weight};
use fogcompute_ledger::earning::{EventKind as Earned, Name, Operation as Earn};
use fogcompute_ledger::economy::{Economy, Event, Parameter, Request};
use fogcompute_ledger::staking::{
    self, EventKind as Staked, Evidence, Operation as Stake, Unbonding,
};
use fogcompute_ledger::{Amount, EntryKind, Operation, Ppm, Purse, Receipt};

use super::{LEDGER_PAGE_MAX, Ledger};
use crate::Error;

/// The economy of a [`Ledger`]: operators and those who stake on them, rewards for contributions,
/// fees, and the numbers that govern them.
///
/// It borrows the ledger and holds nothing itself. Each operation is one transaction under an id of
/// the caller's; the same request under the same id happens once. Money it moves lies in accounts
/// like any other ([`purse_account`]).
///
/// Staking and earning never go back in time: an operation before the last one of its kind is
/// refused with [`ErrorCode::ClockBehind`](crate::ErrorCode::ClockBehind).
///
/// ```
/// use fogcompute::ledger::{Amount, Ppm, economy::Economy};
/// use fogcompute::{AccountId, AccountKind, Ledger, NodeId, TransferId, purse_account};
///
/// let id = |n| TransferId::from_bytes([n; 16]);
/// let (operator, ana) = (NodeId::from_bytes([1; 32]), AccountId::from_bytes([2; 16]));
/// let ledger = Ledger::in_memory()?;
/// ledger.economy().configure(id(1), Economy::default())?;
/// ledger.open_account(ana, AccountKind::Holder)?;
/// ledger.transfer(id(2), purse_account("treasury")?, ana, Amount::from_credits(100))?;
///
/// ledger.economy().register_operator(id(3), operator, ana, Ppm::percent(10))?;
/// ledger.economy().bond(id(4), operator, ana, Amount::from_credits(100))?;
/// ledger.economy().reward(id(5), operator, purse_account("treasury")?, Amount::from_credits(10))?;
/// let claimed = ledger.economy().claim(id(6), operator, ana)?;
/// assert_eq!(claimed.amount, Amount::from_credits(9));
/// # Ok::<(), fogcompute::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LedgerEconomy<'a> {
    ledger: &'a Ledger,
}

/// What an operation of the economy did, flat, so that every language can have it as one record.
/// What an event of its kind does not say is `None`, or zero.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EconomyReceipt {
    /// Place of its entry in the history, from 1.
    pub sequence: u64,
    /// When it happened.
    pub time: UnixMillis,
    /// It was asked for before: nothing happened this time.
    pub replayed: bool,
    /// What happened, in one word that never changes: `configured`, `parameter_set`, `registered`,
    /// `commission_set`, `bonded`, `unbonded`, `unbonding_cancelled`, `redelegated`, `claimed`,
    /// `commission_claimed`, `rewarded`, `slashed`, `unjailed`, `insurance_paid`, `earned`,
    /// `fee_paid`; of governance `established`, `enrolled`, `delegated`, `reputation_set`, `drafted`,
    /// `submitted`, `proposed`, `voted`, `cancelled`, `queued`, `executed`. There may be more later.
    pub event: &'static str,
    /// Base units that were staked, left, came back, changed their operator, were claimed or paid
    /// out, were granted for a contribution; all of a reward, of a fee, or that a slash took.
    pub amount: Amount,
    /// Base units of a contribution's reward that the daily limit cut off.
    pub cut_by_limit: Amount,
    /// Of a reward, the operator's commission.
    pub commission: Amount,
    /// Of a reward that no stake had a right to, or of a fee, what went to the treasury.
    pub treasury: Amount,
    /// Of a fee, what went to the sovereign fund. The payee has the rest.
    pub sovereign_fund: Amount,
    /// Of what a slash took, what the insurance fund has. The rest was burned.
    pub insured: Amount,
    /// Number of the unbonding or redelegation.
    pub entry: Option<u64>,
    /// When an unbonding is paid out, and until when a redelegation answers for what its first
    /// operator did.
    pub matures: Option<UnixMillis>,
    /// When a slashed operator may come back.
    pub jailed_until: Option<UnixMillis>,
    /// Whether a slashed operator may never come back.
    pub tombstoned: bool,
    /// The proposal that was drafted, submitted, voted on, cancelled, queued or executed.
    pub proposal: Option<TransferId>,
    /// All power of the ballot that was cast or changed.
    pub power: Weight,
    /// The last millisecond to vote in, of a proposal that was submitted or voted on.
    pub deadline: Option<UnixMillis>,
    /// When a proposal that was queued may be executed.
    pub eta: Option<UnixMillis>,
}

/// An operator as it stands.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EconomyOperator {
    /// The node.
    pub operator: NodeId,
    /// Receives its commission.
    pub account: AccountId,
    /// Its part of every reward.
    pub commission: Ppm,
    /// When that was set.
    pub commission_set: UnixMillis,
    /// Base units that are staked on it.
    pub staked: Amount,
    /// Base units of rewards that its delegators have not claimed yet, remainders included.
    pub unclaimed: Amount,
    /// Base units of its own commission that it has not claimed yet.
    pub commission_due: Amount,
    /// When it may come back, if it is in jail.
    pub jailed_until: Option<UnixMillis>,
    /// Whether it will never come back.
    pub tombstoned: bool,
}

/// What an account has at an operator.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EconomyStake {
    /// Base units that are staked, rounded down.
    pub staked: Amount,
    /// Base units that a claim would pay now.
    pub claimable: Amount,
    /// What is on its way out, oldest first.
    pub unbondings: Vec<Unbonding>,
}

impl LedgerEconomy<'_> {
    /// Asks something of the economy: all that the other operations do.
    ///
    /// # Errors
    /// [`Error::Store`].
    ///
    /// # Panics
    /// Never: what is asked of the economy makes an entry of the economy.
    pub fn ask(&self, id: TransferId, request: Request) -> Result<EconomyReceipt, Error> {
        let receipt = self.ledger.perform(Operation::Economy {
            id,
            request: Box::new(request),
        })?;
        Ok(EconomyReceipt::of(&receipt).expect("what is asked of the economy makes its entry"))
    }

    /// Sets every number and rule. The first time founds the economy: an account is opened for each
    /// purse, and the initial supply is minted into the treasury.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn configure(&self, id: TransferId, economy: Economy) -> Result<EconomyReceipt, Error> {
        self.ask(id, Request::Configure(economy))
    }

    /// Sets one parameter.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn set_parameter(
        &self,
        id: TransferId,
        name: &str,
        value: u128,
    ) -> Result<EconomyReceipt, Error> {
        let name = name.to_owned();
        self.ask(id, Request::SetParameter { name, value })
    }

    /// Makes a node an operator that may be staked on; its commission goes to `account`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn register_operator(
        &self,
        id: TransferId,
        operator: NodeId,
        account: AccountId,
        commission: Ppm,
    ) -> Result<EconomyReceipt, Error> {
        self.stakes(
            id,
            Stake::Register {
                operator,
                account,
                commission,
            },
        )
    }

    /// Changes an operator's commission: by little, and once in 24 hours.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn set_commission(
        &self,
        id: TransferId,
        operator: NodeId,
        commission: Ppm,
    ) -> Result<EconomyReceipt, Error> {
        self.stakes(
            id,
            Stake::SetCommission {
                operator,
                commission,
            },
        )
    }

    /// Stakes on an operator.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn bond(
        &self,
        id: TransferId,
        operator: NodeId,
        delegator: AccountId,
        amount: Amount,
    ) -> Result<EconomyReceipt, Error> {
        self.stakes(
            id,
            Stake::Bond {
                operator,
                delegator,
                amount,
            },
        )
    }

    /// Starts to take stake back, all of it if no amount is given. Time pays it out
    /// ([`EconomyReceipt::matures`]), less what slashes take until then.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn unbond(
        &self,
        id: TransferId,
        operator: NodeId,
        delegator: AccountId,
        amount: Option<Amount>,
    ) -> Result<EconomyReceipt, Error> {
        self.stakes(
            id,
            Stake::Unbond {
                operator,
                delegator,
                amount,
            },
        )
    }

    /// Returns stake on its way out to its operator, all of the entry if no amount is given.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn cancel_unbonding(
        &self,
        id: TransferId,
        operator: NodeId,
        delegator: AccountId,
        entry: u64,
        amount: Option<Amount>,
    ) -> Result<EconomyReceipt, Error> {
        self.stakes(
            id,
            Stake::CancelUnbonding {
                operator,
                delegator,
                entry,
                amount,
            },
        )
    }

    /// Moves stake to another operator at once, all of it if no amount is given. Until it matures
    /// it answers for what the first operator did, and may not move on.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn redelegate(
        &self,
        id: TransferId,
        delegator: AccountId,
        from: NodeId,
        to: NodeId,
        amount: Option<Amount>,
    ) -> Result<EconomyReceipt, Error> {
        self.stakes(
            id,
            Stake::Redelegate {
                delegator,
                from,
                to,
                amount,
            },
        )
    }

    /// Pays a delegator's rewards out.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn claim(
        &self,
        id: TransferId,
        operator: NodeId,
        delegator: AccountId,
    ) -> Result<EconomyReceipt, Error> {
        self.stakes(
            id,
            Stake::Claim {
                operator,
                delegator,
            },
        )
    }

    /// Pays an operator's commission out.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn claim_commission(
        &self,
        id: TransferId,
        operator: NodeId,
    ) -> Result<EconomyReceipt, Error> {
        self.stakes(id, Stake::ClaimCommission { operator })
    }

    /// Shares a reward between an operator and its delegators. It is paid from an account, or from
    /// that of the treasury or the mint ([`purse_account`]).
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn reward(
        &self,
        id: TransferId,
        operator: NodeId,
        source: AccountId,
        amount: Amount,
    ) -> Result<EconomyReceipt, Error> {
        let source = Purse::held_by(source);
        self.stakes(
            id,
            Stake::Reward {
                operator,
                source,
                amount,
            },
        )
    }

    /// Punishes what an operator did at `infraction`, when it had `power` staked on it. Whether the
    /// evidence is true is for the caller to know.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn slash(
        &self,
        id: TransferId,
        operator: NodeId,
        evidence: Evidence,
        infraction: UnixMillis,
        power: Amount,
    ) -> Result<EconomyReceipt, Error> {
        self.stakes(
            id,
            Stake::Slash {
                operator,
                evidence,
                infraction,
                power,
            },
        )
    }

    /// Lets an operator back whose time in jail is over.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn unjail(&self, id: TransferId, operator: NodeId) -> Result<EconomyReceipt, Error> {
        self.stakes(id, Stake::Unjail { operator })
    }

    /// Pays a claim from the insurance fund, once.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn pay_insurance(
        &self,
        id: TransferId,
        claim: TransferId,
        to: AccountId,
        amount: Amount,
    ) -> Result<EconomyReceipt, Error> {
        self.stakes(id, Stake::PayInsurance { claim, to, amount })
    }

    /// Rewards a contribution by one of the rules. Facts are in thousandths: yes is 1,000, a
    /// quality of 0.95 is 950.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::FactTwice`], [`Error::Store`].
    pub fn earn<N: AsRef<str>>(
        &self,
        id: TransferId,
        rule: &str,
        account: AccountId,
        facts: impl IntoIterator<Item = (N, u64)>,
    ) -> Result<EconomyReceipt, Error> {
        self.ask(id, earn_request(rule, account, facts)?)
    }

    /// Rewards a session of computing. Power and the sum of the bonuses are in thousandths.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn earn_session(
        &self,
        id: TransferId,
        account: AccountId,
        power_milli: u64,
        duration_ms: u64,
        bonus_per_mille: u32,
    ) -> Result<EconomyReceipt, Error> {
        let session = Earn::Session {
            account,
            power_milli,
            duration_ms,
            bonus_per_mille,
        };
        self.ask(id, Request::Earning(session))
    }

    /// Pays a fee: treasury and sovereign fund have their parts, and the payee the rest.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn pay_fee(
        &self,
        id: TransferId,
        payer: AccountId,
        payee: AccountId,
        amount: Amount,
    ) -> Result<EconomyReceipt, Error> {
        let fee = Earn::Fee {
            payer,
            payee,
            amount,
        };
        self.ask(id, Request::Earning(fee))
    }

    /// What an operation of the economy did that was asked for under that id, alone, in a batch or
    /// signed; `None` if the id was used for nothing, or for something else.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn receipt(&self, id: TransferId) -> Result<Option<EconomyReceipt>, Error> {
        let entry = self.ledger.store()?.entry(id)?;
        Ok(entry.and_then(|entry| {
            let replayed = true;
            EconomyReceipt::of(&Receipt { entry, replayed })
        }))
    }

    /// Every number and rule; `None` before the economy was configured.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn rules(&self) -> Result<Option<Economy>, Error> {
        Ok(self.ledger.store()?.state().economy().cloned())
    }

    /// Every parameter, in a fixed order; none before the economy was configured.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn parameters(&self) -> Result<Vec<Parameter>, Error> {
        let rules = self.rules()?;
        Ok(rules.map_or_else(Vec::new, |economy| economy.parameters()))
    }

    /// An operator as it stands; `None` if the node is none.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn operator(&self, operator: NodeId) -> Result<Option<EconomyOperator>, Error> {
        let (store, _) = self.ledger.store_now()?;
        let found = store.state().staking().operator(operator);
        Ok(found.map(|record| EconomyOperator::of(operator, record)))
    }

    /// Operators with an id above `after`, by id: at most `limit`, at most [`LEDGER_PAGE_MAX`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn operators(
        &self,
        after: Option<NodeId>,
        limit: usize,
    ) -> Result<Vec<EconomyOperator>, Error> {
        let (store, _) = self.ledger.store_now()?;
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let operators = store.state().staking().operators();
        Ok(operators
            .filter(|(id, _)| (after, Bound::Unbounded).contains(id))
            .take(limit.min(LEDGER_PAGE_MAX))
            .map(|(id, record)| EconomyOperator::of(id, record))
            .collect())
    }

    /// What an account has at an operator; nothing if it never staked there.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn stake(&self, operator: NodeId, delegator: AccountId) -> Result<EconomyStake, Error> {
        let (store, _) = self.ledger.store_now()?;
        let staking = store.state().staking();
        Ok(EconomyStake {
            staked: staking.staked(operator, delegator),
            claimable: staking.claimable(operator, delegator),
            unbondings: staking.unbondings(operator, delegator).to_vec(),
        })
    }

    /// What an account was granted under a rule on this UTC day, in base units.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::UnknownRule`], [`Error::Store`].
    pub fn granted_today(&self, rule: &str, account: AccountId) -> Result<Amount, Error> {
        let rule: Name = rule.parse()?;
        let (store, now) = self.ledger.store_now()?;
        let economy = store.state().economy();
        if economy.is_none_or(|economy| !economy.earning.contributions.contains_key(&rule)) {
            return Err(Error::UnknownRule(rule));
        }
        Ok(store.state().earning().granted_on(&rule, account, now))
    }

    fn stakes(&self, id: TransferId, operation: Stake) -> Result<EconomyReceipt, Error> {
        self.ask(id, Request::Staking(operation))
    }
}

impl Ledger {
    /// The economy of this ledger: staking, earning and parameters.
    #[must_use]
    pub const fn economy(&self) -> LedgerEconomy<'_> {
        LedgerEconomy { ledger: self }
    }
}

impl EconomyReceipt {
    /// `None` if the entry is not of the economy.
    fn of(receipt: &Receipt) -> Option<Self> {
        let EntryKind::Economy { event, .. } = &receipt.entry.kind else {
            return None;
        };
        let nothing = Self {
            sequence: receipt.entry.sequence,
            time: receipt.entry.time,
            replayed: receipt.replayed,
            event: "configured",
            amount: Amount::ZERO,
            cut_by_limit: Amount::ZERO,
            commission: Amount::ZERO,
            treasury: Amount::ZERO,
            sovereign_fund: Amount::ZERO,
            insured: Amount::ZERO,
            entry: None,
            matures: None,
            jailed_until: None,
            tombstoned: false,
            proposal: None,
            power: Weight::ZERO,
            deadline: None,
            eta: None,
        };
        Some(match &**event {
            Event::Configured(_) => nothing,
            Event::ParameterSet { .. } => Self {
                event: "parameter_set",
                ..nothing
            },
            Event::Staking(event) | Event::StakingOfAll(event) => nothing.of_staking(event),
            Event::Governance(event) => nothing.of_governance(event),
            Event::Earning(Earned::Earned {
                granted,
                cut_by_limit,
                ..
            }) => Self {
                event: "earned",
                amount: *granted,
                cut_by_limit: *cut_by_limit,
                ..nothing
            },
            Event::Earning(Earned::FeePaid { split, .. }) => Self {
                event: "fee_paid",
                // The parts of a fee are exactly the fee.
                amount: Amount(split.treasury.0 + split.sovereign_fund.0 + split.payee.0),
                treasury: split.treasury,
                sovereign_fund: split.sovereign_fund,
                ..nothing
            },
        })
    }

    fn of_governance(self, event: &Governed) -> Self {
        let receipt = Self {
            event: event.name(),
            proposal: event.proposal(),
            ..self
        };
        match *event {
            Governed::Submitted { terms, .. } | Governed::Proposed { terms, .. } => Self {
                deadline: Some(terms.deadline),
                ..receipt
            },
            Governed::Voted {
                power, deadline, ..
            } => Self {
                power,
                deadline: Some(deadline),
                ..receipt
            },
            Governed::Queued { eta, .. } => Self {
                eta: Some(eta),
                ..receipt
            },
            _ => receipt,
        }
    }

    fn of_staking(self, event: &Staked) -> Self {
        let (name, amount) = match *event {
            Staked::Registered { .. } => ("registered", Amount::ZERO),
            Staked::CommissionSet { .. } => ("commission_set", Amount::ZERO),
            Staked::Bonded { amount, .. } => ("bonded", amount),
            Staked::Unbonded { amount, .. } => ("unbonded", amount),
            Staked::UnbondingCancelled { amount, .. } => ("unbonding_cancelled", amount),
            Staked::Redelegated { amount, .. } => ("redelegated", amount),
            Staked::Claimed { amount, .. } => ("claimed", amount),
            Staked::CommissionClaimed { amount, .. } => ("commission_claimed", amount),
            Staked::Rewarded { amount, .. } => ("rewarded", amount),
            Staked::Slashed {
                bonded, unbonding, ..
            } => ("slashed", Amount(bonded.0.saturating_add(unbonding.0))),
            Staked::Unjailed { .. } => ("unjailed", Amount::ZERO),
            Staked::Released { amount, .. } => ("released", amount),
            Staked::RedelegationEnded { .. } => ("redelegation_ended", Amount::ZERO),
            Staked::InsurancePaid { amount, .. } => ("insurance_paid", amount),
        };
        let receipt = Self {
            event: name,
            amount,
            ..self
        };
        match *event {
            Staked::Unbonded { matures, entry, .. } if !amount.is_zero() => Self {
                entry: Some(entry),
                matures: Some(matures),
                ..receipt
            },
            Staked::Redelegated { matures, entry, .. } => Self {
                entry: Some(entry),
                matures: Some(matures),
                ..receipt
            },
            Staked::UnbondingCancelled { entry, .. } => Self {
                entry: Some(entry),
                ..receipt
            },
            Staked::Rewarded {
                commission,
                treasury,
                ..
            } => Self {
                commission,
                treasury,
                ..receipt
            },
            Staked::Slashed {
                insured,
                jailed_until,
                tombstone,
                ..
            } => Self {
                insured: insured.of(amount),
                jailed_until: Some(jailed_until),
                tombstoned: tombstone,
                ..receipt
            },
            _ => receipt,
        }
    }
}

impl EconomyOperator {
    fn of(operator: NodeId, record: &staking::Operator) -> Self {
        Self {
            operator,
            account: record.account,
            commission: record.commission,
            commission_set: record.commission_set,
            staked: record.tokens,
            unclaimed: record.unclaimed,
            commission_due: record.commission_due,
            jailed_until: record.jailed_until,
            tombstoned: record.tombstoned,
        }
    }
}

/// What a receipt says that moved: an amount from one account to another, or what was asked of the
/// economy did, which is [`EconomyReceipt::amount`].
#[must_use]
pub fn moved(receipt: &Receipt) -> Amount {
    let asked = EconomyReceipt::of(receipt).map(|receipt| receipt.amount);
    asked.unwrap_or_else(|| receipt.entry.kind.moved())
}

/// What [`LedgerEconomy::earn`] asks for, to be a step of a batch.
///
/// # Errors
/// [`Error::Name`], [`Error::FactTwice`].
pub fn earn_request<N: AsRef<str>>(
    rule: &str,
    account: AccountId,
    facts: impl IntoIterator<Item = (N, u64)>,
) -> Result<Request, Error> {
    let mut told = BTreeMap::<Name, _>::new();
    for (fact, value) in facts {
        let fact = fact.as_ref();
        if told.insert(fact.parse()?, value).is_some() {
            let fact = fact.to_owned();
            return Err(Error::FactTwice { fact });
        }
    }
    Ok(Request::Earning(Earn::Earn {
        rule: rule.parse()?,
        account,
        facts: told,
    }))
}

/// The account of a purse of the economy, the same in every ledger: `bonded`, `unbonding`,
/// `rewards`, `insurance`, `treasury`, `sovereign_fund` or `mint`.
///
/// # Errors
/// [`Error::UnknownPurse`].
pub fn purse_account(name: &str) -> Result<AccountId, Error> {
    let purse = match name {
        "bonded" => Purse::Bonded,
        "unbonding" => Purse::Unbonding,
        "rewards" => Purse::Rewards,
        "insurance" => Purse::Insurance,
        "treasury" => Purse::Treasury,
        "sovereign_fund" => Purse::SovereignFund,
        "mint" => Purse::Mint,
        _ => {
            let name = name.to_owned();
            return Err(Error::UnknownPurse { name });
        }
    };
    Ok(purse.account())
}

/// Reads an economy's configuration from JSON text: every field of [`Economy`], and no other.
/// Amounts are texts of base units, parts are millionths, facts and multipliers thousandths.
///
/// ```
/// use fogcompute::{economy_from_json, economy_to_json, ledger::economy::Economy};
///
/// let text = economy_to_json(&Economy::default());
/// assert_eq!(economy_from_json(&text)?, Economy::default());
/// # Ok::<(), fogcompute::Error>(())
/// ```
///
/// # Errors
/// [`Error::EconomyText`]; [`Error::Economy`] if its numbers do not agree.
pub fn economy_from_json(text: &str) -> Result<Economy, Error> {
    let economy: Economy = serde_json::from_str(text).map_err(Error::EconomyText)?;
    economy.validate()?;
    Ok(economy)
}

/// An economy's configuration as JSON text, for [`economy_from_json`].
///
/// # Panics
/// Never: what is written has no keys that JSON cannot have.
#[must_use]
pub fn economy_to_json(economy: &Economy) -> String {
    serde_json::to_string_pretty(economy)
        .expect("its maps have texts as keys, and it is written to memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountKind, ErrorCode, SignedBatch, owner_key, sign_batch};
    use fogcompute_ledger::PublicKey;
    use tempfile::TempDir;

    const DAY: u64 = 86_400_000;
    const START: u64 = 20_000 * DAY;
    const NODE: NodeId = NodeId::from_bytes([1; 32]);
    const OTHER: NodeId = NodeId::from_bytes([2; 32]);
    const ANA: AccountId = AccountId::from_bytes([1; 16]);
    const BEN: AccountId = AccountId::from_bytes([2; 16]);

    fn id(n: u8) -> TransferId {
        TransferId::from_bytes([n; 16])
    }

    fn credits(credits: u64) -> Amount {
        Amount::from_credits(credits)
    }

    fn treasury() -> AccountId {
        Purse::Treasury.account()
    }

    /// Ana and Ben have 1,000 credits each, and Ana runs two nodes.
    fn found(ledger: &Ledger) {
        ledger.set_time(Some(UnixMillis(START))).unwrap();
        let economy = ledger.economy();
        economy.configure(id(1), Economy::default()).unwrap();
        for (n, account) in [(2, ANA), (3, BEN)] {
            ledger.open_account(account, AccountKind::Holder).unwrap();
            let amount = credits(1_000);
            ledger.transfer(id(n), treasury(), account, amount).unwrap();
        }
        let ten = Ppm::percent(10);
        economy.register_operator(id(4), NODE, ANA, ten).unwrap();
        economy.register_operator(id(5), OTHER, ANA, ten).unwrap();
    }

    fn founded() -> Ledger {
        let ledger = Ledger::in_memory().unwrap();
        found(&ledger);
        ledger
    }

    fn after(ledger: &Ledger, ms: u64) {
        ledger.set_time(Some(UnixMillis(START + ms))).unwrap();
    }

    #[test]
    fn what_moved_is_the_same_alone_and_in_a_batch() {
        // Of the economy, a receipt of a batch said that nothing moved.
        let bond = |delegator, amount| {
            Request::Staking(Stake::Bond {
                operator: NODE,
                delegator,
                amount,
            })
        };
        let ledger = Ledger::in_memory().unwrap();
        found(&ledger);
        let alone = ledger.economy().ask(id(10), bond(BEN, credits(3)));
        let batch = [
            Operation::Economy {
                id: id(10),
                request: Box::new(bond(BEN, credits(3))),
            },
            Operation::Economy {
                id: id(11),
                request: Box::new(bond(BEN, credits(4))),
            },
            Operation::Transfer {
                id: id(12),
                from: treasury(),
                to: BEN,
                amount: credits(5),
                memo: fogcompute_ledger::Memo::NONE,
            },
        ];
        let receipts = ledger.execute(batch).unwrap();
        assert_eq!(alone.unwrap().amount, credits(3));
        let told: Vec<Amount> = receipts.iter().map(moved).collect();
        assert_eq!(told, [credits(3), credits(4), credits(5)]);
    }

    #[test]
    fn stake_earns_is_slashed_leaves_and_is_paid_out_across_a_restart() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("ledger");
        let ledger = Ledger::open(&path).unwrap();
        found(&ledger);
        let economy = ledger.economy();
        let bonded = economy.bond(id(10), NODE, BEN, credits(1_000)).unwrap();
        assert_eq!((bonded.event, bonded.amount), ("bonded", credits(1_000)));
        assert!(!bonded.replayed);
        let again = economy.bond(id(10), NODE, BEN, credits(1_000)).unwrap();
        assert!(again.replayed);
        assert_eq!(economy.receipt(id(10)).unwrap(), Some(again));
        assert_eq!(economy.receipt(id(2)).unwrap(), None);
        assert_eq!(ledger.balance(BEN).unwrap(), Amount::ZERO);

        let rewarded = economy.reward(id(11), NODE, treasury(), credits(100));
        assert_eq!(rewarded.unwrap().commission, credits(10));
        assert_eq!(economy.stake(NODE, BEN).unwrap().claimable, credits(90));
        let claimed = economy.claim(id(12), NODE, BEN).unwrap();
        assert_eq!((claimed.event, claimed.amount), ("claimed", credits(90)));
        let claimed = economy.claim_commission(id(13), NODE).unwrap();
        assert_eq!(claimed.amount, credits(10));
        let unstaked = economy.reward(id(14), OTHER, treasury(), credits(1));
        assert_eq!(unstaked.unwrap().treasury, credits(1));

        after(&ledger, DAY);
        let (then, power) = (UnixMillis(START + 1), credits(1_000));
        let slashed = economy.slash(id(15), NODE, Evidence::InvalidResult, then, power);
        let slashed = slashed.unwrap();
        assert_eq!((slashed.amount, slashed.insured), (credits(10), credits(5)));
        assert_eq!(slashed.jailed_until, Some(UnixMillis(START + 2 * DAY)));
        let jailed = economy.operator(NODE).unwrap().unwrap();
        assert_eq!(jailed.jailed_until, slashed.jailed_until);
        assert_eq!(jailed.staked, credits(990));
        economy
            .pay_insurance(id(16), id(99), BEN, credits(5))
            .unwrap();
        after(&ledger, 2 * DAY);
        assert_eq!(economy.unjail(id(17), NODE).unwrap().event, "unjailed");
        economy
            .set_commission(id(18), NODE, Ppm::percent(11))
            .unwrap();

        let moved = economy.redelegate(id(19), BEN, NODE, OTHER, Some(credits(90)));
        assert!(moved.unwrap().entry.is_some());
        let left = economy.unbond(id(20), NODE, BEN, None).unwrap();
        assert_eq!(left.amount, credits(900));
        assert_eq!(left.matures, Some(UnixMillis(START + 23 * DAY)));
        let entry = left.entry.unwrap();
        let back = economy.cancel_unbonding(id(21), NODE, BEN, entry, Some(credits(100)));
        assert_eq!(back.unwrap().amount, credits(100));
        let stake = economy.stake(NODE, BEN).unwrap();
        assert_eq!(stake.staked, credits(100));
        assert_eq!(stake.unbondings[0].balance, credits(800));
        drop(ledger);

        let ledger = Ledger::open(&path).unwrap();
        after(&ledger, 23 * DAY);
        // The redelegation and the unbonding.
        assert_eq!(ledger.expire().unwrap(), 2);
        assert_eq!(ledger.balance(BEN).unwrap(), credits(90 + 5 + 800));
        assert_eq!(
            ledger.economy().stake(NODE, BEN).unwrap(),
            EconomyStake {
                staked: credits(100),
                ..EconomyStake::default()
            }
        );
        let ids: Vec<_> = (ledger.economy().operators(None, 9).unwrap().iter())
            .map(|operator| operator.operator)
            .collect();
        assert_eq!(ids, [NODE, OTHER]);
        assert_eq!(ledger.economy().operators(Some(NODE), 9).unwrap().len(), 1);
        ledger.verify().unwrap();
    }

    #[test]
    fn contributions_are_paid_up_to_the_limit_of_the_day() {
        let ledger = founded();
        let economy = ledger.economy();
        let facts = [("uptime", 1_000), ("bandwidth", 1_000)];
        for n in 0..11 {
            economy.earn(id(10 + n), "hosting", BEN, facts).unwrap();
        }
        let last = economy.earn(id(21), "hosting", BEN, facts).unwrap();
        assert_eq!((last.amount, last.cut_by_limit), (credits(1), credits(8)));
        assert_eq!(economy.granted_today("hosting", BEN).unwrap(), credits(100));
        let code = economy
            .earn(id(22), "hosting", BEN, facts)
            .unwrap_err()
            .code();
        assert_eq!(code, ErrorCode::DailyLimitReached);
        after(&ledger, DAY);
        assert_eq!(economy.granted_today("hosting", BEN).unwrap(), Amount::ZERO);
        economy.earn(id(22), "hosting", BEN, facts).unwrap();
        let session = economy.earn_session(id(23), BEN, 100_000, 3_600_000, 0);
        assert_eq!(session.unwrap().amount, credits(9));
        let fee = economy.pay_fee(id(24), BEN, ANA, credits(100)).unwrap();
        assert_eq!((fee.event, fee.amount), ("fee_paid", credits(100)));
        assert_eq!(
            (fee.treasury, fee.sovereign_fund),
            (credits(15), credits(5))
        );
        assert_eq!(ledger.balance(ANA).unwrap(), credits(1_080));
    }

    #[test]
    fn parameters_are_listed_set_and_kept_within_their_bounds() {
        let ledger = founded();
        let economy = ledger.economy();
        let name = "earning.contributions.hosting.base";
        economy.set_parameter(id(10), name, 7).unwrap();
        let all = economy.parameters().unwrap();
        let found = all.iter().find(|parameter| parameter.name == name).unwrap();
        assert_eq!((found.value, found.min), (7, 0));
        assert_eq!(economy.rules().unwrap().unwrap().get(name), Some(7));
        let nobody = Ledger::in_memory().unwrap();
        assert_eq!(nobody.economy().rules().unwrap(), None);
        assert_eq!(nobody.economy().parameters().unwrap(), []);
    }

    #[test]
    fn text_of_an_economy_is_exact() {
        let text = economy_to_json(&Economy::default());
        assert_eq!(economy_from_json(&text).unwrap(), Economy::default());
        let code = |text: &str| economy_from_json(text).unwrap_err().code();
        assert_eq!(code("{}"), ErrorCode::InvalidEconomy);
        let misspelt = text.replacen("\"supply\"", "\"suply\": 1, \"supply\"", 1);
        assert_eq!(code(&misspelt), ErrorCode::InvalidEconomy);
        let contrary = text.replacen("\"per\": 60000", "\"per\": 0", 1);
        assert_eq!(code(&contrary), ErrorCode::InvalidEconomy);
        for name in [
            "bonded",
            "unbonding",
            "rewards",
            "insurance",
            "treasury",
            "mint",
        ] {
            assert!(Purse::of(purse_account(name).unwrap()).is_some());
        }
        assert_eq!(
            purse_account("sovereign_fund").unwrap(),
            Purse::SovereignFund.account()
        );
        let code = purse_account("purse").unwrap_err().code();
        assert_eq!(code, ErrorCode::InvalidArgument);
    }

    #[test]
    fn every_refusal_has_its_code() {
        let empty = Ledger::in_memory().unwrap();
        let code = |outcome: Result<EconomyReceipt, Error>| outcome.unwrap_err().code();
        let unfounded = empty.economy().unjail(id(1), NODE);
        assert_eq!(code(unfounded), ErrorCode::NoEconomy);

        let ledger = founded();
        let economy = ledger.economy();
        let nobody = NodeId::from_bytes([9; 32]);
        let (one, part) = (credits(1), Ppm::percent(10));
        let all = |n| economy.unbond(id(n), NODE, BEN, None);
        let slash = |n, evidence, at| {
            let at = UnixMillis(START - at);
            economy.slash(id(n), NODE, evidence, at, credits(10))
        };
        let earn =
            |rule, facts: &[(&str, u64)]| economy.earn(id(200), rule, BEN, facts.iter().copied());
        let session = |power, ms, bonus| economy.earn_session(id(200), BEN, power, ms, bonus);
        let tell = [("quality", 900)];
        let mut cases = vec![
            (
                economy.set_parameter(id(200), "x", 1),
                ErrorCode::UnknownParameter,
            ),
            (
                economy.set_parameter(id(200), "earning.fees.treasury", 2_000_000),
                ErrorCode::InvalidEconomy,
            ),
            (economy.unjail(id(200), nobody), ErrorCode::UnknownOperator),
            (
                economy.register_operator(id(200), NODE, ANA, part),
                ErrorCode::OperatorExists,
            ),
            (all(200), ErrorCode::UnknownDelegator),
            (
                economy.bond(id(200), NODE, BEN, Amount::ZERO),
                ErrorCode::ZeroAmount,
            ),
            (
                economy.bond(id(200), NODE, BEN, credits(1_001)),
                ErrorCode::InsufficientFunds,
            ),
            (economy.unjail(id(200), NODE), ErrorCode::NotJailed),
            (
                economy.claim_commission(id(200), NODE),
                ErrorCode::NothingToClaim,
            ),
            (
                economy.register_operator(id(200), nobody, ANA, Ppm::percent(51)),
                ErrorCode::CommissionTooLarge,
            ),
            (
                economy.set_commission(id(200), NODE, Ppm::percent(11)),
                ErrorCode::CommissionTooSoon,
            ),
            (
                economy.pay_insurance(id(200), id(9), BEN, one),
                ErrorCode::InsuranceShort,
            ),
            (
                economy.reward(id(200), NODE, Purse::Bonded.account(), one),
                ErrorCode::StakingRefused,
            ),
            (
                economy.ask(id(200), Request::Staking(Stake::Mature)),
                ErrorCode::MaturesByTime,
            ),
            (
                slash(200, Evidence::Downtime, 22 * DAY),
                ErrorCode::EvidenceTooOld,
            ),
            (earn("nothing", &[]), ErrorCode::UnknownRule),
            (earn("hosting", &tell), ErrorCode::UnknownFact),
            (earn("knowledge", &[]), ErrorCode::FactMissing),
            (
                earn("knowledge", &[("quality", 699)]),
                ErrorCode::RequirementNotMet,
            ),
            (
                earn("knowledge", &[("quality", 1_001)]),
                ErrorCode::FactTooLarge,
            ),
            (earn("No", &[]), ErrorCode::InvalidArgument),
            (
                earn("hosting", &[("uptime", 1), ("uptime", 1)]),
                ErrorCode::InvalidArgument,
            ),
            (session(1_000, 1, 0), ErrorCode::SessionTooShort),
            (session(1_000, DAY + 1, 0), ErrorCode::SessionTooLarge),
            (session(1_000, DAY, 1_001), ErrorCode::SessionTooLarge),
            (session(0, DAY, 0), ErrorCode::ZeroAmount),
        ];
        economy.bond(id(10), NODE, BEN, credits(100)).unwrap();
        let left = economy.unbond(id(11), NODE, BEN, Some(one)).unwrap();
        let entry = left.entry.unwrap();
        let cancel =
            |entry, amount| economy.cancel_unbonding(id(200), NODE, BEN, entry, Some(amount));
        cases.extend([
            (cancel(entry + 1, one), ErrorCode::UnknownEntry),
            (cancel(entry, credits(2)), ErrorCode::ExceedsEntry),
            (
                economy.unbond(id(200), NODE, BEN, Some(credits(100))),
                ErrorCode::ExceedsStake,
            ),
            (economy.claim(id(200), NODE, BEN), ErrorCode::NothingToClaim),
        ]);
        for n in 12..18 {
            economy.unbond(id(n), NODE, BEN, Some(one)).unwrap();
        }
        cases.push((all(200), ErrorCode::TooManyEntries));
        economy
            .redelegate(id(18), BEN, NODE, OTHER, Some(one))
            .unwrap();
        cases.push((
            economy.redelegate(id(200), BEN, OTHER, NODE, None),
            ErrorCode::TransitiveRedelegation,
        ));
        slash(19, Evidence::InvalidResult, 0).unwrap();
        cases.push((
            slash(200, Evidence::InvalidResult, 0),
            ErrorCode::EvidenceRepeated,
        ));
        cases.push((economy.bond(id(200), NODE, BEN, one), ErrorCode::Jailed));
        let paid = economy.pay_insurance(id(20), id(9), BEN, Amount(1));
        paid.unwrap();
        cases.push((
            economy.pay_insurance(id(200), id(9), BEN, Amount(1)),
            ErrorCode::ClaimRepeated,
        ));
        slash(21, Evidence::DoubleResult, 0).unwrap();
        cases.push((economy.unjail(id(200), NODE), ErrorCode::Tombstoned));
        economy
            .earn(id(22), "hosting", BEN, [("uptime", 1)])
            .unwrap();
        ledger.set_time(Some(UnixMillis(START - 1))).unwrap();
        assert_eq!(ledger.now().unwrap(), UnixMillis(START - 1));
        cases.push((
            economy.bond(id(200), OTHER, BEN, one),
            ErrorCode::ClockBehind,
        ));
        cases.push((earn("hosting", &[]), ErrorCode::ClockBehind));
        for (index, (outcome, expected)) in cases.into_iter().enumerate() {
            assert_eq!(code(outcome), expected, "case {index}");
        }
    }

    #[test]
    fn purses_and_stakers_are_protected_from_operations_by_hand() {
        let ledger = founded();
        let taken = ledger.transfer(id(10), Purse::Bonded.account(), ANA, Amount(1));
        assert_eq!(taken.unwrap_err().code(), ErrorCode::PurseAccount);
        ledger
            .economy()
            .bond(id(11), NODE, BEN, credits(1_000))
            .unwrap();
        let closed = ledger.close_account(id(12), BEN);
        assert_eq!(closed.unwrap_err().code(), ErrorCode::AccountStaked);
    }

    fn bond(id: TransferId, delegator: AccountId, amount: Amount) -> Operation {
        Operation::Economy {
            id,
            request: Box::new(Request::Staking(Stake::Bond {
                operator: NODE,
                delegator,
                amount,
            })),
        }
    }

    #[test]
    fn owners_sign_for_their_stake_and_for_no_more() {
        let ledger = founded();
        let secret = [7; 32];
        let key: PublicKey = owner_key(&secret);
        ledger.own(id(10), BEN, key).unwrap();
        let signed = |operation| -> SignedBatch {
            let nonce = ledger.next_nonce(BEN).unwrap();
            sign_batch(BEN, nonce, UnixMillis(u64::MAX), vec![operation], &secret)
        };
        let stake = signed(bond(id(11), BEN, credits(3)));
        ledger.execute_signed(&stake).unwrap();
        let receipt = ledger.economy().receipt(id(11)).unwrap().unwrap();
        assert_eq!(receipt.amount, credits(3));
        let code = |batch| ledger.execute_signed(&batch).unwrap_err().code();
        let foreign = signed(bond(id(12), ANA, credits(3)));
        assert_eq!(code(foreign), ErrorCode::NotTheOwner);
        let set = Operation::Economy {
            id: id(13),
            request: Box::new(Request::SetParameter {
                name: "earning.fees.treasury".to_owned(),
                value: 0,
            }),
        };
        assert_eq!(code(signed(set)), ErrorCode::HostOnly);
    }

    #[test]
    fn messages_say_why_the_rules_refuse() {
        let error = founded().economy().unjail(id(10), NODE).unwrap_err();
        let message = error.message();
        assert!(message.contains("is not in jail"), "{message}");
    }
}
