internal import CLibPQ

/// One session with a PostgreSQL server.
///
/// `PGconn` is not thread-safe, and neither is this: it has one owner, and every statement is a mutation, so overlapping
/// use does not compile. Closed when the value dies.
///
/// Source: PostgreSQL manual, "libpq — C Library".
@safe package struct Connection: ~Copyable, @unchecked Sendable {
    // @unchecked: one owner; libpq binds a connection to no thread.
    static let binary: Int32 = 1  // result format: bytea without hex

    let handle: OpaquePointer  // PGconn *

    private init(adopting handle: OpaquePointer) { unsafe self.handle = handle }

    deinit { unsafe PQfinish(handle) }

    /// Connects, waiting at most `connect_timeout` seconds if `conninfo` sets one.
    ///
    /// - Parameter conninfo: a libpq URI or key/value string; empty means libpq's own `PG…` variables and service files.
    ///   May hold a password, so it is never repeated in an error.
    package static func open(_ conninfo: String) throws(PostgresError) -> Connection {
        guard let options = unsafe PQconninfoParse(conninfo, nil) else { throw .invalidConnectionString }
        unsafe PQconninfoFree(options)
        guard let handle = unsafe PQconnectdb(conninfo) else { throw .outOfMemory(during: "connecting") }
        let connection = unsafe Connection(adopting: handle)  // adopt first: every throw below closes it
        guard connection.isOpen else { throw .unreachable(serverMessage: connection.serverMessage) }
        unsafe tv_silence_notices(handle)
        guard unsafe PQsetClientEncoding(handle, "UTF8") == 0 else { throw .connectionLost(during: "connecting") }
        return connection
    }

    /// Runs one statement and returns its rows, in binary format.
    ///
    /// - Throws: ``PostgresError``. The session stays usable unless ``PostgresError/needsReconnect``.
    @discardableResult
    package mutating func run(_ statement: Statement) throws(PostgresError) -> Rows {
        guard !statement.hasNULInText else { throw .nulInText(during: statement.purpose.description) }
        let result = unsafe statement.withCParameters { count, types, values, lengths, formats in
            unsafe PQexecParams(handle, statement.sqlCString, count, types, values, lengths, formats, Self.binary)
        }
        return try unsafe adopt(result, of: statement.purpose)
    }

    /// Runs a script that is not written in the source: several statements, no parameters, no rows.
    ///
    /// - Parameter script: trusted SQL. Only migrations, whose checksums are recorded, come this way.
    package mutating func runTrustedScript(_ purpose: StaticString, _ script: String) throws(PostgresError) {
        _ = try unsafe adopt(PQexec(handle, script), of: purpose)
    }

    /// Sends rows in binary COPY format.
    ///
    /// - Parameters:
    ///   - statement: `COPY … FROM STDIN (FORMAT binary)`, without parameters.
    ///   - rows: as ``CopyRows/finished()`` gives them.
    package mutating func copyIn(_ statement: Statement, _ rows: [UInt8]) throws(PostgresError) {
        let start = unsafe PQexec(handle, statement.sqlCString)
        guard let start = unsafe start else { throw .outOfMemory(during: statement.purpose.description) }
        let opening = unsafe Rows(adopting: start)
        guard opening.status == PGRES_COPY_IN else { throw failure(of: statement.purpose, opening) }

        let sent = unsafe rows.withUnsafeBytes { buffer in
            let bytes = unsafe buffer.assumingMemoryBound(to: CChar.self)
            return unsafe PQputCopyData(handle, bytes.baseAddress, Int32(bytes.count)) == 1
                && PQputCopyEnd(handle, nil) == 1
        }
        guard sent else { throw .connectionLost(during: statement.purpose.description) }
        var outcome: PostgresError?
        while let result = unsafe PQgetResult(handle) {
            let rows = unsafe Rows(adopting: result)
            if !rows.succeeded, outcome == nil { outcome = failure(of: statement.purpose, rows) }
        }
        if let outcome { throw outcome }
    }

    /// The login role of this session, as libpq knows it.
    package var user: String { unsafe PQuser(handle).map { unsafe String(cString: $0) } ?? "" }

    package var databaseName: String { unsafe PQdb(handle).map { unsafe String(cString: $0) } ?? "" }

    /// Major version times 10,000, as libpq counts: 150020 is 15.20.
    package var serverVersion: Int { unsafe Int(PQserverVersion(handle)) }

    package var usesTLS: Bool { unsafe PQsslInUse(handle) == 1 }

    package var isInTransaction: Bool { unsafe PQtransactionStatus(handle) == PQTRANS_INTRANS }

    var isOpen: Bool { unsafe PQstatus(handle) == CONNECTION_OK }

    private var serverMessage: String { unsafe String(cString: PQerrorMessage(handle)) }

    func adopt(_ result: OpaquePointer?, of purpose: StaticString) throws(PostgresError) -> Rows {
        guard let result = unsafe result else {
            throw isOpen ? .outOfMemory(during: purpose.description) : .connectionLost(during: purpose.description)
        }
        let rows = unsafe Rows(adopting: result)
        guard rows.succeeded else { throw failure(of: purpose, rows) }
        return rows
    }

    private func failure(of purpose: StaticString, _ rows: borrowing Rows) -> PostgresError {
        let failure = rows.failure(of: purpose)
        return isOpen || failure.state?.isVaultsOwn == true ? failure : .connectionLost(during: purpose.description)
    }
}
