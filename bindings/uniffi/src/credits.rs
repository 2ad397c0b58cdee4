//! The ledger.

mod economy;
mod governance;

use std::sync::Arc;

use fogcompute::base::UnixMillis;
use fogcompute::ledger::{AssetId, Memo as LedgerMemo};
use fogcompute::{
    AccountId, AccountKind, Amount, Durability, LEDGER_PAGE_MAX, LedgerOptions, Moment, Operation,
    OwnerKey, SignedBatch, TransferId,
};

pub use self::economy::{
    EconomyOperator, EconomyParameter, EconomyReceipt, EconomyRequest, EconomyStake, LedgerEconomy,
    ParameterUnit, Unbonding, default_economy_rules, purse_account,
};
pub use self::governance::{
    Ballot, DelegatedPart, DeployedAgent, GovernanceMember, GovernanceOverview, GovernanceRequest,
    LedgerGovernance, Proposal, ProposalAction, ProposalContent, Resolution, RoleHolder,
    ScheduledUpgrade, Tally, VotingPower,
};
use crate::FogError;
use crate::error::{guarded, invalid_argument};
use crate::packets::key_bytes;

/// What an account may do.
#[uniffi::remote(Enum)]
pub enum AccountKind {
    /// Puts credits out and takes them back: its debits may exceed its credits.
    Issuer,
    /// Holds what it was given.
    Holder,
}

/// What a power cut may cost a ledger. A killed process costs nothing.
#[uniffi::remote(Enum)]
pub enum Durability {
    /// Every change waits for the disk.
    Full,
    /// The last changes may be lost, never torn.
    Normal,
}

/// How a history is written as text, a line for each entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq, uniffi::Enum)]
pub enum TextFormat {
    /// Columns under a line with their names, for spreadsheets.
    Csv,
    /// One JSON object a line, amounts as text.
    JsonLines,
}

impl From<TextFormat> for fogcompute::TextFormat {
    fn from(format: TextFormat) -> Self {
        match format {
            TextFormat::Csv => Self::Csv,
            TextFormat::JsonLines => Self::JsonLines,
        }
    }
}

/// Bounds of an account beyond those of its kind. What is left out is no bound.
#[derive(Clone, Debug, Default, Eq, PartialEq, uniffi::Record)]
pub struct AccountLimits {
    /// Most that an issuer may have out at once, open reservations included.
    #[uniffi(default = None)]
    pub max_supply: Option<String>,
    /// An issuer takes back no more than it has put out.
    #[uniffi(default = false)]
    pub credits_must_not_exceed_debits: bool,
    /// Most that transfers and posts may take from the account in one UTC day.
    #[uniffi(default = None)]
    pub spend_per_day: Option<String>,
}

impl From<fogcompute::AccountLimits> for AccountLimits {
    fn from(limits: fogcompute::AccountLimits) -> Self {
        Self {
            max_supply: limits.max_supply.map(|amount| amount.to_string()),
            credits_must_not_exceed_debits: limits.credits_must_not_exceed_debits,
            spend_per_day: limits.spend_per_day.map(|amount| amount.to_string()),
        }
    }
}

impl TryFrom<AccountLimits> for fogcompute::AccountLimits {
    type Error = FogError;

    fn try_from(limits: AccountLimits) -> Result<Self, FogError> {
        let amount = |text: Option<String>| text.map(|text| text.parse()).transpose();
        Ok(Self {
            max_supply: amount(limits.max_supply)?,
            credits_must_not_exceed_debits: limits.credits_must_not_exceed_debits,
            spend_per_day: amount(limits.spend_per_day)?,
        })
    }
}

/// What a transfer or a reservation is for. The ledger keeps it and makes nothing of it.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Memo {
    /// The purpose, from a list of the caller's; 0 is unsaid.
    #[uniffi(default = 0)]
    pub code: u16,
    /// The caller's own reference, 16 bytes.
    #[uniffi(default = None)]
    pub reference: Option<Vec<u8>>,
}

impl From<LedgerMemo> for Memo {
    fn from(memo: LedgerMemo) -> Self {
        Self {
            code: memo.code,
            reference: (memo.reference != [0; 16]).then(|| memo.reference.to_vec()),
        }
    }
}

fn memo(memo: Option<Memo>) -> Result<LedgerMemo, FogError> {
    let Some(memo) = memo else {
        return Ok(LedgerMemo::NONE);
    };
    let reference = match memo.reference {
        None => [0; 16],
        Some(bytes) => bytes.as_slice().try_into().map_err(|_| {
            invalid_argument(format!("reference has {} bytes, not 16", bytes.len()))
        })?,
    };
    Ok(LedgerMemo {
        code: memo.code,
        reference,
    })
}

/// One step of a batch. Ids are 32 hexadecimal digits, amounts decimal text of base units.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Enum)]
pub enum LedgerOperation {
    /// Opens an account for an asset; 0 is credits.
    Open {
        /// The new account.
        account: String,
        /// What it may do.
        kind: AccountKind,
        /// What it will hold.
        #[uniffi(default = 0)]
        asset: u32,
    },
    /// Moves an amount. From an issuer it mints, to one it burns.
    Transfer {
        /// Names the operation.
        id: String,
        /// Gives.
        from: String,
        /// Receives.
        to: String,
        /// Base units, above zero.
        amount: String,
        /// What it is for.
        #[uniffi(default = None)]
        memo: Option<Memo>,
    },
    /// Holds an amount back for a later post or void.
    Reserve {
        /// Names the operation and the reservation.
        id: String,
        /// Will give.
        from: String,
        /// Will receive.
        to: String,
        /// Base units, above zero.
        amount: String,
        /// When it is released by itself, in milliseconds since 1970.
        #[uniffi(default = None)]
        expires_unix_ms: Option<u64>,
        /// What it is for.
        #[uniffi(default = None)]
        memo: Option<Memo>,
    },
    /// Moves a reserved amount, or part of it; what is left is released.
    Post {
        /// Names the operation.
        id: String,
        /// The reservation it closes.
        reservation: String,
        /// Base units; all that is reserved if it is left out.
        #[uniffi(default = None)]
        amount: Option<String>,
    },
    /// Releases a reservation.
    Void {
        /// Names the operation.
        id: String,
        /// The reservation it closes.
        reservation: String,
    },
    /// Sets all limits of an account anew.
    Limit {
        /// Names the operation.
        id: String,
        /// The account.
        account: String,
        /// Its limits from then on.
        limits: AccountLimits,
    },
    /// Closes an account for good.
    Close {
        /// Names the operation.
        id: String,
        /// The account.
        account: String,
    },
    /// Registers the key, 32 bytes, whose signatures move an account's money.
    Own {
        /// Names the operation.
        id: String,
        /// The account.
        account: String,
        /// The owner's key.
        key: Vec<u8>,
    },
    /// Asks something of the economy.
    Economy {
        /// Names the operation.
        id: String,
        /// What is asked.
        request: EconomyRequest,
    },
    /// Asks something of governance.
    Governance {
        /// Names the operation.
        id: String,
        /// What is asked.
        request: GovernanceRequest,
    },
}

impl TryFrom<LedgerOperation> for Operation {
    type Error = FogError;

    fn try_from(operation: LedgerOperation) -> Result<Self, FogError> {
        Ok(match operation {
            LedgerOperation::Open {
                account,
                kind,
                asset,
            } => Self::Open {
                account: account.parse()?,
                asset: AssetId(asset),
                kind,
            },
            LedgerOperation::Transfer {
                id,
                from,
                to,
                amount,
                memo: said,
            } => Self::Transfer {
                id: id.parse()?,
                from: from.parse()?,
                to: to.parse()?,
                amount: amount.parse()?,
                memo: memo(said)?,
            },
            LedgerOperation::Reserve {
                id,
                from,
                to,
                amount,
                expires_unix_ms,
                memo: said,
            } => Self::Reserve {
                id: id.parse()?,
                from: from.parse()?,
                to: to.parse()?,
                amount: amount.parse()?,
                expires: expires_unix_ms.map(UnixMillis),
                memo: memo(said)?,
            },
            LedgerOperation::Post {
                id,
                reservation,
                amount,
            } => Self::Post {
                id: id.parse()?,
                reservation: reservation.parse()?,
                amount: amount.map(|amount| amount.parse()).transpose()?,
            },
            LedgerOperation::Void { id, reservation } => Self::Void {
                id: id.parse()?,
                reservation: reservation.parse()?,
            },
            LedgerOperation::Limit {
                id,
                account,
                limits,
            } => Self::Limit {
                id: id.parse()?,
                account: account.parse()?,
                limits: limits.try_into()?,
            },
            LedgerOperation::Close { id, account } => Self::Close {
                id: id.parse()?,
                account: account.parse()?,
            },
            LedgerOperation::Own { id, account, key } => Self::Own {
                id: id.parse()?,
                account: account.parse()?,
                key: OwnerKey::from_bytes(key_bytes(&key)?),
            },
            LedgerOperation::Economy { id, request } => Self::Economy {
                id: id.parse()?,
                request: Box::new(request.try_into()?),
            },
            LedgerOperation::Governance { id, request } => Self::Economy {
                id: id.parse()?,
                request: Box::new(fogcompute::EconomyRequest::Governance(request.try_into()?)),
            },
        })
    }
}

fn operations(operations: Vec<LedgerOperation>) -> Result<Vec<Operation>, FogError> {
    operations.into_iter().map(TryInto::try_into).collect()
}

/// One line of a ledger's history. What an entry of its kind does not say is null, or zero.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct LedgerEntry {
    /// Place in the history, from 1 without gaps.
    pub sequence: u64,
    /// When it was made, in milliseconds since 1970.
    pub unix_ms: u64,
    /// What happened: "opened", "transferred", "reserved", "posted", "voided", "expired",
    /// "limited", "closed", "owned", "signed", "economy", "matured", "moved". There may be more
    /// later.
    pub kind: String,
    /// Digest of the whole history up to it, 64 hexadecimal digits.
    pub chain: String,
    /// The operation that made it, if that had an id of its own.
    pub id: Option<String>,
    /// The reservation that it closed.
    pub reservation: Option<String>,
    /// The account, of what is about one only.
    pub account: Option<String>,
    /// The account that gives, or would have.
    pub from: Option<String>,
    /// The account that receives, or would have.
    pub to: Option<String>,
    /// Base units that moved, or that a reservation holds back.
    pub amount: String,
    /// Base units that were reserved and are free again.
    pub released: String,
    /// What a transfer or a reservation was for.
    pub memo: Memo,
    /// When a reservation expires, in milliseconds since 1970.
    pub expires_unix_ms: Option<u64>,
    /// What an opened account holds.
    pub asset: Option<u32>,
    /// What an opened account may do.
    pub account_kind: Option<AccountKind>,
    /// An account's new limits.
    pub limits: Option<AccountLimits>,
    /// An account's new key, 32 bytes.
    pub key: Option<Vec<u8>>,
    /// Number of a signature.
    pub nonce: Option<u64>,
    /// Digest of what was signed, 64 hexadecimal digits.
    pub digest: Option<String>,
    /// Sequence of the entry of the economy that a movement follows from.
    pub cause: Option<u64>,
    /// What happened in the economy, as JSON text.
    pub event: Option<String>,
}

impl From<fogcompute::LedgerEntry> for LedgerEntry {
    fn from(entry: fogcompute::LedgerEntry) -> Self {
        Self {
            sequence: entry.sequence,
            unix_ms: entry.time.0,
            kind: entry.kind.to_owned(),
            chain: entry.chain.to_string(),
            id: entry.id.map(|id| id.to_string()),
            reservation: entry.reservation.map(|id| id.to_string()),
            account: entry.account.map(|id| id.to_string()),
            from: entry.from.map(|id| id.to_string()),
            to: entry.to.map(|id| id.to_string()),
            amount: entry.amount.to_string(),
            released: entry.released.to_string(),
            memo: entry.memo.into(),
            expires_unix_ms: entry.expires.map(|expires| expires.0),
            asset: entry.opened.map(|(asset, _)| asset.0),
            account_kind: entry.opened.map(|(_, kind)| kind),
            limits: entry.limits.map(Into::into),
            key: entry.key.map(|key| key.as_bytes().to_vec()),
            nonce: entry.signature.map(|(nonce, _)| nonce),
            digest: entry.signature.map(|(_, digest)| digest.to_string()),
            cause: entry.cause,
            event: entry.event,
        }
    }
}

/// What an account had received and given at some moment of the past, in base units.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Standing {
    /// The last entry before that moment that named the account.
    pub sequence: u64,
    /// All it had received.
    pub credits_posted: String,
    /// All it had given.
    pub debits_posted: String,
    /// The one less the other, including what was reserved then.
    pub balance: String,
}

impl From<fogcompute::store::Standing> for Standing {
    fn from(standing: fogcompute::store::Standing) -> Self {
        Self {
            sequence: standing.sequence,
            credits_posted: standing.credits_posted.to_string(),
            debits_posted: standing.debits_posted.to_string(),
            balance: standing.balance().to_string(),
        }
    }
}

/// Where a history ends.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct LedgerHead {
    /// Number of entries.
    pub sequence: u64,
    /// Digest of the whole history, 64 hexadecimal digits.
    pub chain: String,
}

impl From<fogcompute::ledger::Head> for LedgerHead {
    fn from(head: fogcompute::ledger::Head) -> Self {
        Self {
            sequence: head.sequence,
            chain: head.chain.to_string(),
        }
    }
}

/// What a signed checkpoint states.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Checkpoint {
    /// Where the history ended.
    pub head: LedgerHead,
    /// When it was made, in milliseconds since 1970.
    pub unix_ms: u64,
    /// Digest of all accounts, 64 hexadecimal digits.
    pub accounts_root: String,
}

/// Checks that a checkpoint was signed by the key, 32 bytes, that is trusted, and says what it
/// states.
///
/// # Errors
/// [`FogError::CheckpointForged`], [`FogError::InvalidArgument`].
#[uniffi::export]
pub fn verify_checkpoint(checkpoint: Vec<u8>, key: Vec<u8>) -> Result<Checkpoint, FogError> {
    guarded(|| {
        let signed = fogcompute::decode_checkpoint(&checkpoint)?;
        let key = OwnerKey::from_bytes(key_bytes(&key)?);
        let stated = fogcompute::verify_checkpoint(&signed, &key)?;
        Ok(Checkpoint {
            head: stated.head.into(),
            unix_ms: stated.time.0,
            accounts_root: stated.accounts_root.to_string(),
        })
    })
}

/// The public key, 32 bytes, to an Ed25519 key's 32 secret bytes.
///
/// # Errors
/// [`FogError::InvalidArgument`].
#[uniffi::export]
pub fn owner_key(secret: Vec<u8>) -> Result<Vec<u8>, FogError> {
    guarded(|| {
        Ok(fogcompute::owner_key(&key_bytes(&secret)?)
            .as_bytes()
            .to_vec())
    })
}

/// Signs a batch as the owner of an account with 32 secret bytes. `nonce` is
/// [`Ledger::next_nonce`]; the bytes are the same in every language.
///
/// # Errors
/// [`FogError::InvalidArgument`].
#[uniffi::export]
pub fn sign_batch(
    account: String,
    nonce: u64,
    expires_unix_ms: u64,
    operations: Vec<LedgerOperation>,
    secret: Vec<u8>,
) -> Result<Vec<u8>, FogError> {
    guarded(|| {
        let operations = self::operations(operations)?;
        let expires = UnixMillis(expires_unix_ms);
        let (account, secret) = (account.parse()?, key_bytes(&secret)?);
        Ok(fogcompute::sign_batch(account, nonce, expires, operations, &secret).encode())
    })
}

/// The bytes that an owner's signature is over, for keys that are kept elsewhere. A signed batch is
/// [`sign_batch`] with any secret, its last 64 bytes replaced by the signature.
///
/// # Errors
/// [`FogError::InvalidArgument`].
#[uniffi::export]
pub fn batch_message(
    account: String,
    nonce: u64,
    expires_unix_ms: u64,
    operations: Vec<LedgerOperation>,
) -> Result<Vec<u8>, FogError> {
    guarded(|| {
        let unsigned = SignedBatch {
            account: account.parse()?,
            nonce,
            expires: UnixMillis(expires_unix_ms),
            operations: self::operations(operations)?,
            signature: [0; 64],
        };
        Ok(fogcompute::batch_message(&unsigned))
    })
}

/// An account as it stands. Amounts are decimal text of base units.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Account {
    /// Id, 32 hexadecimal digits.
    pub id: String,
    /// What it may do.
    pub kind: AccountKind,
    /// What may be transferred or reserved from it now.
    pub available: String,
    /// All it ever received.
    pub credits_posted: String,
    /// All it ever gave.
    pub debits_posted: String,
    /// What open reservations may still bring.
    pub credits_pending: String,
    /// What open reservations hold back.
    pub debits_pending: String,
    /// What it holds; 0 is credits.
    pub asset: u32,
    /// It gives and receives nothing any more.
    pub closed: bool,
    /// Bounds beyond those of its kind.
    pub limits: AccountLimits,
    /// The last UTC day on which it gave anything, in days since 1970.
    pub spent_day: u64,
    /// What transfers and posts took from it on that day.
    pub spent: String,
}

impl From<fogcompute::Account> for Account {
    fn from(account: fogcompute::Account) -> Self {
        Self {
            id: account.id.to_string(),
            kind: account.kind,
            available: account.available().to_string(),
            credits_posted: account.credits_posted.to_string(),
            debits_posted: account.debits_posted.to_string(),
            credits_pending: account.credits_pending.to_string(),
            debits_pending: account.debits_pending.to_string(),
            asset: account.asset.0,
            closed: account.closed,
            limits: account.limits.into(),
            spent_day: account.spent.day,
            spent: account.spent.amount.to_string(),
        }
    }
}

/// What an operation did.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Receipt {
    /// Place of its entry in the history, from 1 without gaps.
    pub sequence: u64,
    /// Whether it had been done before: nothing moved this time.
    pub replayed: bool,
}

impl From<fogcompute::Receipt> for Receipt {
    fn from(receipt: fogcompute::Receipt) -> Self {
        Self {
            sequence: receipt.entry.sequence,
            replayed: receipt.replayed,
        }
    }
}

/// What a check of the whole history went through.
#[derive(Clone, Debug, Eq, PartialEq, uniffi::Record)]
pub struct Verification {
    /// Entries that were carried out again.
    pub entries: u64,
    /// Digest of the last entry and so of the whole history, 64 hexadecimal digits.
    pub chain: String,
    /// Accounts that were compared.
    pub accounts: u64,
    /// Reservations that hold something back.
    pub open_reservations: u64,
}

impl From<fogcompute::store::Verification> for Verification {
    fn from(verification: fogcompute::store::Verification) -> Self {
        Self {
            entries: verification.head.sequence,
            chain: verification.head.chain.to_string(),
            accounts: verification.accounts as u64,
            open_reservations: verification.open_reservations as u64,
        }
    }
}

/// Double-entry credits in a SQLite file, or in memory. Every call is one transaction; the calls
/// of several threads take turns.
///
/// Accounts, transfers and reservations are named by 32 hexadecimal digits, amounts are decimal
/// text of base units: one credit is 10¹⁸ of them. An operation that is asked for again under its
/// id moves nothing and returns a receipt that says so.
#[derive(uniffi::Object)]
pub struct Ledger(fogcompute::Ledger);

#[uniffi::export]
impl Ledger {
    /// Opens a ledger's file, or makes it; an empty file is a new ledger. Every change waits for
    /// the disk.
    ///
    /// # Errors
    /// [`FogError::Storage`], [`FogError::StorageLocked`], [`FogError::StorageCorrupt`],
    /// [`FogError::StorageForeign`].
    #[uniffi::constructor]
    pub fn open(path: String) -> Result<Arc<Self>, FogError> {
        guarded(|| Ok(Arc::new(Self(fogcompute::Ledger::open(path)?))))
    }

    /// Opens a ledger's file with options, or makes it unless `create` is false: then a mistyped
    /// name makes no new ledger, and an empty file is none. Snapshots, made every
    /// `snapshot_entries` entries, spare opening the whole history.
    ///
    /// # Errors
    /// [`FogError::StorageMissing`] if there is no file and none is made; as for `open`.
    #[uniffi::constructor(default(durability = None, snapshot_entries = None, create = true))]
    pub fn open_with(
        path: String,
        durability: Option<Durability>,
        snapshot_entries: Option<u64>,
        create: bool,
    ) -> Result<Arc<Self>, FogError> {
        guarded(|| {
            let default = LedgerOptions::default();
            let options = LedgerOptions {
                durability: durability.unwrap_or(default.durability),
                snapshot_entries: snapshot_entries.unwrap_or(default.snapshot_entries),
            };
            let ledger = if create {
                fogcompute::Ledger::open_with(path, options)
            } else {
                fogcompute::Ledger::open_existing(path, options)
            };
            Ok(Arc::new(Self(ledger?)))
        })
    }

    /// A ledger that ends with the process.
    ///
    /// # Errors
    /// [`FogError::Storage`].
    #[uniffi::constructor]
    pub fn in_memory() -> Result<Arc<Self>, FogError> {
        guarded(|| Ok(Arc::new(Self(fogcompute::Ledger::in_memory()?))))
    }

    /// Executes a batch as a whole or not at all. Gives a receipt for each operation.
    ///
    /// # Errors
    /// [`FogError::BatchEmpty`], [`FogError::BatchTooLarge`], and those of the operations.
    pub fn execute(&self, operations: Vec<LedgerOperation>) -> Result<Vec<Receipt>, FogError> {
        guarded(|| {
            let receipts = self.0.execute(self::operations(operations)?)?;
            Ok(receipts.into_iter().map(Into::into).collect())
        })
    }

    /// Executes a batch that the owner of an account has signed, as a whole or not at all.
    ///
    /// # Errors
    /// [`FogError::SignatureForged`], [`FogError::SignatureReplayed`], [`FogError::NonceSkipped`],
    /// [`FogError::SignatureExpired`], [`FogError::NoOwner`], [`FogError::NotTheOwner`],
    /// [`FogError::NotForOwners`], and those of the operations.
    pub fn execute_signed(&self, batch: Vec<u8>) -> Result<Vec<Receipt>, FogError> {
        guarded(|| {
            let receipts = self.0.execute_signed(&fogcompute::decode_batch(&batch)?)?;
            Ok(receipts.into_iter().map(Into::into).collect())
        })
    }

    /// Opens an account for credits.
    ///
    /// # Errors
    /// [`FogError::AccountExists`] if it is open with another kind.
    pub fn open_account(&self, account: String, kind: AccountKind) -> Result<Receipt, FogError> {
        guarded(|| Ok(self.0.open_account(account.parse()?, kind)?.into()))
    }

    /// Moves an amount from one account to another. From an issuer it mints, to one it burns.
    ///
    /// # Errors
    /// [`FogError::InsufficientFunds`], [`FogError::UnknownAccount`], [`FogError::IdReused`],
    /// [`FogError::ZeroAmount`], [`FogError::SameAccount`], [`FogError::AssetMismatch`],
    /// [`FogError::AccountClosed`], [`FogError::QuotaExceeded`], [`FogError::SupplyExceeded`],
    /// [`FogError::CreditsExceedDebits`], [`FogError::AmountOverflow`].
    pub fn transfer(
        &self,
        id: String,
        from: String,
        to: String,
        amount: String,
    ) -> Result<Receipt, FogError> {
        guarded(|| {
            let (id, from, to, amount) = movement(&id, &from, &to, &amount)?;
            Ok(self.0.transfer(id, from, to, amount)?.into())
        })
    }

    /// Holds an amount back for a later `post` or `void`.
    ///
    /// # Errors
    /// As for `transfer`.
    pub fn reserve(
        &self,
        id: String,
        from: String,
        to: String,
        amount: String,
    ) -> Result<Receipt, FogError> {
        guarded(|| {
            let (id, from, to, amount) = movement(&id, &from, &to, &amount)?;
            Ok(self.0.reserve(id, from, to, amount)?.into())
        })
    }

    /// Moves a reserved amount, or part of it; what is left is released.
    ///
    /// # Errors
    /// [`FogError::UnknownReservation`], [`FogError::ReservationClosed`],
    /// [`FogError::ReservationExpired`], [`FogError::PostExceedsReservation`],
    /// [`FogError::NotAReservation`], [`FogError::ZeroAmount`], [`FogError::IdReused`].
    #[uniffi::method(default(amount = None))]
    pub fn post(
        &self,
        id: String,
        reservation: String,
        amount: Option<String>,
    ) -> Result<Receipt, FogError> {
        guarded(|| {
            let amount = amount.map(|amount| amount.parse()).transpose()?;
            let (id, reservation) = (id.parse()?, reservation.parse()?);
            Ok(self.0.post(id, reservation, amount)?.into())
        })
    }

    /// Releases a reservation.
    ///
    /// # Errors
    /// [`FogError::UnknownReservation`], [`FogError::ReservationClosed`],
    /// [`FogError::ReservationExpired`], [`FogError::NotAReservation`], [`FogError::IdReused`].
    pub fn void(&self, id: String, reservation: String) -> Result<Receipt, FogError> {
        guarded(|| Ok(self.0.void(id.parse()?, reservation.parse()?)?.into()))
    }

    /// Sets all limits of an account anew.
    ///
    /// # Errors
    /// [`FogError::NotAnIssuer`], [`FogError::UnknownAccount`], [`FogError::AccountClosed`],
    /// [`FogError::IdReused`].
    pub fn limit(
        &self,
        id: String,
        account: String,
        limits: AccountLimits,
    ) -> Result<Receipt, FogError> {
        guarded(|| {
            let (id, account) = (id.parse()?, account.parse()?);
            Ok(self.0.limit(id, account, limits.try_into()?)?.into())
        })
    }

    /// Closes an account for good.
    ///
    /// # Errors
    /// [`FogError::AccountInUse`], [`FogError::UnknownAccount`], [`FogError::AccountClosed`],
    /// [`FogError::IdReused`].
    pub fn close_account(&self, id: String, account: String) -> Result<Receipt, FogError> {
        guarded(|| Ok(self.0.close_account(id.parse()?, account.parse()?)?.into()))
    }

    /// Registers the key, 32 bytes, whose signatures move an account's money.
    ///
    /// # Errors
    /// [`FogError::UnknownAccount`], [`FogError::AccountClosed`], [`FogError::IdReused`].
    pub fn own(&self, id: String, account: String, key: Vec<u8>) -> Result<Receipt, FogError> {
        guarded(|| {
            let key = OwnerKey::from_bytes(key_bytes(&key)?);
            Ok(self.0.own(id.parse()?, account.parse()?, key)?.into())
        })
    }

    /// The key whose signatures move an account's money, if one was registered.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`].
    pub fn owner(&self, account: String) -> Result<Option<Vec<u8>>, FogError> {
        guarded(|| {
            let key = self.0.owner(account.parse()?)?;
            Ok(key.map(|key| key.as_bytes().to_vec()))
        })
    }

    /// Number of the next signature for an account.
    ///
    /// # Errors
    /// [`FogError::NoOwner`].
    pub fn next_nonce(&self, account: String) -> Result<u64, FogError> {
        guarded(|| Ok(self.0.next_nonce(account.parse()?)?))
    }

    /// What a holder has, in base units: credits less debits, including what open reservations
    /// hold back.
    ///
    /// # Errors
    /// [`FogError::UnknownAccount`].
    pub fn balance(&self, account: String) -> Result<String, FogError> {
        guarded(|| Ok(self.0.balance(account.parse()?)?.to_string()))
    }

    /// What a holder can spend, in base units: its balance less what open reservations hold back.
    ///
    /// # Errors
    /// [`FogError::UnknownAccount`].
    pub fn available(&self, account: String) -> Result<String, FogError> {
        guarded(|| Ok(self.0.available(account.parse()?)?.to_string()))
    }

    /// An account as it stands.
    ///
    /// # Errors
    /// [`FogError::UnknownAccount`].
    pub fn account(&self, account: String) -> Result<Account, FogError> {
        guarded(|| Ok(self.0.account(account.parse()?)?.into()))
    }

    /// Accounts with an id above `after`, by id: at most `limit`, at most 10,000.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`].
    #[uniffi::method(default(after = None, limit = None))]
    pub fn accounts(
        &self,
        after: Option<String>,
        limit: Option<u32>,
    ) -> Result<Vec<Account>, FogError> {
        guarded(|| {
            let after = after.map(|after| after.parse()).transpose()?;
            let accounts = self.0.accounts(after, page(limit))?;
            Ok(accounts.into_iter().map(Into::into).collect())
        })
    }

    /// What an account had received and given after the entry of that sequence; null if it was
    /// opened later.
    ///
    /// # Errors
    /// [`FogError::UnknownAccount`].
    pub fn balance_as_of(
        &self,
        account: String,
        sequence: u64,
    ) -> Result<Option<Standing>, FogError> {
        guarded(|| {
            let moment = Moment::Sequence(sequence);
            Ok(self
                .0
                .balance_as_of(account.parse()?, moment)?
                .map(Into::into))
        })
    }

    /// The same at a time, in milliseconds since 1970.
    ///
    /// # Errors
    /// [`FogError::UnknownAccount`].
    pub fn balance_as_of_time(
        &self,
        account: String,
        unix_ms: u64,
    ) -> Result<Option<Standing>, FogError> {
        guarded(|| {
            let moment = Moment::Time(UnixMillis(unix_ms));
            Ok(self
                .0
                .balance_as_of(account.parse()?, moment)?
                .map(Into::into))
        })
    }

    /// What all holders of an asset have together, in base units; null if it cannot be counted.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    #[uniffi::method(default(asset = 0))]
    pub fn supply(&self, asset: u32) -> Result<Option<String>, FogError> {
        guarded(|| {
            let supply = self.0.supply(AssetId(asset))?;
            Ok(supply.map(|amount| amount.to_string()))
        })
    }

    /// The entry that an id was used for, to learn what became of a request whose answer was lost.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`].
    pub fn entry(&self, id: String) -> Result<Option<LedgerEntry>, FogError> {
        guarded(|| Ok(self.0.entry(id.parse()?)?.map(Into::into)))
    }

    /// Entries after that sequence, in order: at most `limit`, at most 10,000.
    ///
    /// # Errors
    /// [`FogError::StorageCorrupt`].
    #[uniffi::method(default(after = 0, limit = None))]
    pub fn entries(&self, after: u64, limit: Option<u32>) -> Result<Vec<LedgerEntry>, FogError> {
        guarded(|| {
            let entries = self.0.entries(after, page(limit))?;
            Ok(entries.into_iter().map(Into::into).collect())
        })
    }

    /// Entries after that sequence that name the account, in order: at most `limit`, at most
    /// 10,000.
    ///
    /// # Errors
    /// [`FogError::UnknownAccount`], [`FogError::StorageCorrupt`].
    #[uniffi::method(default(after = 0, limit = None))]
    pub fn history(
        &self,
        account: String,
        after: u64,
        limit: Option<u32>,
    ) -> Result<Vec<LedgerEntry>, FogError> {
        guarded(|| {
            let entries = self.0.history(account.parse()?, after, page(limit))?;
            Ok(entries.into_iter().map(Into::into).collect())
        })
    }

    /// The economy of this ledger: staking, earning and parameters.
    pub fn economy(self: Arc<Self>) -> Arc<LedgerEconomy> {
        Arc::new(LedgerEconomy { ledger: self })
    }

    /// Governance of this ledger: proposals, votes, delegation and roles.
    pub fn governance(self: Arc<Self>) -> Arc<LedgerGovernance> {
        Arc::new(LedgerGovernance { ledger: self })
    }

    /// The time at which an operation would happen now, in milliseconds since 1970: the wall
    /// clock's, or the one that was set.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn now(&self) -> Result<u64, FogError> {
        guarded(|| Ok(self.0.now()?.0))
    }

    /// Lets everything happen at that time from now on, in milliseconds since 1970, for simulations
    /// and tests, or at the wall clock's again if it is left out. It is not part of the file.
    ///
    /// Nothing happens by this alone: `expire`, or the next call, does what the time brings.
    /// Staking and earning never go back: before the time of their last operation they fail with
    /// [`FogError::ClockBehind`], also once the wall clock has its say again.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    #[uniffi::method(default(unix_ms = None))]
    pub fn set_time(&self, unix_ms: Option<u64>) -> Result<(), FogError> {
        guarded(|| Ok(self.0.set_time(unix_ms.map(UnixMillis))?))
    }

    /// Does what time brings: releases the reservations whose time has come, pays out stake that
    /// has left and frees stake that has moved. Says how many they were. Every other call does so
    /// first.
    ///
    /// # Errors
    /// [`FogError::Storage`].
    pub fn expire(&self) -> Result<u64, FogError> {
        guarded(|| Ok(self.0.expire()? as u64))
    }

    /// Where the history ends.
    ///
    /// # Errors
    /// [`FogError::Closed`].
    pub fn head(&self) -> Result<LedgerHead, FogError> {
        guarded(|| Ok(self.0.head()?.into()))
    }

    /// A statement about the ledger as it is now, signed with 32 secret bytes, for others to keep:
    /// whoever has it notices any rewriting of what came before it.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`].
    pub fn checkpoint(&self, secret: Vec<u8>) -> Result<Vec<u8>, FogError> {
        guarded(|| Ok(self.0.checkpoint(&key_bytes(&secret)?)?.encode()))
    }

    /// Checks the whole history, and that it is the one of which `key` signed a checkpoint: nothing
    /// before that was rewritten since.
    ///
    /// # Errors
    /// [`FogError::CheckpointForged`], [`FogError::CheckpointDiffers`],
    /// [`FogError::CheckpointMissing`], [`FogError::StorageCorrupt`].
    pub fn verify_since(
        &self,
        checkpoint: Vec<u8>,
        key: Vec<u8>,
    ) -> Result<Verification, FogError> {
        guarded(|| {
            let signed = fogcompute::decode_checkpoint(&checkpoint)?;
            let key = OwnerKey::from_bytes(key_bytes(&key)?);
            Ok(self.0.verify_since(&signed, &key)?.into())
        })
    }

    /// SQLite's own check of pages, indexes and rows.
    ///
    /// # Errors
    /// [`FogError::StorageCorrupt`].
    pub fn check_integrity(&self) -> Result<(), FogError> {
        guarded(|| Ok(self.0.check_integrity()?))
    }

    /// Makes a snapshot now, so that opening has nothing to carry out again.
    ///
    /// # Errors
    /// [`FogError::StorageFull`], [`FogError::Storage`].
    pub fn snapshot(&self) -> Result<(), FogError> {
        guarded(|| Ok(self.0.snapshot()?))
    }

    /// Copies the ledger into a new file, which is a ledger of its own.
    ///
    /// # Errors
    /// [`FogError::StorageExists`], [`FogError::StorageFull`], [`FogError::Storage`].
    pub fn backup(&self, path: String) -> Result<(), FogError> {
        guarded(|| Ok(self.0.backup(path)?))
    }

    /// Writes the history into a new file as text, and says how many entries that were. Without a
    /// format it is the one that the file's name tells: it ends with .csv or .jsonl.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] if the name tells none; [`FogError::StorageExists`],
    /// [`FogError::StorageFull`], [`FogError::Storage`].
    #[uniffi::method(default(format = None))]
    pub fn export_history(
        &self,
        path: String,
        format: Option<TextFormat>,
    ) -> Result<u64, FogError> {
        guarded(|| {
            Ok(self
                .0
                .export(path, format.map(fogcompute::TextFormat::from))?)
        })
    }

    /// Reads a history that `export_history` wrote into this ledger, which must be empty. Every
    /// entry is carried out again and must come out the same; all of them or nothing. Without a
    /// format it is the one that the file's name tells.
    ///
    /// # Errors
    /// [`FogError::InvalidArgument`] if the name tells none; [`FogError::StorageNotEmpty`],
    /// [`FogError::InvalidTranscript`], [`FogError::StorageCorrupt`], [`FogError::Storage`].
    #[uniffi::method(default(format = None))]
    pub fn import_history(&self, path: String, format: Option<TextFormat>) -> Result<(), FogError> {
        guarded(|| {
            Ok(self
                .0
                .import(path, format.map(fogcompute::TextFormat::from))?)
        })
    }

    /// Checks the whole history against its chain of digests and the balances.
    ///
    /// # Errors
    /// [`FogError::StorageCorrupt`] says what is damaged.
    pub fn verify(&self) -> Result<Verification, FogError> {
        guarded(|| Ok(self.0.verify()?.into()))
    }
}

/// Items of a page.
fn page(limit: Option<u32>) -> usize {
    limit.map_or(LEDGER_PAGE_MAX, |limit| {
        usize::try_from(limit).unwrap_or(LEDGER_PAGE_MAX)
    })
}

fn movement(
    id: &str,
    from: &str,
    to: &str,
    amount: &str,
) -> Result<(TransferId, AccountId, AccountId, Amount), FogError> {
    Ok((id.parse()?, from.parse()?, to.parse()?, amount.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> String {
        format!("{byte:02x}").repeat(16)
    }

    #[test]
    fn amounts_and_ids_go_through_as_text() {
        let ledger = Ledger::in_memory().unwrap();
        ledger.open_account(id(1), AccountKind::Issuer).unwrap();
        ledger.open_account(id(2), AccountKind::Holder).unwrap();
        let amount = "340282366920938463463374607431768211455";
        let receipt = ledger.transfer(id(3), id(1), id(2), amount.to_owned());
        assert!(!receipt.unwrap().replayed);
        assert_eq!(ledger.balance(id(2)).unwrap(), amount);
        assert_eq!(ledger.verify().unwrap().entries, 3);
        let error = ledger.transfer(id(4), id(1), id(2), "1.5".to_owned());
        assert!(matches!(error, Err(FogError::InvalidArgument { .. })));
        let error = ledger.balance("zz".to_owned());
        assert!(matches!(error, Err(FogError::InvalidArgument { .. })));
    }

    fn pay(byte: u8, amount: &str) -> LedgerOperation {
        LedgerOperation::Transfer {
            id: id(byte),
            from: id(1),
            to: id(2),
            amount: amount.to_owned(),
            memo: Some(Memo {
                code: 7,
                reference: Some(vec![byte; 16]),
            }),
        }
    }

    #[test]
    fn batches_go_in_and_history_comes_out() {
        let ledger = Ledger::in_memory().unwrap();
        ledger.open_account(id(1), AccountKind::Issuer).unwrap();
        ledger.open_account(id(2), AccountKind::Holder).unwrap();
        let secret = vec![7; 32];
        let key = owner_key(secret.clone()).unwrap();
        ledger.own(id(3), id(1), key.clone()).unwrap();
        assert_eq!(ledger.owner(id(1)).unwrap(), Some(key.clone()));
        let nonce = ledger.next_nonce(id(1)).unwrap();
        let signed = sign_batch(id(1), nonce, 1 << 50, vec![pay(4, "5")], secret.clone()).unwrap();
        assert_eq!(ledger.execute_signed(signed.clone()).unwrap().len(), 1);
        let again = ledger.execute_signed(signed);
        assert!(matches!(again, Err(FogError::SignatureReplayed { .. })));
        let receipts = ledger.execute(vec![pay(4, "5"), pay(5, "6")]).unwrap();
        assert_eq!((receipts[0].replayed, receipts[1].replayed), (true, false));
        let history = ledger.history(id(2), 3, None).unwrap();
        let amounts: Vec<_> = history.iter().map(|entry| entry.amount.as_str()).collect();
        assert_eq!(amounts, ["5", "6"]);
        assert_eq!(history[0].memo.reference, Some(vec![4; 16]));
        let checkpoint = ledger.checkpoint(secret).unwrap();
        let stated = verify_checkpoint(checkpoint.clone(), key.clone()).unwrap();
        assert_eq!(stated.head, ledger.head().unwrap());
        ledger.verify_since(checkpoint.clone(), key).unwrap();
        let forged = verify_checkpoint(checkpoint, vec![1; 32]);
        assert!(matches!(forged, Err(FogError::CheckpointForged { .. })));
        let short = memo(Some(Memo {
            code: 0,
            reference: Some(vec![1]),
        }));
        assert!(matches!(short, Err(FogError::InvalidArgument { .. })));
    }
}
