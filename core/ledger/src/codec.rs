//! Bytes of operations and entries, the same for digests, signatures and stores.

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{AccountId, Digest, TransferId, UnixMillis};

use crate::economy::{Event, Request};
use crate::staking;
use crate::{AccountKind, Amount, AssetId, EntryKind, Limits, Memo, Operation, PublicKey};

/// Set in a code that is followed by a memo.
const WITH_MEMO: u8 = 0x80;

pub(crate) trait Write {
    fn raw(&mut self, bytes: &[u8]);

    fn u8(&mut self, value: u8) {
        self.raw(&[value]);
    }

    fn u32(&mut self, value: u32) {
        self.raw(&value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.raw(&value.to_be_bytes());
    }

    fn amount(&mut self, amount: Amount) {
        self.raw(&amount.0.to_be_bytes());
    }

    fn transfer(&mut self, id: TransferId) {
        self.raw(id.as_bytes());
    }

    fn account(&mut self, id: AccountId) {
        self.raw(id.as_bytes());
    }

    fn expires(&mut self, expires: Option<UnixMillis>) {
        self.u8(u8::from(expires.is_some()));
        if let Some(expires) = expires {
            self.u64(expires.0);
        }
    }

    fn optional(&mut self, amount: Option<Amount>) {
        self.u8(u8::from(amount.is_some()));
        if let Some(amount) = amount {
            self.amount(amount);
        }
    }

    fn limits(&mut self, limits: &Limits) {
        self.optional(limits.max_supply);
        self.u8(u8::from(limits.credits_must_not_exceed_debits));
        self.optional(limits.spend_per_day);
    }

    fn code(&mut self, code: u8, memo: &Memo) {
        self.u8(code | if memo.is_none() { 0 } else { WITH_MEMO });
    }

    fn memo(&mut self, memo: &Memo) {
        if !memo.is_none() {
            self.raw(&memo.code.to_be_bytes());
            self.raw(&memo.reference);
        }
    }
}

impl Write for Vec<u8> {
    fn raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Reads what [`Write`] writes; nothing else is accepted, so bytes and values are one to one.
pub(crate) struct Decoder<'a>(pub(crate) Reader<'a>);

impl<'a> Decoder<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(Reader::new(bytes))
    }

    pub(crate) fn amount(&mut self) -> Result<Amount, DecodeError> {
        self.0.u128().map(Amount)
    }

    pub(crate) fn transfer(&mut self) -> Result<TransferId, DecodeError> {
        self.0.array().map(TransferId::from_bytes)
    }

    pub(crate) fn account(&mut self) -> Result<AccountId, DecodeError> {
        self.0.array().map(AccountId::from_bytes)
    }

    pub(crate) fn digest(&mut self) -> Result<Digest, DecodeError> {
        self.0.array().map(Digest::from_bytes)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        let at = self.0.position();
        match self.0.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(unknown(at, value)),
        }
    }

    pub(crate) fn expires(&mut self) -> Result<Option<UnixMillis>, DecodeError> {
        Ok(match self.flag()? {
            true => Some(UnixMillis(self.0.u64()?)),
            false => None,
        })
    }

    fn optional(&mut self) -> Result<Option<Amount>, DecodeError> {
        Ok(match self.flag()? {
            true => Some(self.amount()?),
            false => None,
        })
    }

    pub(crate) fn limits(&mut self) -> Result<Limits, DecodeError> {
        Ok(Limits {
            max_supply: self.optional()?,
            credits_must_not_exceed_debits: self.flag()?,
            spend_per_day: self.optional()?,
        })
    }

    pub(crate) fn kind(&mut self) -> Result<AccountKind, DecodeError> {
        let at = self.0.position();
        let code = self.0.u8()?;
        AccountKind::from_code(code).ok_or(unknown(at, code))
    }

    /// A code, and whether a memo ends what it starts.
    fn code(&mut self) -> Result<(u8, bool), DecodeError> {
        let code = self.0.u8()?;
        Ok((code & !WITH_MEMO, code & WITH_MEMO != 0))
    }

    fn memo(&mut self, said: bool) -> Result<Memo, DecodeError> {
        if !said {
            return Ok(Memo::NONE);
        }
        let at = self.0.position();
        let memo = Memo {
            code: self.0.u16()?,
            reference: self.0.array()?,
        };
        if memo.is_none() {
            return Err(unknown(at, 0));
        }
        Ok(memo)
    }

    /// Reads what an entry records.
    pub(crate) fn entry(&mut self) -> Result<EntryKind, DecodeError> {
        let at = self.0.position();
        let (code, said) = self.code()?;
        Ok(match code {
            2 => EntryKind::Transferred {
                id: self.transfer()?,
                from: self.account()?,
                to: self.account()?,
                amount: self.amount()?,
                memo: self.memo(said)?,
            },
            3 => EntryKind::Reserved {
                id: self.transfer()?,
                from: self.account()?,
                to: self.account()?,
                amount: self.amount()?,
                expires: self.expires()?,
                memo: self.memo(said)?,
            },
            _ if said => return Err(unknown(at, code | WITH_MEMO)),
            1 => EntryKind::Opened {
                account: self.account()?,
                asset: AssetId(self.0.u32()?),
                kind: self.kind()?,
            },
            4 => EntryKind::Posted {
                id: self.transfer()?,
                reservation: self.transfer()?,
                from: self.account()?,
                to: self.account()?,
                amount: self.amount()?,
                released: self.amount()?,
            },
            5 => EntryKind::Voided {
                id: self.transfer()?,
                reservation: self.transfer()?,
                from: self.account()?,
                to: self.account()?,
                released: self.amount()?,
            },
            6 => EntryKind::Expired {
                reservation: self.transfer()?,
                from: self.account()?,
                to: self.account()?,
                released: self.amount()?,
            },
            7 => EntryKind::Limited {
                id: self.transfer()?,
                account: self.account()?,
                limits: self.limits()?,
            },
            8 => EntryKind::Closed {
                id: self.transfer()?,
                account: self.account()?,
            },
            9 => EntryKind::Owned {
                id: self.transfer()?,
                account: self.account()?,
                key: PublicKey::from_bytes(self.0.array()?),
            },
            10 => EntryKind::Signed {
                account: self.account()?,
                nonce: self.0.u64()?,
                digest: self.digest()?,
            },
            11 => EntryKind::Economy {
                id: self.transfer()?,
                event: Box::new(Event::read(&mut self.0)?),
            },
            12 => EntryKind::Matured {
                event: Box::new(staking::EventKind::decode_from(&mut self.0)?),
            },
            13 => EntryKind::Moved {
                cause: self.0.u64()?,
                from: self.account()?,
                to: self.account()?,
                amount: self.amount()?,
            },
            _ => return Err(unknown(at, code)),
        })
    }

    /// Reads an operation. Codes are those of the entries it makes.
    pub(crate) fn operation(&mut self) -> Result<Operation, DecodeError> {
        let at = self.0.position();
        let (code, said) = self.code()?;
        Ok(match code {
            2 => Operation::Transfer {
                id: self.transfer()?,
                from: self.account()?,
                to: self.account()?,
                amount: self.amount()?,
                memo: self.memo(said)?,
            },
            3 => Operation::Reserve {
                id: self.transfer()?,
                from: self.account()?,
                to: self.account()?,
                amount: self.amount()?,
                expires: self.expires()?,
                memo: self.memo(said)?,
            },
            _ if said => return Err(unknown(at, code | WITH_MEMO)),
            1 => Operation::Open {
                account: self.account()?,
                asset: AssetId(self.0.u32()?),
                kind: self.kind()?,
            },
            4 => Operation::Post {
                id: self.transfer()?,
                reservation: self.transfer()?,
                amount: self.optional()?,
            },
            5 => Operation::Void {
                id: self.transfer()?,
                reservation: self.transfer()?,
            },
            7 => Operation::Limit {
                id: self.transfer()?,
                account: self.account()?,
                limits: self.limits()?,
            },
            8 => Operation::Close {
                id: self.transfer()?,
                account: self.account()?,
            },
            9 => Operation::Own {
                id: self.transfer()?,
                account: self.account()?,
                key: PublicKey::from_bytes(self.0.array()?),
            },
            11 => Operation::Economy {
                id: self.transfer()?,
                request: Box::new(Request::read(&mut self.0)?),
            },
            _ => return Err(unknown(at, code)),
        })
    }
}

pub(crate) fn unknown(at: usize, value: u8) -> DecodeError {
    DecodeError::Unknown {
        at,
        value: u64::from(value),
    }
}

pub(crate) fn write_entry(kind: &EntryKind, out: &mut Vec<u8>) {
    match kind {
        EntryKind::Transferred { memo, .. } | EntryKind::Reserved { memo, .. } => {
            out.code(kind.code(), memo);
        }
        _ => out.u8(kind.code()),
    }
    match *kind {
        EntryKind::Opened {
            account,
            asset,
            kind,
        } => {
            out.account(account);
            out.u32(asset.0);
            out.u8(kind.code());
        }
        EntryKind::Transferred {
            id,
            from,
            to,
            amount,
            memo,
        } => {
            out.transfer(id);
            out.account(from);
            out.account(to);
            out.amount(amount);
            out.memo(&memo);
        }
        EntryKind::Reserved {
            id,
            from,
            to,
            amount,
            expires,
            memo,
        } => {
            out.transfer(id);
            out.account(from);
            out.account(to);
            out.amount(amount);
            out.expires(expires);
            out.memo(&memo);
        }
        EntryKind::Posted {
            id,
            reservation,
            from,
            to,
            amount,
            released,
        } => {
            out.transfer(id);
            out.transfer(reservation);
            out.account(from);
            out.account(to);
            out.amount(amount);
            out.amount(released);
        }
        EntryKind::Voided {
            id,
            reservation,
            from,
            to,
            released,
        } => {
            out.transfer(id);
            out.transfer(reservation);
            out.account(from);
            out.account(to);
            out.amount(released);
        }
        EntryKind::Expired {
            reservation,
            from,
            to,
            released,
        } => {
            out.transfer(reservation);
            out.account(from);
            out.account(to);
            out.amount(released);
        }
        EntryKind::Limited {
            id,
            account,
            limits,
        } => {
            out.transfer(id);
            out.account(account);
            out.limits(&limits);
        }
        EntryKind::Closed { id, account } => {
            out.transfer(id);
            out.account(account);
        }
        EntryKind::Owned { id, account, key } => {
            out.transfer(id);
            out.account(account);
            out.raw(key.as_bytes());
        }
        EntryKind::Signed {
            account,
            nonce,
            digest,
        } => {
            out.account(account);
            out.u64(nonce);
            out.raw(digest.as_bytes());
        }
        EntryKind::Economy { id, ref event } => {
            out.transfer(id);
            out.raw(&written(|writer| event.write(writer)));
        }
        EntryKind::Matured { ref event } => {
            out.raw(&written(|writer| event.encode_into(writer)));
        }
        EntryKind::Moved {
            cause,
            from,
            to,
            amount,
        } => {
            out.u64(cause);
            out.account(from);
            out.account(to);
            out.amount(amount);
        }
    }
}

fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    write(&mut writer);
    writer.finish()
}

pub(crate) fn write_operation(operation: &Operation, out: &mut Vec<u8>) {
    match *operation {
        Operation::Open {
            account,
            asset,
            kind,
        } => {
            out.u8(1);
            out.account(account);
            out.u32(asset.0);
            out.u8(kind.code());
        }
        Operation::Transfer {
            id,
            from,
            to,
            amount,
            memo,
        } => {
            out.code(2, &memo);
            out.transfer(id);
            out.account(from);
            out.account(to);
            out.amount(amount);
            out.memo(&memo);
        }
        Operation::Reserve {
            id,
            from,
            to,
            amount,
            expires,
            memo,
        } => {
            out.code(3, &memo);
            out.transfer(id);
            out.account(from);
            out.account(to);
            out.amount(amount);
            out.expires(expires);
            out.memo(&memo);
        }
        Operation::Post {
            id,
            reservation,
            amount,
        } => {
            out.u8(4);
            out.transfer(id);
            out.transfer(reservation);
            out.optional(amount);
        }
        Operation::Void { id, reservation } => {
            out.u8(5);
            out.transfer(id);
            out.transfer(reservation);
        }
        Operation::Limit {
            id,
            account,
            limits,
        } => {
            out.u8(7);
            out.transfer(id);
            out.account(account);
            out.limits(&limits);
        }
        Operation::Close { id, account } => {
            out.u8(8);
            out.transfer(id);
            out.account(account);
        }
        Operation::Own { id, account, key } => {
            out.u8(9);
            out.transfer(id);
            out.account(account);
            out.raw(key.as_bytes());
        }
        Operation::Economy { id, ref request } => {
            out.u8(11);
            out.transfer(id);
            out.raw(&written(|writer| request.write(writer)));
        }
    }
}
