//! The economy of a ledger.

use std::collections::BTreeMap;

use fogcompute::base::UnixMillis;
use fogcompute::{
    AccountId, EconomyRequest, Error, LEDGER_PAGE_MAX, NodeId, Ppm, TransferId, Unit,
};
use pyo3::prelude::*;

use super::Ledger;
use crate::convert::{Evidence, Hex, Money, Number, Tuple};
use crate::error;
use crate::value::value;

/// The account, 32 hexadecimal digits, of a purse of the economy, the same in every ledger:
/// "bonded", "unbonding", "rewards", "insurance", "treasury", "sovereign_fund" or "mint".
/// `Ledger.balance` and `Ledger.account` tell what is in it.
#[pyfunction]
pub(crate) fn purse_account(py: Python<'_>, purse: &str) -> PyResult<Hex<AccountId>> {
    error::call(py, || fogcompute::purse_account(purse)).map(Hex)
}

/// A part in millionths.
pub(super) fn ppm(py: Python<'_>, millionths: Number<u32>) -> PyResult<Ppm> {
    let part = Ppm::new(millionths.0).map_err(Error::Part);
    part.map_err(|error| error::of_error(py, &error))
}

/// A step of a batch that asks something of the economy.
pub(super) fn asking(id: Hex<TransferId>, request: EconomyRequest) -> super::Operation {
    super::Operation(fogcompute::Operation::Economy {
        id: id.0,
        request: Box::new(request),
    })
}

/// What an operation of the economy did. What an event of its kind does not say is `None`, or 0.
#[pyclass(frozen, get_all, module = "fogcompute.ledger")]
pub(crate) struct EconomyReceipt {
    /// Place of its entry in the history, from 1.
    sequence: u64,
    /// When it happened, in milliseconds since 1970.
    unix_ms: u64,
    /// It was asked for before: nothing happened this time.
    replayed: bool,
    /// What happened: "configured", "parameter_set", "registered", "commission_set", "bonded",
    /// "unbonded", "unbonding_cancelled", "redelegated", "claimed", "commission_claimed",
    /// "rewarded", "slashed", "unjailed", "insurance_paid", "earned", "fee_paid"; of governance
    /// "established", "enrolled", "delegated", "reputation_set", "drafted", "submitted", "proposed",
    /// "voted", "cancelled", "queued", "executed". There may be more later.
    event: String,
    /// Base units that were staked, left, came back, changed their operator, were claimed or paid
    /// out, were granted for a contribution; all of a reward, of a fee, or that a slash took.
    amount: u128,
    /// Base units of a contribution's reward that the daily limit cut off.
    cut_by_limit: u128,
    /// Of a reward, the operator's commission.
    commission: u128,
    /// Of a reward that no stake had a right to, or of a fee, what went to the treasury.
    treasury: u128,
    /// Of a fee, what went to the sovereign fund. The payee has the rest.
    sovereign_fund: u128,
    /// Of what a slash took, what the insurance fund has. The rest was burned.
    insured: u128,
    /// Number of the unbonding or redelegation.
    entry: Option<u64>,
    /// When an unbonding is paid out, and until when a redelegation answers for what its first
    /// operator did, in milliseconds since 1970.
    matures_unix_ms: Option<u64>,
    /// When a slashed operator may come back, in milliseconds since 1970.
    jailed_until_unix_ms: Option<u64>,
    /// Whether a slashed operator may never come back.
    tombstoned: bool,
    /// The proposal that was drafted, submitted, voted on, cancelled, queued or executed.
    proposal: Option<Hex<TransferId>>,
    /// All power of the ballot that was cast or changed.
    power: u128,
    /// The last millisecond to vote in since 1970, of a proposal that was submitted or voted on.
    deadline_unix_ms: Option<u64>,
    /// When a proposal that was queued may be executed, in milliseconds since 1970.
    eta_unix_ms: Option<u64>,
}

value! {
    EconomyReceipt {
        sequence,
        unix_ms,
        replayed,
        event,
        amount,
        cut_by_limit,
        commission,
        treasury,
        sovereign_fund,
        insured,
        entry,
        matures_unix_ms,
        jailed_until_unix_ms,
        tombstoned,
        proposal,
        power,
        deadline_unix_ms,
        eta_unix_ms,
    }

    #[new]
    #[pyo3(
        signature = (sequence, unix_ms, replayed, event, *, amount = Number(0), cut_by_limit =
                     Number(0), commission = Number(0), treasury = Number(0), sovereign_fund =
                     Number(0), insured = Number(0), entry = None, matures_unix_ms = None,
                     jailed_until_unix_ms = None, tombstoned = false, proposal = None, power = Number(0),
                     deadline_unix_ms = None, eta_unix_ms = None),
        text_signature = "(sequence, unix_ms, replayed, event, *, amount=0, cut_by_limit=0, \
                          commission=0, treasury=0, sovereign_fund=0, insured=0, entry=None, \
                          matures_unix_ms=None, jailed_until_unix_ms=None, tombstoned=False, proposal=None, power=0, \
                          deadline_unix_ms=None, eta_unix_ms=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "fields in Python")]
    fn new(
        sequence: Number<u64>,
        unix_ms: Number<u64>,
        replayed: bool,
        event: String,
        amount: Number<u128>,
        cut_by_limit: Number<u128>,
        commission: Number<u128>,
        treasury: Number<u128>,
        sovereign_fund: Number<u128>,
        insured: Number<u128>,
        entry: Option<Number<u64>>,
        matures_unix_ms: Option<Number<u64>>,
        jailed_until_unix_ms: Option<Number<u64>>,
        tombstoned: bool,
        proposal: Option<Hex<TransferId>>,
        power: Number<u128>,
        deadline_unix_ms: Option<Number<u64>>,
        eta_unix_ms: Option<Number<u64>>,
    ) -> Self {
        Self {
            sequence: sequence.0,
            unix_ms: unix_ms.0,
            replayed,
            event,
            amount: amount.0,
            cut_by_limit: cut_by_limit.0,
            commission: commission.0,
            treasury: treasury.0,
            sovereign_fund: sovereign_fund.0,
            insured: insured.0,
            entry: entry.map(|number| number.0),
            matures_unix_ms: matures_unix_ms.map(|number| number.0),
            jailed_until_unix_ms: jailed_until_unix_ms.map(|number| number.0),
            tombstoned,
            proposal,
            power: power.0,
            deadline_unix_ms: deadline_unix_ms.map(|number| number.0),
            eta_unix_ms: eta_unix_ms.map(|number| number.0),
        }
    }
}

impl From<fogcompute::EconomyReceipt> for EconomyReceipt {
    fn from(receipt: fogcompute::EconomyReceipt) -> Self {
        Self {
            sequence: receipt.sequence,
            unix_ms: receipt.time.0,
            replayed: receipt.replayed,
            event: receipt.event.to_owned(),
            amount: receipt.amount.0,
            cut_by_limit: receipt.cut_by_limit.0,
            commission: receipt.commission.0,
            treasury: receipt.treasury.0,
            sovereign_fund: receipt.sovereign_fund.0,
            insured: receipt.insured.0,
            entry: receipt.entry,
            matures_unix_ms: receipt.matures.map(|time| time.0),
            jailed_until_unix_ms: receipt.jailed_until.map(|time| time.0),
            tombstoned: receipt.tombstoned,
            proposal: receipt.proposal.map(Hex),
            power: receipt.power.0,
            deadline_unix_ms: receipt.deadline.map(|time| time.0),
            eta_unix_ms: receipt.eta.map(|time| time.0),
        }
    }
}

/// A node that may be staked on, as it stands.
#[pyclass(frozen, get_all, module = "fogcompute.ledger")]
pub(crate) struct Operator {
    /// The node, 64 hexadecimal digits.
    operator: Hex<NodeId>,
    /// Receives its commission.
    account: Hex<AccountId>,
    /// Its part of every reward, in millionths.
    commission_ppm: u32,
    /// When that was set, in milliseconds since 1970.
    commission_set_unix_ms: u64,
    /// Base units that are staked on it.
    staked: u128,
    /// Base units of rewards that its delegators have not claimed yet, remainders included.
    unclaimed: u128,
    /// Base units of its own commission that it has not claimed yet.
    commission_due: u128,
    /// When it may come back, if it is in jail, in milliseconds since 1970.
    jailed_until_unix_ms: Option<u64>,
    /// Whether it will never come back.
    tombstoned: bool,
}

value! {
    Operator {
        operator,
        account,
        commission_ppm,
        commission_set_unix_ms,
        staked,
        unclaimed,
        commission_due,
        jailed_until_unix_ms,
        tombstoned,
    }

    #[new]
    #[expect(clippy::too_many_arguments, reason = "fields in Python")]
    fn new(
        operator: Hex<NodeId>,
        account: Hex<AccountId>,
        commission_ppm: Number<u32>,
        commission_set_unix_ms: Number<u64>,
        staked: Number<u128>,
        unclaimed: Number<u128>,
        commission_due: Number<u128>,
        jailed_until_unix_ms: Option<Number<u64>>,
        tombstoned: bool,
    ) -> Self {
        Self {
            operator,
            account,
            commission_ppm: commission_ppm.0,
            commission_set_unix_ms: commission_set_unix_ms.0,
            staked: staked.0,
            unclaimed: unclaimed.0,
            commission_due: commission_due.0,
            jailed_until_unix_ms: jailed_until_unix_ms.map(|number| number.0),
            tombstoned,
        }
    }
}

impl From<fogcompute::EconomyOperator> for Operator {
    fn from(operator: fogcompute::EconomyOperator) -> Self {
        Self {
            operator: Hex(operator.operator),
            account: Hex(operator.account),
            commission_ppm: operator.commission.get(),
            commission_set_unix_ms: operator.commission_set.0,
            staked: operator.staked.0,
            unclaimed: operator.unclaimed.0,
            commission_due: operator.commission_due.0,
            jailed_until_unix_ms: operator.jailed_until.map(|time| time.0),
            tombstoned: operator.tombstoned,
        }
    }
}

/// Stake on its way out.
#[pyclass(frozen, get_all, from_py_object, module = "fogcompute.ledger")]
#[derive(Clone)]
pub(crate) struct Unbonding {
    /// Its number.
    entry: u64,
    /// When it began to leave, in milliseconds since 1970.
    started_unix_ms: u64,
    /// When it will be paid out, in milliseconds since 1970.
    matures_unix_ms: u64,
    /// Base units that left, but for what came back.
    initial: u128,
    /// Base units that slashes have left of it.
    balance: u128,
}

value! {
    Unbonding { entry, started_unix_ms, matures_unix_ms, initial, balance }

    #[new]
    fn new(
        entry: Number<u64>,
        started_unix_ms: Number<u64>,
        matures_unix_ms: Number<u64>,
        initial: Number<u128>,
        balance: Number<u128>,
    ) -> Self {
        Self {
            entry: entry.0,
            started_unix_ms: started_unix_ms.0,
            matures_unix_ms: matures_unix_ms.0,
            initial: initial.0,
            balance: balance.0,
        }
    }
}

impl From<fogcompute::Unbonding> for Unbonding {
    fn from(unbonding: fogcompute::Unbonding) -> Self {
        Self {
            entry: unbonding.entry,
            started_unix_ms: unbonding.started.0,
            matures_unix_ms: unbonding.matures.0,
            initial: unbonding.initial.0,
            balance: unbonding.balance.0,
        }
    }
}

/// What an account has at an operator.
#[pyclass(frozen, get_all, module = "fogcompute.ledger")]
pub(crate) struct Stake {
    /// Base units that are staked, rounded down.
    staked: u128,
    /// Base units that a claim would pay now.
    claimable: u128,
    /// What is on its way out, oldest first.
    unbondings: Tuple<Unbonding>,
}

value! {
    Stake { staked, claimable, unbondings }

    #[new]
    fn new(
        staked: Number<u128>,
        claimable: Number<u128>,
        unbondings: Tuple<Unbonding>,
    ) -> Self {
        Self {
            staked: staked.0,
            claimable: claimable.0,
            unbondings,
        }
    }
}

impl From<fogcompute::EconomyStake> for Stake {
    fn from(stake: fogcompute::EconomyStake) -> Self {
        Self {
            staked: stake.staked.0,
            claimable: stake.claimable.0,
            unbondings: Tuple(stake.unbondings.into_iter().map(Into::into).collect()),
        }
    }
}

/// A number of the economy.
#[pyclass(frozen, get_all, module = "fogcompute.ledger")]
pub(crate) struct Parameter {
    /// Its name, which never changes: the path of the number in the JSON of the rules, with points
    /// between the parts. An element of a list goes by its `fact`.
    name: String,
    /// What it is counted in: "base_units", "ppm" (millionths), "per_mille" (thousandths),
    /// "milliseconds", "count" or "flag" (0 for no, 1 for yes).
    unit: String,
    /// What it is.
    value: u128,
    /// The least it may be.
    min: u128,
    /// The most it may be.
    max: u128,
}

value! {
    Parameter { name, unit, value, min, max }

    #[new]
    fn new(
        name: String,
        unit: String,
        value: Number<u128>,
        min: Number<u128>,
        max: Number<u128>,
    ) -> Self {
        Self {
            name,
            unit,
            value: value.0,
            min: min.0,
            max: max.0,
        }
    }
}

impl From<fogcompute::Parameter> for Parameter {
    fn from(parameter: fogcompute::Parameter) -> Self {
        let unit = match parameter.unit {
            Unit::BaseUnits => "base_units",
            Unit::Ppm => "ppm",
            Unit::PerMille => "per_mille",
            Unit::Milliseconds => "milliseconds",
            Unit::Count => "count",
            Unit::Flag => "flag",
        };
        Self {
            name: parameter.name,
            unit: unit.to_owned(),
            value: parameter.value,
            min: parameter.min,
            max: parameter.max,
        }
    }
}

/// The economy of a ledger: operators and those who stake on them, rewards for contributions, fees,
/// and the numbers that govern them. `Ledger.economy` gives it.
///
/// Each call is one transaction. Operators are nodes, 64 hexadecimal digits. Staking and earning
/// never go back in time: before their last operation they raise `ClockBehindError`. All but
/// `configure` raise `NoEconomyError` before there is an economy.
#[pyclass(frozen, module = "fogcompute.ledger")]
pub(crate) struct Economy {
    pub(super) ledger: Py<Ledger>,
}

#[pymethods]
impl Economy {
    /// The rules that an economy has unless it is told others, as JSON text: every number with its
    /// name. Amounts are texts of base units, parts are millionths, facts and multipliers
    /// thousandths.
    #[staticmethod]
    fn default_rules(py: Python<'_>) -> PyResult<String> {
        error::call(py, || {
            Ok(fogcompute::economy_to_json(&fogcompute::Economy::default()))
        })
    }

    /// Sets every number and rule, given as JSON text like that of `default_rules`, or the default
    /// ones. The first time founds the economy: an account is opened for each purse, and the
    /// initial supply is minted into the treasury.
    ///
    /// Raises `EconomyError`, `IdReusedError`.
    #[pyo3(signature = (id, rules = None))]
    fn configure(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        rules: Option<&str>,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        let configured = error::call(py, || {
            let rules = rules.map(fogcompute::economy_from_json).transpose()?;
            ledger.economy().configure(id.0, rules.unwrap_or_default())
        });
        configured.map(Into::into)
    }

    /// Every number and rule as JSON text; `None` before there is an economy.
    fn rules(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let ledger = self.ledger.get().0.get(py)?;
        let rules = error::call(py, || ledger.economy().rules())?;
        Ok(rules.as_ref().map(fogcompute::economy_to_json))
    }

    /// Every number with its name and bounds, in a fixed order; none before there is an economy.
    fn parameters(&self, py: Python<'_>) -> PyResult<Tuple<Parameter>> {
        let ledger = self.ledger.get().0.get(py)?;
        let parameters = error::call(py, || ledger.economy().parameters())?;
        Ok(Tuple(parameters.into_iter().map(Into::into).collect()))
    }

    /// Sets one number.
    ///
    /// Raises `UnknownParameterError`, `EconomyError`, `IdReusedError`.
    fn set_parameter(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        name: &str,
        value: Number<u128>,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        let set = error::call(py, || ledger.economy().set_parameter(id.0, name, value.0));
        set.map(Into::into)
    }

    /// Makes a node an operator that may be staked on. `account` receives its commission, so many
    /// millionths of every reward.
    ///
    /// Raises `OperatorExistsError`, `CommissionTooLargeError`, `UnknownAccountError`,
    /// `PurseAccountError`, `IdReusedError`.
    fn register_operator(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        account: Hex<AccountId>,
        commission_ppm: Number<u32>,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        let commission_ppm = ppm(py, commission_ppm)?;
        error::call(py, || {
            ledger
                .economy()
                .register_operator(id.0, operator.0, account.0, commission_ppm)
        })
        .map(Into::into)
    }

    /// Changes an operator's commission, in millionths: by little, and once in 24 hours.
    ///
    /// Raises `UnknownOperatorError`, `CommissionTooLargeError`, `CommissionTooSoonError`,
    /// `IdReusedError`.
    fn set_commission(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        commission_ppm: Number<u32>,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        let commission_ppm = ppm(py, commission_ppm)?;
        error::call(py, || {
            ledger
                .economy()
                .set_commission(id.0, operator.0, commission_ppm)
        })
        .map(Into::into)
    }

    /// Stakes on an operator.
    ///
    /// Raises `UnknownOperatorError`, `JailedError`, `TombstonedError`, `InsufficientFundsError`,
    /// `ZeroAmountError`, `IdReusedError`.
    fn bond(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        delegator: Hex<AccountId>,
        amount: Money,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        error::call(py, || {
            ledger
                .economy()
                .bond(id.0, operator.0, delegator.0, amount.0)
        })
        .map(Into::into)
    }

    /// Starts to take stake back, all of it if no amount is given. Time pays it out, less what
    /// slashes take until then.
    ///
    /// Raises `UnknownOperatorError`, `UnknownDelegatorError`, `ExceedsStakeError`,
    /// `TooManyEntriesError`, `IdReusedError`.
    #[pyo3(signature = (id, operator, delegator, amount = None))]
    fn unbond(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        delegator: Hex<AccountId>,
        amount: Option<Money>,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        let amount = amount.map(|amount| amount.0);
        error::call(py, || {
            ledger
                .economy()
                .unbond(id.0, operator.0, delegator.0, amount)
        })
        .map(Into::into)
    }

    /// Returns stake on its way out to its operator, all of the entry if no amount is given.
    ///
    /// Raises `UnknownEntryError`, `EntryMaturedError`, `ExceedsEntryError`, `JailedError`,
    /// `TombstonedError`, `IdReusedError`.
    #[pyo3(signature = (id, operator, delegator, entry, amount = None))]
    fn cancel_unbonding(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        delegator: Hex<AccountId>,
        entry: Number<u64>,
        amount: Option<Money>,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        let amount = amount.map(|amount| amount.0);
        error::call(py, || {
            ledger
                .economy()
                .cancel_unbonding(id.0, operator.0, delegator.0, entry.0, amount)
        })
        .map(Into::into)
    }

    /// Moves stake to another operator at once, all of it if no amount is given. Until it matures
    /// it answers for what the first operator did, and may not move on.
    ///
    /// Raises `UnknownDelegatorError`, `ExceedsStakeError`, `TransitiveRedelegationError`,
    /// `TooManyEntriesError`, `JailedError`, `TombstonedError`, `IdReusedError`.
    #[pyo3(signature = (id, delegator, from_operator, to_operator, amount = None))]
    fn redelegate(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        delegator: Hex<AccountId>,
        from_operator: Hex<NodeId>,
        to_operator: Hex<NodeId>,
        amount: Option<Money>,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        let amount = amount.map(|amount| amount.0);
        error::call(py, || {
            ledger
                .economy()
                .redelegate(id.0, delegator.0, from_operator.0, to_operator.0, amount)
        })
        .map(Into::into)
    }

    /// Pays a delegator's rewards out.
    ///
    /// Raises `UnknownDelegatorError`, `NothingToClaimError`, `IdReusedError`.
    fn claim(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        delegator: Hex<AccountId>,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        error::call(py, || ledger.economy().claim(id.0, operator.0, delegator.0)).map(Into::into)
    }

    /// Pays an operator's commission out.
    ///
    /// Raises `UnknownOperatorError`, `NothingToClaimError`, `IdReusedError`.
    fn claim_commission(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        error::call(py, || ledger.economy().claim_commission(id.0, operator.0)).map(Into::into)
    }

    /// Shares a reward between an operator and its delegators. It is paid from an account, or from
    /// that of the treasury or the mint (`purse_account`).
    ///
    /// Raises `UnknownOperatorError`, `JailedError`, `TombstonedError`, `InsufficientFundsError`,
    /// `StakingRefusedError`, `IdReusedError`.
    fn reward(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        source: Hex<AccountId>,
        amount: Money,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        error::call(py, || {
            ledger
                .economy()
                .reward(id.0, operator.0, source.0, amount.0)
        })
        .map(Into::into)
    }

    /// Punishes what an operator did at some time, in milliseconds since 1970, when it had `power`
    /// base units staked on it. Whether the evidence is true is for the caller to know.
    ///
    /// Raises `UnknownOperatorError`, `TombstonedError`, `EvidenceTooOldError`,
    /// `EvidenceRepeatedError`, `StakingRefusedError`, `IdReusedError`.
    fn slash(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        evidence: Evidence,
        infraction_unix_ms: Number<u64>,
        power: Money,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        error::call(py, || {
            ledger.economy().slash(
                id.0,
                operator.0,
                evidence.0,
                UnixMillis(infraction_unix_ms.0),
                power.0,
            )
        })
        .map(Into::into)
    }

    /// Lets an operator back whose time in jail is over.
    ///
    /// Raises `UnknownOperatorError`, `NotJailedError`, `JailedError`, `TombstonedError`,
    /// `IdReusedError`.
    fn unjail(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        error::call(py, || ledger.economy().unjail(id.0, operator.0)).map(Into::into)
    }

    /// Pays a claim from the insurance fund, once.
    ///
    /// Raises `ClaimRepeatedError`, `InsuranceShortError`, `UnknownAccountError`, `IdReusedError`.
    fn pay_insurance(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        claim: Hex<TransferId>,
        to_account: Hex<AccountId>,
        amount: Money,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        error::call(py, || {
            ledger
                .economy()
                .pay_insurance(id.0, claim.0, to_account.0, amount.0)
        })
        .map(Into::into)
    }

    /// Rewards a contribution by one of the rules. Facts are in thousandths: yes is 1000, a quality
    /// of 0.95 is 950.
    ///
    /// Raises `UnknownRuleError`, `UnknownFactError`, `FactMissingError`, `RequirementNotMetError`,
    /// `FactTooLargeError`, `DailyLimitReachedError`, `SupplyExceededError`, `IdReusedError`.
    fn earn(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        rule: &str,
        account: Hex<AccountId>,
        facts: BTreeMap<String, Number<u64>>,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        let facts = facts.into_iter().map(|(fact, value)| (fact, value.0));
        let told = error::call(py, || ledger.economy().earn(id.0, rule, account.0, facts));
        told.map(Into::into)
    }

    /// Rewards a session of computing. Power and the sum of the bonuses are in thousandths, the
    /// duration is in milliseconds.
    ///
    /// Raises `SessionTooShortError`, `SessionTooLargeError`, `DailyLimitReachedError`,
    /// `SupplyExceededError`, `IdReusedError`.
    fn earn_session(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        account: Hex<AccountId>,
        power_milli: Number<u64>,
        duration_ms: Number<u64>,
        bonus_per_mille: Number<u32>,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        error::call(py, || {
            ledger.economy().earn_session(
                id.0,
                account.0,
                power_milli.0,
                duration_ms.0,
                bonus_per_mille.0,
            )
        })
        .map(Into::into)
    }

    /// Pays a fee: treasury and sovereign fund have their parts, and the payee the rest.
    ///
    /// Raises `InsufficientFundsError`, `UnknownAccountError`, `ZeroAmountError`, `IdReusedError`.
    fn pay_fee(
        &self,
        py: Python<'_>,
        id: Hex<TransferId>,
        payer: Hex<AccountId>,
        payee: Hex<AccountId>,
        amount: Money,
    ) -> PyResult<EconomyReceipt> {
        let ledger = self.ledger.get().0.get(py)?;
        error::call(py, || {
            ledger.economy().pay_fee(id.0, payer.0, payee.0, amount.0)
        })
        .map(Into::into)
    }

    /// What an operation of the economy did that was asked for under that id, alone, in a batch or
    /// signed; `None` if the id was used for nothing, or for something else.
    fn receipt(&self, py: Python<'_>, id: Hex<TransferId>) -> PyResult<Option<EconomyReceipt>> {
        let ledger = self.ledger.get().0.get(py)?;
        let receipt = error::call(py, || ledger.economy().receipt(id.0))?;
        Ok(receipt.map(Into::into))
    }

    /// An operator as it stands; `None` if the node is none.
    fn operator(&self, py: Python<'_>, operator: Hex<NodeId>) -> PyResult<Option<Operator>> {
        let ledger = self.ledger.get().0.get(py)?;
        let found = error::call(py, || ledger.economy().operator(operator.0))?;
        Ok(found.map(Into::into))
    }

    /// Operators with an id above `after`, by id: at most `limit`, at most 10,000.
    #[pyo3(
        signature = (after = None, limit = Number(LEDGER_PAGE_MAX)),
        text_signature = "($self, after=None, limit=10000)"
    )]
    fn operators(
        &self,
        py: Python<'_>,
        after: Option<Hex<NodeId>>,
        limit: Number<usize>,
    ) -> PyResult<Tuple<Operator>> {
        let ledger = self.ledger.get().0.get(py)?;
        let after = after.map(|after| after.0);
        let operators = error::call(py, || ledger.economy().operators(after, limit.0))?;
        Ok(Tuple(operators.into_iter().map(Into::into).collect()))
    }

    /// What an account has at an operator; nothing if it never staked there.
    fn stake(
        &self,
        py: Python<'_>,
        operator: Hex<NodeId>,
        delegator: Hex<AccountId>,
    ) -> PyResult<Stake> {
        let ledger = self.ledger.get().0.get(py)?;
        let stake = error::call(py, || ledger.economy().stake(operator.0, delegator.0));
        stake.map(Into::into)
    }

    /// What an account was granted under a rule on this UTC day, in base units.
    fn granted_today(&self, py: Python<'_>, rule: &str, account: Hex<AccountId>) -> PyResult<u128> {
        let ledger = self.ledger.get().0.get(py)?;
        let granted = error::call(py, || ledger.economy().granted_today(rule, account.0));
        granted.map(|amount| amount.0)
    }
}
