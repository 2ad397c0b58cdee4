"""Tasks that a worker keeps, many tasks at once, and probes that are written in Python."""

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import Executor
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

import fogcompute as f
from conftest import ECHO, ENDLESS, SUM, module

SAYS = module("says")
ENOUGH = f.Limits(fuel=10**13)
SERVER = f.DeviceState(
    f.DeviceClass.SERVER,
    cpu_cores=4,
    cpu_load=0.1,
    memory_total_bytes=16 << 30,
    memory_available_bytes=8 << 30,
    battery=f.Battery.ABSENT,
    temperature_celsius=40.0,
    network=f.Network.ETHERNET,
    metered=False,
    screen_on=False,
)
POLICY = f.HarvestPolicy.from_toml(
    'window = "any"\nuser_idle_min_seconds = 0\nuser_idle_continue_min_seconds = 0\n'
    "resume_delay_seconds = 0"
)
NEVER = timedelta(hours=1)


def total(data: bytes) -> bytes:
    return sum(data).to_bytes(8, "little")


def keep(told: list[tuple[int, int]], done: int, all_: int) -> None:
    told.append((done, all_))


def until(worker: f.Worker, state: str) -> f.WorkerStatus:
    """The worker's status as soon as it is in that state."""
    while True:
        status = worker.status()
        if status.state == state:
            return status


async def test_a_task_runs_and_its_output_stays(tmp_path: Path) -> None:
    path = tmp_path / "tasks"
    async with f.Worker(path, slots=2) as worker:
        task = worker.submit(SUM, b"\x01\x02\x27", key="once")
        assert (await task).output == total(b"\x01\x02\x27")
        assert worker.submit(SUM, b"\x01\x02\x27", key="once").id == task.id
        with pytest.raises(f.IdReusedError):
            worker.submit(SUM, b"\x01", key="once")
    with pytest.raises(f.ClosedError):
        task.status()
    with f.Worker(path) as worker:
        again = worker.task(task.id)
        assert again.fetch().output == again.wait().output == total(b"\x01\x02\x27")
        assert again.status().state == "succeeded"
        assert again.status().attempts == 1
        with pytest.raises(f.UnknownTaskError):
            worker.task("0a" * 16)


async def test_map_gives_the_outputs_in_order_and_tells_how_far_it_is(fog: f.Fog) -> None:
    inputs = [bytes([index]) * index for index in range(20)]
    with f.Worker() as worker:
        for both in (fog, worker):
            told: list[tuple[int, int]] = []
            tell = partial(keep, told)
            results = await both.map(SUM, inputs, progress=tell)
            assert [result.output for result in results] == [total(data) for data in inputs]
            assert told == [(done, 20) for done in range(1, 21)]
            assert await both.map(SUM, []) == []


async def test_map_takes_more_inputs_than_a_job_may_have() -> None:
    # 10,000 inputs were refused: a job has 8,000 tasks at most.
    with f.Worker() as worker:
        with pytest.raises(f.ArgumentError):
            worker.submit_all(SUM, [b""] * 8_001)
        results = await worker.map(SUM, [index.to_bytes(2) for index in range(8_001)])
        assert [result.output[0] for result in results[-2:]] == [0x1F + 0x3F, 0x1F + 0x40]
        assert len(results) == 8_001


async def test_map_draws_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with f.Worker() as worker:
        await worker.map(SUM, [b"\x01"] * 3, progress=True)
    assert capsys.readouterr().err == "3/3\n"


async def test_map_raises_the_first_error_and_cancels_the_rest() -> None:
    with f.Worker(slots=2) as worker:
        with pytest.raises(f.OutOfFuelError):
            await worker.map(ENDLESS, [b""] * 4, limits=f.Limits(fuel=1_000))
        waiting = asyncio.ensure_future(worker.map(ENDLESS, [b""] * 4, limits=ENOUGH))
        while worker.status().running < 2:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        while worker.status().open:
            await asyncio.sleep(0)


def test_an_executor_runs_modules(fog: f.Fog) -> None:
    with f.Worker() as worker:
        for both in (fog, worker):
            with f.TaskExecutor(both, limits=ENOUGH, threads=4) as executor:
                assert isinstance(executor, Executor)
                future = executor.submit(SUM, b"\x05")
                outputs = executor.map(ECHO, [b"a", b"b", b"c"])
                assert [output.output for output in outputs] == [b"a", b"b", b"c"]
                assert future.result().output == total(b"\x05")
                with pytest.raises(f.ModuleError):
                    executor.submit(b"junk", b"").result()
                with pytest.raises(TypeError):
                    executor.submit(SUM, b"", 1)


async def test_the_log_is_read_while_the_task_writes_it() -> None:
    with f.Worker() as worker:
        task = worker.submit(SAYS, b"one\ntwo")
        assert [line async for line in task.log()] == ["one", "two"]
        assert (await task.read_log(4)) == f.TaskLog(b"two\n", 8, True)


async def test_limits_are_on_log_and_time_too() -> None:
    with f.Worker() as worker:
        task = worker.submit(SAYS, b"one two", limits=f.Limits(log_bytes=3))
        assert [line async for line in task.log()] == ["one"]
        limits = f.Limits(fuel=10**13, wall=timedelta(milliseconds=20))
        with pytest.raises(f.TaskTimedOutError):
            await worker.submit(ENDLESS, b"", limits=limits)
        with pytest.raises(f.ArgumentError):
            worker.submit(ENDLESS, b"", limits=f.Limits(wall=timedelta(microseconds=500)))


# A commit of which nobody knows whether it happened, and no file can be opened after it.
UNCERTAIN = """
import resource, sys
import fogcompute as f

module = open(sys.argv[2], "rb").read()
with f.Worker(sys.argv[1], slots=1) as worker:
    before = worker.submit(module, b"\\x01")
    before.wait()
    usual = {of: resource.getrlimit(of) for of in (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE)}
    for of, (_, hard) in usual.items():
        resource.setrlimit(of, (0, hard))
    for _ in range(3):
        try:
            worker.submit(module, b"\\x02")
        except f.StorageError as error:
            print(error.name)
    print(worker.status().store_error is not None)
    for of, limit in usual.items():
        resource.setrlimit(of, limit)
    after = worker.submit(module, b"\\x03")
    print(after.wait().output[0], before.fetch().output[0], worker.status().store_error)
with f.Worker(sys.argv[1], slots=1) as worker:
    print(worker.task(after.id).status().state, worker.task(before.id).status().state)
"""


def test_a_file_that_could_not_be_opened_again_is_opened_later(tmp_path: Path) -> None:
    sum_wasm = Path(__file__).parents[2] / "examples/wasm/sum.wasm"
    ended = subprocess.run(
        [sys.executable, "-c", UNCERTAIN, str(tmp_path / "tasks"), str(sum_wasm)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "StorageUncertain",
        "Storage",
        "Storage",
        "True",
        "3 1 None",
        "succeeded succeeded",
    ]


async def test_running_tasks_are_cancelled(tmp_path: Path) -> None:
    with f.Worker(tmp_path / "tasks") as worker:
        task = worker.submit(ENDLESS, b"", limits=ENOUGH)
        while task.status().state != "running":
            await asyncio.sleep(0)
        with pytest.raises(f.TaskOpenError):
            task.fetch()
        line, output = asyncio.gather(anext(task.log(), None)), asyncio.gather(task)
        await asyncio.sleep(0)
        task.cancel()
        assert (await line)[0] is None
        with pytest.raises(f.CancelledError):
            await output
        assert task.status().state == "cancelled"


class Probe:
    """Reads what it is told to."""

    def __init__(self) -> None:
        self.now: f.DeviceState | Exception | str = SERVER
        self.release = threading.Event()

    def read(self) -> f.DeviceState:
        if isinstance(self.now, Exception):
            raise self.now
        if self.now == "block":
            self.release.wait()
        return self.now  # type: ignore[return-value]


def test_a_probe_decides_when_tasks_run(tmp_path: Path) -> None:
    probe = Probe()
    with f.Worker(
        tmp_path / "tasks", slots=4, policy=POLICY, probe=probe, reading_every=NEVER
    ) as worker:
        status = until(worker, "running")
        # Half of four processors.
        assert (status.lends, status.slots, status.cpu_share) == (True, 2, 1.0)
        task = worker.submit(ENDLESS, b"", limits=ENOUGH)
        while task.status().state != "running":
            pass
        probe.now = PermissionError("no sensors")
        worker.look()
        status = until(worker, "suspended")
        assert status.probe_error is not None and "no sensors" in status.probe_error
        assert {reason.code for reason in status.reasons} >= {"reading_unknown"}
        assert task.status().state == "suspended"
        probe.now = SERVER
        worker.look()
        until(worker, "running")
        assert task.status().state == "running"
        # What is no reading at all is an error too.
        probe.now = "a text"
        worker.look()
        assert until(worker, "suspended").probe_error is not None
        worker.set_policy(f.HarvestPolicy.always())
        assert worker.status().sessions == 1
        task.cancel()


def test_a_probe_that_blocks_holds_nobody_up(tmp_path: Path) -> None:
    probe = Probe()
    probe.now = "block"
    with f.Worker(tmp_path / "tasks", policy=POLICY, probe=probe) as worker:
        task = worker.submit(SUM, b"\x01")
        assert task.status().state == "queued"
        assert not worker.status().lends
        task.cancel()
        probe.now = SERVER
        probe.release.set()
    assert probe.release.is_set()


def test_what_cannot_be_made_or_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(f.ArgumentError):
        f.Worker(slots=0)
    with pytest.raises(f.ArgumentError):
        f.Worker(policy=POLICY, reading_every=timedelta(0))
    with pytest.raises(f.StorageIsFolderError):
        f.Worker(tmp_path)
    with f.Worker(tmp_path / "tasks") as worker:
        with pytest.raises(f.StorageLockedError):
            f.Worker(tmp_path / "tasks")
        with pytest.raises(f.ArgumentError):
            worker.submit(b"", b"")
        with pytest.raises(f.ArgumentError):
            worker.submit(SUM, bytes((1 << 20) + 1))
        with pytest.raises(f.ArgumentError):
            worker.submit(SUM, b"", key="")
        with pytest.raises(f.ArgumentError):
            worker.submit_all(SUM, [])
        with pytest.raises(f.ModuleError):
            worker.run_blocking(b"junk", b"")
