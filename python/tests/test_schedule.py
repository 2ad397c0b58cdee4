"""Optimisation of problems written in Python, and what is measured and drawn of fronts."""

import copy
import pickle
import signal
import sys
import threading
from collections.abc import Callable, MutableMapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import fogcompute as f
from fogcompute import schedule
from fogcompute.schedule import (
    NSGA2,
    NSGA3,
    SMSEMOA,
    Algorithm,
    ElementwiseProblem,
    Generation,
    Problem,
    Termination,
    minimize,
    reference_directions,
)

SMALL = NSGA2(pop_size=8)
A: Any = schedule  # Without the types, which would not let some calls pass.


class Schaffer(Problem):
    def __init__(self, **changes: Any) -> None:
        super().__init__(**({"n_var": 1, "n_obj": 2, "xl": -10, "xu": 10} | changes))

    def _evaluate(self, X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        x = X[:, 0]
        out["F"] = np.column_stack([x**2, (x - 2) ** 2])


class Custom(Schaffer):
    """Evaluates by a function."""

    def __init__(self, evaluate: Callable[..., Any], **changes: Any) -> None:
        super().__init__(**changes)
        self.evaluate = evaluate

    def _evaluate(self, X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        self.evaluate(X, out)


class Constrained(Problem):
    """Minimise x and y where x + y is at least 1 and x at most 0.8."""

    def __init__(self) -> None:
        super().__init__(n_var=2, n_obj=2, n_constr=2)
        self.rows = 0

    def _evaluate(self, X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        self.rows += len(X)
        out["F"] = X
        out["G"] = np.column_stack([1 - X.sum(axis=1), X[:, 0] - 0.8])


def three(X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
    """A simplex of three objectives."""
    a, b = X[:, 0], X[:, 1]
    out["F"] = np.column_stack([a * b, a * (1 - b), 1 - a])


ALGORITHMS = [
    NSGA2(pop_size=20),
    NSGA3(reference_directions(2, 19)),
    NSGA3(reference_directions(2, 20), pop_size=20),
    SMSEMOA(pop_size=20),
]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: type(algorithm).__name__)
def test_every_algorithm_finds_the_front_again(algorithm: Algorithm) -> None:
    result = minimize(Schaffer(), algorithm, ("n_gen", 40), seed=5)
    assert (result.n_gen, result.n_eval, result.ended) == (40, 41 * 20, "generations")
    assert result.X.dtype == np.float64 and result.X.shape == (len(result.F), 1)
    assert (result.X > -0.1).all() and (result.X < 2.1).all()
    assert not schedule.non_dominated_sort(result.F).any()
    again = minimize(Schaffer(), algorithm, ("n_gen", 40), seed=5)
    assert (again.X == result.X).all() and (again.F == result.F).all()
    other = minimize(Schaffer(), algorithm, ("n_gen", 40), seed=6)
    assert not np.array_equal(other.X, result.X)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda algorithm: type(algorithm).__name__)
def test_a_search_goes_on_from_its_state(algorithm: Algorithm) -> None:
    whole = minimize(Constrained(), algorithm, 12, seed=3)
    half = minimize(Constrained(), algorithm, 5, seed=3)
    rest = minimize(Constrained(), algorithm, 12, resume=half.state)
    assert rest.state == whole.state
    assert (rest.X == whole.X).all() and (rest.G == whole.G).all()


def test_the_algorithm_and_its_end_have_defaults() -> None:
    result = minimize(Schaffer())
    assert (result.n_gen, result.n_eval) == (250, 251 * NSGA2().pop_size)


def test_genomes_to_start_from_are_evaluated_first_and_arrays_are_kept() -> None:
    seen: list[NDArray[Any]] = []

    def record(X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        seen.append(X)
        out["F"] = np.column_stack([X, -X])

    minimize(Custom(record), SMALL, 3, initial=[[1.0], [1.5]])
    assert [X.shape for X in seen] == [(8, 1)] * 4
    assert seen[0][:2].tolist() == [[1.0], [1.5]]
    assert len({X.tobytes() for X in seen}) == 4


def test_what_a_problem_does_to_its_array_changes_nothing() -> None:
    def spoil(X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        Schaffer._evaluate(Schaffer(), X, out)
        X[:] = 1e300

    ours, theirs = minimize(Schaffer(), SMALL, 5), minimize(Custom(spoil), SMALL, 5)
    assert (ours.X == theirs.X).all()


def test_constraints_are_met_and_come_with_the_result() -> None:
    problem = Constrained()
    result = minimize(problem, NSGA2(pop_size=40), 80, seed=2)
    assert result.G.shape == (len(result.X), 2)
    assert (result.G <= 0).all() and (result.CV == 0).all()
    assert np.allclose(result.G[:, 0], 1 - result.X.sum(axis=1))
    assert (result.X.sum(axis=1) < 1.1).all()
    # What the constraints were is remembered, not evaluated again.
    assert problem.rows == result.n_eval


def test_without_a_feasible_solution_the_least_violation_comes_back() -> None:
    def never(X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        out["F"], out["G"] = X, 11 + X

    result = minimize(Custom(never, n_obj=1, n_constr=1), SMALL, 30)
    assert 1.0 <= result.CV[0] < 1.1
    assert result.G.tolist() == [[result.CV[0]]]


def test_each_kind_of_variable_has_its_array() -> None:
    kinds: list[tuple[Any, dict[str, Any], str]] = [
        (float, {}, "float64"),
        (int, {"xl": -3, "xu": 3}, "int64"),
        (bool, {}, "bool"),
        ("choice", {"xl": 0, "xu": 6}, "int64"),
        ("permutation", {}, "int64"),
        ([float, int, bool], {"xl": [0, -3, 0], "xu": [1, 3, 1]}, "float64"),
    ]
    for vtype, bounds, dtype in kinds:
        seen: list[NDArray[Any]] = []

        def record(
            X: NDArray[Any], out: MutableMapping[str, Any], seen: list[NDArray[Any]] = seen
        ) -> None:
            seen.append(X)
            out["F"] = (X * [1, 2, 3]).sum(axis=1)

        problem = Custom(record, n_var=3, n_obj=1, vtype=vtype, **bounds)
        result = minimize(problem, SMALL, 20)
        assert {X.dtype.name for X in [*seen, result.X]} == {dtype}
        assert result.F.shape == (1, 1)
        if vtype == "permutation":
            assert all((np.sort(X, axis=1) == [0, 1, 2]).all() for X in seen)
            assert result.X.tolist() == [[2, 1, 0]]
        elif vtype is int:
            assert {int(gene) for X in seen for gene in X.flat} <= set(range(-3, 4))
            assert result.X.tolist() == [[-3, -3, -3]]
        elif vtype is bool:
            # Bits were False throughout: the only choice of one thing.
            assert {bool(gene) for X in seen for gene in X.flat} == {False, True}
        elif isinstance(vtype, list):
            assert {float(gene) for X in seen for gene in X[:, 2]} == {0.0, 1.0}


def test_bits_choose_what_is_worth_most_of_what_may_be_carried() -> None:
    weights, values = np.array([3, 4, 5, 9, 4]), np.array([3, 4, 4, 10, 4])

    def carry(X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        out["F"], out["G"] = -(X @ values), X @ weights - 11

    knapsack = Custom(carry, n_var=5, n_obj=1, n_constr=1, vtype=bool)
    result = minimize(knapsack, NSGA2(pop_size=20), 40, seed=1)
    assert {tuple(row) for row in result.X.astype(int).tolist()} == {(1, 1, 0, 0, 1)}
    result = minimize(schedule.from_pymoo(LikePymoo(vtype=bool)), SMALL, 20)
    assert {tuple(row) for row in result.X.tolist()} == {(False, True)}


def test_a_problem_may_be_of_single_solutions() -> None:
    class One(ElementwiseProblem):
        def _evaluate(self, X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
            assert X.shape == (2,)
            out["F"], out["G"] = [X[0], X[1]], 1 - X[0] - X[1]

    class Whole(Problem):
        def _evaluate(self, X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
            out["F"], out["G"] = X, 1 - X[:, 0] - X[:, 1]

    size: dict[str, Any] = {"n_var": 2, "n_obj": 2, "n_constr": 1}
    one, whole = minimize(One(**size), SMALL, 9), minimize(Whole(**size), SMALL, 9)
    assert (one.F == whole.F).all() and (one.G == whole.G).all()


class Mine(Exception):
    pass


@pytest.mark.parametrize(
    "exception",
    [Mine("mine"), ZeroDivisionError(), KeyboardInterrupt(), SystemExit(3), f.TrapError("x")],
)
@pytest.mark.parametrize("where", ["problem", "callback", "progress"])
def test_what_is_raised_comes_out_unchanged(exception: BaseException, where: str) -> None:
    calls = 0

    def fail(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise exception

    class Bar:
        update = staticmethod(fail)

        def close(self) -> None: ...

    def evaluate(X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        if where == "problem":
            fail()
        out["F"] = np.column_stack([X, -X])

    with pytest.raises(type(exception)) as caught:
        minimize(
            Custom(evaluate),
            SMALL,
            callback=fail if where == "callback" else None,
            progress=(lambda total: Bar()) if where == "progress" else None,
        )
    assert caught.value is exception
    assert calls == 3
    assert caught.traceback[-1].name == "fail"


def test_what_an_attribute_raises_comes_out_unchanged() -> None:
    class Broken(Schaffer):
        @property
        def n_obj(self) -> int:
            raise Mine("mine")

        @n_obj.setter
        def n_obj(self, value: int) -> None: ...

    with pytest.raises(Mine):
        minimize(Broken(), SMALL)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_ctrl_c_ends_a_search() -> None:
    def interrupt(X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        out["F"] = np.column_stack([X, -X])
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        minimize(Custom(interrupt), SMALL)


def test_a_problem_may_optimise_itself() -> None:
    def nested(X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        out["F"] = np.tile(minimize(Schaffer(), SMALL, 1, seed=1).F[0], (len(X), 1))

    assert minimize(Custom(nested), SMALL, 1).n_eval == 16


def test_searches_of_two_threads_wait_for_each_other() -> None:
    # Each stops in its first evaluation until the other has got there too: that needs the
    # interpreter's lock to be free while a search is on its way.
    meeting = threading.Barrier(2, timeout=60)
    fronts: list[NDArray[Any]] = []

    def search() -> None:
        has_met = False

        def meet(X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
            nonlocal has_met
            if not has_met:
                meeting.wait()
                has_met = True
            Schaffer._evaluate(Schaffer(), X, out)

        fronts.append(minimize(Custom(meet), SMALL, 4, seed=1).F)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (fronts[0] == fronts[1]).all()


# --- Generations


def test_a_callback_sees_each_population_and_ends_the_search() -> None:
    seen: list[Generation] = []

    def stop(generation: Generation) -> bool:
        seen.append(generation)
        return generation.n_gen == 4

    result = minimize(Constrained(), SMALL, 99, seed=1, callback=stop)
    assert (result.ended, result.n_gen) == ("callback", 4)
    assert [(each.n_gen, each.n_eval) for each in seen] == [(n, 8 * n + 8) for n in range(5)]
    for each in seen:
        assert (each.X.shape, each.F.shape, each.CV.shape) == ((8, 2), (8, 2), (8,))
    rows = {tuple(row) for row in result.X.tolist()}
    assert rows <= {tuple(row) for row in seen[-1].X.tolist()}
    # The last can still be saved, the others are over.
    assert seen[-1].state() == result.state
    with pytest.raises(f.ClosedError, match="generation 0 is over"):
        seen[0].state()


def test_a_comparison_of_arrays_ends_the_search_as_true_does() -> None:
    # NumPy's own True was not taken for one, and the search went on for ever.
    def near(generation: Generation) -> Any:
        return generation.F.min() < 1.0

    assert minimize(Schaffer(), SMALL, 999, seed=1, callback=near).ended == "callback"
    answers: Any = iter([np.False_, np.ones(3), "True", 1])
    assert minimize(Schaffer(), SMALL, 3, callback=lambda _: next(answers)).n_gen == 3


def test_a_history_holds_every_population() -> None:
    result = minimize(Schaffer(), SMALL, 6, save_history=True)
    assert [each.n_gen for each in result.history] == list(range(7))
    assert minimize(Schaffer(), SMALL, 6).history == []


def test_a_result_with_its_history_is_pickled_and_copied() -> None:
    # The search in each generation could not be, and so neither could the whole.
    result = minimize(Schaffer(), SMALL, 3, save_history=True)
    for again in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result)):
        assert (again.F == result.F).all() and again.state == result.state
        assert [each.n_eval for each in again.history] == [8, 16, 24, 32]
        assert (again.history[3].X == result.history[3].X).all()
        with pytest.raises(f.ClosedError, match="a copy of generation 3"):
            again.history[3].state()
    assert result.history[3].state() == result.state


def test_a_problem_that_asks_for_the_state_is_told_that_it_is_late() -> None:
    kept: list[Generation] = []

    def ask(X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        if kept:
            # It was PyO3's own word for a search that is at work.
            with pytest.raises(f.ClosedError, match="generation 0 is over"):
                kept[0].state()
        out["F"] = np.column_stack([X, -X])

    assert minimize(Custom(ask), SMALL, 2, callback=kept.append).n_gen == 2
    assert len(kept) == 3


def test_algorithms_are_equal_if_all_of_them_is() -> None:
    assert NSGA2(pop_size=8) == SMALL and hash(NSGA2(pop_size=8)) == hash(SMALL)
    other: Algorithm = SMSEMOA(pop_size=8)
    assert NSGA2(pop_size=10) != SMALL and other != SMALL
    assert SMALL != NSGA2(pop_size=8, mutation_eta=1.0)
    # They were equal whatever their directions were.
    assert NSGA3(reference_directions(2, 3)) != NSGA3(reference_directions(3, 5))


def test_a_bar_is_told_of_each_generation_and_closed() -> None:
    told: list[object] = []

    class Bar:
        def __init__(self, total: int | None) -> None:
            told.append(total)

        def update(self, n: int) -> None:
            told.append(n)

        def close(self) -> None:
            told.append("closed")

    minimize(Schaffer(), SMALL, 3, progress=Bar)
    assert told == [3, 1, 1, 1, "closed"]
    told.clear()
    minimize(Schaffer(), SMALL, ("n_eval", 16), progress=Bar)
    assert told == [None, 1, "closed"]


def test_a_search_ends_where_it_was_told_to() -> None:
    ends: list[tuple[Any, str, int]] = [
        (7, "generations", 7),
        (("n_gen", 7), "generations", 7),
        (("n_eval", 35), "evaluations", 3),
        (np.int64(7), "generations", 7),
        (("n_gen", np.int32(7)), "generations", 7),
        (("n_eval", np.uint64(35)), "evaluations", 3),
        (("time", np.float32(0)), "seconds", 0),
        (("time", 0), "seconds", 0),
        (("time", "0:00:00"), "seconds", 0),
        (Termination(n_gen=9, n_eval=24), "evaluations", 2),
        (Termination(seconds=0.0), "seconds", 0),
    ]
    for termination, ended, n_gen in ends:
        result = minimize(Schaffer(), SMALL, termination)
        assert (result.ended, result.n_gen) == (ended, n_gen)
    idle = minimize(Schaffer(), SMALL, Termination(stagnation=5, tolerance=0.05))
    assert idle.ended == "stagnation"
    assert 0 < idle.n_gen < 1000


# --- Bad input


def wrong(F: Any, **changes: Any) -> Callable[[], object]:
    def evaluate(X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        out["F"] = F(X) if callable(F) else F

    return lambda: minimize(Custom(evaluate, **changes), SMALL, 2)


def constrained(G: Any) -> Callable[[], object]:
    def evaluate(X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        out["F"], out["G"] = np.column_stack([X, -X]), G

    return lambda: minimize(Custom(evaluate, n_constr=1), SMALL, 2)


def unasked(name: str) -> Callable[[], object]:
    """Constraints of a problem that has said of none: they were taken for met."""

    def evaluate(X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        out["F"], out[name] = np.column_stack([X, -X]), X + 99

    return lambda: minimize(Custom(evaluate), SMALL, 2)


REFUSED: list[tuple[type[Exception], str, Callable[[], object]]] = [
    (f.ArgumentError, r"shape \(8, 3\) into out\[.F.\], expected \(8, 2\)", wrong(np.ones((8, 3)))),
    (f.ArgumentError, r"shape \(2, 8\)", wrong(np.ones((2, 8)))),
    (f.ArgumentError, r"shape \(7, 2\)", wrong(np.ones((7, 2)))),
    (f.ArgumentError, r"shape \(8,\)", wrong(np.ones(8))),
    (f.ArgumentError, r"shape \(\)", wrong(1.0)),
    (f.ArgumentError, "without a value", wrong(None)),
    (
        f.ArgumentError,
        r"shape \(8, 2\) into out\[.G.\], expected \(8, 1\)",
        constrained(np.ones((8, 2))),
    ),
    (f.ArgumentError, r"shape \(8, 1\) into out\[.G.\], expected \(8, 0\)", unasked("G")),
    (f.ArgumentError, r"out\[.H.\] is not read", unasked("H")),
    (TypeError, "no array of numbers", wrong("text")),
    (TypeError, "no array of numbers", wrong([[1.0], [1.0, 2.0]])),
    (TypeError, "no array of numbers", wrong(lambda X: np.full((8, 2), object()))),
    (TypeError, "no array of numbers", wrong(lambda X: np.full((8, 2), 1j))),
    (TypeError, "no array of numbers", wrong(np.ma.masked_less(np.zeros((8, 2)), 1))),
    (TypeError, "complex", lambda: schedule.spacing(np.eye(2) * 1j)),
    (
        f.NotFiniteError,
        "objective 1 was evaluated to NaN",
        wrong(lambda X: np.column_stack([X, X * np.nan])),
    ),
    (f.NotFiniteError, "objective 0 was evaluated to inf", wrong(np.full((8, 2), np.inf))),
    (f.NotFiniteError, "violation was evaluated to NaN", constrained(np.full(8, np.nan))),
    (f.ProblemError, "above upper", lambda: minimize(Schaffer(xl=1, xu=0), SMALL)),
    (f.ProblemError, "above upper", lambda: minimize(Schaffer(xl=1, xu=0, vtype=int), SMALL)),
    (f.ProblemError, "not finite", lambda: minimize(Schaffer(xu=np.inf), SMALL)),
    (f.ProblemError, "not finite", lambda: minimize(Schaffer(xl=np.nan), SMALL)),
    (f.ProblemError, r"2\^53", lambda: minimize(Schaffer(xu=2.0**60, vtype=int), SMALL)),
    (f.ProblemError, "no variables", lambda: minimize(Schaffer(n_var=0), SMALL)),
    (
        f.ProblemError,
        "no variables",
        lambda: minimize(Schaffer(n_var=0, vtype="permutation"), SMALL),
    ),
    (f.ProblemError, "no objectives", lambda: minimize(Schaffer(n_obj=0), SMALL)),
    (f.ProblemError, "objectives", lambda: minimize(Schaffer(n_obj=2**31), SMALL)),
    (
        f.ProblemError,
        "genes",
        lambda: minimize(Schaffer(n_var=2**32 - 1, vtype="permutation"), SMALL),
    ),
    (f.ProblemError, "8 genomes of 4294967295", lambda: minimize(Schaffer(n_var=2**32 - 1), SMALL)),
    (f.ProblemError, "at most 5", lambda: minimize(Schaffer(n_obj=6), SMSEMOA())),
    (f.ProblemError, "is odd", lambda: minimize(Schaffer(), NSGA2(pop_size=5))),
    (f.ProblemError, "population 0", lambda: minimize(Schaffer(), NSGA2(pop_size=0))),
    (f.ProblemError, "probability", lambda: minimize(Schaffer(), NSGA2(crossover_probability=1.5))),
    (
        f.ProblemError,
        "mutation_eta",
        lambda: minimize(Schaffer(), NSGA2(mutation_eta=float("nan"))),
    ),
    (f.ProblemError, "direction 0 has 3", lambda: minimize(Schaffer(), NSGA3(np.eye(3)))),
    (f.ProblemError, "stagnation", lambda: minimize(Schaffer(), SMALL, Termination(stagnation=0))),
    (f.ProblemError, "seed 0 has 2 genes", lambda: minimize(Schaffer(), SMALL, initial=[[1, 2]])),
    (f.ProblemError, "seed", lambda: minimize(Schaffer(), SMALL, initial=[[11]])),
    (f.ProblemError, "9 seeds", lambda: minimize(Schaffer(), SMALL, initial=[[1]] * 9)),
    (f.ProblemError, "no saved search", lambda: minimize(Schaffer(), SMALL, resume=b"{}")),
    (
        f.ProblemError,
        "genes holds",
        lambda: minimize(Schaffer(n_var=2), SMALL, resume=minimize(Schaffer(), SMALL, 1).state),
    ),
    (f.ArgumentError, "initial has shape", lambda: minimize(Schaffer(), SMALL, initial=[1.0])),
    (f.ArgumentError, "ref_dirs has shape", lambda: minimize(Schaffer(), NSGA3([1.0, 2.0]))),
    (
        f.ArgumentError,
        r"xl has shape \(3,\), expected \(1,\)",
        lambda: minimize(Schaffer(xl=[1, 2, 3]), SMALL),
    ),
    (f.ArgumentError, "not whole", lambda: minimize(Schaffer(xu=1.5, vtype=int), SMALL)),
    (f.ArgumentError, "not whole", lambda: minimize(Schaffer(xu=np.nan, vtype=int), SMALL)),
    (f.ArgumentError, "is a choice", lambda: minimize(Schaffer(vtype="choice"), SMALL)),
    (f.ArgumentError, "vtype has 2", lambda: minimize(Schaffer(vtype=[int, float]), SMALL)),
    (f.ArgumentError, "vtype of variable 0", lambda: minimize(Schaffer(vtype=complex), SMALL)),
    (
        f.ArgumentError,
        "all variables",
        lambda: minimize(Schaffer(n_var=2, vtype=[int, "permutation"]), SMALL),
    ),
    (f.ArgumentError, "n_var is -1", lambda: minimize(Schaffer(n_var=-1), SMALL)),
    (f.ArgumentError, "termination is", lambda: minimize(Schaffer(), SMALL, ("n_gem", 5))),
    (f.ArgumentError, "termination is", lambda: minimize(Schaffer(), SMALL, ("time", "soon"))),
    (f.ArgumentError, "after nan seconds", lambda: minimize(Schaffer(), SMALL, ("time", np.nan))),
    (
        f.ArgumentError,
        "after -1 seconds",
        lambda: minimize(Schaffer(), SMALL, Termination(seconds=-1)),
    ),
    (f.ArgumentError, "outside", lambda: minimize(Schaffer(), SMALL, -1)),
    (f.ArgumentError, "outside", lambda: minimize(Schaffer(), SMALL, seed=-1)),
    (f.ArgumentError, "outside", lambda: minimize(Schaffer(), NSGA2(pop_size=2**32))),
    (TypeError, "n_obj is 2.0", lambda: minimize(Schaffer(n_obj=2.0), SMALL)),
    (TypeError, "algorithm is", lambda: A.minimize(Schaffer(), Algorithm())),
    (AttributeError, "n_var", lambda: minimize(object(), SMALL)),
    (NotImplementedError, "_evaluate", lambda: minimize(Problem(1, 1), SMALL)),
    (f.ArgumentError, "F has shape", lambda: schedule.hypervolume([1.0], [1.0])),
    (f.ArgumentError, "expected 2 columns", lambda: schedule.hypervolume([[1.0]], [1.0, 1.0])),
    (f.ArgumentError, "at most 5", lambda: schedule.hypervolume(np.zeros((1, 6)), np.ones(6))),
    (f.ArgumentError, "not a number", lambda: schedule.hypervolume([[np.nan, 1]], [1, 1])),
    (f.ArgumentError, "is inf", lambda: schedule.igd([[np.inf, 1]], [[1, 1]])),
    (f.ArgumentError, "0 points", lambda: schedule.igd([[1, 1]], np.empty((0, 2)))),
    (f.ArgumentError, "expected 2 columns", lambda: schedule.igd_plus([[1, 1]], [[1, 1, 1]])),
    (f.ArgumentError, "at least 2", lambda: schedule.spacing([[1, 1]])),
    (f.ArgumentError, "not a number", lambda: schedule.non_dominated_sort([[np.nan]])),
    (f.ArgumentError, "no objectives", lambda: schedule.non_dominated_sort(np.empty((2, 0)))),
    (f.ArgumentError, "objectives", lambda: reference_directions(0, 3)),
    (f.ArgumentError, "more than", lambda: reference_directions(20, 20)),
]


@pytest.mark.parametrize(("error", "text", "call"), REFUSED, ids=lambda item: None)
def test_bad_input_has_its_error(
    error: type[Exception], text: str, call: Callable[[], object]
) -> None:
    with pytest.raises(error, match=text) as caught:
        call()
    assert type(caught.value) is error


# --- Measuring


def test_ranks_are_those_of_fronts() -> None:
    F = [[1, 2], [2, 1], [2, 2], [3, 3], [1, 2]]
    ranks = schedule.non_dominated_sort(F)
    assert (ranks.dtype.name, ranks.tolist()) == ("uint32", [0, 0, 1, 2, 0])
    assert schedule.non_dominated_sort(np.empty((0, 2))).tolist() == []


def test_indicators_are_those_of_the_definitions() -> None:
    front = np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]])
    assert schedule.hypervolume(front, [2, 2]) == 3.25
    # Any layout and type of array will do.
    assert schedule.hypervolume(np.asfortranarray(front[::-1] * 4).astype(np.int32), [8, 8]) == 52
    assert schedule.igd([[0, 1]], [[0, 1], [3, 5]]) == 2.5
    assert schedule.igd_plus([[0, 1]], [[0, 1], [3, 5]]) == 0
    assert schedule.spacing(front) == 0
    assert schedule.spread(front, front[[0, 2]]) == 0
    directions = reference_directions(3, 12)
    assert directions.shape == (91, 3)
    assert np.allclose(directions.sum(axis=1), 1)


# --- pymoo


class LikePymoo:
    """Has the attributes and the method of pymoo's `Problem` that the adapter reads."""

    n_var, n_obj, n_ieq_constr, n_eq_constr = 2, 2, 1, 1
    xl, xu, vars = np.zeros(2), np.ones(2), None

    def __init__(self, vtype: type[float | bool] = float) -> None:
        self.vtype = vtype

    def evaluate(self, X: NDArray[Any], return_as_dictionary: bool = False) -> dict[str, Any]:
        assert return_as_dictionary
        # At most 0.7 of the first, and both together 1 or nearly so.
        X = X.astype(float)
        return {"F": X, "G": X[:, :1] - 0.7, "H": X.sum(axis=1, keepdims=True) - 1}


def test_a_problem_of_pymoo_is_run_with_its_constraints() -> None:
    result = minimize(schedule.from_pymoo(LikePymoo()), NSGA2(pop_size=40), 300, seed=1)
    assert result.G.shape[1] == 2
    assert (result.CV == 0).all()
    assert (np.abs(result.X.sum(axis=1) - 1) <= 1e-4).all()
    with pytest.raises(f.ArgumentError, match="dictionary"):
        mixed = LikePymoo()
        mixed.vars = {"x": 1}  # type: ignore[assignment]
        schedule.from_pymoo(mixed)


def test_pymoo_itself_agrees() -> None:
    pymoo = pytest.importorskip("pymoo.problems", exc_type=ImportError)
    core = pytest.importorskip("pymoo.core.problem", exc_type=ImportError)

    zdt1 = schedule.from_pymoo(pymoo.get_problem("zdt1"))
    result = minimize(zdt1, NSGA2(), ("n_gen", 250), seed=1)
    assert 0.868 < schedule.hypervolume(result.F, [1.1, 1.1]) < 0.8762
    bnh = minimize(schedule.from_pymoo(pymoo.get_problem("bnh")), NSGA2(pop_size=20), 20)
    assert bnh.G.shape[1] == 2 and (bnh.G <= 0).all()

    class One(core.ElementwiseProblem):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(n_var=3, n_obj=1, n_ieq_constr=1, xl=-5, xu=5, vtype=int)

        def _evaluate(self, x: Any, out: Any, *args: Any, **kwargs: Any) -> None:
            assert x.dtype == np.int64
            out["F"], out["G"] = (x**2).sum(), 2 - x.sum()

    one = minimize(schedule.from_pymoo(One()), NSGA2(pop_size=20), 30, seed=1)
    assert (one.F.tolist(), one.CV.tolist()) == ([[2.0]] * len(one.F), [0.0] * len(one.F))


# --- Drawing


@pytest.fixture
def drawing() -> Any:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    yield pyplot
    pyplot.close("all")


def test_everything_is_drawn(drawing: Any, tmp_path: Any) -> None:
    two = minimize(Schaffer(), SMALL, 5, save_history=True)
    front: Any = two.plot()
    assert front.collections[0].get_offsets().tolist() == two.F.tolist()
    assert (front.get_xlabel(), front.get_ylabel()) == ("f1", "f2")
    named = two.plot(names=["cost", "time"], ax=drawing.subplots()[1])
    assert (named.get_xlabel(), named.get_ylabel()) == ("cost", "time")
    simplex = Custom(three, n_var=2, n_obj=3, xl=0, xu=1)
    solid = minimize(simplex, NSGA3(reference_directions(3, 5)), 5).plot()
    assert solid.name == "3d"
    lines = A.plot([[1, 2, 3, 4], [2, 2, 1, 0]], "parallel", names=list("abcd")).lines
    assert [line.get_ydata().tolist() for line in lines] == [[0, 0.5, 1, 1], [1, 0.5, 0, 0]]
    [line] = A.plot(two, "convergence").lines
    assert len(line.get_xdata()) == 6
    assert max(line.get_ydata()) == line.get_ydata()[-1] > 0
    spans = [("n1", "a", 0.0, 2.0), ("n2", "b", 0.0, 1.0), ("n1", "c", 2.0, 3.0)]
    gantt = A.plot(spans, "gantt")
    bars = [(bar.get_x(), bar.get_width()) for bar in gantt.patches]
    assert bars == [(0.0, 2.0), (0.0, 1.0), (2.0, 1.0)]
    assert [label.get_text() for label in gantt.get_yticklabels()] == ["n1", "n2"]
    _, ax = drawing.subplots()
    assert schedule.plot(two, ax=ax) is ax
    front.figure.savefig(tmp_path / "front.svg")
    assert (tmp_path / "front.svg").stat().st_size > 0


def test_what_cannot_be_drawn_is_refused(drawing: Any) -> None:
    result = minimize(Schaffer(), SMALL, 1)
    for call in (
        lambda: schedule.plot([[1, 2, 3, 4]]),
        lambda: schedule.plot(np.empty((0, 2))),
        lambda: schedule.plot(result, "convergence"),
        lambda: schedule.plot(result, names=["one"]),
        lambda: A.plot(result, "pie"),
        lambda: schedule.plot([("n", "a", 2.0, 1.0)], "gantt"),
        lambda: schedule.plot([("n", "a", 2.0, np.inf)], "gantt"),
        lambda: A.plot([("n", "a", "now", "then")], "gantt"),
        lambda: A.plot([("n", "a")], "gantt"),
        lambda: A.plot(result, "gantt"),
        lambda: schedule.plot([[1, np.nan]]),
        lambda: schedule.plot([[1, np.inf]], "parallel"),
        lambda: schedule.plot([[1, 2, 3]], ax=drawing.subplots()[1]),
    ):
        with pytest.raises(f.ArgumentError):
            call()


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"fogcompute\[plot\]"):
        schedule.plot([[1.0, 2.0]])
