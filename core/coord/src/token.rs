//! Who may ask what of a coordinator.
//!
//! The owner of a fog issues a [`Token`]: which key may ask for what, on whose account, up to which
//! limits, until when. Whoever holds that key signs each [`Call`]; the coordinator's [`Gate`] lets it
//! through once. Neither needs a password or a session, and a token is worth nothing without its
//! key.
//!
//! ```
//! use ed25519_dalek::SigningKey;
//! use fogcompute_base::{AccountId, NodeId, UnixMillis};
//! use fogcompute_coord::token::{Action, Actions, Call, Gate, GateConfig, Grant, Need, Token};
//! use fogcompute_ledger::{Amount, PublicKey};
//!
//! let (owner, submitter) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
//! let coordinator = NodeId::from_bytes([3; 32]);
//! let token = Token::issue(
//!     Grant {
//!         submitter: PublicKey::of(&submitter),
//!         account: AccountId::from_bytes([4; 16]),
//!         actions: Actions::of(&[Action::Submit, Action::Query]),
//!         tasks_max: 100,
//!         spend_max: Amount::from_credits(5),
//!         not_before: UnixMillis(0),
//!         expires: UnixMillis(1_000_000),
//!         nonce: [5; 16],
//!     },
//!     &owner,
//! );
//!
//! let now = UnixMillis(500_000);
//! let call = Call::sign(token, coordinator, Action::Submit, b"job", [6; 16], now, &submitter);
//! let mut gate = Gate::new(GateConfig::new(coordinator, [PublicKey::of(&owner)]));
//! let need = Need { tasks: 1, spend: Amount::from_credits(1) };
//! let pass = gate.admit(&Call::decode(&call.encode())?, b"job", need, now)?;
//! assert_eq!(pass.account, AccountId::from_bytes([4; 16]));
//! // The same call again is a replay.
//! assert!(gate.admit(&call, b"job", need, now).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{AccountId, Digest, NodeId, UnixMillis};
use fogcompute_ledger::{Amount, PublicKey};
use thiserror::Error;

/// Most calls a gate can be told to remember.
pub const CALLS_MAX: usize = 1_000_000;

/// Most tokens a gate can be told to keep count of.
pub const TOKENS_MAX: usize = 100_000;

/// What somebody may be permitted.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Action {
    /// Submit jobs.
    Submit = 0,
    /// Cancel jobs of the account.
    Cancel = 1,
    /// See jobs of the account.
    Query = 2,
    /// Let nodes finish and leave.
    Drain = 3,
    /// Take nodes out for maintenance, and back.
    Maintain = 4,
}

impl Action {
    /// All of them, by code.
    pub const ALL: [Self; 5] = [
        Self::Submit,
        Self::Cancel,
        Self::Query,
        Self::Drain,
        Self::Maintain,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Cancel => "cancel",
            Self::Query => "query",
            Self::Drain => "drain",
            Self::Maintain => "maintain",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u8
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of [`Action`]s.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Actions(u16);

impl Actions {
    /// A set of these.
    #[must_use]
    pub fn of(actions: &[Action]) -> Self {
        Self(actions.iter().fold(0, |bits, action| bits | action.bit()))
    }

    /// Whether one of them is this.
    #[must_use]
    pub const fn contain(self, action: Action) -> bool {
        self.0 & action.bit() != 0
    }
}

/// What a [`Token`] grants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grant {
    /// The key that may ask. It signs every call.
    pub submitter: PublicKey,
    /// On whose account.
    pub account: AccountId,
    /// For what.
    pub actions: Actions,
    /// Most tasks that may be submitted with the token, over its life.
    pub tasks_max: u64,
    /// Most that may be reserved for them, over its life.
    pub spend_max: Amount,
    /// From when on it is valid.
    pub not_before: UnixMillis,
    /// From when on it no longer is.
    pub expires: UnixMillis,
    /// Tells tokens apart that grant the same; random.
    pub nonce: [u8; 16],
}

/// A grant with the signature of who issued it.
///
/// The signature is Ed25519 (RFC 8032) over the text `fogcompute 2026-11-22 coord token v1`, one zero
/// byte, and the digest: BLAKE3 `derive_key` with that text as its context over the encoding without
/// the signature:
///
/// | bytes | item |
/// |---|---|
/// | 1 | version, 1 |
/// | 32 | key of the issuer |
/// | 32 | key of the submitter |
/// | 16 | account |
/// | 2 | actions, one bit for each code from the lowest on: submit, cancel, query, drain, maintain |
/// | 8 | most tasks, `u64` |
/// | 16 | most spend, base units, `u128` |
/// | 8 | not before, Unix milliseconds, `u64` |
/// | 8 | expires, Unix milliseconds, `u64` |
/// | 16 | nonce |
/// | 64 | signature |
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Token {
    /// Who issued it.
    pub issuer: PublicKey,
    /// What it grants.
    pub grant: Grant,
    /// The signature.
    pub signature: [u8; 64],
}

const VERSION: u8 = 1;

fn unknown(at: usize, value: u64) -> DecodeError {
    DecodeError::Unknown { at, value }
}

fn version(reader: &mut Reader<'_>) -> Result<(), DecodeError> {
    let at = reader.position();
    match reader.u8()? {
        VERSION => Ok(()),
        other => Err(unknown(at, other.into())),
    }
}

fn message(context: &str, digest: Digest) -> Vec<u8> {
    [context.as_bytes(), &[0], digest.as_bytes()].concat()
}

/// Strict: keys of small order and signatures with more than one encoding are refused.
fn is_signed(key: &PublicKey, context: &str, digest: Digest, signature: &[u8; 64]) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(key.as_bytes()) else {
        return false;
    };
    let signature = Signature::from_bytes(signature);
    key.verify_strict(&message(context, digest), &signature)
        .is_ok()
}

impl Token {
    /// Length of its bytes.
    pub const LEN: usize = 1 + 32 + 32 + 16 + 2 + 8 + 16 + 8 + 8 + 16 + 64;

    const CONTEXT: &str = "fogcompute 2026-11-22 coord token v1";

    /// Signs a grant.
    #[must_use]
    pub fn issue(grant: Grant, issuer: &SigningKey) -> Self {
        let mut token = Self {
            issuer: PublicKey::of(issuer),
            grant,
            signature: [0; 64],
        };
        let signature = issuer.sign(&message(Self::CONTEXT, token.digest()));
        token.signature = signature.to_bytes();
        token
    }

    /// What the signature is about, which names the token.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::derive(Self::CONTEXT, &self.unsigned())
    }

    /// Whether the issuer it names signed it.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        is_signed(&self.issuer, Self::CONTEXT, self.digest(), &self.signature)
    }

    fn unsigned(&self) -> Vec<u8> {
        let mut out = Writer::new();
        let grant = &self.grant;
        out.u8(VERSION);
        out.raw(self.issuer.as_bytes());
        out.raw(grant.submitter.as_bytes());
        out.raw(grant.account.as_bytes());
        out.u16(grant.actions.0);
        out.u64(grant.tasks_max);
        out.u128(grant.spend_max.0);
        out.u64(grant.not_before.0);
        out.u64(grant.expires.0);
        out.raw(&grant.nonce);
        out.finish()
    }

    /// The token as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (unsigned, signature) = bytes.split_at_mut(Self::LEN - 64);
        unsigned.copy_from_slice(&self.unsigned());
        signature.copy_from_slice(&self.signature);
        bytes
    }

    /// Reads a token; its signature is checked by the [`Gate`].
    ///
    /// # Errors
    /// Any [`DecodeError`]; foreign bytes cannot do worse.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let token = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(token)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        version(reader)?;
        let issuer = PublicKey::from_bytes(reader.array()?);
        let submitter = PublicKey::from_bytes(reader.array()?);
        let account = AccountId::from_bytes(reader.array()?);
        let (at, actions) = (reader.position(), reader.u16()?);
        if actions & !Actions::of(&Action::ALL).0 != 0 {
            return Err(unknown(at, actions.into()));
        }
        Ok(Self {
            issuer,
            grant: Grant {
                submitter,
                account,
                actions: Actions(actions),
                tasks_max: reader.u64()?,
                spend_max: Amount(reader.u128()?),
                not_before: UnixMillis(reader.u64()?),
                expires: UnixMillis(reader.u64()?),
                nonce: reader.array()?,
            },
            signature: reader.array()?,
        })
    }
}

/// One request to one coordinator, signed by the key that a token names.
///
/// The signature is made as that of a [`Token`], with the text
/// `fogcompute 2026-11-22 coord call v1`, over:
///
/// | bytes | item |
/// |---|---|
/// | 1 | version, 1 |
/// | 203 | the token |
/// | 32 | the coordinator |
/// | 1 | code of the action |
/// | 32 | BLAKE3 `derive_key` of the body, with the context `fogcompute 2026-11-22 coord body v1` |
/// | 16 | nonce |
/// | 8 | when it was signed, Unix milliseconds, `u64` |
/// | 64 | signature |
///
/// The body travels beside it: a job, or the id of one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Call {
    /// What permits it.
    pub token: Token,
    /// Whom it asks.
    pub coordinator: NodeId,
    /// For what.
    pub action: Action,
    /// Digest of what exactly.
    pub body: Digest,
    /// Tells it from others of the same submitter; random.
    pub nonce: [u8; 16],
    /// When it was signed.
    pub at: UnixMillis,
    /// The signature.
    pub signature: [u8; 64],
}

impl Call {
    /// Length of its bytes.
    pub const LEN: usize = 1 + Token::LEN + 32 + 1 + 32 + 16 + 8 + 64;

    const CONTEXT: &str = "fogcompute 2026-11-22 coord call v1";
    const BODY: &str = "fogcompute 2026-11-22 coord body v1";

    /// Signs a request with the submitter's key.
    #[must_use]
    pub fn sign(
        token: Token,
        coordinator: NodeId,
        action: Action,
        body: &[u8],
        nonce: [u8; 16],
        at: UnixMillis,
        submitter: &SigningKey,
    ) -> Self {
        let mut call = Self {
            token,
            coordinator,
            action,
            body: Digest::derive(Self::BODY, body),
            nonce,
            at,
            signature: [0; 64],
        };
        let signature = submitter.sign(&message(Self::CONTEXT, call.digest()));
        call.signature = signature.to_bytes();
        call
    }

    /// What the signature is about.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::derive(Self::CONTEXT, &self.unsigned())
    }

    /// Whether the submitter that the token names signed it, with this body.
    #[must_use]
    pub fn is_signed(&self, body: &[u8]) -> bool {
        let key = &self.token.grant.submitter;
        self.body == Digest::derive(Self::BODY, body)
            && is_signed(key, Self::CONTEXT, self.digest(), &self.signature)
    }

    fn unsigned(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u8(VERSION);
        out.raw(&self.token.encode());
        out.raw(self.coordinator.as_bytes());
        out.u8(self.action as u8);
        out.raw(self.body.as_bytes());
        out.raw(&self.nonce);
        out.u64(self.at.0);
        out.finish()
    }

    /// The call as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (unsigned, signature) = bytes.split_at_mut(Self::LEN - 64);
        unsigned.copy_from_slice(&self.unsigned());
        signature.copy_from_slice(&self.signature);
        bytes
    }

    /// Reads a call; its signatures are checked by the [`Gate`].
    ///
    /// # Errors
    /// Any [`DecodeError`]; foreign bytes cannot do worse.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let token = Token::read(&mut reader)?;
        let coordinator = NodeId::from_bytes(reader.array()?);
        let (at, code) = (reader.position(), reader.u8()?);
        let action = Action::ALL.get(usize::from(code)).copied();
        let call = Self {
            token,
            coordinator,
            action: action.ok_or_else(|| unknown(at, code.into()))?,
            body: Digest::from_bytes(reader.array()?),
            nonce: reader.array()?,
            at: UnixMillis(reader.u64()?),
            signature: reader.array()?,
        };
        reader.finish()?;
        Ok(call)
    }
}

/// Why a call is not let through.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TokenError {
    /// It is for another coordinator.
    #[error("call is for coordinator {}", coordinator.short())]
    Elsewhere {
        /// For which.
        coordinator: NodeId,
    },
    /// Nobody who may issue tokens here issued the token.
    #[error("token is issued by {issuer}, who may not")]
    UnknownIssuer {
        /// Who did.
        issuer: PublicKey,
    },
    /// The token is not valid yet.
    #[error("token is valid from {not_before}, and it is {now}")]
    NotYetValid {
        /// From when on it is.
        not_before: UnixMillis,
        /// The coordinator's time.
        now: UnixMillis,
    },
    /// The token is no longer valid. Ask its issuer for another.
    #[error("token expired {expires}, and it is {now}")]
    Expired {
        /// Since when.
        expires: UnixMillis,
        /// The coordinator's time.
        now: UnixMillis,
    },
    /// The token does not permit that.
    #[error("token does not permit to {action}")]
    NotPermitted {
        /// What was asked for.
        action: Action,
    },
    /// The call was signed too long ago, or in the future: look at the clocks, and sign it again.
    #[error("call was signed {at}, and it is {now}")]
    Stale {
        /// When it says it was.
        at: UnixMillis,
        /// The coordinator's time.
        now: UnixMillis,
    },
    /// The issuer did not sign the token.
    #[error("signature of the token is forged")]
    ForgedToken,
    /// The submitter did not sign the call, or not with this body.
    #[error("signature of the call is forged, or its body was changed")]
    ForgedCall,
    /// The call was let through before.
    #[error("call was made before")]
    Replayed,
    /// The token's tasks are used up.
    #[error("{asked} tasks are asked for, and {used} of {max} are used")]
    TasksExceeded {
        /// Tasks of this call.
        asked: u64,
        /// Tasks submitted with the token before.
        used: u64,
        /// Most tasks of the token.
        max: u64,
    },
    /// What may be spent with the token is used up.
    #[error(
        "up to {} credits are asked for, and {} of the token's {} were set aside before; each task counts \
         with its price, also what was given back of it",
        asked.to_credits_string(), used.to_credits_string(), max.to_credits_string()
    )]
    SpendExceeded {
        /// Base units of this call.
        asked: Amount,
        /// Base units reserved with the token before.
        used: Amount,
        /// Most base units of the token.
        max: Amount,
    },
    /// The submitter made too many calls within a short time. Try again later.
    #[error("submitter has made {limit} calls, no more are remembered")]
    TooManyCalls {
        /// The limit.
        limit: usize,
    },
    /// The gate can remember no more, and a call that is not remembered could be replayed. Try
    /// again later.
    #[error("gate remembers its limit of {limit} calls or tokens")]
    Full {
        /// The limit.
        limit: usize,
    },
}

/// Names a call for as long as it could be replayed.
type CallId = (PublicKey, [u8; 16]);

/// Remembers which calls were made, until they are too old to be made again.
///
/// When it is full it refuses rather than forgetting, and one submitter can fill no more than his
/// part of it. Of what it has forgotten it keeps the latest time, so that a clock which is set back
/// does not make old calls fresh.
///
/// Memory: some 200 bytes a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Replays {
    limits: ReplayLimits,
    /// Until when each is remembered.
    calls: BTreeMap<CallId, UnixMillis>,
    /// The same, the next to be forgotten first.
    order: BTreeSet<(UnixMillis, CallId)>,
    submitters: BTreeMap<PublicKey, usize>,
    /// The latest end among the calls that were forgotten.
    forgotten: UnixMillis,
}

/// How much [`Replays`] remember.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReplayLimits {
    /// Calls, at most [`CALLS_MAX`].
    pub calls_max: usize,
    /// Calls of one submitter.
    pub calls_per_submitter_max: usize,
}

impl Default for ReplayLimits {
    /// 100,000, of which one submitter may make a tenth.
    fn default() -> Self {
        Self {
            calls_max: 100_000,
            calls_per_submitter_max: 10_000,
        }
    }
}

/// Why a call is not remembered.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ReplayError {
    /// It was made before.
    #[error("call was made before")]
    Replayed,
    /// It would have been forgotten already, so nobody can tell whether it was made before.
    #[error("calls up to {forgotten} are forgotten")]
    Forgotten {
        /// The latest end among the calls that were forgotten.
        forgotten: UnixMillis,
    },
    /// Its submitter has made as many calls as may be remembered.
    #[error("submitter has made {limit} calls, no more are remembered")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// No more calls can be remembered.
    #[error("{limit} calls are remembered, no more can be")]
    Full {
        /// The limit.
        limit: usize,
    },
}

impl Replays {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(limits: ReplayLimits) -> Self {
        Self {
            limits: ReplayLimits {
                calls_max: limits.calls_max.min(CALLS_MAX),
                ..limits
            },
            calls: BTreeMap::new(),
            order: BTreeSet::new(),
            submitters: BTreeMap::new(),
            forgotten: UnixMillis(0),
        }
    }

    /// Calls that are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Whether a call that ends at `until` could be remembered.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn check(
        &self,
        submitter: PublicKey,
        nonce: [u8; 16],
        until: UnixMillis,
    ) -> Result<(), ReplayError> {
        if self.calls.contains_key(&(submitter, nonce)) {
            return Err(ReplayError::Replayed);
        }
        if until <= self.forgotten {
            return Err(ReplayError::Forgotten {
                forgotten: self.forgotten,
            });
        }
        let limit = self.limits.calls_per_submitter_max;
        if self.submitters.get(&submitter).copied().unwrap_or(0) >= limit {
            return Err(ReplayError::TooMany { limit });
        }
        let limit = self.limits.calls_max;
        if self.calls.len() >= limit {
            return Err(ReplayError::Full { limit });
        }
        Ok(())
    }

    /// Remembers a call until `until`.
    ///
    /// # Errors
    /// [`ReplayError`].
    pub fn remember(
        &mut self,
        submitter: PublicKey,
        nonce: [u8; 16],
        until: UnixMillis,
    ) -> Result<(), ReplayError> {
        self.check(submitter, nonce, until)?;
        self.insert((submitter, nonce), until);
        Ok(())
    }

    /// Whether the call was not there.
    fn insert(&mut self, call: CallId, until: UnixMillis) -> bool {
        if until <= self.forgotten || self.calls.contains_key(&call) {
            return false;
        }
        self.calls.insert(call, until);
        self.order.insert((until, call));
        *self.submitters.entry(call.0).or_default() += 1;
        true
    }

    /// Forgets all calls that ended before `now`.
    pub fn forget(&mut self, now: UnixMillis) {
        while let Some((until, call)) = self.order.first().copied().filter(|it| it.0 < now) {
            self.order.pop_first();
            self.calls.remove(&call);
            if let Some(count) = self.submitters.get_mut(&call.0) {
                *count -= 1;
                if *count == 0 {
                    self.submitters.remove(&call.0);
                }
            }
            self.forgotten = self.forgotten.max(until);
        }
    }

    /// What is remembered, for [`Replays::decode`]:
    ///
    /// | bytes | item |
    /// |---|---|
    /// | 1 | version, 1 |
    /// | 8 | the latest end that is forgotten, Unix milliseconds, `u64` |
    /// | 4 | number of calls, `u32` |
    /// | 56 each | key of the submitter, nonce, end; ascending by the first two |
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.finish()
    }

    fn write(&self, out: &mut Writer) {
        out.u8(VERSION);
        out.u64(self.forgotten.0);
        out.u32(as_count(self.calls.len()));
        for ((submitter, nonce), until) in &self.calls {
            out.raw(submitter.as_bytes());
            out.raw(nonce);
            out.u64(until.0);
        }
    }

    /// Reads what [`Replays::encode`] wrote. Limits are those of today: what is remembered beyond
    /// them is kept until it ends.
    ///
    /// # Errors
    /// Any [`DecodeError`].
    pub fn decode(bytes: &[u8], limits: ReplayLimits) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let replays = Self::read(&mut reader, limits)?;
        reader.finish()?;
        Ok(replays)
    }

    fn read(reader: &mut Reader<'_>, limits: ReplayLimits) -> Result<Self, DecodeError> {
        version(reader)?;
        let mut replays = Self::new(limits);
        replays.forgotten = UnixMillis(reader.u64()?);
        let mut last = None;
        for _ in 0..count(reader, CALLS_MAX)? {
            let at = reader.position();
            let call = (PublicKey::from_bytes(reader.array()?), reader.array()?);
            // One encoding: in order, nothing twice, and nothing that should have been forgotten.
            if last.replace(call).is_some_and(|last| last >= call) {
                return Err(unknown(at, call.0.as_bytes()[0].into()));
            }
            let (at, until) = (reader.position(), UnixMillis(reader.u64()?));
            if !replays.insert(call, until) {
                return Err(unknown(at, until.0));
            }
        }
        Ok(replays)
    }
}

/// Limits are far below what does not fit.
fn as_count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn count(reader: &mut Reader<'_>, limit: usize) -> Result<usize, DecodeError> {
    let actual = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
    if actual > limit {
        return Err(DecodeError::TooLong { actual, limit });
    }
    Ok(actual)
}

/// What a call takes of its token's limits.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Need {
    /// Tasks it submits.
    pub tasks: u64,
    /// What is reserved for them.
    pub spend: Amount,
}

impl Need {
    /// Of calls that submit nothing.
    pub const NOTHING: Self = Self {
        tasks: 0,
        spend: Amount::ZERO,
    };

    const fn is_nothing(&self) -> bool {
        self.tasks == 0 && self.spend.is_zero()
    }
}

/// A call that was let through. Who keeps it, and gives it back to [`Gate::apply`] after a restart,
/// keeps the call from being made again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pass {
    /// On whose account it is.
    pub account: AccountId,
    /// Who made it.
    pub submitter: PublicKey,
    /// Its nonce.
    pub nonce: [u8; 16],
    /// Until when it is remembered.
    pub until: UnixMillis,
    /// Digest of its token.
    pub token: Digest,
    /// When that expires.
    pub expires: UnixMillis,
    /// What it takes of the token's limits.
    pub need: Need,
}

/// How a [`Gate`] decides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GateConfig {
    /// Which coordinator it stands before.
    pub coordinator: NodeId,
    /// Who may issue tokens.
    pub issuers: BTreeSet<PublicKey>,
    /// How far the time of a call may be from now, either way: clocks differ, and it travels.
    pub age_max: Duration,
    /// How many calls are remembered.
    pub replays: ReplayLimits,
    /// How many tokens are kept count of, at most [`TOKENS_MAX`].
    pub tokens_max: usize,
}

impl GateConfig {
    /// A gate before a coordinator, for tokens of these issuers: calls of the last and the next two
    /// minutes, 10,000 tokens.
    #[must_use]
    pub fn new(coordinator: NodeId, issuers: impl IntoIterator<Item = PublicKey>) -> Self {
        Self {
            coordinator,
            issuers: issuers.into_iter().collect(),
            age_max: Duration::from_secs(120),
            replays: ReplayLimits::default(),
            tokens_max: 10_000,
        }
    }
}

/// What was used of a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Used {
    expires: UnixMillis,
    need: Need,
}

/// Lets calls through that a token permits, each once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Gate {
    config: GateConfig,
    replays: Replays,
    used: BTreeMap<Digest, Used>,
    /// The next token to be forgotten first.
    order: BTreeSet<(UnixMillis, Digest)>,
    /// The latest expiry among the tokens that were forgotten.
    forgotten: UnixMillis,
}

impl Gate {
    /// A gate that has let nothing through.
    #[must_use]
    pub fn new(config: GateConfig) -> Self {
        Self {
            replays: Replays::new(config.replays),
            config,
            used: BTreeMap::new(),
            order: BTreeSet::new(),
            forgotten: UnixMillis(0),
        }
    }

    /// Lets a call through, and remembers it.
    ///
    /// `need` is what the body asks for, as its reader found it.
    ///
    /// # Errors
    /// [`TokenError`]; then nothing is remembered.
    pub fn admit(
        &mut self,
        call: &Call,
        body: &[u8],
        need: Need,
        now: UnixMillis,
    ) -> Result<Pass, TokenError> {
        self.forget(now);
        let pass = self.check(call, body, need, now)?;
        self.apply(&pass);
        Ok(pass)
    }

    /// Whether it would let a call through.
    fn check(
        &self,
        call: &Call,
        body: &[u8],
        need: Need,
        now: UnixMillis,
    ) -> Result<Pass, TokenError> {
        let (token, grant) = (&call.token, &call.token.grant);
        let (coordinator, issuer, action) = (call.coordinator, token.issuer, call.action);
        if coordinator != self.config.coordinator {
            return Err(TokenError::Elsewhere { coordinator });
        }
        if !self.config.issuers.contains(&issuer) {
            return Err(TokenError::UnknownIssuer { issuer });
        }
        let (not_before, expires) = (grant.not_before, grant.expires);
        if now < not_before {
            return Err(TokenError::NotYetValid { not_before, now });
        }
        // What was used of a token that is forgotten is not known, whatever the clock says now.
        if now >= expires || expires <= self.forgotten {
            return Err(TokenError::Expired { expires, now });
        }
        if !grant.actions.contain(action) {
            return Err(TokenError::NotPermitted { action });
        }
        let age_max = u64::try_from(self.config.age_max.as_millis()).unwrap_or(u64::MAX);
        let (at, until) = (call.at, UnixMillis(call.at.0.saturating_add(age_max)));
        if at.0.abs_diff(now.0) > age_max {
            return Err(TokenError::Stale { at, now });
        }
        // Nothing of what follows is told to whoever cannot sign.
        if !token.is_signed() {
            return Err(TokenError::ForgedToken);
        }
        if !call.is_signed(body) {
            return Err(TokenError::ForgedCall);
        }
        let remembered = self.replays.check(grant.submitter, call.nonce, until);
        remembered.map_err(|error| match error {
            ReplayError::Replayed => TokenError::Replayed,
            ReplayError::Forgotten { .. } => TokenError::Stale { at, now },
            ReplayError::TooMany { limit } => TokenError::TooManyCalls { limit },
            ReplayError::Full { limit } => TokenError::Full { limit },
        })?;
        let digest = token.digest();
        self.check_limits(grant, digest, need)?;
        Ok(Pass {
            account: grant.account,
            submitter: grant.submitter,
            nonce: call.nonce,
            until,
            token: digest,
            expires,
            need,
        })
    }

    fn check_limits(&self, grant: &Grant, token: Digest, need: Need) -> Result<(), TokenError> {
        let used = self.used(token);
        if need.tasks > grant.tasks_max.saturating_sub(used.tasks) {
            return Err(TokenError::TasksExceeded {
                asked: need.tasks,
                used: used.tasks,
                max: grant.tasks_max,
            });
        }
        let left = grant.spend_max.checked_sub(used.spend);
        if need.spend > left.unwrap_or(Amount::ZERO) {
            return Err(TokenError::SpendExceeded {
                asked: need.spend,
                used: used.spend,
                max: grant.spend_max,
            });
        }
        let limit = self.config.tokens_max.min(TOKENS_MAX);
        let is_new = !need.is_nothing() && !self.used.contains_key(&token);
        if is_new && self.used.len() >= limit {
            return Err(TokenError::Full { limit });
        }
        Ok(())
    }

    /// What was used of a token's limits, named by its digest.
    #[must_use]
    pub fn used(&self, token: Digest) -> Need {
        self.used
            .get(&token)
            .map_or(Need::NOTHING, |used| used.need)
    }

    /// Calls that are remembered.
    #[must_use]
    pub const fn replays(&self) -> &Replays {
        &self.replays
    }

    /// Remembers a call that was let through before: after a restart. One that is remembered
    /// already changes nothing, and one that has been forgotten stays so. No limit applies.
    pub fn apply(&mut self, pass: &Pass) {
        if !(self.replays).insert((pass.submitter, pass.nonce), pass.until) {
            return;
        }
        if pass.need.is_nothing() || pass.expires <= self.forgotten {
            return;
        }
        let used = self.used.entry(pass.token).or_insert(Used {
            expires: pass.expires,
            need: Need::NOTHING,
        });
        used.need.tasks = used.need.tasks.saturating_add(pass.need.tasks);
        let spend = used.need.spend.checked_add(pass.need.spend);
        used.need.spend = spend.unwrap_or(Amount::MAX);
        self.order.insert((pass.expires, pass.token));
    }

    /// Gives back what a call took of its token's limits: it was let through and came to nothing, as
    /// when the account has too little. The call itself stays used. Once for each pass.
    pub fn give_back(&mut self, pass: &Pass) {
        if let Some(used) = self.used.get_mut(&pass.token) {
            used.need.tasks = used.need.tasks.saturating_sub(pass.need.tasks);
            let spend = used.need.spend.checked_sub(pass.need.spend);
            used.need.spend = spend.unwrap_or(Amount::ZERO);
        }
    }

    /// Forgets calls and tokens whose time is over.
    pub fn forget(&mut self, now: UnixMillis) {
        self.replays.forget(now);
        while let Some((expires, token)) = self.order.first().copied().filter(|it| it.0 <= now) {
            self.order.pop_first();
            self.used.remove(&token);
            self.forgotten = self.forgotten.max(expires);
        }
    }

    /// All that it remembers, for [`Gate::decode`]:
    ///
    /// | bytes | item |
    /// |---|---|
    /// | … | calls, as [`Replays::encode`] |
    /// | 8 | the latest expiry that is forgotten, Unix milliseconds, `u64` |
    /// | 4 | number of tokens, `u32` |
    /// | 64 each | digest, expiry, tasks `u64`, spend `u128`; ascending by digest |
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.replays.write(&mut out);
        out.u64(self.forgotten.0);
        out.u32(as_count(self.used.len()));
        for (token, used) in &self.used {
            out.raw(token.as_bytes());
            out.u64(used.expires.0);
            out.u64(used.need.tasks);
            out.u128(used.need.spend.0);
        }
        out.finish()
    }

    /// A gate that remembers what [`Gate::encode`] wrote.
    ///
    /// # Errors
    /// Any [`DecodeError`].
    pub fn decode(bytes: &[u8], config: GateConfig) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let mut gate = Self::new(config);
        gate.replays = Replays::read(&mut reader, gate.config.replays)?;
        gate.forgotten = UnixMillis(reader.u64()?);
        let mut last = None;
        for _ in 0..count(&mut reader, TOKENS_MAX)? {
            let at = reader.position();
            let token = Digest::from_bytes(reader.array()?);
            if last.replace(token).is_some_and(|last| last >= token) {
                return Err(unknown(at, token.as_bytes()[0].into()));
            }
            let (at, expires) = (reader.position(), UnixMillis(reader.u64()?));
            if expires <= gate.forgotten {
                return Err(unknown(at, expires.0));
            }
            let need = Need {
                tasks: reader.u64()?,
                spend: Amount(reader.u128()?),
            };
            gate.used.insert(token, Used { expires, need });
            gate.order.insert((expires, token));
        }
        reader.finish()?;
        Ok(gate)
    }
}

impl Pass {
    /// Length of its bytes.
    pub const LEN: usize = 1 + 16 + 32 + 16 + 8 + 32 + 8 + 8 + 16;

    /// The pass as bytes: version 1, then the fields in their order.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = Writer::new();
        out.u8(VERSION);
        out.raw(self.account.as_bytes());
        out.raw(self.submitter.as_bytes());
        out.raw(&self.nonce);
        out.u64(self.until.0);
        out.raw(self.token.as_bytes());
        out.u64(self.expires.0);
        out.u64(self.need.tasks);
        out.u128(self.need.spend.0);
        let mut bytes = [0; Self::LEN];
        bytes.copy_from_slice(&out.finish());
        bytes
    }

    /// Reads what [`Pass::encode`] wrote.
    ///
    /// # Errors
    /// Any [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let pass = Self {
            account: AccountId::from_bytes(reader.array()?),
            submitter: PublicKey::from_bytes(reader.array()?),
            nonce: reader.array()?,
            until: UnixMillis(reader.u64()?),
            token: Digest::from_bytes(reader.array()?),
            expires: UnixMillis(reader.u64()?),
            need: Need {
                tasks: reader.u64()?,
                spend: Amount(reader.u128()?),
            },
        };
        reader.finish()?;
        Ok(pass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: NodeId = NodeId::from_bytes([7; 32]);
    const NOW: UnixMillis = UnixMillis(1_000_000_000);
    const BODY: &[u8] = b"job";

    fn key(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32])
    }

    const OWNER: u8 = 1;
    const ANA: u8 = 2;
    const BEN: u8 = 3;

    fn later(seconds: u64) -> UnixMillis {
        UnixMillis(NOW.0 + 1_000 * seconds)
    }

    fn grant(submitter: u8) -> Grant {
        Grant {
            submitter: PublicKey::of(&key(submitter)),
            account: AccountId::from_bytes([submitter; 16]),
            actions: Actions::of(&[Action::Submit, Action::Query]),
            tasks_max: 10,
            spend_max: Amount(100),
            not_before: NOW,
            expires: later(3_600),
            nonce: [0; 16],
        }
    }

    fn token(submitter: u8) -> Token {
        Token::issue(grant(submitter), &key(OWNER))
    }

    fn call(submitter: u8, number: u8, at: UnixMillis) -> Call {
        let nonce = [number; 16];
        Call::sign(
            token(submitter),
            HERE,
            Action::Submit,
            BODY,
            nonce,
            at,
            &key(submitter),
        )
    }

    fn gate() -> Gate {
        Gate::new(GateConfig::new(HERE, [PublicKey::of(&key(OWNER))]))
    }

    fn need(tasks: u64, spend: u128) -> Need {
        Need {
            tasks,
            spend: Amount(spend),
        }
    }

    #[track_caller]
    fn refuses(gate: &mut Gate, call: &Call, now: UnixMillis, error: TokenError) {
        let before = gate.clone();
        assert_eq!(gate.admit(call, BODY, need(1, 1), now), Err(error));
        assert_eq!(*gate, before);
    }

    #[test]
    fn a_call_is_let_through_once() {
        let mut gate = gate();
        let call = call(ANA, 1, NOW);
        let pass = gate.admit(&call, BODY, need(2, 30), NOW).unwrap();
        assert_eq!(pass.account, AccountId::from_bytes([ANA; 16]));
        assert_eq!(pass.submitter, PublicKey::of(&key(ANA)));
        assert_eq!(gate.used(call.token.digest()), need(2, 30));
        refuses(&mut gate, &call, NOW, TokenError::Replayed);
        // To the end of its time, and then it is too old.
        refuses(&mut gate, &call, later(120), TokenError::Replayed);
        let now = UnixMillis(later(120).0 + 1);
        let stale = TokenError::Stale { at: NOW, now };
        assert_eq!(gate.admit(&call, BODY, need(1, 1), now), Err(stale));
        assert!(gate.replays().is_empty());
    }

    #[test]
    fn calls_without_a_right_are_told_apart() {
        let mut gate = gate();
        let sound = call(ANA, 1, NOW);
        let with = |grant: Grant| {
            let token = Token::issue(grant, &key(OWNER));
            let action = Action::Submit;
            Call::sign(token, HERE, action, BODY, [1; 16], NOW, &key(ANA))
        };
        let stranger = Token::issue(grant(ANA), &key(BEN));
        let call = Call::sign(
            stranger,
            HERE,
            Action::Submit,
            BODY,
            [1; 16],
            NOW,
            &key(ANA),
        );
        let issuer = PublicKey::of(&key(BEN));
        refuses(&mut gate, &call, NOW, TokenError::UnknownIssuer { issuer });

        let not_before = later(1);
        let early = with(Grant {
            not_before,
            ..grant(ANA)
        });
        let error = TokenError::NotYetValid {
            not_before,
            now: NOW,
        };
        refuses(&mut gate, &early, NOW, error);

        let expired = with(Grant {
            expires: NOW,
            ..grant(ANA)
        });
        let error = TokenError::Expired {
            expires: NOW,
            now: NOW,
        };
        refuses(&mut gate, &expired, NOW, error);

        for action in [Action::Cancel, Action::Drain, Action::Maintain] {
            let call = Call::sign(token(ANA), HERE, action, BODY, [1; 16], NOW, &key(ANA));
            refuses(&mut gate, &call, NOW, TokenError::NotPermitted { action });
        }

        let there = NodeId::from_bytes([8; 32]);
        let call = Call::sign(
            token(ANA),
            there,
            Action::Submit,
            BODY,
            [1; 16],
            NOW,
            &key(ANA),
        );
        let error = TokenError::Elsewhere { coordinator: there };
        refuses(&mut gate, &call, NOW, error);
        assert!(gate.admit(&sound, BODY, need(1, 1), NOW).is_ok());
    }

    #[test]
    fn clocks_may_differ_by_two_minutes() {
        for (at, now) in [(NOW, later(120)), (later(120), NOW)] {
            let call = call(ANA, 1, at);
            assert!(gate().admit(&call, BODY, Need::NOTHING, now).is_ok());
        }
        let late = UnixMillis(later(120).0 + 1);
        for (at, now) in [(NOW, late), (late, NOW), (UnixMillis(u64::MAX), NOW)] {
            let error = TokenError::Stale { at, now };
            refuses(&mut gate(), &call(ANA, 1, at), now, error);
        }
    }

    #[test]
    fn forgeries_are_found() {
        let mut gate = gate();
        let sound = call(ANA, 1, NOW);
        // More than was granted.
        let mut richer = sound;
        richer.token.grant.spend_max = Amount(1_000);
        refuses(&mut gate, &richer, NOW, TokenError::ForgedToken);
        // Somebody else's token.
        let stolen = Call::sign(
            token(ANA),
            HERE,
            Action::Submit,
            BODY,
            [1; 16],
            NOW,
            &key(BEN),
        );
        refuses(&mut gate, &stolen, NOW, TokenError::ForgedCall);
        // A call made anew from an old one.
        let again = Call {
            nonce: [2; 16],
            ..sound
        };
        refuses(&mut gate, &again, NOW, TokenError::ForgedCall);
        let other = Call {
            action: Action::Query,
            ..sound
        };
        refuses(&mut gate, &other, NOW, TokenError::ForgedCall);
        // Another body.
        let before = gate.clone();
        let changed = gate.admit(&sound, b"another job", need(1, 1), NOW);
        assert_eq!((changed, gate), (Err(TokenError::ForgedCall), before));
    }

    #[test]
    fn a_signature_for_one_purpose_is_worth_nothing_for_another() {
        let token = token(ANA);
        assert!(token.is_signed());
        let elsewhere = key(OWNER).sign(&message(Call::CONTEXT, token.digest()));
        let token = Token {
            signature: elsewhere.to_bytes(),
            ..token
        };
        assert!(!token.is_signed());
        // The neutral point as a key, for which anybody can sign.
        let mut weak = [0; 32];
        weak[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        let token = Token {
            issuer: PublicKey::from_bytes(weak),
            signature,
            ..token
        };
        assert!(!token.is_signed());
    }

    #[test]
    fn limits_hold_over_the_life_of_a_token() {
        let mut gate = gate();
        gate.admit(&call(ANA, 1, NOW), BODY, need(6, 60), NOW)
            .unwrap();
        let tasks = TokenError::TasksExceeded {
            asked: 5,
            used: 6,
            max: 10,
        };
        let second = call(ANA, 2, NOW);
        assert_eq!(gate.admit(&second, BODY, need(5, 1), NOW), Err(tasks));
        let spend = TokenError::SpendExceeded {
            asked: Amount(41),
            used: Amount(60),
            max: Amount(100),
        };
        assert_eq!(gate.admit(&second, BODY, need(1, 41), NOW), Err(spend));
        let pass = gate.admit(&second, BODY, need(4, 40), NOW).unwrap();
        // Whoever submits nothing may go on.
        let query = call(ANA, 3, NOW);
        gate.admit(&query, BODY, Need::NOTHING, NOW).unwrap();
        let third = call(ANA, 4, NOW);
        assert!(gate.admit(&third, BODY, need(1, 0), NOW).is_err());
        gate.give_back(&pass);
        assert_eq!(gate.used(third.token.digest()), need(6, 60));
        gate.admit(&third, BODY, need(1, 1), NOW).unwrap();
        // Absurd needs are over the limit, and not wrapped.
        let fourth = call(ANA, 5, NOW);
        for need in [need(u64::MAX, 0), need(0, u128::MAX)] {
            assert!(gate.admit(&fourth, BODY, need, NOW).is_err());
        }
        // Ben's are his own.
        gate.admit(&call(BEN, 1, NOW), BODY, need(10, 100), NOW)
            .unwrap();
    }

    #[test]
    fn a_full_memory_refuses_rather_than_forgets() {
        let limits = ReplayLimits {
            calls_max: 3,
            calls_per_submitter_max: 2,
        };
        let mut gate = Gate::new(GateConfig {
            replays: limits,
            ..gate().config
        });
        for number in 0..2 {
            let call = call(ANA, number, NOW);
            gate.admit(&call, BODY, Need::NOTHING, NOW).unwrap();
        }
        let busy = TokenError::TooManyCalls { limit: 2 };
        refuses(&mut gate, &call(ANA, 3, NOW), NOW, busy);
        gate.admit(&call(BEN, 0, NOW), BODY, Need::NOTHING, NOW)
            .unwrap();
        let full = TokenError::Full { limit: 3 };
        refuses(&mut gate, &call(BEN, 1, NOW), NOW, full);
        refuses(&mut gate, &call(ANA, 0, NOW), NOW, TokenError::Replayed);
        // Time makes room.
        let now = later(121);
        gate.admit(&call(ANA, 0, now), BODY, Need::NOTHING, now)
            .unwrap();
        assert_eq!(gate.replays().len(), 1);
    }

    #[test]
    fn tokens_are_counted_up_to_a_limit() {
        let mut gate = Gate::new(GateConfig {
            tokens_max: 1,
            ..gate().config
        });
        gate.admit(&call(ANA, 1, NOW), BODY, need(1, 1), NOW)
            .unwrap();
        refuses(
            &mut gate,
            &call(BEN, 1, NOW),
            NOW,
            TokenError::Full { limit: 1 },
        );
        gate.admit(&call(BEN, 1, NOW), BODY, Need::NOTHING, NOW)
            .unwrap();
        gate.admit(&call(ANA, 2, NOW), BODY, need(1, 1), NOW)
            .unwrap();
    }

    #[test]
    fn a_clock_that_jumps_makes_no_old_call_fresh() {
        let mut gate = gate();
        let old = call(ANA, 1, NOW);
        gate.admit(&old, BODY, need(10, 100), NOW).unwrap();
        // The coordinator's clock jumps ahead, so that everything is forgotten, and back.
        gate.forget(later(7_200));
        assert!(gate.replays().is_empty());
        let stale = TokenError::Stale { at: NOW, now: NOW };
        let expired = TokenError::Expired {
            expires: later(3_600),
            now: NOW,
        };
        refuses(&mut gate, &old, NOW, expired);
        // Nor with another token of the same submitter: the call is signed with its token.
        let query = Token::issue(
            Grant {
                expires: later(99_999),
                ..grant(ANA)
            },
            &key(OWNER),
        );
        let action = Action::Query;
        let forgotten = Call::sign(query, HERE, action, BODY, [1; 16], NOW, &key(ANA));
        refuses(&mut gate, &forgotten, NOW, stale);
        // And two minutes later nothing is left of the jump.
        let fresh = UnixMillis(NOW.0 + 1);
        let call = Call::sign(query, HERE, action, BODY, [1; 16], fresh, &key(ANA));
        gate.admit(&call, BODY, Need::NOTHING, NOW).unwrap();
    }

    #[test]
    fn what_is_remembered_survives_a_restart() {
        let mut before = gate();
        let calls: Vec<_> = (0..4).map(|number| call(ANA, number, NOW)).collect();
        let mut passes = Vec::new();
        for call in &calls[..2] {
            passes.push(before.admit(call, BODY, need(2, 5), NOW).unwrap());
        }
        let saved = before.encode();
        for call in &calls[2..] {
            passes.push(before.admit(call, BODY, need(1, 7), NOW).unwrap());
        }
        // From what was saved, and the passes since then; or all of them, as it is told twice.
        let mut after = Gate::decode(&saved, before.config.clone()).unwrap();
        let mut anew = gate();
        for pass in &passes {
            let pass = Pass::decode(&pass.encode()).unwrap();
            after.apply(&pass);
            anew.apply(&pass);
            anew.apply(&pass);
        }
        assert_eq!(after, before);
        assert_eq!(anew, before);
        for call in &calls {
            refuses(&mut after, call, NOW, TokenError::Replayed);
        }
        let bytes = before.replays().encode();
        let replays = Replays::decode(&bytes, ReplayLimits::default()).unwrap();
        assert_eq!(&replays, before.replays());
        // Smaller limits after a restart forget nothing.
        let small = GateConfig {
            replays: ReplayLimits {
                calls_max: 1,
                calls_per_submitter_max: 1,
            },
            ..before.config.clone()
        };
        let mut after = Gate::decode(&before.encode(), small).unwrap();
        for call in &calls {
            refuses(&mut after, call, NOW, TokenError::Replayed);
        }
    }

    #[test]
    fn saved_states_have_one_encoding() {
        let mut gate = gate();
        for submitter in [ANA, BEN] {
            for number in 0..2 {
                let call = call(submitter, number, NOW);
                gate.admit(&call, BODY, need(1, 1), NOW).unwrap();
            }
        }
        let sound = gate.encode();
        let decode = |bytes: &[u8]| Gate::decode(bytes, gate.config.clone());
        assert_eq!(decode(&sound).unwrap(), gate);
        let calls_at = 1 + 8 + 4;
        let mut swapped = sound.clone();
        swapped[calls_at..calls_at + 112].rotate_left(56);
        assert!(decode(&swapped).is_err());
        let mut over = sound.clone();
        // The end of the first call is before what is forgotten.
        over[1..9].copy_from_slice(&u64::MAX.to_be_bytes());
        assert!(decode(&over).is_err());
        let mut many = sound.clone();
        many[9..13].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(
            decode(&many),
            Err(DecodeError::TooLong {
                actual: 0xffff_ffff,
                limit: CALLS_MAX
            })
        );
        for end in 0..sound.len() {
            assert!(decode(&sound[..end]).is_err());
        }
    }

    #[test]
    fn unknown_rights_are_refused() {
        let sound = token(ANA).encode();
        let actions = 1 + 32 + 32 + 16;
        assert_eq!(sound[actions..actions + 2], [0, 0b101]);
        let mut more = sound;
        more[actions + 1] = 0b10_0101;
        assert_eq!(
            Token::decode(&more),
            Err(DecodeError::Unknown {
                at: actions,
                value: 0b10_0101
            })
        );
        for (action, name) in Action::ALL
            .into_iter()
            .zip(["submit", "cancel", "query", "drain", "maintain"])
        {
            assert_eq!(action.to_string(), name);
            assert!(Actions::of(&[action]).contain(action));
            assert!(!Actions::default().contain(action));
        }
    }

    #[test]
    fn signatures_are_those_of_another_ed25519() {
        // Made from the tables above with BLAKE3 and Ed25519 written in Python from their papers (which
        // pass RFC 8032 §7.1 and the published digest of nothing).
        let hex = |bytes: &[u8]| -> String { bytes.iter().map(|it| format!("{it:02x}")).collect() };
        let call = call(ANA, 9, NOW);
        assert_eq!(
            hex(&call.token.signature),
            concat!(
                "08a0fb47e80422c8aa11d550af5ae91fa1e7cf505c1b1045a7f33891489d41dc",
                "4a5ee094b8a43fdcbba26f4feee054d5296b3dc166fc5075b95dd2929e53fc07",
            )
        );
        assert_eq!(
            hex(&call.signature),
            concat!(
                "043b49b0bdd133ceb2ed48c1dfb251ad85464ff30a0aa61d353df16e3c8c4575",
                "200a134299cc9bacfeb47b9ec1253389d5e4cd1463e5a3f57d88208e2f5cf905",
            )
        );
    }

    proptest! {
        /// Whatever is changed in a call, it is not let through.
        #[test]
        fn changed_calls_are_refused(
            position in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
            cut in any::<prop::sample::Index>(),
        ) {
            let sound = call(ANA, 1, NOW).encode();
            prop_assert!(Call::decode(&sound[..cut.index(sound.len())]).is_err());
            let mut bytes = sound;
            bytes[position.index(sound.len())] ^= flip;
            if let Ok(call) = Call::decode(&bytes) {
                prop_assert_eq!(call.encode(), bytes);
                prop_assert!(gate().admit(&call, BODY, need(1, 1), NOW).is_err());
            }
        }

        #[test]
        fn foreign_bytes_are_refused_or_the_only_encoding(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..400),
            length in 0..4_usize,
        ) {
            let lengths = [bytes.len(), Token::LEN, Call::LEN, Pass::LEN];
            bytes.resize(lengths[length], 0);
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            if let Ok(token) = Token::decode(&bytes) {
                prop_assert_eq!(&token.encode()[..], &bytes[..]);
            }
            if let Ok(call) = Call::decode(&bytes) {
                prop_assert_eq!(&call.encode()[..], &bytes[..]);
            }
            if let Ok(pass) = Pass::decode(&bytes) {
                prop_assert_eq!(&pass.encode()[..], &bytes[..]);
            }
            if let Ok(gate) = Gate::decode(&bytes, gate().config) {
                prop_assert_eq!(&gate.encode()[..], &bytes[..]);
            }
        }

        /// Whatever is asked for, given back and saved in between: what passes are out never exceeds
        /// their token's limits, and the gate knows how much it is.
        #[test]
        fn limits_are_never_exceeded(
            steps in proptest::collection::vec(
                (ANA..=BEN, 0..9_u8, 0..8_u64, 0..60_u128, any::<prop::sample::Index>()), 0..30,
            ),
        ) {
            let mut gate = gate();
            let mut out: Vec<Pass> = Vec::new();
            for (submitter, number, tasks, spend, index) in steps {
                if number == 8 && !out.is_empty() {
                    gate.give_back(&out.swap_remove(index.index(out.len())));
                } else if number == 7 {
                    gate = Gate::decode(&gate.encode(), gate.config.clone()).unwrap();
                } else {
                    let call = call(submitter, number, NOW);
                    out.extend(gate.admit(&call, BODY, need(tasks, spend), NOW));
                }
                for submitter in [ANA, BEN] {
                    let account = grant(submitter).account;
                    let mine = || out.iter().filter(|pass| pass.account == account);
                    let tasks: u64 = mine().map(|pass| pass.need.tasks).sum();
                    let spend: u128 = mine().map(|pass| pass.need.spend.0).sum();
                    prop_assert!(tasks <= 10 && spend <= 100);
                    prop_assert_eq!(gate.used(token(submitter).digest()), need(tasks, spend));
                }
            }
        }

        /// Against a memory that forgets nothing: no call is remembered twice, at whatever times
        /// the clock shows, and limits hold.
        #[test]
        fn no_call_is_remembered_twice(
            steps in proptest::collection::vec((1..3_u8, 0..6_u8, 0..40_u64, 0..40_u64), 0..120),
        ) {
            let limits = ReplayLimits { calls_max: 6, calls_per_submitter_max: 4 };
            let mut replays = Replays::new(limits);
            let mut all = BTreeSet::new();
            for (submitter, nonce, until, now) in steps {
                replays.forget(UnixMillis(now));
                let call = (PublicKey::from_bytes([submitter; 32]), [nonce; 16]);
                // A call names its own end: who signs it fixes its time.
                let until = UnixMillis(until);
                if replays.remember(call.0, call.1, until).is_ok() {
                    prop_assert!(all.insert((call, until)));
                }
                prop_assert!(replays.len() <= 6);
                prop_assert!(replays.submitters.values().all(|count| (1..=4).contains(count)));
                prop_assert_eq!(replays.submitters.values().sum::<usize>(), replays.len());
                prop_assert_eq!(replays.order.len(), replays.len());
                let again = Replays::decode(&replays.encode(), limits);
                prop_assert_eq!(again.as_ref(), Ok(&replays));
            }
        }
    }
}
