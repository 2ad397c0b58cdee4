// What one call costs from Kotlin. Prints one JSON object per line.
//
// `--short` makes few calls: to see that it works, not to learn how long anything takes.
package dev.fogcompute.bench

import dev.fogcompute.AccountKind
import dev.fogcompute.Battery
import dev.fogcompute.BatteryProbe
import dev.fogcompute.DeviceClass
import dev.fogcompute.DeviceState
import dev.fogcompute.Evaluation
import dev.fogcompute.Fog
import dev.fogcompute.Genome
import dev.fogcompute.HarvestPolicy
import dev.fogcompute.Hop
import dev.fogcompute.Ledger
import dev.fogcompute.Network
import dev.fogcompute.PrivateKey
import dev.fogcompute.Problem
import dev.fogcompute.SearchConfig
import dev.fogcompute.Sphinx
import dev.fogcompute.Variable
import dev.fogcompute.minimize
import dev.fogcompute.run
import dev.fogcompute.version
import java.util.Locale
import kotlinx.coroutines.runBlocking

private const val RUNS = 7

/** A task that does nothing. */
private val EMPTY_TASK = (
    "0061736d01000000010c0260017f017f60027f7f017e03030200010503010001072003066d656d6f7279020009" +
        "666f675f616c6c6f63000007666f675f72756e00010a0b02040041000b040042000b"
    ).hexToByteArray()

private var short = false

/** Median over the runs of the mean time of [n] calls, that of the loop included. */
private inline fun bench(case: String, n: Int, call: () -> Unit) {
    val calls = if (short) maxOf(1, n / 1000) else n
    val times = (0..RUNS).map {
        val start = System.nanoTime()
        repeat(calls) { call() }
        (System.nanoTime() - start).toDouble() / calls
    }
    // The first run warms up and does not count.
    val median = "%.1f".format(Locale.ROOT, times.drop(1).sorted()[RUNS / 2])
    println("""{"case": "$case", "ns": $median, "n": $calls}""")
}

private object Mains : BatteryProbe {
    override fun battery() = Battery.Absent
}

private object Identity : Problem {
    override fun genome() = Genome.Variables(listOf(Variable.Real(0.0, 1.0)))
    override fun objectiveCount() = 1u
    override fun evaluate(genes: List<Double>) = Evaluation(genes)
}

fun main(args: Array<String>) {
    short = "--short" in args
    val (sphinx, key) = Sphinx() to PrivateKey.generate()
    val packet = sphinx.build(listOf(Hop("0a".repeat(32), key.publicKey(), 0u)), ByteArray(2048))
    bench("noop", 20_000) { sphinx.packetBytes() }
    bench("version", 20_000) { version() }
    bench("sphinx_process_2k", 1_000) { sphinx.process(key, packet) }

    val (ledger, account) = Ledger.inMemory() to "01".repeat(16)
    ledger.openAccount(account, AccountKind.ISSUER)
    bench("ledger_balance", 5_000) { ledger.balance(account) }

    val policy = HarvestPolicy()
    val state = DeviceState(DeviceClass.SERVER, Battery.Unknown, Network.ETHERNET)
    bench("harvest_decide", 5_000) { policy.decide(state) }
    bench("callback", 5_000) { policy.decideWithProbe(state, Mains) }
    val config = SearchConfig(population = 100u, generations = 9u)
    bench("nsga2_1000_evaluations", 5) { minimize(Identity, config, seed = 0u) }

    Fog(workers = 1u).use { fog ->
        runBlocking { bench("fog_run_await", 500) { fog.run(EMPTY_TASK, byteArrayOf()) } }
    }
}
