"""For `mypy --strict` only: what the types allow, and what they do not."""

from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import assert_never, assert_type

import fogcompute as f


class Probe:
    def battery(self) -> f.Battery | None:
        return f.Battery.ABSENT


class Blind:
    def battery(self) -> int:
        return 80


class Schaffer:
    variables = (f.Real(0.0, 1.0), f.Choice(3))
    objective_count = 2

    def evaluate(self, genes: list[float]) -> tuple[tuple[float, float], float]:
        return (genes[0], -genes[0]), 0.0


class Crooked:
    variables = (f.Real(0.0, 1.0),)
    objective_count = 2

    def evaluate(self, genes: list[float]) -> float:
        return genes[0]


def packets(sphinx: f.Sphinx, key: f.PrivateKey) -> bytes:
    hop = f.Hop("00" * 32, memoryview(key.public_key), timedelta(milliseconds=5))
    packet = sphinx.build((hop,), bytearray(b"hello"))
    assert_type(packet, bytes)
    sphinx.build(hop, b"hello")  # type: ignore[arg-type]
    sphinx.process(key, "packet")  # type: ignore[arg-type]
    hop.node = "11" * 32  # type: ignore[misc]
    processed: f.Processed = sphinx.process(key, packet)
    match processed:
        case f.Forward(next, delay, packet):
            assert_type(next, str)
            assert_type(delay, timedelta)
            return packet
        case f.Deliver(payload=payload):
            return payload
        case f.Reply(surb=surb):
            return surb
        case never:
            assert_never(never)


def optimisation() -> None:
    front = f.nsga2(Schaffer(), f.Nsga2(40, 80), initial=[[0.5, 1]], seed=1)
    assert_type(front.individuals, tuple[f.Individual, ...])
    assert_type(front.individuals[0].genes, tuple[float, ...])
    f.nsga2(Crooked())  # type: ignore[arg-type]
    plan = f.place([], [], f.Sharing.QUEUED, preference=f.Weights([1, 0, 0, 0]))
    assert_type(plan.chosen, f.Point)
    assert_type(plan.chosen.cost, int)
    f.place([], [], 5)  # type: ignore[arg-type]


def ledger() -> None:
    with f.Ledger.open(Path("ledger")) as opened:
        assert_type(opened, f.Ledger)
        assert_type(opened.balance("00" * 16), int)
        assert_type(opened.account("00" * 16).kind, f.AccountKind)
        opened.transfer("00" * 16, "00" * 16, "00" * 16, 1.5)  # type: ignore[arg-type]
    f.Ledger()  # Stubs cannot say that this raises TypeError.


def harvest(state: f.DeviceState) -> int:
    policy = f.HarvestPolicy.from_toml("")
    decision = policy.decide_with_probe(state, Probe())
    policy.decide_with_probe(state, Blind())  # type: ignore[arg-type]
    match decision.verdict:
        case f.Verdict.ALLOW | f.Verdict.THROTTLE:
            return decision.budget.memory_bytes
        case f.Verdict.REFUSE:
            return 0
        case never:
            assert_never(never)


async def fog() -> None:
    async with f.Fog(workers=2) as running:
        assert_type(running, f.Fog)
        result = await running.run(b"module", b"data", limits=f.Limits(fuel=5))
        assert_type(result, f.TaskOutput)
        assert_type(await running.submit(b"module", b"data"), f.TaskOutput)
        waiting: Awaitable[f.TaskOutput] = running.submit(b"module", b"data")
        await waiting
        running.run(b"module", b"data", f.Limits())  # type: ignore[call-arg]
    with f.Fog() as blocking:
        assert_type(blocking.run_blocking(b"module", b"data").usage.wall, timedelta)


def errors() -> int:
    try:
        f.Sphinx(1)
    except f.ArgumentError as error:
        same: ValueError = error
        return error.code + len(error.name) + len(same.args)
    return len(f.ERROR_CLASSES)
