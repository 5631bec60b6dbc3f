import Foundation
import TestSupport
import Testing

@testable import Doctor

@Suite("Doctor, on its own host", .serialized)
struct HostTests {
    /// Tests/DoctorTests/fakes.c, compiled into the server's folder, which goes when the tests end.
    private static let fakes = Result {
        let library = try Patient.shared.get().vault.cluster.folder.appending(path: "fakes.so").path
        try Command(
            "/usr/bin/env", ["clang", "-shared", "-fPIC", "-o", library, Repository.path("Tests/DoctorTests/fakes.c")]
        ).check()
        return library
    }

    struct Broken: Sendable {
        let what: String
        let check: String
        let verdict: String
        let named: String
    }

    @Test(
        "names what is wrong with libraries, clock and core files",
        arguments: [
            Broken(what: "libpq", check: "libraries", verdict: "failure", named: "libpq is too old"),
            Broken(what: "libcurl", check: "libraries", verdict: "failure", named: "7.85.0"),
            Broken(what: "minute", check: "clock", verdict: "warning", named: "s behind this host's"),
            Broken(what: "hour", check: "clock", verdict: "failure", named: "s ahead of this host's"),
            Broken(what: "undumpable", check: "core", verdict: "failure", named: "can be dumped"),
            Broken(what: "nothing", check: "libraries", verdict: "ok", named: "libcurl"),
            Broken(what: "nothing", check: "clock", verdict: "ok", named: "give or take"),
            Broken(what: "nothing", check: "core", verdict: "ok", named: "leaves no core file"),
        ])
    func program(_ broken: Broken) throws {
        let patient = try Patient.shared.get()
        let finished = try patient.vault.tokenvault(
            "vault_nobody", ["doctor", "--json"],
            environment: [
                "TOKENVAULT_RECOVERY_KEYRING": "", "LD_PRELOAD": try Self.fakes.get(), "BREAK": broken.what,
            ])
        let lines = try Line.all(finished)
        let found = lines.filter { $0.check == broken.check }
        #expect(found.map(\.verdict) == [broken.verdict], "\(found)")
        #expect(found.first?.message.contains(broken.named) == true, "\(found)")
        #expect((found.first?.remedy?.isEmpty == false) == (broken.verdict != "ok"))
        // DoctorTests may be breaking the same patient meanwhile.
        #expect(finished.status == (lines.contains { $0.verdict == "failure" } ? 1 : 0))
    }

    @Test("names a limit of locked memory that is too low for keys")
    func memoryLock() throws {
        let patient = try Patient.shared.get()
        let command = patient.vault.command(
            "vault_nobody", ["doctor", "--json"], environment: ["TOKENVAULT_RECOVERY_KEYRING": ""])
        for (kibibytes, verdict) in [("64", "warning"), ("2048", "ok")] {
            let finished = try Command(
                "/bin/bash",
                ["-c", "ulimit -S -l \(kibibytes); exec \"$0\" \"$@\"", command.executable]
                    + command.arguments, environment: command.environment
            ).run()
            let found = try Line.all(finished).filter { $0.check == "memory-lock" }
            #expect(found.map(\.verdict) == [verdict], "\(found)")
        }
    }

    @Test(
        "names swap that is not encrypted, and a limit of core files that came back",
        arguments: [
            ("", "0", [String: String]()),
            ("/dev/sda2 partition 1000 0 -2\n", "0", ["swap": "swap on /dev/sda2 is not encrypted"]),
            ("/swap.img file 1000 0 -2\n", "0", ["swap": "swap on /swap.img is not encrypted"]),
            ("/dev/dm-1 partition 1000 0 -2\n", "0", [:]),
            ("/dev/dm-2 partition 1000 0 -2\n", "0", ["swap": "swap on /dev/dm-2 is not encrypted"]),
            ("/dev/zram0 partition 1000 0 -2\n", "0", [:]),
            ("", "unlimited", ["core": "the limit of core files is not 0"]),
        ])
    func system(_ swaps: String, _ coreLimit: String, _ wrong: [String: String]) throws {
        let root = try Repository.temporaryFolder("root")
        defer { try? FileManager.default.removeItem(at: root) }
        func write(_ text: String, to path: String) throws {
            let file = root.appending(path: path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        try write("Filename Type Size Used Priority\n" + swaps, to: "proc/swaps")
        try write(
            "Max core file size \(coreLimit) \(coreLimit) bytes\nMax locked memory 8388608 8388608 bytes\n",
            to: "proc/self/limits")
        try write("CRYPT-PLAIN-swap\n", to: "sys/block/dm-1/dm/uuid")
        try write("LVM-0123\n", to: "sys/block/dm-2/dm/uuid")
        var findings = Findings()
        HostChecks(root: root.path, environment: ["SWIFT_BACKTRACE": "enable=no"]).run(&findings)
        for check in ["swap", "core"] {
            // Whether the tests' own process can be dumped depends on which tests ran before: that is not asked here.
            let found = findings.all.filter {
                $0.check == check && !$0.message.hasPrefix("this process can be dumped")
            }
            let expected = wrong[check].map { [$0] } ?? []
            #expect(found.filter { $0.verdict != .ok }.count == expected.count, "\(found)")
            for text in expected { #expect(found.contains { $0.message.hasPrefix(text) }, "\(found)") }
        }
    }

    @Test(
        "names a disk with too little room",
        arguments: [
            (1 << 20, Int?.none, Finding.Verdict?.some(.failure)), (20 << 20, 1_000, .warning),
            (200 << 20, 1_000, nil), (200 << 20, 99, .failure), (200 << 20, nil, nil),
        ])
    func room(_ free: Int, _ files: Int?, _ verdict: Finding.Verdict?) {
        var findings = Findings()
        RoomChecks.judge(
            "data-room", "/data", RoomChecks.Room(free: free, files: files), least: 10 << 20, enough: 100 << 20,
            consequence: "the server stops", &findings)
        #expect(findings.all.map(\.verdict) == (verdict.map { [$0] } ?? []))
        #expect(!findings.all.contains { $0.remedy == nil || !$0.message.contains("/data") })
    }

    @Test("looks at the disk itself, as df does")
    func disk() throws {
        let folder = try Repository.temporaryFolder("room")
        defer { try? FileManager.default.removeItem(at: folder) }
        let room = try #require(RoomChecks.Room(of: folder.path))
        let text = try Command("/usr/bin/df", ["-B1", "--output=avail", folder.path]).check()
        let free = try #require(text.split(whereSeparator: \.isNewline).last.flatMap { Int($0.filter(\.isNumber)) })
        #expect(abs(room.free - free) < 4 << 30)
        #expect(RoomChecks.Room(of: "/nowhere") == nil)
    }
}
