"""The ledger."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pytest

import fogcompute as f
from fogcompute import ledger as credits
from fogcompute.ledger import AccountLimits, Checkpoint, Operation, SignedBatch, owner_key

MINT, ANA, BEN = (f"{n:02}" * 16 for n in range(3))
CREDIT = credits.CREDIT
NEVER = 2**63 - 1
SECRET = bytes(range(32))


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
    # `Ledger.balance` was what `Account.available` is, and `Account.balance` was not.
    assert (account.available, account.balance) == (2 * CREDIT, 10 * CREDIT)
    assert (ledger.available(ANA), ledger.balance(ANA)) == (2 * CREDIT, 10 * CREDIT)
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
        lambda: ledger.execute([]),
        lambda: ledger.limit(new_id(), ANA, AccountLimits()),
        lambda: ledger.own(new_id(), ANA, SECRET),
        lambda: ledger.accounts(),
        lambda: ledger.entry(new_id()),
        lambda: next(ledger.entries()),
        lambda: next(ledger.history(ANA)),
        lambda: ledger.head(),
        lambda: ledger.checkpoint(SECRET),
        lambda: ledger.backup(tmp_path / "copy"),
        lambda: ledger.export_history(tmp_path / "text"),
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


def test_a_batch_is_all_or_nothing() -> None:
    ledger = funded(f.Ledger.in_memory())
    ids = [new_id() for _ in range(3)]
    receipts = ledger.execute(
        [
            (ids[0], ANA, BEN, 5),
            Operation.reserve(ids[1], ANA, BEN, 6, code=3, reference=bytes(range(16))),
            Operation.post(ids[2], ids[1], 4),
            (ids[0], ANA, BEN, 5),
        ]
    )
    assert [receipt.replayed for receipt in receipts] == [False, False, False, True]
    assert [receipt.moved for receipt in receipts] == [5, 0, 4, 5]
    assert (len(receipts), receipts[-4], receipts[3].moved) == (4, receipts[0], 5)
    for index in (4, -5):
        with pytest.raises(IndexError):
            receipts[index]
    assert ledger.balance(BEN) == 9
    with pytest.raises(f.InsufficientFundsError):
        ledger.execute([(new_id(), ANA, BEN, 1), (new_id(), ANA, BEN, 10 * CREDIT)])
    assert ledger.balance(BEN) == 9
    entry = ledger.entry(ids[1])
    assert entry is not None
    assert (entry.kind, entry.amount, entry.code) == ("reserved", 6, 3)
    assert entry.reference == bytes(range(16))
    assert ledger.entry(new_id()) is None


def test_every_operation_goes_into_a_batch() -> None:
    with f.Ledger.in_memory() as ledger:
        reservation, other = new_id(), new_id()
        ledger.execute(
            [
                Operation.open(MINT, f.AccountKind.ISSUER, asset=7),
                Operation.limit(new_id(), MINT, AccountLimits(max_supply=100)),
                Operation.open(ANA, f.AccountKind.HOLDER, asset=7),
                Operation.open(BEN, f.AccountKind.HOLDER, asset=7),
                Operation.own(new_id(), ANA, owner_key(SECRET)),
                Operation.transfer(new_id(), MINT, ANA, 10, code=1),
                Operation.reserve(reservation, ANA, BEN, 4, expires_unix_ms=NEVER),
                Operation.post(new_id(), reservation),
                Operation.reserve(other, ANA, BEN, 6),
                Operation.void(new_id(), other),
                Operation.transfer(new_id(), BEN, ANA, 4),
                Operation.close(new_id(), BEN),
            ]
        )
        assert [entry.kind for entry in ledger.entries()] == [
            "opened",
            "limited",
            "opened",
            "opened",
            "owned",
            "transferred",
            "reserved",
            "posted",
            "reserved",
            "voided",
            "transferred",
            "closed",
        ]
        assert [account.id for account in ledger.accounts()] == [MINT, ANA, BEN]
        assert [account.closed for account in ledger.accounts(MINT)] == [False, True]
        assert ledger.accounts(limit=1)[0].limits == AccountLimits(max_supply=100)
        assert ledger.supply(7) == 10
        assert ledger.supply() == 0
        assert ledger.owner(ANA) == owner_key(SECRET)
        assert ledger.owner(BEN) is None


def test_what_is_wrong_in_a_batch_is_told_by_its_place() -> None:
    ledger: Any = funded(f.Ledger.in_memory())
    good = (new_id(), ANA, BEN, 1)
    for wrong in [(new_id(), ANA, BEN, 1.5), (new_id(), ANA, BEN), "text", None]:
        with pytest.raises((TypeError, ValueError)) as caught:
            ledger.execute([good, wrong])
        assert "in operations[1]" in caught.value.__notes__
    with pytest.raises(TypeError, match="str"):
        ledger.execute("text")
    with pytest.raises(TypeError):
        ledger.execute(5)
    assert ledger.balance(BEN) == 0


@pytest.mark.parametrize("amount", [1.0, 0.5, "1", None, float("nan")])
def test_an_amount_is_an_int_and_never_a_float(amount: Any) -> None:
    ledger = funded(f.Ledger.in_memory())
    for call in (
        lambda: ledger.transfer(new_id(), ANA, BEN, amount),
        lambda: ledger.reserve(new_id(), ANA, BEN, amount),
        lambda: ledger.execute([(new_id(), ANA, BEN, amount)]),
        lambda: Operation.transfer(new_id(), ANA, BEN, amount),
    ):
        message = "a float is no amount" if isinstance(amount, float) else None
        with pytest.raises(TypeError, match=message):
            call()
    assert ledger.balance(BEN) == 0


def refusals() -> list[tuple[type[f.FogError], str, Callable[[f.Ledger], object]]]:
    """What the ledger refuses, why, and how that is provoked."""
    gold, closed, secret = "0a" * 16, "0b" * 16, SECRET

    def other_asset(ledger: f.Ledger) -> None:
        ledger.open_account(gold, f.AccountKind.HOLDER, asset=1)
        ledger.transfer(new_id(), ANA, gold, 1)

    def into_closed(ledger: f.Ledger) -> None:
        ledger.open_account(closed, f.AccountKind.HOLDER)
        ledger.close_account(new_id(), closed)
        ledger.transfer(new_id(), ANA, closed, 1)

    def reused(ledger: f.Ledger) -> None:
        id = new_id()
        ledger.transfer(id, ANA, BEN, 1)
        ledger.reserve(id, ANA, BEN, 1)

    def overflow(ledger: f.Ledger) -> None:
        ledger.transfer(new_id(), MINT, BEN, 2**128 - 1 - 10 * CREDIT)
        ledger.transfer(new_id(), MINT, BEN, 1)

    def quota(ledger: f.Ledger) -> None:
        ledger.limit(new_id(), ANA, AccountLimits(spend_per_day=3))
        ledger.transfer(new_id(), ANA, BEN, 2)
        ledger.transfer(new_id(), ANA, BEN, 2)

    def supply(ledger: f.Ledger) -> None:
        ledger.limit(new_id(), MINT, AccountLimits(max_supply=10 * CREDIT + 1))
        ledger.transfer(new_id(), MINT, BEN, 2)

    def returned(ledger: f.Ledger) -> None:
        other = "0c" * 16
        limits = AccountLimits(credits_must_not_exceed_debits=True)
        ledger.open_account(other, f.AccountKind.ISSUER)
        ledger.limit(new_id(), other, limits)
        ledger.transfer(new_id(), ANA, other, 1)

    def posted_twice(ledger: f.Ledger) -> None:
        id = new_id()
        ledger.reserve(id, ANA, BEN, 2)
        ledger.post(new_id(), id)
        ledger.post(new_id(), id)

    def more_than_reserved(ledger: f.Ledger) -> None:
        id = new_id()
        ledger.reserve(id, ANA, BEN, 2)
        ledger.post(new_id(), id, 3)

    def no_reservation(ledger: f.Ledger) -> None:
        id = new_id()
        ledger.transfer(id, ANA, BEN, 2)
        ledger.void(new_id(), id)

    def signed(nonce: int, **changes: Any) -> Callable[[f.Ledger], object]:
        def call(ledger: f.Ledger) -> object:
            ledger.own(new_id(), ANA, owner_key(secret))
            arguments: dict[str, Any] = {
                "account": ANA,
                "nonce": nonce,
                "expires_unix_ms": NEVER,
                "operations": [(new_id(), ANA, BEN, 1)],
                "secret": secret,
            }
            return ledger.execute_signed(SignedBatch.sign(**(arguments | changes)))

        return call

    def used_nonce(ledger: f.Ledger) -> None:
        signed(1)(ledger)
        signed(1)(ledger)

    def unowned(ledger: f.Ledger) -> None:
        close = [Operation.close(new_id(), BEN)]
        ledger.execute_signed(SignedBatch.sign(BEN, 1, NEVER, close, secret))

    def exists(ledger: f.Ledger) -> None:
        ledger.open_account(ANA, f.AccountKind.ISSUER)

    nobody = "ee" * 16
    from_ben = [(new_id(), BEN, ANA, 1)]
    opening = [Operation.open(nobody, f.AccountKind.HOLDER)]
    pay = (new_id(), ANA, BEN, 1)
    return [
        (f.ZeroAmountError, "amount zero", lambda ledger: ledger.transfer(new_id(), ANA, BEN, 0)),
        (f.ArgumentError, "outside", lambda ledger: ledger.transfer(new_id(), ANA, BEN, -1)),
        (f.ArgumentError, "outside", lambda ledger: ledger.transfer(new_id(), ANA, BEN, 2**128)),
        (f.AmountOverflowError, "of 1 overflows account 00000000.* 0 more", overflow),
        (
            f.UnknownAccountError,
            f"unknown account {nobody}",
            lambda ledger: ledger.transfer(new_id(), ANA, nobody, 1),
        ),
        (f.UnknownAccountError, nobody, lambda ledger: next(ledger.history(nobody))),
        (f.UnknownAccountError, nobody, lambda ledger: ledger.balance_as_of(nobody, sequence=1)),
        (f.AssetMismatchError, "asset 0 into asset 1", other_asset),
        (f.AccountClosedError, f"{closed}, which is closed", into_closed),
        (f.AccountInUseError, ANA, lambda ledger: ledger.close_account(new_id(), ANA)),
        (f.AccountExistsError, ANA, exists),
        (f.SameAccountError, ANA, lambda ledger: ledger.transfer(new_id(), ANA, ANA, 1)),
        (
            f.NotAnIssuerError,
            ANA,
            lambda ledger: ledger.limit(new_id(), ANA, AccountLimits(max_supply=1)),
        ),
        (
            f.InsufficientFundsError,
            "needs 10000000000000000001 .* 10000000000000000000 available",
            lambda ledger: ledger.transfer(new_id(), ANA, BEN, 10 * CREDIT + 1),
        ),
        (f.QuotaExceededError, "of 2 exceeds today's quota .* 1 left", quota),
        (f.SupplyExceededError, "of 2 exceeds .*, 1", supply),
        (f.CreditsExceedDebitsError, "of 1 exceeds .*, 0", returned),
        (f.IdReusedError, "at entry 5", reused),
        (f.ReservationClosedError, "already posted", posted_twice),
        (f.PostExceedsReservationError, "posts 3 .* holds 2", more_than_reserved),
        (f.NotAReservationError, "not a reservation", no_reservation),
        (
            f.ExpiresInPastError,
            "expire at 1970-01-01T00:00:00.001Z",
            lambda ledger: ledger.reserve(new_id(), ANA, BEN, 1, expires_unix_ms=1),
        ),
        (
            f.ArgumentError,
            "cannot be stored",
            lambda ledger: ledger.reserve(new_id(), ANA, BEN, 1, expires_unix_ms=2**64 - 1),
        ),
        (f.BatchEmptyError, "empty", lambda ledger: ledger.execute([])),
        (f.BatchTooLargeError, "8191 .* 8190", lambda ledger: ledger.execute([pay] * 8191)),
        (f.NonceSkippedError, "signature 2 .* before signature 1", signed(2)),
        (f.SignatureReplayedError, "the next is 2", used_nonce),
        (f.SignatureForgedError, "forged", signed(1, secret=bytes(32))),
        (f.SignatureExpiredError, "expired at 1970-01-01T00:00:00.001Z,", signed(1, expires_unix_ms=1)),
        (f.NotTheOwnerError, BEN, signed(1, operations=from_ben)),
        (f.NotForOwnersError, nobody, signed(1, operations=opening)),
        (f.NoOwnerError, BEN, unowned),
        (f.NoOwnerError, ANA, lambda ledger: ledger.next_nonce(ANA)),
        (f.ArgumentError, "nothing that was signed", lambda _: SignedBatch.from_bytes(b"x")),
        (f.ArgumentError, "nothing that was signed", lambda _: Checkpoint.from_bytes(b"x")),
        (f.ArgumentError, "either", lambda ledger: ledger.balance_as_of(ANA)),
        (f.ArgumentError, "public key has 3", lambda ledger: ledger.own(new_id(), ANA, b"abc")),
    ]


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [pytest.param(*case, id=f"{n}-{case[0].__name__}") for n, case in enumerate(refusals())],
)
def test_every_refusal_has_its_exception(
    error: type[f.FogError], message: str, call: Callable[[f.Ledger], object]
) -> None:
    ledger = funded(f.Ledger.in_memory())
    with pytest.raises(error, match=message) as caught:
        call(ledger)
    assert type(caught.value) is error
    assert ledger.verify()


def test_a_reservation_expires_by_itself() -> None:
    ledger = funded(f.Ledger.in_memory())
    id, ahead_ms = new_id(), 1
    while ledger.entry(id) is None:
        # A machine that is busy may come too late for so short a time: then for a longer one.
        with suppress(f.ExpiresInPastError):
            ledger.reserve(id, ANA, BEN, 7, expires_unix_ms=ledger_time() + ahead_ms)
        ahead_ms *= 2
    while ledger.account(ANA).debits_pending:
        pass
    with pytest.raises(f.ReservationExpiredError, match="expired at"):
        ledger.post(new_id(), id)
    assert [entry.kind for entry in ledger.history(BEN)] == ["opened", "reserved", "expired"]
    assert ledger.expire() == 0


def ledger_time() -> int:
    """Now, as a ledger has it."""
    with f.Ledger.in_memory() as ledger:
        return ledger.open_account(ANA, f.AccountKind.HOLDER).unix_ms


def test_history_is_read_in_pages_and_from_anywhere() -> None:
    ledger = funded(f.Ledger.in_memory())
    ledger.execute([(new_id(), ANA, BEN, 1) for _ in range(2_500)])
    entries = list(ledger.history(BEN))
    assert [entry.sequence for entry in entries] == [3, *range(5, 2_505)]
    assert entries[1].from_account == ANA
    assert [entry.sequence for entry in ledger.history(BEN, 1_500, 3)] == [1_501, 1_502, 1_503]
    assert len(list(ledger.entries(limit=1_001))) == 1_001
    assert list(ledger.entries(2_503)) == entries[-1:]
    # One that is at its end goes on when there is more.
    following = ledger.entries(2_504)
    assert list(following) == []
    ledger.transfer(new_id(), ANA, BEN, 1)
    assert next(following).sequence == 2_505


def test_the_past_can_be_asked() -> None:
    ledger = funded(f.Ledger.in_memory())
    moment = ledger.transfer(new_id(), ANA, BEN, 5).unix_ms
    before = ledger.balance_as_of(ANA, sequence=4)
    assert before == credits.Standing(4, 10 * CREDIT, 0)
    assert before.balance == 10 * CREDIT
    now = ledger.balance_as_of(ANA, unix_ms=moment)
    assert now is not None
    assert now.balance == 10 * CREDIT - 5
    assert ledger.balance_as_of(ANA, sequence=1) is None
    assert ledger.balance_as_of(ANA, unix_ms=0) is None


def test_an_owner_signs_and_nothing_happens_twice() -> None:
    ledger = funded(f.Ledger.in_memory())
    key = owner_key(SECRET)
    ledger.own(new_id(), ANA, key)
    pay = [(new_id(), ANA, BEN, 5)]
    batch = SignedBatch.sign(ANA, ledger.next_nonce(ANA), NEVER, pay, SECRET)
    assert (batch.account, batch.nonce, batch.expires_unix_ms, len(batch)) == (ANA, 1, NEVER, 1)
    assert batch.is_signed_by(key)
    assert not batch.is_signed_by(bytes(32))
    read = SignedBatch.from_bytes(batch.to_bytes())
    assert read == batch
    # The signature ends the bytes; whoever has the key elsewhere signs the message.
    signature = batch.to_bytes()[-64:]
    assert SignedBatch.with_signature(ANA, 1, NEVER, pay, signature) == batch
    assert len(SignedBatch.message(ANA, 1, NEVER, pay)) == 77
    (receipt,) = ledger.execute_signed(read)
    assert (receipt.moved, ledger.balance(BEN), ledger.next_nonce(ANA)) == (5, 5, 2)
    changed = bytearray(batch.to_bytes())
    changed[-70] ^= 1
    with pytest.raises(f.SignatureForgedError):
        ledger.execute_signed(SignedBatch.from_bytes(changed))
    signed = [entry for entry in ledger.entries() if entry.kind == "signed"]
    assert [(entry.account, entry.nonce) for entry in signed] == [(ANA, 1)]


def test_an_auditor_notices_another_history(tmp_path: Path) -> None:
    ledger = funded(f.Ledger.in_memory())
    key = owner_key(SECRET)
    checkpoint = Checkpoint.from_bytes(ledger.checkpoint(SECRET).to_bytes())
    checkpoint.verify(key)
    head = ledger.head()
    assert (checkpoint.sequence, checkpoint.chain) == (head.sequence, head.chain)
    assert checkpoint.key == key
    ledger.transfer(new_id(), ANA, BEN, 5)
    assert ledger.verify_since(checkpoint, key).sequence == 5
    with pytest.raises(f.CheckpointForgedError):
        checkpoint.verify(owner_key(bytes(32)))
    with pytest.raises(f.CheckpointForgedError):
        ledger.verify_since(checkpoint, owner_key(bytes(32)))
    with pytest.raises(f.CheckpointMissingError) as caught:
        f.Ledger.in_memory().verify_since(checkpoint, key)
    assert "before the checkpoint at entry 4" in str(caught.value)
    assert "corrupt" not in str(caught.value)
    other = f.Ledger.in_memory()
    other.execute([Operation.open(f"{n:032x}", f.AccountKind.HOLDER) for n in range(4)])
    with pytest.raises(f.CheckpointDiffersError):
        other.verify_since(checkpoint, key)


@pytest.mark.parametrize("format", list(credits.TextFormat))
def test_a_ledger_is_copied_and_written_as_text(
    tmp_path: Path, format: credits.TextFormat
) -> None:
    text, copy = tmp_path / "text", tmp_path / "copy"
    with f.Ledger.open(tmp_path / "ledger", durability=credits.Durability.NORMAL) as ledger:
        assert ledger.durability() is credits.Durability.NORMAL
        funded(ledger)
        ledger.snapshot()
        ledger.check_integrity()
        head = ledger.head()
        assert ledger.export_history(text, format) == 4
        ledger.backup(copy)
        for again in (lambda: ledger.export_history(text, format), lambda: ledger.backup(copy)):
            with pytest.raises(f.StorageExistsError, match=r"text|copy"):
                again()
        with pytest.raises(f.StorageNotEmptyError, match="4 entries"):
            ledger.import_history(text, format)
    with f.Ledger.open(copy) as backup:
        assert backup.head() == head
        assert backup.durability() is credits.Durability.FULL
    imported = f.Ledger.in_memory()
    imported.import_history(text, format)
    assert imported.head() == head
    lines = text.read_text().splitlines()
    text.write_text("\n".join([*lines[:-1], "nonsense"]))
    empty = f.Ledger.in_memory()
    with pytest.raises(f.TranscriptError, match=f"line {len(lines)}"):
        empty.import_history(text, format)
    assert empty.head().sequence == 0
    with pytest.raises(f.StorageNoFolderError, match="none"):
        empty.import_history(tmp_path / "none", format)


def test_a_history_is_written_as_the_name_of_its_file_tells(tmp_path: Path) -> None:
    # It was CSV whatever the name was.
    ledger = funded(f.Ledger.in_memory())
    for name, start in [("a.csv", "sequence,"), ("a.jsonl", "{"), ("A.CSV", "sequence,")]:
        assert ledger.export_history(tmp_path / name) == 4
        assert (tmp_path / name).read_text().startswith(start)
        copy = f.Ledger.in_memory()
        copy.import_history(tmp_path / name)
        assert copy.head() == ledger.head()
    for name in ("a", "a.txt", "a.json"):
        for call in (ledger.export_history, f.Ledger.in_memory().import_history):
            with pytest.raises(f.ArgumentError, match=name):
                call(tmp_path / name)
        assert not (tmp_path / name).exists()
    ledger.export_history(tmp_path / "a", "jsonl")
    assert (tmp_path / "a").read_text().startswith("{")
    with pytest.raises(f.ArgumentError, match="json_lines"):
        ledger.export_history(tmp_path / "b", "json_lines")  # type: ignore[arg-type]


def test_a_ledger_that_must_be_there_is_not_made(tmp_path: Path) -> None:
    # Opening always made a ledger, also of a mistyped name and of a file of one byte.
    path = tmp_path / "ledger"
    with pytest.raises(f.StorageMissingError, match="ledger does not exist"):
        f.Ledger.open(path, create=False)
    with pytest.raises(f.StorageNoFolderError):
        f.Ledger.open(tmp_path / "no" / "ledger", create=False)
    assert list(tmp_path.iterdir()) == []
    for content in (b"S", b"SQLite", b"Dear diary, " * 1_000):
        path.write_bytes(content)
        for create in (True, False):
            with pytest.raises(f.StorageForeignError):
                f.Ledger.open(path, create)
            assert path.read_bytes() == content
    path.write_bytes(b"")
    with pytest.raises(f.StorageForeignError):
        f.Ledger.open(path, create=False)
    assert path.read_bytes() == b""
    with f.Ledger.open(path) as ledger:
        funded(ledger)
    with f.Ledger.open(path, create=False) as ledger:
        assert ledger.head().sequence == 4


def test_a_damaged_page_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with f.Ledger.open(path) as ledger:
        funded(ledger)
        ledger.execute([(new_id(), ANA, BEN, 1) for _ in range(1_000)])
    data = bytearray(path.read_bytes())
    page = len(data) // 4096 // 2 * 4096
    data[page : page + 4096] = bytes(4096)
    path.write_bytes(data)
    with pytest.raises(f.StorageCorruptError), f.Ledger.open(path) as ledger:
        ledger.verify()


def test_a_file_that_cannot_be_written_is_refused() -> None:
    user = os.geteuid()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger"
        f.Ledger.open(path).close()
        path.chmod(0o444)
        path.parent.chmod(0o755)
        try:
            if user == 0:
                # Who may write to any file tries as somebody who may not.
                os.seteuid(65534)
            with pytest.raises(f.StorageReadOnlyError, match=f"{path} is read-only"):
                f.Ledger.open(path)
        finally:
            os.seteuid(user)


NO_ROOM = """
import resource, sys
from fogcompute import AccountKind, Ledger, StorageError, StorageFullError
from fogcompute.ledger import Operation

ledger = Ledger.open(sys.argv[1])
head = ledger.head()
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    for first in range(0, 100_000, 1_000):
        ledger.execute(
            [Operation.open(f"{n:032x}", AccountKind.HOLDER) for n in range(first, first + 1_000)]
        )
        head = ledger.head()
except StorageError as error:
    print(type(error).__name__)
assert ledger.head() == head
try:
    ledger.export_history(sys.argv[2])
except StorageFullError as error:
    print(type(error).__name__)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ledger.close()
with Ledger.open(sys.argv[1]) as ledger:
    assert ledger.verify().sequence == head.sequence > 0
"""


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    text = tmp_path / "text.csv"
    result = subprocess.run(
        [sys.executable, "-c", NO_ROOM, str(tmp_path / "ledger"), str(text)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stderr == ""
    first, second = result.stdout.split()
    assert first.startswith("Storage")
    assert second == "StorageFullError"
    assert not text.exists()


async def test_a_coroutine_waits_without_holding_others_up(tmp_path: Path) -> None:
    with f.Ledger.open(tmp_path / "ledger") as ledger:
        funded(ledger)
        await asyncio.gather(
            *(asyncio.to_thread(ledger.transfer, new_id(), ANA, BEN, 1) for _ in range(50))
        )
        assert ledger.balance(BEN) == 50


def test_operations_compare_and_show_themselves() -> None:
    id = new_id()
    void = Operation.void(id, ANA)
    assert void == Operation.void(id, ANA.upper())
    assert hash(void) == hash(Operation.void(id, ANA))
    assert void != Operation.close(id, ANA)
    assert id in repr(void)
