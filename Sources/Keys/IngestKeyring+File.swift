internal import JSON
internal import VaultCrypto

extension IngestKeyring {
    /// Reads a keyring file, refusing one that others can read, that is damaged or whose ids do not fit its keys.
    package static func load(path: String) throws(KeyringError) -> IngestKeyring {
        try parse(try ProtectedFile.read(path: path, limit: KeyringText.byteLimit), path: path)
    }

    /// Writes the keyring to a new file, or with `replacing` over the file that it was loaded from.
    ///
    /// The new file is flushed, read back and used (a token subkey, a sealed and signed data key) before the
    /// old one is given up. A file that changed since it was loaded is left alone.
    package func save(path: String, replacing: Bool = false) throws(KeyringError) {
        let (tokenKeys, recoveryKeys, signing, expected) = (tokenKeys, recoveryKeys, signing, descriptions)
        try origin.save(
            path: path, replacing: replacing,
            compose: { Self.compose(tokenKeys, recoveryKeys, signing, into: &$0) },
            verify: { text throws(KeyringError) in
                let written = try Self.parse(text, path: path)
                guard written.descriptions == expected else {
                    throw .damaged(path: path, reason: "it reads back changed")
                }
                try written.testUse(path: path)
            })
    }

    static func parse(_ text: borrowing SecretBytes, path: String) throws(KeyringError) -> IngestKeyring {
        let document = try KeyringDocument.open(text, path: path, kind: .ingest)
        let root = document.root
        try document.require(
            ["format", "version", "token_keys", "recovery_keys", "signing_key", "checksum"], of: root)
        var tokenKeys: [TokenKey] = []
        for node in try document.elements("token_keys", of: root) { tokenKeys.append(try tokenKey(document, node)) }
        var recoveryKeys: [RecoveryPublicKey] = []
        for node in try document.elements("recovery_keys", of: root) {
            try document.require(["name", "id", "state", "created", "domains", "public_key"], of: node)
            recoveryKeys.append(try document.recoveryPublicKey(node))
        }
        try document.requireUnique(tokenKeys.map(\.version))
        try document.requireUnique(recoveryKeys.map(\.id))
        try document.requireUnique(recoveryKeys.map(\.name))
        guard tokenKeys.filter({ $0.state == .active }).count == 1 else {
            throw document.damage("not exactly one token key is active")
        }
        return IngestKeyring(
            tokenKeys: tokenKeys, recoveryKeys: recoveryKeys,
            signing: try signing(document, try document.member("signing_key", of: root)),
            origin: FileOrigin(KeyringDocument.checksumLine(of: text)))
    }

    private static func tokenKey(
        _ document: borrowing KeyringDocument, _ node: JSONNode
    ) throws(KeyringError) -> TokenKey {
        try document.require(["version", "id", "state", "created", "key"], of: node)
        let number = try document.integer("version", of: node)
        guard let version = UInt32(exactly: number).flatMap(KeyVersion.init) else {
            throw document.damage("a token key's version is out of range")
        }
        let secret = SharedSecret(try document.secret("key", of: node, count: tokenKeyByteCount))
        let id = try wrappingCryptoError { () throws(CryptoError) in
            try KeyID.ofTokenKey(secret.bytes, version: version)
        }
        guard id == (try document.id(of: node)) else { throw document.damage("a key id does not belong to its key") }
        return TokenKey(
            version: version, id: id, state: try document.state(of: node), created: try document.created(of: node),
            secret: secret)
    }

    private static func signing(
        _ document: borrowing KeyringDocument, _ node: JSONNode
    ) throws(KeyringError) -> Signing {
        try document.require(["name", "id", "created", "seed", "public_key"], of: node)
        let seed = try document.secret("seed", of: node, count: SigningKey.seedByteCount)
        let key = try wrappingCryptoError { () throws(CryptoError) in try SigningKey(seed: seed) }
        guard key.publicKey == (try document.bytes("public_key", of: node, count: 32)) else {
            throw document.damage("the signing key's halves do not belong together")
        }
        let publicKey: SigningPublicKey
        do {
            publicKey = try SigningPublicKey(
                name: try document.text("name", of: node), created: try document.created(of: node),
                publicKey: key.publicKey)
        } catch .invalidName { throw document.damage("the signing key's name is not valid") }
        guard publicKey.id == (try document.id(of: node)) else {
            throw document.damage("a key id does not belong to its key")
        }
        return Signing(key, publicKey: publicKey)
    }

    private static func compose(
        _ tokenKeys: [TokenKey], _ recoveryKeys: [RecoveryPublicKey], _ signing: Signing, into text: inout KeyringText
    ) {
        text.add("{\n  \"format\": \"\(KeyringKind.ingest.rawValue)\",\n  \"version\": 1,\n")
        text.addArray("token_keys", count: tokenKeys.count) { text, index in
            let key = tokenKeys[index]
            text.add("\"version\": \(key.version.number), \"id\": \"\(key.id)\", ")
            text.add("\"state\": \"\(key.state.rawValue)\", \"created\": \"\(key.created)\", \"key\": ")
            key.secret.bytes.withBytes { text.add(base64: $0) }
        }
        text.addArray("recovery_keys", count: recoveryKeys.count) { text, index in text.add(recoveryKeys[index]) }
        let publicKey = signing.publicKey
        text.add("  \"signing_key\": {\"name\": \"\(publicKey.name)\", \"id\": \"\(publicKey.id)\", ")
        text.add("\"created\": \"\(publicKey.created)\", \"seed\": ")
        signing.key.withSeed { text.add(base64: $0) }
        text.add(", \"public_key\": ")
        text.add(base64: publicKey.publicKey.span)
        text.add("},\n")
    }

    /// Uses each kind of key once, as the ingest does.
    private func testUse(path: String) throws(KeyringError) {
        for version in tokenKeyVersions { _ = try subkey(.token(domain: "test"), version: version) }
        for reader in recoveryKeys where reader.state == .active {
            let made = try makeDataKey(domain: reader.domains?.first ?? DomainName.quarantine, createdAt: 0)
            guard made.record.isSigned(by: signing.publicKey.publicKey) else {
                throw .damaged(path: path, reason: "its signing key does not sign")
            }
        }
    }
}
