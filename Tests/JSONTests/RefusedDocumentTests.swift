import JSON
import Testing

@Suite("Refused documents")
struct RefusedDocumentTests {
    struct Refusal: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let bytes: [UInt8]
        let error: JSONError

        init(_ name: String, _ bytes: [UInt8], _ error: JSONError) {
            (testDescription, self.bytes, self.error) = (name, bytes, error)
        }

        init(_ name: String, _ text: String, _ error: JSONError) { self.init(name, Array(text.utf8), error) }
    }

    static let refusals: [Refusal] = [
        Refusal("nothing", "", .empty),
        Refusal("white space only", " \r\n\t", .empty),
        Refusal("byte order mark", [0xEF, 0xBB, 0xBF] + "{}".utf8, .malformed),
        Refusal("UTF-16", [0xFF, 0xFE, 0x7B, 0x00, 0x7D, 0x00], .invalidUTF8),
        Refusal("NUL outside a string", "{}\0", .malformed),
        Refusal("raw NUL in a string", "\"a\0b\"", .malformed),
        Refusal("raw newline in a string", "\"a\nb\"", .malformed),
        Refusal("invalid UTF-8 in a string", [0x22, 0xC3, 0x28, 0x22], .invalidUTF8),
        Refusal("overlong UTF-8", [0x22, 0xC0, 0xAF, 0x22], .invalidUTF8),
        Refusal("surrogate written in UTF-8", [0x22, 0xED, 0xA0, 0x80, 0x22], .invalidUTF8),
        Refusal("lone high surrogate", #""\ud800""#, .malformed),
        Refusal("lone low surrogate", #""\udc00""#, .malformed),
        Refusal("two high surrogates", #""\ud800\ud800""#, .malformed),
        Refusal("unknown escape", #""\x41""#, .malformed),
        Refusal("truncated escape", #""\u12"#, .malformed),
        Refusal("open string", #"{"a":"b"#, .malformed),
        Refusal("open object", #"{"a":1"#, .malformed),
        Refusal("open array", "[1,2", .malformed),
        Refusal("trailing comma", "[1,]", .malformed),
        Refusal("missing comma", "[1 2]", .malformed),
        Refusal("missing colon", #"{"a" 1}"#, .malformed),
        Refusal("number as a name", "{1:2}", .malformed),
        Refusal("single quotes", "{'a':1}", .malformed),
        Refusal("comment", "[1 /* one */]", .malformed),
        Refusal("two values", "{} {}", .malformed),
        Refusal("trailing text", "{}x", .malformed),
        Refusal("misspelt null", "nul", .malformed),
        Refusal("upper-case true", "True", .malformed),
        Refusal("NaN", "[NaN]", .malformed),
        Refusal("leading zero", "[01]", .malformed),
        Refusal("leading plus", "[+1]", .malformed),
        Refusal("bare minus", "[-]", .malformed),
        Refusal("no digit after the point", "[1.]", .malformed),
        Refusal("no digit in the exponent", "[1e]", .malformed),
        Refusal("hexadecimal", "[0x10]", .malformed),
        Refusal("1e999", "[1e999]", .numberOutOfRange),
        Refusal("-1e999", "-1e999", .numberOutOfRange),
        Refusal("2^64", "18446744073709551616", .numberOutOfRange),
        Refusal("same name twice", #"{"a":1,"a":1}"#, .duplicateKey),
        Refusal("same name, once escaped", #"{"a":1,"\u0061":2}"#, .duplicateKey),
        Refusal("same name deep inside", #"[{"x":{"b":1,"c":2,"b":3}}]"#, .duplicateKey),
        Refusal("empty name twice", #"{"":1,"":2}"#, .duplicateKey),
        Refusal("65 arrays deep", nested(65), .tooDeep),
        Refusal("10,000 arrays deep", nested(10_000), .tooDeep),
        Refusal("10,000 arrays opened", String(repeating: "[", count: 10_000), .malformed),
        Refusal("65 objects deep", nestedObjects(65), .tooDeep),
        Refusal("one byte too long", [UInt8](repeating: 0x20, count: JSONParser.maximumByteCount + 1), .tooLarge),
    ]

    static func nested(_ depth: Int) -> String {
        String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    }

    static func nestedObjects(_ depth: Int) -> String {
        String(repeating: #"{"a":"#, count: depth) + "0" + String(repeating: "}", count: depth)
    }

    @Test("Each is refused for its reason", arguments: refusals)
    func refused(_ refusal: Refusal) throws {
        var parser = try JSONParser()
        let error = #expect(throws: JSONError.self) { try parser.parse(refusal.bytes.span) }
        #expect(error == refusal.error)
        #expect(Tree(parser.root, of: parser) == .null, "nothing of a refused document can be read")
    }

    @Test("After a refusal the parser parses the next document")
    func recovers() throws {
        var parser = try JSONParser()
        for refusal in Self.refusals {
            _ = try? parser.parse(refusal.bytes.span)
            try parser.parse(Array(#"{"a":[1,"x"]}"#.utf8).span)
            #expect(Tree(parser.root, of: parser) == .object(["a": .array([.integer(1), .string("x")])]))
        }
    }

    @Test("A hundred thousand names are checked for duplicates in well under a second")
    func duplicatesInLargeObject() throws {
        let names = (0..<100_000).map { "\"key\($0)\":0" }
        var parser = try JSONParser()
        let clock = ContinuousClock()
        let elapsed = try clock.measure { try parser.parse(Array("{\(names.joined(separator: ","))}".utf8).span) }
        #expect(elapsed < .seconds(5))

        let repeated = Array("{\((names + ["\"key7\":1"]).joined(separator: ","))}".utf8)
        #expect(throws: JSONError.duplicateKey) { try parser.parse(repeated.span) }
    }

    @Test("Every truncation of a document is refused")
    func truncations() throws {
        let document = Array(#"{"a":[1,-2.5e3,"é\n\ud83d\ude00",true],"b":{"c":null}}"#.utf8)
        var parser = try JSONParser()
        try parser.parse(document.span)
        for count in 0..<document.count {
            #expect(throws: JSONError.self, "\(count) bytes") { try parser.parse(Array(document[..<count]).span) }
        }
    }

    @Test("The reasons say what to do, in one line")
    func descriptions() {
        for refusal in Self.refusals {
            #expect(!refusal.error.description.contains("\n"))
            #expect(refusal.error.description.count > 20)
        }
    }
}
