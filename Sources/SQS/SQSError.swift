/// Why the queue did not do what was asked. Safe to log: it names operations, codes, queues and hosts, never a body,
/// a receipt handle or a key.
package enum SQSError: Error, Equatable {
    /// Every attempt failed in a way that may pass: 5xx, throttling, a broken or slow connection.
    case unavailable(during: QueueOperation, attempts: Int, last: String)
    /// Every attempt was answered, but not in a way that can be used.
    case invalidResponse(during: QueueOperation, attempts: Int, InvalidResponse)
    /// The server could not prove who it is.
    case untrustedServer(host: String, reason: String)
    case credentialsMissing(String)
    case credentialsRefused(code: String, region: String)
    case credentialsExpired(code: String)
    case accessDenied(QueueOperation, code: String)
    /// Seconds that the local clock is ahead of the queue's (negative: behind), when the reply's date told.
    case clockSkew(seconds: Int?)
    case queueNotFound(queue: String, region: String)
    /// The queue exists, but this endpoint or region cannot serve it.
    case wrongRegion(queue: String, region: String)
    /// A refusal that no retry will change.
    case refused(QueueOperation, status: Int, code: String)
    case invalidSettings(String)
    case libraryTooOld(found: String)
    case libraryFailure(String)
    case stopped(during: QueueOperation)
    case outOfMemory
}

package enum InvalidResponse: Error, Equatable, Sendable {
    case notJSON
    case unexpectedShape
    case tooLarge(limit: Int)
    case wrongChecksum(messages: Int)
}

package enum QueueOperation: String, Sendable {
    case receive = "ReceiveMessage"
    case delete = "DeleteMessageBatch"
    case changeVisibility = "ChangeMessageVisibilityBatch"
    case attributes = "GetQueueAttributes"
}

extension SQSError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .unavailable(let operation, let attempts, let last):
            "the queue did not answer \(operation.rawValue) in \(attempts) attempts (last: \(last)); "
                + "check the network and the AWS health page, then run again"
        case .invalidResponse(let operation, let attempts, let reason):
            "the queue's answer to \(operation.rawValue) cannot be used after \(attempts) attempts: \(reason); "
                + "check for a proxy between this host and SQS, then run again"
        case .untrustedServer(let host, let reason):
            "the queue server \(host) did not prove its identity (\(reason)); check --endpoint-url and the CA "
                + "certificates (AWS_CA_BUNDLE)"
        case .credentialsMissing(let what):
            "no AWS credentials: \(what); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        case .credentialsRefused(let code, let region):
            "SQS refused the AWS credentials (\(code), signed for region \(region)); "
                + "check that access key, secret and session token belong together"
        case .credentialsExpired(let code):
            "the AWS credentials have expired (\(code)); get new ones and run again"
        case .accessDenied(let operation, let code):
            "the AWS credentials may not call \(operation.rawValue) on this queue (\(code)); grant "
                + "sqs:\(operation.permission), and kms:Decrypt where the queue is encrypted"
        case .clockSkew(let seconds?):
            "this host's clock is \(Self.span(seconds)); SQS refuses signatures more than 5 min off: correct "
                + "the clock (`timedatectl`)"
        case .clockSkew(nil):
            "SQS says that this host's clock is more than 5 min off; correct it (`timedatectl`)"
        case .queueNotFound(let queue, let region):
            "there is no queue \(queue) in region \(region) for this account; check the queue URL and AWS_REGION"
        case .wrongRegion(let queue, let region):
            "the queue \(queue) is not served by this endpoint in region \(region); check the queue URL, "
                + "--endpoint-url and AWS_REGION"
        case .refused(let operation, let status, let code):
            "SQS refused \(operation.rawValue) with HTTP \(status) (\(code)); retrying would not help"
        case .invalidSettings(let what): what
        case .libraryTooOld(let found):
            "libcurl \(found) signs SQS requests wrongly; install libcurl 7.86 or later"
        case .libraryFailure(let what):
            "libcurl cannot be used: \(what); install libcurl 7.86 or later with OpenSSL"
        case .stopped(let operation):
            "stopped while \(operation.rawValue) was under way; messages still lent to us come back by themselves"
        case .outOfMemory: "out of memory while reading the queue's answer; use smaller batches or fewer connections"
        }
    }

    private static func span(_ seconds: Int) -> String {
        let size = abs(seconds)
        let text = size < 120 ? "\(size) s" : "\((size + 30) / 60) min"
        return "\(text) off (\(seconds < 0 ? "behind" : "ahead"))"
    }
}

extension InvalidResponse: CustomStringConvertible {
    package var description: String {
        switch self {
        case .notJSON: "it is cut short or not JSON"
        case .unexpectedShape: "it lacks what the SQS protocol promises"
        case .tooLarge(let limit): "it is longer than \(limit) bytes"
        case .wrongChecksum(let messages): "\(messages) message bodies do not have the MD5 that it names"
        }
    }
}

extension QueueOperation {
    /// The IAM action behind the call. Batch calls need the permission of the single call.
    var permission: String {
        switch self {
        case .receive: "ReceiveMessage"
        case .delete: "DeleteMessage"
        case .changeVisibility: "ChangeMessageVisibility"
        case .attributes: "GetQueueAttributes"
        }
    }
}
