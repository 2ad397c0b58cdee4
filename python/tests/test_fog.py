"""A fog in this process: threads, awaits, cancellation, the end of processes."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import fogcompute as f
from conftest import ECHO, ENDLESS, ROOT, SUM

# Hours of work: a test that waits for the end of its fuel does not end.
ENOUGH = f.Limits(fuel=10**13)
# So much fuel at the default price costs more than a placement can count.
PRICE = 10**6


@pytest.fixture
def fog() -> Iterator[f.Fog]:
    with f.Fog(workers=1, price_per_gigafuel=PRICE) as fog:
        yield fog


def total(data: bytes) -> bytes:
    return sum(data).to_bytes(8, "little")


def test_a_task_runs_and_is_paid_for(fog: f.Fog) -> None:
    before = fog.stats()
    result = fog.run_blocking(SUM, b"\x01\x02\x27")
    assert result.output == total(b"\x01\x02\x27")
    assert result.usage.fuel > 0
    assert result.usage.wall.total_seconds() > 0
    after = fog.stats()
    assert (after.succeeded, after.failed) == (1, 0)
    assert after.paid > 0
    assert after.available == before.available - after.paid


async def test_awaits_run_together() -> None:
    async with f.Fog(workers=2) as fog:
        inputs = [bytes([index]) * index for index in range(100)]
        results = await asyncio.gather(*(fog.run(SUM, data) for data in inputs))
        assert [result.output for result in results] == [total(data) for data in inputs]
        assert fog.stats().succeeded == 100


async def test_a_task_group_mixes_errors_and_results(fog: f.Fog) -> None:
    async def run(module: bytes, limits: f.Limits) -> bytes:
        return (await fog.run(module, b"\x01", limits=limits)).output

    outcomes = await asyncio.gather(
        run(SUM, f.Limits()),
        run(SUM, f.Limits(fuel=10)),
        run(SUM, f.Limits(memory_bytes=1 << 16)),
        run(b"not wasm", f.Limits()),
        run(ECHO, f.Limits(output_bytes=0)),
        return_exceptions=True,
    )
    assert outcomes[0] == total(b"\x01")
    assert [type(outcome) for outcome in outcomes[1:]] == [
        f.OutOfFuelError,
        f.OutOfMemoryError,
        f.ModuleError,
        f.OutputError,
    ]


async def test_cancelling_the_awaiting_task_cancels_the_fogs(fog: f.Fog) -> None:
    started = asyncio.Event()

    async def run() -> None:
        awaitable = fog.run(ENDLESS, b"", limits=ENOUGH)
        started.set()
        await awaitable

    task = asyncio.create_task(run())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The only worker is free for this one once the other has stopped.
    assert (await fog.run(SUM, b"\x01")).output == total(b"\x01")
    assert (fog.stats().succeeded, fog.stats().failed) == (1, 1)


async def test_awaits_cancelled_at_once_leave_no_task_behind(fog: f.Fog) -> None:
    awaits = [asyncio.ensure_future(fog.run(ENDLESS, b"", limits=ENOUGH)) for _ in range(20)]
    for awaited in awaits:
        assert awaited.cancel()
    outcomes = await asyncio.gather(*awaits, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError}
    assert (await fog.run(SUM, b"\x01")).output == total(b"\x01")
    assert (fog.stats().succeeded, fog.stats().failed) == (1, 20)


async def test_a_timeout_cancels_the_task(fog: f.Fog) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(fog.run(ENDLESS, b"", limits=ENOUGH), 0.05)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await fog.submit(ENDLESS, b"", limits=ENOUGH)
    assert (await fog.run(SUM, b"\x01")).output == total(b"\x01")
    assert fog.stats().failed == 2


async def test_a_task_is_cancelled_by_its_handle(fog: f.Fog) -> None:
    task = fog.submit(ENDLESS, b"", limits=ENOUGH)
    assert len(task.id) == 32
    assert task.id in repr(task)
    task.cancel()
    with pytest.raises(f.CancelledError) as caught:
        await task
    assert caught.value.code == 103
    task.cancel()


def test_a_waiting_thread_leaves_others_alone_and_is_cancelled(fog: f.Fog) -> None:
    # The main thread only gets to cancel() if wait() has let go of the interpreter's lock.
    task = fog.submit(ENDLESS, b"", limits=ENOUGH)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(task.wait)
        task.cancel()
        assert isinstance(waiting.exception(60), f.CancelledError)


async def test_a_task_is_waited_for_once(fog: f.Fog) -> None:
    task = fog.submit(SUM, b"")
    assert (await task).output == total(b"")
    with pytest.raises(RuntimeError, match="already being waited for"):
        await task
    with pytest.raises(RuntimeError, match="already being waited for"):
        task.wait()


def test_await_needs_an_event_loop_and_hands_nothing_in_without(fog: f.Fog) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        fog.run(SUM, b"")
    task = fog.submit(SUM, b"")
    with pytest.raises(RuntimeError, match="no running event loop"):
        task.__await__()
    assert task.wait().output == total(b"")
    assert fog.stats().succeeded == 1


def test_threads_and_event_loops_share_a_fog(fog: f.Fog) -> None:
    async def several(base: int) -> list[bytes]:
        results = await asyncio.gather(*(fog.run(SUM, bytes([base, n])) for n in range(10)))
        return [result.output for result in results]

    def thread(base: int) -> list[bytes]:
        blocking = [fog.run_blocking(SUM, bytes([base, n])).output for n in range(10)]
        assert asyncio.run(several(base)) == blocking
        return blocking

    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(thread, range(4)))
    assert outputs == [[total(bytes([base, n])) for n in range(10)] for base in range(4)]
    assert fog.stats().succeeded == 80


def test_a_closed_fog_says_so() -> None:
    fog = f.Fog(workers=1, price_per_gigafuel=PRICE)
    task = fog.submit(ENDLESS, b"", limits=ENOUGH)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(task.wait)
        fog.close()
        assert isinstance(waiting.exception(60), f.FogError)
    fog.close()
    for call in (
        lambda: fog.run_blocking(SUM, b""),
        lambda: fog.submit(SUM, b""),
        lambda: fog.stats(),
    ):
        with pytest.raises(f.ClosedError, match="the fog is closed"):
            call()


async def test_leaving_async_with_ends_what_is_running() -> None:
    async with f.Fog(workers=1, price_per_gigafuel=PRICE) as fog:
        running = asyncio.ensure_future(fog.run(ENDLESS, b"", limits=ENOUGH))
    with pytest.raises(f.FogError):
        await running
    with pytest.raises(f.ClosedError):
        await fog.run(SUM, b"")


async def test_an_exception_in_async_with_goes_on() -> None:
    with pytest.raises(ZeroDivisionError):
        async with f.Fog(workers=1, price_per_gigafuel=PRICE):
            raise ZeroDivisionError


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="there is no list of threads")
def test_a_forgotten_fog_stops_its_threads() -> None:
    def threads() -> set[str]:
        return set(os.listdir("/proc/self/task"))

    before = threads()
    fog = f.Fog(workers=3, price_per_gigafuel=PRICE)
    fog.submit(ENDLESS, b"", limits=ENOUGH)
    made = threads() - before
    assert len(made) >= 3
    gone = weakref.ref(fog)
    del fog
    gc.collect()
    assert gone() is None
    # A thread that has ended stays on the list for a moment.
    deadline = time.monotonic() + 30
    while made & threads():
        assert time.monotonic() < deadline
        time.sleep(0.001)


async def test_the_event_loop_goes_on_while_a_fog_closes() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    async with f.Fog(workers=1, price_per_gigafuel=PRICE) as fog:
        fog.submit(ENDLESS, b"", limits=ENOUGH)
        ticks = 0
    ticking.cancel()
    assert ticks > 0


HEAD = """
import asyncio, os, signal, sys, threading
import fogcompute as f
from pathlib import Path
SUM = Path("examples/wasm/sum.wasm").read_bytes()
ENDLESS = Path("bindings/vectors/endless.wasm").read_bytes()
ENOUGH = f.Limits(fuel=10**13)
"""


def python(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-c", HEAD + textwrap.dedent(script)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.mark.parametrize(
    "script",
    [
        # A fog that nobody closed, with a task in it.
        """
        fog = f.Fog(1, price_per_gigafuel=10**6)
        task = fog.submit(ENDLESS, b"", limits=ENOUGH)
        """,
        # A thread still waits when the interpreter ends.
        """
        fog = f.Fog(1, price_per_gigafuel=10**6)
        run = lambda: fog.run_blocking(ENDLESS, b"", limits=ENOUGH)
        threading.Thread(target=run, daemon=True).start()
        """,
        # The event loop has ended before the task.
        """
        fog = f.Fog(1, price_per_gigafuel=10**6)
        async def main():
            asyncio.create_task(asyncio.wait_for(fog.run(ENDLESS, b"", limits=ENOUGH), 60))
            await asyncio.sleep(0)
        asyncio.run(main())
        """,
        # Results arrive while the interpreter ends.
        """
        fog = f.Fog(2)
        async def main():
            for _ in range(50):
                asyncio.ensure_future(fog.run(SUM, b""))
        asyncio.run(main())
        """,
        # sys.exit() inside a coroutine.
        """
        async def main():
            async with f.Fog(1, price_per_gigafuel=10**6) as fog:
                fog.submit(ENDLESS, b"", limits=ENOUGH)
                sys.exit(0)
        asyncio.run(main())
        """,
    ],
)
def test_an_interpreter_ends_whatever_is_running(script: str) -> None:
    assert outcome(python(script)) == (0, "", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork()")
def test_a_forked_child_makes_its_own() -> None:
    script = """
    import warnings
    warnings.simplefilter("ignore")  # Newer versions of Python warn of forking with threads.

    async def run(fog):
        return (await fog.run(SUM, b"\\1\\2")).output[0]

    fog, ledger = f.Fog(1, price_per_gigafuel=10**6), f.Ledger.in_memory()
    assert asyncio.run(run(fog)) == 3
    task = fog.submit(SUM, b"")
    child = os.fork()
    if child == 0:
        for call in (fog.stats, ledger.verify, task.wait, lambda: fog.run_blocking(SUM, b"")):
            try:
                call()
            except f.ClosedError as error:
                assert "was made before this process was forked" in str(error)
            else:
                raise AssertionError("the parent's object answered")
        fog.close()
        with f.Fog(1, price_per_gigafuel=10**6) as own:
            assert own.run_blocking(SUM, b"\\5").output[0] == 5
            assert asyncio.run(run(own)) == 3
        print("child", flush=True)
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert asyncio.run(run(fog)) == 3
    ledger.verify()
    task.wait()
    print("parent")
    """
    assert outcome(python(script)) == (0, "child\nparent\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
@pytest.mark.parametrize(
    "wait",
    [
        "print('ready', flush=True); fog.run_blocking(ENDLESS, b'', limits=ENOUGH)",
        "print('ready', flush=True); fog.submit(ENDLESS, b'', limits=ENOUGH).wait()",
    ],
)
def test_ctrl_c_ends_waiting_and_the_task(wait: str) -> None:
    process = python(f"""
    fog = f.Fog(1, price_per_gigafuel=10**6)
    try:
        {wait}
    except KeyboardInterrupt:
        assert fog.run_blocking(SUM, b"").output == bytes(8)
        print("interrupted")
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert outcome(process) == (0, "interrupted\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_ctrl_c_ends_a_search_for_a_placement() -> None:
    # It was noticed only when the whole search was over; this one would take for ever.
    process = python("""
    jobs = [f.Job(f"{n:032x}", cpu_millis=1, memory_bytes=1, duration_ms=1) for n in range(50)]
    def node(n):
        return f.Node(
            f"{n:064x}", cpu_millis_free=1, cpu_millis_total=1, memory_bytes_free=1, speed=1.0,
            latency_ms=1.0, trust=1.0, price_per_cpu_second=n,
        )
    nodes = [node(n) for n in range(5)]
    try:
        print("ready", flush=True)
        f.place(jobs, nodes, f.Sharing.QUEUED, f.Nsga2(100, 2**32 - 1))
    except KeyboardInterrupt:
        print("interrupted")
    """)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert outcome(process) == (0, "interrupted\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_ctrl_c_ends_awaiting_and_the_task() -> None:
    # A signal from outside that comes just before the event loop's select() does not wake it, so
    # this one is raised where the loop is sure to notice.
    process = python("""
    fog = f.Fog(1, price_per_gigafuel=10**6)
    async def run():
        awaitable = fog.run(ENDLESS, b"", limits=ENOUGH)
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        await awaitable
    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        assert fog.run_blocking(SUM, b"").output == bytes(8)
        print("interrupted")
    """)
    assert outcome(process) == (0, "interrupted\n", "")


def test_many_fogs_come_and_go() -> None:
    def once(_: int) -> bytes:
        with f.Fog(workers=1, price_per_gigafuel=PRICE) as fog:
            return fog.run_blocking(SUM, b"\x03").output

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(once, range(12))) == {total(b"\x03")}
