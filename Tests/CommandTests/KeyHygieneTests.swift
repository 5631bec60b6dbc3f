import Foundation
import TestSupport
import Testing

@Suite("Keys and values while every command that holds them runs, on a server that logs all it can", .serialized)
struct KeyHygieneTests {
    @Test("Keys stand in locked memory outside of core files only; nothing of either is left anywhere afterwards")
    func everyCommand() throws {
        guard geteuid() == 0 else { return }  // only root can read an undumpable process's memory
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
        let record = "{\"user_id\": \"u1\", \"ip\": \"\(ip)\", \"device_id\": \"\(device)\"}"
        let refused = "{\"user_id\": \"u2\", \"ip\": \"\(ip)/24\", \"device_id\": \"\(device)\"}"
        let input = try Repository.temporaryFolder("hygiene-in")
        defer { try? FileManager.default.removeItem(at: input) }
        let file = input.appending(path: "logins.ndjson").path
        try Data("\(record)\n\(refused)\n".utf8).write(to: URL(filePath: file))

        var said = ""
        func run(
            _ user: String, _ arguments: [String], input: String = "", environment: [String: String] = [:],
            status: Int32 = 0, holds: [String]
        ) throws -> WatchedRun {
            let command = vault.command(user, arguments, input: input, environment: environment)
            let run = try WatchedRun(vault, command, values: [ip, device])
            let name = arguments.prefix(2).joined(separator: " ")
            #expect(run.finished.status == status, "\(name): \(run.finished.standardError)")
            #expect(run.stops > 0, "\(name) was never looked at")
            #expect(run.unprotectedKeys.isEmpty, "\(name): \(run.unprotectedKeys)")
            for key in holds {
                #expect(run.protectedKeys.contains { $0.hasPrefix(key) }, "\(name): the search does not find \(key)")
            }
            said += run.finished.standardError
            return run
        }

        _ = try run("vault_ingest", ["ingest", file], status: 3, holds: ["token-key-v1"])
        let server = try SQSServer.shared.get()
        let queue = try server.makeQueue("hygiene")
        try server.send([record, refused], to: queue)
        _ = try run(
            "vault_ingest", ["ingest", "--poll-seconds", "1", queue], environment: server.environment, status: 3,
            holds: ["token-key-v1"])

        let token = try vault.query("SELECT DISTINCT masked_ip FROM public.user_logins")
        let recover = try run(
            "vault_recoverer", ["recover", "--reason", "hygiene test", "--ticket", "T-1", token],
            holds: ["recovery-key"])
        _ = try run(
            "vault_ingest", ["tokenize", "--domain", "ip", "--reason", "hygiene test"], input: ip,
            holds: ["token-key-v1"])
        let waiting = try vault.query("SELECT id FROM vault.quarantine ORDER BY created_at").split(separator: "\n")
        let why = ["--reason", "hygiene test", "--ticket", "T-2"]
        _ = try run("vault_operator", ["quarantine", "show"] + why + [String(waiting[0])], holds: ["recovery-key"])
        _ = try run(
            "vault_operator", ["quarantine", "replay"] + why + [String(waiting[0])], status: 3,
            holds: ["token-key-v1", "recovery-key"])
        let rotation = try run("vault_operator", ["rotate", "data-keys", "run"], holds: ["recovery-key"])
        // Before the values come, and after they are gone: no copy stays. (Ingest keeps its last buffer to its end.)
        #expect(recover.values.isEmpty, "recover: \(recover.values)")
        #expect(rotation.values.isEmpty, "rotate: \(rotation.values)")
        try expectNothing(in: [cluster.dataFolder.path, cluster.serverLog.path], vault, [ip, device])
        try vault.tokenvault("vault_operator", ["keys", "add", "token"]).succeeded()
        try vault.tokenvault("vault_operator", ["keys", "activate", "token-v2"]).succeeded()
        _ = try run(
            "vault_operator", ["rotate", "token-key", "run"], holds: ["token-key-v1", "token-key-v2", "recovery-key"])
        let places = [cluster.dataFolder.path, cluster.serverLog.path]
        try expectNothing(in: places, vault, [ip, device])
        for value in [ip, device] { #expect(!said.contains(value)) }
        // The search can find: a token stands in the tables, a reason in the log.
        let known = try Set(search(places, vault, [token, "hygiene test"]).map(\.name))
        #expect(known == ["value-0", "value-1"])
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
