"""Tasks in engines written for Python, for `cargo xtask bench exec` to measure.

    exec.py pool|dask|ray TASKS WORKERS

Each task takes 100 chained SHA-256 of its number. Engines are started, and have done a few tasks, before
the clock starts. Prints one line: `{"version", "nanos", "last"}`, the wall time of all tasks together and
the last task's digest.
"""

import hashlib
import json
import platform
import sys
import time

TIMES = 100


def task(number):
    digest = number.to_bytes(4, "little")
    for _ in range(TIMES):
        digest = hashlib.sha256(digest).digest()
    return digest


def pool(tasks, workers):
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers) as executor:
        list(executor.map(task, range(workers * 4)))
        start = time.perf_counter_ns()
        results = list(executor.map(task, range(tasks)))
        return platform.python_version(), time.perf_counter_ns() - start, results[-1]


def dask(tasks, workers):
    import distributed

    with distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=None
    ) as cluster, distributed.Client(cluster) as client:
        client.gather(client.map(task, range(10**9, 10**9 + workers * 4)))
        start = time.perf_counter_ns()
        results = client.gather(client.map(task, range(tasks)))
        return distributed.__version__, time.perf_counter_ns() - start, results[-1]


def ray(tasks, workers):
    import ray as engine

    engine.init(num_cpus=workers, include_dashboard=False, logging_level="error", log_to_driver=False)
    remote = engine.remote(task)
    engine.get([remote.remote(number) for number in range(workers * 4)])
    start = time.perf_counter_ns()
    results = engine.get([remote.remote(number) for number in range(tasks)])
    nanos = time.perf_counter_ns() - start
    engine.shutdown()
    return engine.__version__, nanos, results[-1]


def main():
    name, tasks, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    version, nanos, last = {"pool": pool, "dask": dask, "ray": ray}[name](tasks, workers)
    print(json.dumps({"version": version, "nanos": nanos, "last": last.hex()}))


if __name__ == "__main__":
    main()
