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

    private func node(
        _ fog: FogCoordinator, _ data: String, layer: UInt8? = nil,
        policy: HarvestPolicy = .always(), probe: DeviceProbe? = nil
    ) throws -> FogNode {
        try FogNode(
            coordinator: fog.address(), coordinatorId: fog.id(), data: data,
            options: FogNodeOptions(layer: layer, policy: policy, probe: probe, heartbeatMs: 200))
    }

    private func client(_ fog: FogCoordinator) throws -> FogClient {
        try FogClient(token: try fog.issueToken(options: FogTokenOptions(actions: all)))
    }

    private func digits(_ bytes: Int) -> String { String(repeating: "ab", count: bytes) }

    func testAJobIsDoneByANodeAndItsEventsAreAsynchronous() async throws {
        let folder = try folder()
        let fog = try FogCoordinator(data: folder + "/fog")
        let mix = try node(fog, folder + "/mix", layer: 0)
        let compute = try node(fog, folder + "/compute")
        try await mix.joined()
        try await compute.joined()
        let client = try client(fog)
        let (module, inputs) = (try Checkout.example("sum"), [Data([1, 2]), Data([39, 3])])
        let options = FogJobOptions(priority: .high)
        let job = try await client.submit(module: module, inputs: inputs, options: options)
        XCTAssertEqual([job.account, job.privacy], [fog.account(), "private"])
        XCTAssertEqual(job.priority, .high)
        var kinds = [FogEventKind?]()
        let events = try client.watch()
        for try await event in events {
            kinds.append(event.kind)
            XCTAssertEqual(event.job, job.id)
            if event.kind == .assigned { XCTAssertEqual(event.node, compute.id()) }
            if event.kind == .jobEnded { break }
        }
        XCTAssertEqual(kinds.first, .admitted)
        XCTAssertEqual(kinds.filter { $0 == .ended }.count, 2)
        let last = try await client.lastEvent()
        XCTAssertEqual(events.watch.last(), last)
        let ended = try await client.wait(job: job.id)
        XCTAssertEqual([ended.succeeded, ended.open], [2, 0])
        XCTAssertEqual(ended.reserved, "0")
        let tasks = try await client.tasks(job: job.id)
        XCTAssertEqual(tasks.map(\.state), [.succeeded, .succeeded])
        var sums = [UInt8]()
        for task in tasks { sums.append(try await client.result(task: task.id).output[0]) }
        XCTAssertEqual(sums, [3, 42])
        let (first, jobs) = (try await client.task(task: tasks[0].id), try await client.jobs())
        XCTAssertEqual(first, tasks[0])
        XCTAssertEqual(jobs, [ended])
        // The same job again is the same job.
        let same = FogJobOptions(id: job.id, priority: .high)
        let again = try await client.submit(module: module, inputs: inputs, options: same)
        XCTAssertEqual(again, ended)
        await assertFails(.idReused) {
            try await client.submit(module: module, inputs: [Data()], options: same)
        }
        let metrics = try await client.metrics()
        XCTAssertTrue(metrics.contains("fogcompute_coord_jobs_admitted_total 1"), metrics)

        try await client.drain(node: compute.id())
        let topology = try await client.topology()
        XCTAssertEqual(topology.coordinator, fog.id())
        let seen = try XCTUnwrap(topology.members.first { $0.id == compute.id() })
        XCTAssertTrue(["draining", "maintenance"].contains(seen.status), seen.status)
        XCTAssertTrue(seen.linked)
        XCTAssertEqual([seen.kind, seen.address], ["compute", compute.address()])
        XCTAssertGreaterThan(seen.cpuMillis, 0)
        XCTAssertEqual(topology.members.first { $0.id == mix.id() }?.layer, 0)
        try await client.undrain(node: compute.id())
        await assertFails(.unknownNode) { try await client.drain(node: digits(32)) }
        XCTAssertNil(try fog.trouble())
        XCTAssertTrue(try compute.status().joined)
        client.close()
        await assertFails(.closed) { try await client.jobs() }
        compute.close()
        XCTAssertTrue(try compute.status().ended)
        await assertFails(.closed) { try await compute.joined() }
    }

    func testWhoSubmitsReadsLogsAndCancels() async throws {
        let folder = try folder()
        let fog = try FogCoordinator(data: folder + "/fog")
        let nodes = [try node(fog, folder + "/mix", layer: 0), try node(fog, folder + "/compute")]
        for node in nodes { try await node.joined() }
        let client = try client(fog)
        let says = try await client.submit(
            module: Checkout.example("says"), inputs: [Data("hello".utf8)],
            options: FogJobOptions(hostCalls: true))
        let said = try await client.wait(job: says.id)
        XCTAssertEqual(said.succeeded, 1)
        let task = try await client.tasks(job: says.id)[0]
        let log = try await client.log(task: task.id)
        XCTAssertEqual(log, "hello\n")

        let job = try await client.submit(module: Checkout.endless(), inputs: [Data(), Data()])
        let tasks = try await client.tasks(job: job.id).map(\.id)
        await assertFails(.taskOpen) { try await client.result(task: tasks[0]) }
        let cancelled = [
            try await client.cancelTask(task: tasks[0]), try await client.cancelTask(task: tasks[0]),
        ]
        XCTAssertEqual(cancelled, [true, false])
        let rest = try await client.cancel(job: job.id)
        XCTAssertEqual(rest, 1)
        await assertFails(.noResult) { try await client.result(task: tasks[1]) }
        let ended = try await client.wait(job: job.id)
        XCTAssertEqual(ended.cancelled, 2)
    }

    func testACoordinatorThatIsStartedAgainGoesOn() async throws {
        let folder = try folder()
        let first = try FogCoordinator(data: folder + "/fog")
        let client = try client(first)
        let job = try await client.submit(module: Checkout.example("sum"), inputs: [Data([5])])
        let watch = try client.startWatch()
        let admitted = try await watch.receive()
        XCTAssertEqual(admitted.kind, .admitted)
        let address = first.address()
        first.close()
        let again = FogCoordinatorOptions(listen: address)
        let fog = try FogCoordinator(data: folder + "/fog", options: again)
        let nodes = [try node(fog, folder + "/mix", layer: 0), try node(fog, folder + "/compute")]
        let ended = try await client.wait(job: job.id)
        XCTAssertEqual(ended.succeeded, 1)
        var kinds = [FogEventKind?]()
        while kinds.last != .jobEnded { kinds.append(try await watch.receive().kind) }
        XCTAssertFalse(kinds.contains(.admitted))
        for node in nodes { node.close() }
        client.close()
        await assertFails(.closed) { while true { _ = try await watch.receive() } }
    }

    func testAWaitThatIsCancelledLosesNothing() async throws {
        let fog = try FogCoordinator(data: try folder())
        let client = try FogClient(token: try fog.issueToken())
        let watch = try client.startWatch()
        let waiting = Task { try await watch.receive() }
        waiting.cancel()
        await assertFails(.cancelled) { try await waiting.value }
        let module = try Checkout.example("sum")
        let job = try await client.submit(module: module, inputs: [Data()])
        let ending = Task { try await client.wait(job: job.id) }
        ending.cancel()
        await assertFails(.cancelled) { try await ending.value }
        let event = try await watch.receive()
        XCTAssertEqual(event.kind, .admitted)
        XCTAssertEqual([event.job, "\(event.tasks)"], [job.id, "1"])
        XCTAssertEqual(watch.last(), event.number)
        watch.close()
        await assertFails(.closed) { try await watch.receive() }
        // What is waited for ends with the client.
        let ended = Task { try await client.wait(job: job.id) }
        client.close()
        await assertFails(.closed) { try await ended.value }
    }

    func testWhatIsRefusedHasItsCode() async throws {
        let folder = try folder()
        let options = FogCoordinatorOptions(endowment: "5")
        let fog = try FogCoordinator(data: folder + "/fog", options: options)
        let module = try Checkout.example("sum")
        for (code, grant, price) in [
            (ErrorCode.tokenForbids, FogTokenOptions(actions: ["query"]), "1"),
            (.tokenExpired, FogTokenOptions(validForMs: 0), "1"),
            (.tokenUsedUp, FogTokenOptions(tasksMax: 0), "1"),
            (.tokenUsedUp, FogTokenOptions(maxSpend: "0"), "1"),
            (.insufficientFunds, FogTokenOptions(), "6"),
            (.insufficientFunds, FogTokenOptions(account: digits(16)), "1"),
        ] {
            let client = try FogClient(token: try fog.issueToken(options: grant))
            let options = FogJobOptions(maxPrice: price)
            await assertFails(code) {
                try await client.submit(module: module, inputs: [Data()], options: options)
            }
        }
        let client = try FogClient(token: try fog.issueToken())
        await assertFails(.invalidJob) { try await client.submit(module: module, inputs: []) }
        await assertFails(.unknownTask) { try await client.job(job: digits(16)) }
        await assertFails(.unknownTask) { try await client.log(task: digits(16)) }
        for wrong in [
            FogJobOptions(id: "x"), FogJobOptions(limits: Limits(fuel: 0)),
            FogJobOptions(privacy: "open"),
        ] {
            await assertFails(.invalidArgument) {
                try await client.submit(module: module, inputs: [Data()], options: wrong)
            }
        }
        for wrong in ["", "x", digits(15), digits(17)] {
            await assertFails(.invalidArgument) { try await client.job(job: wrong) }
            await assertFails(.invalidArgument) { try await client.drain(node: wrong) }
        }
        assertFails(.invalidArgument) { try client.startWait(job: "x") }
        assertFails(.invalidArgument) {
            try fog.issueToken(options: FogTokenOptions(actions: ["rule"]))
        }
        let token = try fog.issueToken()
        let key = token.replacingOccurrences(of: "key = ", with: "key = 1 #")
        for wrong in ["", "address = 1", key] {
            assertFails(.invalidToken, wrong) { try FogClient(token: wrong) }
        }
        // Whoever answers there is another one.
        let other = try FogCoordinator(data: folder + "/other")
        let strange = try FogClient(
            token: token.replacingOccurrences(of: fog.address(), with: other.address()),
            patienceMs: 200)
        await assertFails(.coordinatorUnreachable) { try await strange.jobs() }
        fog.close()
        let lost = try FogClient(token: token, patienceMs: 200)
        await assertFails(.coordinatorUnreachable) { try await lost.jobs() }
        await assertFails(.coordinatorUnreachable) {
            for try await _ in try lost.watch() { XCTFail("nobody is there") }
        }
    }

    func testWhatCannotBeStartedSaysWhy() async throws {
        let folder = try folder()
        let fog = try FogCoordinator(data: folder + "/fog")
        assertFails(.listen) {
            try FogCoordinator(
                data: folder + "/other", options: FogCoordinatorOptions(listen: fog.address()))
        }
        for wrong in [
            FogCoordinatorOptions(listen: "here"), FogCoordinatorOptions(layers: 0),
            FogCoordinatorOptions(placement: "x"), FogCoordinatorOptions(nodesMax: 0),
        ] {
            assertFails(.invalidArgument) {
                try FogCoordinator(data: folder + "/other", options: wrong)
            }
        }
        func node(_ options: FogNodeOptions, id: String? = nil) throws -> FogNode {
            try FogNode(
                coordinator: fog.address(), coordinatorId: id ?? fog.id(), data: folder + "/node",
                options: options)
        }
        assertFails(.listen) { try node(FogNodeOptions(listen: fog.address())) }
        assertFails(.invalidArgument) { try node(FogNodeOptions(heartbeatMs: 0)) }
        assertFails(.invalidArgument) { try node(FogNodeOptions(nodesOnMachine: 0)) }
        assertFails(.invalidArgument) { try node(FogNodeOptions(), id: "x") }

        // The fog has one layer.
        let fourth = try node(FogNodeOptions(layer: 3, policy: .always()))
        var trouble: String?
        while trouble == nil {
            await Task.yield()
            trouble = try fourth.status().trouble
        }
        XCTAssertTrue(trouble?.contains("refused this node") == true, trouble ?? "")
        let joined = Task { try await fourth.joined() }
        fourth.close()
        await assertFails(.closed) { try await joined.value }
    }

    func testAProbeWrittenInSwiftDecidesWhetherANodeLends() async throws {
        let folder = try folder()
        let fog = try FogCoordinator(data: folder + "/fog")
        let policy = try HarvestPolicy.fromToml(
            text: """
                window = "any"
                user_idle_min_seconds = 0
                user_idle_continue_min_seconds = 0
                resume_delay_seconds = 0
                """)
        let screen = Screen()
        let mix = try node(fog, folder + "/mix", layer: 0)
        let compute = try node(fog, folder + "/compute", policy: policy, probe: screen)
        try await mix.joined()
        try await compute.joined()
        let (client, module) = (try client(fog), try Checkout.example("sum"))
        var waiting = [String]()
        for state in [Screen.State.broken, .on] {
            let before = screen.becomes(state)
            while screen.readings == before { await Task.yield() }
            XCTAssertFalse(try compute.status().lends)
            // It may lend later, so a job waits for it.
            let job = try await client.submit(module: module, inputs: [Data([5])])
            XCTAssertEqual(job.open, 1)
            waiting.append(job.id)
        }
        _ = screen.becomes(.off)
        for job in waiting {
            let ended = try await client.wait(job: job)
            XCTAssertEqual(ended.succeeded, 1)
        }
        XCTAssertTrue(try compute.status().lends)
    }
}

/// A server that lends when its screen is off.
private final class Screen: DeviceProbe, @unchecked Sendable {
    enum State { case broken, on, off }

    private let lock = NSLock()
    private var state = State.broken
    private var count = 0

    var readings: Int {
        lock.lock()
        defer { lock.unlock() }
        return count
    }

    /// Returns how often it was read before.
    func becomes(_ state: State) -> Int {
        lock.lock()
        defer { lock.unlock() }
        self.state = state
        return count
    }

    func read() throws -> DeviceState {
        lock.lock()
        defer { lock.unlock() }
        count += 1
        if state == .broken { throw ProbeError.Host(reason: "no sensor answers") }
        return DeviceState(
            deviceClass: .server, battery: .absent, network: .ethernet, cpuCores: 4, cpuLoad: 0.1,
            memoryTotalBytes: 16 << 30, memoryAvailableBytes: 8 << 30, temperatureCelsius: 40,
            metered: false, screenOn: state == .on)
    }
}
