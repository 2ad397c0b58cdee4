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
    let declared: Genome
    let objectives: UInt32
    let worth: @Sendable ([Double]) throws -> Evaluation

    init(
        variables: [Variable], objectives: UInt32,
        _ worth: @escaping @Sendable ([Double]) throws -> Evaluation
    ) {
        (self.declared, self.objectives, self.worth) = (
            .variables(variables: variables), objectives, worth
        )
    }

    init(
        orderOf length: UInt32, objectives: UInt32,
        _ worth: @escaping @Sendable ([Double]) throws -> Evaluation
    ) {
        (self.declared, self.objectives, self.worth) = (
            .permutation(length: length), objectives, worth
        )
    }

    func genome() throws -> Genome { declared }
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
        return try minimize(
            problem: problem, config: SearchConfig(population: 8, generations: 4), seed: 3)
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
        let config = SearchConfig(population: 4, generations: 0)
        let front = try minimize(problem: problem, config: config, seed: 1, initial: [[0]])
        XCTAssertEqual(front.individuals.map(\.genes), [[0]])
        assertFails(.invalidProblem) {
            try minimize(problem: problem, config: config, seed: 1, initial: [[-1]])
        }
    }

    func testASearchGoesOnFromWhatWasSaved() throws {
        let problem = HostProblem(variables: [.real(low: -10, high: 10)], objectives: 2) { genes in
            Evaluation(objectives: [genes[0] * genes[0], (genes[0] - 2) * (genes[0] - 2)])
        }
        let directions = try referenceDirections(objectiveCount: 2, divisions: 11)
        for selection in [.crowding, .directions(directions: directions), .hypervolume]
            as [Selection]
        {
            let config = SearchConfig(selection: selection, population: 12, generations: 9)
            let whole = try minimize(problem: problem, config: config, seed: 3)
            let search = try Search(problem: problem, config: config, seed: 3)
            try search.step()
            XCTAssertNil(try search.ended())
            let resumed = try Search.resume(
                problem: problem, config: config, state: search.save())
            while try resumed.ended() == nil { try resumed.step() }
            XCTAssertEqual(try resumed.ended(), .generations)
            XCTAssertEqual(try resumed.front(), whole)
        }
        assertFails(.invalidProblem) {
            try Search.resume(problem: problem, config: SearchConfig(), state: Data([1, 2, 3]))
        }
    }

    func testAnOrderIsFound() throws {
        let problem = HostProblem(orderOf: 3, objectives: 1) { genes in
            Evaluation(objectives: [genes[0] + 2 * genes[1]])
        }
        let stagnation = Stagnation(generations: 20, tolerance: 0.01)
        let front = try minimize(
            problem: problem, config: SearchConfig(stagnation: stagnation), seed: 1)
        XCTAssertEqual(front.individuals.map(\.genes), [[1, 0, 2]])
    }

    func testFrontsAreMeasured() throws {
        let front = [[0, 1], [0.5, 0.5], [1, 0]]
        XCTAssertEqual(try nonDominatedSort(points: [[1, 2], [2, 1], [2, 2]]), [0, 0, 1])
        XCTAssertEqual(try nonDominatedSort(points: []), [])
        XCTAssertEqual(try hypervolume(points: front, reference: [2, 2]), 3.25)
        XCTAssertEqual(try igd(points: front, known: front), 0)
        XCTAssertEqual(try igdPlus(points: [[0, 2]], known: [[0, 1]]), 1)
        XCTAssertEqual(try spacing(points: front), 0)
        XCTAssertEqual(try spread(points: front, ends: [front[0], front[2]]), 0)
        XCTAssertEqual(try referenceDirections(objectiveCount: 3, divisions: 12).count, 91)
        assertFails(.invalidArgument) { try nonDominatedSort(points: [[1, 2], [1]]) }
        assertFails(.invalidArgument) { try hypervolume(points: [[.nan, 1]], reference: [1, 1]) }
        assertFails(.invalidArgument) { try igd(points: [], known: front) }
        assertFails(.invalidArgument) { try referenceDirections(objectiveCount: 0, divisions: 1) }
    }
}
