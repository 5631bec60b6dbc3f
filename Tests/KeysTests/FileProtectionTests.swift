import Glibc
import Keys
import Testing
import VaultCrypto

@Suite("A keyring file that others can reach is refused, with the fix in the message")
struct FileProtectionTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func loadingError(_ path: String) -> KeyringError? {
        keyringError { () throws(KeyringError) in try IngestKeyring.load(path: path) }
    }

    private func savedKeyring() throws -> String {
        let path = folder.file("ingest")
        try Sample.ingest().save(path: path)
        return path
    }

    @Test("A saved keyring has mode 0600 whatever the umask is")
    func savedMode() throws {
        var status = stat()
        #expect(unsafe stat(try savedKeyring(), &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o600)
    }

    @Test("Modes 0600 and 0400 are accepted", arguments: [0o600, 0o400] as [mode_t])
    func acceptedModes(mode: mode_t) throws {
        let path = try savedKeyring()
        #expect(unsafe chmod(path, mode) == 0)
        #expect(loadingError(path) == nil)
    }

    @Test("Any other mode is refused", arguments: [0o644, 0o640, 0o604, 0o620, 0o700, 0o660, 0o4600] as [mode_t])
    func refusedModes(mode: mode_t) throws {
        let path = try savedKeyring()
        #expect(unsafe chmod(path, mode) == 0)
        #expect(loadingError(path) == .unprotected(path: path, mode: mode))
        #expect(loadingError(path)?.description.contains("chmod 600 \(path)") == true)
    }

    @Test("A symbolic link is refused even when its target is fine")
    func link() throws {
        let path = try savedKeyring()
        let link = folder.file("link")
        #expect(unsafe symlink(path, link) == 0)
        #expect(loadingError(link) == .symbolicLink(path: link))
    }

    @Test("A missing file, a folder and a pipe are told apart")
    func otherThings() throws {
        #expect(loadingError(folder.file("none")) == .missing(path: folder.file("none")))
        #expect(loadingError(folder.path) == .notRegularFile(path: folder.path))
        let pipe = folder.file("pipe")
        #expect(unsafe mkfifo(pipe, 0o600) == 0)
        #expect(loadingError(pipe) == .notRegularFile(path: pipe))
    }

    @Test("A file of another user is refused")
    func owner() throws {
        guard geteuid() == 0 else { return }  // only root can give files away
        let path = try savedKeyring()
        #expect(unsafe chown(path, 65534, 65534) == 0)
        #expect(loadingError(path) == .wrongOwner(path: path, owner: 65534, user: 0))
    }

    @Test("An empty file and one over 1 MiB are refused")
    func size() throws {
        try folder.write([], to: "empty")
        #expect(loadingError(folder.file("empty")) == .damaged(path: folder.file("empty"), reason: "the file is empty"))
        try folder.write([UInt8](repeating: 0x20, count: 1 << 20 + 1), to: "large")
        #expect(loadingError(folder.file("large")) == .tooLarge(path: folder.file("large"), limit: 1 << 20))
    }

    @Test(
        "A passphrase file loses one final newline and nothing else",
        arguments: [
            ("pass\n", "pass"), ("pass", "pass"), ("pass\n\n", "pass\n"), (" pass \r\n", " pass \r"), ("ä", "ä"),
        ])
    func passphraseFile(text: String, expected: String) throws {
        try folder.write(Array(text.utf8), to: "passphrase")
        let read = try PassphraseFile.read(path: folder.file("passphrase"))
        let isSame = read.isEqual(to: try secret(expected))
        #expect(isSame)
    }

    @Test("A passphrase file must be protected and not empty")
    func refusedPassphraseFile() throws {
        let path = folder.file("passphrase")
        try folder.write(Array("pass\n".utf8), to: "passphrase", mode: 0o644)
        #expect(
            keyringError { () throws(KeyringError) in try PassphraseFile.read(path: path) }
                == .unprotected(path: path, mode: 0o644))
        try folder.write(Array("\n".utf8), to: "passphrase")
        #expect(
            keyringError { () throws(KeyringError) in try PassphraseFile.read(path: path) } == .emptyPassphrase)
    }
}
