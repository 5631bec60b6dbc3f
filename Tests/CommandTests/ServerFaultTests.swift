import Foundation
import TestSupport
import Testing

/// Faults that hit a whole server, on one of their own.
@Suite("A database server that fails under a run", .serialized)
struct ServerFaultTests {
    private static let cluster = Result {
        try PrivateCluster(
            purpose: "fault", settings: "shared_buffers = 32MB\nmin_wal_size = 32MB\nmax_wal_size = 48MB")
    }
    private static let batch = 100

    @Test("because the disk of a table is full: 75, nothing deleted, the batch whole or not at all")
    func tableSpace() throws {
        let cluster = try Self.cluster.get()
        let queue = try QueueUnderFault("fault_disk", on: cluster)
        defer { queue.remove() }
        let disk = try SmallDisk(size: "4m")
        defer { disk.stop() }
        _ = try queue.vault.query("CREATE TABLESPACE small LOCATION '\(disk.space.path)'")
        for table in ["public.user_logins", "vault.original", "vault.quarantine", "vault.ingest_message"] {
            _ = try queue.vault.query("ALTER TABLE \(table) SET TABLESPACE small")
            try disk.fill()
            try queue.expectNothingDone(
                75, naming: ["53100", "disk is full", "free space there and run again"], receives: true, table)
            try queue.expectNoRows(table)
            try disk.free()
            _ = try queue.vault.query("ALTER TABLE \(table) SET TABLESPACE pg_default")
        }
        try queue.expectAllDone()
        _ = try queue.vault.query("DROP TABLESPACE small")
    }

    @Test("stopped, crashed, or with one session's process killed: whole batches, 75, and the next run goes on")
    func stops() throws {
        let cluster = try Self.cluster.get()
        let vault = try LiveVault("fault_stops", on: cluster)
        defer { vault.remove() }
        let count = 20_000
        let file = try vault.file("logins.ndjson", try LiveVault.records(count))
        func start(retry: Int) throws -> RunningCommand {
            let before = try vault.query("SELECT count(*) FROM public.user_logins")
            let run = try vault.command(
                "vault_ingest", ["ingest", "--json", "--batch-size", "\(Self.batch)", file],
                environment: ["TOKENVAULT_RETRY_SECONDS": "\(retry)"]
            ).start()
            while run.isRunning, try vault.query("SELECT count(*) FROM public.user_logins") == before {
                Thread.sleep(forTimeInterval: 0.01)
            }
            return run
        }
        func expectWholeBatches(_ fault: String) throws {
            let stored = try #require(Int(try vault.query("SELECT count(*) FROM public.user_logins")))
            #expect(stored % Self.batch == 0 && (1..<count).contains(stored), "\(fault): \(stored) rows")
            #expect(
                try vault.query("SELECT committed_lines FROM vault.ingest_file") == "\(stored)",
                "\(fault): rows and the file's place differ")
        }
        for mode in ["stop-fast", "stop-immediate"] {
            let run = try start(retry: 1)
            try cluster.control(mode)
            let ended = run.wait()
            #expect(ended.status == 75, "\(mode): \(ended.standardError)")
            ended.expectOneError(naming: ["PostgreSQL", "run"], mode)
            try cluster.control("start")
            try expectWholeBatches(mode)
        }
        // A server that comes back in time costs nothing but time.
        let run = try start(retry: 60)
        let pid = try vault.query(
            "SELECT pid FROM pg_stat_activity WHERE usename = 'vault_ingest' AND datname = current_database()")
        _ = try vault.query("SELECT pg_terminate_backend(\(pid))")
        Thread.sleep(forTimeInterval: 0.5)
        let next = try vault.query(
            "SELECT pid FROM pg_stat_activity WHERE usename = 'vault_ingest' AND datname = current_database()")
        #expect(kill(try #require(Int32(next)), SIGKILL) == 0)  // the whole server starts over
        let ended = run.wait()
        #expect(ended.status == 0, "\(ended.standardError)")
        #expect(
            try vault.query("SELECT count(*), count(DISTINCT user_id) FROM public.user_logins") == "\(count)|\(count)")
    }

    @Test("because the disk of its log is full: it panics, the run ends with 75, and a later one goes on")
    func writeAheadLog() throws {
        let cluster = try Self.cluster.get()
        let vault = try LiveVault("fault_wal", on: cluster)
        defer { vault.remove() }
        let count = 20_000
        let file = try vault.file("logins.ndjson", try LiveVault.records(count))
        let disk = try SmallDisk(size: "100m")
        let log = cluster.dataFolder.appending(path: "pg_wal").path
        try cluster.control("stop-fast")
        try Command(
            "/bin/sh",
            [
                "-c",
                "cp -a '\(log)/.' '\(disk.space.path)/' && mv '\(log)' '\(log).home' && ln -s '\(disk.space.path)' '\(log)'",
            ]
        )
        .check()
        try cluster.control("start")
        let run = try vault.command(
            "vault_ingest", ["ingest", "--json", "--batch-size", "\(Self.batch)", file],
            environment: ["TOKENVAULT_RETRY_SECONDS": "2"]
        ).start()
        while run.isRunning, try vault.query("SELECT count(*) FROM public.user_logins") == "0" {
            Thread.sleep(forTimeInterval: 0.01)
        }
        try disk.fill()
        while run.isRunning {  // until the segments that stand are used up
            _ = try? vault.query("SELECT pg_switch_wal()")
            Thread.sleep(forTimeInterval: 0.02)
        }
        let ended = run.wait()
        #expect(ended.status == 75, "\(ended.standardError)")
        ended.expectOneError(naming: ["PostgreSQL", "run"], "log full")
        let said = try String(contentsOf: cluster.serverLog, encoding: .utf8)
        #expect(said.contains("PANIC:") && said.contains("No space left on device"), "the server did not panic")

        try disk.free()
        try? cluster.control("stop-immediate")  // it may have given up by itself
        try Command(
            "/bin/sh", ["-c", "rm '\(log)' && mv '\(log).home' '\(log).old' && cp -a '\(disk.space.path)' '\(log)'"]
        ).check()
        disk.stop()
        try cluster.control("start")
        let stored = try #require(Int(try vault.query("SELECT count(*) FROM public.user_logins")))
        #expect(stored % Self.batch == 0 && (1..<count).contains(stored), "\(stored) rows")
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        #expect(
            try vault.query("SELECT count(*), count(DISTINCT user_id) FROM public.user_logins") == "\(count)|\(count)")
    }

    @Test("because it is a standby: 78 at connect, before the first receive")
    func standby() throws {
        let cluster = try Self.cluster.get()
        let queue = try QueueUnderFault("fault_standby", on: cluster)
        defer { queue.remove() }
        let signal = cluster.dataFolder.appending(path: "standby.signal").path
        try cluster.control("stop-fast")
        #expect(FileManager.default.createFile(atPath: signal, contents: nil))
        try cluster.control("start")
        #expect(try queue.vault.query("SELECT pg_is_in_recovery()") == "t")
        try queue.expectNothingDone(
            78, naming: ["25006", "standby", "connect to the primary"], receives: false, "standby")
        try queue.expectNoRows("standby")
        try cluster.control("stop-fast")
        try FileManager.default.removeItem(atPath: signal)
        try cluster.control("start")
        try queue.expectAllDone()
    }
}
