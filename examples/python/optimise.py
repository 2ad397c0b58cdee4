# How fast should processors run, and how many? Finds the compromises between time and energy.
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from fogcompute.schedule import NSGA2, Problem, minimize
from numpy.typing import NDArray


class Cluster(Problem):
    """A clock from 0.5 to 3 GHz and 1 to 16 nodes, for work that must be done in 10 seconds."""

    def __init__(self) -> None:
        super().__init__(
            n_var=2, n_obj=2, n_constr=1, xl=[0.5, 1], xu=[3.0, 16], vtype=[float, int]
        )

    def _evaluate(self, X: NDArray[Any], out: MutableMapping[str, Any]) -> None:
        # A generation at once: a column for each variable.
        clock, nodes = X.T
        seconds = 24 / (clock * nodes) + 0.2 * nodes
        joules = nodes * (1 + clock * clock * clock) * seconds
        out["F"] = np.column_stack([seconds, joules])
        out["G"] = seconds - 10


def main() -> None:
    result = minimize(Cluster(), NSGA2(pop_size=40), ("n_gen", 100), seed=1, save_history=True)
    for name, index in [("fastest", 0), ("thriftiest", -1)]:
        (clock, nodes), (seconds, joules) = result.X[index], result.F[index]
        print(f"{name}: {nodes:.0f} nodes at {clock:.1f} GHz, {seconds:.1f} s, {joules:.0f} J")

    out = Path(__file__).parents[2] / "out"
    out.mkdir(exist_ok=True)
    result.plot("front")
    plt.savefig(out / "front.svg")
    result.plot("convergence")
    plt.savefig(out / "convergence.svg")


main()
