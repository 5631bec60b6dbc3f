import Foundation
import TestSupport
import Testing

@Suite("Retiring a token key under an ingest run that still writes under it")
struct OpenRunTests {
    @Test("waits for the run, or ends it: nothing is ever stored under a retired key", .timeLimit(.minutes(2)))
    func openRun() throws {
        let vault = try LiveVault("open_run")
        defer { vault.remove() }
        let pools = ["--addresses", "25", "--devices", "25"]
        let lines = try LiveVault.records(400, pools).split(separator: "\n").map { String($0) + "\n" }
        let first = try vault.file("first.ndjson", lines[..<100].joined())
        try vault.tokenvault("vault_ingest", ["ingest", first]).succeeded()

        // A real run, reading a pipe whose other end stays open.
        let pipe = vault.folder.appending(path: "pipe").path
        try Command("/usr/bin/mkfifo", ["-m", "600", pipe]).check()
        let run = try vault.command("vault_ingest", ["ingest", pipe, "--batch-size", "20"]).start()
        let writer = try #require(FileHandle(forWritingAtPath: pipe))
        try write(lines[100..<200], to: writer, until: 180, in: vault)

        try vault.tokenvault("vault_operator", ["keys", "add", "token"]).succeeded()
        try vault.tokenvault("vault_operator", ["keys", "activate", "token-v2"]).succeeded()
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"]).succeeded()
        let refused = try vault.tokenvault("vault_operator", ["rotate", "token-key", "retire"])
        #expect(refused.status == 75)
        #expect(refused.standardError.contains("an ingest run that writes under token key v1 has no end yet"))
        #expect(refused.standardError.contains("--end-runs"))

        // It remembers which originals it sent, and sends only rows: they move by the pairs that stand.
        try write(lines[200..<300], to: writer, until: 280, in: vault)
        let early = try vault.tokenvault("vault_operator", ["rotate", "token-key", "retire", "--end-runs"])
        #expect(early.status == 77)  // rows came in: never while something is needed, whatever is ended
        #expect(early.standardError.contains("is still needed"))
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"]).succeeded()
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "verify"]).succeeded()
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "retire", "--end-runs"]).succeeded()

        try writer.write(contentsOf: Data(lines[300...].joined().utf8))
        try writer.close()
        let ended = run.wait()
        #expect(ended.status == 77, "\(ended.standardError)")
        #expect(ended.standardError.contains("token key v1 is retired"))
        #expect(
            try vault.query(
                """
                SELECT count(*) FILTER (WHERE starts_with(masked_ip, 'ip_v1_') OR starts_with(masked_device_id, 'device_id_v1_')),
                       (SELECT count(*) FROM vault.original WHERE token_version = 1),
                       (SELECT count(*) FROM vault.token_pair),
                       (SELECT count(*) FROM vault.ingest_run WHERE outcome LIKE 'ended by vault_operator%')
                FROM public.user_logins
                """) == "0|0|0|1")

        // A host with the old keyring cannot even begin.
        let kept = vault.folder.appending(path: "ingest.keyring").path
        #expect(FileManager.default.fileExists(atPath: kept))
        try vault.cluster.psql(
            user: "vault_ingest", database: vault.database, "SELECT vault.begin_run(gen_random_uuid(), 'q', 2)")
        #expect(throws: (any Error).self) {
            try vault.cluster.psql(
                user: "vault_ingest", database: vault.database, "SELECT vault.begin_run(gen_random_uuid(), 'q', 1)")
        }
    }

    /// Writes lines, and waits until this many rows are stored.
    private func write(_ lines: ArraySlice<String>, to writer: FileHandle, until rows: Int, in vault: LiveVault) throws
    {
        try writer.write(contentsOf: Data(lines.joined().utf8))
        try vault.wait(for: "rows") { try Int(vault.query("SELECT count(*) FROM public.user_logins")) ?? 0 >= rows }
    }
}
