internal import VaultCrypto

/// What a subkey of a token key is for (docs/FORMATS.md section 3). Subkeys tell nothing of each other.
package enum TokenKeyLabel: Sendable, Equatable {
    /// Makes the tokens of one domain.
    case token(domain: String)
    /// Recognises a queue message that comes again.
    case messageMAC
    /// Recognises a file that is read again.
    case fileFingerprint

    func info(_ version: KeyVersion) -> [UInt8] {
        switch self {
        case .token(let domain): Self.info("tokenvault/token-subkey/1", version, domain: domain)
        case .messageMAC: Self.info("tokenvault/message-mac-key/1", version)
        case .fileFingerprint: Self.info("tokenvault/file-fingerprint-key/1", version)
        }
    }

    static func fingerprintInfo(_ version: KeyVersion) -> [UInt8] {
        info("tokenvault/token-key-fingerprint/1", version)
    }

    private static func info(_ label: StaticString, _ version: KeyVersion, domain: String? = nil) -> [UInt8] {
        var encoder = FieldEncoder(label: label)
        encoder.append(u32: version.number)
        if let domain { encoder.append(domain) }
        return encoder.bytes
    }
}
