package import Keys
package import Postgres

/// Why values could not be recovered. Safe to log.
package enum RecoveryError: Error {
    case database(PostgresError)
    case keyring(KeyringError)
    /// The request needs people's approval before anything is released.
    case waitsForApproval(request: String, approvals: Int)
}

extension RecoveryError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .database(let error): "\(error)"
        case .keyring(let error): "\(error)"
        case .waitsForApproval(let request, let approvals):
            "request \(request) waits for \(approvals) more approval(s); nothing was released"
        }
    }
}
