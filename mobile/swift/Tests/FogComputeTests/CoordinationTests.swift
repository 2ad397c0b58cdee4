import FogCompute
import Foundation
import XCTest

/// A fog of processes: its coordinator, nodes, and who submits.
final class CoordinationTests: XCTestCase {
    private let all = ["submit", "cancel", "query", "drain", "maintain"]

    private func folder() throws -> String {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
            UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        addTeardownBlock { try? FileManager.default.removeItem(at: folder) }
        return folder.path
    }

    private func node(_ fog: FogCoordinator, _ data: String, layer: UInt8? = nil) throws -> FogNode
    {
        try FogNode(
            coordinator: fog.address(), coordinatorId: fog.id(), data: data,
            options: FogNodeOptions(
                layer: layer, policy: HarvestPolicy.always(), heartbeatMs: 200))
    }

    func testAJobIsDoneByANodeAndItsEventsAreAsynchronous() async throws {
        let folder = try folder()
        let fog = try FogCoordinator(data: folder + "/fog")
        let mix = try node(fog, folder + "/mix", layer: 0)
        let compute = try node(fog, folder + "/compute")
        try await mix.joined()
        try await compute.joined()
        let token = try fog.issueToken(options: FogTokenOptions(actions: all))
        let client = try FogClient(token: token)
        let module = try Checkout.example("sum")
        let job = try await client.submit(module: module, inputs: [Data([1, 2]), Data([39, 3])])
        XCTAssertEqual(job.account, fog.account())
        var kinds = [FogEventKind?]()
        for try await event in try client.watch() {
            kinds.append(event.kind)
            if event.kind == .assigned { XCTAssertEqual(event.node, compute.id()) }
            if event.kind == .jobEnded { break }
        }
        XCTAssertEqual(kinds.first, .admitted)
        XCTAssertEqual(kinds.filter { $0 == .ended }.count, 2)
        let ended = try await client.wait(job: job.id)
        XCTAssertEqual(ended.succeeded, 2)
        let tasks = try await client.tasks(job: job.id)
        XCTAssertEqual(tasks.map(\.state), [.succeeded, .succeeded])
        var sums = [UInt8]()
        for task in tasks { sums.append(try await client.result(task: task.id).output[0]) }
        XCTAssertEqual(sums, [3, 42])

        try await client.drain(node: compute.id())
        let topology = try await client.topology()
        XCTAssertEqual(topology.coordinator, fog.id())
        let seen = topology.members.first { $0.id == compute.id() }
        XCTAssertTrue(["draining", "maintenance"].contains(seen?.status))
        XCTAssertEqual(seen?.linked, true)
        XCTAssertEqual(topology.members.first { $0.id == mix.id() }?.layer, 0)
        try await client.undrain(node: compute.id())
        await fails(.unknownNode) { try await client.drain(node: String(repeating: "ab", count: 32)) }
        XCTAssertNil(try fog.trouble())
        XCTAssertTrue(try compute.status().joined)
        client.close()
        await fails(.closed) { _ = try await client.jobs() }
        compute.close()
        XCTAssertTrue(try compute.status().ended)
    }

    func testAWaitThatIsCancelledLosesNothing() async throws {
        let fog = try FogCoordinator(data: try folder())
        let client = try FogClient(token: try fog.issueToken())
        let watch = try client.startWatch()
        let waiting = Task { try await watch.receive() }
        waiting.cancel()
        await fails(.cancelled) { _ = try await waiting.value }
        let module = try Checkout.example("sum")
        let job = try await client.submit(module: module, inputs: [Data()])
        let ending = Task { try await client.wait(job: job.id) }
        ending.cancel()
        await fails(.cancelled) { _ = try await ending.value }
        let event = try await watch.receive()
        XCTAssertEqual(event.kind, .admitted)
        XCTAssertEqual(watch.last(), event.number)
        watch.close()
        await fails(.closed) { _ = try await watch.receive() }
    }

    func testWhatIsRefusedHasItsCode() async throws {
        let fog = try FogCoordinator(data: try folder())
        let module = try Checkout.example("sum")
        let watcher = try FogClient(
            token: try fog.issueToken(options: FogTokenOptions(actions: ["query"])))
        await fails(.tokenForbids) { _ = try await watcher.submit(module: module, inputs: [Data()]) }
        let client = try FogClient(token: try fog.issueToken())
        await fails(.invalidJob) { _ = try await client.submit(module: module, inputs: []) }
        await fails(.unknownTask) {
            _ = try await client.job(job: String(repeating: "ab", count: 16))
        }
        await fails(.invalidArgument) { _ = try await client.job(job: "x") }
        XCTAssertThrowsError(try FogClient(token: "")) {
            XCTAssertEqual(($0 as? FogError)?.code, .invalidToken)
        }
        XCTAssertThrowsError(
            try FogCoordinator(
                data: try folder(), options: FogCoordinatorOptions(listen: fog.address()))
        ) { XCTAssertEqual(($0 as? FogError)?.code, .listen) }
        let token = try fog.issueToken()
        fog.close()
        let lost = try FogClient(token: token, patienceMs: 200)
        await fails(.coordinatorUnreachable) { _ = try await lost.jobs() }
    }

    private func fails(_ code: ErrorCode, _ call: () async throws -> Void) async {
        do {
            try await call()
            XCTFail("\(code) is missing")
        } catch {
            XCTAssertEqual((error as? FogError)?.code, code)
        }
    }
}
