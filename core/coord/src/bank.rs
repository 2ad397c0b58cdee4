//! The accounts a fog settles through.

use fogcompute_base::{AccountId, Digest, NodeId, TaskId, TransferId, UnixMillis};
use fogcompute_ledger::{
    AccountKind, Amount, AssetId, Book, LedgerError, Memo, Operation, Receipt, ReservationState,
};

/// Where money is moved: the host's ledger, durable or in memory.
pub trait Bank {
    /// Why a batch was refused. Nothing has moved then.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Executes a batch as a whole or not at all.
    ///
    /// # Errors
    /// The ledger's error.
    fn execute(
        &mut self,
        batch: &[Operation],
        now: UnixMillis,
    ) -> Result<Vec<Receipt>, Self::Error>;

    /// Executes batches one after the other, as if each came alone: one result for each. A ledger
    /// on a disk waits for it once.
    ///
    /// # Errors
    /// The ledger's errors.
    fn execute_group(
        &mut self,
        batches: Vec<Vec<Operation>>,
        now: UnixMillis,
    ) -> Vec<Result<Vec<Receipt>, Self::Error>> {
        let batches = batches.iter();
        batches.map(|batch| self.execute(batch, now)).collect()
    }

    /// Whether a reservation is open: what it holds back is neither spent nor released.
    ///
    /// # Errors
    /// The ledger's error.
    fn is_reserved(&self, id: TransferId) -> Result<bool, Self::Error>;

    /// Whether the ledger refuses the batch by its rules, so that asking again changes nothing by
    /// itself; otherwise it is out of order.
    fn is_refusal(error: &Self::Error) -> bool;
}

impl Bank for Book {
    type Error = LedgerError;

    fn execute(
        &mut self,
        batch: &[Operation],
        now: UnixMillis,
    ) -> Result<Vec<Receipt>, LedgerError> {
        Self::execute(self, batch, now)
    }

    fn is_reserved(&self, id: TransferId) -> Result<bool, LedgerError> {
        Ok(self.reservation_state(id) == Some(ReservationState::Open))
    }

    fn is_refusal(_: &LedgerError) -> bool {
        true
    }
}

/// The account that mints a fog's credits; the negative of its balance is the supply.
#[must_use]
pub fn mint_account() -> AccountId {
    account("fogcompute 2026-11 account: mint", &[])
}

/// The account through which escrow passes; empty whenever no settlement is under way.
#[must_use]
pub fn clearing_account() -> AccountId {
    account("fogcompute 2026-11 account: clearing", &[])
}

/// The account a node is paid to.
#[must_use]
pub fn node_account(node: NodeId) -> AccountId {
    account("fogcompute 2026-11 account: node", node.as_bytes())
}

/// The first batch of a new fog's ledger: its own accounts, and one owner with `endowment`.
#[must_use]
pub fn genesis(owner: AccountId, endowment: Amount) -> Vec<Operation> {
    let open = |account, kind| Operation::Open {
        account,
        asset: AssetId::CREDITS,
        kind,
    };
    vec![
        open(mint_account(), AccountKind::Issuer),
        open(clearing_account(), AccountKind::Holder),
        open(owner, AccountKind::Holder),
        Operation::Transfer {
            id: TransferId::from_bytes(short(
                "fogcompute 2026-11 transfer: genesis",
                owner.as_bytes(),
            )),
            from: mint_account(),
            to: owner,
            amount: endowment,
            memo: Memo::NONE,
        },
    ]
}

pub(crate) fn open_node(node: NodeId) -> Operation {
    Operation::Open {
        account: node_account(node),
        asset: AssetId::CREDITS,
        kind: AccountKind::Holder,
    }
}

/// Holds a task's highest price back on its owner's account.
pub(crate) fn reserve(task: TaskId, owner: AccountId, price_max: Amount) -> Operation {
    Operation::Reserve {
        id: reservation_id(task),
        from: owner,
        to: clearing_account(),
        amount: price_max,
        expires: None,
        memo: Memo::NONE,
    }
}

/// Pays a node out of a task's reservation and releases the rest.
pub(crate) fn pay(task: TaskId, node: NodeId, price: Amount) -> Vec<Operation> {
    vec![
        Operation::Post {
            id: step_id("fogcompute 2026-11 transfer: post", task),
            reservation: reservation_id(task),
            amount: Some(price),
        },
        Operation::Transfer {
            id: step_id("fogcompute 2026-11 transfer: pay", task),
            from: clearing_account(),
            to: node_account(node),
            amount: price,
            memo: Memo::NONE,
        },
    ]
}

/// Releases a task's whole reservation.
pub(crate) fn release(task: TaskId) -> Operation {
    Operation::Void {
        id: step_id("fogcompute 2026-11 transfer: release", task),
        reservation: reservation_id(task),
    }
}

/// The price of `fuel` at a node's rate, rounded down, at least one base unit and at most `max`.
///
/// A ledger moves no zero amounts; the smallest unit stands for work too small to price.
pub(crate) fn price(fuel: u64, per_gigafuel: Amount, max: Amount) -> Amount {
    let (whole, rest) = (per_gigafuel.0 / GIGA, per_gigafuel.0 % GIGA);
    let fuel = u128::from(fuel);
    let exact = whole
        .saturating_mul(fuel)
        .saturating_add(rest * fuel / GIGA);
    Amount(exact.max(1).min(max.0))
}

const GIGA: u128 = 1_000_000_000;

pub(crate) fn reservation_id(task: TaskId) -> TransferId {
    step_id("fogcompute 2026-11 transfer: reserve", task)
}

/// Ids follow from the task, so a settlement that is asked for twice happens once.
fn step_id(context: &str, task: TaskId) -> TransferId {
    TransferId::from_bytes(short(context, task.as_bytes()))
}

fn account(context: &str, bytes: &[u8]) -> AccountId {
    AccountId::from_bytes(short(context, bytes))
}

fn short(context: &str, bytes: &[u8]) -> [u8; 16] {
    let digest = Digest::derive(context, bytes);
    let mut first = [0; 16];
    first.copy_from_slice(&digest.as_bytes()[..16]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_round_down_within_their_limits() {
        let (rate, max) = (Amount(1_500), Amount(10_000));
        assert_eq!(price(1_000_000_000, rate, max), Amount(1_500));
        assert_eq!(price(999_999_999, rate, max), Amount(1_499));
        assert_eq!(price(0, rate, max), Amount(1));
        assert_eq!(price(u64::MAX, Amount(u128::MAX), max), max);
        // The rest below a gigafuel must not be lost for expensive nodes.
        assert_eq!(price(3, Amount(GIGA * 2 + GIGA / 2), max), Amount(7));
    }

    #[test]
    fn accounts_and_steps_do_not_collide() {
        let node = NodeId::from_bytes([0; 32]);
        assert_ne!(mint_account(), clearing_account());
        assert_ne!(
            node_account(node),
            node_account(NodeId::from_bytes([1; 32]))
        );
        let task = TaskId::from_bytes([7; 16]);
        assert_ne!(
            reservation_id(task),
            step_id("fogcompute 2026-11 transfer: pay", task)
        );
    }

    #[test]
    fn a_new_fog_has_its_accounts_and_one_owner_with_everything() {
        let owner = AccountId::from_bytes([9; 16]);
        let mut book = Book::new();
        let batch = genesis(owner, Amount(7));
        Bank::execute(&mut book, &batch, UnixMillis(0)).unwrap();
        let balance = |book: &Book, id| book.account(id).unwrap().balance();
        assert_eq!(balance(&book, owner), Amount(7));
        assert_eq!(balance(&book, clearing_account()), Amount::ZERO);
        assert_eq!(book.account(mint_account()).unwrap().issued(), Amount(7));
        // A coordinator that starts again mints nothing more.
        Bank::execute(&mut book, &batch, UnixMillis(1)).unwrap();
        assert_eq!(balance(&book, owner), Amount(7));
    }

    #[test]
    fn a_settlement_that_is_asked_for_twice_happens_once() {
        let (owner, node) = (AccountId::from_bytes([9; 16]), NodeId::from_bytes([1; 32]));
        let (paid, released) = (TaskId::from_bytes([1; 16]), TaskId::from_bytes([2; 16]));
        let mut book = Book::new();
        book.execute(&genesis(owner, Amount(100)), UnixMillis(0))
            .unwrap();
        book.execute(&[open_node(node)], UnixMillis(0)).unwrap();
        for _ in 0..2 {
            for task in [paid, released] {
                book.execute(&[reserve(task, owner, Amount(10))], UnixMillis(1))
                    .unwrap();
            }
            book.execute(&pay(paid, node, Amount(4)), UnixMillis(2))
                .unwrap();
            book.execute(&[release(released)], UnixMillis(3)).unwrap();
        }
        let available = |id| book.account(id).unwrap().available();
        assert_eq!(available(owner), Amount(96));
        assert_eq!(available(node_account(node)), Amount(4));
        assert_eq!(available(clearing_account()), Amount::ZERO);
        assert_eq!(book.open_reservations().len(), 0);
    }
}
