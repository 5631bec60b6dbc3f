import Keys
import Testing
import VaultCrypto

@Suite("Changes of an ingest keyring keep exactly one token key active")
struct IngestEditingTests {
    private func states(_ keyring: borrowing IngestKeyring) -> [String] {
        keyring.descriptions.filter { $0.purpose == .token }.map { "\($0.name) \($0.state.rawValue)" }
    }

    private func version(_ number: UInt32) throws -> KeyVersion { try #require(KeyVersion(number)) }

    @Test("A token key goes through its life, and the file keeps each step")
    func lifecycle() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("ingest")
        var keyring = try Sample.ingest()
        try keyring.save(path: path)
        let second = try keyring.addTokenKey()
        #expect(states(keyring) == ["token-v1 active", "token-v2 pre-activation"])
        try keyring.save(path: path, replacing: true)
        try keyring.activateTokenKey(second)
        #expect(keyring.activeTokenKey == second)
        #expect(states(keyring) == ["token-v1 deactivated", "token-v2 active"])
        try keyring.markTokenKeyCompromised(.first)
        try keyring.save(path: path, replacing: true)
        #expect(states(try IngestKeyring.load(path: path)) == ["token-v1 compromised", "token-v2 active"])
        try keyring.destroyTokenKey(.first)
        try keyring.save(path: path, replacing: true)
        let loaded = try IngestKeyring.load(path: path)
        #expect(states(loaded) == ["token-v2 active"])
        let refusal = keyringError { () throws(KeyringError) in
            try loaded.subkey(.token(domain: "ip"), version: .first)
        }
        #expect(refusal == .unknownTokenKey(.first, known: [second]))
    }

    @Test("The active key is neither destroyed, marked nor activated again")
    func activeKey() throws {
        var keyring = try Sample.ingest()
        #expect(throws: KeyringError.self) { try keyring.destroyTokenKey(.first) }
        #expect(throws: KeyringError.self) { try keyring.markTokenKeyCompromised(.first) }
        #expect(throws: KeyringError.self) { try keyring.activateTokenKey(.first) }
        #expect(states(keyring) == ["token-v1 active"])
    }

    @Test("A key that was deactivated stays so")
    func noReturn() throws {
        var keyring = try Sample.ingest()
        try keyring.activateTokenKey(try keyring.addTokenKey())
        #expect(throws: KeyringError.transition(key: "token-v1", from: .deactivated, to: .active)) {
            try keyring.activateTokenKey(.first)
        }
    }

    @Test("Versions only rise, and can skip one that was destroyed")
    func versions() throws {
        var keyring = try Sample.ingest()
        #expect(throws: KeyringError.self) { try keyring.addTokenKey(version: .first) }
        #expect(try keyring.addTokenKey(version: try version(5)) == (try version(5)))
        #expect(try keyring.addTokenKey() == (try version(6)))
        #expect(throws: KeyringError.self) { try keyring.addTokenKey(version: try version(6)) }
    }

    @Test("Subkeys differ by use, domain and version")
    func subkeys() throws {
        var keyring = try Sample.ingest()
        let second = try keyring.addTokenKey()
        var codes: Set<[UInt8]> = []
        for version in [KeyVersion.first, second] {
            for label in [TokenKeyLabel.token(domain: "ip"), .token(domain: "ip_net"), .messageMAC, .fileFingerprint] {
                codes.insert(try HMACKey(key: try keyring.subkey(label, version: version)).code(for: [UInt8]().span))
            }
        }
        #expect(codes.count == 8)
    }

    @Test("A recovery key stands in it once, by id and by name")
    func recoveryKeys() throws {
        let key = try Sample.recovery("a").publicKeys[0]
        let namesake = try Sample.recovery("a").publicKeys[0]
        var keyring = try Sample.ingest([key])
        let duplicate = KeyringError.duplicateKey(what: "the recovery key", name: "a")
        #expect(throws: duplicate) { try keyring.addRecoveryKey(key) }
        #expect(throws: duplicate) { try keyring.addRecoveryKey(namesake) }
    }

    @Test("The last active key that may open a domain cannot be retired")
    func lastReader() throws {
        let all = try Sample.recovery("all").publicKeys[0]
        let devices = try Sample.recovery("devices", domains: ["device_id"]).publicKeys[0]
        var keyring = try Sample.ingest([all, devices])
        #expect(throws: KeyringError.self) { try keyring.changeRecoveryKey(all.id, to: .deactivated) }
        let successor = try Sample.recovery("all-2").publicKeys[0]
        try keyring.addRecoveryKey(successor)
        try keyring.changeRecoveryKey(all.id, to: .deactivated)
        try keyring.changeRecoveryKey(all.id, to: .destroyed)
        #expect(keyring.recoveryKeys.map(\.name) == ["devices", "all-2"])
        #expect(throws: KeyringError.unknownKey(all.id)) { try keyring.changeRecoveryKey(all.id, to: .compromised) }
    }

    @Test("Another writer shares token keys and has a signing key of its own")
    func anotherWriter() throws {
        let keyring = try Sample.ingest()
        let other = try keyring.forAnotherWriter(signingKeyName: "operator-1")
        #expect(other.signingPublicKey.id != keyring.signingPublicKey.id)
        let mine = try keyring.subkey(.messageMAC, version: .first)
        let isSame = mine.isEqual(to: try other.subkey(.messageMAC, version: .first))
        #expect(isSame)
    }

    @Test("A replaced signing key signs from then on")
    func signingKey() throws {
        var recovery = try Sample.recovery()
        var keyring = try Sample.ingest(recovery.publicKeys)
        #expect(throws: KeyringError.self) { try keyring.replaceSigningKey(name: "ingest-1") }
        let replaced = try keyring.replaceSigningKey(name: "ingest-2")
        try recovery.trust(signingKey: replaced)
        let made = try keyring.makeDataKey(domain: "ip", createdAt: 0)
        #expect(made.record.signingKey == replaced.id)
        let isSame = try recovery.open(made.record).secret.isEqual(to: made.key.secret)
        #expect(isSame)
    }
}
