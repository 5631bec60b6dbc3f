import Keys
import Testing
import Tokenization
import VaultCrypto

func makeTokenizer(domain: String = "ip", version: UInt32 = 1, key: UInt8 = 7) throws -> Tokenizer {
    let subkey = try SecretBytes(copying: [UInt8](repeating: key, count: 32).span)
    return try Tokenizer(domain: domain, version: try #require(KeyVersion(version)), subkey: subkey)
}

@Suite("Tokens")
struct TokenTests {
    @Test(
        "A token's text reads back as the same token",
        arguments: [
            ("ip", 1, 0), ("ip_net", 4_294, UInt128.max), ("device_id", 2_147_483_647, 1), ("a_v", 1, 1 << 127),
        ] as [(String, UInt32, UInt128)])
    func roundTrip(_ domain: String, _ version: UInt32, _ bits: UInt128) throws {
        let token = Token(domain: domain, version: try #require(KeyVersion(version)), bits: bits)
        #expect(Token(token.text) == token)
        #expect("\(token)" == token.text)
    }

    @Test("The text is domain, version and 32 digits")
    func text() throws {
        let bits: UInt128 = 0x9f86_d081_884c_7d65_9a2f_eaa0_c55a_d015
        #expect(
            Token(domain: "ip", version: try #require(KeyVersion(1)), bits: bits).text
                == "ip_v1_9f86d081884c7d659a2feaa0c55ad015")
    }

    @Test(
        "Text of any other form is no token",
        arguments: [
            "", "ip", "ip_v1_", "ip_v1_9f86d081884c7d659a2feaa0c55ad01", "ip_v1_9f86d081884c7d659a2feaa0c55ad0155",
            "ip_v1_9F86d081884c7d659a2feaa0c55ad015", "ip_v0_9f86d081884c7d659a2feaa0c55ad015",
            "ip_v01_9f86d081884c7d659a2feaa0c55ad015", "ip_v_9f86d081884c7d659a2feaa0c55ad015",
            "ip_v4294967296_9f86d081884c7d659a2feaa0c55ad015", "ip_v99999999999_9f86d081884c7d659a2feaa0c55ad015",
            "ip_1_9f86d081884c7d659a2feaa0c55ad015", "_v1_9f86d081884c7d659a2feaa0c55ad015",
            "IP_v1_9f86d081884c7d659a2feaa0c55ad015", "ip_v2_v1_9f86d081884c7d659a2feaa0c55ad015",
            "ip_v1-9f86d081884c7d659a2feaa0c55ad015", " ip_v1_9f86d081884c7d659a2feaa0c55ad015",
            "ip_v1_9f86d081884c7d659a2feaa0c55ad015\n", "ip_v1_9f86d081-884c-7d65-9a2f-eaa0c55ad015",
        ])
    func refused(_ text: String) {
        #expect(Token(text) == nil)
    }

    @Test("Equal values have equal tokens whatever their spelling; others do not")
    func equality() throws {
        let tokenizer = try makeTokenizer()
        let spellings = try ["192.0.2.1", " 192.0.2.1\n", "::ffff:192.0.2.1", "::FFFF:C000:201"].map {
            tokenizer.token(of: try NormalizedValue(Array($0.utf8).span, kind: .ip))
        }
        #expect(Set(spellings).count == 1)
        let other = tokenizer.token(of: try NormalizedValue(Array("192.0.2.2".utf8).span, kind: .ip))
        #expect(other != spellings[0])
    }

    @Test("The bytes appended for COPY are those of the text")
    func appended() throws {
        let tokenizer = try makeTokenizer(domain: "device_id", version: 12)
        let token = tokenizer.token(of: try NormalizedValue(Array("593-47-5928".utf8).span, kind: .opaque))
        var output: [UInt8] = [1]
        tokenizer.appendText(of: token.bits, to: &output)
        #expect(output == [1] + Array(token.text.utf8))
        let count = tokenizer.textByteCount
        #expect(output.count == 1 + count)
    }

    @Test("Another subkey gives another token")
    func keys() throws {
        let value = try NormalizedValue(Array("192.0.2.1".utf8).span, kind: .ip)
        let (one, other) = (try makeTokenizer(key: 7).bits(of: value), try makeTokenizer(key: 8).bits(of: value))
        #expect(one != other)
    }
}
