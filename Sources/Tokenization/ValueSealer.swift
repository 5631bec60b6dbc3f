package import Keys
internal import VaultCrypto

/// Seals many originals of one domain and token version under one data key: the same bytes as
/// ``SealedValue/seal(_:token:dataKey:into:)``, with every buffer used again and nonces drawn in blocks.
package struct ValueSealer: ~Copyable {
    package let dataKey: DataKey
    private var context: [UInt8]
    private let tokenOffset: Int
    private var padded: [UInt8] = []
    private var nonces = NonceSource()
    /// Values sealed so far.
    package private(set) var count = 0

    package init(version: KeyVersion, dataKey: consuming DataKey) {
        let token = Token(domain: dataKey.domain, version: version, bits: 0)
        context = SealedValue.context(of: token, dataKey: dataKey.id)
        tokenOffset = context.count - 16 - 4 - 16  // the token, then the data key's length and id
        self.dataKey = dataKey
        padded.reserveCapacity(Padding.paddedByteCount(NormalizedValue.maximumByteCount))
    }

    /// Whether the data key may seal no more values.
    package var isExhausted: Bool { count >= DataKey.maximumValueCount }

    /// Appends the sealed `value`, of 1 to 1,024 bytes, whose token has these bits.
    package mutating func seal(
        _ value: Span<UInt8>, bits: UInt128, into output: inout [UInt8]
    ) throws(SealedValueError) {
        let limit = NormalizedValue.maximumByteCount
        guard (1...limit).contains(value.count) else { throw .wrongLength(byteCount: value.count, limit: limit) }
        guard !isExhausted else { throw .exhausted(dataKey: Hex.encode(dataKey.id), limit: DataKey.maximumValueCount) }
        for index in 0..<16 {
            context[tokenOffset + index] = UInt8(truncatingIfNeeded: bits >> UInt128(120 - 8 * index))
        }
        padded.removeAll(keepingCapacity: true)
        unsafe value.withUnsafeBufferPointer { unsafe padded.append(contentsOf: $0) }
        padded.append(0x80)
        padded.append(contentsOf: repeatElement(0, count: Padding.paddedByteCount(value.count) - padded.count))
        output.append(SealedValue.format)
        let sealed = Self.encrypt(padded, context: context, key: dataKey, nonces: &nonces, into: &output)
        for index in padded.indices { padded[index] = 0 }  // the buffer lives on: the compiler keeps this
        guard sealed else { throw .cannotSeal(dataKey: Hex.encode(dataKey.id)) }
        count += 1
    }

    private static func encrypt(
        _ padded: [UInt8], context: [UInt8], key: borrowing DataKey, nonces: inout NonceSource,
        into output: inout [UInt8]
    ) -> Bool {
        do {
            try XChaCha20Poly1305.seal(
                padded.span, context: context.span, key: key.secret, nonces: &nonces, into: &output)
            return true
        } catch {
            return false
        }
    }
}
