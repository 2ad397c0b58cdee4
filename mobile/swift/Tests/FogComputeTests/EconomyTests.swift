import FogCompute
import Foundation
import XCTest

/// The economy of a ledger.
final class EconomyTests: XCTestCase {
    private let day: UInt64 = 86_400_000
    private let start: UInt64 = 20_000 * 86_400_000
    private let ana = String(repeating: "0a", count: 16)
    private let ben = String(repeating: "0b", count: 16)
    private let node = String(repeating: "01", count: 32)
    private let other = String(repeating: "02", count: 32)
    private let secret = Data(repeating: 7, count: 32)

    private func id(_ n: Int) -> String {
        let digits = String(n, radix: 16)
        return String(repeating: "0", count: 32 - digits.count) + digits
    }

    private func credits(_ n: Int) -> String { "\(n)" + String(repeating: "0", count: 18) }

    private func treasury() throws -> String { try purseAccount(purse: "treasury") }

    /// Ana and Ben have 1,000 credits each, and Ana runs two nodes.
    private func found(_ ledger: Ledger) throws {
        try ledger.setTime(unixMs: start)
        let treasury = try treasury()
        _ = try ledger.execute(operations: [
            .economy(id: id(1), request: .configure()),
            .open(account: ana, kind: .holder),
            .open(account: ben, kind: .holder),
            .transfer(id: id(2), from: treasury, to: ana, amount: credits(1_000)),
            .transfer(id: id(3), from: treasury, to: ben, amount: credits(1_000)),
            .economy(id: id(4), request: register(node)),
            .economy(id: id(5), request: register(other)),
        ])
    }

    private func register(_ node: String) -> EconomyRequest {
        .registerOperator(operator: node, account: ana, commissionPpm: 100_000)
    }

    private func bond(_ amount: String) -> EconomyRequest {
        .bond(operator: node, delegator: ben, amount: amount)
    }

    private func slash(_ evidence: Evidence, at: UInt64) -> EconomyRequest {
        .slash(
            operator: node, evidence: evidence, infractionUnixMs: at, power: credits(1_000))
    }

    func testStakeEarnsIsSlashedLeavesAndIsPaidOutAcrossARestart() throws {
        let path = FileManager.default.temporaryDirectory
            .appendingPathComponent(UUID().uuidString).path
        defer { try? FileManager.default.removeItem(atPath: path) }
        var ledger: Ledger? = try Ledger.open(path: path)
        try found(ledger!)
        var economy: LedgerEconomy? = ledger!.economy()
        let ask = { (n: Int, request: EconomyRequest) in
            try economy!.ask(id: self.id(n), request: request)
        }
        let bonded = try ask(10, bond(credits(1_000)))
        XCTAssertEqual(bonded.event, "bonded")
        let again = try ask(10, bond(credits(1_000)))
        XCTAssertTrue(again.replayed)
        XCTAssertEqual(try economy!.receipt(id: id(10)), again)
        XCTAssertNil(try economy!.receipt(id: id(2)))

        let hundred = credits(100)
        let reward = EconomyRequest.reward(
            operator: node, source: try treasury(), amount: hundred)
        XCTAssertEqual(try ask(11, reward).commission, credits(10))
        let stake = try economy!.stake(node: node, delegator: ben)
        XCTAssertEqual(stake.claimable, credits(90))
        let claim = EconomyRequest.claim(operator: node, delegator: ben)
        XCTAssertEqual(try ask(12, claim).amount, credits(90))
        let commission = EconomyRequest.claimCommission(operator: node)
        XCTAssertEqual(try ask(13, commission).amount, credits(10))

        try ledger!.setTime(unixMs: start + day)
        let slashed = try ask(14, slash(.invalidResult, at: start + 1))
        XCTAssertEqual([slashed.amount, slashed.insured], [credits(10), credits(5)])
        XCTAssertEqual(slashed.jailedUntilUnixMs, start + 2 * day)
        XCTAssertEqual(try economy!.operatorOf(node: node)?.staked, credits(990))
        XCTAssertNil(try economy!.operatorOf(node: String(repeating: "03", count: 32)))
        let insurance = EconomyRequest.payInsurance(
            claim: id(99), toAccount: ben, amount: credits(5))
        XCTAssertEqual(try ask(15, insurance).event, "insurance_paid")
        try ledger!.setTime(unixMs: start + 2 * day)
        _ = try ask(16, .unjail(operator: node))
        _ = try ask(17, .setCommission(operator: node, commissionPpm: 110_000))

        let moved = try ask(
            18,
            .redelegate(
                delegator: ben, fromOperator: node, toOperator: other, amount: credits(90)))
        XCTAssertEqual(moved.entry, 1)
        let left = try ask(19, .unbond(operator: node, delegator: ben))
        XCTAssertEqual(left.maturesUnixMs, start + 23 * day)
        let entry = try XCTUnwrap(left.entry)
        _ = try ask(
            20,
            .cancelUnbonding(operator: node, delegator: ben, entry: entry, amount: hundred))
        let leaving = try economy!.stake(node: node, delegator: ben).unbondings
        XCTAssertEqual(leaving.map(\.balance), [credits(800)])
        economy = nil
        ledger = nil

        let reopened = try Ledger.open(path: path)
        try reopened.setTime(unixMs: start + 23 * day)
        // The redelegation and the unbonding.
        XCTAssertEqual(try reopened.expire(), 2)
        XCTAssertEqual(try reopened.now(), start + 23 * day)
        XCTAssertEqual(try reopened.balance(account: ben), credits(895))
        let operators = try reopened.economy().operators()
        XCTAssertEqual(operators.map(\.id), [node, other])
        let entries = try reopened.history(account: ben, after: 0)
        XCTAssertEqual(entries.last?.kind, "moved")
        XCTAssertEqual(entries.last?.cause, entries.last.map { $0.sequence - 1 })
        XCTAssertNotNil(entries.first { $0.kind == "matured" }?.event)
        _ = try reopened.verify()
        try reopened.setTime()
        XCTAssertGreaterThan(try reopened.now(), start)
    }

    func testContributionsArePaidUpToTheLimitOfTheDay() throws {
        let ledger = try Ledger.inMemory()
        try found(ledger)
        let economy = ledger.economy()
        let earn = EconomyRequest.earn(
            rule: "hosting", account: ben, facts: ["uptime": 1_000, "bandwidth": 1_000])
        for n in 10..<21 {
            XCTAssertEqual(try economy.ask(id: id(n), request: earn).amount, credits(9))
        }
        let last = try economy.ask(id: id(21), request: earn)
        XCTAssertEqual([last.amount, last.cutByLimit], [credits(1), credits(8)])
        assertFails(.dailyLimitReached) { try economy.ask(id: self.id(22), request: earn) }
        XCTAssertEqual(try economy.grantedToday(rule: "hosting", account: ben), credits(100))
        try ledger.setTime(unixMs: start + day)
        XCTAssertEqual(try economy.grantedToday(rule: "hosting", account: ben), "0")
        let session = EconomyRequest.earnSession(
            account: ben, powerMilli: 100_000, durationMs: 3_600_000, bonusPerMille: 0)
        XCTAssertEqual(try economy.ask(id: id(22), request: session).amount, credits(9))
        let fee = try economy.ask(
            id: id(23), request: .payFee(payer: ben, payee: ana, amount: credits(100)))
        XCTAssertEqual([fee.treasury, fee.sovereignFund], [credits(15), credits(5)])
    }

    func testRulesAreToldAndSet() throws {
        let ledger = try Ledger.inMemory()
        let economy = ledger.economy()
        XCTAssertNil(try economy.rules())
        XCTAssertEqual(try economy.parameters(), [])
        let rules = try defaultEconomyRules()
        _ = try economy.ask(id: id(1), request: .configure(rules: rules))
        XCTAssertEqual(try economy.rules(), rules)
        let set = EconomyRequest.setParameter(name: "earning.fees.treasury", value: "7")
        _ = try economy.ask(id: id(2), request: set)
        let fees = try economy.parameters().first { $0.name == "earning.fees.treasury" }
        XCTAssertEqual(fees?.value, "7")
        XCTAssertEqual(fees?.unit, .ppm)
        assertFails(.invalidEconomy) {
            try economy.ask(id: self.id(3), request: .configure(rules: "{}"))
        }
        assertFails(.unknownParameter) {
            try economy.ask(id: self.id(3), request: .setParameter(name: "x", value: "1"))
        }
    }

    func testRefusalsHaveTheirCodes() throws {
        let ledger = try Ledger.inMemory()
        let economy = ledger.economy()
        @discardableResult
        func refused(_ code: ErrorCode, _ request: EconomyRequest) -> FogError? {
            assertFails(code) { try economy.ask(id: id(200), request: request) }
        }
        refused(.noEconomy, .unjail(operator: node))
        try found(ledger)
        let nobody = String(repeating: "03", count: 32)
        let bonded = try purseAccount(purse: "bonded")
        refused(.unknownOperator, .unjail(operator: nobody))
        refused(.operatorExists, register(node))
        refused(
            .commissionTooLarge,
            .registerOperator(operator: nobody, account: ana, commissionPpm: 500_001))
        refused(
            .invalidArgument,
            .registerOperator(operator: nobody, account: ana, commissionPpm: 1_000_001))
        refused(.commissionTooSoon, .setCommission(operator: node, commissionPpm: 1))
        refused(.unknownDelegator, .claim(operator: node, delegator: ben))
        refused(.insufficientFunds, bond(credits(1_001)))
        refused(.notJailed, .unjail(operator: node))
        refused(.nothingToClaim, .claimCommission(operator: node))
        refused(
            .insuranceShort, .payInsurance(claim: id(9), toAccount: ben, amount: "1"))
        refused(.stakingRefused, .reward(operator: node, source: bonded, amount: "1"))
        refused(.evidenceTooOld, slash(.downtime, at: start - 22 * day))
        refused(.unknownRule, .earn(rule: "nothing", account: ben, facts: [:]))
        refused(.unknownFact, .earn(rule: "hosting", account: ben, facts: ["quality": 1]))
        refused(.factMissing, .earn(rule: "knowledge", account: ben, facts: [:]))
        refused(
            .requirementNotMet,
            .earn(rule: "knowledge", account: ben, facts: ["quality": 699]))
        refused(
            .factTooLarge, .earn(rule: "knowledge", account: ben, facts: ["quality": 1_001]))
        refused(
            .sessionTooShort,
            .earnSession(account: ben, powerMilli: 1, durationMs: 1, bonusPerMille: 0))
        refused(
            .sessionTooLarge,
            .earnSession(account: ben, powerMilli: 1, durationMs: day + 1, bonusPerMille: 0))
        assertFails(.purseAccount) {
            try ledger.transfer(id: self.id(200), from: bonded, to: self.ana, amount: "1")
        }
        _ = try economy.ask(id: id(10), request: bond(credits(1_000)))
        refused(
            .exceedsStake, .unbond(operator: node, delegator: ben, amount: credits(1_001)))
        refused(
            .unknownEntry, .cancelUnbonding(operator: node, delegator: ben, entry: 9))
        assertFails(.accountStaked) {
            try ledger.closeAccount(id: self.id(200), account: self.ana)
        }
        _ = try economy.ask(id: id(11), request: slash(.invalidResult, at: start))
        refused(.jailed, bond("1"))
        refused(.evidenceRepeated, slash(.invalidResult, at: start))
        _ = try economy.ask(id: id(12), request: slash(.doubleResult, at: start))
        let error = refused(.tombstoned, .unjail(operator: node))
        XCTAssertEqual(error?.message.contains("is tombstoned"), true)
        try ledger.setTime(unixMs: start - 1)
        refused(.clockBehind, .unjail(operator: other))
    }

    func testOwnersSignForTheirStake() throws {
        let ledger = try Ledger.inMemory()
        try found(ledger)
        _ = try ledger.own(id: id(10), account: ben, key: ownerKey(secret: secret))
        let signed = { (nonce: UInt64, request: EconomyRequest) in
            try signBatch(
                account: self.ben, nonce: nonce, expiresUnixMs: 4_102_444_800_000,
                operations: [.economy(id: self.id(11), request: request)], secret: self.secret)
        }
        _ = try ledger.executeSigned(batch: signed(1, bond("5")))
        XCTAssertEqual(try ledger.economy().receipt(id: id(11))?.amount, "5")
        let set = EconomyRequest.setParameter(name: "earning.fees.treasury", value: "0")
        assertFails(.hostOnly) { try ledger.executeSigned(batch: signed(2, set)) }
    }
}
