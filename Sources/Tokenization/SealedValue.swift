package import Keys
internal import VaultCrypto

/// Values and refused records, sealed (docs/FORMATS.md, section 6):
///
///     01 || nonce (24) || ciphertext of the padded value || tag (16)
///
/// under XChaCha20-Poly1305. The context binds the value to its token and data key: moved to another row, it does not
/// open. The length shows up to 32 bytes only. Sealed by a ``ValueSealer``.
package enum SealedValue {
    static let format: UInt8 = 1
    package static let maximumRecordByteCount = 1 << 20

    /// The original behind `token`, as it came.
    package static func open(
        _ sealed: Span<UInt8>, token: Token, dataKey: borrowing DataKey
    ) throws(SealedValueError) -> [UInt8] {
        try checkDomain(of: token, dataKey)
        return try open(sealed, context: context(of: token, dataKey: dataKey.id), dataKey: dataKey)
    }

    /// The refused record of the quarantine entry `id`.
    package static func openRecord(
        _ sealed: Span<UInt8>, id: UInt128, dataKey: borrowing DataKey
    ) throws(SealedValueError) -> [UInt8] {
        try open(sealed, context: context(ofRecord: id, dataKey: dataKey.id), dataKey: dataKey)
    }

    static func context(of token: Token, dataKey: UInt128) -> [UInt8] {
        var fields = FieldEncoder(label: "tokenvault/original/1")
        fields.append(token.domain)
        fields.append(u32: token.version.number)
        fields.append(uuid: token.bits)
        fields.append(uuid: dataKey)
        return fields.bytes
    }

    static func context(ofRecord id: UInt128, dataKey: UInt128) -> [UInt8] {
        var fields = FieldEncoder(label: "tokenvault/quarantined/1")
        fields.append(uuid: id)
        fields.append(uuid: dataKey)
        return fields.bytes
    }

    private static func checkDomain(of token: Token, _ dataKey: borrowing DataKey) throws(SealedValueError) {
        guard token.domain == dataKey.domain else {
            throw .wrongDomain(token: token.domain, dataKey: Hex.encode(dataKey.id), dataKeyDomain: dataKey.domain)
        }
    }

    private static func open(
        _ sealed: Span<UInt8>, context: [UInt8], dataKey: borrowing DataKey
    ) throws(SealedValueError) -> [UInt8] {
        let shortest = 1 + XChaCha20Poly1305.overhead + Padding.blockByteCount
        if !sealed.isEmpty, sealed[0] != format {
            throw .unknownFormat(sealed[0], dataKey: Hex.encode(dataKey.id))
        }
        guard sealed.count >= shortest else {
            throw .truncated(dataKey: Hex.encode(dataKey.id), byteCount: sealed.count)
        }
        do {
            var value = try XChaCha20Poly1305.open(
                sealed.extracting(1...), context: context.span, key: dataKey.secret)
            try Padding.unpad(&value)
            return value
        } catch {
            throw .notAuthentic(dataKey: Hex.encode(dataKey.id))
        }
    }
}
