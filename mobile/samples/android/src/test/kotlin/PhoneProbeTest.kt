package dev.fogcompute.samples

import android.app.ActivityManager
import android.app.Application
import android.content.Intent
import android.net.ConnectivityManager
import android.net.NetworkCapabilities
import android.os.BatteryManager
import android.os.PowerManager
import dev.fogcompute.Battery
import dev.fogcompute.DeviceClass
import dev.fogcompute.HarvestPolicy
import dev.fogcompute.Network
import dev.fogcompute.ProbeException
import java.time.Duration
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import org.junit.Before
import org.junit.runner.RunWith
import org.robolectric.RobolectricTestRunner
import org.robolectric.RuntimeEnvironment
import org.robolectric.Shadows.shadowOf
import org.robolectric.annotation.Config
import org.robolectric.shadows.ShadowNetworkCapabilities
import org.robolectric.shadows.ShadowSystemClock

/** What the probe says of a phone is what the phone was set to. */
@RunWith(RobolectricTestRunner::class)
@Config(sdk = [33])
class PhoneProbeTest {
    private val phone: Application = RuntimeEnvironment.getApplication()
    private val power = phone.getSystemService(PowerManager::class.java)
    private val connectivity = phone.getSystemService(ConnectivityManager::class.java)
    private val probe = PhoneProbe(phone)

    private fun setBattery(change: Intent.() -> Unit) {
        val battery = Intent(Intent.ACTION_BATTERY_CHANGED)
            .putExtra(BatteryManager.EXTRA_PRESENT, true)
            .putExtra(BatteryManager.EXTRA_LEVEL, 33)
            .putExtra(BatteryManager.EXTRA_SCALE, 50)
            .putExtra(BatteryManager.EXTRA_PLUGGED, 0)
            .putExtra(BatteryManager.EXTRA_TEMPERATURE, 312)
        @Suppress("DEPRECATION") // Of the system's own broadcasts, this one is.
        phone.sendStickyBroadcast(battery.apply(change))
    }

    private fun setNetwork(vararg transports: Int, metered: Boolean = true) {
        val network = ShadowNetworkCapabilities.newInstance()
        val shadow = shadowOf(network)
        for (transport in transports) shadow.addTransportType(transport)
        if (metered) {
            shadow.removeCapability(NetworkCapabilities.NET_CAPABILITY_NOT_METERED)
        } else {
            shadow.addCapability(NetworkCapabilities.NET_CAPABILITY_NOT_METERED)
        }
        shadowOf(connectivity).setNetworkCapabilities(connectivity.activeNetwork, network)
    }

    @Before
    fun itHasABattery() = setBattery {}

    @Test
    fun theBatteryIsReadWithItsTemperature() {
        val onBattery = probe.read()
        assertEquals(Battery.Present(levelPercent = 66.0, charging = false), onBattery.battery)
        assertEquals(31.2, onBattery.batteryTemperatureCelsius)
        // A status, which stays "charging" for a moment, is not what counts: the plug is.
        setBattery { putExtra(BatteryManager.EXTRA_PLUGGED, BatteryManager.BATTERY_PLUGGED_USB) }
        assertEquals(Battery.Present(levelPercent = 66.0, charging = true), probe.read().battery)
        setBattery { removeExtra(BatteryManager.EXTRA_TEMPERATURE) }
        assertNull(probe.read().batteryTemperatureCelsius)
        setBattery { putExtra(BatteryManager.EXTRA_PRESENT, false) }
        assertEquals(Battery.Absent, probe.read().battery)
    }

    @Test
    fun aBatteryOfWhichTooLittleIsKnownMakesTheReadingFail() {
        for (missing in listOf("level", "scale", "plugged")) {
            setBattery { removeExtra(missing) }
            assertFailsWith<ProbeException.Unavailable>(missing) { probe.read() }
        }
        setBattery { putExtra(BatteryManager.EXTRA_SCALE, 0) }
        assertFailsWith<ProbeException.Unavailable> { probe.read() }
        @Suppress("DEPRECATION")
        phone.removeStickyBroadcast(Intent(Intent.ACTION_BATTERY_CHANGED))
        assertFailsWith<ProbeException.Unavailable> { probe.read() }
    }

    @Test
    fun theNetworkAndWhetherItCostsAreRead() {
        val transports = mapOf(
            NetworkCapabilities.TRANSPORT_ETHERNET to Network.ETHERNET,
            NetworkCapabilities.TRANSPORT_WIFI to Network.WIFI,
            NetworkCapabilities.TRANSPORT_CELLULAR to Network.CELLULAR,
            NetworkCapabilities.TRANSPORT_BLUETOOTH to Network.UNKNOWN,
        )
        for ((transport, network) in transports) {
            for (metered in listOf(true, false)) {
                setNetwork(transport, metered = metered)
                val state = probe.read()
                assertEquals(network to metered, state.network to state.metered)
            }
        }
        // A tunnel says what it goes through.
        setNetwork(NetworkCapabilities.TRANSPORT_VPN, NetworkCapabilities.TRANSPORT_CELLULAR)
        assertEquals(Network.CELLULAR, probe.read().network)
        shadowOf(connectivity).setActiveNetworkInfo(null)
        val offline = probe.read()
        assertEquals(Network.OFFLINE to null, offline.network to offline.metered)
    }

    @Test
    fun timeCountsFromTheFirstReadingWithADarkScreen() {
        val shadow = shadowOf(power)
        shadow.turnScreenOn(true)
        assertEquals(true to 0uL, probe.read().run { screenOn to userIdleMs })
        ShadowSystemClock.advanceBy(Duration.ofSeconds(5))
        shadow.turnScreenOn(false)
        assertEquals(false to 0uL, probe.read().run { screenOn to userIdleMs })
        ShadowSystemClock.advanceBy(Duration.ofSeconds(90))
        assertEquals(false to 90_000uL, probe.read().run { screenOn to userIdleMs })
        shadow.turnScreenOn(true)
        assertEquals(true to 0uL, probe.read().run { screenOn to userIdleMs })
        shadow.turnScreenOn(false)
        assertEquals(0uL, probe.read().userIdleMs)
    }

    @Test
    fun memoryIsWhatIsLeftAboveTheSystemsThreshold() {
        val activity = phone.getSystemService(ActivityManager::class.java)
        val memory = ActivityManager.MemoryInfo().apply {
            totalMem = 8_000
            availMem = 3_000
            threshold = 500
        }
        shadowOf(activity).setMemoryInfo(memory)
        val state = probe.read()
        assertEquals(8_000uL to 2_500uL, state.run { memoryTotalBytes to memoryAvailableBytes })
        memory.availMem = 400
        assertEquals(0uL, probe.read().memoryAvailableBytes)
    }

    @Test
    fun whatAndroidDoesNotTellIsAbsent() {
        val state = probe.read()
        assertEquals(DeviceClass.DESKTOP to null, state.deviceClass to state.cpuLoad)
        assertEquals(Runtime.getRuntime().availableProcessors().toUInt(), state.cpuCores)
    }

    @Test
    fun aPolicyDoesAtEachThermalStatusWhatAndroidAsksFor() {
        val limits = "celsius_throttle = 45.0\ncelsius_critical = 55.0"
        val asked = mapOf(
            PowerManager.THERMAL_STATUS_NONE to null,
            PowerManager.THERMAL_STATUS_LIGHT to "warm",
            PowerManager.THERMAL_STATUS_MODERATE to "warm",
            PowerManager.THERMAL_STATUS_SEVERE to "too_hot",
            PowerManager.THERMAL_STATUS_CRITICAL to "too_hot",
            PowerManager.THERMAL_STATUS_EMERGENCY to "too_hot",
            PowerManager.THERMAL_STATUS_SHUTDOWN to "too_hot",
        )
        HarvestPolicy.fromToml(limits).use { policy ->
            for ((status, expected) in asked) {
                shadowOf(power).setCurrentThermalStatus(status)
                val codes = policy.decide(probe.read()).reasons.map { it.code }
                assertEquals(expected, codes.find { it == "warm" || it == "too_hot" }, "$status")
            }
        }
    }
}
