package dev.fogcompute

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue

/** What the application implements: a battery probe, a problem. */
class CallbacksTest {
    private val laptop = DeviceState(DeviceClass.LAPTOP, Battery.Unknown, Network.ETHERNET)

    private fun decide(battery: () -> Battery): Decision {
        val probe = object : BatteryProbe {
            override fun battery() = battery()
        }
        return HarvestPolicy().use { it.decideWithProbe(laptop, probe) }
    }

    @Test
    fun theProbesReadingIsDecidedOn() {
        val low = decide { Battery.Present(levelPercent = 12.0, charging = true) }
        assertEquals(Verdict.REFUSE, low.verdict)
        assertTrue(low.reasons.any { it.code == "battery_low" && it.objection })
        val absent = decide { Battery.Absent }
        assertFalse(absent.reasons.any { "battery" in it.code })
    }

    @Test
    fun aProbesOwnErrorArrives() {
        val failed = assertFailsWith<FogException.HostCallback> {
            decide { throw ProbeException.Host("no permission") }
        }
        assertTrue("no permission" in failed.message!!, failed.message)
        val unavailable = assertFailsWith<FogException.ProbeFailed> {
            decide { throw ProbeException.Unavailable() }
        }
        assertEquals(ErrorCode.PROBE_FAILED, unavailable.code)
    }

    @Test
    fun aProbesUnexpectedExceptionArrivesInOneLine() {
        val failed = assertFailsWith<FogException.HostCallback> {
            decide { throw IllegalStateException("the application's own bug") }
        }
        assertTrue("IllegalStateException: the application's own bug" in failed.message!!)
        assertFalse('\n' in failed.message!!, failed.message)
    }

    @Test
    fun whatIsThrownButNoExceptionArrivesToo() {
        // UniFFI's own code let it out, and the library took a zero for the answer.
        val failed = assertFailsWith<FogException.HostCallback> {
            decide { throw NotImplementedError("not yet") }
        }
        assertTrue("not yet" in failed.message!!, failed.message)
    }

    private fun optimise(evaluate: (Double) -> Evaluation): Front {
        val problem = object : Problem {
            override fun variables() = listOf(Variable.Real(-10.0, 10.0))
            override fun objectiveCount() = 1u
            override fun evaluate(genes: List<Double>) = evaluate(genes.single())
        }
        return nsga2(problem, Nsga2(population = 8u, generations = 4u), seed = 3u)
    }

    @Test
    fun aProblemsFailuresArrive() {
        val own = assertFailsWith<FogException.HostCallback> {
            optimise { throw ProblemException.Host("no simulator") }
        }
        assertEquals("no simulator", own.message)
        assertFailsWith<FogException.HostCallback> { optimise { throw ArithmeticException("bug") } }
    }

    @Test
    fun aProblemThatAnswersWronglyIsRefused() {
        assertFailsWith<FogException.NotFinite> { optimise { Evaluation(listOf(Double.NaN)) } }
        assertFailsWith<FogException.NotFinite> { optimise { Evaluation(listOf(1.0), -1.0) } }
        assertFailsWith<FogException.InvalidProblem> { optimise { Evaluation(listOf(1.0, 2.0)) } }
    }

    @Test
    fun genomesToStartFromAreUsed() {
        val problem = object : Problem {
            override fun variables() = listOf(Variable.Real(0.0, 1e9))
            override fun objectiveCount() = 1u
            override fun evaluate(genes: List<Double>) = Evaluation(genes)
        }
        val config = Nsga2(population = 4u, generations = 0u)
        val front = nsga2(problem, config, seed = 1u, initial = listOf(listOf(0.0)))
        assertEquals(listOf(listOf(0.0)), front.individuals.map { it.genes })
        assertFailsWith<FogException.InvalidProblem> {
            nsga2(problem, config, seed = 1u, initial = listOf(listOf(-1.0)))
        }
    }
}
