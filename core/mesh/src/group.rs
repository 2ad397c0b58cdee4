//! Groups of up to sixteen, whose creator hands their key out.

use std::collections::BTreeSet;
use std::fmt;

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};
use fogcompute_base::wire::{Reader, Writer};
use fogcompute_base::{CryptoRng, UnixMillis};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroize;

use crate::identity::{Fingerprint, Identity, VerifyKey};
use crate::packet::SIGNATURE_BYTES;
use crate::payload::MessageId;
use crate::tlv::{FormatError, array, fields16, once, put16, required, text};

/// Most members of a group.
pub const GROUP_MEMBERS_MAX: usize = 16;
/// Longest nickname in a roster, in bytes.
pub const GROUP_NICKNAME_BYTES_MAX: usize = 64;
/// Longest name of a group, in bytes.
pub const GROUP_NAME_BYTES_MAX: usize = 255;
/// Longest text of a group message, in bytes.
pub const GROUP_TEXT_BYTES_MAX: usize = 16 * 1024;

const STATE_DOMAIN: &[u8] = b"bitchat-group-v1";
const MESSAGE_DOMAIN: &[u8] = b"bitchat-group-msg-v1";
const TAG_BYTES: usize = 16;

/// A group.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GroupId(pub [u8; 16]);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupId({self})")
    }
}

/// The secret of a group in one epoch. Erased from memory when dropped.
#[derive(Clone, Eq, PartialEq)]
pub struct GroupKey([u8; 32]);

impl GroupKey {
    /// Takes a key from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Drop for GroupKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GroupKey(..)")
    }
}

/// What a member may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Changes the group: its name, its members, its key.
    Creator,
    /// Reads and writes.
    Member,
}

/// Somebody in a group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Member {
    /// Who it is.
    pub fingerprint: Fingerprint,
    /// The key its messages are signed with.
    pub verify_key: VerifyKey,
    /// What it is called, at most 64 bytes.
    pub nickname: String,
}

/// A group in one epoch, signed by its creator.
///
/// | tag | content |
/// |---|---|
/// | 01 | group, 16 bytes |
/// | 02 | name, UTF-8 |
/// | 03 | key, 32 bytes |
/// | 04 | epoch, `u32` |
/// | 05 | roster: number of members, at most 16, and each: fingerprint 32, signing key 32, length, nickname |
/// | 06 | the creator's fingerprint, 32 bytes |
/// | 07 | signature over `bitchat-group-v1`, group, epoch, and the SHA-256 of key, roster and name |
///
/// Each field is its tag, its length as `u16`, and the content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupState {
    /// The group.
    pub id: GroupId,
    /// What it is called.
    pub name: String,
    /// Its secret in this epoch.
    pub key: GroupKey,
    /// How often it has changed.
    pub epoch: u32,
    /// Who is in it.
    pub members: Vec<Member>,
    /// Whose it is: one of the members.
    pub creator: Fingerprint,
    signature: [u8; SIGNATURE_BYTES],
}

impl GroupState {
    /// A group of these members, signed by its creator, who must be one of them.
    ///
    /// # Errors
    /// [`FormatError`] if there are too many, a name is too long, or the creator is not among them.
    pub fn sign(
        creator: &Identity,
        id: GroupId,
        name: String,
        key: GroupKey,
        epoch: u32,
        members: Vec<Member>,
    ) -> Result<Self, FormatError> {
        let mut state = Self {
            id,
            name,
            key,
            epoch,
            members,
            creator: creator.noise_key().fingerprint(),
            signature: [0; SIGNATURE_BYTES],
        };
        state.signature = creator.sign(&state.preimage()?);
        state.check()?;
        Ok(state)
    }

    /// What a member may do; `None` if it is none.
    #[must_use]
    pub fn role(&self, fingerprint: &Fingerprint) -> Option<Role> {
        role(&self.members, &self.creator, fingerprint)
    }

    /// A member.
    #[must_use]
    pub fn member(&self, fingerprint: &Fingerprint) -> Option<&Member> {
        find(&self.members, fingerprint)
    }

    /// Reads a body, and verifies its signature by the creator's key in the roster. That the creator sent
    /// it is for the caller to check.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut id, mut name, mut key, mut epoch) = (None, None, None, None);
        let (mut members, mut creator, mut signature) = (None, None, None);
        let mut fields = fields16(bytes);
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                1 => once(&mut id, tag, GroupId(array(tag, value)?))?,
                2 => once(&mut name, tag, text(tag, value)?)?,
                3 => once(&mut key, tag, GroupKey(array(tag, value)?))?,
                4 => once(&mut epoch, tag, u32::from_be_bytes(array(tag, value)?))?,
                5 => once(&mut members, tag, decode_roster(value, GROUP_MEMBERS_MAX)?)?,
                6 => once(
                    &mut creator,
                    tag,
                    Fingerprint::from_bytes(array(tag, value)?),
                )?,
                7 => once(&mut signature, tag, array(tag, value)?)?,
                _ => {}
            }
        }
        let state = Self {
            id: required(id, 1)?,
            name: required(name, 2)?,
            key: required(key, 3)?,
            epoch: required(epoch, 4)?,
            members: required(members, 5)?,
            creator: required(creator, 6)?,
            signature: required(signature, 7)?,
        };
        state.check()?;
        Ok(state)
    }

    /// The body.
    ///
    /// # Errors
    /// [`FormatError`] if there are too many members or a name is too long.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut out = Vec::new();
        put16(&mut out, 1, &self.id.0)?;
        put16(&mut out, 2, self.name.as_bytes())?;
        put16(&mut out, 3, &self.key.0)?;
        put16(&mut out, 4, &self.epoch.to_be_bytes())?;
        put16(&mut out, 5, &self.roster()?)?;
        put16(&mut out, 6, self.creator.as_bytes())?;
        put16(&mut out, 7, &self.signature)?;
        Ok(out)
    }

    fn roster(&self) -> Result<Vec<u8>, FormatError> {
        encode_roster(&self.members, GROUP_MEMBERS_MAX)
    }

    fn check(&self) -> Result<(), FormatError> {
        let creator = check_roster(&self.name, &self.members, &self.creator)?;
        signed_by(creator, &self.preimage()?, &self.signature)
    }

    fn preimage(&self) -> Result<Vec<u8>, FormatError> {
        let mut bytes = STATE_DOMAIN.to_vec();
        bytes.extend(self.id.0);
        bytes.extend(self.epoch.to_be_bytes());
        bytes.extend(Sha256::digest(self.key.0));
        bytes.extend(Sha256::digest(self.roster()?));
        bytes.extend(Sha256::digest(&self.name));
        Ok(bytes)
    }
}

fn find<'a>(members: &'a [Member], fingerprint: &Fingerprint) -> Option<&'a Member> {
    let mut members = members.iter();
    members.find(|member| member.fingerprint == *fingerprint)
}

/// What somebody may do in a group of any size; `None` if it is no member.
pub(crate) fn role(
    members: &[Member],
    creator: &Fingerprint,
    fingerprint: &Fingerprint,
) -> Option<Role> {
    find(members, fingerprint).map(|_| {
        if fingerprint == creator {
            Role::Creator
        } else {
            Role::Member
        }
    })
}

/// Looks whether a group of any size has a name that is not too long, and each member once; gives its creator, who
/// has to be one of them.
pub(crate) fn check_roster<'a>(
    name: &str,
    members: &'a [Member],
    creator: &Fingerprint,
) -> Result<&'a Member, FormatError> {
    if name.len() > GROUP_NAME_BYTES_MAX {
        return Err(FormatError::Length {
            tag: 2,
            actual: name.len(),
        });
    }
    let distinct: BTreeSet<_> = members.iter().map(|member| member.fingerprint).collect();
    if distinct.len() < members.len() {
        return Err(FormatError::Repeated { tag: 5 });
    }
    find(members, creator).ok_or(FormatError::Value { tag: 6 })
}

/// Looks whether a member signed something.
pub(crate) fn signed_by(
    member: &Member,
    preimage: &[u8],
    signature: &[u8; SIGNATURE_BYTES],
) -> Result<(), FormatError> {
    if member.verify_key.verify(preimage, signature) {
        return Ok(());
    }
    Err(FormatError::Signature)
}

/// Writes who is in a group of at most so many members, which a byte says.
pub(crate) fn encode_roster(members: &[Member], limit: usize) -> Result<Vec<u8>, FormatError> {
    let count = u8::try_from(members.len())
        .ok()
        .filter(|_| members.len() <= limit)
        .ok_or(FormatError::TooLong {
            actual: members.len(),
            limit,
        })?;
    let mut writer = Writer::new();
    writer.u8(count);
    for member in members {
        writer.raw(member.fingerprint.as_bytes());
        writer.raw(member.verify_key.as_bytes());
        let length = u8::try_from(member.nickname.len())
            .ok()
            .filter(|_| member.nickname.len() <= GROUP_NICKNAME_BYTES_MAX)
            .ok_or(FormatError::Length {
                tag: 5,
                actual: member.nickname.len(),
            })?;
        writer.u8(length);
        writer.raw(member.nickname.as_bytes());
    }
    Ok(writer.finish())
}

/// Reads who is in a group of at most so many members: [`check_roster`] looks whether one is there twice.
pub(crate) fn decode_roster(bytes: &[u8], limit: usize) -> Result<Vec<Member>, FormatError> {
    let mut reader = Reader::new(bytes);
    let count = usize::from(reader.u8()?);
    if count > limit {
        return Err(FormatError::TooLong {
            actual: count,
            limit,
        });
    }
    let mut members = Vec::with_capacity(count);
    for _ in 0..count {
        let fingerprint = Fingerprint::from_bytes(reader.array()?);
        let verify_key = VerifyKey::from_bytes(reader.array()?);
        let length = usize::from(reader.u8()?);
        if length > GROUP_NICKNAME_BYTES_MAX {
            return Err(FormatError::Length {
                tag: 5,
                actual: length,
            });
        }
        let nickname = text(5, reader.take(length)?)?;
        members.push(Member {
            fingerprint,
            verify_key,
            nickname,
        });
    }
    reader.finish()?;
    Ok(members)
}

/// Why a group message is refused by who has the group's key.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum GroupError {
    /// The message is of another group or another epoch.
    #[error("message is of epoch {actual}, the group is in {expected}")]
    Epoch {
        /// The group's epoch.
        expected: u32,
        /// The message's.
        actual: u32,
    },
    /// It does not open: changed, or under another key.
    #[error("group message does not open")]
    Opaque,
    /// What is inside is malformed or not signed by who it names.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Who signed it is no member.
    #[error("signer of the group message is no member")]
    Stranger,
}

/// A message to a group, sealed.
///
/// Fields 01 group, 02 epoch `u32`, 03 nonce 12, 04 ciphertext and tag of ChaCha20-Poly1305 under the group's
/// key, with group and epoch as associated data. Inside, fields of a [`GroupText`]: 01 message, 02 signing
/// key, 03 nickname, 04 time `u64`, 05 text, 06 signature over `bitchat-group-msg-v1`, group, epoch, message,
/// time and text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupMessage {
    /// The group.
    pub group: GroupId,
    /// The group's epoch.
    pub epoch: u32,
    /// Drawn for this message alone.
    pub nonce: [u8; 12],
    /// Text, and who wrote it, encrypted.
    pub sealed: Vec<u8>,
}

/// What a group message says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupText {
    /// The message.
    pub id: MessageId,
    /// The writer's signing key.
    pub verify_key: VerifyKey,
    /// What the writer calls itself.
    pub nickname: String,
    /// When it was written.
    pub timestamp: UnixMillis,
    /// The text.
    pub text: String,
}

impl GroupMessage {
    /// Writes to a group.
    ///
    /// # Errors
    /// [`FormatError`] if something is too long.
    pub fn seal(
        group: &GroupState,
        writer: &Identity,
        message: &GroupText,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, FormatError> {
        if message.text.len() > GROUP_TEXT_BYTES_MAX {
            return Err(FormatError::TooLong {
                actual: message.text.len(),
                limit: GROUP_TEXT_BYTES_MAX,
            });
        }
        let signature = writer.sign(&signed(group.id, group.epoch, message));
        let mut inner = Vec::new();
        put16(&mut inner, 1, message.id.as_str().as_bytes())?;
        put16(&mut inner, 2, message.verify_key.as_bytes())?;
        put16(&mut inner, 3, message.nickname.as_bytes())?;
        put16(&mut inner, 4, &message.timestamp.0.to_be_bytes())?;
        put16(&mut inner, 5, message.text.as_bytes())?;
        put16(&mut inner, 6, &signature)?;
        let mut nonce = [0; 12];
        rng.fill_bytes(&mut nonce);
        let tag = ChaCha20Poly1305::new((&group.key.0).into())
            .encrypt_in_place_detached(
                Nonce::from_slice(&nonce),
                &associated(group.id, group.epoch),
                &mut inner,
            )
            .expect("messages are far shorter than what ChaCha20 can encrypt");
        inner.extend_from_slice(&tag);
        Ok(Self {
            group: group.id,
            epoch: group.epoch,
            nonce,
            sealed: inner,
        })
    }

    /// Opens a message of a group; gives what it says and which member wrote it.
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn open<'a>(&self, group: &'a GroupState) -> Result<(GroupText, &'a Member), GroupError> {
        if self.epoch != group.epoch || self.group != group.id {
            return Err(GroupError::Epoch {
                expected: group.epoch,
                actual: self.epoch,
            });
        }
        let (body, tag) = self
            .sealed
            .split_last_chunk::<TAG_BYTES>()
            .ok_or(GroupError::Opaque)?;
        let mut inner = body.to_vec();
        ChaCha20Poly1305::new((&group.key.0).into())
            .decrypt_in_place_detached(
                Nonce::from_slice(&self.nonce),
                &associated(self.group, self.epoch),
                &mut inner,
                Tag::from_slice(tag),
            )
            .map_err(|_| GroupError::Opaque)?;
        let (message, signature) = decode_text(&inner)?;
        let preimage = signed(self.group, self.epoch, &message);
        if !message.verify_key.verify(&preimage, &signature) {
            return Err(FormatError::Signature.into());
        }
        let member = group
            .members
            .iter()
            .find(|member| member.verify_key == message.verify_key)
            .ok_or(GroupError::Stranger)?;
        Ok((message, member))
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut group, mut epoch, mut nonce, mut sealed) = (None, None, None, None);
        let mut fields = fields16(bytes);
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                1 => once(&mut group, tag, GroupId(array(tag, value)?))?,
                2 => once(&mut epoch, tag, u32::from_be_bytes(array(tag, value)?))?,
                3 => once(&mut nonce, tag, array(tag, value)?)?,
                4 => once(&mut sealed, tag, value.to_vec())?,
                _ => {}
            }
        }
        Ok(Self {
            group: required(group, 1)?,
            epoch: required(epoch, 2)?,
            nonce: required(nonce, 3)?,
            sealed: required(sealed, 4)?,
        })
    }

    /// The payload.
    ///
    /// # Errors
    /// [`FormatError::Length`] if what is sealed is too long.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut out = Vec::new();
        put16(&mut out, 1, &self.group.0)?;
        put16(&mut out, 2, &self.epoch.to_be_bytes())?;
        put16(&mut out, 3, &self.nonce)?;
        put16(&mut out, 4, &self.sealed)?;
        Ok(out)
    }
}

fn decode_text(inner: &[u8]) -> Result<(GroupText, [u8; SIGNATURE_BYTES]), FormatError> {
    let (mut id, mut verify_key, mut nickname) = (None, None, None);
    let (mut timestamp, mut content, mut signature) = (None, None, None);
    let mut fields = fields16(inner);
    while let Some((tag, value)) = fields.next_field()? {
        match tag {
            1 => once(&mut id, tag, MessageId::new(text(tag, value)?)?)?,
            2 => once(
                &mut verify_key,
                tag,
                VerifyKey::from_bytes(array(tag, value)?),
            )?,
            3 => once(&mut nickname, tag, text(tag, value)?)?,
            4 => once(
                &mut timestamp,
                tag,
                UnixMillis(u64::from_be_bytes(array(tag, value)?)),
            )?,
            5 => once(&mut content, tag, text(tag, value)?)?,
            6 => once(&mut signature, tag, array(tag, value)?)?,
            _ => {}
        }
    }
    let message = GroupText {
        id: required(id, 1)?,
        verify_key: required(verify_key, 2)?,
        nickname: required(nickname, 3)?,
        timestamp: required(timestamp, 4)?,
        text: required(content, 5)?,
    };
    Ok((message, required(signature, 6)?))
}

fn associated(group: GroupId, epoch: u32) -> Vec<u8> {
    [&group.0[..], &epoch.to_be_bytes()].concat()
}

fn signed(group: GroupId, epoch: u32, message: &GroupText) -> Vec<u8> {
    [
        MESSAGE_DOMAIN,
        &group.0,
        &epoch.to_be_bytes(),
        message.id.as_str().as_bytes(),
        &message.timestamp.0.to_be_bytes(),
        message.text.as_bytes(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    fn member(identity: &Identity) -> Member {
        Member {
            fingerprint: identity.noise_key().fingerprint(),
            verify_key: identity.verify_key(),
            nickname: "somebody".to_owned(),
        }
    }

    fn group(creator: &Identity, others: &[&Identity]) -> GroupState {
        let members = [creator]
            .into_iter()
            .chain(others.iter().copied())
            .map(member);
        GroupState::sign(
            creator,
            GroupId([7; 16]),
            "friends".to_owned(),
            GroupKey([9; 32]),
            3,
            members.collect(),
        )
        .unwrap()
    }

    fn people() -> [Identity; 3] {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        [(); 3].map(|()| Identity::random(&mut rng))
    }

    fn says(writer: &Identity) -> GroupText {
        GroupText {
            id: MessageId::new("m1").unwrap(),
            verify_key: writer.verify_key(),
            nickname: "bob".to_owned(),
            timestamp: UnixMillis(5),
            text: "hello".to_owned(),
        }
    }

    #[test]
    fn a_group_is_its_creators() {
        let [alice, bob, carol] = people();
        let state = group(&alice, &[&bob]);
        let bytes = state.encode().unwrap();
        assert_eq!(GroupState::decode(&bytes), Ok(state.clone()));
        let role = |who: &Identity| state.role(&who.noise_key().fingerprint());
        assert_eq!(role(&alice), Some(Role::Creator));
        assert_eq!(role(&bob), Some(Role::Member));
        assert_eq!(role(&carol), None);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(GroupState::decode(&changed).is_err(), "{at}");
        }
        let without = GroupState::sign(
            &carol,
            state.id,
            String::new(),
            GroupKey([1; 32]),
            0,
            vec![member(&bob)],
        );
        assert_eq!(without, Err(FormatError::Value { tag: 6 }));
    }

    #[test]
    fn more_than_sixteen_and_the_same_twice_are_refused() {
        let [alice, bob, _] = people();
        let sign = |members| {
            let (id, key) = (GroupId([7; 16]), GroupKey([9; 32]));
            GroupState::sign(&alice, id, String::new(), key, 0, members)
        };
        let mut members = vec![member(&alice); 17];
        assert!(sign(members.clone()).is_err());
        members.truncate(2);
        assert_eq!(sign(members), Err(FormatError::Repeated { tag: 5 }));
        let once = sign(vec![member(&alice)]).unwrap();
        let twice = GroupState {
            members: vec![member(&alice); 2],
            ..once
        };
        assert_eq!(
            GroupState::decode(&twice.encode().unwrap()),
            Err(FormatError::Repeated { tag: 5 })
        );
        let mut long = member(&bob);
        long.nickname = "x".repeat(65);
        assert!(sign(vec![member(&alice), long]).is_err());
    }

    #[test]
    fn members_read_what_members_write_and_nobody_else_does() {
        let [alice, bob, carol] = people();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let state = group(&alice, &[&bob]);
        let message = GroupMessage::seal(&state, &bob, &says(&bob), &mut rng).unwrap();
        let read = GroupMessage::decode(&message.encode().unwrap()).unwrap();
        assert_eq!(read, message);
        let (text, writer) = read.open(&state).unwrap();
        assert_eq!((text, writer), (says(&bob), &state.members[1]));

        // Carol was told the key and is no member; and signs as Bob without his key.
        let stranger = GroupMessage::seal(&state, &carol, &says(&carol), &mut rng).unwrap();
        assert_eq!(stranger.open(&state), Err(GroupError::Stranger));
        let forged = GroupMessage::seal(&state, &carol, &says(&bob), &mut rng).unwrap();
        assert_eq!(
            forged.open(&state),
            Err(GroupError::Format(FormatError::Signature))
        );
        let mut other = state.clone();
        other.key = GroupKey([8; 32]);
        assert_eq!(read.open(&other), Err(GroupError::Opaque));
        other.epoch = 4;
        assert_eq!(
            read.open(&other),
            Err(GroupError::Epoch {
                expected: 4,
                actual: 3
            })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = GroupState::decode(&bytes);
            let _ = decode_roster(&bytes, GROUP_MEMBERS_MAX);
            let _ = decode_text(&bytes);
            if let Ok(message) = GroupMessage::decode(&bytes) {
                prop_assert_eq!(GroupMessage::decode(&message.encode().unwrap()), Ok(message));
            }
        }
    }
}
