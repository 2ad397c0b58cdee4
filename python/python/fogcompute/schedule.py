"""Optimisation of many objectives at once: whatever has variables, objectives and constraints.

- `minimize`: finds the solutions of a `Problem` that no other beats in every objective.
- `NSGA2`, `NSGA3`, `SMSEMOA`: the algorithms. `reference_directions` are for the second.
- `from_pymoo`: runs problems that were written for pymoo.
- `hypervolume`, `igd`, `igd_plus`, `spacing`, `spread`, `non_dominated_sort`: how good fronts are.
- `plot`: fronts, parallel coordinates, convergence, and Gantt charts.

```python
import numpy as np
from fogcompute.schedule import NSGA2, Problem, minimize

class Schaffer(Problem):
    def __init__(self):
        super().__init__(n_var=1, n_obj=2, xl=-10, xu=10)

    def _evaluate(self, X, out):
        out["F"] = np.column_stack([X[:, 0] ** 2, (X[:, 0] - 2) ** 2])

result = minimize(Schaffer(), NSGA2(pop_size=40), ("n_gen", 80), seed=1)
print(result.X, result.F)
```

Whoever knows pymoo knows most of this. What differs: all results are two-dimensional, `X` included;
`n_gen` counts the generations after the first population; and a problem without a feasible solution
gives the solutions of the least violation, with their `CV`.

It needs NumPy (`pip install "fogcompute[schedule]"`) and `plot` Matplotlib (`fogcompute[plot]`).
"""

import operator
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias, cast

try:
    import numpy as np
except ModuleNotFoundError as _missing:
    raise ImportError(
        'fogcompute.schedule needs NumPy: pip install "fogcompute[schedule]"'
    ) from _missing

from ._native import (
    _GENES_MAX,
    ArgumentError,
    ClosedError,
    ProblemError,
    _directions,
    _hypervolume,
    _igd,
    _igd_plus,
    _ranks,
    _Search,
    _spacing,
    _spread,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Buffer

__all__ = [
    "NSGA2",
    "NSGA3",
    "SMSEMOA",
    "Algorithm",
    "ElementwiseProblem",
    "Generation",
    "Problem",
    "Progress",
    "Result",
    "Termination",
    "from_pymoo",
    "hypervolume",
    "igd",
    "igd_plus",
    "minimize",
    "non_dominated_sort",
    "plot",
    "reference_directions",
    "spacing",
    "spread",
]

Kind: TypeAlias = type[float] | type[int] | type[bool] | Literal["choice", "permutation"]
"""What a variable is; `"choice"` is one of several things without an order, by its index."""

_KINDS: Final[dict[Any, str]] = {float: "real", int: "integer", bool: "choice", "choice": "choice"}
_GENERATIONS_MAX: Final = 2**32 - 1


class Problem:
    """What `minimize` optimises: variables in, objectives out, all of them minimised.

    A class of your own derives from it and has `_evaluate`. `minimize` reads nothing but the
    attributes, so one that only has these will do as well.
    """

    def __init__(
        self,
        n_var: int,
        n_obj: int,
        n_constr: int = 0,
        xl: "ArrayLike" = 0.0,
        xu: "ArrayLike" = 1.0,
        vtype: Kind | Sequence[Kind] = float,
    ) -> None:
        """`n_var` variables from `xl` to `xu`, both inclusive, `n_obj` objectives, `n_constr`
        constraints.

        Bounds are one number or one for each variable. `vtype` is what all variables are, or a list
        of what each is: `float`, `int`, `bool`, `"choice"` (one of `xu` + 1 things without an
        order, by its index) or, for all of them, `"permutation"` (an order of `n_var` things).
        """
        self.n_var = n_var
        self.n_obj = n_obj
        self.n_constr = n_constr
        self.xl = xl
        self.xu = xu
        self.vtype = vtype

    def _evaluate(self, X: "NDArray[Any]", out: MutableMapping[str, Any]) -> None:
        """Puts into `out["F"]` the objectives of the rows of `X`, a row for each.

        With constraints, `out["G"]` has a row for each too: a constraint is met where it is at most
        0. `X` is a generation at once, `float64`; if all variables are whole numbers it is `int64`,
        if all are `bool` it is `bool`. It is yours to keep and to write to. What this raises stops
        the search and comes out of `minimize` unchanged.
        """
        raise NotImplementedError(f"{type(self).__name__} has no _evaluate()")


class ElementwiseProblem(Problem):
    """A problem whose `_evaluate` gets one solution and not a generation: easier, and slower."""


class _Pymoo(Problem):
    """A problem of pymoo in this module's terms."""

    def __init__(self, problem: Any) -> None:
        kind = getattr(problem, "vtype", float)
        if getattr(problem, "vars", None):
            raise ArgumentError("problems of pymoo with a dictionary of variables are not run")
        super().__init__(
            n_var=problem.n_var,
            n_obj=problem.n_obj,
            n_constr=problem.n_ieq_constr + problem.n_eq_constr,
            xl=0 if problem.xl is None else problem.xl,
            xu=1 if problem.xu is None else problem.xu,
            vtype=kind if kind in (int, bool) else float,
        )
        self.problem = problem

    def _evaluate(self, X: "NDArray[Any]", out: MutableMapping[str, Any]) -> None:
        found = self.problem.evaluate(X, return_as_dictionary=True)
        out["F"] = found["F"]
        # An equation is met as pymoo means it: to within 1e-4.
        constraints = [found.get("G"), found.get("H")]
        if constraints[1] is not None:
            constraints[1] = np.abs(constraints[1]) - 1e-4
        present = [np.asarray(given) for given in constraints if given is not None]
        out["G"] = np.column_stack(present) if present else np.empty((len(X), 0))


def from_pymoo(problem: Any) -> Problem:
    """A problem of pymoo, as one for `minimize`.

    It may be a `Problem`, an `ElementwiseProblem` or a `FunctionalProblem`, of `float`, `int` or
    `bool`. Its equations are constraints that are met to within 1e-4, as in pymoo. Its `runner`
    is used.
    """
    return _Pymoo(problem)


# Whoever adds fields compares them: what is compared here would be all that `NSGA3` compares.
@dataclass(frozen=True, kw_only=True, eq=False)
class Algorithm:
    """What all algorithms have in common."""

    crossover_probability: float = 0.9
    """Probability that a pair of parents is recombined."""
    crossover_eta: float = 15.0
    """Distribution index of simulated binary crossover: larger keeps children nearer to parents."""
    mutation_probability: float | None = None
    """Probability that a gene mutates; of a permutation, that a child does.

    `None` is one change in each child on average.
    """
    mutation_eta: float = 20.0
    """Distribution index of polynomial mutation: larger makes smaller steps."""


@dataclass(frozen=True)
class NSGA2(Algorithm):
    """NSGA-II: who has distant neighbours survives. Good for two objectives."""

    pop_size: int = 100
    """Individuals kept from one generation to the next: even, 4 to 65,536."""


@dataclass(frozen=True, eq=False)
class NSGA3(Algorithm):
    """NSGA-III: who is near a direction with few others survives. For three objectives or more."""

    ref_dirs: "ArrayLike"
    """A row for each direction, as of `reference_directions`."""
    pop_size: int | None = None
    """Individuals kept from one generation to the next; `None` is one for each direction."""


@dataclass(frozen=True)
class SMSEMOA(Algorithm):
    """SMS-EMOA with whole generations: who adds hypervolume survives. For up to five objectives.

    The population is an archive of the best by that measure. It takes longer than the others, and
    is for problems whose evaluation takes longer still.
    """

    pop_size: int = 100
    """Individuals kept from one generation to the next: even, 4 to 65,536."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """When a search ends: at whichever of these comes first."""

    n_gen: int | None = None
    """After so many generations that follow the first population; `None` is no such limit."""
    n_eval: int | None = None
    """Before the generation that would take it beyond so many evaluations."""
    seconds: float | None = None
    """After the generation in which so much time has passed."""
    stagnation: int | None = None
    """After so many generations in which the hypervolume has not grown by `tolerance`."""
    tolerance: float = 1e-4
    """Share by which the hypervolume must grow to count as progress."""


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """A population between two generations."""

    n_gen: int
    """Generations made; 0 is the first population."""
    n_eval: int
    """Evaluations made."""
    X: "NDArray[Any]"
    """The population, a row for each individual."""
    F: "NDArray[np.float64]"
    """Its objectives, a row for each."""
    CV: "NDArray[np.float64]"
    """By how much each violates constraints in total."""
    _search: _Search | None = field(repr=False)

    def state(self) -> bytes:
        """The search as it stands, for `resume`. It can be had until the next generation.

        Raises `ClosedError` after that, and of a copy, which has no search.
        """
        if self._search is None:
            raise ClosedError(f"this is a copy of generation {self.n_gen}, without its search")
        if not self._search.is_at(self.n_gen):
            raise ClosedError(f"generation {self.n_gen} is over")
        return self._search.save()

    def __reduce__(self) -> "tuple[type[Generation], tuple[Any, ...]]":
        # A copy, or what is pickled, is of the numbers: one search cannot be two.
        return Generation, (self.n_gen, self.n_eval, self.X, self.F, self.CV, None)


class Progress(Protocol):
    """What shows how far a search is: the bars of tqdm are like that."""

    def update(self, n: int, /) -> Any:
        """`n` more generations are made."""
        ...

    def close(self) -> Any:
        """The search has ended."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What `minimize` found: the solutions that no other dominates, by their objectives."""

    X: "NDArray[Any]"
    """Their variables, a row for each solution."""
    F: "NDArray[np.float64]"
    """Their objectives, a row for each solution."""
    G: "NDArray[np.float64]"
    """Their constraints, a row for each solution: met where at most 0."""
    CV: "NDArray[np.float64]"
    """By how much each violates constraints in total; 0 when all are met."""
    n_gen: int
    """Generations made."""
    n_eval: int
    """Evaluations made."""
    ended: Literal["generations", "evaluations", "seconds", "stagnation", "callback"]
    """What ended the search."""
    exec_time: float
    """Seconds it took."""
    history: "list[Generation]"
    """Every population, if `save_history` was set."""
    state: bytes
    """The search as it stands at the end, for `resume`."""

    def plot(
        self,
        kind: Literal["front", "parallel", "convergence"] = "front",
        *,
        names: Sequence[str] | None = None,
        ax: "Axes | None" = None,
    ) -> "Axes":
        """Draws it; as the function of that name."""
        return plot(self, kind, names=names, ax=ax)


class _Evaluation:
    """A problem's `_evaluate`, checked, for the native search."""

    def __init__(self, problem: Any, pop_size: int) -> None:
        self.problem = problem
        self.n_var = _count("n_var", problem.n_var)
        # Before a list of the variables is made. A population of more is refused later, as such.
        if self.n_var * min(operator.index(pop_size), 2**16) > _GENES_MAX:
            raise ProblemError(
                f"{pop_size} genomes of {self.n_var} genes are more than {_GENES_MAX} genes"
            )
        self.n_obj = _count("n_obj", problem.n_obj)
        self.n_constr = _count("n_constr", getattr(problem, "n_constr", 0))
        kind = getattr(problem, "vtype", float)
        self.genes: int | list[tuple[str, float, float]]
        self.dtype: np.dtype[Any] = np.dtype(np.float64)
        if kind == "permutation":
            self.genes = self.n_var
            self.dtype = np.dtype(np.int64)
        else:
            kinds = [kind] * self.n_var if isinstance(kind, type | str) else list(kind)
            self.genes = self._variables(kinds)
            if kinds and float not in kinds:
                self.dtype = np.dtype(np.bool_ if set(kinds) == {bool} else np.int64)
        # The constraints of what may still become part of the result, by the bytes of the genes.
        self.constraints: dict[bytes, NDArray[np.float64]] = {}

    def _variables(self, kinds: list[Any]) -> list[tuple[str, float, float]]:
        if len(kinds) != self.n_var:
            raise ArgumentError(f"vtype has {len(kinds)} entries, n_var is {self.n_var}")
        if "permutation" in kinds:
            raise ArgumentError("a permutation is of all variables")
        low, high = self._bounds("xl"), self._bounds("xu")
        each = zip(range(self.n_var), kinds, low, high, strict=True)
        return [self._variable(*variable) for variable in each]

    def _bounds(self, name: str) -> "NDArray[np.float64]":
        values = _real(getattr(self.problem, name))
        if values.shape not in ((), (1,), (self.n_var,)):
            raise ArgumentError(f"{name} has shape {values.shape}, expected ({self.n_var},)")
        return np.broadcast_to(values, (self.n_var,))

    @staticmethod
    def _variable(index: int, kind: Any, low: float, high: float) -> tuple[str, float, float]:
        if kind not in _KINDS:
            raise ArgumentError(f"vtype of variable {index} is {kind!r}")
        if kind is bool:
            return "choice", 0.0, 2.0
        if kind is not float and not (float(low).is_integer() and float(high).is_integer()):
            raise ArgumentError(f"variable {index} has bounds {low} to {high}, which are not whole")
        if kind == "choice" and not (low == 0 <= high < 2**32 - 1):
            raise ArgumentError(f"variable {index} is a choice with bounds {low} to {high}")
        # The number of choices and not the last of them.
        return _KINDS[kind], float(low), float(high) + (kind == "choice")

    def __call__(self, genes: bytearray) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
        keys = self._keys(genes) if self.n_constr else []
        X = self.rows(genes)
        F, G = self._evaluate(X)
        self.constraints.update(zip(keys, G, strict=False))
        violations = np.ascontiguousarray(np.maximum(G, 0.0).sum(axis=1))
        return F, violations

    def _evaluate(self, X: "NDArray[Any]") -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
        if not isinstance(self.problem, ElementwiseProblem):
            out: dict[str, Any] = {}
            self.problem._evaluate(X, out)
            return self._matrices(out, len(X))
        outs: list[dict[str, Any]] = [{} for _ in X]
        for x, out in zip(X, outs, strict=True):
            self.problem._evaluate(x, out)
        pairs = [self._matrices({k: [v] for k, v in out.items()}, 1) for out in outs]
        return np.concatenate([F for F, _ in pairs]), np.concatenate([G for _, G in pairs])

    def _matrices(
        self, out: Mapping[str, Any], rows: int
    ) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
        F = self._matrix(out, "F", rows, self.n_obj)
        if out.get("H") is not None:
            # pymoo's place for equations. Unread, they would be taken for met.
            raise ArgumentError('out["H"] is not read: put np.abs(H) - 1e-4 into out["G"]')
        G = out.get("G")
        if self.n_constr == 0 and (G is None or np.size(G) == 0):
            return F, np.empty((rows, 0))
        return F, self._matrix(out, "G", rows, self.n_constr)

    @staticmethod
    def _matrix(
        out: Mapping[str, Any], name: str, rows: int, columns: int
    ) -> "NDArray[np.float64]":
        if out.get(name) is None:
            raise ArgumentError(f'_evaluate() left out["{name}"] without a value')
        try:
            values = _real(out[name])
        except (TypeError, ValueError) as error:
            raise TypeError(f'out["{name}"] of _evaluate() is no array of numbers') from error
        if values.shape == (rows,) and columns == 1:
            values = values.reshape(rows, 1)
        if values.shape != (rows, columns):
            raise ArgumentError(
                f'_evaluate() put an array of shape {values.shape} into out["{name}"], '
                f"expected ({rows}, {columns})"
            )
        return np.ascontiguousarray(values)

    def rows(self, genes: bytearray) -> "NDArray[Any]":
        """Genes as the array that the problem and the user see."""
        return np.frombuffer(genes).reshape(-1, self.n_var).astype(self.dtype, copy=False)

    def _keys(self, genes: bytearray) -> list[bytes]:
        return [
            bytes(genes[at : at + 8 * self.n_var]) for at in range(0, len(genes), 8 * self.n_var)
        ]

    def forget_all_but(self, genes: bytearray) -> None:
        """Forgets the constraints of all other genomes."""
        kept = ((key, self.constraints.get(key)) for key in self._keys(genes))
        self.constraints = {key: G for key, G in kept if G is not None}

    def constraints_of(self, genes: bytearray) -> "NDArray[np.float64]":
        """The constraints of solutions. Those of a search that was resumed are evaluated again."""
        if self.n_constr == 0:
            return np.empty((len(genes) // (8 * self.n_var), 0))
        found = [self.constraints.get(key) for key in self._keys(genes)]
        known = [G for G in found if G is not None]
        if len(known) < len(found):
            return self._evaluate(self.rows(genes))[1]
        return np.stack(known)


def _real(values: "ArrayLike") -> "NDArray[np.float64]":
    """Numbers as they are: NumPy would drop imaginary parts and masks."""
    array = np.asanyarray(values)
    if array.dtype.kind == "c":
        raise TypeError("complex numbers have no order")
    if np.ma.is_masked(array):
        raise TypeError("some numbers are masked")
    return np.asarray(array, dtype=np.float64)


def _count(name: str, value: Any) -> int:
    # Of NumPy's own integers too, but not of 3.0 or True.
    if isinstance(value, bool | float) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {value!r}, not a whole number")
    number = int(value)
    if not 0 <= number < 2**32:
        raise ArgumentError(f"{name} is {number}")
    return number


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _termination(given: "Termination | tuple[str, Any] | int") -> Termination:
    if isinstance(given, Termination):
        if given.seconds is not None and not given.seconds >= 0:
            raise ArgumentError(f"termination is after {given.seconds} seconds")
        return given
    match given:
        case ("n_gen", n_gen) if _is_whole(n_gen):
            return Termination(n_gen=int(n_gen))
        case ("n_eval", n_eval) if _is_whole(n_eval):
            return Termination(n_eval=int(n_eval))
        case ("time", number) if isinstance(number, float | np.floating) or _is_whole(number):
            return _termination(Termination(seconds=float(number)))
        case ("time", str(text)):
            seconds = 0.0
            for part in text.split(":"):
                if not part.isdigit():
                    break
                seconds = 60 * seconds + int(part)
            else:
                return Termination(seconds=seconds)
        case n_gen if _is_whole(n_gen):
            return Termination(n_gen=int(cast(int, n_gen)))
    raise ArgumentError(
        f"termination is {given!r}: it may be a Termination, a number of generations, or "
        '("n_gen", 100), ("n_eval", 10_000), ("time", 60), ("time", "00:01:00")'
    )


def minimize(
    problem: Any,
    algorithm: Algorithm | None = None,
    termination: "Termination | tuple[str, Any] | int" = ("n_gen", 250),
    *,
    seed: int = 0,
    initial: "ArrayLike | None" = None,
    callback: Callable[[Generation], bool | None] | None = None,
    progress: Callable[..., Progress] | None = None,
    save_history: bool = False,
    resume: "Buffer | None" = None,
) -> Result:
    """Minimises the objectives of a problem. One seed gives one result, on every platform.

    `problem` is a `Problem` or has the attributes of one. `algorithm` is `NSGA2()` unless given.
    `termination` may be a `Termination` or, as in pymoo, `("n_gen", 100)`, `("n_eval", 10_000)` or
    `("time", seconds)`. `initial` has a row for each solution to start from; the rest of the first
    population is random. `callback` sees each population and ends the search by returning `True`.
    `progress=tqdm.tqdm` shows how far it is. `resume` takes the `state` of a search with the same
    problem and algorithm and goes on as if nothing had happened; `initial` and `seed` are then not
    used.

    A generation goes to the problem as one array, which the problem owns, and comes back as one: the
    memory is copied once each way. The interpreter's lock is free while the search works. Ctrl-C
    ends it.

    Raises what the problem or a callback raises, unchanged; `ProblemError` if bounds or settings
    make no sense, `NotFiniteError`, and `ArgumentError` for arrays of another shape than they
    should have.
    """
    started = time.monotonic()
    algorithm = NSGA2() if algorithm is None else algorithm
    until = _termination(termination)
    selection, pop_size = _selection(algorithm)
    evaluation = _Evaluation(problem, pop_size)
    search = _Search(
        evaluation,
        evaluation.genes,
        evaluation.n_obj,
        selection,
        population=pop_size,
        generations=_GENERATIONS_MAX if until.n_gen is None else until.n_gen,
        evaluations_max=until.n_eval,
        stagnation=None if until.stagnation is None else (until.stagnation, until.tolerance),
        crossover_probability=algorithm.crossover_probability,
        crossover_eta=algorithm.crossover_eta,
        mutation_probability=algorithm.mutation_probability,
        mutation_eta=algorithm.mutation_eta,
        initial=[] if initial is None else _rows("initial", initial).tolist(),
        seed=seed,
        state=resume,
    )
    history: list[Generation] = []

    def is_enough() -> bool:
        if callback is None and not save_history:
            return False
        genes, F, CV = search.population()
        generation = Generation(
            search.generation(),
            search.evaluations(),
            evaluation.rows(genes),
            np.frombuffer(F).reshape(-1, evaluation.n_obj),
            np.frombuffer(CV),
            search,
        )
        if save_history:
            history.append(generation)
        answer = None if callback is None else callback(generation)
        return isinstance(answer, bool | np.bool_) and bool(answer)

    bar = None if progress is None else progress(total=until.n_gen)
    try:
        while True:
            if is_enough():
                ended = "callback"
                break
            if (reached := search.ended()) is not None:
                ended = reached
                break
            if until.seconds is not None and time.monotonic() - started >= until.seconds:
                ended = "seconds"
                break
            search.step(evaluation, evaluation.n_obj)
            if len(evaluation.constraints) > 8 * pop_size:
                evaluation.forget_all_but(search.population()[0])
            if bar is not None:
                bar.update(1)
    finally:
        if bar is not None:
            bar.close()
    genes, F, CV = search.front()
    return Result(
        X=evaluation.rows(genes),
        F=np.frombuffer(F).reshape(-1, evaluation.n_obj),
        G=evaluation.constraints_of(genes),
        CV=np.frombuffer(CV),
        n_gen=search.generation(),
        n_eval=search.evaluations(),
        ended=cast(Any, ended),
        exec_time=time.monotonic() - started,
        history=history,
        state=search.save(),
    )


def _selection(algorithm: Algorithm) -> tuple[str | list[list[float]], int]:
    match algorithm:
        case NSGA2():
            return "crowding", algorithm.pop_size
        case SMSEMOA():
            return "hypervolume", algorithm.pop_size
        case NSGA3():
            directions = _rows("ref_dirs", algorithm.ref_dirs)
            pop_size = algorithm.pop_size
            if pop_size is None:
                pop_size = max(4, len(directions) + len(directions) % 2)
            return directions.tolist(), pop_size
    raise TypeError(f"algorithm is {algorithm!r}, not an NSGA2, NSGA3 or SMSEMOA")


def _rows(name: str, values: "ArrayLike") -> "NDArray[np.float64]":
    array = _real(values)
    if array.ndim != 2:
        raise ArgumentError(f"{name} has shape {array.shape}, expected rows and columns")
    return np.ascontiguousarray(array)


def _points(name: str, F: "ArrayLike", columns: int | None = None) -> "NDArray[np.float64]":
    array = _rows(name, F)
    if columns is not None and array.shape[1] != columns:
        raise ArgumentError(f"{name} has shape {array.shape}, expected {columns} columns")
    return array


def non_dominated_sort(F: "ArrayLike") -> "NDArray[np.uint32]":
    """The rank of each row of `F`: 0 where no other dominates it, 1 where only rows of rank 0 do.

    All objectives are minimised; infinities are allowed. Raises `ArgumentError` for other shapes
    and for NaN.
    """
    points = _rows("F", F)
    return np.array(_ranks(points, points.shape[1]), dtype=np.uint32)


def hypervolume(F: "ArrayLike", ref_point: "ArrayLike") -> float:
    """The volume that the rows of `F` dominate up to `ref_point`, exactly.

    There may be up to five objectives. Rows that are not better than it in every objective add
    nothing. Raises `ArgumentError`.
    """
    reference = np.ascontiguousarray(_real(ref_point))
    if reference.ndim != 1:
        raise ArgumentError(f"ref_point has shape {reference.shape}, expected one number a column")
    return _hypervolume(_points("F", F, len(reference)), reference)


def igd(F: "ArrayLike", pf: "ArrayLike") -> float:
    """The mean distance from the rows of a known front `pf` to the nearest of `F`: less is better.

    Raises `ArgumentError`.
    """
    points = _rows("F", F)
    return _igd(points, _points("pf", pf, points.shape[1]), points.shape[1])


def igd_plus(F: "ArrayLike", pf: "ArrayLike") -> float:
    """As `igd`, where only that counts by which `F` is worse (IGD+).

    Raises `ArgumentError`.
    """
    points = _rows("F", F)
    return _igd_plus(points, _points("pf", pf, points.shape[1]), points.shape[1])


def spacing(F: "ArrayLike") -> float:
    """The standard deviation of distances between neighbours (Schott): 0 when all are alike.

    Raises `ArgumentError`.
    """
    points = _rows("F", F)
    return _spacing(points, points.shape[1])


def spread(F: "ArrayLike", ends: "ArrayLike") -> float:
    """How unevenly the rows of `F` are spread between `ends`, the ends of the known front.

    0 when the ends are reached and distances between neighbours are equal. Raises `ArgumentError`.
    """
    points = _rows("F", F)
    return _spread(points, _points("ends", ends, points.shape[1]), points.shape[1])


def reference_directions(n_obj: int, n_partitions: int) -> "NDArray[np.float64]":
    """Directions evenly spread over the simplex, after Das and Dennis: a row for each.

    There are C(`n_obj` + `n_partitions` - 1, `n_partitions`): 91 for 3 objectives and 12
    partitions. Raises `ArgumentError` beyond 65,536.
    """
    return np.frombuffer(_directions(n_obj, n_partitions)).reshape(-1, n_obj)


Span: TypeAlias = tuple[str, str, float, float]
"""A bar of a Gantt chart: its row, its label, its start and its end."""


def plot(
    what: "Result | ArrayLike | Iterable[Span]",
    kind: Literal["front", "parallel", "convergence", "gantt"] = "front",
    *,
    names: Sequence[str] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draws with Matplotlib and returns the axes.

    - `"front"`: the objectives of a `Result` or of an array, as points in two or three dimensions.
    - `"parallel"`: the same for any number of objectives, a line for each solution, each objective
      from its least to its largest value.
    - `"convergence"`: the hypervolume of each population of a `Result` with a history, up to the
      worst feasible objectives in it.
    - `"gantt"`: spans of `(row, label, start, end)`, say node, job and times.

    `names` are those of the objectives. Without `ax`, a new figure is made. Raises `ImportError` if
    there is no Matplotlib, `ArgumentError` for what cannot be drawn that way.
    """
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError as error:
        raise ImportError('plot() needs Matplotlib: pip install "fogcompute[plot]"') from error

    def axes(**options: Any) -> Any:
        return plt.figure(layout="constrained").add_subplot(**options) if ax is None else ax

    match kind:
        case "front":
            return _plot_front(_drawn(what), names, axes)
        case "parallel":
            return _plot_parallel(_drawn(what), names, axes)
        case "convergence":
            if not isinstance(what, Result) or not what.history:
                raise ArgumentError("convergence is drawn of a Result with save_history=True")
            return _plot_convergence(what.history, axes)
        case "gantt":
            if not isinstance(what, Iterable):
                raise ArgumentError("a Gantt chart is drawn of spans")
            return _plot_gantt([_span(each) for each in what], axes)
    raise ArgumentError(f"kind is {kind!r}: it may be front, parallel, convergence, gantt")


def _drawn(what: Any) -> "NDArray[np.float64]":
    F = what.F if isinstance(what, Result) else _rows("F", what)
    if F.size == 0:
        raise ArgumentError("there is nothing to draw")
    if not np.isfinite(F).all():
        raise ArgumentError("not all of it is finite")
    return F


def _names(names: Sequence[str] | None, count: int) -> list[str]:
    if names is None:
        return [f"f{index + 1}" for index in range(count)]
    if len(names) != count:
        raise ArgumentError(f"{len(names)} names for {count} objectives")
    return list(names)


def _plot_front(F: Any, names: Sequence[str] | None, axes: Callable[..., Any]) -> "Axes":
    count = F.shape[1]
    if count not in (2, 3):
        raise ArgumentError(f'{count} objectives: a front is drawn of 2 or 3, else kind="parallel"')
    labels = _names(names, count)
    ax = axes(projection="3d") if count == 3 else axes()
    if count == 3 and not hasattr(ax, "zaxis"):
        raise ArgumentError('3 objectives are drawn on axes with projection="3d"')
    ax.scatter(*F.T, s=14)
    for axis, label in zip("xyz", labels, strict=False):
        getattr(ax, f"set_{axis}label")(label)
    return cast("Axes", ax)


def _plot_parallel(F: Any, names: Sequence[str] | None, axes: Callable[..., Any]) -> "Axes":
    labels = _names(names, F.shape[1])
    low, span = F.min(axis=0), np.ptp(F, axis=0)
    # An objective in which all are equal is drawn in the middle.
    shares = np.where(span > 0, (F - low) / np.where(span > 0, span, 1.0), 0.5)
    ax = axes()
    ax.plot(shares.T, color="tab:blue", alpha=0.4, linewidth=1)
    bounds = zip(labels, low, low + span, strict=True)
    ax.set_xticks(range(len(labels)), [f"{label}\n{a:.3g} to {b:.3g}" for label, a, b in bounds])
    ax.set_yticks([0, 1], ["least", "most"])
    return cast("Axes", ax)


def _plot_convergence(history: list[Generation], axes: Callable[..., Any]) -> "Axes":
    feasible = [generation.F[generation.CV <= 0] for generation in history]
    known = np.concatenate(feasible)
    if len(known) == 0:
        raise ArgumentError("no population has a feasible solution")
    worst = known.max(axis=0)
    ax = axes()
    n_eval = [generation.n_eval for generation in history]
    ax.plot(n_eval, [hypervolume(F, worst) for F in feasible])
    ax.set_xlabel("evaluations")
    ax.set_ylabel("hypervolume")
    return cast("Axes", ax)


def _span(given: Any) -> Span:
    try:
        row, label, start, end = given
        span = str(row), str(label), float(start), float(end)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{given!r} is no row, label, start and end") from error
    if not -np.inf < span[2] <= span[3] < np.inf:
        raise ArgumentError(f"{label} on {row} is from {start} to {end}")
    return span


def _plot_gantt(spans: list[Span], axes: Callable[..., Any]) -> "Axes":
    rows = {row: at for at, row in enumerate(dict.fromkeys(row for row, *_ in spans))}
    ax = axes()
    for row, label, start, end in spans:
        ax.barh(rows[row], end - start, left=start, height=0.7, edgecolor="white")
        ax.text((start + end) / 2, rows[row], label, ha="center", va="center", fontsize=8)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.invert_yaxis()
    ax.set_xlabel("time")
    return cast("Axes", ax)
