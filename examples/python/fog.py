# Opens a fog of three processes on this machine, kills one while it works, and gets every result.
#
# This process is the coordinator, the mixnode and who submits; it starts itself again as two nodes that
# compute. Each node could as well be on another machine.
import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from tempfile import TemporaryDirectory

from fogcompute import HarvestPolicy
from fogcompute.fog import FogClient, FogCoordinator, FogNode

# Counts words. It lies beside this folder; elsewhere put the path of your module here.
MODULE = Path(__file__).resolve().parents[1] / "wasm" / "words.wasm"


async def compute(coordinator: str, coordinator_id: str, data: str) -> None:
    """Is a node until it is killed."""
    policy = HarvestPolicy.always()
    async with FogNode(coordinator, coordinator_id, data, policy=policy) as node:
        await node.joined()
        print("joined", flush=True)
        await asyncio.Event().wait()


async def start(*arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, __file__, *arguments, stdout=PIPE)


async def end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def main() -> None:
    with TemporaryDirectory() as folder:
        async with FogCoordinator(f"{folder}/fog") as coordinator:
            whom = coordinator.address, coordinator.id
            token = coordinator.issue_token(actions=["submit", "query", "drain"])
            async with FogNode(*whom, f"{folder}/mix", layer=0), FogClient(token) as fog:
                nodes = [await start(*whom, f"{folder}/{name}") for name in ["first", "second"]]
                try:
                    await work(fog, nodes)
                finally:
                    for node in nodes:
                        await end(node)


async def work(fog: FogClient, nodes: list[Process]) -> None:
    for node in nodes:
        assert node.stdout
        await node.stdout.readline()
    computing = [member for member in (await fog.topology()).members if member.layer is None]
    texts = [b"fog " * count for count in range(1, 21)]
    job = await fog.submit(MODULE.read_bytes(), texts)
    print(job.open, "tasks in a fog of", 1 + len(computing), "processes")
    async for event in fog.watch():
        if event.kind == "ended" and nodes[-1].returncode is None:
            nodes[-1].kill()
            await nodes[-1].wait()
            print("a process is killed")
        if event.kind == "job_ended":
            break
    outputs = [await fog.result(task.id) for task in await fog.tasks(job.id)]
    counts = [int.from_bytes(output.output, "little") for output in outputs]
    print("every text was counted:", counts == list(range(1, 21)))
    for member in (await fog.topology()).members:
        if member.layer is None:
            await fog.drain(member.id)


asyncio.run(compute(*sys.argv[1:]) if sys.argv[1:] else main())
