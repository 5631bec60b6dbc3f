import Testing

@testable import VaultCrypto

/// The vectors of the documents that define the algorithms, so that the tests mean something without our CI's files.
@Suite("Published vectors")
struct PublishedVectorTests {
    @Test(
        "RFC 4231: HMAC-SHA-256",
        arguments: [
            (
                String(repeating: "0b", count: 20), "4869205468657265",
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
            ),
            (
                "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
            ),
            (
                String(repeating: "aa", count: 20), String(repeating: "dd", count: 50),
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
            ),
            (
                "0102030405060708090a0b0c0d0e0f10111213141516171819", String(repeating: "cd", count: 50),
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"
            ),
            (
                String(repeating: "aa", count: 131),
                "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b657920"
                    + "4669727374",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
            ),
        ])
    func hmac(key: String, message: String, code: String) throws {
        let hmac = try HMACKey(key: try secret(hex: key))
        let message = try bytes(message)
        #expect(Hex.encode(hmac.code(for: message.span)) == code)
        #expect(Hex.encode(hmac.code128(for: message.span)) == code.prefix(32))
    }

    @Test(
        "RFC 5869: HKDF-SHA-256",
        arguments: [
            (
                String(repeating: "0b", count: 22), "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9", 42,
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
            ),
            (
                hexRange(0x00, 80), hexRange(0x60, 80), hexRange(0xb0, 80), 82,
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
                    + "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
            ),
            (
                String(repeating: "0b", count: 22), "", "", 42,
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
            ),
        ])
    func hkdf(key: String, salt: String, info: String, count: Int, output: String) throws {
        let derived = try HKDFSHA256.derive(
            from: try secret(hex: key), salt: try bytes(salt), info: try bytes(info), count: count)
        #expect(hex(derived) == output)
    }

    @Test("draft-irtf-cfrg-xchacha: XChaCha20-Poly1305, sealed and opened")
    func xchacha() throws {
        let key = try secret(hex: hexRange(0x80, 32))
        let nonce = try bytes(hexRange(0x40, 24))
        let context = try bytes("50515253c0c1c2c3c4c5c6c7")
        let plaintext = Array(
            ("Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
                + "sunscreen would be it.").utf8)
        let sealed = try bytes(
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39"
                + "ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3"
                + "fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49")
        var output = nonce
        try XChaCha20Poly1305.encrypt(plaintext.span, context: context.span, key: key, nonceAt: 0, into: &output)
        #expect(output == nonce + sealed)
        #expect(try XChaCha20Poly1305.open((nonce + sealed).span, context: context.span, key: key) == plaintext)
    }

    @Test("Argon2id: a vector checked with another implementation")
    func argon2id() throws {
        let key = try Argon2id.derive(
            passphrase: try SecretBytes(copying: Array("password".utf8).span), salt: Array("0123456789abcdef".utf8),
            operations: 3, memoryBytes: 4 << 20)
        #expect(hex(key) == "94a8a0523264ae5d982017f6d5bc452509d10b0dce98c85d6f57d986a025856e")
    }

    @Test(
        "FIPS 180-4: SHA-256",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ])
    func sha256(message: String, digest: String) {
        #expect(Hex.encode(SHA256.hash(Array(message.utf8))) == digest)
    }

    @Test("RFC 8032, test 2: Ed25519")
    func ed25519() throws {
        let key = try SigningKey(
            seed: try secret(hex: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
        let signature = key.sign([0x72])
        #expect(
            Hex.encode(signature)
                == "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                + "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")
        #expect(SignatureVerification.isValid(signature, of: [0x72], publicKey: key.publicKey))
        #expect(!SignatureVerification.isValid(signature, of: [0x73], publicKey: key.publicKey))
    }
}
