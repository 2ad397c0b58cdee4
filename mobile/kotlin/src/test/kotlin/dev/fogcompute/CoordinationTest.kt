package dev.fogcompute

import java.nio.file.Path
import java.util.concurrent.atomic.AtomicInteger
import kotlin.io.path.div
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.flow.transformWhile
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import kotlinx.coroutines.yield
import org.junit.jupiter.api.io.TempDir

/** A fog of processes: its coordinator, nodes, and who submits. */
class CoordinationTest {
    private val sum = Checkout.example("sum")
    private val all = listOf("submit", "cancel", "query", "drain", "maintain")
    private val none = listOf(byteArrayOf())

    private fun digits(bytes: Int) = "ab".repeat(bytes)

    private fun FogCoordinator.node(
        data: Path,
        layer: UByte? = null,
        policy: HarvestPolicy = HarvestPolicy.always(),
        probe: DeviceProbe? = null,
    ): FogNode {
        val options = FogNodeOptions(layer, policy = policy, probe = probe, heartbeatMs = 200u)
        return FogNode(address(), id(), data.toString(), options)
    }

    private fun FogCoordinator.client() = FogClient(issueToken(FogTokenOptions(actions = all)))

    /** A fog of a mixnode and a node that computes, which have joined. */
    private fun inFog(
        folder: Path,
        test: suspend (fog: FogCoordinator, mix: FogNode, compute: FogNode) -> Unit,
    ) = runBlocking {
        FogCoordinator((folder / "fog").toString()).use { fog ->
            fog.node(folder / "mix", 0u).use { mix ->
                fog.node(folder / "compute").use { compute ->
                    mix.joined()
                    compute.joined()
                    test(fog, mix, compute)
                }
            }
        }
    }

    @Test
    fun aJobIsDoneByANodeAndItsEventsFlow(@TempDir folder: Path) =
        inFog(folder) { fog, _, compute ->
            fog.client().use { client ->
                val inputs = listOf(byteArrayOf(1, 2), byteArrayOf(39, 3))
                val options = FogJobOptions(priority = Priority.HIGH)
                val job = client.submit(sum, inputs, options)
                assertEquals(fog.account() to "private", job.account to job.privacy)
                assertEquals(Priority.HIGH, job.priority)
                val events = client.watch().transformWhile { event ->
                    emit(event)
                    event.kind != FogEventKind.JOB_ENDED
                }.toList()
                assertTrue(events.all { it.job == job.id })
                assertEquals(FogEventKind.ADMITTED, events.first().kind)
                assertEquals(2, events.count { it.kind == FogEventKind.ENDED })
                val nodes = events.filter { it.kind == FogEventKind.ASSIGNED }.map { it.node }
                assertEquals(setOf<String?>(compute.id()), nodes.toSet())
                assertEquals(client.lastEvent(), events.last().number)
                val ended = client.wait(job.id)
                assertEquals(Triple(2uL, 0uL, "0"), ended.run { Triple(succeeded, open, reserved) })
                val tasks = client.tasks(job.id)
                assertEquals(List(2) { FogTaskState.SUCCEEDED }, tasks.map { it.state })
                assertEquals(listOf<Byte>(3, 42), tasks.map { client.result(it.id).output[0] })
                assertEquals(tasks[0], client.task(tasks[0].id))
                assertEquals(listOf(ended), client.jobs())
                // The same job again is the same job.
                val same = options.copy(id = job.id)
                assertEquals(ended, client.submit(sum, inputs, same))
                assertFailsWith<FogException.IdReused> { client.submit(sum, none, same) }
                assertTrue("fogcompute_coord_jobs_admitted_total 1" in client.metrics())
            }
            assertNull(fog.trouble())
        }

    @Test
    fun nodesAreSeenAndDrained(@TempDir folder: Path) = inFog(folder) { fog, mix, compute ->
        fog.client().use { client ->
            assertTrue(compute.status().joined)
            val members = client.topology().run {
                assertEquals(fog.id(), coordinator)
                members.associateBy { it.id }
            }
            assertEquals(setOf(mix.id(), compute.id()), members.keys)
            assertEquals(0.toUByte(), members.getValue(mix.id()).layer)
            val known = members.getValue(compute.id())
            assertEquals("compute" to compute.address(), known.kind to known.address)
            assertTrue(known.linked && known.cpuMillis > 0u)
            client.drain(compute.id())
            val drained = client.topology().members.first { it.id == compute.id() }.status
            assertTrue(drained in listOf("draining", "maintenance"), drained)
            client.undrain(compute.id())
            assertFailsWith<FogException.UnknownNode> { client.drain(digits(32)) }
        }
    }

    @Test
    fun whoSubmitsReadsLogsAndCancels(@TempDir folder: Path) = inFog(folder) { fog, _, _ ->
        fog.client().use { client ->
            val text = listOf("hello".toByteArray())
            val options = FogJobOptions(hostCalls = true)
            val says = client.submit(Checkout.example("says"), text, options)
            assertEquals(1uL, client.wait(says.id).succeeded)
            assertEquals("hello\n", client.log(client.tasks(says.id).single().id))

            val job = client.submit(Checkout.endless, none + none)
            val (first, second) = client.tasks(job.id).map { it.id }
            assertFailsWith<FogException.TaskOpen> { client.result(first) }
            assertTrue(client.cancelTask(first))
            assertFalse(client.cancelTask(first))
            assertEquals(1u, client.cancel(job.id))
            assertFailsWith<FogException.NoResult> { client.result(second) }
            assertEquals(2uL, client.wait(job.id).cancelled)
        }
    }

    @Test
    fun aCoordinatorThatIsStartedAgainGoesOn(@TempDir folder: Path) = runBlocking {
        val data = (folder / "fog").toString()
        val first = FogCoordinator(data)
        val client = first.client()
        val job = client.submit(sum, listOf(byteArrayOf(5)))
        val watch = client.startWatch()
        assertEquals(FogEventKind.ADMITTED, watch.receive().kind)
        val again = FogCoordinatorOptions(listen = first.address())
        first.close()
        FogCoordinator(data, again).use { fog ->
            fog.node(folder / "mix", 0u).use {
                fog.node(folder / "compute").use {
                    assertEquals(1uL, client.wait(job.id).succeeded)
                }
            }
            do {
                val event = watch.receive()
                assertTrue(event.kind != FogEventKind.ADMITTED)
            } while (event.kind != FogEventKind.JOB_ENDED)
            client.close()
            assertFailsWith<IllegalStateException> { client.jobs() }
            assertFailsWith<FogException.Closed> { while (true) watch.receive() }
            watch.close()
        }
    }

    @Test
    fun aWaitThatIsCancelledLosesNothing(@TempDir folder: Path) = runBlocking {
        FogCoordinator(folder.toString()).use { fog ->
            FogClient(fog.issueToken()).use { client ->
                val watch = client.startWatch()
                val waiting = async(start = CoroutineStart.UNDISPATCHED) { watch.receive() }
                waiting.cancelAndJoin()
                val job = client.submit(sum, none)
                val ending = launch(start = CoroutineStart.UNDISPATCHED) { client.wait(job.id) }
                ending.cancelAndJoin()
                val event = watch.receive()
                assertEquals(FogEventKind.ADMITTED, event.kind)
                assertEquals(job.id to 1u, event.job to event.tasks)
                assertEquals(event.number, watch.last())
                // Whoever waits while it is closed is told.
                val rest = async(start = CoroutineStart.UNDISPATCHED) {
                    assertFailsWith<FogException.Closed> { watch.receive() }
                }
                watch.close()
                withTimeout(1.minutes) { rest.await() }
                val ended = async(start = CoroutineStart.UNDISPATCHED) {
                    assertFailsWith<FogException.Closed> { client.wait(job.id) }
                }
                client.close()
                withTimeout(1.minutes) { ended.await() }
            }
        }
        Unit
    }

    @Test
    fun whatIsRefusedHasItsClass(@TempDir folder: Path) = runBlocking {
        val options = FogCoordinatorOptions(endowment = "5")
        val fog = FogCoordinator((folder / "fog").toString(), options)
        suspend fun refusal(grant: FogTokenOptions, price: String) =
            FogClient(fog.issueToken(grant)).use { client ->
                val terms = FogJobOptions(maxPrice = price)
                assertFailsWith<FogException> { client.submit(sum, none, terms) }::class
            }
        assertEquals(
            FogException.TokenForbids::class,
            refusal(FogTokenOptions(actions = listOf("query")), "1"),
        )
        assertEquals(
            FogException.TokenExpired::class,
            refusal(FogTokenOptions(validForMs = 0u), "1"),
        )
        for (grant in listOf(FogTokenOptions(tasksMax = 0u), FogTokenOptions(maxSpend = "0"))) {
            assertEquals(FogException.TokenUsedUp::class, refusal(grant, "1"))
        }
        for ((account, price) in listOf(null to "6", digits(16) to "1")) {
            val grant = FogTokenOptions(account = account)
            assertEquals(FogException.InsufficientFunds::class, refusal(grant, price))
        }
        FogClient(fog.issueToken()).use { client ->
            assertFailsWith<FogException.InvalidJob> { client.submit(sum, listOf()) }
            assertFailsWith<FogException.UnknownTask> { client.job(digits(16)) }
            assertFailsWith<FogException.UnknownTask> { client.log(digits(16)) }
            for (wrong in listOf(
                FogJobOptions(id = "x"),
                FogJobOptions(limits = Limits(fuel = 0u)),
                FogJobOptions(privacy = "open"),
            )) assertFailsWith<FogException.InvalidArgument> { client.submit(sum, none, wrong) }
            for (wrong in listOf("", "x", digits(15), digits(17))) {
                assertFailsWith<FogException.InvalidArgument>(wrong) { client.job(wrong) }
                assertFailsWith<FogException.InvalidArgument>(wrong) { client.drain(wrong) }
                assertFailsWith<FogException.InvalidArgument>(wrong) { client.wait(wrong) }
            }
        }
        assertFailsWith<FogException.InvalidArgument> {
            fog.issueToken(FogTokenOptions(actions = listOf("rule")))
        }
        val token = fog.issueToken()
        for (wrong in listOf("", "address = 1", token.replace("key = ", "key = 1 #"))) {
            assertFailsWith<FogException.InvalidToken>(wrong) { FogClient(wrong) }
        }
        // Whoever answers there is another one.
        FogCoordinator((folder / "other").toString()).use { other ->
            FogClient(token.replace(fog.address(), other.address()), 200u).use { strange ->
                assertFailsWith<FogException.CoordinatorUnreachable> { strange.jobs() }
            }
        }
        fog.close()
        FogClient(token, 200u).use { lost ->
            assertFailsWith<FogException.CoordinatorUnreachable> { lost.jobs() }
            assertFailsWith<FogException.CoordinatorUnreachable> { lost.watch().toList() }
        }
        Unit
    }

    @Test
    fun whatCannotBeStartedSaysWhy(@TempDir folder: Path) = runBlocking {
        FogCoordinator((folder / "fog").toString()).use { fog ->
            val other = (folder / "other").toString()
            assertFailsWith<FogException.Listen> {
                FogCoordinator(other, FogCoordinatorOptions(listen = fog.address()))
            }
            for (wrong in listOf(
                FogCoordinatorOptions(listen = "here"),
                FogCoordinatorOptions(layers = 0u),
                FogCoordinatorOptions(placement = "x"),
                FogCoordinatorOptions(nodesMax = 0u),
            )) assertFailsWith<FogException.InvalidArgument> { FogCoordinator(other, wrong) }
            fun node(options: FogNodeOptions, id: String = fog.id()) =
                FogNode(fog.address(), id, (folder / "node").toString(), options)
            assertFailsWith<FogException.Listen> { node(FogNodeOptions(listen = fog.address())) }
            for (wrong in listOf(
                FogNodeOptions(heartbeatMs = 0u),
                FogNodeOptions(nodesOnMachine = 0u),
            )) assertFailsWith<FogException.InvalidArgument> { node(wrong) }
            assertFailsWith<FogException.InvalidArgument> { node(FogNodeOptions(), "x") }

            // The fog has one layer.
            val fourth = node(FogNodeOptions(layer = 3u, policy = HarvestPolicy.always()))
            var trouble: String? = null
            while (trouble == null) {
                yield()
                trouble = fourth.status().trouble
            }
            assertTrue("refused this node" in trouble, trouble)
            val joined = async(start = CoroutineStart.UNDISPATCHED) {
                assertFailsWith<FogException.Closed> { fourth.joined() }
            }
            fourth.close()
            withTimeout(1.minutes) { joined.await() }
        }
        Unit
    }

    /** A server that lends when its screen is off. */
    private class Screen : DeviceProbe {
        val readings = AtomicInteger()

        /** Null while no sensor answers. */
        @Volatile
        var isOn: Boolean? = null

        override fun read(): DeviceState {
            readings.incrementAndGet()
            return DeviceState(
                DeviceClass.SERVER,
                Battery.Absent,
                Network.ETHERNET,
                cpuCores = 4u,
                cpuLoad = 0.1,
                memoryTotalBytes = 16uL shl 30,
                memoryAvailableBytes = 8uL shl 30,
                temperatureCelsius = 40.0,
                metered = false,
                screenOn = isOn ?: throw ProbeException.Host("no sensor answers"),
            )
        }
    }

    @Test
    fun aProbeWrittenInKotlinDecidesWhetherANodeLends(@TempDir folder: Path) = runBlocking {
        val policy = HarvestPolicy.fromToml(
            """
            window = "any"
            user_idle_min_seconds = 0
            user_idle_continue_min_seconds = 0
            resume_delay_seconds = 0
            """,
        )
        val screen = Screen()
        FogCoordinator((folder / "fog").toString()).use { fog ->
            fog.node(folder / "mix", 0u).use { mix ->
                fog.node(folder / "compute", policy = policy, probe = screen).use { compute ->
                    mix.joined()
                    compute.joined()
                    fog.client().use { client ->
                        val waiting = mutableListOf<String>()
                        for (isOn in listOf(null, true)) {
                            screen.isOn = isOn
                            val before = screen.readings.get()
                            while (screen.readings.get() == before) yield()
                            assertFalse(compute.status().lends)
                            // It may lend later, so a job waits for it.
                            waiting += client.submit(sum, none).id
                            assertEquals(1uL, client.job(waiting.last()).open)
                        }
                        screen.isOn = false
                        for (job in waiting) assertEquals(1uL, client.wait(job).succeeded)
                    }
                    assertTrue(compute.status().lends)
                }
            }
        }
    }
}
