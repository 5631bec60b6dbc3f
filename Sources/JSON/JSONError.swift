/// Why a document was refused. Never a part of the document, so safe to log.
package enum JSONError: Error, Equatable {
    case malformed
    case invalidUTF8
    case tooDeep
    case tooLarge
    case numberOutOfRange
    case duplicateKey
    case empty
    case outOfMemory
}

extension JSONError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .malformed: "the text is no JSON (RFC 8259); check for truncation, a byte order mark or trailing text"
        case .invalidUTF8: "the text is not valid UTF-8; JSON is UTF-8"
        case .tooDeep: "the JSON is nested more than \(JSONParser.maximumDepth) levels deep; flatten it"
        case .tooLarge: "the JSON is longer than \(JSONParser.maximumByteCount) bytes; split it"
        case .numberOutOfRange: "the JSON holds a number too large for 64 bits; write it as a string"
        case .duplicateKey: "a JSON object names a member twice; keep one of the two"
        case .empty: "the JSON text is empty; expected one value"
        case .outOfMemory: "there is not enough memory to parse the JSON; raise the process's limit"
        }
    }
}
