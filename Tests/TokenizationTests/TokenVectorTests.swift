import Foundation
import Keys
import TestSupport
import Testing
import Tokenization
import VaultCrypto

/// Vectors/tokens.json: docs/FORMATS.md, sections 2 and 3, worked out by scripts/tokenvault_formats.py.
@Suite("The second implementation's tokens")
struct TokenVectorTests {
    struct Vector: Decodable, Sendable, CustomTestStringConvertible {
        let id: String
        let comment: String
        let kind: String
        let raw: String
        let normalised: String?
        let token: String?
        let network_token: String?

        var testDescription: String { "\(id): \(comment)" }

        static let all = Result { try vectorFile("tokens.json", as: [Vector].self) }
    }

    @Test("are all there")
    func count() throws { #expect(try Vector.all.get().count == 79) }

    @Test("are those of this program", arguments: try Vector.all.get())
    func agrees(_ vector: Vector) throws {
        let kind = try #require(ValueKind(rawValue: vector.kind))
        let raw = try #require(Hex.decode(vector.raw))
        guard let expected = vector.normalised else {
            let error = #expect(throws: NormalizationError.self) { try NormalizedValue(raw.span, kind: kind) }
            let text = String(decoding: raw, as: UTF8.self)
            if text.count > 3 { #expect(error.map { "\($0)".contains(text) } == false) }
            return
        }
        let value = try NormalizedValue(raw.span, kind: kind)
        #expect(Hex.encode(value.bytes) == expected)
        #expect(try token(of: value, domain: vector.kind) == vector.token)
        #expect(try value.network.map { try token(of: $0, domain: "ip_net") } == vector.network_token)
    }

    private func token(of value: NormalizedValue, domain: String) throws -> String {
        let keyring = try IngestKeyring.load(path: try VectorFolder.shared.get().path("ingest-vector.json"))
        let version = keyring.activeTokenKey
        let tokenizer = try Tokenizer(
            domain: domain, version: version, subkey: try keyring.subkey(.token(domain: domain), version: version))
        return tokenizer.token(of: value).text
    }
}

/// Vectors/formats.json and two keyring files: sections 4 to 7.
@Suite("The second implementation's keys and sealed values")
struct FormatVectorTests {
    struct Document: Decodable {
        struct Key: Decodable {
            let id, domain: String
            let created_at: Int64
            let signing_key, commitment, signature, recovery_key, sealed: String
        }
        struct Value: Decodable { let plaintext, token, sealed: String }
        struct Record: Decodable { let id, plaintext, sealed: String }

        let passphrase, token_key_id, recovery_key_id, signing_key_id: String
        let data_key: Key
        let value: Value
        let record: Record
    }

    @Test("load as keyrings, with the same key ids")
    func keyrings() throws {
        let (document, folder) = try (document(), VectorFolder.shared.get())
        let ingest = try IngestKeyring.load(path: folder.path("ingest-vector.json"))
        let ids = ingest.descriptions.map(\.id.text)
        #expect(Set(ids) == [document.token_key_id, document.recovery_key_id, document.signing_key_id])
        let recovery = try recoveryKeyring(document)
        #expect(recovery.recoveryKeyIDs.map(\.text) == [document.recovery_key_id])
    }

    @Test("open: data key, value and quarantined record")
    func open() throws {
        let document = try document()
        let key = try recoveryKeyring(document).open(record(document.data_key))
        let token = try #require(Token(document.value.token))
        let sealed = try #require(Hex.decode(document.value.sealed))
        #expect(Hex.encode(try SealedValue.open(sealed.span, token: token, dataKey: key)) == document.value.plaintext)
        let id = try #require(Hex.decodeUInt128(document.record.id))
        let refused = try #require(Hex.decode(document.record.sealed))
        #expect(
            Hex.encode(try SealedValue.openRecord(refused.span, id: id, dataKey: key)) == document.record.plaintext)
    }

    @Test("do not open as a data key of another domain, time or signature", arguments: ["domain", "time", "signature"])
    func altered(_ what: String) throws {
        let document = try document()
        let right = try record(document.data_key)
        var signature = right.signature
        if what == "signature" { signature[10] ^= 1 }
        let wrong = DataKeyRecord(
            id: right.id, domain: what == "domain" ? "device_id" : right.domain,
            createdAt: right.createdAt + (what == "time" ? 1 : 0), signingKey: right.signingKey,
            commitment: right.commitment, signature: signature, seals: right.seals)
        let keyring = try recoveryKeyring(document)
        #expect(throws: DataKeyError.self) { _ = try keyring.open(wrong) }
    }

    private func document() throws -> Document { try vectorFile("formats.json", as: Document.self) }

    private func recoveryKeyring(_ document: Document) throws -> RecoveryKeyring {
        let passphrase = try SecretBytes(copying: Array(document.passphrase.utf8).span)
        return try RecoveryKeyring.load(
            path: try VectorFolder.shared.get().path("recovery-vector.json"), passphrase: passphrase)
    }

    private func record(_ key: Document.Key) throws -> DataKeyRecord {
        DataKeyRecord(
            id: try #require(Hex.decodeUInt128(key.id)), domain: key.domain, createdAt: key.created_at,
            signingKey: try #require(KeyID(key.signing_key)), commitment: try #require(Hex.decode(key.commitment)),
            signature: try #require(Hex.decode(key.signature)),
            seals: [
                DataKeySeal(
                    recoveryKey: try #require(KeyID(key.recovery_key)), sealed: try #require(Hex.decode(key.sealed)))
            ])
    }
}

/// The log of Vectors/formats.json and the key file: section 8.
@Suite("The second implementation's log and checkpoint")
struct CheckpointVectorTests {
    struct Document: Decodable {
        struct Event: Decodable { let leaf, head: String }
        struct Log: Decodable {
            let events: [Event]
            let roots: [String]
            let verifier, checkpoint: String
        }
        let log: Log
    }

    @Test("have this program's chain, and its root at every size")
    func roots() throws {
        let log = try vectorFile("formats.json", as: Document.self).log
        #expect(log.events.count == 7 && log.roots.count == 8)
        var tree = MerkleTree()
        var head = [UInt8](repeating: 0, count: 32)
        #expect(Hex.encode(tree.root()) == log.roots[0])
        for (event, root) in zip(log.events, log.roots.dropFirst()) {
            let leaf = try #require(Hex.decode(event.leaf))
            head = SHA256.hash([2] + head + leaf)
            tree.append(leaf: leaf)
            #expect(Hex.encode(head) == event.head)
            #expect(Hex.encode(tree.root()) == root)
        }
    }

    @Test("open with the published key, and are what the key file signs")
    func checkpoint() throws {
        let log = try vectorFile("formats.json", as: Document.self).log
        let verifier = try #require(CheckpointVerifier(log.verifier))
        let expected = Checkpoint(
            origin: "example.org/vector-audit", size: 5, root: try #require(Hex.decode(log.roots[5])))
        #expect(try Checkpoint.open(Array(log.checkpoint.utf8), key: verifier) == expected)
        let key = try CheckpointKey.load(path: try VectorFolder.shared.get().path("checkpoint-vector.json"))
        #expect(key.verifier == verifier)
        #expect(key.sign(expected) == log.checkpoint)
    }
}

/// Copies of the keyring vectors with the mode that keyrings need; a checkout cannot keep it.
final class VectorFolder: Sendable {
    static let shared = Result { try VectorFolder() }

    private let folder: URL

    private init() throws {
        folder = try Repository.temporaryFolder("vectors")
        for name in ["ingest-vector.json", "recovery-vector.json", "checkpoint-vector.json"] {
            let copy = folder.appending(path: name)
            try FileManager.default.copyItem(
                atPath: Repository.path("Tests/TokenizationTests/Vectors/\(name)"), toPath: copy.path)
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: copy.path)
        }
    }

    func path(_ name: String) -> String { folder.appending(path: name).path }
}

func vectorFile<T: Decodable>(_ name: String, as type: T.Type) throws -> T {
    let path = Repository.path("Tests/TokenizationTests/Vectors/\(name)")
    return try JSONDecoder().decode(T.self, from: Data(contentsOf: URL(filePath: path)))
}
