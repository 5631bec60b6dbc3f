import Foundation
import Synchronization

/// A command that asks ``StopSignal/isRequested`` from its beginning; `main` installs the signals for it.
protocol StoppableCommand {}

/// SIGTERM, SIGINT and SIGHUP ask a run to stop after the batch in hand; they never cut it.
enum StopSignal {
    private static let requested = Atomic<Bool>(false)
    private static let numbers = [SIGTERM, SIGINT, SIGHUP]

    /// Keeps them waiting until ``install()`` or ``letThrough()``, while the command line is read.
    static func hold() { mask(SIG_BLOCK) }

    /// For a command that a signal may end at any time. Also where the parent had blocked them: a program inherits its
    /// parent thread's signal mask.
    static func letThrough() { mask(SIG_UNBLOCK) }

    /// Lets them through as requests to stop.
    static func install() {
        _ = requested.load(ordering: .relaxed)  // made before a handler needs it
        for number in numbers {
            var action = sigaction()  // without SA_RESTART: a read that waits on a pipe must end
            unsafe action.__sigaction_handler.sa_handler = { _ in
                StopSignal.requested.store(true, ordering: .relaxed)
            }
            _ = unsafe sigaction(number, &action, nil)
        }
        letThrough()
    }

    private static func mask(_ how: Int32) {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for number in numbers { unsafe sigaddset(&set, number) }
        _ = unsafe pthread_sigmask(how, &set, nil)
    }

    static var isRequested: Bool { requested.load(ordering: .relaxed) }
}
