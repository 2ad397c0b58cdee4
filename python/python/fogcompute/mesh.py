"""A BitChat mesh: a peer of it that runs in this process.

- `MeshNode`: sends and receives messages and files, over TCP, over radios, and to other nodes of
  the program.
- `MeshEvent`: what happens to it.
- `BleRadio`: what a radio that you write must do; `RadioInbox` is where it tells what happens.

```python
async with MeshNode("alice", file="alice.mesh", connect=["192.0.2.7:4000"]) as alice:
    async for event in alice:
        if event.kind == "peer_joined":
            alice.send_private(event.peer, "hello")
        elif event.kind == "private":
            print(event.text, "came through", event.via)
```
"""

from ._native import MeshEvent, MeshGroup, MeshMessage, MeshNode, MeshPeer, RadioInbox
from ._protocols import BleRadio

__all__ = [
    "BleRadio",
    "MeshEvent",
    "MeshGroup",
    "MeshMessage",
    "MeshNode",
    "MeshPeer",
    "RadioInbox",
]
