import Foundation
import Keys
import Testing
import VaultCrypto

@Suite("Checkpoints")
struct CheckpointTests {
    private static let name = "example.org/vault-audit"
    private static let checkpoint = Checkpoint(
        origin: name, size: 1_000_000, root: (0..<32).map { UInt8($0) })

    private func note(_ checkpoint: Checkpoint = Self.checkpoint) throws -> (note: [UInt8], key: CheckpointVerifier) {
        let key = try CheckpointKey.generate(name: Self.name)
        return (Array(key.sign(checkpoint).utf8), key.verifier)
    }

    @Test("are read back as signed, also beside a witness's signature")
    func roundTrip() throws {
        let (note, key) = try note()
        #expect(try Checkpoint.open(note, key: key) == Self.checkpoint)
        let witness = try CheckpointKey.generate(name: "witness.example")
        let theirs = witness.sign(Self.checkpoint).split(separator: "\n").last!
        #expect(try Checkpoint.open(note + Array("\(theirs)\n".utf8), key: key) == Self.checkpoint)
    }

    @Test("are refused after any bit has flipped, and when cut anywhere")
    func damage() throws {
        let (note, key) = try note()
        for index in note.indices {
            for bit in 0..<8 {
                var changed = note
                changed[index] ^= 1 << bit
                #expect(throws: CheckpointError.self, "byte \(index) bit \(bit)") {
                    try Checkpoint.open(changed, key: key)
                }
            }
            #expect(throws: CheckpointError.self, "cut at \(index)") {
                try Checkpoint.open(Array(note[..<index]), key: key)
            }
        }
        #expect(throws: CheckpointError.malformed) { try Checkpoint.open(note + [0x0A], key: key) }
        #expect(throws: CheckpointError.badSignature) { try Checkpoint.open(note + note, key: key) }
    }

    @Test("of another key, another log or another name are told apart")
    func others() throws {
        let (note, key) = try note()
        let other = try CheckpointKey.generate(name: Self.name)
        #expect(throws: CheckpointError.otherKey(expected: Self.name)) {
            try Checkpoint.open(note, key: other.verifier)
        }
        let renamed = try CheckpointKey.generate(name: "elsewhere")
        #expect(throws: CheckpointError.otherKey(expected: "elsewhere")) {
            try Checkpoint.open(note, key: renamed.verifier)
        }
        let foreign = Checkpoint(origin: "example.org/other", size: 1, root: Self.checkpoint.root)
        let signed = Array(other.sign(foreign).utf8)
        #expect(throws: CheckpointError.otherOrigin(found: "example.org/other", expected: Self.name)) {
            try Checkpoint.open(signed, key: other.verifier)
        }
        // The right name and hash over another key's signature.
        let forged = String(decoding: note, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        let theirs = String(decoding: try self.note().note, as: UTF8.self)
            .split(separator: "\n", omittingEmptySubsequences: false)
        let mine = Base64.decode(String(forged[4].split(separator: " ")[2]))!
        let foreignSignature = Base64.decode(String(theirs[4].split(separator: " ")[2]))!
        let mixed = Base64.encode(Array(mine[..<4]) + Array(foreignSignature[4...]))
        let lines = forged[..<4].map(String.init) + ["\u{2014} \(Self.name) \(mixed)", ""]
        #expect(throws: CheckpointError.badSignature) {
            try Checkpoint.open(Array(lines.joined(separator: "\n").utf8), key: key)
        }
        #expect(CheckpointVerifier(key.text) == key)
        for index in key.text.indices {
            var text = key.text
            text.replaceSubrange(index...index, with: key.text[index] == "x" ? "y" : "x")
            #expect(CheckpointVerifier(text) == nil || CheckpointVerifier(text) != key)
        }
    }

    @Test("are refused when they are malformed, though the right key signed them")
    func signedNonsense() throws {
        let signer = try SigningKey.generate()
        func verifier(_ name: String, kind: UInt8 = 1) -> String {
            let hash = SHA256.hash(Array(name.utf8) + [0x0A, kind] + signer.publicKey)[..<4]
            return "\(name)+\(Hex.encode(Array(hash)))+\(Base64.encode([kind] + signer.publicKey))"
        }
        let key = try #require(CheckpointVerifier(verifier(Self.name)))
        func signature(of body: String) -> String {
            let hash = Array(SHA256.hash(Array(Self.name.utf8) + [0x0A, 0x01] + signer.publicKey)[..<4])
            return "\u{2014} \(Self.name) \(Base64.encode(hash + signer.sign(Array(body.utf8))))\n"
        }
        func open(_ body: String) throws -> Checkpoint {
            try Checkpoint.open(Array("\(body)\n\(signature(of: body))".utf8), key: key)
        }
        let root = Base64.encode(Self.checkpoint.root)
        let good = "\(Self.name)\n1000000\n\(root)\n"
        #expect(try open(good) == Self.checkpoint)
        #expect(try open(good + "an extension\n") == Self.checkpoint)
        for body in [
            "\(Self.name)\n-1\n\(root)\n", "\(Self.name)\n01000000\n\(root)\n", "\(Self.name)\n+5\n\(root)\n",
            "\(Self.name)\n99999999999999999999\n\(root)\n", "\(Self.name)\n\n\(root)\n", "\(Self.name)\n5\n",
            "\(Self.name)\n5\n\(Base64.encode(Array(Self.checkpoint.root[1...])))\n", "\(Self.name)\n5\n\(root)=\n",
            "\(Self.name)\n5\n \(root)\n", good + "\nafter an empty line\n", good + "a\ttab\n", good + "a\r\n",
            good + "\u{7F}\n",
            good + String(repeating: "x", count: 64 * 1024) + "\n",
        ] {
            #expect(throws: CheckpointError.malformed, "\(body.prefix(150))") { try open(body) }
        }
        // Without its last newline, though a signature stands before it.
        let twice = "\(good)\n\(signature(of: good))\(signature(of: good))"
        #expect(try Checkpoint.open(Array(twice.utf8), key: key) == Self.checkpoint)
        #expect(throws: CheckpointError.malformed) { try Checkpoint.open(Array(twice.utf8.dropLast()), key: key) }
        for text in [verifier("with space"), verifier("new\nline"), verifier(""), verifier(Self.name, kind: 2)] {
            #expect(CheckpointVerifier(text) == nil)
        }
    }

    @Test("A key file is private, is read back, and is refused when damaged or named badly")
    func keyFile() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("checkpoint.key")
        let key = try CheckpointKey.generate(name: Self.name)
        try key.save(path: path)
        let read = try CheckpointKey.load(path: path)
        #expect(read.verifier == key.verifier)
        #expect(try Checkpoint.open(Array(read.sign(Self.checkpoint).utf8), key: key.verifier) == Self.checkpoint)
        #expect(throws: KeyringError.alreadyExists(path: path)) { try key.save(path: path) }
        for name in ["", "with space", "plus+plus", "new\nline", "/slash", "é", String(repeating: "a", count: 129)] {
            #expect(throws: KeyringError.self) { _ = try CheckpointKey.generate(name: name).verifier }
        }
        let bytes = try Data(contentsOf: URL(filePath: path))
        for index in stride(from: 0, to: bytes.count, by: 3) {
            var changed = bytes
            changed[index] ^= 1
            try changed.write(to: URL(filePath: path))
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
            #expect(throws: KeyringError.self, "byte \(index)") { _ = try CheckpointKey.load(path: path).verifier }
        }
        try bytes.write(to: URL(filePath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
        #expect(throws: KeyringError.unprotected(path: path, mode: 0o644)) {
            _ = try CheckpointKey.load(path: path).verifier
        }
    }
}
