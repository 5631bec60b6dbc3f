import Foundation
import Postgres
import TestSupport
import Testing

@Suite("A new token that ingest stores in the moment in which a rotation stores it")
struct SameTokenTests {
    @Test("The page waits, is stored without it, and names it, so that it is opened before anything depends on it")
    func moment() throws {
        let vault = try LiveVault("same_token")
        defer { vault.remove() }
        let file = vault.folder.appending(path: "records").path
        try LiveVault.records(20, ["--addresses", "5", "--devices", "5"])
            .write(toFile: file, atomically: true, encoding: .utf8)
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        try vault.tokenvault("vault_operator", ["keys", "add", "token"]).succeeded()
        try vault.tokenvault("vault_operator", ["keys", "activate", "token-v2"]).succeeded()
        var rotating = try vault.cluster.connect(user: "vault_operator", database: vault.database)
        var ingesting = try vault.cluster.connect(user: "vault_ingest", database: vault.database)
        try rotating.runTrustedScript(
            "beginning a rotation",
            "SELECT * FROM vault.begin_rotation('00000000-0000-0000-0000-00000000000f', 'token-key', 2, NULL)")
        try ingesting.runTrustedScript(
            "storing an original",
            """
            BEGIN;
            INSERT INTO vault.original (token, domain, token_version, data_key, sealed)
            VALUES ('11111111-1111-1111-1111-111111111111', 'ip', 2, gen_random_uuid(), decode(repeat('00', 60), 'hex'));
            """)
        let pending = try rotating.send(
            Statement(
                "storing a page",
                """
                WITH page AS (
                    SELECT array_agg(own.place) AS places, array_agg(own.token) AS tokens, array_agg(own.domain) AS domains
                    FROM (SELECT * FROM vault.rotation_page('00000000-0000-0000-0000-00000000000f', 0, 1) LIMIT 2) AS own
                )
                SELECT stored.token::text
                FROM page, vault.store_successors(
                    '00000000-0000-0000-0000-00000000000f', page.places, page.tokens,
                    ARRAY['11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222']::uuid[],
                    page.domains, ARRAY[1, 1], ARRAY[0, 0], ARRAY[gen_random_uuid(), gen_random_uuid()],
                    ARRAY[decode(repeat('00', 60), 'hex'), decode(repeat('00', 60), 'hex')], '{}', '{}', '{}', '{}', '{}'
                ) AS stored
                """))
        try vault.wait(for: "the page to wait") {
            try vault.query(
                """
                SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'transactionid'
                """) == "1"
        }
        try ingesting.runTrustedScript("committing", "COMMIT")
        let rows = try rotating.receive(pending)
        let named = (0..<rows.count).map { rows.text(row: $0, column: 0) ?? "" }
        #expect(named == ["11111111-1111-1111-1111-111111111111"])
        #expect(try vault.query("SELECT count(*) FROM vault.original WHERE token_version = 2") == "2")
    }
}
