internal import Glibc
package import VaultCrypto

/// Reads files that hold secrets: into protected memory, and only when nobody else can have read or planted them.
package enum ProtectedFile {
    /// The file's bytes, at least one.
    ///
    /// Checks after opening, so that nothing can be swapped in between: a regular file, no symbolic link,
    /// of the effective user, mode 0600 or 0400, at most `limit` bytes.
    package static func read(path: String, limit: Int) throws(KeyringError) -> SecretBytes {
        let file = unsafe open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw openingError(errno, path: path) }
        defer { close(file) }
        let size = try checkedSize(of: file, path: path, limit: limit)
        var failure: Int32?
        let contents = try wrappingCryptoError { () throws(CryptoError) in
            try SecretBytes(count: size) { page in
                unsafe page.withUnsafeMutableBytes { page in failure = unsafe fill(page, from: file) }
            }
        }
        if let failure {
            guard failure == 0 else { throw .system(path: path, step: "read", code: failure) }
            throw .changedMeanwhile(path: path)
        }
        return contents
    }

    /// Checks what ``read(path:limit:)`` checks, without reading.
    package static func examine(path: String) throws(KeyringError) {
        let file = unsafe open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else { throw openingError(errno, path: path) }
        defer { close(file) }
        _ = try checkedSize(of: file, path: path, limit: KeyringText.byteLimit)
    }

    /// How many names (hard links) the file has; 0 when it cannot be examined.
    package static func nameCount(path: String) -> Int {
        var status = stat()
        return unsafe lstat(path, &status) == 0 ? Int(status.st_nlink) : 0
    }

    private static func openingError(_ code: Int32, path: String) -> KeyringError {
        switch code {
        case ENOENT, ENOTDIR: .missing(path: path)
        case ELOOP: .symbolicLink(path: path)
        case EACCES, EPERM: .accessDenied(path: path)
        case ENXIO: .notRegularFile(path: path)
        default: .system(path: path, step: "open", code: code)
        }
    }

    private static func checkedSize(of file: Int32, path: String, limit: Int) throws(KeyringError) -> Int {
        var status = stat()
        guard unsafe fstat(file, &status) == 0 else { throw .system(path: path, step: "examine", code: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notRegularFile(path: path) }
        guard status.st_uid == geteuid() else {
            throw .wrongOwner(path: path, owner: status.st_uid, user: geteuid())
        }
        let mode = status.st_mode & 0o7777
        guard mode == 0o600 || mode == 0o400 else { throw .unprotected(path: path, mode: mode) }
        guard status.st_size <= limit else { throw .tooLarge(path: path, limit: limit) }
        guard status.st_size > 0 else { throw .damaged(path: path, reason: "the file is empty") }
        return Int(status.st_size)
    }

    /// Reads exactly as many bytes as `page` has. An error number, 0 for a file that grew or shrank, `nil` when done.
    private static func fill(_ page: UnsafeMutableRawBufferPointer, from file: Int32) -> Int32? {
        var filled = 0
        while filled < page.count {
            let count = unsafe Glibc.read(file, page.baseAddress! + filled, page.count - filled)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { return errno }
            guard count > 0 else { return 0 }
            filled += count
        }
        var extra: UInt8 = 0
        return unsafe Glibc.read(file, &extra, 1) == 0 ? nil : 0
    }
}

/// A passphrase kept in a file, for jobs without a terminal.
package enum PassphraseFile {
    package static let byteLimit = 4096

    /// The file's bytes as they are, without one final newline. The file must be protected as a keyring is.
    package static func read(path: String) throws(KeyringError) -> SecretBytes {
        try withoutFinalNewline(ProtectedFile.read(path: path, limit: byteLimit))
    }

    /// Drops one final newline: the rule for passphrases from files, pipes and terminals alike.
    package static func withoutFinalNewline(_ text: consuming SecretBytes) throws(KeyringError) -> SecretBytes {
        let count = text.count
        let endsInNewline = text.withBytes { $0[count - 1] == UInt8(ascii: "\n") }
        guard endsInNewline else { return text }
        guard count > 1 else { throw .emptyPassphrase }
        do throws(CryptoError) {
            return try text.withBytes { bytes throws(CryptoError) in
                try SecretBytes(copying: bytes.extracting(first: count - 1))
            }
        } catch { throw .crypto(error) }
    }
}
