import Foundation
import TestSupport
import Testing

/// What a superuser does to the log, and what finds it. The log has 12 events, the checkpoint is of the first 10.
struct Tampering: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let sql: String
    /// What `audit verify` alone says; `nil` where the log is consistent in itself.
    let alone: String?
    /// Whether the receipt of event 12 and the checkpoint find it, where verify alone does not.
    var byReceipt = true
    var byCheckpoint = true

    static let fields = [
        "actor = 'somebody'", "address = '192.0.2.1'", "address = ''", "action = 'other'", "object = 'ip_v1_x'",
        "object = NULL", "reason = 'a better one'", "reason = NULL", "ticket = 'T-2'", "outcome = 'none'",
        "happened_at = happened_at + interval '1 microsecond'", "id = gen_random_uuid()",
        // Moves a byte from one field to the next: only the lengths tell.
        "reason = left(reason, -1), ticket = right(reason, 1) || ticket",
    ]

    static let all: [Tampering] =
        fields.map {
            Tampering(
                testDescription: "edit: \($0)", sql: "UPDATE audit.event SET \($0) WHERE sequence = 5",
                alone: "event 5 of the audit log was altered")
        } + [
            Tampering(
                testDescription: "edit the leaf", sql: "UPDATE audit.event SET leaf = sha256('x') WHERE sequence = 5",
                alone: "event 5 of the audit log was altered"),
            Tampering(
                testDescription: "edit the head", sql: "UPDATE audit.event SET head = sha256('x') WHERE sequence = 5",
                alone: "event 5 of the audit log does not follow"),
            Tampering(
                testDescription: "edit and rehash the leaf",
                sql: "UPDATE audit.event SET reason = 'x' WHERE sequence = 5; SELECT rehash(5, 5, false)",
                alone: "event 5 of the audit log does not follow"),
            Tampering(
                testDescription: "edit and rehash leaf and head",
                sql: "UPDATE audit.event SET reason = 'x' WHERE sequence = 5; SELECT rehash(5, 5, true)",
                alone: "event 6 of the audit log does not follow"),
            Tampering(
                testDescription: "edit and rehash everything after, but the head of the log",
                sql: "UPDATE audit.event SET reason = 'x' WHERE sequence = 5; SELECT rehash(5, 12, true)",
                alone: "the audit log's head says 12"),
            Tampering(
                testDescription: "edit and rehash everything after",
                sql:
                    "UPDATE audit.event SET reason = 'x' WHERE sequence = 5; SELECT rehash(5, 12, true); SELECT mend()",
                alone: nil),
            Tampering(
                testDescription: "delete in the middle", sql: "DELETE FROM audit.event WHERE sequence = 5",
                alone: "event 5 is missing"),
            Tampering(
                testDescription: "delete the first", sql: "DELETE FROM audit.event WHERE sequence = 1",
                alone: "event 1 is missing"),
            Tampering(
                testDescription: "delete in the middle and renumber",
                sql: "DELETE FROM audit.event WHERE sequence = 5; SELECT renumber(5)",
                alone: "event 5 of the audit log was altered"),
            Tampering(
                testDescription: "delete in the middle, renumber, rehash everything after",
                sql:
                    "DELETE FROM audit.event WHERE sequence = 5; SELECT renumber(5), rehash(5, 11, true); SELECT mend()",
                alone: nil),
            Tampering(
                testDescription: "swap two events",
                sql: """
                    UPDATE audit.event SET sequence = 99 WHERE sequence = 5;
                    UPDATE audit.event SET sequence = 5 WHERE sequence = 6; UPDATE audit.event SET sequence = 6 WHERE sequence = 99
                    """, alone: "event 5 of the audit log was altered"),
            Tampering(
                testDescription: "cut the tail", sql: "DELETE FROM audit.event WHERE sequence > 7",
                alone: "the audit log's head says 12 events, the log holds 7"),
            Tampering(
                testDescription: "cut the tail and mend the head",
                sql: "DELETE FROM audit.event WHERE sequence > 7; SELECT mend()", alone: nil),
            Tampering(
                testDescription: "cut only what came after the checkpoint, and mend the head",
                sql: "DELETE FROM audit.event WHERE sequence > 10; SELECT mend()", alone: nil, byCheckpoint: false),
            Tampering(
                testDescription: "rewrite everything",
                sql: """
                    UPDATE audit.event SET actor = 'nobody', reason = 'nothing', happened_at = happened_at + interval '1 day';
                    SELECT rehash(1, 12, true); SELECT mend()
                    """, alone: nil),
            Tampering(
                testDescription: "empty the log and mend the head", sql: "DELETE FROM audit.event; SELECT mend()",
                alone: nil),
            Tampering(
                testDescription: "a sequence twice",
                sql:
                    "ALTER TABLE audit.event DROP CONSTRAINT event_pkey; INSERT INTO audit.event SELECT * FROM audit.event WHERE sequence = 5",
                alone: "an event 5 after event 5"),
            Tampering(
                testDescription: "an event before the first",
                sql: """
                    ALTER TABLE audit.event DROP CONSTRAINT event_sequence_check;
                    INSERT INTO audit.event SELECT 0, id, happened_at, actor, address, action, object, reason, ticket, outcome,
                        leaf, head FROM audit.event WHERE sequence = 5
                    """, alone: "an event 0 after event 0"),
            Tampering(
                testDescription: "an event after the last, without the head",
                sql: """
                    INSERT INTO audit.event SELECT 13, gen_random_uuid(), happened_at, actor, address, action, object, reason,
                        ticket, outcome, leaf, head FROM audit.event WHERE sequence = 12; SELECT rehash(13, 13, true)
                    """, alone: "the audit log's head says 12 events, the log holds 13"),
            Tampering(
                testDescription: "no head at all", sql: "DELETE FROM audit.head",
                alone: "the audit log's head says -1 events"),
        ]
}

@Suite("Tampering with the audit log by a superuser", .serialized)
struct AuditTamperTests {
    private struct Log {
        let vault: LiveVault
        let receipt: String
        let checkpoint: String
    }

    /// 12 events; a checkpoint of 10 of them and the receipt of the last, kept outside. A copy of the log to go back to.
    private static let shared = Result { () throws -> Log in
        let vault = try LiveVault("audit_tamper", makeKeys: false)
        func append(_ count: Int) throws {
            for number in 0..<count {
                _ = try vault.query(
                    "SELECT audit.append('test', 'object \(number)', 'reason \(number)', 'T-1', 'done')")
            }
        }
        try append(10)
        let key = vault.folder.appending(path: "checkpoint.key").path
        try vault.tokenvault(
            "vault_auditor", ["audit", "checkpoint-key", "generate", "--checkpoint-key", key, "--name", "test/audit"]
        ).succeeded()
        let note = try vault.tokenvault("vault_auditor", ["audit", "checkpoint", "--checkpoint-key", key]).succeeded()
        let checkpoint = try vault.file("monday.checkpoint", note.standardOutput)
        try append(2)
        _ = try vault.query(
            """
            CREATE TABLE public.saved AS TABLE audit.event; CREATE TABLE public.saved_head AS TABLE audit.head;
            CREATE FUNCTION public.rehash(p_from bigint, p_to bigint, p_heads boolean) RETURNS void LANGUAGE plpgsql AS $$
            DECLARE e record; made bytea; before bytea; BEGIN
                FOR e IN SELECT * FROM audit.event WHERE sequence BETWEEN p_from AND p_to ORDER BY sequence LOOP
                    made := sha256('\\x00'::bytea || audit.field('tokenvault/audit-event/1'::text)
                        || audit.field(int8send(e.sequence)) || audit.field(uuid_send(e.id))
                        || audit.field(int8send((extract(epoch FROM e.happened_at) * 1000000)::bigint))
                        || audit.field(e.actor::text) || audit.field(e.address) || audit.field(e.action)
                        || audit.field(e.object) || audit.field(e.reason) || audit.field(e.ticket) || audit.field(e.outcome));
                    before := coalesce((SELECT head FROM audit.event WHERE sequence = e.sequence - 1),
                                       decode(repeat('00', 32), 'hex'));
                    UPDATE audit.event SET leaf = made,
                        head = CASE WHEN p_heads THEN sha256('\\x02'::bytea || before || made) ELSE head END
                    WHERE sequence = e.sequence;
                END LOOP; END $$;
            CREATE FUNCTION public.renumber(p_from bigint) RETURNS void LANGUAGE plpgsql AS $$
            DECLARE n bigint; BEGIN
                FOR n IN SELECT sequence FROM audit.event WHERE sequence > p_from ORDER BY 1 LOOP
                    UPDATE audit.event SET sequence = n - 1 WHERE sequence = n;
                END LOOP; END $$;
            CREATE FUNCTION public.mend() RETURNS void LANGUAGE sql AS $$
                UPDATE audit.head SET sequence = coalesce((SELECT max(sequence) FROM audit.event), 0),
                    head = coalesce((SELECT head FROM audit.event ORDER BY sequence DESC LIMIT 1),
                                    decode(repeat('00', 32), 'hex')) $$;
            """)
        let receipt = try vault.query("SELECT sequence || ':' || encode(head, 'hex') FROM audit.head")
        return Log(vault: vault, receipt: receipt, checkpoint: checkpoint)
    }

    private func verify(_ log: Log, _ arguments: [String] = []) throws -> Finished {
        try log.vault.tokenvault("vault_auditor", ["audit", "verify"] + arguments)
    }

    private func byCheckpoint(_ log: Log) throws -> Finished {
        try verify(
            log,
            [
                "--checkpoint", log.checkpoint, "--checkpoint-key",
                log.vault.folder.appending(path: "checkpoint.key").path,
            ])
    }

    private func restore(_ log: Log) throws {
        _ = try log.vault.query(
            """
            ALTER TABLE audit.event DISABLE TRIGGER ALL; ALTER TABLE audit.head DISABLE TRIGGER ALL;
            DELETE FROM audit.event; DELETE FROM audit.head;
            INSERT INTO audit.event TABLE public.saved; INSERT INTO audit.head TABLE public.saved_head;
            """)
    }

    @Test("Each kind is found: by verify alone, by a receipt, or by a checkpoint", arguments: Tampering.all)
    func tamper(_ tampering: Tampering) throws {
        let log = try Self.shared.get()
        try restore(log)
        #expect(try verify(log, ["--receipt", log.receipt]).status == 0, "the log is whole before")
        #expect(try byCheckpoint(log).status == 0)
        _ = try log.vault.query("SET search_path = public, audit, pg_catalog; " + tampering.sql)
        let alone = try verify(log)
        if let found = tampering.alone {
            #expect(alone.status == 65)
            #expect(alone.standardError.contains(found), "\(alone.standardError)")
            #expect(alone.standardOutput.isEmpty)
            return
        }
        #expect(alone.status == 0, "consistent in itself: \(alone.standardError)")
        #expect(try verify(log, ["--receipt", log.receipt]).status == (tampering.byReceipt ? 65 : 0))
        #expect(try byCheckpoint(log).status == (tampering.byCheckpoint ? 65 : 0))
        let key = log.vault.folder.appending(path: "checkpoint.key").path
        let next = try log.vault.tokenvault(
            "vault_auditor", ["audit", "checkpoint", "--checkpoint-key", key, "--previous", log.checkpoint])
        #expect(
            next.status == (tampering.byCheckpoint ? 65 : 0), "nothing is signed that forks from the last checkpoint")
    }

    @Test("A checkpoint of another key, of another log, or damaged is refused with 65, and says so")
    func checkpoints() throws {
        let log = try Self.shared.get()
        try restore(log)
        func status(_ path: String, key: String) throws -> Finished {
            try verify(log, ["--checkpoint", path, "--checkpoint-key", key])
        }
        let key = log.vault.folder.appending(path: "checkpoint.key").path
        let other = log.vault.folder.appending(path: "other-\(UInt32.random(in: 0...UInt32.max)).key").path
        let verifier = try log.vault.tokenvault(
            "vault_auditor", ["audit", "checkpoint-key", "generate", "--checkpoint-key", other, "--name", "test/audit"]
        ).succeeded().standardOutput.trimmingCharacters(in: .newlines)
        let wrong = try status(log.checkpoint, key: verifier)
        #expect(wrong.status == 65)
        #expect(wrong.standardError.contains("not signed by the key test/audit"))
        let text = try String(contentsOfFile: log.checkpoint, encoding: .utf8)
        let smaller = try log.vault.file("smaller.checkpoint", text.replacing("\n10\n", with: "\n9\n"))
        #expect(try status(smaller, key: key).standardError.contains("signature is wrong"))
        #expect(try status(smaller, key: key).status == 65)
        #expect(try status("/nonexistent", key: key).status == 66)
        #expect(try verify(log, ["--checkpoint", log.checkpoint]).status == 78, "no key, no proof")
        let published = try log.vault.file(
            "key.pub",
            try log.vault.tokenvault("vault_auditor", ["audit", "checkpoint-key", "show", "--checkpoint-key", key])
                .succeeded().standardOutput)
        #expect(try status(log.checkpoint, key: published).status == 0)
    }
}

@Suite("Reading the audit log")
struct AuditReadingTests {
    @Test("Break-glass events come first, then the newest; filters hold; the export is whole")
    func list() throws {
        let vault = try LiveVault("audit_list", makeKeys: false)
        defer { vault.remove() }
        for (action, ticket) in [
            ("a.one", "T-1"), ("recover.break-glass", "T-2"), ("a.two", "T-2"), ("recover.break-glass", "T-1"),
            ("a.three", "T-3"),
        ] {
            _ = try vault.query("SELECT audit.append('\(action)', 'tok', E'line\\nbreak \"q\" é', '\(ticket)', NULL)")
        }
        func sequences(_ arguments: [String]) throws -> [Int] {
            let run = try vault.tokenvault("vault_auditor", ["audit", "list", "--json"] + arguments).succeeded()
            return run.standardOutput.split(separator: "\n").compactMap {
                $0.firstMatch(of: #/^{"sequence":(\d+),/#).flatMap { Int($0.1) }
            }
        }
        #expect(try sequences([]) == [4, 2, 5, 3, 1])
        #expect(try sequences(["--limit", "3"]) == [4, 2, 5])
        #expect(try sequences(["--ticket", "T-2"]) == [2, 3])
        #expect(try sequences(["--action", "a.two"]) == [3])
        #expect(try sequences(["--actor", "postgres", "--token", "tok"]) == [4, 2, 5, 3, 1])
        #expect(try sequences(["--actor", "nobody"]) == [])
        #expect(try sequences(["--since", "2020-01-01"]) == [4, 2, 5, 3, 1])
        #expect(try sequences(["--until", "2020-01-01T00:00:00Z"]) == [])
        #expect(try vault.tokenvault("vault_auditor", ["audit", "list", "--since", "yesterday"]).status == 64)

        let export = try vault.tokenvault("vault_auditor", ["audit", "export", "--since-sequence", "2"]).succeeded()
        let lines = export.standardOutput.split(separator: "\n")
        #expect(lines.count == 3)
        let times = try vault.query(
            "SELECT to_char(happened_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM audit.event ORDER BY sequence"
        ).split(separator: "\n")
        for (line, sequence) in zip(lines, 3...5) {
            struct Event: Decodable {
                let sequence: Int
                let time: String
                let reason: String
                let outcome: String?
            }
            let event = try JSONDecoder().decode(Event.self, from: Data(line.utf8))
            #expect(event.sequence == sequence)
            #expect(event.time == times[sequence - 1])
            #expect(event.reason == "line\nbreak \"q\" é")
            #expect(event.outcome == nil)
        }
        #expect(try vault.tokenvault("vault_recoverer", ["audit", "export"]).status == 77)
    }
}
