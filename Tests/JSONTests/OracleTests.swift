import Foundation
import JSON
import Testing

/// What Foundation makes of a document.
private struct OracleTree: Decodable {
    let tree: Tree

    init(from decoder: any Decoder) throws {
        if let members = try? decoder.container(keyedBy: Name.self) {
            var object: [String: Tree] = [:]
            for key in members.allKeys { object[key.stringValue] = try members.decode(Self.self, forKey: key).tree }
            tree = .object(object)
            return
        }
        if var elements = try? decoder.unkeyedContainer() {
            var array: [Tree] = []
            while !elements.isAtEnd { array.append(try elements.decode(Self.self).tree) }
            tree = .array(array)
            return
        }
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            tree = .null
        } else if let bool = try? value.decode(Bool.self) {
            tree = .bool(bool)
        } else if let text = try? value.decode(String.self) {
            tree = .string(text)
        } else if let integer = try? value.decode(Int64.self) {
            tree = .integer(integer)
        } else {
            _ = try value.decode(Double.self)
            tree = .number
        }
    }

    private struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { return nil }
    }

    /// Where Foundation is known to accept what RFC 8259 does not: UTF-16 and UTF-32, guessed by their NULs, and a comma
    /// after an array's last element.
    static func isLax(_ bytes: [UInt8]) -> Bool {
        if bytes.contains(0) { return true }
        let solid = bytes.filter { ![0x09, 0x0A, 0x0D, 0x20].contains($0) }
        return zip(solid, solid.dropFirst()).contains { $0 == UInt8(ascii: ",") && $1 == UInt8(ascii: "]") }
    }

    static func parse(_ bytes: [UInt8]) -> Tree? {
        try? JSONDecoder().decode(Self.self, from: Data(bytes)).tree
    }
}

extension Tree {
    /// Foundation reads 1.0 as the integer 1; which of the two we say is tested elsewhere.
    func agrees(with oracle: Tree) -> Bool {
        switch (self, oracle) {
        case (.number, .integer), (.number, .number): true
        case (.array(let ours), .array(let theirs)):
            ours.count == theirs.count && zip(ours, theirs).allSatisfy { $0.agrees(with: $1) }
        case (.object(let ours), .object(let theirs)):
            ours.count == theirs.count && ours.allSatisfy { theirs[$0.key].map($0.value.agrees(with:)) ?? false }
        default: self == oracle
        }
    }
}

/// Documents without end, the same on every run.
private struct DocumentSource {
    var state: UInt64

    mutating func below(_ limit: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return Int((mixed ^ mixed >> 31) % UInt64(limit))
    }

    mutating func document(depth: Int = 4) -> String {
        let space = ["", "", "", " ", "\n", "\t", "\r\n"][below(7)]
        switch below(depth == 0 ? 5 : 7) {
        case 0: return space + ["null", "true", "false"][below(3)]
        case 1: return "\(below(1 << 40) - 1 << 39)" + space
        case 2: return ["0", "-0", "1.5", "-2e3", "1E+2", "0.0e-1", "9223372036854775808"][below(7)]
        case 3, 4: return string()
        case 5: return "[\(space)" + (0..<below(5)).map { _ in document(depth: depth - 1) }.joined(separator: ",") + "]"
        default:
            let members = (0..<below(6)).map { "\"k\($0)\(escape())\":" + document(depth: depth - 1) }
            return "{" + members.joined(separator: "," + space) + "}"
        }
    }

    private mutating func string() -> String { "\"" + (0..<below(8)).map { _ in escape() }.joined() + "\"" }

    private mutating func escape() -> String {
        let parts = [
            "a", "é", "😀", "\u{7F}", "\\n", "\\\"", "\\\\", "\\/", "\\u0000", "\\u00e9", "\\ud83d\\ude00", "\\uFFFF",
            "日本",
            "\\b\\f\\r\\t", "x y",
        ]
        return parts[below(parts.count)]
    }

    mutating func damaged(_ document: String) -> [UInt8] {
        var bytes = Array(document.utf8)
        let place = below(bytes.count)
        switch below(4) {
        case 0: bytes[place] = UInt8(truncatingIfNeeded: below(256))
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(Array("\"\\{}[],:0-.eE \n\0\u{1}".utf8)[below(17)], at: place)
        default: bytes.removeLast(place + 1)
        }
        return bytes
    }
}

@Suite("Agreement with Foundation's decoder")
struct OracleTests {
    @Test("Documents mean the same", arguments: 0..<8)
    func generated(_ seed: Int) throws {
        var source = DocumentSource(state: UInt64(seed) << 32)
        for _ in 0..<250 {
            let document = source.document()
            let ours = try Tree(parsing: Array(document.utf8))
            let oracle = try #require(OracleTree.parse(Array(document.utf8)), "\(document)")
            #expect(ours.agrees(with: oracle), "\(document)")
        }
    }

    /// Both must refuse, or both read the same. Where only we refuse, it is for a rule of ours.
    @Test("Damaged documents are refused, or mean the same", arguments: 0..<8)
    func damaged(_ seed: Int) throws {
        var source = DocumentSource(state: UInt64(seed) << 32 | 1)
        var refused = 0
        for _ in 0..<500 {
            let bytes = source.damaged(source.document())
            let text = String(decoding: bytes, as: UTF8.self)
            do {
                let ours = try Tree(parsing: bytes)
                let oracle = OracleTree.parse(bytes)
                #expect(oracle.map(ours.agrees(with:)) == true, "only we accept \(text.debugDescription)")
            } catch let error as JSONError {
                refused += 1
                let isOurRule = [.duplicateKey, .numberOutOfRange, .tooDeep].contains(error)
                if OracleTree.isLax(bytes) { continue }
                #expect(
                    isOurRule || OracleTree.parse(bytes) == nil, "only we refuse \(text.debugDescription): \(error)")
            }
        }
        #expect(refused > 100, "the damage is real")
    }

    @Test("What we refuse, Foundation refuses, but for our own rules")
    func refusals() {
        for refusal in RefusedDocumentTests.refusals {
            guard refusal.error == .malformed || refusal.error == .invalidUTF8 || refusal.error == .empty else {
                continue
            }
            if refusal.testDescription == "byte order mark" || OracleTree.isLax(refusal.bytes) { continue }
            #expect(OracleTree.parse(refusal.bytes) == nil, "\(refusal.testDescription)")
        }
    }
}
