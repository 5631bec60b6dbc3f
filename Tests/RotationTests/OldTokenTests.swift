import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Old tokens after a rotation")
struct OldTokenTests {
    @Test(
        "are left where verify says, and nowhere else: in no table, index, statistics or page", .timeLimit(.minutes(3)))
    func nothingUnnamed() throws {
        let vault = try LiveVault("old_tokens")
        defer { vault.remove() }
        let records = try LiveVault.records(200, ["--addresses", "40", "--devices", "40"])
        let broken = "{\"user_id\": \"broken\", \"ip\": \"192.0.2.1/24\", \"device_id\": \"d\"}\n"
        let file = try vault.file("logins.ndjson", records + broken)
        #expect(try vault.tokenvault("vault_ingest", ["ingest", file]).status == 3)

        // Every place that keeps tokens: a recovery, an erased value whose rows stay, an original left alone, statistics.
        let some = try vault.query("SELECT DISTINCT masked_ip FROM public.user_logins ORDER BY 1 LIMIT 3")
            .split(separator: "\n").map(String.init)
        try vault.tokenvault("vault_recoverer", ["recover", "--reason", "a test", "--ticket", "T-1", some[0]])
            .succeeded()
        try vault.tokenvault(
            "vault_operator",
            ["erase", "--reason", "a test", "--ticket", "T-2", "--shared", "erase", some[1]]
        ).succeeded()
        try vault.cluster.psql(user: "vault_admin", database: vault.database, "ANALYZE")
        let old = try tokens(vault)
        #expect(old.count > 80)
        try vault.tokenvault("vault_operator", ["keys", "add", "token"]).succeeded()
        try vault.tokenvault("vault_operator", ["keys", "activate", "token-v2"]).succeeded()
        let flip = """
            UPDATE vault.original SET sealed = set_byte(sealed, 30, get_byte(sealed, 30) # 1)
            WHERE token = '\(some[2].suffix(32))'
            """
        _ = try vault.query(flip)
        #expect(try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"]).status == 65)
        _ = try vault.query(flip)
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"]).succeeded()

        let early = try verify(vault)
        #expect(early.places.contains("pg_catalog.pg_statistic"))
        #expect(try tables(vault, holding: old).subtracting(early.places) == [])
        #expect(early.places.isSuperset(of: ["vault.token_move", "vault.rotation_exception", "vault.quarantine"]))
        #expect(early.unwritten.isSuperset(of: ["public.user_logins", "vault.original"]))
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "retire"]).succeeded()
        let macs = try vault.query("SELECT body_mac FROM vault.quarantine")
        try vault.tokenvault(
            "vault_operator", ["keys", "destroy", "token-v1", "--confirm", "token-v1", "--forget-ledger"]
        ).succeeded()
        #expect(try vault.query("SELECT body_mac FROM vault.quarantine") != macs)

        try vacuum(vault)
        let late = try verify(vault)
        #expect(late.unwritten == [])
        let kept: Set = [
            "public.user_logins", "vault.recovery_request_item", "vault.erased_token", "audit.event",
        ]
        // What rows keep, their statistics may hold as well.
        #expect(late.places.subtracting(["pg_catalog.pg_statistic"]) == kept)
        #expect(try tables(vault, holding: old).subtracting(["pg_catalog.pg_statistic"]) == kept)
        #expect(
            late.amounts["audit.event"]
                == Int(try vault.query("SELECT count(*) FROM audit.event WHERE object ~ '_v1_[0-9a-f]{32}$'")))

        // On the disk: what is named may be anywhere, every other old token must be nowhere.
        let still = try tokens(vault).union([String(some[0].suffix(32))])
        let gone = old.subtracting(still)
        #expect(gone.count > 70)
        let left = try files(vault, holding: gone)
        #expect(left == [])
        #expect(try !files(vault, holding: still).isEmpty, "the search finds nothing at all, so it proves nothing")
    }

    @Test("stay in tables that were written anew while an older transaction was open, and verify says so")
    func olderTransaction() throws {
        let vault = try LiveVault("older_transaction")
        defer { vault.remove() }
        let file = try vault.file("logins.ndjson", try LiveVault.records(60))
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        let old = try tokens(vault)
        try vault.activateSecondTokenKey()
        // In another database: it sees nothing of this one, and keeps its dead rows all the same.
        var other = try vault.cluster.connect(user: "postgres", database: "postgres")
        try other.runTrustedScript("staying open", "BEGIN; SELECT pg_current_xact_id()")
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"]).succeeded()
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "retire"]).succeeded()
        for command in try vacuumCommands() {
            try vault.cluster.psql(user: "vault_admin", database: vault.database, command)
        }
        #expect(try files(vault, holding: old).isSuperset(of: ["user_logins", "vault.original"]))
        #expect(try verify(vault).unwritten.isSuperset(of: ["public.user_logins", "vault.original"]))
        try other.runTrustedScript("ending", "COMMIT")
        try vacuum(vault)
        #expect(try verify(vault).unwritten == [])
        #expect(try files(vault, holding: old) == [])
    }

    /// Every token of the vault's rows and originals, as 32 digits.
    private func tokens(_ vault: LiveVault) throws -> Set<String> {
        Set(
            try vault.query(
                """
                SELECT right(masked_ip, 32) FROM public.user_logins UNION SELECT right(masked_device_id, 32) FROM public.user_logins
                UNION SELECT right(masked_ip_net, 32) FROM public.user_logins
                UNION SELECT replace(token::text, '-', '') FROM vault.original
                """
            ).split(separator: "\n").map(String.init))
    }

    private func verify(
        _ vault: LiveVault
    ) throws -> (places: Set<String>, amounts: [String: Int], unwritten: Set<String>) {
        struct Line: Decodable {
            let check: String
            let place: String?
            let amount: Int?
            let text: String

            var table: String? {
                if text.contains("statistics") { return "pg_catalog.pg_statistic" }
                return place.map { $0.split(separator: ".").prefix(2).joined(separator: ".") }
            }
        }
        let lines = try vault.tokenvault("vault_operator", ["rotate", "token-key", "verify", "--json"]).succeeded()
            .standardOutput.split(separator: "\n").map { try JSONDecoder().decode(Line.self, from: Data($0.utf8)) }
        let old = lines.filter { $0.check == "old-tokens" && $0.place != nil }
        return (
            Set(old.compactMap(\.table)),
            Dictionary(old.map { ($0.place ?? "", $0.amount ?? 0) }, uniquingKeysWith: +),
            Set(lines.filter { $0.check == "old-files" }.compactMap(\.place))
        )
    }

    /// Every table of the database, catalogue included, whose rows hold one of these tokens in any form.
    private func tables(_ vault: LiveVault, holding tokens: Set<String>) throws -> Set<String> {
        let dump = try vault.query(
            """
            SELECT format('SELECT %L', format('TABLE %I.%I', namespace.nspname, class.relname)),
                   format('SELECT whole_row::text FROM %s AS whole_row', class.oid::regclass)
            FROM pg_class AS class JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
            WHERE class.relkind IN ('r', 'm') AND namespace.nspname <> 'pg_toast' \\gexec
            """)
        let search = """
            import sys
            needles, table = sys.stdin.readline().split(), None
            for line in sys.stdin:
                if line.startswith("TABLE "): table = line.split()[1]
                elif table:
                    line = line.replace("-", "")
                    if any(needle in line for needle in needles): print(table); table = None
            """
        return Set(
            try Command(
                "/usr/bin/env", ["python3", "-c", search],
                input: Data((tokens.joined(separator: " ") + "\n" + dump + "\n").utf8)
            ).check().split(separator: "\n").map(String.init))
    }

    /// Files of the database, by relation, in which one of these tokens stands, as text or as its 16 bytes.
    private func files(_ vault: LiveVault, holding tokens: Set<String>) throws -> Set<String> {
        _ = try vault.query("CHECKPOINT")
        let folder = try vault.query(
            "SELECT current_setting('data_directory') || '/base/' || oid FROM pg_database WHERE datname = current_database()"
        )
        let search = """
            import os, sys
            needles = [form for line in sys.stdin.read().split() for form in (line.encode(), bytes.fromhex(line))]
            for name in os.listdir(sys.argv[1]):
                data = open(os.path.join(sys.argv[1], name), 'rb').read()
                if any(needle in data for needle in needles): print(name)
            """
        let found = try Command(
            "/usr/bin/env", ["python3", "-c", search, folder], input: Data(tokens.joined(separator: "\n").utf8)
        ).check()
        return Set(
            try found.split(separator: "\n").map { name in
                let node = name.prefix { $0.isNumber }
                return node.isEmpty
                    ? String(name)
                    : try vault.query("SELECT oid::regclass FROM pg_class WHERE pg_relation_filenode(oid) = \(node)")
            })
    }

    /// As docs/RUNBOOK.md says, by whom it says.
    private func vacuum(_ vault: LiveVault) throws {
        for command in try vacuumCommands() {
            try vault.waitForOlderTransactions()
            try vault.cluster.psql(user: "vault_admin", database: vault.database, command)
        }
    }

    private func vacuumCommands() throws -> [String] {
        let text = try String(contentsOfFile: Repository.path("docs/RUNBOOK.md"), encoding: .utf8)
        let section = text.components(separatedBy: "\n## ").first { $0.hasPrefix("Scheduled rotation: token key") }
        let commands = (section ?? "").split(separator: "\n").filter { $0.hasPrefix("    VACUUM") }.map(String.init)
        try #require(commands.count >= 5)
        return commands
    }
}
