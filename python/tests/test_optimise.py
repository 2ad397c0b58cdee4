"""NSGA-II on problems written in Python, and placement."""

import threading

import pytest

import fogcompute as f
from fogcompute._protocols import Problem as ProblemProtocol

SMALL = f.Nsga2(8, 4)


class Schaffer:
    variables = (f.Real(-10, 10),)
    objective_count = 2

    def evaluate(self, genes: list[float]) -> tuple[tuple[float, float], float]:
        [x] = genes
        return (x * x, (x - 2) ** 2), 0.0


class Failing(Schaffer):
    """Raises an exception at the third evaluation."""

    def __init__(self, exception: BaseException) -> None:
        self.exception = exception
        self.evaluations = 0

    def evaluate(self, genes: list[float]) -> tuple[tuple[float, float], float]:
        self.evaluations += 1
        if self.evaluations == 3:
            raise self.exception
        return super().evaluate(genes)


def test_one_seed_gives_one_front() -> None:
    problem: ProblemProtocol = Schaffer()
    assert f.nsga2(problem, SMALL, seed=5) == f.nsga2(problem, SMALL, seed=5)
    assert f.nsga2(problem, SMALL, seed=5) != f.nsga2(problem, SMALL, seed=6)


def test_the_library_has_defaults() -> None:
    front = f.nsga2(Schaffer())
    assert front.generations == f.Nsga2().generations == 250
    assert front.evaluations == 251 * f.Nsga2().population


def test_genomes_to_start_from_are_evaluated_first() -> None:
    class Recording(Schaffer):
        def __init__(self) -> None:
            self.seen: list[list[float]] = []

        def evaluate(self, genes: list[float]) -> tuple[tuple[float, float], float]:
            self.seen.append(genes)
            return super().evaluate(genes)

    problem = Recording()
    f.nsga2(problem, SMALL, initial=[[1.0], (1.5,)])
    assert problem.seen[:2] == [[1.0], [1.5]]


class Custom(Exception):
    pass


@pytest.mark.parametrize(
    "exception",
    [Custom("mine"), ZeroDivisionError(), KeyboardInterrupt(), SystemExit(3), f.TrapError("x")],
)
def test_what_a_problem_raises_comes_out_unchanged(exception: BaseException) -> None:
    problem = Failing(exception)
    with pytest.raises(type(exception)) as caught:
        f.nsga2(problem, SMALL)
    assert caught.value is exception
    assert problem.evaluations == 3
    frames = [entry.name for entry in caught.traceback]
    assert frames[-1] == "evaluate"


def test_what_its_properties_raise_comes_out_unchanged() -> None:
    exception = Custom("mine")

    class Broken(Schaffer):
        @property
        def objective_count(self) -> int:  # type: ignore[override]
            raise exception

    with pytest.raises(Custom) as caught:
        f.nsga2(Broken(), SMALL)
    assert caught.value is exception


def test_a_wrong_result_says_what_is_right_and_has_its_cause() -> None:
    class Wrong(Schaffer):
        def evaluate(self, genes: list[float]) -> tuple[tuple[float, float], float]:
            return None  # type: ignore[return-value]

    with pytest.raises(TypeError, match=r"evaluate\(\) must return") as caught:
        f.nsga2(Wrong(), SMALL)
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_problem_may_optimise_itself() -> None:
    class Nested(Schaffer):
        def evaluate(self, genes: list[float]) -> tuple[tuple[float, float], float]:
            inner = f.nsga2(Schaffer(), f.Nsga2(4, 1), seed=1)
            return inner.individuals[0].objectives, 0.0  # type: ignore[return-value]

    assert f.nsga2(Nested(), f.Nsga2(4, 1)).evaluations == 8


def test_problems_of_two_threads_wait_for_each_other() -> None:
    # Each run stops in its first evaluation until the other has got there too: that needs the
    # interpreter's lock to be free while a run is on its way.
    meeting = threading.Barrier(2, timeout=60)
    fronts: list[f.Front] = []

    class Meeting(Schaffer):
        def __init__(self) -> None:
            self.met = False

        def evaluate(self, genes: list[float]) -> tuple[tuple[float, float], float]:
            if not self.met:
                meeting.wait()
                self.met = True
            return super().evaluate(genes)

    threads = [
        threading.Thread(target=lambda: fronts.append(f.nsga2(Meeting(), SMALL, seed=1)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fronts[0] == fronts[1]


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
