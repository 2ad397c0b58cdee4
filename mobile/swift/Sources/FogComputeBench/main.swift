// What one call costs from Swift. Prints one JSON object per line.
//
// `--short` makes few calls: to see that it works, not to learn how long anything takes.

import Dispatch
import FogCompute
import Foundation

let runs = 7
let isShort = CommandLine.arguments.contains("--short")

/// Prints the median over the runs of the mean time of `n` calls, that of the loop included.
func report(_ name: String, _ n: Int, _ nanoseconds: [UInt64]) {
    // The first run warms up and does not count.
    let median = Double(nanoseconds.dropFirst().sorted()[runs / 2]) / Double(n)
    print("{\"case\": \"\(name)\", \"ns\": \(String(format: "%.1f", median)), \"n\": \(n)}")
}

func bench(_ name: String, _ n: Int, _ call: () throws -> Void) rethrows {
    let n = isShort ? max(1, n / 1000) : n
    var times: [UInt64] = []
    for _ in 0...runs {
        let start = DispatchTime.now().uptimeNanoseconds
        for _ in 0..<n { try call() }
        times.append(DispatchTime.now().uptimeNanoseconds - start)
    }
    report(name, n, times)
}

func benchAwait(_ name: String, _ n: Int, _ call: () async throws -> Void) async rethrows {
    let n = isShort ? max(1, n / 1000) : n
    var times: [UInt64] = []
    for _ in 0...runs {
        let start = DispatchTime.now().uptimeNanoseconds
        for _ in 0..<n { try await call() }
        times.append(DispatchTime.now().uptimeNanoseconds - start)
    }
    report(name, n, times)
}

final class Mains: BatteryProbe {
    func battery() throws -> Battery { .absent }
}

final class Identity: Problem {
    func genome() throws -> Genome { .variables(variables: [.real(low: 0, high: 1)]) }
    func objectiveCount() throws -> UInt32 { 1 }
    func evaluate(genes: [Double]) throws -> Evaluation { Evaluation(objectives: genes) }
}

func benchCalls() throws {
    let (sphinx, key) = (try Sphinx(), try PrivateKey.generate())
    let hop = Hop(node: String(repeating: "0a", count: 32), key: key.publicKey(), delayMs: 0)
    let packet = try sphinx.build(route: [hop], payload: Data(count: 2048))
    bench("noop", 500_000) { _ = sphinx.packetBytes() }
    bench("version", 500_000) { _ = version() }
    try bench("sphinx_process_2k", 2_000) { _ = try sphinx.process(key: key, packet: packet) }

    let (ledger, account) = (try Ledger.inMemory(), String(repeating: "01", count: 16))
    _ = try ledger.openAccount(account: account, kind: .issuer)
    try bench("ledger_balance", 50_000) { _ = try ledger.balance(account: account) }

    let (policy, probe) = (HarvestPolicy(), Mains())
    let state = DeviceState(deviceClass: .server, battery: .unknown, network: .ethernet)
    try bench("harvest_decide", 20_000) { _ = try policy.decide(state: state) }
    try bench("callback", 20_000) { _ = try policy.decideWithProbe(state: state, probe: probe) }
    let (identity, config) = (Identity(), SearchConfig(population: 100, generations: 9))
    try bench("nsga2_1000_evaluations", 20) {
        _ = try minimize(problem: identity, config: config, seed: 0)
    }
}

try benchCalls()

/// A task that does nothing.
let emptyTask = Data(
    base64Encoded: "AGFzbQEAAAABDAJgAX8Bf2ACf38BfgMDAgABBQMBAAEHIAMGbWVtb3J5AgAJZm9nX2FsbG9jAAAH"
        + "Zm9nX3J1bgABCgsCBABBAAsEAEIACw==")!
let fog = try Fog(workers: 1)
try await benchAwait("fog_run_await", 500) {
    _ = try await fog.run(module: emptyTask, input: Data())
}
fog.close()
