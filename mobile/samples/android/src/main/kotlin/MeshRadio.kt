// A radio for a MeshNode over Android's Bluetooth. A sample to copy into an application, for API level 33
// and later: it is compiled against the classes of that level and tested on Robolectric, and was never
// run on a device.
//
//     val radio = MeshRadio(context)
//     node.addRadio(radio)
//
// The manifest needs android.permission.BLUETOOTH_SCAN (with usesPermissionFlags="neverForLocation"),
// BLUETOOTH_ADVERTISE and BLUETOOTH_CONNECT, which the user is asked for. Without them Android throws,
// which the node tells as MeshEvent.RadioFailed.
package dev.fogcompute.samples

import android.annotation.SuppressLint
import android.bluetooth.BluetoothAdapter
import android.bluetooth.BluetoothDevice
import android.bluetooth.BluetoothGatt
import android.bluetooth.BluetoothGattCallback
import android.bluetooth.BluetoothGattCharacteristic
import android.bluetooth.BluetoothGattDescriptor
import android.bluetooth.BluetoothGattServer
import android.bluetooth.BluetoothGattServerCallback
import android.bluetooth.BluetoothGattService
import android.bluetooth.BluetoothManager
import android.bluetooth.BluetoothProfile
import android.bluetooth.BluetoothStatusCodes
import android.bluetooth.le.AdvertiseCallback
import android.bluetooth.le.AdvertiseData
import android.bluetooth.le.AdvertiseSettings
import android.bluetooth.le.ScanCallback
import android.bluetooth.le.ScanFilter
import android.bluetooth.le.ScanResult
import android.bluetooth.le.ScanSettings
import android.content.BroadcastReceiver
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.Handler
import android.os.Looper
import android.os.ParcelUuid
import dev.fogcompute.BleRadio
import dev.fogcompute.RadioException
import dev.fogcompute.RadioInbox
import dev.fogcompute.RadioLimits
import java.util.UUID

private val SERVICE = UUID.fromString("F47B5E2D-4A9E-4C5A-9B3F-8E1D2C3A4B5C")
private val CHARACTERISTIC = UUID.fromString("A1B2C3D4-E5F6-4A5B-8C9D-0E1F2A3B4C5D")

/** What a central writes to, to get notifications. */
private val CLIENT_CONFIGURATION = UUID.fromString("00002902-0000-1000-8000-00805F9B34FB")

private const val MTU_ASKED = 517
private const val MTU_MIN = 23

/** A radio answers within half a minute whether there is a connection. */
private const val CONNECT_TIMEOUT_MS = 20_000L

/** Devices that were heard and are remembered, so that they can be connected to. */
private const val HEARD_MAX = 512

/**
 * Both roles at once: scans and connects as a central, advertises and is connected to as a peripheral.
 *
 * Android calls back on threads of its own; all that is remembered is behind one lock. It does one thing
 * at a time on each connection and says when that is done; until then a write or notification is refused.
 */
@SuppressLint("MissingPermission")
class MeshRadio(context: Context) : BleRadio {
    private val context = context.applicationContext
    private val manager = this.context.getSystemService(BluetoothManager::class.java)
    private val timer = Handler(Looper.getMainLooper())
    private val lock = Any()
    private var inbox: RadioInbox? = null
    private var server: BluetoothGattServer? = null
    private var served: BluetoothGattCharacteristic? = null
    private var nextLink = 1uL
    private val heard = LinkedHashMap<String, BluetoothDevice>()
    private val outgoing = HashMap<String, Outgoing>()
    private val incoming = HashMap<String, Incoming>()

    /** What was agreed on with devices that have no link yet, by their addresses. */
    private val mtus = HashMap<String, Int>()

    /** Values of a connection leave one at a time. */
    private open class Line {
        var link: ULong? = null
        var isBusy = false

        /** A value was refused, so it has to be told when there is room. */
        var wasRefused = false
    }

    /** A connection that this side began. */
    private class Outgoing(val device: BluetoothDevice) : Line() {
        var gatt: BluetoothGatt? = null
        var mtu = MTU_MIN
    }

    /** A connection that the other side began. */
    private class Incoming(val device: BluetoothDevice) : Line()

    private val adapter: BluetoothAdapter
        get() = manager?.adapter ?: throw RadioException.Host("this device has no Bluetooth")

    // --- What the node asks

    override fun limits() = RadioLimits(
        isCentral = true,
        // Only while Bluetooth is on does Android tell whether the device can; till then, it may.
        isPeripheral = manager?.adapter?.run { !isEnabled || isMultipleAdvertisementSupported } ?: false,
        linksMax = 7u,
    )

    override fun attach(inbox: RadioInbox) {
        synchronized(lock) { this.inbox = inbox }
        val filter = IntentFilter(BluetoothAdapter.ACTION_STATE_CHANGED)
        context.registerReceiver(states, filter, Context.RECEIVER_NOT_EXPORTED)
        // A radio begins on.
        if (adapter.isEnabled) serve() else inbox.adapter(false)
    }

    override fun advertise(serviceData: ByteArray) {
        val advertiser = adapter.bluetoothLeAdvertiser
            ?: throw RadioException.Host("this device cannot advertise now")
        val settings = AdvertiseSettings.Builder()
            .setAdvertiseMode(AdvertiseSettings.ADVERTISE_MODE_BALANCED)
            .setConnectable(true)
            .setTimeout(0)
            .build()
        val data = AdvertiseData.Builder()
            .setIncludeDeviceName(false)
            .addServiceUuid(ParcelUuid(SERVICE))
            .build()
        advertiser.stopAdvertising(adverts)
        if (serviceData.isEmpty()) {
            advertiser.startAdvertising(settings, data, adverts)
        } else {
            // The advert itself is full.
            val more = AdvertiseData.Builder()
                .addServiceData(ParcelUuid(SERVICE), serviceData)
                .build()
            advertiser.startAdvertising(settings, data, more, adverts)
        }
    }

    override fun stopAdvertising() {
        adapter.bluetoothLeAdvertiser?.stopAdvertising(adverts)
    }

    override fun scan() {
        val scanner = adapter.bluetoothLeScanner
            ?: throw RadioException.Host("this device cannot scan now")
        val filter = ScanFilter.Builder().setServiceUuid(ParcelUuid(SERVICE)).build()
        val settings = ScanSettings.Builder()
            .setScanMode(ScanSettings.SCAN_MODE_BALANCED)
            .setCallbackType(ScanSettings.CALLBACK_TYPE_ALL_MATCHES)
            .build()
        scanner.startScan(listOf(filter), settings, scans)
    }

    override fun stopScanning() {
        adapter.bluetoothLeScanner?.stopScan(scans)
    }

    override fun connect(peer: ByteArray): Boolean {
        val address = peer.decodeToString()
        val connection = synchronized(lock) {
            val device = heard[address] ?: return false
            if (address in outgoing) return true
            Outgoing(device).also { outgoing[address] = it }
        }
        val gatt = try {
            connection.device.connectGatt(
                context, false, Calls(connection), BluetoothDevice.TRANSPORT_LE,
            )
        } catch (denied: SecurityException) {
            // Nothing will come of it, so the next attempt has to be another one.
            synchronized(lock) { outgoing.remove(address) }
            throw denied
        }
        if (gatt == null) {
            fail(connection)
            return true
        }
        synchronized(lock) { connection.gatt = gatt }
        timer.postDelayed(
            { if (synchronized(lock) { connection.link == null }) fail(connection) },
            CONNECT_TIMEOUT_MS,
        )
        return true
    }

    override fun disconnect(link: ULong) {
        val (ours, theirs) = synchronized(lock) {
            val ours = outgoing.values.find { it.link == link }
            val theirs = incoming.values.find { it.link == link }
            ours?.let { outgoing.remove(it.device.address) }
            theirs?.let { incoming.remove(it.device.address) }
            ours to theirs
        }
        ours?.end()
        theirs?.let { server?.cancelConnection(it.device) }
        if (ours != null || theirs != null) inbox?.disconnected(link, true)
    }

    override fun write(link: ULong, value: ByteArray, withResponse: Boolean): Boolean {
        val connection = synchronized(lock) {
            // One that has ended is told already.
            val found = outgoing.values.find { it.link == link } ?: return true
            if (!found.takes()) return false
            found
        }
        val gatt = connection.gatt ?: return true
        val characteristic = gatt.getService(SERVICE)?.getCharacteristic(CHARACTERISTIC)
        val type = if (withResponse) {
            BluetoothGattCharacteristic.WRITE_TYPE_DEFAULT
        } else {
            BluetoothGattCharacteristic.WRITE_TYPE_NO_RESPONSE
        }
        val status = characteristic?.let { gatt.writeCharacteristic(it, value, type) }
        return connection.left(status)
    }

    override fun notify(link: ULong, value: ByteArray): Boolean {
        val connection = synchronized(lock) {
            val found = incoming.values.find { it.link == link } ?: return true
            if (!found.takes()) return false
            found
        }
        val (server, characteristic) = synchronized(lock) { server to served }
        if (server == null || characteristic == null) return true
        val status = server.notifyCharacteristicChanged(
            connection.device, characteristic, false, value,
        )
        return connection.left(status)
    }

    override fun detach() {
        context.unregisterReceiver(states)
        runCatching { stopScanning() }
        runCatching { stopAdvertising() }
        val (ours, server) = synchronized(lock) {
            val ours = outgoing.values.toList()
            val server = this.server
            inbox = null
            this.server = null
            served = null
            forgetAll()
            ours to server
        }
        for (connection in ours) connection.end()
        server?.close()
    }

    // --- What is remembered

    /** With the lock: whether a value may leave now. If so, its line is busy. */
    private fun Line.takes(): Boolean {
        if (isBusy) {
            wasRefused = true
            return false
        }
        isBusy = true
        return true
    }

    /** What Android says to a value that was given to it. */
    private fun Line.left(status: Int?): Boolean = synchronized(lock) {
        when (status) {
            BluetoothStatusCodes.SUCCESS -> true
            // The one before it is not done on the system's side either: its callback is still due.
            BluetoothStatusCodes.ERROR_GATT_WRITE_REQUEST_BUSY -> false.also { wasRefused = true }
            else -> {
                isBusy = false
                throw RadioException.Host("Bluetooth status $status")
            }
        }
    }

    /** A value has left: there is room for the next one. */
    private fun done(line: Line) {
        val link = synchronized(lock) {
            line.isBusy = false
            if (!line.wasRefused) return
            line.wasRefused = false
            line.link
        }
        link?.let { inbox?.writable(it) }
    }

    private fun forgetAll() {
        heard.clear()
        outgoing.clear()
        incoming.clear()
        mtus.clear()
    }

    private fun Outgoing.end() {
        gatt?.disconnect()
        gatt?.close()
    }

    /** A connection that this side began does not work, or does not work any more. */
    private fun fail(connection: Outgoing) {
        val address = connection.device.address
        val link = synchronized(lock) {
            if (outgoing[address] !== connection) return
            outgoing.remove(address)
            connection.link
        }
        connection.end()
        if (link == null) {
            inbox?.connectFailed(address.toByteArray())
        } else {
            inbox?.disconnected(link, false)
        }
    }

    /**
     * The link of a central. It is there as soon as it writes or subscribes: Android tells of every
     * connection of a device, also of those that this side began.
     */
    private fun linkOf(device: BluetoothDevice): ULong {
        val (link, mtu) = synchronized(lock) {
            val known = incoming.getOrPut(device.address) { Incoming(device) }
            known.link?.let { return it }
            val link = nextLink++
            known.link = link
            link to (mtus[device.address] ?: MTU_MIN)
        }
        inbox?.connected(link, device.address.toByteArray(), false, mtu.toUShort())
        return link
    }

    // --- Bluetooth on and off

    private val states = object : BroadcastReceiver() {
        override fun onReceive(context: Context, intent: Intent) {
            when (intent.getIntExtra(BluetoothAdapter.EXTRA_STATE, BluetoothAdapter.ERROR)) {
                // Thrown here, it would end the application.
                BluetoothAdapter.STATE_ON -> try {
                    serve()
                } catch (_: SecurityException) {
                    inbox?.adapter(false)
                }
                BluetoothAdapter.STATE_TURNING_OFF -> {
                    val (ours, server) = synchronized(lock) {
                        val ours = outgoing.values.toList()
                        val server = this@MeshRadio.server
                        this@MeshRadio.server = null
                        served = null
                        forgetAll()
                        ours to server
                    }
                    for (connection in ours) connection.end()
                    server?.close()
                    inbox?.adapter(false)
                }
            }
        }
    }

    /** Opens the server with the service; what comes of it is told by `onServiceAdded`. */
    private fun serve() {
        val characteristic = BluetoothGattCharacteristic(
            CHARACTERISTIC,
            BluetoothGattCharacteristic.PROPERTY_READ or
                BluetoothGattCharacteristic.PROPERTY_WRITE or
                BluetoothGattCharacteristic.PROPERTY_WRITE_NO_RESPONSE or
                BluetoothGattCharacteristic.PROPERTY_NOTIFY,
            BluetoothGattCharacteristic.PERMISSION_READ or
                BluetoothGattCharacteristic.PERMISSION_WRITE,
        )
        characteristic.addDescriptor(
            BluetoothGattDescriptor(
                CLIENT_CONFIGURATION,
                BluetoothGattDescriptor.PERMISSION_READ or
                    BluetoothGattDescriptor.PERMISSION_WRITE,
            ),
        )
        val service = BluetoothGattService(SERVICE, BluetoothGattService.SERVICE_TYPE_PRIMARY)
        service.addCharacteristic(characteristic)
        val server = manager?.openGattServer(context, requests)
        synchronized(lock) {
            this.server?.close()
            this.server = server
            served = characteristic
        }
        if (server?.addService(service) != true) inbox?.adapter(false)
    }

    // --- Being found, and finding

    private val adverts = object : AdvertiseCallback() {
        override fun onStartFailure(errorCode: Int) {
            inbox?.stopped(false)
        }
    }

    private val scans = object : ScanCallback() {
        override fun onScanResult(callbackType: Int, result: ScanResult) {
            val address = result.device.address
            synchronized(lock) {
                heard[address] = result.device
                if (heard.size > HEARD_MAX) heard.remove(heard.keys.first())
            }
            val serviceData = result.scanRecord?.getServiceData(ParcelUuid(SERVICE))
            inbox?.discovered(address.toByteArray(), result.rssi.toShort(), serviceData)
        }

        override fun onScanFailed(errorCode: Int) {
            inbox?.stopped(true)
        }
    }

    // --- As a central: MTU, then the service, then notifications

    private inner class Calls(private val connection: Outgoing) : BluetoothGattCallback() {
        override fun onConnectionStateChange(gatt: BluetoothGatt, status: Int, newState: Int) {
            val isUp = newState == BluetoothProfile.STATE_CONNECTED
            if (!isUp || status != BluetoothGatt.GATT_SUCCESS || !gatt.requestMtu(MTU_ASKED)) {
                fail(connection)
            }
        }

        override fun onMtuChanged(gatt: BluetoothGatt, mtu: Int, status: Int) {
            val (link, agreed) = synchronized(lock) {
                if (status == BluetoothGatt.GATT_SUCCESS) connection.mtu = mtu
                connection.link to connection.mtu
            }
            if (link != null) {
                inbox?.mtuChanged(link, agreed.toUShort())
            } else if (!gatt.discoverServices()) {
                fail(connection)
            }
        }

        override fun onServicesDiscovered(gatt: BluetoothGatt, status: Int) {
            val characteristic = gatt.getService(SERVICE)?.getCharacteristic(CHARACTERISTIC)
            val descriptor = characteristic?.getDescriptor(CLIENT_CONFIGURATION)
            if (characteristic == null || descriptor == null) return fail(connection)
            gatt.setCharacteristicNotification(characteristic, true)
            val asked = gatt.writeDescriptor(
                descriptor, BluetoothGattDescriptor.ENABLE_NOTIFICATION_VALUE,
            )
            if (asked != BluetoothStatusCodes.SUCCESS) fail(connection)
        }

        override fun onDescriptorWrite(
            gatt: BluetoothGatt,
            descriptor: BluetoothGattDescriptor,
            status: Int,
        ) {
            if (status != BluetoothGatt.GATT_SUCCESS) return fail(connection)
            val address = connection.device.address
            val link = synchronized(lock) {
                if (outgoing[address] !== connection || connection.link != null) return
                nextLink++.also { connection.link = it }
            }
            val mtu = connection.mtu.toUShort()
            inbox?.connected(link, address.toByteArray(), true, mtu)
            inbox?.subscribed(link)
        }

        override fun onCharacteristicWrite(
            gatt: BluetoothGatt,
            characteristic: BluetoothGattCharacteristic,
            status: Int,
        ) {
            if (status == BluetoothGatt.GATT_SUCCESS) done(connection) else fail(connection)
        }

        override fun onCharacteristicChanged(
            gatt: BluetoothGatt,
            characteristic: BluetoothGattCharacteristic,
            value: ByteArray,
        ) {
            val link = synchronized(lock) { connection.link } ?: return
            // There is no way to make the peer wait.
            if (inbox?.received(link, value) == false) fail(connection)
        }

        override fun onServiceChanged(gatt: BluetoothGatt) = fail(connection)
    }

    // --- As a peripheral

    private val requests = object : BluetoothGattServerCallback() {
        override fun onServiceAdded(status: Int, service: BluetoothGattService) {
            // Without its service it is of no use to anybody.
            inbox?.adapter(status == BluetoothGatt.GATT_SUCCESS)
        }

        override fun onConnectionStateChange(device: BluetoothDevice, status: Int, newState: Int) {
            if (newState != BluetoothProfile.STATE_DISCONNECTED) return
            val link = synchronized(lock) {
                mtus.remove(device.address)
                incoming.remove(device.address)?.link
            }
            link?.let { inbox?.disconnected(it, false) }
        }

        override fun onMtuChanged(device: BluetoothDevice, mtu: Int) {
            val link = synchronized(lock) {
                mtus[device.address] = mtu
                incoming[device.address]?.link
            }
            link?.let { inbox?.mtuChanged(it, mtu.toUShort()) }
        }

        override fun onCharacteristicReadRequest(
            device: BluetoothDevice,
            requestId: Int,
            offset: Int,
            characteristic: BluetoothGattCharacteristic,
        ) = answer(device, requestId, BluetoothGatt.GATT_SUCCESS)

        override fun onCharacteristicWriteRequest(
            device: BluetoothDevice,
            requestId: Int,
            characteristic: BluetoothGattCharacteristic,
            preparedWrite: Boolean,
            responseNeeded: Boolean,
            offset: Int,
            value: ByteArray,
        ) {
            // Values are whole: a long write in parts is none.
            val isWhole = !preparedWrite && offset == 0
            val wasTaken = isWhole && inbox?.received(linkOf(device), value) == true
            val status = when {
                wasTaken -> BluetoothGatt.GATT_SUCCESS
                isWhole -> BluetoothGatt.GATT_CONNECTION_CONGESTED
                else -> BluetoothGatt.GATT_REQUEST_NOT_SUPPORTED
            }
            if (responseNeeded) answer(device, requestId, status)
        }

        override fun onDescriptorWriteRequest(
            device: BluetoothDevice,
            requestId: Int,
            descriptor: BluetoothGattDescriptor,
            preparedWrite: Boolean,
            responseNeeded: Boolean,
            offset: Int,
            value: ByteArray,
        ) {
            if (responseNeeded) answer(device, requestId, BluetoothGatt.GATT_SUCCESS)
            val link = linkOf(device)
            if (value.contentEquals(BluetoothGattDescriptor.ENABLE_NOTIFICATION_VALUE)) {
                inbox?.subscribed(link)
            } else {
                inbox?.unsubscribed(link)
            }
        }

        override fun onNotificationSent(device: BluetoothDevice, status: Int) {
            val connection = synchronized(lock) { incoming[device.address] } ?: return
            if (status == BluetoothGatt.GATT_SUCCESS) {
                done(connection)
            } else {
                server?.cancelConnection(device)
            }
        }

        private fun answer(device: BluetoothDevice, requestId: Int, status: Int) {
            server?.sendResponse(device, requestId, status, 0, byteArrayOf())
        }
    }
}
