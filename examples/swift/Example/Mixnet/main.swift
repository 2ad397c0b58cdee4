// A mixnet in one program: three mixnodes, two clients, a question and its answer.
import FogCompute
import Foundation

// Three layers of one mixnode each, on UDP ports that are free. Each must know the others.
let nodes = try (0..<3).map { _ in try MixnetNode() }
let topology = try Topology(layers: nodes.map { [$0.descriptor()] })
for node in nodes { try node.setTopology(topology: topology) }

let (alice, bob) = (try MixnetClient(topology: topology), try MixnetClient(topology: topology))

// Bob answers without learning who asked.
let answering = Task {
    let question = try await bob.receive()
    print("bob is asked: \(String(decoding: question.body(), as: UTF8.self))")
    try bob.reply(message: question, body: Data("bob".utf8))
}
let answer = try await alice.request(to: bob.contact(), body: Data("who is there?".utf8))
try await answering.value
print("alice is told: \(String(decoding: answer, as: UTF8.self))")

alice.close()
bob.close()
for node in nodes { node.close() }
