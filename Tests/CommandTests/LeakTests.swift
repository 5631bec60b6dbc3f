import Foundation
import TestSupport
import Testing

@Suite("Values, looked for where they must not be", .serialized)
struct LeakTests {
    @Test("are in no data folder, server log, own message, argument list, environment or core")
    func search() throws {
        // A server that logs all it can: statements, parameters, whole rows in errors.
        let cluster = try PrivateCluster(
            purpose: "leak",
            settings: """
                log_statement = all
                log_min_duration_statement = 0
                log_parameter_max_length = -1
                log_parameter_max_length_on_error = -1
                log_error_verbosity = verbose
                """)
        defer { cluster.stop() }
        let vault = try LiveVault("leak", on: cluster)
        defer { vault.remove() }
        let (ip, device) = ("203.0.113.199", "DEVICE-93b1c7aa51")
        let records = (0..<500).map { "{\"user_id\": \"u\($0)\", \"ip\": \"\(ip)\", \"device_id\": \"\(device)\"}" }
        let bad = ["{\"user_id\": \"x\", \"ip\": \"\(ip)/24\", \"device_id\": \"\(device)\"}", "{\"ip\": \"\(ip)\""]
        let input = vault.folder.appending(path: "input", directoryHint: .isDirectory)
        try FileManager.default.createDirectory(at: input, withIntermediateDirectories: false)
        let file = input.appending(path: "logins.ndjson").path
        try Data(((records + bad).joined(separator: "\n") + "\n").utf8).write(to: URL(filePath: file))
        let before = try temporaryFiles()

        var said = ""
        let ingest = try vault.tokenvault("vault_ingest", ["ingest", file])
        #expect(ingest.status == 3)
        said += ingest.standardOutput + ingest.standardError
        let token = try cluster.psql(
            user: "postgres", database: "leak", "SELECT DISTINCT masked_ip FROM public.user_logins")
        let recovered = try vault.tokenvault(
            "vault_recoverer", ["recover", "--reason", "leak test", "--ticket", "T-1", token]
        ).succeeded()
        #expect(recovered.standardOutput == "\(token)\t\(ip)\n")
        said += recovered.standardError
        said += try vault.tokenvault(
            "vault_ingest", ["tokenize", "--domain", "ip", "--reason", "leak test"], input: ip
        )
        .succeeded().standardError
        said += try vault.tokenvault("vault_operator", ["status"]).succeeded().standardOutput
        said += try vault.tokenvault("vault_auditor", ["audit", "list", "--json"]).succeeded().standardOutput

        // A run that waits for input it has half received: looked at while it lives, then crashed with cores allowed.
        let fifo = input.appending(path: "fifo").path
        #expect(unsafe mkfifo(fifo, 0o600) == 0)
        let command = vault.command("vault_ingest", ["ingest", fifo])
        let crashing = try Command(
            "/bin/bash",
            ["-c", "ulimit -c unlimited; cd \"\(input.path)\"; exec \"$0\" \"$@\"", command.executable]
                + command.arguments, environment: command.environment
        ).start()
        let writer = unsafe open(fifo, O_WRONLY)
        let line = Array((records[0] + "\n").utf8)
        #expect(unsafe write(writer, line, line.count) == line.count)
        Thread.sleep(forTimeInterval: 0.5)
        let process = "/proc/\(crashing.processIdentifier)"
        let arguments = try Data(contentsOf: URL(filePath: process + "/cmdline"))
        let environment = (try? Data(contentsOf: URL(filePath: process + "/environ"))) ?? Data()
        said += String(decoding: arguments + environment, as: UTF8.self)
        let limits = try String(contentsOfFile: process + "/limits", encoding: .utf8)
        #expect(limits.contains(#/Max core file size +0 +0 /#), "cores are allowed")
        crashing.signal(SIGSEGV)
        #expect(crashing.wait().wasKilled)
        close(writer)
        #expect(try FileManager.default.contentsOfDirectory(atPath: input.path).sorted() == ["fifo", "logins.ndjson"])

        try cluster.control("stop-fast")
        try FileManager.default.removeItem(at: input)
        let places =
            [cluster.dataFolder.path, cluster.serverLog.path, vault.folder.path]
            + (try temporaryFiles().subtracting(before).map { "/tmp/\($0)" })
        for value in [ip, device] {
            for spelling in spellings(of: value) {
                #expect(!said.contains(spelling))
                #expect(try !isFound(spelling, in: places), "\(spelling.prefix(3))… is on disk")
            }
        }
        // The search itself must be able to find: what is known to be there.
        #expect(try isFound(token, in: [cluster.dataFolder.path]))
        #expect(try isFound("leak test", in: [cluster.serverLog.path]))
    }

    private func spellings(of value: String) -> [String] {
        let bytes = Data(value.utf8)
        return [value, bytes.map { String($0, radix: 16) }.joined(), String(bytes.base64EncodedString().prefix(12))]
    }

    private func temporaryFiles() throws -> Set<String> {
        Set(try FileManager.default.contentsOfDirectory(atPath: "/tmp").filter { !$0.hasPrefix("tv-") })
    }

    private func isFound(_ text: String, in places: [String]) throws -> Bool {
        let existing = places.filter { FileManager.default.fileExists(atPath: $0) }
        return try Command("/bin/grep", ["-rlaF", "--devices=skip", "-e", text] + existing).run().status == 0
    }
}
