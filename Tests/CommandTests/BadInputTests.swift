import Foundation
import TestSupport
import Testing

/// Every message here must name the cause and never the value.
@Suite("Bad input")
struct BadInputTests {
    /// An address that stands in every bad record, to be looked for in what the program says.
    private static let value = "198.51.100.77"

    @Test("goes to the quarantine with its cause, and the run goes on")
    func records() throws {
        let vault = try LiveVault("bad_records")
        defer { vault.remove() }
        let ip = Self.value
        let lines: [(cause: String, line: [UInt8])] = [
            ("malformed_json", Array("{\"user_id\": \"a\", \"ip\": \"\(ip)\"".utf8)),
            ("not_an_object", Array("null".utf8)), ("not_an_object", Array("[\"\(ip)\"]".utf8)),
            ("not_an_object", Array("17".utf8)), ("not_an_object", Array("\"\(ip)\"".utf8)),
            ("malformed_json", [0xEF, 0xBB, 0xBF] + Array("{\"user_id\": \"a\"}".utf8)),
            ("invalid_utf8", Array("{\"user_id\": \"a\", \"locale\": \"".utf8) + [0xFF] + Array("\"}".utf8)),
            ("malformed_json", Array("{\"user_id\": \"\\ud800\"}".utf8)),
            ("nul_character:user_id", Array("{\"user_id\": \"a\\u0000\"}".utf8)),
            ("duplicate_key", Array("{\"user_id\": \"a\", \"user_id\": \"b\"}".utf8)),
            (
                "too_deep",
                Array(
                    "{\"user_id\": \"a\", \"x\": \(String(repeating: "[", count: 10_000))\(String(repeating: "]", count: 10_000))}"
                        .utf8)
            ),
            ("too_large", Array("{\"user_id\": \"\(String(repeating: "x", count: 10_000_000))\"}".utf8)),
            ("number_out_of_range", Array("{\"user_id\": \"a\", \"x\": 1e999}".utf8)),
            ("missing_field:user_id", Array("{\"ip\": \"\(ip)\"}".utf8)),
            ("missing_field:user_id", Array("{\"user_id\": null}".utf8)),
            ("wrong_type:ip", Array("{\"user_id\": \"a\", \"ip\": 17}".utf8)),
            ("wrong_type:app_version", Array("{\"user_id\": \"a\", \"app_version\": 2.3}".utf8)),
            ("empty_value:ip", Array("{\"user_id\": \"a\", \"ip\": \"\"}".utf8)),
            ("invalid_ip:ip", Array("{\"user_id\": \"a\", \"ip\": \"\(ip)/32\"}".utf8)),
            (
                "too_long:locale",
                Array("{\"user_id\": \"a\", \"locale\": \"\(String(repeating: "é", count: 33))\"}".utf8)
            ),
            ("wrong_record_type", Array("{\"foo\": \"oops_wrong_msg_type\", \"bar\": \"123\"}".utf8)),
        ]
        var input = Array(
            "{\"user_id\": \"first\", \"ip\": \"192.0.2.1\", \"locale\": \"\(String(repeating: "é", count: 32))\"}\r\n\n"
                .utf8)
        for (_, line) in lines { input += line + [UInt8(ascii: "\n")] }
        input += Array("{\"user_id\": \"last\", \"ip\": null, \"extra\": 9007199254740993, \"zero\": -0}".utf8)
        let path = vault.folder.appending(path: "bad.ndjson")
        try Data(input).write(to: path)

        let run = try vault.tokenvault("vault_ingest", ["ingest", "--json", path.path])
        #expect(run.status == 3, "\(run.standardError)")
        #expect(run.standardOutput.contains("\"stored\":2,"), "\(run.standardOutput)")
        #expect(!(run.standardOutput + run.standardError).contains(ip))
        let causes = try vault.query("SELECT position, cause FROM vault.quarantine").split(separator: "\n").map(
            String.init)
        #expect(Set(causes) == Set(lines.enumerated().map { "line \($0.offset + 3)|\($0.element.cause)" }))
        #expect(try vault.query("SELECT user_id FROM public.user_logins ORDER BY 1") == "first\nlast")
    }

    @Test("is shown, replayed and discarded only with an audit event")
    func quarantine() throws {
        let vault = try LiveVault("bad_quarantine")
        defer { vault.remove() }
        // The server refuses what the mapping lets through; the batch is halved until the one record is found.
        _ = try vault.query("ALTER TABLE public.user_logins ADD CONSTRAINT no_martians CHECK (user_id <> 'martian')")
        let records =
            (1...50).map { "{\"user_id\": \"u\($0)\", \"ip\": \"192.0.2.\($0)\"}" } + [
                "{\"user_id\": \"martian\", \"ip\": \"\(Self.value)\"}", "{broken",
            ]
        let file = try vault.file("logins.ndjson", records.joined(separator: "\n") + "\n")
        let run = try vault.tokenvault("vault_ingest", ["ingest", file])
        #expect(run.status == 3)
        #expect(!run.standardError.contains(Self.value))
        #expect(try vault.query("SELECT count(*) FROM public.user_logins") == "50")
        #expect(
            try vault.query("SELECT cause FROM vault.quarantine ORDER BY 1") == "malformed_json\nrefused_by_database")

        let id = try vault.query(
            "SELECT replace(id::text, '-', '') FROM vault.quarantine WHERE cause = 'refused_by_database'")
        let why = ["--reason", "looking at it", "--ticket", "T-9"]
        let shown = try vault.tokenvault("vault_recoverer", ["quarantine", "show", id] + why).succeeded()
        #expect(shown.standardOutput == records[50] + "\n")
        #expect(try vault.query("SELECT count(*) FROM audit.event WHERE action = 'quarantine.request'") == "1")
        #expect(try vault.tokenvault("vault_analyst", ["quarantine", "show", id] + why).status == 77)

        #expect(try vault.tokenvault("vault_operator", ["quarantine", "replay", "--all"] + why).status == 3)
        #expect(try vault.query("SELECT count(*) FROM public.user_logins") == "50")
        _ = try vault.query("ALTER TABLE public.user_logins DROP CONSTRAINT no_martians")
        let replay = try vault.tokenvault("vault_operator", ["quarantine", "replay", id] + why)
        #expect(replay.status == 0, "\(replay.standardError)")
        #expect(try vault.query("SELECT count(*) FROM public.user_logins WHERE user_id = 'martian'") == "1")
        #expect(try vault.tokenvault("vault_operator", ["quarantine", "replay", id] + why).status != 0)
        #expect(try vault.query("SELECT count(*) FROM public.user_logins WHERE user_id = 'martian'") == "1")

        let broken = try vault.query("SELECT id::text FROM vault.quarantine WHERE cause = 'malformed_json'")
        try vault.tokenvault("vault_operator", ["quarantine", "discard", "--reason", "noise", broken]).succeeded()
        #expect(try vault.query("SELECT count(*) FROM vault.quarantine WHERE resolution IS NULL") == "0")
        #expect(
            try vault.query("SELECT action FROM audit.event WHERE action LIKE 'quarantine.%' ORDER BY sequence")
                .hasSuffix("quarantine.request\nquarantine.replay\nquarantine.discard"))
    }

    @Test("of files ends with the exit code that scripts depend on")
    func files() throws {
        let vault = try LiveVault("bad_files")
        defer { vault.remove() }
        let good = try vault.file("good.ndjson", "{\"user_id\": \"a\"}\n")
        func status(_ arguments: [String], input: String = "", _ environment: [String: String] = [:]) throws -> Int32 {
            let run = try vault.tokenvault(
                "vault_ingest", ["ingest"] + arguments, input: input, environment: environment)
            #expect(run.status == 0 || !run.standardError.isEmpty)
            return run.status
        }
        #expect(try status(["/nonexistent.ndjson"]) == 66)
        #expect(try status([vault.folder.path]) == 66)
        #expect(try status([good], [:].merging(["TOKENVAULT_DATABASE": "host=/nonexistent"]) { $1 }) == 69)
        #expect(try status([good], ["TOKENVAULT_BATCH_SIZE": "many"]) == 78)
        #expect(try status([good, "--batch-size", "0"]) == 64)
        #expect(try vault.tokenvault("vault_analyst", ["ingest", good]).status != 0)

        let keyring = vault.folder.appending(path: "ingest.keyring").path
        let missing = vault.folder.appending(path: "none.keyring").path
        #expect(try status(["--ingest-keyring", missing, good]) == 66)
        let recovery = vault.folder.appending(path: "recovery.keyring").path
        #expect(try status(["--ingest-keyring", recovery, good]) == 78)
        let link = vault.folder.appending(path: "link.keyring").path
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: keyring)
        #expect(try status(["--ingest-keyring", link, good]) == 77)
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: keyring)
        let open = try vault.tokenvault("vault_ingest", ["ingest", good])
        #expect(open.status == 77)
        #expect(open.standardError.contains("chmod 600 \(keyring)"))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: keyring)
        var bytes = try Data(contentsOf: URL(filePath: keyring))
        bytes[bytes.count / 2] ^= 1
        let damaged = try vault.file("damaged.keyring", "")
        try bytes.write(to: URL(filePath: damaged))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: damaged)
        #expect(try status(["--ingest-keyring", damaged, good]) == 65)

        #expect(try status([good]) == 0)
        #expect(try status(["--max-quarantined", "1", "-"], input: "{\n[\n{\"user_id\": \"b\"}\n") == 65)
        #expect(try vault.query("SELECT count(*) FROM public.user_logins") == "1")
        #expect(try vault.query("SELECT count(*) FROM vault.quarantine") == "0")
    }

    @Test("at the end of a file stays there until it is whole", arguments: [1, 2, 10_000])
    func incomplete(batchSize: Int) throws {
        let vault = try LiveVault("bad_end_\(batchSize)")
        defer { vault.remove() }
        let whole = "{\"user_id\": \"a\"}\n{\"user_id\": \"b\"}\n"
        let file = try vault.file("growing.ndjson", whole + "{\"user_id\": \"c\", \"ip\": \"\(Self.value)")
        let first = try vault.tokenvault("vault_ingest", ["ingest", "--batch-size", "\(batchSize)", file])
        #expect(first.status == 65)
        #expect(first.standardError.contains("line 3"))
        #expect(try vault.query("SELECT count(*) FROM public.user_logins") == "2", "what is whole is stored")
        #expect(!first.standardError.contains(Self.value))
        _ = try vault.file(
            "growing.ndjson", whole + "{\"user_id\": \"c\", \"ip\": \"\(Self.value)\"}\n{\"user_id\": \"d\"}")
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        #expect(try vault.query("SELECT user_id FROM public.user_logins ORDER BY 1") == "a\nb\nc\nd")
        #expect(try vault.query("SELECT count(*) FROM vault.quarantine") == "0")

        _ = try vault.file("plain.ndjson", try LiveVault.records(2_000))
        try Command("/bin/gzip", ["-k", vault.folder.appending(path: "plain.ndjson").path]).check()
        let packed = vault.folder.appending(path: "plain.ndjson.gz")
        let all = try Data(contentsOf: packed)
        try all.prefix(all.count / 2).write(to: packed)
        let cut = try vault.tokenvault("vault_ingest", ["ingest", packed.path])
        #expect(cut.status == 65)
        #expect(cut.standardError.contains("gzip data ends early"))
        try all.write(to: packed)
        try vault.tokenvault("vault_ingest", ["ingest", packed.path]).succeeded()
        #expect(try vault.query("SELECT count(*) FROM public.user_logins") == "2004")
    }

    @Test("of recover: a wrong passphrase, an unknown token, a malformed one, a full output")
    func recover() throws {
        let vault = try LiveVault("bad_recover")
        defer { vault.remove() }
        let file = try vault.file("logins.ndjson", "{\"user_id\": \"a\", \"ip\": \"\(Self.value)\"}\n")
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        let token = try vault.query("SELECT masked_ip FROM public.user_logins")
        let why = ["recover", "--reason", "test", "--ticket", "T-1"]
        let wrong = try vault.file("wrong", "not the passphrase")
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: wrong)
        #expect(try vault.tokenvault("vault_recoverer", why + ["--passphrase-file", wrong, token]).status == 65)
        #expect(try vault.query("SELECT count(*) FROM audit.event WHERE action LIKE 'recover.%'") == "0")
        let unknown = "ip_v1_" + String(repeating: "0", count: 32)
        let absent = try vault.tokenvault("vault_recoverer", why + [unknown, token])
        #expect(absent.status == 1)
        #expect(absent.standardOutput == "\(token)\t\(Self.value)\n")
        #expect(absent.standardError.contains("\(unknown): no value"))
        let malformed = try vault.tokenvault("vault_recoverer", why + [Self.value])
        #expect(malformed.status == 64)
        #expect(!malformed.standardError.contains(Self.value))
        #expect(try vault.tokenvault("vault_analyst", why + [token]).status == 77)
        #expect(try vault.tokenvault("vault_ingest", why + [token]).status == 77)

        let command = vault.command("vault_recoverer", why + [token])
        let full = try Command(
            "/bin/sh", ["-c", "exec \"$0\" \"$@\" >/dev/full", command.executable] + command.arguments,
            environment: command.environment
        ).run()
        #expect(full.status == 1)
        #expect(full.standardError.contains("cannot write to standard output"))
    }
}
