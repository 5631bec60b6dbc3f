import Foundation
import TestSupport
import Testing

@Suite("A run that is stopped, doubled or cut off from its output", .serialized)
struct InterruptionTests {
    @Test("ends with 75 on SIGTERM, SIGINT and SIGHUP within 10 s; two runs at once store nothing twice")
    func signals() throws {
        let vault = try LiveVault("interrupted")
        defer { vault.remove() }
        let count = 60_000
        let file = try vault.file("logins.ndjson", try LiveVault.records(count))
        for number in [SIGTERM, SIGINT, SIGHUP] {
            let before = try vault.query("SELECT count(*) FROM public.user_logins")
            let run = try vault.command("vault_ingest", ["ingest", "--batch-size", "100", file]).start()
            while run.isRunning, try vault.query("SELECT count(*) FROM public.user_logins") == before {
                Thread.sleep(forTimeInterval: 0.01)
            }
            let start = ContinuousClock.now
            run.signal(number)
            #expect(run.wait().status == 75, "signal \(number)")
            #expect(ContinuousClock.now - start < .seconds(10), "signal \(number)")
        }
        let rows = try #require(Int(try vault.query("SELECT count(*) FROM public.user_logins")))
        #expect((1..<count).contains(rows), "the signals came too late to prove anything")

        let pair = try (1...2).map { _ in
            try vault.command("vault_ingest", ["ingest", "--batch-size", "500", file]).start()
        }
        let statuses = pair.map { $0.wait().status }
        #expect(statuses.contains(0) && statuses.allSatisfy { [0, 75].contains($0) }, "\(statuses)")
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        #expect(
            try vault.query("SELECT count(*), count(DISTINCT user_id) FROM public.user_logins") == "\(count)|\(count)")
    }

    @Test("fails with 1 where standard output is closed, and sends no value to the database instead")
    func closedOutput() throws {
        let vault = try LiveVault("closed_output")
        defer { vault.remove() }
        let file = try vault.file("logins.ndjson", "{\"user_id\": \"a\", \"ip\": \"192.0.2.1\"}\n")
        let ingest = try closing(">&-", vault.command("vault_ingest", ["ingest", file]))
        #expect(ingest.status == 1)
        #expect(try vault.query("SELECT count(*) FROM public.user_logins") == "1")

        let token = try vault.query("SELECT masked_ip FROM public.user_logins")
        let command = vault.command("vault_recoverer", ["recover", "--reason", "test", "--ticket", "T-1", token])
        for closed in [">&-", "<&- >&-"] {
            let recover = try closing(closed, command)
            #expect(recover.status == 1, "\(closed)")
            #expect(recover.standardError.contains("cannot write to standard output"), "\(closed)")
        }
        let quiet = try closing("2>&-", command)
        #expect(quiet.status == 0)
        #expect(quiet.standardOutput == "\(token)\t192.0.2.1\n")
        #expect(try closing("2>/dev/full", command).status == 0)
        #expect(try closing("2>/dev/full", vault.command("vault_ingest", ["ingest", "/nonexistent"])).status == 66)
        // What had gone to the socket was no message of the protocol, and the server said so.
        let log = try String(contentsOf: vault.cluster.serverLog, encoding: .utf8)
        #expect(!log.contains("invalid frontend message type"))
    }

    private func closing(_ redirection: String, _ command: Command) throws -> Finished {
        try Command(
            "/bin/sh", ["-c", "exec \"$0\" \"$@\" \(redirection)", command.executable] + command.arguments,
            environment: command.environment
        ).run()
    }
}
