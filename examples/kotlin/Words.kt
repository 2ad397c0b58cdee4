// Counts the words of files, each in a sandbox, with a worker that keeps its tasks.
package example.words

import com.sun.management.OperatingSystemMXBean
import dev.fogcompute.Battery
import dev.fogcompute.DeviceClass
import dev.fogcompute.DeviceProbe
import dev.fogcompute.DeviceState
import dev.fogcompute.HarvestPolicy
import dev.fogcompute.Network
import dev.fogcompute.Worker
import dev.fogcompute.wait
import java.io.File
import java.lang.management.ManagementFactory
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlin.io.path.createTempDirectory
import kotlinx.coroutines.runBlocking

/** What there is to lend. Nothing else matters to a policy that always lends. */
object Machine : DeviceProbe {
    private val system = ManagementFactory.getOperatingSystemMXBean() as OperatingSystemMXBean

    override fun read() = DeviceState(
        DeviceClass.SERVER,
        Battery.Unknown,
        Network.UNKNOWN,
        cpuCores = system.availableProcessors.toUInt(),
        memoryTotalBytes = system.totalMemorySize.toULong(),
    )
}

/** The module, then the files, which have up to 1 MiB each. */
fun main(args: Array<String>) = runBlocking {
    val module = File(args.first()).readBytes()
    val folder = createTempDirectory().toFile()
    try {
        val path = folder.resolve("tasks").path
        HarvestPolicy.always().use { Worker(it, Machine, path) }.use { worker ->
            // All are handed in, and on disk, before the first is waited for.
            val tasks = args.drop(1).map(::File).map { it to worker.submit(module, it.readBytes()) }
            for ((file, task) in tasks) {
                val output = task.use { it.wait() }.output
                val words = ByteBuffer.wrap(output).order(ByteOrder.LITTLE_ENDIAN).long
                println("${file.name}: $words words")
            }
        }
    } finally {
        folder.deleteRecursively()
    }
    Unit
}
