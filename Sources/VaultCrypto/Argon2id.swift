internal import CLibSodium

/// Argon2id version 1.3 (RFC 9106) with one lane, as libsodium's `crypto_pwhash`.
package enum Argon2id {
    package static let saltByteCount = 16

    /// A 32-byte key from a passphrase. Slow on purpose.
    ///
    /// - Parameters:
    ///   - passphrase: used byte for byte.
    ///   - operations: passes over the memory, 1 or more.
    ///   - memoryBytes: 8 KiB or more; rounded down to KiB.
    package static func derive(
        passphrase: borrowing SecretBytes, salt: [UInt8], operations: Int, memoryBytes: Int
    ) throws(CryptoError) -> SecretBytes {
        guard salt.count == saltByteCount else {
            throw .wrongLength(what: "a passphrase's salt", expected: saltByteCount, found: salt.count)
        }
        guard operations >= 1, memoryBytes >= 8192 else { throw .libraryFailure(what: "Argon2id") }
        let count = passphrase.count
        var failed = false
        let key = try unsafe passphrase.withPointer { passphrase throws(CryptoError) in
            try SecretBytes(count: 32) { output in
                failed = unsafe output.withUnsafeMutableBufferPointer { output in
                    unsafe passphrase.withMemoryRebound(to: CChar.self, capacity: count) { passphrase in
                        unsafe crypto_pwhash(
                            output.baseAddress!, UInt64(output.count), passphrase, UInt64(count), salt,
                            UInt64(operations), memoryBytes, crypto_pwhash_ALG_ARGON2ID13) != 0
                    }
                }
            }
        }
        if failed { throw .libraryFailure(what: "Argon2id") }
        return key
    }
}
