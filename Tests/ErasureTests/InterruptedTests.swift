import Foundation
import TestSupport
import Testing

@Suite("An erasure killed at random moments")
struct InterruptedTests {
    @Test("is gone on with by the same command, and ends as one clean run would")
    func kills() throws {
        let house = try Household("erase_kill")
        defer { house.vault.remove() }
        try house.ingest("many", try LiveVault.records(1_500).split(separator: "\n").map(String.init))
        let tokens = try house.vault.query(
            "SELECT masked_ip FROM public.user_logins WHERE user_id NOT IN ('alice', 'bob')")
        let list = try house.vault.file("tokens", tokens + "\n")
        let arguments = [
            "erase", "--reason", "r", "--ticket", "DPO-19", "--from", list, "--masked-rows", "clear", "--batch-size",
            "20", "--json",
        ]
        var landed = 0
        for turn in 0..<8 {
            let before = try house.count("SELECT count(*) FROM audit.event")
            let run = try house.vault.command("vault_operator", arguments).start()
            if turn % 2 == 1 {  // once it has begun or gone on, however slow the machine is
                try house.vault.wait(for: "a step") {
                    try !run.isRunning || house.count("SELECT count(*) FROM audit.event") > before
                }
            }
            Thread.sleep(forTimeInterval: Double.random(in: 0...0.35))
            run.signal(SIGKILL)
            if run.wait().wasKilled { landed += 1 }
            // The session of a killed client may hold its batch for a moment; whatever it does, rows and originals agree.
            #expect(
                try house.count(
                    """
                    SELECT count(*) FROM public.user_logins WHERE masked_ip IS NOT NULL
                    AND NOT EXISTS (SELECT FROM vault.original WHERE token = right(masked_ip, 32)::uuid)
                    """) == 0)
        }
        #expect(landed >= 3, "only \(landed) kills landed; the erasure is too small to prove anything")
        let last = try house.vault.tokenvault("vault_operator", arguments).succeeded()
        #expect(last.standardOutput.contains("\"rows_cleared\":"))
        #expect(try house.count("SELECT count(*) FROM public.user_logins WHERE masked_ip IS NOT NULL") == 5)
        #expect(try house.count("SELECT count(*) FROM vault.original WHERE domain = 'ip'") == 3)
        #expect(try house.count("SELECT count(*) FROM vault.erasure WHERE state <> 'finished'") == 0)
        #expect(try house.count("SELECT count(*) FROM vault.erasure_item") == 0)
        #expect(try house.count("SELECT count(*) FROM audit.event WHERE action = 'erase.resume'") >= 1)
        // Once for each erasure: a kill that lands when all is done lets the next run begin another, of absent tokens.
        let begun = try house.count("SELECT count(*) FROM vault.erasure")
        #expect(try house.count("SELECT count(*) FROM audit.event WHERE action = 'erase.request'") == begun * 1_501)
    }

    @Test("of a user is known again by the same user id, and refused under other options")
    func user() throws {
        let house = try Household("erase_halfway")
        defer { house.vault.remove() }
        // As a kill between two steps leaves it.
        try house.vault.cluster.psql(
            user: "vault_operator", database: house.vault.database,
            """
            SELECT id FROM vault.begin_erasure('00000000-0000-0000-0000-00000000000e', NULL, 'alice', 'delete', 'keep', 'r', 't', false);
            SELECT * FROM vault.erase_batch('00000000-0000-0000-0000-00000000000e', 'alice', 1);
            """)
        let other = try house.erase(["--masked-rows", "clear"], user: "alice")
        #expect(other.status == 77 && other.standardError.contains("begun with masked rows delete"))
        #expect(try house.erase(["--masked-rows", "delete", "--shared", "erase"], user: "alice").status == 77)
        #expect(
            try house.count(
                "SELECT count(*) FROM vault.erasure WHERE subject = sha256(uuid_send(id) || convert_to('user:alice', 'UTF8'))"
            ) == 1, "whoever reads the subject must not find the user by one table of hashes")
        let warned = try house.erase(["--dry-run"], user: "bob").succeeded()
        #expect(warned.standardError.contains("another erasure is unfinished"))
        #expect(
            throws: (any Error).self,
            "another user's rows may not go by this erasure"
        ) {
            try house.vault.cluster.psql(
                user: "vault_operator", database: house.vault.database,
                "SELECT vault.erase_user_rows('00000000-0000-0000-0000-00000000000e', 'bob')")
        }
        let done = try house.erase(["--masked-rows", "delete", "--json"], user: "alice").succeeded()
        #expect(done.standardOutput.contains("\"resumed\":true"))
        #expect(done.standardOutput.contains("\"originals\":2,"))
        #expect(try house.count("SELECT count(*) FROM public.user_logins WHERE user_id = 'alice'") == 0)
        #expect(try house.count("SELECT count(*) FROM public.user_logins WHERE user_id = 'bob'") == 2)
        #expect(try house.vault.query("SELECT subject FROM vault.erasure").isEmpty)
    }
}
