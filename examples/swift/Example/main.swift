// Runs a task in a fog, pays with credits, and sends a packet through a mix node.
import FogCompute
import Foundation

// A WebAssembly module that adds up the bytes of its input, on two workers of this process.
let path = CommandLine.arguments.dropFirst().first ?? "examples/wasm/sum.wasm"
let module = try Data(contentsOf: URL(fileURLWithPath: path))
let fog = try Fog(workers: 2)
let done = try await fog.run(module: module, input: Data([1, 2, 39]))
let sum = done.output.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
print("sum: \(sum)")
fog.close()

// Credits: amounts are text of base units, 10^18 to the credit.
let credit = "000000000000000000"
let (mint, alice) = (String(repeating: "01", count: 16), String(repeating: "02", count: 16))
let ledger = try Ledger.inMemory()
_ = try ledger.openAccount(account: mint, kind: .issuer)
_ = try ledger.openAccount(account: alice, kind: .holder)
let id = String(repeating: "03", count: 16)
_ = try ledger.transfer(id: id, from: mint, to: alice, amount: "3" + credit)
// What is reserved cannot be spent elsewhere: 2 credits are promised, of which none is paid.
let promise = String(repeating: "04", count: 16)
_ = try ledger.reserve(id: promise, from: alice, to: mint, amount: "2" + credit)
_ = try ledger.void(id: String(repeating: "05", count: 16), reservation: promise)
print("alice has \(try ledger.balance(account: alice).dropLast(credit.count)) credits")
print("history: \(try ledger.history(account: alice).map(\.kind).joined(separator: ", "))")

// Stake on an operator earns its part of the rewards: 10 % are the operator's.
let economy = ledger.economy()
let (node, treasury) = (String(repeating: "0a", count: 32), try purseAccount(purse: "treasury"))
let steps: [EconomyRequest] = [
    .configure(),
    .registerOperator(operator: node, account: alice, commissionPpm: 100_000),
    .bond(operator: node, delegator: alice, amount: "3" + credit),
    .reward(operator: node, source: treasury, amount: "1" + credit),
]
for (number, step) in steps.enumerated() {
    _ = try economy.ask(id: String(repeating: "1\(number)", count: 16), request: step)
}
let claim = EconomyRequest.claim(operator: node, delegator: alice)
let claimed = try economy.ask(id: String(repeating: "06", count: 16), request: claim)
print("alice claimed 0.\(claimed.amount.prefix(1)) credits")

// One Sphinx packet to one node, which opens it with its private key.
let (sphinx, key) = (try Sphinx(), try PrivateKey.generate())
let hop = Hop(node: String(repeating: "0a", count: 32), key: key.publicKey(), delayMs: 0)
let packet = try sphinx.build(route: [hop], payload: Data("hello".utf8))
if case .deliver(let payload) = try sphinx.process(key: key, packet: packet).outcome {
    print("packet says: \(String(decoding: payload, as: UTF8.self))")
}
