import Foundation
import Synchronization

/// SIGTERM, SIGINT and SIGHUP ask a run to stop after the batch in hand; they never cut it.
enum StopSignal {
    private static let requested = Atomic<Bool>(false)

    /// Also lets them through where the parent had blocked them: a program inherits its parent thread's signal mask.
    static func install() {
        _ = requested.load(ordering: .relaxed)  // made before a handler needs it
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for number in [SIGTERM, SIGINT, SIGHUP] {
            var action = sigaction()  // without SA_RESTART: a read that waits on a pipe must end
            unsafe action.__sigaction_handler.sa_handler = { _ in
                StopSignal.requested.store(true, ordering: .relaxed)
            }
            _ = unsafe sigaction(number, &action, nil)
            unsafe sigaddset(&set, number)
        }
        unsafe pthread_sigmask(SIG_UNBLOCK, &set, nil)
    }

    static var isRequested: Bool { requested.load(ordering: .relaxed) }
}
