import Foundation

/// Exponential back-off with full jitter, from 0.1 to at most 5 seconds.
struct Backoff {
    private static let step = 0.1
    private var ceiling = 0.2

    /// - Parameter shouldStop: asked ten times a second; a stop ends the wait.
    mutating func sleep(unless shouldStop: () -> Bool) {
        var left = Double.random(in: 0.05...ceiling)
        ceiling = min(ceiling * 2, 5)
        while left > 0, !shouldStop() {
            Thread.sleep(forTimeInterval: min(left, Self.step))
            left -= Self.step
        }
    }
}
