internal import Glibc
internal import VaultCrypto

extension ProtectedFile {
    /// What may stand at the path before.
    enum Precondition {
        /// Nothing: a file that is there is left alone.
        case absent
        /// A keyring for which this holds, else it is left alone.
        case present((borrowing SecretBytes) -> Bool)
    }

    /// Puts `contents` at `path`, mode 0600, so that at any moment, also after a power cut, there is
    /// the old file or the new one, whole.
    ///
    /// A temporary file in the same folder is written, flushed, read back and handed to `verify`; only then does it
    /// take the path (by a link that overwrites nothing, or a rename over the old file), and the folder is flushed.
    static func write(
        _ contents: Span<UInt8>, path: String, precondition: Precondition, limit: Int,
        verify: (borrowing SecretBytes) throws(KeyringError) -> Void
    ) throws(KeyringError) {
        let place = Place(path: path)
        let folder = try place.openFolder()
        defer { close(folder) }
        try check(precondition, path: path, name: place.name, folder: folder, limit: limit)
        try create(place.temporaryName, in: folder, contents: contents, path: path)
        do {
            try verify(try read(path: place.temporaryPath, limit: limit))
            try check(precondition, path: path, name: place.name, folder: folder, limit: limit)
            try publish(place, in: folder, precondition: precondition)
        } catch {
            _ = unsafe unlinkat(folder, place.temporaryName, 0)
            throw error
        }
        guard fsync(folder) == 0 else { throw .system(path: path, step: "flush the folder of", code: errno) }
        try verify(try read(path: path, limit: limit))
    }

    private static func check(
        _ precondition: Precondition, path: String, name: String, folder: Int32, limit: Int
    ) throws(KeyringError) {
        switch precondition {
        case .absent:
            var status = stat()
            guard unsafe fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0 else {
                throw .alreadyExists(path: path)
            }
        case .present(let holds):
            guard holds(try read(path: path, limit: limit)) else { throw .changedMeanwhile(path: path) }
        }
    }

    private static func create(
        _ name: String, in folder: Int32, contents: Span<UInt8>, path: String
    ) throws(KeyringError) {
        let file = unsafe openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else {
            let code = errno
            throw code == EACCES ? .accessDenied(path: path) : .system(path: path, step: "create", code: code)
        }
        var failure: Int32 = 0
        if fchmod(file, 0o600) != 0 { failure = errno }
        if failure == 0 { failure = unsafe contents.withUnsafeBytes { unsafe write($0, to: file) } }
        if failure == 0, fsync(file) != 0 { failure = errno }
        if close(file) != 0, failure == 0 { failure = errno }
        guard failure == 0 else {
            _ = unsafe unlinkat(folder, name, 0)
            throw .system(path: path, step: "write", code: failure)
        }
    }

    private static func write(_ contents: UnsafeRawBufferPointer, to file: Int32) -> Int32 {
        var written = 0
        while written < contents.count {
            let count = unsafe Glibc.write(file, contents.baseAddress! + written, contents.count - written)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return count < 0 ? errno : EIO }
            written += count
        }
        return 0
    }

    private static func publish(
        _ place: Place, in folder: Int32, precondition: Precondition
    ) throws(KeyringError) {
        switch precondition {
        case .absent:
            guard unsafe linkat(folder, place.temporaryName, folder, place.name, 0) == 0 else {
                let code = errno
                throw code == EEXIST
                    ? .alreadyExists(path: place.path) : .system(path: place.path, step: "name", code: code)
            }
            _ = unsafe unlinkat(folder, place.temporaryName, 0)
        case .present:
            guard unsafe renameat(folder, place.temporaryName, folder, place.name) == 0 else {
                throw .system(path: place.path, step: "replace", code: errno)
            }
        }
    }
}

/// Where a file goes, and the temporary name that it has before.
private struct Place {
    let path: String
    let folderPath: String
    let name: String
    let temporaryName: String

    init(path: String) {
        self.path = path
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        name = slash.map { String(path[path.utf8.index(after: $0)...]) } ?? path
        folderPath = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        temporaryName = ".\(name).\(Hex.encode(RandomBytes.fill(8))).tmp"
    }

    var temporaryPath: String { "\(folderPath)/\(temporaryName)" }

    func openFolder() throws(KeyringError) -> Int32 {
        guard !name.isEmpty, name != ".", name != ".." else { throw .notRegularFile(path: path) }
        let folder = unsafe open(folderPath, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else {
            let code = errno
            throw code == ENOENT
                ? .missing(path: folderPath) : .system(path: folderPath, step: "open the folder", code: code)
        }
        return folder
    }
}
