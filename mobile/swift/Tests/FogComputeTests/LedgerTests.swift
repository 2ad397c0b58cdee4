import FogCompute
import Foundation
import XCTest

/// What the ledger does beside single transfers.
final class LedgerTests: XCTestCase {
    private let mint = String(repeating: "0a", count: 16)
    private let ana = String(repeating: "0b", count: 16)
    private let ben = String(repeating: "0c", count: 16)
    private let never: UInt64 = 4_102_444_800_000
    private let secret = Data(repeating: 7, count: 32)

    private func id(_ n: Int) -> String {
        let digits = String(n, radix: 16)
        return String(repeating: "0", count: 32 - digits.count) + digits
    }

    private func pay(_ n: Int, _ amount: String, memo: Memo? = nil) -> LedgerOperation {
        .transfer(id: id(n), from: ana, to: ben, amount: amount, memo: memo)
    }

    /// Ana has 10 of what the mint gave out: 4 entries.
    private func funded() throws -> Ledger {
        let ledger = try Ledger.inMemory()
        _ = try ledger.execute(operations: [
            .open(account: mint, kind: .issuer),
            .open(account: ana, kind: .holder),
            .open(account: ben, kind: .holder),
            .transfer(id: id(1), from: mint, to: ana, amount: "10"),
        ])
        return ledger
    }

    func testABatchIsAllOrNothing() throws {
        let ledger = try funded()
        let memo = Memo(code: 7, reference: Data(repeating: 1, count: 16))
        let receipts = try ledger.execute(operations: [
            pay(2, "1", memo: memo),
            .reserve(id: id(3), from: ana, to: ben, amount: "5", expiresUnixMs: never),
            .post(id: id(4), reservation: id(3), amount: "2"),
            .reserve(id: id(5), from: ana, to: ben, amount: "1"),
            .void(id: id(6), reservation: id(5)),
            pay(2, "1", memo: memo),
        ])
        XCTAssertEqual(receipts.map(\.replayed), [false, false, false, false, false, true])
        XCTAssertEqual(try ledger.balance(account: ben), "3")
        assertFails(.insufficientFunds) {
            try ledger.execute(operations: [self.pay(7, "1"), self.pay(8, "7")])
        }
        XCTAssertEqual(try ledger.balance(account: ben), "3")
        let history = try ledger.history(account: ben, after: 3)
        let kinds = ["transferred", "reserved", "posted", "reserved", "voided"]
        XCTAssertEqual(history.map(\.kind), kinds)
        XCTAssertEqual(history[0].memo, memo)
        XCTAssertEqual(history[1].expiresUnixMs, never)
        XCTAssertEqual([history[2].amount, history[2].released], ["2", "3"])
        XCTAssertEqual(try ledger.entry(id: id(3)), history[1])
        XCTAssertNil(try ledger.entry(id: id(99)))
        XCTAssertEqual(try ledger.entries(after: 8), Array(history.suffix(1)))
        XCTAssertEqual(try ledger.head().chain, history.last?.chain)
        XCTAssertEqual(try ledger.accounts(after: ana).map(\.id), [ben])
        XCTAssertEqual(try ledger.balanceAsOf(account: ana, sequence: 4)?.balance, "10")
        XCTAssertNil(try ledger.balanceAsOf(account: ana, sequence: 1))
        XCTAssertEqual(try ledger.balanceAsOfTime(account: ana, unixMs: never)?.balance, "7")
        XCTAssertEqual(try ledger.supply(), "10")
    }

    func testRefusalsHaveTheirCodes() throws {
        let ledger = try funded()
        assertFails(.batchEmpty) { try ledger.execute(operations: []) }
        assertFails(.zeroAmount) { try ledger.execute(operations: [self.pay(2, "0")]) }
        assertFails(.invalidArgument) { try ledger.execute(operations: [self.pay(2, "-1")]) }
        assertFails(.idReused) { try ledger.execute(operations: [self.pay(1, "1")]) }
        assertFails(.sameAccount) {
            try ledger.transfer(id: self.id(2), from: self.ana, to: self.ana, amount: "1")
        }
        assertFails(.accountInUse) {
            try ledger.closeAccount(id: self.id(2), account: self.ana)
        }
        assertFails(.notAnIssuer) {
            try ledger.limit(
                id: self.id(2), account: self.ana, limits: AccountLimits(maxSupply: "5"))
        }
        let limits = AccountLimits(spendPerDay: "5")
        _ = try ledger.limit(id: id(3), account: ana, limits: limits)
        XCTAssertEqual(try ledger.account(account: ana).limits, limits)
        let quota = assertFails(.quotaExceeded) {
            try ledger.execute(operations: [self.pay(4, "6")])
        }
        XCTAssertEqual(quota?.message.contains("of 6"), true)
        _ = try ledger.closeAccount(id: id(6), account: ben)
        assertFails(.accountClosed) { try ledger.execute(operations: [self.pay(7, "1")]) }
        XCTAssertTrue(try ledger.account(account: ben).closed)
    }

    func testOwnersSignAndAuditorsCheck() throws {
        let ledger = try funded()
        let key = try ownerKey(secret: secret)
        assertFails(.noOwner) { try ledger.nextNonce(account: self.ana) }
        _ = try ledger.own(id: id(2), account: ana, key: key)
        XCTAssertEqual(try ledger.owner(account: ana), key)
        let signed = try signBatch(
            account: ana, nonce: ledger.nextNonce(account: ana), expiresUnixMs: never,
            operations: [pay(3, "4")], secret: secret)
        XCTAssertEqual(try ledger.executeSigned(batch: signed).count, 1)
        assertFails(.signatureReplayed) { try ledger.executeSigned(batch: signed) }
        let forged = try signBatch(
            account: ana, nonce: 2, expiresUnixMs: never, operations: [pay(4, "1")],
            secret: Data(count: 32))
        assertFails(.signatureForged) { try ledger.executeSigned(batch: forged) }

        let checkpoint = try ledger.checkpoint(secret: secret)
        let stated = try verifyCheckpoint(checkpoint: checkpoint, key: key)
        XCTAssertEqual(stated.head, try ledger.head())
        XCTAssertEqual(try ledger.verifySince(checkpoint: checkpoint, key: key).entries, 7)
        assertFails(.checkpointForged) {
            try verifyCheckpoint(checkpoint: checkpoint, key: self.secret)
        }
        let missing = assertFails(.checkpointMissing) {
            try Ledger.inMemory().verifySince(checkpoint: checkpoint, key: key)
        }
        XCTAssertEqual(missing?.message.contains("ends at entry 0"), true)
    }

    func testALedgerIsCopiedAndWrittenAsText() throws {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = { (name: String) in folder.appendingPathComponent(name).path }
        let ledger = try Ledger.openWith(path: path("ledger"), durability: .normal)
        _ = try ledger.openAccount(account: mint, kind: .issuer)
        try ledger.snapshot()
        try ledger.checkIntegrity()
        XCTAssertEqual(try ledger.exportHistory(path: path("text"), format: .jsonLines), 1)
        assertFails(.storageExists) {
            try ledger.exportHistory(path: path("text"), format: .csv)
        }
        try ledger.backup(path: path("copy"))
        // The format had to be said, and in other languages was CSV whatever the name was.
        assertFails(.invalidArgument) { try ledger.exportHistory(path: path("other")) }
        XCTAssertEqual(try ledger.exportHistory(path: path("a.csv")), 1)
        try Ledger.inMemory().importHistory(path: path("a.csv"), format: .csv)
        let other = try Ledger.inMemory()
        assertFails(.invalidTranscript) {
            try other.importHistory(path: path("text"), format: .csv)
        }
        try other.importHistory(path: path("text"), format: .jsonLines)
        XCTAssertEqual(try other.head(), try ledger.head())
        XCTAssertEqual(try Ledger.open(path: path("copy")).verify().entries, 1)
    }
}
