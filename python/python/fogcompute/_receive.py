"""Waiting for messages and events in a coroutine.

What waits is taken by the very step that returns it: between the two there is no `await` at which
somebody who gives up could lose it.
"""

from collections.abc import Awaitable
from typing import Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Receiver(Protocol[T_co]):
    """A client of a mixnet, or a node of a mesh."""

    def try_receive(self) -> T_co | None: ...
    def _readable(self) -> Awaitable[None]: ...


async def receive(receiver: Receiver[T_co]) -> T_co:
    """The next message or event."""
    while (received := receiver.try_receive()) is None:
        await receiver._readable()
    return received


async def receive_next(receiver: Receiver[T_co]) -> T_co:
    """The next one of an `async for`, which ends when what it comes from is closed."""
    from ._native import ClosedError

    try:
        return await receive(receiver)
    except ClosedError:
        raise StopAsyncIteration from None
