import Foundation
import Keys
import VaultCrypto

/// Where a passphrase comes from: a file that only its owner can read, or the terminal. Never an argument.
enum Passphrase {
    private static let maximumLength = 1024

    /// - Parameter confirm: ask twice on a terminal, for a passphrase that is being chosen.
    static func read(file: String?, confirm: Bool, purpose: String) throws -> SecretBytes {
        if let file { return try PassphraseFile.read(path: file) }
        let first = try prompt("Passphrase for \(purpose): ")
        guard confirm else { return first }
        let second = try prompt("The same again: ")
        guard same(first, second) else { throw Failure(.usage, "the two passphrases differ; nothing was written") }
        return first
    }

    private static func same(_ first: borrowing SecretBytes, _ second: borrowing SecretBytes) -> Bool {
        first.withBytes { a in
            second.withBytes { b in
                a.count == b.count && a.indices.reduce(UInt8(0)) { $0 | (a[$1] ^ b[$1]) } == 0
            }
        }
    }

    /// Reads one line from the controlling terminal without echo.
    private static func prompt(_ text: String) throws -> SecretBytes {
        let terminal = unsafe open("/dev/tty", O_RDWR | O_CLOEXEC)
        guard terminal >= 0 else {
            throw Failure(
                .badConfiguration, "no terminal to ask for the passphrase; name a file by TOKENVAULT_PASSPHRASE_FILE")
        }
        defer { close(terminal) }
        var before = termios()
        guard unsafe tcgetattr(terminal, &before) == 0 else {
            throw Failure(.failed, "cannot silence the terminal's echo")
        }
        var silent = before
        silent.c_lflag &= ~tcflag_t(ECHO)
        guard unsafe tcsetattr(terminal, TCSAFLUSH, &silent) == 0 else {
            throw Failure(.failed, "cannot silence the terminal's echo")
        }
        defer {
            _ = unsafe tcsetattr(terminal, TCSAFLUSH, &before)
            _ = unsafe write(terminal, "\n", 1)
        }
        _ = unsafe text.withCString { unsafe write(terminal, $0, strlen($0)) }
        return try readLine(terminal)
    }

    /// Reads up to a newline through a buffer of known size that is wiped.
    private static func readLine(_ terminal: Int32) throws -> SecretBytes {
        var buffer = [UInt8](repeating: 0, count: maximumLength + 1)
        defer { wipe(&buffer) }
        var length = 0
        reading: while length < buffer.count {
            let count = unsafe buffer.withUnsafeMutableBytes { bytes in
                unsafe Glibc.read(terminal, bytes.baseAddress! + length, bytes.count - length)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            for index in length..<length + count where buffer[index] == UInt8(ascii: "\n") {
                length = index
                break reading
            }
            length += count
        }
        guard (1...maximumLength).contains(length) else {
            throw Failure(.usage, "a passphrase has 1 to \(maximumLength) bytes; nothing was written")
        }
        return try SecretBytes(copying: buffer.span.extracting(0..<length))
    }
}
