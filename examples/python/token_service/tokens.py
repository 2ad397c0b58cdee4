"""A web service for tokens whose table of balances is a ledger.

    pip install ./python fastapi uvicorn                   # in the root of the checkout
    TOKEN_LEDGER=tokens.sqlite uvicorn --app-dir examples/python/token_service tokens:app
    post() { curl -s -H 'content-type: application/json' -H "idempotency-key: $1" -d "$3" \
             "localhost:8000$2"; }
    post - /accounts '{"name": "ana"}';  post - /accounts '{"name": "ben"}'
    post m1 /deposits '{"to": "ana", "amount": "100"}'
    post t1 /transfers '{"giver": "ana", "receiver": "ben", "amount": "30"}'
    curl -s localhost:8000/accounts/ben/history
    curl -s localhost:8000/audit

What a table with a column of balances gets wrong is the ledger's to get right: two requests that
spend the same tokens, a request that is repeated because its answer was lost, tokens that are
promised and spent elsewhere, a row that somebody edits. Requests name what they do by the header
`Idempotency-Key`. Amounts are text in JSON: they are larger than its numbers are exact.

Who may ask for what is not here: put your own authentication before it. Endpoints are plain
functions, which FastAPI runs in threads; those that come at once share one wait for the disk.
"""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import NAMESPACE_URL, UUID, uuid5

from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

import fogcompute as f
from fogcompute.ledger import AccountLimits, Entry, Ledger, Operation, Receipt

SERVICE = uuid5(NAMESPACE_URL, "https://example.org/tokens")
ACCOUNTS = uuid5(SERVICE, "accounts")
REQUESTS = uuid5(SERVICE, "requests")
TREASURY = uuid5(SERVICE, "treasury")
SUPPLY_MAX = 10**12
ESCROW_SECONDS_MAX = 30 * 24 * 3600

STATUS: dict[type[f.FogError], int] = {
    f.ArgumentError: 422,
    f.IdReusedError: 422,
    f.LedgerError: 422,
    f.InsufficientFundsError: 402,
    f.UnknownAccountError: 404,
    f.UnknownReservationError: 404,
    f.NotAReservationError: 404,
    f.AccountExistsError: 409,
    f.AccountInUseError: 409,
    f.PostExceedsReservationError: 409,
    f.ReservationClosedError: 409,
    f.SupplyExceededError: 409,
    f.AccountClosedError: 410,
    f.ReservationExpiredError: 410,
    f.QuotaExceededError: 429,
    f.StorageError: 500,
    f.StorageFullError: 507,
    f.ClosedError: 503,
    f.StorageReopenError: 503,
    f.StorageUncertainError: 503,
}
"""What an error is to HTTP. The closest class counts; whatever is missing is a 500."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opens the ledger, and closes it in the end."""
    with Ledger.open(os.environ.get("TOKEN_LEDGER", "tokens.sqlite")) as ledger:
        # Both are done once: the next start repeats them, which changes nothing.
        ledger.execute(
            [
                Operation.open(TREASURY, f.AccountKind.ISSUER),
                Operation.limit(
                    uuid5(SERVICE, "supply"), TREASURY, AccountLimits(max_supply=SUPPLY_MAX)
                ),
            ]
        )
        app.state.ledger = ledger
        yield


app = FastAPI(title="fogcompute tokens", lifespan=lifespan)


@app.exception_handler(f.FogError)
def refused(_: Request, error: f.FogError) -> JSONResponse:
    """Every refusal of the ledger as an answer: the same code in every language."""
    known = (STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    body = {"error": error.name, "code": error.code, "detail": str(error)}
    return JSONResponse(body, next(known, 500))


def opened(request: Request) -> Ledger:
    """The service's ledger."""
    ledger: Ledger = request.app.state.ledger
    return ledger


def request_id(idempotency_key: Annotated[str, Header(min_length=1, max_length=255)]) -> UUID:
    """The id of what a request does: the same for the same key."""
    return uuid5(REQUESTS, idempotency_key)


Tokens = Annotated[Ledger, Depends(opened)]
RequestId = Annotated[UUID, Depends(request_id)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Amount = Annotated[str, Field(pattern="^[0-9]{1,39}$")]


def account_of(name: str) -> UUID:
    """The account of a user."""
    return uuid5(ACCOUNTS, name)


def done(receipt: Receipt, **more: Any) -> dict[str, Any]:
    """What became of a request."""
    return {"entry": receipt.sequence, "replayed": receipt.replayed, **more}


class Body(BaseModel):
    """What a request says: a field that is not known is a mistake, not a remark."""

    model_config = ConfigDict(extra="forbid")


class NewAccount(Body):
    """Who is to have an account, and what may leave it a day."""

    name: Name
    spend_per_day: Amount | None = None


class Deposit(Body):
    """Tokens that are put out."""

    to: Name
    amount: Amount


class Transfer(Body):
    """Tokens that change hands. `order` is a number of the caller's own."""

    giver: Name
    receiver: Name
    amount: Amount
    order: Annotated[int, Field(ge=0, lt=2**128)] = 0


class Escrow(Transfer):
    """Tokens that are held back until they are released, given back, or expire."""

    seconds: Annotated[int, Field(gt=0, le=ESCROW_SECONDS_MAX)] = 24 * 3600


class Release(Body):
    """How much of an escrow is paid; what is left goes back."""

    amount: Amount | None = None


@app.post("/accounts", status_code=201)
def open_account(new: NewAccount, ledger: Tokens) -> dict[str, Any]:
    """Opens an account: with its limit, or not at all. Once, so it needs no key: the same again
    changes nothing, and another limit is a conflict.
    """
    account = account_of(new.name)
    id = uuid5(account, "first limit")
    quota = None if new.spend_per_day is None else int(new.spend_per_day)
    try:
        receipts = ledger.execute(
            [
                Operation.open(account, f.AccountKind.HOLDER),
                Operation.limit(id, account, AccountLimits(spend_per_day=quota)),
            ]
        )
    except f.IdReusedError as error:
        made = ledger.entry(id)
        if made is None or made.limits is None:
            raise
        raise f.AccountExistsError(
            f"account {new.name!r} was opened with a spend_per_day of "
            f"{in_words(made.limits.spend_per_day)}, not of {in_words(quota)}"
        ) from error
    return done(receipts[0], account=account.hex)


def in_words(limit: int | None) -> str:
    """A limit, or that there is none."""
    return "no limit" if limit is None else str(limit)


@app.get("/accounts/{name}")
def account(name: str, ledger: Tokens) -> dict[str, Any]:
    """What a user has, and how much of it is held back."""
    found = ledger.account(account_of(name))
    return {
        "account": found.id,
        "balance": str(found.balance),
        "available": str(found.available),
        "reserved": str(found.debits_pending),
        "promised": str(found.credits_pending),
        "closed": found.closed,
    }


@app.get("/accounts/{name}/history")
def history(
    name: str,
    ledger: Tokens,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> dict[str, Any]:
    """What happened to an account, oldest first. The next page comes after `next`."""
    entries = list(ledger.history(account_of(name), after, limit))
    return {
        "entries": [line(entry) for entry in entries],
        "next": entries[-1].sequence if entries else after,
    }


def line(entry: Entry) -> dict[str, Any]:
    """An entry in JSON, without what it does not say."""
    line = {
        "entry": entry.sequence,
        "unix_ms": entry.unix_ms,
        "kind": entry.kind,
        "from": entry.from_account,
        "to": entry.to_account,
        "amount": str(entry.amount) if entry.amount else None,
        "released": str(entry.released) if entry.released else None,
        "escrow": entry.reservation or (entry.id if entry.kind == "reserved" else None),
        "order": int.from_bytes(entry.reference) or None,
    }
    return {name: value for name, value in line.items() if value is not None}


@app.post("/deposits", status_code=201)
def deposit(deposit: Deposit, id: RequestId, ledger: Tokens) -> dict[str, Any]:
    """Puts tokens out: never more than the treasury's limit."""
    return done(ledger.transfer(id, TREASURY, account_of(deposit.to), int(deposit.amount)))


@app.post("/transfers", status_code=201)
def transfer(transfer: Transfer, id: RequestId, ledger: Tokens) -> dict[str, Any]:
    """Moves tokens from one user to another."""
    receipt = ledger.transfer(
        id,
        account_of(transfer.giver),
        account_of(transfer.receiver),
        int(transfer.amount),
        reference=transfer.order.to_bytes(16),
    )
    return done(receipt)


@app.post("/escrows", status_code=201)
def hold(escrow: Escrow, id: RequestId, ledger: Tokens) -> dict[str, Any]:
    """Holds tokens back. The same request later is the first one, so its time is from then on.

    What is held back counts towards the giver's limit on the day it is released, as the ledger
    has it. More than the limit of a whole day could never be released in full, and is refused.
    """

    def reserve(expires: int) -> dict[str, Any]:
        receipt = ledger.reserve(
            id,
            account_of(escrow.giver),
            account_of(escrow.receiver),
            int(escrow.amount),
            expires_unix_ms=expires,
            reference=escrow.order.to_bytes(16),
        )
        return done(receipt, escrow=id.hex, expires_unix_ms=expires)

    def expires_of_first() -> int | None:
        made = ledger.entry(id)
        return None if made is None else made.expires_unix_ms

    now = time.time_ns() // 1_000_000
    first = expires_of_first()
    if first is None:
        limit = ledger.account(account_of(escrow.giver)).limits.spend_per_day
        if limit is not None and int(escrow.amount) > limit:
            raise f.QuotaExceededError(
                f"an escrow of {escrow.amount} exceeds the {limit} that may leave the account a day"
            )
    try:
        return reserve(first or now + escrow.seconds * 1_000)
    except f.IdReusedError:
        # The same request may have come twice at once.
        if (expires := expires_of_first()) is None:
            raise
        return reserve(expires)


@app.post("/escrows/{escrow}/release")
def release(escrow: UUID, release: Release, id: RequestId, ledger: Tokens) -> dict[str, Any]:
    """Pays what was held back, or part of it."""
    amount = None if release.amount is None else int(release.amount)
    receipt = ledger.post(id, escrow, amount)
    return done(receipt, paid=str(receipt.moved))


@app.delete("/escrows/{escrow}")
def give_back(escrow: UUID, id: RequestId, ledger: Tokens) -> dict[str, Any]:
    """Gives back what was held back."""
    return done(ledger.void(id, escrow))


@app.get("/audit")
def audit(ledger: Tokens) -> dict[str, Any]:
    """Carries the whole history out again and compares. A damaged file is a 500."""
    proof = ledger.verify()
    return {
        "entries": proof.sequence,
        "chain": proof.chain,
        "accounts": proof.accounts,
        "escrows": proof.open_reservations,
        "supply": str(ledger.supply()),
    }
