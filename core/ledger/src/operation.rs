//! What a caller asks for, and what it is told.

use fogcompute_base::{AccountId, TransferId, UnixMillis};
use serde::{Deserialize, Serialize};

use crate::economy::Request;
use crate::{AccountKind, Amount, AssetId, Entry, EntryKind, Limits, PublicKey};

/// What a transfer or a reservation was for, in the caller's own terms. The ledger keeps it and
/// makes nothing of it; the default says nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(default)]
pub struct Memo {
    /// The purpose, from a list of the caller's; 0 is unsaid.
    pub code: u16,
    /// The caller's own reference: an order, an invoice. Zeros are unsaid.
    pub reference: [u8; 16],
}

impl Memo {
    /// Says nothing.
    pub const NONE: Self = Self {
        code: 0,
        reference: [0; 16],
    };

    /// Whether it says nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// One step of a batch.
///
/// Ids are chosen by the caller and share one space: an id names one operation for ever. Asking
/// again for the same thing under the same id gives the first receipt again, so a caller that lost
/// an answer repeats its request without moving money twice.
#[non_exhaustive]
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Operation {
    /// Opens an account. The account's id is the id of the operation.
    Open {
        /// The new account.
        account: AccountId,
        /// The one asset it will hold.
        asset: AssetId,
        /// What it may do.
        kind: AccountKind,
    },
    /// Moves an amount at once. From an issuer it mints, to an issuer it burns.
    Transfer {
        /// Names the operation.
        id: TransferId,
        /// Gives.
        from: AccountId,
        /// Receives.
        to: AccountId,
        /// Base units, above zero.
        amount: Amount,
        /// What it is for.
        #[serde(default)]
        memo: Memo,
    },
    /// Holds an amount back for a later [`Operation::Post`] or [`Operation::Void`].
    Reserve {
        /// Names the operation and the reservation.
        id: TransferId,
        /// Will give.
        from: AccountId,
        /// Will receive.
        to: AccountId,
        /// Base units, above zero.
        amount: Amount,
        /// From this time on the reservation can only be released.
        expires: Option<UnixMillis>,
        /// What it is for.
        #[serde(default)]
        memo: Memo,
    },
    /// Moves a reserved amount, or part of it; what is left is released.
    Post {
        /// Names the operation.
        id: TransferId,
        /// The reservation it closes.
        reservation: TransferId,
        /// Base units, above zero and at most what is reserved. `None` is all of it.
        amount: Option<Amount>,
    },
    /// Releases a reservation without moving anything.
    Void {
        /// Names the operation.
        id: TransferId,
        /// The reservation it closes.
        reservation: TransferId,
    },
    /// Sets all limits of an account anew. With [`Operation::Open`] in one batch, the account never
    /// exists without them.
    Limit {
        /// Names the operation.
        id: TransferId,
        /// The account.
        account: AccountId,
        /// Its limits from now on. Limits on supply are for issuers only.
        limits: Limits,
    },
    /// Closes an account for good. A holder must be empty, and nothing may be reserved from or for
    /// the account.
    Close {
        /// Names the operation.
        id: TransferId,
        /// The account.
        account: AccountId,
    },
    /// Registers whose signatures move an account's money ([`crate::SignedBatch`]), in place of an
    /// earlier key. What an account was signed for before stays refused as a replay.
    /// Once governance is established, an earlier key is replaced by a signature under it alone.
    Own {
        /// Names the operation.
        id: TransferId,
        /// The account.
        account: AccountId,
        /// The owner's Ed25519 key.
        key: PublicKey,
    },
    /// Asks something of the economy, and makes the movements that follow from it: a stake, a
    /// reward, a fee, a parameter.
    Economy {
        /// Names the operation.
        id: TransferId,
        /// What is asked.
        request: Box<Request>,
    },
}

impl Operation {
    /// The operation's own id; an account is opened under the account's.
    #[must_use]
    pub const fn id(&self) -> Option<TransferId> {
        match *self {
            Self::Open { .. } => None,
            Self::Transfer { id, .. }
            | Self::Reserve { id, .. }
            | Self::Post { id, .. }
            | Self::Void { id, .. }
            | Self::Limit { id, .. }
            | Self::Close { id, .. }
            | Self::Own { id, .. }
            | Self::Economy { id, .. } => Some(id),
        }
    }
}

/// Where a reservation is in its life. Every state but the first is final.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum ReservationState {
    /// The amount is held back.
    Open,
    /// It was moved, whole or in part.
    Posted,
    /// It was released on request.
    Voided,
    /// It was released because its time had come.
    Expired,
}

/// An amount held back on one account for another.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Reservation {
    /// The id of the [`Operation::Reserve`] that made it.
    pub id: TransferId,
    /// Will give.
    pub from: AccountId,
    /// Will receive.
    pub to: AccountId,
    /// Base units held back while it is open.
    pub amount: Amount,
    /// From this time on it can only be released.
    pub expires: Option<UnixMillis>,
    /// Where it is in its life.
    pub state: ReservationState,
}

impl Reservation {
    /// The reservation that an entry made, in a state of its life.
    pub(crate) const fn of(kind: &EntryKind, state: ReservationState) -> Option<Self> {
        match *kind {
            EntryKind::Reserved {
                id,
                from,
                to,
                amount,
                expires,
                ..
            } => Some(Self {
                id,
                from,
                to,
                amount,
                expires,
                state,
            }),
            _ => None,
        }
    }

    /// Whether its time has come. It stays open until somebody commits [`crate::State::expire`].
    #[must_use]
    pub fn is_due(&self, now: UnixMillis) -> bool {
        self.state == ReservationState::Open && self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What became of one operation of a batch.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Receipt {
    /// The entry in the history that the operation made, now or when it was first asked for.
    pub entry: Entry,
    /// The operation was done before: nothing moved this time.
    pub replayed: bool,
}
