import Foundation
import Postgres
import TestSupport
import Testing

@Suite("A statement that was sent ahead")
struct PendingStatementTests {
    private func connect() throws -> Connection {
        try PrivateCluster.shared.get().connect(user: "vault_admin", database: "tokenvault")
    }

    private func refusal(of pending: consuming PendingStatement, on connection: inout Connection) -> PostgresError? {
        do throws(PostgresError) {
            _ = try connection.receive(pending)
            return nil
        } catch {
            return error
        }
    }

    private func number(_ value: Int) -> Statement { Statement("echoing", "SELECT $1::bigint", .int(value)) }

    @Test("gives its own rows, once they are asked for")
    func received() throws {
        var connection = try connect()
        let first = try connection.send(number(1))
        #expect(try connection.receive(first).int(row: 0, column: 0) == 1)
        #expect(try connection.run(number(2)).int(row: 0, column: 0) == 2)
    }

    @Test("tells when it is answered, so that the wait can be used")
    func answered() throws {
        var gate = try connect()
        try gate.runTrustedScript("closing the gate", "BEGIN; SELECT pg_advisory_xact_lock(4711)")
        var connection = try connect()
        let pending = try connection.send(Statement("waiting", "SELECT 5::bigint FROM pg_advisory_xact_lock(4711)"))
        for _ in 0..<20 {
            let early = connection.isAnswered(pending)
            #expect(!early)
            usleep(5_000)
        }
        try gate.runTrustedScript("opening the gate", "ROLLBACK")
        var isAnswered = false
        for _ in 0..<2_000 where !isAnswered {
            usleep(5_000)
            isAnswered = connection.isAnswered(pending)
        }
        #expect(isAnswered)
        #expect(try connection.receive(pending).int(row: 0, column: 0) == 5)

        let first = try connection.send(Statement("sleeping", "SELECT pg_sleep(0.5)"))
        let second = try connection.send(Statement("sleeping", "SELECT pg_sleep(0.5)"))
        let overtaken = connection.isAnswered(first)
        #expect(overtaken, "receiving it fails at once")
        let underWay = connection.isAnswered(second)
        #expect(!underWay)
    }

    @Test("is answered by the end of its session")
    func ended() throws {
        var connection = try connect()
        let pid = try connection.run(Statement("asking", "SELECT pg_backend_pid()::bigint")).int(row: 0, column: 0) ?? 0
        let pending = try connection.send(Statement("sleeping", "SELECT pg_sleep(60)"))
        var other = try PrivateCluster.shared.get().connect(user: "postgres", database: "tokenvault")
        try other.run(Statement("ending", "SELECT pg_terminate_backend($1::integer)", .int4(Int32(pid))))
        var isAnswered = false
        for _ in 0..<2_000 where !isAnswered {
            usleep(5_000)
            isAnswered = connection.isAnswered(pending)
        }
        #expect(isAnswered)
        let error = refusal(of: pending, on: &connection)
        #expect(error?.needsReconnect == true && error?.isTransient == true, "\(String(reflecting: error))")
    }

    @Test("and never received, is dropped: what is run next gets its own answer")
    func dropped() throws {
        var connection = try connect()
        try connection.run(Statement("setting up", "CREATE TEMP TABLE t (v int)"))
        // Large enough to fill every buffer on the way.
        _ = try connection.send(Statement("computing much", "SELECT repeat('x', 1000000) FROM generate_series(1, 30)"))
        #expect(try connection.run(number(3)).int(row: 0, column: 0) == 3)

        _ = try connection.send(number(4))
        var rows = CopyRows(columns: 1, capacity: 100)
        rows.beginRow()
        rows.append(int4: 5)
        try connection.copyIn(Statement("copying", "COPY t FROM STDIN (FORMAT binary)"), rows)
        _ = try connection.send(number(6))
        let committed = try connection.transaction { connection throws(PostgresError) in
            _ = try connection.send(Statement("inserting", "INSERT INTO t VALUES (7)"))
        }
        _ = consume committed
        #expect(try connection.run(Statement("reading", "SELECT sum(v) FROM t")).int(row: 0, column: 0) == 12)
    }

    @Test("and refused unseen, takes its transaction along: no proof of commit")
    func refusedUnseen() throws {
        var connection = try connect()
        try connection.run(Statement("setting up", "CREATE TEMP TABLE t (v int)"))
        let error = #expect(throws: PostgresError.self) {
            _ = try connection.transaction { connection throws(PostgresError) in
                try connection.run(Statement("inserting", "INSERT INTO t VALUES (1)"))
                _ = try connection.send(Statement("dividing", "SELECT 1/0"))
            }
        }
        guard case .notCommitted = error else { return #expect(Bool(false), "got \(String(reflecting: error))") }
        #expect(try connection.run(Statement("counting", "SELECT count(*) FROM t")).int(row: 0, column: 0) == 0)
    }

    @Test("reports a refusal to whoever receives it, and the session goes on")
    func refused() throws {
        var connection = try connect()
        let pending = try connection.send(Statement("dividing", "SELECT 1/0"))
        let error = refusal(of: pending, on: &connection)
        #expect(error?.state?.code == "22012")
        #expect(try connection.run(number(8)).int(row: 0, column: 0) == 8)
    }

    @Test("and overtaken, is never given the rows of another")
    func overtaken() throws {
        var connection = try connect()
        let first = try connection.send(number(9))
        let second = try connection.send(number(10))
        let late = refusal(of: first, on: &connection)
        guard case .answerDropped = late else { return #expect(Bool(false), "got \(String(reflecting: late))") }
        #expect(try connection.receive(second).int(row: 0, column: 0) == 10)

        let third = try connection.send(number(11))
        #expect(try connection.run(number(12)).int(row: 0, column: 0) == 12)
        let dropped = refusal(of: third, on: &connection)
        #expect(dropped != nil)

        var other = try connect()
        let elsewhere = try other.send(number(13))
        let own = try connection.send(number(14))
        let foreign = refusal(of: elsewhere, on: &connection)
        #expect(foreign != nil)
        #expect(try connection.receive(own).int(row: 0, column: 0) == 14)
        #expect(try other.run(number(15)).int(row: 0, column: 0) == 15)
    }

    @Test("to a server that died, is a lost connection")
    func serverDies() throws {
        let cluster = try PrivateCluster(purpose: "pending")
        defer { cluster.stop() }
        var connection = try cluster.connect(user: "vault_admin", database: "tokenvault")
        let pending = try connection.send(Statement("sleeping", "SELECT pg_sleep(30)"))
        try cluster.control("stop-immediate")
        let error = refusal(of: pending, on: &connection)
        #expect(error?.needsReconnect == true)
        let again = #expect(throws: PostgresError.self) { _ = try connection.send(number(16)) }
        #expect(again?.needsReconnect == true)
    }

    @Test("holds no text with a NUL, and leaves nothing under way then")
    func nulInText() throws {
        var connection = try connect()
        #expect(throws: PostgresError.self) {
            _ = try connection.send(Statement("echoing", "SELECT $1::text", .text("a\0b")))
        }
        #expect(try connection.run(number(17)).int(row: 0, column: 0) == 17)
    }
}

@Suite("A session that the server ends")
struct EndedSessionTests {
    @Test(
        "because its transaction was idle for too long says so, and is to be opened again",
        arguments: zip([false, true, true], [false, false, true]))
    func idle(arrivesUnasked: Bool, isAskedFor: Bool) throws {
        var connection = try PrivateCluster.shared.get().connect(user: "vault_admin", database: "tokenvault")
        try connection.run(Statement("setting up", "SET idle_in_transaction_session_timeout = '100ms'"))
        try connection.begin()
        if arrivesUnasked {  // behind the answer of the last statement, in one piece
            let pending = try connection.send(Statement("echoing", "SELECT 1"))
            Thread.sleep(forTimeInterval: 0.5)
            for _ in 0..<3 where isAskedFor {  // reads on to the end of the connection
                let isAnswered = connection.isAnswered(pending)
                #expect(isAnswered)
            }
            #expect(try connection.receive(pending).count == 1)
        } else {
            Thread.sleep(forTimeInterval: 0.5)
        }
        let error = #expect(throws: PostgresError.self) { try connection.run(Statement("echoing", "SELECT 1")) }
        #expect(error?.state?.code == "25P03" && error?.needsReconnect == true && error?.isTransient == true)
        let atCommit = #expect(throws: PostgresError.self) { _ = try connection.commit() }
        guard case .commitUnknown = atCommit else { return #expect(Bool(false), "got \(String(reflecting: atCommit))") }
    }
}
