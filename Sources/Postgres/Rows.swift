internal import CLibPQ

/// The rows one statement returned, in binary format. Freed when the value dies.
@safe package struct Rows: ~Copyable {
    private let handle: OpaquePointer  // PGresult *

    init(adopting handle: OpaquePointer) { unsafe self.handle = handle }

    deinit { unsafe PQclear(handle) }

    package var count: Int { unsafe Int(PQntuples(handle)) }

    /// The bytes of one value, or `nil` for SQL NULL.
    package borrowing func bytes(row: Int, column: Int) -> [UInt8]? {
        withBytes(row: row, column: column) { span in
            guard let span else { return nil }
            return unsafe span.withUnsafeBufferPointer { unsafe Array($0) }
        }
    }

    /// Lends the bytes of one value without a copy; `nil` for SQL NULL.
    package borrowing func withBytes<R, E: Error>(
        row: Int, column: Int, _ body: (Span<UInt8>?) throws(E) -> R
    ) throws(E) -> R {
        precondition(row < count, "row \(row) of \(count)")
        let (row, column) = (Int32(row), Int32(column))
        guard unsafe PQgetisnull(handle, row, column) == 0, let start = unsafe PQgetvalue(handle, row, column) else {
            return try body(nil)
        }
        let length = unsafe Int(PQgetlength(handle, row, column))
        let raw = unsafe UnsafeRawBufferPointer(start: start, count: length)
        return try body(unsafe Span(_unsafeElements: raw.assumingMemoryBound(to: UInt8.self)))
    }

    /// One `text` (or `name`, `varchar`, `jsonb::text`) value, or `nil` for SQL NULL.
    package borrowing func text(row: Int, column: Int) -> String? {
        bytes(row: row, column: column).map { String(decoding: $0, as: UTF8.self) }
    }

    /// One `smallint`, `integer` or `bigint`, or `nil` for SQL NULL.
    package borrowing func int(row: Int, column: Int) -> Int? {
        withBytes(row: row, column: column) { bytes in
            guard let bytes, !bytes.isEmpty else { return nil }
            var number = Int(Int8(bitPattern: bytes[0]))
            for index in 1..<bytes.count { number = number << 8 | Int(bytes[index]) }
            return number
        }
    }

    /// One `timestamptz` in microseconds since 1970-01-01T00:00:00Z, or `nil` for SQL NULL.
    package borrowing func microseconds(row: Int, column: Int) -> Int? {
        int(row: row, column: column).map { $0 &+ 946_684_800_000_000 }  // PostgreSQL counts from 2000
    }

    package borrowing func bool(row: Int, column: Int) -> Bool? { bytes(row: row, column: column).map { $0 == [1] } }

    /// One `uuid` as the integer of its 16 bytes, or `nil` for SQL NULL.
    package borrowing func uuid(row: Int, column: Int) -> UInt128? {
        withBytes(row: row, column: column) { bytes in
            guard let bytes else { return nil }
            var number: UInt128 = 0
            for index in bytes.indices { number = number << 8 | UInt128(bytes[index]) }
            return number
        }
    }

    /// What PostgreSQL says it did: "INSERT 0 1", "COMMIT", "ROLLBACK".
    package var commandTag: String { unsafe String(cString: PQcmdStatus(handle)) }

    /// Rows that an INSERT, UPDATE or DELETE touched.
    package var affectedCount: Int { unsafe Int(String(cString: PQcmdTuples(handle))) ?? 0 }

    var status: ExecStatusType { unsafe PQresultStatus(handle) }

    var succeeded: Bool { status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK }

    borrowing func failure(of purpose: StaticString) -> PostgresError {
        guard let state = field(tv_diag_sqlstate) else { return .connectionLost(during: purpose.description) }
        return .refused(
            purpose.description,
            state: SQLState(code: state),
            constraint: field(tv_diag_constraint_name),
            message: field(tv_diag_message_primary) ?? "",
            hint: field(tv_diag_message_hint))
    }

    private borrowing func field(_ code: Int32) -> String? {
        unsafe PQresultErrorField(handle, code).map { unsafe String(cString: $0) }
    }
}
