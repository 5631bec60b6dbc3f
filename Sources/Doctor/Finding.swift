/// What one check found.
package struct Finding: Sendable, Equatable {
    package enum Verdict: String, Sendable {
        case ok
        case warning
        case failure
        /// This role, or this host, cannot tell; `message` says what could.
        case notChecked = "not_checked"
    }

    /// How a finding is mended.
    package enum Remedy: Sendable, Equatable {
        /// Statements to run with psql in the vault's database.
        case sql(String, as: Who)
        /// Commands for a shell on this host.
        case shell(String)
        /// What a person must do.
        case advice(String)

        package enum Who: String, Sendable {
            case administrator
            case superuser
        }
    }

    /// The check's name: stable, scripts may filter by it.
    package let check: String
    package let verdict: Verdict
    package let message: String
    package let remedy: Remedy?
}

/// The findings of one examination, in the order of the checks.
package struct Findings: Sendable {
    package private(set) var all: [Finding] = []

    package init() {}

    package var hasFailure: Bool { all.contains { $0.verdict == .failure } }

    package mutating func failure(_ check: String, _ message: String, _ remedy: Finding.Remedy) {
        all.append(Finding(check: check, verdict: .failure, message: message, remedy: remedy))
    }

    package mutating func warning(_ check: String, _ message: String, _ remedy: Finding.Remedy) {
        all.append(Finding(check: check, verdict: .warning, message: message, remedy: remedy))
    }

    package mutating func notChecked(_ check: String, _ message: String) {
        all.append(Finding(check: check, verdict: .notChecked, message: message, remedy: nil))
    }

    package mutating func ok(_ check: String, _ message: String) {
        all.append(Finding(check: check, verdict: .ok, message: message, remedy: nil))
    }

    /// Records that all is well with `check`, unless something was found for it.
    mutating func close(_ check: String, _ message: String) {
        if !all.contains(where: { $0.check == check }) { ok(check, message) }
    }
}
