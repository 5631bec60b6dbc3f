import Keys
import Testing
import VaultCrypto

@Suite("Names, states and public keys have one form")
struct NameTests {
    @Test("Domain names", arguments: ["ip", "ip_net", "device_id", "a", "v1", "a_v", "a_vx1", "x2_1", "quarantine"])
    func validDomains(name: String) { #expect(DomainName.isValid(name)) }

    @Test(
        "Names that are no domain's",
        arguments: ["", "IP", "1a", "_a", "a-b", "ip_v1", "a_v12", "é", "a b", String(repeating: "a", count: 32)])
    func invalidDomains(name: String) { #expect(!DomainName.isValid(name)) }

    @Test("Key names", arguments: ["a", "analyst-1", "Jo.Doe@host_2", "9", String(repeating: "a", count: 64)])
    func validKeys(name: String) { #expect(KeyName.isValid(name)) }

    @Test(
        "Names that are no key's",
        arguments: ["", "-a", ".a", "a b", "a\"b", "a\\b", "a\n", "ä", String(repeating: "a", count: 65)])
    func invalidKeys(name: String) { #expect(!KeyName.isValid(name)) }

    @Test("A state moves down only, and never from active to destroyed at once")
    func states() {
        let allowed = KeyState.allCases.flatMap { from in
            KeyState.allCases.filter(from.mayBecome).map { "\(from.rawValue) > \($0.rawValue)" }
        }
        #expect(
            allowed == [
                "pre-activation > active", "pre-activation > compromised", "pre-activation > destroyed",
                "active > deactivated", "active > compromised", "deactivated > compromised",
                "deactivated > destroyed", "compromised > destroyed",
            ])
    }

    @Test("Versions start at 1 and fit SQL's integer")
    func versions() {
        #expect(KeyVersion(0) == nil)
        #expect(KeyVersion(1)?.next == KeyVersion(2))
        #expect(KeyVersion(2_147_483_648) == nil)
        #expect(KeyVersion(2_147_483_647)?.next == nil)
    }

    @Test("A public key's line reads back", arguments: [nil, ["ip"], ["ip", "device_id"]])
    func publicKeyText(domains: [String]?) throws {
        let key = try Sample.recovery("analyst-1", domains: domains).publicKeys[0]
        let read = try RecoveryPublicKey(text: key.text + "\n")
        #expect(read.id == key.id && read.name == key.name && read.domains == key.domains)
        #expect(read.publicKey == key.publicKey)
        let signing = try Sample.ingest().signingPublicKey
        let readSigning = try SigningPublicKey(text: signing.text)
        #expect(readSigning.id == signing.id && readSigning.name == signing.name)
    }

    @Test(
        "A line of another form is refused",
        arguments: [
            "", "tokenvault-recovery-key a *", "tokenvault-signing-key a * AAAA", "tokenvault-recovery-key a * !!!!",
            "tokenvault-recovery-key a IP AAAA", "tokenvault-recovery-key a * AAAA",
        ])
    func badText(text: String) {
        #expect(throws: KeyringError.self) { try RecoveryPublicKey(text: text) }
    }

    @Test("Times are written as UTC")
    func times() {
        #expect(Timestamp.text(0) == "1970-01-01T00:00:00Z")
        #expect(Timestamp.text(1_709_208_000) == "2024-02-29T12:00:00Z")
    }

    @Test("Passphrase costs outside the limits are refused")
    func costs() {
        for (operations, memory) in [(0, 8 << 20), (17, 8 << 20), (1, 8 << 20 - 1), (1, 4 << 30 + 1)] {
            #expect(throws: KeyringError.costOutOfRange) {
                try PassphraseCost(operations: operations, memoryBytes: memory)
            }
        }
    }
}
