import Foundation
import Postgres
import TestSupport
import Testing
import VaultCrypto

@Suite("Audit chain")
struct AuditChainTests {
    /// Reads the whole log and recomputes it from docs/FORMATS.md, section 8; returns the number of events.
    private func recompute(_ vault: TestVault) throws -> Int {
        var connection = try vault.connect("vault_auditor")
        let rows = try connection.run(
            Statement(
                "reading the log",
                """
                SELECT sequence, id, (extract(epoch FROM happened_at) * 1000000)::bigint, actor, address, action, object,
                       reason, ticket, outcome, leaf, head
                FROM audit.event ORDER BY sequence
                """))
        var head = [UInt8](repeating: 0, count: 32)
        #expect(Set((0..<rows.count).map { rows.text(row: $0, column: 1) }).count == rows.count, "ids repeat")
        for row in 0..<rows.count {
            var event = FieldEncoder(label: "tokenvault/audit-event/1")
            #expect(rows.int(row: row, column: 0) == row + 1, "the sequence has a gap")
            event.append(u64: UInt64(rows.int(row: row, column: 0)!))
            event.append(uuid: rows.uuid(row: row, column: 1)!)
            event.append(i64: Int64(rows.int(row: row, column: 2)!))
            for column in 3...9 {
                if let text = rows.text(row: row, column: column) { event.append(text) } else { event.appendNull() }
            }
            let leaf = SHA256.hash([0] + event.bytes)
            #expect(rows.bytes(row: row, column: 10) == leaf, "event \(row + 1)")
            head = SHA256.hash([2] + head + leaf)
            #expect(rows.bytes(row: row, column: 11) == head, "event \(row + 1)")
        }
        let last = try connection.run(Statement("reading the head", "SELECT sequence, head FROM audit.head"))
        #expect(last.count == 1)
        #expect(last.int(row: 0, column: 0) == rows.count)
        #expect(last.bytes(row: 0, column: 1) == head)
        return rows.count
    }

    @Test("Leaf and head are what docs/FORMATS.md says, for every kind of event")
    func encoding() throws {
        let vault = try TestVault("dbt_audit")
        try Planted.sow(vault)
        try vault.psql(
            "vault_ingest",
            """
            SELECT vault.begin_run('00000000-0000-0000-0000-000000000001', 'q');
            SELECT vault.finish_run('00000000-0000-0000-0000-000000000001', 'finished');
            SELECT vault.record_tokenize('ip', 3, NULL);
            SELECT vault.record_tokenize('ip', 0, E'Grüße, 木, \\U0001F511\\n"quoted"\\t');
            """)
        let request = try vault.psql(
            "vault_recoverer",
            "SELECT request FROM vault.request_recovery(ARRAY['\(Planted.token)', '\(Planted.absent)'], 'why', NULL)")
        try vault.psql("vault_recoverer", "SELECT vault.record_outcome('\(request)', '1 opened, 1 absent')")
        try vault.psql(
            "vault_operator",
            """
            SELECT vault.set_policy('ip', 1, 1000, '1 hour', NULL, 'T-.*');
            SELECT vault.resolve_quarantine('\(Planted.quarantined)', 'discarded', 'junk');
            SELECT vault.request_quarantine(ARRAY['\(Planted.quarantined)']::uuid[], 'why', 'T-2');
            """)
        #expect(try recompute(vault) == 9)
    }

    @Test("The receipt that a function returns is the head of its last event")
    func receipts() throws {
        let vault = try TestVault("dbt_receipts")
        let receipt = try vault.psql(
            "vault_recoverer",
            """
            SELECT audit_sequence, audit_head
            FROM vault.request_recovery(ARRAY['\(Planted.token)', '\(Planted.absent)'], 'why', 'T')
            """)
        #expect(
            receipt == (try vault.psql("vault_auditor", "SELECT sequence, head FROM audit.event WHERE sequence = 2")))
    }

    @Test("Eight sessions that append at once, some rolling back, leave one chain without gaps")
    func concurrency() throws {
        let vault = try TestVault("dbt_chain")
        var gate = try vault.connect("postgres")
        try gate.runTrustedScript("closing the gate", "SELECT pg_advisory_lock(1)")
        let sessions = try (0..<8).map { worker in
            let rounds = (0..<12).map { round in
                "BEGIN; SELECT vault.record_tokenize('ip', \(round), 'worker \(worker)'); "
                    + (round % 3 == 2 ? "ROLLBACK;" : "COMMIT;")
            }
            return try vault.start(
                "vault_ingest", "SELECT pg_advisory_lock_shared(1);\n" + rounds.joined(separator: "\n"))
        }
        #expect(try vault.areWaiting(8, in: "pg_advisory_lock_shared(1)"))
        try gate.runTrustedScript("opening the gate", "SELECT pg_advisory_unlock(1)")
        for session in sessions { #expect(session.wait().states.isEmpty) }
        #expect(try recompute(vault) == 8 * 8)
        // The time is that of the appending, not of the transaction's begin: it never goes back.
        #expect(
            try vault.psql(
                "vault_auditor",
                """
                SELECT count(*) FROM audit.event JOIN audit.event AS later ON later.sequence = event.sequence + 1
                WHERE later.happened_at < event.happened_at
                """) == "0")
    }

    @Test("The log refuses UPDATE, DELETE and TRUNCATE, even to the administrator and to a superuser")
    func appendOnly() throws {
        let vault = try TestVault("dbt_append_only")
        try vault.psql("vault_ingest", "SELECT vault.record_tokenize('ip', 1, NULL)")
        for login in ["vault_admin", "postgres"] {
            let finished = try vault.session(
                login,
                """
                UPDATE audit.event SET reason = 'x' WHERE false; DELETE FROM audit.event; TRUNCATE audit.event;
                DELETE FROM audit.head; TRUNCATE audit.head;
                """)
            #expect(finished.states == ["TV001", "TV001", "TV001", "TV001", "TV001"], "\(login)")
        }
        let replica = try vault.session(
            "postgres", "SET session_replication_role = replica; DELETE FROM audit.event; DELETE FROM audit.head;")
        #expect(replica.states == ["TV001", "TV001"])
        let second = try vault.session(
            "postgres", "INSERT INTO audit.head VALUES (false, 0, '\\x00'), (true, 0, '\\x00');")
        #expect(second.states == ["23514"])
    }

    @Test("An event names the address of a client that came over TCP, and binds it like the rest")
    func address() throws {
        let script = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"
        let text = try Command("/usr/bin/env", ["python3", "-c", script]).check()
        let port = try #require(Int(text.trimmingCharacters(in: .whitespacesAndNewlines)))
        let cluster = try PrivateCluster(purpose: "tcp", settings: "listen_addresses = '127.0.0.1'", port: port)
        defer { cluster.stop() }
        let vault = try TestVault("dbt_tcp", on: cluster)
        var session = try Connection.open("host=127.0.0.1 port=\(port) user=vault_ingest dbname=dbt_tcp")
        try session.runTrustedScript("appending", "SELECT vault.record_tokenize('ip', 1, NULL)")
        try vault.psql("vault_ingest", "SELECT vault.record_tokenize('ip', 2, NULL)")
        #expect(
            try vault.psql("vault_auditor", "SELECT coalesce(address, 'none') FROM audit.event ORDER BY sequence")
                == "127.0.0.1\nnone")
        #expect(try recompute(vault) == 2)
        let verified = try Command(
            Repository.tokenvault, ["audit", "verify"],
            environment: ["TOKENVAULT_DATABASE": cluster.connectionString(user: "vault_auditor", database: "dbt_tcp")]
        ).run()
        #expect(verified.status == 0 && verified.standardOutput.contains("2 of 2"), "\(verified)")
    }

    @Test("The actor is the login role, whatever role it has set")
    func actor() throws {
        let vault = try TestVault("dbt_actor")
        try vault.psql("vault_ingest", "SET ROLE tokenvault_ingest; SELECT vault.record_tokenize('ip', 1, NULL)")
        #expect(try vault.psql("vault_auditor", "SELECT actor FROM audit.event") == "vault_ingest")
    }
}
