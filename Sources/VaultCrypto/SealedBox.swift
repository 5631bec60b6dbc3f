internal import CLibSodium

/// A secret sealed to an X25519 public key: `01 || crypto_box_seal` (docs/FORMATS.md section 5).
///
/// Only the private half opens it, not even the writer. Says nothing about who wrote it.
package enum SealedBox {
    package static let format: UInt8 = 1
    package static let publicKeyByteCount = 32
    /// Format byte, ephemeral public key, tag.
    package static let overhead = 1 + 32 + 16

    package static func seal(
        _ secret: borrowing SecretBytes, to publicKey: [UInt8]
    ) throws(CryptoError) -> [UInt8] {
        guard Sodium.isReady else { throw .libraryUnavailable }
        guard publicKey.count == publicKeyByteCount else {
            throw .wrongLength(what: "a recovery public key", expected: publicKeyByteCount, found: publicKey.count)
        }
        var sealed = [UInt8](repeating: 0, count: secret.count + overhead)
        sealed[0] = format
        let count = secret.count
        let done = unsafe secret.withPointer { secret in
            unsafe sealed.withUnsafeMutableBufferPointer { sealed in
                unsafe crypto_box_seal(
                    sealed.baseAddress! + 1, secret, UInt64(count), publicKey) == 0
            }
        }
        guard done else { throw .unusablePublicKey }
        return sealed
    }
}

/// An X25519 key pair that opens what was sealed to its public half.
package struct RecoveryKeyPair: ~Copyable, Sendable {
    package static let privateKeyByteCount = 32

    /// 32 bytes, computed from the private key, so the halves always belong together.
    package let publicKey: [UInt8]
    private let privateKey: SecretBytes

    package static func generate() throws(CryptoError) -> RecoveryKeyPair {
        try RecoveryKeyPair(privateKey: SecretBytes(randomCount: privateKeyByteCount))
    }

    package init(privateKey: consuming SecretBytes) throws(CryptoError) {
        publicKey = try X25519.publicKey(of: privateKey)
        self.privateKey = privateKey
    }

    /// Lends the private key, to be locked under a passphrase.
    package borrowing func withPrivateKey<R, E: Error>(
        _ body: (borrowing SecretBytes) throws(E) -> R
    ) throws(E) -> R {
        try body(privateKey)
    }

    package borrowing func openSealed(_ sealed: [UInt8]) throws(CryptoError) -> SecretBytes {
        guard sealed.count > SealedBox.overhead else {
            throw .tooShort(what: "a sealed data key", byteCount: sealed.count)
        }
        guard sealed[0] == SealedBox.format else {
            throw .unknownFormat(what: "a sealed data key", byte: sealed[0])
        }
        var failed = false
        let secret = try unsafe privateKey.withPointer { privateKey throws(CryptoError) in
            try SecretBytes(count: sealed.count - SealedBox.overhead) { output in
                failed = unsafe output.withUnsafeMutableBufferPointer { output in
                    unsafe sealed.withUnsafeBufferPointer { sealed in
                        unsafe crypto_box_seal_open(
                            output.baseAddress, sealed.baseAddress! + 1, UInt64(sealed.count - 1),
                            publicKey, privateKey) != 0
                    }
                }
            }
        }
        if failed { throw .notAuthentic(what: "a sealed data key") }
        return secret
    }
}

/// X25519 (RFC 7748).
package enum X25519 {
    /// Whether something can be sealed to this key: 32 bytes and not of low order.
    package static func isUsable(publicKey: [UInt8]) -> Bool {
        guard publicKey.count == SealedBox.publicKeyByteCount,
            let probe = try? SecretBytes(randomCount: RecoveryKeyPair.privateKeyByteCount)
        else { return false }
        return (try? sharedSecret(privateKey: probe, publicKey: publicKey)) != nil
    }

    static func publicKey(of privateKey: borrowing SecretBytes) throws(CryptoError) -> [UInt8] {
        try check(privateKey)
        var publicKey = [UInt8](repeating: 0, count: SealedBox.publicKeyByteCount)
        let done = unsafe privateKey.withPointer { unsafe crypto_scalarmult_base(&publicKey, $0) == 0 }
        guard done else { throw .libraryFailure(what: "X25519") }
        return publicKey
    }

    static func sharedSecret(
        privateKey: borrowing SecretBytes, publicKey: [UInt8]
    ) throws(CryptoError) -> SecretBytes {
        try check(privateKey)
        var failed = false
        let secret = try unsafe privateKey.withPointer { privateKey throws(CryptoError) in
            try SecretBytes(count: SealedBox.publicKeyByteCount) { output in
                failed = unsafe output.withUnsafeMutableBufferPointer { output in
                    unsafe crypto_scalarmult(output.baseAddress!, privateKey, publicKey) != 0
                }
            }
        }
        if failed { throw .unusablePublicKey }
        return secret
    }

    private static func check(_ privateKey: borrowing SecretBytes) throws(CryptoError) {
        guard Sodium.isReady else { throw .libraryUnavailable }
        guard privateKey.count == RecoveryKeyPair.privateKeyByteCount else {
            throw .wrongLength(what: "a recovery private key", expected: 32, found: privateKey.count)
        }
    }
}
