// How fast should processors run, and how many? Finds the compromises between time and energy.
import FogCompute
import Foundation

/// A clock from 0.5 to 3 GHz and 1 to 16 nodes, for work that must be done in 10 seconds.
final class Cluster: Problem {
    func genome() throws -> Genome {
        .variables(variables: [.real(low: 0.5, high: 3), .integer(low: 1, high: 16)])
    }

    func objectiveCount() throws -> UInt32 { 2 }

    func evaluate(genes: [Double]) throws -> Evaluation {
        let (clock, nodes) = (genes[0], genes[1])
        let seconds = 24 / (clock * nodes) + 0.2 * nodes
        let joules = nodes * (1 + clock * clock * clock) * seconds
        return Evaluation(objectives: [seconds, joules], violation: max(0, seconds - 10))
    }
}

let config = SearchConfig(population: 40, generations: 100)
let front = try minimize(problem: Cluster(), config: config, seed: 1)
for (name, found) in [("fastest", front.individuals[0]), ("thriftiest", front.individuals.last!)] {
    let what = String(
        format: "%.0f nodes at %.1f GHz, %.1f s, %.0f J",
        found.genes[1], found.genes[0], found.objectives[0], found.objectives[1])
    print("\(name): \(what)")
}
