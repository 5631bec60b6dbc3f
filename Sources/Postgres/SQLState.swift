/// A five-character SQLSTATE. Source: PostgreSQL manual, appendix A; class TV is the vault's own (`docs/ROLES.md`).
package struct SQLState: Hashable, Sendable {
    package let code: String

    package static let uniqueViolation = SQLState(code: "23505")
    package static let insufficientPrivilege = SQLState(code: "42501")
    package static let undefinedPrimitive: Set<SQLState> = [
        SQLState(code: "42P01"), SQLState(code: "42703"), SQLState(code: "42883"), SQLState(code: "3F000"),
    ]
    package static let readOnlyTransaction = SQLState(code: "25006")
    package static let diskFull = SQLState(code: "53100")
    package static let waitsForApproval = SQLState(code: "TV002")
    package static let badArgument = SQLState(code: "TV020")
    package static let fileAdvancedByAnother = SQLState(code: "TV010")

    /// Raised by the vault's own functions; their message is written here and holds no value.
    package var isVaultsOwn: Bool { code.hasPrefix("TV") }

    /// Deadlock, serialization failure: the same transaction may succeed if repeated at once.
    package var isConflict: Bool { code.hasPrefix("40") }

    /// The server went away, is starting, stopping or full: the same work may succeed later.
    package var isUnavailable: Bool {
        code.hasPrefix("08") || code.hasPrefix("57P") || code.hasPrefix("53") || code.hasPrefix("58")
    }

    /// Statement, lock, idle-in-transaction or transaction time-out.
    package var isTimeout: Bool { ["57014", "55P03", "25P02"].contains(code) || endsSession }

    /// Time-outs after which the server hangs up: idle in a transaction, transaction too long (17 and later).
    package var endsSession: Bool { ["25P03", "25P04"].contains(code) }

    /// The data, not the server, is at fault: class 22 (data exception) and 23 (integrity).
    package var isData: Bool { code.hasPrefix("22") || code.hasPrefix("23") }

    /// "could not load library …: undefined symbol": the files on disk are newer than the running server.
    ///
    /// The code depends on what `errno` happens to hold, so the message decides where it is English.
    package func meansOutdatedServer(_ message: String) -> Bool {
        code == "58P01" || message.hasPrefix("could not load library")
    }
}
