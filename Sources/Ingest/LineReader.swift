import Foundation

/// One line of the input, as a range of its batch's bytes.
struct Line {
    /// Content without the line's end, in ``RecordBatch/bytes``.
    let range: Range<Int>
    /// Counts from 1 over the whole input, empty lines included.
    let number: Int
    /// Offset in the input after the line's newline.
    let endOffset: Int
    /// The line was longer than ``LineReader/maximumLength``; only its start is here.
    let isTruncated: Bool
    /// The input ended without a newline after it.
    let isUnterminated: Bool
}

/// Splits a stream into lines with bounded memory, whatever their length.
struct LineReader: ~Copyable {
    /// Longest record kept whole, in bytes; SQS allows 1 MiB as well.
    static let maximumLength = 1 << 20
    /// A batch of long lines ends here, so that memory does not depend on their number.
    static let maximumBatchBytes = 16 << 20
    private static let chunk = 256 * 1024

    private var stream: ByteStream
    private var pending: [UInt8] = []
    private var position = 0  // in pending
    private(set) var offset: Int
    private(set) var lineNumber: Int
    private var isAtEnd = false
    /// Set once the stream turned out damaged; the lines before it were delivered.
    private(set) var damage: StreamDamage?

    init(_ stream: consuming ByteStream, offset: Int, lineNumber: Int) {
        self.stream = stream
        self.offset = offset
        self.lineNumber = lineNumber
    }

    /// Reads up to `limit` non-empty lines into `bytes`; none at the end of the input.
    mutating func nextLines(_ limit: Int, into bytes: inout [UInt8]) -> [Line] {
        var lines: [Line] = []
        lines.reserveCapacity(min(limit, 1 << 14))
        while lines.count < limit, bytes.count < Self.maximumBatchBytes, let line = nextLine(into: &bytes) {
            if !line.range.isEmpty { lines.append(line) }
        }
        return lines
    }

    private mutating func nextLine(into bytes: inout [UInt8]) -> Line? {
        let start = bytes.count
        var length = 0
        var consumed = 0
        while true {
            if position == pending.count, !fill() {
                guard consumed > 0 else { return nil }
                return finish(start, length, consumed: consumed, in: &bytes, isUnterminated: true)
            }
            let rest = pending[position...]
            let newline = firstNewline(in: rest)
            let taken = (newline ?? pending.count) - position
            let room = max(0, Self.maximumLength + 1 - (bytes.count - start))  // one more tells a longer line
            bytes.append(contentsOf: rest.prefix(min(taken, room)))
            length += taken
            consumed += taken
            position += taken
            if newline != nil {
                position += 1
                return finish(start, length, consumed: consumed + 1, in: &bytes, isUnterminated: false)
            }
        }
    }

    private mutating func finish(
        _ start: Int, _ length: Int, consumed: Int, in bytes: inout [UInt8], isUnterminated: Bool
    ) -> Line {
        let isTruncated = length > Self.maximumLength
        if isTruncated { bytes.removeLast(bytes.count - start - Self.maximumLength) }
        if !isTruncated, bytes.count > start, bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        offset += consumed
        lineNumber += 1
        return Line(
            range: start..<bytes.count, number: lineNumber, endOffset: offset, isTruncated: isTruncated,
            isUnterminated: isUnterminated)
    }

    private func firstNewline(in slice: ArraySlice<UInt8>) -> Int? {
        unsafe slice.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress,
                let found = unsafe memchr(start, Int32(UInt8(ascii: "\n")), bytes.count)
            else { return nil }
            return unsafe slice.startIndex + (UnsafeRawPointer(found) - start)
        }
    }

    private mutating func fill() -> Bool {
        guard !isAtEnd else { return false }
        wipeBytes(&pending)
        position = 0
        do {
            if try stream.read(into: &pending, limit: Self.chunk) == 0 { isAtEnd = true }
        } catch {
            damage = error
            isAtEnd = true
        }
        return !pending.isEmpty
    }
}
