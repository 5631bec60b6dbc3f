internal import CLibSodium

/// An Ed25519 key pair (RFC 8032) that signs.
package struct SigningKey: ~Copyable, Sendable {
    package static let seedByteCount = 32
    package static let publicKeyByteCount = 32

    /// 32 bytes, computed from the seed, so the halves always belong together.
    package let publicKey: [UInt8]
    // seed (32) || public key (32), libsodium's form.
    private let secretKey: SecretBytes

    package static func generate() throws(CryptoError) -> SigningKey {
        try SigningKey(seed: SecretBytes(randomCount: seedByteCount))
    }

    package init(seed: borrowing SecretBytes) throws(CryptoError) {
        guard seed.count == Self.seedByteCount else {
            throw .wrongLength(what: "a signing key's seed", expected: Self.seedByteCount, found: seed.count)
        }
        var publicKey = [UInt8](repeating: 0, count: Self.publicKeyByteCount)
        secretKey = try unsafe seed.withPointer { seed throws(CryptoError) in
            try SecretBytes(count: 64) { output in
                _ = unsafe output.withUnsafeMutableBufferPointer { output in
                    unsafe crypto_sign_seed_keypair(&publicKey, output.baseAddress!, seed)
                }
            }
        }
        self.publicKey = publicKey
    }

    /// Lends the 32-byte seed, to be written to a keyring.
    package borrowing func withSeed<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        try secretKey.withBytes { bytes throws(E) in try body(bytes.extracting(first: Self.seedByteCount)) }
    }

    /// The 64-byte signature of `message`. Deterministic.
    package borrowing func sign(_ message: [UInt8]) -> [UInt8] {
        var signature = [UInt8](repeating: 0, count: SignatureVerification.signatureByteCount)
        _ = unsafe secretKey.withPointer { key in
            unsafe crypto_sign_detached(&signature, nil, message, UInt64(message.count), key)
        }
        return signature
    }
}

package enum SignatureVerification {
    package static let signatureByteCount = 64

    /// Whether `signature` over `message` was made by the private half of `publicKey`.
    /// False for any wrong length, non-canonical number or low-order key.
    package static func isValid(_ signature: [UInt8], of message: [UInt8], publicKey: [UInt8]) -> Bool {
        guard Sodium.isReady, signature.count == signatureByteCount,
            publicKey.count == SigningKey.publicKeyByteCount
        else { return false }
        return unsafe crypto_sign_verify_detached(signature, message, UInt64(message.count), publicKey) == 0
    }
}
