internal import CLibPQ
internal import Dispatch
internal import Glibc
internal import Synchronization

/// `PQconnectdb` in a thread of its own. It looks names up and tries one host after the other, which neither a signal nor a
/// clock of ours can end; the caller can stop waiting for it.
///
/// An attempt that was given up goes on until libpq's own `connect_timeout`, and then closes what it made.
final class ConnectionAttempt: Sendable {
    private enum State {
        case underWay
        /// The address of a `PGconn`; 0 when there was no memory for one.
        case ended(UInt)
        case givenUp
    }

    private let conninfo: String
    private let state = Mutex(State.underWay)
    private let end = DispatchSemaphore(value: 0)

    private init(_ conninfo: String) { self.conninfo = conninfo }

    /// - Parameter shouldStop: asked ten times a second; once it says true, the attempt gets the ``Patience/grace`` of a
    ///   statement under way.
    static func connect(
        _ conninfo: String, shouldStop: @escaping @Sendable () -> Bool
    ) throws(PostgresError) -> OpaquePointer? {
        let attempt = ConnectionAttempt(conninfo)
        attempt.start()
        let deadline = Deadline(Patience(shouldStop: shouldStop))
        var stopSeen: ContinuousClock.Instant?
        while attempt.end.wait(timeout: .now() + .milliseconds(100)) == .timedOut {
            if deadline.hasPassed(stopSeen: &stopSeen), attempt.giveUp() { throw .unresponsive(during: "connecting") }
        }
        guard case .ended(let address) = attempt.state.withLock({ $0 }) else { return nil }
        return unsafe OpaquePointer(bitPattern: address)
    }

    /// Where the system gives no thread, the attempt is made in this one.
    private func start() {
        let attempt = unsafe Unmanaged.passRetained(self)
        var thread = pthread_t()
        let code = unsafe pthread_create(
            &thread, nil,
            { argument in
                guard let argument = unsafe argument else { return nil }
                unsafe Unmanaged<ConnectionAttempt>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, attempt.toOpaque())
        guard code == 0 else {
            unsafe attempt.release()
            return run()
        }
        pthread_detach(thread)
    }

    private func run() {
        let handle = unsafe PQconnectdb(conninfo)
        let isWanted = state.withLock { state in
            guard case .underWay = state else { return false }
            state = .ended(UInt(bitPattern: handle))
            return true
        }
        if !isWanted { unsafe PQfinish(handle) }
        end.signal()
    }

    /// False when the attempt has just ended.
    private func giveUp() -> Bool {
        state.withLock { state in
            guard case .underWay = state else { return false }
            state = .givenUp
            return true
        }
    }
}
