import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Attacks on release", .serialized)
struct ReleaseAttackTests {
    static let request = "vault.request_recovery(ARRAY['\(Planted.token)'], 'an attack', 'T-1')"

    private static let shared = Result { () throws -> TestVault in
        let vault = try TestVault("dbt_attacks")
        try Planted.sow(vault)
        return vault
    }

    @Test("Nothing is released without a committed request of one's own", arguments: ReleaseAttack.all)
    func attack(_ attack: ReleaseAttack) throws {
        let vault = try Self.shared.get()
        let committed = try vault.psql("vault_recoverer", "SELECT request FROM \(Self.request)")
        let finished = try vault.session(
            attack.login,
            attack.script.replacing("REQUEST", with: Self.request).replacing("COMMITTED", with: committed))
        #expect(finished.states.contains(attack.refusal), "\(finished.standardError)")
        #expect(!(finished.standardOutput + finished.standardError).contains(Planted.marker))
    }

    @Test("The attacks would succeed if the gate were open: an honest release prints what they look for")
    func control() throws {
        let vault = try Self.shared.get()
        let honest = try vault.session(
            "vault_recoverer",
            """
            SELECT request AS r FROM \(Self.request) \\gset
            SELECT * FROM vault.release(:'r', 0, 10);
            SELECT * FROM vault.release_data_keys(:'r', ARRAY['\(Planted.recoveryKey)']::uuid[]);
            SELECT request AS q FROM vault.request_quarantine(ARRAY['\(Planted.quarantined)']::uuid[], 'why', 't') \\gset
            SELECT * FROM vault.release_quarantine(:'q');
            """)
        #expect(honest.states.isEmpty, "\(honest.standardError)")
        #expect(honest.standardOutput.split(separator: "\n").filter { $0.contains(Planted.marker) }.count == 3)
    }

    @Test("Shadowed names change nothing, even for someone who may create them")
    func shadowing() throws {
        let vault = try TestVault("dbt_shadow")
        try Planted.sow(vault)
        try vault.psql(
            "postgres",
            "GRANT TEMPORARY, CREATE ON DATABASE dbt_shadow TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC")
        let finished = try vault.session(
            "vault_recoverer",
            """
            CREATE SCHEMA evil;
            CREATE FUNCTION evil.pg_current_xact_id_if_assigned() RETURNS xid8 LANGUAGE sql AS $$ SELECT NULL::xid8 $$;
            CREATE FUNCTION evil.pg_current_xact_id() RETURNS xid8 LANGUAGE sql AS $$ SELECT '3'::xid8 $$;
            CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$;
            CREATE FUNCTION evil.yes(name, name) RETURNS bool LANGUAGE sql AS 'SELECT true';
            CREATE FUNCTION evil.yes(xid8, xid8) RETURNS bool LANGUAGE sql AS 'SELECT false';
            CREATE FUNCTION evil.yes(uuid, uuid) RETURNS bool LANGUAGE sql AS 'SELECT true';
            CREATE FUNCTION evil.yes(text, text) RETURNS bool LANGUAGE sql AS 'SELECT true';
            CREATE OPERATOR evil.= (LEFTARG = name, RIGHTARG = name, FUNCTION = evil.yes);
            CREATE OPERATOR evil.= (LEFTARG = xid8, RIGHTARG = xid8, FUNCTION = evil.yes);
            CREATE OPERATOR evil.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = evil.yes);
            CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.yes);
            CREATE TEMP TABLE recovery_request (id uuid); CREATE TEMP TABLE head (sequence bigint, head bytea);
            CREATE TEMP TABLE pg_class (oid oid); CREATE TEMP TABLE policy (domain text);
            SET search_path = evil, pg_temp, public, pg_catalog;
            BEGIN; SELECT request AS r FROM \(Self.request) \\gset
            SELECT * FROM vault.release(:'r', 0, 10); ROLLBACK;
            """)
        #expect(finished.states == ["TV004"], "\(finished.standardError)")
        #expect(!finished.standardOutput.contains(Planted.marker))
        let another = try vault.psql("vault_recoverer2", "SELECT request FROM \(Self.request)")
        let theirs = try vault.session(
            "vault_recoverer",
            """
            SET search_path = evil, pg_temp, public, pg_catalog;
            SELECT * FROM vault.release('\(another)', 0, 10);
            SELECT * FROM vault.release_data_keys('\(another)', ARRAY['\(Planted.recoveryKey)']::uuid[]);
            """)
        #expect(theirs.states == ["TV004", "TV004"], "\(theirs.standardError)")
        #expect(!theirs.standardOutput.contains(Planted.marker))
    }

    @Test("When the audit event cannot be written, nothing is released")
    func blockedLog() throws {
        let vault = try Self.shared.get()
        var holder = try vault.connect("vault_ingest")
        try holder.runTrustedScript("holding the head", "BEGIN; SELECT vault.record_tokenize('ip', 1, NULL)")
        let finished = try vault.session(
            "vault_recoverer", "SET lock_timeout = '200ms'; SELECT * FROM \(Self.request);")
        holder.rollback()
        #expect(finished.states == ["55P03"])
        #expect(finished.standardOutput.isEmpty)
    }
}
