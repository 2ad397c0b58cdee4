"""BetaNet, the mixnet: mixnodes and clients of this process, and what they agree on.

- `MixnetNode`: a mixnode on UDP. `MixnodeConfig` describes one.
- `Topology`: the mixnodes in layers, from their descriptors or from a signed file.
- `MixnetClient`: sends, asks and receives, each packet over a route of its own.
- `BetanetClient`: the same with routes that are chosen once and used again.
- `SphinxProcessor`, `PacketPipeline`: a mixnode's cryptography without its delays and links.

```python
nodes = [MixnodeConfig().start() for _ in range(3)]
topology = Topology([[node.descriptor] for node in nodes])
for node in nodes:
    node.set_topology(topology)
async with MixnetClient(topology) as alice, MixnetClient(topology) as bob:
    await alice.send(bob.contact, b"hello")
    message = await bob.receive()
```

`MixnetClient.suspend` ends a client and returns what `MixnetClient.restore` starts the next one
from, which answers what came before and waits for answers that were asked for before.

What it protects against and what not stands in the project's documentation. Above all: there is no
gateway yet, so the nodes of the last layer see who their clients are, and there is one authority.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias

from ._native import (
    ClosedError,
    Deliver,
    Descriptor,
    FogError,
    Forward,
    Message,
    MixnetClient,
    MixnetClientStats,
    MixnetNode,
    MixnetNodeStats,
    ProcessorStats,
    Reply,
    ReplyBlocks,
    Restored,
    SphinxProcessor,
    Topology,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "BetanetClient",
    "Circuit",
    "Descriptor",
    "Message",
    "MixnetClient",
    "MixnetClientStats",
    "MixnetNode",
    "MixnetNodeStats",
    "MixnodeConfig",
    "PacketPipeline",
    "PipelineStats",
    "ProcessorStats",
    "ReplyBlocks",
    "Restored",
    "SphinxProcessor",
    "Topology",
]

Processed: TypeAlias = Forward | Deliver | Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class MixnodeConfig:
    """How a mixnode is made. `start` makes it.

    listen: the UDP address it listens on; port 0 is any that is free.
    address: where others reach it, if that is not where it listens.
    identity: the 32 secret bytes of its identity; the default is a new one.
    epoch: number of the key epoch. The mix key itself is always new.
    hops_max: most hops of a route, the receiver included; the same in all of the network.
    payload_bytes: bytes of message one packet carries; the same in all of the network.
    workers: threads that process packets; 0 is one for each processor.
    replay_tags_max: packets of the mix key there is room for, 5 bytes each, taken as they come.
    """

    listen: str = "127.0.0.1:0"
    address: str | None = None
    identity: bytes | None = None
    epoch: int = 0
    hops_max: int = 7
    payload_bytes: int = 2048
    workers: int = 1
    replay_tags_max: int = 4_000_000

    def start(self) -> MixnetNode:
        """Starts the mixnode.

        Raises `ListenError`, `ArgumentError`.
        """
        return MixnetNode(
            self.listen,
            address=self.address,
            identity=self.identity,
            epoch=self.epoch,
            hops_max=self.hops_max,
            payload_bytes=self.payload_bytes,
            workers=self.workers,
            replay_tags_max=self.replay_tags_max,
        )


@dataclass(frozen=True, slots=True)
class Circuit:
    """Mixnodes that messages are to take in this order.

    It is a choice and nothing else: no keys are kept at the nodes, and each packet is encrypted for
    each of them anew. Messages over one circuit are easier to follow than messages over routes of
    their own, which is what `MixnetClient.send` gives them.
    """

    nodes: tuple[str, ...]
    """Their ids, entry first."""

    @property
    def hops(self) -> int:
        """How many there are."""
        return len(self.nodes)


class BetanetClient:
    """A client of a mixnet that chooses circuits and sends through them.

    Use it as an async context manager, or call `close`. `client` is the `MixnetClient` beneath it.
    """

    client: MixnetClient

    def __init__(
        self,
        topology: Topology,
        listen: str = "0.0.0.0:0",
        *,
        identity: "Buffer | None" = None,
        loops: timedelta | None = timedelta(seconds=5),
        drops: timedelta | None = timedelta(seconds=5),
    ) -> None:
        """Starts it; the arguments are those of `MixnetClient`."""
        self.client = MixnetClient(topology, listen, identity=identity, loops=loops, drops=drops)

    @property
    def contact(self) -> str:
        """What others need to send it messages."""
        return self.client.contact

    def create_circuit(self, hops: int = 3) -> Circuit:
        """Chooses so many different mixnodes at random, one of each layer in turn up to the last.

        Packets have room for `hops_max` hops, the receiver included. Raises `RouteError` if the
        network has too few nodes.
        """
        return Circuit(self.client.choose_nodes(hops))

    async def route_through(self, circuit: Circuit, data: "Buffer", to: str | None = None) -> bytes:
        """Sends `data` through a circuit, once and without asking for an acknowledgement.

        It goes to the contact `to`, or back to this client if there is none; `receive` gives it to
        whoever it was for. Returns the message's id. Raises `RouteError`, `PayloadTooLargeError`.
        """
        receiver = self.contact if to is None else to
        # It builds packets, a few scalar multiplications each.
        return await asyncio.to_thread(self.client.send_through, circuit.nodes, receiver, data)

    def send(self, to: str, data: "Buffer") -> Awaitable[None]:
        """Sends a message over routes of its own; await its acknowledgement by the receiver."""
        return self.client.send(to, data)

    def receive(self) -> Awaitable[Message]:
        """Await the next message."""
        return self.client.receive()

    def stats(self) -> MixnetClientStats:
        """What it counted since its start."""
        return self.client.stats()

    def close(self) -> None:
        """Ends it. Closing again does nothing."""
        self.client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.client.__aexit__(exc_type, exc_value, traceback)


@dataclass(frozen=True, slots=True)
class PipelineStats:
    """What a `PacketPipeline` did since it was made."""

    processed: ProcessorStats
    """What became of the packets."""
    batches: int
    """In how many batches they were processed."""
    waiting: int
    """Packets that were submitted and not processed yet."""


class PacketPipeline:
    """Processes packets that coroutines submit one by one in batches, on a thread apart.

    Batches form while the one before is processed, so a packet that comes alone does not wait. When
    `queue_max` packets wait, `submit_packet` waits for room.
    """

    processor: SphinxProcessor

    def __init__(
        self,
        processor: SphinxProcessor | None = None,
        *,
        batch_max: int = 256,
        queue_max: int = 4096,
    ) -> None:
        """A pipeline over a processor; the default is one with a new key."""
        if batch_max < 1 or queue_max < 1:
            raise ValueError(f"batch_max is {batch_max} and queue_max {queue_max}; both are 1 or more")
        self.processor = SphinxProcessor() if processor is None else processor
        self._batch_max = batch_max
        self._room = asyncio.Semaphore(queue_max)
        self._waiting: deque[tuple[bytes, asyncio.Future[Processed]]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._batches = 0
        self._closed = False

    async def submit_packet(self, packet: "Buffer") -> Processed:
        """Processes a packet; returns what to do with it.

        Raises `PacketError`, `ReplayedError`, `MixnetBusyError` as `SphinxProcessor.process` does,
        and `ClosedError`.
        """
        data = bytes(packet)
        if len(data) != self.processor.sphinx.packet_bytes:
            return self.processor.process(data)
        async with self._room:
            if self._closed:
                raise ClosedError("the pipeline is closed")
            future: asyncio.Future[Processed] = asyncio.get_running_loop().create_future()
            self._waiting.append((data, future))
            if self._runner is None:
                self._runner = asyncio.create_task(self._run())
            return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), self._batch_max)
                batch = [self._waiting.popleft() for _ in range(count)]
                packets = b"".join(packet for packet, _ in batch)
                try:
                    results = await asyncio.to_thread(self.processor.process_batch, packets)
                except BaseException:
                    self._waiting.extendleft(reversed(batch))
                    raise
                self._batches += 1
                for (_, future), result in zip(batch, results, strict=True):
                    if future.done():
                        continue
                    if isinstance(result, FogError):
                        future.set_exception(result)
                    else:
                        future.set_result(result)
        finally:
            self._runner = None
            # Only what ended this early has left any.
            while self._waiting:
                _, future = self._waiting.popleft()
                if not future.done():
                    future.set_exception(ClosedError("the pipeline has ended"))

    def get_stats(self) -> PipelineStats:
        """What it did so far."""
        return PipelineStats(self.processor.stats(), self._batches, len(self._waiting))

    async def close(self) -> None:
        """Takes no further packets, and ends when those that wait are processed."""
        self._closed = True
        if self._runner is not None:
            # Whoever gives up waiting does not end it.
            await asyncio.shield(self._runner)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
