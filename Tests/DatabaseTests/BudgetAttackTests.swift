import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Attacks on budgets", .serialized)
struct BudgetAttackTests {
    private static let shared = Result { try PolicyVault("dbt_budget") }
    private let people: PolicyVault

    init() throws { people = try Self.shared.get() }

    /// A domain with a budget of its own, so that tests do not spend each other's.
    private func budget(_ values: Int, _ domain: String) throws {
        try people.open(domain)
        try people.change(#"{"values_per_day":\#(values)}"#, domain)
    }

    private func ask(_ domain: String, _ count: Int = 1) -> String {
        "vault.request_recovery(ARRAY(SELECT '\(domain)_v1_' || lpad(i::text, 32, '0') "
            + "FROM generate_series(1, \(count)) AS i), 'why', 'T')"
    }

    private func spent(_ domain: String, _ person: String = "ada") throws -> String {
        try people.vault.psql(
            "postgres",
            """
            SELECT coalesce(sum(part.item_count), 0) FROM vault.recovery_request_domain AS part
            JOIN vault.recovery_request AS asked ON asked.id = part.request
            WHERE part.domain = '\(domain)' AND asked.requester = '\(people.login(person))'
            """)
    }

    @Test(
        "Sessions that race for the last value: one gets it",
        arguments: ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"], [false, true])
    func race(level: String, urgent: Bool) throws {
        let domain = "race_\(level.prefix(3).lowercased())\(urgent ? "_bg" : "")"
        try budget(1, domain)
        try people.change(#"{"break_glass_per_day":1}"#, domain)
        let person = urgent ? "gil" : "ada"
        let script =
            "\(urgent ? PolicyVault.breakGlass : "") BEGIN ISOLATION LEVEL \(level); SELECT 'snapshot'; "
            + "SELECT request FROM \(ask(domain)); SELECT pg_sleep(0.05); COMMIT;"
        let racing = try (0..<6).map { _ in try people.vault.start(people.login(person), script) }
        let ended = racing.map { $0.wait() }
        #expect(ended.count { $0.states.isEmpty } == 1)
        #expect(ended.flatMap(\.states).allSatisfy { ["TV001", "40001", "25P02"].contains($0) })
        #expect(try spent(domain, person) == "1")
    }

    @Test(
        "Two sessions that meet at the last value, the first still open",
        arguments: ["READ COMMITTED", "REPEATABLE READ"])
    func meeting(level: String) throws {
        let domain = "meet_\(level.prefix(3).lowercased())"
        try budget(3, domain)
        _ = try people.request("ada", ask(domain, 2))
        var first = try people.vault.connect(people.login("ada"))
        try first.runTrustedScript("asking", "BEGIN ISOLATION LEVEL READ COMMITTED; SET application_name = 'first'")
        try first.runTrustedScript(
            "asking", "SELECT vault.request_recovery(ARRAY['\(domain)_v1_' || repeat('0', 32)], 'w', 't')")
        let second = try people.vault.start(
            people.login("ada"), "BEGIN ISOLATION LEVEL \(level); SELECT 1; SELECT request FROM \(ask(domain)); COMMIT;"
        )
        #expect(try people.vault.areWaiting(in: domain))
        _ = try first.commit()
        #expect(second.wait().states == [level == "READ COMMITTED" ? "TV001" : "40001"])
        #expect(try spent(domain) == "3")
    }

    @Test("A request split into pieces passes no more than one whole")
    func splitting() throws {
        try budget(3, "split")
        for script in [
            String(repeating: "SELECT request FROM \(ask("split"));", count: 5),
            "BEGIN; " + String(repeating: "SAVEPOINT s; SELECT request FROM \(ask("split")); RELEASE s;", count: 5)
                + "COMMIT;",
            "SET ROLE tokenvault_recoverer; SELECT request FROM \(ask("split"));",
            "SELECT (SELECT count(request) FROM \(ask("split"))) FROM generate_series(1, 2);",
            "SET tokenvault.break_glass = 'no'; SELECT request FROM \(ask("split"));",
            "SELECT request FROM vault.request_recovery(ARRAY['split_v2_' || repeat('0', 32)], 'w', 't');",
            // One domain over its budget refuses the others in the same request.
            "SELECT request FROM vault.request_recovery(ARRAY['\(Planted.token)', 'split_v1_' || repeat('0', 32)], 'w', 't');",
        ] {
            let finished = try people.vault.session(people.login("ada"), script)
            #expect(!finished.states.isEmpty, "\(script)")
            #expect(
                finished.states.allSatisfy { ["TV001", "25P02", "3B001"].contains($0) }, "\(finished.standardError)")
        }
        #expect(try spent("split") == "3")
        #expect(
            try people.vault.psql("postgres", "SELECT count(*) FROM vault.recovery_request_domain WHERE domain = 'ip'")
                == "0")
        // The same token twice is two values; more than all in one request is refused and spends nothing.
        try budget(1, "twice")
        let twice =
            "vault.request_recovery(ARRAY['twice_v1_' || repeat('0', 32), 'twice_v1_' || repeat('0', 32)], 'w', 't')"
        #expect(try people.vault.session(people.login("ada"), "SELECT request FROM \(twice);").states == ["TV001"])
        #expect(try spent("twice") == "0")
    }

    @Test("What is rolled back is neither counted nor released; what is committed counts, released or not")
    func rolledBack() throws {
        try budget(2, "back")
        let finished = try people.vault.session(
            people.login("ada"),
            """
            BEGIN; SELECT request AS r FROM \(ask("back", 2)) \\gset
            ROLLBACK; SELECT * FROM vault.release(:'r', 0, 9);
            BEGIN; SAVEPOINT s; SELECT request AS q FROM \(ask("back", 2)) \\gset
            ROLLBACK TO s; SELECT * FROM vault.release(:'q', 0, 9); COMMIT;
            SELECT * FROM vault.release(:'q', 0, 9);
            """)
        #expect(finished.states == ["TV004", "TV004", "TV004"])
        #expect(finished.standardOutput.isEmpty)
        #expect(try spent("back") == "0")
        #expect(try people.vault.session(people.login("ada"), "SELECT request FROM \(ask("back", 2));").states == [])
        #expect(
            try people.vault.session(people.login("ada"), "SELECT request FROM \(ask("back"));").states == ["TV001"])
    }

    @Test("Sessions that race for the day's last quarantined record: one gets it")
    func quarantineRace() throws {
        try people.make("ivy", in: "tokenvault_recoverer")
        try budget(1, "quarantine")
        let script =
            "BEGIN; SELECT 'snapshot'; SELECT request FROM \(PolicyVault.askQuarantine); SELECT pg_sleep(0.05); COMMIT;"
        let racing = try (0..<6).map { _ in try people.vault.start(people.login("ivy"), script) }
        let ended = racing.map { $0.wait() }
        #expect(ended.count { $0.states.isEmpty } == 1)
        #expect(ended.flatMap(\.states).allSatisfy { ["TV001", "25P02"].contains($0) })
        #expect(try spent("quarantine", "ivy") == "1")
    }

    @Test("Quarantined records have the policy and the budget of quarantine")
    func quarantine() throws {
        try budget(1, "quarantine")
        try people.change(#"{"approvals":1}"#, "quarantine")
        for person in ["ada", "gil"] {
            let asked = try people.request(person, PolicyVault.askQuarantine)
            #expect(try people.take(asked, person, quarantine: true) == ["TV002", "TV002"])
            #expect(
                try people.vault.session(people.login(person), "SELECT * FROM \(PolicyVault.askQuarantine);").states
                    == ["TV001"])
            #expect(try people.decide(asked, as: people.login("ben")) == [])
            #expect(try people.take(asked, person, quarantine: true) == [])
            // A request for a record releases no value, and the other way round.
            #expect(
                try people.vault.session(people.login(person), "SELECT * FROM vault.release('\(asked)', 0, 9);").states
                    == ["TV004"])
        }
        let urgent = try people.vault.session(
            people.login("gil"), PolicyVault.breakGlass + " SELECT * FROM \(PolicyVault.askQuarantine);")
        #expect(urgent.states == ["TV001"])
        #expect(
            try people.vault.session(
                "vault_operator", "SELECT vault.change_policy('quarantine', '{\"break_glass_per_day\":1}');"
            )
            .states == ["TV020"])
    }

    @Test(
        "A day begins at midnight UTC, whatever the time zone of the server or the session",
        arguments: ["UTC", "Pacific/Kiritimati", "Etc/GMT+12", "Europe/Berlin"])
    func day(zone: String) throws {
        let domain = "day_\(zone.lowercased().filter(\.isLetter))"
        try budget(3, domain)
        try people.vault.psql("postgres", "ALTER DATABASE \(people.vault.name) SET TimeZone = '\(zone)'")
        defer { _ = try? people.vault.psql("postgres", "ALTER DATABASE \(people.vault.name) RESET TimeZone") }
        // What was asked for in the last microsecond of yesterday does not count, in the first of today it does.
        for (id, offset, count) in [("1", "-interval '1 microsecond'", 3), ("2", "interval '0'", 1)] {
            try people.vault.psql(
                "postgres",
                """
                WITH asked AS (
                    INSERT INTO vault.recovery_request (id, kind, requester, reason, created_at, expires_at, xid, item_count,
                                                        approvals_needed)
                    SELECT md5('\(domain)\(id)')::uuid, 'tokens', '\(people.login("ada"))', 'w', moment, moment, '3', \(count), 0
                    FROM (SELECT date_trunc('day', clock_timestamp(), 'UTC') + \(offset) AS moment) AS at RETURNING id)
                INSERT INTO vault.recovery_request_domain (request, domain, item_count, used)
                SELECT id, '\(domain)', \(count), \(count) FROM asked
                """)
        }
        func states(_ count: Int) throws -> [String] {
            try people.vault.session(people.login("ada"), "SELECT request FROM \(ask(domain, count));").states
        }
        #expect(try states(3) == ["TV001"])
        #expect(try states(2) == [])
    }

    @Test("Of several domains in one request the strictest approvals and the shortest validity hold")
    func strictest() throws {
        for (first, second) in [("aa", "bb"), ("bb", "aa")] {
            try people.open(first)
            try people.open(second)
            try people.change(#"{"approvals":1,"validity_seconds":60}"#, first)
            let ask =
                "vault.request_recovery(ARRAY['aa_v1_' || repeat('0', 32), 'bb_v1_' || repeat('0', 32)], 'w', 't')"
            let asked = try people.request("ada", ask)
            let own = "SELECT approvals_needed, lapses_at < now() + interval '61 s' FROM vault.own_request('\(asked)')"
            #expect(try people.vault.psql(people.login("ada"), own) == "1|t")
            #expect(
                try people.vault.psql(
                    "postgres",
                    "SELECT approvals_needed, expires_at < now() + interval '61 s' FROM vault.recovery_request WHERE id = '\(asked)'"
                ) == "1|t")
            try people.open(first)
            #expect(try people.vault.psql(people.login("ada"), own) == "1|t")
        }
    }

    @Test("A budget lowered below what a request has used stops it, and one that still holds it does not")
    func lowered() throws {
        try budget(3, "lower")
        let asked = try people.request("ada", ask("lower", 2))
        func states() throws -> [String] {
            try people.vault.session(people.login("ada"), "SELECT * FROM vault.release('\(asked)', 0, 9);").states
        }
        for (values, expected) in [(2, []), (1, ["TV001"]), (2, [])] {
            try people.change(#"{"values_per_day":\#(values)}"#, "lower")
            #expect(try states() == expected)
        }
    }

    @Test("A request is dated by the clock, not by the beginning of its transaction")
    func clock() throws {
        try people.open("clock")
        let dated = try people.vault.session(
            people.login("ada"),
            "BEGIN; SELECT now(); SELECT pg_sleep(0.2); SELECT expires_at - interval '900 s' >= now() + interval '0.2 s' "
                + "FROM \(ask("clock")); ROLLBACK;")
        #expect(dated.states.isEmpty && dated.standardOutput.hasSuffix("\nt\n"), "\(dated.standardOutput)")
    }

    @Test("Without any policy for a domain nothing is asked for, and what was asked for is not released")
    func noPolicy() throws {
        let asked = try people.request("gil")
        #expect(try people.take(asked, "gil") == [])
        try people.vault.psql("postgres", "CREATE TABLE public.kept AS TABLE vault.policy; DELETE FROM vault.policy")
        #expect(try people.take(asked, "gil") == ["TV001", "TV001"])
        #expect(
            try people.vault.session(people.login("gil"), "SELECT request FROM \(ask("none"));").states == ["TV001"])
        try people.vault.psql("postgres", "INSERT INTO vault.policy TABLE public.kept; DROP TABLE public.kept")
        // Nor when nothing says how many values of which domain it asks for.
        try people.vault.psql("postgres", "DELETE FROM vault.recovery_request_domain WHERE request = '\(asked)'")
        #expect(try people.take(asked, "gil") == ["TV001", "TV001"])
    }

    @Test("Names of domains that nobody set a policy for do not multiply work without end")
    func manyDomains() throws {
        let many =
            "vault.request_recovery(ARRAY(SELECT 'd' || i || '_v1_' || repeat('0', 32) FROM generate_series(1, 65) AS i), 'w', 't')"
        #expect(try people.vault.session(people.login("ada"), "SELECT request FROM \(many);").states == ["TV020"])
    }

    @Test("After a request for a million values, counting the day costs no more than after one")
    func counting() throws {
        try budget(2_000_000, "big")
        _ = try people.vault.psql(
            "postgres",
            """
            INSERT INTO vault.recovery_request (id, kind, requester, reason, created_at, expires_at, xid, item_count, approvals_needed)
            VALUES ('00000000-0000-0000-0000-0000000b1900', 'tokens', '\(people.login("ada"))', 'w', clock_timestamp(),
                    clock_timestamp() + interval '1 hour', '3', 1000000, 0);
            INSERT INTO vault.recovery_request_domain (request, domain, item_count, used)
            VALUES ('00000000-0000-0000-0000-0000000b1900', 'big', 1000000, 1000000);
            """)
        // No item of the million stands there: whoever counted items would find none, and let the next one pass.
        try people.change(#"{"values_per_day":1000000}"#, "big")
        #expect(try people.vault.session(people.login("ada"), "SELECT request FROM \(ask("big"));").states == ["TV001"])
        try people.change(#"{"values_per_day":1000001}"#, "big")
        #expect(try people.vault.session(people.login("ada"), "SELECT request FROM \(ask("big"));").states == [])
    }
}
