import Foundation
import TestSupport
import Testing

@Suite("A full disk")
struct FullDiskTests {
    @Test(
        "in mid-rotation: it waits for space, ends with 75 when stopped, and nothing is half", .timeLimit(.minutes(3)))
    func server() throws {
        let (first, second) = (try SmallDisk(size: "8m"), try SmallDisk(size: "8m"))
        let cluster = try PrivateCluster(purpose: "full")
        defer {
            cluster.stop()
            first.stop()
            second.stop()
        }
        let vault = try LiveVault("full_disk", on: cluster)
        defer { vault.remove() }
        let file = try vault.file("logins.ndjson", try LiveVault.records(1_500))
        try vault.tokenvault("vault_ingest", ["ingest", file]).succeeded()
        for sql in [
            "CREATE TABLESPACE first LOCATION '\(first.space.path)'",
            "CREATE TABLESPACE second LOCATION '\(second.space.path)'",
            "ALTER TABLE vault.original SET TABLESPACE first", "ALTER INDEX vault.original_pkey SET TABLESPACE first",
            "ALTER TABLE vault.token_move SET TABLESPACE first",
            "ALTER TABLE public.user_logins SET TABLESPACE second",
            "CHECKPOINT",
        ] { _ = try vault.query(sql) }
        try vault.activateSecondTokenKey()
        try first.leave(kibibytes: 300)
        try second.leave(kibibytes: 60)

        let run = vault.command("vault_operator", ["rotate", "token-key", "run", "--page-size", "100"])
        let stopped = try run.start()
        // The server logs before it answers, and two sessions store: by the fourth, the first has been told.
        try vault.wait(for: "a full disk") { try refusals(cluster) > 3 }
        stopped.signal(SIGTERM)
        let ended = stopped.wait()
        #expect(ended.status == 75, "\(ended.standardError)")
        #expect(ended.standardError.contains("disk is full"), "\(ended.standardError)")
        #expect(try vault.rotationIsWhole("token-key"))
        #expect(try vault.query("SELECT count(*) FROM vault.original WHERE token_version = 1") == "3000")
        #expect(try vault.query("SELECT values_done > 0 FROM vault.rotation") == "t")

        try first.resize("16m")
        let waiting = try run.start()
        let before = try refusals(cluster)
        try vault.wait(for: "the other full disk") { try refusals(cluster) > before || !waiting.isRunning }
        #expect(waiting.isRunning, "it needed no space")
        #expect(try vault.rotationIsWhole("token-key"))
        #expect(try vault.query("SELECT count(*) FROM public.user_logins WHERE masked_ip LIKE 'ip\\_v2\\_%'") == "0")
        try second.resize("16m")
        let finished = waiting.wait()
        #expect(finished.status == 0, "\(finished.standardError)")
        let verified = try vault.tokenvault("vault_operator", ["rotate", "token-key", "verify"]).succeeded()
        #expect(verified.standardOutput.contains("3000 values, the same as before"))
    }

    private func refusals(_ cluster: PrivateCluster) throws -> Int {
        try String(contentsOf: cluster.serverLog, encoding: .utf8).components(separatedBy: "could not extend file")
            .count - 1
    }

    @Test(
        "or a read-only one under the keyrings: 1 with the reason, and the old keyring loads", arguments: [true, false])
    func keyrings(isFull: Bool) throws {
        let vault = try LiveVault("keyring_disk_\(isFull)")
        defer { vault.remove() }
        let disk = try SmallDisk(size: "64k")
        defer { disk.stop() }
        let ingest = disk.space.appending(path: "ingest.keyring").path
        let recovery = disk.space.appending(path: "recovery.keyring").path
        for (name, path) in [("ingest", ingest), ("recovery", recovery)] {
            try FileManager.default.copyItem(atPath: vault.folder.appending(path: "\(name).keyring").path, toPath: path)
        }
        let environment = ["TOKENVAULT_INGEST_KEYRING": ingest, "TOKENVAULT_RECOVERY_KEYRING": recovery]
        let file = try vault.file("logins.ndjson", try LiveVault.records(20))
        for command in [
            ["keys", "add", "token"], ["keys", "activate", "token-v2"],
            ["keys", "add", "recovery", "--name", "second"], ["keys", "retire", "recovery-1"],
        ] {
            let standing = try [ingest, recovery].map { try Data(contentsOf: URL(filePath: $0)) }
            if isFull {
                try disk.fill()
            } else {
                try disk.setReadOnly(true)
            }
            let refused = try vault.tokenvault("vault_operator", command, environment: environment)
            #expect(refused.status == 1, "\(command): \(refused.standardError)")
            #expect(
                refused.standardError.contains(isFull ? "No space left on device" : "Read-only file system"),
                "\(command): \(refused.standardError)")
            #expect(try [ingest, recovery].map { try Data(contentsOf: URL(filePath: $0)) } == standing)
            #expect(try FileManager.default.contentsOfDirectory(atPath: disk.space.path).count == 2)
            // The night's ingest goes on with what stands.
            let night = try vault.tokenvault("vault_ingest", ["ingest", file], environment: environment)
            #expect(night.status == 0, "\(command): \(night.standardError)")
            try isFull ? disk.free() : disk.setReadOnly(false)
            try vault.tokenvault("vault_operator", command, environment: environment).succeeded()
        }
        let states = try vault.query("SELECT name, state FROM vault.key_version ORDER BY name COLLATE \"C\"")
        let listed = try vault.tokenvault("vault_operator", ["keys", "list", "--json", "--ingest-keyring", ingest])
            .succeeded()
        for line in states.split(separator: "\n") {
            let parts = line.split(separator: "|")
            #expect(
                listed.standardOutput.split(separator: "\n").contains {
                    $0.contains("\"name\":\"\(parts[0])\"") && $0.contains("\"state\":\"\(parts[1])\"")
                }, "\(line) is not what the keyring says: \(listed.standardOutput)")
        }
    }
}
