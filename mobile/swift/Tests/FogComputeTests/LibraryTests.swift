import FogCompute
import Foundation
import XCTest

/// Errors, arguments that make no sense, values.
final class LibraryTests: XCTestCase {
    func testAPanicBecomesAnError() throws {
        let error = assertFails(.panic) { try panicOnPurpose() }
        XCTAssertEqual(error?.message, "panic on purpose")
        XCTAssertEqual(error?.code.rawValue, 101)
        // And the process lives.
        XCTAssertFalse(version().isEmpty)
    }

    func testAnErrorsDescriptionIsItsMessage() throws {
        let error = assertFails(.invalidArgument) { try PrivateKey.fromBytes(bytes: Data([1])) }
        XCTAssertEqual(error?.localizedDescription, "key has 1 bytes, must have 32")
    }

    func testKeysAndSizesThatMakeNoSenseAreRefused() throws {
        for length in [0, 31, 33] {
            assertFails(.invalidArgument) { try PrivateKey.fromBytes(bytes: Data(count: length)) }
        }
        for size: UInt32 in [0, 511, 65_537, .max] {
            assertFails(.invalidArgument) { try Sphinx(payloadBytes: size) }
        }
        let sphinx = try Sphinx()
        XCTAssertEqual(sphinx.payloadBytes(), 2048)
        let key = Data(repeating: 9, count: 32)
        for hop in [
            Hop(node: "short", key: key, delayMs: 0),
            Hop(node: String(repeating: "zz", count: 32), key: key, delayMs: 0),
            Hop(node: String(repeating: "0a", count: 32), key: Data(count: 5), delayMs: 0),
        ] {
            assertFails(.invalidArgument) { try sphinx.build(route: [hop], payload: Data()) }
        }
    }

    func testALedgersFileIsKeptAndOwned() throws {
        let folder = FileManager.default.temporaryDirectory
            .appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let path = folder.appendingPathComponent("ledger.db").path
        let mint = String(repeating: "01", count: 16)
        assertFails(.storageMissing) { try Ledger.openWith(path: path, create: false) }
        XCTAssertFalse(FileManager.default.fileExists(atPath: path))
        do {
            let ledger = try Ledger.open(path: path)
            _ = try ledger.openAccount(account: mint, kind: .issuer)
            assertFails(.storageLocked) { try Ledger.open(path: path) }
        }
        let again = try Ledger.openWith(path: path, create: false)
        XCTAssertEqual(try again.account(account: mint).kind, .issuer)
        let nowhere = folder.appendingPathComponent("none/x.db").path
        assertFails(.storageNoFolder) { try Ledger.open(path: nowhere) }
        let other = folder.appendingPathComponent("text.db")
        try Data(String(repeating: "no database. ", count: 99).utf8).write(to: other)
        assertFails(.storageForeign) { try Ledger.open(path: other.path) }
    }

    func testTextOutsideAsciiGoesThrough() throws {
        let text = "größe = \"🌫\""
        let error = assertFails(.invalidPolicy) { try HarvestPolicy.fromToml(text: text) }
        XCTAssertEqual(error?.message.contains("größe"), true)
    }

    func testValuesAreCodable() throws {
        let state = DeviceState(
            deviceClass: .phone, battery: .present(levelPercent: 50, charging: true),
            network: .wifi)
        let json = try JSONEncoder().encode(state)
        XCTAssertEqual(try JSONDecoder().decode(DeviceState.self, from: json), state)
    }
}
