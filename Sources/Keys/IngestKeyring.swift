package import VaultCrypto

/// What the ingest host holds: token keys, *public* recovery keys and its signing key.
///
/// It can make tokens and seal values; it cannot open what it sealed. Exactly one token key is active.
/// Form: docs/FORMATS.md section 7.
package struct IngestKeyring: ~Copyable, Sendable {
    /// Rising versions.
    var tokenKeys: [TokenKey]
    package internal(set) var recoveryKeys: [RecoveryPublicKey]
    var signing: Signing
    let origin: FileOrigin

    struct TokenKey: Sendable {
        let version: KeyVersion
        let id: KeyID
        var state: KeyState
        let created: String
        let secret: SharedSecret
    }

    final class Signing: Sendable {
        let key: SigningKey
        let publicKey: SigningPublicKey

        init(_ key: consuming SigningKey, publicKey: SigningPublicKey) {
            self.key = key
            self.publicKey = publicKey
        }
    }

    init(tokenKeys: [TokenKey], recoveryKeys: [RecoveryPublicKey], signing: Signing, origin: FileOrigin) {
        self.tokenKeys = tokenKeys.sorted { $0.version < $1.version }
        self.recoveryKeys = recoveryKeys
        self.signing = signing
        self.origin = origin
    }

    /// A keyring with a fresh token key v1 and a fresh signing key.
    package static func generate(
        recoveryKeys: [RecoveryPublicKey], signingKeyName: String
    ) throws(KeyringError) -> IngestKeyring {
        var tokenKey = try makeTokenKey(version: .first)
        tokenKey.state = .active
        var keyring = IngestKeyring(
            tokenKeys: [tokenKey], recoveryKeys: [], signing: try makeSigning(name: signingKeyName),
            origin: FileOrigin())
        for key in recoveryKeys { try keyring.addRecoveryKey(key) }
        return keyring
    }

    package var tokenKeyVersions: [KeyVersion] { tokenKeys.map(\.version) }

    package var activeTokenKey: KeyVersion {
        tokenKeys.first { $0.state == .active }?.version ?? tokenKeys[0].version  // one is always active
    }

    /// For the recovery keyrings that are to believe this writer.
    package var signingPublicKey: SigningPublicKey { signing.publicKey }

    package var descriptions: [KeyDescription] {
        tokenKeys.map { key in
            KeyDescription(
                purpose: .token, name: "token-\(key.version)", id: key.id, version: key.version, state: key.state,
                created: key.created, domains: nil, publicKey: nil)
        } + recoveryKeys.map(\.description) + [signing.publicKey.description]
    }

    /// The key for one use of one token key version, whatever its state.
    package func subkey(_ label: TokenKeyLabel, version: KeyVersion) throws(KeyringError) -> SecretBytes {
        guard let key = tokenKeys.first(where: { $0.version == version }) else {
            throw .unknownTokenKey(version, known: tokenKeyVersions)
        }
        return try wrappingCryptoError { () throws(CryptoError) in
            try HKDFSHA256.derive(from: key.secret.bytes, info: label.info(version))
        }
    }

    /// A fresh data key, signed, and sealed to every active recovery key that may open `domain`.
    ///
    /// - Throws: ``KeyringError/noRecoveryKey(domain:)`` when there is none: nobody could ever open the values.
    package func makeDataKey(domain: String, createdAt: Int64) throws(KeyringError) -> SignedDataKey {
        guard DomainName.isValid(domain) else { throw .invalidName(what: "the domain") }
        let readers = recoveryKeys.filter { $0.state == .active && $0.mayOpen(domain: domain) }
        guard !readers.isEmpty else { throw .noRecoveryKey(domain: domain) }
        let secret = try wrappingCryptoError { () throws(CryptoError) in
            try SecretBytes(randomCount: DataKey.byteCount)
        }
        let key = DataKey(id: RandomBytes.uuid(), domain: domain, secret: secret)
        var seals: [DataKeySeal] = []
        for reader in readers { seals.append(try reader.seal(key)) }
        let commitment = key.commitment()
        let signed = DataKeyRecord.signedBytes(
            id: key.id, domain: domain, createdAt: createdAt, commitment: commitment)
        let record = DataKeyRecord(
            id: key.id, domain: domain, createdAt: createdAt, signingKey: signing.publicKey.id,
            commitment: commitment, signature: signing.key.sign(signed), seals: seals)
        return SignedDataKey(key: key, record: record)
    }

    static func makeTokenKey(version: KeyVersion) throws(KeyringError) -> TokenKey {
        try wrappingCryptoError { () throws(CryptoError) in
            let secret = SharedSecret(try SecretBytes(randomCount: tokenKeyByteCount))
            return TokenKey(
                version: version, id: try .ofTokenKey(secret.bytes, version: version), state: .preActivation,
                created: Timestamp.now(), secret: secret)
        }
    }

    static func makeSigning(name: String) throws(KeyringError) -> Signing {
        let key = try wrappingCryptoError { () throws(CryptoError) in try SigningKey.generate() }
        let publicKey = try SigningPublicKey(name: name, publicKey: key.publicKey)
        return Signing(key, publicKey: publicKey)
    }

    static let tokenKeyByteCount = 32
}
