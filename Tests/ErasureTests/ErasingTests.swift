import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Erasing")
struct ErasingTests {
    @Test("a user removes what only that user has, keeps and names what others have, and never says who it is")
    func user() throws {
        let house = try Household("erase_user")
        defer { house.vault.remove() }
        let (own, shared) = (try house.token(Household.alone), try house.token(Household.together))
        let before = try house.fingerprint()
        let dry = try house.erase(["--dry-run", "--json"], user: "alice").succeeded()
        #expect(try house.fingerprint() == before, "a dry run has changed something")
        #expect(
            dry.standardOutput.contains("{\"token\":\"\(own)\",\"outcome\":\"to_erase\",\"rows\":2,\"other_users\":0}"))
        #expect(
            dry.standardOutput.contains("{\"token\":\"\(shared)\",\"outcome\":\"kept\",\"rows\":2,\"other_users\":1}"))

        let done = try house.erase(["--json"], user: "alice").succeeded()
        #expect(done.standardOutput.contains("{\"token\":\"\(own)\",\"outcome\":\"erased\""))
        #expect(done.standardOutput.contains("{\"token\":\"\(shared)\",\"outcome\":\"kept\""))
        #expect(done.standardOutput.contains("\"originals\":2,"))
        #expect(done.standardError.contains("audit receipt:"))
        let gone = try house.recover(own)
        #expect(gone.status == 1 && gone.standardError.contains("erased"), "\(gone.standardError)")
        #expect(try house.recover(shared).standardOutput == "\(shared)\t\(Household.together)\n")
        #expect(try house.count("SELECT count(*) FROM public.user_logins WHERE masked_ip = '\(own)'") == 2)
        #expect(try house.count("SELECT count(*) FROM vault.erased_token") == 2)
        #expect(try house.count("SELECT count(*) FROM vault.erasure_item") == 0)

        let said =
            dry.standardOutput + dry.standardError + done.standardOutput + done.standardError
            + (try house.vault.query("SELECT event::text FROM audit.event AS event"))
            + (try house.vault.query("SELECT erasure::text FROM vault.erasure AS erasure"))
        #expect(!said.contains("alice"))
        #expect(!said.contains("ip_net_v"), "networks have no originals, and go with their rows")
        for action in ["erase.begin", "erase.request", "erase.end"] { #expect(said.contains(action)) }
        #expect(said.contains("erase.plan"))

        // Nothing is left to do, and saying it twice does nothing twice.
        let again = try house.erase(["--json"], user: "alice").succeeded()
        #expect(again.standardOutput.contains("\"originals\":0,"))
    }

    @Test(
        "a user's rows are cleared of every token and network, or deleted; other users' rows stay",
        arguments: ["clear", "delete"])
    func rows(_ mode: String) throws {
        let house = try Household("erase_rows_\(mode)")
        defer { house.vault.remove() }
        let others =
            "SELECT string_agg(login::text, '+' ORDER BY login::text) FROM public.user_logins AS login WHERE user_id <> 'alice'"
        let before = try house.vault.query(others)
        try house.erase(["--masked-rows", mode], user: "alice").succeeded()
        #expect(try house.vault.query(others) == before)
        #expect(
            try house.vault.query(
                "SELECT count(*), count(masked_ip), count(masked_device_id), count(masked_ip_net), count(locale) FROM public.user_logins WHERE user_id = 'alice'"
            ) == (mode == "clear" ? "3|0|0|0|3" : "0|0|0|0|0"))
        #expect(
            try house.vault.query("SELECT rows_cleared, rows_deleted FROM vault.erasure")
                == (mode == "clear" ? "3|0" : "0|3"), "each row counts once")
        #expect(try house.danglingTokens() == 0)
        #expect(try house.count("SELECT count(*) FROM vault.original") == 6)
        try house.erase(["--masked-rows", mode], user: "alice").succeeded()
        #expect(
            try house.vault.query("SELECT sum(rows_cleared), sum(rows_deleted) FROM vault.erasure")
                == (mode == "clear" ? "3|0" : "0|3"), "an empty row counts again")
    }

    @Test("shared values too, when told so: others' rows are cleared of them, never deleted")
    func sharedToo() throws {
        let house = try Household("erase_shared")
        defer { house.vault.remove() }
        try house.erase(["--masked-rows", "delete", "--shared", "erase"], user: "alice").succeeded()
        #expect(try house.count("SELECT count(*) FROM public.user_logins WHERE user_id = 'bob'") == 2)
        #expect(
            try house.vault.query(
                "SELECT count(masked_ip), count(masked_device_id), count(masked_ip_net) FROM public.user_logins WHERE user_id = 'bob'"
            ) == "1|1|1")
        #expect(try house.danglingTokens() == 0)
        #expect(try house.count("SELECT count(*) FROM vault.original") == 4)
    }

    @Test("a token keeps it while two users have it, and clears or deletes only rows that hold it")
    func tokens() throws {
        let house = try Household("erase_tokens")
        defer { house.vault.remove() }
        let shared = try house.token(Household.together)
        let own = try house.token(Household.alone)
        let absent = "ip_v1_000000000000000000000000000000ab"
        let kept = try house.erase([shared, absent]).succeeded()
        #expect(kept.standardOutput.contains("kept"))
        #expect(kept.standardOutput.contains("absent"))
        #expect(try house.recover(shared).status == 0)

        let list = try house.vault.file("tokens", "\(shared)\n\(own)\n")
        let report = try house.erase(["--from", list, "--shared", "erase", "--masked-rows", "clear"]).succeeded()
        #expect(report.standardOutput.contains(#/rows cleared +4/#))
        #expect(
            try house.count("SELECT count(*) FROM public.user_logins WHERE masked_ip IN ('\(shared)', '\(own)')") == 0)
        // The address went from four rows, with its network; devices stay.
        #expect(
            try house.vault.query(
                "SELECT count(masked_ip), count(masked_ip_net), count(masked_device_id) FROM public.user_logins")
                == "2|2|6")
        let device = try house.token("PHONE-C", "device_id")
        try house.erase([device, "--masked-rows", "delete"]).succeeded()
        #expect(try house.count("SELECT count(*) FROM public.user_logins WHERE user_id = 'carol'") == 0)
        #expect(try house.danglingTokens() == 0)
    }

    @Test("leaves what it erased in the places it names, and nowhere else on the disk")
    func search() throws {
        let house = try Household("erase_search")
        defer { house.vault.remove() }
        let token = try house.token(Household.alone)
        #expect(try house.places(of: token) == ["public.user_logins", "vault.original"])
        let (sealed, seal) = (
            try house.vault.query(
                "SELECT encode(sealed, 'hex') FROM vault.original WHERE token = '\(token.suffix(32))'"),
            try house.vault.query("SELECT encode(sealed, 'hex') FROM vault.data_key_seal LIMIT 1")
        )
        #expect(sealed.count > 100 && seal.count > 100)
        try house.erase(["--masked-rows", "delete"], user: "alice").succeeded()
        #expect(try house.places(of: token) == ["audit.event", "vault.erased_token"])

        _ = try house.vault.query("CHECKPOINT")
        #expect(try house.relationsOnDisk(holding: token).contains("vault.original"), "the search finds nothing at all")
        let rest = try house.vault.query("SELECT string_agg(token::text, ' ') FROM vault.original").split(
            separator: " ")
        let domains = try house.vault.query(
            "SELECT string_agg(domain || '_v1_' || replace(token::text, '-', ''), E'\\n') FROM vault.original")
        try house.erase(["--from", try house.vault.file("rest", domains), "--shared", "erase"]).succeeded()
        #expect(rest.count == 6)
        #expect(try house.count("SELECT count(*) FROM vault.data_key_seal") == 0)

        // On the disk as well: rewrite what held it, as the runbook says, and in its words.
        _ = try house.vault.query("CHECKPOINT")
        #expect(try house.relationsOnDisk(holding: [Household.bytes(sealed)]) == ["vault.original"])
        #expect(try house.relationsOnDisk(holding: [Household.bytes(seal)]) == ["vault.data_key_seal"])
        let rewrites = try Household.runbookRewrites()
        #expect(rewrites.count >= 6)
        for rewrite in rewrites {
            try house.vault.waitForOlderTransactions()
            _ = try house.vault.query(rewrite)
        }
        _ = try house.vault.query("CHECKPOINT")
        let names = try house.relationsOnDisk(holding: token)
        #expect(names == ["audit.event", "vault.erased_token", "vault.erased_token_pkey"])
        for gone in [sealed, seal] {
            #expect(try house.relationsOnDisk(holding: [Household.bytes(gone), Data(gone.utf8)]).isEmpty)
        }
        let value = Data(Household.alone.utf8)
        #expect(try house.relationsOnDisk(holding: [value]).isEmpty)
    }

    @Test(
        "while a request for the value waits: the approval is worth nothing afterwards, unless the value comes in again"
    )
    func openRequest() throws {
        let house = try Household("erase_request")
        defer { house.vault.remove() }
        let token = try house.token(Household.alone)
        try house.vault.tokenvault("vault_operator", ["policy", "set", "--domain", "ip", "--approvals", "1"])
            .succeeded()
        let asked = try house.vault.tokenvault(
            "vault_recoverer", ["recover", "--reason", "r", "--ticket", "T-1", "--json", token])
        let id = try #require(asked.standardOutput.firstMatch(of: #/"request":"([0-9a-f]{32})"/#)).1
        try house.vault.tokenvault("vault_approver", ["approvals", "approve", String(id)]).succeeded()
        let report = try house.erase([token]).succeeded()
        #expect(report.standardOutput.contains("requests to recover: 1 of them"))
        let finished = try house.vault.tokenvault("vault_recoverer", ["recover", "--json", "--request", String(id)])
        #expect(finished.status == 1)
        #expect(finished.standardOutput == "{\"token\":\"\(token)\",\"value\":null,\"state\":\"erased\"}\n")
        #expect(!finished.standardError.contains(Household.alone))
        // The data keys that the request still names open nothing either.
        #expect(
            try house.vault.cluster.psql(
                user: "vault_recoverer", database: house.vault.database,
                "SELECT count(*) FROM vault.release('\(id)', 0, 9) WHERE sealed IS NOT NULL") == "0")
        try house.ingest("again", [Household.record("dave", Household.alone, "PHONE-D")])
        let back = try house.vault.tokenvault("vault_recoverer", ["recover", "--request", String(id)]).succeeded()
        #expect(back.standardOutput == "\(token)\t\(Household.alone)\n")
    }

    @Test("says until when backups hold it, from the configuration, and what it does not know")
    func receipt() throws {
        let house = try Household("erase_receipt")
        defer { house.vault.remove() }
        let bad = try house.vault.file("bad.ndjson", "{\"user_id\": \"alice\", \"ip\": \"1.2.3.4/8\"}\n")
        #expect(try house.vault.tokenvault("vault_ingest", ["ingest", bad]).status == 3)
        let token = try house.token(Household.alone)
        let unknown = try house.erase(["--dry-run", token]).succeeded()
        #expect(unknown.standardOutput.contains("backups: unknown until when; set backup_retention_days"))
        #expect(unknown.standardOutput.contains("quarantine: 1 sealed records cannot be searched"))
        let known = try house.vault.tokenvault(
            "vault_operator", ["erase", "--reason", "r", "--ticket", "t", token],
            environment: ["TOKENVAULT_BACKUP_RETENTION_DAYS": "30"]
        ).succeeded()
        let day = String(Date(timeIntervalSinceNow: 31 * 86_400).formatted(.iso8601).prefix(10))
        #expect(known.standardOutput.contains("backups: until \(day)"))
        let wrong = try house.vault.tokenvault(
            "vault_operator", ["erase", "--reason", "r", "--ticket", "t", token],
            environment: ["TOKENVAULT_BACKUP_RETENTION_DAYS": "a month"])
        #expect(wrong.status == 78)

        // The record that the receipt could not search still opens: its data key was not dropped with those of the originals.
        let id = try house.vault.query("SELECT id FROM vault.quarantine")
        let shown = try house.vault.tokenvault(
            "vault_operator", ["quarantine", "show", "--reason", "r", "--ticket", "t", id]
        ).succeeded()
        #expect(shown.standardOutput.contains("1.2.3.4/8"))
        // What the receipt advises: discarding deletes the sealed record.
        try house.vault.tokenvault("vault_operator", ["quarantine", "discard", "--reason", "erasure", id]).succeeded()
        #expect(try house.erase(["--dry-run", token]).standardOutput.contains("quarantine:") == false)
    }

    @Test("is for the operator alone, and asks for one subject, a reason and a ticket")
    func refusals() throws {
        let house = try Household("erase_refusals")
        defer { house.vault.remove() }
        let token = try house.token(Household.alone)
        let before = try house.fingerprint()
        for login in [
            "vault_ingest", "vault_recoverer", "vault_approver", "vault_auditor", "vault_analyst", "vault_nobody",
        ] {
            let refused = try house.erase([token], as: login)
            #expect(refused.status == 77, "\(login): \(refused.standardError)")
            let expiry = try house.vault.tokenvault(login, ["expire", "--older-than", "1"])
            #expect(expiry.status == 77, "\(login): \(expiry.standardError)")
        }
        #expect(try house.erase([]).status == 64)
        #expect(try house.erase([token], user: "alice").status == 64)
        #expect(try house.erase(["--masked-rows", "shred", token]).status == 64)
        let malformed = try house.erase(["192.0.2.1"])
        #expect(malformed.status == 64 && !malformed.standardError.contains("192.0.2.1"))
        #expect(try house.vault.tokenvault("vault_operator", ["erase", token]).status == 64)
        #expect(try house.fingerprint() == before)
    }

    @Test("refuses, in the database, what the program never asks for, and each step out of its turn")
    func steps() throws {
        let house = try Household("erase_steps")
        defer { house.vault.remove() }
        let token = try house.token(Household.alone)
        let id = "00000000-0000-0000-0000-0000000000ee"
        func state(_ call: String) throws -> String? {
            var session = try house.vault.cluster.connect(user: "vault_operator", database: house.vault.database)
            do { try session.runTrustedScript("trying", "SELECT * FROM vault.\(call)") } catch {
                return error.state?.code
            }
            return nil
        }
        let before = try house.fingerprint()
        let tokens = "ARRAY['\(token)'], NULL"
        for arguments in [
            "NULL, \(tokens), 'keep', 'keep', 'r', 't'", "'\(id)', \(tokens), 'burn', 'keep', 'r', 't'",
            "'\(id)', \(tokens), NULL, 'keep', 'r', 't'", "'\(id)', \(tokens), 'keep', 'all', 'r', 't'",
            "'\(id)', \(tokens), 'keep', NULL, 'r', 't'", "'\(id)', NULL, NULL, 'keep', 'keep', 'r', 't'",
            "'\(id)', ARRAY['\(token)'], 'alice', 'keep', 'keep', 'r', 't'",
            "'\(id)', \(tokens), 'keep', 'keep', NULL, 't'", "'\(id)', \(tokens), 'keep', 'keep', 'r', NULL",
            "'\(id)', \(tokens), 'keep', 'keep', ' ', 't'", "'\(id)', ARRAY[]::text[], NULL, 'keep', 'keep', 'r', 't'",
            "'\(id)', ARRAY['192.0.2.1'], NULL, 'keep', 'keep', 'r', 't'",
            "'\(id)', ARRAY[NULL]::text[], NULL, 'keep', 'keep', 'r', 't'",
            "'\(id)', NULL, repeat('u', 129), 'keep', 'keep', 'r', 't'",
            "'\(id)', ARRAY[ARRAY['\(token)']], NULL, 'keep', 'keep', 'r', 't'",
            "'\(id)', array_fill('\(token)'::text, '{100001}'), NULL, 'keep', 'keep', 'r', 't'",
        ] { #expect(try state("begin_erasure(\(arguments), false)") == "TV020", "\(arguments)") }
        for arguments in [
            "NULL, 'ip', '2020-01-01', 'r'", "'\(id)', 'IP', '2020-01-01', 'r'", "'\(id)', 'ip', NULL, 'r'",
            "'\(id)', 'ip', '2999-01-01', 'r'", "'\(id)', 'ip', '2020-01-01', NULL",
        ] { #expect(try state("begin_expiry(\(arguments), NULL, false)") == "TV020", "\(arguments)") }
        for plan in [
            "'drop', 'r', 't', 'o'", "NULL, 'r', 't', 'o'", "'erase', ' ', 't', 'o'", "'erase', 'r', 't', ' '",
        ] {
            #expect(try state("record_erasure_plan(\(plan))") == "TV020", "\(plan)")
        }
        for step in [
            "erase_batch('\(id)', NULL, 9)", "erase_user_rows('\(id)', NULL)", "finish_erasure('\(id)', NULL)",
        ] {
            #expect(try state(step) == "TV004")
        }
        #expect(try house.fingerprint() == before)

        #expect(try state("begin_erasure('\(id)', \(tokens), 'keep', 'keep', 'r', 't', false)") == nil)
        #expect(try state("finish_erasure('\(id)', NULL)") == "TV001", "with a token to go")
        #expect(try state("erase_batch('\(id)', NULL, 9)") == nil)
        // Of two that end it at once, one does.
        var first = try house.vault.cluster.connect(user: "vault_operator", database: house.vault.database)
        try first.runTrustedScript("ending it", "BEGIN; SELECT * FROM vault.finish_erasure('\(id)', NULL)")
        let second = try Command(
            PrivateCluster.psqlProgram,
            [
                "-X", "-v", "VERBOSITY=sqlstate", "-c", "SELECT * FROM vault.finish_erasure('\(id)', NULL)", "-d",
                house.vault.cluster.connectionString(user: "vault_operator", database: house.vault.database),
            ]
        ).start()
        let waiters =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        for _ in 0..<200 where try house.count(waiters) == 0 { usleep(25_000) }
        _ = try first.commit()
        #expect(second.wait().standardError.contains("TV004"))
        #expect(try house.count("SELECT count(*) FROM audit.event WHERE action = 'erase.end'") == 1)
        _ = try house.vault.query("DELETE FROM vault.erasure")

        #expect(try state("begin_erasure('\(id)', NULL, 'alice', 'delete', 'keep', 'r', 't', false)") == nil)
        #expect(try state("finish_erasure('\(id)', 'alice')") == "TV001", "with tokens to go")
        for step in [
            "erase_batch('\(id)', 'bob', 9)", "erase_user_rows('\(id)', 'bob')", "finish_erasure('\(id)', NULL)",
        ] {
            #expect(try state(step) == "TV001", "for somebody else")
        }
        #expect(try state("erase_batch('\(id)', 'alice', 9)") == nil)
        #expect(try state("finish_erasure('\(id)', 'alice')") == "TV001", "with rows to go")
        #expect(try state("erase_user_rows('\(id)', 'alice')") == nil)
        #expect(try state("finish_erasure('\(id)', 'alice')") == nil)
        #expect(try state("finish_erasure('\(id)', 'alice')") == "TV004", "twice")
        #expect(try house.count("SELECT count(*) FROM public.user_logins WHERE user_id = 'alice'") == 0)
    }

    @Test("drops the data keys that nothing uses, but not one that a rotation under way is about to use")
    func rotationsKeys() throws {
        let house = try Household("erase_keys")
        defer { house.vault.remove() }
        // As a rotation of data keys that has made its first key and stored no value yet.
        _ = try house.vault.query(
            """
            INSERT INTO vault.rotation (id, kind) VALUES ('00000000-0000-0000-0000-0000000000d0', 'data-keys');
            INSERT INTO vault.data_key (id, domain, run, signing_key, created_at, commitment, signature)
            SELECT fresh.id, key.domain, fresh.run, key.signing_key, key.created_at, key.commitment, key.signature
            FROM (SELECT * FROM vault.data_key LIMIT 1) AS key
            CROSS JOIN (VALUES ('00000000-0000-0000-0000-0000000000d1'::uuid, '00000000-0000-0000-0000-0000000000d0'::uuid),
                               ('00000000-0000-0000-0000-0000000000d2', NULL)) AS fresh (id, run);
            """)
        let standing = "SELECT right(id::text, 2) FROM vault.data_key WHERE id::text LIKE '00000000-%' ORDER BY 1"
        try house.erase([try house.token(Household.alone)]).succeeded()
        #expect(try house.vault.query(standing) == "d1")
        #expect(try house.count("SELECT count(*) FROM vault.data_key") == 3)
        _ = try house.vault.query("UPDATE vault.rotation SET state = 'finished'")
        try house.erase([try house.token(Household.bobs)]).succeeded()
        #expect(try house.vault.query(standing) == "")
        #expect(try house.recover(try house.token(Household.together)).status == 0)
    }

    @Test("keeps a value that another user brought in after it began, and says so")
    func sharedSince() throws {
        let house = try Household("erase_since")
        defer { house.vault.remove() }
        let token = try house.token(Household.alone)
        func step(_ call: String) throws -> String {
            try house.vault.cluster.psql(
                user: "vault_operator", database: house.vault.database, "SELECT * FROM vault.\(call)")
        }
        for (id, subject, user) in [("e1", "ARRAY['\(token)'], NULL", "NULL"), ("e2", "NULL, 'alice'", "'alice'")] {
            let id = "00000000-0000-0000-0000-0000000000\(id)"
            _ = try step("begin_erasure('\(id)', \(subject), 'clear', 'keep', 'r', 't', false)")
            if user == "NULL" { try house.ingest("since", [Household.record("zoe", Household.alone, "NEW")]) }
            _ = try step("erase_batch('\(id)', \(user), 100)")
            #expect(
                try house.vault.query(
                    "SELECT state FROM vault.erasure_item WHERE erasure = '\(id)' AND token = '\(token)'")
                    == "kept")
            if user != "NULL" { _ = try step("erase_user_rows('\(id)', \(user))") }
            _ = try step("finish_erasure('\(id)', \(user))")
        }
        #expect(try house.recover(token).standardOutput == "\(token)\t\(Household.alone)\n")
        #expect(try house.count("SELECT count(*) FROM public.user_logins WHERE masked_ip = '\(token)'") == 1)
    }

    @Test("reaches registered columns of other tables, and asks for what it may not do there")
    func registered() throws {
        let house = try Household("erase_registered")
        defer { house.vault.remove() }
        _ = try house.vault.query(
            """
            CREATE TABLE public.report (day date, address_token text NOT NULL);
            INSERT INTO public.report SELECT current_date, masked_ip FROM public.user_logins;
            GRANT SELECT, UPDATE ON public.report TO tokenvault_owner;
            """)
        try house.vault.cluster.psql(
            user: "vault_operator", database: house.vault.database,
            "SELECT vault.register_masked_column('public.report', 'address_token', 'ip')")
        let delete = try house.erase(["--masked-rows", "delete"], user: "alice")
        #expect(delete.status == 77 && delete.standardError.contains("may not delete from public.report"))
        let clear = try house.erase(["--masked-rows", "clear"], user: "alice")
        #expect(clear.status == 77 && clear.standardError.contains("may not be NULL"))
        _ = try house.vault.query("ALTER TABLE public.report ALTER address_token DROP NOT NULL")
        try house.erase(["--masked-rows", "clear"], user: "alice").succeeded()
        // Without a user id, only rows of values that nobody else has are known to be this user's.
        #expect(try house.vault.query("SELECT count(*), count(address_token) FROM public.report") == "6|4")
        #expect(try house.danglingTokens() == 0)
    }

    @Test("works on an adopted table of the exercise, without a network column")
    func adopted() throws {
        let cluster = try PrivateCluster.shared.get()
        try cluster.makeDatabase("erase_adopted")
        try cluster.psql(
            user: "vault_admin", database: "erase_adopted",
            """
            CREATE TABLE public.user_logins (user_id varchar(128), device_type varchar(32), masked_ip varchar(256),
                masked_device_id varchar(256), locale varchar(32), app_version integer, create_date date);
            INSERT INTO public.user_logins VALUES ('alice', 'ios', 'an old mask', 'another', NULL, 2003000, '2026-01-02');
            """)
        let vault = try LiveVault(adopting: "erase_adopted", on: cluster)
        defer { vault.remove() }
        try vault.tokenvault("vault_admin", ["database", "create-roles"]).succeeded()
        try vault.tokenvault("vault_admin", ["database", "migrate"]).succeeded()
        try cluster.makeLogins()
        try vault.tokenvault("vault_operator", ["keys", "generate"]).succeeded()
        let file = try vault.file("a.ndjson", Household.records.joined(separator: "\n") + "\n")
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        try vault.tokenvault("vault_admin", ["database", "verify"]).succeeded()
        let clear = ["erase", "--reason", "r", "--ticket", "t", "--user-id", "alice", "--masked-rows"]
        try vault.tokenvault("vault_operator", clear + ["clear"]).succeeded()
        #expect(
            try vault.query("SELECT count(*), count(masked_ip) FROM public.user_logins WHERE user_id = 'alice'")
                == "4|0")
        try vault.tokenvault("vault_operator", clear + ["delete"]).succeeded()
        #expect(try vault.query("SELECT count(*) FROM public.user_logins WHERE user_id = 'alice'") == "0")
        #expect(try vault.query("SELECT count(*) FROM public.user_logins") == "3")
    }
}
