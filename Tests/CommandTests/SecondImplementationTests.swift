import Foundation
import TestSupport
import Testing

/// scripts/tokenvault_formats.py shares nothing with Sources but docs/FORMATS.md.
@Suite("The second implementation, in Python")
struct SecondImplementationTests {
    static let python = Result {
        try Command(Repository.path("scripts/test-venv.sh")).check().trimmingCharacters(in: .newlines) + "/bin/python"
    }

    @Test("recovers every token that this program wrote, and verifies the same log")
    func recovers() throws {
        let vault = try LiveVault("second_implementation")
        defer { vault.remove() }
        let sent = try SentRecords(400, seed: 21)
        let file = try vault.file("logins.ndjson", sent.lines.joined(separator: "\n") + "\n")
        #expect(try vault.tokenvault("vault_ingest", ["ingest", file]).status == 3)
        let rows = try vault.query("SELECT user_id, masked_ip, masked_device_id FROM public.user_logins")
            .split(separator: "\n").map { $0.split(separator: "|").map(String.init) }
        #expect(rows.count == sent.records.count)

        let tokens = Set(rows.flatMap { [$0[1], $0[2]] }).sorted()
        let recovered = try formats(
            [
                "recover", "--keyring", vault.folder.appending(path: "recovery.keyring").path, "--passphrase-file",
                vault.folder.appending(path: "passphrase").path, "--database",
                vault.cluster.connectionString(user: "vault_recoverer", database: vault.database), "--reason", "test",
                "--ticket", "T-1",
            ], input: tokens.joined(separator: "\n"))
        let values = Dictionary(
            uniqueKeysWithValues: recovered.split(separator: "\n").map { line in
                let parts = line.split(separator: "\t", maxSplits: 1)
                return (String(parts[0]), String(parts[1]))
            })
        #expect(values.count == tokens.count)
        let byUser = Dictionary(rows.map { ($0[0], $0) }, uniquingKeysWith: { first, _ in first })
        for record in sent.records {
            let row = try #require(byUser[record.user_id])
            #expect(values[row[1]] == record.ip)
            #expect(values[row[2]] == record.device_id)
        }

        let auditor = vault.cluster.connectionString(user: "vault_auditor", database: vault.database)
        let theirs = try formats(["verify-audit", "--database", auditor])
        let ours = try vault.tokenvault("vault_auditor", ["audit", "verify"]).succeeded().standardOutput
        #expect(theirs == ours)

        let key = vault.folder.appending(path: "checkpoint.key").path
        let verifier = try vault.tokenvault(
            "vault_auditor", ["audit", "checkpoint-key", "generate", "--checkpoint-key", key, "--name", "test/audit"]
        ).succeeded().standardOutput.trimmingCharacters(in: .newlines)
        let note = try vault.tokenvault("vault_auditor", ["audit", "checkpoint", "--checkpoint-key", key]).succeeded()
        let checkpoint = try vault.file("checkpoint", note.standardOutput)
        _ = try vault.query("SELECT audit.append('test', NULL, NULL, NULL, NULL)")
        let held = try formats(
            ["verify-audit", "--database", auditor, "--checkpoint", checkpoint, "--checkpoint-key", verifier])
        #expect(held.hasPrefix("\(Int(ours.prefix { $0.isNumber })! + 1) of "))

        // A log rewritten whole, with its head: the chain holds, and the checkpoint tells.
        _ = try vault.query(
            """
            ALTER TABLE audit.event DISABLE TRIGGER ALL; ALTER TABLE audit.head DISABLE TRIGGER ALL;
            DELETE FROM audit.event; UPDATE audit.head SET sequence = 0, head = decode(repeat('00', 32), 'hex');
            SELECT audit.append('test', n::text, NULL, NULL, NULL) FROM generate_series(1, \(Int(ours.prefix { $0.isNumber })!)) AS n
            """)
        #expect(try formats(["verify-audit", "--database", auditor]).contains("events verify"))
        #expect(throws: (any Error).self) {
            try formats([
                "verify-audit", "--database", auditor, "--checkpoint", checkpoint, "--checkpoint-key", verifier,
            ])
        }
    }

    @Test("wrote a log and a checkpoint that this program verifies, event by event, and holds to each other")
    func log() throws {
        struct Document: Decodable {
            struct Event: Decodable {
                let sequence, microseconds: Int
                let id, actor, action, leaf, head: String
                let address, object, reason, ticket, outcome: String?
            }
            struct Log: Decodable {
                let events: [Event]
                let verifier, checkpoint: String
            }
            let log: Log
        }
        let log = try JSONDecoder().decode(
            Document.self,
            from: Data(contentsOf: URL(filePath: Repository.path("Tests/TokenizationTests/Vectors/formats.json")))
        ).log
        let vault = try LiveVault("second_log", makeKeys: false)
        defer { vault.remove() }
        func quote(_ text: String?) -> String { text.map { "'" + $0.replacing("'", with: "''") + "'" } ?? "NULL" }
        let rows = log.events.map { event in
            let texts = [
                event.actor, event.address, event.action, event.object, event.reason, event.ticket, event.outcome,
            ]
            return
                "(\(event.sequence), '\(event.id)', timestamptz 'epoch' + \(event.microseconds) * interval '1 microsecond', "
                + texts.map(quote).joined(separator: ", ") + ", '\\x\(event.leaf)', '\\x\(event.head)')"
        }
        _ = try vault.query(
            """
            INSERT INTO audit.event VALUES \(rows.joined(separator: ", "));
            UPDATE audit.head SET sequence = \(log.events.count), head = '\\x\(log.events.last!.head)';
            """)
        let note = try vault.file("checkpoint", log.checkpoint)
        let arguments = [
            "audit", "verify", "--checkpoint", note, "--checkpoint-key", try vault.file("key", log.verifier),
        ]
        let verified = try vault.tokenvault("vault_auditor", arguments).succeeded()
        #expect(verified.standardOutput.hasPrefix("7 of 7 events verify"))
        _ = try vault.query("ALTER TABLE audit.event DISABLE TRIGGER ALL")
        for change in ["ticket = NULL WHERE sequence = 4", "reason = reason || ' ' WHERE sequence = 5"] {
            _ = try vault.query("UPDATE audit.event SET \(change)")
            #expect(try vault.tokenvault("vault_auditor", arguments).status == 65)
            _ = try vault.query("UPDATE audit.event SET ticket = '' WHERE sequence = 4")
        }
    }

    @Test("writes the vectors that stand in the repository")
    func vectors() throws { #expect(try formats(["vectors", "--check"]).contains("checked")) }

    private func formats(_ arguments: [String], input: String = "") throws -> String {
        try Command(
            try Self.python.get(), [Repository.path("scripts/tokenvault_formats.py")] + arguments,
            input: Data(input.utf8)
        ).check()
    }
}
