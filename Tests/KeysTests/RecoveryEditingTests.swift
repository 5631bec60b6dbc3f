import Keys
import Testing
import VaultCrypto

@Suite("Changes of a recovery keyring lose no private key")
struct RecoveryEditingTests {
    let folder: TemporaryFolder
    let path: String

    init() throws {
        folder = try TemporaryFolder()
        path = folder.file("recovery")
    }

    private func load(_ passphrase: String) throws -> RecoveryKeyring {
        try RecoveryKeyring.load(path: path, passphrase: try secret(passphrase))
    }

    private func opens(_ record: DataKeyRecord, _ keyring: borrowing RecoveryKeyring) -> Bool {
        (try? keyring.open(record)) != nil
    }

    @Test("After a change of passphrase the new one opens, the old one does not, and the keys are the same")
    func passphrase() throws {
        var keyring = try Sample.recovery()
        try keyring.save(path: path)
        let before = try folder.bytes("recovery")
        try keyring.changePassphrase(to: try secret("another one"), cost: .minimum)
        try keyring.save(path: path, replacing: true)
        #expect(try load("another one").descriptions == keyring.descriptions)
        let wrong = try secret(Sample.passphrase)
        let refusal = keyringError { () throws(KeyringError) in
            try RecoveryKeyring.load(path: path, passphrase: wrong)
        }
        #expect(refusal == .wrongPassphrase(path: path))
        #expect(try folder.bytes("recovery") != before)
    }

    @Test("A merged keyring opens what either opened, under one passphrase")
    func merging() throws {
        var old = try Sample.recovery("old")
        var new = try RecoveryKeyring.generate(
            name: "new", domains: nil, passphrase: try secret("new passphrase"), cost: .minimum)
        let oldWriter = try Sample.ingest(old.publicKeys)
        let newWriter = try IngestKeyring.generate(recoveryKeys: new.publicKeys, signingKeyName: "ingest-2")
        try old.trust(signingKey: oldWriter.signingPublicKey)
        try new.trust(signingKey: newWriter.signingPublicKey)
        let oldRecord = try oldWriter.makeDataKey(domain: "ip", createdAt: 0).record
        let newRecord = try newWriter.makeDataKey(domain: "ip", createdAt: 0).record

        try new.merge(old)
        try new.merge(old)  // again changes nothing
        try new.save(path: path)
        let loaded = try load("new passphrase")
        #expect(loaded.publicKeys.map(\.name) == ["new", "old"])
        let opened = [opens(oldRecord, loaded), opens(newRecord, loaded), opens(newRecord, old)]
        #expect(opened == [true, true, false])
    }

    @Test("Two different keys of one name do not merge")
    func nameClash() throws {
        var first = try Sample.recovery("same")
        let second = try Sample.recovery("same")
        #expect(throws: KeyringError.duplicateKey(what: "another recovery key called", name: "same")) {
            try first.merge(second)
        }
        #expect(first.publicKeys.count == 1)
    }

    @Test("A retired key still opens, a destroyed one is gone, the last one stays")
    func retiring() throws {
        var keyring = try Sample.recovery("old")
        let writer = try Sample.ingest(keyring.publicKeys)
        try keyring.trust(signingKey: writer.signingPublicKey)
        let record = try writer.makeDataKey(domain: "ip", createdAt: 0).record
        let old = keyring.recoveryKeyIDs[0]
        let new = try keyring.addKey(name: "new", domains: ["ip"])
        #expect(throws: KeyringError.self) { try keyring.addKey(name: "new", domains: nil) }
        try keyring.changeRecoveryKey(old, to: .deactivated)
        var opened = opens(record, keyring)
        #expect(opened)
        #expect(throws: KeyringError.transition(key: "old", from: .deactivated, to: .active)) {
            try keyring.changeRecoveryKey(old, to: .active)
        }
        try keyring.changeRecoveryKey(old, to: .destroyed)
        opened = opens(record, keyring)
        #expect(!opened)
        #expect(keyring.recoveryKeyIDs == [new.id])
        try keyring.changeRecoveryKey(new.id, to: .deactivated)
        #expect(throws: KeyringError.self) { try keyring.changeRecoveryKey(new.id, to: .destroyed) }
    }

    @Test("A rewrapped data key opens with the new key only through the new seal")
    func rewrapping() throws {
        var old = try Sample.recovery("old")
        var new = try Sample.recovery("new")
        let writer = try Sample.ingest(old.publicKeys)
        try old.trust(signingKey: writer.signingPublicKey)
        try new.trust(signingKey: writer.signingPublicKey)
        let record = try writer.makeDataKey(domain: "ip", createdAt: 0).record
        var opened = opens(record, new)
        #expect(!opened)
        let seal = try new.publicKeys[0].seal(try old.open(record))
        let rewrapped = DataKeyRecord(
            id: record.id, domain: record.domain, createdAt: record.createdAt, signingKey: record.signingKey,
            commitment: record.commitment, signature: record.signature, seals: record.seals + [seal])
        opened = opens(rewrapped, new)
        #expect(opened)
    }

    @Test("A signing key is trusted once")
    func trust() throws {
        var keyring = try Sample.recovery()
        let key = try Sample.ingest().signingPublicKey
        try keyring.trust(signingKey: key)
        #expect(throws: KeyringError.duplicateKey(what: "the signing key", name: "ingest-1")) {
            try keyring.trust(signingKey: key)
        }
    }

    @Test("The standard cost is 3 passes over 64 MiB, and stands in the file")
    func standardCost() throws {
        let keyring = try RecoveryKeyring.generate(name: "a", domains: nil, passphrase: try secret("p"))
        try keyring.save(path: path)
        let text = String(decoding: try folder.bytes("recovery"), as: UTF8.self)
        #expect(text.contains("\"operations\": 3, \"memory_bytes\": 67108864"))
        #expect(try load("p").descriptions == keyring.descriptions)
    }
}
