"""The optimisers for Python, for `cargo xtask bench schedule` to measure.

Says its versions first, `{"pygmo": ..., "pymoo": ...}`. Then, for each line
`{"peer", "problem", "generations", "seed"}` it reads, runs once and answers with
`{"nanos": CPU time of this process, "front": objectives of the last population's first front}`.
A line with `"instance"` brings a placement problem, which later lines name `placement`.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import pygmo
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.operators.crossover.sbx import SBX
from pymoo.operators.mutation.pm import PM
from pymoo.operators.repair.rounding import RoundingRepair
from pymoo.operators.sampling.rnd import FloatRandomSampling, IntegerRandomSampling
from pymoo.optimize import minimize
from pymoo.problems import get_problem

PYGMO = {
    "ZDT1": lambda: pygmo.zdt(1, 30),
    "ZDT2": lambda: pygmo.zdt(2, 30),
    "ZDT3": lambda: pygmo.zdt(3, 30),
    "ZDT6": lambda: pygmo.zdt(6, 10),
    "DTLZ2": lambda: pygmo.dtlz(2, 12, 3),
}
PYMOO = {
    "ZDT1": lambda: get_problem("zdt1", n_var=30),
    "ZDT2": lambda: get_problem("zdt2", n_var=30),
    "ZDT3": lambda: get_problem("zdt3", n_var=30),
    "ZDT6": lambda: get_problem("zdt6", n_var=10),
    "DTLZ2": lambda: get_problem("dtlz2", n_var=12, n_obj=3),
}


class Placement(Problem):
    """Jobs onto nodes: a gene is an index into what a job may go to."""

    def __init__(self, instance):
        choices = instance["choices"]
        counts = np.array([len(row) for row in choices])
        width = counts.max()
        self.nodes = np.array([row + [0] * (width - len(row)) for row in choices])
        self.adds = np.array(
            [row + [[0.0] * 5] * (width - len(row)) for row in instance["adds"]]
        )
        self.needs = np.array(instance["needs"], dtype=float)
        self.taken = np.array(instance["taken"], dtype=float)
        self.capacities = np.array(instance["capacities"], dtype=float)
        super().__init__(
            n_var=len(choices), n_obj=5, n_ieq_constr=1, xl=0, xu=counts - 1, vtype=int
        )

    def _evaluate(self, X, out, *args, **kwargs):
        jobs = np.arange(self.n_var)
        objectives = self.adds[jobs, X].sum(axis=1)
        nodes = self.nodes[jobs, X]
        count = len(self.capacities)
        # One row of nodes for each individual, so that one count does all of them.
        flat = (nodes + count * np.arange(len(X))[:, None]).ravel()
        violation = np.zeros(len(X))
        for resource in range(3):
            needs = np.tile(self.needs[:, resource], len(X))
            load = np.bincount(flat, needs, count * len(X)).reshape(len(X), count)
            share = (self.taken[:, resource] + load) / self.capacities[:, resource]
            violation += np.maximum(0.0, share - 1.0).sum(axis=1)
            if resource == 0:
                objectives[:, 1] = share.std(axis=1)
        out["F"] = objectives
        out["G"] = violation - 1e-9


def run_pygmo(name, generations, seed):
    problem = pygmo.problem(PYGMO[name]())
    variables = problem.get_nx()
    start = time.process_time_ns()
    algorithm = pygmo.algorithm(
        pygmo.nsga2(
            gen=generations, cr=0.9, eta_c=15, m=1 / variables, eta_m=20, seed=seed
        )
    )
    population = pygmo.population(problem, size=100, seed=seed)
    values = algorithm.evolve(population).get_f()
    front = values[pygmo.fast_non_dominated_sorting(values)[0][0]]
    return time.process_time_ns() - start, front


def run_pymoo(name, generations, seed, placement):
    if name == "placement":
        problem = placement
        algorithm = NSGA2(
            pop_size=50,
            sampling=IntegerRandomSampling(),
            crossover=SBX(prob=0.9, eta=15, vtype=float, repair=RoundingRepair()),
            mutation=PM(eta=20, vtype=float, repair=RoundingRepair()),
        )
    else:
        problem = PYMOO[name]()
        algorithm = NSGA2(
            pop_size=100,
            sampling=FloatRandomSampling(),
            crossover=SBX(prob=0.9, eta=15),
            mutation=PM(prob_var=1 / problem.n_var, eta=20),
        )
    start = time.process_time_ns()
    result = minimize(problem, algorithm, ("n_gen", generations), seed=seed)
    return time.process_time_ns() - start, [] if result.F is None else result.F


def main():
    answer({name: version(name) for name in ("pygmo", "pymoo")})
    placement = None
    for line in sys.stdin:
        order = json.loads(line)
        if "instance" in order:
            placement = Placement(order["instance"])
            answer({})
            continue
        name, generations, seed = order["problem"], order["generations"], order["seed"]
        if order["peer"] == "pygmo":
            nanos, front = run_pygmo(name, generations, seed)
        else:
            nanos, front = run_pymoo(name, generations, seed, placement)
        answer({"nanos": nanos, "front": np.asarray(front).tolist()})


def answer(value):
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()
