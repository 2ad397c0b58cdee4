"""A web service that runs a mixnet of three mixnodes in its own process and sends through it.

    pip install ./python fastapi uvicorn                   # in the root of the checkout
    uvicorn --app-dir examples/python/mixnet_service app:app
    curl -s localhost:8000/echo -H 'content-type: application/json' -d '{"text": "hello"}'
    curl -s localhost:8000/status
    curl -s localhost:8000/metrics

Three mixnodes of one process protect nobody: whoever runs them sees both ends. The point is the
wiring. With nodes of several operators only the topology comes from elsewhere:
`Topology.verify(Path("topology.toml").read_text(), authority)`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel, Field

from fogcompute import FogError
from fogcompute.mix import MixnetClient, MixnetNode, MixnodeConfig, Topology

LAYERS = 3
DELAY_MEAN = timedelta(milliseconds=10)
TEXT_MAX = 10_000


@dataclass
class Service:
    """What runs while the service does."""

    nodes: list[MixnetNode]
    client: MixnetClient
    echo: MixnetClient
    started: float


async def answer(echo: MixnetClient) -> None:
    """Sends back what comes, without knowing who sent it."""
    async for message in echo:
        if message.reply_blocks:
            # One that does not fit the reply blocks is its sender's mistake.
            with suppress(FogError):
                echo.reply(message, message.body)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Starts the mixnodes and the clients, and ends them in the end."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(MixnodeConfig().start()) for _ in range(LAYERS)]
        topology = Topology([[node.descriptor] for node in nodes], delay_mean=DELAY_MEAN)
        for node in nodes:
            node.set_topology(topology)
        client = stack.enter_context(MixnetClient(topology))
        echo = stack.enter_context(MixnetClient(topology))
        app.state.service = Service(nodes, client, echo, time.monotonic())
        answering = asyncio.create_task(answer(echo))
        yield
        # The iteration of `answer` ends with its client.
        echo.close()
        await answering


app = FastAPI(title="fogcompute mixnet", lifespan=lifespan)


def service(request: Request) -> Service:
    """The running service."""
    running: Service = request.app.state.service
    return running


Running = Annotated[Service, Depends(service)]


class Text(BaseModel):
    """What is to be sent."""

    text: str = Field(max_length=TEXT_MAX)


class Message(Text):
    """What is to be sent to somebody."""

    to: str


@app.post("/echo")
async def send_round(text: Text, running: Running) -> dict[str, Any]:
    """Sends a text through the mixnet and back by reply blocks."""
    data = text.text.encode()
    began = time.monotonic()
    try:
        back = await running.client.request(
            running.echo.contact, data, answer_bytes_max=len(data), within=timedelta(seconds=30)
        )
    except FogError as error:
        raise HTTPException(502, f"{error.name}: {error}") from None
    return {"text": back.decode(), "milliseconds": round((time.monotonic() - began) * 1000, 1)}


@app.post("/messages", status_code=202)
async def send(message: Message, running: Running) -> dict[str, Any]:
    """Sends a text to a contact of this mixnet, and waits until it is acknowledged."""
    try:
        await running.client.send(message.to, message.text.encode())
    except FogError as error:
        status = 422 if error.name == "InvalidArgument" else 502
        raise HTTPException(status, f"{error.name}: {error}") from None
    return {"delivered": True}


@app.get("/status")
def status(running: Running) -> dict[str, Any]:
    """The nodes and the client, and what they counted."""
    return {
        "uptime_seconds": round(time.monotonic() - running.started, 1),
        "contact": running.client.contact,
        "client": counters(running.client.stats()),
        "nodes": [
            {
                "node": node.descriptor.node,
                "layer": layer,
                "address": node.descriptor.address,
                "counters": counters(node.stats()),
            }
            for layer, node in enumerate(running.nodes)
        ],
    }


def counters(stats: Any) -> dict[str, int]:
    """Every counter by its name."""
    return {name: getattr(stats, name) for name in stats.__match_args__}


@app.get("/metrics")
def metrics(running: Running) -> Response:
    """The same for Prometheus."""
    return Response("\n".join(lines(running)) + "\n", media_type="text/plain; version=0.0.4")


def lines(running: Service) -> Iterator[str]:
    """The lines of the text format."""
    yield "# TYPE betanet_nodes_active gauge"
    yield f"betanet_nodes_active {len(running.nodes)}"
    yield "# TYPE betanet_uptime_seconds gauge"
    yield f"betanet_uptime_seconds {time.monotonic() - running.started:.1f}"
    of_nodes = [counters(node.stats()) for node in running.nodes]
    for name in of_nodes[0]:
        yield f"# TYPE betanet_node_{name}_total counter"
        for layer, values in enumerate(of_nodes):
            yield f'betanet_node_{name}_total{{layer="{layer}"}} {values[name]}'
    for name, value in counters(running.client.stats()).items():
        yield f"# TYPE betanet_client_{name}_total counter"
        yield f"betanet_client_{name}_total {value}"
