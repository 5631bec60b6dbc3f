/// A program's version as the integer that an adopted table keeps.
package enum VersionNumber {
    /// `2.3.0` → 2003000: major · 1,000,000 + minor · 1,000 + patch, missing parts 0.
    ///
    /// - Returns: `nil` unless there are one to three decimal parts, minor and patch are at most 999, and the result
    ///   fits `Int32`.
    package static func integer(from text: Span<UInt8>) -> Int32? {
        var parts = 0
        var number: Int64 = 0
        var index = 0
        while parts < 3 {
            guard index < text.count, let part = self.part(in: text, from: &index) else { return nil }
            guard parts == 0 || part <= 999 else { return nil }
            number = number * 1000 + part
            parts += 1
            if index == text.count { break }
            guard parts < 3, text[index] == UInt8(ascii: ".") else { return nil }
            index += 1
        }
        while parts < 3 {
            number *= 1000
            parts += 1
        }
        return Int32(exactly: number)
    }

    /// Decimal digits, one at least, up to a value that cannot fit anyway.
    private static func part(in text: Span<UInt8>, from index: inout Int) -> Int64? {
        let first = index
        var value: Int64 = 0
        while index < text.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(text[index]) {
            value = value * 10 + Int64(text[index] - UInt8(ascii: "0"))
            guard value <= 9_999 else { return nil }
            index += 1
        }
        return index > first ? value : nil
    }
}
