//! What a node keeps: in a file, or for as long as it runs.

use fogcompute_base::UnixMillis;
use fogcompute_mesh::history::{Change, Conversation, History, HistoryLimits, Memory, Message};
use fogcompute_store::{MeshStore, StoreError};

/// Messages of a node without a file: each may have 16 KiB.
const MEMORY_MESSAGES_MAX: u32 = 1000;

/// Where messages are kept, and what the rules have to remember if there is a file.
pub(super) enum Kept {
    File(MeshStore),
    Memory(Memory),
}

impl Kept {
    pub(super) fn new(store: Option<MeshStore>, limits: HistoryLimits) -> Self {
        let mut kept = store.map_or_else(|| Self::Memory(Memory::default()), Self::File);
        kept.set_limits(limits);
        kept
    }

    pub(super) const fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    /// Writes what the rules have to remember, where there is a file, and what became of messages; says of each
    /// message whether it is new.
    pub(super) fn save(
        &mut self,
        state: Option<&[u8]>,
        changes: &[Change],
        unix: UnixMillis,
    ) -> Result<Vec<bool>, StoreError> {
        match self {
            Self::File(store) => store.save(state, changes, unix),
            Self::Memory(memory) => sure(memory.keep(changes, unix)),
        }
    }
}

fn sure<T>(done: Result<T, std::convert::Infallible>) -> Result<T, StoreError> {
    match done {
        Ok(done) => Ok(done),
        Err(never) => match never {},
    }
}

impl History for Kept {
    type Error = StoreError;

    fn set_limits(&mut self, limits: HistoryLimits) {
        match self {
            Self::File(store) => store.set_limits(limits),
            Self::Memory(memory) => memory.set_limits(HistoryLimits {
                messages_max: limits.messages_max.min(MEMORY_MESSAGES_MAX),
                ..limits
            }),
        }
    }

    fn keep(&mut self, changes: &[Change], unix: UnixMillis) -> Result<Vec<bool>, StoreError> {
        self.save(None, changes, unix)
    }

    fn page(
        &self,
        of: Option<Conversation>,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Message)>, StoreError> {
        match self {
            Self::File(store) => store.page(of, before, limit),
            Self::Memory(memory) => sure(memory.page(of, before, limit)),
        }
    }

    fn conversations(&self) -> Result<Vec<(Conversation, u64)>, StoreError> {
        match self {
            Self::File(store) => store.conversations(),
            Self::Memory(memory) => sure(memory.conversations()),
        }
    }

    fn delete(&mut self, number: u64) -> Result<bool, StoreError> {
        match self {
            Self::File(store) => store.delete(number),
            Self::Memory(memory) => sure(memory.delete(number)),
        }
    }

    fn delete_conversation(&mut self, of: Conversation) -> Result<u64, StoreError> {
        match self {
            Self::File(store) => store.delete_conversation(of),
            Self::Memory(memory) => sure(memory.delete_conversation(of)),
        }
    }
}
