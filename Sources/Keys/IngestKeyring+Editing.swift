internal import VaultCrypto

/// Changes of a loaded keyring; nothing is stored before ``save(path:replacing:)``.
extension IngestKeyring {
    /// A keyring for another writer, such as the operator who rotates: the same token and recovery keys, its own
    /// signing key, so that the two writers can be told apart and distrusted apart.
    package func forAnotherWriter(signingKeyName: String) throws(KeyringError) -> IngestKeyring {
        IngestKeyring(
            tokenKeys: tokenKeys, recoveryKeys: recoveryKeys, signing: try Self.makeSigning(name: signingKeyName),
            origin: FileOrigin())
    }

    /// Adds a fresh token key, pre-activation, with the version after the highest one here.
    ///
    /// - Parameter version: a higher one, where that version was destroyed before: versions are never used twice.
    package mutating func addTokenKey(version: KeyVersion? = nil) throws(KeyringError) -> KeyVersion {
        guard let last = tokenKeys.last?.version, let next = last.next, version.map({ $0 >= next }) ?? true else {
            throw .notAllowed(what: "a token key version that is not higher than all versions of the keyring")
        }
        let key = try Self.makeTokenKey(version: version ?? next)
        tokenKeys.append(key)
        return key.version
    }

    /// Makes new tokens with `version` from now on; the key that was active is deactivated.
    package mutating func activateTokenKey(_ version: KeyVersion) throws(KeyringError) {
        let index = try tokenKeyIndex(version)
        try requireTransition(of: index, to: .active)
        for other in tokenKeys.indices where tokenKeys[other].state == .active {
            tokenKeys[other].state = .deactivated
        }
        tokenKeys[index].state = .active
    }

    /// Notes that somebody else may hold the key. Of the active one only after another was activated.
    package mutating func markTokenKeyCompromised(_ version: KeyVersion) throws(KeyringError) {
        let index = try tokenKeyIndex(version)
        guard tokenKeys[index].state != .active else {
            throw .notAllowed(what: "the active token key; add and activate another one first")
        }
        try requireTransition(of: index, to: .compromised)
        tokenKeys[index].state = .compromised
    }

    /// Removes the key for good: its tokens can be neither made nor recognised any more. The caller has made sure
    /// that no value, row or message needs it.
    package mutating func destroyTokenKey(_ version: KeyVersion) throws(KeyringError) {
        let index = try tokenKeyIndex(version)
        try requireTransition(of: index, to: .destroyed)
        tokenKeys.remove(at: index)
    }

    package mutating func addRecoveryKey(_ key: RecoveryPublicKey) throws(KeyringError) {
        guard !recoveryKeys.contains(where: { $0.id == key.id || $0.name == key.name }) else {
            throw .duplicateKey(what: "the recovery key", name: key.name)
        }
        recoveryKeys.append(key)
    }

    /// Moves a recovery key on. New data keys are sealed to active ones only.
    ///
    /// - Throws: ``KeyringError/noRecoveryKey(domain:)`` when a domain that the key opens, or the quarantine, would be
    ///   left with no active key. To destroyed: removes the key.
    package mutating func changeRecoveryKey(_ id: KeyID, to state: KeyState) throws(KeyringError) {
        guard let index = recoveryKeys.firstIndex(where: { $0.id == id }) else { throw .unknownKey(id) }
        let key = recoveryKeys[index]
        guard key.state.mayBecome(state) else {
            throw .transition(key: key.name, from: key.state, to: state)
        }
        if key.state == .active { try requireReaders(without: key) }
        if state == .destroyed { recoveryKeys.remove(at: index) } else { recoveryKeys[index].state = state }
    }

    /// Signs with a fresh key from now on. Every recovery keyring must trust it before the next ingest is opened.
    package mutating func replaceSigningKey(name: String) throws(KeyringError) -> SigningPublicKey {
        guard name != signing.publicKey.name else { throw .duplicateKey(what: "the signing key", name: name) }
        signing = try Self.makeSigning(name: name)
        return signing.publicKey
    }

    private func requireReaders(without key: RecoveryPublicKey) throws(KeyringError) {
        let others = recoveryKeys.filter { $0.id != key.id && $0.state == .active }
        if let domains = key.domains {
            for domain in domains where !others.contains(where: { $0.mayOpen(domain: domain) }) {
                throw .noRecoveryKey(domain: domain)
            }
        } else if !others.contains(where: { $0.domains == nil }) {
            throw .notAllowed(what: "the last active recovery key for all domains; add its successor first")
        }
    }

    private func tokenKeyIndex(_ version: KeyVersion) throws(KeyringError) -> Int {
        guard let index = tokenKeys.firstIndex(where: { $0.version == version }) else {
            throw .unknownTokenKey(version, known: tokenKeyVersions)
        }
        return index
    }

    private func requireTransition(of index: Int, to state: KeyState) throws(KeyringError) {
        guard tokenKeys[index].state.mayBecome(state) else {
            throw .transition(key: "token-\(tokenKeys[index].version)", from: tokenKeys[index].state, to: state)
        }
    }
}
