import Foundation
import TestSupport
import Testing

@Suite("Expiry")
struct ExpiryTests {
    /// Everything was stored and seen 500 days ago, but for what `since` names: rows of theirs are dated 3 days ago.
    private func age(_ house: Household, seenSince user: String) throws {
        _ = try house.vault.query(
            """
            UPDATE vault.original SET created_at = created_at - interval '500 days';
            UPDATE public.user_logins SET create_date = current_date - CASE user_id WHEN '\(user)' THEN 3 ELSE 500 END;
            """)
    }

    private func expire(_ house: Household, _ arguments: [String], environment: [String: String] = [:]) throws
        -> Finished
    {
        try house.vault.tokenvault("vault_operator", ["expire", "--json"] + arguments, environment: environment)
    }

    @Test("removes what nobody has seen since, keeps what came again however old it is, and leaves the rows")
    func seenSince() throws {
        let house = try Household("expire_seen")
        defer { house.vault.remove() }
        try age(house, seenSince: "bob")
        let (own, shared) = (try house.token(Household.alone), try house.token(Household.together))
        let rows = "SELECT md5(string_agg(login::text, '|' ORDER BY login::text)) FROM public.user_logins AS login"
        let (before, standing) = (try house.vault.query(rows), try house.fingerprint())
        let dry = try expire(house, ["--older-than", "400", "--dry-run"]).succeeded()
        #expect(dry.standardOutput.contains("\"originals\":4,\"absent\":0,\"kept\":4"))
        #expect(try house.fingerprint() == standing, "a dry run has changed something")

        let events = try house.count("SELECT count(*) FROM audit.event")
        let done = try expire(house, ["--older-than", "400", "--batch-size", "1"]).succeeded()
        #expect(done.standardOutput.contains("\"originals\":4,\"absent\":0,\"kept\":4"))
        #expect(try house.vault.query(rows) == before)
        #expect(try house.recover(own).status == 1)
        #expect(try house.recover(shared).standardOutput == "\(shared)\t\(Household.together)\n")
        #expect(try house.count("SELECT count(*) FROM vault.erased_token") == 4)
        // Two events for the run, whatever the number of values; and the two attempts to recover.
        #expect(
            try house.count(
                "SELECT count(*) FROM audit.event WHERE sequence > \(events) AND action LIKE 'expire%'") == 2)
        #expect(try house.vault.tokenvault("vault_auditor", ["audit", "verify"]).status == 0)
        #expect(try expire(house, ["--older-than", "400"]).succeeded().standardOutput.contains("\"originals\":0,"))

        // The date itself is not before it: neither stored then, nor seen then.
        for (stored, seen) in [("2020-02-29 00:00Z", "2019-01-01"), ("2019-01-01 00:00Z", "2020-02-29")] {
            _ = try house.vault.query(
                "UPDATE vault.original SET created_at = '\(stored)'; UPDATE public.user_logins SET create_date = '\(seen)'"
            )
            try expire(house, ["--older-than", "2020-02-29"]).succeeded()
            #expect(try house.count("SELECT count(*) FROM vault.original") == 4, "stored \(stored), seen \(seen)")
        }
    }

    @Test("goes by domain, a date, or each domain's configured retention; data keys that nothing uses go, too")
    func configured() throws {
        let house = try Household("expire_domains")
        defer { house.vault.remove() }
        try age(house, seenSince: "nobody")
        let none = try expire(house, [])
        #expect(none.status == 78 && none.standardError.contains("retention_days"))
        let bad = try expire(house, [], environment: ["TOKENVAULT_RETENTION_DAYS": "ip=a year"])
        #expect(bad.status == 78)
        #expect(try expire(house, ["--older-than", "yesterday"]).status == 64)
        #expect(try expire(house, ["--older-than", "2999-01-01"]).status == 64)

        let long = try expire(house, [], environment: ["TOKENVAULT_RETENTION_DAYS": "ip=600, device_id=499"])
            .succeeded()
        #expect(long.standardOutput.contains("\"domain\":\"ip\""))
        #expect(try house.vault.query("SELECT domain, count(*) FROM vault.original GROUP BY 1") == "ip|4")
        #expect(try house.vault.query("SELECT domain, count(*) FROM vault.data_key GROUP BY 1") == "ip|1")
        try expire(house, ["--older-than", "2026-01-01", "--domain", "ip"]).succeeded()
        #expect(try house.count("SELECT count(*) FROM vault.original") == 0)
        #expect(
            try house.count("SELECT (SELECT count(*) FROM vault.data_key) + (SELECT count(*) FROM vault.data_key_seal)")
                == 0)

        // What comes in again is new, and can be recovered.
        try house.ingest("again", [Household.record("dave", Household.alone, "PHONE-A")])
        #expect(try house.recover(try house.token(Household.alone)).status == 0)
    }

    @Test("that was cut short is finished by the next run, before its own; a value seen meanwhile is kept")
    func resumed() throws {
        let house = try Household("expire_resumed")
        defer { house.vault.remove() }
        try age(house, seenSince: "nobody")
        try house.vault.cluster.psql(
            user: "vault_operator", database: house.vault.database,
            """
            SELECT id FROM vault.begin_expiry('00000000-0000-0000-0000-00000000000e', 'ip', current_date - 400, 'r', NULL, false);
            SELECT * FROM vault.erase_batch('00000000-0000-0000-0000-00000000000e', NULL, 1);
            """)
        #expect(try house.count("SELECT count(*) FROM vault.original WHERE domain = 'ip'") == 3)
        try house.ingest(
            "meanwhile",
            [Household.alone, Household.together, Household.bobs].map { Household.record("zoe", $0, "NEW") })
        let done = try expire(house, ["--older-than", "400"]).succeeded()
        #expect(done.standardError.contains("an expiry that was interrupted comes first"))
        #expect(done.standardOutput.split(separator: "\n").count == 2)
        #expect(try house.count("SELECT count(*) FROM audit.event WHERE action = 'expire.resume'") == 1)
        for value in [Household.alone, Household.together, Household.bobs] {
            #expect(try house.recover(try house.token(value)).status == 0)
        }
        #expect(try house.count("SELECT count(*) FROM vault.original WHERE domain = 'device_id'") == 1)
    }

    @Test("waits for a rotation of the token key, and counts a value's rows under either token")
    func rotation() throws {
        let house = try Household("expire_rotation")
        defer { house.vault.remove() }
        try house.vault.tokenvault("vault_operator", ["keys", "add", "token"]).succeeded()
        try house.vault.tokenvault("vault_operator", ["keys", "activate", "token-v2"]).succeeded()
        try age(house, seenSince: "nobody")
        try house.ingest("straddling", [Household.record("zoe", Household.alone, "NEW")])
        try expire(house, ["--older-than", "400"]).succeeded()
        // The original under the old token stays, because the value was seen under the new one.
        #expect(
            try house.vault.query(
                "SELECT domain, token_version, count(*) FROM vault.original GROUP BY 1, 2 ORDER BY 1, 2")
                == "device_id|2|1\nip|1|1\nip|2|1")
        _ = try house.vault.query(
            "INSERT INTO vault.rotation (id, kind, target_version) VALUES (gen_random_uuid(), 'token-key', 2)")
        #expect(try expire(house, ["--older-than", "400"]).status == 75)
    }
}
