import Keys
import Testing
import VaultCrypto

@Suite("A data key opens only as its writer made it")
struct DataKeyTests {
    private struct Parts: ~Copyable {
        var recovery: RecoveryKeyring
        let ingest: IngestKeyring
        let record: DataKeyRecord

        init() throws {
            var recovery = try Sample.recovery()
            let ingest = try Sample.ingest(recovery.publicKeys)
            try recovery.trust(signingKey: ingest.signingPublicKey)
            self.record = try ingest.makeDataKey(domain: "ip", createdAt: 1_700_000_000).record
            self.recovery = recovery
            self.ingest = ingest
        }
    }

    private func openingError(_ record: DataKeyRecord, _ keyring: borrowing RecoveryKeyring) -> DataKeyError? {
        do throws(DataKeyError) { _ = try keyring.open(record) } catch { return error }
        return nil
    }

    private func changed(
        _ record: DataKeyRecord, id: UInt128? = nil, domain: String? = nil, createdAt: Int64? = nil,
        signingKey: KeyID? = nil, commitment: [UInt8]? = nil, signature: [UInt8]? = nil, seals: [DataKeySeal]? = nil
    ) -> DataKeyRecord {
        DataKeyRecord(
            id: id ?? record.id, domain: domain ?? record.domain, createdAt: createdAt ?? record.createdAt,
            signingKey: signingKey ?? record.signingKey, commitment: commitment ?? record.commitment,
            signature: signature ?? record.signature, seals: seals ?? record.seals)
    }

    @Test("Every signed field is signed")
    func signedFields() throws {
        let parts = try Parts()
        let record = parts.record
        #expect(openingError(record, parts.recovery) == nil)
        let id = KeyID(uuid: record.id)
        let bad = DataKeyError.badSignature(dataKey: id, signingKey: record.signingKey)
        #expect(openingError(changed(record, domain: "device_id"), parts.recovery) == bad)
        #expect(openingError(changed(record, createdAt: 1), parts.recovery) == bad)
        var commitment = record.commitment
        commitment[0] ^= 1
        #expect(openingError(changed(record, commitment: commitment), parts.recovery) == bad)
        #expect(openingError(changed(record, signature: []), parts.recovery) == bad)
        #expect(
            openingError(changed(record, id: 7), parts.recovery)
                == .badSignature(dataKey: KeyID(uuid: 7), signingKey: record.signingKey))
    }

    @Test("A key planted by someone with the public keys only is refused before it is opened")
    func planted() throws {
        let parts = try Parts()
        let mallory = try IngestKeyring.generate(recoveryKeys: parts.recovery.publicKeys, signingKeyName: "mallory")
        let record = try mallory.makeDataKey(domain: "ip", createdAt: 0).record
        let id = KeyID(uuid: record.id)
        #expect(openingError(record, parts.recovery) == .unknownSigningKey(record.signingKey, dataKey: id))
        let disguised = changed(record, signingKey: parts.record.signingKey)
        #expect(
            openingError(disguised, parts.recovery)
                == .badSignature(dataKey: id, signingKey: parts.record.signingKey))
    }

    @Test("A seal swapped for that of another data key is found by the commitment")
    func swappedSeal() throws {
        let parts = try Parts()
        let other = try parts.ingest.makeDataKey(domain: "ip", createdAt: 1_700_000_000).record
        #expect(
            openingError(changed(parts.record, seals: other.seals), parts.recovery)
                == .wrongCommitment(dataKey: KeyID(uuid: parts.record.id)))
    }

    @Test("A damaged, cut or newer seal is refused, and the recovery key named")
    func damagedSeal() throws {
        let parts = try Parts()
        let seal = parts.record.seals[0]
        let id = KeyID(uuid: parts.record.id)
        func error(_ sealed: [UInt8]) -> DataKeyError? {
            let seals = [DataKeySeal(recoveryKey: seal.recoveryKey, sealed: sealed)]
            return openingError(changed(parts.record, seals: seals), parts.recovery)
        }
        for index in 1..<seal.sealed.count {
            var sealed = seal.sealed
            sealed[index] ^= 0x10
            let expected = CryptoError.notAuthentic(what: "a sealed data key")
            #expect(
                error(sealed) == .unreadableSeal(dataKey: id, recoveryKey: seal.recoveryKey, expected), "byte \(index)")
        }
        #expect(error([]) != nil)
        #expect(error(Array(seal.sealed.dropLast())) != nil)
        #expect(error(seal.sealed + [0]) != nil)
        #expect(error([2] + seal.sealed.dropFirst()) != nil)
    }

    @Test("A keyring without a key for the domain says so")
    func noSeal() throws {
        let parts = try Parts()
        var limited = try Sample.recovery("limited", domains: ["device_id"])
        try limited.trust(signingKey: parts.ingest.signingPublicKey)
        #expect(
            openingError(parts.record, limited)
                == .noSeal(dataKey: KeyID(uuid: parts.record.id), domain: "ip"))
    }

    @Test("A deactivated signing key is still believed, a compromised one no more")
    func signerStates() throws {
        var parts = try Parts()
        let signer = parts.record.signingKey
        try parts.recovery.changeSigningKey(signer, to: .deactivated)
        #expect(openingError(parts.record, parts.recovery) == nil)
        try parts.recovery.changeSigningKey(signer, to: .compromised)
        #expect(
            openingError(parts.record, parts.recovery)
                == .untrustedSigningKey(signer, dataKey: KeyID(uuid: parts.record.id)))
        try parts.recovery.changeSigningKey(signer, to: .destroyed)
        #expect(parts.recovery.signingKeys.isEmpty)
    }

    @Test("Data keys are sealed to the active keys for their domain, and made for no domain without one")
    func readers() throws {
        let all = try Sample.recovery("all").publicKeys[0]
        let devices = try Sample.recovery("devices", domains: ["device_id"]).publicKeys[0]
        var keyring = try IngestKeyring.generate(recoveryKeys: [all, devices], signingKeyName: "w")
        func readers(_ domain: String) throws -> [KeyID] {
            try keyring.makeDataKey(domain: domain, createdAt: 0).record.seals.map(\.recoveryKey)
        }
        #expect(try readers("ip") == [all.id])
        #expect(try readers("device_id") == [all.id, devices.id])
        #expect(try readers(DomainName.quarantine) == [all.id])
        try keyring.changeRecoveryKey(devices.id, to: .deactivated)
        #expect(try readers("device_id") == [all.id])

        let limited = try IngestKeyring.generate(recoveryKeys: [devices], signingKeyName: "w")
        let refusal = keyringError { () throws(KeyringError) in try limited.makeDataKey(domain: "ip", createdAt: 0) }
        #expect(refusal == .noRecoveryKey(domain: "ip"))
    }
}
