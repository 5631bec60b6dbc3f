internal import CLibCurl
internal import Glibc

/// One libcurl easy handle with one kept-alive connection, freed when the value dies.
///
/// Limits: HTTPS with a verified peer, or plain http to this host past any proxy; no redirects, no `.netrc`.
@safe struct CurlHandle: ~Copyable {
    private let handle: UnsafeMutableRawPointer  // CURL *

    private init(adopting handle: UnsafeMutableRawPointer) { unsafe self.handle = handle }

    deinit { unsafe curl_easy_cleanup(handle) }

    /// - Parameter transfer: receives the responses' bytes. It must live as long as the handle.
    static func open(
        _ address: QueueAddress, caBundle: String?, transfer: Transfer
    ) throws(SQSError) -> CurlHandle {
        try CurlLibrary.check()
        guard let handle = unsafe curl_easy_init() else { throw .outOfMemory }
        let curl = unsafe CurlHandle(adopting: handle)
        try curl.set(CURLOPT_URL, to: address.endpoint)
        try curl.set(CURLOPT_PROTOCOLS_STR, to: address.isPlain ? "http" : "https")
        if address.isPlain { try curl.set(CURLOPT_PROXY, to: "") }
        try curl.set(CURLOPT_SSL_VERIFYPEER, to: 1)
        try curl.set(CURLOPT_SSL_VERIFYHOST, to: 2)
        if let caBundle { try curl.set(CURLOPT_CAINFO, to: caBundle) }
        try curl.set(CURLOPT_NOSIGNAL, to: 1)  // several threads, each with its own handle
        try curl.set(CURLOPT_HTTP_VERSION, to: Int(CURL_HTTP_VERSION_1_1))
        try curl.set(CURLOPT_TCP_KEEPALIVE, to: 1)
        try curl.set(CURLOPT_CONNECTTIMEOUT_MS, to: 5_000)
        // The user agent and the signature go through their options: headers set by hand are signed wrongly.
        try curl.set(CURLOPT_USERAGENT, to: "tokenvault")
        try curl.set(CURLOPT_AWS_SIGV4, to: "aws:amz:\(address.region):sqs")
        let context = unsafe Unmanaged.passUnretained(transfer).toOpaque()
        try curl.check(unsafe tv_curl_set_write(handle, appendResponseBytes, context))
        try curl.check(unsafe tv_curl_set_progress(handle, stopWhenAsked, context))
        return curl
    }

    /// One POST, signed with `credentials`.
    ///
    /// - Parameter timeout: milliseconds for the whole exchange, of which less than 2 s may pass idle at the end of
    ///   a long poll of `idle` seconds.
    func post(
        _ body: [UInt8], target: String, credentials: Credentials, timeout: Int, idle: Int
    ) throws(SQSError) -> CURLcode {
        var headers = HeaderList()
        try headers.append("Content-Type: application/x-amz-json-1.0")
        try headers.append("X-Amz-Target: \(target)")
        if let token = credentials.sessionToken { try headers.append("X-Amz-Security-Token: \(token)") }
        try set(CURLOPT_USERNAME, to: credentials.accessKeyID)
        try set(CURLOPT_PASSWORD, to: credentials.secretAccessKey)
        try set(CURLOPT_TIMEOUT_MS, to: timeout)
        try set(CURLOPT_LOW_SPEED_LIMIT, to: 1)
        try set(CURLOPT_LOW_SPEED_TIME, to: idle)
        try set(CURLOPT_POSTFIELDSIZE, to: body.count)
        try check(unsafe tv_curl_set_headers(handle, headers.first))
        let code = unsafe body.withUnsafeBufferPointer { (bytes) -> CURLcode in
            let code = unsafe tv_curl_set_pointer(handle, CURLOPT_POSTFIELDS, bytes.baseAddress)
            return code == CURLE_OK ? unsafe curl_easy_perform(handle) : code
        }
        // libcurl keeps these pointers; what they point at ends here.
        try check(unsafe tv_curl_set_pointer(handle, CURLOPT_POSTFIELDS, nil))
        try check(unsafe tv_curl_set_headers(handle, nil))
        return code
    }

    /// The last response's HTTP status.
    var status: Int {
        var status = 0
        return unsafe tv_curl_get_response_code(handle, &status) == CURLE_OK ? status : 0
    }

    /// A header of the last response.
    func header(_ name: String) -> String? {
        unsafe tv_curl_get_header(handle, name).map { unsafe String(cString: $0) }
    }

    /// Seconds that this host's clock is ahead of the last response's `Date`. Nil when it had none.
    var clockLead: Int? {
        guard let date = header("Date") else { return nil }
        let sent = unsafe curl_getdate(date, nil)
        return sent < 0 ? nil : time(nil) - sent
    }

    private func set(_ option: CURLoption, to value: Int) throws(SQSError) {
        try check(unsafe tv_curl_set_long(handle, option, value))
    }

    private func set(_ option: CURLoption, to value: String) throws(SQSError) {
        try check(unsafe tv_curl_set_string(handle, option, value))
    }

    private func check(_ code: CURLcode) throws(SQSError) {
        guard code == CURLE_OK else { throw .libraryFailure(code.text) }
    }
}

extension CURLcode {
    /// libcurl's fixed sentence for the code: no host, no data.
    var text: String { unsafe String(cString: curl_easy_strerror(self)) }
}

/// Request headers, freed when the value dies.
@safe private struct HeaderList: ~Copyable {
    private(set) var first: UnsafeMutablePointer<curl_slist>?

    init() { unsafe first = nil }

    deinit { unsafe curl_slist_free_all(first) }

    mutating func append(_ line: String) throws(SQSError) {
        guard let longer = unsafe curl_slist_append(first, line) else { throw .outOfMemory }
        unsafe first = longer
    }
}

private let appendResponseBytes: tv_curl_write = { bytes, size, count, context in
    guard let bytes = unsafe bytes, let context = unsafe context else { return 0 }
    let transfer = unsafe Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
    let chunk = unsafe UnsafeRawBufferPointer(start: bytes, count: size * count)
    return unsafe transfer.append(chunk) ? chunk.count : 0
}

private let stopWhenAsked: tv_curl_progress = { context, _, _, _, _ in
    guard let context = unsafe context else { return 1 }
    return unsafe Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue().mustStop ? 1 : 0
}
