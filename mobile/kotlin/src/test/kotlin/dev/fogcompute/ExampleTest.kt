package dev.fogcompute

import java.io.ByteArrayOutputStream
import java.io.PrintStream
import java.nio.file.Path
import kotlin.io.path.div
import kotlin.io.path.writeText
import kotlin.test.Test
import kotlin.test.assertEquals
import org.junit.jupiter.api.io.TempDir

/** The programs of `examples/kotlin`, word for word; one is in the README. */
class ExampleTest {
    @Test
    fun theExampleSaysWhatTheReadmeSays() {
        val root = checkNotNull(System.getProperty("fog.root"))
        val said = said { example.main(arrayOf("$root/examples/wasm/sum.wasm")) }
        val history = "history: opened, transferred, reserved, voided\n"
        val claim = "alice claimed 900000000000000000 base units\n"
        assertEquals("sum: 42\nalice has 3 credits\n$history${claim}packet says: hello\n", said)
    }

    @Test
    fun theMixnetOfTheExampleCarriesAQuestionAndItsAnswer() {
        val said = said { example.mixnet.main() }
        assertEquals("bob is asked: who is there?\nalice is told: bob\n", said)
    }

    @Test
    fun theFogOfTheExampleFinishesWhenANodeIsGone() {
        val root = checkNotNull(System.getProperty("fog.root"))
        val said = said { example.fog.main(arrayOf("$root/examples/wasm/words.wasm")) }
        val counted = "every text was counted: true\n"
        assertEquals("20 tasks in a fog of 3 nodes\na node is gone\n$counted", said)
    }

    @Test
    fun theProblemOfTheExampleIsSolved() {
        val fastest = "fastest: 6 nodes at 3.0 GHz, 2.5 s, 426 J\n"
        val thriftiest = "thriftiest: 3 nodes at 0.9 GHz, 10.0 s, 49 J\n"
        assertEquals(fastest + thriftiest, said { example.optimise.main() })
    }

    @Test
    fun theJobsOfTheExampleArePlaced() {
        val lines = said { example.placement.main() }.trim().lines()
        assertEquals(listOf("a0", "a0", "a0", "b0", "c0", "d0"), lines.map { it.take(2) })
        assertEquals(setOf("1", "2", "3"), lines.take(3).map { it.takeLast(1) }.toSet())
        assertEquals(lines[3].drop(2), lines[4].drop(2))
        val why = "d0 is left out: no node may take it: GPUs rules out 4; node "
        assertEquals(why, lines[5].take(why.length))
    }

    @Test
    fun theWordsOfTheFilesAreCounted(@TempDir folder: Path) {
        val root = checkNotNull(System.getProperty("fog.root"))
        val texts = listOf("one" to "a", "three" to " a few\nwords").map { (name, text) ->
            (folder / name).apply { writeText(text) }.toString()
        }
        val arguments = arrayOf("$root/examples/wasm/words.wasm", *texts.toTypedArray())
        assertEquals("one: 1 words\nthree: 3 words\n", said { example.words.main(arguments) })
    }

    private fun said(program: () -> Unit): String {
        val (console, written) = System.out to ByteArrayOutputStream()
        System.setOut(PrintStream(written))
        try {
            program()
        } finally {
            System.setOut(console)
        }
        return written.toString()
    }
}
