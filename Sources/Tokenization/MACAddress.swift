extension NormalizedValue {
    /// Lower-case pairs with `:`. Accepts 12 hex digits, 6 pairs with `:` or `-`, 3 groups of 4 with `.`.
    static func macAddress(_ text: Span<UInt8>) throws(NormalizationError) -> [UInt8] {
        let (separator, groupLength): (UInt8, Int) =
            switch text.count {
            case 12: (0, 12)
            case 14: (UInt8(ascii: "."), 4)
            case 17 where text[2] == UInt8(ascii: ":"): (UInt8(ascii: ":"), 2)
            case 17: (UInt8(ascii: "-"), 2)
            default: throw .invalid(.mac)
            }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(17)
        var digits = 0
        for index in text.indices {
            if index % (groupLength + 1) == groupLength {
                guard text[index] == separator else { throw .invalid(.mac) }
                continue
            }
            guard let digit = lowerHexDigit(text[index]) else { throw .invalid(.mac) }
            if digits > 0, digits.isMultiple(of: 2) { bytes.append(UInt8(ascii: ":")) }
            bytes.append(digit)
            digits += 1
        }
        return bytes
    }

    private static func lowerHexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"): byte
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte | 0x20
        default: nil
        }
    }
}
