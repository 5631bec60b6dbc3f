/// The unambiguous encoding of a list of fields (docs/FORMATS.md section 1): each as a big-endian
/// 32-bit length and its bytes; NULL as the length FFFFFFFF. Two different lists never have the same bytes.
package struct FieldEncoder: Sendable {
    package private(set) var bytes: [UInt8] = []

    package init(reservingCapacity capacity: Int = 128) { bytes.reserveCapacity(capacity) }

    /// Starts with a label such as `tokenvault/original/1`, itself a field.
    package init(label: StaticString, reservingCapacity capacity: Int = 128) {
        self.init(reservingCapacity: capacity)
        append(label.description)
    }

    package mutating func append(_ field: Span<UInt8>) {
        appendLength(field.count)
        for index in field.indices { bytes.append(field[index]) }
    }

    package mutating func append(_ field: [UInt8]) {
        appendLength(field.count)
        bytes += field
    }

    package mutating func append(_ text: String) {
        appendLength(text.utf8.count)
        bytes += text.utf8
    }

    package mutating func append(u32 number: UInt32) { appendNumber(number) }

    package mutating func append(u64 number: UInt64) { appendNumber(number) }

    package mutating func append(i64 number: Int64) { appendNumber(number) }

    /// A 16-byte id or token.
    package mutating func append(uuid: UInt128) { appendNumber(uuid) }

    package mutating func appendNull() { appendBigEndian(UInt32.max) }

    private mutating func appendLength(_ count: Int) {
        precondition(count < Int(UInt32.max), "a field is shorter than 4 GiB")
        appendBigEndian(UInt32(count))
    }

    private mutating func appendNumber(_ number: some FixedWidthInteger) {
        appendLength(number.bitWidth / 8)
        appendBigEndian(number)
    }

    private mutating func appendBigEndian(_ number: some FixedWidthInteger) {
        var shift = number.bitWidth
        while shift > 0 {
            shift -= 8
            bytes.append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }
}
