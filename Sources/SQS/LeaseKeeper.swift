internal import Foundation
internal import Synchronization

/// Lengthens the loans of a batch from a thread of its own, over a connection of its own, so that a batch may take longer than
/// its messages' visibility timeout.
///
/// A loan that cannot be lengthened costs nothing but work done twice: the ledger counts its message once.
package final class LeaseKeeper: Sendable {
    private let shared: Shared

    /// What the keeper and its thread share.
    private final class Shared: Sendable {
        struct State {
            var leases: [Lease] = []
            var due = ContinuousClock.now
            var isEnded = false
        }

        let state = Mutex(State())
        /// Held during each call, so that ``LeaseKeeper/release()`` can wait for the end of one.
        let client = Mutex<QueueClient?>(nil)

        var isIdle: Bool { state.withLock { $0.leases.isEmpty || $0.isEnded } }
    }

    /// - Parameters:
    ///   - seconds: visibility timeout; loans are lengthened to it each time a third of it has passed.
    ///   - warn: told when loans could not be lengthened, from the keeper's thread.
    package init(
        address: QueueAddress, credentials: CredentialSource, options: QueueClientOptions, seconds: Int,
        warn: @escaping @Sendable (String) -> Void
    ) {
        let shared = Shared()
        self.shared = shared
        var options = options
        options.retry = RetryPolicy(attempts: 2)
        options.grace = .zero  // a batch that ended, or a run that stops, waits for no heartbeat
        Thread.detachNewThread { [options] in
            Self.blockSignals()
            while !shared.state.withLock({ $0.isEnded }) {
                Thread.sleep(forTimeInterval: 0.05)
                let leases = shared.state.withLock { state -> [Lease] in
                    guard !state.leases.isEmpty, state.due <= .now else { return [] }
                    state.due = .now + Self.interval(seconds)
                    return state.leases
                }
                let lost = Self.keep(leases, seconds, shared) {
                    try? QueueClient(
                        address: address, credentials: credentials, options: options,
                        shouldStop: { shared.isIdle })
                }
                if lost > 0 {
                    warn("the loan of \(lost) messages could not be lengthened; another worker may receive them too")
                }
            }
        }
    }

    deinit { shared.state.withLock { $0.isEnded = true } }

    /// Keeps these loans too, from now on.
    package func add(_ leases: [Lease], seconds: Int) {
        shared.state.withLock { state in
            if state.leases.isEmpty { state.due = .now + Self.interval(seconds) }
            state.leases += leases
        }
    }

    /// Keeps none any more. No loan is lengthened after this returns.
    package func release() {
        shared.state.withLock { $0.leases.removeAll() }
        shared.client.withLock { _ in }
    }

    private static func interval(_ seconds: Int) -> Duration { .milliseconds(max(seconds * 1000 / 3, 200)) }

    /// - Returns: how many could not be lengthened.
    private static func keep(
        _ leases: [Lease], _ seconds: Int, _ shared: Shared, connect: () -> QueueClient?
    ) -> Int {
        var lost = 0
        for start in stride(from: 0, to: leases.count, by: 10) {
            let part = Array(leases[start..<min(start + 10, leases.count)])
            lost += shared.client.withLock { client -> Int in
                guard !shared.isIdle else { return 0 }
                if client == nil { client = connect() }
                let failed = client?.changeVisibility(of: part, seconds: seconds).failed ?? part.count
                return shared.isIdle ? 0 : failed
            }
        }
        return lost
    }

    /// Signals are for the thread that waits for input.
    private static func blockSignals() {
        var all = sigset_t()
        unsafe sigfillset(&all)
        unsafe pthread_sigmask(SIG_BLOCK, &all, nil)
    }
}
