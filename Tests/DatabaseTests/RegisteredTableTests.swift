import Foundation
import TestSupport
import Testing

/// A trigger runs as whoever changes the table, and rotations and erasures change registered tables as tokenvault_owner.
@Suite("Registered tables that somebody else could put code on", .serialized)
struct RegisteredTableTests {
    private static let shared = Result { () throws -> TestVault in
        let vault = try TestVault("dbt_registered")
        try Planted.sow(vault)
        try vault.psql("vault_admin", "CREATE ROLE dbt_mallory LOGIN")
        try vault.psql(
            "postgres",
            """
            CREATE SCHEMA mallory AUTHORIZATION dbt_mallory;
            GRANT USAGE ON SCHEMA mallory TO tokenvault_owner, tokenvault_operator;
            """)
        return vault
    }
    private let vault: TestVault

    init() throws {
        vault = try Self.shared.get()
        try vault.psql(
            "postgres",
            """
            DELETE FROM vault.masked_column WHERE table_name = 'mallory.report';
            DROP TABLE IF EXISTS mallory.report, mallory.loot;
            """)
        // A table like any report, with one row of the planted token, and a trap that takes what the vault holds.
        try vault.psql(
            "dbt_mallory",
            """
            CREATE TABLE mallory.report (address text);
            INSERT INTO mallory.report VALUES ('\(Planted.token)');
            CREATE TABLE mallory.loot (what text);
            GRANT INSERT ON mallory.loot TO PUBLIC;
            GRANT SELECT, UPDATE, DELETE ON mallory.report TO tokenvault_owner;
            CREATE OR REPLACE FUNCTION mallory.trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO mallory.loot SELECT encode(sealed, 'hex') FROM vault.original; RETURN NULL; END $$;
            """)
    }

    private let trap = "CREATE TRIGGER trap AFTER UPDATE OR DELETE ON mallory.report EXECUTE FUNCTION mallory.trap();"
    private let register = "SELECT vault.register_masked_column('mallory.report', 'address', 'ip');"

    /// Erases the planted token with its rows, in a transaction that is rolled back; gives how it was refused and the loot.
    private func erase() throws -> (states: [String], loot: String) {
        let finished = try vault.session(
            "vault_operator",
            """
            BEGIN;
            SELECT id FROM vault.begin_erasure('00000000-0000-0000-0000-00000000000e', ARRAY['\(Planted.token)'], NULL, 'clear',
                                               'keep', 'r', 't', false);
            SELECT handled FROM vault.erase_batch('00000000-0000-0000-0000-00000000000e', NULL, 10);
            COMMIT;
            """)
        let loot = try vault.psql("postgres", "SELECT count(*) FROM mallory.loot")
        try vault.psql(
            "postgres",
            """
            INSERT INTO vault.original (token, domain, token_version, data_key, sealed)
            VALUES ('00000000-0000-0000-0000-0000000000a1', 'ip', 1, '00000000-0000-0000-0000-0000000000d1',
                    decode(repeat('5ea1ed', 25), 'hex')) ON CONFLICT DO NOTHING;
            DELETE FROM vault.erasure_item; DELETE FROM vault.erasure;
            """)
        return (finished.states, loot)
    }

    @Test("A table of somebody who is not trusted with the vault is not registered, and nor is a view")
    func owner() throws {
        #expect(try vault.session("vault_operator", register).states == ["TV001"])
        // An owner who has given the privilege away can take it back.
        try vault.psql("dbt_mallory", "REVOKE TRIGGER ON mallory.report FROM dbt_mallory")
        #expect(try vault.session("vault_operator", register).states == ["TV001"])
        try vault.psql("dbt_mallory", "CREATE VIEW mallory.seen AS SELECT address FROM mallory.report")
        try vault.psql("postgres", "ALTER VIEW mallory.seen OWNER TO tokenvault_owner")
        let view = register.replacing("report", with: "seen")
        #expect(try vault.session("vault_operator", view).states == ["TV001"])
        try vault.psql("postgres", "DROP VIEW mallory.seen; ALTER TABLE mallory.report OWNER TO tokenvault_owner")
        #expect(try vault.session("vault_operator", register).states == [])
        let erased = try erase()
        #expect(erased.states.isEmpty && erased.loot == "0")
    }

    @Test(
        "What is registered already is left alone when its owner, a privilege or a trigger is somebody else's",
        arguments: ["owner", "privilege", "everybody's privilege", "trigger"])
    func afterwards(how: String) throws {
        try vault.psql("dbt_mallory", how == "owner" ? "SELECT" : trap)
        if how != "trigger" { try vault.psql("postgres", "DROP TRIGGER IF EXISTS trap ON mallory.report") }
        try vault.psql("postgres", "ALTER TABLE mallory.report OWNER TO vault_admin")
        // As one registered before this was looked at.
        try vault.psql("postgres", "INSERT INTO vault.masked_column VALUES ('mallory.report', 'address', 'ip')")
        switch how {
        case "owner":
            try vault.psql("postgres", "ALTER TABLE mallory.report OWNER TO dbt_mallory")
            try vault.psql("dbt_mallory", trap)
        case "privilege":
            try vault.psql("vault_admin", "GRANT TRIGGER ON mallory.report TO dbt_mallory")
        case "everybody's privilege":
            try vault.psql("vault_admin", "GRANT ALL ON mallory.report TO PUBLIC")
        default: break
        }
        let refused = try erase()
        #expect(refused.loot == "0", "the vault was taken")
        #expect(refused.states.first == "TV001", "\(refused.states)")
        try vault.psql(
            "postgres",
            "INSERT INTO vault.rotation (id, kind, target_version) VALUES ('00000000-0000-0000-0000-00000000000f', 'token-key', 2)"
        )
        let rotating = try vault.session(
            "vault_operator", "SELECT vault.move_rows('00000000-0000-0000-0000-00000000000f', 0, 65535);")
        try vault.psql("postgres", "DELETE FROM vault.rotation")
        #expect(rotating.states == ["TV001"])
    }
}
