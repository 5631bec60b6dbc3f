internal import CLibCrypto

/// HKDF with SHA-256 (RFC 5869), both steps, through OpenSSL's `EVP_KDF`: libsodium 1.0.18 has none.
package enum HKDFSHA256 {
    /// Longest output: 255 hash lengths.
    package static let maximumByteCount = 255 * 32

    /// Derives an independent key for the purpose that `info` names. Empty salt (docs/FORMATS.md section 1).
    package static func derive(
        from key: borrowing SecretBytes, info: [UInt8], count: Int = 32
    ) throws(CryptoError) -> SecretBytes {
        try derive(from: key, salt: [], info: info, count: count)
    }

    static func derive(
        from key: borrowing SecretBytes, salt: [UInt8], info: [UInt8], count: Int
    ) throws(CryptoError) -> SecretBytes {
        guard (1...maximumByteCount).contains(count) else {
            throw .wrongLength(what: "an HKDF output", expected: maximumByteCount, found: count)
        }
        let context = try KDFContext.make()
        let keyCount = key.count
        return try unsafe key.withPointer { key throws(CryptoError) in
            try SecretBytes(count: count) { output throws(CryptoError) in
                let done = unsafe output.withUnsafeMutableBufferPointer { output in
                    unsafe context.derive(
                        key: UnsafeBufferPointer(start: key, count: keyCount), salt: salt, info: info, into: output)
                }
                guard done else { throw CryptoError.libraryFailure(what: "HKDF") }
            }
        }
    }
}

/// Owns an `EVP_KDF_CTX` for one derivation. Freeing it wipes the copies that OpenSSL made.
@safe private struct KDFContext: ~Copyable {
    private let handle: OpaquePointer

    private init(adopting handle: OpaquePointer) { unsafe self.handle = handle }

    deinit { unsafe EVP_KDF_CTX_free(handle) }

    static func make() throws(CryptoError) -> KDFContext {
        guard let algorithm = unsafe EVP_KDF_fetch(nil, "HKDF", nil) else { throw .libraryFailure(what: "HKDF") }
        defer { unsafe EVP_KDF_free(algorithm) }
        guard let handle = unsafe EVP_KDF_CTX_new(algorithm) else { throw .libraryFailure(what: "HKDF") }
        return unsafe KDFContext(adopting: handle)
    }

    borrowing func derive(
        key: UnsafeBufferPointer<UInt8>, salt: [UInt8], info: [UInt8], into output: UnsafeMutableBufferPointer<UInt8>
    ) -> Bool {
        var digest = Array("SHA256".utf8CString)
        var salt = salt
        var info = info
        return unsafe digest.withUnsafeMutableBufferPointer { digest in
            unsafe salt.withUnsafeMutableBytes { salt in
                unsafe info.withUnsafeMutableBytes { info in
                    var parameters = unsafe [
                        OSSL_PARAM_construct_utf8_string(tv_kdf_param_digest, digest.baseAddress, 0),
                        OSSL_PARAM_construct_octet_string(
                            tv_kdf_param_key, UnsafeMutableRawPointer(mutating: key.baseAddress), key.count),
                    ]
                    // OpenSSL takes an empty octet string without an address for an error.
                    if unsafe !salt.isEmpty {
                        unsafe parameters.append(
                            OSSL_PARAM_construct_octet_string(tv_kdf_param_salt, salt.baseAddress, salt.count))
                    }
                    if unsafe !info.isEmpty {
                        unsafe parameters.append(
                            OSSL_PARAM_construct_octet_string(tv_kdf_param_info, info.baseAddress, info.count))
                    }
                    unsafe parameters.append(OSSL_PARAM_construct_end())
                    return unsafe EVP_KDF_derive(handle, output.baseAddress, output.count, parameters) == 1
                }
            }
        }
    }
}
