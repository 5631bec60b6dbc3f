import Foundation
import TestSupport
import Testing

@Suite("A rotation while the server crashes")
struct CrashTests {
    /// Pages commit without waiting for the disk, and this server is slow to write its log: each crash loses some.
    @Test("again and again loses no original, and its cursor always says what stands", .timeLimit(.minutes(3)))
    func crashes() throws {
        let cluster = try PrivateCluster(purpose: "crash", settings: "wal_writer_delay = 10s")
        defer { cluster.stop() }
        let vault = try LiveVault("crash", on: cluster)
        defer { vault.remove() }
        let file = try vault.file("logins.ndjson", try LiveVault.records(600))
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        try vault.activateSecondTokenKey()
        var lost = 0
        for kind in ["data-keys", "token-key"] {
            let run = try vault.command(
                "vault_operator", ["rotate", kind, "run", "--page-size", "20", "--throttle", "400"]
            ).start()
            for crash in 1...3 {
                try vault.wait(for: "\(kind) to go on") { try progress(vault) >= 80 * crash || !run.isRunning }
                let before = try progress(vault)
                try cluster.control("stop-immediate")
                try cluster.control("start")
                if try vault.rotationIsWhole(kind), try progress(vault) < before { lost += 1 }
            }
            let finished = run.wait()
            #expect(finished.status == 0, "\(finished.standardError)")
            #expect(finished.standardError.contains("trying again"))
            let verified = try vault.tokenvault("vault_operator", ["rotate", kind, "verify"]).succeeded()
            #expect(verified.standardOutput.contains("the same as before"))
        }
        #expect(lost > 0, "no crash lost a page, so none of this was tried")
        #expect(try vault.query("SELECT count(*), min(token_version) FROM vault.original") == "1200|2")
    }

    private func progress(_ vault: LiveVault) throws -> Int {
        Int(try vault.query("SELECT values_done FROM vault.rotation WHERE state = 'running'")) ?? 0
    }

    @Test("goes on when the vault's table is written anew or put in another order beneath it", .timeLimit(.minutes(2)))
    func rewritten() throws {
        let vault = try LiveVault("rewritten")
        defer { vault.remove() }
        let file = try vault.file("logins.ndjson", try LiveVault.records(400))
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        // Holes, so that what is written anew moves down past the cursor.
        _ = try vault.query(
            "UPDATE vault.original SET created_at = created_at WHERE token < '50000000-0000-0000-0000-000000000000'")
        try vault.activateSecondTokenKey()
        for kind in ["data-keys", "token-key"] {
            let run = try vault.command(
                "vault_operator", ["rotate", kind, "run", "--page-size", "50", "--throttle", "400"]
            ).start()
            for command in ["VACUUM FULL vault.original", "CLUSTER vault.original USING original_pkey"] {
                let before = try progress(vault)
                try vault.wait(for: "\(kind) to go on") { try progress(vault) > before + 50 || !run.isRunning }
                #expect(run.isRunning, "it was over before \(command)")
                try vault.cluster.psql(user: "vault_admin", database: vault.database, command)
            }
            let finished = run.wait()
            #expect(finished.status == 0, "\(finished.standardError)")
            let verified = try vault.tokenvault("vault_operator", ["rotate", kind, "verify"])
            #expect(verified.status == 0, "\(verified.standardError)")
            #expect(verified.standardOutput.contains("the same as before"))
        }
        #expect(try vault.query("SELECT count(*), min(token_version) FROM vault.original") == "800|2")
    }

    @Test("and whoever locks the table between pages do not wait for each other for ever", .timeLimit(.minutes(2)))
    func locked() throws {
        let vault = try LiveVault("locked")
        defer { vault.remove() }
        let file = try vault.file("logins.ndjson", try LiveVault.records(8_000))
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        try vault.activateSecondTokenKey()
        let run = try vault.command("vault_operator", ["rotate", "token-key", "run", "--page-size", "10"]).start()
        var locks = 0
        while run.isRunning, locks < 8 {
            let before = try progress(vault)
            try vault.wait(for: "pages") { try progress(vault) > before || !run.isRunning }
            try vault.cluster.psql(
                user: "vault_admin", database: vault.database, "BEGIN; LOCK TABLE vault.original; COMMIT")
            locks += 1
        }
        #expect(locks >= 3, "it was over before the table was locked")
        let finished = run.wait()
        #expect(finished.status == 0, "\(finished.standardError)")
        #expect(try vault.query("SELECT min(token_version), max(token_version) FROM vault.original") == "2|2")
    }
}
