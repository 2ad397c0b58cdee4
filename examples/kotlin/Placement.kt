// Which node takes which job? Three services and a job for a GPU that nobody has.
package example.placement

import dev.fogcompute.Domain
import dev.fogcompute.FogJob
import dev.fogcompute.Node
import dev.fogcompute.Nsga2
import dev.fogcompute.Preference
import dev.fogcompute.Sharing
import dev.fogcompute.Spread
import dev.fogcompute.Tier
import dev.fogcompute.place
import dev.fogcompute.placeWhatFits

private val GIB = 1UL shl 30

private fun id(name: String) = name.repeat(16)

fun main() {
    val web = Spread("web", over = Domain.ZONE, most = 2u)
    val jobs = listOf(
        // Gold: on three nodes in different zones that different people run.
        FogJob(id("a0"), 500u, GIB, durationMs = 1000u, tier = Tier.GOLD, spread = web),
        FogJob(id("b0"), 500u, GIB, durationMs = 1000u, spread = web),
        // On the same node as the job before.
        FogJob(id("c0"), 250u, GIB, durationMs = 1000u, affinity = listOf(id("b0"))),
    )
    val homes = listOf("a" to "ann", "b" to "bob", "c" to "cyd", "a" to "bob")
    val nodes = homes.mapIndexed { index, (zone, operator) ->
        Node(
            id = "0".repeat(63) + (index + 1),
            cpuMillisFree = 2000u,
            cpuMillisTotal = 2000u,
            memoryBytesFree = GIB * 4u,
            trust = 0.9,
            pricePerCpuSecond = (index + 1).toULong(),
            zone = zone,
            operator = operator,
            availability = 0.98,
            errorRate = 0.0005,
        )
    }

    val plan = place(jobs, nodes, Sharing.CONCURRENT, Nsga2(), Preference.Knee, seed = 1u)
    for ((task, node) in plan.front[plan.chosen.toInt()].assignment) {
        println("${task.take(2)} on node ${node.takeLast(1)}")
    }

    val greedy = FogJob(id("d0"), 500u, GIB, durationMs = 1000u, gpus = 1u)
    val all = jobs + greedy
    val partial = placeWhatFits(all, nodes, Sharing.CONCURRENT, Nsga2(), Preference.Knee, seed = 1u)
    for (left in partial.leftOut) {
        println("${left.task.take(2)} is left out: ${left.explanation}")
    }
}
