"""For `mypy --strict` only: what the types allow, and what they do not."""

from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import assert_never, assert_type

import fogcompute as f
from fogcompute import ledger as credits
from fogcompute import schedule


class Probe:
    def battery(self) -> f.Battery | None:
        return f.Battery.ABSENT


class Blind:
    def battery(self) -> int:
        return 80


class Schaffer(schedule.Problem):
    def __init__(self) -> None:
        super().__init__(n_var=1, n_obj=2, xl=-10, xu=[10.0], vtype=float)


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
    algorithm = schedule.NSGA2(pop_size=40, mutation_probability=0.5)
    result = schedule.minimize(Schaffer(), algorithm, ("n_gen", 80), initial=[[0.5]], seed=1)
    assert_type(result, schedule.Result)
    assert_type(result.state, bytes)
    assert_type(schedule.hypervolume(result.F, [1, 1]), float)
    schedule.minimize(Schaffer(), "NSGA2")  # type: ignore[arg-type]
    schedule.Problem(1, 2, vtype="text")  # type: ignore[arg-type]
    plan = f.place([], [], f.Sharing.QUEUED, preference=f.Weights([1, 0, 0, 0]))
    assert_type(plan.chosen, f.Point)
    assert_type(plan.chosen.cost, int)
    f.place([], [], 5)  # type: ignore[arg-type]
    f.place([], [], f.Sharing.QUEUED, strategy="fast")  # type: ignore[arg-type]
    partial = f.place_what_fits([], [], f.Sharing.QUEUED)
    assert_type(partial.plan, f.Plan | None)
    for _, reason in partial.left_out:
        match reason:
            case f.NoNode() | f.NoCommonNode() | f.NoRoom() | f.GoesWith():
                pass
            case f.Late():
                pass
            case f.Crowded(rules):
                assert_type(rules, tuple[f.Rule, ...])
            case never:
                assert_never(never)
    assert_type(f.Tier.GOLD.terms.distinct, tuple[f.Domain, ...])


def ledger() -> None:
    with f.Ledger.open(Path("ledger")) as opened:
        assert_type(opened, f.Ledger)
        assert_type(opened.balance("00" * 16), int)
        assert_type(opened.account("00" * 16).kind, f.AccountKind)
        opened.transfer("00" * 16, "00" * 16, "00" * 16, 1.5)  # type: ignore[arg-type]
        pay = ("00" * 16, "01" * 16, "02" * 16, 5)
        void = credits.Operation.void("00" * 16, "01" * 16)
        assert_type(opened.execute([pay, void])[0], f.Receipt)
        opened.execute([("00" * 16, "01" * 16, 5)])  # type: ignore[list-item]
        for entry in opened.history("00" * 16):
            assert_type(entry, credits.Entry)
            assert_type(entry.reservation, str | None)
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
