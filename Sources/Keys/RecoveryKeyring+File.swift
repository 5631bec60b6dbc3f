package import VaultCrypto

extension RecoveryKeyring {
    /// Reads a keyring file and opens its private keys. Takes as long as the keyring's passphrase cost says.
    package static func load(
        path: String, passphrase: borrowing SecretBytes
    ) throws(KeyringError) -> RecoveryKeyring {
        let text = try ProtectedFile.read(path: path, limit: KeyringText.byteLimit)
        let locked = try LockedRecoveryKeyring(text, path: path)
        let lock = try Lock.derive(passphrase: passphrase, salt: locked.salt, cost: locked.cost)
        return try locked.unlock(lock, path: path, origin: FileOrigin(KeyringDocument.checksumLine(of: text)))
    }

    /// What a keyring file says of its keys, without the passphrase.
    ///
    /// Only a passphrase proves that the private keys are there; the public part is as trustworthy as the file.
    package static func describe(path: String) throws(KeyringError) -> [KeyDescription] {
        try LockedRecoveryKeyring(try ProtectedFile.read(path: path, limit: KeyringText.byteLimit), path: path)
            .descriptions
    }

    /// Writes the keyring to a new file, or with `replacing` over the file that it was loaded from.
    ///
    /// The new file is flushed, read back, unlocked and used (a data key sealed to each of its keys is opened)
    /// before the old one is given up. A file that changed since it was loaded is left alone.
    package func save(path: String, replacing: Bool = false) throws(KeyringError) {
        let expected = descriptions
        let lock = lock
        var locked: [LockedRecoveryKey] = []
        for key in keys {
            locked.append(
                try wrappingCryptoError { () throws(CryptoError) in
                    try LockedRecoveryKey(locking: key, under: lock.key.bytes)
                })
        }
        let signingKeys = signingKeys
        try origin.save(
            path: path, replacing: replacing,
            compose: { Self.compose(lock: lock, keys: locked, signingKeys: signingKeys, into: &$0) },
            verify: { text throws(KeyringError) in
                let written = try LockedRecoveryKeyring(text, path: path)
                guard written.descriptions == expected, written.salt == lock.salt, written.cost == lock.cost else {
                    throw .damaged(path: path, reason: "it reads back changed")
                }
                try written.unlock(lock, path: path, origin: FileOrigin()).testUse()
            })
    }

    private static func compose(
        lock: Lock, keys: [LockedRecoveryKey], signingKeys: [SigningPublicKey], into text: inout KeyringText
    ) {
        text.add("{\n  \"format\": \"\(KeyringKind.recovery.rawValue)\",\n  \"version\": 1,\n")
        text.add("  \"passphrase\": {\"algorithm\": \"argon2id13\", \"salt\": ")
        text.add(base64: lock.salt.span)
        text.add(", \"operations\": \(lock.cost.operations), \"memory_bytes\": \(lock.cost.memoryBytes)},\n")
        text.addArray("recovery_keys", count: keys.count) { text, index in
            text.add(keys[index].publicKey)
            text.add(", \"locked_private_key\": ")
            let locked = keys[index].locked
            text.add(base64: locked.span)
        }
        text.addArray("signing_keys", count: signingKeys.count) { text, index in text.add(signingKeys[index]) }
    }

    private func testUse() throws(KeyringError) {
        do throws(CryptoError) {
            for key in keys {
                let probe = try SecretBytes(randomCount: DataKey.byteCount)
                let opened = try key.pair.pair.openSealed(try SealedBox.seal(probe, to: key.publicKey.publicKey))
                guard opened.isEqual(to: probe) else { throw .notAuthentic(what: "a test value") }
            }
        } catch { throw .crypto(error) }
    }
}

/// Finds out what a keyring file is before choosing how to load it.
package enum KeyringFile {
    package static func kind(path: String) throws(KeyringError) -> KeyringKind {
        try KeyringDocument.open(try ProtectedFile.read(path: path, limit: KeyringText.byteLimit), path: path).kind()
    }
}
