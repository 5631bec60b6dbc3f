import JSON
import Testing

@Suite("Parsed documents")
struct DocumentTests {
    @Test("Members are found by name, children stand in order")
    func access() throws {
        var parser = try JSONParser()
        try parser.parse(Array(#"{"first":{"x":[1,[2],{}]},"second":"zwei","third":-3,"last":null}"#.utf8).span)
        let names = parser.children(of: parser.root).map { parser.key(of: $0) }
        #expect(names == ["first", "second", "third", "last"])

        let inner = parser.member("first", of: parser.root).flatMap { parser.member("x", of: $0) }
        let array = try #require(inner)
        let kinds = parser.children(of: array).map { parser.kind(of: $0) }
        #expect(kinds == [.integer, .array, .object])

        let second = parser.member("second", of: parser.root).flatMap { parser.string(of: $0) }
        #expect(second == "zwei")
        let nested = parser.member("x", of: parser.root)
        #expect(nested == nil, "names of inner objects do not count")
        let ofArray = parser.member("first", of: array)
        #expect(ofArray == nil)
        let textOfArray = parser.string(of: array)
        #expect(textOfArray == nil)
        let nameOfRoot = parser.key(of: parser.root)
        #expect(nameOfRoot.isEmpty)
    }

    @Test("Unescaped text may hold NUL and every plane")
    func text() throws {
        var parser = try JSONParser()
        try parser.parse(Array(#"{"\u00e9\"":"a\u0000b\/\ud83d\ude00"}"#.utf8).span)
        let first = parser.firstChild(of: parser.root)
        let child = try #require(first)
        let (key, bytes, count) = (
            parser.key(of: child), parser.bytes(of: child), parser.withText(of: child) { $0.count }
        )
        #expect(key == "é\"")
        #expect(bytes == Array("a\0b/😀".utf8))
        #expect(count == 8)
    }

    @Test(
        "Integers are those that fit 64 bits",
        arguments: [
            ("0", 0), ("-0", 0), ("9007199254740993", 9_007_199_254_740_993), ("9223372036854775807", Int64.max),
            ("-9223372036854775808", Int64.min),
        ])
    func integers(_ text: String, _ value: Int64) throws {
        #expect(try Tree(parsing: Array(text.utf8)) == .integer(value))
    }

    @Test(
        "Other numbers are numbers",
        arguments: ["9223372036854775808", "18446744073709551615", "1.0", "1e2", "-0.0"])
    func numbers(_ text: String) throws {
        #expect(try Tree(parsing: Array(text.utf8)) == .number)
    }

    @Test("64 levels are accepted")
    func deepest() throws {
        var tree = try Tree(parsing: Array(RefusedDocumentTests.nested(64).utf8))
        var depth = 0
        while case .array(let children) = tree {
            depth += 1
            tree = children.first ?? .null
        }
        #expect(depth == 64)
    }

    @Test("A 10 MB string is lent without a copy")
    func longString() throws {
        var parser = try JSONParser()
        let document = [UInt8(ascii: "\"")] + [UInt8](repeating: UInt8(ascii: "x"), count: 10_000_000)
        try parser.parse((document + [UInt8(ascii: "\"")]).span)
        let count = parser.withText(of: parser.root) { $0.count }
        #expect(count == 10_000_000)
    }

    @Test("A node of an earlier document reads as null")
    func staleNode() throws {
        var parser = try JSONParser()
        try parser.parse(Array(#"[1,2,3,"secret"]"#.utf8).span)
        let last = parser.children(of: parser.root).last
        let stale = try #require(last)
        try parser.parse(Array("[0]".utf8).span)
        #expect(Tree(stale, of: parser) == .null)
        let text = parser.string(of: stale)
        #expect(text == nil)
    }

    @Test("After wiping there is no document, and the parser goes on")
    func wipe() throws {
        var parser = try JSONParser()
        try parser.parse(Array(#"["secret"]"#.utf8).span)
        parser.wipe()
        #expect(Tree(parser.root, of: parser) == .null)
        try parser.parse(Array(#"["next"]"#.utf8).span)
        #expect(Tree(parser.root, of: parser) == .array([.string("next")]))
    }
}
