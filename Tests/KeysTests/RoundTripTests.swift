import Keys
import Testing
import VaultCrypto

@Suite("Keyrings survive their files")
struct RoundTripTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test("A data key made by a loaded ingest keyring opens with a loaded recovery keyring")
    func wholePath() throws {
        let passphrase = try secret("correct horse battery staple")
        var recovery = try RecoveryKeyring.generate(
            name: "analyst-1", domains: nil, passphrase: passphrase, cost: .minimum)
        let limited = try RecoveryKeyring.generate(
            name: "analyst-2", domains: ["device_id"], passphrase: passphrase, cost: .minimum)
        let ingest = try IngestKeyring.generate(
            recoveryKeys: recovery.publicKeys + limited.publicKeys, signingKeyName: "ingest-1")
        try recovery.trust(signingKey: ingest.signingPublicKey)
        try recovery.save(path: folder.file("recovery"))
        try ingest.save(path: folder.file("ingest"))
        #expect(folder.names.sorted() == ["ingest", "recovery"])

        let writer = try IngestKeyring.load(path: folder.file("ingest"))
        let reader = try RecoveryKeyring.load(path: folder.file("recovery"), passphrase: passphrase)
        #expect(writer.descriptions == ingest.descriptions)
        #expect(reader.descriptions == recovery.descriptions)
        #expect(try RecoveryKeyring.describe(path: folder.file("recovery")) == recovery.descriptions)
        #expect(try KeyringFile.kind(path: folder.file("ingest")) == .ingest)

        let made = try writer.makeDataKey(domain: "ip", createdAt: 1_700_000_000)
        #expect(made.record.seals.map(\.recoveryKey) == reader.recoveryKeyIDs)
        #expect(made.record.seals[0].sealed.count == 81)
        let opened = try reader.open(made.record)
        let sameKey = opened.secret.isEqual(to: made.key.secret)
        #expect(sameKey)

        let device = try writer.makeDataKey(domain: "device_id", createdAt: 1_700_000_000)
        #expect(device.record.seals.count == 2)

        let before = try ingest.subkey(.token(domain: "ip"), version: .first)
        let after = try writer.subkey(.token(domain: "ip"), version: .first)
        let sameSubkey = before.isEqual(to: after)
        #expect(sameSubkey)
    }

    @Test("A wrong passphrase opens nothing")
    func wrongPassphrase() throws {
        let keyring = try RecoveryKeyring.generate(
            name: "a", domains: nil, passphrase: try secret("right"), cost: .minimum)
        let path = folder.file("recovery")
        try keyring.save(path: path)
        let wrong = try secret("wrong")
        #expect(
            keyringError { () throws(KeyringError) in try RecoveryKeyring.load(path: path, passphrase: wrong) }
                == .wrongPassphrase(path: path))
    }
}
