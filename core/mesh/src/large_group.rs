//! Ours: groups of up to 255, whose members write under keys of their own (Megolm, by `vodozemac`).
//!
//! BitChat's [groups](crate::group) have sixteen members and one key, which whoever learns it reads all of an epoch
//! with. Here each member that writes has a key, which it hands to each other member under their
//! [ratchet](crate::ratchet), and to nobody else; a message is sent once, for everybody to pass on. A key moves on with
//! each message, and readers forget what it was [`OVERTAKEN_MAX`] messages before the newest. It is replaced after
//! [`SENDER_MESSAGES_MAX`] messages, after [`SENDER_AGE_MAX`], and whenever the group changes: who joins reads nothing
//! earlier, and who was removed nothing that a member writes once it has heard of that. A member that has not heard of a
//! change goes on writing for those it knows.
//!
//! For others a message looks like one of a small group that they are not in: they pass it on, and keep it for those
//! who come later. The creator alone changes a group. Members are told of its state under the ratchet too.
//!
//! `vodozemac` draws a key from the system's generator, as in [`ratchet`](crate::ratchet).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use fogcompute_base::UnixMillis;
use fogcompute_base::wire::{DecodeError, Reader, Writer};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use vodozemac::PickleError;
use vodozemac::megolm::{
    ExportedSessionKey, GroupSession, GroupSessionPickle, InboundGroupSession,
    InboundGroupSessionPickle, MegolmMessage, SessionConfig,
};
use zeroize::Zeroizing;

use crate::group::{
    GROUP_TEXT_BYTES_MAX, GroupId, GroupMessage, Member, Role, check_roster, decode_roster,
    encode_roster, role, signed_by,
};
use crate::identity::{Fingerprint, Identity};
use crate::node::RestoreError;
use crate::packet::SIGNATURE_BYTES;
use crate::payload::MessageId;
use crate::pickles::{Kept, Pickles, at_most, length};
use crate::tlv::{FormatError, array, fields16, once, put16, required, text};

/// Most members of a large group.
pub const LARGE_GROUP_MEMBERS_MAX: usize = 255;
/// Messages after which a member's key is replaced.
pub const SENDER_MESSAGES_MAX: u32 = 100;
/// How long a member's key is used.
pub const SENDER_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Messages by which one may be overtaken, and is read nevertheless.
pub const OVERTAKEN_MAX: u32 = 32;
/// Keys of one member that are kept: the newest, and one from before for what is still on its way.
pub const SENDERS_PER_MEMBER: usize = 2;
/// Messages that wait for the key of who wrote them, in all groups.
pub(crate) const EARLY_MAX: usize = 64;
/// Bytes of them.
pub(crate) const EARLY_BYTES_MAX: usize = 256 * 1024;

const DOMAIN: &[u8] = b"fogcompute-large-group-v1";
const VERSION: u8 = 1;
const STATE: u8 = 1;
const HEARD: u8 = 2;
const KEY: u8 = 3;
const TAKEN: u8 = 4;
const ASK: u8 = 5;
/// An exported key of Megolm: version, index, ratchet, public key for signatures.
const KEY_BYTES: usize = 165;
/// Longest saved item, in bytes: a state with all members.
const ITEM_BYTES_MAX: usize = 64 * 1024;

/// What names a member's key: the first bytes of the public key that its messages are signed with.
pub type SenderTag = [u8; 12];

/// A large group in one epoch, signed by its creator.
///
/// | tag | content |
/// |---|---|
/// | 01 | group, 16 bytes |
/// | 02 | name, UTF-8 |
/// | 04 | epoch, `u32` |
/// | 05 | roster, as that of a [small group](crate::group::GroupState), with up to 255 members |
/// | 06 | the creator's fingerprint, 32 bytes |
/// | 07 | signature over `fogcompute-large-group-v1`, group, epoch, and the SHA-256 of roster and name |
///
/// Each field is its tag, its length as `u16`, and the content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LargeGroupState {
    /// The group.
    pub id: GroupId,
    /// What it is called.
    pub name: String,
    /// How often it has changed.
    pub epoch: u32,
    /// Who is in it.
    pub members: Vec<Member>,
    /// Whose it is: one of the members.
    pub creator: Fingerprint,
    signature: [u8; SIGNATURE_BYTES],
}

impl LargeGroupState {
    /// A group of these members, signed by its creator, who must be one of them.
    ///
    /// # Errors
    /// [`FormatError`] if there are too many, a name is too long, or the creator is not among them.
    pub fn sign(
        creator: &Identity,
        id: GroupId,
        name: String,
        epoch: u32,
        members: Vec<Member>,
    ) -> Result<Self, FormatError> {
        let mut state = Self {
            id,
            name,
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

    /// Reads a body, and verifies its signature by the creator's key in the roster. That the creator sent it is for
    /// the caller to check.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut id, mut name, mut epoch) = (None, None, None);
        let (mut members, mut creator, mut signature) = (None, None, None);
        let mut fields = fields16(bytes);
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                1 => once(&mut id, tag, GroupId(array(tag, value)?))?,
                2 => once(&mut name, tag, text(tag, value)?)?,
                4 => once(&mut epoch, tag, u32::from_be_bytes(array(tag, value)?))?,
                5 => {
                    let roster = decode_roster(value, LARGE_GROUP_MEMBERS_MAX)?;
                    once(&mut members, tag, roster)?;
                }
                6 => {
                    let fingerprint = Fingerprint::from_bytes(array(tag, value)?);
                    once(&mut creator, tag, fingerprint)?;
                }
                7 => once(&mut signature, tag, array(tag, value)?)?,
                _ => {}
            }
        }
        let state = Self {
            id: required(id, 1)?,
            name: required(name, 2)?,
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
        put16(&mut out, 4, &self.epoch.to_be_bytes())?;
        put16(&mut out, 5, &self.roster()?)?;
        put16(&mut out, 6, self.creator.as_bytes())?;
        put16(&mut out, 7, &self.signature)?;
        Ok(out)
    }

    fn roster(&self) -> Result<Vec<u8>, FormatError> {
        encode_roster(&self.members, LARGE_GROUP_MEMBERS_MAX)
    }

    fn preimage(&self) -> Result<Vec<u8>, FormatError> {
        let mut bytes = DOMAIN.to_vec();
        bytes.extend(self.id.0);
        bytes.extend(self.epoch.to_be_bytes());
        bytes.extend(Sha256::digest(self.roster()?));
        bytes.extend(Sha256::digest(&self.name));
        Ok(bytes)
    }

    fn check(&self) -> Result<(), FormatError> {
        let creator = check_roster(&self.name, &self.members, &self.creator)?;
        signed_by(creator, &self.preimage()?, &self.signature)
    }
}

/// The key that a member writes with, as it is handed out. Erased from memory when dropped.
#[derive(Clone, Eq, PartialEq)]
pub struct SenderKey(Zeroizing<[u8; KEY_BYTES]>);

impl SenderKey {
    fn new(session: &InboundGroupSession) -> Self {
        let exported = Zeroizing::new(session.export_at_first_known_index().to_bytes());
        let bytes = exported.as_slice().try_into();
        Self(Zeroizing::new(
            bytes.expect("every exported key has the same length"),
        ))
    }
}

impl fmt::Debug for SenderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SenderKey(..)")
    }
}

/// What members of a large group tell each other under their ratchet: a version, 1; a kind, 1 byte; and
///
/// | kind | body |
/// |---|---|
/// | 1 | a [`LargeGroupState`] |
/// | 2 | group 16, epoch `u32` |
/// | 3 | group 16, an exported key of Megolm, 165 bytes |
/// | 4, 5 | group 16, tag of a key 12 |
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LargeGroupStep {
    /// What the group is now, says its creator.
    State(LargeGroupState),
    /// The state of that epoch came.
    Heard {
        /// The group.
        group: GroupId,
        /// The epoch.
        epoch: u32,
    },
    /// The key that the sender writes with.
    Key {
        /// The group.
        group: GroupId,
        /// The key.
        key: SenderKey,
    },
    /// The key came.
    Taken {
        /// The group.
        group: GroupId,
        /// Which key.
        tag: SenderTag,
    },
    /// A message came, and its key did not.
    Ask {
        /// The group.
        group: GroupId,
        /// Which key.
        tag: SenderTag,
    },
}

impl LargeGroupStep {
    /// Reads a body.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let unknown = |at: usize, value: u8| DecodeError::Unknown {
            at,
            value: value.into(),
        };
        let version = reader.u8()?;
        if version != VERSION {
            return Err(unknown(0, version).into());
        }
        let kind = reader.u8()?;
        if kind == STATE {
            let state = LargeGroupState::decode(reader.take(reader.remaining())?)?;
            return Ok(Self::State(state));
        }
        let mut group = || Ok::<_, DecodeError>(GroupId(reader.array()?));
        let step = match kind {
            HEARD => Self::Heard {
                group: group()?,
                epoch: reader.u32()?,
            },
            KEY => Self::Key {
                group: group()?,
                key: SenderKey(Zeroizing::new(reader.array()?)),
            },
            TAKEN => Self::Taken {
                group: group()?,
                tag: reader.array()?,
            },
            ASK => Self::Ask {
                group: group()?,
                tag: reader.array()?,
            },
            kind => return Err(unknown(1, kind).into()),
        };
        reader.finish()?;
        Ok(step)
    }

    /// The body.
    ///
    /// # Errors
    /// [`FormatError`] if a state has too many members or too long names.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut writer = Writer::new();
        writer.u8(VERSION);
        match self {
            Self::State(state) => {
                writer.u8(STATE);
                writer.raw(&state.encode()?);
            }
            Self::Heard { group, epoch } => {
                writer.u8(HEARD);
                writer.raw(&group.0);
                writer.u32(*epoch);
            }
            Self::Key { group, key } => {
                writer.u8(KEY);
                writer.raw(&group.0);
                writer.raw(&*key.0);
            }
            Self::Taken { group, tag } | Self::Ask { group, tag } => {
                let is_ask = matches!(self, Self::Ask { .. });
                writer.u8(if is_ask { ASK } else { TAKEN });
                writer.raw(&group.0);
                writer.raw(tag);
            }
        }
        Ok(writer.finish())
    }
}

/// Why a message to a large group, or a key of one of its members, is refused.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum LargeGroupError {
    /// Nobody handed its key out here, or it was not for this peer: it may come later.
    #[error("key of the group message is not known")]
    NoKey,
    /// It was read before, or comes so late that its key has moved on.
    #[error("key of the group message is gone")]
    Gone,
    /// It was changed, or was not made with the key that it names.
    #[error("group message does not open")]
    Opaque,
    /// What is inside is malformed.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Who hands a key out is no member, or the key is somebody else's.
    #[error("key of the group is none of a member's")]
    Stranger,
}

/// What a message to a large group says. Fields 01 message, 04 time `u64`, 05 text, each a tag, a `u16` for its length,
/// and the content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LargeGroupText {
    /// The message.
    pub id: MessageId,
    /// When it was written.
    pub timestamp: UnixMillis,
    /// The text.
    pub text: String,
}

impl LargeGroupText {
    fn encode(&self) -> Result<Zeroizing<Vec<u8>>, FormatError> {
        if self.text.len() > GROUP_TEXT_BYTES_MAX {
            return Err(FormatError::TooLong {
                actual: self.text.len(),
                limit: GROUP_TEXT_BYTES_MAX,
            });
        }
        let mut out = Zeroizing::new(Vec::new());
        put16(&mut out, 1, self.id.as_str().as_bytes())?;
        put16(&mut out, 4, &self.timestamp.0.to_be_bytes())?;
        put16(&mut out, 5, self.text.as_bytes())?;
        Ok(out)
    }

    fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (mut id, mut timestamp, mut content) = (None, None, None);
        let mut fields = fields16(bytes);
        while let Some((tag, value)) = fields.next_field()? {
            match tag {
                1 => once(&mut id, tag, MessageId::new(text(tag, value)?)?)?,
                4 => {
                    let unix = UnixMillis(u64::from_be_bytes(array(tag, value)?));
                    once(&mut timestamp, tag, unix)?;
                }
                5 => once(&mut content, tag, text(tag, value)?)?,
                _ => {}
            }
        }
        Ok(Self {
            id: required(id, 1)?,
            timestamp: required(timestamp, 4)?,
            text: required(content, 5)?,
        })
    }
}

/// The key this peer writes with.
struct Sender {
    session: Kept<GroupSession>,
    /// The key as it was at first, until every member has it.
    first: Option<Kept<InboundGroupSession>>,
    tag: SenderTag,
    since: UnixMillis,
    /// Members who have not said that they have it.
    lacking: BTreeSet<Fingerprint>,
}

/// A key that a member writes with.
struct Receiver {
    session: Kept<InboundGroupSession>,
    from: Fingerprint,
    /// Messages that were read, of those whose keys are kept.
    read: BTreeSet<u32>,
}

/// A large group as one of its members has it.
pub(crate) struct LargeGroup {
    state: LargeGroupState,
    own: Fingerprint,
    /// Of the creator's: members who have not said that they have the state.
    uninformed: BTreeSet<Fingerprint>,
    sender: Option<Sender>,
    receivers: BTreeMap<SenderTag, Receiver>,
}

impl LargeGroup {
    /// A group that this member was taken into, or made.
    pub(crate) fn new(state: LargeGroupState, own: Fingerprint) -> Self {
        let mut group = Self {
            state,
            own,
            uninformed: BTreeSet::new(),
            sender: None,
            receivers: BTreeMap::new(),
        };
        group.inform();
        group
    }

    /// What it is.
    pub(crate) const fn state(&self) -> &LargeGroupState {
        &self.state
    }

    /// Takes a newer state: keys are made anew, and those of who is no member any more are forgotten.
    pub(crate) fn change(&mut self, state: LargeGroupState) {
        self.state = state;
        self.sender = None;
        let members = &self.state;
        self.receivers
            .retain(|_, receiver| members.role(&receiver.from).is_some());
        self.inform();
    }

    fn inform(&mut self) {
        if self.own == self.state.creator {
            self.uninformed = self.others();
        }
    }

    fn others(&self) -> BTreeSet<Fingerprint> {
        let members = self.state.members.iter().map(|member| member.fingerprint);
        members.filter(|member| *member != self.own).collect()
    }

    /// Writes to the group, under a new key if the old one was used for long enough.
    ///
    /// # Errors
    /// [`FormatError`].
    pub(crate) fn seal(
        &mut self,
        text: &LargeGroupText,
        unix: UnixMillis,
        pickles: &mut Pickles,
    ) -> Result<GroupMessage, FormatError> {
        let plaintext = text.encode()?;
        let is_worn = |sender: &Sender| {
            let age = Duration::from_millis(unix.0.saturating_sub(sender.since.0));
            sender.session.value.message_index() >= SENDER_MESSAGES_MAX || age >= SENDER_AGE_MAX
        };
        if self.sender.as_ref().is_none_or(is_worn) {
            let session = GroupSession::new(SessionConfig::version_1());
            let first = InboundGroupSession::from(&session);
            self.sender = Some(Sender {
                tag: tag_of(&first),
                first: Some(Kept::new(first, pickles.turn())),
                session: Kept::new(session, pickles.turn()),
                since: unix,
                lacking: self.others(),
            });
        }
        let sender = self.sender.as_mut().expect("it was made if there was none");
        let sealed = sender.session.value.encrypt(plaintext.as_slice());
        sender.session.changed(pickles.turn());
        Ok(GroupMessage {
            group: self.state.id,
            epoch: self.state.epoch,
            nonce: sender.tag,
            sealed: sealed.to_bytes(),
        })
    }

    /// Whether somebody has not said that it has what it should.
    pub(crate) fn owes(&self, member: &Fingerprint) -> bool {
        let sender = self.sender.as_ref();
        self.uninformed.contains(member)
            || sender.is_some_and(|sender| sender.lacking.contains(member))
    }

    /// Members who have not said that they have what they should.
    pub(crate) fn owed(&self) -> impl Iterator<Item = Fingerprint> {
        let lacking = self.sender.iter().flat_map(|sender| &sender.lacking);
        let owed: BTreeSet<_> = self.uninformed.iter().chain(lacking).copied().collect();
        owed.into_iter()
    }

    /// What a member is to be told.
    pub(crate) fn steps_for(&self, member: &Fingerprint) -> Vec<LargeGroupStep> {
        let mut steps = Vec::new();
        if self.uninformed.contains(member) {
            steps.push(LargeGroupStep::State(self.state.clone()));
        }
        if let Some(sender) = &self.sender
            && sender.lacking.contains(member)
        {
            let key = match &sender.first {
                Some(first) => SenderKey::new(&first.value),
                // It had the key and lost it: it reads on from here.
                None => SenderKey::new(&InboundGroupSession::from(&sender.session.value)),
            };
            steps.push(LargeGroupStep::Key {
                group: self.state.id,
                key,
            });
        }
        steps
    }

    /// A member has the state of an epoch.
    pub(crate) fn heard(&mut self, member: &Fingerprint, epoch: u32, pickles: &mut Pickles) {
        if epoch == self.state.epoch && self.uninformed.remove(member) {
            pickles.turn();
        }
    }

    /// A member has the key that is used here.
    pub(crate) fn taken(&mut self, member: &Fingerprint, tag: SenderTag, pickles: &mut Pickles) {
        if let Some(sender) = &mut self.sender
            && sender.tag == tag
            && sender.lacking.remove(member)
        {
            if sender.lacking.is_empty() {
                sender.first = None;
            }
            pickles.turn();
        }
    }

    /// A member has not the key that is used here.
    pub(crate) fn asked(&mut self, member: &Fingerprint, tag: SenderTag, pickles: &mut Pickles) {
        if self.state.role(member).is_some()
            && let Some(sender) = &mut self.sender
            && sender.tag == tag
            && sender.lacking.insert(*member)
        {
            pickles.turn();
        }
    }

    /// Takes the key that a member writes with, and proved to have sent; gives its name.
    ///
    /// # Errors
    /// [`LargeGroupError::Stranger`], [`LargeGroupError::Format`].
    pub(crate) fn take_key(
        &mut self,
        from: Fingerprint,
        key: &SenderKey,
        pickles: &mut Pickles,
    ) -> Result<SenderTag, LargeGroupError> {
        if self.state.role(&from).is_none() || from == self.own {
            return Err(LargeGroupError::Stranger);
        }
        let key =
            ExportedSessionKey::from_bytes(&*key.0).map_err(|_| FormatError::Value { tag: KEY })?;
        let session = InboundGroupSession::import(&key, SessionConfig::version_1());
        let tag = tag_of(&session);
        if let Some(known) = self.receivers.get(&tag) {
            // It comes again when its receipt was lost. Another member's is not replaced.
            return if known.from == from {
                Ok(tag)
            } else {
                Err(LargeGroupError::Stranger)
            };
        }
        let of_member: Vec<_> = self
            .receivers
            .iter()
            .filter(|(_, receiver)| receiver.from == from)
            .map(|(tag, receiver)| (receiver.session.revision(), *tag))
            .collect();
        if of_member.len() >= SENDERS_PER_MEMBER
            && let Some((_, oldest)) = of_member.iter().min()
        {
            self.receivers.remove(oldest);
        }
        let receiver = Receiver {
            session: Kept::new(session, pickles.turn()),
            from,
            read: BTreeSet::new(),
        };
        self.receivers.insert(tag, receiver);
        Ok(tag)
    }

    /// Opens a message of the group; gives what it says and who wrote it.
    ///
    /// # Errors
    /// [`LargeGroupError`].
    pub(crate) fn open(
        &mut self,
        message: &GroupMessage,
        pickles: &mut Pickles,
    ) -> Result<(LargeGroupText, Fingerprint), LargeGroupError> {
        let receiver = self
            .receivers
            .get_mut(&message.nonce)
            .ok_or(LargeGroupError::NoKey)?;
        let sealed =
            MegolmMessage::from_bytes(&message.sealed).map_err(|_| LargeGroupError::Opaque)?;
        let index = sealed.message_index();
        let session = &mut receiver.session.value;
        if index < session.first_known_index() || receiver.read.contains(&index) {
            return Err(LargeGroupError::Gone);
        }
        let opened = session
            .decrypt(&sealed)
            .map_err(|_| LargeGroupError::Opaque)?;
        let plaintext = Zeroizing::new(opened.plaintext);
        receiver.read.insert(index);
        session.advance_to(index.saturating_sub(OVERTAKEN_MAX));
        // Keys right after the oldest that is kept are not needed either, if their messages were read.
        while receiver.read.contains(&session.first_known_index()) {
            let next = session.first_known_index().saturating_add(1);
            if !session.advance_to(next) {
                break;
            }
        }
        let first = session.first_known_index();
        receiver.read.retain(|read| *read >= first);
        receiver.session.changed(pickles.turn());
        Ok((LargeGroupText::decode(&plaintext)?, receiver.from))
    }

    /// Writes what must be kept; secrets are encrypted as [`Ratchets`](crate::ratchet::Ratchets) are.
    pub(crate) fn save(&self, writer: &mut Writer, pickles: &Pickles) {
        writer.bytes(&self.state.encode().expect("it was read or checked"));
        put_members(writer, &self.uninformed);
        writer.u32(length(usize::from(self.sender.is_some())));
        if let Some(sender) = &self.sender {
            writer.u64(sender.since.0);
            put_members(writer, &sender.lacking);
            sender.session.save(writer, pickles, |session, key| {
                session.pickle().encrypt(key)
            });
            writer.u32(length(usize::from(sender.first.is_some())));
            if let Some(first) = &sender.first {
                first.save(writer, pickles, |session, key| {
                    session.pickle().encrypt(key)
                });
            }
        }
        writer.u32(length(self.receivers.len()));
        for receiver in self.receivers.values() {
            writer.raw(receiver.from.as_bytes());
            writer.u32(length(receiver.read.len()));
            for read in &receiver.read {
                writer.u32(*read);
            }
            receiver.session.save(writer, pickles, |session, key| {
                session.pickle().encrypt(key)
            });
        }
    }

    /// Goes on with what was saved.
    pub(crate) fn restore(
        own: Fingerprint,
        reader: &mut Reader<'_>,
        pickles: &Pickles,
    ) -> Result<Self, RestoreError> {
        let state = LargeGroupState::decode(reader.bytes(ITEM_BYTES_MAX)?)?;
        let mut group = Self::new(state, own);
        group.uninformed = members(reader)?;
        for _ in 0..at_most(reader, 1)? {
            let since = UnixMillis(reader.u64()?);
            let lacking = members(reader)?;
            let session = Kept::restore(reader, pickles, |pickle, key| {
                GroupSessionPickle::from_encrypted(pickle, key).map(GroupSession::from_pickle)
            })?;
            let mut first = None;
            for _ in 0..at_most(reader, 1)? {
                first = Some(Kept::restore(reader, pickles, inbound)?);
            }
            group.sender = Some(Sender {
                tag: tag_of(&InboundGroupSession::from(&session.value)),
                session,
                first,
                since,
                lacking,
            });
        }
        for _ in 0..at_most(reader, LARGE_GROUP_MEMBERS_MAX * SENDERS_PER_MEMBER)? {
            let from = Fingerprint::from_bytes(reader.array()?);
            let mut read = BTreeSet::new();
            for _ in 0..at_most(reader, OVERTAKEN_MAX as usize + 1)? {
                read.insert(reader.u32()?);
            }
            let session = Kept::restore(reader, pickles, inbound)?;
            let receiver = Receiver {
                from,
                read,
                session,
            };
            let tag = tag_of(&receiver.session.value);
            group.receivers.insert(tag, receiver);
        }
        Ok(group)
    }
}

fn put_members(writer: &mut Writer, members: &BTreeSet<Fingerprint>) {
    writer.u32(length(members.len()));
    for member in members {
        writer.raw(member.as_bytes());
    }
}

fn members(reader: &mut Reader<'_>) -> Result<BTreeSet<Fingerprint>, DecodeError> {
    let count = at_most(reader, LARGE_GROUP_MEMBERS_MAX)?;
    (0..count)
        .map(|_| Ok(Fingerprint::from_bytes(reader.array()?)))
        .collect()
}

fn inbound(pickle: &str, key: &[u8; 32]) -> Result<InboundGroupSession, PickleError> {
    InboundGroupSessionPickle::from_encrypted(pickle, key).map(InboundGroupSession::from_pickle)
}

/// The name of a member's key.
fn tag_of(session: &InboundGroupSession) -> SenderTag {
    let id = vodozemac::base64_decode(session.session_id());
    let id = id.expect("what names a session is Base64 of a public key");
    *id.first_chunk().expect("a public key has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixMillis = UnixMillis(1_760_000_000_000);

    struct Person {
        identity: Identity,
        group: LargeGroup,
        pickles: Pickles,
    }

    impl Person {
        fn new(seed: u8, state: &LargeGroupState) -> Self {
            let identity = identity(seed);
            let own = identity.noise_key().fingerprint();
            Self {
                pickles: Pickles::new(&identity, "tests"),
                group: LargeGroup::new(state.clone(), own),
                identity,
            }
        }

        fn who(&self) -> Fingerprint {
            self.identity.noise_key().fingerprint()
        }

        fn seal(&mut self, text: &str) -> GroupMessage {
            let text = LargeGroupText {
                id: MessageId::new(text).unwrap(),
                timestamp: NOW,
                text: text.to_owned(),
            };
            self.group.seal(&text, NOW, &mut self.pickles).unwrap()
        }

        fn open(&mut self, message: &GroupMessage) -> Result<String, LargeGroupError> {
            let opened = self.group.open(message, &mut self.pickles);
            opened.map(|(text, _)| text.text)
        }

        /// Hands out the key, if it is lacking.
        fn hand_to(&mut self, other: &mut Self) {
            for step in self.group.steps_for(&other.who()) {
                if let LargeGroupStep::Key { key, .. } = step {
                    let from = self.who();
                    let tag = other.group.take_key(from, &key, &mut other.pickles);
                    let tag = tag.unwrap();
                    self.group.taken(&other.who(), tag, &mut self.pickles);
                }
            }
        }

        /// The same after a restart.
        fn again(&self) -> Self {
            let mut writer = Writer::new();
            self.group.save(&mut writer, &self.pickles);
            let bytes = writer.finish();
            let mut pickles = Pickles::new(&self.identity, "tests");
            let mut numbers = Writer::new();
            self.pickles.save(&mut numbers);
            let numbers = numbers.finish();
            pickles.restore(&mut Reader::new(&numbers)).unwrap();
            let mut reader = Reader::new(&bytes);
            let group = LargeGroup::restore(self.who(), &mut reader, &pickles).unwrap();
            reader.finish().unwrap();
            let mut saved = Writer::new();
            group.save(&mut saved, &pickles);
            assert_eq!(saved.finish(), bytes);
            Self {
                identity: self.identity.clone(),
                group,
                pickles,
            }
        }
    }

    fn identity(seed: u8) -> Identity {
        Identity::from_bytes([seed; 32], [seed; 32])
    }

    fn member(seed: u8) -> Member {
        let identity = identity(seed);
        Member {
            fingerprint: identity.noise_key().fingerprint(),
            verify_key: identity.verify_key(),
            nickname: format!("member {seed}"),
        }
    }

    /// A group of the first one's, in an epoch.
    fn state(epoch: u32, members: &[u8]) -> LargeGroupState {
        let creator = identity(members[0]);
        let members = members.iter().copied().map(member).collect();
        LargeGroupState::sign(
            &creator,
            GroupId([5; 16]),
            "many".to_owned(),
            epoch,
            members,
        )
        .unwrap()
    }

    fn people<const N: usize>(members: [u8; N]) -> [Person; N] {
        let state = state(0, &members);
        members.map(|seed| Person::new(seed, &state))
    }

    #[test]
    fn a_group_is_its_creators_and_has_at_most_255_members() {
        let state = state(3, &[1, 2]);
        let bytes = state.encode().unwrap();
        assert_eq!(LargeGroupState::decode(&bytes), Ok(state.clone()));
        let role = |seed| state.role(&member(seed).fingerprint);
        assert_eq!(
            [1, 2, 3].map(role),
            [Some(Role::Creator), Some(Role::Member), None]
        );
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(LargeGroupState::decode(&changed).is_err(), "{at}");
        }
        let sign = |members: Vec<u8>| {
            let members = members.into_iter().map(member).collect();
            LargeGroupState::sign(&identity(1), GroupId([5; 16]), String::new(), 0, members)
        };
        let whole = sign((1..=255).collect()).unwrap();
        let bytes = whole.encode().unwrap();
        assert_eq!(LargeGroupState::decode(&bytes), Ok(whole));
        assert!(sign((1..=255).chain([0]).collect()).is_err());
        assert_eq!(sign(vec![2, 3]), Err(FormatError::Value { tag: 6 }));
    }

    #[test]
    fn members_read_what_is_sent_once_and_nobody_reads_it_twice() {
        let [mut alice, mut bob, mut carol] = people([1, 2, 3]);
        let sealed = alice.seal("to both");
        assert_eq!(bob.open(&sealed), Err(LargeGroupError::NoKey));
        for reader in [&mut bob, &mut carol] {
            alice.hand_to(reader);
            assert_eq!(reader.open(&sealed), Ok("to both".to_owned()));
            assert_eq!(reader.open(&sealed), Err(LargeGroupError::Gone));
        }
        assert_eq!(alice.group.owed().count(), 2, "the state was not told");
        // Bob has Alice's key, and cannot write as Alice.
        bob.seal("his own");
        let mut forged = bob.seal("forged");
        forged.nonce = sealed.nonce;
        assert_eq!(carol.open(&forged), Err(LargeGroupError::Opaque));
        for at in (0..sealed.sealed.len()).step_by(3) {
            let mut changed = alice.seal("whole");
            changed.sealed[at] ^= 1;
            assert!(carol.open(&changed).is_err(), "{at}");
            changed.sealed[at] ^= 1;
            assert_eq!(carol.open(&changed), Ok("whole".to_owned()), "{at}");
        }
    }

    #[test]
    fn who_reads_a_members_state_after_a_message_reads_none_before_it() {
        let [mut alice, mut bob] = people([1, 2]);
        let first = alice.seal("first");
        alice.hand_to(&mut bob);
        assert_eq!(bob.open(&first), Ok("first".to_owned()));
        let second = alice.seal("second");
        // Neither who read it nor who wrote it has the key any more.
        assert_eq!(bob.again().open(&first), Err(LargeGroupError::Gone));
        assert!(alice.group.sender.as_ref().unwrap().first.is_none());
        assert_eq!(bob.again().open(&second), Ok("second".to_owned()));
    }

    #[test]
    fn one_that_is_overtaken_by_too_many_is_not_read() {
        let [mut alice, mut bob] = people([1, 2]);
        let sealed: Vec<_> = (0..=OVERTAKEN_MAX + 1)
            .map(|number| alice.seal(&number.to_string()))
            .collect();
        alice.hand_to(&mut bob);
        bob.open(sealed.last().unwrap()).unwrap();
        assert_eq!(bob.open(&sealed[0]), Err(LargeGroupError::Gone));
        for (number, message) in sealed.iter().enumerate().skip(1).rev().skip(1) {
            assert_eq!(bob.open(message), Ok(number.to_string()));
        }
    }

    #[test]
    fn who_joins_reads_nothing_earlier_and_who_was_removed_nothing_later() {
        let [mut alice, mut bob, mut carol] = people([1, 2, 3]);
        let early = alice.seal("early");
        alice.hand_to(&mut bob);
        alice.hand_to(&mut carol);
        assert_eq!(carol.open(&early), Ok("early".to_owned()));
        // Carol goes, and Dave comes.
        let changed = state(1, &[1, 2, 4]);
        for member in [&mut alice, &mut bob] {
            member.group.change(changed.clone());
        }
        let mut dave = Person::new(4, &changed);
        let late = alice.seal("late");
        assert_ne!(late.nonce, early.nonce);
        for reader in [&mut bob, &mut dave] {
            alice.hand_to(reader);
            assert_eq!(reader.open(&late), Ok("late".to_owned()));
        }
        assert_eq!(dave.open(&early), Err(LargeGroupError::NoKey));
        assert_eq!(carol.open(&late), Err(LargeGroupError::NoKey));
        assert!(alice.group.steps_for(&carol.who()).is_empty());
        alice
            .group
            .asked(&carol.who(), late.nonce, &mut alice.pickles);
        assert!(alice.group.steps_for(&carol.who()).is_empty());
        // What Carol writes now is nobody's.
        let own = carol.seal("from carol");
        let key = carol.group.steps_for(&bob.who()).remove(0);
        let LargeGroupStep::Key { key, .. } = key else {
            panic!("{key:?}");
        };
        let taken = bob.group.take_key(carol.who(), &key, &mut bob.pickles);
        assert_eq!(taken, Err(LargeGroupError::Stranger));
        assert_eq!(bob.open(&own), Err(LargeGroupError::NoKey));
    }

    #[test]
    fn a_key_is_replaced_after_so_many_messages_and_after_so_long() {
        let [mut alice, _] = people([1, 2]);
        let first = alice.seal("0").nonce;
        for number in 1..SENDER_MESSAGES_MAX {
            assert_eq!(alice.seal(&number.to_string()).nonce, first);
        }
        let second = alice.seal("next").nonce;
        assert_ne!(second, first);
        let text = LargeGroupText {
            id: MessageId::new("late").unwrap(),
            timestamp: NOW,
            text: "late".to_owned(),
        };
        let age = u64::try_from(SENDER_AGE_MAX.as_millis()).unwrap();
        let mut at = |unix| {
            let sealed = alice.group.seal(&text, unix, &mut alice.pickles);
            sealed.unwrap().nonce
        };
        assert_eq!(at(UnixMillis(NOW.0 + age - 1)), second);
        assert_ne!(at(UnixMillis(NOW.0 + age)), second);
    }

    #[test]
    fn one_member_cannot_pass_off_anothers_key_nor_fill_the_memory() {
        let [mut alice, mut bob, carol] = people([1, 2, 3]);
        let sealed = alice.seal("mine");
        let LargeGroupStep::Key { key, .. } = alice.group.steps_for(&bob.who()).pop().unwrap()
        else {
            panic!("a key is lacking");
        };
        alice.hand_to(&mut bob);
        let taken = bob.group.take_key(carol.who(), &key, &mut bob.pickles);
        assert_eq!(taken, Err(LargeGroupError::Stranger));
        for _ in 0..5 {
            let (key, from) = (GroupSession::new(SessionConfig::version_1()), carol.who());
            let key = SenderKey::new(&InboundGroupSession::from(&key));
            let taken = bob.group.take_key(from, &key, &mut bob.pickles);
            assert!(taken.is_ok());
        }
        assert_eq!(bob.group.receivers.len(), 1 + SENDERS_PER_MEMBER);
        assert_eq!(bob.open(&sealed), Ok("mine".to_owned()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn each_message_is_read_once_in_any_order_across_restarts(
            order in proptest::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..30),
        ) {
            let [mut alice, mut bob] = people([1, 2]);
            let sealed: Vec<_> = (0..30).map(|number| alice.seal(&number.to_string())).collect();
            alice = alice.again();
            alice.hand_to(&mut bob);
            let mut read = BTreeSet::new();
            for (which, restarts) in order {
                let number = which.index(sealed.len());
                let opened = bob.open(&sealed[number]);
                if read.insert(number) {
                    prop_assert_eq!(opened, Ok(number.to_string()));
                } else {
                    prop_assert_eq!(opened, Err(LargeGroupError::Gone));
                }
                if restarts {
                    bob = bob.again();
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = LargeGroupState::decode(&bytes);
            let _ = LargeGroupText::decode(&bytes);
            if let Ok(step) = LargeGroupStep::decode(&bytes) {
                prop_assert_eq!(LargeGroupStep::decode(&step.encode().unwrap()), Ok(step));
            }
            let [alice, mut bob] = people([1, 2]);
            let mut key = [0; KEY_BYTES];
            key.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
            let key = SenderKey(Zeroizing::new(key));
            let _ = bob.group.take_key(alice.who(), &key, &mut bob.pickles);
            let message = GroupMessage {
                group: GroupId([5; 16]),
                epoch: 0,
                nonce: [0; 12],
                sealed: bytes,
            };
            prop_assert!(bob.open(&message).is_err());
        }
    }
}
