import Foundation

/// Results on standard output, buffered. A write that fails ends the command with exit 1: nothing is lost silently.
final class StandardOutput {
    private let descriptor: Int32
    private var buffer: [UInt8] = []
    private let name: String

    init(descriptor: Int32 = STDOUT_FILENO, name: String = "standard output") {
        self.descriptor = descriptor
        self.name = name
        buffer.reserveCapacity(1 << 16)
    }

    func write(_ bytes: [UInt8]) throws {
        buffer += bytes
        if buffer.count >= 1 << 16 { try flush() }
    }

    func line(_ text: String) throws { try write(Array((text + "\n").utf8)) }

    /// Hands everything to the operating system and wipes the buffer, which may have held values.
    func flush() throws {
        var offset = 0
        while offset < buffer.count {
            let count = unsafe buffer.withUnsafeBytes { bytes in
                unsafe Foundation.write(descriptor, bytes.baseAddress! + offset, bytes.count - offset)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw OutputError(name: name, code: errno) }
            offset += count
        }
        for index in buffer.indices { buffer[index] = 0 }
        buffer.removeAll(keepingCapacity: true)
    }
}

/// Standard output or an output file could not be written.
struct OutputError: Error, CustomStringConvertible {
    let name: String
    let code: Int32

    var description: String { "cannot write to \(name): \(systemError(code))" }
}
