import Foundation
import TestSupport
import Testing

@Suite("The five-minute tour")
struct TourTests {
    @Test("stores 99 of the exercise's 100 records, finds duplicates, recovers one value, and the log verifies")
    func tour() throws {
        let vault = try LiveVault("tour")
        defer { vault.remove() }
        let records = try LiveVault.records(100, ["--addresses", "12", "--devices", "20", "--exercise"])
        let file = try vault.file("logins.ndjson", records)

        let first = try vault.tokenvault("vault_ingest", ["ingest", "--json", file])
        #expect(first.status == 3)
        #expect(first.standardOutput.contains(#""stored":99"#))
        #expect(first.standardOutput.contains(#""quarantined":{"wrong_record_type":1}"#))
        #expect(try vault.query("SELECT count(*), count(locale) FROM public.user_logins").hasPrefix("99|"))

        let again = try vault.tokenvault("vault_ingest", ["ingest", "--json", file]).succeeded()
        #expect(again.standardOutput.contains(#""read":0"#))
        #expect(try vault.query("SELECT count(*) FROM public.user_logins") == "99")

        let duplicates = try vault.tokenvault("vault_analyst", ["duplicates", "--json", "--limit", "1"]).succeeded()
        let group = try JSONDecoder().decode(Group.self, from: Data(duplicates.standardOutput.utf8))
        let recovered = try vault.tokenvault(
            "vault_recoverer", ["recover", "--reason", "who is this", "--ticket", "T-1", group.token]
        ).succeeded()
        let parts = recovered.standardOutput.split(whereSeparator: { $0 == "\t" || $0 == "\n" })
        #expect(parts.first.map(String.init) == group.token)
        let address = try #require(parts.last.map(String.init))
        let expected = records.components(separatedBy: "\"ip\": \"\(address)\"").count - 1
        #expect(expected == group.logins)
        #expect(recovered.standardError.hasPrefix("audit receipt: "))

        let receipt = try #require(recovered.standardError.split(separator: "\n").first).dropFirst(
            "audit receipt: ".count)
        try vault.tokenvault("vault_auditor", ["audit", "verify", "--receipt", String(receipt)]).succeeded()
        let events = try vault.tokenvault("vault_auditor", ["audit", "list", "--json", "--ticket", "T-1"]).succeeded()
        #expect(events.standardOutput.contains(group.token))

        let tokens = try vault.tokenvault(
            "vault_ingest", ["tokenize", "--domain", "ip", "--reason", "test"], input: address + "\n"
        ).succeeded()
        #expect(tokens.standardOutput == group.token + "\n")
    }

    private struct Group: Decodable {
        let token: String
        let logins: Int
    }
}
