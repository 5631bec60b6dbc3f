/// Why a sealed value was not opened or made. Names the data key, never a value.
package enum SealedValueError: Error, Equatable {
    /// Changed, moved to another row, or sealed under another key: one cannot tell which.
    case notAuthentic(dataKey: String)
    case truncated(dataKey: String, byteCount: Int)
    case unknownFormat(UInt8, dataKey: String)
    case wrongDomain(token: String, dataKey: String, dataKeyDomain: String)
    case wrongLength(byteCount: Int, limit: Int)
    case exhausted(dataKey: String, limit: Int)
    case cannotSeal(dataKey: String)
}

extension SealedValueError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .notAuthentic(let key):
            "the sealed value cannot be opened with data key \(key): it was changed, moved or sealed under another key; "
                + "run `tokenvault audit verify` and compare with a backup"
        case .truncated(let key, let count):
            "the sealed value under data key \(key) has only \(count) bytes; restore it from a backup"
        case .unknownFormat(let format, let key):
            "the sealed value under data key \(key) has format \(format), which this release does not know; "
                + "use the release that wrote it, or a newer one"
        case .wrongDomain(let domain, let key, let keyDomain):
            "data key \(key) is for domain \(keyDomain), the token of domain \(domain); one of the two was moved"
        case .wrongLength(let count, let limit):
            "a value of \(count) bytes cannot be sealed; the limit is 1 to \(limit) bytes"
        case .exhausted(let key, let limit):
            "data key \(key) has sealed \(limit) values, the most it may; make a fresh data key"
        case .cannotSeal(let key): "the library could not seal under data key \(key); try again"
        }
    }
}
