import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Attacks on approvals", .serialized)
struct ApproverAttackTests {
    private static let shared = Result { () throws -> PolicyVault in
        let people = try PolicyVault("dbt_approve")
        try people.make("both", in: "tokenvault_recoverer, tokenvault_approver")
        try people.make("alias", in: "tokenvault_approver, \(people.login("ada"))")
        try people.make("master", in: "tokenvault_approver")
        try people.make("slave", in: "tokenvault_recoverer, \(people.login("master"))")
        try people.admin("CREATE ROLE \(people.login("team")) NOLOGIN IN ROLE tokenvault_approver")
        try people.make("member", in: people.login("team"))
        try people.make("dual", in: "tokenvault_operator, tokenvault_approver")
        return people
    }
    private let people: PolicyVault

    init() throws {
        people = try Self.shared.get()
        try people.open()
        try people.change(#"{"approvals":1}"#)
    }

    @Test(
        "Nobody but another person who is an approver approves",
        arguments: [
            ("ada", "own: ada", "42501"), ("ada", "own: both", "TV001"), ("slave", "own: master", "TV001"),
            ("ada", "own: alias", "TV001"), ("ada", "own: gil", "42501"), ("both", "own: both", "TV001"),
            ("ada", "vault_operator", "42501"), ("ada", "vault_recoverer2", "42501"), ("ada", "vault_auditor", "42501"),
            ("ada", "vault_ingest", "42501"), ("ada", "vault_analyst", "42501"), ("ada", "vault_nobody", "42501"),
            ("ada", "vault_admin", "TV001"), ("ada", "postgres", "TV001"),
        ])
    func whoMayNot(requester: String, approver: String, refusal: String) throws {
        let asked = try people.request(approver == "own: both" ? "both" : requester)
        let login = approver.hasPrefix("own: ") ? people.login(String(approver.dropFirst(5))) : approver
        let befores = [
            "", "SET ROLE tokenvault_approver;", "SET ROLE \(people.login("ben"));",
            "SET SESSION AUTHORIZATION \(people.login("ben")); RESET SESSION AUTHORIZATION;",
            "BEGIN; SET LOCAL ROLE tokenvault_approver;",
        ]
        let tried = try people.vault.session(
            login,
            befores.map { "\($0) SELECT vault.decide_request('\(asked)', 'approve'); ROLLBACK; RESET ROLE;" }
                .joined(separator: "\n"))
        let refusals = tried.states.filter { $0 == refusal || $0 == "25P02" }
        #expect(refusals.count >= befores.count, "\(tried.standardError)")
        #expect(tried.standardOutput.isEmpty)
        #expect(
            try people.vault.psql("postgres", "SELECT count(*) FROM vault.approval WHERE request = '\(asked)'") == "0")
        #expect(try people.take(asked, approver == "own: both" ? "both" : requester) == ["TV002", "TV002"])
    }

    @Test("An approver counts by a group in the group, and by SET ROLE without inheriting")
    func whoMay() throws {
        for setting in ["INHERIT", "NOINHERIT"] {
            try people.admin("ALTER ROLE \(people.login("member")) \(setting)")
            let asked = try people.request()
            let script = "SET ROLE tokenvault_approver; SELECT vault.decide_request('\(asked)', 'approve');"
            #expect(try people.vault.session(people.login("member"), script).states == [])
            #expect(try people.take(asked) == [])
        }
        let asked = try people.request()
        #expect(try people.decide(asked, as: people.login("dual")) == [])
        #expect(try people.take(asked) == [])
    }

    @Test(
        "An approval does not count while its giver is no approver, may not log in, is another role, or the requester's own",
        arguments: ["left", "locked", "replaced", "linked", "reverse"])
    func lostApprovals(how: String) throws {
        let login = people.login("temp_\(how)")
        try people.make("temp_\(how)", in: "tokenvault_approver")
        let asked = try people.request()
        #expect(try people.decide(asked, as: login) == [])
        #expect(try people.take(asked) == [])
        let (undo, redo) =
            switch how {
            case "left": ("REVOKE tokenvault_approver FROM \(login)", "GRANT tokenvault_approver TO \(login)")
            case "locked": ("ALTER ROLE \(login) NOLOGIN", "ALTER ROLE \(login) LOGIN")
            case "replaced":
                ("DROP ROLE \(login); CREATE ROLE \(login) LOGIN IN ROLE tokenvault_approver", "SELECT 1")
            case "linked": ("GRANT \(people.login("ada")) TO \(login)", "REVOKE \(people.login("ada")) FROM \(login)")
            default: ("GRANT \(login) TO \(people.login("ada"))", "REVOKE \(login) FROM \(people.login("ada"))")
            }
        try people.admin(undo)
        #expect(try people.take(asked) == ["TV002", "TV002"])
        #expect(
            try people.vault.psql(people.login("ada"), "SELECT state FROM vault.own_request('\(asked)')") == "waiting")
        try people.admin(redo)
        // Whoever came under the old name decides anew.
        if how == "replaced" { #expect(try people.decide(asked, as: login) == []) }
        #expect(try people.take(asked) == [])
    }

    @Test("One denial ends a request, whoever approves before or after")
    func denialIsFinal() throws {
        for order in [
            ["ben approve", "eve deny"], ["eve deny", "ben approve"], ["ben approve", "ben deny"],
            ["ben deny", "ben approve"],
        ] {
            let asked = try people.request()
            var isDenied = false
            for step in order {
                let parts = step.split(separator: " ").map(String.init)
                #expect(
                    try people.decide(asked, parts[1], as: people.login(parts[0])) == (isDenied ? ["TV001"] : []),
                    "\(order)")
                isDenied = isDenied || parts[1] == "deny"
            }
            #expect(try people.take(asked) == ["TV001", "TV001"], "\(order)")
            // Not by a lower policy, nor when who denied is gone.
            try people.change(#"{"approvals":0}"#)
            try people.admin("REVOKE tokenvault_approver FROM \(people.login("eve")), \(people.login("ben"))")
            #expect(try people.take(asked) == ["TV001", "TV001"], "\(order)")
            try people.admin("GRANT tokenvault_approver TO \(people.login("eve")), \(people.login("ben"))")
            try people.change(#"{"approvals":1}"#)
        }
    }

    @Test("A denial stands when the role that gave it is dropped, or somebody else comes under its name")
    func denierIsGone() throws {
        try people.make("once", in: "tokenvault_approver")
        let asked = try people.request()
        #expect(try people.decide(asked, "deny", as: people.login("once")) == [])
        try people.admin("DROP ROLE \(people.login("once"))")
        #expect(try people.decide(asked, as: people.login("ben")) == ["TV001"])
        #expect(try people.take(asked) == ["TV001", "TV001"])
        try people.make("once", in: "tokenvault_approver")
        #expect(try people.decide(asked, as: people.login("once")) == ["TV001"])
        #expect(try people.take(asked) == ["TV001", "TV001"])
    }

    @Test("One person approves once, also from two sessions at once; two approvals are two people's")
    func twice() throws {
        try people.change(#"{"approvals":2}"#)
        let asked = try people.request()
        var first = try people.vault.connect(people.login("ben"))
        try first.runTrustedScript("approving", "BEGIN; SELECT vault.decide_request('\(asked)', 'approve')")
        let second = try people.vault.start(
            people.login("ben"), "SELECT vault.decide_request('\(asked)', 'approve');")
        #expect(try people.vault.areWaiting(in: "decide_request"))
        _ = try first.commit()
        #expect(second.wait().states == ["TV001"])
        #expect(try people.take(asked) == ["TV002", "TV002"])
        #expect(try people.decide(asked, as: people.login("eve")) == [])
        #expect(try people.take(asked) == [])
    }

    @Test("A decision that is rolled back counts for nothing, nor does one not yet committed")
    func rolledBack() throws {
        let asked = try people.request()
        _ = try people.vault.session(
            people.login("ben"),
            """
            BEGIN; SELECT vault.decide_request('\(asked)', 'approve'); ROLLBACK;
            BEGIN; SAVEPOINT s; SELECT vault.decide_request('\(asked)', 'approve'); ROLLBACK TO s; COMMIT;
            """)
        #expect(try people.take(asked) == ["TV002", "TV002"])
        var pending = try people.vault.connect(people.login("ben"))
        try pending.runTrustedScript("approving", "BEGIN; SELECT vault.decide_request('\(asked)', 'approve')")
        #expect(
            try people.take(asked, before: "SET default_transaction_isolation = 'read uncommitted';") == [
                "TV002", "TV002",
            ])
        pending.rollback()
    }

    @Test("A decision is approve or deny, on a request that there is, with a reason that fits")
    func badDecisions() throws {
        let asked = try people.request()
        let unknown = "00000000-0000-0000-0000-000000000000"
        for (arguments, state) in [
            ("'\(asked)', 'maybe'", "TV020"), ("'\(asked)', NULL", "TV020"), ("'\(asked)', 'approve', ' '", "TV020"),
            ("'\(asked)', 'deny', repeat('x', 1025)", "TV020"), ("'\(unknown)', 'approve'", "TV004"),
            ("NULL, 'approve'", "TV004"),
        ] {
            let refused = try people.vault.session(
                people.login("ben"), "SELECT vault.decide_request(\(arguments));")
            #expect(refused.states == [state], "\(arguments)")
        }
        #expect(
            try people.vault.psql("postgres", "SELECT count(*) FROM vault.approval WHERE request = '\(asked)'") == "0")
    }

    @Test("What is settled is no longer listed as waiting, and what has lapsed is not shown at all")
    func settled() throws {
        let (waiting, approved, denied) = (try people.request(), try people.request(), try people.request())
        #expect(try people.decide(approved, as: people.login("ben")) == [])
        #expect(try people.decide(denied, "deny", as: people.login("ben")) == [])
        let listed = try people.vault.psql(people.login("eve"), "SELECT request FROM vault.waiting_requests(1000)")
        #expect(listed.contains(waiting) && !listed.contains(approved) && !listed.contains(denied))
        for (request, state) in [(waiting, "waiting"), (approved, "approved"), (denied, "denied")] {
            #expect(
                try people.vault.psql(people.login("eve"), "SELECT state FROM vault.waiting_requests(1, '\(request)')")
                    == state)
        }
        try people.change(#"{"validity_seconds":1}"#)
        let lapsed = try people.request()
        let seen = """
            SELECT (SELECT count(*) FROM vault.waiting_requests(9, '\(lapsed)')) + count(*)
            FROM vault.request_items('\(lapsed)', 0, 9)
            """
        #expect(try people.vault.psql(people.login("eve"), seen) == "2")
        usleep(1_100_000)
        #expect(try people.vault.psql(people.login("eve"), seen) == "0")
    }

    @Test("A request is nobody's, not even its requester's to look at, before it is committed")
    func uncommitted() throws {
        let finished = try people.vault.session(
            people.login("ada"),
            "BEGIN; SELECT request AS r FROM \(PolicyVault.ask) \\gset\nSELECT * FROM vault.own_request(:'r'); ROLLBACK;"
        )
        #expect(finished.states == ["TV004"])
    }

    @Test("An approver sees who, what and why, page by page, and nothing sealed; others see nothing")
    func whatIsSeen() throws {
        let tokens = [Planted.token, Planted.absent, "other_v2_000000000000000000000000000000b1"]
        let asked = try people.request(
            "ada", "vault.request_recovery(ARRAY['\(tokens.joined(separator: "','"))'], 'why', 'T-1')")
        let ben = people.login("ben")
        #expect(
            try people.vault.psql(
                ben,
                "SELECT requester, reason, ticket, item_count, counts, approvals, approvals_needed, state "
                    + "FROM vault.waiting_requests(100) WHERE request = '\(asked)'")
                == #"\#(people.login("ada"))|why|T-1|3|{"ip": 2, "other": 1}|0|1|waiting"#)
        #expect(
            try people.vault.psql(ben, "SELECT item FROM vault.request_items('\(asked)', 0, 2)")
                == tokens[..<2].joined(separator: "\n"))
        #expect(
            try people.vault.psql(ben, "SELECT ordinal, item FROM vault.request_items('\(asked)', 2, 2)")
                == "3|\(tokens[2])")
        let tried = try people.vault.session(
            ben, PolicyVault.takes(asked) + "SELECT * FROM vault.own_request('\(asked)');")
        #expect(tried.states == ["42501", "42501", "42501"])
        for login in [people.login("ada"), "vault_operator", "vault_auditor", "vault_recoverer2"] {
            let refused = try people.vault.session(
                login, "SELECT * FROM vault.waiting_requests(9); SELECT * FROM vault.request_items('\(asked)', 0, 9);")
            #expect(refused.states == ["42501", "42501"])
        }
        #expect(
            try people.vault.session(people.login("gil"), "SELECT * FROM vault.own_request('\(asked)');").states == [
                "TV004"
            ])
    }
}
