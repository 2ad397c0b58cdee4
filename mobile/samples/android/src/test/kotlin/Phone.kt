package dev.fogcompute.samples

import android.bluetooth.BluetoothAdapter
import android.bluetooth.BluetoothGatt
import android.bluetooth.BluetoothGattDescriptor
import android.bluetooth.BluetoothGattServer
import android.bluetooth.BluetoothGattServerCallback
import android.bluetooth.BluetoothGattService
import android.bluetooth.BluetoothManager
import android.bluetooth.BluetoothStatusCodes
import android.bluetooth.IBluetoothGatt
import android.bluetooth.IBluetoothGattServerCallback
import android.bluetooth.le.AdvertiseCallback
import android.bluetooth.le.AdvertiseData
import android.bluetooth.le.AdvertiseSettings
import android.bluetooth.le.BluetoothLeAdvertiser
import android.content.Context
import com.android.bluetooth.x.com.android.modules.utils.SynchronousResultReceiver
import java.lang.reflect.InvocationHandler
import java.lang.reflect.Method
import java.lang.reflect.Proxy
import java.util.concurrent.CopyOnWriteArrayList
import kotlin.concurrent.thread
import org.robolectric.annotation.Implementation
import org.robolectric.annotation.Implements
import org.robolectric.annotation.RealObject
import org.robolectric.shadow.api.Shadow.directlyOn
import org.robolectric.shadows.ShadowBluetoothLeAdvertiser
import org.robolectric.shadows.ShadowBluetoothManager
import org.robolectric.util.ReflectionHelpers.ClassParameter.from
import org.robolectric.util.ReflectionHelpers.callConstructor
import org.robolectric.util.ReflectionHelpers.callInstanceMethod

/**
 * The process that has the controller, as Android's `BluetoothGattServer` talks to it over Binder, with
 * the other side of the air. Robolectric's own takes every call and does nothing.
 */
class BluetoothProcess : InvocationHandler {
    /** A notification: to whom, and its value. */
    @Volatile
    var notified: (String, ByteArray) -> Unit = { _, _ -> }

    /** What the system says to the next notifications. */
    var says = BluetoothStatusCodes.SUCCESS

    /** Whether the system says at once that a notification has left. */
    var sendsAtOnce = true
    var isPermitted = true

    /** The status of each answer to a request. */
    val answers = CopyOnWriteArrayList<Int>()
    val ended = CopyOnWriteArrayList<String>()
    var servers = 0
        private set

    @Volatile
    lateinit var service: BluetoothGattService
        private set

    @Volatile
    private lateinit var server: IBluetoothGattServerCallback
    private var requests = 0

    val asBinder = Proxy.newProxyInstance(
        IBluetoothGatt::class.java.classLoader, arrayOf(IBluetoothGatt::class.java), this,
    ) as IBluetoothGatt

    override fun invoke(proxy: Any, method: Method, args: Array<Any?>): Any? {
        @Suppress("UNCHECKED_CAST")
        val answer = args.last() as SynchronousResultReceiver<Any?>
        if (!isPermitted) {
            val permission = "Need android.permission.BLUETOOTH_CONNECT permission"
            answer.propagateException(SecurityException(permission))
            return null
        }
        var sent: String? = null
        when (method.name) {
            "registerServer" -> {
                server = args[1] as IBluetoothGattServerCallback
                servers++
                // The caller holds a lock until it waits for this.
                thread { server.onServerRegistered(BluetoothGatt.GATT_SUCCESS, SERVER) }
            }
            "unregisterServer" -> servers--
            "addService" -> {
                service = args[1] as BluetoothGattService
                service.characteristics.single().setInstanceId(VALUES)
                service.characteristics.single().descriptors.single().setInstanceId(CONFIGURATION)
                server.onServiceAdded(BluetoothGatt.GATT_SUCCESS, service)
            }
            "sendResponse" -> answers.add(args[3] as Int)
            "serverDisconnect" -> ended.add(args[1] as String)
            "sendNotification" -> {
                check(args[2] == VALUES && args[3] == false)
                if (says == BluetoothStatusCodes.SUCCESS) {
                    sent = args[1] as String
                    notified(args[1] as String, args[4] as ByteArray)
                }
                answer.send(says)
            }
            else -> error("the samples call no ${method.name}")
        }
        if (method.name != "sendNotification") answer.send(null)
        if (sent != null && sendsAtOnce) sent(sent)
        return null
    }

    // --- What the other side does

    fun connect(from: String, mtu: Int?) {
        server.onServerConnectionState(BluetoothGatt.GATT_SUCCESS, SERVER, true, from)
        mtu?.let { server.onMtuChanged(from, it) }
    }

    fun subscribe(from: String, isOn: Boolean = true) {
        val value = if (isOn) {
            BluetoothGattDescriptor.ENABLE_NOTIFICATION_VALUE
        } else {
            BluetoothGattDescriptor.DISABLE_NOTIFICATION_VALUE
        }
        server.onDescriptorWriteRequest(
            from, requests++, 0, value.size, false, true, CONFIGURATION, value,
        )
    }

    /** In parts, each but the first has an offset, and all are prepared. */
    fun write(from: String, value: ByteArray, isAnswered: Boolean, part: Int? = null) {
        server.onCharacteristicWriteRequest(
            from, requests++, part ?: 0, value.size, part != null, isAnswered, VALUES, value,
        )
    }

    fun read(from: String) = server.onCharacteristicReadRequest(from, requests++, 0, false, VALUES)

    fun sent(to: String, status: Int = BluetoothGatt.GATT_SUCCESS) =
        server.onNotificationSent(to, status)

    fun disconnect(from: String) =
        server.onServerConnectionState(BluetoothGatt.GATT_SUCCESS, SERVER, false, from)

    private companion object {
        const val SERVER = 1
        const val VALUES = 42
        const val CONFIGURATION = 43
    }
}

/** Opens servers over the [process] of the test, as Android does over that of the phone. */
@Implements(BluetoothManager::class)
class Servers : ShadowBluetoothManager() {
    @Implementation
    public override fun openGattServer(
        context: Context,
        callback: BluetoothGattServerCallback,
        transport: Int,
        eattSupport: Boolean,
    ): BluetoothGattServer? {
        val server = callConstructor(
            BluetoothGattServer::class.java,
            from(IBluetoothGatt::class.java, process.asBinder),
            from(Int::class.java, transport),
            from(BluetoothAdapter::class.java, adapter),
        )
        val isRegistered = callInstanceMethod<Boolean>(
            server,
            "registerCallback",
            from(BluetoothGattServerCallback::class.java, callback),
            from(Boolean::class.java, eattSupport),
        )
        return server.takeIf { isRegistered }
    }

    companion object {
        lateinit var process: BluetoothProcess
    }
}

/** Remembers what was asked for; Robolectric forgets what is said only to who asks. */
@Implements(BluetoothLeAdvertiser::class)
class Adverts : ShadowBluetoothLeAdvertiser() {
    @RealObject
    private lateinit var advertiser: BluetoothLeAdvertiser

    lateinit var settings: AdvertiseSettings
        private set
    lateinit var advert: AdvertiseData
        private set
    var scanResponse: AdvertiseData? = null
        private set

    @Implementation
    fun startAdvertising(
        settings: AdvertiseSettings,
        advertiseData: AdvertiseData,
        scanResponse: AdvertiseData?,
        callback: AdvertiseCallback,
    ) {
        this.settings = settings
        advert = advertiseData
        this.scanResponse = scanResponse
        directlyOn<Unit, BluetoothLeAdvertiser>(
            advertiser,
            BluetoothLeAdvertiser::class.java,
            "startAdvertising",
            from(AdvertiseSettings::class.java, settings),
            from(AdvertiseData::class.java, advertiseData),
            from(AdvertiseData::class.java, scanResponse),
            from(AdvertiseCallback::class.java, callback),
        )
    }
}
