import Foundation
import Keys
import VaultCrypto

/// A folder of mode 0700 that goes away with the value.
final class TemporaryFolder {
    let path: String

    init() throws {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("tv-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            at: url, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        path = url.path
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: file(name)))) }

    /// Writes a file of mode 0600.
    func write(_ bytes: [UInt8], to name: String, mode: Int = 0o600) throws {
        try? FileManager.default.removeItem(atPath: file(name))
        _ = FileManager.default.createFile(
            atPath: file(name), contents: Data(bytes), attributes: [.posixPermissions: mode])
    }

    var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] }
}

func secret(_ text: String) throws -> SecretBytes { try SecretBytes(copying: Array(text.utf8).span) }

/// What `body` throws, as a ``KeyringError``.
func keyringError<R: ~Copyable>(_ body: () throws(KeyringError) -> R) -> KeyringError? {
    do { _ = try body() } catch { return error }
    return nil
}
