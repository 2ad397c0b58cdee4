// How fast should processors run, and how many? Finds the compromises between time and energy.
package example.optimise

import dev.fogcompute.Evaluation
import dev.fogcompute.Genome
import dev.fogcompute.Individual
import dev.fogcompute.Problem
import dev.fogcompute.SearchConfig
import dev.fogcompute.Variable
import dev.fogcompute.minimize
import java.util.Locale

/** A clock from 0.5 to 3 GHz and 1 to 16 nodes, for work that must be done in 10 seconds. */
object Cluster : Problem {
    override fun genome() = Genome.Variables(listOf(Variable.Real(0.5, 3.0), Variable.Integer(1, 16)))
    override fun objectiveCount() = 2u

    override fun evaluate(genes: List<Double>): Evaluation {
        val (clock, nodes) = genes
        val seconds = 24 / (clock * nodes) + 0.2 * nodes
        val joules = nodes * (1 + clock * clock * clock) * seconds
        return Evaluation(listOf(seconds, joules), violation = maxOf(0.0, seconds - 10))
    }
}

fun main() {
    val config = SearchConfig(population = 40u, generations = 100u)
    val front = minimize(Cluster, config, seed = 1u)
    show("fastest", front.individuals.first())
    show("thriftiest", front.individuals.last())
}

private fun show(name: String, found: Individual) {
    val (clock, nodes) = found.genes
    val (seconds, joules) = found.objectives
    println("%s: %.0f nodes at %.1f GHz, %.1f s, %.0f J".format(Locale.ROOT, name, nodes, clock, seconds, joules))
}
