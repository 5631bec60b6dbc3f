/// Rows in PostgreSQL's binary COPY format, built column by column into one buffer.
///
/// Source: PostgreSQL manual, COPY, "Binary Format".
package struct CopyRows {
    /// Ends the stream: a row of -1 columns.
    static let trailer: [UInt8] = [0xFF, 0xFF]

    package private(set) var count = 0
    /// The stream so far, without its trailer.
    private(set) var storage: [UInt8]
    private let columnCount: Int16

    package init(columns: Int, capacity: Int) {
        columnCount = Int16(columns)
        storage = []
        storage.reserveCapacity(capacity)
        storage += "PGCOPY\n".utf8
        storage += [0xFF, 0x0D, 0x0A, 0x00, 0, 0, 0, 0, 0, 0, 0, 0]
    }

    /// Starts the next row; exactly as many columns as declared must follow.
    package mutating func beginRow() {
        storage.appendInteger(columnCount)
        count += 1
    }

    package mutating func append(_ bytes: Span<UInt8>?) {
        guard let bytes else { return storage.appendInteger(Int32(-1)) }
        storage.appendInteger(Int32(bytes.count))
        storage.append(copying: bytes)
    }

    package mutating func append(int4 value: Int32?) {
        guard let value else { return storage.appendInteger(Int32(-1)) }
        storage.appendInteger(Int32(4))
        storage.appendInteger(value)
    }

    /// - Parameter date: days since 2000-01-01.
    package mutating func append(date: Int32) { append(int4: date) }

    /// Appends what `write` adds to the buffer as one value, so that it needs no buffer of its own.
    package mutating func append(writing write: (inout [UInt8]) -> Void) {
        let lengthOffset = storage.count
        storage.appendInteger(Int32(0))
        write(&storage)
        let length = Int32(storage.count - lengthOffset - 4)
        storage.replaceSubrange(lengthOffset..<lengthOffset + 4, with: bigEndian(length))
    }
}
