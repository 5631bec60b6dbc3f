package import Postgres

/// The vault's tables, as the vault's own verbs. The only module that contains SQL besides `migrations/`.
///
/// One session, one owner. Each verb is one statement; what belongs together is put into ``transaction(_:)``.
package struct VaultStore: ~Copyable, Sendable {
    var connection: Connection

    package init(_ connection: consuming Connection) { self.connection = connection }

    /// Connects for a verb that must be durable when it says so, whatever the role's default is.
    ///
    /// - Parameters:
    ///   - database: a libpq connection string; empty for libpq's own `PG…` variables.
    ///   - shouldStop: asked while connecting; that of `limits` when left out.
    package static func open(
        _ database: String, limits: SessionLimits = .unhurried, shouldStop: (@Sendable () -> Bool)? = nil
    ) throws(PostgresError) -> VaultStore {
        var store = VaultStore(
            try Connection.open(database, patience: limits.patience, shouldStop: shouldStop))
        try store.setUp(limits)
        guard try !store.isStandby() else { throw readOnly }
        return store
    }

    /// Refuses a session whose transactions may not write unless they say so: what is no transaction of ours would fail
    /// in the middle of a run.
    package mutating func requireWritable() throws(PostgresError) {
        let rows = try connection.run(
            Statement(
                "asking whether the session may write",
                "SELECT pg_catalog.current_setting('default_transaction_read_only') = 'on'"))
        guard rows.bool(row: 0, column: 0) != true else { throw Self.readOnly }
    }

    /// Runs `body` in one transaction: commits if it returns, rolls back if it throws.
    ///
    /// - Returns: proof of the commit, for callers that must not act before it.
    package mutating func transaction(
        _ body: (inout VaultStore) throws(PostgresError) -> Void
    ) throws(PostgresError) -> Committed {
        try connection.begin()
        do {
            try body(&self)
        } catch {
            connection.rollback()
            throw error
        }
        return try connection.commit()
    }

    /// For a transaction whose steps are interleaved with other work; else use ``transaction(_:)``.
    package mutating func begin() throws(PostgresError) { try connection.begin() }
    package mutating func commit() throws(PostgresError) -> Committed { try connection.commit() }
    package mutating func rollback() { connection.rollback() }

    /// The newest migration this release was written against.
    package static let requiredSchemaVersion = 17

    /// The login role, as the audit log will name it.
    package var user: String { connection.user }

    /// The number of the newest migration applied.
    package mutating func schemaVersion() throws(PostgresError) -> Int {
        let rows = try connection.run(Statement("reading the schema version", "SELECT vault.schema_version()"))
        return rows.int(row: 0, column: 0) ?? 0
    }

    /// Runs a function that leaves an audit event.
    ///
    /// - Returns: where the log then stood; `nil` when the function found nothing to change.
    mutating func audited(_ statement: Statement) throws(PostgresError) -> AuditReceipt? {
        let rows = try connection.run(statement)
        guard rows.count > 0, let sequence = rows.int(row: 0, column: 0), let head = rows.bytes(row: 0, column: 1)
        else {
            return nil
        }
        return AuditReceipt(sequence: sequence, head: head)
    }

    private static let readOnly = PostgresError.refused(
        "connecting", state: .readOnlyTransaction, constraint: nil, message: "", hint: nil)
}
