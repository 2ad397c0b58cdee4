import FogCompute
import Foundation
import XCTest

/// A device whose readings a test decides about.
private final class Device: DeviceProbe, @unchecked Sendable {
    private let lock = NSLock()
    private var reading: @Sendable () throws -> DeviceState

    init(_ reading: @escaping @Sendable () throws -> DeviceState) { self.reading = reading }

    func becomes(_ reading: @escaping @Sendable () throws -> DeviceState) {
        lock.lock()
        self.reading = reading
        lock.unlock()
    }

    func read() throws -> DeviceState {
        lock.lock()
        let reading = self.reading
        lock.unlock()
        return try reading()
    }
}

/// A device that lends, unless its screen is on.
private func device(_ deviceClass: DeviceClass = .server, screenOn: Bool = false) -> DeviceState {
    DeviceState(
        deviceClass: deviceClass, battery: .absent, network: .ethernet, cpuCores: 4, cpuLoad: 0.1,
        memoryTotalBytes: 16 << 30, memoryAvailableBytes: 8 << 30, temperatureCelsius: 40,
        metered: false, screenOn: screenOn)
}

/// Tasks that a worker keeps, and probes that are written in Swift.
final class WorkerTests: XCTestCase {
    private let days = Limits(fuel: 100_000_000_000_000)

    /// Reads the device at its start and whenever it is told to look.
    private func worker(
        _ probe: DeviceProbe = Device { device() }, path: String? = nil, slots: UInt32 = 2
    ) throws -> Worker {
        let atAnyHour = """
            window = "any"
            user_idle_min_seconds = 0
            user_idle_continue_min_seconds = 0
            resume_delay_seconds = 0
            """
        return try Worker(
            policy: HarvestPolicy.fromToml(text: atAnyHour), probe: probe, path: path,
            slots: slots, readingEveryMs: 3_600_000)
    }

    /// The worker's status as soon as that holds of it.
    private func until(
        _ worker: Worker, _ holds: (WorkerStatus) -> Bool
    ) async throws -> WorkerStatus {
        while true {
            let status = try worker.status()
            if holds(status) { return status }
            await Task.yield()
        }
    }

    private func until(_ task: WorkerTask, is state: String) async throws {
        while try task.status().state != state { await Task.yield() }
    }

    private func number(_ value: UInt8) -> Data { Data([value, 0, 0, 0, 0, 0, 0, 0]) }

    private func temporaryFolder() throws -> URL {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        addTeardownBlock { try FileManager.default.removeItem(at: folder) }
        return folder
    }

    func testATaskRunsAndItsOutputStays() async throws {
        let path = try temporaryFolder().appendingPathComponent("tasks").path
        let (sum, input) = (try Checkout.example("sum"), Data([1, 2, 39]))
        let first = try self.worker(path: path)
        let task = try first.submit(module: sum, input: input, key: "once")
        XCTAssertEqual(task.id().count, 32)
        let done = try await task.wait()
        XCTAssertEqual(done.output, number(42))
        XCTAssertGreaterThan(done.usage.fuel, 0)
        let repeated = try first.submit(module: sum, input: input, key: "once")
        XCTAssertEqual(repeated.id(), task.id())
        assertFails(.idReused) {
            try first.submit(module: sum, input: Data([1]), key: "once")
        }
        assertFails(.storageLocked) { try self.worker(path: path) }
        first.close()
        assertFails(.closed) { try task.status() }
        assertFails(.closed) { try first.status() }

        let second = try self.worker(path: path)
        defer { second.close() }
        let again = try second.task(id: task.id())
        XCTAssertEqual(try again.fetch().output, number(42))
        let waited = try await again.wait()
        XCTAssertEqual(waited.output, number(42))
        XCTAssertEqual(try again.status().state, "succeeded")
        XCTAssertEqual(try again.status().attempts, 1)
    }

    func testATaskThatHasNotEndedGoesOnWhenTheWorkerIsOpenedAgain() async throws {
        let path = try temporaryFolder().appendingPathComponent("tasks").path
        let text = Data("one two".utf8)
        let held: WorkerTask
        do {
            let first = try self.worker(Device { device(screenOn: true) }, path: path)
            held = try first.submit(module: Checkout.example("words"), input: text)
        }
        // Who still has a task keeps neither the worker nor its file open.
        assertFails(.closed) { try held.status() }
        let second = try self.worker(path: path)
        defer { second.close() }
        let done = try await second.task(id: held.id()).wait()
        XCTAssertEqual(done.output, number(2))
    }

    func testAProbeDecidesWhenTasksRun() async throws {
        let probe = Device { device(screenOn: true) }
        let worker = try self.worker(probe)
        defer { worker.close() }
        let refused = try await until(worker) { $0.readings > 0 }
        XCTAssertFalse(refused.lends)
        XCTAssertEqual(refused.state, "idle")
        XCTAssertEqual(refused.slots, 0)
        XCTAssertEqual(refused.cpuShare, 0)
        XCTAssertTrue(refused.reasons.contains { $0.code == "screen_on" && $0.objection })
        let text = Data("what is\nwaited for".utf8)
        let task = try worker.submit(module: Checkout.example("words"), input: text)
        XCTAssertEqual(try task.status().state, "queued")
        assertFails(.taskOpen) { try task.fetch() }
        XCTAssertEqual(try worker.status().tasksOpen, 1)
        XCTAssertEqual(try worker.status().tasksRunning, 0)

        probe.becomes { device() }
        worker.look()
        let done = try await task.wait()
        XCTAssertEqual(done.output, number(4))
        let running = try worker.status()
        XCTAssertTrue(running.lends)
        XCTAssertEqual(running.state, "running")
        // Half of four processors.
        XCTAssertEqual(running.slots, 2)
        XCTAssertEqual(running.tasksOpen, 0)
    }

    func testARunningTaskIsSuspendedWhileItsOwnerIsThere() async throws {
        let probe = Device { device() }
        let worker = try self.worker(probe)
        defer { worker.close() }
        let task = try worker.submit(module: Checkout.endless(), input: Data(), limits: days)
        try await until(task, is: "running")
        probe.becomes { device(screenOn: true) }
        worker.look()
        try await until(task, is: "suspended")
        probe.becomes { device() }
        worker.look()
        try await until(task, is: "running")
        try worker.setPolicy(policy: HarvestPolicy.fromToml(text: "require = \"false\""))
        worker.look()
        try await until(task, is: "suspended")
        try task.cancel()
    }

    func testAProbeThatThrowsMakesTheDeviceUnknown() async throws {
        let probe = Device { device(.phone, screenOn: true) }
        let worker = try self.worker(probe)
        defer { worker.close() }
        _ = try await until(worker) { $0.state == "idle" }
        let task = try worker.submit(module: Checkout.example("sum"), input: Data([42]))
        let thrown: [(String, Error)] = [
            ("no permission", ProbeError.Host(reason: "no permission")),
            ("a wrong turn", Bug(what: "a wrong turn")),
        ]
        for (told, error) in thrown {
            probe.becomes { throw error }
            worker.look()
            let status = try await until(worker) { $0.probeError?.contains(told) == true }
            XCTAssertFalse(status.lends)
            let unknown = status.reasons.filter { $0.code == "reading_unknown" && $0.objection }
            XCTAssertTrue(unknown.contains { $0.text.contains("battery") }, "\(unknown)")
            XCTAssertEqual(try task.status().state, "queued")
        }
        probe.becomes { device() }
        worker.look()
        let done = try await task.wait()
        XCTAssertEqual(done.output, number(42))
        XCTAssertNil(try worker.status().probeError)
    }

    func testADeviceThatWasNeverReadDoesNothing() async throws {
        let worker = try self.worker(Device { throw ProbeError.Unavailable })
        defer { worker.close() }
        let task = try worker.submit(module: Checkout.example("sum"), input: Data([1]))
        let status = try await until(worker) { $0.probeError != nil }
        XCTAssertFalse(status.lends)
        XCTAssertNil(status.state)
        XCTAssertEqual(try task.status().state, "queued")
    }

    func testACancelledTaskEndsWithItsError() async throws {
        let worker = try self.worker()
        defer { worker.close() }
        let task = try worker.submit(module: Checkout.endless(), input: Data(), limits: days)
        try await until(task, is: "running")
        try task.cancel()
        await assertFails(.cancelled) { try await task.wait() }
        assertFails(.cancelled) { try task.fetch() }
        assertFails(.cancelled) { try task.cancel() }
        XCTAssertEqual(try task.status().state, "cancelled")
    }

    func testALogIsReadWhileTheTaskWritesIt() async throws {
        let (worker, says) = (try self.worker(), try Checkout.example("says"))
        defer { worker.close() }
        func lines(_ task: WorkerTask) async throws -> [String] {
            var lines = [String]()
            for try await line in task.log { lines.append(line) }
            return lines
        }
        let text = Data("one\ntwo é\n".utf8)
        let task = try worker.submit(module: says, input: text)
        let all = try await lines(task)
        XCTAssertEqual(all, ["one", "two é"])
        let piece = try await task.readLog(start: 4)
        XCTAssertEqual(piece, TaskLog(data: Data("two é\n".utf8), next: 11, ended: true))
        let start = try await task.readLog(bytesMax: 2)
        XCTAssertEqual(start.data, Data("on".utf8))
        let cut = try worker.submit(module: says, input: text, limits: Limits(logBytes: 3))
        let few = try await lines(cut)
        XCTAssertEqual(few, ["one"])

        // One that says nothing: its reader can give up, and is told of the end.
        let silent = try worker.submit(module: Checkout.endless(), input: Data(), limits: days)
        let reader = Task { try await lines(silent) }
        reader.cancel()
        await assertFails(.cancelled) { try await reader.value }
        let waiting = Task { try await lines(silent) }
        try silent.cancel()
        let none = try await waiting.value
        XCTAssertEqual(none, [])
    }

    func testMapGivesTheOutputsInTheOrderOfTheInputs() async throws {
        let (worker, sum) = (try self.worker(), try Checkout.example("sum"))
        defer { worker.close() }
        let inputs = (0..<20).map { Data([UInt8($0)]) }
        let outputs = try await worker.map(module: sum, inputs: inputs)
        XCTAssertEqual(outputs.map(\.output), (0..<20).map { number(UInt8($0)) })
        let none = try await worker.map(module: sum, inputs: [])
        XCTAssertEqual(none.count, 0)
        let endless = try Checkout.endless()
        await assertFails(.outOfFuel) {
            try await worker.map(module: endless, inputs: inputs, limits: Limits(fuel: 1_000))
        }
        let waiting = Task { try await worker.map(module: endless, inputs: inputs, limits: days) }
        _ = try await until(worker) { $0.tasksRunning == 2 }
        waiting.cancel()
        await assertFails(.cancelled) { try await waiting.value }
        _ = try await until(worker) { $0.tasksOpen == 0 }
    }

    func testCancellingTheSwiftTaskThatWaitsLeavesTheTask() async throws {
        let probe = Device { device(screenOn: true) }
        let worker = try self.worker(probe)
        defer { worker.close() }
        let task = try worker.submit(module: Checkout.example("sum"), input: Data([7]))
        let waiting = Task { try await task.wait() }
        waiting.cancel()
        await assertFails(.cancelled) { try await waiting.value }
        XCTAssertEqual(try task.status().state, "queued")
        probe.becomes { device() }
        worker.look()
        let done = try await task.wait()
        XCTAssertEqual(done.output, number(7))
    }

    func testATaskThatTakesTooLongEnds() async throws {
        let worker = try self.worker()
        defer { worker.close() }
        let limits = Limits(fuel: 100_000_000_000_000, wallMs: 20)
        let task = try worker.submit(module: Checkout.endless(), input: Data(), limits: limits)
        await assertFails(.taskTimedOut) { try await task.wait() }
    }

    func testAPhoneHasAPolicyOfItsOwn() throws {
        let phone = DeviceState(
            deviceClass: .phone, battery: .present(levelPercent: 45, charging: true),
            network: .wifi)
        func isLow(_ policy: HarvestPolicy) throws -> Bool {
            try policy.decide(state: phone).reasons.contains { $0.code == "battery_low" }
        }
        XCTAssertFalse(try isLow(HarvestPolicy()))
        let policy = HarvestPolicy.phone()
        XCTAssertTrue(try isLow(policy))
        XCTAssertFalse(try isLow(policy.withToml(text: "battery_percent_min = 40.0")))
        assertFails(.invalidPolicy) { try policy.withToml(text: "batery = 1") }
    }

    func testWhatCannotBeMadeOrTakenIsRefused() async throws {
        assertFails(.invalidArgument) { try self.worker(slots: 0) }
        assertFails(.invalidArgument) {
            try Worker(policy: HarvestPolicy(), probe: Device { device() }, readingEveryMs: 0)
        }
        let folder = try temporaryFolder().path
        assertFails(.storageIsFolder) { try self.worker(path: folder) }
        let (worker, sum) = (try self.worker(), try Checkout.example("sum"))
        defer { worker.close() }
        assertFails(.unknownTask) {
            try worker.task(id: String(repeating: "0a", count: 16))
        }
        assertFails(.invalidArgument) { try worker.task(id: "no id") }
        let large = Data(count: (1 << 20) + 1)
        assertFails(.invalidArgument) { try worker.submit(module: sum, input: large) }
        assertFails(.invalidArgument) { try worker.submit(module: Data(), input: Data()) }
        assertFails(.invalidArgument) {
            try worker.submit(module: sum, input: Data(), key: "")
        }
        let junk = try worker.submit(module: Data("junk".utf8), input: Data())
        await assertFails(.invalidModule) { try await junk.wait() }
        XCTAssertEqual(try junk.status().state, "failed")
    }
}
