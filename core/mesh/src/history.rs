//! Messages that were sent and came in, to be read again.
//!
//! [`History`] is what a store of them does, whatever it is made of; every one passes [`conformance`]. [`Memory`] is
//! one that is gone with the program.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use fogcompute_base::UnixMillis;

use crate::group::GroupId;
use crate::node::DeliveryState;
use crate::packet::PeerId;
use crate::payload::MessageId;

pub mod conformance;

/// Who reads a message, and with what it stands together.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Conversation {
    /// With everybody near.
    Everybody,
    /// With one peer.
    Peer(PeerId),
    /// In a group.
    Group(GroupId),
}

/// A message that was sent or came in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    /// What sender and receiver know it by.
    pub id: MessageId,
    /// Where it stands.
    pub conversation: Conversation,
    /// Who wrote it; `None` is this peer.
    pub from: Option<PeerId>,
    /// Its text.
    pub text: String,
    /// When it was written, says its writer.
    pub at: UnixMillis,
    /// How far one from here has come.
    pub state: DeliveryState,
    /// The neighbour it came from, if it is known.
    pub via: Option<PeerId>,
    /// Hops it seems to have taken; 0 if that is not known.
    pub hops: u8,
}

/// Something to keep.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// A message, unless it is there or was deleted.
    Message(Message),
    /// How far a message from here has come.
    State {
        /// The message.
        id: MessageId,
        /// How far.
        state: DeliveryState,
    },
}

/// How much is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HistoryLimits {
    /// Most messages. When there are more, the oldest are forgotten.
    pub messages_max: u32,
    /// How long after it was kept a message is forgotten; `None` is never.
    pub age_max: Option<Duration>,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self {
            messages_max: 100_000,
            age_max: None,
        }
    }
}

/// Keeps messages by conversation.
///
/// Messages are numbered in the order in which they were kept, from 1; no number is given twice.
pub trait History {
    /// Why it cannot.
    type Error;

    /// How much is kept from now on. What is more goes with the next change.
    fn set_limits(&mut self, limits: HistoryLimits);

    /// Keeps what became of messages, all or nothing, and forgets what is too much or too old at `unix`. Says of each
    /// message among the changes whether it is new here: one that was deleted is not.
    ///
    /// # Errors
    /// The store's own. Nothing changed then.
    fn keep(&mut self, changes: &[Change], unix: UnixMillis) -> Result<Vec<bool>, Self::Error>;

    /// The newest messages with numbers below `before`, the newest first, at most `limit`: of one conversation, or of
    /// all. The number of the last is where to go on.
    ///
    /// # Errors
    /// The store's own.
    fn page(
        &self,
        of: Option<Conversation>,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Message)>, Self::Error>;

    /// Conversations with messages, the one with the newest message first, each with that message's number.
    ///
    /// # Errors
    /// The store's own.
    fn conversations(&self) -> Result<Vec<(Conversation, u64)>, Self::Error>;

    /// Deletes a message. Its text is gone; that it was there is remembered, so that it does not come again. `false`
    /// if there is none of that number.
    ///
    /// # Errors
    /// The store's own.
    fn delete(&mut self, number: u64) -> Result<bool, Self::Error>;

    /// Deletes what a conversation has; gives how many messages that were.
    ///
    /// # Errors
    /// The store's own.
    fn delete_conversation(&mut self, of: Conversation) -> Result<u64, Self::Error>;
}

/// What tells a message from others: the same id may be another peer's.
type Key = (MessageId, Option<PeerId>);

struct Kept {
    message: Message,
    since: UnixMillis,
    is_deleted: bool,
}

/// Messages in memory.
#[derive(Default)]
pub struct Memory {
    limits: HistoryLimits,
    messages: BTreeMap<u64, Kept>,
    keys: BTreeSet<Key>,
    last: u64,
}

impl Memory {
    /// No messages yet.
    #[must_use]
    pub fn new(limits: HistoryLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    fn prune(&mut self, unix: UnixMillis) {
        let most = usize::try_from(self.limits.messages_max).unwrap_or(usize::MAX);
        let mut too_many = self.messages.len().saturating_sub(most);
        let age_max = self.limits.age_max;
        self.messages.retain(|_, kept| {
            let age = Duration::from_millis(unix.0.saturating_sub(kept.since.0));
            let goes = too_many > 0 || age_max.is_some_and(|most| age > most);
            too_many = too_many.saturating_sub(1);
            if goes {
                self.keys.remove(&key(&kept.message));
            }
            !goes
        });
    }

    fn shown(&self) -> impl DoubleEndedIterator<Item = (u64, &Message)> {
        let kept = self.messages.iter().filter(|(_, kept)| !kept.is_deleted);
        kept.map(|(number, kept)| (*number, &kept.message))
    }
}

fn key(message: &Message) -> Key {
    (message.id.clone(), message.from)
}

impl History for Memory {
    type Error = Infallible;

    fn set_limits(&mut self, limits: HistoryLimits) {
        self.limits = limits;
    }

    fn keep(&mut self, changes: &[Change], unix: UnixMillis) -> Result<Vec<bool>, Infallible> {
        let mut new = Vec::new();
        for change in changes {
            match change {
                Change::Message(message) => {
                    let is_new = self.keys.insert(key(message));
                    new.push(is_new);
                    if is_new {
                        self.last += 1;
                        let kept = Kept {
                            message: message.clone(),
                            since: unix,
                            is_deleted: false,
                        };
                        self.messages.insert(self.last, kept);
                    }
                }
                Change::State { id, state } => {
                    let all = self.messages.values_mut().map(|kept| &mut kept.message);
                    for message in all.filter(|message| message.from.is_none() && message.id == *id)
                    {
                        message.state = *state;
                    }
                }
            }
        }
        self.prune(unix);
        Ok(new)
    }

    fn page(
        &self,
        of: Option<Conversation>,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Message)>, Infallible> {
        let page = self.shown().rev().filter(|(number, message)| {
            *number < before && of.is_none_or(|of| message.conversation == of)
        });
        Ok(page
            .take(limit)
            .map(|(number, message)| (number, message.clone()))
            .collect())
    }

    fn conversations(&self) -> Result<Vec<(Conversation, u64)>, Infallible> {
        let newest: BTreeMap<_, _> = self
            .shown()
            .map(|(number, message)| (message.conversation, number))
            .collect();
        let mut all: Vec<_> = newest.into_iter().collect();
        all.sort_unstable_by_key(|(_, number)| std::cmp::Reverse(*number));
        Ok(all)
    }

    fn delete(&mut self, number: u64) -> Result<bool, Infallible> {
        let kept = self.messages.get_mut(&number);
        Ok(kept.is_some_and(Kept::delete))
    }

    fn delete_conversation(&mut self, of: Conversation) -> Result<u64, Infallible> {
        let kept = self.messages.values_mut();
        let all = kept.filter(|kept| kept.message.conversation == of);
        let deleted = all.map(|kept| u64::from(kept.delete())).sum();
        Ok(deleted)
    }
}

impl Kept {
    fn delete(&mut self) -> bool {
        self.message.text = String::new();
        !std::mem::replace(&mut self.is_deleted, true)
    }
}

#[cfg(test)]
mod tests {
    crate::history_conformance!(|| super::Memory::new(super::HistoryLimits::default()));
}
