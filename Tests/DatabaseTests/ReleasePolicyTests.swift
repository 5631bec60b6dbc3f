import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Policy of recoveries", .serialized)
struct ReleasePolicyTests {
    private static let shared = Result { () throws -> TestVault in
        let vault = try TestVault("dbt_policy")
        try Planted.sow(vault)
        return vault
    }
    private let vault: TestVault

    init() throws {
        vault = try Self.shared.get()
        try setPolicy("0, 1000000, '15 minutes', NULL, NULL")
    }

    private func setPolicy(_ values: String, domain: String = "ip") throws {
        try vault.psql("vault_operator", "SELECT vault.set_policy('\(domain)', \(values))")
    }

    private func request(_ login: String = "vault_recoverer", token: String = Planted.token) throws -> String {
        try vault.psql(login, "SELECT request FROM vault.request_recovery(ARRAY['\(token)'], 'a good reason', 'T-1')")
    }

    private func release(_ request: String) throws -> Finished {
        try vault.session("vault_recoverer", "SELECT * FROM vault.release('\(request)', 0, 10);")
    }

    @Test("A request that needs approval waits for another person's")
    func approval() throws {
        try setPolicy("1, 1000000, '15 minutes', NULL, NULL")
        let asked = try request()
        #expect(try release(asked).states == ["TV002"])
        #expect(
            try vault.psql("vault_approver", "SELECT requester FROM vault.waiting_requests(10)") == "vault_recoverer")
        try vault.psql("vault_approver", "SELECT vault.decide_request('\(asked)', 'approve')")
        #expect(try release(asked).standardOutput.contains(Planted.marker))
        let twice = try vault.session("vault_approver", "SELECT vault.decide_request('\(asked)', 'approve');")
        #expect(twice.states == ["TV001"])
        let events = try vault.psql(
            "vault_auditor", "SELECT actor, action FROM audit.event WHERE object = '\(asked)'")
        #expect(events == "vault_approver|recover.approve")
    }

    @Test("A denial refuses the request, whoever approved it")
    func denial() throws {
        try setPolicy("1, 1000000, '15 minutes', NULL, NULL")
        let asked = try request()
        try vault.psql("vault_admin", "CREATE ROLE policy_approver LOGIN IN ROLE tokenvault_approver")
        try vault.psql("policy_approver", "SELECT vault.decide_request('\(asked)', 'approve')")
        try vault.psql("vault_approver", "SELECT vault.decide_request('\(asked)', 'deny')")
        #expect(try release(asked).states == ["TV001"])
    }

    @Test("Nobody approves their own request, whatever groups they are in")
    func ownRequest() throws {
        try vault.psql("vault_admin", "CREATE ROLE policy_both LOGIN IN ROLE tokenvault_recoverer, tokenvault_approver")
        let asked = try request("policy_both")
        let finished = try vault.session(
            "policy_both",
            "SELECT vault.decide_request('\(asked)', 'approve'); SET ROLE tokenvault_approver; "
                + "SELECT vault.decide_request('\(asked)', 'approve');")
        #expect(finished.states == ["TV001", "TV001"])
    }

    @Test("A request expires by the clock, also in a transaction begun before")
    func expiry() throws {
        try setPolicy("0, 1000000, '1 second', NULL, NULL")
        let asked = try request()
        let finished = try vault.session(
            "vault_recoverer",
            """
            BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT now(); SELECT pg_sleep(1.1);
            SELECT * FROM vault.release('\(asked)', 0, 10); ROLLBACK;
            SELECT * FROM vault.release_data_keys('\(asked)', ARRAY['\(Planted.recoveryKey)']::uuid[]);
            """)
        #expect(finished.states == ["TV003", "TV003"])
        let late = try vault.session("vault_approver", "SELECT vault.decide_request('\(asked)', 'approve');")
        #expect(late.states == ["TV003"])
        try vault.psql("vault_recoverer", "SELECT vault.record_outcome('\(asked)', 'expired')")
    }

    @Test(
        "Two sessions of one person cannot spend the same budget, at any isolation level",
        arguments: [("READ COMMITTED", "TV001"), ("REPEATABLE READ", "40001"), ("SERIALIZABLE", "40001")])
    func budget(level: String, refusal: String) throws {
        let domain = "budget_\(level.lowercased().prefix(3))"
        try setPolicy("0, 3, '15 minutes', NULL, NULL", domain: domain)
        let tokens = (0..<2).map { "'\(domain)_v1_0000000000000000000000000000000\($0)'" }.joined(separator: ",")
        let request = "SELECT vault.request_recovery(ARRAY[\(tokens)], 'budget', 'T');"
        let begin = "BEGIN ISOLATION LEVEL \(level); SELECT 1 FROM vault.policy_list() LIMIT 1; "

        var first = try vault.connect("vault_recoverer")
        try first.runTrustedScript("requesting", begin + request)
        let second = try vault.start("vault_recoverer", "\(begin)\n\(request)\nCOMMIT;")
        #expect(try vault.areWaiting(in: domain))
        _ = try first.commit()
        #expect(second.wait().states == [refusal])
        // Released or not, two of three are spent: a later session gets one more, and no two.
        #expect(try vault.session("vault_recoverer", request).states == ["TV001"])
        #expect(
            try vault.session("vault_recoverer", request.replacing("ARRAY[\(tokens)]", with: "(ARRAY[\(tokens)])[1:1]"))
                .states == [])
        #expect(try vault.session("vault_recoverer2", request).states == [], "another person has a budget of their own")
    }

    @Test("A token under another domain's or version's name gives nothing")
    func otherDomain() throws {
        for token in [
            Planted.token.replacing("ip_v1", with: "free_v1"), Planted.token.replacing("ip_v1", with: "ip_v2"),
            Planted.absent,
        ] {
            let asked = try request(token: token)
            let finished = try vault.session(
                "vault_recoverer",
                """
                SELECT ordinal, token, data_key IS NULL, sealed IS NULL FROM vault.release('\(asked)', 0, 10);
                SELECT * FROM vault.release_data_keys('\(asked)', ARRAY['\(Planted.recoveryKey)']::uuid[]);
                """)
            #expect(finished.standardOutput == "1|\(token)|t|t\n")
        }
    }

    @Test("Only the data keys of the request's own items are released")
    func dataKeys() throws {
        let asked = try request()
        let keys = try vault.psql(
            "vault_recoverer",
            "SELECT id, created_at FROM vault.release_data_keys('\(asked)', ARRAY['\(Planted.recoveryKey)']::uuid[])")
        #expect(keys == "00000000-0000-0000-0000-0000000000d1|1700000000")
    }

    @Test("Reason and ticket must match the policy as a whole")
    func patterns() throws {
        try setPolicy("0, 1000000, '15 minutes', '.{10,}', 'T-[0-9]+|none'")
        for (reason, ticket, state) in [
            ("'long enough'", "'T-1'", nil), ("'long enough'", "'none'", nil), ("'too short'", "'T-1'", "TV001"),
            ("'long enough'", "'T-1x'", "TV001"), ("'long enough'", "E'T-1\\nx'", "TV001"),
            ("'long enough'", "NULL", "TV001"), ("'   '", "'T-1'", "TV020"), ("NULL", "'T-1'", "TV020"),
            ("repeat('x', 1025)", "'T-1'", "TV020"),
        ] {
            let finished = try vault.session(
                "vault_recoverer",
                "SELECT 1 FROM vault.request_recovery(ARRAY['\(Planted.token)'], \(reason), \(ticket));")
            #expect(finished.states == (state.map { [$0] } ?? []), "\(reason) \(ticket)")
        }
    }

    @Test(
        "What is not a token is refused by its place, without being repeated",
        arguments: [
            "'192.0.2.77'", "'ip_v1_0000000000000000000000000000000A'", "'ip_v01_00000000000000000000000000000000'",
            "'a_v1_v2_00000000000000000000000000000000'", "'ip_v9999999999_00000000000000000000000000000000'", "NULL",
            "''", "'ip_v1_000000000000000000000000000000001'",
        ])
    func malformed(token: String) throws {
        let finished = try Command(
            PrivateCluster.psqlProgram,
            [
                "-X", "-q", "-d", vault.cluster.connectionString(user: "vault_recoverer", database: vault.name), "-c",
                "SELECT vault.request_recovery(ARRAY['\(Planted.token)', \(token)], 'r', 't')",
            ]
        ).run()
        #expect(finished.standardError.contains("token 2 is not a token"))
        #expect(!finished.standardError.contains("192.0.2.77"))
    }

    @Test("A request may ask for the same token twice, and is released in pages in the order asked")
    func pages() throws {
        let tokens = [Planted.absent, Planted.token, Planted.token].map { "'\($0)'" }.joined(separator: ",")
        let asked = try vault.psql(
            "vault_recoverer", "SELECT request FROM vault.request_recovery(ARRAY[\(tokens)], 'pages', 'T')")
        let rows = try vault.psql(
            "vault_recoverer",
            "SELECT ordinal, sealed IS NOT NULL FROM vault.release('\(asked)', 0, 2); "
                + "SELECT ordinal, sealed IS NOT NULL FROM vault.release('\(asked)', 2, 2)")
        #expect(rows == "1|f\n2|t\n3|t")
    }
}
