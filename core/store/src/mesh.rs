//! What a peer of a mesh keeps across restarts.

use std::path::Path;

use fogcompute_base::{CryptoRng, UnixMillis};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::database::{Absent, Database, Schema, array, integer};
use crate::{Durability, StoreError};

/// Messages that are kept. When there are more, the oldest are forgotten.
pub const MESH_MESSAGES_MAX: u32 = 100_000;

const SCHEMA: Schema = Schema {
    application: i32::from_be_bytes(*b"FOGM"),
    migrations: &[include_str!("mesh_1.sql")],
    carry_over: |_| Ok(()),
};

/// A mesh peer's secrets, what its rules have to remember, and the messages it sent and received.
///
/// What belongs together is written in one transaction. The file holds secrets and texts in the clear: it is
/// created readable by its owner only, and backups of it are as secret as itself.
///
/// ```
/// use fogcompute_base::{OsEntropy, UnixMillis};
/// use fogcompute_store::{Audience, MeshChange, MeshMessage, MeshStore};
///
/// let mut store = MeshStore::in_memory()?;
/// let secrets = store.identity(&mut OsEntropy)?;
/// let message = MeshMessage {
///     id: "7".to_owned(),
///     peer: [1; 8],
///     is_own: false,
///     audience: Audience::Peer,
///     text: "hello".to_owned(),
///     at: UnixMillis(1_800_000_000_000),
///     state: 0,
///     via: None,
/// };
/// let changes = [MeshChange::Message(message.clone()), MeshChange::Message(message.clone())];
/// // Its rules and the message are on disk now. The same message is kept once.
/// assert_eq!(store.save(Some(b"rules"), &changes)?, [true, false]);
/// assert_eq!(store.messages(u64::MAX, 10)?, [(1, message)]);
/// # Ok::<(), fogcompute_store::StoreError>(())
/// ```
#[derive(Debug)]
pub struct MeshStore {
    database: Database,
    /// A commit was not confirmed: memory and disk may differ from here on.
    uncertain: bool,
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Audience {
    /// Everybody near.
    Everybody,
    /// One peer.
    Peer,
    /// A group.
    Group([u8; 16]),
}

/// A message that was sent or came in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MeshMessage {
    /// What sender and receiver know it by.
    pub id: String,
    /// Who wrote it; of a private one from here, whom it is for.
    pub peer: [u8; 8],
    /// Whether it was written here.
    pub is_own: bool,
    /// Whom it is for.
    pub audience: Audience,
    /// Its text.
    pub text: String,
    /// When it was written, says its writer.
    pub at: UnixMillis,
    /// How far one from here has come, as a number of the caller's.
    pub state: u8,
    /// The neighbour it came from, if it is known.
    pub via: Option<[u8; 8]>,
}

/// Something to write down.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MeshChange {
    /// A message, unless it is there.
    Message(MeshMessage),
    /// How far messages from here of that id have come.
    State {
        /// The message.
        id: String,
        /// How far.
        state: u8,
    },
}

impl MeshStore {
    /// Opens or creates a peer's file and owns it until dropped.
    ///
    /// # Errors
    /// [`StoreError::SpecialPath`], [`StoreError::NulInPath`], [`StoreError::CannotOpen`],
    /// [`StoreError::IsFolder`], [`StoreError::NoFolder`], [`StoreError::Locked`],
    /// [`StoreError::ReadOnly`], [`StoreError::NotADatabase`], [`StoreError::OtherDatabase`],
    /// [`StoreError::SchemaTooNew`], [`StoreError::Malformed`], [`StoreError::DiskFull`],
    /// [`StoreError::Sqlite`].
    pub fn open(path: impl AsRef<Path>, durability: Durability) -> Result<Self, StoreError> {
        let database = SCHEMA.open(path.as_ref(), durability, Absent::Create)?;
        let uncertain = false;
        Ok(Self {
            database,
            uncertain,
        })
    }

    /// Creates a store that is gone when it is dropped.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn in_memory() -> Result<Self, StoreError> {
        let database = SCHEMA.in_memory()?;
        let uncertain = false;
        Ok(Self {
            database,
            uncertain,
        })
    }

    /// The peer's secrets: 64 bytes from `rng` on first use, the same ever after.
    ///
    /// # Errors
    /// [`StoreError::BadIdentity`], and those of [`MeshStore::save`]. Secrets are returned only once they are on
    /// disk.
    pub fn identity(&mut self, rng: &mut impl CryptoRng) -> Result<[u8; 64], StoreError> {
        self.transaction(|connection| {
            let stored = connection
                .query_row("SELECT secret FROM identity", [], |row| {
                    Ok(array(row.get_ref(0)?))
                })
                .optional()?;
            if let Some(secret) = stored {
                return secret.ok_or(StoreError::BadIdentity);
            }
            let mut secret = [0; 64];
            rng.fill_bytes(&mut secret);
            connection.execute("INSERT INTO identity VALUES (1, ?1)", [secret])?;
            Ok(secret)
        })
    }

    /// What the rules had to remember, if anything was saved.
    ///
    /// # Errors
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`], [`StoreError::Forked`].
    pub fn state(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let connection = self.database.read()?;
        let saved = connection
            .query_row("SELECT saved FROM state", [], |row| row.get(0))
            .optional();
        self.database.blame(saved.map_err(StoreError::from))
    }

    /// Writes what the rules have to remember, if it changed, and what became of messages, in one transaction.
    /// Says of each message among the changes whether it is new here.
    ///
    /// # Errors
    /// [`StoreError::TimeOutOfRange`], [`StoreError::DiskFull`], [`StoreError::Replaced`],
    /// [`StoreError::Malformed`], [`StoreError::Sqlite`], [`StoreError::Forked`]: nothing changed.
    /// [`StoreError::CommitFailed`]: it may have; this handle answers [`StoreError::ReopenNeeded`] from then on.
    pub fn save(
        &mut self,
        state: Option<&[u8]>,
        changes: &[MeshChange],
    ) -> Result<Vec<bool>, StoreError> {
        self.transaction(|connection| write(connection, state, changes))
    }

    /// The newest messages with numbers below `before`, the newest first, at most `limit`, with their numbers.
    ///
    /// # Errors
    /// [`StoreError::BadMessage`], [`StoreError::Malformed`], [`StoreError::Sqlite`], [`StoreError::Forked`].
    pub fn messages(
        &self,
        before: u64,
        limit: usize,
    ) -> Result<Vec<(u64, MeshMessage)>, StoreError> {
        let read = read_messages(self.database.read()?, before, limit);
        self.database.blame(read)
    }

    fn transaction<T>(
        &mut self,
        write: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.uncertain {
            return Err(StoreError::ReopenNeeded);
        }
        let written = self.database.transaction(write);
        self.uncertain = matches!(written, Err(StoreError::CommitFailed { .. }));
        self.database.blame(written)
    }
}

fn write(
    connection: &Connection,
    state: Option<&[u8]>,
    changes: &[MeshChange],
) -> Result<Vec<bool>, StoreError> {
    if let Some(state) = state {
        connection
            .prepare_cached("INSERT OR REPLACE INTO state VALUES (1, ?1)")?
            .execute([state])?;
    }
    let mut new = Vec::new();
    for change in changes {
        match change {
            MeshChange::Message(message) => new.push(insert(connection, message)?),
            MeshChange::State { id, state } => {
                connection
                    .prepare_cached("UPDATE messages SET state = ?2 WHERE id = ?1 AND is_own = 1")?
                    .execute(params![id, state])?;
            }
        }
    }
    if new.contains(&true) {
        connection
            .prepare_cached(
                "DELETE FROM messages WHERE number <= (SELECT max(number) FROM messages) - ?1",
            )?
            .execute([MESH_MESSAGES_MAX])?;
    }
    Ok(new)
}

fn insert(connection: &Connection, message: &MeshMessage) -> Result<bool, StoreError> {
    let at = i64::try_from(message.at.0);
    let at = at.map_err(|_| StoreError::TimeOutOfRange { time: message.at })?;
    let (audience, group) = match message.audience {
        Audience::Everybody => (0, None),
        Audience::Peer => (1, None),
        Audience::Group(group) => (2, Some(group)),
    };
    let inserted = connection
        .prepare_cached(
            "INSERT OR IGNORE INTO messages (id, peer, is_own, audience, of_group, text, at, state, via)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            message.id,
            message.peer,
            message.is_own,
            audience,
            group,
            message.text,
            at,
            message.state,
            message.via,
        ])?;
    Ok(inserted > 0)
}

fn read_messages(
    connection: &Connection,
    before: u64,
    limit: usize,
) -> Result<Vec<(u64, MeshMessage)>, StoreError> {
    // No stored number is above i64::MAX.
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(
        "SELECT number, id, peer, is_own, audience, of_group, text, at, state, via FROM messages
         WHERE number < ?1 ORDER BY number DESC LIMIT ?2",
    )?;
    let mut rows = statement.query([before, limit])?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        let number = row.get::<_, i64>(0)?.unsigned_abs();
        messages.push((number, read_message(number, row)?));
    }
    Ok(messages)
}

fn read_message(number: u64, row: &Row<'_>) -> Result<MeshMessage, StoreError> {
    let bad = |column| StoreError::BadMessage { number, column };
    let group = row.get_ref(5)?;
    let via = row.get_ref(9)?;
    Ok(MeshMessage {
        id: row.get(1)?,
        peer: array(row.get_ref(2)?).ok_or_else(|| bad("peer"))?,
        is_own: row.get(3)?,
        audience: match row.get::<_, i64>(4)? {
            0 => Audience::Everybody,
            1 => Audience::Peer,
            _ => Audience::Group(array(group).ok_or_else(|| bad("of_group"))?),
        },
        text: row.get(6)?,
        at: integer(row.get_ref(7)?)
            .map(UnixMillis)
            .ok_or_else(|| bad("at"))?,
        state: integer(row.get_ref(8)?).ok_or_else(|| bad("state"))?,
        via: match via.as_blob_or_null() {
            Ok(None) => None,
            _ => Some(array(via).ok_or_else(|| bad("via"))?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng;
    use tempfile::TempDir;

    fn message(id: &str, audience: Audience) -> MeshMessage {
        MeshMessage {
            id: id.to_owned(),
            peer: [3; 8],
            is_own: true,
            audience,
            text: format!("text of {id}"),
            at: UnixMillis(17),
            state: 0,
            via: None,
        }
    }

    #[test]
    fn what_was_saved_is_there_when_the_file_is_opened_again() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("mesh");
        let mut store = MeshStore::open(&path, Durability::Full).unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let secret = store.identity(&mut rng).unwrap();
        assert_eq!(store.identity(&mut rng).unwrap(), secret);
        assert_eq!(store.state().unwrap(), None);
        let mut received = message("b", Audience::Group([9; 16]));
        (received.is_own, received.via) = (false, Some([4; 8]));
        let changes = [
            MeshChange::Message(message("a", Audience::Peer)),
            MeshChange::Message(received.clone()),
            MeshChange::State {
                id: "a".to_owned(),
                state: 3,
            },
        ];
        assert_eq!(store.save(Some(b"one"), &changes).unwrap(), [true, true]);
        store.save(Some(b"two"), &[]).unwrap();
        store.save(None, &[]).unwrap();
        drop(store);

        let mut store = MeshStore::open(&path, Durability::Full).unwrap();
        assert_eq!(store.identity(&mut rng).unwrap(), secret);
        assert_eq!(store.state().unwrap().as_deref(), Some(&b"two"[..]));
        let mut sent = message("a", Audience::Peer);
        sent.state = 3;
        assert_eq!(
            store.messages(u64::MAX, 9).unwrap(),
            [(2, received), (1, sent.clone())]
        );
        assert_eq!(store.messages(2, 9).unwrap(), [(1, sent)]);
        // It comes again, as after a restart of the mesh.
        let again = [MeshChange::Message(message("a", Audience::Everybody))];
        assert_eq!(store.save(None, &again).unwrap(), [false]);
    }

    #[test]
    fn a_time_that_cannot_be_stored_changes_nothing() {
        let mut store = MeshStore::in_memory().unwrap();
        let mut late = message("late", Audience::Peer);
        late.at = UnixMillis(u64::MAX);
        let changes = [
            MeshChange::Message(message("in time", Audience::Peer)),
            MeshChange::Message(late),
        ];
        assert!(matches!(
            store.save(Some(b"state"), &changes),
            Err(StoreError::TimeOutOfRange { .. })
        ));
        assert_eq!(store.messages(u64::MAX, 9).unwrap(), []);
        assert_eq!(store.state().unwrap(), None);
    }

    #[test]
    fn the_oldest_messages_are_forgotten() {
        let mut store = MeshStore::in_memory().unwrap();
        let first = [MeshChange::Message(message("first", Audience::Peer))];
        store.save(None, &first).unwrap();
        let connection = store.database.read().unwrap();
        let ahead = "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'messages'";
        connection.execute(ahead, [MESH_MESSAGES_MAX]).unwrap();
        let newest = [MeshChange::Message(message("newest", Audience::Peer))];
        store.save(None, &newest).unwrap();
        let kept = store.messages(u64::MAX, 9).unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].0, u64::from(MESH_MESSAGES_MAX) + 1);
    }

    #[test]
    fn rows_that_make_no_sense_are_said_to() {
        let mut store = MeshStore::in_memory().unwrap();
        let changes = [MeshChange::Message(message("a", Audience::Peer))];
        store.save(None, &changes).unwrap();
        for (column, value) in [("peer", "x'00'"), ("at", "-1"), ("state", "256")] {
            let connection = store.database.read().unwrap();
            let sql = format!("SAVEPOINT s; UPDATE messages SET {column} = {value}");
            connection.execute_batch(&sql).unwrap();
            let refused = store.messages(u64::MAX, 9);
            assert!(
                matches!(refused, Err(StoreError::BadMessage { number: 1, column: c }) if c == column),
                "{column}"
            );
            let connection = store.database.read().unwrap();
            connection
                .execute_batch("ROLLBACK TO s; RELEASE s")
                .unwrap();
        }
    }
}
