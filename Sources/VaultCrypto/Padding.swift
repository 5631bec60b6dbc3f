internal import CLibSodium

/// ISO/IEC 7816-4 padding, as `sodium_pad`: one byte `80`, then zeros to a whole number of blocks.
///
/// Hides a value's length up to the block: an IPv4 and an IPv6 address look alike.
package enum Padding {
    package static let blockByteCount = 32

    package static func paddedByteCount(_ count: Int) -> Int { (count / blockByteCount + 1) * blockByteCount }

    /// Makes `output` hold `value` and its padding. The caller wipes it.
    package static func pad(_ value: Span<UInt8>, into output: inout [UInt8]) {
        output.removeAll(keepingCapacity: true)
        output.reserveCapacity(paddedByteCount(value.count))  // once: a buffer that grew would stay behind
        unsafe value.withUnsafeBufferPointer { unsafe output.append(contentsOf: $0) }
        output.append(0x80)
        output.append(contentsOf: repeatElement(0, count: paddedByteCount(value.count) - output.count))
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
