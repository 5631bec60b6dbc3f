import Foundation
import Postgres
import TestSupport
import Testing

/// One rule of a policy, tightened so that the planted request no longer passes.
struct TightRule: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let tight: String
    /// The state that refuses a release.
    let refusal: String
    /// Whether a request is refused at once when the rule is tight already.
    var refusesRequest = true

    static var all: [TightRule] {
        [
            TightRule(
                testDescription: "approvals", tight: #"{"approvals":1}"#, refusal: "TV002", refusesRequest: false),
            TightRule(testDescription: "values a day", tight: #"{"values_per_day":0}"#, refusal: "TV001"),
            TightRule(testDescription: "reason", tight: #"{"reason_pattern":"w"}"#, refusal: "TV001"),
            TightRule(testDescription: "ticket", tight: #"{"ticket_pattern":"T-"}"#, refusal: "TV001"),
            TightRule(testDescription: "hours", tight: #"{"hours":"\#(PolicyVault.closed)"}"#, refusal: "TV001"),
        ]
    }
}

@Suite("Policy that changes while a request waits", .serialized)
struct PolicyChangeTests {
    private static let shared = Result { try PolicyVault("dbt_change") }
    private let people: PolicyVault

    init() throws {
        people = try Self.shared.get()
        try people.open()
        try people.open("quarantine")
    }

    private func ask(_ quarantine: Bool) -> String { quarantine ? PolicyVault.askQuarantine : PolicyVault.ask }
    private func domain(_ quarantine: Bool) -> String { quarantine ? "quarantine" : "ip" }

    @Test(
        "A rule tightened after the request holds; loosened again, the request passes", arguments: TightRule.all,
        [false, true])
    func tightened(_ rule: TightRule, quarantine: Bool) throws {
        let asked = try people.request("ada", ask(quarantine))
        try people.change(rule.tight, domain(quarantine))
        #expect(try people.take(asked, quarantine: quarantine) == [rule.refusal, rule.refusal])
        try people.open(domain(quarantine))
        #expect(try people.take(asked, quarantine: quarantine) == [])
    }

    @Test("A rule that was tight when asked holds, or refuses the request", arguments: TightRule.all, [false, true])
    func loosened(_ rule: TightRule, quarantine: Bool) throws {
        try people.change(rule.tight, domain(quarantine))
        if rule.refusesRequest {
            let events = try people.vault.psql("vault_auditor", "SELECT count(*) FROM audit.event")
            let refused = try people.vault.session(people.login("ada"), "SELECT * FROM \(ask(quarantine));")
            #expect(refused.states == ["TV001"])
            #expect(refused.standardOutput.isEmpty)
            #expect(try people.vault.psql("vault_auditor", "SELECT count(*) FROM audit.event") == events)
        } else {
            let asked = try people.request("ada", ask(quarantine))
            try people.open(domain(quarantine))
            #expect(try people.take(asked, quarantine: quarantine) == [rule.refusal, rule.refusal])
            #expect(try people.decide(asked, as: people.login("ben")) == [])
            #expect(try people.take(asked, quarantine: quarantine) == [])
        }
    }

    @Test("A ticket that a policy of now asks for is missing from a request made without one")
    func ticketMissing() throws {
        let ask = "vault.request_recovery(ARRAY['\(Planted.token)'], 'why', NULL)"
        let asked = try people.request("ada", ask)
        #expect(try people.take(asked) == [])
        try people.change(#"{"ticket_pattern":".*"}"#)
        #expect(try people.take(asked) == ["TV001", "TV001"])
    }

    @Test("A change names a domain and settings that there are, and says what it changed")
    func changes() throws {
        for (domain, changes) in [
            ("'IP'", #"'{"approvals":1}'"#), ("'ip_'||repeat('x', 29)", #"'{"approvals":1}'"#),
            ("NULL", #"'{"approvals":1}'"#),
            ("'ip'", #"'{"approvers":1}'"#), ("'ip'", "'[]'"), ("'ip'", "'1'"), ("'ip'", "NULL"),
            ("'ip'", #"'{"approvals":"1"}'"#), ("'ip'", #"'{"approvals":null}'"#), ("'ip'", #"'{"approvals":0.5}'"#),
            ("'ip'", #"'{"values_per_day":1e10}'"#), ("'ip'", #"'{"reason_pattern":1}'"#),
        ] {
            let refused = try people.vault.session(
                "vault_operator", "SELECT vault.change_policy(\(domain), \(changes));")
            #expect(refused.states == ["TV020"], "\(domain) \(changes)")
        }
        try people.change(#"{"approvals":2}"#, "fresh")
        #expect(
            try people.vault.psql(
                "vault_auditor", "SELECT action, object, actor, outcome FROM audit.event ORDER BY sequence DESC LIMIT 1"
            )
                == #"policy.set|fresh|vault_operator|{"domain": {"new": "fresh", "old": "*"}, "approvals": {"new": 2, "old": 0}}"#
        )
    }

    @Test("The shorter of two validities ends a request, its approvals, and the approving", arguments: [false, true])
    func validity(shortFirst: Bool) throws {
        try people.change(shortFirst ? #"{"approvals":1,"validity_seconds":1}"# : #"{"approvals":1}"#)
        let asked = try people.request()
        #expect(try people.decide(asked, as: people.login("ben")) == [])
        try people.change(shortFirst ? #"{"validity_seconds":900}"# : #"{"validity_seconds":1}"#)
        usleep(1_100_000)
        #expect(try people.take(asked) == ["TV003", "TV003"])
        #expect(try people.decide(asked, as: people.login("eve")) == ["TV003"])
        #expect(
            try people.vault.psql(people.login("ben"), "SELECT count(*) FROM vault.waiting_requests(9, '\(asked)')")
                == "0")
        #expect(
            try people.vault.psql(people.login("ada"), "SELECT state FROM vault.own_request('\(asked)')") == "lapsed")
        try people.open()
        #expect(try people.take(asked) == (shortFirst ? ["TV003", "TV003"] : []))
    }

    @Test("The hours of the asking hold at the release too, and those of now")
    func hoursOfBoth() throws {
        try people.change(#"{"hours":"\#(PolicyVault.standing)"}"#)
        let asked = try people.request()
        #expect(try people.take(asked) == [])
        #expect(
            try people.vault.psql(
                "postgres", "SELECT hours FROM vault.recovery_request_domain WHERE request = '\(asked)'")
                == PolicyVault.standing)
        // As if the window had closed meanwhile, with a policy of today that has none.
        try people.vault.psql(
            "postgres",
            "UPDATE vault.recovery_request_domain SET hours = '\(PolicyVault.closed)' WHERE request = '\(asked)'")
        try people.open()
        #expect(try people.take(asked) == ["TV001", "TV001"])
    }

    @Test("A request that waits for a policy's commit is held to it; a policy waits for a request's")
    func raced() throws {
        for (tight, refusal) in [
            (#"{"values_per_day":0}"#, "TV001"), (#"{"hours":"\#(PolicyVault.closed)"}"#, "TV001"),
        ] {
            for (level, state) in [
                ("READ COMMITTED", refusal), ("REPEATABLE READ", "40001"), ("SERIALIZABLE", "40001"),
            ] {
                try people.open()
                var operator_ = try people.vault.connect("vault_operator")
                try operator_.runTrustedScript("tightening", "BEGIN; SELECT vault.change_policy('ip', '\(tight)')")
                let asking = try people.vault.start(
                    people.login("ada"),
                    "BEGIN ISOLATION LEVEL \(level); SELECT 'raced'; SELECT * FROM \(PolicyVault.ask); COMMIT;")
                #expect(try people.vault.areWaiting(in: "request_recovery"))
                _ = try operator_.commit()
                #expect(asking.wait().states == [state], "\(level)")
            }
        }
    }

    @Test(
        "A snapshot taken before a change does not hide it",
        arguments: ["REPEATABLE READ", "SERIALIZABLE"], ["denied", "approvals", "lost", "hours", "unchanged"])
    func oldSnapshot(level: String, change: String) throws {
        try people.change(#"{"approvals":1}"#)
        let asked = try people.request()
        #expect(try people.decide(asked, as: people.login("ben")) == [])
        var old = try people.vault.connect(people.login("ada"))
        try old.runTrustedScript(
            "taking a snapshot", "BEGIN ISOLATION LEVEL \(level); SELECT * FROM vault.own_request('\(asked)')")
        switch change {
        case "denied": #expect(try people.decide(asked, "deny", as: people.login("eve")) == [])
        case "approvals": try people.change(#"{"approvals":2}"#)
        case "lost": try people.admin("REVOKE tokenvault_approver FROM \(people.login("ben"))")
        case "hours": try people.change(#"{"hours":"\#(PolicyVault.closed)"}"#)
        default: break
        }
        #expect(old.refusal(of: "SELECT * FROM vault.release('\(asked)', 0, 10)") == "TV001")
        old.rollback()
        try people.admin("GRANT tokenvault_approver TO \(people.login("ben"))")
    }

    @Test("Session settings move neither the hours nor the end of a request")
    func clockTricks() throws {
        try people.change(#"{"hours":"\#(PolicyVault.standing)","validity_seconds":1}"#)
        let lapsed = try people.request()
        try people.change(#"{"validity_seconds":900}"#)
        let open = try people.request()
        usleep(1_100_000)
        let closed = PolicyVault.closed
        for setting in [
            "TimeZone = 'Pacific/Kiritimati'", "TimeZone = 'Etc/GMT+12'", "DateStyle = 'SQL, DMY'",
            "IntervalStyle = 'sql_standard'", "timezone_abbreviations = 'Australia'",
            "timezone_abbreviations = 'India'",
            "search_path = pg_temp, public", "standard_conforming_strings = off", "transform_null_equals = on",
            "lc_time = 'C'", "synchronous_commit = off", "default_transaction_isolation = 'read uncommitted'",
            "tokenvault.break_glass = 'ON'", "tokenvault.break_glass = 'true'", "tokenvault.break_glass = '1'",
        ] {
            let before = "SET \(setting); BEGIN; SELECT now(); COMMIT;"
            #expect(try people.take(lapsed, before: before) == ["TV003", "TV003"], "\(setting)")
            #expect(try people.take(open, before: before) == [], "\(setting)")
            try people.change(#"{"hours":"\#(closed)"}"#)
            #expect(try people.take(open, before: before) == ["TV001", "TV001"], "\(setting)")
            let refused = try people.vault.session(
                people.login("ada"), "SET \(setting); SELECT * FROM \(PolicyVault.ask);")
            #expect(refused.states == ["TV001"], "\(setting)")
            try people.change(#"{"hours":"\#(PolicyVault.standing)"}"#)
        }
        // now() and transaction_timestamp() stand still here; the gate's clock does not.
        try people.change(#"{"validity_seconds":2}"#)
        let held = try people.request()
        let finished = try people.vault.session(
            people.login("ada"),
            "BEGIN; SELECT now(); SELECT sealed IS NULL FROM vault.release('\(held)', 0, 1); SELECT pg_sleep(2.1); "
                + "SELECT * FROM vault.release('\(held)', 0, 1); COMMIT;")
        #expect(finished.states == ["TV003"])
        #expect(!finished.standardOutput.contains(Planted.marker))
    }

    @Test("Hours follow the wall clock of their zone, over midnight, summer time and the week's end")
    func hoursByTheClock() throws {
        let summer = "Mon-Fri 08:00-18:00 Europe/Berlin"
        var (questions, answers) = ([String](), [String]())
        for (hours, moment, allowed) in [
            (summer, "2026-07-01T05:59:59Z", false), (summer, "2026-07-01T06:00:00Z", true),
            (summer, "2026-07-01T15:59:59Z", true), (summer, "2026-07-01T16:00:00Z", false),
            (summer, "2026-01-07T06:59:59Z", false), (summer, "2026-01-07T07:00:00Z", true),
            (summer, "2026-07-04T09:00:00Z", false), (summer, "2026-07-05T09:00:00Z", false),
            ("Fri-Mon 22:00-06:00 UTC", "2026-07-03T22:00:00Z", true),
            ("Fri-Mon 22:00-06:00 UTC", "2026-07-04T05:59:00Z", true),
            ("Fri-Mon 22:00-06:00 UTC", "2026-07-03T05:59:00Z", false),
            ("Fri-Mon 22:00-06:00 UTC", "2026-07-07T05:00:00Z", true),
            ("Fri-Mon 22:00-06:00 UTC", "2026-07-07T23:00:00Z", false),
            ("Fri-Mon 22:00-06:00 UTC", "2026-07-06T12:00:00Z", false),
            ("Sun 22:00-06:00 UTC", "2026-07-06T01:00:00Z", true),
            ("Sat,Sun 00:00-24:00 UTC", "2026-07-05T23:59:59Z", true),
            ("Sat,Sun 00:00-24:00 UTC", "2026-07-06T00:00:00Z", false),
            // The hour that is skipped in spring never comes; the one that is repeated in autumn comes twice.
            ("Sun 02:00-03:00 Europe/Berlin", "2026-03-29T00:59:59Z", false),
            ("Sun 02:00-03:00 Europe/Berlin", "2026-03-29T01:00:00Z", false),
            ("Sun 03:00-04:00 Europe/Berlin", "2026-03-29T01:00:00Z", true),
            ("Sun 02:00-03:00 Europe/Berlin", "2026-10-24T23:59:59Z", false),
            ("Sun 02:00-03:00 Europe/Berlin", "2026-10-25T00:30:00Z", true),
            ("Sun 02:00-03:00 Europe/Berlin", "2026-10-25T01:30:00Z", true),
            ("Sun 02:00-03:00 Europe/Berlin", "2026-10-25T02:00:00Z", false),
            ("Sat 22:00-02:30 America/New_York", "2026-11-01T05:59:59Z", true),
            ("Sat 22:00-02:30 America/New_York", "2026-11-01T07:29:59Z", true),
            ("Sat 22:00-02:30 America/New_York", "2026-11-01T07:30:00Z", false),
            ("Mon 08:00-09:00 UTC; Mon 17:00-18:00 UTC", "2026-07-06T17:30:00Z", true),
            ("Mon 08:00-09:00 UTC; Mon 17:00-18:00 UTC", "2026-07-06T12:30:00Z", false),
            ("Mon-Sun 00:00-24:00 Pacific/Kiritimati", "2026-07-06T12:30:00Z", true),
            ("Tue 00:00-24:00 Pacific/Kiritimati", "2026-07-06T12:30:00Z", true),
            ("what is this", "2026-07-06T12:30:00Z", false),
        ] {
            questions.append("vault.hours_allow('\(hours)', '\(moment)')")
            answers.append(allowed ? "t" : "f")
        }
        for zone in ["UTC", "Pacific/Apia", "America/New_York"] {
            let found = try people.vault.psql(
                "postgres", "SET TimeZone = '\(zone)'; SELECT \(questions.joined(separator: ", "))"
            ).split(separator: "|").map(String.init)
            #expect(found.count == answers.count)
            for (question, (answer, expected)) in zip(questions, zip(found, answers)) {
                #expect(answer == expected, "\(question) in \(zone)")
            }
        }
    }
}
