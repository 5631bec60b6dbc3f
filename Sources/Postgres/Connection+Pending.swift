internal import CLibPQ

/// A statement under way: sent, and not yet received. The server works on it while the client does something else.
package struct PendingStatement: ~Copyable, Sendable {
    fileprivate let purpose: StaticString

    fileprivate init(_ purpose: StaticString) { self.purpose = purpose }
}

extension Connection {
    /// Sends one statement without waiting for its rows. Receive them before anything else is run on this session.
    ///
    /// The server computes and fills the socket's buffer meanwhile; it does not send ahead of that.
    package mutating func send(_ statement: Statement) throws(PostgresError) -> PendingStatement {
        guard !statement.hasNULInText else { throw .nulInText(during: statement.purpose.description) }
        let sent = unsafe statement.withCParameters { count, types, values, lengths, formats in
            unsafe PQsendQueryParams(
                handle, statement.sqlCString, count, types, values, lengths, formats, Self.binary)
        }
        guard sent == 1 else { throw .connectionLost(during: statement.purpose.description) }
        return PendingStatement(statement.purpose)
    }

    /// Waits for the rows of the statement sent last, in binary format.
    package mutating func receive(_ pending: consuming PendingStatement) throws(PostgresError) -> Rows {
        let purpose = pending.purpose
        let rows = try unsafe adopt(PQgetResult(handle), of: purpose)
        while let more = unsafe PQgetResult(handle) { unsafe PQclear(more) }
        return rows
    }
}
