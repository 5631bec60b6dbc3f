package import VaultCrypto

/// Changes of an open keyring; nothing is stored before ``save(path:replacing:)``.
extension RecoveryKeyring {
    /// Believes what this writer signs. Compare the key id with the writer's owner first.
    package mutating func trust(signingKey: SigningPublicKey) throws(KeyringError) {
        guard !signingKeys.contains(where: { $0.id == signingKey.id }) else {
            throw .duplicateKey(what: "the signing key", name: signingKey.name)
        }
        signingKeys.append(signingKey)
    }

    /// Moves a signing key on. Deactivated: what it signed is still believed. Compromised: no more.
    /// Destroyed: the keyring forgets it.
    package mutating func changeSigningKey(_ id: KeyID, to state: KeyState) throws(KeyringError) {
        guard let index = signingKeys.firstIndex(where: { $0.id == id }) else { throw .unknownKey(id) }
        let key = signingKeys[index]
        guard key.state.mayBecome(state) else {
            throw .transition(key: key.name, from: key.state, to: state)
        }
        if state == .destroyed { signingKeys.remove(at: index) } else { signingKeys[index].state = state }
    }

    /// Adds a fresh key pair, active here; ingest keyrings seal to it once its public half was added there.
    package mutating func addKey(name: String, domains: [String]?) throws(KeyringError) -> RecoveryPublicKey {
        guard !keys.contains(where: { $0.publicKey.name == name }) else {
            throw .duplicateKey(what: "the recovery key", name: name)
        }
        let key = try Self.makeKey(name: name, domains: domains)
        keys.append(key)
        return key.publicKey
    }

    /// Moves a recovery key on. Every key in the keyring opens what was sealed to it, whatever its state.
    /// Destroyed: the private key is gone for good. The caller has made sure that no data key needs it.
    package mutating func changeRecoveryKey(_ id: KeyID, to state: KeyState) throws(KeyringError) {
        guard let index = keys.firstIndex(where: { $0.publicKey.id == id }) else { throw .unknownKey(id) }
        let key = keys[index].publicKey
        guard key.state.mayBecome(state) else {
            throw .transition(key: key.name, from: key.state, to: state)
        }
        if state == .destroyed {
            guard keys.count > 1 else {
                throw .notAllowed(what: "the keyring's only recovery key; delete the file instead")
            }
            keys.remove(at: index)
        } else {
            keys[index].publicKey.state = state
        }
    }

    /// Locks all private keys under another passphrase, with a fresh salt, from the next save on.
    /// Copies of the old file still open with the old passphrase: whoever may have both needs a new key.
    package mutating func changePassphrase(
        to passphrase: borrowing SecretBytes, cost: PassphraseCost = .standard
    ) throws(KeyringError) {
        lock = try Lock.fresh(passphrase: passphrase, cost: cost)
    }

    /// Adds the keys of another open keyring, under this one's passphrase: one file that opens old and new.
    /// Keys that stand in both are left as they are here.
    package mutating func merge(_ other: borrowing RecoveryKeyring) throws(KeyringError) {
        var merged = keys
        for key in other.keys where !merged.contains(where: { $0.publicKey.id == key.publicKey.id }) {
            guard !merged.contains(where: { $0.publicKey.name == key.publicKey.name }) else {
                throw .duplicateKey(what: "another recovery key called", name: key.publicKey.name)
            }
            merged.append(key)
        }
        let known = Set(signingKeys.map(\.id))
        signingKeys += other.signingKeys.filter { !known.contains($0.id) }
        keys = merged
    }
}
