//! Tables for people and their SQL, brought up to date behind the history.

use std::collections::HashMap;

use fogcompute_base::{AccountId, Digest, TransferId, UnixMillis};
use fogcompute_ledger::{
    Account, AccountKind, Amount, AssetId, Batch, Corruption, Entry, EntryKind, Head, Limits, Memo,
    Spent,
};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{journal, position, time};
use crate::StoreError;
use crate::database::{array, integer};

const ACCOUNT: &str = "id, asset, kind, credits_posted, debits_posted, credits_pending, \
     debits_pending, closed, max_supply, credits_must_not_exceed_debits, spend_per_day";
pub(super) const ENTRY: &str = "sequence, time, kind, id, reservation, from_account, to_account, \
     asset, account_kind, amount, released, expires, code, reference, detail, chain";

/// Posted counters of an account at some moment of the past.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    /// The last entry before that moment that named the account.
    pub sequence: u64,
    /// All it had received.
    pub credits_posted: Amount,
    /// All it had given.
    pub debits_posted: Amount,
}

impl Standing {
    /// Posted balance, including what was reserved then; zero for an issuer that had put out more
    /// than it took back.
    #[must_use]
    pub const fn balance(&self) -> Amount {
        Amount(self.credits_posted.0.saturating_sub(self.debits_posted.0))
    }
}

/// How far the tables are, and the latest time up to there.
pub(super) fn position_of(connection: &Connection) -> Result<(u64, UnixMillis), StoreError> {
    let bad = |column| StoreError::BadProjection { column };
    let mut statement = connection
        .prepare_cached("SELECT projected_sequence, moment FROM projection WHERE one = 1")?;
    let found = statement
        .query_row([], |row| {
            Ok((integer(row.get_ref(0)?), integer(row.get_ref(1)?)))
        })
        .optional()?;
    let (sequence, moment) = found.ok_or_else(|| bad("one"))?;
    Ok((
        sequence.ok_or_else(|| bad("projected_sequence"))?,
        UnixMillis(moment.ok_or_else(|| bad("moment"))?),
    ))
}

/// Takes the next entries in, `limit` or a few more; says how many.
pub(super) fn advance(connection: &Connection, limit: usize) -> Result<usize, StoreError> {
    let (projected, mut moment) = position_of(connection)?;
    let mut running = Running::default();
    let mut count = 0;
    let mut end = projected;
    let mut chain = None;
    let mut insert = connection.prepare_cached(
        "INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, \
         ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
    )?;
    journal::each_after(connection, projected, |stored| {
        let before = match chain {
            Some(chain) => chain,
            None => journal::before(connection, stored.batch.first)?.chain,
        };
        moment = moment.max(stored.batch.time);
        for entry in stored.batch.entries(before) {
            let after = running.apply(&entry.kind, Some(connection))?;
            let columns = Columns::of(&entry);
            let [from, to] =
                after.map(|it| it.map(|(credits, debits)| (blob(credits), blob(debits))));
            insert.execute(params![
                position(entry.sequence),
                time(entry.time)?,
                time(moment)?,
                entry.kind.code(),
                columns.id.as_ref().map(TransferId::as_bytes),
                columns.reservation.as_ref().map(TransferId::as_bytes),
                columns.from.as_bytes(),
                columns.to.as_ref().map(AccountId::as_bytes),
                columns.asset.map(|asset| asset.0),
                columns.account_kind.map(AccountKind::code),
                columns.amount.map(blob),
                columns.released.map(blob),
                columns.expires.map(time).transpose()?,
                columns.memo.map(|memo| memo.code),
                columns.memo.map(|memo| memo.reference),
                columns.detail,
                entry.chain.as_bytes(),
                from.unwrap_or_default().0,
                from.unwrap_or_default().1,
                to.map(|(credits, _)| credits),
                to.map(|(_, debits)| debits),
            ])?;
            end = entry.sequence;
            count += 1;
        }
        chain = Some(stored.chain);
        Ok(count < limit)
    })?;
    running.write(connection)?;
    connection
        .prepare_cached("UPDATE projection SET projected_sequence = ?1, moment = ?2")?
        .execute(params![position(end), time(moment)?])?;
    Ok(count)
}

/// Accounts as a run of entries leaves them: another way to the sums than the rules', and simpler.
#[derive(Debug, Default)]
pub(super) struct Running {
    accounts: HashMap<AccountId, Account>,
}

type Counters = (Amount, Amount);

impl Running {
    /// Follows an entry; what it needs of accounts it does not know it reads. Returns the posted
    /// counters of the two accounts afterwards.
    pub(super) fn apply(
        &mut self,
        kind: &EntryKind,
        connection: Option<&Connection>,
    ) -> Result<[Option<Counters>; 2], StoreError> {
        let (from, to) = match (kind.parties(), kind.account()) {
            (Some((from, to)), _) => (from, Some(to)),
            (None, Some(account)) => (account, None),
            (None, None) => return Ok([None, None]),
        };
        if let EntryKind::Opened {
            account,
            asset,
            kind,
        } = *kind
        {
            self.accounts
                .insert(account, Account::new(account, asset, kind));
        }
        let mut side = |account, change: &dyn Fn(&mut Account)| {
            let account = self.known(account, connection)?;
            change(account);
            Ok::<_, StoreError>((account.credits_posted, account.debits_posted))
        };
        let add = |sum: &mut Amount, amount: Amount| sum.0 = sum.0.wrapping_add(amount.0);
        let take = |sum: &mut Amount, amount: Amount| sum.0 = sum.0.wrapping_sub(amount.0);
        let (posted, held, freed) = match *kind {
            EntryKind::Transferred { amount, .. } | EntryKind::Moved { amount, .. } => {
                (amount, Amount::ZERO, Amount::ZERO)
            }
            EntryKind::Reserved { amount, .. } => (Amount::ZERO, amount, Amount::ZERO),
            EntryKind::Posted {
                amount, released, ..
            } => (
                amount,
                Amount::ZERO,
                Amount(amount.0.wrapping_add(released.0)),
            ),
            EntryKind::Voided { released, .. } | EntryKind::Expired { released, .. } => {
                (Amount::ZERO, Amount::ZERO, released)
            }
            _ => (Amount::ZERO, Amount::ZERO, Amount::ZERO),
        };
        let from = side(from, &|account| {
            add(&mut account.debits_posted, posted);
            add(&mut account.debits_pending, held);
            take(&mut account.debits_pending, freed);
            match *kind {
                EntryKind::Limited { limits, .. } => account.limits = limits,
                EntryKind::Closed { .. } => account.closed = true,
                _ => {}
            }
        })?;
        let to = to.map(|to| {
            side(to, &|account| {
                add(&mut account.credits_posted, posted);
                add(&mut account.credits_pending, held);
                take(&mut account.credits_pending, freed);
            })
        });
        Ok([Some(from), to.transpose()?])
    }

    fn known(
        &mut self,
        id: AccountId,
        connection: Option<&Connection>,
    ) -> Result<&mut Account, StoreError> {
        use std::collections::hash_map::Entry;
        match self.accounts.entry(id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(vacant) => {
                let stored = match connection {
                    Some(connection) => read_one(connection, id)?,
                    None => None,
                };
                Ok(vacant.insert(stored.ok_or(Corruption::AccountMissing { account: id })?))
            }
        }
    }

    fn write(&self, connection: &Connection) -> Result<(), StoreError> {
        let query = "INSERT OR REPLACE INTO accounts VALUES \
                     (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
        let mut statement = connection.prepare_cached(query)?;
        let mut accounts: Vec<_> = self.accounts.values().collect();
        accounts.sort_unstable_by_key(|account| account.id);
        for account in accounts {
            statement.execute(params![
                account.id.as_bytes(),
                account.asset.0,
                account.kind.code(),
                blob(account.credits_posted),
                blob(account.debits_posted),
                blob(account.credits_pending),
                blob(account.debits_pending),
                account.closed,
                account.limits.max_supply.map(blob),
                account.limits.credits_must_not_exceed_debits,
                account.limits.spend_per_day.map(blob),
            ])?;
        }
        Ok(())
    }

    /// Compares with the stored accounts, all of them.
    pub(super) fn compare(mut self, connection: &Connection) -> Result<(), StoreError> {
        let query = format!("SELECT {ACCOUNT} FROM accounts ORDER BY id");
        let mut statement = connection.prepare(&query)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let stored = read_account(row)?;
            let account = stored.id;
            let history = self
                .accounts
                .remove(&account)
                .ok_or(Corruption::AccountUnknown { account })?;
            if history != stored {
                return Err(Corruption::AccountDiffers {
                    account,
                    stored: Box::new(stored),
                    history: Box::new(history),
                }
                .into());
            }
        }
        match self.accounts.into_keys().min() {
            Some(account) => Err(Corruption::AccountMissing { account }.into()),
            None => Ok(()),
        }
    }
}

/// Compares the tables with the history as that goes by.
pub(super) struct Comparison<'a> {
    connection: &'a Connection,
    running: Option<Running>,
    projected: u64,
    moment: UnixMillis,
    at: Head,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(connection: &'a Connection) -> Result<Self, StoreError> {
        let (projected, _) = position_of(connection)?;
        Ok(Self {
            connection,
            running: Some(Running::default()),
            projected,
            moment: UnixMillis(0),
            at: Head::GENESIS,
        })
    }

    /// Compares the rows of a batch.
    pub(super) fn push(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if batch.first > self.projected {
            return self.compare_accounts();
        }
        self.moment = self.moment.max(batch.time);
        let running = self
            .running
            .as_mut()
            .expect("taken at the end of the tables");
        let query = format!(
            "SELECT {ENTRY}, moment, from_credits, from_debits, to_credits, to_debits \
             FROM entries WHERE sequence BETWEEN ?1 AND ?2 ORDER BY sequence"
        );
        let mut statement = self.connection.prepare_cached(&query)?;
        let mut rows = statement.query([position(batch.first), position(batch.last())])?;
        for entry in batch.entries(self.at.chain) {
            let sequence = entry.sequence;
            let differs = StoreError::ProjectionDiffers { sequence };
            let Some(row) = rows.next()? else {
                return Err(differs);
            };
            let [from, to] = running.apply(&entry.kind, None)?;
            let counter = |index| {
                let value = row.get_ref(index)?;
                Ok::<_, StoreError>(array(value).map(|bytes| Amount(u128::from_be_bytes(bytes))))
            };
            let stored_from = counter(17)?.zip(counter(18)?);
            let stored_to = counter(19)?.zip(counter(20)?);
            let same = read_entry(row)? == entry
                && integer(row.get_ref(16)?) == Some(self.moment.0)
                && (stored_from, stored_to) == (from, to);
            if !same {
                return Err(differs);
            }
            self.at = entry.head();
        }
        if self.at.sequence >= self.projected {
            self.compare_accounts()?;
        }
        Ok(())
    }

    fn compare_accounts(&mut self) -> Result<(), StoreError> {
        match self.running.take() {
            Some(running) => running.compare(self.connection),
            None => Ok(()),
        }
    }

    pub(super) fn finish(mut self) -> Result<(), StoreError> {
        self.compare_accounts()?;
        // Rows that no history has.
        let last: Option<i64> =
            self.connection
                .query_row("SELECT max(sequence) FROM entries", [], |row| row.get(0))?;
        if last.unwrap_or(0) == position(self.at.sequence) && self.at.sequence == self.projected {
            return Ok(());
        }
        Err(StoreError::ProjectionDiffers {
            sequence: self.at.sequence.saturating_add(1),
        })
    }
}

/// Posted counters of the account after the entry of that sequence.
pub(super) fn standing(
    connection: &Connection,
    account: AccountId,
    sequence: u64,
) -> Result<Option<Standing>, StoreError> {
    let mut latest = None::<Standing>;
    for query in [
        "SELECT sequence, from_credits, from_debits FROM entries \
         WHERE from_account = ?1 AND sequence <= ?2 ORDER BY sequence DESC LIMIT 1",
        "SELECT sequence, to_credits, to_debits FROM entries \
         WHERE to_account = ?1 AND sequence <= ?2 ORDER BY sequence DESC LIMIT 1",
    ] {
        let mut statement = connection.prepare_cached(query)?;
        let mut rows = statement.query(params![account.as_bytes(), position(sequence)])?;
        let Some(row) = rows.next()? else { continue };
        let sequence = integer(row.get_ref(0)?).unwrap_or(0);
        let counter = |index, column| {
            let bytes = array(row.get_ref(index)?);
            let bytes = bytes.ok_or(StoreError::BadEntry { sequence, column })?;
            Ok::<_, StoreError>(Amount(u128::from_be_bytes(bytes)))
        };
        let found = Standing {
            sequence,
            credits_posted: counter(1, "credits")?,
            debits_posted: counter(2, "debits")?,
        };
        if latest.is_none_or(|latest| latest.sequence < found.sequence) {
            latest = Some(found);
        }
    }
    Ok(latest)
}

/// The last entry that was made by that time.
pub(super) fn sequence_at(connection: &Connection, at: UnixMillis) -> Result<u64, StoreError> {
    let at = i64::try_from(at.0).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(
        "SELECT sequence FROM entries WHERE moment <= ?1 ORDER BY moment DESC, sequence DESC \
         LIMIT 1",
    )?;
    let found = statement.query_row([at], |row| Ok(integer(row.get_ref(0)?)));
    Ok(found.optional()?.flatten().unwrap_or(0))
}

fn read_one(connection: &Connection, id: AccountId) -> Result<Option<Account>, StoreError> {
    let query = format!("SELECT {ACCOUNT} FROM accounts WHERE id = ?1");
    let mut statement = connection.prepare_cached(&query)?;
    let found = statement
        .query_row([id.as_bytes()], |row| Ok(read_account(row)))
        .optional()?;
    found.transpose()
}

/// Big-endian, so that SQLite compares blobs as it would compare the numbers.
const fn blob(amount: Amount) -> [u8; 16] {
    amount.0.to_be_bytes()
}

/// What the kinds of entries have between them, as the table has it.
pub(super) struct Columns {
    pub(super) id: Option<TransferId>,
    pub(super) reservation: Option<TransferId>,
    pub(super) from: AccountId,
    pub(super) to: Option<AccountId>,
    pub(super) asset: Option<AssetId>,
    pub(super) account_kind: Option<AccountKind>,
    pub(super) amount: Option<Amount>,
    pub(super) released: Option<Amount>,
    pub(super) expires: Option<UnixMillis>,
    pub(super) memo: Option<Memo>,
    pub(super) detail: Option<Vec<u8>>,
}

impl Columns {
    pub(super) fn of(entry: &Entry) -> Self {
        let kind = &entry.kind;
        let (from, to) = match (kind.parties(), kind.account()) {
            (Some((from, to)), _) => (from, Some(to)),
            (None, account) => (account.unwrap_or(AccountId::from_bytes([0; 16])), None),
        };
        let mut columns = Self {
            id: kind.id(),
            reservation: kind.reservation(),
            from,
            to,
            asset: None,
            account_kind: None,
            amount: None,
            released: None,
            expires: None,
            memo: Some(kind.memo()).filter(|memo| !memo.is_none()),
            detail: None,
        };
        match *kind {
            EntryKind::Opened { asset, kind, .. } => {
                columns.asset = Some(asset);
                columns.account_kind = Some(kind);
            }
            EntryKind::Transferred { amount, .. } => columns.amount = Some(amount),
            EntryKind::Reserved {
                amount, expires, ..
            } => {
                columns.amount = Some(amount);
                columns.expires = expires;
            }
            EntryKind::Posted {
                amount, released, ..
            } => {
                columns.amount = Some(amount);
                columns.released = Some(released);
            }
            EntryKind::Voided { released, .. } | EntryKind::Expired { released, .. } => {
                columns.released = Some(released);
            }
            EntryKind::Moved { amount, .. } => {
                columns.amount = Some(amount);
                columns.detail = Some(record(entry));
            }
            // Later kinds as well: an entry's own encoding says all there is to say.
            _ => columns.detail = Some(record(entry)),
        }
        columns
    }
}

/// An entry by itself as a batch of one.
pub(super) fn record(entry: &Entry) -> Vec<u8> {
    Batch {
        first: entry.sequence,
        time: entry.time,
        kinds: vec![entry.kind.clone()],
    }
    .encode()
}

pub(super) fn read_account(row: &Row<'_>) -> Result<Account, StoreError> {
    let id = array(row.get_ref(0)?).map(AccountId::from_bytes);
    let bad = |column| StoreError::BadAccount {
        account: id,
        column,
    };
    let amount = |index, column| {
        let bytes = array(row.get_ref(index)?).ok_or_else(|| bad(column))?;
        Ok::<_, StoreError>(Amount(u128::from_be_bytes(bytes)))
    };
    let optional = |index, column| match row.get_ref(index)? {
        ValueRef::Null => Ok(None),
        _ => amount(index, column).map(Some),
    };
    let flag = |index, column| match integer(row.get_ref(index)?) {
        Some(0_u8) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(bad(column)),
    };
    Ok(Account {
        limits: Limits {
            max_supply: optional(8, "max_supply")?,
            credits_must_not_exceed_debits: flag(9, "credits_must_not_exceed_debits")?,
            spend_per_day: optional(10, "spend_per_day")?,
        },
        closed: flag(7, "closed")?,
        // Not among the columns: it follows from the day's entries.
        spent: Spent::default(),
        id: id.ok_or_else(|| bad("id"))?,
        asset: integer(row.get_ref(1)?)
            .map(AssetId)
            .ok_or_else(|| bad("asset"))?,
        kind: integer(row.get_ref(2)?)
            .and_then(AccountKind::from_code)
            .ok_or_else(|| bad("kind"))?,
        credits_posted: amount(3, "credits_posted")?,
        debits_posted: amount(4, "debits_posted")?,
        credits_pending: amount(5, "credits_pending")?,
        debits_pending: amount(6, "debits_pending")?,
    })
}

pub(super) fn read_entry(row: &Row<'_>) -> Result<Entry, StoreError> {
    // The row's own key is an integer by construction; a negative one fails the sequence check.
    let sequence = integer(row.get_ref(0)?).unwrap_or(0);
    let read = EntryRow { row, sequence };
    let kind = match read.integer::<u8>(2, "kind")? {
        1 => EntryKind::Opened {
            account: read.account(5, "from_account")?,
            asset: AssetId(read.integer(7, "asset")?),
            kind: AccountKind::from_code(read.integer(8, "account_kind")?)
                .ok_or_else(|| read.bad("account_kind"))?,
        },
        2 => EntryKind::Transferred {
            id: read.transfer(3, "id")?,
            from: read.account(5, "from_account")?,
            to: read.account(6, "to_account")?,
            amount: read.amount(9, "amount")?,
            memo: read.memo()?,
        },
        3 => EntryKind::Reserved {
            id: read.transfer(3, "id")?,
            from: read.account(5, "from_account")?,
            to: read.account(6, "to_account")?,
            amount: read.amount(9, "amount")?,
            expires: match row.get_ref(11)? {
                ValueRef::Null => None,
                _ => Some(UnixMillis(read.integer(11, "expires")?)),
            },
            memo: read.memo()?,
        },
        4 => EntryKind::Posted {
            id: read.transfer(3, "id")?,
            reservation: read.transfer(4, "reservation")?,
            from: read.account(5, "from_account")?,
            to: read.account(6, "to_account")?,
            amount: read.amount(9, "amount")?,
            released: read.amount(10, "released")?,
        },
        5 => EntryKind::Voided {
            id: read.transfer(3, "id")?,
            reservation: read.transfer(4, "reservation")?,
            from: read.account(5, "from_account")?,
            to: read.account(6, "to_account")?,
            released: read.amount(10, "released")?,
        },
        6 => EntryKind::Expired {
            reservation: read.transfer(4, "reservation")?,
            from: read.account(5, "from_account")?,
            to: read.account(6, "to_account")?,
            released: read.amount(10, "released")?,
        },
        7..=13 => {
            let detail = row.get_ref(14)?.as_blob();
            let detail = detail.map_err(|_| read.bad("detail"))?;
            let batch = Batch::decode(detail).map_err(|_| read.bad("detail"))?;
            let [kind] = <[EntryKind; 1]>::try_from(batch.kinds).map_err(|_| read.bad("detail"))?;
            kind
        }
        0 | 14.. => return Err(read.bad("kind")),
    };
    Ok(Entry {
        sequence,
        time: UnixMillis(read.integer(1, "time")?),
        kind,
        chain: read.array(15, "chain").map(Digest::from_bytes)?,
    })
}

/// A row of the history being read, to name what is wrong with it.
struct EntryRow<'a, 'stmt> {
    row: &'a Row<'stmt>,
    sequence: u64,
}

impl EntryRow<'_, '_> {
    const fn bad(&self, column: &'static str) -> StoreError {
        StoreError::BadEntry {
            sequence: self.sequence,
            column,
        }
    }

    fn integer<T: TryFrom<i64>>(
        &self,
        index: usize,
        column: &'static str,
    ) -> Result<T, StoreError> {
        integer(self.row.get_ref(index)?).ok_or_else(|| self.bad(column))
    }

    fn array<const N: usize>(
        &self,
        index: usize,
        column: &'static str,
    ) -> Result<[u8; N], StoreError> {
        array(self.row.get_ref(index)?).ok_or_else(|| self.bad(column))
    }

    fn memo(&self) -> Result<Memo, StoreError> {
        if self.row.get_ref(12)? == ValueRef::Null {
            return Ok(Memo::NONE);
        }
        Ok(Memo {
            code: self.integer(12, "code")?,
            reference: self.array(13, "reference")?,
        })
    }

    fn account(&self, index: usize, column: &'static str) -> Result<AccountId, StoreError> {
        self.array(index, column).map(AccountId::from_bytes)
    }

    fn transfer(&self, index: usize, column: &'static str) -> Result<TransferId, StoreError> {
        self.array(index, column).map(TransferId::from_bytes)
    }

    fn amount(&self, index: usize, column: &'static str) -> Result<Amount, StoreError> {
        let bytes = self.array(index, column)?;
        Ok(Amount(u128::from_be_bytes(bytes)))
    }
}
