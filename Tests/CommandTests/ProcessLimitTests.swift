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

    @Test("stores everything: few descriptors, 256 MB of address space, no memory that may be locked, a small stack")
    func limits() throws {
        let vault = try LiveVault("limits")
        defer { vault.remove() }
        let count = 12_000
        for limit in ["ulimit -n 16", "ulimit -v 262144", "ulimit -l 0", "ulimit -s 1024"] {
            let file = try vault.file("logins.ndjson", try LiveVault.records(count, ["--seed", "\(limit.count)"]))
            var command = vault.command("vault_ingest", ["ingest", "--json", file])
            if limit.hasPrefix("ulimit -l"), geteuid() == 0 {  // root may lock memory beyond any limit
                command.arguments =
                    ["--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", command.executable] + command.arguments
                command.executable = "/usr/bin/setpriv"
            }
            let run = try limited(limit, command)
            #expect(run.status == 0 && !run.wasKilled, "\(limit): exit \(run.status): \(run.standardError)")
            let warns = run.standardError.contains("warning: cannot lock memory")
            #expect(warns == limit.hasPrefix("ulimit -l"), "\(limit): \(run.standardError)")
            #expect(
                try vault.query("SELECT count(*), count(DISTINCT user_id) FROM public.user_logins")
                    == "\(count)|\(count)", "\(limit)")
            _ = try vault.query("TRUNCATE public.user_logins")
        }
    }

    @Test("of a handful of descriptors or 128 MB ends with a clear line and no row, or does its work")
    func tooNarrow() throws {
        let vault = try LiveVault("narrow")
        defer { vault.remove() }
        let file = try vault.file("logins.ndjson", try LiveVault.records(10))
        var stored = "0"
        for limit in [
            "ulimit -n 3", "ulimit -n 4", "ulimit -n 5", "ulimit -n 6", "ulimit -v 65536", "ulimit -v 131072",
        ] {
            let run = try limited(limit, vault.command("vault_ingest", ["ingest", file]))
            // 127 is the dynamic linker's: the program did not begin.
            #expect(
                [0, 1, 66, 69, 75, 127].contains(run.status) && !run.wasKilled,
                "\(limit): exit \(run.status): \(run.standardError)")
            #expect(!run.standardError.isEmpty, "\(limit)")
            if run.status == 0 { stored = "10" }
            #expect(try vault.query("SELECT count(*) FROM public.user_logins") == stored, "\(limit)")
        }
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
