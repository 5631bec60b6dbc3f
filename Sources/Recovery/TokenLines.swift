internal import Glibc
package import Postgres
internal import Tokenization

/// Tokens read from a descriptor, one a line, a page at a time: memory does not depend on their number.
///
/// White space around a token and empty lines are skipped. Lines are counted from 1, empty ones included.
package struct TokenLines: ~Copyable {
    private static let chunk = 64 * 1024
    /// No token is longer.
    private static let longestLine = 128

    private let descriptor: Int32
    private let isOwned: Bool
    private var buffer: [UInt8] = []
    private var position = 0
    private var line = 0
    private var isAtEnd = false

    /// Reads standard input.
    package init() {
        descriptor = STDIN_FILENO
        isOwned = false
    }

    package init(path: String) throws(RecoveryError) {
        descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        isOwned = true
        guard descriptor >= 0 else { throw .unreadableTokens(code: errno) }
    }

    deinit { if isOwned, descriptor >= 0 { close(descriptor) } }

    /// The next page of at most `limit` tokens; `nil` at the end.
    ///
    /// - Throws: ``RecoveryError/malformedToken(line:)``, which does not repeat the line: it may hold a value.
    package mutating func nextPage(_ limit: Int) throws(RecoveryError) -> BinaryArray? {
        var page = BinaryArray(of: .text, capacity: min(limit, 10_000) * 48)
        while page.count < limit, let range = try nextLine() {
            line += 1
            let trimmed = trim(range)
            if trimmed.isEmpty { continue }
            guard trimmed.count <= Self.longestLine, Token(String(decoding: buffer[trimmed], as: UTF8.self)) != nil
            else {
                throw .malformedToken(line: line)
            }
            page.append(buffer.span.extracting(trimmed))
        }
        return page.count == 0 ? nil : page
    }

    private mutating func nextLine() throws(RecoveryError) -> Range<Int>? {
        var searched = position
        while true {
            if let newline = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { position = newline + 1 }
                return position..<newline
            }
            searched = buffer.count
            guard !isAtEnd else {
                defer { position = buffer.count }
                return position == buffer.count ? nil : position..<buffer.count
            }
            guard buffer.count - position <= Self.chunk else { throw .malformedToken(line: line + 1) }
            searched -= position
            try fill()
        }
    }

    /// Drops what was read and reads on.
    private mutating func fill() throws(RecoveryError) {
        buffer.removeSubrange(..<position)
        position = 0
        let start = buffer.count
        buffer.append(contentsOf: repeatElement(0, count: Self.chunk))
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            var count: Int
            repeat {
                count = unsafe read(descriptor, bytes.baseAddress! + start, Self.chunk)
            } while count < 0
                && errno == EINTR
            return count
        }
        let code = errno
        buffer.removeLast(Self.chunk - max(count, 0))
        guard count >= 0 else { throw .unreadableTokens(code: code) }
        isAtEnd = count == 0
    }

    private func trim(_ range: Range<Int>) -> Range<Int> {
        var range = range
        while let first = range.first, isSpace(buffer[first]) { range = range.dropFirst() }
        while let last = range.last, isSpace(buffer[last]) { range = range.dropLast() }
        return range
    }

    private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}
