import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Erasing beside an ingest")
struct BesideIngestTests {
    @Test("An erased value that the run under way had sent already comes in again with an original")
    func cache() throws {
        let house = try Household("erase_cache")
        defer { house.vault.remove() }
        let token = try house.token(Household.alone)
        let fifo = house.vault.folder.appending(path: "fifo").path
        #expect(unsafe mkfifo(fifo, 0o600) == 0)
        let run = try house.vault.command("vault_ingest", ["ingest", "--batch-size", "2", fifo]).start()
        let pipe = unsafe open(fifo, O_WRONLY)
        func feed(_ user: String, until rows: Int) throws {
            let lines = Array((Household.record(user, Household.alone, "PHONE-D") + "\n").utf8)
            for _ in 0..<2 { #expect(unsafe write(pipe, lines, lines.count) == lines.count) }
            for _ in 0..<200 where try house.count("SELECT count(*) FROM public.user_logins") < rows { usleep(50_000) }
            #expect(try house.count("SELECT count(*) FROM public.user_logins") == rows)
        }
        try feed("dave", until: 8)
        try house.erase(["--shared", "erase", token]).succeeded()
        #expect(try house.recover(token).status == 1)
        try feed("erin", until: 10)
        close(pipe)
        #expect(run.wait().status == 0)
        #expect(try house.recover(token).standardOutput == "\(token)\t\(Household.alone)\n")
        #expect(try house.danglingTokens() == 0)
    }

    @Test("An erasure waits for the batch in hand, and the next batch for the erasure")
    func gate() throws {
        let house = try Household("erase_gate")
        defer { house.vault.remove() }
        let token = try house.token(Household.alone)
        let cluster = house.vault.cluster
        func session(_ user: String) throws -> Connection {
            try cluster.connect(user: user, database: house.vault.database)
        }
        func waiting(for text: String) throws -> Bool {
            for _ in 0..<100 {
                if try isWaiting(text, in: house) { return true }
                usleep(50_000)
            }
            return false
        }
        var batch = try session("vault_ingest")
        try batch.runTrustedScript(
            "a batch in hand",
            """
            BEGIN; SELECT vault.enter_batch();
            INSERT INTO vault.original (token, domain, token_version, data_key, sealed)
            VALUES ('\(token.suffix(32))', 'ip', 1, gen_random_uuid(), decode(repeat('00', 60), 'hex')) ON CONFLICT DO NOTHING;
            """)
        let erasing = try house.vault.command(
            "vault_operator", ["erase", "--reason", "r", "--ticket", "t", token]
        ).start()
        #expect(try waiting(for: "erase_batch"), "the erasure did not wait for the batch")
        #expect(try house.count("SELECT count(*) FROM vault.original WHERE token = '\(token.suffix(32))'") == 1)
        try batch.runTrustedScript("its end", "COMMIT")
        #expect(erasing.wait().status == 0)

        // The other way round: whoever begins a batch while originals go waits until they are gone.
        var operatorSession = try session("vault_operator")
        let other = try house.token(Household.bobs)
        try operatorSession.runTrustedScript(
            "an erasure in hand",
            """
            BEGIN;
            SELECT id FROM vault.begin_erasure('00000000-0000-0000-0000-00000000000e', ARRAY['\(other)'], NULL, 'keep', 'keep', 'r', 't', false);
            SELECT * FROM vault.erase_batch('00000000-0000-0000-0000-00000000000e', NULL, 10);
            """)
        let ingest = try house.vault.command(
            "vault_ingest",
            ["ingest", try house.vault.file("more", Household.record("frank", Household.bobs, "X") + "\n")]
        ).start()
        #expect(try waiting(for: "enter_batch"), "the batch did not wait for the erasure")
        try operatorSession.runTrustedScript("its end", "COMMIT")
        #expect(ingest.wait().status == 0)
        #expect(try house.recover(other).standardOutput == "\(other)\t\(Household.bobs)\n")
    }

    @Test(
        "An erasure between two batches, the second of which was staged before it, takes nothing from the second",
        arguments: ["wholly", "partly"])
    func stagedBefore(_ extent: String) throws {
        let house = try Household("erase_staged_\(extent)")
        defer { house.vault.remove() }
        let token = try house.token(Household.alone)
        let size = extent == "wholly" ? 2 : 2_000
        let record = Household.record("dave", Household.alone, "PHONE-D") + "\n"
        let file = try house.vault.file("more.ndjson", String(repeating: record, count: 2 * size))

        // The first batch waits in its transaction, with the second staged behind it and the erasure before the gate.
        var holder = try house.vault.cluster.connect(user: "postgres", database: house.vault.database)
        let held = extent == "wholly" ? "vault.original" : "public.user_logins"
        try holder.runTrustedScript("holding inserts up", "BEGIN; LOCK TABLE \(held) IN SHARE MODE")
        let ingest = try house.vault.command("vault_ingest", ["ingest", "--batch-size", "\(size)", file]).start()
        try house.vault.waitForWaiter(held)
        if extent == "partly" {  // it goes on, and waits again after its INSERTs, which are over in no time
            var second = try house.vault.cluster.connect(user: "postgres", database: house.vault.database)
            try second.runTrustedScript(
                "holding the counts up", "BEGIN; SELECT FROM vault.ingest_run WHERE ended_at IS NULL FOR UPDATE")
            try holder.runTrustedScript("letting the inserts go", "ROLLBACK")
            holder = second
            try house.vault.wait(for: "the batch at its counts") { try isWaiting("add_run_counts", in: house) }
        }
        let erasing = try house.vault.command(
            "vault_operator", ["erase", "--reason", "r", "--ticket", "t", "--shared", "erase", token]
        ).start()
        try house.vault.wait(for: "the erasure at the gate") { try isWaiting("erase_batch", in: house) }
        try holder.runTrustedScript("letting it go", "ROLLBACK")
        #expect(erasing.wait().status == 0)
        #expect(ingest.wait().status == 0)
        #expect(try house.count("SELECT count(*) FROM public.user_logins WHERE user_id = 'dave'") == 2 * size)
        #expect(try house.danglingTokens() == 0)
        #expect(try house.recover(token).standardOutput == "\(token)\t\(Household.alone)\n")
    }

    private func isWaiting(_ call: String, in house: Household) throws -> Bool {
        try house.count(
            """
            SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
                AND strpos(query, '\(call)') > 0 AND pid <> pg_backend_pid()
            """) > 0
    }

    @Test("Ingest and erasures that run at once leave no row without what it needs")
    func storm() throws {
        let house = try Household("erase_storm")
        defer { house.vault.remove() }
        let records = try LiveVault.records(8_000, ["--addresses", "40", "--devices", "40"])
        try house.ingest("pools", records.split(separator: "\n").prefix(400).map(String.init))
        let file = try house.vault.file("storm.ndjson", records)
        let ingest = try house.vault.command("vault_ingest", ["ingest", "--batch-size", "50", file]).start()
        let tokens = try house.vault.query("SELECT DISTINCT masked_ip FROM public.user_logins").split(separator: "\n")
            .map(String.init)
        var rounds = 0
        while ingest.isRunning, rounds < 12 {
            let list = try house.vault.file("storm.tokens", tokens.joined(separator: "\n") + "\n")
            try house.erase(["--from", list, "--shared", "erase", "--masked-rows", "clear", "--batch-size", "7"])
                .succeeded()
            rounds += 1
        }
        #expect(ingest.wait().status == 0)
        #expect(rounds > 1, "the run was over too soon to prove anything")
        #expect(try house.danglingTokens() == 0)
        let back = try house.vault.query("SELECT masked_ip FROM public.user_logins WHERE masked_ip IS NOT NULL LIMIT 1")
        if !back.isEmpty { #expect(try house.recover(back).status == 0) }
    }
}
