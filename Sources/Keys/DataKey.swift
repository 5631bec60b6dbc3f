package import VaultCrypto

/// Seals the values of one domain in one ingest run. Nobody keeps it: see ``DataKeyRecord``.
package struct DataKey: ~Copyable, Sendable {
    package static let byteCount = 32
    /// Seal no more values under one data key.
    package static let maximumValueCount = 1 << 20

    package let id: UInt128
    package let domain: String
    package let secret: SecretBytes

    package init(id: UInt128, domain: String, secret: consuming SecretBytes) {
        self.id = id
        self.domain = domain
        self.secret = secret
    }

    /// `SHA-256("tokenvault/data-key-commitment/1" || key)`: binds the signature to this key.
    package func commitment() -> [UInt8] {
        secret.withBytes { secret in
            let label = Array("tokenvault/data-key-commitment/1".utf8)
            var message: [UInt8] = []
            message.reserveCapacity(label.count + secret.count)
            message += label
            for index in secret.indices { message.append(secret[index]) }
            defer { wipe(&message) }
            return SHA256.hash(message.span)
        }
    }
}

/// A fresh data key and what the database stores of it.
package struct SignedDataKey: ~Copyable, Sendable {
    package let key: DataKey
    package let record: DataKeyRecord

    /// Gives the key away; read ``record`` before.
    package consuming func takeKey() -> DataKey { key }
}

/// What the database stores of a data key: who made it, and the key sealed to everyone who may open it.
package struct DataKeyRecord: Sendable, Equatable {
    package let id: UInt128
    package let domain: String
    /// Unix seconds.
    package let createdAt: Int64
    package let signingKey: KeyID
    package let commitment: [UInt8]
    package let signature: [UInt8]
    package let seals: [DataKeySeal]

    package init(
        id: UInt128, domain: String, createdAt: Int64, signingKey: KeyID, commitment: [UInt8], signature: [UInt8],
        seals: [DataKeySeal]
    ) {
        self.id = id
        self.domain = domain
        self.createdAt = createdAt
        self.signingKey = signingKey
        self.commitment = commitment
        self.signature = signature
        self.seals = seals
    }

    /// What the signature covers (docs/FORMATS.md section 5).
    package static func signedBytes(id: UInt128, domain: String, createdAt: Int64, commitment: [UInt8]) -> [UInt8] {
        var encoder = FieldEncoder(label: "tokenvault/data-key/1")
        encoder.append(uuid: id)
        encoder.append(domain)
        encoder.append(i64: createdAt)
        encoder.append(commitment)
        return encoder.bytes
    }

    func isSigned(by publicKey: [UInt8]) -> Bool {
        let signed = Self.signedBytes(id: id, domain: domain, createdAt: createdAt, commitment: commitment)
        return SignatureVerification.isValid(signature, of: signed, publicKey: publicKey)
    }
}

/// A data key sealed to one recovery key: 81 bytes.
package struct DataKeySeal: Sendable, Equatable {
    package let recoveryKey: KeyID
    package let sealed: [UInt8]

    package init(recoveryKey: KeyID, sealed: [UInt8]) {
        self.recoveryKey = recoveryKey
        self.sealed = sealed
    }
}

/// Why a data key does not open. Names keys by id only.
package enum DataKeyError: Error, Equatable {
    case unknownSigningKey(KeyID, dataKey: KeyID)
    case untrustedSigningKey(KeyID, dataKey: KeyID)
    case badSignature(dataKey: KeyID, signingKey: KeyID)
    case noSeal(dataKey: KeyID, domain: String)
    case unreadableSeal(dataKey: KeyID, recoveryKey: KeyID, CryptoError)
    case wrongCommitment(dataKey: KeyID)
}

extension DataKeyError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .unknownSigningKey(let signer, let key):
            "data key \(key) is signed by key \(signer), which the recovery keyring does not know; "
                + "if that writer is yours, trust its signing key, else treat the values as planted"
        case .untrustedSigningKey(let signer, let key):
            "data key \(key) is signed by key \(signer), which is marked compromised or not active yet; decide with "
                + "the key operator whether values of that writer can be believed"
        case .badSignature(let key, let signer):
            "data key \(key) does not carry the signature of key \(signer): it was planted or changed; "
                + "tell the security team, and restore it from a backup"
        case .noSeal(let key, let domain):
            "data key \(key) of domain \(domain) is not sealed to any key of this recovery keyring; ask someone "
                + "who may open that domain"
        case .unreadableSeal(let key, let recoveryKey, let error):
            "data key \(key) does not open with recovery key \(recoveryKey): \(error)"
        case .wrongCommitment(let key):
            "data key \(key) opens to another key than the one signed: its seal was swapped; restore it from a backup"
        }
    }
}
