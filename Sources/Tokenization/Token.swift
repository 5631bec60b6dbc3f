package import Keys
internal import VaultCrypto

/// A stand-in for one normalised value (docs/FORMATS.md, section 3): `ip_v1_9f86d081884c7d659a2feaa0c55ad015`.
///
/// Equal values of one domain under one key version have equal tokens; nothing else about the value can be read from
/// it without the token key. Whoever holds the key can test guesses.
package struct Token: Hashable, Sendable {
    package let domain: String
    package let version: KeyVersion
    /// The first 16 bytes of the HMAC as a big-endian number: the `uuid` in the vault.
    package let bits: UInt128

    /// - Parameter domain: a name that keeps the rules of ``Domain/isValidName(_:)``.
    package init(domain: String, version: KeyVersion, bits: UInt128) {
        (self.domain, self.version, self.bits) = (domain, version, bits)
    }

    /// Reads a token, or `nil` unless `text` is exactly as ``text`` writes it.
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count > 34, bytes[bytes.count - 33] == UInt8(ascii: "_"),
            let bits = Hex.decodeUInt128(bytes.span.extracting((bytes.count - 32)...))
        else { return nil }
        let prefix = bytes[..<(bytes.count - 33)]
        guard let underscore = prefix.lastIndex(of: UInt8(ascii: "_")), underscore + 2 < prefix.count,
            prefix[underscore + 1] == UInt8(ascii: "v"),
            let version = Self.version(prefix[(underscore + 2)...])
        else { return nil }
        let domain = String(decoding: prefix[..<underscore], as: UTF8.self)
        guard Domain.isValidName(domain) else { return nil }
        self.init(domain: domain, version: version, bits: bits)
    }

    package var text: String { Self.prefix(domain: domain, version: version) + Hex.encode(bits) }

    static func prefix(domain: String, version: KeyVersion) -> String { "\(domain)_v\(version.number)_" }

    /// Decimal without leading zeros.
    private static func version(_ digits: ArraySlice<UInt8>) -> KeyVersion? {
        guard digits.first != UInt8(ascii: "0"), digits.count <= 10 else { return nil }
        var number: UInt64 = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            number = number * 10 + UInt64(digit - UInt8(ascii: "0"))
        }
        return UInt32(exactly: number).flatMap(KeyVersion.init)
    }
}

extension Token: CustomStringConvertible {
    package var description: String { text }
}
