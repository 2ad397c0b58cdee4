package dev.fogcompute

import java.io.ByteArrayOutputStream
import java.io.PrintStream
import kotlin.test.Test
import kotlin.test.assertEquals

/** The example of the README, word for word: `examples/kotlin`. */
class ExampleTest {
    @Test
    fun theExampleSaysWhatTheReadmeSays() {
        val (console, written) = System.out to ByteArrayOutputStream()
        System.setOut(PrintStream(written))
        try {
            val root = checkNotNull(System.getProperty("fog.root"))
            example.main(arrayOf("$root/examples/wasm/sum.wasm"))
        } finally {
            System.setOut(console)
        }
        assertEquals("sum: 42\nalice has 3 credits\npacket says: hello\n", written.toString())
    }
}
