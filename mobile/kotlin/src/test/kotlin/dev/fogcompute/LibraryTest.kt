package dev.fogcompute

import java.nio.file.Path
import kotlin.io.path.div
import kotlin.io.path.exists
import kotlin.io.path.writeText
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue
import org.junit.jupiter.api.io.TempDir

/** Errors, the life of objects, arguments that make no sense. */
class LibraryTest {
    @Test
    fun aPanicBecomesAnError() {
        val error = assertFailsWith<FogException.Panic> { panicOnPurpose() }
        assertEquals("panic on purpose", error.message)
        assertEquals(101u, error.code.value)
        // And the process lives.
        assertTrue(version().isNotEmpty())
    }

    @Test
    fun aClosedObjectIsNotUsed() {
        val key = PrivateKey.generate()
        key.use { assertEquals(32, it.publicKey().size) }
        key.close()
        assertFailsWith<IllegalStateException> { key.publicKey() }
    }

    @Test
    fun aClosedObjectIsNotHandedOn() = Sphinx().use { sphinx ->
        // UniFFI's own code took a reference from memory that was freed: see its bindgen here.
        val key = PrivateKey.generate().apply { close() }
        assertFailsWith<IllegalStateException> {
            sphinx.process(key, ByteArray(sphinx.packetBytes().toInt()))
        }
        Unit
    }

    @Test
    fun keysAndSizesThatMakeNoSenseAreRefused() {
        for (length in listOf(0, 31, 33)) {
            val bytes = ByteArray(length)
            assertFailsWith<FogException.InvalidArgument> { PrivateKey.fromBytes(bytes) }
        }
        for (size in listOf(0u, 511u, 65_537u, UInt.MAX_VALUE)) {
            assertFailsWith<FogException.InvalidArgument> { Sphinx(size) }
        }
        Sphinx().use { sphinx ->
            assertEquals(2048u, sphinx.payloadBytes())
            val node = "0a".repeat(32)
            for (hop in listOf(
                Hop("short", ByteArray(32) { 9 }, 0u),
                Hop("zz".repeat(32), ByteArray(32) { 9 }, 0u),
                Hop(node, ByteArray(5), 0u),
            )) {
                assertFailsWith<FogException.InvalidArgument> {
                    sphinx.build(listOf(hop), byteArrayOf())
                }
            }
        }
    }

    @Test
    fun aLedgersFileIsKeptAndOwned(@TempDir folder: Path) {
        val path = (folder / "ledger.db").toString()
        val mint = "01".repeat(16)
        assertFailsWith<FogException.StorageMissing> { Ledger.openWith(path, create = false) }
        assertFalse((folder / "ledger.db").exists())
        Ledger.open(path).use { ledger ->
            ledger.openAccount(mint, AccountKind.ISSUER)
            assertFailsWith<FogException.StorageLocked> { Ledger.open(path) }
        }
        Ledger.openWith(path, create = false).use {
            assertEquals(AccountKind.ISSUER, it.account(mint).kind)
        }
        val nowhere = (folder / "none" / "x.db").toString()
        assertFailsWith<FogException.StorageNoFolder> { Ledger.open(nowhere) }
        val other = (folder / "text.db").apply { writeText("no database. ".repeat(99)) }
        assertFailsWith<FogException.StorageForeign> { Ledger.open(other.toString()) }
    }

    @Test
    fun textOutsideAsciiGoesThrough() {
        val error = assertFailsWith<FogException.InvalidPolicy> {
            HarvestPolicy.fromToml("größe = \"🌫\"")
        }
        assertTrue("größe" in error.message!!, error.message)
    }
}
