"""Bad input to every call, and the exception it deserves."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import fogcompute as f
from conftest import SUM

TASK = "ab" * 16
NODE = "cd" * 32
KEY = bytes(range(32))
HUGE = 10**5000
A: Any = f  # Without the types, which would not let these calls pass.

sphinx = f.Sphinx()
private = f.PrivateKey.generate()
hop = f.Hop(NODE, private.public_key)
state = f.DeviceState(f.DeviceClass.SERVER)
job: dict[str, Any] = {"cpu_millis": 1, "memory_bytes": 1, "duration_ms": 1}
node: dict[str, Any] = {
    "cpu_millis_free": 1,
    "cpu_millis_total": 1,
    "memory_bytes_free": 1,
    "speed": 1.0,
    "latency_ms": 1.0,
    "trust": 1.0,
    "price_per_cpu_second": 1,
}


REFUSED: dict[type[Exception], list[Callable[[], object]]] = {
    TypeError: [
        lambda: A.PrivateKey(),
        lambda: A.PrivateKey.generate(1),
        lambda: A.PrivateKey.from_bytes("ab" * 32),
        lambda: A.PrivateKey.from_bytes(None),
        lambda: A.PrivateKey.from_bytes([1] * 32),
        lambda: A.PrivateKey.from_bytes(32),
        lambda: A.Hop(1, KEY),
        lambda: A.Hop(NODE.encode(), KEY),
        lambda: A.Hop(NODE, "key"),
        lambda: A.Hop(NODE, KEY, 5),
        lambda: A.Hop(NODE),
        lambda: A.Hop(NODE, KEY, colour="red"),
        lambda: A.Forward("cd" * 8, 1, b"", b""),
        lambda: A.Deliver("payload", b""),
        lambda: A.Reply(None, b"", b""),
        lambda: A.Sphinx("1024"),
        lambda: A.Sphinx(1024.0),
        lambda: A.Sphinx().build(hop, b""),
        lambda: A.Sphinx().build([hop, None], b""),
        lambda: A.Sphinx().build([hop], "text"),
        lambda: A.Sphinx().build([hop]),
        lambda: A.Sphinx().build(None, b""),
        lambda: A.Sphinx().process(private.to_bytes(), b""),
        lambda: A.Sphinx().process(private, "packet"),
        lambda: A.Sphinx().process(private, None),
        lambda: A.Nsga2(1.5),
        lambda: A.Nsga2(4, 4, 0.9),
        lambda: A.Job(1, **job),
        lambda: A.Job(TASK),
        lambda: A.Job(TASK, 1, 1, 1),
        lambda: A.Job(TASK, **job | {"cpu_millis": 1.0}),
        lambda: A.Job(TASK, **job, priority="high"),
        lambda: A.Job(TASK, **job, min_trust="much"),
        lambda: A.Job(TASK, **job, excluded=NODE.encode()),
        lambda: A.Job(TASK, **job, excluded=5),
        lambda: A.Job(TASK, **job, tier=1),
        lambda: A.Job(TASK, **job, regions="eu"),
        lambda: A.Job(TASK, **job, affinity=TASK),
        lambda: A.Job(TASK, **job, spread=("web", "zone", 2)),
        lambda: A.Job(TASK, **job, gang=1),
        lambda: A.Job(TASK, **job, replicas=1.0),
        lambda: A.Job(TASK, **job, preemptible=1),
        lambda: A.Spread("web"),
        lambda: A.Node(NODE, **node, zone=None),
        lambda: A.Node(NODE, **node, availability="always"),
        lambda: A.PartialPlan(None, [(TASK, "late")]),
        lambda: A.place_what_fits([], [], f.Sharing.QUEUED, strategy=f.Strategy.BIN_PACK),
        lambda: A.Node(None, **node),
        lambda: A.Node(NODE, **node | {"speed": "fast"}),
        lambda: A.Node(NODE, **node | {"price_per_cpu_second": 1.5}),
        lambda: A.Weights("1234"),
        lambda: A.Weights(1),
        lambda: A.Lexicographic([0.0, 1, 2, 3, 4]),
        lambda: A.Point([TASK], [1.0], 1, 1),
        lambda: A.Plan([1], 0, ""),
        lambda: A.place([1], [f.Node(NODE, **node)], f.Sharing.QUEUED),
        lambda: A.place([f.Job(TASK, **job)], None, f.Sharing.QUEUED),
        lambda: A.place([f.Job(TASK, **job)], [f.Node(NODE, **node)]),
        lambda: A.place([f.Job(TASK, **job)], [f.Node(NODE, **node)], 1),
        lambda: A.place([], [], f.Sharing.QUEUED, preference=1),
        lambda: A.place([], [], f.Sharing.QUEUED, preference=[1, 2, 3, 4]),
        lambda: A.Ledger(),
        lambda: A.Ledger.open(5),
        lambda: A.Ledger.open(None),
        lambda: A.Ledger.in_memory().open_account(TASK),
        lambda: A.Ledger.in_memory().open_account(5, f.AccountKind.HOLDER),
        lambda: A.Ledger.in_memory().open_account(TASK, 1),
        lambda: A.Ledger.in_memory().transfer(TASK, TASK, TASK, 1.0),
        lambda: A.Ledger.in_memory().transfer(TASK, TASK, TASK, "1"),
        lambda: A.Ledger.in_memory().transfer(TASK, TASK, TASK, None),
        lambda: A.Ledger.in_memory().transfer(TASK, TASK, None, 1),
        lambda: A.Ledger.in_memory().reserve(TASK, TASK, TASK, 0.5),
        lambda: A.Ledger.in_memory().reserve(TASK, TASK),
        lambda: A.Ledger.in_memory().post(TASK, 7),
        lambda: A.Ledger.in_memory().post(TASK, TASK, 1.0),
        lambda: A.Ledger.in_memory().void(TASK),
        lambda: A.Ledger.in_memory().void(TASK, b"ab"),
        lambda: A.Ledger.in_memory().account(None),
        lambda: A.Ledger.in_memory().balance(5),
        lambda: A.Ledger.in_memory().verify(1),
        lambda: A.Battery("80", True),
        lambda: A.Battery(80, "yes"),
        lambda: A.Battery(80, 1),
        lambda: A.DeviceState(1),
        lambda: A.DeviceState(f.DeviceClass.PHONE, 8),
        lambda: A.DeviceState(f.DeviceClass.PHONE, cpu_cores=8.0),
        lambda: A.DeviceState(f.DeviceClass.PHONE, cpu_load="1"),
        lambda: A.DeviceState(f.DeviceClass.PHONE, battery=80),
        lambda: A.DeviceState(f.DeviceClass.PHONE, metered=1),
        lambda: A.DeviceState(f.DeviceClass.PHONE, user_idle=5),
        lambda: A.HarvestPolicy(1),
        lambda: A.HarvestPolicy.from_toml(b""),
        lambda: A.HarvestPolicy.from_toml(None),
        lambda: A.HarvestPolicy().decide(None),
        lambda: A.HarvestPolicy().decide(f.DeviceClass.PHONE),
        lambda: A.HarvestPolicy().decide_with_probe(state),
        lambda: A.Decision(f.Verdict.ALLOW, None, []),
        lambda: A.Limits(1),
        lambda: A.Limits(fuel="much"),
        lambda: A.Limits(fuel=1.5),
        lambda: A.Usage(1, 2, 3),
        lambda: A.TaskOutput("text", None),
        lambda: A.Fog("two"),
        lambda: A.Fog(1.5),
        lambda: A.Fog(1, 2),
        lambda: A.Fog(endowment=1.5),
        lambda: A.FogTask(),
        lambda: A.version(1),
    ],
    f.ArgumentError: [
        lambda: f.PrivateKey.from_bytes(b""),
        lambda: f.PrivateKey.from_bytes(bytes(31)),
        lambda: f.PrivateKey.from_bytes(bytes(33)),
        lambda: f.Hop("", KEY),
        lambda: f.Hop(NODE[1:], KEY),
        lambda: f.Hop(NODE + "0", KEY),
        lambda: f.Hop("é" * 32, KEY),
        lambda: f.Hop("g" * 64, KEY),
        lambda: f.Hop(NODE, KEY[1:]),
        lambda: f.Hop(NODE, KEY, timedelta(microseconds=-1)),
        lambda: f.Sphinx(-1),
        lambda: f.Sphinx(0),
        lambda: f.Sphinx(511),
        lambda: f.Sphinx(65_537),
        lambda: f.Sphinx(2**64),
        lambda: f.Sphinx(HUGE),
        lambda: f.Nsga2(-4),
        lambda: f.Nsga2(2**32),
        lambda: f.Nsga2(4, -1),
        lambda: f.Nsga2(crossover_eta=HUGE),
        lambda: f.Job("ab", **job),
        lambda: A.Job(TASK, **job | {"cpu_millis": -1}),
        lambda: A.Job(TASK, **job | {"memory_bytes": 2**64}),
        lambda: A.Job(TASK, **job | {"duration_ms": HUGE}),
        lambda: A.Job(TASK, **job, max_cost=-1),
        lambda: A.Job(TASK, **job, priority=5),
        lambda: A.Job(TASK, **job, priority=-1),
        lambda: A.Job(TASK, **job, excluded=["ab"]),
        lambda: A.Node(TASK, **node),
        lambda: A.Node(NODE, **node | {"cpu_millis_free": -1}),
        lambda: A.Node(NODE, **node | {"latency_ms": HUGE}),
        lambda: f.Weights([1, 2, 3, 4]),
        lambda: f.Weights([]),
        lambda: f.Lexicographic([0, 1, 2, 3, 4, 4]),
        lambda: f.Lexicographic([-1, 1, 2, 3, 4]),
        lambda: f.Point([(TASK, NODE)], [1.0], -1, 0),
        lambda: f.Point([(TASK, TASK)], [1.0], 1, 1),
        lambda: f.Job(TASK, **job, replicas=-1),
        lambda: f.Job(TASK, **job, replicas=256),
        lambda: f.Job(TASK, **job, deadline_ms=-1),
        lambda: f.Job(TASK, **job, input_on=[TASK]),
        lambda: f.Job(TASK, **job, affinity=[NODE]),
        lambda: A.Job(TASK, **job, tier="wood"),
        lambda: A.Spread("web", "street", 2),
        lambda: f.Spread("web", f.Domain.ZONE, -1),
        lambda: A.Node(NODE, **node, gpus_free=-1),
        lambda: A.place([], [], f.Sharing.QUEUED, strategy="guess"),
        lambda: f.NoNode([(f.Constraint.CPU, -1)], NODE, []),
        lambda: f.Plan([], 0, ""),
        lambda: A.place([], [], "sideways"),
        lambda: f.place([], [], f.Sharing.QUEUED, seed=-1),
        lambda: f.Account("ab", 0, f.AccountKind.HOLDER, 0, 0, 0, 0),
        lambda: f.Account(TASK, 0, f.AccountKind.HOLDER, 2**128, 0, 0, 0),
        lambda: A.Ledger.in_memory().open_account(TASK, "thief"),
        lambda: f.Ledger.in_memory().open_account("ab", f.AccountKind.HOLDER),
        lambda: f.Ledger.in_memory().transfer("ab", TASK, TASK, 1),
        lambda: f.Ledger.in_memory().transfer(TASK, "", TASK, 1),
        lambda: f.Ledger.in_memory().transfer(TASK, TASK, NODE, 1),
        lambda: f.Ledger.in_memory().transfer(TASK, TASK, TASK, -1),
        lambda: f.Ledger.in_memory().transfer(TASK, TASK, TASK, 2**128),
        lambda: f.Ledger.in_memory().reserve(TASK, TASK, TASK, HUGE),
        lambda: f.Ledger.in_memory().reserve(TASK[:-1] + "x", TASK, TASK, 1),
        lambda: f.Ledger.in_memory().post(TASK, "x"),
        lambda: f.Ledger.in_memory().post(TASK, TASK, -1),
        lambda: f.Ledger.in_memory().void("x", TASK),
        lambda: f.Ledger.in_memory().account("x"),
        lambda: f.Ledger.in_memory().balance(NODE),
        lambda: f.Battery(80),
        lambda: f.Battery(charging=True),
        lambda: f.Battery(HUGE, True),
        lambda: A.DeviceState("toaster"),
        lambda: A.DeviceState(f.DeviceClass.PHONE, network="string"),
        lambda: f.DeviceState(f.DeviceClass.PHONE, cpu_cores=-1),
        lambda: f.DeviceState(f.DeviceClass.PHONE, memory_total_bytes=2**64),
        lambda: f.DeviceState(f.DeviceClass.PHONE, minute_of_day=-1),
        lambda: f.DeviceState(f.DeviceClass.PHONE, minute_of_day=65_536),
        lambda: f.DeviceState(f.DeviceClass.PHONE, user_idle=timedelta(-1)),
        lambda: f.Budget(0.5, -1, 0),
        lambda: A.Decision("perhaps", f.Budget(0, 0, 0), []),
        lambda: f.Limits(fuel=-1),
        lambda: f.Limits(memory_bytes=2**64),
        lambda: f.Limits(output_bytes=HUGE),
        lambda: f.Usage(-1, 0, timedelta(0)),
        lambda: f.FogStats(0, 0, -1, 0),
        lambda: f.Fog(0),
        lambda: f.Fog(-1),
        lambda: f.Fog(1025),
        lambda: f.Fog(HUGE),
        lambda: f.Fog(endowment=-1),
        lambda: f.Fog(price_per_gigafuel=2**128),
        lambda: f.Fog(seed=-1),
    ],
    AttributeError: [
        lambda: A.HarvestPolicy().decide_with_probe(state, object()),
    ],
    BufferError: [
        lambda: f.PrivateKey.from_bytes(memoryview(bytes(32)).cast("i")),
    ],
    f.ProblemError: [
        lambda: f.place([], [], f.Sharing.QUEUED),
        lambda: A.place([f.Job(TASK, **job)] * 2, [f.Node(NODE, **node)], f.Sharing.QUEUED),
        lambda: A.place(
            [f.Job(TASK, **job, min_trust=float("nan"))],
            [f.Node(NODE, **node)],
            f.Sharing.QUEUED,
        ),
    ],
    f.PolicyError: [
        lambda: f.HarvestPolicy.from_toml("batery = 3"),
        lambda: f.HarvestPolicy.from_toml("\0"),
        lambda: f.HarvestPolicy.from_toml("cpu_share_max = nan"),
    ],
}


@pytest.mark.parametrize(
    ("error", "call"),
    [
        pytest.param(error, call, id=f"{error.__name__} {call.__code__.co_firstlineno}")
        for error, calls in REFUSED.items()
        for call in calls
    ],
)
def test_bad_input_is_refused(error: type[Exception], call: Callable[[], object]) -> None:
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error


@pytest.mark.parametrize("method", ["run", "run_blocking", "submit"])
async def test_bad_tasks_are_refused(fog: f.Fog, method: str) -> None:
    hand_in = getattr(fog, method)
    mistyped: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((SUM,), {}),
        (("text", b""), {}),
        ((SUM, "text"), {}),
        ((SUM, None), {}),
        ((SUM, [1, 2]), {}),
        ((None, b""), {}),
        ((SUM, b"", f.Limits()), {}),
        ((SUM, b""), {"limits": 5}),
        ((SUM, b""), {"limits": {"fuel": 5}}),
    ]
    for arguments, keywords in mistyped:
        with pytest.raises(TypeError):
            hand_in(*arguments, **keywords)
    for module, data, limits in [
        (b"", b"", None),
        (bytes(2**20 + 1), b"", None),
        (SUM, bytes(2**20 + 1), None),
        (SUM, b"", f.Limits(fuel=0)),
        (SUM, b"", f.Limits(memory_bytes=1)),
        (SUM, b"", f.Limits(output_bytes=2**20 + 1)),
    ]:
        with pytest.raises(f.ArgumentError):
            hand_in(module, data, limits=limits)
    assert fog.stats().failed == 0


def test_a_folder_or_other_file_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(f.StorageIsFolderError):
        f.Ledger.open(tmp_path)
    (tmp_path / "text").write_text("this is not a database, it is a text of some length")
    with pytest.raises(f.StorageForeignError):
        f.Ledger.open(tmp_path / "text")
    with pytest.raises(f.ArgumentError):
        f.Ledger.open("a\0b")
