import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Ingest functions")
struct IngestFunctionTests {
    private static let shared = Result { try TestVault("dbt_ingest") }
    private let vault: TestVault

    init() throws { vault = try Self.shared.get() }

    private func mac(_ byte: String) -> String { "decode(repeat('\(byte)', 16), 'hex')" }

    private func claim(_ queue: String, _ ids: [String], version: Int = 1, mac byte: String = "01") -> String {
        let list = ids.map { "'\($0)'" }.joined(separator: ",")
        let macs = ids.map { _ in mac(byte) }.joined(separator: ",")
        return
            "SELECT * FROM vault.claim_messages('\(queue)', ARRAY[\(list)]::text[], \(version), ARRAY[\(macs)]::bytea[]);"
    }

    @Test("A message id is claimed once; a redelivery is told with what is known of its body")
    func redelivery() throws {
        #expect(try vault.psql("vault_ingest", claim("q1", ["b", "a"])) == "")
        #expect(
            try vault.psql("vault_ingest", claim("q1", ["c", "a", "d", "b"], version: 2, mac: "02"))
                == "2|1|\\x01010101010101010101010101010101\n4|1|\\x01010101010101010101010101010101")
        #expect(try vault.psql("vault_ingest", claim("another queue", ["a", "b"])) == "")
    }

    @Test("The same id twice in one call is claimed by its first occurrence")
    func twiceInOneCall() throws {
        let rows = try vault.psql(
            "vault_ingest",
            "SELECT * FROM vault.claim_messages('q2', ARRAY['x', 'y', 'x', 'x'], 1, "
                + "ARRAY[\(mac("0a")), \(mac("0b")), \(mac("0c")), \(mac("0a"))]);")
        #expect(rows == "3|1|\\x0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a\n4|1|\\x0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a")
    }

    @Test("The second of two sessions waits for the first, then sees what it committed")
    func concurrentCommit() throws {
        var first = try vault.connect("vault_ingest")
        try first.runTrustedScript("claiming", "BEGIN; " + claim("q3", ["m", "n"]))
        let second = try vault.start("vault_ingest", claim("q3", ["n", "o", "m"], mac: "09"))
        #expect(try vault.areWaiting(in: "claim_messages('q3'"))
        #expect(second.isRunning)
        _ = try first.commit()
        #expect(
            second.wait().standardOutput
                == "1|1|\\x01010101010101010101010101010101\n3|1|\\x01010101010101010101010101010101\n")
    }

    @Test("When the first session rolls back, the second owns the messages")
    func concurrentRollback() throws {
        var first = try vault.connect("vault_ingest")
        try first.runTrustedScript("claiming", "BEGIN; " + claim("q4", ["m"]))
        let second = try vault.start("vault_ingest", claim("q4", ["m"], mac: "09"))
        #expect(try vault.areWaiting(in: "claim_messages('q4'"))
        first.rollback()
        #expect(second.wait().standardOutput == "")
        #expect(try vault.psql("vault_ingest", claim("q4", ["m"])).hasSuffix(String(repeating: "09", count: 16)))
    }

    @Test("Sessions that claim the same ids in opposite orders do not deadlock")
    func opposite() throws {
        // The holder stops both others at "b"; unsorted, each would by then own what the other claims next.
        var holder = try vault.connect("vault_ingest")
        try holder.runTrustedScript("claiming", "BEGIN; " + claim("q6", ["b"]))
        let forward = try vault.start("vault_ingest", claim("q6", ["a", "b", "c"]))
        #expect(try vault.areWaiting(in: "claim_messages('q6'"))
        let backward = try vault.start("vault_ingest", claim("q6", ["c", "b", "a"]))
        #expect(try vault.areWaiting(2, in: "claim_messages('q6'"))
        holder.rollback()
        let (one, other) = (forward.wait(), backward.wait())
        #expect(one.states.isEmpty && other.states.isEmpty, "\(one.standardError)\(other.standardError)")
        #expect(one.standardOutput == "")
        #expect(other.standardOutput.split(separator: "\n").map { $0.prefix(2) } == ["1|", "2|", "3|"])
    }

    @Test("Wrong lists are refused without repeating them")
    func wrongLists() throws {
        for call in [
            "claim_messages('q', ARRAY['a', 'b'], 1, ARRAY['\\x00'::bytea])",
            "claim_messages('q', ARRAY['a'], 0, NULL)",
            "claim_messages('', ARRAY['a'], 1, ARRAY[\(mac("01"))])",
            "claim_messages('q', ARRAY[NULL]::text[], 1, ARRAY[\(mac("01"))])",
            "claim_messages('q', ARRAY['a'], 1, ARRAY['\\x00'::bytea])", "begin_run(NULL, 'q')",
            "begin_run(gen_random_uuid(), ' ')",
            "register_file(gen_random_uuid(), 'f', 1, 5000, \(mac("01")))", "advance_file(gen_random_uuid(), 5, 4, 1)",
            "record_tokenize('ip', -1, NULL)", "record_tokenize(NULL, 1, NULL)",
        ] {
            #expect(try vault.session("vault_ingest", "SELECT vault.\(call);").states == ["TV020"], "\(call)")
        }
        #expect(try vault.psql("vault_ingest", "SELECT vault.claim_messages('q', '{}', 1, '{}')") == "")
    }

    @Test("A file's offset moves by compare-and-set; of two sessions one fails")
    func advance() throws {
        let file = "00000000-0000-0000-0000-00000000000f"
        try vault.psql("vault_ingest", "SELECT vault.register_file('\(file)', 'f', 1, 10, \(mac("01")))")
        var first = try vault.connect("vault_ingest")
        try first.runTrustedScript("advancing", "BEGIN; SELECT vault.advance_file('\(file)', 0, 100, 5)")
        let second = try vault.start("vault_ingest", "SELECT vault.advance_file('\(file)', 0, 100, 5);")
        #expect(try vault.areWaiting(in: "advance_file"))
        _ = try first.commit()
        #expect(second.wait().states == ["TV010"])
        try vault.psql("vault_ingest", "SELECT vault.advance_file('\(file)', 100, 150, 2)")
        #expect(
            try vault.psql("vault_ingest", "SELECT committed_offset, committed_lines FROM vault.find_file('f')")
                == "150|7")
    }

    @Test("Two runs that meet at a new file cannot both register it")
    func register() throws {
        var first = try vault.connect("vault_ingest")
        let register = "SELECT vault.register_file(gen_random_uuid(), 'new', 1, 10, \(mac("01")));"
        try first.runTrustedScript("registering", "BEGIN; " + register)
        let second = try vault.start("vault_ingest", register)
        #expect(try vault.areWaiting(in: "'new', 1, 10"))
        _ = try first.commit()
        #expect(second.wait().states == ["TV010"])
    }

    @Test("A run counts and ends once, by the login that began it, with one audit event")
    func run() throws {
        let run = "00000000-0000-0000-0000-0000000000aa"
        try vault.psql(
            "vault_ingest",
            """
            SELECT vault.begin_run('\(run)', 'queue'); SELECT vault.add_run_counts('\(run)', 10, 2, 1);
            SELECT vault.add_run_counts('\(run)', 5, 0, 0);
            """)
        for (login, script, state) in [
            ("vault_operator", "SELECT vault.add_run_counts('\(run)', 1, 1, 1);", "TV004"),
            ("vault_operator", "SELECT vault.finish_run('\(run)', 'finished');", "TV004"),
            ("vault_ingest", "SELECT vault.add_run_counts('\(run)', -1, 0, 0);", "TV020"),
            ("vault_ingest", "SELECT vault.begin_run('\(run)', 'queue');", "TV020"),
        ] {
            #expect(try vault.session(login, script).states == [state])
        }
        try vault.psql("vault_ingest", "SELECT vault.finish_run('\(run)', 'finished')")
        #expect(try vault.session("vault_ingest", "SELECT vault.finish_run('\(run)', 'again');").states == ["TV004"])
        #expect(
            try vault.psql("vault_auditor", "SELECT action, outcome FROM audit.event WHERE object = '\(run)'")
                == "ingest|finished: stored 15, repeated 2, quarantined 1")
    }

    @Test("A run learns its own counts once no transaction moves them, and its receipt once it has ended")
    func outcome() throws {
        let vault = try TestVault("dbt_outcome")
        let run = "00000000-0000-0000-0000-0000000000ab"
        let state = "SELECT * FROM vault.run_state('\(run)')"
        try vault.psql("vault_ingest", "SELECT vault.begin_run('\(run)', 'queue')")
        #expect(try vault.psql("vault_ingest", state) == "0|0|0||")
        #expect(try vault.session("vault_operator", state + ";").states == ["TV004"], "another login's run")
        // Not the receipt of an event that only looks like the run's, before its end or after.
        let planted = "SELECT FROM audit.append('ingest', '\(run)', NULL, NULL, 'planted')"
        try vault.psql("postgres", planted)
        var batch = try vault.connect("vault_ingest")
        try batch.runTrustedScript("a batch in hand", "BEGIN; SELECT vault.add_run_counts('\(run)', 10, 2, 1)")
        let asking = try vault.start("vault_ingest", state + ";")
        #expect(try vault.areWaiting(in: "run_state"))
        _ = try batch.commit()
        #expect(asking.wait().standardOutput == "10|2|1||\n")
        try vault.psql("vault_ingest", "SELECT vault.finish_run('\(run)', 'finished')")
        try vault.psql("postgres", planted.replacing("'ingest'", with: "'other'"))
        #expect(
            try vault.psql("vault_ingest", state)
                == "10|2|1|"
                + (try vault.psql("vault_auditor", "SELECT sequence, head FROM audit.event WHERE sequence = 2")))
    }

    @Test("The records that wait come page by page in the order of their ids, and no settled one")
    func waiting() throws {
        let vault = try TestVault("dbt_waiting")
        func id(_ number: Int) -> String { "00000000-0000-0000-0000-0000000000a\(number)" }
        for number in [4, 2, 5, 1, 3] {
            try vault.psql(
                "vault_ingest",
                """
                INSERT INTO vault.quarantine (id, source, position, cause, body_mac, data_key, sealed)
                VALUES ('\(id(number))', 'q', 'm\(number)', 'c', \(mac("01")), gen_random_uuid(), decode(repeat('00', 73), 'hex'))
                """)
        }
        try vault.psql("vault_operator", "SELECT vault.resolve_quarantine('\(id(3))', 'discarded', 'r')")
        func page(_ arguments: String) throws -> String {
            try vault.psql(
                "vault_operator",
                "SELECT string_agg(right(id::text, 1), '' ORDER BY place) FROM vault.quarantine_waiting(\(arguments)) "
                    + "WITH ORDINALITY AS page (id, created_at, place)")
        }
        #expect(try page("NULL, NULL, 2") == "12")
        #expect(try page("NULL, '\(id(2))', 2") == "45")
        #expect(try page("NULL, '\(id(5))', 2") == "")
        #expect(try page("ARRAY['\(id(5))', '\(id(3))', '\(id(1))']::uuid[], NULL, 9") == "15")
        #expect(try page("'{}', NULL, 9") == "")
        for none in ["0", "-1", "NULL"] { #expect(try page("NULL, NULL, \(none)") == "", "\(none)") }
    }

    @Test("Messages older than a queue can redeliver are forgotten when a run begins, younger ones are not")
    func purge() throws {
        try vault.psql("vault_ingest", claim("q5", ["old", "young"]))
        try vault.psql(
            "postgres",
            """
            UPDATE vault.ingest_message SET received_at = now() - interval '15 days 1 minute' WHERE message_id = 'old';
            UPDATE vault.ingest_message SET received_at = now() - interval '14 days' WHERE message_id = 'young';
            """)
        try vault.psql("vault_ingest", "SELECT vault.begin_run(gen_random_uuid(), 'q5')")
        #expect(try vault.psql("vault_ingest", claim("q5", ["old", "young"])).hasPrefix("2|"))
    }

    @Test("The ingest role inserts without reading, and cannot resolve what it quarantines")
    func insertOnly() throws {
        try Planted.sow(vault)
        let again = try vault.session(
            "vault_ingest",
            """
            INSERT INTO vault.original (token, domain, token_version, data_key, sealed)
            SELECT * FROM unnest(ARRAY['00000000-0000-0000-0000-0000000000a1']::uuid[], ARRAY['ip'], ARRAY[1],
                                 ARRAY['00000000-0000-0000-0000-0000000000d9']::uuid[], ARRAY[decode(repeat('00', 73), 'hex')])
            ON CONFLICT DO NOTHING;
            INSERT INTO vault.quarantine (id, source, position, cause, body_mac, data_key, sealed, resolution)
            VALUES (gen_random_uuid(), 'q', 'm', 'c', \(mac("01")), gen_random_uuid(), decode(repeat('00', 73), 'hex'), 'replayed');
            """)
        #expect(again.states == ["42501"])
        #expect(
            try vault.psql("postgres", "SELECT data_key FROM vault.original") == "00000000-0000-0000-0000-0000000000d1")
    }
}
