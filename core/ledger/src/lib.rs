//! Double-entry credits: accounts, transfers and two-phase reservations, with a history that
//! cannot be changed unnoticed.
//!
//! These are rules only: no files, no clocks. A [`Book`] holds the state in memory; a batch of
//! [`Operation`]s is first planned, then committed. Between the two a store writes the [`Plan`] to
//! disk, so memory never knows more than the disk does (`fogcompute-store` does so with SQLite).
//!
//! - Every movement debits one account and credits another by the same amount, in integers.
//! - A batch happens as a whole or not at all; later operations see the earlier ones.
//! - Ids are chosen by the caller, and repeating a request returns the first receipt.
//! - What is reserved cannot be spent: funds are locked by counters, not by a status.
//! - Every [`Entry`] carries a digest of all history before it.
//!
//! The meaning of results and of pending amounts follows TigerBeetle (`create_transfers`), with
//! these differences: an id is compared before anything else, a refused batch does not use its ids
//! up, and a released reservation is an entry of its own.
//!
//! What money *must* move is decided by [`staking`] and [`earning`]: state machines of their own,
//! which name [`Purse`]s and leave the moving to a book. [`economy`] holds every number of theirs.
//!
//! Not here: who may move what (signatures, roles), governance, exchange between assets. A book
//! keeps every id it has seen in memory, about 250 bytes an operation, because an id must never be
//! forgotten.
//!
//! Meet [`Book`] and [`Operation`] first.
//!
//! ```
//! use fogcompute_base::{AccountId, TransferId, UnixMillis};
//! use fogcompute_ledger::{AccountKind, Amount, AssetId, Book, LedgerError, Operation};
//!
//! let (mint, ana, ben) = (1, 2, 3);
//! let account = |n| AccountId::from_bytes([n; 16]);
//! let id = |n| TransferId::from_bytes([n; 16]);
//! let open = |n, kind| Operation::Open { account: account(n), asset: AssetId::CREDITS, kind };
//! let now = UnixMillis(1_700_000_000_000);
//!
//! let mut book = Book::new();
//! book.execute(
//!     &[
//!         open(mint, AccountKind::Issuer),
//!         open(ana, AccountKind::Holder),
//!         open(ben, AccountKind::Holder),
//!         Operation::Transfer {
//!             id: id(1),
//!             from: account(mint),
//!             to: account(ana),
//!             amount: Amount::from_credits(10),
//!         },
//!         // Ana promises Ben 8 credits for a job...
//!         Operation::Reserve {
//!             id: id(2),
//!             from: account(ana),
//!             to: account(ben),
//!             amount: Amount::from_credits(8),
//!             expires: None,
//!         },
//!     ],
//!     now,
//! )?;
//! assert_eq!(book.account(account(ana)).unwrap().available(), Amount::from_credits(2));
//!
//! // ...which used 5 of them. The other 3 are hers again.
//! let five = Some(Amount::from_credits(5));
//! book.execute(&[Operation::Post { id: id(3), reservation: id(2), amount: five }], now)?;
//! assert_eq!(book.account(account(ana)).unwrap().available(), Amount::from_credits(5));
//! assert_eq!(book.account(account(ben)).unwrap().available(), Amount::from_credits(5));
//! assert_eq!(book.check(), Ok(()));
//! # Ok::<(), LedgerError>(())
//! ```

mod account;
mod amount;
mod book;
pub mod earning;
pub mod economy;
mod entry;
mod error;
#[cfg(test)]
mod fixtures;
mod operation;
mod plan;
mod purse;
mod restore;
pub mod staking;

pub use account::{Account, AccountKind};
pub use amount::{Amount, AssetId, ParseAmountError};
pub use book::Book;
pub use entry::{Entry, EntryKind, Head, verify_chain};
pub use error::{Corruption, LedgerError};
pub use operation::{Operation, Receipt, Reservation, ReservationState};
pub use plan::Plan;
pub use purse::{Movement, Ppm, PpmTooLarge, Purse};
pub use restore::Restore;

/// Most operations one batch may have, as in TigerBeetle (1 MiB of 128-byte transfers).
pub const BATCH_OPERATIONS_MAX: usize = 8_190;
