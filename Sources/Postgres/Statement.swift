/// SQL written in the source, with its values kept apart.
///
/// `StaticString` cannot be built at run time, so SQL injection does not compile.
package struct Statement {
    /// What the statement is for, as the object of "failed": "inserting tokens".
    package let purpose: StaticString
    let sql: StaticString
    let parameters: [Parameter]

    package init(_ purpose: StaticString, _ sql: StaticString, _ parameters: Parameter...) {
        self.purpose = purpose
        self.sql = sql
        self.parameters = parameters
    }
}

extension Statement {
    /// PostgreSQL refuses U+0000 in text; say so here, with the purpose, before it is sent.
    var hasNULInText: Bool {
        parameters.contains { $0.type == .text && $0.bytes?.contains(0) == true }
    }

    /// NUL-terminated and immortal: it is a literal in the binary.
    var sqlCString: UnsafePointer<CChar> {
        unsafe UnsafeRawPointer(sql.utf8Start).assumingMemoryBound(to: CChar.self)
    }

    /// Lends the parameters as `PQexecParams` wants them, without copying them.
    func withCParameters<R>(
        _ body: (Int32, [UInt32], [UnsafePointer<CChar>?], [Int32], [Int32]) -> R
    ) -> R {
        unsafe lend(parameters[...], pointers: []) { pointers in
            unsafe body(
                Int32(parameters.count), parameters.map(\.type.rawValue), pointers,
                parameters.map { Int32($0.bytes?.count ?? 0) }, parameters.map { _ in 1 })
        }
    }

    private func lend<R>(
        _ rest: ArraySlice<Parameter>, pointers: [UnsafePointer<CChar>?], _ body: ([UnsafePointer<CChar>?]) -> R
    ) -> R {
        guard let first = rest.first else { return unsafe body(pointers) }
        guard let bytes = first.bytes else {
            return unsafe lend(rest.dropFirst(), pointers: pointers + [nil], body)
        }
        guard !bytes.isEmpty else {  // an empty array has no address, and no address means NULL
            return unsafe [0 as CChar].withUnsafeBufferPointer {
                unsafe lend(rest.dropFirst(), pointers: pointers + [$0.baseAddress], body)
            }
        }
        return unsafe bytes.withUnsafeBytes {
            let start = unsafe $0.baseAddress?.assumingMemoryBound(to: CChar.self)
            return unsafe lend(rest.dropFirst(), pointers: pointers + [start], body)
        }
    }
}
