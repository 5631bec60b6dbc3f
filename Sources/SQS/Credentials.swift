/// An AWS access key. Its texts show the key id only.
///
/// The secret is a `String`, which leaves copies in memory: it comes from the environment or a file of this user,
/// and libcurl keeps a copy of its own for signing.
package struct Credentials: Sendable {
    package let accessKeyID: String
    let secretAccessKey: String
    let sessionToken: String?

    /// - Throws: ``SQSError/credentialsMissing(_:)`` when a part is empty or holds characters that no key has
    ///   (anything but visible ASCII), such as the line break of a careless copy.
    package init(
        accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil
    ) throws(SQSError) {
        try Self.check(accessKeyID, "the access key id", maximum: 128)
        try Self.check(secretAccessKey, "the secret access key", maximum: 256)
        if let sessionToken { try Self.check(sessionToken, "the session token", maximum: 16_384) }
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
    }

    private static func check(_ text: String, _ name: String, maximum: Int) throws(SQSError) {
        guard !text.isEmpty else { throw .credentialsMissing("\(name) is empty") }
        guard text.utf8.allSatisfy({ (33...126).contains($0) }), text.utf8.count <= maximum else {
            throw .credentialsMissing("\(name) holds a character that no AWS key has")
        }
    }
}

extension Credentials: CustomStringConvertible, CustomReflectable {
    package var description: String { "Credentials(\(accessKeyID))" }
    package var customMirror: Mirror { Mirror(self, children: ["accessKeyID": accessKeyID]) }
}

/// Where a client gets its credentials from. Asked before every call, so a source may renew what is about to expire.
package struct CredentialSource: Sendable {
    /// `isRenewal`: SQS has just called the last ones expired.
    let credentials: @Sendable (_ isRenewal: Bool) throws(SQSError) -> Credentials
    /// Whether asking again after "expired" can give others.
    let canRenew: Bool

    package init(
        canRenew: Bool, credentials: @escaping @Sendable (_ isRenewal: Bool) throws(SQSError) -> Credentials
    ) {
        self.canRenew = canRenew
        self.credentials = credentials
    }

    package static func fixed(_ credentials: Credentials) -> CredentialSource {
        CredentialSource(canRenew: false) { _ throws(SQSError) in credentials }
    }

    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, for temporary credentials, `AWS_SESSION_TOKEN`.
    package static func environment(_ environment: [String: String]) throws(SQSError) -> CredentialSource {
        guard let id = environment["AWS_ACCESS_KEY_ID"], !id.isEmpty else {
            throw .credentialsMissing("AWS_ACCESS_KEY_ID is not set")
        }
        guard let secret = environment["AWS_SECRET_ACCESS_KEY"], !secret.isEmpty else {
            throw .credentialsMissing("AWS_SECRET_ACCESS_KEY is not set")
        }
        let token = environment["AWS_SESSION_TOKEN"].flatMap { $0.isEmpty ? nil : $0 }
        return .fixed(try Credentials(accessKeyID: id, secretAccessKey: secret, sessionToken: token))
    }
}
