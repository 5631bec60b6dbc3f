internal import CLibCrypto

/// MD5 as a checksum against damage in transit. It protects against no one.
package enum MD5 {
    /// 32 lower-case hex digits in ASCII, as SQS writes `MD5OfBody`. Nil where OpenSSL offers no MD5 (FIPS mode).
    package static func hexDigits(of bytes: Span<UInt8>) -> [UInt8]? {
        var digest = [UInt8](repeating: 0, count: 16)
        var size: UInt32 = 0
        let isDone = unsafe bytes.withUnsafeBufferPointer { (input) -> Bool in
            unsafe EVP_Digest(input.baseAddress, input.count, &digest, &size, EVP_md5(), nil) == 1
        }
        guard isDone, size == 16 else { return nil }
        let digits = Array("0123456789abcdef".utf8)
        return digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
    }
}
