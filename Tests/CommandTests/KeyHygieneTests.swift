import Foundation
import TestSupport
import Testing

@Suite("Keys and values while every command that holds them runs, on a server that logs all it can", .serialized)
struct KeyHygieneTests {
    @Test("Keys stand in locked memory outside of core files only; nothing of either is left anywhere afterwards")
    func everyCommand() throws {
        let cluster = try PrivateCluster(
            purpose: "hygiene",
            settings: """
                log_statement = all
                log_min_duration_statement = 0
                log_parameter_max_length = -1
                log_parameter_max_length_on_error = -1
                log_error_verbosity = verbose
                """)
        defer { cluster.stop() }
        let vault = try LiveVault("hygiene", on: cluster)
        defer { vault.remove() }
        try WatchedRun.prepare(vault)
        let (ip, device) = ("203.0.113.177", "DEVICE-5d3f0c21be")
        let values = [ip, device, "198.51.100.93", "DEVICE-last-77aa0c21be", "user-of-the-last-record"]
        let record = Self.record(["u1", ip, device])
        let refused = Self.record(["u2", "\(ip)/24", device])
        let records = [record, refused, Self.record([values[4], values[2], values[3]])]
        let input = try Repository.temporaryFolder("hygiene-in")
        defer { try? FileManager.default.removeItem(at: input) }
        let file = input.appending(path: "logins.ndjson").path
        try Data((records.joined(separator: "\n") + "\n").utf8).write(to: URL(filePath: file))

        var said = ""
        func run(
            _ user: String, _ arguments: [String], input: String = "", environment: [String: String] = [:],
            status: Int32 = 0, holds: [String]
        ) throws -> WatchedRun {
            let command = vault.command(user, arguments, input: input, environment: environment)
            let run = try WatchedRun(vault, command, values: values)
            let name = arguments.prefix(2).joined(separator: " ")
            #expect(run.finished.status == status, "\(name): \(run.finished.standardError)")
            #expect(run.stops.count > 1 && run.stops.last?.place == "exit", "\(name) was never looked at")
            said += run.finished.standardError
            guard geteuid() == 0 else {  // its own user sees nothing at all
                #expect(!run.stops.contains { !$0.isRefused }, "\(name) could be looked into")
                return run
            }
            #expect(!run.stops.contains { $0.isRefused })
            #expect(run.unprotectedKeys.isEmpty, "\(name): \(run.unprotectedKeys)")
            for key in holds {
                #expect(run.protectedKeys.contains { $0.hasPrefix(key) }, "\(name): the search does not find \(key)")
            }
            let left = run.stops.last?.values ?? []
            #expect(left.isEmpty, "\(name) leaves \(left)")
            return run
        }
        /// While a batch waits for its commit, each value stands where it must (`places`) and nowhere else; then nowhere.
        func expectForgotten(_ run: WatchedRun, places: Int) {
            guard geteuid() == 0 else { return }
            let batches = run.stops.filter { $0.place.contains("add_run_counts") }
            #expect(batches.count == 1)
            for (number, value) in values[..<4].enumerated() {
                let found = batches.flatMap(\.values).filter { $0.name == "value-\(number)" }.map(\.count).reduce(0, +)
                let sent = records.joined().components(separatedBy: value).count - 1
                #expect(found == places * sent, "value \(number): \(batches.flatMap(\.values))")
            }
            expectNothingAtItsEnd(run)
        }
        func expectNothingAtItsEnd(_ run: WatchedRun) {
            guard geteuid() == 0 else { return }
            let ends = run.stops.filter { $0.place.contains("finish_run") }
            #expect(ends.count >= 1)
            #expect(!ends.contains { !$0.values.isEmpty }, "at the end: \(ends)")
        }

        // The batch's records.
        expectForgotten(try run("vault_ingest", ["ingest", file], status: 3, holds: ["token-key-v1"]), places: 1)
        // Batches of one record, each staged while the one before is sent.
        let again = input.appending(path: "again.ndjson").path
        try FileManager.default.copyItem(atPath: file, toPath: again)
        expectNothingAtItsEnd(
            try run("vault_ingest", ["ingest", "--batch-size", "1", again], status: 3, holds: ["token-key-v1"]))
        // A run that fails while the next batch is half staged.
        let long = input.appending(path: "long.ndjson").path
        try Data(String(repeating: record + "\n", count: 4_000).utf8).write(to: URL(filePath: long))
        _ = try vault.query(
            """
            CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
            CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON public.user_logins
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.refuse()
            """)
        expectNothingAtItsEnd(
            try run("vault_ingest", ["ingest", "--batch-size", "2000", long], status: 1, holds: ["token-key-v1"]))
        _ = try vault.query("DROP TRIGGER refuse ON public.user_logins; DROP FUNCTION public.refuse()")
        let server = try SQSServer.shared.get()
        let queue = try server.makeQueue("hygiene")
        try server.send(records, to: queue)
        // The batch's records, and the messages.
        expectForgotten(
            try run(
                "vault_ingest", ["ingest", "--poll-seconds", "1", queue], environment: server.environment, status: 3,
                holds: ["token-key-v1"]),
            places: 2)

        let token = try vault.query("SELECT masked_ip FROM public.user_logins WHERE user_id = 'u1' LIMIT 1")
        let recover = try run(
            "vault_recoverer", ["recover", "--reason", "hygiene test", "--ticket", "T-1", token],
            holds: ["recovery-key"])
        _ = try run(
            "vault_ingest", ["tokenize", "--domain", "ip", "--reason", "hygiene test"], input: ip,
            holds: ["token-key-v1"])
        _ = try run(
            "vault_ingest", ["tokenize", "--json", "--domain", "device_id", "--reason", "hygiene test"], input: device,
            holds: ["token-key-v1"])
        let waiting = try vault.query("SELECT id FROM vault.quarantine ORDER BY created_at").split(separator: "\n")
        let why = ["--reason", "hygiene test", "--ticket", "T-2"]
        _ = try run("vault_operator", ["quarantine", "show"] + why + [String(waiting[0])], holds: ["recovery-key"])
        _ = try run(
            "vault_operator", ["quarantine", "show", "--json"] + why + [String(waiting[0])], holds: ["recovery-key"])
        _ = try run(
            "vault_operator", ["quarantine", "replay"] + why + [String(waiting[0])], status: 3,
            holds: ["token-key-v1", "recovery-key"])
        let rotation = try run("vault_operator", ["rotate", "data-keys", "run"], holds: ["recovery-key"])
        // Before the values come, and after they are gone: no copy stays.
        for run in [recover, rotation] {
            for stop in run.stops { #expect(stop.values.isEmpty, "\(stop)") }
        }
        try expectNothing(in: [cluster.dataFolder.path, cluster.serverLog.path], vault, Array(values[..<4]))
        try vault.tokenvault("vault_operator", ["keys", "add", "token"]).succeeded()
        try vault.tokenvault("vault_operator", ["keys", "activate", "token-v2"]).succeeded()
        _ = try run(
            "vault_operator", ["rotate", "token-key", "run"], holds: ["token-key-v1", "token-key-v2", "recovery-key"])
        _ = try run("vault_operator", ["erase", "--user-id", "-"] + why, input: values[4], holds: [])
        let places = [cluster.dataFolder.path, cluster.serverLog.path]
        try expectNothing(in: places, vault, Array(values[..<4]))
        for value in values { #expect(!said.contains(value)) }
        // The search can find: a token stands in the tables, a reason in the log.
        let known = try Set(search(places, vault, [token, "hygiene test"]).map(\.name))
        #expect(known == ["value-0", "value-1"])
    }

    private static func record(_ values: [String]) -> String {
        "{\"user_id\": \"\(values[0])\", \"ip\": \"\(values[1])\", \"device_id\": \"\(values[2])\"}"
    }

    private func expectNothing(in places: [String], _ vault: LiveVault, _ values: [String]) throws {
        _ = try vault.query("CHECKPOINT")
        let found = try search(places, vault, values)
        #expect(found.isEmpty, "on disk: \(found)")
    }

    private func search(_ places: [String], _ vault: LiveVault, _ values: [String]) throws -> [WatchedRun.Found] {
        let superuser = vault.cluster.connectionString(user: "postgres", database: vault.database)
        return try Command(
            SecondImplementationTests.python.get(),
            [Repository.path("scripts/search_secrets.py"), "files", vault.folder.path, superuser] + places,
            input: Data(values.joined(separator: "\n").utf8)
        ).check().split(separator: "\n").map {
            try JSONDecoder().decode(WatchedRun.Found.self, from: Data($0.utf8))
        }
    }
}
