import Foundation
import TestSupport
import Testing

@Suite("Rotations refuse, and leave everything whole")
struct RefusalTests {
    private func vault(_ name: String) throws -> LiveVault {
        let vault = try LiveVault("refusal_\(name)")
        let file = try vault.file(
            "logins.ndjson", try LiveVault.records(200, ["--addresses", "30", "--devices", "30"]))
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        return vault
    }

    private func activateSecond(_ vault: LiveVault) throws {
        try vault.tokenvault("vault_operator", ["keys", "add", "token"]).succeeded()
        try vault.tokenvault("vault_operator", ["keys", "activate", "token-v2"]).succeeded()
    }

    @Test("A wrong passphrase is 65 and changes nothing")
    func wrongPassphrase() throws {
        let vault = try vault("passphrase")
        defer { vault.remove() }
        try activateSecond(vault)
        let wrong = try vault.file("wrong", "no\n")
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: wrong)
        let finished = try vault.tokenvault(
            "vault_operator", ["rotate", "token-key", "run"], environment: ["TOKENVAULT_PASSPHRASE_FILE": wrong])
        #expect(finished.status == 65)
        #expect(finished.standardError.contains("passphrase"))
        #expect(try vault.query("SELECT count(*) FROM vault.rotation") == "0")
    }

    @Test("An ingest keyring without the old key is 78 and names it; with the right one the rotation goes on")
    func oldKeyMissing() throws {
        let vault = try vault("old_key_gone")
        defer { vault.remove() }
        try activateSecond(vault)
        let cut = try keyring(of: vault, named: "cut") { $0.hasPrefix("    {\"version\": 1,") ? nil : $0 }
        let finished = try vault.tokenvault(
            "vault_operator", ["rotate", "token-key", "run"], environment: ["TOKENVAULT_INGEST_KEYRING": cut])
        #expect(finished.status == 78, "\(finished.standardError)")
        #expect(finished.standardError.contains("the ingest keyring has no token key v1"))
        #expect(try vault.query("SELECT count(*) FROM vault.original WHERE token_version <> 1") == "0")
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"]).succeeded()
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "verify"]).succeeded()
    }

    @Test("Values that do not belong to their tokens, by the old key at hand, are left alone")
    func wrongTokenKey() throws {
        let (vault, other) = (try vault("wrong_key"), try LiveVault("refusal_other_key"))
        defer {
            vault.remove()
            other.remove()
        }
        try activateSecond(vault)
        let foreign = try String(contentsOf: other.folder.appending(path: "ingest.keyring"), encoding: .utf8)
            .split(separator: "\n").first { $0.hasPrefix("    {\"version\": 1,") }
        let line = String(try #require(foreign)).replacing("active", with: "deactivated") + ","
        let mixed = try keyring(of: vault, named: "mixed") { $0.hasPrefix("    {\"version\": 1,") ? line : $0 }
        let finished = try vault.tokenvault(
            "vault_operator", ["rotate", "token-key", "run"], environment: ["TOKENVAULT_INGEST_KEYRING": mixed])
        #expect(finished.status == 65, "\(finished.standardError)")
        #expect(finished.standardError.components(separatedBy: "its value belongs to another token").count == 61)
        #expect(try vault.query("SELECT count(*) FROM vault.original WHERE token_version <> 1") == "0")
        #expect(try vault.query("SELECT count(*) FROM public.user_logins WHERE masked_ip LIKE 'ip\\_v2\\_%'") == "0")
    }

    /// The ingest keyring with other lines: docs/FORMATS.md, section 4.
    private func keyring(of vault: LiveVault, named name: String, _ change: (String) -> String?) throws -> String {
        let file = vault.folder.appending(path: "\(name).keyring")
        let whole = try String(contentsOf: vault.folder.appending(path: "ingest.keyring"), encoding: .utf8)
        let lines = whole.split(separator: "\n").compactMap { change(String($0)) }
        let body = lines.prefix { !$0.hasPrefix("  \"checksum\"") }.joined(separator: "\n") + "\n"
        let sum = try Command("/usr/bin/sha256sum", input: Data(body.utf8)).check().prefix(64)
        try Data("\(body)  \"checksum\": \"\(sum)\"\n}\n".utf8).write(to: file)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file.path)
        return file.path
    }

    @Test("An ingest keyring whose key is not the active one is 77 and changes nothing")
    func otherKey() throws {
        let vault = try vault("old_key")
        defer { vault.remove() }
        let old = vault.folder.appending(path: "ingest.keyring").path
        let kept = vault.folder.appending(path: "kept.keyring").path
        try FileManager.default.copyItem(atPath: old, toPath: kept)
        try activateSecond(vault)
        let finished = try vault.tokenvault(
            "vault_operator", ["rotate", "token-key", "run"], environment: ["TOKENVAULT_INGEST_KEYRING": kept])
        #expect(finished.status == 77)  // v1 is not active in the vault any more
        #expect(finished.standardError.contains("is not active"))
        #expect(try vault.query("SELECT count(*) FROM vault.original WHERE token_version <> 1") == "0")
    }

    @Test("A second run beside the first is 75, and the first goes on")
    func twoRuns() throws {
        let vault = try vault("two")
        defer { vault.remove() }
        let first = try vault.command(
            "vault_operator", ["rotate", "data-keys", "run", "--page-size", "1", "--throttle", "8"]
        ).start()
        try vault.wait(for: "the first") {
            try vault.query("SELECT count(*) FROM vault.rotation WHERE values_done > 0") == "1"
        }
        let second = try vault.command("vault_operator", ["rotate", "data-keys", "run"]).start()
        let other = try vault.tokenvault("vault_operator", ["rotate", "recovery-key", "run"])
        for refused in [second.wait(), other] {
            #expect(refused.status == 75)
            #expect(refused.standardError.contains("another rotation is running"))
        }
        #expect(first.isRunning, "the first was over, so nothing was refused beside it")
        let finished = first.wait()
        #expect(finished.status == 0, "\(finished.standardError)")
        try vault.tokenvault("vault_operator", ["rotate", "data-keys", "verify"]).succeeded()
    }

    @Test("A recovery key that may not open a domain says so before anything is done")
    func limitedKey() throws {
        let vault = try vault("limited")
        defer { vault.remove() }
        let limited = vault.folder.appending(path: "limited.keyring").path
        try vault.tokenvault(
            "vault_operator", ["keys", "add", "recovery", "--name", "limited", "--domains", "ip"],
            environment: ["TOKENVAULT_RECOVERY_KEYRING": limited]
        ).succeeded()
        try vault.tokenvault("vault_operator", ["rotate", "recovery-key", "run"]).succeeded()  // it opens addresses now
        let finished = try vault.tokenvault(
            "vault_operator", ["rotate", "data-keys", "run"], environment: ["TOKENVAULT_RECOVERY_KEYRING": limited])
        #expect(finished.status == 65)
        #expect(finished.standardError.contains("is not sealed to any key of this recovery keyring"))
        #expect(try vault.query("SELECT values_done FROM vault.rotation WHERE kind = 'data-keys'") == "0")
        #expect(try vault.query("SELECT count(*) FROM vault.rotation_exception") == "0")
    }

    @Test("Planted, altered and orphaned originals are reported and left alone; the rest moves")
    func damagedOriginals() throws {
        let vault = try vault("damaged")
        defer { vault.remove() }
        // One moved to another token, one whose data key is gone, one with a flipped bit.
        _ = try vault.query(
            """
            UPDATE vault.original SET sealed = (SELECT sealed FROM vault.original ORDER BY token OFFSET 1 LIMIT 1)
            WHERE token = (SELECT min(token::text) FROM vault.original)::uuid;
            UPDATE vault.original SET data_key = '00000000-0000-0000-0000-00000000dead'
            WHERE token = (SELECT max(token::text) FROM vault.original)::uuid;
            UPDATE vault.original SET sealed = set_byte(sealed, 30, get_byte(sealed, 30) # 1)
            WHERE token = (SELECT token FROM vault.original ORDER BY token OFFSET 5 LIMIT 1);
            """)
        let before = try vault.query(
            "SELECT md5(string_agg(sealed::text, '' ORDER BY token)) FROM vault.original WHERE token IN (SELECT token FROM vault.original ORDER BY token LIMIT 1)"
        )
        try activateSecond(vault)
        let finished = try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"])
        #expect(finished.status == 65)
        #expect(finished.standardError.components(separatedBy: "left alone").count >= 4)
        #expect(finished.standardError.contains("is gone from the vault"))
        #expect(try vault.query("SELECT count(*) FROM vault.original WHERE token_version = 1") == "3")
        #expect(
            try vault.query(
                "SELECT md5(string_agg(sealed::text, '' ORDER BY token)) FROM vault.original WHERE token_version = 1 AND token IN (SELECT min(token::text)::uuid FROM vault.original WHERE token_version = 1)"
            ) == before)
        let retired = try vault.tokenvault("vault_operator", ["rotate", "token-key", "retire"])
        #expect(retired.status == 77)
        #expect(retired.standardError.contains("is still needed"))
    }

    @Test("Originals under a data key that no known writer signed are left alone, whatever else moves")
    func planted() throws {
        let vault = try vault("planted")
        defer { vault.remove() }
        try activateSecond(vault)
        let flip =
            "UPDATE vault.data_key SET signature = set_byte(signature, 9, get_byte(signature, 9) # 1) WHERE domain = 'device_id'"
        _ = try vault.query(flip)
        let sealed =
            "SELECT md5(string_agg(sealed::text, '' ORDER BY token)) FROM vault.original WHERE domain = 'device_id'"
        let before = try vault.query(sealed)
        let finished = try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"])
        #expect(finished.status == 65)
        #expect(finished.standardError.components(separatedBy: "warning: left alone").count == 31)
        #expect(finished.standardError.contains("sign"), "\(finished.standardError)")
        #expect(try vault.query(sealed) == before)
        #expect(
            try vault.query("SELECT DISTINCT domain, token_version FROM vault.original ORDER BY 1")
                == "device_id|1\nip|2")
        _ = try vault.query(flip)
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "run"]).succeeded()
        try vault.tokenvault("vault_operator", ["rotate", "token-key", "verify"]).succeeded()
    }

    @Test("Nothing that is in use is destroyed, and a name must be repeated")
    func destroy() throws {
        let vault = try vault("destroy")
        defer { vault.remove() }
        let unconfirmed = try vault.tokenvault(
            "vault_operator", ["keys", "destroy", "token-v1", "--confirm", "token-v2"])
        #expect(unconfirmed.status == 64)
        for name in ["token-v1", "recovery-1", "ingest-1"] {
            let finished = try vault.tokenvault("vault_operator", ["keys", "destroy", name, "--confirm", name])
            #expect(finished.status == 77, "\(name): \(finished.standardError)")
        }
        try activateSecond(vault)
        let early = try vault.tokenvault("vault_operator", ["keys", "destroy", "token-v1", "--confirm", "token-v1"])
        #expect(early.status == 77)
        #expect(early.standardError.contains("is not retired"))
    }

    @Test("The last reader of a domain cannot be retired")
    func lastReader() throws {
        let vault = try vault("reader")
        defer { vault.remove() }
        let finished = try vault.tokenvault("vault_operator", ["keys", "retire", "recovery-1"])
        #expect(finished.status == 77)
        #expect(try vault.query("SELECT state FROM vault.key_version WHERE name = 'recovery-1'") == "active")
    }

    @Test("A dead server is 69, and the rotation goes on when it is back")
    func deadServer() throws {
        let cluster = try PrivateCluster(purpose: "rot")
        defer { cluster.stop() }
        let vault = try LiveVault("dead", on: cluster)
        defer { vault.remove() }
        let file = try vault.file("logins.ndjson", try LiveVault.records(600))
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        try activateSecond(vault)
        let running = try vault.command(
            "vault_operator", ["rotate", "token-key", "run", "--page-size", "20", "--throttle", "400"]
        )
        .start()
        try vault.wait(for: "the first page") {
            try vault.query("SELECT count(*) FROM vault.original WHERE token_version = 2") != "0"
        }
        try cluster.control("stop-immediate")
        let early = try vault.tokenvault("vault_operator", ["rotate", "token-key", "status"])
        #expect(early.status == 69)
        Thread.sleep(forTimeInterval: 1)
        try cluster.control("start")
        let finished = running.wait()
        #expect(finished.status == 0, "\(finished.standardError)")
        let verified = try vault.tokenvault("vault_operator", ["rotate", "token-key", "verify"]).succeeded()
        #expect(verified.standardOutput.contains("as before"))
    }
}
