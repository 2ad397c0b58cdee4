"""What one call costs from Python. Prints one JSON object per line.

`--short` makes few calls: to see that it works, not to learn how long anything takes.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fogcompute as f
from fogcompute.schedule import NSGA2, Problem, minimize

RUNS = 7
SHORT = "--short" in sys.argv[1:]


def report(case: str, n: int, seconds: list[float]) -> None:
    # The first run warms up and does not count.
    ns = statistics.median(seconds[1:]) / n * 1e9
    print(json.dumps({"case": case, "ns": round(ns, 1), "n": n}), flush=True)


def bench(case: str, n: int, call: Callable[[], object]) -> None:
    """Median over the runs of the mean time of `n` calls, that of the loop included."""
    n = max(1, n // 1000) if SHORT else n
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        for _ in range(n):
            call()
        seconds.append(time.perf_counter() - start)
    report(case, n, seconds)


async def bench_await(case: str, n: int, call: Callable[[], Awaitable[object]]) -> None:
    n = max(1, n // 1000) if SHORT else n
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        for _ in range(n):
            await call()
        seconds.append(time.perf_counter() - start)
    report(case, n, seconds)


class Probe:
    def battery(self) -> f.Battery | None:
        return f.Battery.ABSENT


class Nothing(Problem):
    def _evaluate(self, X: Any, out: MutableMapping[str, Any]) -> None:
        out["F"] = X


ECHO = Path(__file__).parents[2] / "examples/wasm/echo.wasm"


def main() -> None:
    sphinx, key = f.Sphinx(), f.PrivateKey.generate()
    packet = sphinx.build([f.Hop("0a" * 32, key.public_key)], bytes(2048))
    bench("noop", 500_000, lambda: sphinx.packet_bytes)
    bench("version", 500_000, f.version)
    bench("sphinx_process_2k", 2_000, lambda: sphinx.process(key, packet))
    batch = sphinx.build_batch([([f.Hop("0a" * 32, key.public_key)], bytes(2048))] * 256)
    bench("sphinx_process_batch_256", 20, lambda: len(sphinx.process_batch(key, batch)))

    ledger = f.Ledger.in_memory()
    account = "01" * 16
    ledger.open_account(account, f.AccountKind.ISSUER)
    bench("ledger_balance", 50_000, lambda: ledger.balance(account))

    other, calls = "02" * 16, 20
    with TemporaryDirectory() as folder, f.Ledger.open(Path(folder) / "ledger") as durable:
        durable.open_account(account, f.AccountKind.ISSUER)
        durable.open_account(other, f.AccountKind.HOLDER)
        batches = iter(
            [
                [(f"{run * 1024 + n:032x}", account, other, 1) for n in range(1024)]
                for run in range(RUNS * calls)
            ]
        )
        bench("ledger_transfers_1024", calls, lambda: durable.execute(next(batches)))

    policy, state, probe = f.HarvestPolicy(), f.DeviceState(f.DeviceClass.SERVER), Probe()
    bench("harvest_decide", 50_000, lambda: policy.decide(state))
    bench("callback", 50_000, lambda: policy.decide_with_probe(state, probe))
    nothing = Nothing(n_var=1, n_obj=1)
    bench("nsga2_1000_evaluations", 20, lambda: minimize(nothing, NSGA2(), ("n_gen", 9)))

    echo = ECHO.read_bytes()
    with f.Fog(workers=1) as fog:
        bench("fog_run_blocking", 500, lambda: fog.run_blocking(echo, b""))
        asyncio.run(bench_await("fog_run_await", 500, lambda: fog.run(echo, b"")))


if __name__ == "__main__":
    main()
