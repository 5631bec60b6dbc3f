internal import VaultCrypto

/// What an auditor signs: the log's name, how many events it holds, and the Merkle root over them.
///
/// Text and signature: docs/FORMATS.md, section 8; C2SP tlog-checkpoint and signed-note, so that other tools read it.
package struct Checkpoint: Sendable, Equatable {
    package let origin: String
    package let size: Int
    /// 32 bytes.
    package let root: [UInt8]

    package init(origin: String, size: Int, root: [UInt8]) {
        (self.origin, self.size, self.root) = (origin, size, root)
    }

    /// The signed text.
    var body: String { "\(origin)\n\(size)\n\(Base64.encode(root))\n" }

    /// Reads a signed checkpoint and checks its signature by `key`, which must be of the same origin.
    ///
    /// Other signatures (of witnesses) may stand there as well; they are not looked at.
    package static func open(_ note: [UInt8], key: CheckpointVerifier) throws(CheckpointError) -> Checkpoint {
        guard note.count <= 64 * 1024, let text = String(validating: note, as: UTF8.self),
            !note.contains(where: { $0 < 0x20 && $0 != 0x0A || $0 == 0x7F }), note.last == 0x0A
        else { throw .malformed }
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        guard let blank = lines.lastIndex(of: ""), blank >= 3, blank + 1 < lines.endIndex else { throw .malformed }
        try checkSignature(Array(lines[(blank + 1)...]), of: Array(lines[..<blank]), key: key)
        guard !lines[..<blank].contains("") else { throw .malformed }
        let (origin, size, root) = (String(lines[0]), Int(lines[1]), Base64.decode(String(lines[2])))
        guard let size, size >= 0, String(size) == lines[1], let root, root.count == SHA256.byteCount else {
            throw .malformed
        }
        guard origin == key.name else { throw .otherOrigin(found: origin, expected: key.name) }
        return Checkpoint(origin: origin, size: size, root: root)
    }

    private static func checkSignature(
        _ signatures: [Substring], of body: [Substring], key: CheckpointVerifier
    ) throws(CheckpointError) {
        let signed = Array((body.joined(separator: "\n") + "\n").utf8)
        var isSigned = false
        for line in signatures {
            let parts = line.split(separator: " ", omittingEmptySubsequences: false)
            guard parts.count == 3, parts[0] == "\u{2014}", !parts[1].isEmpty,
                let bytes = Base64.decode(String(parts[2])), bytes.count > 4
            else { throw .malformed }
            guard parts[1] == key.name, Array(bytes[..<4]) == key.hash else { continue }
            guard SignatureVerification.isValid(Array(bytes[4...]), of: signed, publicKey: key.publicKey) else {
                throw .badSignature
            }
            isSigned = true
        }
        guard isSigned else { throw .otherKey(expected: key.name) }
    }
}

/// The public half of a checkpoint key, as a signed-note verifier key: `NAME+HASH+BASE64`. Not secret.
package struct CheckpointVerifier: Sendable, Equatable {
    package let name: String
    package let publicKey: [UInt8]

    init(name: String, publicKey: [UInt8]) { (self.name, self.publicKey) = (name, publicKey) }

    /// The first 4 bytes of SHA-256(name || 0A || 01 || public key); 01 says Ed25519.
    var hash: [UInt8] { Array(SHA256.hash(Array(name.utf8) + [0x0A, 0x01] + publicKey)[..<4]) }

    package var text: String { "\(name)+\(Hex.encode(hash))+\(Base64.encode([0x01] + publicKey))" }

    /// `nil` unless `text` is exactly as ``text`` writes it.
    package init?(_ text: String) {
        let parts = text.split(separator: "+", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, Self.isValidName(String(parts[0])), let key = Base64.decode(String(parts[2])),
            key.count == 33, key[0] == 0x01
        else { return nil }
        self.init(name: String(parts[0]), publicKey: Array(key[1...]))
        guard self.text == text else { return nil }
    }

    /// 1 to 128 of `A-Z a-z 0-9 . _ : / @ -`, the first a letter or digit; by custom a URL without its scheme.
    package static func isValidName(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard (1...128).contains(bytes.count) else { return false }
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            default: false
            }
        }
        return isAlphanumeric(bytes[0]) && bytes.allSatisfy { isAlphanumeric($0) || "._:/@-".utf8.contains($0) }
    }
}

/// Why a checkpoint proves nothing.
package enum CheckpointError: Error, Equatable {
    case malformed
    case badSignature
    case otherKey(expected: String)
    case otherOrigin(found: String, expected: String)
}

extension CheckpointError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .malformed:
            "the checkpoint is damaged: it is not a signed checkpoint (docs/FORMATS.md section 8); take another copy"
        case .badSignature:
            "the checkpoint's signature is wrong: its text was changed after it was signed; take another copy, and ask who could write this one"
        case .otherKey(let expected):
            "the checkpoint is not signed by the key \(expected); give the public half of the key that signed it"
        case .otherOrigin(let found, let expected):
            "the checkpoint is of the log \(found), not of \(expected); name the right file"
        }
    }
}
