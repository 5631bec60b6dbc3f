internal import CLibCurl
internal import JSON

extension CurlHandle {
    /// Nil when an HTTP answer is there to be read, a reason when trying again may help.
    func passingFault(
        _ code: CURLcode, transfer: Transfer, during operation: QueueOperation, at address: QueueAddress
    ) throws(SQSError) -> String? {
        switch code {
        case CURLE_OK: return nil
        case CURLE_ABORTED_BY_CALLBACK: throw .stopped(during: operation)
        case CURLE_WRITE_ERROR where transfer.isTooLarge:
            throw .invalidResponse(during: operation, attempts: 1, .tooLarge(limit: Transfer.responseLimit))
        case CURLE_WRITE_ERROR where transfer.isOutOfMemory, CURLE_OUT_OF_MEMORY: throw .outOfMemory
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR:
            throw .untrustedServer(host: address.host, reason: code.text)
        case CURLE_UNSUPPORTED_PROTOCOL, CURLE_FAILED_INIT, CURLE_URL_MALFORMAT, CURLE_NOT_BUILT_IN,
            CURLE_BAD_FUNCTION_ARGUMENT, CURLE_UNKNOWN_OPTION:
            throw .libraryFailure(code.text)
        default: return code.text
        }
    }
}

extension JSONParser {
    mutating func root(of transfer: Transfer) throws(InvalidResponse) -> JSONNode {
        do {
            try transfer.response.withBytes { (bytes) throws(JSONError) in try parse(bytes) }
        } catch {
            throw .notJSON
        }
        guard kind(of: root) == .object else { throw .unexpectedShape }
        return root
    }

    /// The error's name from the body (JSON or XML) or the header of older spelling; empty when there is none.
    mutating func refusal(status: Int, _ transfer: Transfer, _ curl: borrowing CurlHandle) -> Refusal {
        var code: String?
        if let root = try? root(of: transfer), let type = member("__type", of: root) {
            code = string(of: type).map { Refusal.name(of: $0.utf8) }
        }
        if code == nil, let header = curl.header("x-amzn-query-error") { code = Refusal.name(of: header.utf8) }
        if code == nil { code = transfer.response.withBytes { Refusal.codeInXML($0) } }
        return Refusal(status: status, code: code ?? "", clockLead: curl.clockLead)
    }
}
