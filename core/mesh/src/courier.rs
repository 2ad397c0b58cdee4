//! Messages that others carry to a peer who is not there.

mod choice;
mod prophet;
mod told;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fogcompute_base::wire::{Reader, Writer};
use fogcompute_base::{CryptoRng, Instant, UnixMillis};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::identity::{Identity, NoiseKey};
use crate::noise::{NoiseError, open_sealed, seal_to};
use crate::packet::{PeerId, SIGNATURE_BYTES};
use crate::tlv::{FormatError, array, fields16, once, put16, required};

pub use choice::{CourierStrategy, Division, Knowledge};
pub use prophet::{PREDICTIONS_MAX, Predictability, Predictions, ProphetConfig};
pub use told::{CARRIED_MAX, CourierNews, SHORT_ID_BYTES, Told};

/// Longest sealed message, in bytes.
pub const SEALED_BYTES_MAX: usize = 16_384;
/// Copies that a sender gives out.
pub const COPIES: u8 = 4;
/// Most copies of an envelope that are believed.
pub const COPIES_MAX: u8 = 8;
/// How long an envelope is carried.
pub const LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How much longer than that an envelope may claim to live: clocks differ.
const LIFETIME_SLACK: Duration = Duration::from_secs(3600);
/// Most keys of a bundle.
pub const PREKEYS_MAX: usize = 8;
/// How long a key is kept after it was used: the same message may come over another courier.
const USED_PREKEY_KEPT: Duration = Duration::from_secs(48 * 3600);

/// Couriers of one envelope that are remembered.
const HOLDERS_MAX: usize = 64;
/// Envelopes that are not carried any more and are remembered.
const HAD_MAX: usize = 256;

const TAG_DOMAIN: &[u8] = b"bitchat-courier-tag-v1";
const SEAL_PROLOGUE: &[u8] = b"bitchat-courier-v1";
const PREKEY_PROLOGUE: &[u8] = b"bitchat-prekey-v1";
const BUNDLE_DOMAIN: &[u8] = b"bitchat-prekey-bundle-v1";
const DAY_MS: u64 = 86_400_000;

/// What tells a peer, and nobody who does not know its key, that an envelope is for it: another one each day.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CourierTag(pub [u8; 16]);

impl CourierTag {
    /// The tag of a peer on a day, counted from 1970 in UTC.
    #[must_use]
    pub fn new(recipient: NoiseKey, day: u32) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(recipient.as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(TAG_DOMAIN);
        mac.update(&day.to_be_bytes());
        let mac: [u8; 32] = mac.finalize().into_bytes().into();
        let [first, ..] = mac.as_chunks::<16>().0 else {
            unreachable!("the code has 32 bytes");
        };
        Self(*first)
    }

    /// Whether it is the tag of a peer today, yesterday or tomorrow.
    #[must_use]
    pub fn is_for(&self, recipient: NoiseKey, unix: UnixMillis) -> bool {
        let today = day(unix);
        [today.saturating_sub(1), today, today.saturating_add(1)]
            .into_iter()
            .any(|day| *self == Self::new(recipient, day))
    }
}

/// Days since 1970, in UTC.
#[must_use]
pub fn day(unix: UnixMillis) -> u32 {
    u32::try_from(unix.0 / DAY_MS).unwrap_or(u32::MAX)
}

/// A sealed message on its way.
///
/// | tag | content |
/// |---|---|
/// | 01 | whom it is for: a [`CourierTag`] of 16 bytes |
/// | 02 | until when it is carried, `u64` in ms |
/// | 03 | the sealed message, 1 to 16,384 bytes |
/// | 04 | copies, 1 byte; missing if it is one |
/// | 05 | one-time key it is sealed to, `u32`; missing if it is the recipient's own key |
///
/// Each field is its tag, its length as `u16`, and the content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Envelope {
    /// Whom it is for.
    pub tag: CourierTag,
    /// Until when it is carried.
    pub expiry: UnixMillis,
    /// The message, for the recipient's eyes only.
    pub sealed: Vec<u8>,
    /// To how many more couriers it may be given, with this one.
    pub copies: u8,
    /// The one-time key it is sealed to, if it is.
    pub prekey: Option<u32>,
}

impl Envelope {
    /// Seals a plaintext of a session to somebody's own key.
    ///
    /// # Errors
    /// [`NoiseError::UnsoundKey`], [`NoiseError::TooLong`].
    pub fn seal(
        sender: &Identity,
        recipient: NoiseKey,
        plaintext: &[u8],
        unix: UnixMillis,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, NoiseError> {
        let sealed = seal_to(sender, recipient, SEAL_PROLOGUE, plaintext, rng)?;
        Self::of(recipient, sealed, None, unix)
    }

    /// Seals a plaintext to a one-time key of a bundle: who takes the recipient's device later cannot open
    /// it.
    ///
    /// # Errors
    /// [`NoiseError::UnsoundKey`], [`NoiseError::TooLong`].
    pub fn seal_to_prekey(
        sender: &Identity,
        recipient: NoiseKey,
        prekey: &Prekey,
        plaintext: &[u8],
        unix: UnixMillis,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, NoiseError> {
        let prologue = prekey_prologue(prekey.id);
        let sealed = seal_to(sender, prekey.key, &prologue, plaintext, rng)?;
        Self::of(recipient, sealed, Some(prekey.id), unix)
    }

    fn of(
        recipient: NoiseKey,
        sealed: Vec<u8>,
        prekey: Option<u32>,
        unix: UnixMillis,
    ) -> Result<Self, NoiseError> {
        if sealed.len() > SEALED_BYTES_MAX {
            return Err(NoiseError::TooLong {
                actual: sealed.len(),
            });
        }
        Ok(Self {
            tag: CourierTag::new(recipient, day(unix)),
            expiry: after(unix, LIFETIME),
            sealed,
            copies: COPIES,
            prekey,
        })
    }

    /// Opens an envelope that is for this peer and sealed to its own key; gives the sender and the plaintext.
    ///
    /// # Errors
    /// [`NoiseError::Opaque`], [`NoiseError::UnsoundKey`].
    pub fn open(&self, recipient: &Identity) -> Result<(NoiseKey, Vec<u8>), NoiseError> {
        open_sealed(recipient.noise_secret(), SEAL_PROLOGUE, &self.sealed)
    }

    /// Whether it lives, and not longer than any envelope does.
    #[must_use]
    pub fn is_alive(&self, unix: UnixMillis) -> bool {
        let latest = after(unix, LIFETIME + LIFETIME_SLACK);
        self.expiry > unix && self.expiry <= latest
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut tag_field, mut expiry, mut sealed) = (None, None, None);
        let (mut copies, mut prekey) = (None, None);
        let mut fields = fields16(bytes);
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                1 => once(&mut tag_field, tag, CourierTag(array(tag, value)?))?,
                2 => once(
                    &mut expiry,
                    tag,
                    UnixMillis(u64::from_be_bytes(array(tag, value)?)),
                )?,
                3 => {
                    if value.is_empty() || value.len() > SEALED_BYTES_MAX {
                        return Err(FormatError::Length {
                            tag,
                            actual: value.len(),
                        });
                    }
                    once(&mut sealed, tag, value.to_vec())?;
                }
                4 => {
                    let [count] = array(tag, value)?;
                    if count == 0 {
                        return Err(FormatError::Value { tag });
                    }
                    once(&mut copies, tag, count.min(COPIES_MAX))?;
                }
                5 => once(&mut prekey, tag, u32::from_be_bytes(array(tag, value)?))?,
                _ => {}
            }
        }
        Ok(Self {
            tag: required(tag_field, 1)?,
            expiry: required(expiry, 2)?,
            sealed: required(sealed, 3)?,
            copies: copies.unwrap_or(1),
            prekey,
        })
    }

    /// The payload.
    ///
    /// # Errors
    /// [`FormatError::Length`] if what is sealed is too long.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        if self.sealed.is_empty() || self.sealed.len() > SEALED_BYTES_MAX {
            return Err(FormatError::Length {
                tag: 3,
                actual: self.sealed.len(),
            });
        }
        let mut out = Vec::new();
        put16(&mut out, 1, &self.tag.0)?;
        put16(&mut out, 2, &self.expiry.0.to_be_bytes())?;
        put16(&mut out, 3, &self.sealed)?;
        if self.copies > 1 {
            put16(&mut out, 4, &[self.copies])?;
        }
        if let Some(prekey) = self.prekey {
            put16(&mut out, 5, &prekey.to_be_bytes())?;
        }
        Ok(out)
    }

    /// What tells it from other envelopes: the sealed message, whoever carries how many copies.
    #[must_use]
    pub fn digest(&self) -> EnvelopeId {
        EnvelopeId(Sha256::digest(&self.sealed).into())
    }
}

fn after(unix: UnixMillis, duration: Duration) -> UnixMillis {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    UnixMillis(unix.0.saturating_add(ms))
}

fn prekey_prologue(id: u32) -> Vec<u8> {
    [PREKEY_PROLOGUE, &id.to_be_bytes()].concat()
}

/// The SHA-256 of a sealed message.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct EnvelopeId(pub [u8; 32]);

impl EnvelopeId {
    /// Its first bytes, which couriers tell each other.
    #[must_use]
    pub fn short(&self) -> [u8; SHORT_ID_BYTES] {
        let [first, ..] = self.0.as_chunks().0 else {
            unreachable!("the digest has 32 bytes");
        };
        *first
    }
}

/// How well the depositor of an envelope is known to who carries it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Standing {
    /// Its announce was verified, no more.
    Stranger,
    /// Both are favourites of each other.
    Favourite,
}

/// Limits of what is carried for others.
#[derive(Clone, Copy, Debug)]
pub struct CourierConfig {
    /// Most envelopes.
    pub envelopes_max: usize,
    /// Most envelopes of strangers.
    pub strangers_max: usize,
    /// Most envelopes of one favourite.
    pub per_favourite: usize,
    /// Most envelopes of one stranger.
    pub per_stranger: usize,
    /// How often an envelope is sent towards a recipient who was heard of and has no link here.
    pub remote_interval: Duration,
    /// Who is given what is carried.
    pub strategy: CourierStrategy,
}

impl Default for CourierConfig {
    fn default() -> Self {
        Self {
            envelopes_max: 40,
            strangers_max: 20,
            per_favourite: 5,
            per_stranger: 2,
            remote_interval: Duration::from_secs(600),
            strategy: CourierStrategy::default(),
        }
    }
}

/// What became of a deposit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Deposit {
    /// It is carried.
    Accepted,
    /// It was there already.
    Known,
    /// The depositor has as many here as it may, or all room is taken by others who go before.
    Full,
    /// It has expired, or claims to live too long.
    Expired,
}

struct Carried {
    envelope: Envelope,
    depositor: PeerId,
    standing: Standing,
    /// When it came, in the order of deposits.
    number: u64,
    sprayed: bool,
    remote_after: Instant,
    /// Couriers that were given it.
    holders: BTreeSet<PeerId>,
    /// To how many others it was given.
    forwards: u8,
    /// Whom it is for, once somebody was heard of whose tag it has.
    recipient: Option<NoiseKey>,
}

impl Carried {
    fn remember_holder(&mut self, courier: PeerId) {
        if self.holders.len() >= HOLDERS_MAX && !self.holders.contains(&courier) {
            self.holders.pop_first();
        }
        self.holders.insert(courier);
    }
}

/// Envelopes that are carried for others.
pub struct CourierBag {
    config: CourierConfig,
    envelopes: BTreeMap<EnvelopeId, Carried>,
    deposits: u64,
    /// What was passed on whole, the oldest first: it is not taken again.
    had: VecDeque<EnvelopeId>,
}

impl CourierBag {
    /// Envelopes that were ever taken.
    pub(crate) const fn deposits(&self) -> u64 {
        self.deposits
    }

    /// An empty one.
    #[must_use]
    pub const fn new(config: CourierConfig) -> Self {
        Self {
            config,
            envelopes: BTreeMap::new(),
            deposits: 0,
            had: VecDeque::new(),
        }
    }

    /// Envelopes that are carried.
    #[must_use]
    pub fn len(&self) -> usize {
        self.envelopes.len()
    }

    /// Whether nothing is carried.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.envelopes.is_empty()
    }

    /// Takes an envelope from who deposits it. A stranger's never takes a favourite's place.
    pub fn deposit(
        &mut self,
        envelope: Envelope,
        depositor: PeerId,
        standing: Standing,
        unix: UnixMillis,
    ) -> Deposit {
        self.expire(unix);
        if !envelope.is_alive(unix) {
            return Deposit::Expired;
        }
        let id = envelope.digest();
        if let Some(carried) = self.envelopes.get_mut(&id) {
            // Once copies were given away, a higher number would make more of them than there ever were.
            if !carried.sprayed {
                carried.envelope.copies = carried.envelope.copies.max(envelope.copies);
            }
            carried.remember_holder(depositor);
            return Deposit::Known;
        }
        if self.had.contains(&id) {
            return Deposit::Known;
        }
        let (of_one, own_max) = match standing {
            Standing::Favourite => (self.config.per_favourite, self.config.envelopes_max),
            Standing::Stranger => (self.config.per_stranger, self.config.strangers_max),
        };
        let of_depositor = self
            .envelopes
            .values()
            .filter(|carried| carried.depositor == depositor)
            .count();
        if of_depositor >= of_one {
            return Deposit::Full;
        }
        let strangers = self.of_strangers().count();
        let tier_full = standing == Standing::Stranger && strangers >= own_max;
        if tier_full || self.envelopes.len() >= self.config.envelopes_max {
            let Some(oldest) = self.oldest_stranger() else {
                return Deposit::Full;
            };
            self.envelopes.remove(&oldest);
            // Else neighbours who have it would give it back, in the place of another one.
            self.remember(oldest);
        }
        self.deposits += 1;
        let carried = Carried {
            envelope,
            depositor,
            standing,
            number: self.deposits,
            sprayed: false,
            remote_after: Instant::ZERO,
            holders: BTreeSet::new(),
            forwards: 0,
            recipient: None,
        };
        self.envelopes.insert(id, carried);
        Deposit::Accepted
    }

    fn of_strangers(&self) -> impl Iterator<Item = (&EnvelopeId, &Carried)> {
        self.envelopes
            .iter()
            .filter(|(_, carried)| carried.standing == Standing::Stranger)
    }

    fn oldest_stranger(&self) -> Option<EnvelopeId> {
        self.of_strangers()
            .min_by_key(|(_, carried)| carried.number)
            .map(|(id, _)| *id)
    }

    /// Takes out what is for a peer who has a link here.
    pub fn hand_over(&mut self, recipient: NoiseKey, unix: UnixMillis) -> Vec<Envelope> {
        self.expire(unix);
        self.take_out(recipient, unix, |_| true)
    }

    fn take_out(
        &mut self,
        recipient: NoiseKey,
        unix: UnixMillis,
        is_wanted: impl Fn(&EnvelopeId) -> bool,
    ) -> Vec<Envelope> {
        let ids = self.for_recipient(recipient, unix);
        ids.into_iter()
            .filter(is_wanted)
            .filter_map(|id| {
                let envelope = self.envelopes.remove(&id)?.envelope;
                if self.config.strategy.asks() {
                    self.remember(id);
                }
                Some(envelope)
            })
            .collect()
    }

    /// An envelope is not taken any more: it was, or it was for here, or from here.
    pub(crate) fn remember(&mut self, id: EnvelopeId) {
        if self.had.contains(&id) {
            return;
        }
        if self.had.len() >= HAD_MAX {
            self.had.pop_front();
        }
        self.had.push_back(id);
    }

    /// Copies of what is for a peer who was heard of over others: at most once in
    /// [`CourierConfig::remote_interval`], and the envelopes stay.
    pub fn send_remote(
        &mut self,
        recipient: NoiseKey,
        now: Instant,
        unix: UnixMillis,
    ) -> Vec<Envelope> {
        self.expire(unix);
        let until = now + self.config.remote_interval;
        let ids = self.for_recipient(recipient, unix);
        ids.into_iter()
            .filter_map(|id| {
                let carried = self.envelopes.get_mut(&id)?;
                let due = carried.remote_after <= now;
                due.then(|| {
                    carried.remote_after = until;
                    carried.envelope.clone()
                })
            })
            .collect()
    }

    /// What a neighbour that can say what it wants is offered: what is for it, which it has the key to, and what it
    /// would be given to carry. `own` is what this courier knows of whom it meets, `told` what the other one said.
    /// What is for it and what it has is not carried any more.
    pub fn offers(
        &mut self,
        courier: PeerId,
        key: NoiseKey,
        own: Option<&Predictions>,
        told: &Told,
        unix: UnixMillis,
    ) -> Vec<EnvelopeId> {
        self.expire(unix);
        self.recognise_told(told);
        let mut offers = self.for_recipient(key, unix);
        let to_carry = self.envelopes.iter().filter(|(id, carried)| {
            !offers.contains(id)
                && self
                    .division(courier, id, carried, own, Some(told))
                    .is_some()
        });
        let to_carry: Vec<_> = to_carry.map(|(id, _)| *id).collect();
        offers.retain(|id| {
            let has = told.has(id);
            if has {
                self.envelopes.remove(id);
                self.remember(*id);
            }
            !has
        });
        offers.extend(to_carry);
        offers
    }

    /// What a neighbour is sent of what it wants, as far as it would still be offered that.
    pub fn give(
        &mut self,
        courier: PeerId,
        key: NoiseKey,
        wanted: &BTreeSet<[u8; SHORT_ID_BYTES]>,
        own: Option<&Predictions>,
        told: &Told,
        unix: UnixMillis,
    ) -> Vec<Envelope> {
        self.expire(unix);
        self.recognise_told(told);
        let is_wanted = |id: &EnvelopeId| wanted.contains(&id.short());
        let mut given = self.take_out(key, unix, is_wanted);
        given.extend(self.divide_with(courier, own, Some(told), is_wanted));
        given
    }

    /// Divides the copies of each envelope with another courier, as the strategy says: what to send it. Who has an
    /// envelope is not given it again, nor is who deposited it. `own` is what this courier knows of whom it meets,
    /// `told` what the other one said.
    pub fn share(
        &mut self,
        courier: PeerId,
        own: Option<&Predictions>,
        told: Option<&Told>,
        unix: UnixMillis,
    ) -> Vec<Envelope> {
        self.expire(unix);
        if let Some(told) = told {
            self.recognise_told(told);
        }
        self.divide_with(courier, own, told, |_| true)
    }

    fn recognise_told(&mut self, told: &Told) {
        if self.config.strategy.prophet().is_some() {
            let keys: Vec<_> = told.predictions.keys().copied().collect();
            self.recognise(&keys);
        }
    }

    /// How an envelope would be divided with a courier; `None` if that one is not given it.
    fn division(
        &self,
        courier: PeerId,
        id: &EnvelopeId,
        carried: &Carried,
        own: Option<&Predictions>,
        told: Option<&Told>,
    ) -> Option<Division> {
        if carried.depositor == courier
            || carried.holders.contains(&courier)
            || told.is_some_and(|told| told.has(id))
        {
            return None;
        }
        let here = match (own, carried.recipient) {
            (Some(own), Some(key)) => own.of(&key),
            _ => Predictability::ZERO,
        };
        let theirs = match told {
            Some(told) => {
                let says = |key| told.predictions.get(&key).copied();
                Knowledge::Says(carried.recipient.and_then(says).unwrap_or_default())
            }
            None => Knowledge::Unsaid,
        };
        let copies = carried.envelope.copies;
        let strategy = self.config.strategy;
        strategy.divide(copies, carried.forwards, here, theirs)
    }

    fn divide_with(
        &mut self,
        courier: PeerId,
        own: Option<&Predictions>,
        told: Option<&Told>,
        is_wanted: impl Fn(&EnvelopeId) -> bool,
    ) -> Vec<Envelope> {
        let divided = self.envelopes.iter().filter_map(|(id, carried)| {
            let division = self.division(courier, id, carried, own, told)?;
            is_wanted(id).then_some((*id, division))
        });
        let divided: Vec<_> = divided.collect();
        let mut shared = Vec::new();
        let mut passed_on = Vec::new();
        for (id, division) in divided {
            let Some(carried) = self.envelopes.get_mut(&id) else {
                continue;
            };
            carried.envelope.copies = division.kept;
            carried.sprayed = true;
            carried.forwards = carried.forwards.saturating_add(1);
            carried.remember_holder(courier);
            shared.push(Envelope {
                copies: division.given,
                ..carried.envelope.clone()
            });
            if division.kept == 0 {
                passed_on.push(id);
            }
        }
        for id in passed_on {
            self.envelopes.remove(&id);
            self.remember(id);
        }
        shared
    }

    /// Finds out for whom envelopes are, among those who have these keys. A tag is of the day on which an envelope
    /// was sealed, a day before it expires.
    pub fn recognise(&mut self, keys: &[NoiseKey]) {
        let sealed = |carried: &Carried| {
            let lifetime = u64::try_from(LIFETIME.as_millis()).unwrap_or(u64::MAX);
            day(UnixMillis(
                carried.envelope.expiry.0.saturating_sub(lifetime),
            ))
        };
        let unknown = |carried: &&Carried| carried.recipient.is_none();
        let days: BTreeSet<u32> = self
            .envelopes
            .values()
            .filter(unknown)
            .map(sealed)
            .collect();
        let tags: BTreeMap<CourierTag, NoiseKey> = days
            .into_iter()
            .flat_map(|day| {
                keys.iter()
                    .map(move |key| (CourierTag::new(*key, day), *key))
            })
            .collect();
        if tags.is_empty() {
            return;
        }
        for carried in self.envelopes.values_mut() {
            let found = tags.get(&carried.envelope.tag).copied();
            carried.recipient = carried.recipient.or(found);
        }
    }

    /// What another courier need not give: what is carried, and what was passed on lately.
    pub fn short_ids(&self) -> impl Iterator<Item = [u8; SHORT_ID_BYTES]> {
        let had = self.had.iter().rev();
        self.envelopes.keys().chain(had).map(EnvelopeId::short)
    }

    /// Drops what is out of time.
    pub fn expire(&mut self, unix: UnixMillis) {
        self.envelopes
            .retain(|_, carried| carried.envelope.expiry > unix);
    }

    /// What is carried, with who deposited it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Envelope, PeerId, Standing)> {
        self.envelopes
            .values()
            .map(|carried| (&carried.envelope, carried.depositor, carried.standing))
    }

    fn for_recipient(&self, recipient: NoiseKey, unix: UnixMillis) -> Vec<EnvelopeId> {
        let today = day(unix);
        let tags = [today.saturating_sub(1), today, today.saturating_add(1)]
            .map(|day| CourierTag::new(recipient, day));
        self.envelopes
            .iter()
            .filter(|(_, carried)| tags.contains(&carried.envelope.tag))
            .map(|(id, _)| *id)
            .collect()
    }
}

/// A one-time key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Prekey {
    /// Its number.
    pub id: u32,
    /// The public key.
    pub key: NoiseKey,
}

/// One-time keys of a peer, signed by it.
///
/// | tag | content |
/// |---|---|
/// | 01 | the peer's Noise key, 32 bytes |
/// | 02 | keys, at most 8: number `u32`, key 32 |
/// | 03 | when they were made, `u64` in ms |
/// | 04 | signature over: a byte for the length of `bitchat-prekey-bundle-v1` and that text, the Noise key, a byte for the number of keys, the keys, the time |
///
/// Each field is its tag, its length as `u16`, and the content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PrekeyBundle {
    /// Whose they are.
    pub owner: NoiseKey,
    /// The keys.
    pub keys: Vec<Prekey>,
    /// When they were made. Newer bundles replace older ones.
    pub generated: UnixMillis,
    /// By the owner's signing key.
    pub signature: [u8; SIGNATURE_BYTES],
}

impl PrekeyBundle {
    /// Reads a payload. Whose signature it has is for the caller to check:
    /// [`PrekeyBundle::preimage`].
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut owner, mut keys, mut generated, mut signature) = (None, None, None, None);
        let mut fields = fields16(bytes);
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                1 => once(&mut owner, tag, NoiseKey::from_bytes(array(tag, value)?))?,
                2 => once(&mut keys, tag, decode_prekeys(tag, value)?)?,
                3 => once(
                    &mut generated,
                    tag,
                    UnixMillis(u64::from_be_bytes(array(tag, value)?)),
                )?,
                4 => once(&mut signature, tag, array(tag, value)?)?,
                _ => {}
            }
        }
        Ok(Self {
            owner: required(owner, 1)?,
            keys: required(keys, 2)?,
            generated: required(generated, 3)?,
            signature: required(signature, 4)?,
        })
    }

    /// The payload.
    ///
    /// # Errors
    /// [`FormatError::TooLong`] if there are too many keys.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        if self.keys.len() > PREKEYS_MAX {
            return Err(FormatError::TooLong {
                actual: self.keys.len(),
                limit: PREKEYS_MAX,
            });
        }
        let mut out = Vec::new();
        put16(&mut out, 1, self.owner.as_bytes())?;
        put16(&mut out, 2, &self.entries())?;
        put16(&mut out, 3, &self.generated.0.to_be_bytes())?;
        put16(&mut out, 4, &self.signature)?;
        Ok(out)
    }

    /// What the owner signs.
    #[must_use]
    pub fn preimage(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(u8::try_from(BUNDLE_DOMAIN.len()).expect("the text is short"));
        writer.raw(BUNDLE_DOMAIN);
        writer.raw(self.owner.as_bytes());
        writer.u8(u8::try_from(self.keys.len()).unwrap_or(u8::MAX));
        writer.raw(&self.entries());
        writer.u64(self.generated.0);
        writer.finish()
    }

    fn entries(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        for prekey in &self.keys {
            writer.u32(prekey.id);
            writer.raw(prekey.key.as_bytes());
        }
        writer.finish()
    }
}

fn decode_prekeys(tag: u8, value: &[u8]) -> Result<Vec<Prekey>, FormatError> {
    let (entries, rest) = value.as_chunks::<36>();
    if !rest.is_empty() || entries.len() > PREKEYS_MAX {
        return Err(FormatError::Length {
            tag,
            actual: value.len(),
        });
    }
    let mut keys: Vec<Prekey> = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut reader = Reader::new(entry);
        let prekey = Prekey {
            id: reader.u32()?,
            key: NoiseKey::from_bytes(reader.array()?),
        };
        if keys.iter().any(|other| other.id == prekey.id) {
            return Err(FormatError::Repeated { tag });
        }
        keys.push(prekey);
    }
    Ok(keys)
}

pub(crate) struct OwnPrekey {
    pub(crate) id: u32,
    pub(crate) secret: Zeroizing<[u8; 32]>,
    /// When its first message was opened.
    pub(crate) used: Option<UnixMillis>,
}

/// This peer's one-time keys.
#[derive(Default)]
pub struct Prekeys {
    pub(crate) next: u32,
    pub(crate) keys: Vec<OwnPrekey>,
}

impl Prekeys {
    /// Makes new keys for those that were used, forgets those that were used long ago, and gives the bundle
    /// to send.
    #[must_use]
    pub fn bundle(
        &mut self,
        owner: &Identity,
        unix: UnixMillis,
        rng: &mut impl CryptoRng,
    ) -> PrekeyBundle {
        self.forget_used(unix);
        let mut fresh = self.keys.iter().filter(|key| key.used.is_none()).count();
        while fresh < PREKEYS_MAX {
            let mut secret = Zeroizing::new([0; 32]);
            rng.fill_bytes(&mut *secret);
            self.keys.push(OwnPrekey {
                id: self.next,
                secret,
                used: None,
            });
            self.next = self.next.wrapping_add(1);
            fresh += 1;
        }
        let keys = self
            .keys
            .iter()
            .filter(|key| key.used.is_none())
            .map(|key| Prekey {
                id: key.id,
                key: NoiseKey::of(&key.secret),
            })
            .collect();
        let mut bundle = PrekeyBundle {
            owner: owner.noise_key(),
            keys,
            generated: unix,
            signature: [0; SIGNATURE_BYTES],
        };
        bundle.signature = owner.sign(&bundle.preimage());
        bundle
    }

    /// Opens an envelope that is sealed to one of these keys, which is not given out again; gives the sender
    /// and the plaintext.
    ///
    /// # Errors
    /// [`NoiseError::Opaque`], also if the key is not there any more; [`NoiseError::UnsoundKey`].
    pub fn open(
        &mut self,
        envelope: &Envelope,
        unix: UnixMillis,
    ) -> Result<(NoiseKey, Vec<u8>), NoiseError> {
        self.forget_used(unix);
        let key = self
            .keys
            .iter_mut()
            .find(|key| Some(key.id) == envelope.prekey)
            .ok_or(NoiseError::Opaque)?;
        let opened = open_sealed(&key.secret, &prekey_prologue(key.id), &envelope.sealed)?;
        key.used.get_or_insert(unix);
        Ok(opened)
    }

    fn forget_used(&mut self, unix: UnixMillis) {
        self.keys.retain(|key| {
            key.used
                .is_none_or(|used| after(used, USED_PREKEY_KEPT) > unix)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    const NOW: UnixMillis = UnixMillis(1_760_000_000_000);

    fn people() -> ([Identity; 2], ChaCha8Rng) {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        ([(); 2].map(|()| Identity::random(&mut rng)), rng)
    }

    fn envelope(number: u8) -> Envelope {
        Envelope {
            tag: CourierTag([number; 16]),
            expiry: after(NOW, LIFETIME),
            sealed: vec![number],
            copies: COPIES,
            prekey: None,
        }
    }

    fn peer(number: u8) -> PeerId {
        PeerId::from_bytes([number; 8])
    }

    fn share(bag: &mut CourierBag, courier: u8) -> Vec<Envelope> {
        bag.share(peer(courier), None, None, NOW)
    }

    #[test]
    fn only_the_recipient_opens_an_envelope_and_knows_that_it_is_its() {
        let ([alice, bob], mut rng) = people();
        let sent = Envelope::seal(&alice, bob.noise_key(), b"\x02m1", NOW, &mut rng).unwrap();
        let envelope = Envelope::decode(&sent.encode().unwrap()).unwrap();
        assert_eq!(envelope, sent);
        assert_eq!(
            envelope.open(&bob),
            Ok((alice.noise_key(), b"\x02m1".to_vec()))
        );
        assert_eq!(envelope.open(&alice), Err(NoiseError::Opaque));
        for (days, is_for) in [(0, true), (1, true), (2, false)] {
            let unix = UnixMillis(NOW.0 + days * DAY_MS);
            assert_eq!(envelope.tag.is_for(bob.noise_key(), unix), is_for);
        }
        assert!(!envelope.tag.is_for(alice.noise_key(), NOW));
        let long = [0; SEALED_BYTES_MAX];
        assert!(Envelope::seal(&alice, bob.noise_key(), &long, NOW, &mut rng).is_err());
    }

    #[test]
    fn a_one_time_key_is_given_out_once_and_forgotten_after_two_days() {
        let ([alice, bob], mut rng) = people();
        let mut prekeys = Prekeys::default();
        let bundle = prekeys.bundle(&bob, NOW, &mut rng);
        let bundle = PrekeyBundle::decode(&bundle.encode().unwrap()).unwrap();
        assert_eq!(bundle.keys.len(), PREKEYS_MAX);
        assert!(
            bob.verify_key()
                .verify(&bundle.preimage(), &bundle.signature)
        );
        let key = &bundle.keys[3];
        let sealed =
            Envelope::seal_to_prekey(&alice, bob.noise_key(), key, b"hi", NOW, &mut rng).unwrap();
        let opened = Ok((alice.noise_key(), b"hi".to_vec()));
        assert_eq!(prekeys.open(&sealed, NOW), opened);
        // The same message over another courier opens still.
        assert_eq!(prekeys.open(&sealed, NOW), opened);
        let next = prekeys.bundle(&bob, NOW, &mut rng);
        assert_eq!(next.keys.len(), PREKEYS_MAX);
        assert!(next.keys.iter().all(|other| other.id != key.id));
        let later = UnixMillis(NOW.0 + 2 * DAY_MS);
        assert_eq!(prekeys.open(&sealed, later), Err(NoiseError::Opaque));
    }

    #[test]
    fn a_bundle_with_a_number_twice_or_nine_keys_is_refused() {
        let ([alice, _], mut rng) = people();
        let mut bundle = Prekeys::default().bundle(&alice, NOW, &mut rng);
        bundle.keys[1].id = bundle.keys[0].id;
        assert_eq!(
            PrekeyBundle::decode(&bundle.encode().unwrap()),
            Err(FormatError::Repeated { tag: 2 })
        );
        bundle.keys.push(bundle.keys[0]);
        assert!(bundle.encode().is_err());
    }

    #[test]
    fn copies_halve_until_one_is_left() {
        let mut bag = CourierBag::new(CourierConfig::default());
        let stranger = Standing::Stranger;
        assert_eq!(
            bag.deposit(envelope(1), peer(1), stranger, NOW),
            Deposit::Accepted
        );
        assert_eq!(share(&mut bag, 1), []);
        assert_eq!(share(&mut bag, 2)[0].copies, 2);
        // Who has it is not given more of it.
        assert_eq!(share(&mut bag, 2), []);
        // What was given away does not come back as more.
        assert_eq!(
            bag.deposit(envelope(1), peer(1), stranger, NOW),
            Deposit::Known
        );
        assert_eq!(share(&mut bag, 3)[0].copies, 1);
        assert_eq!(share(&mut bag, 4), []);
        assert_eq!(bag.len(), 1);
    }

    #[test]
    fn strangers_do_not_take_the_place_of_favourites() {
        let mut bag = CourierBag::new(CourierConfig {
            envelopes_max: 6,
            strangers_max: 3,
            ..CourierConfig::default()
        });
        let mut deposit = |number: u8, from: u8, standing| {
            bag.deposit(envelope(number), peer(from), standing, NOW)
        };
        for number in 0..5 {
            assert_eq!(deposit(number, 9, Standing::Favourite), Deposit::Accepted);
        }
        assert_eq!(deposit(5, 9, Standing::Favourite), Deposit::Full);
        assert_eq!(deposit(10, 1, Standing::Stranger), Deposit::Accepted);
        // The next stranger takes the place of the first one.
        assert_eq!(deposit(11, 2, Standing::Stranger), Deposit::Accepted);
        assert_eq!(deposit(12, 8, Standing::Favourite), Deposit::Accepted);
        assert_eq!(deposit(13, 3, Standing::Stranger), Deposit::Full);
        assert_eq!(bag.len(), 6);
    }

    #[test]
    fn an_envelope_that_is_over_or_lives_too_long_is_refused() {
        let mut bag = CourierBag::new(CourierConfig::default());
        for expiry in [NOW, UnixMillis(NOW.0 + 26 * 3_600_000)] {
            let bad = Envelope {
                expiry,
                ..envelope(1)
            };
            assert_eq!(
                bag.deposit(bad, peer(1), Standing::Stranger, NOW),
                Deposit::Expired
            );
        }
        bag.deposit(envelope(1), peer(1), Standing::Stranger, NOW);
        bag.expire(after(NOW, LIFETIME));
        assert!(bag.is_empty());
    }

    #[test]
    fn envelopes_are_handed_over_once_and_sent_far_seldom() {
        let ([alice, bob], mut rng) = people();
        let mut bag = CourierBag::new(CourierConfig::default());
        let sealed = Envelope::seal(&alice, bob.noise_key(), b"hi", NOW, &mut rng).unwrap();
        bag.deposit(sealed.clone(), peer(1), Standing::Stranger, NOW);
        let to = bob.noise_key();
        let minute = Duration::from_secs(60);
        let at = |minutes: u32| Instant::ZERO + minute * minutes;
        assert_eq!(
            bag.send_remote(to, at(1), NOW),
            std::slice::from_ref(&sealed)
        );
        assert_eq!(bag.send_remote(to, at(10), NOW), []);
        assert_eq!(bag.send_remote(to, at(11), NOW).len(), 1);
        assert_eq!(bag.hand_over(alice.noise_key(), NOW), []);
        assert_eq!(bag.hand_over(to, NOW), [sealed]);
        assert_eq!(bag.hand_over(to, NOW), []);
    }

    #[test]
    fn with_prophet_the_last_copy_goes_to_who_is_likelier_and_does_not_come_back() {
        let ([alice, bob], mut rng) = people();
        let prophet = ProphetConfig::default();
        let mut bag = CourierBag::new(CourierConfig {
            strategy: CourierStrategy::Prophet(prophet),
            ..CourierConfig::default()
        });
        let sealed = Envelope::seal(&alice, bob.noise_key(), b"hi", NOW, &mut rng).unwrap();
        let one = Envelope {
            copies: 1,
            ..sealed
        };
        bag.deposit(one.clone(), peer(1), Standing::Stranger, NOW);
        let mut own = Predictions::new(prophet, Instant::ZERO);
        own.meet(bob.noise_key(), Instant::ZERO);
        let says = |parts: u32| CourierNews {
            predictions: vec![(bob.noise_key(), Predictability::from_billionths(parts))],
            ..CourierNews::default()
        };
        let mut share = |who, news: &CourierNews| {
            let told = Told::from(news);
            bag.share(peer(who), Some(&own), Some(&told), NOW)
        };
        assert_eq!(share(2, &CourierNews::default()), []);
        assert_eq!(share(2, &says(500_000_000)), []);
        assert_eq!(share(1, &says(600_000_000)), []);
        let has = CourierNews {
            carried: vec![one.digest().short()],
            ..says(600_000_000)
        };
        assert_eq!(share(3, &has), []);
        assert_eq!(share(4, &says(600_000_000)), std::slice::from_ref(&one));
        assert!(bag.is_empty());
        assert!(bag.short_ids().eq([one.digest().short()]));
        assert_eq!(
            bag.deposit(one, peer(4), Standing::Stranger, NOW),
            Deposit::Known
        );
        assert!(bag.is_empty());
    }

    #[test]
    fn a_full_bag_does_not_take_again_what_made_way() {
        // In an epidemic neighbours gave each other what each had just dropped, for as long as they were together.
        let mut bag = CourierBag::new(CourierConfig {
            envelopes_max: 2,
            strategy: CourierStrategy::Epidemic,
            ..CourierConfig::default()
        });
        let mut deposit =
            |number| bag.deposit(envelope(number), peer(number), Standing::Stranger, NOW);
        for number in 1..=3 {
            assert_eq!(deposit(number), Deposit::Accepted);
        }
        assert_eq!(deposit(1), Deposit::Known);
        assert!(bag.short_ids().any(|id| id == envelope(1).digest().short()));
    }

    #[test]
    fn what_is_offered_is_given_if_it_is_wanted_and_not_offered_to_who_has_it() {
        let ([alice, bob], mut rng) = people();
        let mut bag = CourierBag::new(CourierConfig {
            strategy: CourierStrategy::Epidemic,
            ..CourierConfig::default()
        });
        let for_bob = Envelope::seal(&alice, bob.noise_key(), b"hi", NOW, &mut rng).unwrap();
        for (from, envelope) in (10..).zip([for_bob.clone(), envelope(1), envelope(2)]) {
            bag.deposit(envelope, peer(from), Standing::Stranger, NOW);
        }
        let [first, second, bobs] = [&envelope(1), &envelope(2), &for_bob].map(Envelope::digest);
        let mut told = Told::default();
        let offers = bag.offers(peer(1), bob.noise_key(), None, &told, NOW);
        assert_eq!(offers[0], bobs, "what is for it goes first");
        assert_eq!(
            BTreeSet::from_iter(offers),
            BTreeSet::from([first, second, bobs])
        );
        let wanted = BTreeSet::from([first.short()]);
        let given = bag.give(peer(1), bob.noise_key(), &wanted, None, &told, NOW);
        assert_eq!(given.len(), 1);
        assert_eq!(given[0].digest(), first);
        // What was not wanted is offered again, until it says that it has it.
        assert_eq!(
            bag.offers(peer(1), bob.noise_key(), None, &told, NOW),
            [bobs, second]
        );
        told.learn(&CourierNews {
            carried: vec![second.short(), bobs.short()],
            ..CourierNews::default()
        });
        assert_eq!(bag.offers(peer(1), bob.noise_key(), None, &told, NOW), []);
        assert_eq!(bag.len(), 2, "whom it is for has it");
        let wanted = BTreeSet::from([bobs.short(), second.short()]);
        let given = bag.give(peer(1), bob.noise_key(), &wanted, None, &told, NOW);
        assert_eq!(given, []);
    }

    #[test]
    fn an_epidemic_gives_to_each_once_and_keeps() {
        let mut bag = CourierBag::new(CourierConfig {
            strategy: CourierStrategy::Epidemic,
            ..CourierConfig::default()
        });
        let first = Envelope {
            copies: 1,
            ..envelope(1)
        };
        bag.deposit(first.clone(), peer(1), Standing::Stranger, NOW);
        for courier in 2..100 {
            assert_eq!(share(&mut bag, courier), std::slice::from_ref(&first));
            assert_eq!(share(&mut bag, courier), []);
        }
        assert_eq!(bag.len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(envelope) = Envelope::decode(&bytes) {
                prop_assert_eq!(Envelope::decode(&envelope.encode().unwrap()), Ok(envelope));
            }
            if let Ok(bundle) = PrekeyBundle::decode(&bytes) {
                prop_assert_eq!(PrekeyBundle::decode(&bundle.encode().unwrap()), Ok(bundle));
            }
        }

        #[test]
        fn copies_never_become_more(
            steps in proptest::collection::vec((0_u8..4, 0_u8..6), 0..40),
        ) {
            let mut bag = CourierBag::new(CourierConfig::default());
            bag.deposit(envelope(1), peer(9), Standing::Stranger, NOW);
            let mut given = 0;
            for (what, who) in steps {
                if what == 0 {
                    bag.deposit(envelope(1), peer(who), Standing::Stranger, NOW);
                } else {
                    given += share(&mut bag, who).iter().map(|e| u32::from(e.copies)).sum::<u32>();
                }
            }
            let held: u32 = bag.iter().map(|(e, ..)| u32::from(e.copies)).sum();
            prop_assert_eq!(held + given, u32::from(COPIES));
        }
    }
}
