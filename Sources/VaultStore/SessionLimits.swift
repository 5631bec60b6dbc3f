import Postgres

/// How long one session's statements may take on the server, and how long the client waits for it.
///
/// Where the login role or the connection string sets a time-out of its own, that one stands, unless ``isExplicit``.
package struct SessionLimits: Sendable {
    /// Seconds of one statement; 0 for no limit.
    package var statementSeconds: Int
    /// Seconds of waiting for one lock; 0 for no limit.
    package var lockSeconds: Int
    /// Seconds of doing nothing in an open transaction, which holds locks meanwhile; 0 for no limit.
    package var idleSeconds: Int
    /// Asked while a statement is under way: a stop gives it a few seconds more.
    package var shouldStop: @Sendable () -> Bool = { false }
    /// A person chose these values: they hold whatever the role says.
    package var isExplicit = false

    /// Seconds that the client waits beyond the server's own limit for one statement.
    private static let slack = 10

    package init(statementSeconds: Int, lockSeconds: Int, idleSeconds: Int) {
        self.statementSeconds = statementSeconds
        self.lockSeconds = lockSeconds
        self.idleSeconds = idleSeconds
    }

    /// For work of any length: migrations, steps of a rotation, fingerprints of all rows.
    package static let unhurried = SessionLimits(statementSeconds: 0, lockSeconds: 0, idleSeconds: 0)
    /// For reading beside a transaction of one's own: who waits for a lock that waits for that one would wait for ever, and no
    /// server sees it.
    package static let beside = SessionLimits(statementSeconds: 0, lockSeconds: 3, idleSeconds: 0)
    /// For transactions that stay open while another session of the same run works: who waits for one is not kept for ever.
    package static let byTurns = SessionLimits(statementSeconds: 0, lockSeconds: 0, idleSeconds: 60)
    /// For a person who waits: statements of any length, but nobody waits for a lock for ever.
    package static let interactive = SessionLimits(statementSeconds: 0, lockSeconds: 60, idleSeconds: 0)
    /// For batches, of which one takes seconds.
    package static let batch = SessionLimits(statementSeconds: 300, lockSeconds: 30, idleSeconds: 300)

    var patience: Patience {
        Patience(
            answer: statementSeconds == 0 ? nil : .seconds(statementSeconds + Self.slack), shouldStop: shouldStop)
    }
}

extension VaultStore {
    /// One round trip. A server without one of these settings (client_connection_check_interval came with 14) is left alone
    /// there; with it, a statement whose client was killed or gave up ends soon, with its locks.
    mutating func setUp(_ limits: SessionLimits) throws(PostgresError) {
        try connection.run(
            Statement(
                "setting up the session",
                """
                SELECT pg_catalog.set_config(wanted.name, wanted.value, false)
                FROM (VALUES ('statement_timeout', $1 || 's'), ('lock_timeout', $2 || 's'),
                             ('idle_in_transaction_session_timeout', $3 || 's'),
                             ('client_connection_check_interval', '2s'))
                     AS wanted (name, value)
                JOIN pg_catalog.pg_settings AS standing ON standing.name = wanted.name
                WHERE wanted.value <> '0s' AND (standing.setting = '0' OR $4)
                UNION ALL
                SELECT pg_catalog.set_config('synchronous_commit', 'on', false)
                """, .text(String(limits.statementSeconds)), .text(String(limits.lockSeconds)),
                .text(String(limits.idleSeconds)), .bool(limits.isExplicit)))
    }
}
