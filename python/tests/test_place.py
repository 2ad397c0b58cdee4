"""Placement of jobs on nodes."""

from typing import Any

import pytest

import fogcompute as f

A: Any = f
NEEDS: Any = {"cpu_millis": 1_000, "memory_bytes": 1 << 20, "duration_ms": 500}
SMALL = f.Nsga2(8, 4)


def nodes(*trusts: float) -> list[f.Node]:
    return [
        f.Node(
            f"{index + 1:02}" * 32,
            cpu_millis_free=1_000,
            cpu_millis_total=1_000,
            memory_bytes_free=1 << 30,
            speed=1.0 + index,
            latency_ms=10.0,
            trust=trust,
            price_per_cpu_second=10 ** (6 + index),
        )
        for index, trust in enumerate(trusts)
    ]


def jobs(count: int, min_trust: float = 0.0) -> list[f.Job]:
    return [
        f.Job(
            f"{index:032x}",
            cpu_millis=1_000,
            memory_bytes=1 << 20,
            duration_ms=500,
            min_trust=min_trust,
        )
        for index in range(count)
    ]


def test_a_placement_names_every_job_and_its_node() -> None:
    plan = f.place(jobs(6, 0.5), nodes(0.9, 0.9, 0.2), f.Sharing.QUEUED, SMALL, seed=1)
    assert [job for job, _ in plan.chosen.assignment] == [job.id for job in jobs(6)]
    assert {node for _, node in plan.chosen.assignment} <= {node.id for node in nodes(1, 1)}
    assert len(plan.chosen.objectives) == len(f.OBJECTIVE_NAMES) == 5
    assert plan.explanation.startswith("6 jobs on ")


def test_a_preference_chooses_a_corner_of_the_front() -> None:
    def chosen(preference: f.Weights | f.Lexicographic) -> f.Point:
        return f.place(
            jobs(6), nodes(0.9, 0.5), f.Sharing.QUEUED, f.Nsga2(20, 20), preference=preference
        ).chosen

    cheapest = chosen(f.Weights([0, 0, 0, 1, 0]))
    fastest = chosen(f.Lexicographic([0, 1, 2, 3, 4]))
    assert cheapest.cost < fastest.cost
    assert fastest.objectives[0] < cheapest.objectives[0]


def test_a_preference_that_prefers_nothing_is_refused() -> None:
    for preference in (
        f.Weights([0, 0, 0, 0, 0]),
        f.Weights([1, 1, 1, 1, -1]),
        f.Weights([1, 1, 1, 1, float("nan")]),
        f.Lexicographic([0, 0, 1, 2, 3]),
        f.Lexicographic([1, 2, 3, 4, 5]),
    ):
        with pytest.raises(f.ArgumentError):
            f.place(jobs(1), nodes(1.0), f.Sharing.QUEUED, SMALL, preference=preference)


def test_what_cannot_be_placed_says_why() -> None:
    with pytest.raises(f.InfeasibleError, match="trust rules out 2"):
        f.place(jobs(1, 0.5), nodes(0.1, 0.2), f.Sharing.QUEUED, SMALL)


def late(id: str, **more: Any) -> f.Job:
    return f.Job(id, **NEEDS, deadline_ms=10**6, **more)


def test_names_of_enumerations_may_be_given_as_text() -> None:
    job: f.Job = A.Job("00" * 16, **NEEDS, tier="gold", spread=A.Spread("web", "zone", 2))
    assert job.tier is f.Tier.GOLD
    assert job.spread is not None
    assert job.spread.over is f.Domain.ZONE
    for strategy in f.Strategy:
        plan = A.place(jobs(3), nodes(0.9, 0.9), "queued", SMALL, strategy=strategy.value)
        assert len(plan.chosen.assignment) == 3
        assert len(plan.front) == 1 or strategy is f.Strategy.NSGA_II


def test_a_gold_job_has_three_replicas_of_different_operators() -> None:
    offered = [
        f.Node(
            f"{index:064x}",
            cpu_millis_free=4_000,
            cpu_millis_total=4_000,
            memory_bytes_free=1 << 30,
            zone="abc"[index % 3],
            operator="pqr"[index % 3],
            availability=0.98,
            error_rate=0.0005,
        )
        for index in range(6)
    ]
    job = f.Job("00" * 16, **NEEDS, tier=f.Tier.GOLD)
    plan = f.place([job], offered, f.Sharing.CONCURRENT, SMALL)
    operators = {int(node, 16) % 3 for _, node in plan.chosen.assignment}
    assert len(plan.chosen.assignment) == f.Tier.GOLD.terms.replicas == len(operators)
    assert plan.explanation.startswith("1 job in 3 replicas on 3 nodes")
    assert plan.chosen.price >= plan.chosen.cost


def test_what_does_not_fit_is_left_out_with_the_reason() -> None:
    wanted = [*jobs(3), f.Job("ff" * 16, **NEEDS, gpus=1, gang="b"), late("fe" * 16, gang="b")]
    partial = f.place_what_fits(wanted, nodes(0.9, 0.9), f.Sharing.CONCURRENT, SMALL)
    assert partial.plan is not None
    assert len(partial.plan.chosen.assignment) == 2
    (_, first), (_, second), (job, third) = partial.left_out
    assert job == "fe" * 16
    assert third == f.GoesWith("ff" * 16)
    match first:
        case f.NoRoom(lacks=f.Lacks(cpu_millis=lacking)):
            assert lacking == 1_000
            assert str(first).endswith(f"comes nearest and lacks {first.lacks}")
        case other:
            pytest.fail(f"{other!r}")
    assert isinstance(second, f.NoNode)
    assert (f.Constraint.GPU, 2) in second.removed_by
    assert str(second).startswith("no node may take it: GPUs rules out 2; node ")
    assert f.place_what_fits(wanted[3:], nodes(0.9), f.Sharing.QUEUED, SMALL).plan is None


def test_who_is_crowded_learns_which_rules_do_it() -> None:
    thinly = f.Spread("web", over=f.Domain.NODE, most=1)
    wanted = [f.Job(f"{number:032x}", **NEEDS, spread=thinly) for number in range(3)]
    partial = f.place_what_fits(wanted, nodes(0.9, 0.9), f.Sharing.QUEUED, SMALL)
    [(_, reason)] = partial.left_out
    assert reason == f.Crowded([thinly])
    assert str(reason).endswith(f"not be with: {thinly}")
    assert str(thinly) == 'a node may have 1 of group "web"'
    twice = f.Job("00" * 16, **NEEDS, replicas=2)
    partial = f.place_what_fits([twice], nodes(0.9), f.Sharing.QUEUED, SMALL)
    [(_, reason)] = partial.left_out
    assert reason == f.Crowded([f.Replicas(f.Domain.NODE)])


def test_a_preference_of_another_kind_is_named() -> None:
    for preference in ("cost", 3, [1, 0, 0, 0, 0]):
        with pytest.raises(TypeError, match="is neither Weights nor Lexicographic"):
            wrong: Any = preference
            f.place(jobs(1), nodes(0.9), f.Sharing.QUEUED, SMALL, preference=wrong)


def test_what_makes_no_sense_is_refused_by_both() -> None:
    one, two = "01" * 16, "02" * 16
    nan = float("nan")

    def job(id: str = one, **more: Any) -> f.Job:
        return f.Job(id, **NEEDS, **more)

    node = nodes(1.0)[0]
    able: Any = {"cpu_millis_free": 1, "cpu_millis_total": 1, "memory_bytes_free": 1}
    batches: list[tuple[list[f.Job], list[f.Node], str]] = [
        ([job(), job()], [node], "given twice"),
        ([job()], [node, node], "given twice"),
        ([job(min_trust=nan)], [node], "min_trust"),
        ([job(max_latency_ms=-1.0)], [node], "max_latency_ms"),
        ([job()], [f.Node(node.id, **able, availability=1.5)], "availability"),
        ([job()], [f.Node(node.id, **able, error_rate=nan)], "error_rate"),
        ([job()], [f.Node(node.id, **able, speed=-1.0)], "speed"),
        ([job(affinity=[two], anti_affinity=[two]), job(two)], [node], "and on another"),
        ([job(affinity=[two])], [node], "not in the batch"),
        ([job(replicas=0)], [node], "no replicas"),
        ([job(spread=f.Spread("web", f.Domain.ZONE, 0))], [node], "may be anywhere"),
    ]
    for wrong, offered, why in batches:
        for call in (f.place, f.place_what_fits):
            with pytest.raises(f.ProblemError, match=why):
                call(wrong, offered, f.Sharing.QUEUED, SMALL)


def test_the_terms_of_tiers_are_those_of_the_table() -> None:
    terms = f.Tier.SILVER.terms
    assert (terms.replicas, terms.distinct) == (2, (f.Domain.NODE,))
    assert (terms.preemption_notice_ms, terms.price_permille) == (300_000, 2_500)
    assert f.Tier.PLATINUM.terms.preemption_notice_ms is None
