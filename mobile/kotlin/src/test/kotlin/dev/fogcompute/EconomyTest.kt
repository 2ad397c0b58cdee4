package dev.fogcompute

import java.nio.file.Path
import kotlin.io.path.div
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import org.junit.jupiter.api.io.TempDir

/** The economy of a ledger. */
class EconomyTest {
    private val day = 86_400_000uL
    private val start = 20_000uL * day
    private val ana = "0a".repeat(16)
    private val ben = "0b".repeat(16)
    private val node = "01".repeat(32)
    private val other = "02".repeat(32)
    private val nobody = "03".repeat(32)
    private val treasury = purseAccount("treasury")
    private val secret = ByteArray(32) { 7 }

    private fun id(n: Int) = n.toString(16).padStart(32, '0')

    private fun credits(n: Int) = "$n" + "0".repeat(18)

    private fun register(node: String) = EconomyRequest.RegisterOperator(node, ana, 100_000u)

    private fun bond(amount: String) = EconomyRequest.Bond(node, ben, amount)

    private fun slash(evidence: Evidence, at: ULong) =
        EconomyRequest.Slash(node, evidence, at, credits(1_000))

    /** Ana and Ben have 1,000 credits each, and Ana runs two nodes. */
    private fun found(ledger: Ledger) {
        ledger.setTime(start)
        ledger.execute(
            listOf(
                LedgerOperation.Economy(id(1), EconomyRequest.Configure()),
                LedgerOperation.Open(ana, AccountKind.HOLDER),
                LedgerOperation.Open(ben, AccountKind.HOLDER),
                LedgerOperation.Transfer(id(2), treasury, ana, credits(1_000)),
                LedgerOperation.Transfer(id(3), treasury, ben, credits(1_000)),
                LedgerOperation.Economy(id(4), register(node)),
                LedgerOperation.Economy(id(5), register(other)),
            ),
        )
    }

    private fun founded(test: (Ledger, LedgerEconomy) -> Unit) = Ledger.inMemory().use { ledger ->
        found(ledger)
        ledger.economy().use { economy -> test(ledger, economy) }
    }

    private inline fun <reified E : FogException> LedgerEconomy.refuses(request: EconomyRequest): E =
        assertFailsWith<E> { ask(id(200), request) }

    @Test
    fun stakeEarnsIsSlashedLeavesAndIsPaidOutAcrossARestart(@TempDir folder: Path) {
        val path = (folder / "ledger").toString()
        Ledger.open(path).use { ledger ->
            found(ledger)
            ledger.economy().use { economy ->
                val bonded = economy.ask(id(10), bond(credits(1_000)))
                assertEquals("bonded", bonded.event)
                val again = economy.ask(id(10), bond(credits(1_000)))
                assertTrue(again.replayed)
                assertEquals(again, economy.receipt(id(10)))
                assertNull(economy.receipt(id(2)))

                val reward = EconomyRequest.Reward(node, treasury, credits(100))
                assertEquals(credits(10), economy.ask(id(11), reward).commission)
                assertEquals(credits(90), economy.stake(node, ben).claimable)
                val claimed = economy.ask(id(12), EconomyRequest.Claim(node, ben))
                assertEquals(credits(90), claimed.amount)
                val commission = economy.ask(id(13), EconomyRequest.ClaimCommission(node))
                assertEquals(credits(10), commission.amount)

                ledger.setTime(start + day)
                val slashed = economy.ask(id(14), slash(Evidence.INVALID_RESULT, start + 1uL))
                assertEquals(credits(5), slashed.insured)
                assertEquals(start + 2uL * day, slashed.jailedUntilUnixMs)
                assertEquals(credits(990), economy.operatorOf(node)?.staked)
                assertNull(economy.operatorOf(nobody))
                val insurance = EconomyRequest.PayInsurance(id(99), ben, credits(5))
                assertEquals("insurance_paid", economy.ask(id(15), insurance).event)
                ledger.setTime(start + 2uL * day)
                economy.ask(id(16), EconomyRequest.Unjail(node))
                economy.ask(id(17), EconomyRequest.SetCommission(node, 110_000u))

                val redelegate = EconomyRequest.Redelegate(ben, node, other, credits(90))
                assertEquals(1uL, economy.ask(id(18), redelegate).entry)
                val left = economy.ask(id(19), EconomyRequest.Unbond(node, ben))
                assertEquals(start + 23uL * day, left.maturesUnixMs)
                val cancel =
                    EconomyRequest.CancelUnbonding(node, ben, left.entry!!, credits(100))
                economy.ask(id(20), cancel)
                val leaving = economy.stake(node, ben).unbondings
                assertEquals(listOf(credits(800)), leaving.map { it.balance })
            }
        }
        Ledger.open(path).use { ledger ->
            ledger.setTime(start + 23uL * day)
            // The redelegation and the unbonding.
            assertEquals(2uL, ledger.expire())
            assertEquals(start + 23uL * day, ledger.now())
            assertEquals(credits(895), ledger.balance(ben))
            val operators = ledger.economy().use { it.operators() }
            assertEquals(listOf(node, other), operators.map { it.id })
            val last = ledger.history(ben).last()
            assertEquals("moved", last.kind)
            assertEquals(last.sequence - 1uL, last.cause)
            assertNotNull(ledger.history(ben).first { it.kind == "matured" }.event)
            ledger.verify()
            ledger.setTime()
            assertTrue(ledger.now() > start)
        }
    }

    @Test
    fun contributionsArePaidUpToTheLimitOfTheDay() = founded { ledger, economy ->
        val facts = mapOf("uptime" to 1_000uL, "bandwidth" to 1_000uL)
        val earn = EconomyRequest.Earn("hosting", ben, facts)
        for (n in 10..20) {
            assertEquals(credits(9), economy.ask(id(n), earn).amount)
        }
        val last = economy.ask(id(21), earn)
        assertEquals(listOf(credits(1), credits(8)), listOf(last.amount, last.cutByLimit))
        economy.refuses<FogException.DailyLimitReached>(earn)
        assertEquals(credits(100), economy.grantedToday("hosting", ben))
        ledger.setTime(start + day)
        assertEquals("0", economy.grantedToday("hosting", ben))
        val session = EconomyRequest.EarnSession(ben, 100_000uL, 3_600_000uL, 0u)
        assertEquals(credits(9), economy.ask(id(22), session).amount)
        val fee = economy.ask(id(23), EconomyRequest.PayFee(ben, ana, credits(100)))
        assertEquals(listOf(credits(15), credits(5)), listOf(fee.treasury, fee.sovereignFund))
    }

    @Test
    fun rulesAreToldAndSet() {
        Ledger.inMemory().use { ledger -> ledger.economy().use(::tellsAndSetsRules) }
    }

    private fun tellsAndSetsRules(economy: LedgerEconomy) {
        assertNull(economy.rules())
        assertEquals(listOf(), economy.parameters())
        val rules = defaultEconomyRules()
        economy.ask(id(1), EconomyRequest.Configure(rules))
        assertEquals(rules, economy.rules())
        economy.ask(id(2), EconomyRequest.SetParameter("earning.fees.treasury", "7"))
        val fees = economy.parameters().first { it.name == "earning.fees.treasury" }
        assertEquals("7", fees.value)
        assertEquals(ParameterUnit.PPM, fees.unit)
        economy.refuses<FogException.InvalidEconomy>(EconomyRequest.Configure("{}"))
        economy.refuses<FogException.UnknownParameter>(EconomyRequest.SetParameter("x", "1"))
    }

    @Test
    fun refusalsHaveTheirExceptions() = founded { ledger, economy ->
        val bonded = purseAccount("bonded")
        val facts = { quality: ULong -> mapOf("quality" to quality) }
        Ledger.inMemory().use { empty ->
            empty.economy().use {
                it.refuses<FogException.NoEconomy>(EconomyRequest.Unjail(node))
            }
        }
        economy.refuses<FogException.UnknownOperator>(EconomyRequest.Unjail(nobody))
        economy.refuses<FogException.OperatorExists>(register(node))
        economy.refuses<FogException.CommissionTooLarge>(
            EconomyRequest.RegisterOperator(nobody, ana, 500_001u),
        )
        economy.refuses<FogException.InvalidArgument>(
            EconomyRequest.RegisterOperator(nobody, ana, 1_000_001u),
        )
        economy.refuses<FogException.CommissionTooSoon>(EconomyRequest.SetCommission(node, 1u))
        economy.refuses<FogException.UnknownDelegator>(EconomyRequest.Claim(node, ben))
        economy.refuses<FogException.InsufficientFunds>(bond(credits(1_001)))
        economy.refuses<FogException.NotJailed>(EconomyRequest.Unjail(node))
        economy.refuses<FogException.NothingToClaim>(EconomyRequest.ClaimCommission(node))
        economy.refuses<FogException.InsuranceShort>(
            EconomyRequest.PayInsurance(id(9), ben, "1"),
        )
        economy.refuses<FogException.StakingRefused>(EconomyRequest.Reward(node, bonded, "1"))
        economy.refuses<FogException.EvidenceTooOld>(
            slash(Evidence.DOWNTIME, start - 22uL * day),
        )
        economy.refuses<FogException.UnknownRule>(EconomyRequest.Earn("nothing", ben, mapOf()))
        economy.refuses<FogException.UnknownFact>(
            EconomyRequest.Earn("hosting", ben, facts(1uL)),
        )
        economy.refuses<FogException.FactMissing>(
            EconomyRequest.Earn("knowledge", ben, mapOf()),
        )
        economy.refuses<FogException.RequirementNotMet>(
            EconomyRequest.Earn("knowledge", ben, facts(699uL)),
        )
        economy.refuses<FogException.FactTooLarge>(
            EconomyRequest.Earn("knowledge", ben, facts(1_001uL)),
        )
        economy.refuses<FogException.SessionTooShort>(
            EconomyRequest.EarnSession(ben, 1uL, 1uL, 0u),
        )
        economy.refuses<FogException.SessionTooLarge>(
            EconomyRequest.EarnSession(ben, 1uL, day + 1uL, 0u),
        )
        assertFailsWith<FogException.PurseAccount> {
            ledger.transfer(id(200), bonded, ana, "1")
        }
        economy.ask(id(10), bond(credits(1_000)))
        economy.refuses<FogException.ExceedsStake>(
            EconomyRequest.Unbond(node, ben, credits(1_001)),
        )
        economy.refuses<FogException.UnknownEntry>(
            EconomyRequest.CancelUnbonding(node, ben, 9uL),
        )
        assertFailsWith<FogException.AccountStaked> { ledger.closeAccount(id(200), ana) }
        economy.ask(id(11), slash(Evidence.INVALID_RESULT, start))
        economy.refuses<FogException.Jailed>(bond("1"))
        economy.refuses<FogException.EvidenceRepeated>(slash(Evidence.INVALID_RESULT, start))
        economy.ask(id(12), slash(Evidence.DOUBLE_RESULT, start))
        val error = economy.refuses<FogException.Tombstoned>(EconomyRequest.Unjail(node))
        assertTrue("is tombstoned" in error.message!!, error.message)
        ledger.setTime(start - 1uL)
        economy.refuses<FogException.ClockBehind>(EconomyRequest.Unjail(other))
    }

    @Test
    fun ownersSignForTheirStake() = founded { ledger, economy ->
        ledger.own(id(10), ben, ownerKey(secret))
        val signed = { nonce: ULong, request: EconomyRequest ->
            val operations = listOf(LedgerOperation.Economy(id(11), request))
            signBatch(ben, nonce, 4_102_444_800_000uL, operations, secret)
        }
        ledger.executeSigned(signed(1uL, bond("5")))
        assertEquals("5", economy.receipt(id(11))?.amount)
        val set = EconomyRequest.SetParameter("earning.fees.treasury", "0")
        assertFailsWith<FogException.HostOnly> { ledger.executeSigned(signed(2uL, set)) }
    }
}
