internal import JSON
internal import VaultCrypto

/// The auditor's own signing key (docs/FORMATS.md, section 7). Kept on another host than the database.
package struct CheckpointKey: ~Copyable {
    package let verifier: CheckpointVerifier
    private let created: String
    private let key: SigningKey

    private init(_ key: consuming SigningKey, name: String, created: String) {
        verifier = CheckpointVerifier(name: name, publicKey: key.publicKey)
        self.created = created
        self.key = key
    }

    /// - Parameter name: of the log and of the key; see ``CheckpointVerifier/isValidName(_:)``.
    package static func generate(name: String) throws(KeyringError) -> CheckpointKey {
        guard CheckpointVerifier.isValidName(name) else { throw .invalidName(what: "the log's name") }
        let key = try wrappingCryptoError { () throws(CryptoError) in try SigningKey.generate() }
        return CheckpointKey(key, name: name, created: Timestamp.now())
    }

    package static func load(path: String) throws(KeyringError) -> CheckpointKey {
        try parse(try ProtectedFile.read(path: path, limit: KeyringText.byteLimit), path: path)
    }

    /// Writes a new file, mode 0600, reads it back and signs with it.
    package borrowing func save(path: String) throws(KeyringError) {
        let (verifier, created) = (verifier, created)
        let seed = try wrappingCryptoError { () throws(CryptoError) in
            try key.withSeed { seed throws(CryptoError) in SharedSecret(try SecretBytes(copying: seed)) }
        }
        try FileOrigin().save(
            path: path, replacing: false,
            compose: { text in
                text.add("{\n  \"format\": \"\(KeyringKind.checkpoint.rawValue)\",\n  \"version\": 1,\n")
                text.add("  \"name\": \"\(verifier.name)\",\n  \"created\": \"\(created)\",\n  \"seed\": ")
                seed.bytes.withBytes { text.add(base64: $0) }
                text.add(",\n  \"public_key\": ")
                text.add(base64: verifier.publicKey.span)
                text.add(",\n")
            },
            verify: { text throws(KeyringError) in
                let written = try Self.parse(text, path: path)
                let probe = Checkpoint(origin: verifier.name, size: 0, root: [UInt8](repeating: 0, count: 32))
                do throws(CheckpointError) {
                    _ = try Checkpoint.open(Array(written.sign(probe).utf8), key: verifier)
                } catch { throw .damaged(path: path, reason: "it reads back changed") }
            })
    }

    /// The signed note.
    package borrowing func sign(_ checkpoint: Checkpoint) -> String {
        let signature = Base64.encode(verifier.hash + key.sign(Array(checkpoint.body.utf8)))
        return "\(checkpoint.body)\n\u{2014} \(verifier.name) \(signature)\n"
    }

    private static func parse(_ text: borrowing SecretBytes, path: String) throws(KeyringError) -> CheckpointKey {
        let document = try KeyringDocument.open(text, path: path, kind: .checkpoint)
        let root = document.root
        try document.require(["format", "version", "name", "created", "seed", "public_key", "checksum"], of: root)
        let seed = try document.secret("seed", of: root, count: SigningKey.seedByteCount)
        let key = try wrappingCryptoError { () throws(CryptoError) in try SigningKey(seed: seed) }
        guard key.publicKey == (try document.bytes("public_key", of: root, count: 32)) else {
            throw document.damage("the key's halves do not belong together")
        }
        let name = try document.text("name", of: root)
        guard CheckpointVerifier.isValidName(name) else { throw document.damage("the log's name is not valid") }
        return CheckpointKey(key, name: name, created: try document.created(of: root))
    }
}
