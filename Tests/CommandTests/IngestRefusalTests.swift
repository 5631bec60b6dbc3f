import Foundation
import TestSupport
import Testing

/// Faults of the database that a run meets from outside: real ones where the server can be brought to them.
@Suite("A queue that cannot be stored", .serialized)
struct IngestRefusalTests {
    @Test("for want of a connection: back-off, then 69; a place that comes free in time is taken")
    func connections() throws {
        let queue = try QueueUnderFault("refusal_connections")
        defer { queue.remove() }
        let login = "vault_ingest_limited"
        _ = try queue.vault.query(
            """
            DROP ROLE IF EXISTS \(login); CREATE ROLE \(login) LOGIN IN ROLE tokenvault_ingest CONNECTION LIMIT 0
            """)
        defer { _ = try? queue.vault.query("DROP ROLE \(login)") }
        let start = ContinuousClock.now
        try queue.expectNothingDone(
            69, naming: ["too many connections for role", "CONNECTION LIMIT"], receives: false, as: login, "role limit")
        #expect(ContinuousClock.now - start > .seconds(1), "there was no back-off")
        _ = try queue.vault.query("ALTER DATABASE \(queue.vault.database) CONNECTION LIMIT 0")
        try queue.expectNothingDone(
            69, naming: ["too many connections for database", "max_connections"], receives: false, "database limit")

        let run = try queue.command().start()
        Thread.sleep(forTimeInterval: 0.4)  // for a first refusal, which nobody else sees
        _ = try queue.vault.query("ALTER DATABASE \(queue.vault.database) CONNECTION LIMIT -1")
        #expect(run.wait().status == 3)
        try queue.sent.expectAllStoredOnce(in: queue.vault, seed: 21)
    }

    @Test("because of a time-out, ends with 75: statement, lock, idle in a transaction")
    func timeouts() throws {
        let queue = try QueueUnderFault("refusal_timeouts", records: 400)
        defer { queue.remove() }
        func set(_ setting: String) throws {
            _ = try queue.vault.query(
                "ALTER ROLE vault_ingest IN DATABASE \(queue.vault.database) \(setting)")
        }
        for (setting, code) in [("statement_timeout", "57014"), ("lock_timeout", "55P03")] {
            try set("SET \(setting) = '300ms'")
            let holder = try queue.vault.lock("vault.original")
            try queue.expectNothingDone(75, naming: [code, "time-out", "run again"], receives: true, setting)
            try queue.vault.unlock("vault.original", holder)
            try set("RESET ALL")
        }
        try queue.expectNoRows("after all time-outs")

        // A run that falls asleep in a transaction, as a paused machine does, finds its session ended and does the batch again.
        try set("SET idle_in_transaction_session_timeout = '2s'")
        let holder = try queue.vault.lock("vault.original")
        let run = try queue.command().start()
        try queue.vault.waitForWaiter("vault.original")
        run.signal(SIGSTOP)
        try queue.vault.unlock("vault.original", holder)
        try queue.vault.wait(for: "the end of its session") {
            try queue.vault.query(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'vault_ingest' AND datname = current_database()")
                == "0"
        }
        try queue.expectNoRows("asleep")
        run.signal(SIGCONT)
        let awake = run.wait()
        #expect(awake.status == 3, "\(awake.standardError)")
        try queue.sent.expectAllStoredOnce(in: queue.vault, seed: 21)
    }

    @Test("because of a conflict that passes, is stored; one that does not pass ends with 75")
    func conflicts() throws {
        let queue = try QueueUnderFault("refusal_conflicts")
        defer { queue.remove() }
        _ = try queue.vault.query(
            """
            CREATE SEQUENCE public.attempts;
            CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            BEGIN
                IF pg_catalog.nextval('public.attempts') <= TG_ARGV[1]::int THEN
                    RAISE EXCEPTION 'refused on purpose' USING ERRCODE = TG_ARGV[0];
                END IF;
                RETURN NULL;
            END $$
            """)
        func refusing(_ state: String, _ times: Int, on table: String, _ body: () throws -> Void) throws {
            _ = try queue.vault.query(
                """
                ALTER SEQUENCE public.attempts RESTART;
                CREATE TRIGGER refuse AFTER INSERT ON \(table) FOR EACH STATEMENT
                EXECUTE FUNCTION public.refuse('\(state)', '\(times)')
                """)
            try body()
            _ = try queue.vault.query("DROP TRIGGER refuse ON \(table)")
        }
        for (state, status, name) in [
            ("40P01", Int32(75), "40P01"), ("40001", 75, "40001"), ("53100", 75, "disk is full"),
            ("53200", 75, "53200"),
            ("57P01", 75, "57P01"), ("42501", 77, "docs/ROLES.md"), ("25006", 78, "standby"), ("42703", 78, "schema"),
            ("25P03", 75, "idle_in_transaction_session_timeout"), ("58P01", 69, "restart the server"),
            ("XX000", 1, "XX000"),
        ] {
            try refusing(state, 1_000_000, on: "public.user_logins") {
                try queue.expectNothingDone(status, naming: [name], receives: true, state)
            }
        }
        // Row 29: of the quarantine, of which only a refused record's insert reaches the trigger.
        for (state, status) in [("55P03", Int32(75)), ("53100", 75), ("23514", 75), ("22001", 75), ("42501", 77)] {
            try refusing(state, 1_000_000, on: "vault.quarantine") {
                try queue.expectNothingDone(status, naming: ["quarantine"], receives: true, "quarantine \(state)")
            }
        }
        try queue.expectNoRows("after all refusals")
        try refusing("40P01", 2, on: "public.user_logins") { try queue.expectAllDone() }
        #expect(try queue.vault.query("SELECT last_value FROM public.attempts") == "3", "it was not tried again")
    }

    @Test("because the session may not write, ends with 78 before the first receive")
    func readOnly() throws {
        let queue = try QueueUnderFault("refusal_read_only")
        defer { queue.remove() }
        let role = "vault_ingest IN DATABASE \(queue.vault.database)"
        _ = try queue.vault.query("ALTER ROLE \(role) SET default_transaction_read_only = on")
        try queue.expectNothingDone(
            78, naming: ["25006", "default_transaction_read_only"], receives: false, "read only")
        _ = try queue.vault.query("ALTER ROLE \(role) RESET ALL")
        try queue.expectNoRows("read only")
        try queue.expectAllDone()
    }

    /// Everything that a run over a queue needs, and that a person could take from it.
    private static let grants = [
        "INSERT ON public.user_logins", "INSERT ON vault.original", "INSERT ON vault.data_key",
        "INSERT ON vault.data_key_seal", "INSERT (cause) ON vault.quarantine", "USAGE ON SCHEMA vault",
        "EXECUTE ON FUNCTION vault.schema_version()", "EXECUTE ON FUNCTION vault.superseded_token_versions()",
        "EXECUTE ON FUNCTION vault.begin_run(uuid, text, integer)", "EXECUTE ON FUNCTION vault.enter_batch()",
        "EXECUTE ON FUNCTION vault.claim_messages(text, text[], integer, bytea[])",
        "EXECUTE ON FUNCTION vault.add_run_counts(uuid, bigint, bigint, bigint)",
    ]

    @Test("for want of a privilege, ends with 77, whichever it is")
    func privileges() throws {
        let queue = try QueueUnderFault("refusal_privileges")
        defer { queue.remove() }
        for grant in Self.grants {
            _ = try queue.vault.query("REVOKE \(grant) FROM tokenvault_ingest")
            try queue.expectNothingDone(77, naming: ["42501", "docs/ROLES.md"], receives: true, grant)
            _ = try queue.vault.query("GRANT \(grant) TO tokenvault_ingest")
        }
        try queue.expectNoRows("without privileges")
        try queue.expectAllDone()
    }

    @Test("into a schema that is older, newer or lacks a column, ends with 78 before the first receive")
    func schema() throws {
        let queue = try QueueUnderFault("refusal_schema")
        defer { queue.remove() }
        func without(_ change: String, back: String, naming names: [String]) throws {
            let asOwner = "SET session_replication_role = replica; "
            _ = try queue.vault.query(asOwner + change)
            try queue.expectNothingDone(78, naming: names, receives: false, change)
            _ = try queue.vault.query(asOwner + back)
        }
        let newest = try #require(Int(try queue.vault.query("SELECT vault.schema_version()")))
        try without(
            "INSERT INTO vault.schema_migration (number, name) VALUES (1000, 'of_tomorrow')",
            back: "DELETE FROM vault.schema_migration WHERE number = 1000",
            naming: ["schema is at 1000", "database migrate"])
        try without(
            """
            CREATE TABLE public.kept AS SELECT * FROM vault.schema_migration WHERE number = \(newest);
            DELETE FROM vault.schema_migration WHERE number = \(newest)
            """,
            back: "INSERT INTO vault.schema_migration SELECT * FROM public.kept",
            naming: ["schema is at \(newest - 1)", "database migrate"])
        for (table, column) in [
            ("public.user_logins", "locale"), ("vault.original", "sealed"), ("vault.ingest_message", "body_mac"),
            ("audit.event", "ticket"),
        ] {
            try without(
                "ALTER TABLE \(table) RENAME COLUMN \(column) TO dropped",
                back: "ALTER TABLE \(table) RENAME COLUMN dropped TO \(column)", naming: ["\(table).\(column) missing"])
        }
        try queue.expectNoRows("with another schema")
        try queue.expectAllDone()
    }
}
