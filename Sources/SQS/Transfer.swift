/// What libcurl's callbacks need while a request runs: where the response goes, and when to give up.
///
/// A class, because libcurl holds a pointer to it. Used by one ``QueueClient``, on one thread at a time.
final class Transfer {
    /// Longest response that is read. Ten messages of 1 MiB fit; the JSON parser takes no more either.
    static let responseLimit = 16 << 20

    private(set) var response = WipedBuffer()
    private(set) var isTooLarge = false
    private(set) var isOutOfMemory = false
    private var operation = QueueOperation.receive
    private let shouldStop: @Sendable () -> Bool
    private let grace: Duration
    private var stopFirstSeen: ContinuousClock.Instant?

    init(grace: Duration, shouldStop: @escaping @Sendable () -> Bool) {
        self.grace = grace
        self.shouldStop = shouldStop
    }

    func begin(_ operation: QueueOperation) {
        self.operation = operation
        wipeResponse()
    }

    func wipeResponse() {
        response.clear()
        isTooLarge = false
        isOutOfMemory = false
    }

    func append(_ chunk: UnsafeRawBufferPointer) -> Bool {
        isTooLarge = response.count + chunk.count > Self.responseLimit
        if isTooLarge { return false }
        isOutOfMemory = unsafe !response.append(chunk)
        return !isOutOfMemory
    }

    /// Asked about once a second. A stop ends waiting for messages at once; what brings the batch in hand to its end
    /// (deleting, giving back) may go on for the grace period.
    var mustStop: Bool {
        guard shouldStop() else { return false }
        let now = ContinuousClock.now
        let firstSeen = stopFirstSeen ?? now
        stopFirstSeen = firstSeen
        switch operation {
        case .receive, .attributes: return true
        case .delete, .changeVisibility: return now - firstSeen >= grace
        }
    }
}
