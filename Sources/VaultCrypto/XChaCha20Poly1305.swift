internal import CLibSodium

/// XChaCha20-Poly1305-IETF (draft-irtf-cfrg-xchacha-03) with a random nonce. Sealed bytes are
///
///     nonce (24) || ciphertext (same length as plaintext) || tag (16)
///
/// Random 192-bit nonces do not collide in practice, so a key has no limit on messages here;
/// docs/FORMATS.md section 5 sets one.
package enum XChaCha20Poly1305 {
    package static let keyByteCount = 32
    package static let nonceByteCount = 24
    package static let tagByteCount = 16
    /// How much longer sealed bytes are than the plaintext.
    package static let overhead = nonceByteCount + tagByteCount

    /// Encrypts `plaintext`, binds it to `context` and appends the result to `output`.
    ///
    /// - Parameter context: authenticated, not encrypted, not stored. Opening needs the same bytes.
    package static func seal(
        _ plaintext: Span<UInt8>, context: Span<UInt8>, key: borrowing SecretBytes, into output: inout [UInt8]
    ) throws(CryptoError) {
        let nonceStart = output.count
        output.append(contentsOf: repeatElement(0, count: nonceByteCount))
        unsafe output.withUnsafeMutableBytes { output in
            unsafe randombytes_buf(output.baseAddress! + nonceStart, nonceByteCount)
        }
        try encrypt(plaintext, context: context, key: key, nonceAt: nonceStart, into: &output)
    }

    /// As ``seal(_:context:key:into:)``, with a nonce from a block drawn in advance: 260 ns less a value.
    package static func seal(
        _ plaintext: Span<UInt8>, context: Span<UInt8>, key: borrowing SecretBytes, nonces: inout NonceSource,
        into output: inout [UInt8]
    ) throws(CryptoError) {
        let nonceStart = output.count
        nonces.appendNext(to: &output)
        try encrypt(plaintext, context: context, key: key, nonceAt: nonceStart, into: &output)
    }

    /// Decrypts bytes made by ``seal(_:context:key:into:)``.
    ///
    /// - Throws: ``CryptoError/notAuthentic(what:)`` when the key, the context or any bit of
    ///   `sealed` differs. No plaintext is released in that case.
    package static func open(
        _ sealed: Span<UInt8>, context: Span<UInt8>, key: borrowing SecretBytes
    ) throws(CryptoError) -> [UInt8] {
        let count = try plaintextByteCount(of: sealed, key: key)
        var plaintext = [UInt8](repeating: 0, count: count)
        let opened = unsafe plaintext.withUnsafeMutableBufferPointer { output in
            unsafe decrypt(sealed, context: context, key: key, into: output)
        }
        guard opened else { throw .notAuthentic(what: "a sealed value") }
        return plaintext
    }

    /// As ``open(_:context:key:)``, for a sealed key: the plaintext never leaves protected memory.
    package static func openSecret(
        _ sealed: Span<UInt8>, context: Span<UInt8>, key: borrowing SecretBytes
    ) throws(CryptoError) -> SecretBytes {
        let count = try plaintextByteCount(of: sealed, key: key)
        guard count > 0 else { throw .tooShort(what: "a sealed key", byteCount: sealed.count) }
        return try openSecret(sealed, count: count, context: context, key: key)
    }

    private static func openSecret(
        _ sealed: Span<UInt8>, count: Int, context: Span<UInt8>, key: borrowing SecretBytes
    ) throws(CryptoError) -> SecretBytes {
        var failed = false
        let secret = try unsafe key.withPointer { key throws(CryptoError) in
            try SecretBytes(count: count) { output in
                failed = unsafe !output.withUnsafeMutableBufferPointer { output in
                    unsafe decrypt(sealed, context: context, key: key, into: output)
                }
            }
        }
        if failed { throw .notAuthentic(what: "a sealed key") }
        return secret
    }

    private static func plaintextByteCount(
        of sealed: Span<UInt8>, key: borrowing SecretBytes
    ) throws(CryptoError) -> Int {
        guard key.count == keyByteCount else {
            throw .wrongLength(what: "a key", expected: keyByteCount, found: key.count)
        }
        guard sealed.count >= overhead else { throw .tooShort(what: "a sealed value", byteCount: sealed.count) }
        return sealed.count - overhead
    }

    /// Appends ciphertext and tag to `output`, whose last 24 bytes, from `nonceStart`, are the nonce.
    static func encrypt(
        _ plaintext: Span<UInt8>, context: Span<UInt8>, key: borrowing SecretBytes, nonceAt nonceStart: Int,
        into output: inout [UInt8]
    ) throws(CryptoError) {
        guard key.count == keyByteCount else {
            throw .wrongLength(what: "a key", expected: keyByteCount, found: key.count)
        }
        let start = output.count
        output.append(contentsOf: repeatElement(0, count: plaintext.count + tagByteCount))
        let sealed = unsafe key.withPointer { key in
            unsafe output.withUnsafeMutableBufferPointer { output in
                unsafe plaintext.withUnsafeBufferPointer { plaintext in
                    unsafe context.withUnsafeBufferPointer { context in
                        unsafe crypto_aead_xchacha20poly1305_ietf_encrypt(
                            output.baseAddress! + start, nil,
                            plaintext.baseAddress, UInt64(plaintext.count),
                            context.baseAddress, UInt64(context.count),
                            nil, UnsafePointer(output.baseAddress! + nonceStart), key) == 0
                    }
                }
            }
        }
        guard sealed else { throw .libraryFailure(what: "sealing") }
    }

    private static func decrypt(
        _ sealed: Span<UInt8>, context: Span<UInt8>, key: borrowing SecretBytes,
        into output: UnsafeMutableBufferPointer<UInt8>
    ) -> Bool {
        unsafe key.withPointer { unsafe decrypt(sealed, context: context, key: $0, into: output) }
    }

    private static func decrypt(
        _ sealed: Span<UInt8>, context: Span<UInt8>, key: UnsafePointer<UInt8>,
        into output: UnsafeMutableBufferPointer<UInt8>
    ) -> Bool {
        unsafe sealed.withUnsafeBufferPointer { sealed in
            unsafe context.withUnsafeBufferPointer { context in
                unsafe crypto_aead_xchacha20poly1305_ietf_decrypt(
                    output.baseAddress, nil, nil,
                    sealed.baseAddress! + nonceByteCount, UInt64(sealed.count - nonceByteCount),
                    context.baseAddress, UInt64(context.count), sealed.baseAddress!, key) == 0
            }
        }
    }
}

/// Fresh random nonces, drawn from the system 1,024 at a time. One owner, so none is handed out twice.
package struct NonceSource: ~Copyable {
    private static let blockByteCount = 1024 * XChaCha20Poly1305.nonceByteCount
    private var block: [UInt8] = []
    private var used = 0

    package init() {}

    mutating func appendNext(to output: inout [UInt8]) {
        if used == block.count {
            block = RandomBytes.fill(Self.blockByteCount)
            used = 0
        }
        output.append(contentsOf: block[used..<used + XChaCha20Poly1305.nonceByteCount])
        used += XChaCha20Poly1305.nonceByteCount
    }
}
