"""Placement of jobs on nodes."""

import pytest

import fogcompute as f

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
