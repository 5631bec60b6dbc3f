/// Why a cryptographic step failed. Never carries a key, a plaintext or a ciphertext: safe to log.
package enum CryptoError: Error, Equatable {
    case libraryUnavailable
    case outOfLockedMemory(byteCount: Int)
    case wrongLength(what: StaticText, expected: Int, found: Int)
    case tooShort(what: StaticText, byteCount: Int)
    case unknownFormat(what: StaticText, byte: UInt8)
    case notAuthentic(what: StaticText)
    case unusablePublicKey
    case invalidEncoding(what: StaticText)
    case libraryFailure(what: StaticText)
}

/// Words from the source code, never from data: what an error may name.
package struct StaticText: ExpressibleByStringLiteral, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(stringLiteral value: StaticString) { description = value.description }
}

extension CryptoError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .libraryUnavailable:
            "libsodium did not initialise; check that /dev/urandom is readable"
        case .outOfLockedMemory(let byteCount):
            "cannot allocate \(byteCount) bytes of protected memory; raise the limits (`ulimit -l`, `ulimit -v`)"
        case .wrongLength(let what, let expected, let found):
            "\(what) has \(found) bytes instead of \(expected); check where it came from"
        case .tooShort(let what, let byteCount):
            "\(what) has only \(byteCount) bytes; it was cut or is something else"
        case .unknownFormat(let what, let byte):
            "\(what) has format \(byte), which this release does not know; use the release that wrote it or a newer one"
        case .notAuthentic(let what):
            "\(what) does not open: the key is another one, or the bytes were changed or moved"
        case .unusablePublicKey:
            "the public key is not usable (all zero or of low order); ask its owner for the right one"
        case .invalidEncoding(let what):
            "\(what) is not in its one canonical encoding; copy it again from its source"
        case .libraryFailure(let what):
            "\(what) failed inside the crypto library; check memory limits and the library's version"
        }
    }
}
