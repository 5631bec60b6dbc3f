internal import CLibPQ

/// What a libpq connection string or URI says, as libpq itself reads it.
package enum ConnectionString {
    /// Whether it holds a password, the server's or a client key's. Of what libpq cannot read, the word alone counts.
    package static func holdsPassword(_ text: String) -> Bool {
        guard let options = unsafe PQconninfoParse(text, nil) else { return text.lowercased().contains("password") }
        defer { unsafe PQconninfoFree(options) }
        var option = unsafe options
        while let keyword = unsafe option.pointee.keyword {
            let isSecret = ["password", "sslpassword"].contains(unsafe String(cString: keyword))
            if isSecret, unsafe option.pointee.val != nil { return true }
            unsafe option += 1
        }
        return false
    }
}
