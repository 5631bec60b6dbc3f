/// Why PostgreSQL did not do what was asked.
///
/// `description` is safe to log. A server's message is not, because PostgreSQL quotes row values in it ("Failing row
/// contains …"): only `debugDescription` shows it. Two exceptions, which hold no row: what is said while connecting, and
/// what the vault's own functions raise (SQLSTATE class TV).
package enum PostgresError: Error {
    case invalidConnectionString
    case unreachable(serverMessage: String)
    case connectionLost(during: String)
    /// The server said nothing for longer than ``Patience`` allows; the session is given up.
    case unresponsive(during: String)
    case refused(String, state: SQLState, constraint: String?, message: String, hint: String?)
    case nulInText(during: String)
    /// COMMIT answered ROLLBACK: an earlier statement had failed.
    case notCommitted
    /// The connection broke while COMMIT was under way: the transaction may stand or not. Drive it again; never assume.
    case commitUnknown
    case outOfMemory(during: String)
    /// A statement's answer was asked for after it had been dropped for another statement.
    case answerDropped(during: String)

    package var state: SQLState? {
        if case .refused(_, let state, _, _, _) = self { state } else { nil }
    }

    /// The connection is gone or the outcome unknown: reconnect before anything else.
    package var needsReconnect: Bool {
        switch self {
        case .unreachable, .connectionLost, .unresponsive, .commitUnknown: true
        case .refused(_, let state, _, _, _):
            state.code.hasPrefix("57P") || state.code.hasPrefix("08") || state.endsSession
        default: false
        }
    }

    /// The same work may succeed when repeated.
    package var isTransient: Bool {
        switch self {
        case .unreachable, .connectionLost, .unresponsive, .commitUnknown, .notCommitted: true
        case .refused(_, let state, _, _, _): state.isConflict || state.isUnavailable || state.isTimeout
        default: false
        }
    }
}

extension PostgresError: CustomStringConvertible, CustomDebugStringConvertible {
    package var description: String {
        switch self {
        case .invalidConnectionString:
            "the database connection string cannot be read by libpq; give key=value pairs or a postgresql:// URL"
        case .unreachable(let message) where Self.hasNoConnectionToSpare(message):
            "cannot connect to PostgreSQL (\(oneLine(message))); end sessions that are idle, or raise max_connections or the CONNECTION LIMIT of the role or the database"
        case .unreachable(let message):
            "cannot connect to PostgreSQL (\(oneLine(message))); check --database or PG… variables and that the server runs"
        case .connectionLost(let purpose):
            "the connection to PostgreSQL was lost while \(purpose); run the command again when the server is back"
        case .unresponsive(let purpose):
            "PostgreSQL did not answer in time while \(purpose), and the session was given up; look at the server's load and locks, then run again"
        case .refused(let purpose, .insufficientPrivilege, _, _, _):
            "\(purpose) was refused (SQLSTATE 42501): this login role lacks the privilege; docs/ROLES.md names the role for each command"
        case .refused(let purpose, .readOnlyTransaction, _, _, _):
            "\(purpose) was refused (SQLSTATE 25006): the server is a standby, or default_transaction_read_only is on; connect to the primary, or let this role write"
        case .refused(let purpose, .diskFull, _, _, _):
            "\(purpose) failed (SQLSTATE 53100): the database server's disk is full; free space there and run again"
        case .refused(let purpose, let state, _, let message, _) where state.meansOutdatedServer(message):
            "\(purpose) failed (SQLSTATE \(state.code)): the server cannot load one of its own libraries, as after an upgrade of PostgreSQL while it runs; restart the server"
        case .refused(_, let state, _, let message, let hint) where state.isVaultsOwn:
            message + (hint.map { "; \($0)" } ?? "") + " (\(state.code))"
        case .refused(let purpose, let state, _, _, _) where SQLState.undefinedPrimitive.contains(state):
            "\(purpose) failed (SQLSTATE \(state.code)): the schema is not what this release expects; run `tokenvault database status`"
        case .refused(let purpose, let state, _, _, _) where state.endsSession:
            "the server ended the session before \(purpose), because a transaction was open or idle for too long (SQLSTATE \(state.code)); raise idle_in_transaction_session_timeout or transaction_timeout of this role, then run again"
        case .refused(let purpose, let state, _, _, _) where state.isTimeout:
            "\(purpose) was cut by the server's time-out (SQLSTATE \(state.code)); look for locks that others hold, then run again, or raise statement_timeout_seconds or lock_timeout_seconds"
        case .refused(let purpose, let state, let constraint, _, _):
            "\(purpose) failed with SQLSTATE \(state.code)" + (constraint.map { " on constraint \($0)" } ?? "")
        case .nulInText(let purpose):
            "\(purpose) was given text with a NUL character, which PostgreSQL cannot store"
        case .notCommitted:
            "PostgreSQL rolled back at COMMIT because an earlier statement had failed; nothing was stored"
        case .commitUnknown:
            "the connection to PostgreSQL broke while a commit was under way, and its outcome is unknown; run again when the server is back: what is stored already is recognised"
        case .outOfMemory(let purpose):
            "libpq ran out of memory while \(purpose)"
        case .answerDropped(let purpose):
            "the answer was dropped while \(purpose), because another statement was run first: a fault of this program, please report it"
        }
    }

    package var debugDescription: String {
        if case .refused(_, _, _, let message, _) = self { "\(description): \(message)" } else { description }
    }

    /// SQLSTATE 53300, which libpq does not hand on from a connection that was never made.
    private static func hasNoConnectionToSpare(_ message: String) -> Bool {
        ["too many connections", "too many clients", "connection slots are reserved"].contains { message.contains($0) }
    }

    private func oneLine(_ message: String) -> String {
        message.split(whereSeparator: \.isNewline).map { $0.drop(while: \.isWhitespace) }.joined(separator: " ")
    }
}
