// Counts the words of files, each in a sandbox, with a worker that keeps its tasks.
import FogCompute
import Foundation

/// What there is to lend. Nothing else matters to a policy that always lends.
final class Machine: DeviceProbe {
    func read() throws -> DeviceState {
        let machine = ProcessInfo.processInfo
        return DeviceState(
            deviceClass: .server, battery: .unknown, network: .unknown,
            cpuCores: UInt32(machine.activeProcessorCount),
            memoryTotalBytes: machine.physicalMemory)
    }
}

// The module, then the files, which have up to 1 MiB each.
let files = CommandLine.arguments.dropFirst().map { URL(fileURLWithPath: $0) }
let module = try Data(contentsOf: files[0])
let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
defer { try? FileManager.default.removeItem(at: folder) }

let path = folder.appendingPathComponent("tasks").path
let worker = try Worker(policy: .always(), probe: Machine(), path: path)
defer { worker.close() }
// All are handed in, and on disk, before the first is waited for.
let tasks = try files.dropFirst().map { file in
    (file, try worker.submit(module: module, input: Data(contentsOf: file)))
}
for (file, task) in tasks {
    let output = try await task.wait().output
    let words = output.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    print("\(file.lastPathComponent): \(words) words")
}
