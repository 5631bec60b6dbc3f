package import Keys
internal import VaultCrypto

/// Seals many values under one data key, as ``SealedValue`` opens them, with every buffer used again and nonces drawn in
/// blocks. Counts them, so that no data key seals more than it may.
package struct ValueSealer: ~Copyable {
    package let dataKey: DataKey
    private var context: [UInt8]
    private let tokenOffset: Int
    private var padded: [UInt8] = []
    private var nonces = NonceSource()
    /// Values sealed so far.
    package private(set) var count = 0

    /// - Parameter version: of the tokens whose originals are sealed; refused records have none.
    package init(version: KeyVersion, dataKey: consuming DataKey) {
        let token = Token(domain: dataKey.domain, version: version, bits: 0)
        context = SealedValue.context(of: token, dataKey: dataKey.id)
        tokenOffset = context.count - 16 - 4 - 16  // the token, then the data key's length and id
        self.dataKey = dataKey
        padded.reserveCapacity(Padding.paddedByteCount(NormalizedValue.maximumByteCount))
    }

    /// How many more values the data key may seal.
    package var room: Int { DataKey.maximumValueCount - count }

    /// Appends the sealed `value`, of 1 to 1,024 bytes, whose token has these bits.
    package mutating func seal(
        _ value: Span<UInt8>, bits: UInt128, into output: inout [UInt8]
    ) throws(SealedValueError) {
        let limit = NormalizedValue.maximumByteCount
        guard (1...limit).contains(value.count) else { throw .wrongLength(byteCount: value.count, limit: limit) }
        for index in 0..<16 {
            context[tokenOffset + index] = UInt8(truncatingIfNeeded: bits >> UInt128(120 - 8 * index))
        }
        try seal(value, context: context, into: &output)
    }

    /// Appends the sealed refused record, of up to 1 MiB, of the quarantine entry `id`.
    package mutating func sealRecord(
        _ record: Span<UInt8>, id: UInt128, into output: inout [UInt8]
    ) throws(SealedValueError) {
        let limit = SealedValue.maximumRecordByteCount
        guard record.count <= limit else { throw .wrongLength(byteCount: record.count, limit: limit) }
        try seal(record, context: SealedValue.context(ofRecord: id, dataKey: dataKey.id), into: &output)
    }

    private mutating func seal(
        _ value: Span<UInt8>, context: [UInt8], into output: inout [UInt8]
    ) throws(SealedValueError) {
        guard room > 0 else { throw .exhausted(dataKey: Hex.encode(dataKey.id), limit: DataKey.maximumValueCount) }
        Padding.pad(value, into: &padded)
        output.append(SealedValue.format)
        let isSealed = Self.encrypt(padded, context: context, key: dataKey, nonces: &nonces, into: &output)
        for index in padded.indices { padded[index] = 0 }  // the buffer lives on: the compiler keeps this
        guard isSealed else { throw .cannotSeal(dataKey: Hex.encode(dataKey.id)) }
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
