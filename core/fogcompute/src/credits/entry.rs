//! Entries of the history, flat.

use fogcompute_base::{AccountId, Digest, TransferId, UnixMillis};
use fogcompute_ledger::{AccountKind, Amount, AssetId, Entry, EntryKind, Limits, Memo, PublicKey};

/// One line of a ledger's history, flat, so that every language can have it as one record. What an
/// entry of its kind does not say is `None`, or zero.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LedgerEntry {
    /// Place in the history, from 1 without gaps.
    pub sequence: u64,
    /// The host's wall time when it was made.
    pub time: UnixMillis,
    /// What happened, in one word that never changes: `opened`, `transferred`, `reserved`,
    /// `posted`, `voided`, `expired`, `limited`, `closed`, `owned`, `signed`, `economy`, `matured`,
    /// `moved`. There may be more later.
    pub kind: &'static str,
    /// Digest of this entry and of the whole history up to it.
    pub chain: Digest,
    /// The operation that made it, if that had an id of its own.
    pub id: Option<TransferId>,
    /// The reservation that it closed.
    pub reservation: Option<TransferId>,
    /// The account, of what is about one only.
    pub account: Option<AccountId>,
    /// The account that gives, or would have.
    pub from: Option<AccountId>,
    /// The account that receives, or would have.
    pub to: Option<AccountId>,
    /// Base units that moved, or that a reservation holds back.
    pub amount: Amount,
    /// Base units that were reserved and are free again.
    pub released: Amount,
    /// What a transfer or a reservation was for.
    pub memo: Memo,
    /// When a reservation expires.
    pub expires: Option<UnixMillis>,
    /// What an account was opened for.
    pub opened: Option<(AssetId, AccountKind)>,
    /// An account's new limits.
    pub limits: Option<Limits>,
    /// An account's new key.
    pub key: Option<PublicKey>,
    /// Number of a signature, and the digest of what was signed.
    pub signature: Option<(u64, Digest)>,
    /// Sequence of the entry of the economy that a movement follows from.
    pub cause: Option<u64>,
    /// What happened in the economy, as JSON: `fogcompute_ledger::economy::Event`, or an event of
    /// staking for what matured.
    pub event: Option<String>,
}

impl From<&Entry> for LedgerEntry {
    fn from(entry: &Entry) -> Self {
        let kind = &entry.kind;
        let parties = kind.parties();
        let mut flat = Self {
            sequence: entry.sequence,
            time: entry.time,
            kind: kind.name(),
            chain: entry.chain,
            id: kind.id(),
            reservation: kind.reservation(),
            account: kind.account(),
            from: parties.map(|(from, _)| from),
            to: parties.map(|(_, to)| to),
            amount: kind.moved(),
            released: Amount::ZERO,
            memo: kind.memo(),
            expires: None,
            opened: None,
            limits: None,
            key: None,
            signature: None,
            cause: None,
            event: kind.event_json(),
        };
        match kind {
            EntryKind::Opened { asset, kind, .. } => flat.opened = Some((*asset, *kind)),
            EntryKind::Reserved {
                amount, expires, ..
            } => {
                flat.amount = *amount;
                flat.expires = *expires;
            }
            EntryKind::Posted { released, .. }
            | EntryKind::Voided { released, .. }
            | EntryKind::Expired { released, .. } => flat.released = *released,
            EntryKind::Limited { limits, .. } => flat.limits = Some(*limits),
            EntryKind::Owned { key, .. } => flat.key = Some(*key),
            EntryKind::Signed { nonce, digest, .. } => flat.signature = Some((*nonce, *digest)),
            EntryKind::Moved { cause, .. } => flat.cause = Some(*cause),
            _ => {}
        }
        flat
    }
}
