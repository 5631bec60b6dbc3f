import Foundation

/// Exponential back-off with full jitter, from 0.1 to at most 5 seconds.
struct Backoff {
    private var ceiling = 0.2

    mutating func sleep() {
        Thread.sleep(forTimeInterval: Double.random(in: 0.05...ceiling))
        ceiling = min(ceiling * 2, 5)
    }
}
