//! What the byte formats of staking and of governance are read by.

use fogcompute_base::wire::{DecodeError, Reader};
use fogcompute_base::{AccountId, NodeId, UnixMillis};

pub(crate) use crate::codec::unknown;
use crate::{Amount, Ppm};

pub(crate) fn time(r: &mut Reader<'_>) -> Result<UnixMillis, DecodeError> {
    r.u64().map(UnixMillis)
}

pub(crate) fn account(r: &mut Reader<'_>) -> Result<AccountId, DecodeError> {
    r.array().map(AccountId::from_bytes)
}

pub(crate) fn node(r: &mut Reader<'_>) -> Result<NodeId, DecodeError> {
    r.array().map(NodeId::from_bytes)
}

pub(crate) fn amount(r: &mut Reader<'_>) -> Result<Amount, DecodeError> {
    r.u128().map(Amount)
}

pub(crate) fn flag(r: &mut Reader<'_>) -> Result<bool, DecodeError> {
    let at = r.position();
    match r.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        code => Err(unknown(at, code)),
    }
}

pub(crate) fn ppm(r: &mut Reader<'_>) -> Result<Ppm, DecodeError> {
    let at = r.position();
    let value = r.u32()?;
    Ppm::new(value).map_err(|_| DecodeError::Unknown {
        at,
        value: u64::from(value),
    })
}

/// A list, its length first. It grows as it is read: an announced number costs nothing.
pub(crate) fn list<T>(
    r: &mut Reader<'_>,
    read: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = r.u32()?;
    (0..count).map(|_| read(r)).collect()
}
