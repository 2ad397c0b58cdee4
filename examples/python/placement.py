# Which node takes which job? Three services and a job for a GPU that nobody has.
from fogcompute import Domain, Job, Node, Sharing, Spread, Tier, place, place_what_fits

GIB = 1 << 30
web = Spread("web", over=Domain.ZONE, most=2)
jobs = [
    # Gold: on three nodes in different zones that different people run.
    Job("a0" * 16, cpu_millis=500, memory_bytes=GIB, duration_ms=1000, tier=Tier.GOLD, spread=web),
    Job("b0" * 16, cpu_millis=500, memory_bytes=GIB, duration_ms=1000, spread=web),
    # On the same node as the job before.
    Job("c0" * 16, cpu_millis=250, memory_bytes=GIB, duration_ms=1000, affinity=["b0" * 16]),
]
homes = [("a", "ann"), ("b", "bob"), ("c", "cyd"), ("a", "bob")]
nodes = [
    Node(
        f"{number:064x}",
        cpu_millis_free=2000,
        cpu_millis_total=2000,
        memory_bytes_free=4 * GIB,
        trust=0.9,
        price_per_cpu_second=number,
        zone=zone,
        operator=operator,
        availability=0.98,
        error_rate=0.0005,
    )
    for number, (zone, operator) in enumerate(homes, start=1)
]

plan = place(jobs, nodes, Sharing.CONCURRENT, seed=1)
for job, node in plan.chosen.assignment:
    print(job[:2], "on node", int(node, 16))

greedy = Job("d0" * 16, cpu_millis=500, memory_bytes=GIB, duration_ms=1000, gpus=1)
partial = place_what_fits([*jobs, greedy], nodes, Sharing.CONCURRENT, seed=1)
for job, reason in partial.left_out:
    print(job[:2], "is left out:", str(reason).split(";")[0])
