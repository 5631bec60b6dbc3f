import Foundation
import Keys

/// Keyrings and passphrase file: who else could read, change or replace them.
package struct KeyFileChecks {
    let ingestKeyring: String?
    let recoveryKeyring: String?
    let passphraseFile: String?

    package init(ingestKeyring: String?, recoveryKeyring: String?, passphraseFile: String?) {
        self.ingestKeyring = ingestKeyring
        self.recoveryKeyring = recoveryKeyring
        self.passphraseFile = passphraseFile
    }

    package func run(_ findings: inout Findings) {
        check("ingest-keyring", ingestKeyring, &findings) { path throws(KeyringError) in
            let keyring = try IngestKeyring.load(path: path)
            return "loads; token key \(keyring.activeTokenKey) is active"
        }
        check("recovery-keyring", recoveryKeyring, &findings) { path throws(KeyringError) in
            try ProtectedFile.examine(path: path)
            return "is protected; its keys are not opened here"
        }
        check("passphrase-file", passphraseFile, &findings) { path throws(KeyringError) in
            try ProtectedFile.examine(path: path)
            return "is protected"
        }
        RoomChecks.keyrings([ingestKeyring, recoveryKeyring], &findings)
        if let ingestKeyring, let recoveryKeyring, exists(ingestKeyring), exists(recoveryKeyring) {
            findings.warning(
                "keyrings-together",
                "an ingest keyring and a recovery keyring are on this host: whoever takes it over can open originals",
                .advice("keep them apart; together only on the rotation host, and only while a rotation runs"))
        }
    }

    /// Of the ingest keyring; `nil` where there is none, or it does not load, which ``run(_:)`` reports.
    var ingestKeys: [KeyDescription]? {
        guard let ingestKeyring else { return nil }
        do throws(KeyringError) {
            return try IngestKeyring.load(path: ingestKeyring).descriptions
        } catch { return nil }
    }

    private func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    private func check(
        _ check: String, _ path: String?, _ findings: inout Findings, _ load: (String) throws(KeyringError) -> String
    ) {
        guard let path else { return findings.notChecked(check, "none is set on this host") }
        checkFolders(check, of: path, &findings)
        do throws(KeyringError) {
            let state = try load(path)
            if ProtectedFile.nameCount(path: path) > 1 {
                findings.warning(
                    check, "\(path) has a second name, which would keep old keys after a rotation",
                    .advice("find the other: find / -xdev -samefile \(path); remove it"))
            }
            findings.close(check, "\(path) \(state)")
        } catch {
            findings.failure(check, "\(error)", remedy(error))
        }
    }

    private func remedy(_ error: KeyringError) -> Finding.Remedy {
        switch error {
        case .unprotected(let path, _): .shell("chmod 600 \(quoted(path))")
        case .wrongOwner(let path, _, let user): .shell("chown \(user) \(quoted(path))")
        case .symbolicLink: .advice("name the file that the link points to")
        case .missing: .advice("check the path, or unset it on a host that does not need it")
        default: .advice("restore the file from its backup, or name the right one")
        }
    }

    /// Whoever may write a folder may put another file in the keyring's place, or another folder.
    private func checkFolders(_ check: String, of path: String, _ findings: inout Findings) {
        var folder = URL(filePath: path).standardizedFileURL.deletingLastPathComponent().path
        while true {
            var status = stat()
            if unsafe stat(folder, &status) == 0 {
                let sticky = status.st_mode & S_ISVTX != 0
                if status.st_mode & 0o022 != 0, !sticky {
                    findings.failure(
                        check,
                        "others may replace \(path): folder \(folder) has mode 0\(String(status.st_mode & 0o7777, radix: 8))",
                        .shell("chmod go-w \(quoted(folder))"))
                }
                if status.st_uid != 0, status.st_uid != geteuid() {
                    findings.failure(
                        check, "user \(status.st_uid) may replace \(path): folder \(folder) is theirs",
                        .shell("chown \(geteuid()) \(quoted(folder))"))
                }
            }
            if folder == "/" || folder.isEmpty { return }
            folder = URL(filePath: folder).deletingLastPathComponent().path
        }
    }

    private func quoted(_ path: String) -> String {
        path.allSatisfy { $0.isLetter || $0.isNumber || "/._-+:".contains($0) }
            ? path : "'" + path.replacing("'", with: "'\\''") + "'"
    }
}
