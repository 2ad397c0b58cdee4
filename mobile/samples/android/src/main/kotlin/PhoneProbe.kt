// Reads an Android device for a Worker. A sample to copy into an application, for API level 29 and
// later: it is compiled against the classes of level 33 and tested on Robolectric, and was never run on
// a device. The manifest needs android.permission.ACCESS_NETWORK_STATE, which is granted without asking.
package dev.fogcompute.samples

import android.app.ActivityManager
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.net.ConnectivityManager
import android.net.NetworkCapabilities
import android.os.BatteryManager
import android.os.PowerManager
import android.os.SystemClock
import dev.fogcompute.Battery
import dev.fogcompute.DeviceClass
import dev.fogcompute.DeviceProbe
import dev.fogcompute.DeviceState
import dev.fogcompute.Network
import dev.fogcompute.ProbeException
import java.util.Calendar

/** What Android tells without asking the user: battery, thermal status, network, screen, memory. */
class PhoneProbe(context: Context) : DeviceProbe {
    private val context = context.applicationContext
    private val power = this.context.getSystemService(PowerManager::class.java)
    private val connectivity = this.context.getSystemService(ConnectivityManager::class.java)
    private val activity = this.context.getSystemService(ActivityManager::class.java)
    private var darkSince: Long? = null

    /**
     * Called on a thread of the library.
     *
     * Android does not tell an application how busy the processors are, and of a phone that must be
     * known: so the device is called a desktop, and the battery and the temperature, which of a
     * desktop need not be known, are insisted on here.
     */
    override fun read(): DeviceState {
        // A sticky broadcast: registering no receiver gives the last one at once.
        val battery = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED))
        val memory = ActivityManager.MemoryInfo().also(activity::getMemoryInfo)
        val network = connectivity.getNetworkCapabilities(connectivity.activeNetwork)
        val charge = battery?.let(::batteryOf) ?: throw ProbeException.Unavailable()
        val celsius = celsius() ?: throw ProbeException.Unavailable()
        val (screenOn, now) = power.isInteractive to Calendar.getInstance()
        return DeviceState(
            deviceClass = DeviceClass.DESKTOP,
            battery = charge,
            network = networkOf(network),
            cpuCores = Runtime.getRuntime().availableProcessors().toUInt(),
            cpuLoad = null,
            memoryTotalBytes = memory.totalMem.toULong(),
            memoryAvailableBytes = (memory.availMem - memory.threshold).coerceAtLeast(0).toULong(),
            batteryTemperatureCelsius = temperatureOf(battery),
            temperatureCelsius = celsius,
            metered = network?.hasCapability(NetworkCapabilities.NET_CAPABILITY_NOT_METERED)?.not(),
            screenOn = screenOn,
            userIdleMs = darkMs(screenOn).toULong(),
            minuteOfDay =
                (now.get(Calendar.HOUR_OF_DAY) * 60 + now.get(Calendar.MINUTE)).toUShort(),
        )
    }

    /** How long the screen has been off, as far as readings saw it. */
    private fun darkMs(screenOn: Boolean): Long {
        val now = SystemClock.elapsedRealtime()
        val since = if (screenOn) now else darkSince ?: now
        darkSince = since.takeUnless { screenOn }
        return now - since
    }

    private fun batteryOf(intent: Intent): Battery? {
        if (!intent.getBooleanExtra(BatteryManager.EXTRA_PRESENT, true)) return Battery.Absent
        val level = intent.getIntExtra(BatteryManager.EXTRA_LEVEL, -1)
        val scale = intent.getIntExtra(BatteryManager.EXTRA_SCALE, -1)
        val plugged = intent.getIntExtra(BatteryManager.EXTRA_PLUGGED, -1)
        if (level < 0 || scale <= 0 || plugged < 0) return null
        return Battery.Present(levelPercent = 100.0 * level / scale, charging = plugged != 0)
    }

    /** Android tells tenths of a degree. */
    private fun temperatureOf(intent: Intent): Double? {
        val tenths = intent.getIntExtra(BatteryManager.EXTRA_TEMPERATURE, Int.MIN_VALUE)
        return if (tenths == Int.MIN_VALUE) null else tenths / 10.0
    }

    private fun networkOf(network: NetworkCapabilities?): Network =
        when {
            network == null -> Network.OFFLINE
            network.hasTransport(NetworkCapabilities.TRANSPORT_ETHERNET) -> Network.ETHERNET
            network.hasTransport(NetworkCapabilities.TRANSPORT_WIFI) -> Network.WIFI
            network.hasTransport(NetworkCapabilities.TRANSPORT_CELLULAR) -> Network.CELLULAR
            else -> Network.UNKNOWN
        }

    /**
     * Android tells a status and no degrees of the device. Each is reported as a temperature at
     * which a policy with `celsius_throttle = 45.0` and `celsius_critical = 55.0` does what Android
     * asks of applications at that status.
     */
    private fun celsius(): Double? =
        when (power.currentThermalStatus) {
            PowerManager.THERMAL_STATUS_NONE -> 35.0
            PowerManager.THERMAL_STATUS_LIGHT -> 46.0
            PowerManager.THERMAL_STATUS_MODERATE -> 50.0
            PowerManager.THERMAL_STATUS_SEVERE -> 56.0
            PowerManager.THERMAL_STATUS_CRITICAL,
            PowerManager.THERMAL_STATUS_EMERGENCY,
            PowerManager.THERMAL_STATUS_SHUTDOWN -> 65.0
            else -> null
        }
}
