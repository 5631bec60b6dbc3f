import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Break-glass", .serialized)
struct BreakGlassTests {
    private static let shared = Result { () throws -> PolicyVault in
        let people = try PolicyVault("dbt_glass")
        try people.make("only", in: "tokenvault_break_glass")
        try people.make("keeper", in: "tokenvault_operator, tokenvault_break_glass")
        return people
    }
    private let people: PolicyVault

    init() throws {
        people = try Self.shared.get()
        try people.open()
        try people.change(
            #"{"approvals":2,"hours":"\#(PolicyVault.closed)","values_per_day":0,"break_glass_per_day":1000}"#)
    }

    private func urgently(_ person: String) throws -> Finished {
        try people.vault.session(
            people.login(person), "\(PolicyVault.breakGlass) SELECT request FROM \(PolicyVault.ask);")
    }

    @Test("It passes approvals, hours and the ordinary budget; its events have a name of their own")
    func works() throws {
        let asked = try people.request("gil", before: PolicyVault.breakGlass)
        #expect(try people.take(asked, "gil") == [])
        #expect(
            try people.vault.psql(
                "vault_auditor",
                "SELECT actor, action, object, reason, ticket FROM audit.event ORDER BY sequence DESC LIMIT 1")
                == "\(people.login("gil"))|recover.break-glass|\(Planted.token)|why|T-1")
        #expect(
            try people.vault.psql(
                "vault_operator",
                "SELECT s #>> '{break_glass,uses,0,requester}', (s #>> '{break_glass,open}')::int > 0 FROM vault.status_summary() AS s"
            )
                == "\(people.login("gil"))|t")
        // Without the word for it, the same person waits like anybody.
        #expect(
            try people.vault.session(people.login("gil"), "SELECT request FROM \(PolicyVault.ask);").states == ["TV001"]
        )
    }

    @Test("Nothing gives it to who is not in both groups", arguments: ["ada", "ben", "only", "keeper"])
    func withoutRole(person: String) throws {
        let befores = [
            "", "SET ROLE tokenvault_break_glass;", "SET ROLE tokenvault_recoverer;",
            "SET ROLE \(people.login("gil"));",
            "SET SESSION AUTHORIZATION \(people.login("gil"));",
        ]
        let tried = try people.vault.session(
            people.login(person),
            PolicyVault.breakGlass
                + befores.map { "\($0) SELECT request FROM \(PolicyVault.ask); RESET ROLE;" }.joined(separator: "\n"))
        #expect(tried.standardOutput.isEmpty)
        #expect(tried.states.allSatisfy { ["42501", "TV001"].contains($0) }, "\(tried.standardError)")
        #expect(tried.states.count >= befores.count)
        #expect(
            try people.vault.psql(
                "postgres", "SELECT count(*) FROM vault.recovery_request WHERE requester = '\(people.login(person))'")
                == "0")
    }

    @Test("Where the policy does not allow it, nothing is booked and no event is left")
    func notAllowed() throws {
        try people.change(#"{"break_glass_per_day":null}"#)
        let before = try people.vault.psql("vault_auditor", "SELECT count(*) FROM audit.event")
        #expect(try urgently("gil").states == ["TV001"])
        #expect(try people.vault.psql("vault_auditor", "SELECT count(*) FROM audit.event") == before)
        // Nor for quarantined records, should a row of the policy allow it by whatever way.
        try people.open("quarantine")
        try people.vault.psql("postgres", "UPDATE vault.policy SET break_glass_per_day = 9 WHERE domain = 'quarantine'")
        let refused = try people.vault.session(
            people.login("gil"), "\(PolicyVault.breakGlass) SELECT request FROM \(PolicyVault.askQuarantine);")
        #expect(refused.states == ["TV001"])
        try people.open("quarantine")
    }

    @Test("It waits for the commit and the audit like any request")
    func neverWithoutAudit() throws {
        let finished = try people.vault.session(
            people.login("gil"),
            """
            \(PolicyVault.breakGlass) BEGIN; SELECT request AS r FROM \(PolicyVault.ask) \\gset
            SELECT * FROM vault.release(:'r', 0, 10); ROLLBACK; SELECT * FROM vault.release(:'r', 0, 10);
            """)
        #expect(finished.states == ["TV004", "TV004"])
        var holder = try people.vault.connect("vault_ingest")
        try holder.runTrustedScript("holding the head", "BEGIN; SELECT vault.record_tokenize('ip', 1, NULL)")
        let blocked = try people.vault.session(
            people.login("gil"),
            "\(PolicyVault.breakGlass) SET lock_timeout = '200ms'; SELECT request FROM \(PolicyVault.ask);")
        holder.rollback()
        #expect(blocked.states == ["55P03"])
    }

    @Test(
        "It ends with the role, the policy, its limit, its time or a denial",
        arguments: ["role", "recoverer", "policy", "limit", "time", "denied", "reason"])
    func ends(how: String) throws {
        _ = try people.request("gil", before: PolicyVault.breakGlass)
        let asked = try people.request("gil", before: PolicyVault.breakGlass)
        let gil = people.login("gil")
        var expected = "TV001"
        switch how {
        case "role": try people.admin("REVOKE tokenvault_break_glass FROM \(gil)")
        case "recoverer":
            try people.admin("REVOKE tokenvault_recoverer FROM \(gil)")
            expected = "42501"
        case "policy": try people.change(#"{"break_glass_per_day":null}"#)
        case "limit": try people.change(#"{"break_glass_per_day":1}"#)  // this is not the day's first
        case "time":
            try people.change(#"{"validity_seconds":1}"#)
            usleep(1_100_000)
            expected = "TV003"
        case "reason": try people.change(#"{"reason_pattern":"incident .*"}"#)
        default: #expect(try people.decide(asked, "deny", as: people.login("ben")) == [])
        }
        #expect(try people.take(asked, "gil", before: PolicyVault.breakGlass) == [expected, expected])
        try people.admin("GRANT tokenvault_break_glass, tokenvault_recoverer TO \(gil)")
    }

    @Test("Its budget is its own, and patterns hold")
    func budget() throws {
        try people.open("glass")
        try people.change(#"{"break_glass_per_day":2,"values_per_day":1,"ticket_pattern":"INC-[0-9]+"}"#, "glass")
        func ask(_ ticket: String, urgent: Bool) throws -> [String] {
            try people.vault.session(
                people.login("gil"),
                (urgent ? PolicyVault.breakGlass : "")
                    + " SELECT request FROM vault.request_recovery(ARRAY['glass_v1_' || repeat('0', 32)], 'w', '\(ticket)');"
            ).states
        }
        #expect(try ask("T-1", urgent: true) == ["TV001"])
        #expect(try ask("INC-1", urgent: false) == [])
        #expect(try ask("INC-1", urgent: false) == ["TV001"])
        #expect(try ask("INC-1", urgent: true) == [])
        #expect(try ask("INC-1", urgent: true) == [])
        #expect(try ask("INC-1", urgent: true) == ["TV001"])
    }
}
