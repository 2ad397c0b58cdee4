package dev.fogcompute.samples

import android.Manifest.permission.BLUETOOTH_CONNECT
import android.app.Application
import android.bluetooth.BluetoothAdapter
import android.bluetooth.BluetoothDevice
import android.bluetooth.BluetoothGatt
import android.bluetooth.BluetoothGattCharacteristic
import android.bluetooth.BluetoothGattDescriptor
import android.bluetooth.BluetoothGattService
import android.bluetooth.BluetoothManager
import android.bluetooth.BluetoothStatusCodes
import android.bluetooth.le.ScanRecord
import android.bluetooth.le.ScanResult
import android.content.Intent
import android.os.Looper
import android.os.ParcelUuid
import dev.fogcompute.BleRadio
import dev.fogcompute.DeliveryState
import dev.fogcompute.FogException
import dev.fogcompute.MeshEvent
import dev.fogcompute.MeshNode
import dev.fogcompute.NoHandle
import dev.fogcompute.RadioException
import dev.fogcompute.RadioInbox
import dev.fogcompute.RadioLimits
import dev.fogcompute.events
import java.nio.ByteBuffer
import java.time.Duration
import java.util.UUID
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.minutes
import kotlinx.coroutines.flow.filterIsInstance
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.Before
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.shadow.api.Shadow
import org.robolectric.shadows.ShadowBluetoothAdapter
import org.robolectric.shadows.ShadowBluetoothGatt

/** The sample on a phone that is Robolectric's; the other end of each connection is played here. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [33], shadows = [Servers::class, Adverts::class])
class MeshRadioTest {
    private val service = UUID.fromString("F47B5E2D-4A9E-4C5A-9B3F-8E1D2C3A4B5C")
    private val characteristic = UUID.fromString("A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D")
    private val configuration = UUID.fromString("00002902-0000-1000-8000-00805F9B34FB")
    private val other = "00:11:22:33:AA:BB"

    private val phone: Application = RuntimeEnvironment.getApplication()
    private val adapter = phone.getSystemService(BluetoothManager::class.java).adapter
    private val device: BluetoothDevice = adapter.getRemoteDevice(other)
    private val process = BluetoothProcess()
    private val inbox = Heard()
    private val radio by lazy { MeshRadio(phone) }
    private val adverts by lazy { Shadow.extract<Adverts>(adapter.bluetoothLeAdvertiser) }
    private val scanner by lazy { shadowOf(adapter.bluetoothLeScanner) }

    @Before
    fun bluetoothIsOn() {
        Servers.process = process
        shadowOf(adapter).setState(BluetoothAdapter.STATE_ON)
    }

    private fun idle() = shadowOf(Looper.getMainLooper()).idle()

    private fun turn(state: Int) {
        shadowOf(adapter).setState(state)
        val changed = Intent(BluetoothAdapter.ACTION_STATE_CHANGED)
        phone.sendBroadcast(changed.putExtra(BluetoothAdapter.EXTRA_STATE, state))
        idle()
    }

    private fun receivers() = shadowOf(phone).registeredReceivers.count {
        it.intentFilter.hasAction(BluetoothAdapter.ACTION_STATE_CHANGED)
    }

    /** An advert of the device with a service, and data of it. */
    private fun advert(of: UUID, data: ByteArray?): ScanResult {
        val id = ByteBuffer.allocate(16).putLong(of.mostSignificantBits)
            .putLong(of.leastSignificantBits).array().reversedArray()
        var bytes = byteArrayOf(17, 0x07) + id
        if (data != null) bytes += byteArrayOf((17 + data.size).toByte(), 0x21) + id + data
        @Suppress("DEPRECATION") // It says all that matters here.
        return ScanResult(device, ScanRecord.parseFromBytes(bytes), -61, 0)
    }

    /** The radio, which has heard the device. */
    private fun heard(): MeshRadio {
        radio.attach(inbox)
        scanner.addScanResult(advert(service, null))
        radio.scan()
        inbox.told.clear()
        return radio
    }

    /** What the device offers to a central. */
    private fun served(id: UUID = service): BluetoothGattService {
        val values = BluetoothGattCharacteristic(
            characteristic,
            BluetoothGattCharacteristic.PROPERTY_WRITE or
                BluetoothGattCharacteristic.PROPERTY_WRITE_NO_RESPONSE or
                BluetoothGattCharacteristic.PROPERTY_NOTIFY,
            BluetoothGattCharacteristic.PERMISSION_WRITE,
        )
        val permission = BluetoothGattDescriptor.PERMISSION_WRITE
        values.addDescriptor(BluetoothGattDescriptor(configuration, permission))
        val service = BluetoothGattService(id, BluetoothGattService.SERVICE_TYPE_PRIMARY)
        return service.apply { addCharacteristic(values) }
    }

    private val gatts: List<BluetoothGatt> get() = shadowOf(device).bluetoothGatts

    /** A connection that the radio began and that is up: link 1. */
    private fun connected(): ShadowBluetoothGatt {
        assertTrue(heard().connect(other.toByteArray()))
        val gatt = shadowOf(gatts.single())
        gatt.addDiscoverableService(served())
        gatt.notifyConnection(other)
        return gatt
    }

    // --- Being found, and finding

    @Test
    fun itServesTheCharacteristicOfTheApps() {
        assertEquals(RadioLimits(true, true, 7u), radio.limits())
        radio.attach(inbox)
        assertEquals(listOf("adapter true"), inbox.told)
        assertEquals(service, process.service.uuid)
        assertEquals(BluetoothGattService.SERVICE_TYPE_PRIMARY, process.service.type)
        val values = process.service.characteristics.single()
        assertEquals(characteristic, values.uuid)
        assertEquals(
            BluetoothGattCharacteristic.PROPERTY_READ or
                BluetoothGattCharacteristic.PROPERTY_WRITE or
                BluetoothGattCharacteristic.PROPERTY_WRITE_NO_RESPONSE or
                BluetoothGattCharacteristic.PROPERTY_NOTIFY,
            values.properties,
        )
        assertEquals(configuration, values.descriptors.single().uuid)
    }

    @Test
    fun itAdvertisesTheServiceAndAfterThatItsData() {
        radio.attach(inbox)
        val data = ByteArray(13) { it.toByte() }
        radio.advertise(data)
        assertEquals(1, adverts.advertisementRequestCount)
        assertTrue(adverts.settings.isConnectable)
        assertEquals(listOf(ParcelUuid(service)), adverts.advert.serviceUuids)
        assertFalse(adverts.advert.includeDeviceName)
        val more = adverts.scanResponse?.serviceData.orEmpty()
        assertEquals(setOf(ParcelUuid(service)), more.keys)
        assertContentEquals(data, more[ParcelUuid(service)])
        // Another one takes its place.
        radio.advertise(byteArrayOf())
        assertEquals(1, adverts.advertisementRequestCount)
        assertEquals(listOf(ParcelUuid(service)), adverts.advert.serviceUuids)
        assertNull(adverts.scanResponse)
        radio.stopAdvertising()
        assertEquals(0, adverts.advertisementRequestCount)
        assertEquals(listOf("adapter true"), inbox.told)
        // An advert has 31 bytes, and Android refuses more.
        radio.advertise(ByteArray(14))
        idle()
        assertEquals(0, adverts.advertisementRequestCount)
        assertEquals("stopped advertising", inbox.told.last())
    }

    @Test
    fun itHearsWhoHasTheService() {
        radio.attach(inbox)
        scanner.addScanResult(advert(UUID(1, 2), null))
        scanner.addScanResult(advert(service, byteArrayOf(7, 8)))
        radio.scan()
        assertEquals(listOf("adapter true", "discovered $other -61 [7, 8]"), inbox.told)
        val scan = scanner.activeScans.single()
        assertEquals(ParcelUuid(service), scan.scanFilters().single().serviceUuid)
        scan.scanCallback()?.onScanFailed(2)
        assertEquals("stopped scanning", inbox.told.last())
        radio.stopScanning()
        assertEquals(emptyList(), scanner.activeScans)
    }

    // --- As a central

    @Test
    fun itConnectsAndWritesAndIsNotified() {
        assertFalse(radio.connect("00:00:00:00:00:00".toByteArray()))
        val gatt = connected()
        assertContentEquals(
            BluetoothGattDescriptor.ENABLE_NOTIFICATION_VALUE, gatt.latestWrittenBytes,
        )
        assertEquals(listOf("connected 1 $other central 517", "subscribed 1"), inbox.told)
        assertTrue(radio.connect(other.toByteArray()))
        assertEquals(1, gatts.size)
        inbox.told.clear()

        for (withResponse in listOf(true, false)) {
            val value = "written $withResponse".toByteArray()
            assertTrue(radio.write(1u, value, withResponse))
            assertContentEquals(value, gatt.latestWrittenBytes)
        }
        val values = gatts.single().getService(service).getCharacteristic(characteristic)
        gatt.gattCallback.onCharacteristicChanged(gatts.single(), values, byteArrayOf(1, 2))
        gatt.gattCallback.onMtuChanged(gatts.single(), 185, BluetoothGatt.GATT_SUCCESS)
        assertEquals(listOf("received 1 [1, 2]", "mtuChanged 1 185"), inbox.told)
        // Nothing makes the peer wait.
        inbox.takes = false
        gatt.gattCallback.onCharacteristicChanged(gatts.single(), values, byteArrayOf(3))
        assertEquals(listOf("received 1 [3]", "disconnected 1 false"), inbox.told.drop(2))
        assertTrue(gatt.isClosed)
    }

    @Test
    fun aPeerThatDisconnectsIsToldOnce() {
        val gatt = connected()
        inbox.told.clear()
        gatt.notifyDisconnection(other)
        assertEquals(listOf("disconnected 1 false"), inbox.told)
        assertTrue(gatt.isClosed)
        // One that has ended takes everything; another attempt is another link.
        assertTrue(radio.write(1u, byteArrayOf(1), true))
        radio.disconnect(1u)
        assertEquals(1, inbox.told.size)
        assertTrue(radio.connect(other.toByteArray()))
        shadowOf(gatts.last()).addDiscoverableService(served())
        shadowOf(gatts.last()).notifyConnection(other)
        assertEquals("connected 2 $other central 517", inbox.told[1])
        radio.disconnect(2u)
        assertEquals("disconnected 2 true", inbox.told.last())
        assertTrue(shadowOf(gatts.last()).isClosed)
    }

    @Test
    fun aPeerThatDoesNotAnswerOrHasNoServiceIsNotConnected() {
        assertTrue(heard().connect(other.toByteArray()))
        shadowOf(Looper.getMainLooper()).idleFor(Duration.ofSeconds(19))
        assertEquals(emptyList(), inbox.told)
        shadowOf(Looper.getMainLooper()).idleFor(Duration.ofSeconds(1))
        assertEquals(listOf("connectFailed $other"), inbox.told)
        assertTrue(shadowOf(gatts.single()).isClosed)

        assertTrue(radio.connect(other.toByteArray()))
        shadowOf(gatts.last()).addDiscoverableService(served(UUID(1, 2)))
        shadowOf(gatts.last()).notifyConnection(other)
        assertEquals(List(2) { "connectFailed $other" }, inbox.told)
        // Neither is told again when its time is up.
        shadowOf(Looper.getMainLooper()).idleFor(Duration.ofMinutes(1))
        assertEquals(2, inbox.told.size)
    }

    // --- As a peripheral

    @Test
    fun itIsWrittenToAndAnswers() {
        radio.attach(inbox)
        inbox.told.clear()
        process.connect(other, 185)
        assertEquals(emptyList(), inbox.told)
        process.subscribe(other)
        assertEquals(listOf("connected 1 $other peripheral 185", "subscribed 1"), inbox.told)
        process.write(other, byteArrayOf(1, 2), isAnswered = true)
        process.write(other, byteArrayOf(3), isAnswered = false)
        process.read(other)
        assertEquals(listOf("received 1 [1, 2]", "received 1 [3]"), inbox.told.drop(2))
        assertEquals(List(3) { BluetoothGatt.GATT_SUCCESS }, process.answers)

        inbox.takes = false
        process.write(other, byteArrayOf(4), isAnswered = true)
        assertEquals(BluetoothGatt.GATT_CONNECTION_CONGESTED, process.answers.last())
        inbox.takes = true
        inbox.told.clear()
        // Values are whole: a long write in parts is none.
        process.write(other, byteArrayOf(5), isAnswered = true, part = 0)
        process.write(other, byteArrayOf(6), isAnswered = true, part = 1)
        assertEquals(emptyList(), inbox.told)
        assertEquals(List(2) { BluetoothGatt.GATT_REQUEST_NOT_SUPPORTED }, process.answers.takeLast(2))

        process.connect(other, 517)
        process.subscribe(other, isOn = false)
        process.disconnect(other)
        process.disconnect(other)
        val told = listOf("mtuChanged 1 517", "unsubscribed 1", "disconnected 1 false")
        assertEquals(told, inbox.told)
        // One that writes before it subscribes, or instead, is there too, with the least MTU.
        process.connect(other, null)
        process.write(other, byteArrayOf(7), isAnswered = false)
        assertEquals(
            listOf("connected 2 $other peripheral 23", "received 2 [7]"), inbox.told.drop(3),
        )
    }

    @Test
    fun itNotifiesOneValueAtATime() {
        radio.attach(inbox)
        process.connect(other, 185)
        process.subscribe(other)
        inbox.told.clear()
        val notified = mutableListOf<String>()
        process.notified = { to, value -> notified += "$to ${value.toList()}" }
        process.sendsAtOnce = false
        assertTrue(radio.notify(1u, byteArrayOf(1)))
        assertFalse(radio.notify(1u, byteArrayOf(2)))
        process.sent(other)
        assertEquals(listOf("writable 1"), inbox.told)
        assertTrue(radio.notify(1u, byteArrayOf(2)))
        assertEquals(listOf("$other [1]", "$other [2]"), notified)
        process.sent(other)
        // The system has no room yet: it says so, and says when.
        process.says = BluetoothStatusCodes.ERROR_GATT_WRITE_REQUEST_BUSY
        assertFalse(radio.notify(1u, byteArrayOf(3)))
        process.sent(other)
        assertEquals(List(2) { "writable 1" }, inbox.told)
        process.says = BluetoothStatusCodes.ERROR_DEVICE_NOT_CONNECTED
        val refused = assertFailsWith<RadioException.Host> { radio.notify(1u, byteArrayOf(3)) }
        assertEquals("Bluetooth status ${process.says}", refused.reason)
        assertEquals(2, notified.size)
        // One that did not arrive ends the connection, of which the system tells.
        process.sent(other, BluetoothGatt.GATT_FAILURE)
        assertEquals(listOf(other), process.ended)
        process.disconnect(other)
        assertEquals("disconnected 1 false", inbox.told.last())
        assertTrue(radio.notify(1u, byteArrayOf(4)))
    }

    // --- On, off, the end, and without permission

    @Test
    fun bluetoothThatIsTurnedOffAndOnIsTold() {
        shadowOf(adapter).setIsMultipleAdvertisementSupported(false)
        assertFalse(radio.limits().isPeripheral)
        val gatt = connected()
        process.connect("00:11:22:33:AA:CC", 185)
        process.subscribe("00:11:22:33:AA:CC")
        inbox.told.clear()
        turn(BluetoothAdapter.STATE_TURNING_OFF)
        turn(BluetoothAdapter.STATE_OFF)
        assertEquals(listOf("adapter false"), inbox.told)
        assertTrue(gatt.isClosed)
        assertEquals(0, process.servers)
        assertFalse(radio.connect(other.toByteArray()))
        // As long as it is off, Android says of every device that it cannot advertise.
        assertTrue(radio.limits().isPeripheral)
        turn(BluetoothAdapter.STATE_ON)
        assertEquals(listOf("adapter false", "adapter true"), inbox.told)
        assertEquals(1, process.servers)
    }

    @Test
    fun itEndsAllConnectionsAndIsQuiet() {
        val gatt = connected()
        process.connect("00:11:22:33:AA:CC", 185)
        process.subscribe("00:11:22:33:AA:CC")
        radio.disconnect(2u)
        assertEquals(listOf("00:11:22:33:AA:CC"), process.ended)
        assertEquals("disconnected 2 true", inbox.told.last())
        radio.advertise(byteArrayOf())
        inbox.told.clear()
        radio.detach()
        assertTrue(gatt.isClosed)
        assertEquals(0, process.servers)
        assertEquals(0, adverts.advertisementRequestCount)
        assertEquals(emptyList(), scanner.activeScans)
        assertEquals(0, receivers())
        shadowOf(Looper.getMainLooper()).idleFor(Duration.ofMinutes(1))
        assertEquals(emptyList(), inbox.told)
    }

    @Test
    fun aPhoneWithoutBluetoothIsRefused() {
        ShadowBluetoothAdapter.setIsBluetoothSupported(false)
        assertFalse(radio.limits().isPeripheral)
        MeshNode("alice").use { alice ->
            val refused = assertFailsWith<FogException.HostCallback> { alice.addRadio(radio) }
            assertTrue("no Bluetooth" in refused.message.orEmpty(), refused.message)
        }
        assertEquals(0, receivers())
    }

    @Test
    fun aRadioWithoutPermissionIsNotAdded() {
        process.isPermitted = false
        MeshNode("alice").use { alice ->
            val refused = assertFailsWith<FogException.HostCallback> { alice.addRadio(radio) }
            assertTrue(BLUETOOTH_CONNECT in refused.message.orEmpty(), refused.message)
            assertEquals(0, receivers())
            process.isPermitted = true
            alice.addRadio(MeshRadio(phone))
            assertEquals(1, receivers())
        }
        assertEquals(0, receivers())
    }

    @Test
    fun turningBluetoothOnWithoutPermissionDoesNotEndTheApplication() {
        // What the receiver of the broadcast throws ends the process of an application.
        shadowOf(adapter).setState(BluetoothAdapter.STATE_OFF)
        process.isPermitted = false
        radio.attach(inbox)
        turn(BluetoothAdapter.STATE_ON)
        assertEquals(listOf("adapter false", "adapter false"), inbox.told)
    }

    @Test
    fun connectingWithoutPermissionIsToldAndWorksWithIt() {
        shadowOf(device).setShouldThrowSecurityExceptions(true)
        scanner.addScanResult(advert(service, null))
        MeshNode("alice").use { alice ->
            alice.addRadio(MeshRadio(phone))
            val failed = runBlocking { alice.until<MeshEvent.RadioFailed>() }
            assertTrue("permission required" in failed.reason, failed.reason)
        }
        // An attempt that could not be made was remembered as one that goes on.
        heard()
        assertFailsWith<SecurityException> { radio.connect(other.toByteArray()) }
        shadowOf(phone).grantPermissions(BLUETOOTH_CONNECT)
        assertEquals(0, gatts.size)
        assertTrue(radio.connect(other.toByteArray()))
        assertEquals(1, gatts.size)
    }

    // --- With a node

    @Test
    fun nodesTalkOverIt() = runBlocking {
        MeshNode("alice").use { alice ->
            MeshNode("bob").use { bob ->
                alice.addRadio(radio)
                bob.addRadio(Central(process, other))
                alice.until<MeshEvent.PeerJoined> { it.peer == bob.id() }
                bob.until<MeshEvent.PeerJoined> { it.peer == alice.id() }
                for ((from, to) in listOf(alice to bob, bob to alice)) {
                    val text = "over the air ".repeat(19)
                    val sent = from.sendPrivate(to.id(), text)
                    assertEquals(text, to.until<MeshEvent.PrivateMessage> { it.id == sent }.text)
                    from.until<MeshEvent.Delivery> {
                        it.id == sent && it.state == DeliveryState.DELIVERED
                    }
                }
            }
        }
    }

    /** The first event of a kind of which that holds. */
    private suspend inline fun <reified T : MeshEvent> MeshNode.until(
        crossinline holds: (T) -> Boolean = { true },
    ): T = withTimeout(1.minutes) { events().filterIsInstance<T>().first { holds(it) } }
}

/** Writes down what a radio tells. */
private class Heard : RadioInbox(NoHandle) {
    val told = mutableListOf<String>()
    var takes = true

    override fun adapter(isOn: Boolean) {
        told += "adapter $isOn"
    }

    override fun connectFailed(peer: ByteArray) {
        told += "connectFailed ${peer.decodeToString()}"
    }

    override fun connected(link: ULong, peer: ByteArray, isCentral: Boolean, mtu: UShort) {
        val role = if (isCentral) "central" else "peripheral"
        told += "connected $link ${peer.decodeToString()} $role $mtu"
    }

    override fun disconnected(link: ULong, byThisSide: Boolean) {
        told += "disconnected $link $byThisSide"
    }

    override fun discovered(peer: ByteArray, rssiDbm: Short, serviceData: ByteArray?): Boolean {
        told += "discovered ${peer.decodeToString()} $rssiDbm ${serviceData?.toList()}"
        return takes
    }

    override fun mtuChanged(link: ULong, mtu: UShort) {
        told += "mtuChanged $link $mtu"
    }

    override fun received(link: ULong, `value`: ByteArray): Boolean {
        told += "received $link ${value.toList()}"
        return takes
    }

    override fun stopped(isScanning: Boolean) {
        told += if (isScanning) "stopped scanning" else "stopped advertising"
    }

    override fun subscribed(link: ULong) {
        told += "subscribed $link"
    }

    override fun unsubscribed(link: ULong) {
        told += "unsubscribed $link"
    }

    override fun writable(link: ULong) {
        told += "writable $link"
    }
}

/** Another phone, at that address: a central that talks to the phone of the test. */
private class Central(
    private val process: BluetoothProcess,
    private val address: String,
) : BleRadio {
    private lateinit var inbox: RadioInbox

    override fun limits() = RadioLimits(isCentral = true, isPeripheral = false, linksMax = 1u)

    override fun attach(inbox: RadioInbox) {
        this.inbox = inbox
        process.notified = { _, value -> inbox.received(1u, value) }
    }

    override fun advertise(serviceData: ByteArray) = Unit

    override fun stopAdvertising() = Unit

    override fun scan() {
        inbox.discovered("the phone".toByteArray(), -40, null)
    }

    override fun stopScanning() = Unit

    override fun connect(peer: ByteArray): Boolean {
        process.connect(address, 185)
        inbox.connected(1u, peer, true, 185u)
        process.subscribe(address)
        inbox.subscribed(1u)
        return true
    }

    override fun disconnect(link: ULong) {
        process.disconnect(address)
        inbox.disconnected(link, true)
    }

    override fun write(link: ULong, `value`: ByteArray, withResponse: Boolean): Boolean {
        process.write(address, value, withResponse)
        return true
    }

    override fun notify(link: ULong, `value`: ByteArray): Boolean =
        error("a central does not notify")

    override fun detach() = Unit
}
