package dev.fogcompute

import java.time.Duration
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNotEquals
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import kotlinx.coroutines.yield

/** Batches, reply blocks, topologies, mixnodes and clients. */
class MixnetTest {
    private val node = "0a".repeat(32)

    /** Three mixnodes in three layers. */
    private class Network(epoch: ULong? = null) : AutoCloseable {
        val nodes = List(3) { MixnetNode(MixnetNodeConfig(epoch = epoch)) }
        val topology = Topology(
            nodes.map { listOf(it.descriptor()) },
            TopologyOptions(epoch = epoch, delayMeanMs = 1u),
        )

        init {
            nodes.forEach { it.setTopology(topology) }
        }

        fun client() = MixnetClient(topology, MixnetClientConfig(cover = Cover()))

        override fun close() = nodes.forEach { it.close() }
    }

    private fun onNetwork(
        test: suspend (network: Network, alice: MixnetClient, bob: MixnetClient) -> Unit,
    ) = runBlocking {
        Network().use { network ->
            network.client().use { alice -> network.client().use { test(network, alice, it) } }
        }
    }

    // --- Packets

    @Test
    fun aBatchGivesWhatItsPacketsGiveOneByOne() {
        val (sphinx, key) = Sphinx.withHops(5u, 1024u) to PrivateKey.generate()
        assertEquals(5u, sphinx.hopsMax())
        val hop = Hop(node, key.publicKey(), 0u)
        val orders = List(20) { PacketOrder(listOf(hop), ByteArray(it) { _ -> it.toByte() }) }
        val packets = sphinx.buildBatch(orders).toMutableList()
        assertEquals(20, packets.size)
        packets[7][40] = (packets[7][40].toInt() xor 1).toByte()
        packets[9] = packets[9].copyOf(packets[9].size - 1)
        val results = sphinx.processBatch(key, packets)
        assertEquals(20, results.size)
        results.forEachIndexed { number, result ->
            when (result) {
                is BatchResult.Opened -> {
                    val alone = sphinx.process(key, packets[number])
                    assertEquals(alone.replayTag, result.unwrapped.replayTag)
                    val payload = (result.unwrapped.outcome as Processed.Deliver).payload
                    assertContentEquals(orders[number].payload, payload)
                }
                is BatchResult.Refused -> {
                    assertTrue(number in listOf(7, 9), result.message)
                    assertEquals(ErrorCode.INVALID_PACKET, result.code)
                }
            }
        }
        assertFailsWith<FogException.PayloadTooLarge> {
            sphinx.buildBatch(orders + PacketOrder(listOf(hop), ByteArray(1025)))
        }
        assertEquals(listOf(), sphinx.buildBatch(listOf()))
        assertFailsWith<FogException.InvalidArgument> { Sphinx.withHops(8u, 1024u) }
    }

    @Test
    fun aReplyComesBackToTheMakerOfItsBlock() {
        val (sphinx, key) = Sphinx() to PrivateKey.generate()
        val hop = Hop(node, key.publicKey(), 0u)
        val surb = sphinx.makeSurb(listOf(hop))
        assertEquals(sphinx.surbBytes().toInt(), surb.block.size)
        val reply = sphinx.reply(surb.block, "answer".toByteArray())
        assertEquals(node.take(16), reply.next)
        val outcome = sphinx.process(key, reply.packet).outcome as Processed.Reply
        assertEquals(surb.key.surb(), outcome.surb)
        assertEquals("answer", sphinx.openReply(surb.key, outcome.sealed).decodeToString())
        val other = sphinx.makeSurb(listOf(hop))
        for (refused in listOf(
            { sphinx.openReply(other.key, outcome.sealed) },
            { sphinx.openReply(surb.key, byteArrayOf()) },
            { sphinx.reply(ByteArray(9), byteArrayOf()) },
        )) {
            assertFailsWith<FogException.InvalidReplyBlock> { refused() }
        }
        assertFailsWith<FogException.InvalidRoute> { sphinx.makeSurb(listOf()) }
    }

    @Test
    fun aProcessorTakesAPacketOnce() {
        val (sphinx, key) = Sphinx() to PrivateKey.generate()
        val processor = SphinxProcessor(sphinx, key)
        assertContentEquals(key.publicKey(), processor.publicKey())
        val hop = Hop(node, processor.publicKey(), 0u)
        val packet = sphinx.build(listOf(hop), "once".toByteArray())
        val outcome = processor.process(packet).outcome as Processed.Deliver
        assertEquals("once", outcome.payload.decodeToString())
        assertFailsWith<FogException.Replayed> { processor.process(packet) }
        assertFailsWith<FogException.InvalidPacket> { processor.process(byteArrayOf()) }
        val refused = processor.processBatch(listOf(packet)).single() as BatchResult.Refused
        assertEquals(ErrorCode.REPLAYED, refused.code)
        val stats = processor.stats()
        assertEquals(4uL to 1uL, stats.received to stats.delivered)
        assertEquals(2uL to 1uL, stats.replayed to stats.malformed)
    }

    // --- Topologies and nodes

    @Test
    fun aTopologyIsReadAsItWasSigned() = Network().use { network ->
        val secret = ByteArray(32) { 7 }
        val text = network.topology.sign(secret)
        val read = Topology.verify(text, authorityOf(secret))
        assertEquals(
            network.nodes.map { it.descriptor().address },
            read.layers().map { it.single().address },
        )
        assertEquals(Duration.ofMillis(1), read.delayMean())
        assertEquals(7u to 2048u, read.hopsMax() to read.payloadBytes())
        assertFailsWith<FogException.InvalidTopology> {
            Topology.verify(text, authorityOf(ByteArray(32) { 8 }))
        }
        assertFailsWith<FogException.InvalidArgument> { Topology.verify(text, byteArrayOf()) }
        assertFailsWith<FogException.InvalidArgument> { authorityOf(ByteArray(31)) }
        Unit
    }

    @Test
    fun whatMakesNoNetworkIsRefused() = Network().use { network ->
        val layers = network.topology.layers()
        assertFailsWith<FogException.InvalidTopology> { Topology(listOf()) }
        assertFailsWith<FogException.InvalidArgument> {
            Topology(layers, TopologyOptions(hopsMax = 8u))
        }
        val wrong = Descriptor(node, ByteArray(32), EpochParity.EVEN, "here")
        assertFailsWith<FogException.InvalidArgument> { Topology(listOf(listOf(wrong))) }
        val taken = network.nodes[0].descriptor().address
        assertFailsWith<FogException.Listen> { MixnetNode(MixnetNodeConfig(listen = taken)) }
        assertFailsWith<FogException.InvalidArgument> {
            MixnetNode(MixnetNodeConfig(listen = ""))
        }
        val old = Topology(layers, TopologyOptions(validUntilMs = 1u))
        assertFailsWith<FogException.InvalidTopology> { MixnetClient(old) }
        MixnetNode(MixnetNodeConfig(hopsMax = 5u, payloadBytes = 1024u)).use { other ->
            assertFailsWith<FogException.InvalidTopology> { other.setTopology(network.topology) }
        }
        Unit
    }

    @Test
    fun aNodeCountsAndEnds() = onNetwork { network, alice, bob ->
        val sent = alice.startSend(bob.contact(), "hello".toByteArray())
        assertEquals("hello", bob.receive().body().decodeToString())
        sent.wait()
        alice.close()
        bob.close()
        val node = network.nodes[1]
        assertTrue(node.stats().forwarded > 0u)
        assertTrue(node.drain(60_000u).forwarded > 0u)
        assertFailsWith<FogException.Closed> { node.stats() }
        node.close()
        assertFailsWith<IllegalStateException> { node.stats() }
    }

    // --- Clients

    @Test
    fun aQuestionIsAnsweredOnce() = onNetwork { _, alice, bob ->
        val to = bob.contact()
        runBlocking {
            val answer = async { alice.request(to, "who?".toByteArray(), answerBytesMax = 100u) }
            val question = bob.receive()
            assertTrue(question.replyBlocks() > 0u)
            assertFailsWith<FogException.PayloadTooLarge> { bob.reply(question, ByteArray(99_999)) }
            bob.reply(question, "bob".toByteArray())
            assertFailsWith<FogException.InvalidReplyBlock> { bob.reply(question, byteArrayOf()) }
            assertEquals("bob", answer.await().decodeToString())
        }
        val stats = alice.stats()
        assertEquals(Triple(1uL, 1uL, 0uL), Triple(stats.sent, stats.answers, stats.loopsSent))
        assertFailsWith<FogException.NoAnswer> { alice.request(to, byteArrayOf(), withinMs = 1u) }
    }

    @Test
    fun aClientGoesOnFromItsState() = onNetwork { network, oldAlice, oldBob ->
        val (to, key) = oldBob.contact() to ByteArray(32) { 7 }
        val (question, states) = coroutineScope {
            val asking = async {
                assertFailsWith<FogException.Closed> {
                    oldAlice.request(to, "?".toByteArray(), answerBytesMax = 10u)
                }
            }
            val question = oldBob.receive()
            val states = listOf(oldAlice.suspend(key), oldBob.suspend(key))
            asking.await()
            question to states
        }
        val id = question.id()
        assertFailsWith<FogException.Closed> { oldBob.suspend(key) }
        val quiet = MixnetClientConfig(cover = Cover())
        val other = ByteArray(32) { 8 }
        val damaged = states[0].copyOf().also { it[100] = (it[100].toInt() xor 1).toByte() }
        for ((state, opener) in listOf(states[0] to other, damaged to key)) {
            assertFailsWith<FogException.StorageCorrupt> {
                MixnetClient.restore(network.topology, state, opener, quiet)
            }
        }
        for ((config, opener) in listOf(
            quiet.copy(identity = other) to key,
            quiet to byteArrayOf(),
        )) {
            assertFailsWith<FogException.InvalidArgument> {
                MixnetClient.restore(network.topology, states[0], opener, config)
            }
        }
        val (alice, bob) = states.map { MixnetClient.restore(network.topology, it, key, quiet) }
        alice.use {
            bob.use {
                assertEquals(to, bob.contact())
                assertEquals(Restored(listOf(), listOf(id)), alice.restored())
                assertEquals(Restored(listOf(id), listOf()), bob.restored())
                // Its acknowledgement comes over the last layer, which then knows where alice is.
                val back = alice.startSend(to, "back".toByteArray())
                assertEquals("back", bob.receive().body().decodeToString())
                back.wait()
                val none = byteArrayOf()
                assertFailsWith<FogException.InvalidReplyBlock> { bob.reply(question, none) }
                val blocks = assertNotNull(bob.replyBlocks(id))
                assertEquals(1u, blocks.count())
                assertNull(bob.replyBlocks(id))
                assertFailsWith<FogException.PayloadTooLarge> {
                    bob.replyWith(blocks, ByteArray(4096))
                }
                bob.replyWith(blocks, "later".toByteArray())
                assertEquals("later", alice.answerTo(id).decodeToString())
                for (unknown in listOf(id, "none")) {
                    assertFailsWith<FogException.InvalidArgument> { alice.answerTo(unknown) }
                }
                val nothing = Restored(listOf(), listOf())
                assertEquals(nothing to nothing, alice.restored() to bob.restored())
            }
        }
    }

    @Test
    fun aChosenRouteIsTaken() = onNetwork { network, alice, bob ->
        val (to, route) = bob.contact() to alice.chooseNodes(3u)
        assertEquals(network.nodes.map { it.descriptor().node }.toSet(), route.toSet())
        val id = alice.sendThrough(route, to, "this way".toByteArray())
        val message = bob.receive()
        assertEquals(id, message.id())
        val empty = byteArrayOf()
        assertFailsWith<FogException.InvalidReplyBlock> { bob.reply(message, empty) }
        assertFailsWith<FogException.InvalidRoute> { alice.chooseNodes(4u) }
        assertFailsWith<FogException.InvalidRoute> { alice.sendThrough(listOf(node), to, empty) }
        assertFailsWith<FogException.InvalidArgument> { alice.sendThrough(listOf("x"), to, empty) }
        assertFailsWith<FogException.InvalidArgument> { alice.send("nobody", empty) }
        assertFailsWith<FogException.PayloadTooLarge> { alice.send(to, ByteArray(1 shl 25)) }
        alice.setPower(PowerClass.LOW_BATTERY)
    }

    @Test
    fun noMessageIsLostWhenAReceiverIsCancelled() = onNetwork { _, alice, bob ->
        val to = bob.contact()
        for (number in 0 until 50) {
            var taken: MixnetMessage? = null
            withContext(Dispatchers.Default) {
                val receiving = launch { taken = bob.receive() }
                val sent = alice.startSend(to, byteArrayOf(number.toByte()))
                // Some are cancelled while they wait, some while the message comes in.
                if (number % 2 == 0) sent.wait()
                receiving.cancelAndJoin()
            }
            assertEquals(number, (taken ?: bob.receive()).body().single().toInt())
        }
    }

    @Test
    fun aReceiverMayWaitForSoLong() = onNetwork { _, alice, bob ->
        assertNull(bob.receiveWithin(1.milliseconds))
        alice.send(bob.contact(), byteArrayOf(5))
        assertEquals(5, assertNotNull(bob.receiveWithin(2.minutes)).body().single())
        assertNull(bob.receiveWithin(0.milliseconds))
    }

    @Test
    fun cancellingTheCoroutineCancelsTheQuestion() = onNetwork { _, alice, bob ->
        val to = bob.contact()
        val question = withContext(Dispatchers.Default) {
            val asking = launch { alice.request(to, "?".toByteArray()) }
            bob.receive().also { asking.cancelAndJoin() }
        }
        bob.reply(question, "late".toByteArray())
        // What comes after the answer on the same way tells that it has come.
        val back = bob.startSend(alice.contact(), "done".toByteArray())
        assertEquals("done", alice.receive().body().decodeToString())
        back.wait()
        assertFailsWith<FogException.Closed> { back.wait() }
        assertEquals(0uL, alice.stats().answers)
        val cancelled = alice.startRequest(to, byteArrayOf()).apply { cancel() }
        assertFailsWith<FogException.Cancelled> { cancelled.wait() }
    }

    @Test
    fun messagesEndWithTheClient() = onNetwork { _, alice, bob ->
        val to = bob.contact()
        runBlocking {
            val first = async { bob.messages().map { it.body().single().toInt() }.take(3).toList() }
            for (number in 0 until 3) alice.send(to, byteArrayOf(number.toByte()))
            assertEquals(listOf(0, 1, 2), first.await())
            val rest = async { bob.messages().toList() }
            val receiving = async { assertFailsWith<FogException.Closed> { bob.receive() } }
            yield()
            bob.close()
            assertEquals(listOf(), rest.await())
            receiving.await()
        }
        assertFailsWith<IllegalStateException> { bob.contact() }
        assertEquals(listOf(), bob.messages().toList())
    }

    @Test
    fun aCancelledCollectorIsToldNothingMore() = onNetwork { _, alice, bob ->
        alice.send(bob.contact(), byteArrayOf(1))
        alice.send(bob.contact(), byteArrayOf(2))
        withContext(Dispatchers.Default) {
            launch {
                bob.messages().collect { message ->
                    assertEquals(1, message.body().single())
                    throw CancellationException("enough")
                }
            }.join()
        }
        assertEquals(2, bob.receive().body().single())
    }

    @Test
    fun closingEndsWhatWaits() = onNetwork { _, alice, bob ->
        val to = bob.contact()
        runBlocking {
            val unanswered = async {
                assertFailsWith<FogException.Closed> { alice.request(to, "?".toByteArray()) }
            }
            assertEquals("?", bob.receive().body().decodeToString())
            alice.close()
            unanswered.await()
        }
        alice.close()
    }

    @Test
    fun whatFollowsAWaitMayCallTheLibraryOnAnyDispatcher() = onNetwork { _, alice, bob ->
        // It ran on the library's own thread, which held the lock that the call then waited for.
        val to = bob.contact()
        withContext(Dispatchers.Unconfined) {
            val asking = async {
                alice.request(to, "?".toByteArray()).also { alice.stats() }
            }
            val question = bob.receive()
            bob.reply(question, "!".toByteArray())
            assertEquals("!", asking.await().decodeToString())
            alice.send(to, byteArrayOf())
            assertEquals(2uL, alice.stats().sent)
        }
    }

    @Test
    fun aNewEpochBringsANewContact() = onNetwork { _, alice, bob ->
        Network(epoch = 1u).use { next ->
            val before = bob.contact()
            for (client in listOf(alice, bob)) client.setTopology(next.topology)
            val after = bob.contact()
            assertNotEquals(before, after)
            assertTrue(listOf(before, after).all { it.startsWith(bob.node()) })
            val sent = alice.startSend(after, "now".toByteArray())
            assertEquals("now", bob.receive().body().decodeToString())
            sent.wait()
        }
    }
}
