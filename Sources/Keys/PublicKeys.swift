internal import VaultCrypto

/// The half of a recovery key that seals. Always a usable X25519 key.
package struct RecoveryPublicKey: Sendable, Equatable {
    package let name: String
    package let id: KeyID
    package internal(set) var state: KeyState
    package let created: String
    /// The domains whose data keys are sealed to this key; `nil` for all, the quarantine included.
    package let domains: [String]?
    package let publicKey: [UInt8]

    /// - Throws: ``KeyringError/unusablePublicKey(name:)`` for a wrong length, all zero or low order.
    package init(
        name: String, state: KeyState = .active, created: String = Timestamp.now(), domains: [String]?,
        publicKey: [UInt8]
    ) throws(KeyringError) {
        guard KeyName.isValid(name) else { throw .invalidName(what: "the recovery key's name") }
        guard Timestamp.isValid(created) else { throw .invalidName(what: "the recovery key's time") }
        if let domains {
            guard !domains.isEmpty, domains.allSatisfy(DomainName.isValid), Set(domains).count == domains.count else {
                throw .invalidName(what: "a domain of the recovery key")
            }
        }
        guard X25519.isUsable(publicKey: publicKey) else { throw .unusablePublicKey(name: name) }
        self.name = name
        self.id = .ofRecoveryKey(publicKey)
        self.state = state
        self.created = created
        self.domains = domains
        self.publicKey = publicKey
    }

    package func mayOpen(domain: String) -> Bool { domains?.contains(domain) ?? true }

    /// Seals a data key to this key, whatever its state: for rewrapping. Making new data keys asks for active keys.
    package func seal(_ dataKey: borrowing DataKey) throws(KeyringError) -> DataKeySeal {
        do throws(CryptoError) {
            return DataKeySeal(recoveryKey: id, sealed: try SealedBox.seal(dataKey.secret, to: publicKey))
        } catch { throw .crypto(error) }
    }

    package var description: KeyDescription {
        KeyDescription(
            purpose: .recovery, name: name, id: id, version: nil, state: state, created: created, domains: domains,
            publicKey: publicKey)
    }
}

/// The half of a signing key that verifies.
package struct SigningPublicKey: Sendable, Equatable {
    package let name: String
    package let id: KeyID
    package internal(set) var state: KeyState
    package let created: String
    package let publicKey: [UInt8]

    package init(
        name: String, state: KeyState = .active, created: String = Timestamp.now(), publicKey: [UInt8]
    ) throws(KeyringError) {
        guard KeyName.isValid(name) else { throw .invalidName(what: "the signing key's name") }
        guard Timestamp.isValid(created) else { throw .invalidName(what: "the signing key's time") }
        guard publicKey.count == SigningKey.publicKeyByteCount, publicKey.contains(where: { $0 != 0 }) else {
            throw .unusablePublicKey(name: name)
        }
        self.name = name
        self.id = .ofSigningKey(publicKey)
        self.state = state
        self.created = created
        self.publicKey = publicKey
    }

    package var description: KeyDescription {
        KeyDescription(
            purpose: .signing, name: name, id: id, version: nil, state: state, created: created, domains: nil,
            publicKey: publicKey)
    }
}
