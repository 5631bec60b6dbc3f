import Foundation
import TestSupport
import Testing

/// Faults of the database in the middle of a run. The printed counts, the run's counts and what is stored must be the same.
@Suite("A database that breaks in mid-run", .serialized)
struct OutageTests {
    private struct Printed: Decodable {
        let stored: Int
        let repeated: Int
        let quarantined: [String: Int]
    }

    private static let lines =
        (0..<40).map { "{\"user_id\": \"u\($0)\", \"ip\": \"192.0.2.\($0)\"}" } + ["{broken"]
    private static let input = lines.joined(separator: "\n") + "\n"

    private func expectCountedOnce(_ run: Finished, in vault: LiveVault) throws {
        #expect(run.status == 3, "\(run.standardError)")
        let printed = try JSONDecoder().decode(Printed.self, from: Data(run.standardOutput.utf8))
        #expect(printed.stored == 40 && printed.repeated == 0 && printed.quarantined == ["malformed_json": 1])
        #expect(try vault.query("SELECT count(*), count(DISTINCT user_id) FROM public.user_logins") == "40|40")
        #expect(try vault.query("SELECT count(*) FROM vault.quarantine") == "1")
        #expect(
            try vault.query("SELECT stored, repeated, quarantined, outcome FROM vault.ingest_run") == "40|0|1|completed"
        )
        #expect(try vault.query("SELECT count(*) FROM audit.event WHERE action = 'ingest'") == "1")
    }

    @Test(
        "The answer to a batch's COMMIT is lost: it is found out what became of it", arguments: ["file", "-", "queue"])
    func lostCommit(source: String) throws {
        let vault = try LiveVault("lost_commit_\(source == "-" ? "pipe" : source)")
        defer { vault.remove() }
        let proxy = try DatabaseProxy(to: vault.cluster)
        defer { proxy.stop() }
        let stub = try SQSStub()
        defer { stub.stop() }
        let messages = try Self.lines.map { String(decoding: try JSONEncoder().encode(["body": $0]), as: UTF8.self) }
        try stub.tell("{\"messages\": [\(messages.joined(separator: ","))]}")
        let file = try vault.file("logins.ndjson", Self.input)
        let argument = source == "file" ? file : source == "-" ? "-" : SQSStub.queueURL

        // The first COMMIT of a run is that of its beginning: the batch is held up by a lock until the cut is prepared.
        let run = vault.command(
            "vault_ingest", ["ingest", "--json", "--poll-seconds", "0", argument],
            input: source == "-" ? Self.input : "",
            environment: proxy.environment("vault_ingest", vault).merging(stub.environment) { $1 })
        let holder = try vault.lock("vault.quarantine")
        let running = try run.start()
        try vault.waitForWaiter("vault.quarantine")
        try proxy.tell("cut-commit")
        try vault.unlock("vault.quarantine", holder)
        try expectCountedOnce(running.wait(), in: vault)
        if source == "queue" { #expect(try stub.state().deleted.count == 41) }
    }

    @Test("The answer to the end of a run is lost: the run ends once, and its receipt is found")
    func lostEnd() throws {
        let vault = try LiveVault("lost_end")
        defer { vault.remove() }
        let proxy = try DatabaseProxy(to: vault.cluster)
        defer { proxy.stop() }
        let file = try vault.file("logins.ndjson", Self.input)
        try proxy.tell("cut-call vault.finish_run")
        let run = try vault.tokenvault(
            "vault_ingest", ["ingest", "--json", file], environment: proxy.environment("vault_ingest", vault))
        try expectCountedOnce(run, in: vault)
        #expect(run.standardError.contains("audit receipt: "))
    }

    @Test("A server that hangs ends a run with 75, and a signal ends it within 10 s")
    func hangs() throws {
        let vault = try LiveVault("hanging")
        defer { vault.remove() }
        let proxy = try DatabaseProxy(to: vault.cluster)
        defer { proxy.stop() }
        let file = try vault.file("logins.ndjson", try LiveVault.records(30_000))
        let run = try vault.command(
            "vault_ingest", ["ingest", "--json", "--batch-size", "100", file],
            environment: proxy.environment("vault_ingest", vault)
        ).start()
        try vault.wait(for: "rows") { try vault.query("SELECT count(*) FROM public.user_logins") != "0" }
        try proxy.tell("hang")
        Thread.sleep(forTimeInterval: 0.3)
        let start = ContinuousClock.now
        run.signal(SIGTERM)
        let ended = run.wait()
        #expect(ended.status == 75, "\(ended.standardError)")
        #expect(ContinuousClock.now - start < .seconds(10))
        try proxy.tell("pass")
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        #expect(try vault.query("SELECT count(*), count(DISTINCT user_id) FROM public.user_logins") == "30000|30000")
    }

    @Test(
        "A lock or statement that takes too long is cut, tried again, and ends with 75",
        arguments: ["LOCK", "STATEMENT"])
    func timeouts(kind: String) throws {
        let vault = try LiveVault("timeout_\(kind.lowercased())")
        defer { vault.remove() }
        let file = try vault.file("logins.ndjson", Self.input)
        let holder = try vault.lock("public.user_logins")
        let run = try vault.tokenvault(
            "vault_ingest", ["ingest", file],
            environment: ["TOKENVAULT_\(kind)_TIMEOUT_SECONDS": "1", "TOKENVAULT_RETRY_SECONDS": "1"])
        #expect(run.status == 75, "\(run.standardError)")
        #expect(run.standardError.contains(kind == "LOCK" ? "55P03" : "57014"))
        try vault.unlock("public.user_logins", holder)
        #expect(try vault.query("SELECT count(*) FROM public.user_logins") == "0")
    }

    @Test("A file swapped after it was recognised is not read under the other one's name")
    func swapped() throws {
        let vault = try LiveVault("swapped")
        defer { vault.remove() }
        let file = try vault.file("logins.ndjson", "{\"user_id\": \"old\"}\n")
        let other = try vault.file("other.ndjson", "{\"user_id\": \"new\"}\n")
        let holder = try vault.lock("vault.ingest_file")
        let run = try vault.command("vault_ingest", ["ingest", file]).start()
        try vault.waitForWaiter("vault.ingest_file")
        #expect(unsafe rename(other, file) == 0)
        try vault.unlock("vault.ingest_file", holder)
        try run.wait().succeeded()
        #expect(try vault.query("SELECT user_id FROM public.user_logins") == "old")
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        #expect(try vault.query("SELECT user_id FROM public.user_logins ORDER BY 1") == "new\nold")
    }
}
