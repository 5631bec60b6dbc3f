import Foundation
import TestSupport
import Testing

@Suite("A running tokenvault, seen by its own user and by others", .serialized)
struct ProcessProtectionTests {
    private static let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"]

    @Test("Neither its own user nor another reads its memory, environment or maps, or attaches to it")
    func unreadable() throws {
        guard geteuid() == 0 else { return }  // only root can become another user
        // A server that accepts and never answers, and a program of user nobody's that waits for it.
        let folder = try Repository.temporaryFolder("protect")
        defer { try? FileManager.default.removeItem(at: folder) }
        let socket = folder.appending(path: ".s.PGSQL.5432").path
        let server = try Command(
            "/usr/bin/env",
            [
                "python3", "-c",
                "import os, socket, sys, time; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); "
                    + "os.chmod(sys.argv[1], 0o777); os.chmod(os.path.dirname(sys.argv[1]), 0o755); time.sleep(60)",
                socket,
            ]
        ).start()
        defer { server.signal(SIGKILL) }
        for _ in 0..<200 where !FileManager.default.fileExists(atPath: socket) { usleep(50_000) }
        usleep(200_000)
        let running = try Command(
            "/usr/bin/setpriv", Self.nobody + [Repository.tokenvault, "status"],
            environment: [
                "SWIFT_BACKTRACE": "enable=no",
                "TOKENVAULT_DATABASE": "host=\(folder.path) user=x dbname=x connect_timeout=60",
            ]
        ).start()
        defer { running.signal(SIGKILL) }
        let control = try Command("/usr/bin/setpriv", Self.nobody + ["sleep", "30"]).start()
        defer { control.signal(SIGKILL) }
        let pid = running.processIdentifier
        for _ in 0..<200 where try owner(pid) != 0 { usleep(50_000) }
        #expect(try owner(pid) == 0, "the process stays dumpable: its files in /proc belong to its user")
        for _ in 0..<200 where try owner(control.processIdentifier) != 65534 { usleep(50_000) }
        #expect(try owner(control.processIdentifier) == 65534)

        for file in ["mem", "environ", "maps", "smaps", "auxv", "fd/0"] {
            for user in ["65534", "65533"] {
                #expect(try !canRead("/proc/\(pid)/\(file)", as: user), "user \(user) reads \(file)")
            }
        }
        #expect(try canRead("/proc/\(control.processIdentifier)/environ", as: "65534"))  // the check can find
        let attach = try Command(
            "/usr/bin/setpriv", Self.nobody + ["timeout", "5", "strace", "-p", "\(pid)"]
        ).run()
        #expect(attach.standardError.contains("Operation not permitted"), "\(attach.standardError)")
        #expect(running.isRunning, "it ended before it was looked at")
        let limits = try String(contentsOfFile: "/proc/\(pid)/limits", encoding: .utf8)
        #expect(limits.contains(#/Max core file size +0 +0 /#))
    }

    private func owner(_ pid: Int32) throws -> UInt32 {
        var status = stat()
        guard unsafe stat("/proc/\(pid)/environ", &status) == 0 else { return UInt32.max }
        return status.st_uid
    }

    private func canRead(_ path: String, as user: String) throws -> Bool {
        try Command(
            "/usr/bin/setpriv",
            ["--reuid", user, "--regid", user, "--clear-groups", "head", "-c", "1", path]
        ).run().standardOutput.isEmpty == false
    }
}
