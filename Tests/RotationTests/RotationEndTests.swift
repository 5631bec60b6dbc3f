import Foundation
import Postgres
import TestSupport
import Testing

@Suite("The end of a token key's rotation, begun while its last rows move")
struct RotationEndTests {
    private func vault(_ name: String) throws -> LiveVault {
        let vault = try LiveVault(name)
        let file = try vault.file("logins.ndjson", try LiveVault.records(60))
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        try vault.activateSecondTokenKey()
        return vault
    }

    private func passes(_ vault: LiveVault) throws -> String {
        try vault.query("SELECT pass FROM vault.rotation WHERE kind = 'token-key'")
    }

    private func isDone(_ vault: LiveVault) throws {
        let verified = try vault.tokenvault("vault_operator", ["rotate", "token-key", "verify"]).succeeded()
        #expect(verified.standardOutput.contains("no original and no row is left under an older version"))
    }

    @Test("spares another pass, but not with a throttle, which asks for little at a time")
    func spared() throws {
        for (options, passes) in [([], "1"), (["--throttle", "100000"], "2")] {
            let vault = try vault("end_\(passes)")
            defer { vault.remove() }
            try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"] + options).succeeded()
            #expect(try self.passes(vault) == passes)
            try isDone(vault)
        }
    }

    @Test(
        "removes nothing when a row came in under the old key, or somebody holds an original for long",
        arguments: [true, false])
    func another(comesIn: Bool) throws {
        let vault = try vault("end_\(comesIn ? "row" : "held")")
        defer { vault.remove() }
        var other = try vault.cluster.connect(user: "postgres", database: vault.database)
        try other.runTrustedScript(
            "holding an original, and copying a row",
            """
            CREATE TABLE public.copied AS SELECT * FROM public.user_logins LIMIT 1; BEGIN;
            SELECT FROM vault.original WHERE token_version = 1 AND token =
                (SELECT right(masked_ip, 32)::uuid FROM public.copied) FOR UPDATE
            """)
        let run = try vault.command("vault_operator", ["rotate", "token-key", "run"]).start()
        try vault.wait(for: "the rows to move, and the removal to wait") {
            try vault.query(
                """
                SELECT rotation.rows_done > 0 AND EXISTS (
                    SELECT FROM pg_stat_activity AS session
                    WHERE session.wait_event_type = 'Lock' AND session.query LIKE '%drop_old_originals%'
                      AND session.datname = current_database())
                FROM vault.rotation AS rotation WHERE rotation.kind = 'token-key'
                """) == "t"
        }
        if comesIn {
            try other.runTrustedScript("a late row", "INSERT INTO public.user_logins SELECT * FROM public.copied")
        } else {
            try vault.wait(for: "the removal to give up") {
                try vault.query("SELECT pass > 1 FROM vault.rotation WHERE kind = 'token-key'") == "t"
            }
        }
        #expect(try vault.query("SELECT count(*) FROM vault.original WHERE token_version = 1") == "120")
        try other.runTrustedScript("letting it go", "COMMIT")
        let ended = run.wait()
        #expect(ended.status == 0, "\(ended.standardError)")
        #expect(try (Int(passes(vault)) ?? 0) > 1)
        try isDone(vault)
        #expect(try vault.query("SELECT count(*) FROM vault.original") == "120")
        #expect(try vault.query("SELECT count(*) FROM public.user_logins") == (comesIn ? "61" : "60"))
    }
}
