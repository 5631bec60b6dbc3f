import Foundation
import Postgres
import TestSupport
import Testing

@Suite("A connection to PostgreSQL")
struct ConnectionTests {
    private func connect() throws -> Connection {
        try PrivateCluster.shared.get().connect(user: "vault_admin", database: "tokenvault")
    }

    @Test("carries bytes both ways, NUL, empty and NULL told apart")
    func bytesRoundTrip() throws {
        var connection = try connect()
        let rows = try connection.run(
            Statement(
                "echoing", "SELECT $1::bytea, $2::text, $3::text, $4::bytea, $5::uuid, $6::bigint",
                .bytes([0, 255, 0, 7]), .text("Grüße"), .text(nil), .bytes([]), .uuid(UInt128(0xFF) << 120 | 1),
                .int(-5)))
        #expect(rows.bytes(row: 0, column: 0) == [0, 255, 0, 7])
        #expect(rows.text(row: 0, column: 1) == "Grüße")
        #expect(rows.text(row: 0, column: 2) == nil)
        #expect(rows.bytes(row: 0, column: 3) == [])
        #expect(rows.uuid(row: 0, column: 4) == UInt128(0xFF) << 120 | 1)
        #expect(rows.int(row: 0, column: 5) == -5)
    }

    @Test("sends arrays, empty ones too")
    func arrays() throws {
        var connection = try connect()
        var uuids = BinaryArray(of: .uuid, capacity: 64)
        uuids.append(uuid: 1)
        uuids.append(uuid: UInt128.max)
        let rows = try connection.run(
            Statement(
                "echoing",
                "SELECT cardinality($1::uuid[]), ($1::uuid[])[2]::text, cardinality($2::text[]), ($3::text[])[1]",
                .array(uuids), .textArray([]), .textArray(["a", "b"])))
        #expect(rows.int(row: 0, column: 0) == 2)
        #expect(rows.text(row: 0, column: 1) == "ffffffff-ffff-ffff-ffff-ffffffffffff")
        #expect(rows.int(row: 0, column: 2) == 0)
        #expect(rows.text(row: 0, column: 3) == "a")
    }

    @Test("copies rows in, and reports a refused row without its values")
    func copyIn() throws {
        var connection = try connect()
        try connection.run(Statement("setting up", "CREATE TEMP TABLE t (v varchar(4), n int, d date)"))
        var rows = CopyRows(columns: 3, capacity: 100)
        rows.beginRow()
        rows.append(Array("abc".utf8).span)
        rows.append(int4: nil)
        rows.append(date: 366)
        try connection.copyIn(Statement("copying", "COPY t FROM STDIN (FORMAT binary)"), rows)
        let back = try connection.run(Statement("reading", "SELECT v, n, d::text FROM t"))
        #expect(back.text(row: 0, column: 0) == "abc")
        #expect(back.int(row: 0, column: 1) == nil)
        #expect(back.text(row: 0, column: 2) == "2001-01-01")

        var long = CopyRows(columns: 3, capacity: 100)
        long.beginRow()
        long.append { $0 += "4111111111111111".utf8 }
        long.append(int4: 1)
        long.append(date: 1)
        let error = #expect(throws: PostgresError.self) {
            try connection.copyIn(Statement("copying", "COPY t FROM STDIN (FORMAT binary)"), long)
        }
        #expect(error.map { "\($0)" } == "copying failed with SQLSTATE 22001")
        #expect(try connection.run(Statement("still usable", "SELECT 1")).count == 1)
    }

    @Test("logs a refused statement without the row's values")
    func errorsDoNotLeak() throws {
        var connection = try connect()
        try connection.run(Statement("setting up", "CREATE TEMP TABLE t (v text CHECK (v = 'x'))"))
        let error = #expect(throws: PostgresError.self) {
            try connection.run(Statement("inserting", "INSERT INTO t VALUES ($1)", .text("4111111111111111")))
        }
        #expect(error.map { "\($0)" } == "inserting failed with SQLSTATE 23514 on constraint t_v_check")
    }

    @Test("never repeats a connection string")
    func connectionStringIsSecret() {
        for conninfo in ["host=/nonexistent password=s3cret", "password=s3cret nonsense", "postgresql://u:s3cret@[x/"] {
            let error = #expect(throws: PostgresError.self) { _ = try Connection.open(conninfo) }
            #expect(error.map { String(reflecting: $0) }?.contains("s3cret") == false)
        }
    }

    @Test("refuses text with a NUL instead of cutting it short")
    func nulInText() throws {
        var connection = try connect()
        let error = #expect(throws: PostgresError.self) {
            try connection.run(Statement("echoing", "SELECT $1::text", .text("a\0b")))
        }
        guard case .nulInText = error else { return #expect(Bool(false), "got \(String(reflecting: error))") }
    }
}

@Suite("A transaction")
struct TransactionTests {
    @Test("that throws leaves nothing behind")
    func rollsBack() throws {
        var connection = try PrivateCluster.shared.get().connect(user: "vault_admin", database: "tokenvault")
        try connection.run(Statement("setting up", "CREATE TEMP TABLE t (v int)"))
        #expect(throws: PostgresError.self) {
            _ = try connection.transaction { connection throws(PostgresError) in
                try connection.run(Statement("inserting", "INSERT INTO t VALUES (1)"))
                try connection.run(Statement("dividing", "SELECT 1/0"))
            }
        }
        #expect(try connection.run(Statement("counting", "SELECT count(*) FROM t")).int(row: 0, column: 0) == 0)
    }

    @Test("in which an error was swallowed gives no proof of commit")
    func swallowedErrorIsNotCommitted() throws {
        var connection = try PrivateCluster.shared.get().connect(user: "vault_admin", database: "tokenvault")
        let error = #expect(throws: PostgresError.self) {
            _ = try connection.transaction { connection throws(PostgresError) in
                _ = try? connection.run(Statement("dividing", "SELECT 1/0"))
            }
        }
        guard case .notCommitted = error else { return #expect(Bool(false), "got \(String(reflecting: error))") }
    }

    @Test("that was never begun gives no proof of commit")
    func commitWithoutBegin() throws {
        var connection = try PrivateCluster.shared.get().connect(user: "vault_admin", database: "tokenvault")
        #expect(throws: PostgresError.self) { _ = try connection.commit() }
    }

    @Test("whose server dies at COMMIT is reported as unknown, never as done")
    func serverDies() throws {
        let cluster = try PrivateCluster(purpose: "die")
        defer { cluster.stop() }
        var connection = try cluster.connect(user: "vault_admin", database: "tokenvault")
        try connection.begin()
        try connection.run(Statement("setting up", "CREATE TABLE t (v int)"))
        try cluster.control("stop-immediate")
        let error = #expect(throws: PostgresError.self) { _ = try connection.commit() }
        guard case .commitUnknown = error else { return #expect(Bool(false), "got \(String(reflecting: error))") }
    }
}
