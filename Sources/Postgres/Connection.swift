internal import CLibPQ
internal import Glibc

/// One session with a PostgreSQL server.
///
/// `PGconn` is not thread-safe, and neither is this: it has one owner, and every statement is a mutation, so overlapping
/// use does not compile. Closed when the value dies.
///
/// Source: PostgreSQL manual, "libpq — C Library".
@safe package struct Connection: ~Copyable, @unchecked Sendable {
    // @unchecked: one owner; libpq binds a connection to no thread.
    static let binary: Int32 = 1  // result format: bytea without hex
    /// Bytes of a COPY handed to libpq at a time, so that its buffer stays small.
    private static let copyChunk = 256 * 1024

    let handle: OpaquePointer  // PGconn *
    let patience: Patience
    /// The server was given up on in mid-statement: what it did is unknown, and nothing more is said to it.
    private(set) var isAbandoned = false
    private var stopSeen: ContinuousClock.Instant?
    /// The statement that was sent by ``send(_:)`` and whose answer was not received yet.
    var awaitedAnswer: UInt64?

    /// SQLSTATE of what the server said unasked before it hung up, as a C string. On the heap, because libpq keeps its address.
    private let lastWord: UnsafeMutablePointer<CChar>

    private init(adopting handle: OpaquePointer, patience: Patience) {
        unsafe self.handle = handle
        self.patience = patience
        unsafe lastWord = .allocate(capacity: 6)
        unsafe lastWord.initialize(repeating: 0, count: 6)
    }

    deinit {
        unsafe PQfinish(handle)
        unsafe lastWord.deallocate()
    }

    /// Connects, waiting at most `connect_timeout` seconds if `conninfo` sets one.
    ///
    /// - Parameters:
    ///   - conninfo: a libpq URI or key/value string; empty means libpq's own `PG…` variables and service files.
    ///     May hold a password, so it is never repeated in an error.
    ///   - shouldStop: asked while connecting; a stop ends the wait within seconds. The patience's own when left out.
    package static func open(
        _ conninfo: String, patience: Patience = Patience(), shouldStop: (@Sendable () -> Bool)? = nil
    ) throws(PostgresError) -> Connection {
        guard let options = unsafe PQconninfoParse(conninfo, nil) else { throw .invalidConnectionString }
        unsafe PQconninfoFree(options)
        guard
            let handle = try unsafe ConnectionAttempt.connect(conninfo, shouldStop: shouldStop ?? patience.shouldStop)
        else { throw .outOfMemory(during: "connecting") }
        // Adopt first: every throw below closes it.
        let connection = unsafe Connection(adopting: handle, patience: patience)
        guard connection.isOpen else { throw .unreachable(serverMessage: connection.serverMessage) }
        unsafe tv_silence_notices(handle, connection.lastWord)
        guard unsafe PQsetClientEncoding(handle, "UTF8") == 0, unsafe PQsetnonblocking(handle, 1) == 0 else {
            throw .connectionLost(during: "connecting")
        }
        connection.noticeDeadNetworks()
        return connection
    }

    /// Runs one statement and returns its rows, in binary format.
    ///
    /// - Throws: ``PostgresError``. The session stays usable unless ``PostgresError/needsReconnect``.
    @discardableResult
    package mutating func run(_ statement: Statement) throws(PostgresError) -> Rows {
        guard !statement.hasNULInText else { throw .nulInText(during: statement.purpose.description) }
        let result = try unsafe exchange(statement.purpose) { handle in
            unsafe statement.withCParameters { count, types, values, lengths, formats in
                unsafe PQsendQueryParams(
                    handle, statement.sqlCString, count, types, values, lengths, formats, Self.binary)
            }
        }
        return try unsafe adopt(result, of: statement.purpose)
    }

    /// Runs a script that is not written in the source: several statements, no parameters, no rows.
    ///
    /// - Parameter script: trusted SQL. Only migrations, whose checksums are recorded, come this way.
    package mutating func runTrustedScript(_ purpose: StaticString, _ script: String) throws(PostgresError) {
        _ = try unsafe adopt(exchange(purpose) { unsafe PQsendQuery($0, script) }, of: purpose)
    }

    /// Sends rows in binary COPY format.
    ///
    /// - Parameter statement: `COPY … FROM STDIN (FORMAT binary)`, without parameters.
    package mutating func copyIn(_ statement: Statement, _ rows: CopyRows) throws(PostgresError) {
        let start = try unsafe exchange(statement.purpose) { unsafe PQsendQuery($0, statement.sqlCString) }
        guard let start = unsafe start else { throw .outOfMemory(during: statement.purpose.description) }
        let opening = unsafe Rows(adopting: start)
        guard opening.status == PGRES_COPY_IN else { throw failure(of: statement.purpose, opening) }

        let deadline = Deadline(patience)
        for chunk in stride(from: 0, to: rows.storage.count, by: Self.copyChunk) {
            let end = min(chunk + Self.copyChunk, rows.storage.count)
            try putCopyData(rows.storage[chunk..<end], statement.purpose, deadline)
        }
        try putCopyData(CopyRows.trailer[...], statement.purpose, deadline)
        _ = try unsafe adopt(exchange(statement.purpose) { unsafe PQputCopyEnd($0, nil) }, of: statement.purpose)
    }

    private mutating func putCopyData(
        _ chunk: ArraySlice<UInt8>, _ purpose: StaticString, _ deadline: Deadline
    ) throws(PostgresError) {
        let sent = unsafe chunk.withUnsafeBytes { bytes in
            unsafe PQputCopyData(
                handle, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(bytes.count))
        }
        guard sent == 1 else { throw lost(during: purpose) }
        try flush(purpose, deadline)
    }

    /// The login role of this session, as libpq knows it.
    package var user: String { unsafe PQuser(handle).map { unsafe String(cString: $0) } ?? "" }

    package var databaseName: String { unsafe PQdb(handle).map { unsafe String(cString: $0) } ?? "" }

    /// Major version times 10,000, as libpq counts: 150020 is 15.20.
    package var serverVersion: Int { unsafe Int(PQserverVersion(handle)) }

    package var usesTLS: Bool { unsafe PQsslInUse(handle) == 1 }

    package var isInTransaction: Bool { unsafe PQtransactionStatus(handle) == PQTRANS_INTRANS }

    var isOpen: Bool { unsafe !isAbandoned && PQstatus(handle) == CONNECTION_OK }

    private var serverMessage: String { unsafe String(cString: PQerrorMessage(handle)) }

    /// Sends, waits for the whole answer, and returns its last result, or the first that failed, as `PQexec` does; a COPY
    /// that begins is an answer too. The answer of a statement that was sent and never received is dropped first.
    private mutating func exchange(
        _ purpose: StaticString, _ send: (OpaquePointer) -> Int32
    ) throws(PostgresError) -> OpaquePointer? {
        guard isOpen else { throw lost(during: purpose) }
        try dropUnreceived(purpose, Deadline(patience))
        let deadline = Deadline(patience)
        guard unsafe send(handle) == 1 else {
            throw isOpen ? .outOfMemory(during: purpose.description) : lost(during: purpose)
        }
        return try unsafe answer(purpose, deadline)
    }

    /// Waits for the whole answer of the statement under way.
    mutating func answer(_ purpose: StaticString, _ deadline: Deadline) throws(PostgresError) -> OpaquePointer? {
        try flush(purpose, deadline)
        var last: OpaquePointer?
        unsafe last = nil
        while true {
            while unsafe PQisBusy(handle) == 1 {
                do throws(PostgresError) {
                    try wait(POLLIN, purpose, deadline)
                } catch {
                    unsafe PQclear(last)
                    throw error
                }
                // A connection that ends shows in the result, with what the server said last.
                if unsafe PQconsumeInput(handle) == 0 { break }
            }
            guard let result = unsafe PQgetResult(handle) else {
                awaitedAnswer = nil
                return unsafe last
            }
            if unsafe last != nil, unsafe PQresultStatus(last) == PGRES_FATAL_ERROR {
                unsafe PQclear(result)
            } else {
                unsafe PQclear(last)
                unsafe last = result
            }
            if unsafe PQresultStatus(result) == PGRES_COPY_IN { return unsafe last }
        }
    }

    /// Hands what is queued to the operating system, reading meanwhile, so that the two sides cannot wait for each other.
    mutating func flush(_ purpose: StaticString, _ deadline: Deadline) throws(PostgresError) {
        while true {
            switch unsafe PQflush(handle) {
            case 0: return
            case 1:
                try wait(POLLIN | POLLOUT, purpose, deadline)
                if unsafe PQconsumeInput(handle) == 0 { return }
            default: return  // the reason shows in the result
            }
        }
    }

    /// Waits until the socket is ready.
    private mutating func wait(_ events: Int32, _ purpose: StaticString, _ deadline: Deadline) throws(PostgresError) {
        while true {
            var entry = unsafe pollfd(fd: PQsocket(handle), events: Int16(events), revents: 0)
            guard entry.fd >= 0 else { return }
            let ready = unsafe poll(&entry, 1, 200)
            if ready > 0 { return }
            if ready < 0, errno != EINTR { return }
            guard !deadline.hasPassed(stopSeen: &stopSeen) else {
                isAbandoned = true
                throw .unresponsive(during: purpose.description)
            }
        }
    }

    func adopt(_ result: OpaquePointer?, of purpose: StaticString) throws(PostgresError) -> Rows {
        guard let result = unsafe result else {
            throw isOpen ? .outOfMemory(during: purpose.description) : lost(during: purpose)
        }
        let rows = unsafe Rows(adopting: result)
        guard rows.succeeded else { throw failure(of: purpose, rows) }
        return rows
    }

    private func failure(of purpose: StaticString, _ rows: borrowing Rows) -> PostgresError {
        let failure = rows.failure(of: purpose)
        // The server's last word before it hangs up may be a time-out: that is another thing than a lost connection.
        let isLastWord = failure.state.map { $0.isVaultsOwn || $0.endsSession } ?? false
        return isOpen || isLastWord ? failure : lost(during: purpose)
    }

    func lost(during purpose: StaticString) -> PostgresError {
        let state = SQLState(code: unsafe String(cString: lastWord))
        guard state.endsSession else { return .connectionLost(during: purpose.description) }
        return .refused(purpose.description, state: state, constraint: nil, message: "", hint: nil)
    }
}

extension Connection {
    /// Ends a TCP session whose peer is gone within about a minute, where the connection string leaves that to the system
    /// (which takes two hours for an idle one, and a quarter of an hour for one that has sent).
    private func noticeDeadNetworks() {
        guard let options = unsafe PQconninfo(handle) else { return }
        defer { unsafe PQconninfoFree(options) }
        var settled: Set<String> = []
        var option = unsafe options
        while let keyword = unsafe option.pointee.keyword {
            if let value = unsafe option.pointee.val, unsafe value.pointee != 0 {
                settled.insert(unsafe String(cString: keyword))
            }
            unsafe option += 1
        }
        let socket = unsafe PQsocket(handle)
        for (keyword, name, value) in [
            ("keepalives_idle", TCP_KEEPIDLE, 30), ("keepalives_interval", TCP_KEEPINTVL, 10),
            ("keepalives_count", TCP_KEEPCNT, 3), ("tcp_user_timeout", TCP_USER_TIMEOUT, 60_000),
        ] where !settled.contains(keyword) {
            var value = Int32(value)  // on a Unix socket this fails, and nothing is needed there
            _ = unsafe setsockopt(socket, Int32(IPPROTO_TCP), name, &value, socklen_t(MemoryLayout<Int32>.size))
        }
    }
}
