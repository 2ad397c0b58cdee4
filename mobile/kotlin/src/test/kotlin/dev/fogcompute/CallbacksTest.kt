package dev.fogcompute

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNull
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
            override fun genome() = Genome.Variables(listOf(Variable.Real(-10.0, 10.0)))
            override fun objectiveCount() = 1u
            override fun evaluate(genes: List<Double>) = evaluate(genes.single())
        }
        return minimize(problem, SearchConfig(population = 8u, generations = 4u), seed = 3u)
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
            override fun genome() = Genome.Variables(listOf(Variable.Real(0.0, 1e9)))
            override fun objectiveCount() = 1u
            override fun evaluate(genes: List<Double>) = Evaluation(genes)
        }
        val config = SearchConfig(population = 4u, generations = 0u)
        val front = minimize(problem, config, seed = 1u, initial = listOf(listOf(0.0)))
        assertEquals(listOf(listOf(0.0)), front.individuals.map { it.genes })
        assertFailsWith<FogException.InvalidProblem> {
            minimize(problem, config, seed = 1u, initial = listOf(listOf(-1.0)))
        }
    }

    private fun schaffer() = object : Problem {
        override fun genome() = Genome.Variables(listOf(Variable.Real(-10.0, 10.0)))
        override fun objectiveCount() = 2u
        override fun evaluate(genes: List<Double>): Evaluation {
            val x = genes.single()
            return Evaluation(listOf(x * x, (x - 2) * (x - 2)))
        }
    }

    @Test
    fun aSearchGoesOnFromWhatWasSaved() {
        val directions = Selection.Directions(referenceDirections(2u, 11u))
        for (selection in listOf(Selection.Crowding, directions, Selection.Hypervolume)) {
            val config = SearchConfig(selection, population = 12u, generations = 9u)
            val whole = minimize(schaffer(), config, seed = 3u)
            val saved = Search(schaffer(), config, seed = 3u).use { search ->
                search.step()
                assertNull(search.ended())
                search.save()
            }
            Search.resume(schaffer(), config, saved).use { search ->
                while (search.ended() == null) search.step()
                assertEquals(Ended.GENERATIONS, search.ended())
                assertEquals(whole, search.front())
            }
        }
        assertFailsWith<FogException.InvalidProblem> {
            Search.resume(schaffer(), SearchConfig(), byteArrayOf(1, 2, 3))
        }
    }

    @Test
    fun anOrderIsFound() {
        val problem = object : Problem {
            override fun genome() = Genome.Permutation(3u)
            override fun objectiveCount() = 1u
            override fun evaluate(genes: List<Double>) = Evaluation(listOf(genes[0] + 2 * genes[1]))
        }
        val config = SearchConfig(stagnation = Stagnation(20u, 0.01))
        val front = minimize(problem, config, seed = 1u)
        assertEquals(listOf(listOf(1.0, 0.0, 2.0)), front.individuals.map { it.genes })
    }

    @Test
    fun frontsAreMeasured() {
        fun points(vararg values: Double) = values.toList().chunked(2)
        val front = points(0.0, 1.0, 0.5, 0.5, 1.0, 0.0)
        assertEquals(listOf(0u, 0u, 1u), nonDominatedSort(points(1.0, 2.0, 2.0, 1.0, 2.0, 2.0)))
        assertEquals(emptyList(), nonDominatedSort(emptyList()))
        assertEquals(3.25, hypervolume(front, listOf(2.0, 2.0)))
        assertEquals(0.0, igd(front, front))
        assertEquals(1.0, igdPlus(points(0.0, 2.0), points(0.0, 1.0)))
        assertEquals(0.0, spacing(front))
        assertEquals(0.0, spread(front, listOf(front.first(), front.last())))
        assertEquals(91, referenceDirections(3u, 12u).size)
        for (call in listOf<() -> Any>(
            { nonDominatedSort(listOf(listOf(1.0, 2.0), listOf(1.0))) },
            { hypervolume(points(Double.NaN, 1.0), listOf(1.0, 1.0)) },
            { igd(emptyList(), front) },
            { referenceDirections(0u, 1u) },
        )) {
            assertFailsWith<FogException.InvalidArgument> { call() }
        }
    }
}
