import Foundation
import TestSupport
import Testing

@Suite("A running tokenvault, seen by its own user and by others", .serialized)
struct ProcessProtectionTests {
    /// Another user than root, through whom the kernel can refuse; the tests' own where that is not root.
    private static let user = geteuid() == 0 ? 65534 : geteuid()

    @Test("Neither its own user nor another reads its memory, environment or maps, or attaches to it")
    func unreadable() throws {
        // A server that accepts and never answers, and a program that waits for it.
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
        let running = try Self.as(
            Self.user, [Repository.tokenvault, "status"],
            environment: [
                "SWIFT_BACKTRACE": "enable=no",
                "TOKENVAULT_DATABASE": "host=\(folder.path) user=x dbname=x connect_timeout=60",
            ]
        ).start()
        defer { running.signal(SIGKILL) }
        let control = try Self.as(Self.user, ["/usr/bin/sleep", "30"]).start()
        defer { control.signal(SIGKILL) }
        let pid = running.processIdentifier
        // Before it is the program, it is root's setpriv.
        func isTokenvault() -> Bool {
            (try? String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)) == "tokenvault\n"
        }
        for _ in 0..<200 where !isTokenvault() { usleep(50_000) }
        #expect(isTokenvault())
        for _ in 0..<200 where try owner(pid) != 0 { usleep(50_000) }
        #expect(try owner(pid) == 0, "the process stays dumpable: its files in /proc belong to its user")
        for _ in 0..<200 where try owner(control.processIdentifier) != Self.user { usleep(50_000) }
        #expect(try owner(control.processIdentifier) == Self.user)

        let others: [UInt32] = geteuid() == 0 ? [Self.user, 65533] : [Self.user]
        for file in ["mem", "environ", "maps", "smaps", "auxv", "fd/0"] {
            for user in others {
                #expect(try !canRead("/proc/\(pid)/\(file)", as: user), "user \(user) reads \(file)")
            }
        }
        #expect(try attach(to: pid) == 77)
        // The checks can find.
        #expect(try canRead("/proc/\(control.processIdentifier)/environ", as: Self.user))
        #expect(running.isRunning, "it ended before it was looked at")
        let limits = try String(contentsOfFile: "/proc/\(pid)/limits", encoding: .utf8)
        #expect(limits.contains(#/Max core file size +0 +0 /#))
    }

    /// `arguments` run as `user`: through setpriv where that is somebody else.
    private static func `as`(
        _ user: UInt32, _ arguments: [String], environment: [String: String] = [:]
    ) -> Command {
        guard user != geteuid() else {
            return Command(arguments[0], Array(arguments.dropFirst()), environment: environment)
        }
        return Command(
            "/usr/bin/setpriv", ["--reuid", "\(user)", "--regid", "\(user)", "--clear-groups"] + arguments,
            environment: environment)
    }

    /// The exit code of an attempt to trace the process as its own user.
    private func attach(to pid: Int32) throws -> Int32 {
        try Self.as(
            Self.user, ["/usr/bin/python3", Repository.path("scripts/search_secrets.py"), "attach", "\(pid)"]
        ).run().status
    }

    private func owner(_ pid: Int32) throws -> UInt32 {
        var status = stat()
        guard unsafe stat("/proc/\(pid)/environ", &status) == 0 else { return UInt32.max }
        return status.st_uid
    }

    private func canRead(_ path: String, as user: UInt32) throws -> Bool {
        try Self.as(user, ["/usr/bin/head", "-c", "1", path]).run().standardOutput.isEmpty == false
    }
}
