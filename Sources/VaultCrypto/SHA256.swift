private import CLibCrypto

/// SHA-256 (FIPS 180-4).
package enum SHA256 {
    package static let byteCount = 32

    package static func hash(_ bytes: Span<UInt8>) -> [UInt8] {
        unsafe [UInt8](unsafeUninitializedCapacity: byteCount) { digest, written in
            unsafe bytes.withUnsafeBufferPointer { bytes in
                unsafe tokenvault_sha256(bytes.baseAddress, bytes.count, digest.baseAddress)
            }
            written = byteCount
        }
    }

    package static func hash(_ bytes: [UInt8]) -> [UInt8] { hash(bytes.span) }
}
