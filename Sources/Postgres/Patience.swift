/// How long a session waits for its server: the client's own clock, which goes on when a server hangs or a network is gone.
///
/// The server's time-outs (``SessionLimits``) end what takes too long and say so; this ends what says nothing any more. A
/// session that is given up is closed, never used again.
package struct Patience: Sendable {
    /// Longest wait for one answer; `nil` waits as long as the connection lives.
    package var answer: Duration?
    /// Asked while waiting; once it says true, a statement under way gets ``grace`` more.
    package var shouldStop: @Sendable () -> Bool
    /// From the moment at which a stop is seen, over all statements that follow.
    package var grace: Duration = .seconds(3)
    /// What each later statement gets when ``grace`` is used up: enough for a healthy server.
    package var leastGrace: Duration = .milliseconds(500)

    package init(answer: Duration? = nil, shouldStop: @escaping @Sendable () -> Bool = { false }) {
        self.answer = answer
        self.shouldStop = shouldStop
    }
}

/// The time at which one statement's wait ends.
struct Deadline {
    private let patience: Patience
    private let start = ContinuousClock.now

    init(_ patience: Patience) { self.patience = patience }

    /// - Parameter stopSeen: when this session first saw that it should stop; set here.
    func hasPassed(stopSeen: inout ContinuousClock.Instant?) -> Bool {
        let now = ContinuousClock.now
        if let answer = patience.answer, now - start >= answer { return true }
        guard patience.shouldStop() else { return false }
        let seen = stopSeen ?? now
        stopSeen = seen
        return now >= max(seen + patience.grace, start + patience.leastGrace)
    }
}
