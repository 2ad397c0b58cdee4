import FogCompute
import Foundation
import XCTest

final class FogTests: XCTestCase {
    /// One worker, so that what runs keeps others waiting; so cheap that it may run for days.
    private func smallFog() throws -> Fog { try Fog(workers: 1, pricePerGigafuel: "1") }

    private let days = Limits(fuel: 100_000_000_000_000)

    func testManyTasksRunAtOnce() async throws {
        let (fog, echo) = (try Fog(workers: 2, seed: 5), try Checkout.example("echo"))
        defer { fog.close() }
        let outputs = try await withThrowingTaskGroup(of: UInt8.self) { group in
            for number in UInt8(1)...40 {
                group.addTask { try await fog.run(module: echo, input: Data([number])).output[0] }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        XCTAssertEqual(outputs.sorted(), Array(1...40))
        let stats = try fog.stats()
        XCTAssertEqual(stats.succeeded, 40)
        XCTAssertEqual(stats.failed, 0)
        XCTAssertNotEqual(stats.paid, "0")
    }

    func testASubmittedTaskIsWaitedForOnce() async throws {
        let fog = try Fog(workers: 1)
        defer { fog.close() }
        let task = try fog.submit(module: Checkout.example("sum"), input: Data([40, 2]))
        XCTAssertEqual(task.id().count, 32)
        let output = try await task.wait().output
        XCTAssertEqual(output, Data([42, 0, 0, 0, 0, 0, 0, 0]))
        await assertFails(.closed) { try await task.wait() }
    }

    func testACancelledTaskEndsWithItsError() async throws {
        let fog = try smallFog()
        defer { fog.close() }
        let task = try fog.submit(module: Checkout.endless(), input: Data(), limits: days)
        task.cancel()
        await assertFails(.cancelled) { try await task.wait() }
    }

    func testCancellingTheSwiftTaskCancelsTheTask() async throws {
        let (fog, endless, days) = (try smallFog(), try Checkout.endless(), days)
        defer { fog.close() }
        let waiting = Task { try await fog.run(module: endless, input: Data(), limits: days) }
        await Task.yield()
        waiting.cancel()
        await assertFails(.cancelled) { try await waiting.value }
        // The only worker is free again: else this would never end.
        let echo = try Checkout.example("echo")
        let output = try await fog.run(module: echo, input: Data([7])).output
        XCTAssertEqual(output, Data([7]))
    }

    func testClosingTheFogEndsWhatWaits() async throws {
        let fog = try smallFog()
        let task = try fog.submit(module: Checkout.endless(), input: Data(), limits: days)
        async let ended = assertFails(.closed) { try await task.wait() }
        fog.close()
        _ = await ended
        fog.close()
        assertFails(.closed) { try fog.stats() }
        assertFails(.closed) { try fog.submit(module: Data([1]), input: Data()) }
    }

    func testAFogThatMakesNoSenseIsRefused() throws {
        assertFails(.invalidArgument) { try Fog(workers: 0) }
        assertFails(.invalidArgument) { try Fog(workers: .max) }
        assertFails(.invalidArgument) { try Fog(endowment: "1.5") }
    }
}
