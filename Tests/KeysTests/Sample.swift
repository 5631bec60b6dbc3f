import Keys
import VaultCrypto

/// Keyrings to try things on, at the lowest passphrase cost.
enum Sample {
    static let passphrase = "correct horse battery staple"

    static func recovery(
        _ name: String = "analyst-1", domains: [String]? = nil
    ) throws(KeyringError) -> RecoveryKeyring {
        try RecoveryKeyring.generate(name: name, domains: domains, passphrase: passphraseBytes(), cost: .minimum)
    }

    static func ingest(_ keys: [RecoveryPublicKey]? = nil) throws(KeyringError) -> IngestKeyring {
        if let keys { return try IngestKeyring.generate(recoveryKeys: keys, signingKeyName: "ingest-1") }
        let keyring = try recovery()
        return try IngestKeyring.generate(recoveryKeys: keyring.publicKeys, signingKeyName: "ingest-1")
    }

    static func passphraseBytes() throws(KeyringError) -> SecretBytes {
        do throws(CryptoError) { return try SecretBytes(copying: Array(passphrase.utf8).span) } catch {
            throw .crypto(error)
        }
    }
}
