import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Staged requests")
struct StagingTests {
    private static let stage = "SELECT vault.stage_recovery(ARRAY['\(Planted.token)', '\(Planted.absent)']);"

    @Test("Pages staged in one transaction make one request, in order, with its events")
    func pages() throws {
        let vault = try TestVault("dbt_staging")
        try Planted.sow(vault)
        // Both were erased; one came in again.
        try vault.psql(
            "postgres",
            """
            INSERT INTO vault.erased_token (token, erasure)
            SELECT right(token, 32)::uuid, gen_random_uuid() FROM unnest(ARRAY['\(Planted.token)', '\(Planted.absent)']) AS token
            """)
        let finished = try vault.session(
            "vault_recoverer",
            """
            SELECT 1 FROM vault.request_recovery(ARRAY['\(Planted.absent)'], 'before', 'T');
            BEGIN; \(Self.stage) SELECT vault.stage_recovery(ARRAY['\(Planted.token)']);
            SELECT vault.stage_recovery(ARRAY['\(Planted.token)']);
            SELECT request AS r FROM vault.book_recovery('why', 'T') \\gset
            COMMIT;
            SELECT ordinal, token, sealed IS NOT NULL, erased_at IS NOT NULL FROM vault.release(:'r', 0, 10);
            """)
        #expect(finished.states.isEmpty, "\(finished.standardError)")
        #expect(
            finished.standardOutput.split(separator: "\n").map(String.init) == [
                "1", "2", "3", "4", "1|\(Planted.token)|t|f", "2|\(Planted.absent)|f|t", "3|\(Planted.token)|t|f",
                "4|\(Planted.token)|t|f",
            ])
        #expect(
            try vault.psql(
                "vault_auditor",
                "SELECT string_agg(right(object, 2), ' ' ORDER BY sequence) FROM audit.event WHERE action = 'recover.request'"
            ) == "a2 a1 a2 a1 a1", "each token once, in the order asked, after what was asked before")
        #expect(try vault.psql("postgres", "SELECT count(*) FROM vault.recovery_draft") == "0")
        let records = try vault.session(
            "vault_recoverer",
            "SELECT request AS r FROM \(PolicyVault.askQuarantine) \\gset\nSELECT * FROM vault.release(:'r', 0, 10);")
        #expect(records.states == ["TV004"], "a request for quarantined records is none for tokens")
    }

    @Test("Staging is no way to tokens without a request: not unbooked, not after booking, not across transactions")
    func misuse() throws {
        let vault = try TestVault("dbt_staging_misuse")
        try Planted.sow(vault)
        func states(_ script: String) throws -> [String] { try vault.session("vault_recoverer", script).states }
        #expect(try states("BEGIN; \(Self.stage) COMMIT;") == ["TV020"], "staged and committed without a request")
        #expect(try states("BEGIN; SET CONSTRAINTS ALL IMMEDIATE; \(Self.stage) COMMIT;") == ["TV020"])
        #expect(try states("SELECT vault.book_recovery('why', 'T');") == ["TV020"])
        #expect(
            try states("BEGIN; \(Self.stage) ROLLBACK; BEGIN; SELECT vault.book_recovery('why', 'T'); ROLLBACK;") == [
                "TV020"
            ])
        #expect(
            try states(
                "BEGIN; \(Self.stage) SELECT vault.book_recovery('why', 'T'); SELECT vault.book_recovery('why', 'T');")
                == ["TV020"], "booked twice")
        #expect(
            try states("BEGIN; \(Self.stage) SELECT vault.book_recovery('why', 'T'); \(Self.stage) COMMIT;") == [
                "TV020"
            ],
            "staged after booking")
        #expect(
            try states(
                """
                BEGIN; \(Self.stage) SELECT request AS r FROM vault.book_recovery('why', 'T') \\gset
                SELECT * FROM vault.release(:'r', 0, 10); ROLLBACK;
                """) == ["TV004"], "released in the requesting transaction")
        #expect(
            try states(
                """
                BEGIN; SAVEPOINT a; \(Self.stage) SELECT request AS r FROM vault.book_recovery('why', 'T') \\gset
                ROLLBACK TO a; COMMIT; SELECT * FROM vault.release(:'r', 0, 10);
                """) == ["TV004"], "rolled back to a savepoint")
        for (reason, ticket) in [("' '", "'T'"), ("NULL", "'T'"), ("'why'", "repeat('t', 129)"), ("'why'", "' '")] {
            #expect(
                try states("BEGIN; \(Self.stage) SELECT vault.book_recovery(\(reason), \(ticket)); ROLLBACK;")
                    == ["TV020"], "\(reason) \(ticket)")
        }
        for page in ["'{}'", "NULL", "ARRAY[ARRAY['\(Planted.token)']]"] {
            #expect(try states("BEGIN; SELECT vault.stage_recovery(\(page)); ROLLBACK;") == ["TV020"], "\(page)")
        }
        #expect(try states("SELECT vault.book_draft('recover.request', 'why', 'T');") == ["42501"])
        #expect(try states("INSERT INTO vault.recovery_draft VALUES ('3', gen_random_uuid(), 1);") == ["42501"])
        #expect(try vault.psql("postgres", "SELECT count(*) FROM vault.recovery_request") == "0")
        #expect(try vault.psql("postgres", "SELECT count(*) FROM vault.recovery_request_item") == "0")
        #expect(try vault.psql("vault_auditor", "SELECT count(*) FROM audit.event WHERE action LIKE 'recover%'") == "0")
    }

    @Test("What is staged counts against the budget when it is booked, and a million is the most")
    func limits() throws {
        let vault = try TestVault("dbt_staging_limits")
        try vault.psql("vault_operator", "SELECT vault.set_policy('ip', 0, 3, '1 hour', NULL, NULL)")
        let ip = "'ip_v1_' || md5(n::text)"
        func stage(_ range: String) -> String {
            "SELECT vault.stage_recovery(array_agg(\(ip))) FROM generate_series(\(range)) AS n;"
        }
        let over = try vault.session(
            "vault_recoverer",
            "BEGIN; \(stage("1, 2")) \(stage("3, 4")) SELECT vault.book_recovery('why', 'T'); COMMIT;")
        #expect(over.states == ["TV001"])
        let fits = try vault.session(
            "vault_recoverer",
            "BEGIN; \(stage("1, 2")) \(stage("3, 3")) SELECT vault.book_recovery('why', 'T'); COMMIT;")
        #expect(fits.states.isEmpty, "\(fits.standardError)")
        let million = try vault.session("vault_recoverer", "BEGIN; \(stage("1, 1000001")) ROLLBACK;")
        #expect(million.states == ["TV020"])
        // As if so many had been staged already: the pages count together.
        let pages = try vault.session(
            "postgres",
            """
            BEGIN; INSERT INTO vault.recovery_draft VALUES (pg_current_xact_id(), gen_random_uuid(), 999999);
            SET SESSION AUTHORIZATION vault_recoverer; \(stage("1, 1")) \(stage("2, 2")) ROLLBACK;
            """)
        #expect(pages.standardOutput == "1000000\n")
        #expect(pages.states == ["TV020"])
        for (page, place) in [("'ip_v1_' || md5('1'), NULL", 4), ("'x', NULL", 3)] {
            let wrong = try vault.session(
                "vault_recoverer",
                "\\set VERBOSITY default\nBEGIN; \(stage("1, 2")) SELECT vault.stage_recovery(ARRAY[\(page)]); ROLLBACK;"
            )
            #expect(wrong.standardError.contains("token \(place) is not a token"), "\(wrong.standardError)")
        }
    }

    @Test("A million tokens pass a budget of a million, and not one of a million less one; each has its event")
    func million() throws {
        let vault = try TestVault("dbt_million")
        func policy(_ values: Int) throws {
            try vault.psql("vault_operator", "SELECT vault.change_policy('ip', '{\"values_per_day\":\(values)}')")
        }
        try policy(999_999)
        var session = try vault.connect("postgres")
        // Staged by hand in the transaction of the later requester: a million tokens as text would take most of the time.
        try session.runTrustedScript(
            "staging",
            """
            BEGIN;
            INSERT INTO vault.recovery_draft VALUES (pg_current_xact_id(), '00000000-0000-0000-0000-0000000f4240', 1000000);
            INSERT INTO vault.recovery_request_item (request, ordinal, token, domain, token_version)
            SELECT '00000000-0000-0000-0000-0000000f4240', n, lpad(to_hex(n), 32, '0')::uuid, 'ip', 1
            FROM generate_series(1, 1000000) AS n;
            SET SESSION AUTHORIZATION vault_recoverer;
            SAVEPOINT staged;
            """)
        #expect(session.refusal(of: "SELECT vault.book_recovery('why', 'T')") == "TV001")
        try session.runTrustedScript("going back", "ROLLBACK TO staged")
        try policy(1_000_000)
        let before = Int(try vault.psql("vault_auditor", "SELECT sequence FROM audit.head"))!
        let booked = try session.run(
            Statement("booking", "SELECT audit_sequence FROM vault.book_recovery($1, $2)", .text("why"), .text("T")))
        #expect(booked.int(row: 0, column: 0) == before + 1_000_000)
        session.rollback()
        #expect(try vault.psql("vault_auditor", "SELECT sequence FROM audit.head") == "\(before)")
    }
}
