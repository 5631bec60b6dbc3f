import Foundation
import TestSupport
import Testing

@Suite("Token key rotation and what comes in meanwhile")
struct StragglerTests {
    @Test("Groups that straddle versions count once, and an ingest with the old keyring is swept up")
    func stragglers() throws {
        let vault = try LiveVault("stragglers")
        defer { vault.remove() }
        let pools = ["--addresses", "25", "--devices", "25"]
        try ingest(vault, "first", try LiveVault.records(300, pools))
        let keyring = vault.folder.appending(path: "ingest.keyring").path
        let old = vault.folder.appending(path: "old.keyring").path
        try FileManager.default.copyItem(atPath: keyring, toPath: old)
        try vault.tokenvault("vault_operator", ["keys", "add", "token"]).succeeded()
        try vault.tokenvault("vault_operator", ["keys", "activate", "token-v2"]).succeeded()

        // Both versions hold rows of the same values: the views show one group for each value, never two.
        try ingest(vault, "second", try LiveVault.records(200, pools))
        #expect(try vault.query("SELECT count(DISTINCT left(masked_ip, 6)) FROM public.user_logins") == "2")
        for (view, column) in [
            ("duplicate_ips", "masked_ip"), ("duplicate_devices", "masked_device_id"),
            ("duplicate_networks", "masked_ip_net"),
        ] {
            #expect(try vault.query("SELECT count(*), sum(logins) FROM public.\(view)") == "25|500", "\(view)")
            #expect(try vault.query("SELECT count(DISTINCT \(column)) FROM public.user_logins") == "50")
        }

        try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"]).succeeded()
        // A host that nobody told of the new key.
        try ingest(vault, "late", try LiveVault.records(50, pools), environment: ["TOKENVAULT_INGEST_KEYRING": old])
        let refused = try vault.tokenvault("vault_operator", ["rotate", "token-key", "retire"])
        #expect(refused.status == 77)
        #expect(refused.standardError.contains("50 x row public.user_logins.masked_ip"))
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"]).succeeded()
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "verify"]).succeeded()
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "retire"]).succeeded()
        #expect(try vault.query("SELECT count(*), sum(logins) FROM public.duplicate_ips") == "25|550")

        // Gone from the disk too, indexes included, once the tables are rewritten as the runbook says.
        for table in ["public.user_logins", "vault.original", "vault.token_successor", "pg_catalog.pg_statistic"] {
            try vault.waitForOlderTransactions()
            _ = try vault.query("VACUUM (FULL, ANALYZE) \(table)")
        }
        _ = try vault.query("CHECKPOINT")
        let folder = try vault.query(
            "SELECT current_setting('data_directory') || '/base/' || oid FROM pg_database WHERE datname = current_database()"
        )
        let found = try Command("/usr/bin/grep", ["-rlaE", "(ip|device_id|ip_net)_v1_[0-9a-f]{32}", folder]).run()
        let names = try found.standardOutput.split(separator: "\n").compactMap { $0.split(separator: "/").last }.map {
            try vault.query(
                "SELECT oid::regclass FROM pg_class WHERE pg_relation_filenode(oid) = \($0.prefix { $0.isNumber })")
        }
        #expect(names.isEmpty, "old tokens stand in \(names.joined(separator: ", "))")
        let new = try Command("/usr/bin/grep", ["-rlaE", "ip_v2_[0-9a-f]{32}", folder]).run()
        #expect(!new.standardOutput.isEmpty, "the search finds nothing at all, so it proves nothing")
    }

    @Test("A registered column of another table moves with its rows")
    func registeredColumn() throws {
        let vault = try LiveVault("registered")
        defer { vault.remove() }
        try ingest(vault, "first", try LiveVault.records(100, ["--addresses", "10", "--devices", "10"]))
        _ = try vault.query(
            """
            CREATE TABLE public.report (day date, address_token text);
            INSERT INTO public.report SELECT current_date, masked_ip FROM public.user_logins;
            GRANT SELECT, UPDATE ON public.report TO tokenvault_owner;
            """)
        try vault.cluster.psql(
            user: "vault_operator", database: vault.database,
            "SELECT vault.register_masked_column('public.report', 'address_token', 'ip')")
        try vault.tokenvault("vault_operator", ["keys", "add", "token"]).succeeded()
        try vault.tokenvault("vault_operator", ["keys", "activate", "token-v2"]).succeeded()
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"]).succeeded()
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "verify"]).succeeded()
        #expect(
            try vault.query(
                """
                SELECT count(*) FILTER (WHERE address_token LIKE 'ip\\_v2\\_%'),
                       (SELECT count(*) FROM (SELECT address_token, count(*) FROM public.report GROUP BY 1
                        EXCEPT SELECT masked_ip, count(*) FROM public.user_logins GROUP BY 1) AS differing)
                FROM public.report
                """) == "100|0")
    }

    private func ingest(
        _ vault: LiveVault, _ name: String, _ records: String, environment: [String: String] = [:]
    ) throws {
        // Rows of their own: user ids must differ between files of one seed.
        let file = try vault.file(
            "\(name).ndjson", records.replacingOccurrences(of: "\"user_id\": \"", with: "\"user_id\": \"\(name)-"))
        try vault.tokenvault("vault_ingest", ["ingest", file], environment: environment).succeeded()
    }
}
