/// Where a queue is: what to connect to, what to sign for, and the name to put in the request's body.
///
/// Guarantee: the connection is encrypted, or stays on this host. Only loopback addresses may use plain http.
/// URLs are read strictly (no user part, query, fragment or escapes) and put together again from the parts that
/// were checked, so libcurl cannot read another host out of them.
package struct QueueAddress: Equatable, Sendable {
    package let queueURL: String
    package let region: String
    /// `scheme://host[:port]/`
    package let endpoint: String
    package let host: String
    let isPlain: Bool

    /// The last part of the queue URL.
    package var queueName: String { queueURL.split(separator: "/").last.map(String.init) ?? queueURL }

    /// - Parameters:
    ///   - endpoint: connect there instead of to the queue URL's host.
    ///   - region: needed when neither host tells it (`sqs.REGION.amazonaws.com`); ignored otherwise.
    package init(queueURL: String, endpoint: String? = nil, region: String? = nil) throws(SQSError) {
        guard let queue = Parts(queueURL), queue.path.dropFirst().contains("/") else {
            throw .invalidSettings(
                "the queue URL is not of the form https://sqs.REGION.amazonaws.com/ACCOUNT/NAME; "
                    + "copy it from the SQS console")
        }
        let target: Parts
        if let endpoint {
            guard let parts = Parts(endpoint), parts.path.isEmpty || parts.path == "/" else {
                throw .invalidSettings("the endpoint is not of the form https://HOST[:PORT]; check --endpoint-url")
            }
            target = parts
        } else {
            target = queue
        }
        guard target.scheme == "https" || target.isLoopback else {
            throw .invalidSettings(
                "refusing plain http to \(target.host): it would send personal data unencrypted; use https, "
                    + "or a server on 127.0.0.1")
        }
        guard let region = Self.region(ofHost: queue.host) ?? Self.region(ofHost: target.host) ?? region else {
            throw .invalidSettings("the queue URL does not name its AWS region; set AWS_REGION")
        }
        let letters = region.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
        guard letters, (1...32).contains(region.utf8.count) else {
            throw .invalidSettings("the AWS region is not a region name such as eu-central-1; check AWS_REGION")
        }
        self.queueURL = queueURL
        self.region = region
        self.endpoint = "\(target.scheme)://\(target.authority)/"
        host = target.host
        isPlain = target.scheme == "http"
    }

    /// The address that flags and environment name, found as the AWS SDKs do:
    /// `endpoint`, else `AWS_ENDPOINT_URL_SQS`, else `AWS_ENDPOINT_URL`; the URL's region, else `AWS_REGION`,
    /// else `AWS_DEFAULT_REGION`. Empty variables count as not set.
    package init(queueURL: String, endpoint: String?, environment: [String: String]) throws(SQSError) {
        func value(_ names: String...) -> String? {
            names.lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
        }
        try self.init(
            queueURL: queueURL, endpoint: endpoint ?? value("AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL"),
            region: value("AWS_REGION", "AWS_DEFAULT_REGION"))
    }

    /// `sqs.R.amazonaws.com[.cn]`, `sqs-fips.R.…`, `R.queue.amazonaws.com[.cn]`, `queue.amazonaws.com`,
    /// `sqs.R.api.aws`, `vpce-….sqs.R.vpce.amazonaws.com`. Source: AWS General Reference, "Amazon SQS endpoints".
    private static func region(ofHost host: String) -> String? {
        let isAmazon = host.hasSuffix(".amazonaws.com") || host.hasSuffix(".amazonaws.com.cn")
        guard isAmazon || host.hasSuffix(".api.aws") else { return nil }
        if host == "queue.amazonaws.com" { return "us-east-1" }
        let labels = host.split(separator: ".")
        if let service = labels.firstIndex(where: { $0 == "sqs" || $0 == "sqs-fips" }), service + 1 < labels.count {
            return String(labels[service + 1])
        }
        return labels.count > 2 && labels[1] == "queue" ? String(labels[0]) : nil
    }
}

/// The parts of an absolute http or https URL in its plainest spelling.
private struct Parts {
    let scheme: String
    let host: String
    let port: String?
    let path: String

    var authority: String { port.map { "\(host):\($0)" } ?? host }

    /// `localhost`, `127.x.y.z` or `[::1]`: names that cannot resolve to another machine.
    var isLoopback: Bool {
        if host == "localhost" || host == "[::1]" { return true }
        let numbers = host.split(separator: ".", omittingEmptySubsequences: false)
        return numbers.count == 4 && numbers[0] == "127"
            && numbers.allSatisfy { UInt8($0) != nil && ($0 == "0" || $0.first != "0") && $0.first != "+" }
    }

    init?(_ text: String) {
        guard text.utf8.count <= 2048, let rest = Self.afterScheme(text) else { return nil }
        scheme = rest.scheme
        let slash = rest.text.firstIndex(of: "/") ?? rest.text.endIndex
        var authority = rest.text[..<slash]
        path = String(rest.text[slash...])
        if let colon = authority.lastIndex(of: ":"), !authority.hasSuffix("]") {
            let digits = authority[authority.index(after: colon)...]
            guard let number = UInt16(digits), number > 0, digits.first != "+" else { return nil }
            port = String(number)
            authority = authority[..<colon]
        } else {
            port = nil
        }
        host = authority.lowercased()
        let isName = host.utf8.allSatisfy { Self.isLetterOrDigit($0) || $0 == 45 || $0 == 46 }
        guard !host.isEmpty, isName || host == "[::1]",
            path.utf8.allSatisfy({ Self.isLetterOrDigit($0) || "-_./".utf8.contains($0) })
        else { return nil }
    }

    private static func afterScheme(_ text: String) -> (scheme: String, text: Substring)? {
        for scheme in ["https", "http"] where text.hasPrefix("\(scheme)://") {
            return (scheme, text.dropFirst(scheme.count + 3))
        }
        return nil
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        (97...122).contains(byte) || (65...90).contains(byte) || (48...57).contains(byte)
    }
}
