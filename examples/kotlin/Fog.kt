// A fog in one program: its coordinator, a mixnode, two nodes that compute, and who submits. Each of them
// could as well be on another machine.
package example.fog

import dev.fogcompute.FogClient
import dev.fogcompute.FogCoordinator
import dev.fogcompute.FogEventKind
import dev.fogcompute.FogNode
import dev.fogcompute.FogNodeOptions
import dev.fogcompute.HarvestPolicy
import dev.fogcompute.joined
import dev.fogcompute.wait
import dev.fogcompute.watch
import java.io.File
import kotlin.io.path.createTempDirectory
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking

fun main(arguments: Array<String>) = runBlocking {
    val module = File(arguments.firstOrNull() ?: "examples/wasm/words.wasm").readBytes()
    val folder = createTempDirectory("fog").toFile()
    val fog = FogCoordinator("$folder/fog")

    fun node(name: String, layer: UByte? = null): FogNode {
        val options = FogNodeOptions(layer, policy = HarvestPolicy.always())
        return FogNode(fog.address(), fog.id(), "$folder/$name", options)
    }

    val nodes = listOf(node("mix", 0u), node("first"), node("second"))
    nodes.forEach { it.joined() }
    FogClient(fog.issueToken()).use { client ->
        val texts = (1..20).map { "fog ".repeat(it).toByteArray() }
        val job = client.submit(module, texts)
        println("${job.open} tasks in a fog of ${nodes.size} nodes")

        // What a node has not finished when it ends, the other one does.
        client.watch().first { it.kind == FogEventKind.ENDED }
        nodes.last().close()
        println("a node is gone")

        client.wait(job.id)
        val counts = client.tasks(job.id).map { client.result(it.id).output[0].toInt() }
        println("every text was counted: ${counts == (1..20).toList()}")
    }
    nodes.forEach { it.close() }
    fog.close()
    check(folder.deleteRecursively())
}
