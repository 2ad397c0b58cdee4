// A mixnet in one program: three mixnodes, two clients, a question and its answer.
package example.mixnet

import dev.fogcompute.MixnetClient
import dev.fogcompute.MixnetNode
import dev.fogcompute.Topology
import dev.fogcompute.receive
import dev.fogcompute.request
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

fun main() = runBlocking {
    // Three layers of one mixnode each, on UDP ports that are free. Each must know the others.
    val nodes = List(3) { MixnetNode() }
    val topology = Topology(nodes.map { listOf(it.descriptor()) })
    nodes.forEach { it.setTopology(topology) }

    MixnetClient(topology).use { alice ->
        MixnetClient(topology).use { bob ->
            // Bob answers without learning who asked.
            launch {
                val question = bob.receive()
                println("bob is asked: ${question.body().decodeToString()}")
                bob.reply(question, "bob".toByteArray())
            }
            val answer = alice.request(bob.contact(), "who is there?".toByteArray())
            println("alice is told: ${answer.decodeToString()}")
        }
    }
    nodes.forEach { it.close() }
}
