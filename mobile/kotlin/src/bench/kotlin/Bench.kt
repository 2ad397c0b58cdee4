// What one call costs from Kotlin. Prints one JSON object per line.
package dev.fogcompute.bench

import dev.fogcompute.AccountKind
import dev.fogcompute.Battery
import dev.fogcompute.BatteryProbe
import dev.fogcompute.DeviceClass
import dev.fogcompute.DeviceState
import dev.fogcompute.HarvestPolicy
import dev.fogcompute.Hop
import dev.fogcompute.Ledger
import dev.fogcompute.Network
import dev.fogcompute.PrivateKey
import dev.fogcompute.Sphinx

private const val RUNS = 7

/** Median over the runs of the mean time of `n` calls; the first run warms up and does not count. */
private fun bench(case: String, n: Int, call: () -> Unit) {
    val times = (0..RUNS).map {
        val start = System.nanoTime()
        repeat(n) { call() }
        (System.nanoTime() - start).toDouble() / n
    }
    val median = times.drop(1).sorted()[RUNS / 2]
    println("""{"case": "$case", "ns": ${"%.1f".format(java.util.Locale.ROOT, median)}, "n": $n}""")
}

fun main() {
    val (sphinx, key) = Sphinx() to PrivateKey.generate()
    val hop = Hop("0a".repeat(32), key.publicKey(), 0u)
    val packet = sphinx.build(listOf(hop), ByteArray(2048))
    bench("noop", 20_000) { sphinx.packetBytes() }
    bench("sphinx_process_2k", 500) { sphinx.process(key, packet) }

    val ledger = Ledger.inMemory()
    val account = "01".repeat(16)
    ledger.openAccount(account, AccountKind.ISSUER)
    bench("ledger_balance", 5_000) { ledger.balance(account) }

    val policy = HarvestPolicy()
    val state = DeviceState(DeviceClass.SERVER, Battery.Unknown, Network.ETHERNET)
    bench("harvest_decide", 5_000) { policy.decide(state) }
    val probe = object : BatteryProbe {
        override fun battery() = Battery.Absent
    }
    bench("callback", 5_000) { policy.decideWithProbe(state, probe) }
}
