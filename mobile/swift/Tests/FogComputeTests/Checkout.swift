import FogCompute
import Foundation
import XCTest

/// The files of the checkout that tests read.
enum Checkout {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent()  // FogComputeTests, Tests
        .deletingLastPathComponent().deletingLastPathComponent()  // swift, mobile
        .deletingLastPathComponent()

    static func vectors() throws -> JSON {
        let file = root.appendingPathComponent("bindings/vectors/shared.json")
        return try JSONDecoder().decode(JSON.self, from: Data(contentsOf: file))
    }

    static func endless() throws -> Data {
        try Data(contentsOf: root.appendingPathComponent("bindings/vectors/endless.wasm"))
    }

    static func example(_ name: String) throws -> Data {
        try Data(contentsOf: root.appendingPathComponent("examples/wasm/\(name).wasm"))
    }
}

/// A JSON value. What is not of the kind that a test asks for ends the test.
enum JSON: Decodable {
    case null
    case bool(Bool)
    case number(Double)
    case text(String)
    case list([JSON])
    case object([String: JSON])

    init(from decoder: Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self = .null
        } else if let bool = try? value.decode(Bool.self) {
            self = .bool(bool)
        } else if let number = try? value.decode(Double.self) {
            self = .number(number)
        } else if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let list = try? value.decode([JSON].self) {
            self = .list(list)
        } else {
            self = .object(try value.decode([String: JSON].self))
        }
    }

    struct Other: Error {
        let wanted: String
        let found: JSON
    }

    /// A field; absent and null are the same.
    subscript(field: String) -> JSON {
        guard case .object(let fields) = self else { return .null }
        return fields[field] ?? .null
    }

    var isNull: Bool {
        if case .null = self { return true }
        return false
    }

    func fields() throws -> [String: JSON] {
        guard case .object(let fields) = self else { throw Other(wanted: "object", found: self) }
        return fields
    }

    func list() throws -> [JSON] {
        guard case .list(let list) = self else { throw Other(wanted: "list", found: self) }
        return list
    }

    func text() throws -> String {
        guard case .text(let text) = self else { throw Other(wanted: "text", found: self) }
        return text
    }

    func bool() throws -> Bool {
        guard case .bool(let bool) = self else { throw Other(wanted: "bool", found: self) }
        return bool
    }

    func double() throws -> Double {
        guard case .number(let number) = self else { throw Other(wanted: "number", found: self) }
        return number
    }

    func integer<Number: FixedWidthInteger>() throws -> Number {
        guard let number = Number(exactly: try double()) else {
            throw Other(wanted: "integer", found: self)
        }
        return number
    }

    /// Nothing for null, else what `read` makes of it.
    func maybe<Value>(_ read: (JSON) throws -> Value) rethrows -> Value? {
        isNull ? nil : try read(self)
    }

    func bytes() throws -> Data {
        guard let bytes = Data(hex: try text()) else { throw Other(wanted: "hex", found: self) }
        return bytes
    }
}

extension Data {
    init?(hex: String) {
        let digits = Array(hex.utf8)
        guard digits.count.isMultiple(of: 2) else { return nil }
        self.init(capacity: digits.count / 2)
        for at in stride(from: 0, to: digits.count, by: 2) {
            guard let byte = UInt8(String(decoding: digits[at...at + 1], as: UTF8.self), radix: 16)
            else { return nil }
            append(byte)
        }
    }

    var hex: String { map { String(format: "%02x", $0) }.joined() }
}

extension ErrorCode {
    /// The name all languages share: `invalidArgument` is `InvalidArgument`.
    var sharedName: String {
        let name = String(describing: self)
        return name.prefix(1).uppercased() + name.dropFirst()
    }
}

/// Runs something that must throw a `FogError` of one code, and returns it.
@discardableResult
func assertFails<Value>(
    _ code: ErrorCode, _ what: String = "",
    file: StaticString = #filePath, line: UInt = #line,
    _ call: () throws -> Value
) -> FogError? {
    do {
        _ = try call()
        XCTFail("should fail with \(code) \(what)", file: file, line: line)
    } catch let error as FogError {
        XCTAssertEqual(error.code, code, "\(what) \(error.message)", file: file, line: line)
        return error
    } catch {
        XCTFail("\(error) is no FogError \(what)", file: file, line: line)
    }
    return nil
}

/// The same for something that waits.
@discardableResult
func assertFails<Value>(
    _ code: ErrorCode, _ what: String = "",
    file: StaticString = #filePath, line: UInt = #line,
    _ call: () async throws -> Value
) async -> FogError? {
    let result: Result<Value, Error>
    do { result = .success(try await call()) } catch { result = .failure(error) }
    return assertFails(code, what, file: file, line: line) { try result.get() }
}
