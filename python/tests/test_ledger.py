"""The ledger."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest

import fogcompute as f

MINT, ANA, BEN = (f"{n:02}" * 16 for n in range(3))
CREDIT = 10**18


def new_id() -> str:
    return uuid4().hex


def funded(ledger: f.Ledger) -> f.Ledger:
    ledger.open_account(MINT, f.AccountKind.ISSUER)
    ledger.open_account(ANA, f.AccountKind.HOLDER)
    ledger.open_account(BEN, f.AccountKind.HOLDER)
    ledger.transfer(new_id(), MINT, ANA, 10 * CREDIT)
    return ledger


def test_amounts_are_exact_up_to_the_largest() -> None:
    ledger = funded(f.Ledger.in_memory())
    ledger.transfer(new_id(), MINT, BEN, 2**128 - 1 - 10 * CREDIT)
    assert ledger.balance(BEN) == 2**128 - 1 - 10 * CREDIT
    assert ledger.balance(ANA) == 10 * CREDIT
    assert ledger.account(MINT).issued == 2**128 - 1


def test_a_repeated_request_moves_nothing() -> None:
    ledger = funded(f.Ledger.in_memory())
    id = new_id()
    first = ledger.transfer(id, ANA, BEN, 5)
    again = ledger.transfer(id, ANA, BEN, 5)
    assert (first.replayed, again.replayed) == (False, True)
    assert (first.sequence, first.moved, first.chain) == (again.sequence, 5, again.chain)
    assert ledger.balance(BEN) == 5
    with pytest.raises(f.IdReusedError):
        ledger.transfer(id, ANA, BEN, 6)


def test_reserved_funds_cannot_be_spent_until_they_are_released() -> None:
    ledger = funded(f.Ledger.in_memory())
    reservation = new_id()
    ledger.reserve(reservation, ANA, BEN, 8 * CREDIT)
    account = ledger.account(ANA)
    assert (account.available, account.balance) == (2 * CREDIT, 10 * CREDIT)
    with pytest.raises(f.InsufficientFundsError):
        ledger.transfer(new_id(), ANA, BEN, 3 * CREDIT)
    ledger.post(new_id(), reservation, 5 * CREDIT)
    assert (ledger.balance(ANA), ledger.balance(BEN)) == (5 * CREDIT, 5 * CREDIT)
    with pytest.raises(f.ReservationClosedError):
        ledger.void(new_id(), reservation)
    other = new_id()
    ledger.reserve(other, ANA, BEN, CREDIT)
    ledger.void(new_id(), other)
    whole = new_id()
    ledger.reserve(whole, ANA, BEN, CREDIT)
    assert ledger.post(new_id(), whole).moved == CREDIT
    assert ledger.verify().open_reservations == 0


def test_a_reservation_that_never_was_is_unknown() -> None:
    ledger = funded(f.Ledger.in_memory())
    with pytest.raises(f.UnknownReservationError):
        ledger.void(new_id(), new_id())
    with pytest.raises(f.UnknownReservationError):
        ledger.post(new_id(), new_id())


@pytest.mark.parametrize("path", ["", ":memory:", "file:x", "a\0b"])
def test_what_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(f.ArgumentError):
        f.Ledger.open(path)


def test_a_bool_is_no_amount() -> None:
    ledger = funded(f.Ledger.in_memory())
    with pytest.raises(TypeError, match="bool"):
        ledger.transfer(new_id(), ANA, BEN, True)
    assert ledger.balance(BEN) == 0


def test_a_file_keeps_everything_and_has_one_owner(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with f.Ledger.open(path) as ledger:
        head = funded(ledger).verify()
        with pytest.raises(f.StorageLockedError):
            f.Ledger.open(path)
    with f.Ledger.open(str(path)) as ledger:
        assert ledger.verify() == head
        assert ledger.balance(ANA) == 10 * CREDIT


def test_a_changed_file_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with f.Ledger.open(path) as ledger:
        funded(ledger)
    # The account is in the journal, in the snapshot and in the tables for SQL.
    ana = bytes.fromhex(ANA)
    other = bytes([ana[0] ^ 1]) + ana[1:]
    path.write_bytes(path.read_bytes().replace(ana, other))
    with pytest.raises(f.StorageCorruptError), f.Ledger.open(path) as ledger:
        ledger.verify()


def test_a_closed_ledger_says_so_and_leaves_its_file(tmp_path: Path) -> None:
    ledger = f.Ledger.open(tmp_path / "ledger.db")
    ledger.close()
    ledger.close()
    for call in (
        lambda: ledger.open_account(ANA, f.AccountKind.HOLDER),
        lambda: ledger.transfer(new_id(), ANA, BEN, 1),
        lambda: ledger.reserve(new_id(), ANA, BEN, 1),
        lambda: ledger.post(new_id(), new_id()),
        lambda: ledger.void(new_id(), new_id()),
        lambda: ledger.account(ANA),
        lambda: ledger.balance(ANA),
        lambda: ledger.verify(),
    ):
        with pytest.raises(f.ClosedError, match="the ledger is closed"):
            call()
    f.Ledger.open(tmp_path / "ledger.db").close()


def test_a_forgotten_ledger_gives_its_file_back(tmp_path: Path) -> None:
    ledger = f.Ledger.open(tmp_path / "ledger.db")
    del ledger
    f.Ledger.open(tmp_path / "ledger.db").close()


def test_an_exception_in_a_with_block_goes_on() -> None:
    with pytest.raises(ZeroDivisionError), f.Ledger.in_memory() as ledger:
        raise ZeroDivisionError
    with pytest.raises(f.ClosedError):
        ledger.verify()


def test_threads_take_turns() -> None:
    ledger = funded(f.Ledger.in_memory())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ledger.transfer(new_id(), ANA, BEN, 1), range(200)))
    assert ledger.balance(BEN) == 200
    assert ledger.balance(ANA) == 10 * CREDIT - 200
    assert ledger.verify().sequence == 204
