import Foundation
import TestSupport
import Testing

/// Faults that a reviewer found by reading; each lost or forged something once.
@Suite("Faults found by review")
struct ReviewedFaultTests {
    @Test("What follows a gzip member is read when it is one too, and is damage when it is not")
    func gzipTail() throws {
        let vault = try LiveVault("review_gzip")
        defer { vault.remove() }
        func packed(_ text: String) throws -> Data {
            let plain = try vault.file("part-\(UInt32.random(in: 0...UInt32.max))", text)
            try Command("/bin/gzip", [plain]).check()
            return try Data(contentsOf: URL(filePath: plain + ".gz"))
        }
        let (first, second) = (try packed("{\"user_id\": \"a\"}\n"), try packed("{\"user_id\": \"b\"}\n"))
        let good = vault.folder.appending(path: "good.gz")
        try (first + second).write(to: good)
        try vault.tokenvault("vault_ingest", ["ingest", good.path]).succeeded()
        #expect(try vault.query("SELECT user_id FROM public.user_logins ORDER BY 1") == "a\nb")

        let bad = vault.folder.appending(path: "bad.gz")
        try (try packed("{\"user_id\": \"c\"}\n") + Data("{\"user_id\": \"d\"}\n".utf8)).write(to: bad)
        let run = try vault.tokenvault("vault_ingest", ["ingest", bad.path])
        #expect(run.status == 65)
        #expect(run.standardError.contains("gzip data is damaged"))
    }

    @Test("A value with a line break cannot pass for another token's line")
    func forgedLine() throws {
        let vault = try LiveVault("review_forged")
        defer { vault.remove() }
        let record =
            "{\"user_id\": \"a\", \"device_id\": \"x\\nip_v1_00000000000000000000000000000000\\t192.0.2.66\"}\n"
        try vault.tokenvault("vault_ingest", ["ingest", try vault.file("l.ndjson", record)]).succeeded()
        let token = try vault.query("SELECT masked_device_id FROM public.user_logins")
        let run = try vault.tokenvault("vault_recoverer", ["recover", "--reason", "r", "--ticket", "t", token])
            .succeeded()
        #expect(run.standardOutput.split(separator: "\n").count == 1)
        let json = try vault.tokenvault(
            "vault_recoverer", ["recover", "--json", "--reason", "r", "--ticket", "t", token]
        ).succeeded()
        #expect(json.standardOutput.contains("x\\nip_v1_"))
    }

    @Test("The same bad line on another night is another entry in the quarantine")
    func sameBadLine() throws {
        let vault = try LiveVault("review_bad_line")
        defer { vault.remove() }
        for night in 1...2 {
            let file = try vault.file("nightly.ndjson", "{\"user_id\": \"\(night)\", \"locale\": \"US\"}\n{broken\n")
            #expect(try vault.tokenvault("vault_ingest", ["ingest", file]).status == 3)
            #expect(try vault.query("SELECT count(*) FROM vault.quarantine") == "\(night)")
        }
    }

    @Test("Long lines end a batch before they fill the memory")
    func longLines() throws {
        let vault = try LiveVault("review_long")
        defer { vault.remove() }
        let line = "{\"user_id\": \"a\", \"x\": \"\(String(repeating: "y", count: 900_000))\"}\n"
        let file = try vault.file("long.ndjson", String(repeating: line, count: 60))
        let run = try vault.tokenvault("vault_ingest", ["ingest", "--json", file]).succeeded()
        #expect(run.standardOutput.contains("\"stored\":60"))
        #expect(!run.standardOutput.contains("\"batches\":1,"))
    }
}
