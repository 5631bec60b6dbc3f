import Glibc
package import VaultCrypto

/// Why a keyring was refused, not written or not changed.
///
/// The text names the file, what is wrong and what to do. It never contains
/// key material, so it is safe to log.
package enum KeyringError: Error, Equatable {
    // Missing: exit code 66.
    case missing(path: String)

    // Refused for the file's protection: 77.
    case symbolicLink(path: String)
    case notRegularFile(path: String)
    case wrongOwner(path: String, owner: UInt32, user: UInt32)
    case unprotected(path: String, mode: UInt32)
    case accessDenied(path: String)

    // Does not verify: 65.
    case damaged(path: String, reason: StaticText)
    case tooLarge(path: String, limit: Int)
    case wrongPassphrase(path: String)

    // Wrong file or setting: 78.
    case wrongKind(path: String, expected: KeyringKind, found: KeyringKind)
    case unknownFormatVersion(path: String, version: Int64)
    case unknownTokenKey(KeyVersion, known: [KeyVersion])
    case noRecoveryKey(domain: String)

    // Wrong arguments: 64.
    case invalidName(what: StaticText)
    case unusablePublicKey(name: String)
    case duplicateKey(what: StaticText, name: String)
    case unknownKey(KeyID)
    case emptyPassphrase
    case costOutOfRange
    case notAllowed(what: StaticText)
    case transition(key: String, from: KeyState, to: KeyState)

    // Not written: 77 for alreadyExists, 75 for changedMeanwhile, else 1.
    case alreadyExists(path: String)
    case changedMeanwhile(path: String)
    case system(path: String, step: StaticText, code: Int32)
    case crypto(CryptoError)
}

extension KeyringError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .missing(let path):
            "there is no file \(path); check the path, or make a keyring with `tokenvault keys generate`"
        case .symbolicLink(let path):
            "\(path) is a symbolic link; name the file that it points to"
        case .notRegularFile(let path):
            "\(path) is not a regular file; name a file"
        case .wrongOwner(let path, let owner, let user):
            "\(path) belongs to user \(owner), not to you (\(user)); run `chown \(user) \(path)`, and rotate its keys "
                + "if others had access"
        case .unprotected(let path, let mode):
            "\(path) has mode 0\(String(mode, radix: 8)); run `chmod 600 \(path)`, and rotate its keys if others "
                + "had access"
        case .accessDenied(let path):
            "\(path) cannot be read or written by this user; run as the user that owns it"
        case .damaged(let path, let reason):
            "\(path) does not verify: \(reason); restore it from its backup (form: docs/FORMATS.md section 7)"
        case .tooLarge(let path, let limit):
            "\(path) is longer than \(limit) bytes, so it is something else; check the path"
        case .wrongPassphrase(let path):
            "\(path) does not open with this passphrase; check the passphrase, and that the file is the right one"
        case .wrongKind(let path, let expected, let found):
            "\(path) is \(found.name) where \(expected.name) is needed; name the other file"
        case .unknownFormatVersion(let path, let version):
            "\(path) has format version \(version), which this release does not know; use a newer release"
        case .unknownTokenKey(let version, let known):
            "the ingest keyring has no token key \(version), only \(known.map(\.description).joined(separator: ", ")); "
                + "use the keyring that holds it"
        case .noRecoveryKey(let domain):
            "no active recovery key of the ingest keyring may open domain \(domain), so values in it would be lost; "
                + "add one with `tokenvault keys add`"
        case .invalidName(let what):
            "\(what) is not a valid name; see docs/FORMATS.md for the characters allowed"
        case .unusablePublicKey(let name):
            "the public key of \(name) is not usable (wrong length, all zero or of low order); ask its owner for "
                + "the right one"
        case .duplicateKey(let what, let name):
            "the keyring already holds \(what) \(name); list its keys with `tokenvault keys list`"
        case .unknownKey(let id):
            "the keyring has no key \(id); list its keys with `tokenvault keys list`"
        case .emptyPassphrase:
            "the passphrase is empty; choose one of six or more random words"
        case .costOutOfRange:
            "the passphrase cost is out of range; use 1 to 16 operations and 8 MiB to 4 GiB of memory"
        case .notAllowed(let what):
            "refused: \(what)"
        case .transition(let key, let from, let to):
            "key \(key) is \(from.rawValue) and cannot become \(to.rawValue)"
        case .alreadyExists(let path):
            "\(path) exists already and was left alone; choose another path"
        case .changedMeanwhile(let path):
            "\(path) was changed or removed since it was read, and was left alone; run the command again"
        case .system(let path, let step, let code):
            "cannot \(step) \(path): \(unsafe String(cString: strerror(code))); make room, or check the disk and the folder's permissions, and run it again"
        case .crypto(let error):
            error.description
        }
    }
}

/// What a keyring file holds.
package enum KeyringKind: String, Sendable, CaseIterable {
    case ingest = "tokenvault-ingest-keyring"
    case recovery = "tokenvault-recovery-keyring"
    case checkpoint = "tokenvault-checkpoint-key"

    var name: String {
        switch self {
        case .ingest: "an ingest keyring"
        case .recovery: "a recovery keyring"
        case .checkpoint: "a checkpoint key"
        }
    }
}

/// Runs `body` and wraps what the crypto layer throws.
func wrappingCryptoError<R: ~Copyable>(_ body: () throws(CryptoError) -> R) throws(KeyringError) -> R {
    do { return try body() } catch { throw .crypto(error) }
}
