import Testing
import VaultCrypto

@Suite("What was sealed opens only with its key, its context and every bit")
struct SealingTests {
    let plaintext = Array("192.0.2.1".utf8)
    let context = Array("context".utf8)

    @Test("A sealed value is appended, and opens")
    func roundTrip() throws {
        let key = try SecretBytes(randomCount: 32)
        var output: [UInt8] = [1]
        try XChaCha20Poly1305.seal(plaintext.span, context: context.span, key: key, into: &output)
        #expect(output.count == 1 + XChaCha20Poly1305.overhead + plaintext.count)
        #expect(output[0] == 1)
        let sealed = Array(output.dropFirst())
        #expect(try XChaCha20Poly1305.open(sealed.span, context: context.span, key: key) == plaintext)
    }

    @Test("Any bit changed, any other key or context: nothing opens")
    func tampering() throws {
        let key = try SecretBytes(randomCount: 32)
        let other = try SecretBytes(randomCount: 32)
        var sealed: [UInt8] = []
        try XChaCha20Poly1305.seal(plaintext.span, context: context.span, key: key, into: &sealed)
        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 1 << UInt8(index % 8)
            #expect((try? XChaCha20Poly1305.open(changed.span, context: context.span, key: key)) == nil)
        }
        #expect((try? XChaCha20Poly1305.open(sealed.span, context: context.span, key: other)) == nil)
        #expect((try? XChaCha20Poly1305.open(sealed.span, context: [UInt8]().span, key: key)) == nil)
        for count in sealed.indices {
            let cut = Array(sealed.prefix(count))
            #expect((try? XChaCha20Poly1305.open(cut.span, context: context.span, key: key)) == nil)
        }
    }

    @Test("A key of another length is refused")
    func keyLength() throws {
        let key = try SecretBytes(randomCount: 31)
        var output: [UInt8] = []
        var failure: CryptoError?
        do throws(CryptoError) {
            try XChaCha20Poly1305.seal(plaintext.span, context: context.span, key: key, into: &output)
        } catch { failure = error }
        #expect(failure == .wrongLength(what: "a key", expected: 32, found: 31))
    }

    @Test("Nonces from a block never repeat, across blocks too, and what they seal opens")
    func nonces() throws {
        let key = try SecretBytes(randomCount: 32)
        var source = NonceSource()
        var seen: Set<[UInt8]> = []
        for _ in 0..<3000 {
            var sealed: [UInt8] = []
            try XChaCha20Poly1305.seal(
                plaintext.span, context: context.span, key: key, nonces: &source, into: &sealed)
            seen.insert(Array(sealed.prefix(24)))
            #expect(try XChaCha20Poly1305.open(sealed.span, context: context.span, key: key) == plaintext)
        }
        #expect(seen.count == 3000)
    }

    @Test("A sealed key opens into a secret")
    func secret() throws {
        let key = try SecretBytes(randomCount: 32)
        let inner = try SecretBytes(randomCount: 32)
        var sealed: [UInt8] = []
        try inner.withBytes { bytes throws(CryptoError) in
            try XChaCha20Poly1305.seal(bytes, context: context.span, key: key, into: &sealed)
        }
        let opened = try XChaCha20Poly1305.openSecret(sealed.span, context: context.span, key: key)
        let isEqual = opened.isEqual(to: inner)
        #expect(isEqual)
    }

    @Test("Padding hides the length up to 32 bytes and comes off exactly", arguments: 0...97)
    func padding(count: Int) throws {
        let value = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        var padded: [UInt8] = [1, 2, 3]  // is replaced
        Padding.pad(value.span, into: &padded)
        #expect(padded.count == (count / 32 + 1) * 32)
        #expect(padded.count == Padding.paddedByteCount(count))
        #expect(padded[count] == 0x80)
        try Padding.unpad(&padded)
        #expect(padded == value)
    }

    @Test("Text that is not padding is refused")
    func badPadding() {
        for bytes in [[], [UInt8](repeating: 0, count: 32), [UInt8](repeating: 1, count: 32), [0x80], [0x80, 1]] {
            var bytes = bytes
            #expect(throws: CryptoError.self) { try Padding.unpad(&bytes) }
        }
    }
}

@Suite("A sealed box opens with the private key only")
struct SealedBoxTests {
    @Test("Its owner opens it; another, or after any change, nobody")
    func roundTrip() throws {
        let pair = try RecoveryKeyPair.generate()
        let other = try RecoveryKeyPair.generate()
        let inner = try SecretBytes(randomCount: 32)
        let sealed = try SealedBox.seal(inner, to: pair.publicKey)
        #expect(sealed.count == 81 && sealed[0] == 1)
        let isEqual = try pair.openSealed(sealed).isEqual(to: inner)
        #expect(isEqual)
        func opens(_ sealed: [UInt8], _ pair: borrowing RecoveryKeyPair) -> Bool {
            do throws(CryptoError) { _ = try pair.openSealed(sealed) } catch { return false }
            return true
        }
        var results = [opens(sealed, other)]
        for index in sealed.indices {
            var changed = sealed
            changed[index] ^= 0x20
            results.append(opens(changed, pair))
        }
        for count in 0..<sealed.count { results.append(opens(Array(sealed.prefix(count)), pair)) }
        #expect(!results.contains(true))
    }

    @Test("Nothing is sealed to a key of the wrong length or of low order")
    func unusableKeys() throws {
        let inner = try SecretBytes(randomCount: 32)
        for publicKey in [[], [UInt8](repeating: 0, count: 32), [1] + [UInt8](repeating: 0, count: 31)] {
            var refused = false
            do throws(CryptoError) { _ = try SealedBox.seal(inner, to: publicKey) } catch { refused = true }
            #expect(refused)
            #expect(!X25519.isUsable(publicKey: publicKey))
        }
    }
}
