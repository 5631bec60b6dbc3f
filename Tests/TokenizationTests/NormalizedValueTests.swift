import Testing
import Tokenization

func normalized(_ text: String, _ kind: ValueKind) throws -> String {
    String(decoding: try NormalizedValue(Array(text.utf8).span, kind: kind).bytes, as: UTF8.self)
}

@Suite("Normalised values")
struct NormalizedValueTests {
    @Test(
        "An address has one spelling",
        arguments: [
            ("192.0.2.1", "192.0.2.1", "192.0.2.0/24"),
            (" \t192.0.2.255\r\n", "192.0.2.255", "192.0.2.0/24"),
            ("0.0.0.0", "0.0.0.0", "0.0.0.0/24"),
            ("255.255.255.255", "255.255.255.255", "255.255.255.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.0/24"),
            ("::FFFF:C000:0207", "192.0.2.7", "192.0.2.0/24"),
            ("2001:DB8:0:0:0:0:0:1", "2001:db8::1", "2001:db8::/48"),
            ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", "2001:db8::/48"),
            ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1", "2001::/48"),
            ("2001:db8:85a3:8d3:1319:8a2e:370:7348", "2001:db8:85a3:8d3:1319:8a2e:370:7348", "2001:db8:85a3::/48"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1", "2001:db8::/48"),
            ("0:0:1:1:1:1:1:1", "::1:1:1:1:1:1", "0:0:1::/48"),
            ("1:1:1:1:1:1:0:0", "1:1:1:1:1:1::", "1:1:1::/48"),
            ("fe80::", "fe80::", "fe80::/48"),
            ("::", "::", "::/48"),
            ("::1", "::1", "::/48"),
            ("::1.2.3.4", "::102:304", "::/48"),
            ("::1.2.0.0", "::102:0", "::/48"),
            ("::1:2:3", "::1:2:3", "::/48"),
            ("64:ff9b::192.0.2.33", "64:ff9b::c000:221", "64:ff9b::/48"),
            ("::ffff:0:192.0.2.1", "::ffff:0:c000:201", "::/48"),
        ])
    func addresses(_ raw: String, _ text: String, _ network: String) throws {
        let value = try NormalizedValue(Array(raw.utf8).span, kind: .ip)
        #expect(String(decoding: value.bytes, as: UTF8.self) == text)
        #expect(value.network.map { String(decoding: $0.bytes, as: UTF8.self) } == network)
        #expect(try normalized(text, .ip) == text, "the spelling is its own")
    }

    @Test(
        "What is no address is refused",
        arguments: [
            "192.0.2", "192.0.2.1.1", "192.0.2.256", "192.0.02.1", "192.0.2.01", "00.0.0.0", "0x7f.0.0.1", "3221225985",
            "192.0.2.1/24", "192.0.2.1:80", "[::1]", "[::1]:80", "fe80::1%eth0", "2001:db8::/48", "2001:db8::1::2",
            "2001:db8:0:0:0:0:0:0:1", ":1", "12345::", "00001::", "g::", "1.2.3.4 5", "１９２.0.2.1", "::ffff:192.0.2.01",
            "localhost", "192.0.2.-1", "+1.2.3.4", "1234567890123456789012345678901234567890123456",
        ])
    func noAddresses(_ raw: String) {
        #expect(throws: NormalizationError.invalid(.ip)) { try normalized(raw, .ip) }
    }

    @Test(
        "Kinds normalise as docs/FORMATS.md has it",
        arguments: [
            (ValueKind.opaque, "  593-47-5928\n", "593-47-5928"), (.opaque, "A b", "A b"),
            (.opaque, "e\u{301}", "e\u{301}"),
            (.opaque, "\u{A0}x", "\u{A0}x"), (.lowercase, "ÀÉ", "àé"), (.lowercase, "E\u{301}", "\u{E9}"),
            (.lowercase, "ΟΔΟΣ", "οδοσ"), (.lowercase, "STRASSE ẞ", "strasse ß"), (.lowercase, "İI", "i\u{307}i"),
            (.lowercase, "\u{212B}", "\u{E5}"),
            (.lowercase, "\u{AC00}\u{11A8}", "\u{AC01}"), (.lowercase, "\u{1100}\u{1161}\u{11A8}", "\u{AC01}"),
            (.email, " Ada@Example.ORG ", "ada@example.org"),
            (.email, "ÅSA@example.org", "åsa@example.org"), (.mac, "00-1A-2B-3C-4D-5E", "00:1a:2b:3c:4d:5e"),
            (.mac, "001A2B3C4D5E", "00:1a:2b:3c:4d:5e"), (.mac, "001a.2b3c.4d5E", "00:1a:2b:3c:4d:5e"),
            (.mac, "00:1A:2b:3C:4d:5E", "00:1a:2b:3c:4d:5e"),
        ])
    func kinds(_ kind: ValueKind, _ raw: String, _ text: String) throws {
        #expect(Array(try normalized(raw, kind).utf8) == Array(text.utf8))
        #expect(Array(try normalized(text, kind).utf8) == Array(text.utf8), "the spelling is its own")
    }

    @Test(
        "E-mail and MAC addresses of other form are refused",
        arguments: [
            (ValueKind.email, "ada"), (.email, "a@b@c"), (.email, "@b"), (.email, "a@"), (.email, "a b@c"),
            (.email, "a@b\tc"), (.email, "a@b\u{7F}"), (.mac, "00:1a:2b:3c:4d"), (.mac, "00:1a-2b:3c-4d:5e"),
            (.mac, "00:1a:2b:3c:4d:5g"), (.mac, "001a2b.3c4d5e"), (.mac, "001a.2b3c:4d5e"), (.mac, "0:1a:2b:3c:4d:5e0"),
            (.mac, "00:1a:2b:3c:4d:5e:"), (.mac, "001a2b3c4d5"),
        ])
    func refusedForms(_ kind: ValueKind, _ raw: String) {
        let error = #expect(throws: NormalizationError.self) { try normalized(raw, kind) }
        #expect(error == .invalid(kind))
        #expect(error.map { "\($0)".contains(raw) } == false)
    }

    @Test("Length, emptiness, NUL and encoding are checked for every kind", arguments: ValueKind.allCases)
    func commonRules(_ kind: ValueKind) throws {
        #expect(throws: NormalizationError.empty) { try normalized("", kind) }
        #expect(throws: NormalizationError.empty) { try normalized(" \t\n\u{B}\u{C}\r", kind) }
        #expect(throws: NormalizationError.nulCharacter) { try normalized("1.2.3.4\0", kind) }
        #expect(throws: NormalizationError.tooLong) { try normalized(String(repeating: "x", count: 1025), kind) }
        for bytes: [UInt8] in [[0xFF], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0x61, 0xE2, 0x82]] {
            #expect(throws: NormalizationError.invalidUTF8) { try NormalizedValue(bytes.span, kind: kind) }
        }
    }

    @Test("A value of 1,024 bytes is accepted")
    func longest() throws {
        #expect(try normalized(String(repeating: "é", count: 512), .opaque).utf8.count == 1024)
    }

    @Test("Values of other kinds have no network")
    func noNetwork() throws {
        #expect(try NormalizedValue(Array("192.0.2.1".utf8).span, kind: .opaque).network == nil)
        let address = try NormalizedValue(Array("192.0.2.1".utf8).span, kind: .ip)
        #expect(address.network?.network == nil)
    }

    @Test("A value never prints itself")
    func redacted() throws {
        let value = try NormalizedValue(Array("192.0.2.1".utf8).span, kind: .ip)
        var dumped = ""
        dump(value, to: &dumped)
        for text in ["\(value)", String(reflecting: value), dumped, "\([value])", "\(Optional(value) as Any)"] {
            #expect(!text.contains("192") && !text.contains("49"))
        }
    }
}
