"""Many tasks at once, for a `Fog` or a `Worker`."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._native import Fog, FogTask, Limits, TaskOutput, Worker, WorkerTask


# Inputs that `map` hands in at a time, as one job: fewer than a job may have.
JOB_INPUTS = 4_000


def _bar(done: int, total: int) -> None:
    """A bar on the standard error, drawn over itself on a terminal, and once elsewhere."""
    if sys.stderr.isatty():
        filled = 30 * done // max(total, 1)
        line = f"\r[{'#' * filled}{'.' * (30 - filled)}] {done}/{total}"
        print(line, end="\n" if done == total else "", file=sys.stderr, flush=True)
    elif done == total:
        print(f"{done}/{total}", file=sys.stderr)


def _cancel(tasks: "Iterable[FogTask | WorkerTask]") -> None:
    from ._native import FogError

    for task in tasks:
        try:
            task.cancel()
        except FogError:
            # It has ended meanwhile, or all have.
            pass


async def run_all(
    fog: "Fog | Worker",
    module: "Buffer",
    inputs: "Iterable[Buffer]",
    limits: "Limits | None",
    progress: Callable[[int, int], object] | bool | None,
) -> "list[TaskOutput]":
    """The outputs of a module for all inputs."""
    from ._native import Worker

    every = list(inputs)
    if not every:
        return []
    tell = _bar if progress is True else progress or (lambda _done, _total: None)
    tasks: "list[FogTask | WorkerTask]"
    if isinstance(fog, Worker):
        tasks = []
        try:
            for first in range(0, len(every), JOB_INPUTS):
                job = every[first : first + JOB_INPUTS]
                tasks += fog.submit_all(module, job, limits=limits)
        except BaseException:
            _cancel(tasks)
            raise
    else:
        tasks = [fog.submit(module, data, limits=limits) for data in every]
    done = 0

    async def output(task: "FogTask | WorkerTask") -> "TaskOutput":
        nonlocal done
        result = await task
        done += 1
        tell(done, len(tasks))
        return result

    waiting = [asyncio.ensure_future(output(task)) for task in tasks]
    try:
        return await asyncio.gather(*waiting)
    except BaseException:
        # One that was given up with this call is done too, and its task goes on.
        open_ = [
            (waiter, task)
            for waiter, task in zip(waiting, tasks, strict=True)
            if not waiter.done() or waiter.cancelled()
        ]
        for waiter, _ in open_:
            waiter.cancel()
        _cancel([task for _, task in open_])
        await asyncio.gather(*waiting, return_exceptions=True)
        raise


async def lines(task: "WorkerTask") -> AsyncIterator[str]:
    """The lines of a task's log, each as soon as it is there."""
    rest, start = b"", 0
    while True:
        piece = await task.read_log(start)
        *whole, rest = (rest + piece.data).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
        start = piece.next
        if piece.ended:
            break
    if rest:
        yield rest.decode(errors="replace")


class TaskExecutor(Executor):
    """A `concurrent.futures.Executor` whose functions are WebAssembly modules.

    `submit(module, data)` runs a module on a fog or a worker and returns a `Future` of its
    `TaskOutput`; `map(module, inputs)` gives the outputs in order. `threads` wait for as many tasks
    at a time. To shut it down closes neither the fog nor the worker.
    """

    def __init__(
        self, fog: "Fog | Worker", *, limits: "Limits | None" = None, threads: int = 16
    ) -> None:
        self._fog = fog
        self._limits = limits
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="fog-executor")

    def submit(  # type: ignore[override]
        self, module: "Buffer", data: "Buffer", /, *args: Any, **kwargs: Any
    ) -> "Future[TaskOutput]":
        """Runs a module on `data`. Raises `TypeError` for any other argument."""
        if args or kwargs:
            raise TypeError("a task has a module and one input")
        run = self._fog.run_blocking
        return self._threads.submit(run, module, data, limits=self._limits)

    def map(  # type: ignore[override]
        self, module: "Buffer", inputs: "Iterable[Buffer]", /, **how: Any
    ) -> "Iterator[TaskOutput]":
        """The outputs of a module for all inputs, in order; `how` as for every executor."""
        function: Any = module
        return super().map(function, inputs, **how)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As every executor: waits for what was submitted, or cancels what has not begun."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
