import Foundation
import Postgres
import TestSupport
import Testing

/// While the server works on a batch, the next one is staged as if that one were committed already.
@Suite("A batch staged ahead of its turn", .serialized)
struct StagedAheadTests {
    /// Lets nobody insert originals. The first batch then waits, and the second is staged meanwhile.
    private func holdOriginals(of vault: LiveVault, _ body: () throws -> Void) throws {
        var holder = try vault.cluster.connect(user: "postgres", database: vault.database)
        try holder.runTrustedScript("holding inserts up", "BEGIN; LOCK TABLE vault.original IN SHARE MODE")
        try body()
        try holder.runTrustedScript("letting them go", "ROLLBACK")
    }

    @Test("is worked on while the server does not answer")
    func isStaged() throws {
        let vault = try LiveVault("ahead_works")
        defer { vault.remove() }
        // Few values, so that the INSERT is sent whole before the server waits; and work for more than the wait itself costs.
        let records = try LiveVault.records(40_000, ["--addresses", "5", "--devices", "5"])
        let file = try vault.file("logins.ndjson", records)
        var running: RunningCommand?
        defer { running?.signal(SIGKILL) }
        try holdOriginals(of: vault) {
            let run = try vault.command("vault_ingest", ["ingest", "--batch-size", "20000", file]).start()
            running = run
            try vault.waitForWaiter("vault.original")
            let before = try processorTime(of: run.processIdentifier)
            var ticks = 0
            for _ in 0..<400 where ticks < 20 {  // to wait alone takes fewer in 8 s
                usleep(20_000)
                ticks = try processorTime(of: run.processIdentifier) - before
            }
            #expect(ticks >= 20, "nothing was done meanwhile")
        }
        #expect(running?.wait().status == 0)
    }

    /// Of a process, in user mode, in ticks of 10 ms. Source: proc(5), `/proc/pid/stat`, field 14.
    private func processorTime(of process: Int32) throws -> Int {
        let fields = try String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8).split(separator: ") ")
        return Int(fields.last?.split(separator: " ")[11] ?? "") ?? 0
    }

    private struct Printed: Decodable { let originals_sent: Int }

    @Test(
        "Whatever becomes of the batch before it, every record is stored once and every token opens",
        arguments: ["committed", "its session killed", "its answer lost"])
    func before(_ fate: String) throws {
        let vault = try LiveVault("ahead_\(fate.split(separator: " ").last ?? "")")
        defer { vault.remove() }
        let proxy = try DatabaseProxy(to: vault.cluster)
        defer { proxy.stop() }
        let sent = try SentRecords(600, seed: 71)
        let file = try vault.file("logins.ndjson", sent.lines.joined(separator: "\n") + "\n")
        let command = vault.command(
            "vault_ingest", ["ingest", "--json", "--batch-size", "150", file],
            environment: proxy.environment("vault_ingest", vault))
        var running: RunningCommand?
        try holdOriginals(of: vault) {
            running = try command.start()
            try vault.waitForWaiter("vault.original")
            Thread.sleep(forTimeInterval: 0.2)  // for the second batch
            if fate == "its answer lost" { try proxy.tell("cut-commit") }
            if fate == "its session killed" {
                let ended = try vault.query(
                    """
                    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE usename = 'vault_ingest' AND datname = current_database()
                    """)
                #expect(ended == "1")
            }
        }
        let run = try #require(running).wait()
        #expect(run.status == 3, "\(run.standardError)")
        let printed = try JSONDecoder().decode(Printed.self, from: Data(run.standardOutput.utf8))
        let values = Set(sent.records.map { "ip \($0.ip)" } + sent.records.map { "device \($0.device_id)" })
        #expect(printed.originals_sent == values.count, "values of the batch before are not sent again")
        #expect(try vault.query("SELECT count(*) FROM vault.original") == "\(values.count)")
        try sent.expectAllStoredOnce(in: vault, seed: 71)
    }

    @Test("A value whose record was refused in the batch before still gets its original")
    func refused() throws {
        let vault = try LiveVault("ahead_refused")
        defer { vault.remove() }
        _ = try vault.query(
            """
            CREATE FUNCTION public.no_martians() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                IF NEW.user_id = 'martian' THEN RAISE check_violation; END IF;
                RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER no_martians AFTER INSERT ON public.user_logins
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.no_martians()
            """)
        let shared = "198.51.100.77"
        let file = try vault.file(
            "logins.ndjson",
            """
            {"user_id": "first", "ip": "192.0.2.1"}
            {"user_id": "martian", "ip": "\(shared)"}
            {"user_id": "second", "ip": "\(shared)"}
            {"user_id": "third", "ip": "192.0.2.1"}

            """)
        var running: RunningCommand?
        try holdOriginals(of: vault) {
            running = try vault.command("vault_ingest", ["ingest", "--batch-size", "2", file]).start()
            try vault.waitForWaiter("vault.original")
            Thread.sleep(forTimeInterval: 0.2)
        }
        let run = try #require(running).wait()
        #expect(run.status == 3, "\(run.standardError)")
        #expect(try vault.query("SELECT cause FROM vault.quarantine") == "refused_by_database")
        let token = try vault.query("SELECT masked_ip FROM public.user_logins WHERE user_id = 'second'")
        let recovered = try vault.tokenvault(
            "vault_recoverer", ["recover", "--reason", "test", "--ticket", "T-1", token])
        #expect(recovered.standardOutput == "\(token)\t\(shared)\n", "\(recovered.standardError)")
    }
}
