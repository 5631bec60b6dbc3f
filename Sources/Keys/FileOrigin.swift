internal import Synchronization
internal import VaultCrypto

/// Remembers which file contents a keyring stands for, so that saving never overwrites somebody else's change.
final class FileOrigin: Sendable {
    private let checksumLine: Mutex<[UInt8]?>

    init(_ checksumLine: [UInt8]? = nil) { self.checksumLine = Mutex(checksumLine) }

    /// Writes a composed keyring: to a free path, or over the file that this keyring was last read from or written to.
    func save(
        path: String, replacing: Bool, compose: (inout KeyringText) -> Void,
        verify: (borrowing SecretBytes) throws(KeyringError) -> Void
    ) throws(KeyringError) {
        let known = checksumLine.withLock { $0 }
        let precondition: ProtectedFile.Precondition =
            replacing ? .present { KeyringDocument.checksumLine(of: $0) == known } : .absent
        var written: [UInt8] = []
        try KeyringText.with(compose) { text throws(KeyringError) in
            guard text.count <= KeyringText.byteLimit else {
                throw .notAllowed(what: "a keyring of more than 1 MiB; destroy keys that nothing needs")
            }
            let line = text.extracting(last: KeyringText.checksumByteCount)
            written = line.indices.map { line[$0] }
            try ProtectedFile.write(
                text, path: path, precondition: precondition, limit: KeyringText.byteLimit, verify: verify)
        }
        checksumLine.withLock { $0 = written }
    }
}

/// A secret with several owners: keyrings that were copied for editing share their key pages.
final class SharedSecret: Sendable {
    let bytes: SecretBytes

    init(_ bytes: consuming SecretBytes) { self.bytes = bytes }
}
