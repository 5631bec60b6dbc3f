package import Keys
package import Postgres

/// Why values could not be recovered. Safe to log.
package enum RecoveryError: Error {
    case database(PostgresError)
    case keyring(KeyringError)
    /// The request needs people's approval before anything is released.
    case waitsForApproval(request: String, approvals: Int)
    /// The line may hold a value by mistake, so it is named by number only.
    case malformedToken(line: Int)
    case unreadableTokens(code: Int32)
    /// A signal ended the run between two pages; the outcome is recorded.
    case stopped
}

extension RecoveryError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .database(let error): "\(error)"
        case .keyring(let error): "\(error)"
        case .malformedToken(let line):
            "line \(line) of the tokens is not a token (DOMAIN_vVERSION_ and 32 hex digits); nothing was requested"
        case .unreadableTokens(let code):
            "the tokens cannot be read: system error \(code); check the file that --from names"
        case .stopped:
            "stopped by a signal; the audit log says what was written, and the rest needs a new request"
        case .waitsForApproval(let request, let approvals):
            "request \(request) waits for \(approvals) more approval(s); nothing was released"
        }
    }
}
