/// Proof that a transaction committed. Only ``Connection/commit()`` makes one.
package struct Committed: ~Copyable, Sendable {
    fileprivate init() {}
}

extension Connection {
    package mutating func begin() throws(PostgresError) {
        try run(Statement("beginning a transaction", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"))
    }

    /// Commits the open transaction.
    ///
    /// - Throws: ``PostgresError/notCommitted`` when the server rolled back instead,
    ///   ``PostgresError/commitUnknown`` when the connection broke before the answer.
    package mutating func commit() throws(PostgresError) -> Committed {
        // While a statement is under way a transaction is neither open nor failed.
        do { try dropUnreceived("committing", Deadline(patience)) } catch {
            throw error.needsReconnect ? .commitUnknown : error
        }
        let wasOpen = isInTransaction
        let outcome: Rows
        do {
            outcome = try run(Statement("committing", "COMMIT"))
        } catch {
            throw error.needsReconnect ? .commitUnknown : error
        }
        guard wasOpen, outcome.commandTag == "COMMIT" else { throw .notCommitted }
        return Committed()
    }

    /// Rolls back, ignoring a connection that is gone: the server has then rolled back by itself.
    package mutating func rollback() {
        _ = try? run(Statement("rolling back", "ROLLBACK"))
    }

    /// Runs `body` in one transaction: commits if it returns, rolls back if it throws.
    ///
    /// - Returns: proof of the commit, for callers that must not act before it.
    package mutating func transaction(
        _ body: (inout Connection) throws(PostgresError) -> Void
    ) throws(PostgresError) -> Committed {
        try begin()
        do {
            try body(&self)
        } catch {
            rollback()
            throw error
        }
        return try commit()
    }
}
