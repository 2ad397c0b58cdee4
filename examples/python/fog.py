# Opens a fog of processes on this machine, kills a node while it works, and gets every result.
#
# Everything is asked of the command `fogcompute`, which comes with the package and answers in JSON.
import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

COMMAND = sys.argv[1:] or [sys.executable, "-m", "fogcompute"]


class Fog:
    """Asks the coordinator whose token is in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def start(self, *arguments: str) -> Process:
        """Starts a process that goes on until it is killed."""
        return await asyncio.create_subprocess_exec(
            *COMMAND, *arguments, cwd=self.folder, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL
        )

    async def ask(self, *arguments: str) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *arguments, "--json", cwd=self.folder, stdin=DEVNULL, stdout=PIPE
        )
        said, _ = await process.communicate()
        answer: dict[str, Any] = json.loads(said)
        if process.returncode:
            raise RuntimeError(answer["error"])
        return answer

    async def submit(self, module: Path, inputs: list[bytes]) -> dict[str, Any]:
        files = []
        for number, content in enumerate(inputs):
            files.append(f"input{number}")
            (self.folder / files[-1]).write_bytes(content)
        return await self.ask("submit", str(module.resolve()), "--input", *files)

    async def result(self, task: str) -> bytes:
        return bytes.fromhex((await self.ask("result", task))["output_hex"])

    async def nodes(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = (await self.ask("top", "--once"))["nodes"]
        return nodes

    async def drain(self, node: str) -> None:
        await self.ask("drain", node)

    async def events(self, after: int = 0) -> AsyncIterator[dict[str, Any]]:
        """What happens to jobs, each event once, whoever is killed meanwhile."""
        process = await self.start("watch", "--after", str(after), "--json")
        assert process.stdout
        try:
            async for line in process.stdout:
                yield json.loads(line)
        finally:
            process.kill()
            await process.wait()


async def end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()


async def main() -> None:
    module = Path("examples/wasm/words.wasm")
    texts = [b"fog " * count for count in range(1, 21)]
    async with AsyncExitStack() as stack:
        fog = Fog(Path(stack.enter_context(TemporaryDirectory())))
        coordinator = await fog.start("coordinator", "run", "--data", "fog", "--listen", "127.0.0.1:0")
        stack.push_async_callback(end, coordinator)
        assert coordinator.stdout
        # It has said who and where it is when it has said whose credits it spends.
        async for line in coordinator.stdout:
            if line.startswith(b"owner's account"):
                break
        await fog.ask("token", "issue", "--data", "fog", "--actions", "submit,cancel,query,drain")
        workers = []
        for name, role in [
            ("mix", ["mix", "--layer", "0"]),
            ("first", ["compute", "--policy", "always"]),
            ("second", ["compute", "--policy", "always"]),
        ]:
            node = await fog.start("node", "--fog", "fog/fog.toml", "--data", name, "--role", *role)
            stack.push_async_callback(end, node)
            workers.append(node)
        job = await fog.submit(module, texts)
        print(len(job["tasks"]), "tasks in a fog of", 1 + len(workers), "processes")
        ended = 0
        async for event in fog.events():
            if event["event"] == "ended":
                ended += 1
                if ended == 1:
                    workers[-1].kill()
                    print("a node is killed")
            if event["event"] == "job_ended":
                break
        counts = [int.from_bytes(await fog.result(task), "little") for task in job["tasks"]]
        print("every text was counted:", counts == list(range(1, 21)))
        for member in await fog.nodes():
            if member["role"] == "compute":
                await fog.drain(member["node"])


asyncio.run(main())
