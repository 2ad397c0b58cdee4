import FogCompute
import Foundation
import XCTest

/// Governance of a ledger.
final class GovernanceTests: XCTestCase {
    private let day: UInt64 = 86_400_000
    private let start: UInt64 = 20_000 * 86_400_000
    private let ana = String(repeating: "0a", count: 16)
    private let ben = String(repeating: "0b", count: 16)
    private let cleo = String(repeating: "0c", count: 16)
    private let base = "earning.contributions.hosting.base"
    private let proposal = String(repeating: "64", count: 16)

    private func id(_ n: Int) -> String {
        let digits = String(n, radix: 16)
        return String(repeating: "0", count: 32 - digits.count) + digits
    }

    private func credits(_ n: Int) -> String { "\(n)" + String(repeating: "0", count: 18) }

    private func secret(_ account: String) -> Data { Data(account.utf8) }

    private func sign(
        _ ledger: Ledger, _ account: String, _ n: Int, _ request: GovernanceRequest
    ) throws -> Data {
        try signBatch(
            account: account, nonce: try ledger.nextNonce(account: account),
            expiresUnixMs: 4_102_444_800_000,
            operations: [.governance(id: id(n), request: request)], secret: secret(account))
    }

    /// Ana, Ben and Cleo have 10,000 credits each and are enrolled.
    private func founded(signed: Bool) throws -> Ledger {
        let ledger = try Ledger.inMemory()
        try ledger.setTime(unixMs: start)
        let required = "\"signatures_required\": "
        let rules = try defaultEconomyRules().replacingOccurrences(
            of: required + "true", with: required + "\(signed)")
        _ = try ledger.execute(operations: [.economy(id: id(1), request: .configure(rules: rules))])
        let treasury = try purseAccount(purse: "treasury")
        for (n, account) in [ana, ben, cleo].enumerated() {
            _ = try ledger.openAccount(account: account, kind: .holder)
            _ = try ledger.transfer(
                id: id(2 + n), from: treasury, to: account, amount: credits(10_000))
            let key = try ownerKey(secret: secret(account))
            _ = try ledger.own(id: id(5 + n), account: account, key: key)
            _ = try ledger.executeSigned(
                batch: sign(ledger, account, 8 + n, .enrol(account: account)))
        }
        try ledger.setTime(unixMs: start + day)
        return ledger
    }

    private func change(
        _ value: String, kind: ProposalKind = .parameterChange, title: String = "Pay hosts more",
        description: String = "Hosts are few.", actions: [ProposalAction]? = nil
    ) -> ProposalContent {
        ProposalContent(
            kind: kind, title: title, description: description,
            actions: actions ?? [.setParameter(name: base, value: value)])
    }

    private func vote(_ account: String, _ choice: Choice) -> GovernanceRequest {
        .vote(voter: account, proposal: proposal, choice: choice)
    }

    func testAVoteSignedOfflineChangesWhatTheLedgerPays() throws {
        let ledger = try founded(signed: true)
        let (economy, governance) = (ledger.economy(), ledger.governance())
        let earn = EconomyRequest.earn(rule: "hosting", account: ana, facts: ["uptime": 1_000])
        XCTAssertEqual(try economy.ask(id: id(20), request: earn).amount, "7500000000000000000")
        let content = change(credits(10))
        _ = try ledger.executeSigned(
            batch: sign(
                ledger, ana, 21, .propose(author: ana, proposal: proposal, content: content)))
        let pending = try XCTUnwrap(governance.proposal(proposal: proposal))
        XCTAssertEqual(pending.state, .pending)
        XCTAssertEqual(pending.content, content)
        XCTAssertNil(pending.quorum)
        assertFails(.signatureRequired) {
            try governance.ask(id: id(22), request: vote(ben, .for))
        }
        let foreign = try sign(ledger, cleo, 22, vote(ben, .for))
        assertFails(.notTheOwner) { try ledger.executeSigned(batch: foreign) }
        // Ben signs on a device without a network, and hands it over when voting has begun.
        let handedOver = try sign(ledger, ben, 22, vote(ben, .for))
        try ledger.setTime(unixMs: start + 2 * day + 1)
        _ = try ledger.executeSigned(batch: handedOver)
        assertFails(.signatureReplayed) { try ledger.executeSigned(batch: handedOver) }
        let voted = try XCTUnwrap(economy.receipt(id: id(22)))
        let did = [voted.event, voted.proposal, voted.power]
        XCTAssertEqual(did, ["voted", proposal, credits(10_000)])
        _ = try ledger.executeSigned(batch: sign(ledger, cleo, 23, vote(cleo, .against)))
        _ = try ledger.executeSigned(batch: sign(ledger, cleo, 24, vote(cleo, .for)))
        let ballot = try XCTUnwrap(governance.ballot(proposal: proposal, voter: cleo))
        XCTAssertEqual(ballot.choice, .for)
        XCTAssertEqual(ballot.changes, 1)
        let active = try XCTUnwrap(governance.proposal(proposal: proposal))
        XCTAssertEqual(active.state, .active)
        XCTAssertTrue(active.quorumReached && active.approved)

        try ledger.setTime(unixMs: start + 9 * day + 1)
        let queued = try governance.ask(id: id(25), request: .queue(proposal: proposal))
        let eta = try XCTUnwrap(queued.etaUnixMs)
        assertFails(.timelockRunning) {
            try governance.ask(id: id(26), request: .execute(proposal: proposal))
        }
        try ledger.setTime(unixMs: eta)
        _ = try governance.ask(id: id(26), request: .execute(proposal: proposal))
        let done = try governance.proposals()
        XCTAssertEqual(done.map(\.state), [.executed])
        XCTAssertEqual(done.map(\.closedUnixMs), [eta])
        XCTAssertEqual(try economy.ask(id: id(27), request: earn).amount, credits(15))
        _ = try ledger.verify()
    }

    func testVotesAreDelegatedInPartAndByTopicAndTakenBack() throws {
        let ledger = try founded(signed: false)
        let governance = ledger.governance()
        let kept = { (account: String, time: UInt64?) in
            try governance.power(account: account, topic: .general, unixMs: time).kept
        }
        let before = try ledger.now()
        try ledger.setTime(unixMs: before + 1)
        let whole = [DelegatedPart(toAccount: ben, partPpm: 1_000_000)]
        _ = try governance.ask(id: id(20), request: .delegate(voter: ana, to: whole))
        XCTAssertEqual(try kept(ben, nil), credits(20_000))
        XCTAssertEqual(try kept(ana, before), credits(10_000))
        let split = [
            DelegatedPart(toAccount: ben, partPpm: 250_000),
            DelegatedPart(toAccount: cleo, partPpm: 500_000),
        ]
        _ = try governance.ask(
            id: id(21), request: .delegate(voter: ana, to: split, topics: [.general]))
        XCTAssertEqual(try kept(cleo, nil), credits(15_000))
        XCTAssertEqual(try governance.delegation(voter: ana, topic: .general), split)
        XCTAssertEqual(try governance.delegation(voter: ana, topic: .parameterChange), whole)
        _ = try governance.ask(id: id(22), request: .delegate(voter: ana, to: []))
        XCTAssertEqual(try kept(ana, nil), credits(10_000))
        XCTAssertEqual(try governance.total(), try governance.total(unixMs: before))
        let now = try ledger.now()
        assertFails(.futureLookup) { try governance.total(unixMs: now) }
    }

    func testFoundingRolesEndTheReignOfTheHost() throws {
        let ledger = try founded(signed: false)
        let governance = ledger.governance()
        let roles = [RoleHolder(account: ben, role: .guardian)]
        _ = try governance.ask(id: id(20), request: .establish(roles: roles))
        _ = try governance.ask(
            id: id(21), request: .setReputation(account: ben, reputationPpm: 300_000))
        let member = try governance.member(account: ben)
        XCTAssertEqual(member.role, .guardian)
        XCTAssertEqual(member.reputationPpm, 300_000)
        let overview = try governance.overview()
        XCTAssertEqual(overview.roles, roles)
        XCTAssertEqual(overview.members, 3)
        XCTAssertTrue(overview.established && overview.paused.isEmpty)
        assertFails(.governed) {
            try ledger.economy().ask(id: id(22), request: .setParameter(name: base, value: "1"))
        }
        _ = try governance.ask(
            id: id(23), request: .draft(author: ana, proposal: proposal, content: change("1")))
        XCTAssertEqual(try governance.proposal(proposal: proposal)?.state, .draft)
        _ = try governance.ask(id: id(24), request: .submit(author: ana, proposal: proposal))
        _ = try governance.ask(id: id(25), request: .cancel(by: ana, proposal: proposal))
        XCTAssertEqual(try governance.proposal(proposal: proposal)?.cancelledBy, ana)
    }

    func testEveryBadRequestHasItsError() throws {
        let ledger = try founded(signed: false)
        let governance = ledger.governance()
        let refuses = { (code: ErrorCode, request: GovernanceRequest) in
            assertFails(code) { try governance.ask(id: self.id(200), request: request) }
            return
        }
        let proposes = { (content: ProposalContent) in
            GovernanceRequest.propose(author: self.ana, proposal: self.id(101), content: content)
        }
        _ = try governance.ask(
            id: id(20), request: .propose(author: ana, proposal: proposal, content: change("1")))
        let resolve = ProposalAction.resolve(text: String(repeating: "ab", count: 32))
        let nines = String(repeating: "9", count: 38)
        let payment = ProposalAction.pay(toAccount: ben, amount: nines)
        refuses(.unknownProposal, .queue(proposal: id(9)))
        refuses(.votingNotStarted, vote(ana, .for))
        refuses(.noActions, proposes(change("1", kind: .general, actions: [])))
        let many = [ProposalAction](repeating: resolve, count: 17)
        refuses(.tooManyActions, proposes(change("1", kind: .general, actions: many)))
        refuses(.controlCharacter, proposes(change("1", description: "\u{1b}[2J")))
        refuses(.invalidProposal, proposes(change("1", title: "")))
        refuses(.parameterOutOfRange, proposes(change(nines)))
        refuses(.invalidArgument, proposes(change("much")))
        refuses(.treasuryShort, proposes(change("", kind: .treasuryAllocation, actions: [payment])))
        refuses(.actionNotAllowed, proposes(change("", kind: .general, actions: [payment])))
        refuses(.wrongState, .queue(proposal: proposal))
        refuses(.notPermitted, .cancel(by: ben, proposal: proposal))
        let toCleo = [DelegatedPart(toAccount: cleo, partPpm: 1_000_000)]
        let toBen = [DelegatedPart(toAccount: ben, partPpm: 1)]
        _ = try governance.ask(id: id(21), request: .delegate(voter: ben, to: toCleo))
        refuses(.circularDelegation, .delegate(voter: cleo, to: toBen))
        let nobody = String(repeating: "0d", count: 16)
        _ = try ledger.openAccount(account: nobody, kind: .holder)
        refuses(
            .belowThreshold,
            .propose(author: nobody, proposal: id(101), content: change("1")))
        try ledger.setTime(unixMs: start + 2 * day + 1)
        _ = try governance.ask(id: id(22), request: vote(ana, .abstain))
        refuses(.alreadyVoted, vote(ana, .abstain))
        refuses(.noVotingPower, vote(nobody, .for))
        try ledger.setTime(unixMs: start + 9 * day + 1)
        refuses(.votingOver, vote(ben, .for))
    }
}
