// Runs a task in a fog, pays with credits, and sends a packet through a mix node.
package example

import dev.fogcompute.AccountKind
import dev.fogcompute.EconomyRequest
import dev.fogcompute.Fog
import dev.fogcompute.Hop
import dev.fogcompute.Ledger
import dev.fogcompute.PrivateKey
import dev.fogcompute.Processed
import dev.fogcompute.Sphinx
import dev.fogcompute.purseAccount
import dev.fogcompute.run
import java.io.File
import java.math.BigInteger
import java.nio.ByteBuffer
import java.nio.ByteOrder
import kotlinx.coroutines.runBlocking

fun main(args: Array<String>) = runBlocking {
    // A WebAssembly module that adds up the bytes of its input, on two workers of this process.
    val module = File(args.firstOrNull() ?: "examples/wasm/sum.wasm").readBytes()
    Fog(workers = 2u).use { fog ->
        val done = fog.run(module, input = byteArrayOf(1, 2, 39))
        println("sum: ${ByteBuffer.wrap(done.output).order(ByteOrder.LITTLE_ENDIAN).long}")
    }

    // Credits: amounts are text of base units, 10^18 to the credit.
    val credit = BigInteger.TEN.pow(18)
    Ledger.inMemory().use { ledger ->
        val (mint, alice) = "01".repeat(16) to "02".repeat(16)
        ledger.openAccount(mint, AccountKind.ISSUER)
        ledger.openAccount(alice, AccountKind.HOLDER)
        val three = (credit * 3.toBigInteger()).toString()
        ledger.transfer(id = "03".repeat(16), from = mint, to = alice, amount = three)
        // What is reserved cannot be spent elsewhere: 2 credits are promised, none is paid.
        val promise = "04".repeat(16)
        val two = (credit * 2.toBigInteger()).toString()
        ledger.reserve(id = promise, from = alice, to = mint, amount = two)
        ledger.void(id = "05".repeat(16), reservation = promise)
        println("alice has ${ledger.balance(alice).toBigInteger() / credit} credits")
        println("history: ${ledger.history(alice).joinToString { it.kind }}")

        // Stake on an operator earns its part of the rewards: 10 % are the operator's.
        val (node, treasury) = "0a".repeat(32) to purseAccount("treasury")
        val steps = listOf(
            EconomyRequest.Configure(),
            EconomyRequest.RegisterOperator(node, alice, commissionPpm = 100_000u),
            EconomyRequest.Bond(node, alice, three),
            EconomyRequest.Reward(node, treasury, credit.toString()),
            EconomyRequest.Claim(node, alice),
        )
        ledger.economy().use { economy ->
            val receipts = steps.mapIndexed { number, step -> economy.ask("1$number".repeat(16), step) }
            println("alice claimed ${receipts.last().amount} base units")
        }
    }

    // One Sphinx packet to one node, which opens it with its private key.
    val (sphinx, key) = Sphinx() to PrivateKey.generate()
    val hop = Hop(node = "0a".repeat(32), key = key.publicKey(), delayMs = 0u)
    val packet = sphinx.build(route = listOf(hop), payload = "hello".toByteArray())
    val outcome = sphinx.process(key, packet).outcome as Processed.Deliver
    println("packet says: ${outcome.payload.decodeToString()}")
}
