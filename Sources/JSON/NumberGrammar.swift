/// Tells a number that is no JSON from one that is merely too large; simdjson reports both alike.
/// Called for refused documents only.
enum NumberGrammar {
    /// Whether every number outside strings is written as RFC 8259, section 6, has it.
    static func holds(for bytes: Span<UInt8>) -> Bool {
        var index = 0
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "\""): index = endOfString(in: bytes, from: index)
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                guard let end = endOfNumber(in: bytes, from: index) else { return false }
                index = end
            default: index += 1
            }
        }
        return true
    }

    private static func endOfString(in bytes: Span<UInt8>, from start: Int) -> Int {
        var index = start + 1
        while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
            index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
        }
        return index + 1
    }

    private static func endOfNumber(in bytes: Span<UInt8>, from start: Int) -> Int? {
        var index = start
        if byte(index, of: bytes) == UInt8(ascii: "-") { index += 1 }
        if byte(index, of: bytes) == UInt8(ascii: "0") {
            index += 1
        } else {
            guard skipDigits(&index, in: bytes) else { return nil }
        }
        if byte(index, of: bytes) == UInt8(ascii: ".") {
            index += 1
            guard skipDigits(&index, in: bytes) else { return nil }
        }
        if byte(index, of: bytes) | 0x20 == UInt8(ascii: "e") {
            index += 1
            if [UInt8(ascii: "+"), UInt8(ascii: "-")].contains(byte(index, of: bytes)) { index += 1 }
            guard skipDigits(&index, in: bytes) else { return nil }
        }
        let ends: [UInt8] = [0x09, 0x0A, 0x0D, 0x20, UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}")]
        return index == bytes.count || ends.contains(byte(index, of: bytes)) ? index : nil
    }

    private static func byte(_ index: Int, of bytes: Span<UInt8>) -> UInt8 { index < bytes.count ? bytes[index] : 0 }

    private static func skipDigits(_ index: inout Int, in bytes: Span<UInt8>) -> Bool {
        let first = index
        while (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte(index, of: bytes)) { index += 1 }
        return index > first
    }
}
