"""A fog of processes: a coordinator, nodes that mix and compute, and who submits.

- `FogClient`: submits jobs, fetches results, watches what happens, drains nodes, sees the topology.
- `FogNode`: a node in this process; `FogCoordinator`: a coordinator in this process. The command
  `fogcompute` runs the same as processes of their own.

```python
async with FogClient.open("fog.token") as fog:
    job = await fog.submit(module, [b"one", b"two"])
    async for event in fog.watch():
        if event.kind == "job_ended" and event.job == job.id:
            break
    outputs = [await fog.result(task.id) for task in await fog.tasks(job.id)]
```
"""

from ._native import (
    FogClient,
    FogCoordinator,
    FogEvent,
    FogMember,
    FogNode,
    FogNodeStatus,
    FogPlace,
    FogSnapshot,
    FogTopology,
    FogWatch,
    JobStatus,
    JobTask,
)

__all__ = [
    "FogClient",
    "FogCoordinator",
    "FogEvent",
    "FogMember",
    "FogNode",
    "FogNodeStatus",
    "FogPlace",
    "FogSnapshot",
    "FogTopology",
    "FogWatch",
    "JobStatus",
    "JobTask",
]
