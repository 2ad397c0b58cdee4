//! Durable transfers, beside plain `rusqlite` and Python's `sqlite3`; proving and opening a long
//! history.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use fogcompute::base::UnixMillis;
use fogcompute::ledger::economy::{Economy, Request};
use fogcompute::ledger::{
    AccountKind, Amount, AssetId, Book, Memo, Operation, Ppm, Purse, staking,
};
use fogcompute::store::{Durability, SharedLedger, SqliteLedger};
use fogcompute::{AccountId, NodeId, TransferId};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rusqlite::{Connection, TransactionBehavior, params};
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

use crate::measure::{Effort, median};
use crate::row::{Output, Row};

const ACCOUNTS: u32 = 1_000;
const THREADS: u32 = 16;
const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
/// Seconds and bytes that the project asks opening ten million entries to stay below.
const OPEN_SECONDS: f64 = 5.0;
const OPEN_BYTES: f64 = 700e6;

/// Transfers of a round, for each side and size of batch.
struct Sizes {
    rounds: usize,
    single: u32,
    batched: u32,
    /// Transfers each of the threads makes.
    threaded: u32,
    history: u32,
    /// The most stakers among whom claims are measured.
    stakers: u32,
}

impl Sizes {
    const fn of(effort: Effort) -> Self {
        match effort {
            Effort::Full => Self {
                rounds: 5,
                single: 2_000,
                batched: 100_000,
                threaded: 500,
                history: 10_000_000,
                stakers: 1_000_000,
            },
            Effort::Smoke => Self {
                rounds: 1,
                single: 2,
                batched: 200,
                threaded: 2,
                history: 5_000,
                stakers: 2_000,
            },
        }
    }
}

pub(crate) fn run(
    python: &Path,
    effort: Effort,
    output: &mut Output,
) -> Result<(), Box<dyn Error>> {
    let sizes = Sizes::of(effort);
    let mut peer = Python::start(python)?;
    for batch in [1, 64, 1_024] {
        let count = if batch == 1 {
            sizes.single
        } else {
            sizes.batched
        };
        let (mut ours, mut rusqlite, mut python) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..sizes.rounds {
            let folder = TempDir::new()?;
            let at = |name: &str| folder.path().join(name);
            // Who goes first may profit or suffer from it, so they take turns.
            for turn in 0..3 {
                match (turn + round) % 3 {
                    0 => ours.push(our_transfers(&at("ours"), batch, count)?),
                    1 => {
                        plain(&at("rusqlite"))?;
                        rusqlite.push(plain_transfers(&at("rusqlite"), batch, count)?);
                    }
                    _ => {
                        plain(&at("python"))?;
                        python.push(peer.transfers(&at("python"), batch, count)?);
                    }
                }
            }
        }
        let ours = median(ours);
        let peers = [
            ("rusqlite", env!("PEER_RUSQLITE"), median(rusqlite)),
            ("python sqlite3", &peer.version, median(python)),
        ];
        for (name, version, theirs) in peers {
            let case = format!("transfer, batches of {batch}");
            output.print(row(case, "ns", ours, (name, version), theirs, count))?;
        }
    }

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..sizes.rounds {
        let folder = TempDir::new()?;
        ours.push(our_threads(&folder.path().join("ours"), sizes.threaded)?);
        let path = folder.path().join("rusqlite");
        plain(&path)?;
        theirs.push(plain_threads(&path, sizes.threaded)?);
    }
    let case = format!("transfer, {THREADS} threads");
    let peer = ("rusqlite", env!("PEER_RUSQLITE"));
    let count = THREADS * sizes.threaded;
    output.print(row(case, "ns", median(ours), peer, median(theirs), count))?;

    claims(&sizes, output)?;
    history(&sizes, output)
}

fn row(
    case: String,
    unit: &'static str,
    ours: f64,
    (peer, version): (&str, &str),
    theirs: f64,
    n: u32,
) -> Row {
    Row {
        area: "ledger",
        case,
        ours,
        unit,
        peer: peer.to_owned(),
        peer_version: version.to_owned(),
        theirs,
        ratio: 0.0,
        n: u64::from(n),
    }
}

fn nanos_each(start: Instant, count: u32) -> f64 {
    start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}

#[expect(clippy::disallowed_methods, reason = "a bench measures elapsed time")]
fn now() -> Instant {
    Instant::now()
}

fn account(n: u32) -> AccountId {
    let mut bytes = [0x5a; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    AccountId::from_bytes(bytes)
}

/// Two accounts that are not the same.
fn pair(rng: &mut ChaCha8Rng) -> (u32, u32) {
    let from = rng.next_u32() % ACCOUNTS;
    (
        from,
        (from + 1 + rng.next_u32() % (ACCOUNTS - 1)) % ACCOUNTS,
    )
}

fn transfer(rng: &mut ChaCha8Rng) -> Operation {
    let (from, to) = pair(rng);
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    Operation::Transfer {
        id: TransferId::from_bytes(id),
        from: account(from),
        to: account(to),
        amount: Amount(1),
        memo: Memo {
            code: 1,
            ..Memo::NONE
        },
    }
}

/// A ledger with funded accounts.
fn funded(path: &Path, durability: Durability) -> Result<SqliteLedger, Box<dyn Error>> {
    let mut ledger = SqliteLedger::open(path, durability)?;
    let mint = account(u32::MAX);
    let open = |account, kind| Operation::Open {
        account,
        asset: AssetId::CREDITS,
        kind,
    };
    let mut batch = vec![open(mint, AccountKind::Issuer)];
    for n in 0..ACCOUNTS {
        let mut id = [0xff; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        batch.push(open(account(n), AccountKind::Holder));
        batch.push(Operation::Transfer {
            id: TransferId::from_bytes(id),
            from: mint,
            to: account(n),
            amount: Amount::from_credits(1),
            memo: Memo::NONE,
        });
    }
    ledger.execute(&batch, NOW)?;
    Ok(ledger)
}

fn our_transfers(path: &Path, batch: u32, count: u32) -> Result<f64, Box<dyn Error>> {
    let mut ledger = funded(path, Durability::Full)?;
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut operations = Vec::new();
    let start = now();
    let mut done = 0;
    while done < count {
        let size = batch.min(count - done);
        operations.clear();
        operations.extend((0..size).map(|_| transfer(&mut rng)));
        ledger.execute(&operations, NOW)?;
        done += size;
    }
    Ok(nanos_each(start, count))
}

fn our_threads(path: &Path, count: u32) -> Result<f64, Box<dyn Error>> {
    let ledger = SharedLedger::new(funded(path, Durability::Full)?)?;
    let start = now();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let ledger = ledger.clone();
            thread::spawn(move || {
                let mut rng = ChaCha8Rng::seed_from_u64(u64::from(thread));
                (0..count)
                    .try_for_each(|_| ledger.execute(vec![transfer(&mut rng)], NOW).map(|_| ()))
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    Ok(nanos_each(start, THREADS * count))
}

/// A database of the peers' with funded accounts.
fn plain(path: &Path) -> Result<Connection, Box<dyn Error>> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let transaction = connection.transaction()?;
    let exists: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if exists == 0 {
        transaction.execute_batch(include_str!("ledger/schema.sql"))?;
        for n in 0..ACCOUNTS {
            let insert = "INSERT INTO account VALUES (?1, 0, 1000000000)";
            transaction.execute(insert, [n + 1])?;
        }
    }
    transaction.commit()?;
    Ok(connection)
}

fn insert(connection: &Connection, rng: &mut ChaCha8Rng) -> rusqlite::Result<()> {
    let (from, to) = pair(rng);
    let mut id = [0; 16];
    rng.fill_bytes(&mut id);
    connection
        .prepare_cached("INSERT INTO transfer VALUES (?1, ?2, ?3, 1, 1, 5)")?
        .execute(params![id, from + 1, to + 1])?;
    connection
        .prepare_cached("UPDATE account SET debits = debits + 1 WHERE id = ?1")?
        .execute([from + 1])?;
    connection
        .prepare_cached("UPDATE account SET credits = credits + 1 WHERE id = ?1")?
        .execute([to + 1])?;
    Ok(())
}

fn insert_all(
    connection: &mut Connection,
    rng: &mut ChaCha8Rng,
    count: u32,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    (0..count).try_for_each(|_| insert(&transaction, rng))?;
    transaction.commit()
}

fn plain_transfers(path: &Path, batch: u32, count: u32) -> Result<f64, Box<dyn Error>> {
    let mut connection = plain(path)?;
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let start = now();
    let mut done = 0;
    while done < count {
        let size = batch.min(count - done);
        insert_all(&mut connection, &mut rng, size)?;
        done += size;
    }
    Ok(nanos_each(start, count))
}

fn plain_threads(path: &Path, count: u32) -> Result<f64, Box<dyn Error>> {
    let connection = Arc::new(Mutex::new(plain(path)?));
    let start = now();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let connection = Arc::clone(&connection);
            thread::spawn(move || {
                let mut rng = ChaCha8Rng::seed_from_u64(u64::from(thread));
                (0..count).try_for_each(|_| {
                    let mut connection = connection.lock().map_err(|_| "a thread panicked")?;
                    insert_all(&mut connection, &mut rng, 1).map_err(|_| "SQLite failed")
                })
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")??;
    }
    Ok(nanos_each(start, THREADS * count))
}

/// A claim among many stakers, beside one among few.
fn claims(sizes: &Sizes, output: &mut Output) -> Result<(), Box<dyn Error>> {
    const FEW: u32 = 1_000;
    let mut books = Vec::new();
    for stakers in [sizes.stakers, FEW] {
        books.push((stakers, staked(stakers)?, Vec::new()));
    }
    let mut id = u64::MAX;
    for _ in 0..sizes.rounds {
        for (stakers, book, times) in &mut books {
            let mut ask = |operation| {
                id -= 1;
                stake(id, operation)
            };
            let reward = staking::Operation::Reward {
                operator: NODE,
                source: Purse::Treasury,
                amount: Amount(u128::from(*stakers) * 1_000),
            };
            book.execute(&[ask(reward)], NOW)?;
            // Spread over all of them, so that no claim finds the last one's memory.
            let step = *stakers / FEW;
            let batch: Vec<_> = (0..FEW)
                .map(|n| {
                    ask(staking::Operation::Claim {
                        operator: NODE,
                        delegator: account(n * step),
                    })
                })
                .collect();
            let start = now();
            book.execute(&batch, NOW)?;
            times.push(nanos_each(start, FEW));
        }
    }
    let [(many, _, ours), (_, _, theirs)] = &mut books[..] else {
        return Err("two books were made".into());
    };
    let (ours, theirs) = (median(std::mem::take(ours)), median(std::mem::take(theirs)));
    let case = format!("claim among {many} stakers");
    let peer = ("among 1000", env!("CARGO_PKG_VERSION"));
    output.print(row(case, "ns", ours, peer, theirs, FEW))
}

const NODE: NodeId = NodeId::from_bytes([9; 32]);

fn stake(id: u64, operation: staking::Operation) -> Operation {
    let mut bytes = [0xee; 16];
    bytes[..8].copy_from_slice(&id.to_be_bytes());
    Operation::Economy {
        id: TransferId::from_bytes(bytes),
        request: Box::new(Request::Staking(operation)),
    }
}

/// A book in memory with so many stakers on one operator.
fn staked(stakers: u32) -> Result<Book, Box<dyn Error>> {
    let mut book = Book::new();
    let open = |account| Operation::Open {
        account,
        asset: AssetId::CREDITS,
        kind: AccountKind::Holder,
    };
    let operator = account(u32::MAX);
    let found = Operation::Economy {
        id: TransferId::from_bytes([1; 16]),
        request: Box::new(Request::Configure(Economy::default())),
    };
    let register = staking::Operation::Register {
        operator: NODE,
        account: operator,
        commission: Ppm::percent(5),
    };
    book.execute(&[found, open(operator), stake(0, register)], NOW)?;
    let all: Vec<u32> = (0..stakers).collect();
    for some in all.chunks(2_000) {
        let batch: Vec<_> = some
            .iter()
            .flat_map(|&n| {
                let mut id = [0xdd; 16];
                id[..4].copy_from_slice(&n.to_be_bytes());
                let fund = Operation::Transfer {
                    id: TransferId::from_bytes(id),
                    from: Purse::Treasury.account(),
                    to: account(n),
                    amount: Amount(1_000_000),
                    memo: Memo::NONE,
                };
                let bond = staking::Operation::Bond {
                    operator: NODE,
                    delegator: account(n),
                    amount: Amount(1_000_000),
                };
                [open(account(n)), fund, stake(u64::from(n) + 1, bond)]
            })
            .collect();
        book.execute(&batch, NOW)?;
    }
    Ok(book)
}

/// What opening a ledger took, as `bench ledger-open` says it.
#[derive(Deserialize)]
struct Opened {
    seconds: f64,
    /// Of the process, at its highest; zero where the system does not tell.
    bytes: f64,
    replayed: u64,
}

/// Opens a ledger in a process of its own, and says what that took.
pub(crate) fn open(path: &Path) -> Result<(), Box<dyn Error>> {
    let start = now();
    let ledger = SqliteLedger::open(path, Durability::Full)?;
    let seconds = start.elapsed().as_secs_f64();
    let replayed = ledger.opening().replayed;
    let bytes = peak_bytes().unwrap_or(0.0);
    let opened = json!({ "seconds": seconds, "bytes": bytes, "replayed": replayed });
    println!("{opened}");
    Ok(())
}

/// The most memory this process ever had, where `/proc` tells.
fn peak_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024.0)
}

/// A long history: proving it, and opening it in a process of its own.
fn history(sizes: &Sizes, output: &mut Output) -> Result<(), Box<dyn Error>> {
    let folder = TempDir::new()?;
    let path = folder.path().join("ledger");
    // Made without waiting for the disk, which is not what is measured.
    let mut ledger = funded(&path, Durability::Normal)?;
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let start = now();
    let mut left = sizes.history;
    while left > 0 {
        let size = left.min(1_024);
        let batch: Vec<_> = (0..size).map(|_| transfer(&mut rng)).collect();
        ledger.execute(&batch, NOW)?;
        left -= size;
    }
    let each = nanos_each(start, sizes.history);
    eprintln!(
        "{} transfers in batches of 1,024, NORMAL: {each:.0} ns each",
        sizes.history
    );
    ledger.close()?;

    let entries = millions(sizes.history);
    let program = std::env::current_exe()?;
    let opened = Command::new(program)
        .arg("ledger-open")
        .arg(&path)
        .output()?;
    let opened: Opened = serde_json::from_slice(&opened.stdout)?;
    if opened.replayed > 0 {
        return Err("opening did not start from the snapshot of closing".into());
    }
    let limit = ("limit", "issue");
    for (case, unit, ours, theirs) in [
        ("open", "ms", opened.seconds * 1e3, OPEN_SECONDS * 1e3),
        ("memory", "MB", opened.bytes / 1e6, OPEN_BYTES / 1e6),
    ] {
        let case = format!("{case} {entries}");
        output.print(row(case, unit, ours, limit, theirs, 1))?;
    }

    let ledger = SqliteLedger::open(&path, Durability::Full)?;
    let start = now();
    ledger.verify()?;
    let ours = nanos_each(start, sizes.history);
    let plain_path = folder.path().join("rusqlite");
    let count = sizes.history / 10;
    plain(&plain_path)?;
    plain_transfers(&plain_path, 10_000, count)?;
    let connection = plain(&plain_path)?;
    let start = now();
    connection.pragma_query(None, "integrity_check", |_| Ok(()))?;
    let theirs = nanos_each(start, count);
    let peer = ("integrity_check", env!("PEER_RUSQLITE"));
    output.print(row(
        format!("verify {entries}"),
        "ns",
        ours,
        peer,
        theirs,
        sizes.history,
    ))?;
    Ok(())
}

fn millions(entries: u32) -> String {
    match entries {
        0..1_000_000 => format!("{entries} entries"),
        _ => format!("{} million entries", entries / 1_000_000),
    }
}

/// `benches/peers/ledger.py` at work. It ends when this is dropped.
struct Python {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    version: String,
}

#[derive(Deserialize)]
struct Answer {
    nanos: f64,
}

impl Python {
    fn start(python: &Path) -> Result<Self, Box<dyn Error>> {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/ledger.py");
        let mut child = Command::new(python)
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("no way to the peer")?;
        let mut answers = BufReader::new(child.stdout.take().ok_or("no way from the peer")?);
        let mut line = String::new();
        answers.read_line(&mut line)?;
        let version = serde_json::from_str(&line)?;
        Ok(Self {
            child,
            orders,
            answers,
            version,
        })
    }

    fn transfers(&mut self, path: &Path, batch: u32, count: u32) -> Result<f64, Box<dyn Error>> {
        let order = json!({ "path": path, "batch": batch, "count": count });
        writeln!(self.orders, "{order}")?;
        self.orders.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Answer = serde_json::from_str(&line)?;
        Ok(answer.nanos / f64::from(count))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It only computes: nothing is lost with it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
