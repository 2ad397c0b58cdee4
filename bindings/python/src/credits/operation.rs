//! Steps of a batch.

use fogcompute::base::UnixMillis;
use fogcompute::ledger::{AssetId, Memo};
use fogcompute::{AccountId, TransferId};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::convert::{AccountKind, Buffer, Hex, Money, Number, Owner};
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
#[derive(Clone, Eq, Hash, PartialEq)]
pub(crate) struct Operation(pub(crate) fogcompute::Operation);

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
