/// A domain's name (docs/FORMATS.md section 2): `[a-z][a-z0-9_]{0,30}`, not ending in `_v` and digits,
/// so that a token's text splits in one way only.
package enum DomainName {
    /// Holds refused records. No token belongs to it.
    package static let quarantine = "quarantine"

    package static func isValid(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard (1...31).contains(bytes.count), isLowerCaseLetter(bytes[0]) else { return false }
        let allowed = bytes.allSatisfy { isLowerCaseLetter($0) || isDigit($0) || $0 == UInt8(ascii: "_") }
        return allowed && !endsInVersion(bytes)
    }

    private static func endsInVersion(_ name: [UInt8]) -> Bool {
        let withoutDigits = name[..<(name.lastIndex { !isDigit($0) }.map { $0 + 1 } ?? 0)]
        return withoutDigits.count < name.count && withoutDigits.suffix(2).elementsEqual("_v".utf8)
    }

    private static func isLowerCaseLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
}

/// What people call a key: 1 to 64 of `A-Z a-z 0-9 . _ @ -`, the first a letter or digit. Needs no escaping anywhere.
package enum KeyName {
    package static func isValid(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard (1...64).contains(bytes.count), isAlphanumeric(bytes[0]) else { return false }
        return bytes.allSatisfy { isAlphanumeric($0) || "._@-".utf8.contains($0) }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: false
        }
    }
}
