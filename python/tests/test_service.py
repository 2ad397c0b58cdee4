"""The web service of the examples."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from conftest import ROOT

sys.path.insert(0, str(ROOT / "examples/python/mixnet_service"))

from app import app, lifespan  # noqa: E402


@asynccontextmanager
async def running() -> AsyncIterator[httpx.AsyncClient]:
    """The service, and a client of it."""
    transport = httpx.ASGITransport(app)
    async with lifespan(app), httpx.AsyncClient(transport=transport, base_url="http://s") as http:
        yield http


async def test_the_service_sends_through_its_mixnodes() -> None:
    async with running() as http:
        before = (await http.get("/status")).json()
        assert [node["layer"] for node in before["nodes"]] == [0, 1, 2]
        for text in ("hello", "", "ü" * 10_000):
            answer = await http.post("/echo", json={"text": text})
            assert answer.status_code == 200, answer.text
            assert answer.json()["text"] == text
            assert answer.json()["milliseconds"] > 0
        after = (await http.get("/status")).json()
        assert after["client"]["answers"] == 3
        for node in after["nodes"]:
            assert node["counters"]["forwarded"] > 6

        sent = await http.post("/messages", json={"to": after["contact"], "text": "to myself"})
        assert (sent.status_code, sent.json()) == (202, {"delivered": True})

        metrics = await http.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        values = dict(
            line.rsplit(" ", 1) for line in metrics.text.splitlines() if not line.startswith("#")
        )
        assert float(values["betanet_nodes_active"]) == 3
        assert float(values['betanet_node_forwarded_total{layer="1"}']) > 6
        assert float(values["betanet_client_answers_total"]) == 3


async def test_the_service_refuses_what_it_cannot_send() -> None:
    async with running() as http:
        refused = await http.post("/messages", json={"to": "nobody", "text": "hello"})
        assert refused.status_code == 422
        assert "contact has 1 parts" in refused.json()["detail"]
        assert (await http.post("/echo", json={"text": "x" * 10_001})).status_code == 422
