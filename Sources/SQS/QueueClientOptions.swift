package struct QueueClientOptions: Sendable {
    package var retry: RetryPolicy
    /// How long deleting and giving back may go on after a stop was asked for. With a second for libcurl to notice,
    /// it must stay below the 10 s in which a run ends.
    package var grace: Duration
    /// A PEM file of certificate authorities to trust instead of the system's (`AWS_CA_BUNDLE`).
    package var caBundle: String?

    /// Receiving fails once more bodies than this were damaged: else a queue that damages all would never run dry.
    package var damagedBodyLimit: Int

    package init(
        retry: RetryPolicy = RetryPolicy(), grace: Duration = .seconds(5), caBundle: String? = nil,
        damagedBodyLimit: Int = 100
    ) {
        self.retry = retry
        self.grace = grace
        self.damagedBodyLimit = damagedBodyLimit
        self.caBundle = caBundle
    }
}

/// What became of a batch of deletions or changes of visibility.
package struct BatchReport: Equatable, Sendable {
    package var done: Int
    /// Not done, as far as is known: the reply may have been lost.
    package var failed: Int
    /// Why the batch was broken off.
    package var cause: SQSError?
    /// The last code that SQS gave for an entry, such as `ReceiptHandleIsInvalid`.
    package var code: String?

    package init(done: Int, failed: Int, cause: SQSError? = nil, code: String? = nil) {
        self.done = done
        self.failed = failed
        self.cause = cause
        self.code = code
    }
}

package struct QueueCounts: Equatable, Sendable {
    package let visible: Int
    package let inFlight: Int
    package let delayed: Int
}
