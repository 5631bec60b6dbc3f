/// What an HTTP answer other than 200 means.
///
/// Source: Amazon SQS API Reference, "Common Errors" and each action's errors; AWS JSON 1.0 names the error in the
/// body's `__type`, older spellings in the header `x-amzn-query-error`, authentication errors may come as XML.
struct Refusal: Equatable {
    let status: Int
    /// The last part of the error's name, letters, digits, dots and dashes only.
    let code: String
    /// Seconds that the local clock is ahead of the response's `Date` header.
    let clockLead: Int?

    /// Larger differences make SQS refuse a signature (it allows 5 minutes; the limit here is below that, because the
    /// answer's date is a little later than the request's).
    private static let clockTolerance = 290

    enum Meaning: Equatable { case passing, expired, final(SQSError) }

    func meaning(during operation: QueueOperation, address: QueueAddress) -> Meaning {
        switch code {
        case "RequestThrottled", "RequestThrottledException", "Throttling", "ThrottlingException",
            "ThrottledException", "TooManyRequestsException", "RequestLimitExceeded", "BandwidthLimitExceeded",
            "SlowDown", "PriorRequestNotComplete", "RequestTimeout", "RequestTimeoutException", "OverLimit",
            "KmsThrottled", "InternalError", "InternalFailure", "ServiceUnavailable":
            return .passing
        case "RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture":
            return .final(.clockSkew(seconds: clockLead))
        case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
            return .expired
        case "QueueDoesNotExist", "NonExistentQueue", "QueueDeletedRecently":
            return .final(.queueNotFound(queue: address.queueName, region: address.region))
        case "InvalidAddress":
            return .final(.wrongRegion(queue: address.queueName, region: address.region))
        case "InvalidClientTokenId", "UnrecognizedClientException", "UnrecognizedClient", "SignatureDoesNotMatch",
            "InvalidSignatureException", "InvalidSignature", "IncompleteSignature", "IncompleteSignatureException",
            "MissingAuthenticationToken", "MissingAuthenticationTokenException", "InvalidAccessKeyId",
            "InvalidSecurity", "AuthFailure", "OptInRequired":
            if let clockLead, abs(clockLead) >= Self.clockTolerance { return .final(.clockSkew(seconds: clockLead)) }
            return .final(.credentialsRefused(code: code, region: address.region))
        case "AccessDenied", "AccessDeniedException", "NotAuthorized", "UnauthorizedOperation", "KmsAccessDenied",
            "KmsDisabled", "KmsInvalidState", "KmsNotFound", "KmsOptInRequired", "KmsInvalidKeyUsage":
            return .final(.accessDenied(operation, code: code))
        default:
            if status >= 500 || status == 429 || status == 408 { return .passing }
            return .final(.refused(operation, status: status, code: code))
        }
    }
}

extension Refusal {
    /// `com.amazonaws.sqs#QueueDoesNotExist`, `AWS.SimpleQueueService.NonExistentQueue;Sender` → the last name, cut
    /// to characters that are harmless in a log.
    static func name(of code: some Sequence<UInt8>) -> String {
        var name: [UInt8] = []
        for byte in code {
            if byte == UInt8(ascii: ";") || byte == UInt8(ascii: ":") { break }
            if byte == UInt8(ascii: "#") || byte == UInt8(ascii: ".") {
                name.removeAll()
                continue
            }
            let isLetter = (65...90).contains(byte) || (97...122).contains(byte)
            if (isLetter || (48...57).contains(byte)) && name.count < 64 { name.append(byte) }
        }
        return String(decoding: name, as: UTF8.self)
    }

    /// The text of the first `<Code>` element.
    static func codeInXML(_ bytes: Span<UInt8>) -> String? {
        let opening = Array("<Code>".utf8)
        guard bytes.count <= 65_536 else { return nil }
        var matched = 0
        for index in bytes.indices {
            matched = bytes[index] == opening[matched] ? matched + 1 : (bytes[index] == opening[0] ? 1 : 0)
            guard matched == opening.count else { continue }
            var code: [UInt8] = []
            for next in (index + 1)..<bytes.count {
                if bytes[next] == UInt8(ascii: "<") { return name(of: code) }
                if code.count < 128 { code.append(bytes[next]) }
            }
            return nil
        }
        return nil
    }
}
