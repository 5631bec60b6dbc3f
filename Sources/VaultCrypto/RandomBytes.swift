internal import CLibSodium

/// Bytes from the operating system's random generator.
package enum RandomBytes {
    package static func fill(_ count: Int) -> [UInt8] {
        _ = Sodium.isReady
        guard count > 0 else { return [] }
        return unsafe [UInt8](unsafeUninitializedCapacity: count) { bytes, written in
            unsafe randombytes_buf(bytes.baseAddress!, count)
            written = count
        }
    }

    /// 16 random bytes as a number: an id that nobody else will draw.
    package static func uuid() -> UInt128 {
        var number: UInt128 = 0
        unsafe withUnsafeMutableBytes(of: &number) { unsafe randombytes_buf($0.baseAddress!, $0.count) }
        return number
    }
}

package enum ConstantTime {
    /// Compares in a time that depends on the lengths only.
    package static func equal(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        return unsafe sodium_memcmp(left, right, left.count) == 0
    }
}
