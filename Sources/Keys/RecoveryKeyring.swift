package import VaultCrypto

/// What an analyst, service or safe holds, under a passphrase: recovery key pairs, and the signing keys of the
/// writers that it believes.
///
/// Holds the private keys open in protected memory while it lives. Form: docs/FORMATS.md section 7.
package struct RecoveryKeyring: ~Copyable, Sendable {
    var keys: [Key]
    package internal(set) var signingKeys: [SigningPublicKey]
    var lock: Lock
    let origin: FileOrigin

    struct Key: Sendable {
        var publicKey: RecoveryPublicKey
        let pair: SharedKeyPair
    }

    /// How the private keys are locked in the file.
    struct Lock: Sendable {
        let salt: [UInt8]
        let cost: PassphraseCost
        let key: SharedSecret

        static func fresh(
            passphrase: borrowing SecretBytes, cost: PassphraseCost
        ) throws(KeyringError) -> Lock {
            try derive(passphrase: passphrase, salt: RandomBytes.fill(Argon2id.saltByteCount), cost: cost)
        }

        static func derive(
            passphrase: borrowing SecretBytes, salt: [UInt8], cost: PassphraseCost
        ) throws(KeyringError) -> Lock {
            do throws(CryptoError) {
                let key = try Argon2id.derive(
                    passphrase: passphrase, salt: salt, operations: cost.operations, memoryBytes: cost.memoryBytes)
                return Lock(salt: salt, cost: cost, key: SharedSecret(key))
            } catch { throw .crypto(error) }
        }
    }

    init(keys: [Key], signingKeys: [SigningPublicKey], lock: Lock, origin: FileOrigin) {
        self.keys = keys
        self.signingKeys = signingKeys
        self.lock = lock
        self.origin = origin
    }

    /// A keyring with one fresh key pair. It trusts no writer yet.
    package static func generate(
        name: String, domains: [String]?, passphrase: borrowing SecretBytes, cost: PassphraseCost = .standard
    ) throws(KeyringError) -> RecoveryKeyring {
        let key = try makeKey(name: name, domains: domains)
        let lock = try Lock.fresh(passphrase: passphrase, cost: cost)
        return RecoveryKeyring(keys: [key], signingKeys: [], lock: lock, origin: FileOrigin())
    }

    package var recoveryKeyIDs: [KeyID] { keys.map(\.publicKey.id) }

    /// For the ingest keyrings that are to seal to these keys.
    package var publicKeys: [RecoveryPublicKey] { keys.map(\.publicKey) }

    package var descriptions: [KeyDescription] {
        keys.map(\.publicKey.description) + signingKeys.map(\.description)
    }

    /// Opens a data key: checks who made it first, opens the seal, checks that it is the key that was signed.
    package func open(_ record: DataKeyRecord) throws(DataKeyError) -> DataKey {
        let id = KeyID(uuid: record.id)
        guard let signer = signingKeys.first(where: { $0.id == record.signingKey }) else {
            throw .unknownSigningKey(record.signingKey, dataKey: id)
        }
        guard signer.state == .active || signer.state == .deactivated else {
            throw .untrustedSigningKey(signer.id, dataKey: id)
        }
        guard record.isSigned(by: signer.publicKey) else { throw .badSignature(dataKey: id, signingKey: signer.id) }
        let key = DataKey(id: record.id, domain: record.domain, secret: try openSeal(of: record))
        guard ConstantTime.equal(key.commitment(), record.commitment) else { throw .wrongCommitment(dataKey: id) }
        return key
    }

    private func openSeal(of record: DataKeyRecord) throws(DataKeyError) -> SecretBytes {
        let id = KeyID(uuid: record.id)
        for seal in record.seals {
            guard let key = keys.first(where: { $0.publicKey.id == seal.recoveryKey }) else { continue }
            do throws(CryptoError) {
                let secret = try key.pair.pair.openSealed(seal.sealed)
                guard secret.count == DataKey.byteCount else {
                    throw .wrongLength(what: "a data key", expected: DataKey.byteCount, found: secret.count)
                }
                return secret
            } catch { throw .unreadableSeal(dataKey: id, recoveryKey: seal.recoveryKey, error) }
        }
        throw .noSeal(dataKey: id, domain: record.domain)
    }

    static func makeKey(name: String, domains: [String]?) throws(KeyringError) -> Key {
        let pair = SharedKeyPair(try wrappingCryptoError { () throws(CryptoError) in try RecoveryKeyPair.generate() })
        let publicKey = try RecoveryPublicKey(name: name, domains: domains, publicKey: pair.pair.publicKey)
        return Key(publicKey: publicKey, pair: pair)
    }
}

/// A key pair with several owners: keyrings that were merged share it.
final class SharedKeyPair: Sendable {
    let pair: RecoveryKeyPair

    init(_ pair: consuming RecoveryKeyPair) { self.pair = pair }
}
