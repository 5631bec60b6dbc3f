import Foundation
import TestSupport
import Testing

@Suite("A rotation that is told to stop")
struct StopTests {
    @Test("while it waits for somebody's lock ends soon, on the server too; the next goes on", .timeLimit(.minutes(2)))
    func locked() throws {
        let vault = try LiveVault("stopped")
        defer { vault.remove() }
        let file = try vault.file("logins.ndjson", try LiveVault.records(60))
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        try vault.activateSecondTokenKey()
        for (kind, table) in [
            ("token-key", "public.user_logins"), ("token-key", "vault.original"), ("data-keys", "vault.original"),
        ] {
            let holder = try vault.lock(table)
            let run = try vault.command("vault_operator", ["rotate", kind, "run"]).start()
            try vault.waitForWaiter(table)
            let stop = Date.now
            run.signal(SIGTERM)
            let ended = run.wait()
            #expect(ended.status == 75, "\(ended.standardError)")
            #expect(Date.now.timeIntervalSince(stop) < 15)
            #expect(ended.standardError.contains("stopped"), "\(ended.standardError)")
            // The lock is still held: the server itself must notice that nobody waits any more.
            try vault.wait(for: "the run's sessions to end") {
                try vault.query("SELECT count(*) FROM pg_stat_activity WHERE usename = 'vault_operator'") == "0"
            }
            try vault.unlock(table, holder)
            guard table == "vault.original" else { continue }
            try vault.tokenvault("vault_operator", ["rotate", kind, "run"]).succeeded()
            let verified = try vault.tokenvault("vault_operator", ["rotate", kind, "verify"]).succeeded()
            #expect(verified.standardOutput.contains("the same as before"))
        }
    }
}
