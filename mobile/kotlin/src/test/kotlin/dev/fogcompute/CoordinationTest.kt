package dev.fogcompute

import java.nio.file.Files
import java.nio.file.Path
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.transformWhile
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

/** A fog of processes: its coordinator, nodes, and who submits. */
class CoordinationTest {
    private val all = listOf("submit", "cancel", "query", "drain", "maintain")

    private fun inFolder(test: suspend (folder: Path) -> Unit) = runBlocking {
        val folder = Files.createTempDirectory("fog")
        try {
            test(folder)
        } finally {
            folder.toFile().deleteRecursively()
        }
    }

    private fun node(fog: FogCoordinator, data: Path, layer: UByte? = null) = FogNode(
        fog.address(),
        fog.id(),
        data.toString(),
        FogNodeOptions(layer = layer, policy = HarvestPolicy.always(), heartbeatMs = 200u),
    )

    @Test
    fun aJobIsDoneByANodeAndItsEventsFlow() = inFolder { folder ->
        FogCoordinator(folder.resolve("fog").toString()).use { fog ->
            node(fog, folder.resolve("mix"), 0u).use { mix ->
                node(fog, folder.resolve("compute")).use { compute ->
                    mix.joined()
                    compute.joined()
                    val token = fog.issueToken(FogTokenOptions(actions = all))
                    FogClient(token).use { client -> worksWith(client, fog, mix, compute) }
                    assertNull(fog.trouble())
                    assertTrue(compute.status().joined)
                }
            }
        }
    }

    private suspend fun worksWith(
        client: FogClient,
        fog: FogCoordinator,
        mix: FogNode,
        compute: FogNode,
    ) {
        val inputs = listOf(byteArrayOf(1, 2), byteArrayOf(39, 3))
        val job = client.submit(Checkout.example("sum"), inputs)
        assertEquals(fog.account(), job.account)
        val kinds = client.watch().transformWhile { event ->
            if (event.kind == FogEventKind.ASSIGNED) assertEquals(compute.id(), event.node)
            emit(event)
            event.kind != FogEventKind.JOB_ENDED
        }.map { it.kind }.toList()
        assertEquals(FogEventKind.ADMITTED, kinds.first())
        assertEquals(2, kinds.count { it == FogEventKind.ENDED })
        assertEquals(2uL, client.wait(job.id).succeeded)
        val tasks = client.tasks(job.id)
        assertEquals(List(2) { FogTaskState.SUCCEEDED }, tasks.map { it.state })
        assertEquals(listOf<Byte>(3, 42), tasks.map { client.result(it.id).output[0] })

        client.drain(compute.id())
        val topology = client.topology()
        assertEquals(fog.id(), topology.coordinator)
        val members = topology.members.associateBy { it.id }
        assertTrue(members.getValue(compute.id()).status in listOf("draining", "maintenance"))
        assertTrue(members.getValue(compute.id()).linked)
        assertEquals(0.toUByte(), members.getValue(mix.id()).layer)
        client.undrain(compute.id())
        assertFailsWith<FogException.UnknownNode> { client.drain("ab".repeat(32)) }
    }

    @Test
    fun aWaitThatIsCancelledLosesNothing() = inFolder { folder ->
        FogCoordinator(folder.toString()).use { fog ->
            FogClient(fog.issueToken()).use { client ->
                client.startWatch().use { watch ->
                    runBlocking {
                        val waiting = async(start = CoroutineStart.UNDISPATCHED) { watch.receive() }
                        waiting.cancelAndJoin()
                        val job = client.submit(Checkout.example("sum"), listOf(byteArrayOf()))
                        val ending = launch(start = CoroutineStart.UNDISPATCHED) { client.wait(job.id) }
                        ending.cancelAndJoin()
                    }
                    val event = watch.receive()
                    assertEquals(FogEventKind.ADMITTED, event.kind)
                    assertEquals(event.number, watch.last())
                }
            }
        }
    }

    @Test
    fun whatIsRefusedHasItsClass() = inFolder { folder ->
        val sum = Checkout.example("sum")
        val none = listOf(byteArrayOf())
        val token = FogCoordinator(folder.resolve("fog").toString()).use { fog ->
            val grant = FogTokenOptions(actions = listOf("query"))
            FogClient(fog.issueToken(grant)).use { client ->
                assertFailsWith<FogException.TokenForbids> { client.submit(sum, none) }
            }
            FogClient(fog.issueToken()).use { client ->
                assertFailsWith<FogException.InvalidJob> { client.submit(sum, listOf()) }
                assertFailsWith<FogException.UnknownTask> { client.job("ab".repeat(16)) }
                assertFailsWith<FogException.InvalidArgument> { client.job("x") }
            }
            val taken = FogCoordinatorOptions(listen = fog.address())
            assertFailsWith<FogException.Listen> {
                FogCoordinator(folder.resolve("other").toString(), taken)
            }
            fog.issueToken()
        }
        assertFailsWith<FogException.InvalidToken> { FogClient("") }
        FogClient(token, 200u).use { lost ->
            assertFailsWith<FogException.CoordinatorUnreachable> { lost.jobs() }
        }
    }
}
