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

    @Test("ends with 75 within 10 s wherever the signal finds it: connecting, waiting for input, its reader gone")
    func everywhere() throws {
        let vault = try LiveVault("interrupted_waits")
        defer { vault.remove() }
        let proxy = try DatabaseProxy(to: vault.cluster)
        defer { proxy.stop() }
        let file = try vault.file("logins.ndjson", try LiveVault.records(20_000))
        func end(_ run: RunningCommand, by number: Int32, _ context: String) {
            let start = ContinuousClock.now
            run.signal(number)
            let ended = run.wait()
            #expect(ended.status == 75 && !ended.wasKilled, "\(context): \(ended.status) \(ended.standardError)")
            #expect(ContinuousClock.now - start < .seconds(10), "\(context)")
            ended.expectOneError(naming: ["stopped by a signal", "run again"], context)
        }
        // A database that accepts and never answers.
        try proxy.tell("hang")
        let connecting = try vault.command(
            "vault_ingest", ["ingest", file], environment: proxy.environment("vault_ingest", vault)
        ).start()
        Thread.sleep(forTimeInterval: 1)
        end(connecting, by: SIGTERM, "connecting")
        try proxy.tell("pass")

        // A pipe that says nothing more.
        let pipe = vault.folder.appending(path: "pipe").path
        #expect(unsafe mkfifo(pipe, 0o600) == 0)
        let waiting = try vault.command("vault_ingest", ["ingest", pipe]).start()
        try vault.wait(for: "the run over the pipe") {
            try vault.query("SELECT count(*) FROM vault.ingest_run WHERE source LIKE '%/pipe'") == "1"
        }
        end(waiting, by: SIGHUP, "waiting for a pipe's writer")

        // Ctrl-C takes the reader of the pipe along, and the summary cannot be written; SIGPIPE itself is nobody's end.
        let command = vault.command("vault_ingest", ["ingest", "--batch-size", "100", file])
        let number = vault.folder.appending(path: "pid").path
        let piped = try Command(
            "/bin/bash",
            ["-c", "\"$0\" \"$@\" > >(:) & echo $! >'\(number)'; wait $!", command.executable] + command.arguments,
            environment: command.environment
        ).start()
        try vault.wait(for: "rows") { try vault.query("SELECT count(*) FROM public.user_logins") != "0" }
        let pid = Int32(try String(contentsOfFile: number, encoding: .utf8).trimmingCharacters(in: .newlines))
        _ = kill(try #require(pid), SIGPIPE)
        Thread.sleep(forTimeInterval: 0.2)
        #expect(piped.isRunning, "SIGPIPE ended the run")
        _ = kill(try #require(pid), SIGINT)
        let ended = piped.wait()
        #expect(ended.status == 75, "\(ended.standardError)")
        #expect(ended.standardError.contains("warning: cannot write to standard output"))
        #expect(ended.standardError.contains("error: stopped by a signal"))
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        #expect(try vault.query("SELECT count(*), count(DISTINCT user_id) FROM public.user_logins") == "20000|20000")
    }

    @Test("at any moment from its start on: 75, or done; and nothing is lost or stored twice")
    func anyMoment() throws {
        let vault = try LiveVault("interrupted_any")
        defer { vault.remove() }
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let sent = try SentRecords(6_000, seed: 31)
        let file = try vault.file("logins.ndjson", sent.lines.joined(separator: "\n") + "\n")
        let arguments = ["ingest", "--json", "--batch-size", "20", file]
        var stopped = 0
        for turn in 0..<24 {
            let before = try vault.query("SELECT count(*) FROM vault.ingest_run")
            let run = try vault.command("vault_ingest", arguments).start()
            if turn % 2 == 1 {  // once the run has begun, however slow the machine is
                try vault.wait(for: "the run") {
                    try !run.isRunning || vault.query("SELECT count(*) FROM vault.ingest_run") != before
                }
            }
            Thread.sleep(forTimeInterval: Double.random(in: 0...0.4, using: &random) / (turn % 2 == 1 ? 4 : 1))
            run.signal([SIGTERM, SIGINT, SIGHUP][turn % 3])
            let ended = run.wait()
            // Before `main` nobody can catch a signal; the program has then done nothing.
            let isTooEarly = ended.wasKilled && ended.standardError.isEmpty
            #expect(
                [0, 3, 75].contains(ended.status) || isTooEarly, "seed \(seed): \(ended.status) \(ended.standardError)")
            if ended.status == 75 && !ended.wasKilled { stopped += 1 }
        }
        #expect(stopped >= 8, "seed \(seed): only \(stopped) runs were stopped by their signal")
        let last = try vault.tokenvault("vault_ingest", arguments)
        #expect([0, 3].contains(last.status), "seed \(seed): \(last.standardError)")
        try sent.expectAllStoredOnce(in: vault, seed: seed)
    }

    private func closing(_ redirection: String, _ command: Command) throws -> Finished {
        try Command(
            "/bin/sh", ["-c", "exec \"$0\" \"$@\" \(redirection)", command.executable] + command.arguments,
            environment: command.environment
        ).run()
    }
}
