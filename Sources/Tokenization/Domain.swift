/// How the values of a domain are brought to one spelling (docs/FORMATS.md, section 2).
package enum ValueKind: String, Sendable, CaseIterable {
    case ip
    case opaque
    case lowercase
    case email
    case mac
}

/// What kind of personal value a field holds. Equal values in one domain share a token; two domains share none.
package struct Domain: Hashable, Sendable {
    package let name: String
    package let kind: ValueKind
    /// The domain of the coarser tokens made beside this one's: an address's network. Only kind `ip` can have one.
    package let derived: String?

    /// `nil` unless the names keep the rules of ``isValidName(_:)`` and only an `ip` domain has a derived one.
    package init?(name: String, kind: ValueKind, derived: String? = nil) {
        guard Self.isValidName(name), derived != name else { return nil }
        if let derived { guard kind == .ip, Self.isValidName(derived) else { return nil } }
        (self.name, self.kind, self.derived) = (name, kind, derived)
    }

    private init(builtIn name: String, kind: ValueKind, derived: String?) {
        (self.name, self.kind, self.derived) = (name, kind, derived)
    }

    package static let ip = Domain(builtIn: "ip", kind: .ip, derived: "ip_net")
    package static let deviceID = Domain(builtIn: "device_id", kind: .opaque, derived: nil)
    /// Reserved for records that were refused; no value is ever tokenised in it.
    package static let quarantineName = "quarantine"

    /// Whether `name` matches `[a-z][a-z0-9_]{0,30}` and does not end in `_v` and digits, which would make the
    /// text of a token ambiguous.
    package static func isValidName(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard (1...31).contains(bytes.count), isLetter(bytes[0]), bytes.allSatisfy(isNameByte) else { return false }
        guard let lastNonDigit = bytes.lastIndex(where: { !isDigit($0) }), lastNonDigit < bytes.count - 1 else {
            return true
        }
        return lastNonDigit < 1 || bytes[lastNonDigit - 1...lastNonDigit] != [UInt8(ascii: "_"), UInt8(ascii: "v")]
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
    private static func isNameByte(_ byte: UInt8) -> Bool {
        isLetter(byte) || isDigit(byte) || byte == UInt8(ascii: "_")
    }
}
