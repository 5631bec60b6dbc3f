import Foundation
import Synchronization

/// SIGTERM, SIGINT and SIGHUP ask a run to stop after the batch in hand; they never cut it.
enum StopSignal {
    private static let requested = Atomic<Bool>(false)

    static func install() {
        _ = requested.load(ordering: .relaxed)  // made before a handler needs it
        for number in [SIGTERM, SIGINT, SIGHUP] {
            var action = sigaction()  // without SA_RESTART: a read that waits on a pipe must end
            unsafe action.__sigaction_handler.sa_handler = { _ in
                StopSignal.requested.store(true, ordering: .relaxed)
            }
            _ = unsafe sigaction(number, &action, nil)
        }
    }

    static var isRequested: Bool { requested.load(ordering: .relaxed) }
}
