import Foundation
import TestSupport
import Testing

@Suite("A run in a narrow or strange process", .serialized)
struct ProcessLimitTests {
    /// Runs `command` after the shell's `limit`.
    private func limited(_ limit: String, _ command: Command) throws -> Finished {
        try Command(
            "/bin/sh", ["-c", "\(limit) && exec \"$0\" \"$@\"", command.executable] + command.arguments,
            environment: command.environment, input: command.input
        ).run()
    }

    @Test(
        "stores everything, or says what it lacks",
        arguments: ["ulimit -n 16", "ulimit -v 262144", "ulimit -l 0", "ulimit -s 1024"])
    func limits(limit: String) throws {
        let vault = try LiveVault("limit_\(limit.split(separator: " ")[1].dropFirst())")
        defer { vault.remove() }
        let count = 12_000
        let file = try vault.file("logins.ndjson", try LiveVault.records(count))
        var command = vault.command("vault_ingest", ["ingest", "--json", file])
        let needsNoPrivilege = limit.hasPrefix("ulimit -l") && geteuid() == 0
        if needsNoPrivilege {  // root may lock memory beyond any limit
            command.arguments =
                ["--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", command.executable] + command.arguments
            command.executable = "/usr/bin/setpriv"
        }
        let run = try limited(limit, command)
        #expect(run.status == 0 && !run.wasKilled, "exit \(run.status): \(run.standardError)")
        let warns = run.standardError.contains("warning: cannot lock memory")
        #expect(warns == limit.hasPrefix("ulimit -l"), "\(run.standardError)")
        #expect(
            try vault.query("SELECT count(*), count(DISTINCT user_id) FROM public.user_logins") == "\(count)|\(count)")
    }

    @Test(
        "of 8 descriptors or 64 MB ends with one clear line, or does its work",
        arguments: ["ulimit -n 4", "ulimit -n 6", "ulimit -n 8", "ulimit -v 131072"])
    func tooNarrow(limit: String) throws {
        let vault = try LiveVault("narrow_\(limit.filter(\.isNumber))")
        defer { vault.remove() }
        let file = try vault.file("logins.ndjson", try LiveVault.records(10))
        let run = try limited(limit, vault.command("vault_ingest", ["ingest", file]))
        #expect(
            [0, 1, 66, 69, 75, 127].contains(run.status) && !run.wasKilled, "exit \(run.status): \(run.standardError)")
        #expect(run.status == 0 || !run.standardError.isEmpty)
        #expect(try vault.query("SELECT count(*) FROM public.user_logins") == (run.status == 0 ? "10" : "0"))
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        #expect(try vault.query("SELECT count(*), count(DISTINCT user_id) FROM public.user_logins") == "10|10")
    }

    @Test("under any locale and time zone writes and prints the same bytes")
    func locales() throws {
        let vault = try LiveVault("locales")
        defer { vault.remove() }
        let records = """
            {"user_id": "I\\u0130i\\u0131", "ip": "192.0.2.1", "device_id": "TITLE-\\u0130", "app_version": "2.3.0", "locale": "tr"}
            {"user_id": "b", "ip": "2001:DB8::1", "device_id": "title-i", "device_type": "IOS"}
            {"user_id": "c", "ip": "192.0.2.1", "device_id": "title-i", "device_type": "ios"}
            {broken

            """
        let environments: [[String: String]] = [
            ["LC_ALL": "C.UTF-8", "TZ": "UTC"],
            ["LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "TZ": "Asia/Istanbul"],
            ["LC_ALL": "C", "LANG": "C", "TZ": "Pacific/Apia"],
            ["LC_ALL": "POSIX", "TZ": "America/Los_Angeles", "LANG": ""],
        ]
        var seen: Set<String> = []
        var days: Set<String> = []
        for environment in environments {
            // Ingest and what is stored.
            days.insert(try vault.query("SELECT (now() AT TIME ZONE 'UTC')::date"))
            let run = try vault.tokenvault("vault_ingest", ["ingest", "-"], input: records, environment: environment)
            days.insert(try vault.query("SELECT (now() AT TIME ZONE 'UTC')::date"))
            #expect(run.status == 3, "\(environment): \(run.standardError)")
            let rows = try vault.query(
                "SELECT user_id, device_type, masked_ip, masked_device_id, locale, app_version FROM public.user_logins ORDER BY 1"
            )
            // UTC, wherever the job runs.
            let dates = try vault.query("SELECT DISTINCT create_date FROM public.user_logins").split(separator: "\n")
            #expect(Set(dates.map(String.init)).isSubset(of: days), "\(environment): \(dates)")
            // What commands print.
            let token = try vault.query("SELECT masked_ip FROM public.user_logins ORDER BY user_id LIMIT 1")
            let why = ["--reason", "test", "--ticket", "T-1"]
            var printed = run.standardOutput.split(separator: "\n")
                .filter { !$0.hasPrefix("RUN") && !$0.hasPrefix("records a second") }.joined(separator: "\n")
            for (user, arguments) in [
                ("vault_recoverer", ["recover"] + why + [token]), ("vault_analyst", ["duplicates"]),
                ("vault_operator", ["keys", "list"]),
                ("vault_auditor", ["audit", "list", "--action", "keys.generate"]),
            ] {
                let listed = try vault.tokenvault(user, arguments, environment: environment).succeeded()
                printed += listed.standardOutput
            }
            seen.insert(rows + "\n" + printed)
            _ = try vault.query("TRUNCATE public.user_logins")
        }
        #expect(seen.count == 1, "\(seen.sorted().joined(separator: "\n---\n"))")
    }
}
