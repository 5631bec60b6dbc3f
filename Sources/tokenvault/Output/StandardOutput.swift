import Foundation
import VaultCrypto

/// Results on standard output, buffered. A write that fails ends the command with exit 1: nothing is lost silently.
///
/// The buffer may hold values, so it never grows, which would leave copies behind, and is wiped after each use.
final class StandardOutput {
    private static let capacity = 1 << 16

    private let descriptor: Int32
    private let name: String
    private var buffer = [UInt8](repeating: 0, count: capacity)
    private var count = 0
    /// Bytes given to this output.
    private(set) var appended = 0
    /// Bytes that the operating system has taken.
    private(set) var accepted = 0

    init(descriptor: Int32 = STDOUT_FILENO, name: String = "standard output") {
        self.descriptor = descriptor
        self.name = name
    }

    deinit { clear(&buffer, first: count) }

    func write(_ bytes: Span<UInt8>) throws {
        var done = 0
        while done < bytes.count {
            let part = min(bytes.count - done, Self.capacity - count)
            for index in 0..<part { buffer[count + index] = bytes[done + index] }
            count += part
            done += part
            appended += part
            if count == Self.capacity { try flush() }
        }
    }

    func write(_ bytes: [UInt8]) throws { try write(bytes.span) }

    func line(_ text: String) throws { try write(Array((text + "\n").utf8)) }

    /// Hands everything to the operating system. Wipes the buffer, whether that succeeds or not.
    func flush() throws {
        defer {
            clear(&buffer, first: count)
            count = 0
        }
        var offset = 0
        while offset < count {
            let written = unsafe buffer.withUnsafeBytes { bytes in
                unsafe Foundation.write(descriptor, bytes.baseAddress! + offset, count - offset)
            }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw OutputError(name: name, code: errno) }
            offset += written
            accepted += written
        }
    }

    /// Makes a file's contents durable; does nothing for what is no file.
    func synchronize() throws {
        guard fsync(descriptor) == 0 || errno == EINVAL || errno == EROFS else {
            throw OutputError(name: name, code: errno)
        }
    }
}

/// Standard output or an output file could not be written.
struct OutputError: Error, CustomStringConvertible {
    let name: String
    let code: Int32

    var description: String { "cannot write to \(name): \(systemError(code))" }
}
