internal import CLibPQ

/// How a session reaches its server.
package struct Route: Sendable {
    /// A host name, an address, or the folder of a Unix socket.
    package let host: String
    package let usesTLS: Bool
    /// libpq's `sslmode` of this session.
    package let sslMode: String
    /// The server asked for a password, and got one.
    package let usedPassword: Bool
    /// This side named a certificate of its own (`sslcert`), which a server may have asked for.
    package let hasOwnCertificate: Bool

    /// A Unix socket or a loopback address: nothing goes over a network.
    package var isLocal: Bool {
        host.isEmpty || host.hasPrefix("/") || host.hasPrefix("@") || host == "localhost" || host == "::1"
            || host.hasPrefix("127.")
    }
}

extension Connection {
    package var route: Route {
        let address = unsafe PQhostaddr(handle).map { unsafe String(cString: $0) } ?? ""
        let host = unsafe PQhost(handle).map { unsafe String(cString: $0) } ?? ""
        return Route(
            host: address.isEmpty || host.hasPrefix("/") ? host : address, usesTLS: usesTLS,
            sslMode: option("sslmode"), usedPassword: unsafe PQconnectionUsedPassword(handle) == 1,
            hasOwnCertificate: !option("sslcert").isEmpty)
    }

    /// 150020 is libpq 15.20.
    package static var libraryVersion: Int { Int(PQlibVersion()) }

    /// The session's value of a connection parameter; empty where it has none.
    private func option(_ name: String) -> String {
        guard let options = unsafe PQconninfo(handle) else { return "" }
        defer { unsafe PQconninfoFree(options) }
        var option = unsafe options
        while let keyword = unsafe option.pointee.keyword {
            if unsafe String(cString: keyword) == name {
                return unsafe option.pointee.val.map { unsafe String(cString: $0) } ?? ""
            }
            unsafe option += 1
        }
        return ""
    }
}
