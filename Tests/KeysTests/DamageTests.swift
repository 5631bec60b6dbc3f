import Foundation
import Testing
import VaultCrypto

@testable import Keys

@Suite("A damaged or edited keyring is refused")
struct DamageTests {
    let folder: TemporaryFolder
    let ingest: [UInt8]
    let recovery: [UInt8]

    init() throws {
        folder = try TemporaryFolder()
        var recovery = try Sample.recovery()
        let ingest = try Sample.ingest(recovery.publicKeys)
        try recovery.trust(signingKey: ingest.signingPublicKey)
        try ingest.save(path: folder.file("ingest"))
        try recovery.save(path: folder.file("recovery"))
        self.ingest = try folder.bytes("ingest")
        self.recovery = try folder.bytes("recovery")
    }

    private func loadIngest(_ bytes: [UInt8]) throws -> KeyringError? {
        try folder.write(bytes, to: "changed")
        return keyringError { () throws(KeyringError) in try IngestKeyring.load(path: folder.file("changed")) }
    }

    private func loadRecovery(_ bytes: [UInt8]) throws -> KeyringError? {
        try folder.write(bytes, to: "changed")
        let passphrase = try Sample.passphraseBytes()
        return keyringError { () throws(KeyringError) in
            try RecoveryKeyring.load(path: folder.file("changed"), passphrase: passphrase)
        }
    }

    /// The text with `old` replaced and a checksum that fits, as a careful editor would make it.
    private func edited(_ bytes: [UInt8], _ old: String, _ new: String) throws -> [UInt8] {
        let text = String(decoding: bytes.dropLast(83), as: UTF8.self)
        try #require(text.contains(old))
        let body = text.replacingOccurrences(of: old, with: new)
        return Array("\(body)  \"checksum\": \"\(Hex.encode(SHA256.hash(Array(body.utf8))))\"\n}\n".utf8)
    }

    private func isDamage(_ error: KeyringError?) -> Bool {
        if case .damaged = error { true } else { false }
    }

    @Test("The unchanged files load, so the refusals below are for the change")
    func unchanged() throws {
        #expect(try loadIngest(ingest) == nil)
        #expect(try loadRecovery(recovery) == nil)
        #expect(try loadIngest(try edited(ingest, "ingest-1", "ingest-9")) == nil)
    }

    @Test("Every single bit flipped is found by the check that loading begins with")
    func everyBit() {
        let unchanged = KeyringDocument.isIntact(ingest.span)
        #expect(unchanged)
        for file in [ingest, recovery] {
            for index in file.indices {
                for bit in 0..<8 {
                    var changed = file
                    changed[index] ^= 1 << UInt8(bit)
                    let isIntact = KeyringDocument.isIntact(changed.span)
                    #expect(!isIntact, "byte \(index), bit \(bit)")
                }
            }
        }
    }

    @Test("A flipped bit, a truncation and an addition are refused when loading")
    func loading() throws {
        for index in stride(from: 0, to: ingest.count, by: 13) {
            var changed = ingest
            changed[index] ^= 1 << UInt8(index % 8)
            #expect(isDamage(try loadIngest(changed)), "byte \(index)")
            #expect(isDamage(try loadIngest(Array(ingest.prefix(max(index, 1))))), "\(index) bytes")
        }
        for index in stride(from: 0, to: recovery.count, by: 13) {
            var changed = recovery
            changed[index] ^= 1 << UInt8(index % 8)
            #expect(isDamage(try loadRecovery(changed)), "byte \(index)")
        }
        #expect(isDamage(try loadIngest(Array(ingest.dropLast()))))
        #expect(isDamage(try loadIngest(ingest + [0x0A])))
        #expect(isDamage(try loadIngest([0x20] + ingest)))
    }

    @Test(
        "An edit of the ingest keyring with a fitting checksum is found",
        arguments: [
            ("\"version\": 1,\n", "\"version\": 1,\n  \"comment\": \"x\",\n"),
            ("\"version\": 1,\n", "\"version\": 1,\n  \"version\": 1,\n"),
            ("\"state\": \"active\", \"created\"", "\"state\": \"deactivated\", \"created\""),
            ("\"state\": \"active\"", "\"state\": \"destroyed\""),
            ("\"state\": \"active\"", "\"state\": \"Active\""),
            ("{\"version\": 1, \"id\"", "{\"version\": 2, \"id\""),
            ("{\"version\": 1, \"id\"", "{\"version\": 0, \"id\""),
            ("{\"version\": 1, \"id\"", "{\"version\": 4294967297, \"id\""),
            ("{\"version\": 1, \"id\"", "{\"version\": 1.0, \"id\""),
            ("\"token_keys\": [", "\"token_keys\": [{},"),
            ("\"seed\": \"", "\"seed\": \"A"),
            ("=\", \"public_key\"", "\", \"public_key\""),
            ("\"domains\": null", "\"domains\": []"),
            ("\"domains\": null", "\"domains\": [\"ip\", \"ip\"]"),
            ("\"domains\": null", "\"domains\": [\"IP\"]"),
            ("\"domains\": null", "\"domains\": \"ip\""),
            ("\"name\": \"analyst-1\"", "\"name\": \"analyst 1\""),
            ("\"name\": \"analyst-1\"", "\"name\": \"\""),
            ("\"created\": \"20", "\"created\": \"x0"),
            ("\"signing_key\"", "\"signing_keys\""),
        ])
    func ingestEdits(old: String, new: String) throws {
        #expect(isDamage(try loadIngest(try edited(ingest, old, new))))
    }

    @Test(
        "An edit of the recovery keyring with a fitting checksum is found",
        arguments: [
            ("argon2id13", "argon2i13"),
            ("\"operations\": 1", "\"operations\": 0"),
            ("\"operations\": 1", "\"operations\": 17"),
            ("\"memory_bytes\": 8388608", "\"memory_bytes\": 8388607"),
            ("\"memory_bytes\": 8388608", "\"memory_bytes\": 4294967297"),
            ("\"locked_private_key\": \"A", "\"locked_private_key\": \"AA"),
            ("\"salt\": \"", "\"salt\": \"AAAA"),
            ("\"signing_keys\": [", "\"signing_keys\": [1, "),
        ])
    func recoveryEdits(old: String, new: String) throws {
        #expect(isDamage(try loadRecovery(try edited(recovery, old, new))))
    }

    @Test("A recovery key that is renamed in the file does not unlock: its name is bound to it")
    func renamed() throws {
        let error = try loadRecovery(try edited(recovery, "\"name\": \"analyst-1\"", "\"name\": \"analyst-2\""))
        #expect(error == .wrongPassphrase(path: folder.file("changed")))
    }

    @Test("A recovery public key of low order is refused, with its right id", arguments: LowOrder.points)
    func lowOrder(point: [UInt8]) throws {
        let text = String(decoding: ingest, as: UTF8.self)
        let id = try #require(text.firstMatch(of: /"analyst-1", "id": "([0-9a-f]{32})"/)).output.1
        let key = try #require(text.firstMatch(of: /"domains": null, "public_key": "([^"]+)"/)).output.1
        var changed = try edited(ingest, String(id), KeyID.ofRecoveryKey(point).text)
        changed = try edited(changed, String(key), Base64.encode(point))
        #expect(isDamage(try loadIngest(changed)))
        #expect(
            keyringError { () throws(KeyringError) in
                try RecoveryPublicKey(name: "mallory", domains: nil, publicKey: point)
            } == .unusablePublicKey(name: "mallory"))
    }

    @Test("A recovery key whose id is another key's is refused")
    func wrongID() throws {
        let text = String(decoding: ingest, as: UTF8.self)
        for match in text.matches(of: /"id": "([0-9a-f]{32})"/) {
            #expect(isDamage(try loadIngest(try edited(ingest, String(match.output.1), KeyID(uuid: 7).text))))
        }
    }

    @Test("The wrong kind of keyring and a newer format are named as such")
    func kinds() throws {
        let changed = folder.file("changed")
        #expect(try loadIngest(recovery) == .wrongKind(path: changed, expected: .ingest, found: .recovery))
        #expect(try loadRecovery(ingest) == .wrongKind(path: changed, expected: .recovery, found: .ingest))
        #expect(
            try loadIngest(try edited(ingest, "\"version\": 1,\n", "\"version\": 2,\n"))
                == .unknownFormatVersion(path: changed, version: 2))
        #expect(isDamage(try loadIngest(try edited(ingest, "tokenvault-ingest-keyring", "tokenvault-other-keyring"))))
    }

    @Test("No message of a refusal shows a key")
    func quiet() throws {
        let text = String(decoding: ingest, as: UTF8.self)
        let secrets = text.matches(of: /"(?:key|seed)": "([^"]+)"/).map { String($0.output.1) }
        try #require(secrets.count == 2)
        for secret in secrets {
            let error = try loadIngest(
                try edited(ingest, secret, (secret.hasPrefix("A") ? "B" : "A") + secret.dropFirst()))
            let shown = try #require(error).description + String(reflecting: error)
            #expect(!shown.contains(secret.dropFirst()))
        }
    }
}

enum LowOrder {
    /// All zero, one, the two points of order 8, and p - 1.
    static let points: [[UInt8]] = [
        [UInt8](repeating: 0, count: 32),
        [1] + [UInt8](repeating: 0, count: 31),
        Hex.decode("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800") ?? [],
        Hex.decode("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157") ?? [],
        Hex.decode("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f") ?? [],
    ]
}
