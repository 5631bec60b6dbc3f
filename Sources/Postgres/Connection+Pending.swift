internal import CLibPQ
internal import Synchronization

/// A statement under way: sent, and not yet received. The server works on it while the client does something else.
package struct PendingStatement: ~Copyable, Sendable {
    /// How many statements were sent so in this process; tells whose answer is under way.
    private static let counter = Atomic<UInt64>(0)

    fileprivate let purpose: StaticString
    fileprivate let number: UInt64

    fileprivate init(_ purpose: StaticString) {
        self.purpose = purpose
        number = Self.counter.wrappingAdd(1, ordering: .relaxed).newValue
    }
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
        guard isOpen else { throw lost(during: statement.purpose) }
        try dropUnreceived(statement.purpose, deadline)
        let sent = unsafe statement.withCParameters { count, types, values, lengths, formats in
            unsafe PQsendQueryParams(
                handle, statement.sqlCString, count, types, values, lengths, formats, Self.binary)
        }
        guard sent == 1 else { throw lost(during: statement.purpose) }
        let pending = PendingStatement(statement.purpose)
        awaitedAnswer = pending.number
        try flush(statement.purpose, deadline)
        return pending
    }

    /// Whether the answer of the statement sent last has begun to come, so that receiving it hardly waits. Also once the
    /// connection is lost, which receiving then says.
    package mutating func isAnswered(_ pending: borrowing PendingStatement) -> Bool {
        guard isOpen, awaitedAnswer == pending.number else { return true }
        return unsafe PQconsumeInput(handle) == 0 || PQisBusy(handle) == 0
    }

    /// Waits for the rows of the statement sent last, in binary format.
    ///
    /// - Throws: ``PostgresError/answerDropped(during:)`` when something else was run on this session in between, or when
    ///   the statement was sent on another one: what comes next is never taken for its answer.
    package mutating func receive(_ pending: consuming PendingStatement) throws(PostgresError) -> Rows {
        let purpose = pending.purpose
        // A connection that was seen to end while the answer was awaited: what the server said last is still to be read.
        guard isOpen || !isAbandoned && awaitedAnswer == pending.number else { throw lost(during: purpose) }
        guard awaitedAnswer == pending.number else { throw .answerDropped(during: purpose.description) }
        return try unsafe adopt(answer(purpose, Deadline(patience)), of: purpose)
    }

    /// Waits for the answer of a statement that was sent and never received, and forgets it.
    mutating func dropUnreceived(_ purpose: StaticString, _ deadline: Deadline) throws(PostgresError) {
        if awaitedAnswer != nil { try unsafe PQclear(answer(purpose, deadline)) }
    }
}
