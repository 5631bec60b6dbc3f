import Foundation
import TestSupport
import Testing

@Suite("A message that comes twice", .serialized)
struct RepeatedMessageTests {
    private static func message(_ id: Int, _ ip: String) -> String {
        "{\"id\": \"m\(id)\", \"body\": \"{\\\"user_id\\\": \\\"u\(id)\\\", \\\"ip\\\": \\\"\(ip)\\\"}\"}"
    }

    private static func list(_ ids: Range<Int>, _ ip: (Int) -> String) -> String {
        "[" + ids.map { message($0, ip($0)) }.joined(separator: ",") + "]"
    }

    @Test("to two workers at once, is one row")
    func twoWorkers() throws {
        let vault = try LiveVault("repeated_workers")
        defer { vault.remove() }
        let stub = try SQSStub()
        defer { stub.stop() }
        let messages = Self.list(0..<30) { "192.0.2.\($0)" }
        try stub.tell("{\"messages\": \(messages)}")
        let command = vault.command(
            "vault_ingest", ["ingest", "--json", "--poll-seconds", "0", SQSStub.queueURL], environment: stub.environment
        )
        let holder = try vault.lock("vault.original")
        func waiting() throws -> String {
            try vault.query(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
        }
        let first = try command.start()
        try vault.wait(for: "the first worker") { try waiting() == "1" }
        try stub.tell("{\"add\": \(messages)}")  // the same ones again, while the first worker has them in hand
        let second = try command.start()
        try vault.wait(for: "the second worker") { try waiting() == "2" }
        try vault.unlock("vault.original", holder)
        for (run, counts) in [
            (first.wait(), "\"stored\":30,\"repeated\":0,"), (second.wait(), "\"stored\":0,\"repeated\":30,"),
        ] {
            #expect(run.status == 0, "\(run.standardError)")
            #expect(run.standardOutput.contains(counts), "\(run.standardOutput)")
        }
        #expect(try vault.query("SELECT count(*), count(DISTINCT user_id) FROM public.user_logins") == "30|30")
        #expect(try stub.state().deleted.count == 60)
    }

    @Test("with another body, goes to the quarantine, in one batch or on another night")
    func otherBody() throws {
        let vault = try LiveVault("repeated_body")
        defer { vault.remove() }
        let stub = try SQSStub()
        defer { stub.stop() }
        let forged = "198.51.100.201"
        let (first, second) = (Self.list(0..<10) { "192.0.2.\($0)" }, Self.list(5..<8) { _ in forged })
        try stub.tell("{\"messages\": \(first)}")
        try stub.tell("{\"add\": \(second)}")
        for night in 1...2 {
            let run = try vault.tokenvault(
                "vault_ingest", ["ingest", "--json", "--poll-seconds", "0", SQSStub.queueURL],
                environment: stub.environment)
            #expect(run.status == 3, "\(run.standardError)")
            run.expectOneError(naming: ["quarantine list"], "night \(night)")
            #expect(!(run.standardOutput + run.standardError).contains(forged))
            #expect(run.standardOutput.contains("\"conflicting_body\":\(night == 1 ? 3 : 1)"), "\(run.standardOutput)")
            #expect(
                try vault.query(
                    "SELECT count(*), count(DISTINCT user_id), count(DISTINCT masked_ip) FROM public.user_logins")
                    == "10|10|10")
            try stub.tell("{\"add\": [\(Self.message(9, forged))]}")
        }
        #expect(
            try vault.query("SELECT position, cause FROM vault.quarantine ORDER BY 1")
                == "m5|conflicting_body\nm6|conflicting_body\nm7|conflicting_body\nm9|conflicting_body")
        // Row and entry stand before the messages go: 10 and 3, then 1, and nothing is left but the last one added.
        #expect(try stub.state().deleted.count == 14)
        #expect(try stub.state().waiting == 1)
    }
}
