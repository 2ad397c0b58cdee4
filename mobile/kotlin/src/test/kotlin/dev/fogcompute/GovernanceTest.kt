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

/** Governance of a ledger. */
class GovernanceTest {
    private val day = 86_400_000uL
    private val start = 20_000uL * day
    private val never = 4_102_444_800_000uL
    private val ana = "0a".repeat(16)
    private val ben = "0b".repeat(16)
    private val cleo = "0c".repeat(16)
    private val everybody = listOf(ana, ben, cleo)
    private val treasury = purseAccount("treasury")
    private val base = "earning.contributions.hosting.base"
    private val proposal = id(100)

    private fun id(n: Int) = n.toString(16).padStart(32, '0')

    private fun credits(n: Int) = "$n" + "0".repeat(18)

    private fun secret(account: String) = ByteArray(32) { everybody.indexOf(account).toByte() }

    private fun sign(ledger: Ledger, account: String, n: Int, request: GovernanceRequest): ByteArray {
        val operations = listOf(LedgerOperation.Governance(id(n), request))
        return signBatch(account, ledger.nextNonce(account), never, operations, secret(account))
    }

    /** Ana, Ben and Cleo have 10,000 credits each and are enrolled. */
    private fun found(ledger: Ledger, signed: Boolean) {
        ledger.setTime(start)
        val rules = defaultEconomyRules()
        val required = "\"signatures_required\": "
        val unsigned = rules.replace(required + "true", required + "false")
        val configure = EconomyRequest.Configure(if (signed) rules else unsigned)
        ledger.execute(listOf(LedgerOperation.Economy(id(1), configure)))
        for ((n, account) in everybody.withIndex()) {
            ledger.openAccount(account, AccountKind.HOLDER)
            ledger.transfer(id(2 + n), treasury, account, credits(10_000))
            ledger.own(id(5 + n), account, ownerKey(secret(account)))
            val enrol = GovernanceRequest.Enrol(account)
            ledger.executeSigned(sign(ledger, account, 8 + n, enrol))
        }
        ledger.setTime(start + day)
    }

    private fun founded(test: (Ledger, LedgerGovernance) -> Unit) =
        Ledger.inMemory().use { ledger ->
            found(ledger, signed = false)
            ledger.governance().use { governance -> test(ledger, governance) }
        }

    private fun change(value: String) = ProposalContent(
        ProposalKind.PARAMETER_CHANGE, "Pay hosts more", "Hosts are few.\nThey should be more.",
        listOf(ProposalAction.SetParameter(base, value)),
    )

    private fun propose(content: ProposalContent, author: String = ana, n: Int = 100) =
        GovernanceRequest.Propose(author, id(n), content)

    private fun vote(account: String, choice: Choice) =
        GovernanceRequest.Vote(account, proposal, choice)

    private inline fun <reified E : FogException> LedgerGovernance.refuses(
        request: GovernanceRequest,
    ): E = assertFailsWith<E> { ask(id(200), request) }

    @Test
    fun aVoteSignedOfflineChangesWhatTheLedgerPays(@TempDir folder: Path) {
        val path = (folder / "ledger").toString()
        val earn = EconomyRequest.Earn("hosting", ana, mapOf("uptime" to 1_000uL))
        val handedOver = Ledger.open(path).use { ledger ->
            found(ledger, signed = true)
            val earned = ledger.economy().use { it.ask(id(20), earn) }
            assertEquals("7500000000000000000", earned.amount)
            ledger.executeSigned(sign(ledger, ana, 21, propose(change(credits(10)))))
            ledger.governance().use { governance ->
                val pending = assertNotNull(governance.proposal(proposal))
                assertEquals(ProposalState.PENDING, pending.state)
                assertEquals(change(credits(10)), pending.content)
                assertNull(pending.quorum)
                assertFailsWith<FogException.SignatureRequired> {
                    governance.ask(id(22), vote(ben, Choice.FOR))
                }
            }
            val foreign = sign(ledger, cleo, 22, vote(ben, Choice.FOR))
            assertFailsWith<FogException.NotTheOwner> { ledger.executeSigned(foreign) }
            // Ben signs on a device without a network.
            sign(ledger, ben, 22, vote(ben, Choice.FOR))
        }
        Ledger.open(path).use { ledger ->
            ledger.setTime(start + 2uL * day + 1uL)
            ledger.executeSigned(handedOver)
            assertFailsWith<FogException.SignatureReplayed> { ledger.executeSigned(handedOver) }
            ledger.executeSigned(sign(ledger, cleo, 23, vote(cleo, Choice.AGAINST)))
            ledger.executeSigned(sign(ledger, cleo, 24, vote(cleo, Choice.FOR)))
            ledger.governance().use { governance ->
                val ballot = assertNotNull(governance.ballot(proposal, cleo))
                assertEquals(Choice.FOR to 1u, ballot.choice to ballot.changes)
                val active = assertNotNull(governance.proposal(proposal))
                assertEquals(ProposalState.ACTIVE to 2uL, active.state to active.ballots)
                assertTrue(active.quorumReached && active.approved)
                ledger.setTime(start + 9uL * day + 1uL)
                val queued = governance.ask(id(25), GovernanceRequest.Queue(proposal))
                val eta = assertNotNull(queued.etaUnixMs)
                val execute = GovernanceRequest.Execute(proposal)
                governance.refuses<FogException.TimelockRunning>(execute)
                ledger.setTime(eta)
                governance.ask(id(26), execute)
                val done = governance.proposals().single()
                assertEquals(ProposalState.EXECUTED to eta, done.state to done.closedUnixMs)
                assertTrue(governance.proposals(after = proposal).isEmpty())
            }
            ledger.economy().use { economy ->
                assertEquals(credits(15), economy.ask(id(27), earn).amount)
                val voted = assertNotNull(economy.receipt(id(22)))
                assertEquals("voted" to proposal, voted.event to voted.proposal)
                assertEquals(credits(10_000), voted.power)
            }
            ledger.verify()
        }
    }

    @Test
    fun votesAreDelegatedInPartAndByTopicAndTakenBack() = founded { ledger, governance ->
        val topic = ProposalKind.GENERAL
        val kept = { account: String, time: ULong? -> governance.power(account, topic, time).kept }
        val before = ledger.now()
        ledger.setTime(before + 1uL)
        val whole = listOf(DelegatedPart(ben, 1_000_000u))
        governance.ask(id(20), GovernanceRequest.Delegate(ana, whole))
        assertEquals("0" to credits(20_000), kept(ana, null) to kept(ben, null))
        assertEquals(credits(10_000), kept(ana, before))
        val split = listOf(DelegatedPart(ben, 250_000u), DelegatedPart(cleo, 500_000u))
        governance.ask(id(21), GovernanceRequest.Delegate(ana, split, listOf(topic)))
        assertEquals(credits(12_500) to credits(15_000), kept(ben, null) to kept(cleo, null))
        assertEquals(split, governance.delegation(ana, topic))
        assertEquals(whole, governance.delegation(ana, ProposalKind.PARAMETER_CHANGE))
        governance.ask(id(22), GovernanceRequest.Delegate(ana, listOf()))
        assertEquals(credits(10_000), kept(ana, null))
        assertEquals(governance.total(before), governance.total())
        assertFailsWith<FogException.FutureLookup> { governance.total(ledger.now()) }
    }

    @Test
    fun foundingRolesEndTheReignOfTheHost() = founded { ledger, governance ->
        val roles = listOf(RoleHolder(ben, Role.GUARDIAN))
        governance.ask(id(20), GovernanceRequest.Establish(roles))
        governance.ask(id(21), GovernanceRequest.SetReputation(ben, 300_000u))
        val member = governance.member(ben)
        assertEquals(Role.GUARDIAN to 300_000u, member.role to member.reputationPpm)
        val overview = governance.overview()
        assertEquals(roles to 3uL, overview.roles to overview.members)
        assertTrue(overview.established && overview.paused.isEmpty())
        ledger.economy().use { economy ->
            val set = EconomyRequest.SetParameter(base, "1")
            assertFailsWith<FogException.Governed> { economy.ask(id(22), set) }
        }
        governance.ask(id(23), GovernanceRequest.Draft(ana, proposal, change("1")))
        assertEquals(ProposalState.DRAFT, governance.proposal(proposal)?.state)
        governance.ask(id(24), GovernanceRequest.Submit(ana, proposal))
        governance.ask(id(25), GovernanceRequest.Cancel(ana, proposal))
        val cancelled = assertNotNull(governance.proposal(proposal))
        assertEquals(ProposalState.CANCELLED to ana, cancelled.state to cancelled.cancelledBy)
    }

    @Test
    fun everyBadRequestHasItsError() = founded { ledger, governance ->
        governance.ask(id(20), propose(change("1")))
        val text = "ab".repeat(32)
        fun content(kind: ProposalKind, vararg actions: ProposalAction) =
            propose(change("1").copy(kind = kind, actions = actions.toList()), n = 101)
        fun proposes(content: ProposalContent) = propose(content, n = 101)
        val unknown = GovernanceRequest.Queue(id(9))
        governance.refuses<FogException.UnknownProposal>(unknown)
        governance.refuses<FogException.VotingNotStarted>(vote(ana, Choice.FOR))
        governance.refuses<FogException.NoActions>(content(ProposalKind.GENERAL))
        val many = Array(17) { ProposalAction.Resolve(text) }
        governance.refuses<FogException.TooManyActions>(content(ProposalKind.GENERAL, *many))
        governance.refuses<FogException.ControlCharacter>(
            proposes(change("1").copy(description = "\u001b[2J")),
        )
        governance.refuses<FogException.InvalidProposal>(proposes(change("1").copy(title = "")))
        governance.refuses<FogException.ParameterOutOfRange>(proposes(change("9".repeat(38))))
        governance.refuses<FogException.InvalidArgument>(proposes(change("much")))
        val payment = ProposalAction.Pay(ben, "9".repeat(38))
        governance.refuses<FogException.TreasuryShort>(
            content(ProposalKind.TREASURY_ALLOCATION, payment),
        )
        governance.refuses<FogException.ActionNotAllowed>(content(ProposalKind.GENERAL, payment))
        governance.refuses<FogException.WrongState>(GovernanceRequest.Queue(proposal))
        governance.refuses<FogException.NotPermitted>(GovernanceRequest.Cancel(ben, proposal))
        val bens = GovernanceRequest.Delegate(ben, listOf(DelegatedPart(cleo, 1_000_000u)))
        governance.ask(id(21), bens)
        val cleos = GovernanceRequest.Delegate(cleo, listOf(DelegatedPart(ben, 1u)))
        governance.refuses<FogException.CircularDelegation>(cleos)
        val nobody = "0d".repeat(16)
        ledger.openAccount(nobody, AccountKind.HOLDER)
        governance.refuses<FogException.BelowThreshold>(propose(change("1"), nobody, 101))
        ledger.setTime(start + 2uL * day + 1uL)
        governance.ask(id(22), vote(ana, Choice.ABSTAIN))
        governance.refuses<FogException.AlreadyVoted>(vote(ana, Choice.ABSTAIN))
        governance.refuses<FogException.NoVotingPower>(vote(nobody, Choice.FOR))
        ledger.setTime(start + 9uL * day + 1uL)
        governance.refuses<FogException.VotingOver>(vote(ben, Choice.FOR))
    }
}
