// A fog in one program: its coordinator, a mixnode, two nodes that compute, and who submits. Each of them
// could as well be on another machine.
import FogCompute
import Foundation

let path = CommandLine.arguments.dropFirst().first ?? "examples/wasm/words.wasm"
let module = try Data(contentsOf: URL(fileURLWithPath: path))
let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
let fog = try FogCoordinator(data: folder.path + "/fog")

func node(_ name: String, layer: UInt8? = nil) throws -> FogNode {
    try FogNode(
        coordinator: fog.address(), coordinatorId: fog.id(), data: folder.path + "/" + name,
        options: FogNodeOptions(layer: layer, policy: .always()))
}

let nodes = [try node("mix", layer: 0), try node("first"), try node("second")]
for node in nodes { try await node.joined() }

let client = try FogClient(token: try fog.issueToken())
let texts = (1...20).map { Data(String(repeating: "fog ", count: $0).utf8) }
let job = try await client.submit(module: module, inputs: texts)
print("\(job.open) tasks in a fog of \(nodes.count) nodes")

// What a node has not finished when it ends, the other one does.
for try await event in try client.watch() where event.kind == .ended { break }
nodes[2].close()
print("a node is gone")

_ = try await client.wait(job: job.id)
var counts = [UInt64]()
for task in try await client.tasks(job: job.id) {
    let output = try await client.result(task: task.id).output
    counts.append(output.reversed().reduce(0) { $0 << 8 | UInt64($1) })
}
print("every text was counted: \(counts == Array(1...20))")

client.close()
for node in nodes { node.close() }
fog.close()
try FileManager.default.removeItem(at: folder)
