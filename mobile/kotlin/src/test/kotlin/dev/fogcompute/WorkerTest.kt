package dev.fogcompute

import java.nio.file.Path
import kotlin.io.path.div
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.yield
import org.junit.jupiter.api.io.TempDir

/** Tasks that a worker keeps, and probes that are written in Kotlin. */
class WorkerTest {
    private val sum = Checkout.example("sum")
    private val words = Checkout.example("words")
    private val days = Limits(fuel = 100_000_000_000_000u)

    /** A server that lends, unless its screen is on. */
    private fun server(screenOn: Boolean = false) = DeviceState(
        DeviceClass.SERVER,
        Battery.Absent,
        Network.ETHERNET,
        cpuCores = 4u,
        cpuLoad = 0.1,
        memoryTotalBytes = 16uL shl 30,
        memoryAvailableBytes = 8uL shl 30,
        temperatureCelsius = 40.0,
        metered = false,
        screenOn = screenOn,
    )

    private class Probe(@Volatile var reading: () -> DeviceState) : DeviceProbe {
        override fun read() = reading()
    }

    private val atAnyHour = """
        window = "any"
        user_idle_min_seconds = 0
        user_idle_continue_min_seconds = 0
        resume_delay_seconds = 0
    """

    /** Reads the device at its start and whenever it is told to look. */
    private fun worker(
        probe: DeviceProbe = Probe(::server),
        path: Path? = null,
        slots: UInt = 2u,
    ): Worker = HarvestPolicy.fromToml(atAnyHour).use { policy ->
        Worker(policy, probe, path?.toString(), slots, readingEveryMs = 3_600_000u)
    }

    /** The worker's status as soon as that holds of it. */
    private fun until(worker: Worker, holds: (WorkerStatus) -> Boolean): WorkerStatus {
        while (true) {
            worker.status().let { if (holds(it)) return it }
            Thread.yield()
        }
    }

    private fun until(task: WorkerTask, state: String) {
        while (task.status().state != state) Thread.yield()
    }

    private fun number(value: Int) = ByteArray(8) { if (it == 0) value.toByte() else 0 }

    @Test
    fun aTaskRunsAndItsOutputStays(@TempDir folder: Path) {
        val path = folder / "tasks"
        val task = worker(path = path).use { worker ->
            val task = worker.submit(sum, byteArrayOf(1, 2, 39), key = "once")
            assertEquals(32, task.id().length)
            val done = runBlocking { task.wait() }
            assertContentEquals(number(42), done.output)
            assertTrue(done.usage.fuel > 0u)
            worker.submit(sum, byteArrayOf(1, 2, 39), key = "once").use {
                assertEquals(task.id(), it.id())
            }
            assertFailsWith<FogException.IdReused> {
                worker.submit(sum, byteArrayOf(1), key = "once")
            }
            assertFailsWith<FogException.StorageLocked> { worker(path = path) }
            task
        }
        // Who still has a task keeps neither the worker nor its file open.
        assertFailsWith<FogException.Closed> { task.status() }
        worker(path = path).use { worker ->
            worker.task(task.id()).use { again ->
                assertContentEquals(number(42), again.fetch().output)
                assertContentEquals(number(42), runBlocking { again.wait() }.output)
                assertEquals("succeeded", again.status().state)
                assertEquals(1u, again.status().attempts)
            }
        }
        task.close()
    }

    @Test
    fun aTaskThatHasNotEndedGoesOnWhenTheWorkerIsOpenedAgain(@TempDir folder: Path) {
        val path = folder / "tasks"
        val id = worker(Probe { server(screenOn = true) }, path).use { worker ->
            worker.submit(words, "one two".toByteArray()).use { it.id() }
        }
        worker(path = path).use { worker ->
            worker.task(id).use { task ->
                assertContentEquals(number(2), runBlocking { task.wait() }.output)
            }
        }
    }

    @Test
    fun aProbeDecidesWhenTasksRun() {
        val probe = Probe { server(screenOn = true) }
        worker(probe).use { worker ->
            val refused = until(worker) { it.readings > 0u }
            assertFalse(refused.lends)
            assertEquals("idle", refused.state)
            assertEquals(0u to 0.0, refused.slots to refused.cpuShare)
            assertTrue(refused.reasons.any { it.code == "screen_on" && it.objection })
            val task = worker.submit(words, "what is\nwaited for".toByteArray())
            assertEquals("queued", task.status().state)
            assertFailsWith<FogException.TaskOpen> { task.fetch() }
            assertEquals(1uL to 0uL, worker.status().run { tasksOpen to tasksRunning })

            probe.reading = ::server
            worker.look()
            assertContentEquals(number(4), runBlocking { task.wait() }.output)
            val running = worker.status()
            // Half of four processors.
            assertEquals("running" to 2u, running.state to running.slots)
            assertTrue(running.lends)
            assertEquals(0uL, running.tasksOpen)
            task.close()
        }
    }

    @Test
    fun aRunningTaskIsSuspendedWhileItsOwnerIsThere() {
        val probe = Probe(::server)
        worker(probe).use { worker ->
            worker.submit(Checkout.endless, byteArrayOf(), days).use { task ->
                until(task, "running")
                probe.reading = { server(screenOn = true) }
                worker.look()
                until(task, "suspended")
                probe.reading = ::server
                worker.look()
                until(task, "running")
                HarvestPolicy.fromToml("require = \"false\"").use { worker.setPolicy(it) }
                worker.look()
                until(task, "suspended")
                task.cancel()
            }
        }
    }

    @Test
    fun aProbeThatThrowsMakesTheDeviceUnknown() {
        val probe = Probe { server(screenOn = true).copy(deviceClass = DeviceClass.PHONE) }
        worker(probe).use { worker ->
            until(worker) { it.state == "idle" }
            worker.submit(sum, byteArrayOf(42)).use { task ->
                for ((told, thrown) in listOf(
                    "no permission" to ProbeException.Host("no permission"),
                    "own bug" to IllegalStateException("the application's own bug"),
                    "not yet" to NotImplementedError("not yet"),
                )) {
                    probe.reading = { throw thrown }
                    worker.look()
                    val status = until(worker) { told in it.probeError.orEmpty() }
                    assertFalse(status.lends)
                    val unknown = status.reasons.filter { it.code == "reading_unknown" }
                    assertTrue(unknown.any { it.objection && "battery" in it.text }, "$unknown")
                    assertEquals("queued", task.status().state)
                }
                probe.reading = ::server
                worker.look()
                assertContentEquals(number(42), runBlocking { task.wait() }.output)
                assertNull(worker.status().probeError)
            }
        }
    }

    @Test
    fun aDeviceThatWasNeverReadDoesNothing() {
        worker(Probe { throw ProbeException.Unavailable() }).use { worker ->
            worker.submit(sum, byteArrayOf(1)).use { task ->
                val status = until(worker) { it.probeError != null }
                assertFalse(status.lends)
                assertNull(status.state)
                assertEquals("queued", task.status().state)
            }
        }
    }

    @Test
    fun aCancelledTaskEndsWithItsError() {
        worker().use { worker ->
            worker.submit(Checkout.endless, byteArrayOf(), days).use { task ->
                until(task, "running")
                task.cancel()
                assertFailsWith<FogException.Cancelled> { runBlocking { task.wait() } }
                assertFailsWith<FogException.Cancelled> { task.fetch() }
                assertFailsWith<FogException.Cancelled> { task.cancel() }
                assertEquals("cancelled", task.status().state)
            }
        }
    }

    @Test
    fun cancellingTheCoroutineLeavesTheTask() = runBlocking {
        val probe = Probe { server(screenOn = true) }
        worker(probe).use { worker ->
            worker.submit(sum, byteArrayOf(7)).use { task ->
                val waiting = launch { task.wait() }
                yield()
                waiting.cancelAndJoin()
                assertEquals("queued", task.status().state)
                probe.reading = ::server
                worker.look()
                assertContentEquals(number(7), task.wait().output)
            }
        }
    }

    @Test
    fun aLogIsReadWhileTheTaskWritesIt() = runBlocking {
        val says = Checkout.example("says")
        worker().use { worker ->
            worker.submit(says, "one\ntwo é\n".toByteArray()).use { task ->
                assertEquals(listOf("one", "two é"), task.log().toList())
                val piece = task.readLog(start = 4u)
                assertEquals("two é\n", piece.data.decodeToString())
                assertEquals(11uL to true, piece.next to piece.ended)
                assertEquals("on", task.readLog(bytesMax = 2u).data.decodeToString())
            }
            val few = Limits(logBytes = 3u)
            worker.submit(says, "one two".toByteArray(), few).use { task ->
                assertEquals(listOf("one"), task.log().toList())
            }
            // One that says nothing: its reader can give up, and is told of the end.
            worker.submit(Checkout.endless, byteArrayOf(), days).use { task ->
                val reader = launch { task.log().toList() }
                yield()
                reader.cancelAndJoin()
                val lines = async { task.log().toList() }
                task.cancel()
                assertEquals(emptyList(), lines.await())
            }
        }
    }

    @Test
    fun mapGivesTheOutputsInTheOrderOfTheInputs() = runBlocking {
        worker().use { worker ->
            val inputs = List(20) { byteArrayOf(it.toByte()) }
            val outputs = worker.map(sum, inputs).map { it.output.first().toInt() }
            assertEquals(List(20) { it }, outputs)
            assertEquals(emptyList(), worker.map(sum, emptyList()))
            assertFailsWith<FogException.OutOfFuel> {
                worker.map(Checkout.endless, inputs, Limits(fuel = 1_000u))
            }
            val waiting = launch { worker.map(Checkout.endless, inputs, days) }
            while (worker.status().tasksRunning < 2uL) yield()
            waiting.cancelAndJoin()
            until(worker) { it.tasksOpen == 0uL }
            Unit
        }
    }

    @Test
    fun aTaskThatTakesTooLongEnds() {
        worker().use { worker ->
            worker.submit(Checkout.endless, byteArrayOf(), days.copy(wallMs = 20u)).use { task ->
                assertFailsWith<FogException.TaskTimedOut> { runBlocking { task.wait() } }
            }
        }
    }

    @Test
    fun aPhoneHasAPolicyOfItsOwn() {
        val battery = Battery.Present(levelPercent = 45.0, charging = true)
        val phone = server().copy(deviceClass = DeviceClass.PHONE, battery = battery)
        val isLow = { policy: HarvestPolicy ->
            policy.decide(phone).reasons.any { it.code == "battery_low" }
        }
        HarvestPolicy().use { assertFalse(isLow(it)) }
        HarvestPolicy.phone().use { policy ->
            assertTrue(isLow(policy))
            policy.withToml("battery_percent_min = 40.0").use { assertFalse(isLow(it)) }
            assertFailsWith<FogException.InvalidPolicy> { policy.withToml("batery = 1") }
        }
    }

    @Test
    fun whatCannotBeMadeOrTakenIsRefused(@TempDir folder: Path) {
        assertFailsWith<FogException.InvalidArgument> { worker(slots = 0u) }
        assertFailsWith<FogException.InvalidArgument> {
            HarvestPolicy().use { Worker(it, Probe(::server), readingEveryMs = 0u) }
        }
        assertFailsWith<FogException.StorageIsFolder> { worker(path = folder) }
        worker().use { worker ->
            assertFailsWith<FogException.UnknownTask> { worker.task("0a".repeat(16)) }
            assertFailsWith<FogException.InvalidArgument> { worker.task("no id") }
            val large = ByteArray((1 shl 20) + 1)
            assertFailsWith<FogException.InvalidArgument> { worker.submit(sum, large) }
            assertFailsWith<FogException.InvalidArgument> {
                worker.submit(byteArrayOf(), byteArrayOf())
            }
            assertFailsWith<FogException.InvalidArgument> {
                worker.submit(sum, byteArrayOf(), key = "")
            }
            worker.submit("junk".toByteArray(), byteArrayOf()).use { task ->
                assertFailsWith<FogException.InvalidModule> { runBlocking { task.wait() } }
                assertEquals("failed", task.status().state)
            }
        }
    }
}
