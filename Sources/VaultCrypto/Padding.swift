internal import CLibSodium

/// ISO/IEC 7816-4 padding, as `sodium_pad`: one byte `80`, then zeros to a whole number of blocks.
///
/// Hides a value's length up to the block: an IPv4 and an IPv6 address look alike.
package enum Padding {
    package static let blockByteCount = 32

    package static func paddedByteCount(_ count: Int) -> Int { (count / blockByteCount + 1) * blockByteCount }

    /// `value` and its padding, in a buffer allocated once. The caller wipes it.
    package static func pad(_ value: Span<UInt8>) -> [UInt8] {
        let total = paddedByteCount(value.count)
        return unsafe [UInt8](unsafeUninitializedCapacity: total) { output, written in
            unsafe value.withUnsafeBufferPointer { value in
                _ = unsafe output.initialize(fromContentsOf: value)
            }
            unsafe output[value.count] = 0x80
            for index in value.count + 1..<max(total, value.count + 1) { unsafe output[index] = 0 }
            written = total
        }
    }

    /// Takes the padding off, in a time that depends on the padded length only.
    package static func unpad(_ padded: inout [UInt8]) throws(CryptoError) {
        var count = 0
        guard !padded.isEmpty, padded.count.isMultiple(of: blockByteCount) else {
            throw .invalidEncoding(what: "the padding of a sealed value")
        }
        let valid = unsafe padded.withUnsafeBufferPointer { padded in
            unsafe sodium_unpad(&count, padded.baseAddress!, padded.count, blockByteCount) == 0
        }
        guard valid else { throw .invalidEncoding(what: "the padding of a sealed value") }
        padded.removeLast(padded.count - count)
    }
}
