import Foundation
import Postgres
import TestSupport
import Testing

@Suite("Bulk recovery")
struct BulkRecoveryTests {
    private static let why = ["recover", "--reason", "bulk test", "--ticket", "T-1"]

    /// A vault with originals, and their tokens with the values that belong to them.
    private func sow(_ name: String, _ count: Int) throws -> (
        vault: LiveVault, values: [(token: String, value: String)]
    ) {
        let vault = try LiveVault(name)
        let records = (0..<count).map {
            "{\"user_id\": \"u\($0)\", \"ip\": \"10.\($0 >> 16).\($0 >> 8 & 255).\($0 & 255)\"}\n"
        }
        try vault.tokenvault("vault_ingest", ["ingest", try vault.file("l.ndjson", records.joined())]).succeeded()
        try vault.cluster.psql(
            user: "vault_operator", database: vault.database,
            "SELECT vault.set_policy('ip', 0, 1000000, '15 minutes', NULL, NULL)")
        let rows = try vault.query("SELECT masked_ip, substr(user_id, 2) FROM public.user_logins")
        return (
            vault,
            rows.split(separator: "\n").map { row in
                let parts = row.split(separator: "|")
                let number = Int(parts[1])!
                return (String(parts[0]), "10.\(number >> 16).\(number >> 8 & 255).\(number & 255)")
            }
        )
    }

    private func outcome(_ vault: LiveVault) throws -> String {
        try vault.query(
            "SELECT outcome FROM audit.event WHERE action = 'recover.outcome' ORDER BY sequence DESC LIMIT 1")
    }

    @Test("Over several pages the order asked is kept, repeats included, with one event a token and one request")
    func order() throws {
        let (vault, values) = try sow("bulk_order", 300)
        defer { vault.remove() }
        // 25,000 tokens: two full pages and a part of one.
        var generator = SystemRandomNumberGenerator()
        let asked = (0..<25_000).map { _ in values[Int.random(in: 0..<values.count, using: &generator)] }
        let list = asked.map(\.token).joined(separator: "\n")
        for arguments in [["--from", try vault.file("tokens", list)], ["--from", "-"]] {
            let before = try vault.query("SELECT count(*) FROM audit.event WHERE action = 'recover.request'")
            let run = try vault.tokenvault(
                "vault_recoverer", Self.why + arguments, input: arguments[1] == "-" ? list : ""
            ).succeeded()
            #expect(run.standardOutput == asked.map { "\($0.token)\t\($0.value)\n" }.joined())
            let after = try vault.query("SELECT count(*) FROM audit.event WHERE action = 'recover.request'")
            #expect(Int(after)! - Int(before)! == 25_000)
            #expect(try outcome(vault) == "opened 25000, written 25000, absent 0, erased 0, failed 0")
        }
        #expect(try vault.query("SELECT count(*), max(item_count) FROM vault.recovery_request") == "2|25000")
        let audited = try vault.query(
            "SELECT object FROM audit.event WHERE action = 'recover.request' ORDER BY sequence LIMIT 25000")
        #expect(audited == list)
        try vault.tokenvault("vault_auditor", ["audit", "verify"]).succeeded()
    }

    @Test("Present, absent, erased and damaged are told apart, in text and in JSON")
    func states() throws {
        let (vault, values) = try sow("bulk_states", 4)
        defer { vault.remove() }
        let (present, erased, damaged) = (values[0], values[1], values[2])
        let absent = "ip_v1_" + String(repeating: "0", count: 32)
        _ = try vault.query(
            """
            WITH gone AS (DELETE FROM vault.original WHERE token = right('\(erased.token)', 32)::uuid RETURNING token)
            INSERT INTO vault.erased_token (token, erasure) SELECT token, gen_random_uuid() FROM gone;
            UPDATE vault.original SET sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1)
            WHERE token = right('\(damaged.token)', 32)::uuid;
            """)
        let asked = [absent, present.token, erased.token, damaged.token]
        let text = try vault.tokenvault("vault_recoverer", Self.why + asked)
        #expect(text.status == 65)
        #expect(text.standardOutput == "\(present.token)\t\(present.value)\n")
        #expect(text.standardError.contains("\(absent): no value is stored"))
        #expect(text.standardError.contains("\(erased.token): the value was erased"))
        #expect(text.standardError.contains("\(damaged.token): "))
        #expect(try outcome(vault) == "opened 1, written 1, absent 1, erased 1, failed 1")

        let json = try vault.tokenvault("vault_recoverer", Self.why + ["--json"] + asked)
        let lines = json.standardOutput.split(separator: "\n").map(String.init)
        try #require(lines.count == 4)
        #expect(lines[0] == "{\"token\":\"\(absent)\",\"value\":null,\"state\":\"absent\"}")
        #expect(lines[1] == "{\"token\":\"\(present.token)\",\"value\":\"\(present.value)\"}")
        #expect(lines[2] == "{\"token\":\"\(erased.token)\",\"value\":null,\"state\":\"erased\"}")
        #expect(
            lines[3].hasPrefix("{\"token\":\"\(damaged.token)\",\"value\":null,\"state\":\"unopenable\",\"reason\":\""))
        #expect(try vault.tokenvault("vault_recoverer", Self.why + [present.token, erased.token]).status == 1)
    }

    @Test("A bad line is named by its number and never repeated, and nothing is requested")
    func badLine() throws {
        let (vault, values) = try sow("bulk_bad_line", 2)
        defer { vault.remove() }
        let secret = "198.51.100.77"
        let long = String(repeating: "z", count: 300_000)
        for bad in [secret, values[0].token + "\t" + secret, values[0].token.uppercased(), "é\u{0}" + secret, long] {
            let list = String(repeating: values[0].token + "\n", count: 10_500) + "\n \(bad)\n" + values[1].token
            let run = try vault.tokenvault("vault_recoverer", Self.why + ["--from", try vault.file("bad", list)])
            #expect(run.status == 64)
            #expect(
                run.standardError.contains("line 10502 of the tokens is not a token"),
                "\(run.standardError.prefix(200))")
            #expect(!(run.standardOutput + run.standardError).contains(secret))
        }
        #expect(try vault.query("SELECT count(*) FROM audit.event WHERE action LIKE 'recover.%'") == "0")
        #expect(try vault.query("SELECT count(*) FROM vault.recovery_request_item") == "0")
        #expect(try vault.tokenvault("vault_recoverer", Self.why + ["--from", "-"], input: "\n \n").status == 64)
        #expect(try vault.tokenvault("vault_recoverer", Self.why + ["--from", "/nonexistent"]).status == 66)
        #expect(try vault.tokenvault("vault_recoverer", Self.why + ["--from", vault.folder.path]).status == 66)
        let spaced = "\r\n  \(values[0].token) \r\n\n\t\(values[1].token)"
        let run = try vault.tokenvault("vault_recoverer", Self.why + ["--from", "-"], input: spaced).succeeded()
        #expect(run.standardOutput == values.prefix(2).map { "\($0.token)\t\($0.value)\n" }.joined())
    }

    @Test("When the reader goes away the log says how much was written, and that it ended early")
    func brokenPipe() throws {
        let (vault, values) = try sow("bulk_pipe", 3)
        defer { vault.remove() }
        let list = try vault.file("tokens", String(repeating: values[0].token + "\n", count: 30_000))
        let command = vault.command("vault_recoverer", Self.why + ["--from", list])
        let shell = Command(
            "/bin/bash",
            ["-c", "\"$@\" | head -c 100000 >/dev/null; exit ${PIPESTATUS[0]}", "-", command.executable]
                + command.arguments,
            environment: command.environment)
        let run = try shell.run()
        #expect(run.status == 1, "\(run.standardError)")
        let text = try outcome(vault)
        let written = try #require(text.firstMatch(of: #/^ended early: opened (\d+), written (\d+), /#))
        // head took 100,000 bytes of 48 a line or less; a pipe holds 64 KiB more, and one write may have been cut.
        let (opened, count) = (Int(written.1)!, Int(written.2)!)
        let line = values[0].token.utf8.count + values[0].value.utf8.count + 2
        #expect((100_000 / line - 2...(100_000 + 3 * 65_536) / line).contains(count), "\(text)")
        #expect(opened >= count && opened < 30_000)

        let full = Command(
            "/bin/bash", ["-c", "\"$@\" >/dev/full", "-", command.executable] + command.arguments,
            environment: command.environment)
        #expect(try full.run().status == 1)
        #expect(try outcome(vault).contains(#/^ended early: opened \d+, written 0, /#))
    }

    @Test("A signal ends a recovery between pages, and the log has what was written")
    func stop() throws {
        let (vault, values) = try sow("bulk_stop", 3)
        defer { vault.remove() }
        let list = try vault.file("tokens", String(repeating: values[0].token + "\n", count: 60_000))
        let command = vault.command("vault_recoverer", Self.why + ["--from", list])
        // The reader sends the signal after the first line and reads on.
        let reader = """
            import subprocess, sys
            run = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
            run.stdout.readline()
            run.terminate()
            print(len(run.stdout.read().splitlines()))
            print("status", run.wait())
            """
        let run = try Command(
            "/usr/bin/env", ["python3", "-c", reader, command.executable] + command.arguments,
            environment: command.environment
        ).run()
        #expect(run.standardOutput.contains("status 75"), "\(run.standardOutput) \(run.standardError)")
        let rest = try #require(Int(run.standardOutput.split(separator: "\n")[0]))
        #expect(try outcome(vault).hasPrefix("ended early: opened \(rest + 1), written \(rest + 1), "))
        #expect(rest + 1 < 60_000)
    }
}
