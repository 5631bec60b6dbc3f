import Testing
import VaultCrypto

@Suite("Encodings have one form only")
struct EncodingTests {
    @Test(
        "RFC 4648: base64",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ])
    func base64(plain: String, encoded: String) {
        #expect(Base64.encode(Array(plain.utf8)) == encoded)
        #expect(Base64.decode(encoded) == Array(plain.utf8))
        #expect(Base64.encodedByteCount(plain.utf8.count) == encoded.utf8.count)
    }

    @Test(
        "Base64 that does not re-encode to itself is refused",
        arguments: [
            "Zg", "Zg=", "Zh==", "Zm9=", "Zg==\n", " Zg==", "Zg== ", "Z g==", "====", "=", "Zg==Zg==", "Zm9_", "Zm9-",
            "Zm9v=", "Zm9v====", "Z===", "Zg=a", "Zm\u{0}v",
        ])
    func badBase64(text: String) {
        #expect(Base64.decode(text) == nil)
        var refused = false
        do throws(CryptoError) { _ = try Base64.decodeSecret(Array(text.utf8).span) } catch { refused = true }
        #expect(refused)
    }

    @Test("A secret goes through base64 without growing its buffer")
    func base64Secret() throws {
        let secret = try SecretBytes(randomCount: 32)
        var text: [UInt8] = []
        text.reserveCapacity(Base64.encodedByteCount(32) + 1)
        let before = unsafe text.withUnsafeBufferPointer { $0.baseAddress }
        secret.withBytes { Base64.append($0, to: &text) }
        let after = unsafe text.withUnsafeBufferPointer { $0.baseAddress }
        #expect(unsafe before == after)
        let isEqual = try Base64.decodeSecret(text.span).isEqual(to: secret)
        #expect(isEqual)
    }

    @Test("Hex is lower-case and even")
    func hexadecimal() {
        let all = (0...255).map { UInt8($0) }
        #expect(Hex.decode(Hex.encode(all)) == all)
        #expect(Hex.encode([0x00, 0x9f, 0xa0]) == "009fa0")
        for text in ["0", "0G", "AB", "0x", " 0", "é"] { #expect(Hex.decode(text) == nil) }
    }

    @Test("A 16-byte id is 32 digits, most significant first")
    func ids() throws {
        let text = "00112233445566778899aabbccddeeff"
        let number = try #require(Hex.decodeUInt128(text))
        #expect(number == 0x0011_2233_4455_6677_8899_AABB_CCDD_EEFF)
        #expect(Hex.encode(number) == text)
        #expect(number.bigEndianBytes == Hex.decode(text))
        #expect(UInt128(bigEndianBytes: number.bigEndianBytes) == number)
        #expect(UInt128(bigEndianBytes: [1]) == nil)
        var appended: [UInt8] = [1]
        Hex.append(number, to: &appended)
        #expect(appended == [1] + Array(text.utf8))
        for bad in ["", String(text.dropLast()), text + "0", text.uppercased()] {
            #expect(Hex.decodeUInt128(bad) == nil)
        }
    }

    @Test("Fields carry their lengths; NULL is not the empty text")
    func fields() throws {
        var encoder = FieldEncoder(label: "ab")
        encoder.append(u32: 1)
        encoder.append(i64: -2)
        encoder.append("é")
        encoder.append([UInt8]())
        encoder.appendNull()
        encoder.append(uuid: 3)
        #expect(
            Hex.encode(encoder.bytes)
                == "00000002" + "6162" + "00000004" + "00000001" + "00000008" + "fffffffffffffffe" + "00000002" + "c3a9"
                + "00000000" + "ffffffff" + "00000010" + "00000000000000000000000000000003")
    }

    @Test("Random ids differ")
    func randomIDs() {
        #expect(Set((0..<1000).map { _ in RandomBytes.uuid() }).count == 1000)
        #expect(RandomBytes.fill(0).isEmpty)
    }

    @Test("Comparison in constant time tells lengths and bytes apart")
    func constantTime() {
        #expect(ConstantTime.equal([1, 2], [1, 2]))
        #expect(!ConstantTime.equal([1, 2], [1, 3]))
        #expect(!ConstantTime.equal([1, 2], [1, 2, 0]))
        #expect(ConstantTime.equal([], []))
    }
}

@Suite("One HMAC key serves many threads")
struct SharedHMACTests {
    private final class Shared: Sendable {
        let key: HMACKey

        init() throws { key = try HMACKey(key: try SecretBytes(copying: [UInt8](repeating: 7, count: 32).span)) }
    }

    @Test("Codes made at once are the codes made one after the other")
    func concurrent() async throws {
        let shared = try Shared()
        let messages = (0..<200).map { Array("message \($0)".utf8) }
        let expected = messages.map { shared.key.code128(for: $0.span) }
        await withTaskGroup(of: [UInt128].self) { group in
            for _ in 0..<8 { group.addTask { messages.map { shared.key.code128(for: $0.span) } } }
            for await codes in group { #expect(codes == expected) }
        }
    }
}
