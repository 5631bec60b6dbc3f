import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Erasing and rotations of the token key")
struct RotationTests {
    private func activateSecondKey(_ house: Household) throws {
        try house.vault.tokenvault("vault_operator", ["keys", "add", "token"]).succeeded()
        try house.vault.tokenvault("vault_operator", ["keys", "activate", "token-v2"]).succeeded()
    }

    private func rotate(_ house: Household, _ arguments: String...) throws -> Finished {
        try house.vault.tokenvault("vault_operator", ["rotate", "token-key"] + arguments)
    }

    private func finish(_ house: Household) throws {
        try rotate(house, "run").succeeded()
        try rotate(house, "verify").succeeded()
        try rotate(house, "retire").succeeded()
        try house.vault.tokenvault(
            "vault_operator", ["keys", "destroy", "token-v1", "--confirm", "token-v1", "--forget-ledger"]
        ).succeeded()
    }

    /// A rotation that was killed when it had put new originals beside all old ones, and moved no row.
    private func beginAndKill(_ house: Household) throws {
        var holder = try house.vault.cluster.connect(user: "postgres", database: house.vault.database)
        try holder.runTrustedScript(
            "keeping rows where they are", "BEGIN; LOCK TABLE public.user_logins IN EXCLUSIVE MODE")
        let run = try house.vault.command("vault_operator", ["rotate", "token-key", "run"]).start()
        let moving =
            "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database() AND strpos(query, 'move_rows') > 0 AND pid <> pg_backend_pid()"
        for _ in 0..<400 where try house.count("SELECT count(*) \(moving)") == 0 { usleep(25_000) }
        run.signal(SIGKILL)
        _ = run.wait()
        _ = try house.vault.query("SELECT pg_terminate_backend(pid) \(moving)")
        try holder.runTrustedScript("letting them go", "ROLLBACK")
    }

    @Test("Before its rows have moved, a value goes under both tokens, with the pair", arguments: ["clear", "keep"])
    func before(_ mode: String) throws {
        let house = try Household("erase_rot_\(mode)")
        defer { house.vault.remove() }
        let old = try house.token(Household.alone)
        try activateSecondKey(house)
        try beginAndKill(house)
        #expect(try house.count("SELECT count(*) FROM vault.original") == 16)
        let new = try house.vault.query("SELECT new_token FROM vault.token_pair WHERE old_token = '\(old)'")
        #expect(new.hasPrefix("ip_v2_"))
        let report = try house.erase(["--masked-rows", mode, old]).succeeded()
        #expect(report.standardOutput.contains(old))
        #expect(report.standardOutput.contains(new))
        for token in [old, new] { #expect(try house.recover(token).status == 1) }
        if mode == "clear" {
            #expect(
                try house.count("SELECT count(*) FROM vault.token_pair WHERE '\(old)' IN (old_token, new_token)")
                    == 0)
        }
        try finish(house)
        for token in [old, new] { #expect(try house.recover(token).status == 1) }
        let holding = "SELECT count(*) FROM public.user_logins WHERE masked_ip IN ('\(old)', '\(new)')"
        #expect(try house.count(holding) == (mode == "clear" ? 0 : 2))
        // A group whose rows were kept is whole: they moved by the pair, which then went.
        #expect(try house.count("SELECT count(*) FROM public.user_logins WHERE masked_ip = '\(old)'") == 0)
        #expect(try house.count("SELECT count(*) FROM vault.token_pair") == 0)
    }

    @Test(
        "After its rows have moved and before the old key is retired, a value goes with its pair; verify allows for it")
    func after() throws {
        let house = try Household("erase_rot_after")
        defer { house.vault.remove() }
        let old = try house.token(Household.alone)
        try activateSecondKey(house)
        try rotate(house, "run").succeeded()
        let new = try house.vault.query("SELECT new_token FROM vault.token_pair WHERE old_token = '\(old)'")
        try house.erase([old]).succeeded()
        #expect(try house.recover(new).status == 1)
        #expect(try house.count("SELECT count(*) FROM vault.token_pair WHERE new_token = '\(new)'") == 0)
        try finish(house)
        #expect(try house.count("SELECT count(*) FROM public.user_logins WHERE masked_ip = '\(new)'") == 2)
    }

    @Test("While pages go through, no erased value comes back by the page in hand")
    func during() throws {
        let house = try Household("erase_rot_during")
        defer { house.vault.remove() }
        try house.ingest("many", try LiveVault.records(400).split(separator: "\n").map(String.init))
        let tokens = try house.vault.query("SELECT DISTINCT masked_ip FROM public.user_logins ORDER BY 1").split(
            separator: "\n")
        try activateSecondKey(house)
        let run = try house.vault.command(
            "vault_operator", ["rotate", "token-key", "run", "--page-size", "20", "--throttle", "200"]
        ).start()
        var erased: [String] = []
        for token in tokens.reversed().prefix(25) where run.isRunning {
            try house.erase(["--masked-rows", "clear", "--shared", "erase", String(token)]).succeeded()
            erased.append(String(token))
        }
        let finished = run.wait()
        #expect([0, 75].contains(finished.status), "\(finished.standardError)")
        #expect(erased.count >= 5)
        let names = erased.map { "'\($0)'" }.joined(separator: ",")
        #expect(
            try house.count("SELECT count(*) FROM vault.token_pair WHERE old_token IN (\(names))") == 0,
            "a pair of an erased value came back")
        try finish(house)
        #expect(try house.danglingTokens() == 0)
        // 406 addresses and devices less what was erased, nothing beside.
        #expect(
            try house.count("SELECT count(*) FROM vault.original WHERE domain = 'ip'") == tokens.count - erased.count)
    }

    @Test("A page that was read before an erasure cannot be stored after it")
    func page() throws {
        let house = try Household("erase_rot_page")
        defer { house.vault.remove() }
        let token = try house.token(Household.alone)
        let bits = token.suffix(32)
        try activateSecondKey(house)
        var rotating = try house.vault.cluster.connect(user: "vault_operator", database: house.vault.database)
        try rotating.runTrustedScript(
            "beginning a rotation",
            "SELECT * FROM vault.begin_rotation('00000000-0000-0000-0000-00000000000f', 'token-key', 2, NULL)")
        let store = """
            SELECT vault.store_successors('00000000-0000-0000-0000-00000000000f', ARRAY['(0,1)']::tid[], ARRAY['\(bits)']::uuid[],
                ARRAY[gen_random_uuid()], ARRAY['ip'], ARRAY[1], ARRAY[0], ARRAY[gen_random_uuid()],
                ARRAY[decode(repeat('00', 60), 'hex')], '{}', '{}', '{}', '{}', '{}')
            """
        try house.erase([token]).succeeded()
        // Its original is gone; and had the page been stored just before, the cursor no longer stands where it began.
        let pass = """
            SELECT vault.pass_originals('00000000-0000-0000-0000-00000000000f', NULL,
                                        '00000000-0000-0000-0000-000000000001', 1, gen_random_uuid())
            """
        for script in [store, pass] {
            var refusal: String?
            do { try rotating.runTrustedScript("storing the page", script) } catch { refusal = error.state?.code }
            #expect(refusal == "TV010", "\(script)")
        }
        #expect(try house.places(of: token) == ["audit.event", "public.user_logins", "vault.erased_token"])
    }

    @Test("Rows of values erased before it began need no key: the old one can be retired and destroyed")
    func earlier() throws {
        let house = try Household("erase_rot_earlier")
        defer { house.vault.remove() }
        let old = try house.token(Household.alone)
        try house.erase([old]).succeeded()
        try activateSecondKey(house)
        try finish(house)
        #expect(try house.count("SELECT count(*) FROM public.user_logins WHERE masked_ip = '\(old)'") == 2)
        #expect(
            try house.vault.query("SELECT logins FROM public.duplicate_ips WHERE token = '\(old)'") == "2",
            "its duplicates are no longer to be seen")
        let census = try house.vault.tokenvault("vault_operator", ["rotate", "token-key", "status"]).succeeded()
        #expect(census.standardOutput.contains("erased row"))
    }
}
