"""The token service of the examples."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

import fogcompute as f
from conftest import ROOT

sys.path.insert(0, str(ROOT / "examples/python/token_service"))

import tokens  # noqa: E402


class Client:
    """A client of the service."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def ask(
        self, method: str, path: str, body: Any = None, key: str | None = None
    ) -> tuple[int, Any]:
        headers = {"Idempotency-Key": key or uuid4().hex}
        answer = await self.http.request(method, path, json=body, headers=headers)
        return answer.status_code, answer.json()

    async def available(self, name: str) -> int:
        status, account = await self.ask("GET", f"/accounts/{name}")
        assert status == 200
        return int(account["available"])


@pytest.fixture
async def client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Client]:
    """The service with a ledger of its own: Ana has 100 tokens, Ben none."""
    monkeypatch.setenv("TOKEN_LEDGER", str(tmp_path / "tokens.sqlite"))
    transport = httpx.ASGITransport(tokens.app)
    async with (
        tokens.lifespan(tokens.app),
        httpx.AsyncClient(transport=transport, base_url="http://s") as http,
    ):
        client = Client(http)
        for name in ("ana", "ben"):
            assert (await client.ask("POST", "/accounts", {"name": name}))[0] == 201
        deposit = {"to": "ana", "amount": "100"}
        assert (await client.ask("POST", "/deposits", deposit))[0] == 201
        yield client


def pay(amount: int, **more: Any) -> dict[str, Any]:
    return {"giver": "ana", "receiver": "ben", "amount": str(amount), **more}


async def test_a_repeated_transfer_moves_nothing(client: Client) -> None:
    first = await client.ask("POST", "/transfers", pay(30, order=7), "k")
    again = await client.ask("POST", "/transfers", pay(30, order=7), "k")
    assert (first[0], first[1]["replayed"]) == (201, False)
    assert again == (201, {"entry": first[1]["entry"], "replayed": True})
    assert (await client.available("ana"), await client.available("ben")) == (70, 30)
    status, body = await client.ask("POST", "/transfers", pay(31, order=7), "k")
    assert (status, body["error"], body["code"]) == (422, "IdReused", 403)


async def test_requests_at_the_same_time_spend_nothing_twice(client: Client) -> None:
    answers = await asyncio.gather(
        *(client.ask("POST", "/transfers", pay(30)) for _ in range(10))
    )
    assert sorted(status for status, _ in answers) == [201] * 3 + [402] * 7
    assert (await client.available("ana"), await client.available("ben")) == (10, 90)


async def test_an_escrow_is_released_in_part_or_given_back(client: Client) -> None:
    _, escrow = await client.ask("POST", "/escrows", pay(80, seconds=60), "e")
    assert await client.ask("POST", "/escrows", pay(80, seconds=60), "e") == (
        201,
        escrow | {"replayed": True},
    )
    assert (await client.available("ana"), await client.available("ben")) == (20, 0)
    status, body = await client.ask("POST", "/transfers", pay(21))
    assert (status, body["error"]) == (402, "InsufficientFunds")
    path = f"/escrows/{escrow['escrow']}"
    status, body = await client.ask("POST", f"{path}/release", {"amount": "81"})
    assert (status, body["error"]) == (409, "PostExceedsReservation")
    status, body = await client.ask("POST", f"{path}/release", {"amount": "50"})
    assert (status, body["paid"]) == (200, "50")
    assert (await client.available("ana"), await client.available("ben")) == (50, 50)
    status, body = await client.ask("DELETE", path)
    assert (status, body["error"]) == (409, "ReservationClosed")
    _, other = await client.ask("POST", "/escrows", pay(50))
    assert (await client.ask("DELETE", f"/escrows/{other['escrow']}"))[0] == 200
    assert await client.available("ana") == 50


async def test_history_comes_in_pages_and_the_audit_agrees(client: Client) -> None:
    await client.ask("POST", "/transfers", pay(30, order=7))
    await client.ask("POST", "/escrows", pay(5))
    _, whole = await client.ask("GET", "/accounts/ben/history")
    assert [entry["kind"] for entry in whole["entries"]] == [
        "opened",
        "limited",
        "transferred",
        "reserved",
    ]
    assert (whole["entries"][2]["amount"], whole["entries"][2]["order"]) == ("30", 7)
    _, page = await client.ask("GET", "/accounts/ben/history?limit=2")
    _, rest = await client.ask("GET", f"/accounts/ben/history?after={page['next']}")
    assert page["entries"] + rest["entries"] == whole["entries"]
    status, audit = await client.ask("GET", "/audit")
    assert status == 200
    assert audit["entries"] == rest["next"]
    assert (audit["accounts"], audit["escrows"], audit["supply"]) == (3, 1, "100")


async def test_refusals_have_their_status(client: Client) -> None:
    quota = {"name": "kid", "spend_per_day": "5"}
    assert (await client.ask("POST", "/accounts", quota))[0] == 201
    await client.ask("POST", "/deposits", {"to": "kid", "amount": "10"})
    nobody = uuid4().hex
    for method, path, body, expected in [
        ("GET", "/accounts/nobody", None, (404, "UnknownAccount")),
        ("GET", "/accounts/nobody/history", None, (404, "UnknownAccount")),
        ("POST", "/transfers", pay(0), (422, "ZeroAmount")),
        ("POST", "/transfers", pay(1, receiver="ana"), (422, "SameAccount")),
        ("POST", "/transfers", pay(1, receiver="nobody"), (404, "UnknownAccount")),
        ("POST", "/transfers", pay(6, giver="kid"), (429, "QuotaExceeded")),
        ("POST", "/deposits", {"to": "ana", "amount": str(10**12)}, (409, "SupplyExceeded")),
        ("DELETE", f"/escrows/{nobody}", None, (404, "UnknownReservation")),
    ]:
        status, answer = await client.ask(method, path, body)
        assert (status, answer["error"]) == expected, path
    for amount in ("-1", "1.5", "", "1e3", "9" * 40):
        status, _ = await client.ask("POST", "/transfers", pay(1) | {"amount": amount})
        assert status == 422, amount
    missing = await client.http.post("/transfers", json=pay(1))
    assert missing.status_code == 422


def test_every_error_has_a_status_of_its_area() -> None:
    for kind in tokens.STATUS:
        assert issubclass(kind, f.FogError)
    assert tokens.STATUS[f.StorageFullError] == 507


async def test_tokens_outlive_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_LEDGER", str(tmp_path / "tokens.sqlite"))
    heads = []
    for _ in range(2):
        async with tokens.lifespan(tokens.app):
            heads.append(tokens.app.state.ledger.head())
    assert heads[0] == heads[1]
    assert heads[0].sequence == 2


async def test_an_escrow_asked_for_many_times_at_once_is_one(client: Client) -> None:
    # Each request has a time of expiry of its own, which is part of what the ledger compares.
    answers = await asyncio.gather(
        *(client.ask("POST", "/escrows", pay(80, seconds=n + 1), "e") for n in range(20))
    )
    assert {status for status, _ in answers} == {201}
    assert len({body["expires_unix_ms"] for _, body in answers}) == 1
    assert sorted(body["replayed"] for _, body in answers) == [False] + [True] * 19
    assert await client.available("ana") == 20


async def test_a_misspelt_field_makes_no_account_without_a_limit(client: Client) -> None:
    new = {"name": "eva", "spend_per_dya": "5"}
    status, _ = await client.ask("POST", "/accounts", new)
    assert status == 422
    assert (await client.ask("GET", "/accounts/eva"))[0] == 404


async def test_an_account_opened_again_with_another_limit_is_a_conflict(client: Client) -> None:
    # It was a 422 about an id that was used for something else, which no caller had ever seen.
    new = {"name": "eve", "spend_per_day": "50"}
    assert (await client.ask("POST", "/accounts", new))[0] == 201
    status, again = await client.ask("POST", "/accounts", new)
    assert (status, again["replayed"]) == (201, True)
    for other, words in [("70", "of 50, not of 70"), (None, "of 50, not of no limit")]:
        status, refused = await client.ask("POST", "/accounts", {**new, "spend_per_day": other})
        assert (status, refused["error"]) == (409, "AccountExists")
        assert words in refused["detail"] and "'eve'" in refused["detail"]
    status, refused = await client.ask("POST", "/accounts", {"name": "ana", "spend_per_day": "1"})
    assert (status, "of no limit, not of 1" in refused["detail"]) == (409, True)


async def test_an_escrow_that_no_day_could_release_is_refused(client: Client) -> None:
    # It was held back, and its release was refused on every day.
    new = {"name": "eve", "spend_per_day": "50"}
    assert (await client.ask("POST", "/accounts", new))[0] == 201
    deposit = {"to": "eve", "amount": "200"}
    assert (await client.ask("POST", "/deposits", deposit))[0] == 201
    status, refused = await client.ask("POST", "/escrows", pay(51, giver="eve"))
    assert (status, refused["error"]) == (429, "QuotaExceeded")
    assert "51" in refused["detail"] and "50" in refused["detail"]
    assert await client.available("eve") == 200
    # Two that fit a day each are held, and the second waits for another day.
    escrows = []
    for _ in range(2):
        status, held = await client.ask("POST", "/escrows", pay(50, giver="eve"))
        assert status == 201
        escrows.append(held["escrow"])
    first, second = escrows
    assert (await client.ask("POST", f"/escrows/{first}/release", {}))[0] == 200
    status, refused = await client.ask("POST", f"/escrows/{second}/release", {})
    assert (status, refused["error"]) == (429, "QuotaExceeded")
    assert await client.available("ben") == 50
