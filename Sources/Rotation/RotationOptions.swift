package import VaultStore

/// Where a rotation stands, for whoever watches it.
package struct RotationProgress: Sendable {
    /// What is being done, e.g. "originals", "rows", "data keys".
    package let step: String
    package let pass: Int
    package let done: Int
    package let total: Int

    package init(step: String, pass: Int, done: Int, total: Int) {
        (self.step, self.pass, self.done, self.total) = (step, pass, done, total)
    }
}

/// How a rotation behaves. Set once by the command layer.
package struct RotationOptions: Sendable {
    /// libpq connection string, kept for reconnecting.
    package var database = ""
    /// Values a transaction.
    package var pageSize = 10_000
    /// Rows a transaction, about: whole groups move together, so slices of tokens are moved, not rows.
    package var rowsPerMove = 4_000_000
    /// Values a second at most; `nil` for no limit.
    package var throttle: Int?
    /// Stop when more originals than this cannot be rotated.
    package var maxLeftAlone = 100
    /// Whether the rows' fingerprint is taken before anything moves.
    package var takesFingerprint = true
    /// `all`, `older:<time>` or the id of a data key.
    package var scope = "all"
    /// How long an outage of the database is waited out.
    package var retryFor: Duration = .seconds(60)
    package var shouldStop: @Sendable () -> Bool = { false }
    package var progress: @Sendable (RotationProgress) -> Void = { _ in }
    package var warn: @Sendable (String) -> Void = { _ in }

    package init() {}

    /// `session`, whose statement under way is given up some seconds after a stop.
    package func limits(_ session: SessionLimits) -> SessionLimits {
        var session = session
        session.shouldStop = shouldStop
        return session
    }
}

/// What a finished rotation did.
package struct RotationSummary: Sendable {
    package var id: UInt128 = 0
    package var values = 0
    package var rows = 0
    package var dropped = 0
    package var leftAlone: [(token: UInt128, reason: String)] = []
    package var receipt: AuditReceipt?

    package init() {}
}
