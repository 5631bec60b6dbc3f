import Foundation
import TestSupport
import Testing

@Suite("A core file, forced from outside", .serialized)
struct CoreFileTests {
    /// How the limit of core files is raised again.
    enum Way: CaseIterable {
        /// By the shell that starts the program.
        case ulimit
        /// By another process, once the program has lowered it.
        case prlimit
    }

    private static let vault = Result { try LiveVault("core") }

    /// What a trap and a stray pointer raise. (The tests' children have SIGABRT blocked.)
    private static let signals = [SIGILL, SIGSEGV]

    @Test("does not come to be, however the limit was raised", arguments: Way.allCases, signals)
    func none(_ way: Way, _ signal: Int32) throws {
        let vault = try Self.vault.get()
        let folder = try Repository.temporaryFolder("core")
        defer { try? FileManager.default.removeItem(at: folder) }
        let fifo = folder.appending(path: "fifo").path
        #expect(unsafe mkfifo(fifo, 0o600) == 0)
        let ingest = vault.command("vault_ingest", ["ingest", fifo])
        let running = try start(ingest, in: folder)
        let writer = unsafe open(fifo, O_WRONLY)  // returns when the program has come to open its end
        defer { close(writer) }
        let line = Array("{\"user_id\": \"u1\", \"ip\": \"203.0.113.9\"}\n".utf8)
        #expect(unsafe write(writer, line, line.count) == line.count)
        if way == .prlimit {
            let raised = try raise(running.processIdentifier)
            // The hard limit is 0, and the process is not its own user's any more: root may, where it has that right.
            #expect(raised.status != 0 || geteuid() == 0)
        }
        running.signal(signal)
        #expect(running.wait().wasKilled)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["fifo"])
    }

    @Test("comes to be of a program that does not mind: the test can find it")
    func control() throws {
        let pattern = try String(contentsOfFile: "/proc/sys/kernel/core_pattern", encoding: .utf8)
        let folder = try Repository.temporaryFolder("core")
        defer { try? FileManager.default.removeItem(at: folder) }
        let running = try start(Command("/usr/bin/sleep", ["30"]), in: folder)
        usleep(300_000)
        let process = "/proc/\(running.processIdentifier)"
        let limits = try String(contentsOfFile: process + "/limits", encoding: .utf8)
        running.signal(SIGILL)
        #expect(running.wait().wasKilled)
        // Elsewhere a program, or another folder, takes core files; and a hard limit of 0 is not the tests' to raise.
        let isHere = !pattern.hasPrefix("|") && !pattern.hasPrefix("/") && !limits.contains(#/core file size +0 +0 /#)
        let found = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(found.isEmpty != isHere, "\(found); \(pattern)")
    }

    private func start(_ command: Command, in folder: URL) throws -> RunningCommand {
        try Command(
            "/bin/bash",
            ["-c", "ulimit -c $(ulimit -H -c); cd \"\(folder.path)\"; exec \"$0\" \"$@\"", command.executable]
                + command.arguments, environment: command.environment
        ).start()
    }

    private func raise(_ pid: Int32) throws -> Finished {
        try Command("/usr/bin/prlimit", ["--pid", "\(pid)", "--core=unlimited"]).run()
    }
}
