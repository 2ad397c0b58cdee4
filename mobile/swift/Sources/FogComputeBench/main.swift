// What one call costs from Swift. Prints one JSON object per line.

import Dispatch
import FogCompute
import Foundation

let runs = 7

/// Median over the runs of the mean time of `n` calls; the first run warms up and does not count.
func bench(_ name: String, _ n: Int, _ call: () throws -> Void) rethrows {
    var times: [Double] = []
    for _ in 0...runs {
        let start = DispatchTime.now().uptimeNanoseconds
        for _ in 0..<n { try call() }
        times.append(Double(DispatchTime.now().uptimeNanoseconds - start) / Double(n))
    }
    let median = times.dropFirst().sorted()[runs / 2]
    print("{\"case\": \"\(name)\", \"ns\": \(String(format: "%.1f", median)), \"n\": \(n)}")
}

final class Mains: BatteryProbe {
    func battery() throws -> Battery { .absent }
}

let sphinx = try Sphinx()
let key = try PrivateKey.generate()
let hop = Hop(node: String(repeating: "0a", count: 32), key: key.publicKey(), delayMs: 0)
let packet = try sphinx.build(route: [hop], payload: Data(count: 2048))
bench("noop", 100_000) { _ = sphinx.packetBytes() }
try bench("sphinx_process_2k", 500) { _ = try sphinx.process(key: key, packet: packet) }

let ledger = try Ledger.inMemory()
let account = String(repeating: "01", count: 16)
_ = try ledger.openAccount(account: account, kind: .issuer)
try bench("ledger_balance", 20_000) { _ = try ledger.balance(account: account) }

let policy = HarvestPolicy()
let state = DeviceState(deviceClass: .server, battery: .unknown, network: .ethernet)
try bench("harvest_decide", 10_000) { _ = try policy.decide(state: state) }
let probe = Mains()
try bench("callback", 10_000) { _ = try policy.decideWithProbe(state: state, probe: probe) }
