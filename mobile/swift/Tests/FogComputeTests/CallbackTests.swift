import FogCompute
import Foundation
import XCTest

/// What the application implements: a battery probe, a problem.
final class HostProbe: BatteryProbe {
    let read: @Sendable () throws -> Battery

    init(_ read: @escaping @Sendable () throws -> Battery) { self.read = read }

    func battery() throws -> Battery { try read() }
}

final class HostProblem: Problem {
    let declared: [Variable]
    let objectives: UInt32
    let worth: @Sendable ([Double]) throws -> Evaluation

    init(
        variables: [Variable], objectives: UInt32,
        _ worth: @escaping @Sendable ([Double]) throws -> Evaluation
    ) {
        (self.declared, self.objectives, self.worth) = (variables, objectives, worth)
    }

    func variables() throws -> [Variable] { declared }
    func objectiveCount() throws -> UInt32 { objectives }
    func evaluate(genes: [Double]) throws -> Evaluation { try worth(genes) }
}

/// An error of the application's own.
struct Bug: Error {
    let what: String
}

final class CallbackTests: XCTestCase {
    private func decide(_ battery: @escaping @Sendable () throws -> Battery) throws -> Decision {
        let state = DeviceState(deviceClass: .laptop, battery: .unknown, network: .ethernet)
        return try HarvestPolicy().decideWithProbe(state: state, probe: HostProbe(battery))
    }

    func testTheProbesReadingIsDecidedOn() throws {
        let low = try decide { .present(levelPercent: 12, charging: true) }
        XCTAssertEqual(low.verdict, .refuse)
        XCTAssertTrue(low.reasons.contains { $0.code == "battery_low" && $0.objection })
        let absent = try decide { .absent }
        XCTAssertFalse(absent.reasons.contains { $0.code.contains("battery") })
    }

    func testAProbesOwnErrorArrives() throws {
        let failed = assertFails(.hostCallback) {
            try decide { throw ProbeError.Host(reason: "no permission") }
        }
        XCTAssertEqual(failed?.message.hasSuffix("no permission"), true)
        assertFails(.probeFailed) { try decide { throw ProbeError.Unavailable } }
    }

    func testAProbesUnexpectedErrorArrives() throws {
        let failed = assertFails(.hostCallback) { try decide { throw Bug(what: "a wrong turn") } }
        XCTAssertEqual(failed?.message.contains("a wrong turn"), true)
    }

    private func optimise(
        _ worth: @escaping @Sendable (Double) throws -> Evaluation
    ) throws -> Front {
        let problem = HostProblem(variables: [.real(low: -10, high: 10)], objectives: 1) { genes in
            try worth(genes[0])
        }
        return try nsga2(problem: problem, config: Nsga2(population: 8, generations: 4), seed: 3)
    }

    func testAProblemsFailuresArrive() throws {
        let own = assertFails(.hostCallback) {
            try optimise { _ in throw ProblemError.Host(reason: "no simulator") }
        }
        XCTAssertEqual(own?.message, "no simulator")
        assertFails(.hostCallback) { try optimise { _ in throw Bug(what: "x") } }
    }

    func testAProblemThatAnswersWronglyIsRefused() throws {
        assertFails(.notFinite) { try optimise { _ in Evaluation(objectives: [.nan]) } }
        assertFails(.notFinite) { try optimise { _ in Evaluation(objectives: [1], violation: -1) } }
        assertFails(.invalidProblem) { try optimise { _ in Evaluation(objectives: [1, 2]) } }
    }

    func testGenomesToStartFromAreUsed() throws {
        let problem = HostProblem(variables: [.real(low: 0, high: 1e9)], objectives: 1) { genes in
            Evaluation(objectives: genes)
        }
        let config = Nsga2(population: 4, generations: 0)
        let front = try nsga2(problem: problem, config: config, seed: 1, initial: [[0]])
        XCTAssertEqual(front.individuals.map(\.genes), [[0]])
        assertFails(.invalidProblem) {
            try nsga2(problem: problem, config: config, seed: 1, initial: [[-1]])
        }
    }
}
