internal import JSON
internal import VaultCrypto

extension KeyringDocument {
    /// Reads a recovery key's public half, recomputes its id and refuses a key that nothing can be sealed to.
    func recoveryPublicKey(_ node: JSONNode) throws(KeyringError) -> RecoveryPublicKey {
        let name = try text("name", of: node)
        let key: RecoveryPublicKey
        do {
            key = try RecoveryPublicKey(
                name: name, state: try state(of: node), created: try created(of: node),
                domains: try domains(of: node), publicKey: try bytes("public_key", of: node, count: 32))
        } catch .unusablePublicKey {
            throw damage("a recovery public key is not usable (all zero or of low order)")
        } catch .invalidName {
            throw damage("a recovery key's name or domain is not valid")
        }
        guard key.id == (try id(of: node)) else { throw damage("a key id does not belong to its key") }
        return key
    }

    func signingPublicKey(_ node: JSONNode) throws(KeyringError) -> SigningPublicKey {
        try require(["name", "id", "state", "created", "public_key"], of: node)
        let key: SigningPublicKey
        do {
            key = try SigningPublicKey(
                name: try text("name", of: node), state: try state(of: node), created: try created(of: node),
                publicKey: try bytes("public_key", of: node, count: 32))
        } catch .unusablePublicKey {
            throw damage("a signing public key is all zero")
        } catch .invalidName {
            throw damage("a signing key's name is not valid")
        }
        guard key.id == (try id(of: node)) else { throw damage("a key id does not belong to its key") }
        return key
    }

    func requireUnique<T: Hashable>(_ values: [T]) throws(KeyringError) {
        guard Set(values).count == values.count else { throw damage("a key stands in it twice") }
    }
}
