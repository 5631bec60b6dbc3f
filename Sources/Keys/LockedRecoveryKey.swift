internal import VaultCrypto

/// A recovery private key under the passphrase (docs/FORMATS.md section 7):
/// `01 || nonce || XChaCha20-Poly1305(private key) || tag`, 73 bytes, bound to its name, id and public key.
struct LockedRecoveryKey: Sendable {
    static let format: UInt8 = 1
    static let byteCount = 1 + XChaCha20Poly1305.overhead + RecoveryKeyPair.privateKeyByteCount

    let publicKey: RecoveryPublicKey
    let locked: [UInt8]

    init(publicKey: RecoveryPublicKey, locked: [UInt8]) {
        self.publicKey = publicKey
        self.locked = locked
    }

    init(locking key: RecoveryKeyring.Key, under lockKey: borrowing SecretBytes) throws(CryptoError) {
        var locked = [Self.format]
        let context = Self.context(key.publicKey)
        try key.pair.pair.withPrivateKey { privateKey throws(CryptoError) in
            try privateKey.withBytes { bytes throws(CryptoError) in
                try XChaCha20Poly1305.seal(bytes, context: context.span, key: lockKey, into: &locked)
            }
        }
        self.init(publicKey: key.publicKey, locked: locked)
    }

    /// Opens the private key and checks that it gives the public key.
    func unlock(with lockKey: borrowing SecretBytes, path: String) throws(KeyringError) -> RecoveryKeyring.Key {
        guard locked[0] == Self.format else {
            throw .unknownFormatVersion(path: path, version: Int64(locked[0]))
        }
        let pair: SharedKeyPair
        do throws(CryptoError) {
            let privateKey = try XChaCha20Poly1305.openSecret(
                locked.span.extracting(droppingFirst: 1), context: Self.context(publicKey).span, key: lockKey)
            pair = SharedKeyPair(try RecoveryKeyPair(privateKey: privateKey))
        } catch {
            if case .notAuthentic = error { throw .wrongPassphrase(path: path) }
            throw .crypto(error)
        }
        guard pair.pair.publicKey == publicKey.publicKey else {
            throw .damaged(path: path, reason: "a recovery key's halves do not belong together")
        }
        return RecoveryKeyring.Key(publicKey: publicKey, pair: pair)
    }

    private static func context(_ key: RecoveryPublicKey) -> [UInt8] {
        var encoder = FieldEncoder(label: "tokenvault/locked-recovery-key/1")
        encoder.append(key.name)
        encoder.append(uuid: key.id.uuid)
        encoder.append(key.publicKey)
        return encoder.bytes
    }
}

/// A recovery keyring as it stands in its file: everything but the private keys is readable.
struct LockedRecoveryKeyring {
    let salt: [UInt8]
    let cost: PassphraseCost
    let keys: [LockedRecoveryKey]
    let signingKeys: [SigningPublicKey]

    var descriptions: [KeyDescription] { keys.map(\.publicKey.description) + signingKeys.map(\.description) }

    init(_ text: borrowing SecretBytes, path: String) throws(KeyringError) {
        let document = try KeyringDocument.open(text, path: path, kind: .recovery)
        let root = document.root
        try document.require(
            ["format", "version", "passphrase", "recovery_keys", "signing_keys", "checksum"], of: root)

        let passphrase = try document.member("passphrase", of: root)
        try document.require(["algorithm", "salt", "operations", "memory_bytes"], of: passphrase)
        guard try document.text("algorithm", of: passphrase) == "argon2id13" else {
            throw document.damage("its passphrase algorithm is unknown")
        }
        salt = try document.bytes("salt", of: passphrase, count: Argon2id.saltByteCount)
        do {
            cost = try PassphraseCost(
                operations: Int(try document.integer("operations", of: passphrase)),
                memoryBytes: Int(try document.integer("memory_bytes", of: passphrase)))
        } catch .costOutOfRange { throw document.damage("its passphrase cost is out of range") }

        var keys: [LockedRecoveryKey] = []
        for node in try document.elements("recovery_keys", of: root) {
            try document.require(
                ["name", "id", "state", "created", "domains", "public_key", "locked_private_key"], of: node)
            keys.append(
                LockedRecoveryKey(
                    publicKey: try document.recoveryPublicKey(node),
                    locked: try document.bytes("locked_private_key", of: node, count: LockedRecoveryKey.byteCount)))
        }
        guard !keys.isEmpty else { throw document.damage("it holds no recovery key") }
        self.keys = keys

        var signingKeys: [SigningPublicKey] = []
        for node in try document.elements("signing_keys", of: root) {
            signingKeys.append(try document.signingPublicKey(node))
        }
        self.signingKeys = signingKeys
        try document.requireUnique(keys.map(\.publicKey.id))
        try document.requireUnique(keys.map(\.publicKey.name))
        try document.requireUnique(signingKeys.map(\.id))
    }

    func unlock(_ lock: RecoveryKeyring.Lock, path: String, origin: FileOrigin) throws(KeyringError) -> RecoveryKeyring
    {
        var unlocked: [RecoveryKeyring.Key] = []
        for key in keys { unlocked.append(try key.unlock(with: lock.key.bytes, path: path)) }
        return RecoveryKeyring(keys: unlocked, signingKeys: signingKeys, lock: lock, origin: origin)
    }
}
