"""Waiting for messages in a coroutine.

A message is taken by the very step that returns it: between the two there is no `await` at which
somebody who gives up could lose it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._native import Message, MixnetClient


async def receive(client: "MixnetClient") -> "Message":
    """The next message."""
    while (message := client.try_receive()) is None:
        await client._readable()
    return message


async def receive_next(client: "MixnetClient") -> "Message":
    """The next message of an `async for`, which ends when the client is closed."""
    from ._native import ClosedError

    try:
        return await receive(client)
    except ClosedError:
        raise StopAsyncIteration from None
