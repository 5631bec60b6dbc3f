package import Postgres

/// Why an erasure stopped. What was erased stays erased; the same command goes on with the rest.
package enum ErasureError: Error {
    case database(PostgresError)
    case stopped(remaining: Int)
}

extension ErasureError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .database(let error): "\(error)"
        case .stopped(let remaining):
            "stopped by a signal with \(remaining) tokens to go; what is erased stays erased, run the same command to go on"
        }
    }
}
