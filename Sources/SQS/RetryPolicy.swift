internal import Glibc

/// How often and how patiently a call is repeated: exponential back-off with full jitter.
///
/// The pause before attempt n+1 is drawn evenly from 0 to min(`cap`, `base` · 2^(n-1)).
/// Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
package struct RetryPolicy: Sendable {
    package var attempts: Int
    package var base: Duration
    package var cap: Duration

    package init(attempts: Int = 7, base: Duration = .milliseconds(200), cap: Duration = .seconds(10)) {
        self.attempts = max(1, attempts)
        self.base = base
        self.cap = cap
    }

    func ceiling(afterAttempt attempt: Int) -> Duration {
        min(cap, base * (1 << min(max(attempt, 1) - 1, 20)))
    }

    /// Pauses before another attempt. False when `mustStop` ended the pause.
    func pause(afterAttempt attempt: Int, until mustStop: () -> Bool) -> Bool {
        let end = ContinuousClock.now + ceiling(afterAttempt: attempt) * Double.random(in: 0...1)
        while !mustStop() {
            let rest = end - ContinuousClock.now
            if rest <= .zero { return true }
            usleep(UInt32(min(rest, .milliseconds(50)) / .microseconds(1)) + 1)
        }
        return false
    }
}
