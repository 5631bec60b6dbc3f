internal import JSON

/// A queue over one signed, kept-alive connection. Calls block; several clients run in parallel, one a thread.
///
/// Guarantees: nothing is deleted but by an ``Acknowledgement``; every body handed on has the MD5 that SQS named; faults that
/// may pass are retried with full jitter, all others explained; once `shouldStop` says so, waiting for messages ends
/// within about a second, and deleting or giving back within ``QueueClientOptions/grace``.
///
/// Limits: a response is at most 16 MiB. Message bodies are wiped after use here, but libcurl's and the TLS library's
/// own receive buffers (some 100 KiB, reused for the next response) are not.
package struct QueueClient: ~Copyable, @unchecked Sendable {
    // @unchecked: one owner, and every call is mutating, so the handle is never used by two threads at once.
    package let address: QueueAddress
    /// Attempts beyond the first, over all calls so far.
    package private(set) var retries = 0
    /// Bodies left out of batches because they lacked the MD5 that SQS named, over all receives so far.
    package private(set) var damagedBodies = 0

    private let source: CredentialSource
    private let options: QueueClientOptions
    private let transfer: Transfer  // declared before `curl`: must outlive it
    private let curl: CurlHandle
    private var parser: JSONParser

    /// - Parameter shouldStop: asked from the calling thread, about once a second and before each attempt.
    package init(
        address: QueueAddress, credentials: CredentialSource, options: QueueClientOptions = QueueClientOptions(),
        shouldStop: @escaping @Sendable () -> Bool = { false }
    ) throws(SQSError) {
        let transfer = Transfer(grace: options.grace, shouldStop: shouldStop)
        let curl = try CurlHandle.open(address, caBundle: options.caBundle, transfer: transfer)
        let parser: JSONParser
        do { parser = try JSONParser() } catch { throw .outOfMemory }
        self.address = address
        source = credentials
        self.options = options
        self.transfer = transfer
        self.curl = curl
        self.parser = parser
    }

    /// Borrows up to `maximum` (1...10) messages, waiting up to `waitSeconds` (0...20) for the first.
    ///
    /// An empty batch proves nothing: SQS asks a sample of its servers, and says so too when 120,000 messages are in
    /// flight. A response too long to be read is asked for again one message at a time.
    ///
    /// - Parameter visibilityTimeout: seconds until SQS lends the messages to others; the queue's own when nil.
    package mutating func receive(
        maximum: Int = 10, waitSeconds: Int = 20, visibilityTimeout: Int? = nil
    ) throws(SQSError) -> DeliveryBatch {
        let wait = min(max(waitSeconds, 0), 20)
        do {
            return try receive(min(max(maximum, 1), 10), wait, visibilityTimeout)
        } catch .invalidResponse(_, _, .tooLarge) where maximum > 1 {
            return try receive(1, wait, visibilityTimeout)
        }
    }

    private mutating func receive(
        _ maximum: Int, _ wait: Int, _ visibilityTimeout: Int?
    ) throws(SQSError) -> DeliveryBatch {
        let request = RequestText.receive(
            queueURL: address.queueURL, maximum: maximum, waitSeconds: wait, visibilityTimeout: visibilityTimeout)
        let batch = try call(.receive, request, waitSeconds: wait) { (json, root) throws(InvalidResponse) in
            try ResponseText.deliveries(json, root)
        }
        damagedBodies += batch.damagedCount
        guard damagedBodies <= options.damagedBodyLimit else {
            throw .invalidResponse(during: .receive, attempts: 1, .wrongChecksum(messages: damagedBodies))
        }
        return batch
    }

    /// Deletes the messages for good. Entries that SQS refuses are tried again; the report says what is left.
    ///
    /// Does not throw: the messages' effects are committed, and one that is not deleted comes back and is recognised
    /// by its id. A caller reports ``BatchReport/failed`` and ends with "try again".
    package mutating func delete(_ acknowledgements: [Acknowledgement]) -> BatchReport {
        batchCall(.delete, acknowledgements.map(\.receiptHandle), visibilityTimeout: nil)
    }

    /// Makes the loans end `seconds` (0...43,200) from now; 0 gives the messages back at once.
    package mutating func changeVisibility(of leases: [Lease], seconds: Int) -> BatchReport {
        batchCall(.changeVisibility, leases.map(\.receiptHandle), visibilityTimeout: min(max(seconds, 0), 43_200))
    }

    /// Counts as SQS knows them: up to a minute old on a standard queue.
    package mutating func approximateCounts() throws(SQSError) -> QueueCounts {
        try call(.attributes, RequestText.attributes(queueURL: address.queueURL), waitSeconds: 0) {
            (json, root) throws(InvalidResponse) in try ResponseText.counts(json, root)
        }
    }

    /// Ten entries a request, as SQS allows; each request as often as the retry policy does.
    private mutating func batchCall(
        _ operation: QueueOperation, _ handles: [String], visibilityTimeout: Int?
    ) -> BatchReport {
        var report = BatchReport(done: 0, failed: handles.count)
        for start in stride(from: 0, to: handles.count, by: 10) {
            var pending = handles[start..<min(start + 10, handles.count)]
            var attempt = 0
            while !pending.isEmpty {
                let request = RequestText.batch(
                    queueURL: address.queueURL, receiptHandles: pending, visibilityTimeout: visibilityTimeout)
                let result: BatchResult
                do {
                    result = try call(operation, request, waitSeconds: 0) {
                        (json, root) throws(InvalidResponse) in
                        try ResponseText.batchResult(json, root, sent: pending.count)
                    }
                } catch {
                    report.cause = error
                    return report
                }
                report.done += result.done.count
                report.failed -= result.done.count
                report.code = result.lastCode ?? report.code
                let settled = result.done.union(result.hopeless)
                pending = ArraySlice(pending.enumerated().filter { !settled.contains($0.offset) }.map(\.element))
                attempt += 1
                if pending.isEmpty || attempt >= options.retry.attempts { break }
                retries += 1
                guard options.retry.pause(afterAttempt: attempt, until: { transfer.mustStop }) else {
                    report.cause = .stopped(during: operation)
                    return report
                }
            }
        }
        return report
    }

    /// One call until it is answered in a usable way, refused for good, or out of attempts.
    private mutating func call<R: ~Copyable>(
        _ operation: QueueOperation, _ request: String, waitSeconds: Int,
        read: (borrowing JSONParser, JSONNode) throws(InvalidResponse) -> R
    ) throws(SQSError) -> R {
        let body = Array(request.utf8)
        var mustRenew = false
        var hasRenewed = false
        var attempt = 0
        while true {
            attempt += 1
            transfer.begin(operation)
            defer {
                transfer.wipeResponse()
                parser.wipe()
            }
            if transfer.mustStop { throw .stopped(during: operation) }
            let credentials = try source.credentials(mustRenew)
            mustRenew = false
            let code = try curl.post(
                body, target: "AmazonSQS.\(operation.rawValue)", credentials: credentials,
                timeout: (waitSeconds + 10) * 1000, idle: waitSeconds + 8)
            let failure: SQSError
            if let passing = try curl.passingFault(code, transfer: transfer, during: operation, at: address) {
                failure = .unavailable(during: operation, attempts: attempt, last: passing)
            } else if curl.status == 200 {
                let fault: InvalidResponse
                do {
                    return try read(parser, try parser.root(of: transfer))
                } catch {
                    fault = error
                }
                failure = .invalidResponse(during: operation, attempts: attempt, fault)
            } else {
                let refusal = parser.refusal(status: curl.status, transfer, curl)
                switch refusal.meaning(during: operation, address: address) {
                case .final(let error): throw error
                case .expired:
                    if hasRenewed || !source.canRenew { throw .credentialsExpired(code: refusal.code) }
                    (hasRenewed, mustRenew) = (true, true)
                    continue
                case .passing:
                    let name = "HTTP \(refusal.status)" + (refusal.code.isEmpty ? "" : " \(refusal.code)")
                    failure = .unavailable(during: operation, attempts: attempt, last: name)
                }
            }
            if attempt >= options.retry.attempts { throw failure }
            guard options.retry.pause(afterAttempt: attempt, until: { transfer.mustStop }) else {
                throw .stopped(during: operation)
            }
            retries += 1
        }
    }
}
