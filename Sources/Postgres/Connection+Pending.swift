internal import CLibPQ

/// A statement under way: sent, and not yet received. The server works on it while the client does something else.
package struct PendingStatement: ~Copyable, Sendable {
    fileprivate let purpose: StaticString

    fileprivate init(_ purpose: StaticString) { self.purpose = purpose }
}

extension Connection {
    /// Sends one statement without waiting for its rows. Receive them before anything else is run on this session; else
    /// they are dropped.
    ///
    /// Returns when the statement has left this process. The server computes and fills the socket's buffer meanwhile; it
    /// does not send ahead of that.
    package mutating func send(_ statement: Statement) throws(PostgresError) -> PendingStatement {
        guard !statement.hasNULInText else { throw .nulInText(during: statement.purpose.description) }
        let deadline = Deadline(patience)
        if awaitsAnswer { try unsafe PQclear(answer(statement.purpose, deadline)) }
        let sent = unsafe statement.withCParameters { count, types, values, lengths, formats in
            unsafe PQsendQueryParams(
                handle, statement.sqlCString, count, types, values, lengths, formats, Self.binary)
        }
        guard sent == 1 else { throw .connectionLost(during: statement.purpose.description) }
        awaitsAnswer = true
        try flush(statement.purpose, deadline)
        return PendingStatement(statement.purpose)
    }

    /// Waits for the rows of the statement sent last, in binary format.
    package mutating func receive(_ pending: consuming PendingStatement) throws(PostgresError) -> Rows {
        let purpose = pending.purpose
        return try unsafe adopt(answer(purpose, Deadline(patience)), of: purpose)
    }
}
