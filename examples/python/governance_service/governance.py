"""A web service in which the holders of credits decide: proposals, votes, and what follows.

    pip install ./python fastapi uvicorn                   # in the root of the checkout
    GOVERNANCE_LEDGER=dao.sqlite uvicorn --app-dir examples/python/governance_service governance:app
    curl -s localhost:8000/proposals

The service is trusted with nothing but its clock and its disk. Whoever has an account signs what
they ask for with a key that never leaves their device, there and without a network if need be
(`fogcompute.ledger.SignedBatch`, and the same in Swift, Kotlin and C), and hands it over here, as
base64 in JSON. The ledger refuses what is forged, repeated, expired or about somebody else's votes.
What anybody may ask, queueing what has passed and executing what is due, needs no signature.

Weights are text in JSON: they are larger than its numbers are exact. Who may open an account, and
how they come by credits, is not here.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import NAMESPACE_URL, UUID, uuid5

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse
from pydantic import Base64Bytes, BaseModel, ConfigDict

import fogcompute as f
from fogcompute.ledger import EconomyReceipt, Ledger, Proposal, ProposalKind, SignedBatch, Tally

SERVICE = uuid5(NAMESPACE_URL, "https://example.org/governance")

STATUS: dict[type[f.FogError], int] = {
    f.ArgumentError: 422,
    f.LedgerError: 422,
    f.GovernanceError: 422,
    f.SignatureForgedError: 401,
    f.SignatureExpiredError: 401,
    f.SignatureRequiredError: 401,
    f.NoOwnerError: 401,
    f.NotTheOwnerError: 403,
    f.HostOnlyError: 403,
    f.NotForOwnersError: 403,
    f.NotPermittedError: 403,
    f.BelowThresholdError: 403,
    f.NoVotingPowerError: 403,
    f.UnknownAccountError: 404,
    f.UnknownProposalError: 404,
    f.SignatureReplayedError: 409,
    f.NonceSkippedError: 409,
    f.IdReusedError: 409,
    f.ProposalExistsError: 409,
    f.AlreadyVotedError: 409,
    f.WrongStateError: 409,
    f.VotingNotStartedError: 409,
    f.VotingOverError: 409,
    f.TimelockRunningError: 409,
    f.ActionFailedError: 409,
    f.TooManyProposalsError: 429,
    f.TooManyVoteChangesError: 429,
    f.StorageError: 500,
    f.StorageFullError: 507,
    f.ClosedError: 503,
}
"""What an error is to HTTP. The closest class counts; whatever is missing is a 500."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opens the ledger, and closes it in the end."""
    with Ledger.open(os.environ.get("GOVERNANCE_LEDGER", "dao.sqlite")) as ledger:
        if ledger.economy.rules() is None:
            ledger.economy.configure(uuid5(SERVICE, "economy"))
        app.state.ledger = ledger
        yield


app = FastAPI(title="fogcompute governance", lifespan=lifespan)


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


Dao = Annotated[Ledger, Depends(opened)]


class Signed(BaseModel):
    """A batch that the owner of an account has signed: `SignedBatch.to_bytes`, in base64."""

    model_config = ConfigDict(extra="forbid")

    batch: Base64Bytes


def tally(votes: Tally) -> dict[str, str]:
    """What came together for each choice."""
    return {
        "for": str(votes.in_favor),
        "against": str(votes.against),
        "abstain": str(votes.abstain),
    }


def text(number: int | None) -> str | None:
    """A weight, if it is known."""
    return None if number is None else str(number)


def shown(proposal: Proposal) -> dict[str, Any]:
    """A proposal as it stands."""
    return {
        "id": proposal.id,
        "author": proposal.author,
        "kind": proposal.kind,
        "title": proposal.title,
        "description": proposal.description,
        "actions": [action.json for action in proposal.actions],
        "state": proposal.state,
        "snapshot_unix_ms": proposal.snapshot_unix_ms,
        "deadline_unix_ms": proposal.deadline_unix_ms,
        "eta_unix_ms": proposal.eta_unix_ms,
        "total": text(proposal.total),
        "quorum": text(proposal.quorum),
        "quorum_reached": proposal.quorum_reached,
        "approved": proposal.approved,
        "power": tally(proposal.power),
        "votes": tally(proposal.votes),
        "ballots": proposal.ballots,
    }


def done(receipt: EconomyReceipt) -> dict[str, Any]:
    """What became of a request."""
    return {
        "event": receipt.event,
        "entry": receipt.sequence,
        "replayed": receipt.replayed,
        "eta_unix_ms": receipt.eta_unix_ms,
    }


@app.post("/signed", status_code=201)
def hand_over(signed: Signed, dao: Dao) -> dict[str, Any]:
    """Takes what an owner has signed: to enrol, delegate, draft, propose, vote or cancel."""
    receipts = dao.execute_signed(SignedBatch.from_bytes(signed.batch))
    return {"entries": [receipt.sequence for receipt in receipts]}


@app.get("/accounts/{account}")
def account(account: UUID, dao: Dao) -> dict[str, Any]:
    """What an account is to governance, and the number that its next signature must have."""
    member = dao.governance.member(account)
    power = {kind: dao.governance.power(account, kind) for kind in ProposalKind}
    return {
        "next_nonce": dao.next_nonce(account),
        "enrolled": member.enrolled,
        "role": member.role,
        "power": {kind: str(standing.power) for kind, standing in power.items()},
    }


@app.get("/proposals")
def proposals(
    dao: Dao, after: UUID | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 100
) -> list[dict[str, Any]]:
    """Proposals by their id. The next page comes after the last one's."""
    return [shown(proposal) for proposal in dao.governance.proposals(after, limit)]


@app.get("/proposals/{id}")
def proposal(id: UUID, dao: Dao) -> dict[str, Any]:
    """A proposal as it stands."""
    found = dao.governance.proposal(id)
    if found is None:
        raise f.UnknownProposalError(f"there is no proposal {id.hex}")
    return shown(found)


@app.get("/proposals/{id}/votes/{voter}")
def ballot(id: UUID, voter: UUID, dao: Dao) -> dict[str, Any]:
    """What somebody has voted, while the proposal is not over."""
    found = dao.governance.ballot(id, voter)
    if found is None:
        return {"choice": None}
    return {"choice": found.choice, "power": str(found.power), "changes": found.changes}


@app.post("/proposals/{id}/queue")
def queue(id: UUID, dao: Dao) -> dict[str, Any]:
    """Starts the timelock of a proposal that has passed. Once, so it needs no key."""
    return done(dao.governance.queue(uuid5(id, "queue"), id))


@app.post("/proposals/{id}/execute")
def execute(id: UUID, dao: Dao) -> dict[str, Any]:
    """Does what a proposal says, when its timelock is over. Once, so it needs no key."""
    return done(dao.governance.execute(uuid5(id, "execute"), id))


@app.get("/governance")
def overview(dao: Dao) -> dict[str, Any]:
    """Who has which role, what is paused, and all weight there is."""
    found = dao.governance.overview()
    return {
        "established": found.established,
        "members": found.members,
        "total": str(found.total),
        "roles": dict(found.roles),
        "paused": found.paused,
    }
