/// Why a value has no canonical spelling. Never the value, so safe to log and to store beside a quarantined record.
package enum NormalizationError: Error, Equatable {
    case invalidUTF8
    case nulCharacter
    case tooLong
    case empty
    case invalid(ValueKind)

    /// A stable name for scripts and the quarantine: `invalid_ip`, `empty_value`, …
    package var code: String {
        switch self {
        case .invalidUTF8: "invalid_utf8"
        case .nulCharacter: "nul_character"
        case .tooLong: "too_long"
        case .empty: "empty_value"
        case .invalid(let kind): "invalid_\(kind.rawValue)"
        }
    }
}

extension NormalizationError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .invalidUTF8: "the value is not valid UTF-8; send text in UTF-8"
        case .nulCharacter: "the value holds a NUL character; remove it"
        case .tooLong: "the value is longer than \(NormalizedValue.maximumByteCount) bytes; shorten it"
        case .empty: "the value is empty; send null where there is none"
        case .invalid(.ip): "the value is no IPv4 or IPv6 address; send one without port, prefix or zone"
        case .invalid(.email): "the value is no e-mail address; it needs one @ with text on both sides and no spaces"
        case .invalid(.mac): "the value is no MAC address; it needs 12 hex digits, bare or evenly separated"
        case .invalid(let kind): "the value is not of kind \(kind.rawValue); check which domain the field has"
        }
    }
}
