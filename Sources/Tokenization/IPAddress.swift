internal import Glibc

extension NormalizedValue {
    /// IPv4 as dotted quad, IPv6 as RFC 5952 text; IPv4-mapped IPv6 as the IPv4 address.
    static func address(_ text: Span<UInt8>) throws(NormalizationError) -> [UInt8] {
        guard let address = IPAddress(text) else { throw .invalid(.ip) }
        return address.text
    }

    /// The /24 (IPv4) or /48 (IPv6) network around an address; `nil` for values of other kinds.
    package var network: NormalizedValue? {
        guard kind == .ip, let address = IPAddress(bytes.span) else { return nil }
        return NormalizedValue(derived: address.network)
    }
}

/// An address as the number it is.
private enum IPAddress {
    case v4(UInt32)
    case v6(UInt128)

    /// Reads what `inet_pton` reads, which knows no zones, prefixes, ports, brackets or leading zeros in IPv4 parts.
    init?(_ text: Span<UInt8>) {
        if let number = Self.number(text, family: AF_INET, as: UInt32.self) {
            self = .v4(number)
        } else if let number = Self.number(text, family: AF_INET6, as: UInt128.self) {
            self = number >> 32 == 0xFFFF ? .v4(UInt32(truncatingIfNeeded: number)) : .v6(number)
        } else {
            return nil
        }
    }

    var text: [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(Self.longestText)
        switch self {
        case .v4(let number): Self.append(number, to: &text)
        case .v6(let number): Self.append(number, to: &text)
        }
        return text
    }

    var network: [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(Self.longestText)
        switch self {
        case .v4(let number):
            Self.append(number & 0xFFFF_FF00, to: &text)
            text += "/24".utf8
        case .v6(let number):
            Self.append(number & ~((1 << 80) - 1), to: &text)
            text += "/48".utf8
        }
        return text
    }

    private static let longestText = Int(INET6_ADDRSTRLEN) - 1

    private static func number<N: FixedWidthInteger>(_ text: Span<UInt8>, family: Int32, as: N.Type) -> N? {
        guard text.count <= longestText else { return nil }
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: longestText + 1) { buffer in
            for index in text.indices { unsafe buffer[index] = CChar(bitPattern: text[index]) }
            unsafe buffer[text.count] = 0
            var number: N = 0
            guard unsafe inet_pton(family, buffer.baseAddress!, &number) == 1 else { return nil }
            return N(bigEndian: number)
        }
    }

    private static func append(_ number: UInt32, to text: inout [UInt8]) {
        for shift: UInt32 in [24, 16, 8, 0] {
            let part = UInt8(truncatingIfNeeded: number >> shift)
            if part >= 100 { text.append(UInt8(ascii: "0") + part / 100) }
            if part >= 10 { text.append(UInt8(ascii: "0") + part / 10 % 10) }
            text.append(UInt8(ascii: "0") + part % 10)
            if shift > 0 { text.append(UInt8(ascii: ".")) }
        }
    }

    /// RFC 5952, sections 4.1 to 4.3: no leading zeros, lower-case, `::` for the first longest run of two or more zero
    /// groups. Never section 5's mixed notation (where `inet_ntop` uses it for `::/96`).
    private static func append(_ number: UInt128, to text: inout [UInt8]) {
        func group(_ index: Int) -> UInt16 { UInt16(truncatingIfNeeded: number >> UInt128(112 - 16 * index)) }
        var (start, length) = (-1, 1)
        var index = 0
        while index < 8 {
            let first = index
            while index < 8, group(index) == 0 { index += 1 }
            if index - first > length { (start, length) = (first, index - first) }
            index += 1
        }
        index = 0
        while index < 8 {
            if index == start {
                text += "::".utf8
                index += length
                continue
            }
            if index > 0, index != start + length || start < 0 { text.append(UInt8(ascii: ":")) }
            appendHex(group(index), to: &text)
            index += 1
        }
    }

    private static func appendHex(_ group: UInt16, to text: inout [UInt8]) {
        var shift: UInt16 = group >= 0x1000 ? 12 : group >= 0x100 ? 8 : group >= 0x10 ? 4 : 0
        while true {
            let digit = UInt8(group >> shift & 15)
            text.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
            if shift == 0 { return }
            shift -= 4
        }
    }
}
