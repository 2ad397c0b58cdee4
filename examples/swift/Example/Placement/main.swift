// Which node takes which job? Three services and a job for a GPU that nobody has.
import FogCompute

let gib: UInt64 = 1 << 30

func id(_ name: String) -> String { String(repeating: name, count: 16) }

func job(_ name: String, tier: Tier? = nil, spread: Spread? = nil, beside: [String] = []) -> Job {
    Job(
        id: id(name), cpuMillis: 500, memoryBytes: gib, durationMs: 1000, tier: tier,
        affinity: beside, spread: spread)
}

let web = Spread(group: "web", over: .zone, most: 2)
let jobs = [
    // Gold: on three nodes in different zones that different people run.
    job("a0", tier: .gold, spread: web),
    job("b0", spread: web),
    // On the same node as the job before.
    job("c0", beside: [id("b0")]),
]
let homes = [("a", "ann"), ("b", "bob"), ("c", "cyd"), ("a", "bob")]
let nodes = homes.enumerated().map { index, home in
    Node(
        id: String(repeating: "0", count: 63) + String(index + 1), cpuMillisFree: 2000,
        cpuMillisTotal: 2000, memoryBytesFree: 4 * gib, trust: 0.9,
        pricePerCpuSecond: UInt64(index + 1), zone: home.0, operator: home.1, availability: 0.98,
        errorRate: 0.0005)
}

let plan = try place(
    jobs: jobs, nodes: nodes, sharing: .concurrent, config: Nsga2(), preference: .knee, seed: 1)
for placed in plan.front[Int(plan.chosen)].assignment {
    print(placed.task.prefix(2), "on node", placed.node.suffix(1))
}

let greedy = Job(id: id("d0"), cpuMillis: 500, memoryBytes: gib, durationMs: 1000, gpus: 1)
let partial = try placeWhatFits(
    jobs: jobs + [greedy], nodes: nodes, sharing: .concurrent, config: Nsga2(), preference: .knee,
    seed: 1)
for left in partial.leftOut {
    print(left.task.prefix(2), "is left out:", left.explanation)
}
