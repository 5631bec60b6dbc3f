package import VaultCrypto

/// The fingerprint of a key (docs/FORMATS.md section 4): public, and the same wherever the key is named.
package struct KeyID: Hashable, Sendable {
    package let uuid: UInt128

    package init(uuid: UInt128) { self.uuid = uuid }

    /// Reads 32 lower-case hex digits.
    package init?(_ text: String) {
        guard let uuid = Hex.decodeUInt128(text) else { return nil }
        self.uuid = uuid
    }

    package var text: String { Hex.encode(uuid) }

    package static func ofRecoveryKey(_ publicKey: [UInt8]) -> KeyID {
        ofPublicKey(publicKey, label: "tokenvault/recovery-key-id/1")
    }

    package static func ofSigningKey(_ publicKey: [UInt8]) -> KeyID {
        ofPublicKey(publicKey, label: "tokenvault/signing-key-id/1")
    }

    package static func ofTokenKey(
        _ key: borrowing SecretBytes, version: KeyVersion
    ) throws(CryptoError) -> KeyID {
        let fingerprint = try HKDFSHA256.derive(from: key, info: TokenKeyLabel.fingerprintInfo(version))
        return fingerprint.withBytes { KeyID(firstBytesOf: $0) }
    }

    private static func ofPublicKey(_ publicKey: [UInt8], label: StaticString) -> KeyID {
        var encoder = FieldEncoder(label: label)
        encoder.append(publicKey)
        return KeyID(firstBytesOf: SHA256.hash(encoder.bytes).span)
    }

    private init(firstBytesOf bytes: Span<UInt8>) {
        var number: UInt128 = 0
        for index in 0..<16 { number = number << 8 | UInt128(bytes[index]) }
        uuid = number
    }
}

extension KeyID: CustomStringConvertible {
    package var description: String { text }
}
