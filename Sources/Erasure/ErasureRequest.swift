package import VaultStore

/// Who or what is to be erased, and why.
package struct ErasureRequest: Sendable {
    package enum Subject: Sendable {
        /// As text, checked by the caller.
        case tokens([String])
        /// A user id: itself personal, so it reaches neither messages nor the audit log.
        case user(String)
    }

    package let subject: Subject
    package let maskedRows: MaskedRows
    package let shared: SharedValues
    package let reason: String
    package let ticket: String

    package init(
        subject: Subject, maskedRows: MaskedRows, shared: SharedValues, reason: String, ticket: String
    ) {
        self.subject = subject
        self.maskedRows = maskedRows
        self.shared = shared
        self.reason = reason
        self.ticket = ticket
    }

    var tokens: [String]? { if case .tokens(let tokens) = subject { tokens } else { nil } }
    var user: String? { if case .user(let user) = subject { user } else { nil } }
}

/// Values that no one has seen since a date.
package struct ExpiryRequest: Sendable {
    /// `nil` for every domain.
    package let domain: String?
    /// `YYYY-MM-DD`, UTC: what was last seen before it goes.
    package let cutoff: String
    package let reason: String
    package let ticket: String?

    package init(domain: String?, cutoff: String, reason: String, ticket: String?) {
        self.domain = domain
        self.cutoff = cutoff
        self.reason = reason
        self.ticket = ticket
    }
}

/// How an erasure behaves. Set once by the command layer.
package struct ErasureOptions: Sendable {
    /// libpq connection string, kept for reconnecting.
    package var database = ""
    /// Tokens a transaction.
    package var batchSize = 5_000
    /// How long an outage, or somebody who holds a lock, is waited out.
    package var retryFor: Duration = .seconds(60)
    package var shouldStop: @Sendable () -> Bool = { false }
    /// Told how many tokens are done, of how many.
    package var progress: @Sendable (Int, Int) -> Void = { _, _ in }
    package var warn: @Sendable (String) -> Void = { _ in }

    package init() {}
}

/// What an erasure did, or would do.
package struct ErasureReport: Sendable {
    package let id: UInt128
    package let isResumed: Bool
    package let isDryRun: Bool
    /// Empty for an expiry, which may be of millions.
    package let items: [ErasureItem]
    package let numbers: ErasureProgress
    /// Counts by name, of ``VaultStore/VaultStore/erasureRemains(_:)``.
    package let remains: [String: Int]
    package let receipt: AuditReceipt?
}
