package dev.fogcompute

import java.nio.file.Path
import kotlin.io.path.div
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue
import org.junit.jupiter.api.io.TempDir

/** What the ledger does beside single transfers. */
class LedgerTest {
    private val mint = "0a".repeat(16)
    private val ana = "0b".repeat(16)
    private val ben = "0c".repeat(16)
    private val never = 4_102_444_800_000uL
    private val secret = ByteArray(32) { 7 }

    private fun id(n: Int) = n.toString(16).padStart(32, '0')

    private fun pay(n: Int, amount: String, memo: Memo? = null) =
        LedgerOperation.Transfer(id(n), ana, ben, amount, memo)

    /** Ana has 10 of what the mint gave out: 4 entries. */
    private fun funded(test: (Ledger) -> Unit) = Ledger.inMemory().use { ledger ->
        ledger.execute(
            listOf(
                LedgerOperation.Open(mint, AccountKind.ISSUER),
                LedgerOperation.Open(ana, AccountKind.HOLDER),
                LedgerOperation.Open(ben, AccountKind.HOLDER),
                LedgerOperation.Transfer(id(1), mint, ana, "10"),
            ),
        )
        test(ledger)
    }

    @Test
    fun aBatchIsAllOrNothing() = funded { ledger ->
        val memo = Memo(code = 7u, reference = ByteArray(16) { 1 })
        val receipts = ledger.execute(
            listOf(
                pay(2, "1", memo),
                LedgerOperation.Reserve(id(3), ana, ben, "5", expiresUnixMs = never),
                LedgerOperation.Post(id(4), id(3), "2"),
                LedgerOperation.Reserve(id(5), ana, ben, "1"),
                LedgerOperation.Void(id(6), id(5)),
                pay(2, "1", memo),
            ),
        )
        assertEquals(listOf(false, false, false, false, false, true), receipts.map { it.replayed })
        assertEquals("3", ledger.balance(ben))
        assertFailsWith<FogException.InsufficientFunds> {
            ledger.execute(listOf(pay(7, "1"), pay(8, "7")))
        }
        assertEquals("3", ledger.balance(ben))
        val history = ledger.history(ben, after = 3u)
        val kinds = listOf("transferred", "reserved", "posted", "reserved", "voided")
        assertEquals(kinds, history.map { it.kind })
        assertEquals(7u.toUShort(), history[0].memo.code)
        assertContentEquals(ByteArray(16) { 1 }, history[0].memo.reference)
        assertEquals(never, history[1].expiresUnixMs)
        assertEquals(listOf("2", "3"), listOf(history[2].amount, history[2].released))
        assertEquals(history[1], ledger.entry(id(3)))
        assertNull(ledger.entry(id(99)))
        assertEquals(history.takeLast(1), ledger.entries(after = 8u))
        assertEquals(history.last().chain, ledger.head().chain)
        assertEquals(listOf(ben), ledger.accounts(after = ana).map { it.id })
        assertEquals("10", ledger.balanceAsOf(ana, 4u)?.balance)
        assertNull(ledger.balanceAsOf(ana, 1u))
        assertEquals("7", ledger.balanceAsOfTime(ana, never)?.balance)
        assertEquals("10", ledger.supply())
    }

    @Test
    fun refusalsHaveTheirExceptions() = funded { ledger ->
        assertFailsWith<FogException.BatchEmpty> { ledger.execute(listOf()) }
        assertFailsWith<FogException.ZeroAmount> { ledger.execute(listOf(pay(2, "0"))) }
        assertFailsWith<FogException.InvalidArgument> { ledger.execute(listOf(pay(2, "-1"))) }
        assertFailsWith<FogException.IdReused> { ledger.execute(listOf(pay(1, "1"))) }
        assertFailsWith<FogException.SameAccount> { ledger.transfer(id(2), ana, ana, "1") }
        assertFailsWith<FogException.AccountInUse> { ledger.closeAccount(id(2), ana) }
        assertFailsWith<FogException.NotAnIssuer> {
            ledger.limit(id(2), ana, AccountLimits(maxSupply = "5"))
        }
        ledger.limit(id(3), ana, AccountLimits(spendPerDay = "5"))
        assertEquals(AccountLimits(spendPerDay = "5"), ledger.account(ana).limits)
        val quota = assertFailsWith<FogException.QuotaExceeded> {
            ledger.execute(listOf(pay(4, "6")))
        }
        assertTrue("of 6" in quota.message!!, quota.message)
        assertFailsWith<FogException.ExpiresInPast> {
            val past = LedgerOperation.Reserve(id(5), ana, ben, "1", expiresUnixMs = 1u)
            ledger.execute(listOf(past))
        }
        ledger.closeAccount(id(6), ben)
        assertFailsWith<FogException.AccountClosed> { ledger.execute(listOf(pay(7, "1"))) }
        assertTrue(ledger.account(ben).closed)
    }

    @Test
    fun ownersSignAndAuditorsCheck() = funded { ledger ->
        val key = ownerKey(secret)
        assertFailsWith<FogException.NoOwner> { ledger.nextNonce(ana) }
        ledger.own(id(2), ana, key)
        assertContentEquals(key, ledger.owner(ana))
        val signed = signBatch(ana, ledger.nextNonce(ana), never, listOf(pay(3, "4")), secret)
        assertEquals(1, ledger.executeSigned(signed).size)
        assertFailsWith<FogException.SignatureReplayed> { ledger.executeSigned(signed) }
        val skipped = signBatch(ana, 5u, never, listOf(pay(4, "1")), secret)
        assertFailsWith<FogException.NonceSkipped> { ledger.executeSigned(skipped) }
        val forged = signBatch(ana, 2u, never, listOf(pay(4, "1")), ByteArray(32))
        assertFailsWith<FogException.SignatureForged> { ledger.executeSigned(forged) }
        assertEquals(77, batchMessage(ana, 2u, never, listOf(pay(4, "1"))).size)

        val checkpoint = ledger.checkpoint(secret)
        assertEquals(ledger.head(), verifyCheckpoint(checkpoint, key).head)
        assertEquals(7uL, ledger.verifySince(checkpoint, key).entries)
        assertFailsWith<FogException.CheckpointForged> { verifyCheckpoint(checkpoint, secret) }
        Ledger.inMemory().use { empty ->
            val missing = assertFailsWith<FogException.CheckpointMissing> {
                empty.verifySince(checkpoint, key)
            }
            assertTrue("ends at entry 0" in missing.message!!, missing.message)
        }
    }

    @Test
    fun aLedgerIsCopiedAndWrittenAsText(@TempDir folder: Path) {
        val (text, copy) = (folder / "text").toString() to (folder / "copy").toString()
        Ledger.openWith((folder / "ledger").toString(), Durability.NORMAL).use { ledger ->
            ledger.openAccount(mint, AccountKind.ISSUER)
            ledger.snapshot()
            ledger.checkIntegrity()
            assertEquals(1uL, ledger.exportHistory(text, TextFormat.JSON_LINES))
            assertFailsWith<FogException.StorageExists> {
                ledger.exportHistory(text, TextFormat.CSV)
            }
            // The format had to be said, and in other languages was CSV whatever the name was.
            val other = (folder / "other").toString()
            assertFailsWith<FogException.InvalidArgument> { ledger.exportHistory(other) }
            val csv = (folder / "a.csv").toString()
            assertEquals(1uL, ledger.exportHistory(csv))
            Ledger.inMemory().use { it.importHistory(csv, TextFormat.CSV) }
            ledger.backup(copy)
            Ledger.inMemory().use { other ->
                assertFailsWith<FogException.InvalidTranscript> {
                    other.importHistory(text, TextFormat.CSV)
                }
                other.importHistory(text, TextFormat.JSON_LINES)
                assertEquals(ledger.head(), other.head())
            }
        }
        Ledger.open(copy).use { assertEquals(1uL, it.verify().entries) }
    }
}
