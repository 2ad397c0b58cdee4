//! Large groups: who is told what, and what comes of it.

use std::time::Duration;

use fogcompute_base::{CryptoRng, Instant};

use super::output::check_group;
use super::{Event, Node, Protection, SendError};
use crate::announce::Capabilities;
use crate::group::{GroupId, GroupMessage};
use crate::identity::Fingerprint;
use crate::large_group::{
    EARLY_BYTES_MAX, EARLY_MAX, LARGE_GROUP_MEMBERS_MAX, LargeGroup, LargeGroupError,
    LargeGroupState, LargeGroupStep, LargeGroupText,
};
use crate::packet::{PacketType, PeerId};
use crate::payload::{Content, MessageId};

/// How often a member that does not answer is told again what it should know.
const TELL_GAP: Duration = Duration::from_secs(15);
/// Sessions that are begun at once to tell members something.
const STARTS_MAX: usize = 8;
/// What pickles of large groups are encrypted for.
pub(super) const PICKLE_CONTEXT: &str = "fogcompute mesh 2026-11 large group pickles";

impl Node {
    /// Large groups this peer is in.
    pub fn large_groups(&self) -> impl Iterator<Item = &LargeGroupState> {
        self.large_groups.values().map(LargeGroup::state)
    }

    /// Makes a [large group](crate::large_group) of this peer and others who are known. They are told when they are
    /// there.
    ///
    /// # Errors
    /// [`SendError::GroupName`], [`SendError::GroupSize`], [`SendError::MemberTwice`], [`SendError::UnknownPeer`];
    /// [`SendError::NotUnderstood`] for a peer that has no large groups;
    /// [`SendError::Full`], [`SendError::Format`].
    pub fn create_large_group(
        &mut self,
        name: &str,
        members: &[PeerId],
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<GroupId, SendError> {
        check_group(name, members, LARGE_GROUP_MEMBERS_MAX)?;
        if self.large_groups.len() >= super::GROUPS_MAX {
            let limit = super::GROUPS_MAX;
            return Err(SendError::Full { limit });
        }
        let mut id = [0; 16];
        rng.fill_bytes(&mut id);
        let id = GroupId(id);
        let state = self.signed_large_group(id, name.to_owned(), 0, members)?;
        let own = self.identity.noise_key().fingerprint();
        self.group_pickles.turn();
        self.large_groups.insert(id, LargeGroup::new(state, own));
        self.tell_group(id, now, rng);
        Ok(id)
    }

    /// Changes who is in a large group of ours.
    pub(super) fn change_large_group(
        &mut self,
        group: GroupId,
        members: &[PeerId],
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<(), SendError> {
        let known = self.large_groups.get(&group);
        let state = known.ok_or(SendError::UnknownGroup { group })?.state();
        if state.creator != self.identity.noise_key().fingerprint() {
            return Err(SendError::NotCreator { group });
        }
        let (name, epoch) = (state.name.clone(), state.epoch.saturating_add(1));
        let state = self.signed_large_group(group, name, epoch, members)?;
        if let Some(known) = self.large_groups.get_mut(&group) {
            known.change(state);
            self.group_pickles.turn();
        }
        self.tell_group(group, now, rng);
        Ok(())
    }

    fn signed_large_group(
        &self,
        id: GroupId,
        name: String,
        epoch: u32,
        members: &[PeerId],
    ) -> Result<LargeGroupState, SendError> {
        let roster = self.roster(members)?;
        if let Some(peer) = members.iter().find(|peer| !self.has_large_groups(**peer)) {
            return Err(SendError::NotUnderstood { peer: *peer });
        }
        let state = LargeGroupState::sign(&self.identity, id, name, epoch, roster)?;
        Ok(state)
    }

    /// Whether this peer and another say that they have large groups.
    fn has_large_groups(&self, peer: PeerId) -> bool {
        let needed = Capabilities::RATCHET.with(Capabilities::LARGE_GROUPS);
        self.config.capabilities.has(needed)
            && self.peers.get(&peer).is_some_and(|known| {
                let capabilities = known.announce.capabilities.unwrap_or_default();
                capabilities.has(needed)
            })
    }

    /// Writes to a large group.
    pub(super) fn send_large_group(
        &mut self,
        group: GroupId,
        text: &str,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Result<MessageId, SendError> {
        let unix = self.unix(now);
        let known = self.large_groups.get_mut(&group);
        let known = known.ok_or(SendError::UnknownGroup { group })?;
        let id = MessageId::random(rng);
        let message = LargeGroupText {
            id: id.clone(),
            timestamp: unix,
            text: text.to_owned(),
        };
        let sealed = known.seal(&message, unix, &mut self.group_pickles)?;
        let payload = sealed.encode()?;
        // Keys first: who has one reads the message when it comes.
        self.tell_group(group, now, rng);
        self.send_sealed(group, &id, payload, now, rng)?;
        Ok(id)
    }

    /// Tells members that are there what they should know.
    fn tell_group(&mut self, group: GroupId, now: Instant, rng: &mut impl CryptoRng) {
        let Some(known) = self.large_groups.get(&group) else {
            return;
        };
        let owed: Vec<_> = known.owed().collect();
        let mut starts = 0;
        for member in owed {
            let is_new = !self.sessions.is_established(member.peer_id());
            if is_new && starts >= STARTS_MAX {
                continue;
            }
            let started = self.tell_member(group, member, now, rng);
            starts += usize::from(started && is_new);
        }
    }

    /// Does so again for those who did not answer.
    pub(super) fn tell_groups(&mut self, now: Instant, rng: &mut impl CryptoRng) {
        if self.tell_due > now {
            return;
        }
        self.tell_due = now + TELL_GAP;
        let groups: Vec<_> = self.large_groups.keys().copied().collect();
        for group in groups {
            self.tell_group(group, now, rng);
        }
    }

    /// There is a ratchet with a peer: it is told what it should know of every group.
    pub(super) fn tell_peer(&mut self, peer: PeerId, now: Instant, rng: &mut impl CryptoRng) {
        let Some(member) = self.fingerprint_of(peer) else {
            return;
        };
        let owing = self.large_groups.iter();
        let owing: Vec<_> = owing
            .filter(|(_, known)| known.owes(&member))
            .map(|(group, _)| *group)
            .collect();
        for group in owing {
            self.tell_member(group, member, now, rng);
        }
    }

    fn fingerprint_of(&self, peer: PeerId) -> Option<Fingerprint> {
        let known = self.peers.get(&peer)?;
        Some(known.announce.noise_key.fingerprint())
    }

    /// Tells a member that is there what it should know, or begins what that needs; `false` if it is not there.
    fn tell_member(
        &mut self,
        group: GroupId,
        member: Fingerprint,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> bool {
        let peer = member.peer_id();
        let reachable = self.peers.get(&peer).is_some_and(|peer| peer.is_reachable);
        if !reachable || !self.has_large_groups(peer) {
            return false;
        }
        if !self.sessions.is_established(peer) {
            self.start_session(peer, now, rng);
            return true;
        }
        if !self.has_ratchet(peer) {
            self.begin_ratchet(peer, now, rng);
            return true;
        }
        let known = self.large_groups.get(&group);
        let steps = known.map(|known| known.steps_for(&member));
        for step in steps.unwrap_or_default() {
            self.send_step(peer, step, now, rng);
        }
        true
    }

    /// Sends a step under a key of the ratchet, or not at all.
    fn send_step(
        &mut self,
        peer: PeerId,
        step: LargeGroupStep,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let Ok(plaintext) = Content::LargeGroup(step).encode() else {
            return;
        };
        if let Some(ratcheted) = self.ratcheted(peer, &plaintext)
            && let Some(sealed) = self.sessions.seal(peer, &ratcheted, now)
        {
            self.send_directed(PacketType::ENCRYPTED, peer, sealed, None, now, rng);
        }
    }

    /// Takes a step that came under a key of the ratchet.
    pub(super) fn handle_large_group(
        &mut self,
        from: PeerId,
        step: LargeGroupStep,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let Some(member) = self
            .fingerprint_of(from)
            .filter(|_| self.has_large_groups(from))
        else {
            self.counters.groups_refused += 1;
            return;
        };
        let pickles = &mut self.group_pickles;
        match step {
            LargeGroupStep::State(state) => {
                self.handle_large_group_state(from, member, state, now, rng);
            }
            LargeGroupStep::Heard { group, epoch } => {
                if let Some(known) = self.large_groups.get_mut(&group) {
                    known.heard(&member, epoch, pickles);
                }
            }
            LargeGroupStep::Taken { group, tag } => {
                if let Some(known) = self.large_groups.get_mut(&group) {
                    known.taken(&member, tag, pickles);
                }
            }
            LargeGroupStep::Ask { group, tag } => {
                if let Some(known) = self.large_groups.get_mut(&group) {
                    known.asked(&member, tag, pickles);
                    self.tell_member(group, member, now, rng);
                }
            }
            LargeGroupStep::Key { group, key } => {
                let known = self.large_groups.get_mut(&group);
                match known.map(|known| known.take_key(member, &key, pickles)) {
                    Some(Ok(tag)) => {
                        self.send_step(from, LargeGroupStep::Taken { group, tag }, now, rng);
                        self.read_early(group);
                    }
                    // Of a group of which nothing was heard yet: it comes again.
                    None => {}
                    Some(Err(_)) => self.counters.groups_refused += 1,
                }
            }
        }
    }

    fn handle_large_group_state(
        &mut self,
        from: PeerId,
        member: Fingerprint,
        state: LargeGroupState,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let own = self.identity.noise_key().fingerprint();
        let (group, creator, epoch) = (state.id, state.creator, state.epoch);
        let known = self.large_groups.get(&group).map(LargeGroup::state);
        // Whose ratchet it came over is proved, and only the creator says what a group is.
        let is_creators = creator == member && creator != own;
        if !is_creators
            || known.is_some_and(|known| known.creator != creator)
            || known.is_none() && self.large_groups.len() >= super::GROUPS_MAX
            || state.role(&own).is_none()
        {
            self.counters.groups_refused += 1;
            return;
        }
        if known.is_none_or(|known| known.epoch < epoch) {
            match self.large_groups.get_mut(&group) {
                Some(known) => known.change(state),
                None => {
                    self.large_groups.insert(group, LargeGroup::new(state, own));
                }
            }
            self.group_pickles.turn();
            self.emit(Event::Group { group, creator });
        }
        self.send_step(from, LargeGroupStep::Heard { group, epoch }, now, rng);
    }

    /// Reads a message to a large group that came over a neighbour after so many hops; `false` if it is to none this
    /// peer is in.
    pub(super) fn handle_large_group_message(
        &mut self,
        from: PeerId,
        message: &GroupMessage,
        came: (Option<PeerId>, u8),
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> bool {
        let Some(known) = self.large_groups.get_mut(&message.group) else {
            return false;
        };
        match known.open(message, &mut self.group_pickles) {
            Ok((text, member)) => self.tell_large_group_text(message.group, text, member, came),
            Err(LargeGroupError::NoKey) => self.keep_early(from, message, came, now, rng),
            Err(LargeGroupError::Gone) => self.counters.duplicated += 1,
            Err(_) => self.counters.groups_refused += 1,
        }
        true
    }

    fn tell_large_group_text(
        &mut self,
        group: GroupId,
        text: LargeGroupText,
        from: Fingerprint,
        (via, hops): (Option<PeerId>, u8),
    ) {
        self.emit(Event::GroupMessage {
            group,
            id: text.id,
            from,
            text: text.text,
            timestamp: text.timestamp,
            via,
            hops,
            protection: Protection::SenderKey,
        });
    }

    /// Keeps a message until the key of its writer comes, and asks who seems to have written it.
    fn keep_early(
        &mut self,
        from: PeerId,
        message: &GroupMessage,
        came: (Option<PeerId>, u8),
        now: Instant,
        rng: &mut impl CryptoRng,
    ) {
        let bytes: usize = self.early.iter().map(|(early, _)| early.sealed.len()).sum();
        let mut bytes = bytes + message.sealed.len();
        while self.early.len() >= EARLY_MAX || bytes > EARLY_BYTES_MAX {
            self.counters.groups_refused += 1;
            let Some((oldest, _)) = self.early.pop_front() else {
                return;
            };
            bytes -= oldest.sealed.len();
        }
        let (group, tag) = (message.group, message.nonce);
        let is_first = self.early.iter().all(|(early, _)| early.nonce != tag);
        self.early.push_back((message.clone(), came));
        let writer = self.fingerprint_of(from);
        let known = self.large_groups.get(&group).map(LargeGroup::state);
        let is_member =
            writer.is_some_and(|writer| known.is_some_and(|known| known.role(&writer).is_some()));
        if is_first && is_member && self.has_ratchet(from) {
            self.send_step(from, LargeGroupStep::Ask { group, tag }, now, rng);
        }
    }

    /// The key of a member came: what waited for it is read.
    fn read_early(&mut self, group: GroupId) {
        for (message, came) in std::mem::take(&mut self.early) {
            let known = self.large_groups.get_mut(&group);
            let opened = match known.filter(|_| message.group == group) {
                Some(known) => known.open(&message, &mut self.group_pickles),
                None => Err(LargeGroupError::NoKey),
            };
            match opened {
                Ok((text, member)) => self.tell_large_group_text(group, text, member, came),
                Err(LargeGroupError::NoKey) => self.early.push_back((message, came)),
                Err(_) => self.counters.groups_refused += 1,
            }
        }
    }
}
