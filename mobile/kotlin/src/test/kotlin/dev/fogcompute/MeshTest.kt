package dev.fogcompute

import java.nio.file.Path
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.atomic.AtomicInteger
import java.util.concurrent.atomic.AtomicLong
import kotlin.io.path.div
import kotlin.io.path.readBytes
import kotlin.io.path.writeBytes
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNotEquals
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.filterIsInstance
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeout
import kotlinx.coroutines.yield
import org.junit.jupiter.api.io.TempDir

/** Nodes of a mesh: inside the program, over TCP, and over a radio that is written here. */
class MeshTest {
    /** The first event of a kind of which that holds. */
    private suspend inline fun <reified T : MeshEvent> MeshNode.until(
        crossinline holds: (T) -> Boolean = { true },
    ): T = withTimeout(1.minutes) { events().filterIsInstance<T>().first { holds(it) } }

    /** Until all of them have joined, in whatever order. */
    private suspend fun MeshNode.joined(vararg others: MeshNode) {
        val missing = others.map { it.id() }.toMutableSet()
        until<MeshEvent.PeerJoined> {
            missing.remove(it.peer)
            missing.isEmpty()
        }
    }

    private suspend fun MeshNode.reached(id: String, state: DeliveryState) {
        until<MeshEvent.Delivery> { it.id == id && it.state == state }
    }

    private fun onNodes(test: suspend (MeshNode, MeshNode) -> Unit) = runBlocking {
        MeshNode("alice").use { alice -> MeshNode("bob").use { bob -> test(alice, bob) } }
    }

    private fun digits(bytes: Int) = "ab".repeat(bytes)

    // --- Links and messages

    @Test
    fun nodesTalkOverTcpAndGoOnAfterARestart(@TempDir folder: Path) = runBlocking {
        val file = (folder / "alice").toString()
        val bob = MeshNode("bob")
        val address = bob.listen()
        assertEquals(listOf(address), bob.listening())
        val config = MeshNodeConfig(file = file, connect = listOf(address))
        val alice = MeshNode("alice", config)
        val (aliceId, bobId) = alice.id() to bob.id()
        alice.joined(bob)
        bob.joined(alice)
        val known = alice.peers().single()
        assertEquals(Triple(bobId, "bob", true), Triple(known.id, known.nickname, known.isLinked))
        assertEquals(32, known.noiseKey.size)

        val sent = alice.sendPrivate(bobId, "hello")
        val came = bob.until<MeshEvent.PrivateMessage>()
        assertEquals(listOf(sent, aliceId, "hello"), listOf(came.id, came.from, came.text))
        assertEquals(aliceId, came.via)
        alice.reached(sent, DeliveryState.DELIVERED)
        bob.markRead(aliceId, sent)
        alice.reached(sent, DeliveryState.READ)
        val said = bob.sendPublic("to all")
        val heard = alice.until<MeshEvent.PublicMessage>()
        assertEquals(Triple(said, bobId, "to all"), Triple(heard.id, heard.from, heard.text))
        assertTrue(alice.stats().bytesIn > 0u)
        assertTrue("received" in alice.stats().rules)

        bob.close()
        alice.until<MeshEvent.PeerLeft> { it.peer == bobId }
        assertTrue(alice.disconnect(address))
        assertFalse(alice.disconnect(address))
        val kept = alice.sendPrivate(bobId, "while you were away")
        alice.close()
        MeshNode("", MeshNodeConfig(file = file)).use { again ->
            assertEquals(aliceId to "alice", again.id() to again.nickname())
            assertEquals(1uL, again.stats().waiting)
            val history = again.history()
            assertEquals(
                listOf("while you were away", "to all", "hello"),
                history.map { it.text },
            )
            assertEquals(listOf(true, false, true), history.map { it.isOwn })
            assertEquals(listOf(kept, said, sent), history.map { it.id })
            assertEquals(DeliveryState.READ, history.last().state)
            val older = again.history(limit = 1u, before = history.first().number)
            assertEquals(listOf(history[1]), older)

            val (withBob, all) = MeshConversation.Peer(bobId) to MeshConversation.Everybody
            val ofBob = again.history(conversation = withBob)
            assertEquals(listOf(history[0], history[2]), ofBob)
            assertEquals(listOf(history[1]), again.history(1u, conversation = all))
            assertEquals(
                listOf(
                    MeshConversationEntry(withBob, history[0].number),
                    MeshConversationEntry(all, history[1].number),
                ),
                again.conversations(),
            )
            assertTrue(again.deleteMessage(history[2].number))
            assertFalse(again.deleteMessage(history[2].number))
            assertEquals(history.take(2), again.history())
            assertEquals(1uL, again.deleteConversation(withBob))
            assertEquals(listOf(history[1]), again.history())
            for (wrong in listOf(MeshConversation.Peer("x"), MeshConversation.Group(bobId))) {
                assertFailsWith<FogException.InvalidArgument> { again.history(conversation = wrong) }
                assertFailsWith<FogException.InvalidArgument> { again.deleteConversation(wrong) }
            }
        }
    }

    @Test
    fun itIsToldWhatNeighboursDoWithAMessage() = onNodes { alice, bob ->
        MeshNode("relay").use { relay ->
            alice.linkWith(relay)
            relay.linkWith(bob)
            relay.joined(alice, bob)
            alice.joined(relay, bob)
            bob.joined(relay, alice)
            val said = alice.sendPublic("to all")
            val given = alice.until<MeshEvent.Passed> { it.id == said }
            assertEquals(MeshEvent.Passed(said, relay.id(), Passing.Given), given)
            val heard = bob.until<MeshEvent.PublicMessage>()
            assertEquals(relay.id() to 2.toUByte(), heard.via to heard.hops)
            val sent = alice.sendPrivate(bob.id(), "hello")
            val read = bob.until<MeshEvent.PrivateMessage> { it.id == sent }
            assertEquals(2u, read.hops)
            assertNotNull(read.protection)
            val group = alice.createGroup("us", listOf(bob.id()))
            bob.until<MeshEvent.Group> { it.group == group }
            val written = alice.sendGroup(group, "between us")
            val shared = bob.until<MeshEvent.GroupMessage> { it.id == written }
            assertEquals(relay.id() to 2.toUByte(), shared.via to shared.hops)
            val inGroup = bob.history(conversation = MeshConversation.Group(group)).single()
            assertEquals("between us" to 2.toUByte(), inGroup.text to inGroup.hops)

            // Who is not there any more is written to by somebody who carries it.
            val bobId = bob.id()
            bob.close()
            alice.until<MeshEvent.PeerLeft> { it.peer == bobId }
            val kept = alice.sendPrivate(bobId, "while you were away")
            val carries = alice.until<MeshEvent.Passed> { it.id == kept }
            assertEquals(MeshEvent.Passed(kept, relay.id(), Passing.Carries), carries)
        }
    }

    @Test
    fun membersOfAFogTalkToEachOtherAlone() = runBlocking {
        val key = meshFogKey()
        assertEquals(32, key.size)
        assertFalse(key.contentEquals(meshFogKey()))
        val config = MeshNodeConfig(fog = MeshFog(key))
        val other = MeshNodeConfig(fog = MeshFog(meshFogKey(), 60_000u))
        val (alice, bob) = MeshNode("alice", config) to MeshNode("bob", config)
        val strangers = listOf(MeshNode("carol"), MeshNode("dave", other))
        strangers.forEach { alice.linkWith(it) }
        alice.linkWith(bob)
        alice.joined(bob)
        bob.joined(alice)
        val sent = alice.sendPrivate(bob.id(), "among us")
        assertEquals("among us", bob.until<MeshEvent.PrivateMessage> { it.id == sent }.text)
        val said = bob.sendPublic("to the fog")
        assertEquals("to the fog", alice.until<MeshEvent.PublicMessage> { it.id == said }.text)
        // They hear something and know nobody.
        for (stranger in strangers) {
            while (stranger.stats().bytesIn == 0uL) yield()
            assertEquals(listOf(), stranger.peers())
            assertEquals(listOf(), stranger.history())
        }
        assertEquals(listOf(bob.id()), alice.peers().map { it.id })
        assertNotEquals(alice.id(), alice.airId())
        assertEquals(strangers[0].id(), strangers[0].airId())
        for (bytes in listOf(0, 31, 33)) {
            val fog = MeshNodeConfig(fog = MeshFog(ByteArray(bytes)))
            assertFailsWith<FogException.InvalidArgument> { MeshNode("eve", fog) }
        }
        (listOf(alice, bob) + strangers).forEach { it.close() }
    }

    @Test
    fun groupsAndFiles(@TempDir folder: Path) = onNodes { alice, bob ->
        alice.linkWith(bob)
        alice.joined(bob)
        bob.joined(alice)
        val group = alice.createGroup("us", listOf(bob.id()))
        assertEquals(alice.id(), bob.until<MeshEvent.Group> { it.group == group }.creator)
        val members = listOf(alice.id(), bob.id())
        assertEquals(listOf(MeshGroup(group, "us", members, false)), bob.groups())
        assertFailsWith<FogException.NotGroupCreator> { bob.changeGroup(group, listOf()) }
        val written = alice.sendGroup(group, "between us")
        val read = bob.until<MeshEvent.GroupMessage>()
        assertEquals(Triple(group, written, "between us"), Triple(read.group, read.id, read.text))
        assertEquals(MeshProtection.GROUP_KEY, read.protection)
        assertTrue(bob.leaveGroup(group))
        assertFalse(bob.leaveGroup(group))
        val many = alice.createLargeGroup("many", listOf(bob.id()))
        bob.until<MeshEvent.Group> { it.group == many }
        assertTrue(bob.groups().single().isLarge)
        val toMany = alice.sendGroup(many, "between many")
        val ofMany = bob.until<MeshEvent.GroupMessage> { it.id == toMany }
        assertEquals("between many" to MeshProtection.SENDER_KEY, ofMany.text to ofMany.protection)

        alice.sendFile(bob.id(), MeshFile("small".toByteArray(), "small.txt", "text/plain"))
        val small = bob.until<MeshEvent.File>()
        assertEquals(Pair(alice.id(), true), Pair(small.from, small.isPrivate))
        assertEquals("small" to "small.txt", small.file.content.decodeToString() to small.file.name)

        val content = ByteArray(256_000) { it.toByte() }
        val (large, taken) = folder / "large" to folder / "taken"
        large.writeBytes(content)
        val name = alice.offerFile(bob.id(), large.toString())
        val length = content.size.toULong()
        assertEquals(
            MeshEvent.FileOffered(alice.id(), name, "large", "application/octet-stream", length),
            bob.until<MeshEvent.FileOffered>(),
        )
        bob.acceptFile(name, taken.toString())
        val progress = bob.until<MeshEvent.FileProgress> { it.file == name && !it.isSent }
        assertTrue(progress.done in 1uL..length && progress.length == length)
        val received = bob.until<MeshEvent.FileReceived>()
        assertEquals(MeshEvent.FileReceived(name, alice.id(), taken.toString()), received)
        assertContentEquals(content, taken.readBytes())
        alice.until<MeshEvent.FileProgress> { it.isSent && it.done == length }
        assertTrue(alice.cancelFile(name))
    }

    @Test
    fun whatIsRefusedHasAnExceptionOfItsOwn() = onNodes { alice, bob ->
        val address = alice.listen()
        assertFailsWith<FogException.UnknownPeer> { alice.sendPrivate(digits(8), "hello") }
        assertFailsWith<FogException.UnknownGroup> { alice.sendGroup(digits(16), "hello") }
        assertFailsWith<FogException.UnknownFile> { alice.acceptFile(digits(32), "x") }
        assertFailsWith<FogException.InvalidMeshContent> { alice.sendPublic("") }
        for (nickname in listOf("", "x".repeat(256))) {
            assertFailsWith<FogException.InvalidMeshContent> { MeshNode(nickname) }
        }
        assertFailsWith<FogException.Listen> {
            MeshNode("carol", MeshNodeConfig(listen = listOf(address)))
        }
        assertFailsWith<FogException.InvalidArgument> { alice.connect("nowhere") }
        assertFailsWith<FogException.InvalidArgument> { alice.listen("nowhere") }
        for (peer in listOf("", "xyz", digits(7), digits(9))) {
            assertFailsWith<FogException.InvalidArgument>(peer) { alice.sendPrivate(peer, "x") }
        }
        assertFailsWith<FogException.InvalidArgument> { alice.sendGroup(digits(15), "hello") }
        assertFailsWith<FogException.InvalidArgument> { alice.cancelFile(digits(31)) }
        alice.close()
        alice.close()
        assertFailsWith<IllegalStateException> { alice.peers() }
        assertFailsWith<IllegalStateException> { bob.linkWith(alice) }
        assertEquals(listOf(), alice.events().toList())
    }

    @Test
    fun noEventIsLostWhenAReceiverIsCancelledAndClosingEndsTheWait() = onNodes { alice, bob ->
        alice.linkWith(bob)
        bob.joined(alice)
        alice.joined(bob)
        for (number in 0 until 20) {
            var found = false
            val take: suspend () -> Unit = {
                while (!found) {
                    val event = bob.receive()
                    found = event is MeshEvent.PublicMessage && event.text == "$number"
                }
            }
            withContext(Dispatchers.Default) {
                val receiving = launch { take() }
                alice.sendPublic("$number")
                receiving.cancelAndJoin()
            }
            withTimeout(1.minutes) { take() }
        }
        while (bob.receiveWithin(1.milliseconds) != null) yield()
        assertNull(bob.receiveWithin(0.milliseconds))
        runBlocking {
            val rest = async { bob.events().toList() }
            val receiving = async { assertFailsWith<FogException.Closed> { bob.receive() } }
            yield()
            bob.close()
            rest.await()
            receiving.await()
        }
    }

    // --- A radio

    @Test
    fun nodesTalkOverARadioWrittenInKotlin() = runBlocking {
        val air = Air()
        val radios = List(2) { LoopbackRadio(air) }
        onNodes { alice, bob ->
            alice.addRadio(radios[0])
            bob.addRadio(radios[1])
            alice.joined(bob)
            bob.joined(alice)
            val text = "over the air ".repeat(19)
            val sent = alice.sendPrivate(bob.id(), text)
            assertEquals(text, bob.until<MeshEvent.PrivateMessage> { it.id == sent }.text)
            alice.reached(sent, DeliveryState.DELIVERED)
            assertTrue(radios.all { it.values.get() > 0 })

            // What a radio throws ends that connection, and neither node.
            radios[0].throwing = RadioException.Host("the antenna fell off")
            alice.sendPublic("lost")
            val failed = alice.until<MeshEvent.RadioFailed>()
            assertEquals(MeshEvent.RadioFailed(0u, "the antenna fell off"), failed)
            alice.until<MeshEvent.LinkDown>()
            radios[0].throwing = null
            assertEquals(listOf(bob.id()), alice.peers().map { it.id })
            assertTrue(radios.all { it.detached.get() == 0 })
        }
        assertTrue(radios.all { it.detached.get() == 1 })
    }

    @Test
    fun whateverARadioThrowsIsTold() = onNodes { alice, _ ->
        for ((number, thrown) in listOf(
            RadioException.Host("no antenna"),
            IllegalStateException("no antenna"),
            NotImplementedError("no antenna"),
        ).withIndex()) {
            alice.addRadio(LoopbackRadio(Air()).also { it.throwing = thrown })
            val failed = alice.until<MeshEvent.RadioFailed> { it.radio == number.toULong() }
            assertTrue("no antenna" in failed.reason, failed.reason)
            assertFalse('\n' in failed.reason, failed.reason)
        }
    }

    @Test
    fun aRadioThatCannotBeginIsNotAdded() = onNodes { alice, _ ->
        val radio = LoopbackRadio(Air())
        radio.refusing = RadioException.Host("no permission")
        val failed = assertFailsWith<FogException.HostCallback> { alice.addRadio(radio) }
        assertEquals("no permission", failed.message)
        radio.refusing = ArithmeticException("bug")
        assertFailsWith<FogException.HostCallback> { alice.addRadio(radio) }
        repeat(8) { alice.addRadio(LoopbackRadio(Air())) }
        assertFailsWith<FogException.MeshBusy> { alice.addRadio(LoopbackRadio(Air())) }
    }

    @Test
    fun anInboxRefusesAPeerThatIsTooLong() = onNodes { alice, _ ->
        val radio = LoopbackRadio(Air())
        alice.addRadio(radio)
        val (inbox, long) = radio.inbox!! to ByteArray(65)
        assertFailsWith<FogException.InvalidArgument> { inbox.discovered(long, -40) }
        assertFailsWith<FogException.InvalidArgument> { inbox.connected(1u, long, true, 517u) }
        assertFailsWith<FogException.InvalidArgument> { inbox.connectFailed(long) }
        assertTrue(inbox.discovered(ByteArray(64), -40))
        // What comes of no connection, or of Bluetooth that is off, does no harm.
        inbox.adapter(false)
        inbox.mtuChanged(9u, 23u)
        inbox.writable(9u)
        inbox.unsubscribed(9u)
        inbox.stopped(true)
        inbox.stopped(false)
        inbox.adapter(true)
        assertTrue(inbox.received(9u, ByteArray(20)))
        assertEquals(listOf(), alice.peers())
    }
}

/** Carries values between the radios that are in it. */
private class Air {
    val radios = CopyOnWriteArrayList<LoopbackRadio>()
    val ends = ConcurrentHashMap<ULong, List<LoopbackRadio>>()
    private val links = AtomicLong()

    fun link(one: LoopbackRadio, other: LoopbackRadio): ULong =
        links.incrementAndGet().toULong().also { ends[it] = listOf(one, other) }
}

/** A radio whose air is this program: what one writes, the other one hears. */
private class LoopbackRadio(private val air: Air) : BleRadio {
    val values = AtomicInteger()
    val detached = AtomicInteger()

    @Volatile
    var inbox: RadioInbox? = null

    @Volatile
    var throwing: Throwable? = null

    @Volatile
    var refusing: Throwable? = null

    private val address: ByteArray

    init {
        air.radios.add(this)
        address = byteArrayOf(air.radios.indexOf(this).toByte())
    }

    private fun others() = air.radios.filter { it !== this && it.inbox != null }

    override fun limits(): RadioLimits {
        refusing?.let { throw it }
        return RadioLimits(isCentral = true, isPeripheral = true, linksMax = 8u)
    }

    override fun attach(inbox: RadioInbox) {
        this.inbox = inbox
    }

    override fun advertise(serviceData: ByteArray) {
        throwing?.let { throw it }
        others().forEach { it.inbox?.discovered(address, -40, serviceData) }
    }

    override fun stopAdvertising() = Unit

    // Who is attached later is heard by its advert.
    override fun scan() = others().forEach { inbox?.discovered(it.address, -40) }

    override fun stopScanning() = Unit

    override fun connect(peer: ByteArray): Boolean {
        val other = air.radios.getOrNull(peer.single().toInt()) ?: return false
        val link = air.link(this, other)
        inbox?.connected(link, other.address, true, 517u)
        other.inbox?.connected(link, address, false, 517u)
        inbox?.subscribed(link)
        other.inbox?.subscribed(link)
        return true
    }

    override fun disconnect(link: ULong) {
        for (end in air.ends.remove(link).orEmpty()) end.inbox?.disconnected(link, end === this)
    }

    override fun write(link: ULong, `value`: ByteArray, withResponse: Boolean): Boolean {
        throwing?.let { throw it }
        values.incrementAndGet()
        val other = air.ends[link]?.first { it !== this } ?: return false
        return other.inbox?.received(link, value) ?: false
    }

    override fun notify(link: ULong, `value`: ByteArray): Boolean = write(link, value, true)

    override fun detach() {
        air.ends.filterValues { this in it }.keys.forEach(::disconnect)
        detached.incrementAndGet()
    }
}
