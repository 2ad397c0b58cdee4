"""Value classes: equality, hash, text, matching, pickling, immutability."""

import copy
import datetime
import enum
import pickle
from datetime import timedelta
from typing import Any

import pytest

import fogcompute as f
from fogcompute import fog, ledger

TASK = "ab" * 16
NODE = "cd" * 32
NEXT = "cd" * 8
KEY = bytes(range(32))
USAGE = f.Usage(1, 2, timedelta(microseconds=3))
BUDGET = f.Budget(0.5, 2, 3)
POINT = f.Point([(TASK, NODE)], [1.0, 2.0, 3.0, 4.0, 5.0], 2**100, 2**101)
PLAN = f.Plan([POINT], 0, "why")
WARM = f.Reason("warm", "it is warm", False)
LACKS = f.Lacks(1, 2, 3, 4, 5)
LIMITS = ledger.AccountLimits(max_supply=2**90, credits_must_not_exceed_debits=True)
UNBONDING = ledger.Unbonding(1, 2, 3, 2**100, 4)
TALLY = ledger.Tally(1, 2**100, 3)
ACTION = ledger.Action.pay(TASK, 2**100, 7)
UPGRADE = ledger.Upgrade("2.0", TASK, NODE, 5)
AGENT = ledger.Agent(NODE, TASK, TASK, 2**100)
RESOLUTION = ledger.Resolution(TASK, NODE, 5)
PLACE = fog.FogPlace((1.0, 2.0, 3.0), 4.0, 0.5)
MEMBER: dict[str, Any] = {
    "id": NODE,
    "layer": 1,
    "kind": "mixnode",
    "address": "127.0.0.1:1",
    "status": "active",
    "barred": True,
    "linked": True,
    "cpu_millis": 1,
    "memory_bytes": 2,
    "free_cpu_millis": 3,
    "free_memory_bytes": 4,
    "fuel_per_second": 5,
    "price_per_gigafuel": 2**100,
    "latency_ms": 1.5,
    "trust": 0.5,
    "running": 6,
    "waiting": 7,
    "place": PLACE,
}
SNAPSHOT = fog.FogSnapshot(1, [("compute", 2)], [("idle", 2)], 3, 4, 5, 6, 7, 8)
PROPOSAL: dict[str, Any] = {
    "id": TASK,
    "author": TASK,
    "kind": ledger.ProposalKind.TREASURY_ALLOCATION,
    "title": "title",
    "description": "description",
    "actions": [ACTION],
    "state": ledger.ProposalState.QUEUED,
    "snapshot_unix_ms": 1,
    "deadline_unix_ms": 2,
    "eta_unix_ms": 3,
    "closed_unix_ms": 4,
    "cancelled_by": TASK,
    "total": 2**100,
    "quorum": 2**99,
    "quorum_reached": True,
    "approval_ppm": 600_000,
    "approved": True,
    "weighing": ledger.Weighing.LINEAR,
    "power": TALLY,
    "votes": TALLY,
    "ballots": 5,
}

ENUMERATIONS: list[type[enum.Enum]] = [
    f.AccountKind,
    f.Constraint,
    f.DeviceClass,
    f.Domain,
    ledger.Choice,
    ledger.Durability,
    f.Network,
    ledger.PauseScope,
    f.Priority,
    ledger.ProposalKind,
    ledger.ProposalState,
    ledger.Role,
    ledger.TextFormat,
    f.Tier,
    f.Verdict,
    ledger.Weighing,
]

# Each beside another one of its class.
VALUES: list[tuple[Any, Any]] = [
    (
        fog.JobStatus(TASK, TASK, f.Priority.LOW, "secret", 1, 2, 3, 4, 5, 6, 2**100, 7, 8),
        fog.JobStatus(TASK, TASK, f.Priority.LOW, "secret", 1, 2, 3, 4, 5, 6, 2**99, 7, 8),
    ),
    (
        fog.JobTask(TASK, TASK, "assigned", 1, NODE, 2**100, 3),
        fog.JobTask(TASK, TASK, "queued", 1, None, 2**100, 3),
    ),
    (
        fog.FogEvent("ended", 1, 2, TASK, TASK, NODE, 3, "failed", 2**100, 4, 5),
        fog.FogEvent("lagged", 0, None, None, None, None, 0, None, 0, 0, 5),
    ),
    (PLACE, fog.FogPlace((1.0, 2.0, 3.0), 4.0, 0.25)),
    (fog.FogMember(**MEMBER), fog.FogMember(**(MEMBER | {"layer": None, "place": None}))),
    (SNAPSHOT, fog.FogSnapshot(2, [], [], 3, 4, 5, 6, 7, 8)),
    (
        fog.FogTopology(1, NODE, PLACE, [fog.FogMember(**MEMBER)], [SNAPSHOT]),
        fog.FogTopology(1, NODE, PLACE, [], []),
    ),
    (
        fog.FogNodeStatus(True, False, "trouble", False),
        fog.FogNodeStatus(True, False, None, False),
    ),
    (f.Hop(NODE, KEY, timedelta(milliseconds=5)), f.Hop(NODE, KEY)),
    (f.Forward(NEXT, timedelta(1), b"packet", b"tag"), f.Forward(NEXT, timedelta(1), b"", b"tag")),
    (f.Deliver(b"payload", b"tag"), f.Deliver(b"payload", b"other")),
    (f.Reply(b"surb", b"seal", b"tag"), f.Reply(b"surb", b"other", b"tag")),
    (f.Sphinx(1024), f.Sphinx()),
    (f.Nsga2(8, 9, mutation_probability=0.25), f.Nsga2(8, 9)),
    (
        f.Job(
            TASK,
            cpu_millis=1,
            memory_bytes=2,
            duration_ms=3,
            priority=f.Priority.HIGH,
            min_trust=0.5,
            max_cost=2**60,
            max_latency_ms=1.5,
            excluded=[NODE],
            disk_bytes=1,
            gpus=2,
            bandwidth_bps=3,
            input_bytes=4,
            input_on=[NODE],
            max_price=5,
            deadline_ms=6,
            regions=["eu", "us"],
            tier=f.Tier.GOLD,
            affinity=[TASK],
            anti_affinity=["01" * 16],
            spread=f.Spread("web", f.Domain.ZONE, 2),
            gang="band",
            replicas=3,
            preemptible=True,
        ),
        f.Job(TASK, cpu_millis=1, memory_bytes=2, duration_ms=3),
    ),
    (
        f.Node(
            NODE,
            cpu_millis_free=1,
            cpu_millis_total=2,
            memory_bytes_free=3,
            speed=1.5,
            latency_ms=2.5,
            trust=0.5,
            price_per_cpu_second=7,
            disk_bytes_free=8,
            gpus_free=9,
            bandwidth_bps_free=10,
            ask_per_cpu_second=11,
            region="eu",
            zone="a",
            operator="p",
            availability=0.75,
            error_rate=0.25,
        ),
        f.Node(
            NODE,
            cpu_millis_free=1,
            cpu_millis_total=2,
            memory_bytes_free=3,
            speed=1.5,
            latency_ms=2.5,
            trust=0.5,
            price_per_cpu_second=8,
        ),
    ),
    (f.Weights([1, 2, 3, 4, 5]), f.Weights([1, 2, 3, 4, 0])),
    (f.Lexicographic([4, 3, 2, 1, 0]), f.Lexicographic([0, 1, 2, 3, 4])),
    (f.Spread("web", f.Domain.ZONE, 2), f.Spread("web", f.Domain.REGION, 2)),
    (f.Tier.GOLD.terms, f.Tier.PLATINUM.terms),
    (POINT, f.Point([], [1.0], 0, 0)),
    (PLAN, f.Plan([POINT], 0, "")),
    (LACKS, f.Lacks(1, 2, 3, 4, 6)),
    (
        f.NoNode([(f.Constraint.CPU, 2)], NODE, [f.Constraint.CPU]),
        f.NoNode([(f.Constraint.GPU, 2)], NODE, [f.Constraint.GPU]),
    ),
    (f.NoCommonNode([TASK], 2), f.NoCommonNode([TASK], 3)),
    (f.NoRoom(NODE, LACKS), f.NoRoom("01" * 32, LACKS)),
    (f.Late(5), f.Late(6)),
    (f.GoesWith(TASK), f.GoesWith("01" * 16)),
    (
        f.PartialPlan(PLAN, [(TASK, f.Late(5))]),
        f.PartialPlan(None, [(TASK, f.Crowded([]))]),
    ),
    (f.Replicas(f.Domain.ZONE), f.Replicas(f.Domain.NODE)),
    (f.AntiAffinity(), f.Crowded([])),
    (f.Capacity(f.Constraint.CPU), f.Capacity(f.Constraint.GPU)),
    (
        f.Crowded([f.AntiAffinity(), f.Spread("web", f.Domain.ZONE, 2)]),
        f.Crowded([f.AntiAffinity(), f.Spread("web", f.Domain.ZONE, 3)]),
    ),
    (
        f.Account(TASK, 0, f.AccountKind.HOLDER, 2**127, 5, 6, 7),
        f.Account(TASK, 0, f.AccountKind.ISSUER, 2**127, 5, 6, 7),
    ),
    (
        f.Account(TASK, 1, f.AccountKind.ISSUER, 1, 2, 3, 4, LIMITS, True, 5, 6),
        f.Account(TASK, 1, f.AccountKind.ISSUER, 1, 2, 3, 4, LIMITS, True, 5, 7),
    ),
    (LIMITS, ledger.AccountLimits(spend_per_day=7)),
    (f.Receipt(1, 2, 2**90, NODE, False), f.Receipt(1, 2, 2**90, NODE, True)),
    (
        ledger.Entry(
            1,
            2,
            "reserved",
            NODE,
            id=TASK,
            reservation=TASK,
            account=TASK,
            from_account=TASK,
            to_account=TASK,
            amount=2**100,
            released=2**99,
            code=7,
            reference=bytes(range(16)),
            expires_unix_ms=3,
            asset=4,
            account_kind=f.AccountKind.HOLDER,
            limits=LIMITS,
            key=KEY,
            nonce=5,
            digest=NODE,
        ),
        ledger.Entry(1, 2, "reserved", NODE),
    ),
    (
        ledger.EconomyReceipt(
            1,
            2,
            False,
            "rewarded",
            amount=2**100,
            cut_by_limit=1,
            commission=2,
            treasury=3,
            sovereign_fund=4,
            insured=5,
            entry=6,
            matures_unix_ms=7,
            jailed_until_unix_ms=8,
            tombstoned=True,
            proposal=TASK,
            power=2**101,
            deadline_unix_ms=9,
            eta_unix_ms=10,
        ),
        ledger.EconomyReceipt(1, 2, False, "rewarded"),
    ),
    (
        ledger.Operator(NODE, TASK, 1, 2, 2**100, 4, 5, 6, True),
        ledger.Operator(NODE, TASK, 1, 2, 2**100, 4, 5, None, False),
    ),
    (UNBONDING, ledger.Unbonding(1, 2, 3, 2**100, 5)),
    (ledger.Stake(2**100, 2, [UNBONDING]), ledger.Stake(2**100, 2, [])),
    (
        ledger.Parameter("supply.max", "base_units", 2**100, 1, 2**101),
        ledger.Parameter("supply.max", "base_units", 2**100, 1, 2**102),
    ),
    (TALLY, ledger.Tally(1, 2**100, 4)),
    (ACTION, ledger.Action.pay(TASK, 2**100)),
    (UPGRADE, ledger.Upgrade("2.0", TASK, NODE, 6)),
    (AGENT, ledger.Agent(NODE, TASK, TASK, 1)),
    (RESOLUTION, ledger.Resolution(TASK, NODE, 6)),
    (
        ledger.Ballot(ledger.Choice.FOR, 2**100, 2, 3, 4),
        ledger.Ballot(ledger.Choice.ABSTAIN, 2**100, 2, 3, 4),
    ),
    (ledger.VotingPower(2**100, 2, 3), ledger.VotingPower(2**100, 2, 4)),
    (
        ledger.Member(True, ledger.Role.KING, 2**100, 2, 3),
        ledger.Member(True, ledger.Role.KING, 2**100, 2, None),
    ),
    (
        ledger.GovernanceOverview(
            True,
            1,
            2**100,
            2**101,
            [(TASK, ledger.Role.GUARDIAN)],
            [ledger.PauseScope.FEES],
            [UPGRADE],
            [AGENT],
            [RESOLUTION],
        ),
        ledger.GovernanceOverview(True, 1, 2**100, 2**101, [], [], [], [], []),
    ),
    (ledger.Proposal(**PROPOSAL), ledger.Proposal(**(PROPOSAL | {"quorum": None}))),
    (f.Verification(1, NODE, 2, 3), f.Verification(1, NODE, 2, 4)),
    (ledger.Head(1, NODE), ledger.Head(2, NODE)),
    (ledger.Standing(1, 2**100, 3), ledger.Standing(1, 2**100, 4)),
    (f.Battery(80.5, True), f.Battery.ABSENT),
    (
        f.DeviceState(
            f.DeviceClass.PHONE,
            cpu_cores=8,
            cpu_load=0.25,
            memory_total_bytes=2**33,
            memory_available_bytes=2**32,
            battery=f.Battery(50.0, charging=False),
            battery_temperature_celsius=30.5,
            temperature_celsius=35.0,
            network=f.Network.WIFI,
            metered=False,
            screen_on=True,
            user_idle=timedelta(seconds=1.5),
            minute_of_day=1439,
        ),
        f.DeviceState(f.DeviceClass.PHONE),
    ),
    (BUDGET, f.Budget(0.5, 2, 4)),
    (WARM, f.Reason("warm", "it is warm", True)),
    (
        f.Decision(f.Verdict.THROTTLE, BUDGET, [WARM]),
        f.Decision(f.Verdict.ALLOW, BUDGET, []),
    ),
    (
        f.Limits(fuel=1, memory_bytes=2, output_bytes=3, log_bytes=4, wall=timedelta(seconds=5)),
        f.Limits(),
    ),
    (USAGE, f.Usage(1, 2, timedelta(0))),
    (f.TaskOutput(b"output", USAGE), f.TaskOutput(b"", USAGE)),
    (f.FogStats(1, 2, 2**99, 4), f.FogStats(1, 2, 2**99, 5)),
    (
        f.TaskStatus("running", 1, 2, 3, 4, 0.5, 6),
        f.TaskStatus("running", 1, 2, 3, 4, 0.5, 7),
    ),
    (f.TaskLog(b"line\n", 5, False), f.TaskLog(b"line\n", 5, True)),
    (
        f.WorkerStatus(
            True, 2, 0.5, "running", [WARM], 3, "why", "why", 4, 5, 6, timedelta(seconds=7)
        ),
        f.WorkerStatus(False, 0, 0.0, None, [], 3, None, None, 4, 5, 6, timedelta(0)),
    ),
]

# What holds a file, threads, a secret or a callback, or has no text to be made from.
NO_VALUES = {
    f.Batch,
    f.Fog,
    f.FogTask,
    f.HarvestPolicy,
    f.Ledger,
    f.PrivateKey,
    f.ReplyKey,
    f.Worker,
    f.WorkerTask,
    fog.FogClient,
    fog.FogCoordinator,
    fog.FogNode,
    fog.FogWatch,
    ledger.Checkpoint,
    ledger.Economy,
    ledger.Entries,
    ledger.Governance,
    ledger.Operation,
    ledger.Receipts,
    ledger.SignedBatch,
}

each_value = pytest.mark.parametrize(
    ("value", "other"), VALUES, ids=[type(value).__name__ for value, _ in VALUES]
)


def test_every_value_class_is_tested() -> None:
    classes = {
        item
        for item in (vars(f) | vars(fog) | vars(ledger)).values()
        if isinstance(item, type)
        and item.__module__ in ("fogcompute", "fogcompute.fog", "fogcompute.ledger")
        and not issubclass(item, Exception)
    }
    assert {type(value) for value, _ in VALUES} == classes - NO_VALUES


@each_value
def test_values_are_equal_by_their_fields(value: Any, other: Any) -> None:
    fields = {name: getattr(value, name) for name in value.__match_args__}
    twin = type(value)(**fields)
    assert twin is not value
    assert twin == value
    assert not twin != value
    assert hash(twin) == hash(value)
    assert value != other
    assert value != tuple(fields.values())
    assert (value == 1) is False


@each_value
def test_values_are_copied_and_pickled(value: Any, other: Any) -> None:
    for original in (value, other):
        copies = [copy.copy(original), copy.deepcopy(original)]
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            copies.append(pickle.loads(pickle.dumps(original, protocol)))
        for twin in copies:
            assert twin == original
            assert repr(twin) == repr(original)


@each_value
def test_the_text_of_a_value_makes_it_again(value: Any, other: Any) -> None:
    names = vars(f) | vars(fog) | vars(ledger) | {"datetime": datetime}
    for original in (value, other):
        # Members of enumerations write themselves as <Name.MEMBER: value>.
        text = repr(original)
        for enumeration in ENUMERATIONS:
            for member in enumeration:
                text = text.replace(repr(member), f"{type(member).__name__}.{member.name}")
        assert eval(text, names) == original


@each_value
def test_values_cannot_be_changed(value: Any, other: Any) -> None:
    for name in value.__match_args__:
        with pytest.raises(AttributeError):
            setattr(value, name, getattr(value, name))
    with pytest.raises(AttributeError):
        value.something_else = 1


@each_value
def test_value_classes_have_no_subclasses(value: Any, other: Any) -> None:
    with pytest.raises(TypeError):
        type("Sub", (type(value),), {})


def test_sequences_are_held_as_tuples() -> None:
    nodes = [NODE]
    job = f.Job(TASK, cpu_millis=1, memory_bytes=2, duration_ms=3, excluded=nodes)
    nodes.clear()
    assert job.excluded == (NODE,)


def test_members_of_enumerations_come_back_as_themselves() -> None:
    for priority in f.Priority:
        job = f.Job(TASK, cpu_millis=1, memory_bytes=2, duration_ms=3, priority=priority)
        assert job.priority is priority
    for device_class in f.DeviceClass:
        assert f.DeviceState(device_class).device_class is device_class
    for network in f.Network:
        assert f.DeviceState(f.DeviceClass.SERVER, network=network).network is network
    for kind in f.AccountKind:
        assert f.Account(TASK, 0, kind, 0, 0, 0, 0).kind is kind
    for verdict in f.Verdict:
        assert f.Decision(verdict, BUDGET, []).verdict is verdict


def test_identifiers_are_lower_case_whatever_was_given() -> None:
    assert f.Hop(NODE.upper(), KEY).node == NODE


def test_an_account_reckons() -> None:
    holder = f.Account(TASK, 0, f.AccountKind.HOLDER, 100, 30, 50, 20)
    assert (holder.available, holder.balance, holder.issued) == (50, 70, 0)


def test_a_private_key_does_not_show_itself() -> None:
    key = f.PrivateKey.from_bytes(KEY)
    assert key.to_bytes() == KEY
    assert repr(key) == str(key) == "PrivateKey(..)"
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_policies_compare() -> None:
    assert f.HarvestPolicy() == f.HarvestPolicy.from_toml("")
    assert f.HarvestPolicy() != f.HarvestPolicy.always()
    assert repr(f.HarvestPolicy.always()) == "<fogcompute.HarvestPolicy enforced=False>"
