/// Lower-case hexadecimal text. Not for secrets: its time depends on the bytes.
package enum Hex {
    package static func encode(_ bytes: [UInt8]) -> String {
        unsafe String(unsafeUninitializedCapacity: bytes.count * 2) { output in
            for (index, byte) in bytes.enumerated() {
                unsafe output[index * 2] = digit(byte >> 4)
                unsafe output[index * 2 + 1] = digit(byte & 15)
            }
            return bytes.count * 2
        }
    }

    /// 32 digits.
    package static func encode(_ number: UInt128) -> String {
        unsafe String(unsafeUninitializedCapacity: 32) { output in
            for index in 0..<32 { unsafe output[index] = digit(nibble(index, of: number)) }
            return 32
        }
    }

    /// Appends 32 digits.
    package static func append(_ number: UInt128, to output: inout [UInt8]) {
        for index in 0..<32 { output.append(digit(nibble(index, of: number))) }
    }

    /// Lower-case digits only, an even number of them.
    package static func decode(_ text: String) -> [UInt8]? {
        let text = Array(text.utf8)
        guard text.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 2)
        for index in stride(from: 0, to: text.count, by: 2) {
            guard let high = value(text[index]), let low = value(text[index + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    /// Exactly 32 lower-case digits.
    package static func decodeUInt128(_ text: Span<UInt8>) -> UInt128? {
        guard text.count == 32 else { return nil }
        var number: UInt128 = 0
        for index in text.indices {
            guard let value = value(text[index]) else { return nil }
            number = number << 4 | UInt128(value)
        }
        return number
    }

    package static func decodeUInt128(_ text: String) -> UInt128? { decodeUInt128(Array(text.utf8).span) }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x57 + value }

    private static func nibble(_ index: Int, of number: UInt128) -> UInt8 {
        UInt8(truncatingIfNeeded: number >> UInt128(124 - 4 * index)) & 15
    }

    private static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        default: nil
        }
    }
}

extension UInt128 {
    /// The 16 bytes, most significant first: how ids and tokens stand in every format.
    package var bigEndianBytes: [UInt8] { (0..<16).map { UInt8(truncatingIfNeeded: self >> UInt128(120 - 8 * $0)) } }

    /// Reads 16 bytes, most significant first; `nil` for any other length.
    package init?(bigEndianBytes bytes: some Collection<UInt8>) {
        guard bytes.count == 16 else { return nil }
        self = bytes.reduce(0) { $0 << 8 | UInt128($1) }
    }
}
