//! What a node must know after a restart.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use fogcompute_base::wire::{DecodeError, Reader, Writer};
use fogcompute_base::{Instant, UnixMillis};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{DeliveryState, Node, NodeConfig, Outgoing, Peer, Receipt, SendError, Unheard};
use crate::announce::Announce;
use crate::courier::{Envelope, OwnPrekey, Predictability, Predictions, PrekeyBundle, Standing};
use crate::group::{GroupId, GroupState};
use crate::identity::{Identity, NoiseKey};
use crate::large_group::LargeGroup;
use crate::packet::PeerId;
use crate::payload::MessageId;
use crate::ratchet::Ratchets;
use crate::tlv::FormatError;

const VERSION: u8 = 4;
/// Longest item, in bytes.
const ITEM_BYTES_MAX: usize = 64 * 1024;
/// Most items of a kind.
const ITEMS_MAX: u32 = 100_000;

/// Why what was saved cannot be gone on with.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum RestoreError {
    /// It was saved in another way. A newer release may read it.
    #[error("saved node of version {actual}, known is {known}")]
    Version {
        /// Version of the bytes.
        actual: u8,
        /// The version that is known.
        known: u8,
    },
    /// It is no saved node.
    #[error("saved node is malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// Something in it is not of its format.
    #[error("saved node is malformed: {0}")]
    Format(#[from] FormatError),
    /// Ratchets in it are damaged, or another identity's.
    #[error("secrets of the saved node do not open")]
    Sealed,
    /// Its name is too long.
    #[error(transparent)]
    Nickname(#[from] SendError),
}

impl Node {
    /// What must be kept so that, after a restart, messages that wait are delivered, peers are the same ones,
    /// groups are read, envelopes are carried on, and nothing is shown twice. It contains secrets (group keys,
    /// one-time keys) and texts; the identity's secrets are not in it ([`Identity::to_bytes`]).
    ///
    /// A byte for the version, 4; the name; then, each after a `u32` for their number: peers (announce, time,
    /// favourite, one-time keys), messages that wait, groups, envelopes that are carried, one-time keys of this
    /// peer with the next number, messages that were received, how likely
    /// this peer is to meet whom, in billionths, [ratchets](crate::ratchet) and [large groups](crate::large_group), their
    /// secrets encrypted with the identity's; messages to groups that nobody has heard; receipts that are carried.
    /// Texts and items are preceded by a `u32` for their
    /// length.
    #[must_use]
    pub fn save(&self) -> Zeroizing<Vec<u8>> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        writer.text(&self.nickname);
        writer.u32(count(self.peers.len()));
        for peer in self.peers.values() {
            writer.bytes(&peer.announce.encode().expect("it was read or checked"));
            writer.u64(peer.timestamp.0);
            writer.u8(u8::from(peer.is_favourite));
            let bundle = peer.bundle.as_ref().map(PrekeyBundle::encode);
            let bundle = bundle.map(|bundle| bundle.expect("it was read"));
            writer.bytes(&bundle.unwrap_or_default());
        }
        writer.u32(count(self.outbox.len()));
        for message in self.outbox.values() {
            writer.raw(message.peer.as_bytes());
            writer.text(message.id.as_str());
            writer.text(&message.text);
            writer.u64(message.created.0);
            writer.u32(message.attempts);
            writer.u8(state_byte(message.state));
            write_couriers(&mut writer, &message.couriers, message.envelope.as_ref());
        }
        writer.u32(count(self.groups.len()));
        for group in self.groups.values() {
            writer.bytes(&group.encode().expect("it was read or checked"));
        }
        writer.u32(count(self.bag.len()));
        for (envelope, depositor, standing) in self.bag.iter() {
            writer.bytes(&envelope.encode().expect("it was read"));
            writer.raw(depositor.as_bytes());
            writer.u8(u8::from(standing == Standing::Favourite));
        }
        writer.u32(self.prekeys.next);
        writer.u32(count(self.prekeys.keys.len()));
        for key in &self.prekeys.keys {
            writer.u32(key.id);
            writer.raw(&*key.secret);
            writer.u64(key.used.map_or(0, |used| used.0));
        }
        writer.u32(count(self.received.len()));
        for (peer, id) in self.received.keys() {
            writer.raw(peer.as_bytes());
            writer.text(id.as_str());
        }
        let predictions = self.predictions.as_ref();
        writer.u32(count(predictions.map_or(0, Predictions::len)));
        for (key, chance) in predictions.iter().flat_map(|all| all.iter()) {
            writer.raw(key.as_bytes());
            writer.u32(chance.billionths());
        }
        self.ratchets.save(&mut writer);
        self.group_pickles.save(&mut writer);
        writer.u32(count(self.large_groups.len()));
        for group in self.large_groups.values() {
            group.save(&mut writer, &self.group_pickles);
        }
        writer.u32(count(self.unheard.len()));
        for text in &self.unheard {
            writer.raw(&text.group.0);
            writer.text(text.id.as_str());
            writer.bytes(&text.payload);
            writer.u64(text.created.0);
        }
        writer.u32(count(self.receipts.len()));
        for receipt in &self.receipts {
            writer.raw(receipt.key.as_bytes());
            writer.bytes(&receipt.plaintext);
            writer.u64(receipt.created.0);
            write_couriers(&mut writer, &receipt.couriers, receipt.envelope.as_ref());
            writer.u8(u8::from(receipt.is_told));
        }
        Zeroizing::new(writer.finish())
    }

    /// Another number when something has changed that must be kept ([`Node::save`]) before anything leaves: a
    /// message that waits, one that was received and will be acknowledged, a receipt that waits, a one-time key that others are told of,
    /// a group, an envelope, a turn of a ratchet or of a group's key. Peers are not in it: they announce themselves again.
    #[must_use]
    pub fn keep_mark(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (number, message) in &self.outbox {
            (number, message.couriers.len(), state_byte(message.state)).hash(&mut hasher);
        }
        for text in &self.unheard {
            text.id.hash(&mut hasher);
        }
        for receipt in &self.receipts {
            (&receipt.plaintext, receipt.couriers.len(), receipt.is_told).hash(&mut hasher);
        }
        let received = self.received.keys().next_back();
        (self.received.len(), received).hash(&mut hasher);
        for (id, group) in &self.groups {
            (id, group.epoch).hash(&mut hasher);
        }
        self.prekeys.next.hash(&mut hasher);
        for key in &self.prekeys.keys {
            (key.id, key.used.is_some()).hash(&mut hasher);
        }
        (self.bag.len(), self.bag.deposits()).hash(&mut hasher);
        self.nickname.hash(&mut hasher);
        (self.ratchets.revision(), self.group_pickles.revision()).hash(&mut hasher);
        hasher.finish()
    }

    /// A node that goes on with what another one saved.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(
        identity: Identity,
        saved: &[u8],
        config: NodeConfig,
        unix: UnixMillis,
        now: Instant,
    ) -> Result<Self, RestoreError> {
        let mut reader = Reader::new(saved);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(RestoreError::Version {
                actual: version,
                known: VERSION,
            });
        }
        let nickname = reader.text(ITEM_BYTES_MAX)?;
        let mut node = Self::new(identity, nickname, config, unix, now)?;
        for _ in 0..items(&mut reader)? {
            let announce = Announce::decode(reader.bytes(ITEM_BYTES_MAX)?)?;
            let timestamp = UnixMillis(reader.u64()?);
            let is_favourite = flag(&mut reader)?;
            let bundle = reader.bytes(ITEM_BYTES_MAX)?;
            let bundle = if bundle.is_empty() {
                None
            } else {
                Some(PrekeyBundle::decode(bundle)?)
            };
            let peer = Peer {
                timestamp,
                heard: now,
                is_reachable: false,
                is_favourite,
                bundle,
                renew_after: now,
                is_wide: false,
                route_after: now,
                waiting: VecDeque::new(),
                ratchet_since: None,
                ratchet_after: now,
                announce,
            };
            node.peers.insert(peer.announce.noise_key.peer_id(), peer);
        }
        for _ in 0..items(&mut reader)? {
            let message = read_outgoing(&mut reader, now)?;
            node.number += 1;
            node.outbox.insert(node.number, message);
        }
        for _ in 0..items(&mut reader)? {
            let group = GroupState::decode(reader.bytes(ITEM_BYTES_MAX)?)?;
            node.groups.insert(group.id, group);
        }
        for _ in 0..items(&mut reader)? {
            let envelope = Envelope::decode(reader.bytes(ITEM_BYTES_MAX)?)?;
            let depositor = PeerId::from_bytes(reader.array()?);
            let standing = if flag(&mut reader)? {
                Standing::Favourite
            } else {
                Standing::Stranger
            };
            // What has expired meanwhile is refused.
            node.bag.deposit(envelope, depositor, standing, unix);
        }
        node.prekeys.next = reader.u32()?;
        for _ in 0..items(&mut reader)? {
            let id = reader.u32()?;
            let secret = Zeroizing::new(reader.array()?);
            let used = Some(reader.u64()?).filter(|used| *used > 0).map(UnixMillis);
            node.prekeys.keys.push(OwnPrekey { id, secret, used });
        }
        for _ in 0..items(&mut reader)? {
            let peer = PeerId::from_bytes(reader.array()?);
            let id = MessageId::new(reader.text(MessageId::BYTES_MAX)?)?;
            node.received.insert((peer, id), now);
        }
        for _ in 0..items(&mut reader)? {
            let key = NoiseKey::from_bytes(reader.array()?);
            let chance = Predictability::from_billionths(reader.u32()?);
            // Another strategy may be in use now.
            if let Some(predictions) = &mut node.predictions {
                predictions.restore(key, chance);
            }
        }
        node.ratchets = Ratchets::restore(&node.identity, &mut reader)?;
        node.group_pickles.restore(&mut reader)?;
        let own = node.identity.noise_key().fingerprint();
        for _ in 0..items(&mut reader)? {
            let group = LargeGroup::restore(own, &mut reader, &node.group_pickles)?;
            node.large_groups.insert(group.state().id, group);
        }
        for _ in 0..items(&mut reader)? {
            node.unheard.push_back(Unheard {
                group: GroupId(reader.array()?),
                id: MessageId::new(reader.text(MessageId::BYTES_MAX)?)?,
                payload: reader.bytes(ITEM_BYTES_MAX)?.to_vec(),
                created: UnixMillis(reader.u64()?),
                next: now,
            });
        }
        for _ in 0..items(&mut reader)? {
            let key = NoiseKey::from_bytes(reader.array()?);
            let plaintext = reader.bytes(ITEM_BYTES_MAX)?.to_vec();
            let created = UnixMillis(reader.u64()?);
            let (couriers, envelope) = read_couriers(&mut reader)?;
            node.receipts.push_back(Receipt {
                peer: key.peer_id(),
                key,
                plaintext,
                created,
                couriers,
                envelope,
                is_told: flag(&mut reader)?,
            });
        }
        reader.finish()?;
        Ok(node)
    }
}

fn read_outgoing(reader: &mut Reader<'_>, now: Instant) -> Result<Outgoing, RestoreError> {
    let peer = PeerId::from_bytes(reader.array()?);
    let id = MessageId::new(reader.text(MessageId::BYTES_MAX)?)?;
    let text = reader.text(crate::payload::PRIVATE_BYTES_MAX)?.to_owned();
    let created = UnixMillis(reader.u64()?);
    let attempts = reader.u32()?;
    let at = reader.position();
    let state = match reader.u8()? {
        0 => DeliveryState::Waiting,
        1 => DeliveryState::Sent,
        2 => DeliveryState::Relayed,
        value => {
            return Err(DecodeError::Unknown {
                at,
                value: value.into(),
            }
            .into());
        }
    };
    let (couriers, envelope) = read_couriers(reader)?;
    Ok(Outgoing {
        peer,
        id,
        text,
        created,
        attempts,
        next: now,
        state,
        couriers,
        envelope,
    })
}

/// Who was given an envelope, and the envelope.
fn write_couriers(writer: &mut Writer, couriers: &BTreeSet<PeerId>, envelope: Option<&Envelope>) {
    writer.u32(count(couriers.len()));
    for courier in couriers {
        writer.raw(courier.as_bytes());
    }
    let envelope = envelope.map(Envelope::encode);
    let envelope = envelope.map(|envelope| envelope.expect("it was made here"));
    writer.bytes(&envelope.unwrap_or_default());
}

fn read_couriers(
    reader: &mut Reader<'_>,
) -> Result<(BTreeSet<PeerId>, Option<Envelope>), RestoreError> {
    let mut couriers = BTreeSet::new();
    for _ in 0..items(reader)? {
        couriers.insert(PeerId::from_bytes(reader.array()?));
    }
    let envelope = reader.bytes(ITEM_BYTES_MAX)?;
    let envelope = if envelope.is_empty() {
        None
    } else {
        Some(Envelope::decode(envelope)?)
    };
    Ok((couriers, envelope))
}

/// Messages that are further than relayed do not wait.
const fn state_byte(state: DeliveryState) -> u8 {
    match state {
        DeliveryState::Waiting => 0,
        DeliveryState::Sent => 1,
        _ => 2,
    }
}

fn count(items: usize) -> u32 {
    u32::try_from(items).expect("every kind of item has a far lower limit")
}

fn items(reader: &mut Reader<'_>) -> Result<u32, DecodeError> {
    let count = reader.u32()?;
    if count > ITEMS_MAX {
        return Err(DecodeError::TooLong {
            actual: usize::try_from(count).unwrap_or(usize::MAX),
            limit: ITEMS_MAX as usize,
        });
    }
    Ok(count)
}

fn flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    let at = reader.position();
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(DecodeError::Unknown {
            at,
            value: value.into(),
        }),
    }
}
