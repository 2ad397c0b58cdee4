"""Short tasks in engines written for Python, for `cargo xtask bench coord` to measure.

    coord.py pool|dask|ray TASKS ALONE WORKERS

Each task takes the SHA-256 of its number. Engines are started, and have done a few tasks, before the clock
starts. Prints one line: `{"version", "nanos", "last", "alone"}`: the wall time of `TASKS` tasks together,
the last one's digest, and the wall times of `ALONE` further ones, each begun when the last has ended.
"""

import hashlib
import json
import platform
import sys
import time


def task(number):
    return hashlib.sha256(number.to_bytes(4, "little")).digest()


def measured(version, together, alone, tasks, count):
    start = time.perf_counter_ns()
    results = together(range(tasks))
    nanos = time.perf_counter_ns() - start
    times = []
    for number in range(count):
        start = time.perf_counter_ns()
        # A number of its own: an engine may remember what it has done.
        alone(10**9 + number)
        times.append(time.perf_counter_ns() - start)
    return {"version": version, "nanos": nanos, "last": results[-1].hex(), "alone": times}


def pool(tasks, alone, workers):
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(workers) as executor:
        list(executor.map(task, range(workers * 4)))
        return measured(
            platform.python_version(),
            lambda numbers: list(executor.map(task, numbers)),
            lambda number: executor.submit(task, number).result(),
            tasks,
            alone,
        )


def dask(tasks, alone, workers):
    import distributed

    with distributed.LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=None
    ) as cluster, distributed.Client(cluster) as client:
        client.gather(client.map(task, range(2 * 10**9, 2 * 10**9 + workers * 4)))
        return measured(
            distributed.__version__,
            lambda numbers: client.gather(client.map(task, numbers)),
            lambda number: client.submit(task, number).result(),
            tasks,
            alone,
        )


def ray(tasks, alone, workers):
    import ray as engine

    engine.init(num_cpus=workers, include_dashboard=False, logging_level="error", log_to_driver=False)
    remote = engine.remote(task)
    engine.get([remote.remote(number) for number in range(workers * 4)])
    told = measured(
        engine.__version__,
        lambda numbers: engine.get([remote.remote(number) for number in numbers]),
        lambda number: engine.get(remote.remote(number)),
        tasks,
        alone,
    )
    engine.shutdown()
    return told


def main():
    name, tasks, alone, workers = sys.argv[1], *map(int, sys.argv[2:5])
    print(json.dumps({"pool": pool, "dask": dask, "ray": ray}[name](tasks, alone, workers)))


if __name__ == "__main__":
    main()
