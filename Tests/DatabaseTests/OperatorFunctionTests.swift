import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Operator functions", .serialized)
struct OperatorFunctionTests {
    private static let shared = Result { () throws -> TestVault in
        let vault = try TestVault("dbt_operator")
        try Planted.sow(vault)
        return vault
    }
    private let vault: TestVault

    init() throws { vault = try Self.shared.get() }

    private func register(
        _ id: String, _ purpose: String, _ name: String, version: String = "NULL", state: String = "pre-activation",
        publicKey: String = "decode(repeat('07', 32), 'hex')"
    ) -> String {
        "SELECT vault.register_key('\(id)', '\(purpose)', '\(name)', \(version), '\(state)', NULL, \(publicKey));"
    }

    @Test("A key is registered once; again is no change, and another under its name, id or version is refused")
    func registering() throws {
        let id = "10000000-0000-0000-0000-000000000001"
        let good = register(id, "recovery", "analyst-1")
        #expect(try vault.psql("vault_operator", good).isEmpty == false)
        #expect(try vault.psql("vault_operator", good) == "")
        for other in [
            register(id, "recovery", "analyst-2"),
            register("10000000-0000-0000-0000-000000000002", "recovery", "analyst-1"),
            register(id, "recovery", "analyst-1", publicKey: "decode(repeat('08', 32), 'hex')"),
        ] {
            #expect(try vault.session("vault_operator", other).states == ["TV001"], "\(other)")
        }
        for wrong in [
            register(id, "token", "token-v9"), register(id, "recovery", "x", version: "1"),
            register(id, "recovery", "x", publicKey: "'\\x00'"), register(id, "recovery", "x", state: "destroyed"),
            register(id, "other", "x"), register(id, "recovery", "  "),
            register(id, "token", "token-v9", version: "0", publicKey: "NULL"),
        ] {
            #expect(try vault.session("vault_operator", wrong).states == ["TV020"], "\(wrong)")
        }
        #expect(
            try vault.psql("vault_auditor", "SELECT action, outcome FROM audit.event WHERE object = '\(id)'")
                == "key.register|recovery analyst-1: pre-activation")
    }

    @Test("Keys move along their states and never back; every move is dated and audited")
    func transitions() throws {
        let states = ["pre-activation", "active", "deactivated", "compromised", "destroyed"]
        let allowed: Set<String> = [
            "pre-activation>active", "pre-activation>compromised", "pre-activation>destroyed", "active>deactivated",
            "active>compromised", "deactivated>compromised", "deactivated>destroyed", "compromised>destroyed",
        ]
        let id = "20000000-0000-0000-0000-000000000001"
        try vault.psql("vault_operator", register(id, "checkpoint", "auditor-1"))
        for from in states {
            for to in states {
                try vault.psql("postgres", "UPDATE vault.key_version SET state = '\(from)' WHERE id = '\(id)'")
                let finished = try vault.session("vault_operator", "SELECT vault.change_key_state('\(id)', '\(to)');")
                #expect(finished.states == (allowed.contains("\(from)>\(to)") ? [] : ["TV001"]), "\(from) to \(to)")
            }
        }
        #expect(
            try vault.psql(
                "vault_operator",
                """
                SELECT activated_at IS NOT NULL, deactivated_at IS NOT NULL, compromised_at IS NOT NULL,
                       destroyed_at IS NOT NULL FROM vault.key_version WHERE id = '\(id)'
                """) == "t|t|t|t")
        #expect(
            try vault.psql(
                "vault_auditor", "SELECT count(*) FROM audit.event WHERE action = 'key.state' AND object = '\(id)'")
                == "8")
        for (id, state, refusal) in [
            ("20000000-0000-0000-0000-000000000009", "active", "TV004"), (id, "gone", "TV020"),
        ] {
            #expect(
                try vault.session("vault_operator", "SELECT vault.change_key_state('\(id)', '\(state)');").states == [
                    refusal
                ])
        }
    }

    @Test("A key that still protects something is not destroyed")
    func needed() throws {
        let token = "30000000-0000-0000-0000-000000000001"
        try vault.psql(
            "vault_operator",
            register(token, "token", "token-v1", version: "1", publicKey: "NULL")
                + register(Planted.recoveryKey, "recovery", "only-one"))
        for id in [token, Planted.recoveryKey] {
            let finished = try vault.session("vault_operator", "SELECT vault.change_key_state('\(id)', 'destroyed');")
            #expect(finished.states == ["TV001"])
        }
        // Another key that opens the same data keys frees the first, unless that one is destroyed.
        let other = "30000000-0000-0000-0000-000000000002"
        try vault.psql("vault_operator", register(other, "recovery", "another"))
        try vault.psql(
            "postgres",
            "INSERT INTO vault.data_key_seal SELECT data_key, '\(other)', sealed FROM vault.data_key_seal WHERE recovery_key = '\(Planted.recoveryKey)'"
        )
        try vault.psql("vault_operator", "SELECT vault.change_key_state('\(Planted.recoveryKey)', 'destroyed')")
        #expect(
            try vault.session("vault_operator", "SELECT vault.change_key_state('\(other)', 'destroyed');").states == [
                "TV001"
            ])
    }

    @Test("A quarantined record is settled once, with a reason, and audited")
    func quarantine() throws {
        let settle = "SELECT vault.resolve_quarantine('\(Planted.quarantined)',"
        #expect(try vault.session("vault_operator", "\(settle) 'lost', 'r');").states == ["TV020"])
        #expect(try vault.session("vault_operator", "\(settle) 'discarded', ' ');").states == ["TV020"])
        try vault.psql("vault_operator", "\(settle) 'replayed', 'fixed upstream')")
        #expect(try vault.session("vault_operator", "\(settle) 'replayed', 'again');").states == ["TV001"])
        // A replayed record keeps its sealed copy until it is discarded; that really deletes it, once.
        let sealed = "SELECT sealed IS NOT NULL FROM vault.quarantine WHERE id = '\(Planted.quarantined)'"
        #expect(try vault.psql("postgres", sealed) == "t")
        try vault.psql("vault_operator", "\(settle) 'discarded', 'not needed')")
        #expect(try vault.psql("postgres", sealed) == "f")
        #expect(try vault.session("vault_operator", "\(settle) 'discarded', 'again');").states == ["TV001"])
        #expect(
            try vault.session(
                "vault_operator", "SELECT vault.resolve_quarantine(gen_random_uuid(), 'discarded', 'r');"
            ).states == ["TV004"])
        #expect(
            try vault.psql("vault_auditor", "SELECT action, reason FROM audit.event WHERE action ~ '^quarantine'")
                == "quarantine.replay|fixed upstream\nquarantine.discard|not needed")
        #expect(
            try vault.psql("vault_recoverer", "SELECT id, cause, resolution FROM vault.quarantine_list(5)")
                == "\(Planted.quarantined)|malformed_json|replayed")
    }

    @Test("A policy that makes no sense is refused")
    func policy() throws {
        for values in [
            "'ip', -1, 1, '1 hour', NULL, NULL", "'ip', 0, -1, '1 hour', NULL, NULL", "'ip', 0, 1, '0', NULL, NULL",
            "'ip', 0, 1, '31 days', NULL, NULL", "'ip', 0, 1, '1 hour', '(', NULL", "'ip', 0, 1, '1 hour', NULL, '['",
            "'IP', 0, 1, '1 hour', NULL, NULL", "NULL, 0, 1, '1 hour', NULL, NULL",
        ] {
            #expect(
                try vault.session("vault_operator", "SELECT vault.set_policy(\(values));").states == ["TV020"],
                "\(values)")
        }
        try vault.psql("vault_operator", "SELECT vault.set_policy('email', 2, 10, '1 day', NULL, 'T.*')")
        #expect(
            try vault.psql("vault_approver", "SELECT * FROM vault.policy_list() WHERE domain = 'email'")
                == "email|2|10|24:00:00||T.*||")
    }

    @Test("The status summary counts what stands in the vault")
    func status() throws {
        let summary = try vault.psql(
            "vault_auditor",
            "SELECT s -> 'originals', s -> 'schema_version', (s ->> 'audit_events')::int > 0 FROM vault.status_summary() AS s"
        )
        #expect(summary == #"[{"count": 1, "domain": "ip", "token_version": 1}]|17|t"#)
    }
}
