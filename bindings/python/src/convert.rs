//! Arguments and results in Python's terms.

use std::fmt::Display;
use std::ops::Deref;
use std::str::FromStr;
use std::time::Duration;

use fogcompute::base::{ParseIdError, Priority as BasePriority};
use fogcompute::{Amount, Error, ErrorCode, OwnerKey, PublicKey};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDelta, PyFloat, PyInt, PyString, PyTuple, PyType};

use crate::error;

/// A number that Python's own conversion takes, and the range to name when it is outside.
pub(crate) trait Ranged {
    const RANGE: &str;
}

macro_rules! ranged {
    ($($number:ty: $range:literal,)*) => {
        $(impl Ranged for $number { const RANGE: &str = $range; })*
    };
}

ranged! {
    u8: "0 to 255",
    u16: "0 to 65535",
    u32: "0 to 2**32 - 1",
    u64: "0 to 2**64 - 1",
    usize: "0 to 2**64 - 1",
    u128: "0 to 2**128 - 1",
    i64: "-2**63 to 2**63 - 1",
    f64: "the range of a float",
}

/// A number as an argument. One out of range is an `ArgumentError`; Python's `OverflowError` is no
/// `ValueError`, and nobody expects it here. `True` counts as 1 to Python, but hardly to whoever
/// passes it as an amount: it is a `TypeError`.
#[derive(Clone, Copy)]
pub(crate) struct Number<T>(pub(crate) T);

impl<'a, 'py, T: FromPyObject<'a, 'py> + Ranged> FromPyObject<'a, 'py> for Number<T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        if object.is_instance_of::<PyBool>() {
            return Err(PyTypeError::new_err("a bool is no number here"));
        }
        object.extract().map(Self).map_err(|error| {
            let error: PyErr = error.into();
            if error.is_instance_of::<PyOverflowError>(py) {
                error::argument(py, format!("number is outside {}", T::RANGE))
            } else {
                error
            }
        })
    }
}

impl<'py, T: IntoPyObject<'py>> IntoPyObject<'py> for Number<T> {
    type Target = T::Target;
    type Output = T::Output;
    type Error = T::Error;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Self::Error> {
        self.0.into_pyobject(py)
    }
}

/// An amount in base units as an argument: an `int`. Those that fit a machine word are most of
/// them, and quicker to read than the others.
#[derive(Clone, Copy)]
pub(crate) struct Money(pub(crate) Amount);

impl FromPyObject<'_, '_> for Money {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyFloat>() {
            let message = "a float is no amount: amounts are ints of base units";
            return Err(PyTypeError::new_err(message));
        }
        if object.is_exact_instance_of::<PyInt>()
            && let Ok(amount) = object.extract::<u64>()
        {
            return Ok(Self(Amount(amount.into())));
        }
        let Number(amount) = object.extract::<Number<u128>>()?;
        Ok(Self(Amount(amount)))
    }
}

/// An identifier as hexadecimal text, or as a `uuid.UUID` if it is as long as one.
#[derive(Clone, Copy)]
pub(crate) struct Hex<T>(pub(crate) T);

impl<T: FromStr<Err = ParseIdError>> FromPyObject<'_, '_> for Hex<T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let id = match uuid_digits(object)? {
            Some(digits) => digits.parse(),
            None => object.cast::<PyString>()?.to_str()?.parse(),
        };
        let id = id.map_err(Error::Id);
        Ok(Self(id.map_err(|error| error::of_error(py, &error))?))
    }
}

/// The 32 digits of a `uuid.UUID`. Nobody has one who has not imported its module.
fn uuid_digits(object: Borrowed<'_, '_, PyAny>) -> PyResult<Option<String>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    if object.is_instance_of::<PyString>() {
        return Ok(None);
    }
    let py = object.py();
    if !object.is_instance(CLASS.import(py, "uuid", "UUID")?)? {
        return Ok(None);
    }
    Ok(Some(object.getattr(intern!(py, "hex"))?.extract()?))
}

impl<'py, T: Display> IntoPyObject<'py> for Hex<T> {
    type Target = PyString;
    type Output = Bound<'py, PyString>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        Ok(PyString::new(py, &self.0.to_string()))
    }
}

/// `bytes`, `bytearray` or anything else with a buffer of bytes, as an argument.
///
/// `bytes` are borrowed, since nobody can change them while the lock is released. All else is
/// copied.
pub(crate) enum Buffer {
    Borrowed(PyBackedBytes),
    Copied(Vec<u8>),
}

impl FromPyObject<'_, '_> for Buffer {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Self::Borrowed(bytes.to_owned().into()));
        }
        Ok(Self::Copied(PyBuffer::get(&object)?.to_vec(object.py())?))
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

impl Buffer {
    /// Exactly `N` bytes.
    pub(crate) fn array<const N: usize>(&self, py: Python<'_>, what: &str) -> PyResult<[u8; N]> {
        <[u8; N]>::try_from(&**self).map_err(|_| {
            error::argument(py, format!("{what} has {} bytes, expected {N}", self.len()))
        })
    }
}

/// The 32 bytes of an owner's public key.
#[derive(Clone, Copy)]
pub(crate) struct Owner(pub(crate) OwnerKey);

impl FromPyObject<'_, '_> for Owner {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let bytes: Buffer = object.extract()?;
        Ok(Self(OwnerKey::from_bytes(
            bytes.array(object.py(), "public key")?,
        )))
    }
}

impl<'py> IntoPyObject<'py> for Owner {
    type Target = PyBytes;
    type Output = Bound<'py, PyBytes>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        Ok(PyBytes::new(py, self.0.as_bytes()))
    }
}

/// How a history is written as text.
#[derive(Clone, Copy)]
pub(crate) struct TextFormat(pub(crate) fogcompute::TextFormat);

impl FromPyObject<'_, '_> for TextFormat {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        Ok(Self(match object.cast::<PyString>()?.to_str()? {
            "csv" => fogcompute::TextFormat::Csv,
            "jsonl" => fogcompute::TextFormat::JsonLines,
            other => {
                let message = format!("{other:?} is no TextFormat");
                return Err(error::argument(object.py(), message));
            }
        }))
    }
}

/// The 32 bytes of a public key.
#[derive(Clone, Copy)]
pub(crate) struct Key(pub(crate) PublicKey);

impl FromPyObject<'_, '_> for Key {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let bytes: Buffer = object.extract()?;
        Ok(Self(PublicKey::from_bytes(
            bytes.array(object.py(), "public key")?,
        )))
    }
}

impl<'py> IntoPyObject<'py> for Key {
    type Target = PyBytes;
    type Output = Bound<'py, PyBytes>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        Ok(PyBytes::new(py, self.0.as_bytes()))
    }
}

/// Bytes as a result, held as the object that Python sees.
pub(crate) struct Bytes(PyBackedBytes);

impl Bytes {
    pub(crate) fn new(py: Python<'_>, bytes: &[u8]) -> Self {
        Self(PyBytes::new(py, bytes).into())
    }
}

impl FromPyObject<'_, '_> for Bytes {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        Ok(match object.extract()? {
            Buffer::Borrowed(bytes) => Self(bytes),
            Buffer::Copied(bytes) => Self::new(object.py(), &bytes),
        })
    }
}

impl<'py> IntoPyObject<'py> for &Bytes {
    type Target = PyBytes;
    type Output = Bound<'py, PyBytes>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        Ok((&self.0).into_pyobject(py)?)
    }
}

impl<'py> IntoPyObject<'py> for Bytes {
    type Target = PyBytes;
    type Output = Bound<'py, PyBytes>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        Ok(self.0.into_pyobject(py)?)
    }
}

/// A duration as `datetime.timedelta`, which counts microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Span(pub(crate) Duration);

impl FromPyObject<'_, '_> for Span {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let py = object.py();
        object.extract().map(Self).map_err(|error: PyErr| {
            if error.is_instance_of::<PyValueError>(py) {
                error::argument(py, "duration is negative")
            } else {
                error
            }
        })
    }
}

impl<'py> IntoPyObject<'py> for Span {
    type Target = PyDelta;
    type Output = Bound<'py, PyDelta>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        self.0.into_pyobject(py)
    }
}

/// Several things of one class: any sequence as an argument, a tuple as a result.
#[derive(Clone)]
pub(crate) struct Tuple<T>(pub(crate) Vec<T>);

impl<'a, 'py, T> FromPyObject<'a, 'py> for Tuple<T>
where
    Vec<T>: FromPyObject<'a, 'py>,
{
    type Error = <Vec<T> as FromPyObject<'a, 'py>>::Error;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> Result<Self, Self::Error> {
        object.extract().map(Self)
    }
}

impl<'py, T: IntoPyObject<'py>> IntoPyObject<'py> for Tuple<T> {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        PyTuple::new(py, self.0)
    }
}

/// A member of an enumeration of `fogcompute._enums`: its text as an argument, itself as a result.
macro_rules! enumeration {
    ($name:ident, $target:ident { $($text:literal => $variant:ident,)* }) => {
        enumeration!($name, $target, InvalidArgument { $($text => $variant,)* });
    };
    // With the code of an error for what is none.
    ($name:ident, $target:ident, $code:ident { $($text:literal => $variant:ident,)* }) => {
        #[derive(Clone, Copy)]
        pub(crate) struct $name(pub(crate) fogcompute::$target);

        impl FromPyObject<'_, '_> for $name {
            type Error = PyErr;

            fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
                match object.cast::<PyString>()?.to_str()? {
                    $($text => Ok(Self(fogcompute::$target::$variant)),)*
                    other => Err(error::of_code(
                        object.py(),
                        ErrorCode::$code,
                        format!(concat!("{:?} is no ", stringify!($name)), other),
                    )),
                }
            }
        }

        impl<'py> IntoPyObject<'py> for $name {
            type Target = PyAny;
            type Output = Bound<'py, PyAny>;
            type Error = PyErr;

            fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
                static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
                let text = match self.0 {
                    $(fogcompute::$target::$variant => $text,)*
                };
                CLASS.import(py, "fogcompute._enums", stringify!($name))?.call1((text,))
            }
        }
    };
}

enumeration!(AccountKind, AccountKind {
    "issuer" => Issuer,
    "holder" => Holder,
});
enumeration!(Constraint, Constraint {
    "excluded" => Excluded,
    "trust" => Trust,
    "latency" => Latency,
    "cost" => Cost,
    "cpu" => Cpu,
    "memory" => Memory,
    "run_time" => RunTime,
    "disk" => Disk,
    "gpu" => Gpu,
    "bandwidth" => Bandwidth,
    "region" => Region,
    "price" => Price,
    "deadline" => Deadline,
    "tier_latency" => TierLatency,
    "tier_availability" => TierAvailability,
    "tier_errors" => TierErrors,
});
enumeration!(DeviceClass, DeviceClass {
    "phone" => Phone,
    "laptop" => Laptop,
    "desktop" => Desktop,
    "server" => Server,
});
enumeration!(Domain, Domain {
    "node" => Node,
    "zone" => Zone,
    "region" => Region,
    "operator" => Operator,
});
enumeration!(Durability, Durability {
    "full" => Full,
    "normal" => Normal,
});
enumeration!(Evidence, Evidence {
    "double_result" => DoubleResult,
    "invalid_result" => InvalidResult,
    "downtime" => Downtime,
});
enumeration!(Network, Network {
    "unknown" => Unknown,
    "offline" => Offline,
    "ethernet" => Ethernet,
    "wifi" => Wifi,
    "cellular" => Cellular,
});
enumeration!(Choice, Choice, UnknownChoice {
    "against" => Against,
    "for" => For,
    "abstain" => Abstain,
});
enumeration!(PauseScope, PauseScope {
    "earning" => Earning,
    "staking" => Staking,
    "fees" => Fees,
    "treasury" => Treasury,
});
enumeration!(ProposalKind, ProposalKind {
    "parameter_change" => ParameterChange,
    "treasury_allocation" => TreasuryAllocation,
    "protocol_upgrade" => ProtocolUpgrade,
    "emergency_action" => EmergencyAction,
    "agent_deployment" => AgentDeployment,
    "general" => General,
});
enumeration!(ProposalState, ProposalState {
    "draft" => Draft,
    "pending" => Pending,
    "active" => Active,
    "defeated" => Defeated,
    "succeeded" => Succeeded,
    "queued" => Queued,
    "executed" => Executed,
    "expired" => Expired,
    "cancelled" => Cancelled,
});
enumeration!(Role, Role {
    "citizen" => Citizen,
    "delegate" => Delegate,
    "councilor" => Councilor,
    "guardian" => Guardian,
    "king" => King,
});
enumeration!(Weighing, Weighing {
    "linear" => Linear,
    "reputation" => Reputation,
    "quadratic" => Quadratic,
    "conviction" => Conviction,
});
enumeration!(Sharing, Sharing {
    "concurrent" => Concurrent,
    "queued" => Queued,
});
enumeration!(Strategy, Strategy {
    "nsga_ii" => NsgaIi,
    "latency_first" => LatencyFirst,
    "load_balance" => LoadBalance,
    "trust_first" => TrustFirst,
    "cost_optimize" => CostOptimize,
    "round_robin" => RoundRobin,
    "bin_pack" => BinPack,
    "topology_spread" => TopologySpread,
});
enumeration!(Tier, Tier {
    "platinum" => Platinum,
    "gold" => Gold,
    "silver" => Silver,
    "bronze" => Bronze,
});
enumeration!(Verdict, Verdict {
    "allow" => Allow,
    "throttle" => Throttle,
    "refuse" => Refuse,
});

/// `fogcompute.Priority`: its number as an argument, itself as a result.
#[derive(Clone, Copy)]
pub(crate) struct Priority(pub(crate) BasePriority);

impl FromPyObject<'_, '_> for Priority {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, '_, PyAny>) -> PyResult<Self> {
        let Number(number) = object.extract::<Number<u32>>()?;
        [
            BasePriority::Critical,
            BasePriority::High,
            BasePriority::Normal,
            BasePriority::Low,
            BasePriority::Bulk,
        ]
        .into_iter()
        .find(|&priority| priority as u32 == number)
        .map(Self)
        .ok_or_else(|| error::argument(object.py(), format!("{number} is no Priority")))
    }
}

impl<'py> IntoPyObject<'py> for Priority {
    type Target = PyAny;
    type Output = Bound<'py, PyAny>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        CLASS
            .import(py, "fogcompute._enums", "Priority")?
            .call1((self.0 as u32,))
    }
}
