"""The governance service of the examples."""

import sys
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

import fogcompute as f
from conftest import ROOT
from fogcompute.ledger import (
    CREDIT,
    Action,
    Choice,
    Ledger,
    Operation,
    ProposalKind,
    SignedBatch,
    owner_key,
    purse_account,
)

sys.path.insert(0, str(ROOT / "examples/python/governance_service"))

import governance  # noqa: E402

DAY = 86_400_000
START = 20_000 * DAY
ANA, BEN = (UUID(int=n) for n in (1, 2))
SECRETS = {ANA: bytes([1]) * 32, BEN: bytes([2]) * 32}
BASE = "earning.contributions.hosting.base"


class Client:
    """A client of the service, and the devices of its users."""

    def __init__(self, http: httpx.AsyncClient, ledger: Ledger) -> None:
        self.http = http
        self.ledger = ledger

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = await self.http.request(method, path, json=body)
        return answer.status_code, answer.json()

    async def sign(self, account: UUID, *operations: Operation) -> dict[str, str]:
        _, known = await self.ask("GET", f"/accounts/{account}")
        signed = SignedBatch.sign(
            account, known["next_nonce"], 2**63, operations, SECRETS[account]
        )
        return {"batch": b64encode(signed.to_bytes()).decode()}

    async def hand_over(self, account: UUID, *operations: Operation) -> tuple[int, Any]:
        return await self.ask("POST", "/signed", await self.sign(account, *operations))


@pytest.fixture
async def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """The service with a ledger of its own: Ana and Ben have 10,000 credits each."""
    monkeypatch.setenv("GOVERNANCE_LEDGER", str(tmp_path / "dao.sqlite"))
    transport = httpx.ASGITransport(governance.app)
    async with (
        governance.lifespan(governance.app),
        httpx.AsyncClient(transport=transport, base_url="http://s") as http,
    ):
        ledger: Ledger = governance.app.state.ledger
        ledger.set_time(START)
        client = Client(http, ledger)
        for account, secret in SECRETS.items():
            ledger.open_account(account, f.AccountKind.HOLDER)
            ledger.transfer(uuid4(), purse_account("treasury"), account, 10_000 * CREDIT)
            ledger.own(uuid4(), account, owner_key(secret))
            enrol = Operation.enrol(uuid4(), account)
            assert (await client.hand_over(account, enrol))[0] == 201
        ledger.set_time(START + DAY)
        yield client


def proposing(proposal: UUID, author: UUID = ANA) -> Operation:
    return Operation.propose(
        uuid4(),
        author,
        proposal,
        ProposalKind.PARAMETER_CHANGE,
        "Pay hosts more",
        "",
        [Action.set_parameter(BASE, 7 * CREDIT)],
    )


async def test_signed_votes_pass_a_proposal_that_is_executed(client: Client) -> None:
    proposal = uuid4()
    path = f"/proposals/{proposal}"
    assert (await client.hand_over(ANA, proposing(proposal)))[0] == 201
    vote = Operation.vote(uuid4(), ANA, proposal, Choice.FOR)
    status, early = await client.hand_over(ANA, vote)
    assert (status, early["error"]) == (409, "VotingNotStarted")
    # Ben's phone has no network: he signs now, and hands it over when voting has begun.
    bens = await client.sign(BEN, Operation.vote(uuid4(), BEN, proposal, Choice.ABSTAIN))
    client.ledger.set_time(START + 2 * DAY + 1)
    assert (await client.ask("POST", "/signed", bens))[0] == 201
    status, again = await client.ask("POST", "/signed", bens)
    assert (status, again["error"]) == (409, "SignatureReplayed")
    assert (await client.hand_over(ANA, vote))[0] == 201
    _, active = await client.ask("GET", path)
    assert (active["state"], active["ballots"]) == ("active", 2)
    assert active["quorum_reached"] is active["approved"] is True
    _, voted = await client.ask("GET", f"{path}/votes/{BEN}")
    assert voted["choice"] == "abstain"

    client.ledger.set_time(START + 9 * DAY + 1)
    status, queued = await client.ask("POST", f"{path}/queue")
    assert (status, queued["event"]) == (200, "queued")
    status, early = await client.ask("POST", f"{path}/execute")
    assert (status, early["error"]) == (409, "TimelockRunning")
    client.ledger.set_time(queued["eta_unix_ms"])
    assert (await client.ask("POST", f"{path}/execute"))[1]["event"] == "executed"
    assert (await client.ask("POST", f"{path}/execute"))[1]["replayed"] is True
    _, (done,) = await client.ask("GET", "/proposals")
    assert done["state"] == "executed"
    values = {it.name: it.value for it in client.ledger.economy.parameters()}
    assert values[BASE] == 7 * CREDIT


async def test_nobody_asks_for_others_or_for_what_there_is_not(client: Client) -> None:
    foreign = await client.sign(BEN, proposing(uuid4(), author=ANA))
    status, body = await client.ask("POST", "/signed", foreign)
    assert (status, body["error"]) == (403, "NotTheOwner")
    forged = SignedBatch.sign(ANA, 2, 2**63, [proposing(uuid4())], SECRETS[BEN])
    batch = {"batch": b64encode(forged.to_bytes()).decode()}
    status, body = await client.ask("POST", "/signed", batch)
    assert (status, body["error"]) == (401, "SignatureForged")
    status, body = await client.ask("POST", "/signed", {"batch": "AAAA"})
    assert (status, body["error"]) == (422, "InvalidArgument")
    status, body = await client.ask("POST", f"/proposals/{uuid4()}/queue")
    assert (status, body["error"]) == (404, "UnknownProposal")
    assert (await client.ask("GET", f"/proposals/{uuid4()}"))[0] == 404
    assert await client.ask("GET", "/proposals") == (200, [])


async def test_the_overview_counts_members_and_weight(client: Client) -> None:
    _, overview = await client.ask("GET", "/governance")
    assert (overview["members"], overview["established"]) == (2, False)
    assert int(overview["total"]) == 20_000 * CREDIT
    _, ana = await client.ask("GET", f"/accounts/{ANA}")
    assert (ana["enrolled"], ana["role"]) == (True, "citizen")
    assert int(ana["power"]["general"]) == 10_000 * CREDIT
