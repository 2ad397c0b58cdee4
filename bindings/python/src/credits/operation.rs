//! Steps of a batch.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use fogcompute::base::UnixMillis;
use fogcompute::ledger::earning::Operation as Earn;
use fogcompute::ledger::staking::Operation as Stake;
use fogcompute::ledger::{AssetId, Memo, Purse};
use fogcompute::{AccountId, EconomyRequest, GovernanceRequest, NodeId, TransferId};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::economy::{asking, ppm};
use super::governance::{self, Action};
use crate::convert::{
    AccountKind, Buffer, Choice, Evidence, Hex, Money, Number, Owner, ProposalKind, Role,
};
use crate::error;
use crate::value::value;

/// Bounds of an account beyond those of its kind, in base units.
#[pyclass(frozen, from_py_object, module = "fogcompute.ledger")]
#[derive(Clone, Copy)]
pub(crate) struct AccountLimits(pub(crate) fogcompute::AccountLimits);

value! {
    AccountLimits { max_supply, credits_must_not_exceed_debits, spend_per_day }

    #[new]
    #[pyo3(
        signature = (*, max_supply = None, credits_must_not_exceed_debits = false,
                     spend_per_day = None)
    )]
    fn new(
        max_supply: Option<Money>,
        credits_must_not_exceed_debits: bool,
        spend_per_day: Option<Money>,
    ) -> Self {
        Self(fogcompute::AccountLimits {
            max_supply: max_supply.map(|amount| amount.0),
            credits_must_not_exceed_debits,
            spend_per_day: spend_per_day.map(|amount| amount.0),
        })
    }

    /// Most that an issuer may have out at once, open reservations included.
    #[getter]
    fn max_supply(&self) -> Option<u128> {
        self.0.max_supply.map(|amount| amount.0)
    }

    /// An issuer takes back no more than it has put out.
    #[getter]
    fn credits_must_not_exceed_debits(&self) -> bool {
        self.0.credits_must_not_exceed_debits
    }

    /// Most that transfers and posts may take from the account in one UTC day.
    #[getter]
    fn spend_per_day(&self) -> Option<u128> {
        self.0.spend_per_day.map(|amount| amount.0)
    }
}

/// What a transfer is for.
pub(super) fn memo(py: Python<'_>, code: Number<u16>, reference: Option<Buffer>) -> PyResult<Memo> {
    let reference = reference.map(|bytes| bytes.array(py, "reference"));
    Ok(Memo {
        code: code.0,
        reference: reference.transpose()?.unwrap_or_default(),
    })
}

/// One step of a batch for `Ledger.execute`, or of one that an owner signs.
#[pyclass(frozen, eq, hash, module = "fogcompute.ledger")]
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Operation(pub(crate) fogcompute::Operation);

impl Hash for Operation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Two operations with one id are seldom in one set.
        self.0.id().hash(state);
    }
}

#[pymethods]
impl Operation {
    /// Opens an account for an asset; 0 is credits.
    #[staticmethod]
    #[pyo3(
        signature = (account, kind, *, asset = Number(0)),
        text_signature = "(account, kind, *, asset=0)"
    )]
    fn open(account: Hex<AccountId>, kind: AccountKind, asset: Number<u32>) -> Self {
        Self(fogcompute::Operation::Open {
            account: account.0,
            asset: AssetId(asset.0),
            kind: kind.0,
        })
    }

    /// Moves an amount. `code` and `reference`, 16 bytes, say what it is for.
    #[staticmethod]
    #[pyo3(
        signature = (id, from_account, to_account, amount, *, code = Number(0), reference = None),
        text_signature = "(id, from_account, to_account, amount, *, code=0, reference=None)"
    )]
    fn transfer(
        py: Python<'_>,
        id: Hex<TransferId>,
        from_account: Hex<AccountId>,
        to_account: Hex<AccountId>,
        amount: Money,
        code: Number<u16>,
        reference: Option<Buffer>,
    ) -> PyResult<Self> {
        Ok(Self(fogcompute::Operation::Transfer {
            id: id.0,
            from: from_account.0,
            to: to_account.0,
            amount: amount.0,
            memo: memo(py, code, reference)?,
        }))
    }

    /// Holds an amount back for a later post or void, or until it expires.
    #[staticmethod]
    #[pyo3(
        signature = (id, from_account, to_account, amount, *, expires_unix_ms = None,
                     code = Number(0), reference = None),
        text_signature = "(id, from_account, to_account, amount, *, expires_unix_ms=None, code=0, \
                          reference=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "keywords in Python")]
    fn reserve(
        py: Python<'_>,
        id: Hex<TransferId>,
        from_account: Hex<AccountId>,
        to_account: Hex<AccountId>,
        amount: Money,
        expires_unix_ms: Option<Number<u64>>,
        code: Number<u16>,
        reference: Option<Buffer>,
    ) -> PyResult<Self> {
        Ok(Self(fogcompute::Operation::Reserve {
            id: id.0,
            from: from_account.0,
            to: to_account.0,
            amount: amount.0,
            expires: expires_unix_ms.map(|expires| UnixMillis(expires.0)),
            memo: memo(py, code, reference)?,
        }))
    }

    /// Moves a reserved amount, or part of it; what is left is released.
    #[staticmethod]
    #[pyo3(signature = (id, reservation, amount = None))]
    fn post(id: Hex<TransferId>, reservation: Hex<TransferId>, amount: Option<Money>) -> Self {
        Self(fogcompute::Operation::Post {
            id: id.0,
            reservation: reservation.0,
            amount: amount.map(|amount| amount.0),
        })
    }

    /// Releases a reservation.
    #[staticmethod]
    fn void(id: Hex<TransferId>, reservation: Hex<TransferId>) -> Self {
        let (id, reservation) = (id.0, reservation.0);
        Self(fogcompute::Operation::Void { id, reservation })
    }

    /// Sets all limits of an account anew.
    #[staticmethod]
    fn limit(id: Hex<TransferId>, account: Hex<AccountId>, limits: AccountLimits) -> Self {
        Self(fogcompute::Operation::Limit {
            id: id.0,
            account: account.0,
            limits: limits.0,
        })
    }

    /// Closes an account for good.
    #[staticmethod]
    fn close(id: Hex<TransferId>, account: Hex<AccountId>) -> Self {
        let (id, account) = (id.0, account.0);
        Self(fogcompute::Operation::Close { id, account })
    }

    /// Registers the key, 32 bytes, whose signatures move an account's money.
    #[staticmethod]
    fn own(id: Hex<TransferId>, account: Hex<AccountId>, key: Owner) -> Self {
        let (id, account, key) = (id.0, account.0, key.0);
        Self(fogcompute::Operation::Own { id, account, key })
    }

    /// Sets every number and rule of the economy: `Economy.configure`.
    #[staticmethod]
    #[pyo3(signature = (id, rules = None))]
    fn configure(py: Python<'_>, id: Hex<TransferId>, rules: Option<&str>) -> PyResult<Self> {
        let rules = error::call(py, || rules.map(fogcompute::economy_from_json).transpose())?;
        Ok(asking(
            id,
            EconomyRequest::Configure(rules.unwrap_or_default()),
        ))
    }

    /// Sets one number of the economy: `Economy.set_parameter`.
    #[staticmethod]
    fn set_parameter(id: Hex<TransferId>, name: String, value: Number<u128>) -> Self {
        let value = value.0;
        asking(id, EconomyRequest::SetParameter { name, value })
    }

    /// Makes a node an operator that may be staked on. `account` receives its commission, so many
    /// millionths of every reward.
    #[staticmethod]
    fn register_operator(
        py: Python<'_>,
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        account: Hex<AccountId>,
        commission_ppm: Number<u32>,
    ) -> PyResult<Self> {
        Ok(asking(
            id,
            EconomyRequest::Staking(Stake::Register {
                operator: operator.0,
                account: account.0,
                commission: ppm(py, commission_ppm)?,
            }),
        ))
    }

    /// Changes an operator's commission, in millionths: by little, and once in 24 hours.
    #[staticmethod]
    fn set_commission(
        py: Python<'_>,
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        commission_ppm: Number<u32>,
    ) -> PyResult<Self> {
        Ok(asking(
            id,
            EconomyRequest::Staking(Stake::SetCommission {
                operator: operator.0,
                commission: ppm(py, commission_ppm)?,
            }),
        ))
    }

    /// Stakes on an operator.
    #[staticmethod]
    fn bond(
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        delegator: Hex<AccountId>,
        amount: Money,
    ) -> Self {
        asking(
            id,
            EconomyRequest::Staking(Stake::Bond {
                operator: operator.0,
                delegator: delegator.0,
                amount: amount.0,
            }),
        )
    }

    /// Starts to take stake back, all of it if no amount is given. Time pays it out, less what
    /// slashes take until then.
    #[staticmethod]
    #[pyo3(signature = (id, operator, delegator, amount = None))]
    fn unbond(
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        delegator: Hex<AccountId>,
        amount: Option<Money>,
    ) -> Self {
        asking(
            id,
            EconomyRequest::Staking(Stake::Unbond {
                operator: operator.0,
                delegator: delegator.0,
                amount: amount.map(|amount| amount.0),
            }),
        )
    }

    /// Returns stake on its way out to its operator, all of the entry if no amount is given.
    #[staticmethod]
    #[pyo3(signature = (id, operator, delegator, entry, amount = None))]
    fn cancel_unbonding(
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        delegator: Hex<AccountId>,
        entry: Number<u64>,
        amount: Option<Money>,
    ) -> Self {
        asking(
            id,
            EconomyRequest::Staking(Stake::CancelUnbonding {
                operator: operator.0,
                delegator: delegator.0,
                entry: entry.0,
                amount: amount.map(|amount| amount.0),
            }),
        )
    }

    /// Moves stake to another operator at once, all of it if no amount is given. Until it matures
    /// it answers for what the first operator did, and may not move on.
    #[staticmethod]
    #[pyo3(signature = (id, delegator, from_operator, to_operator, amount = None))]
    fn redelegate(
        id: Hex<TransferId>,
        delegator: Hex<AccountId>,
        from_operator: Hex<NodeId>,
        to_operator: Hex<NodeId>,
        amount: Option<Money>,
    ) -> Self {
        asking(
            id,
            EconomyRequest::Staking(Stake::Redelegate {
                delegator: delegator.0,
                from: from_operator.0,
                to: to_operator.0,
                amount: amount.map(|amount| amount.0),
            }),
        )
    }

    /// Pays a delegator's rewards out.
    #[staticmethod]
    fn claim(id: Hex<TransferId>, operator: Hex<NodeId>, delegator: Hex<AccountId>) -> Self {
        asking(
            id,
            EconomyRequest::Staking(Stake::Claim {
                operator: operator.0,
                delegator: delegator.0,
            }),
        )
    }

    /// Pays an operator's commission out.
    #[staticmethod]
    fn claim_commission(id: Hex<TransferId>, operator: Hex<NodeId>) -> Self {
        asking(
            id,
            EconomyRequest::Staking(Stake::ClaimCommission {
                operator: operator.0,
            }),
        )
    }

    /// Shares a reward between an operator and its delegators. It is paid from an account, or from
    /// that of the treasury or the mint (`purse_account`).
    #[staticmethod]
    fn reward(
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        source: Hex<AccountId>,
        amount: Money,
    ) -> Self {
        asking(
            id,
            EconomyRequest::Staking(Stake::Reward {
                operator: operator.0,
                source: Purse::held_by(source.0),
                amount: amount.0,
            }),
        )
    }

    /// Punishes what an operator did at some time, in milliseconds since 1970, when it had `power`
    /// base units staked on it. Whether the evidence is true is for the caller to know.
    #[staticmethod]
    fn slash(
        id: Hex<TransferId>,
        operator: Hex<NodeId>,
        evidence: Evidence,
        infraction_unix_ms: Number<u64>,
        power: Money,
    ) -> Self {
        asking(
            id,
            EconomyRequest::Staking(Stake::Slash {
                operator: operator.0,
                evidence: evidence.0,
                infraction: UnixMillis(infraction_unix_ms.0),
                power: power.0,
            }),
        )
    }

    /// Lets an operator back whose time in jail is over.
    #[staticmethod]
    fn unjail(id: Hex<TransferId>, operator: Hex<NodeId>) -> Self {
        asking(
            id,
            EconomyRequest::Staking(Stake::Unjail {
                operator: operator.0,
            }),
        )
    }

    /// Pays a claim from the insurance fund, once.
    #[staticmethod]
    fn pay_insurance(
        id: Hex<TransferId>,
        claim: Hex<TransferId>,
        to_account: Hex<AccountId>,
        amount: Money,
    ) -> Self {
        asking(
            id,
            EconomyRequest::Staking(Stake::PayInsurance {
                claim: claim.0,
                to: to_account.0,
                amount: amount.0,
            }),
        )
    }

    /// Rewards a contribution by one of the rules. Facts are in thousandths: yes is 1000, a quality
    /// of 0.95 is 950.
    #[staticmethod]
    fn earn(
        py: Python<'_>,
        id: Hex<TransferId>,
        rule: &str,
        account: Hex<AccountId>,
        facts: BTreeMap<String, Number<u64>>,
    ) -> PyResult<Self> {
        let facts = facts.into_iter().map(|(fact, value)| (fact, value.0));
        let request = error::call(py, || fogcompute::earn_request(rule, account.0, facts))?;
        Ok(asking(id, request))
    }

    /// Rewards a session of computing. Power and the sum of the bonuses are in thousandths, the
    /// duration is in milliseconds.
    #[staticmethod]
    fn earn_session(
        id: Hex<TransferId>,
        account: Hex<AccountId>,
        power_milli: Number<u64>,
        duration_ms: Number<u64>,
        bonus_per_mille: Number<u32>,
    ) -> Self {
        asking(
            id,
            EconomyRequest::Earning(Earn::Session {
                account: account.0,
                power_milli: power_milli.0,
                duration_ms: duration_ms.0,
                bonus_per_mille: bonus_per_mille.0,
            }),
        )
    }

    /// Pays a fee: treasury and sovereign fund have their parts, and the payee the rest.
    #[staticmethod]
    fn pay_fee(
        id: Hex<TransferId>,
        payer: Hex<AccountId>,
        payee: Hex<AccountId>,
        amount: Money,
    ) -> Self {
        asking(
            id,
            EconomyRequest::Earning(Earn::Fee {
                payer: payer.0,
                payee: payee.0,
                amount: amount.0,
            }),
        )
    }

    /// Gives the founding roles, once. From then on the host sets no parameters and pays no rewards
    /// from treasury or mint: proposals do.
    #[staticmethod]
    fn establish(id: Hex<TransferId>, roles: Vec<(Hex<AccountId>, Role)>) -> Self {
        asking(
            id,
            EconomyRequest::Governance(GovernanceRequest::Establish {
                roles: governance::holders(roles),
            }),
        )
    }

    /// Lets an account vote with what it has from now on. Delegating and being granted a role do so
    /// too.
    #[staticmethod]
    fn enrol(id: Hex<TransferId>, account: Hex<AccountId>) -> Self {
        asking(
            id,
            EconomyRequest::Governance(GovernanceRequest::Enrol { account: account.0 }),
        )
    }

    /// Delegates parts of an account's votes, in millionths, in place of what it delegated before
    /// on those topics: on all of them if there are none. The rest stays with it; without delegates
    /// all does, which revokes.
    #[staticmethod]
    #[pyo3(
        signature = (id, voter, to, topics = Vec::new()),
        text_signature = "(id, voter, to, topics=())"
    )]
    fn delegate(
        py: Python<'_>,
        id: Hex<TransferId>,
        voter: Hex<AccountId>,
        to: Vec<(Hex<AccountId>, Number<u32>)>,
        topics: Vec<ProposalKind>,
    ) -> PyResult<Self> {
        Ok(asking(
            id,
            EconomyRequest::Governance(governance::delegation(py, voter, to, topics)?),
        ))
    }

    /// Sets what an account's votes are counted by from now on, in millionths, where reputation
    /// counts.
    #[staticmethod]
    fn set_reputation(
        py: Python<'_>,
        id: Hex<TransferId>,
        account: Hex<AccountId>,
        reputation_ppm: Number<u32>,
    ) -> PyResult<Self> {
        Ok(asking(
            id,
            EconomyRequest::Governance(GovernanceRequest::SetReputation {
                account: account.0,
                reputation: ppm(py, reputation_ppm)?,
            }),
        ))
    }

    /// Keeps a proposal that is not submitted yet. `proposal` names it for ever.
    #[staticmethod]
    fn draft(
        id: Hex<TransferId>,
        author: Hex<AccountId>,
        proposal: Hex<TransferId>,
        kind: ProposalKind,
        title: String,
        description: String,
        actions: Vec<Action>,
    ) -> Self {
        asking(
            id,
            EconomyRequest::Governance(GovernanceRequest::Draft {
                author: author.0,
                proposal: proposal.0,
                content: governance::content(kind, title, description, actions),
            }),
        )
    }

    /// Submits a draft.
    #[staticmethod]
    fn submit(id: Hex<TransferId>, author: Hex<AccountId>, proposal: Hex<TransferId>) -> Self {
        asking(
            id,
            EconomyRequest::Governance(GovernanceRequest::Submit {
                author: author.0,
                proposal: proposal.0,
            }),
        )
    }

    /// Submits a proposal that was no draft. `proposal` names it for ever. A title has 1 to 200
    /// characters, a description at most 16 KiB, and there are 1 to 16 actions.
    #[staticmethod]
    fn propose(
        id: Hex<TransferId>,
        author: Hex<AccountId>,
        proposal: Hex<TransferId>,
        kind: ProposalKind,
        title: String,
        description: String,
        actions: Vec<Action>,
    ) -> Self {
        asking(
            id,
            EconomyRequest::Governance(GovernanceRequest::Propose {
                author: author.0,
                proposal: proposal.0,
                content: governance::content(kind, title, description, actions),
            }),
        )
    }

    /// Votes, or changes a vote. Who has delegated and votes takes that back for this proposal.
    #[staticmethod]
    fn vote(
        id: Hex<TransferId>,
        voter: Hex<AccountId>,
        proposal: Hex<TransferId>,
        choice: Choice,
    ) -> Self {
        asking(
            id,
            EconomyRequest::Governance(GovernanceRequest::Vote {
                voter: voter.0,
                proposal: proposal.0,
                choice: choice.0,
            }),
        )
    }

    /// Cancels a proposal: its author before voting begins, a guardian or a king until it is over.
    #[staticmethod]
    fn cancel(id: Hex<TransferId>, by: Hex<AccountId>, proposal: Hex<TransferId>) -> Self {
        asking(
            id,
            EconomyRequest::Governance(GovernanceRequest::Cancel {
                by: by.0,
                proposal: proposal.0,
            }),
        )
    }

    /// Starts the timelock of a proposal that has passed. Anybody may.
    #[staticmethod]
    fn queue(id: Hex<TransferId>, proposal: Hex<TransferId>) -> Self {
        asking(
            id,
            EconomyRequest::Governance(GovernanceRequest::Queue {
                proposal: proposal.0,
            }),
        )
    }

    /// Does what a proposal says, all or nothing. Anybody may.
    #[staticmethod]
    fn execute(id: Hex<TransferId>, proposal: Hex<TransferId>) -> Self {
        asking(
            id,
            EconomyRequest::Governance(GovernanceRequest::Execute {
                proposal: proposal.0,
            }),
        )
    }

    fn __repr__(&self) -> String {
        format!("<fogcompute.ledger.{:?}>", self.0)
    }
}

/// A batch: a sequence of operations, and of tuples that are transfers.
pub(super) struct Operations(pub(super) Vec<fogcompute::Operation>);

impl FromPyObject<'_, '_> for Operations {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("a str is no sequence of operations"));
        }
        let mut operations = Vec::with_capacity(object.len()?);
        for (index, item) in object.try_iter()?.enumerate() {
            operations.push(operation(&item?).inspect_err(|error| {
                // Without the note the exception is as true as with it.
                let _ = error.add_note(object.py(), format!("in operations[{index}]"));
            })?);
        }
        Ok(Self(operations))
    }
}

fn operation(item: &Bound<'_, PyAny>) -> PyResult<fogcompute::Operation> {
    if let Ok(tuple) = item.cast_exact::<PyTuple>() {
        let (id, from, to, amount): (Hex<TransferId>, Hex<AccountId>, Hex<AccountId>, Money) =
            tuple.extract()?;
        return Ok(fogcompute::Operation::Transfer {
            id: id.0,
            from: from.0,
            to: to.0,
            amount: amount.0,
            memo: Memo::NONE,
        });
    }
    let Operation(operation) = item.cast::<Operation>()?.get().clone();
    Ok(operation)
}
