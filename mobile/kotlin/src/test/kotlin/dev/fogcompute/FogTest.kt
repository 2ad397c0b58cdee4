package dev.fogcompute

import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeoutOrNull
import kotlinx.coroutines.yield

class FogTest {
    private val sum = Checkout.example("sum")
    private val echo = Checkout.example("echo")

    /** One worker, so that what runs keeps others waiting; so cheap that it may run for days. */
    private fun smallFog() = Fog(workers = 1u, pricePerGigafuel = "1")

    private val days = Limits(fuel = 100_000_000_000_000u)

    @Test
    fun manyTasksRunAtOnce() = runBlocking {
        Fog(workers = 2u, seed = 5u).use { fog ->
            val outputs = (1..40).map { number ->
                async(Dispatchers.Default) {
                    fog.run(echo, byteArrayOf(number.toByte())).output.single().toInt()
                }
            }.awaitAll()
            assertEquals((1..40).toList(), outputs)
            val stats = fog.stats()
            assertEquals(40uL to 0uL, stats.succeeded to stats.failed)
            assertTrue(stats.paid.toBigInteger().signum() > 0)
        }
    }

    @Test
    fun aSubmittedTaskIsWaitedForOnce() = runBlocking {
        Fog(workers = 1u).use { fog ->
            fog.submit(sum, byteArrayOf(40, 2)).use { task ->
                assertEquals(32, task.id().length)
                assertContentEquals(byteArrayOf(42, 0, 0, 0, 0, 0, 0, 0), task.wait().output)
                assertFailsWith<FogException.Closed> { task.wait() }
            }
        }
        Unit
    }

    @Test
    fun aCancelledTaskEndsWithItsError() = runBlocking {
        smallFog().use { fog ->
            fog.submit(Checkout.endless, byteArrayOf(), days).use { task ->
                task.cancel()
                val error = assertFailsWith<FogException.Cancelled> { task.wait() }
                assertEquals(ErrorCode.CANCELLED, error.code)
            }
        }
        Unit
    }

    @Test
    fun cancellingTheCoroutineCancelsTheTask() = runBlocking {
        smallFog().use { fog ->
            val waiting = launch { fog.run(Checkout.endless, byteArrayOf(), days) }
            yield()
            waiting.cancelAndJoin()
            // The only worker is free again: else this would never end.
            assertContentEquals(byteArrayOf(7), fog.run(echo, byteArrayOf(7)).output)
        }
    }

    @Test
    fun aTimeoutCancelsTheTask() = runBlocking {
        smallFog().use { fog ->
            assertNull(withTimeoutOrNull(50) { fog.run(Checkout.endless, byteArrayOf(), days) })
            assertContentEquals(byteArrayOf(7), fog.run(echo, byteArrayOf(7)).output)
        }
    }

    @Test
    fun closingTheFogEndsWhatWaits() = runBlocking {
        val fog = smallFog()
        val waiting = async {
            assertFailsWith<FogException.Closed> { fog.run(Checkout.endless, byteArrayOf(), days) }
        }
        yield()
        fog.close()
        waiting.await()
        fog.close()
        assertFailsWith<IllegalStateException> { fog.stats() }
        Unit
    }

    @Test
    fun aFogThatMakesNoSenseIsRefused() {
        assertFailsWith<FogException.InvalidArgument> { Fog(workers = 0u) }
        assertFailsWith<FogException.InvalidArgument> { Fog(workers = UInt.MAX_VALUE) }
        assertFailsWith<FogException.InvalidArgument> { Fog(endowment = "1.5") }
    }
}
