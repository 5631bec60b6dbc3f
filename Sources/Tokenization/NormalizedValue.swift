@_spi(_Unicode) internal import Swift

/// A personal value in its one canonical spelling (docs/FORMATS.md, section 2). Only ``init(_:kind:)`` makes one
/// from outside, so nothing can be tokenised before it is normalised. It never prints itself.
package struct NormalizedValue: Equatable, Sendable {
    /// The longest value, in bytes as it comes.
    package static let maximumByteCount = 1024

    /// UTF-8, 1 byte or more.
    package let bytes: [UInt8]
    let kind: ValueKind?

    /// Normalises `raw` by the rules of `kind`.
    ///
    /// - Throws: ``NormalizationError``, which names the broken rule and never repeats the value.
    package init(_ raw: Span<UInt8>, kind: ValueKind) throws(NormalizationError) {
        guard raw.count <= Self.maximumByteCount else { throw .tooLong }
        let isASCII = try Self.checkText(raw)
        let text = raw.extracting(Self.trimmedRange(of: raw))
        guard !text.isEmpty else { throw .empty }
        bytes =
            switch kind {
            case .ip: try Self.address(text)
            case .opaque: Self.copy(text)
            case .lowercase: Self.lowercased(text, isASCII: isASCII)
            case .email: try Self.email(text, isASCII: isASCII)
            case .mac: try Self.macAddress(text)
            }
        self.kind = kind
    }

    init(derived bytes: [UInt8]) {
        self.bytes = bytes
        kind = nil
    }

    /// Refuses NUL and invalid UTF-8; says whether all is ASCII.
    private static func checkText(_ raw: Span<UInt8>) throws(NormalizationError) -> Bool {
        var all: UInt8 = 0
        for index in raw.indices {
            guard raw[index] != 0 else { throw .nulCharacter }
            all |= raw[index]
        }
        if all < 0x80 { return true }
        do { _ = try UTF8Span(validating: raw) } catch { throw .invalidUTF8 }
        return false
    }

    private static func trimmedRange(of text: Span<UInt8>) -> Range<Int> {
        var (start, end) = (0, text.count)
        while start < end, isSpace(text[start]) { start += 1 }
        while start < end, isSpace(text[end - 1]) { end -= 1 }
        return start..<end
    }

    /// ASCII white space: tab, line feed, vertical tab, form feed, carriage return, space.
    static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    private static func copy(_ text: Span<UInt8>) -> [UInt8] {
        unsafe text.withUnsafeBufferPointer { unsafe [UInt8]($0) }
    }

    /// NFC, then every scalar's full lower-case mapping without regard to its neighbours (so Σ is σ also at the end of
    /// a word) or to any locale, then NFC.
    private static func lowercased(_ text: Span<UInt8>, isASCII: Bool) -> [UInt8] {
        if isASCII {
            var bytes = copy(text)
            for index in bytes.indices where (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(bytes[index]) {
                bytes[index] |= 0x20
            }
            return bytes
        }
        let text = unsafe text.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
        let lowered = composed(text).unicodeScalars.lazy.map(\.properties.lowercaseMapping).joined()
        return Array(composed(String(lowered)).utf8)
    }

    /// NFC by the standard library, which swift-foundation builds on too. Not Foundation's
    /// `precomposedStringWithCanonicalMapping`: it leaves a Hangul syllable and a final consonant apart.
    private static func composed(_ text: String) -> String {
        var scalars = String.UnicodeScalarView()
        for scalar in text._nfc { scalars.append(scalar) }
        return String(scalars)
    }

    private static func email(_ text: Span<UInt8>, isASCII: Bool) throws(NormalizationError) -> [UInt8] {
        let bytes = lowercased(text, isASCII: isASCII)
        guard let at = bytes.firstIndex(of: UInt8(ascii: "@")), at > 0, at < bytes.count - 1,
            !bytes[(at + 1)...].contains(UInt8(ascii: "@")), bytes.allSatisfy({ $0 > 0x20 && $0 != 0x7F })
        else { throw .invalid(.email) }
        return bytes
    }
}

extension NormalizedValue: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "<redacted>" }
    package var debugDescription: String { "<redacted>" }
    package var customMirror: Mirror { Mirror(self, children: EmptyCollection<Mirror.Child>()) }
}
