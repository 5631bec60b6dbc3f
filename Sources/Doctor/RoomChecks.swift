import Foundation
import Postgres
import VaultStore

/// Room on the disks that must not fill up: the server's, where it is this host's, and those of the keyrings.
enum RoomChecks {
    private static let mebibyte = 1 << 20

    struct Room {
        /// Bytes for an ordinary user.
        let free: Int
        /// Files that can still be made; `nil` where the file system does not count them.
        let files: Int?

        init(free: Int, files: Int?) { (self.free, self.files) = (free, files) }

        /// `nil` where `path` cannot be looked at.
        init?(of path: String) {
            var status = statvfs()
            guard unsafe statvfs(path, &status) == 0 else { return nil }
            free = Int(clamping: status.f_bavail) * Int(clamping: status.f_frsize)
            files = status.f_files == 0 ? nil : Int(clamping: status.f_favail)
        }
    }

    static func keyrings(_ paths: [String?], _ findings: inout Findings) {
        let folders = paths.compactMap { $0 }.map { URL(filePath: $0).deletingLastPathComponent().path }
        for folder in Set(folders).sorted() {
            guard let room = Room(of: folder) else { continue }  // reported with the keyring
            judge(
                "keyring-room", "\(folder), where a keyring is", room, least: mebibyte, enough: 16 * mebibyte,
                consequence: "a keyring could not be written again, as each change of a key does", &findings)
        }
        folders.isEmpty
            ? findings.notChecked("keyring-room", "no keyring is set on this host")
            : findings.close("keyring-room", "the keyrings can be written again")
    }

    static func server(_ store: inout VaultStore, _ findings: inout Findings) throws(PostgresError) {
        let check = "data-room"
        guard store.route.isLocal else {
            return findings.notChecked(check, "needs doctor on the server's host; watch its disks there")
        }
        let folder: String?
        do {
            folder = try store.dataFolder()
        } catch {
            guard error.state == .insufficientPrivilege else { throw error }
            return findings.notChecked(check, "needs a superuser or a role in pg_read_all_settings")
        }
        guard let folder, let data = Room(of: folder) else {
            return findings.notChecked(check, "the data folder cannot be looked at from here; watch its disk")
        }
        for (path, room) in [(folder, data), (folder + "/pg_wal", Room(of: folder + "/pg_wal") ?? data)] {
            judge(
                check, path, room, least: 128 * mebibyte, enough: 1024 * mebibyte,
                consequence: "the server stops when it is full, and with it ingest and recovery", &findings)
        }
        findings.close(check, "\(data.free / mebibyte) MiB are free for the server's data")
    }

    static func judge(
        _ check: String, _ what: String, _ room: Room, least: Int, enough: Int, consequence: String,
        _ findings: inout Findings
    ) {
        let remedy = Finding.Remedy.advice("make room on that file system, or move what is there to a larger one")
        let size = "\(room.free / 1024) KiB are free for \(what)"
        if room.free < least {
            findings.failure(check, "only \(size): \(consequence)", remedy)
        } else if room.free < enough {
            findings.warning(check, "only \(size): \(consequence)", remedy)
        }
        if let files = room.files, files < 100 {
            findings.failure(check, "only \(files) more files can be made for \(what): \(consequence)", remedy)
        }
    }
}
