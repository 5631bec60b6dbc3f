import Foundation
import Synchronization

/// SIGTERM, SIGINT and SIGHUP ask a run to stop after the batch in hand; they never cut it.
enum StopSignal {
    private static let requested = Atomic<Bool>(false)

    static func install() {
        _ = requested.load(ordering: .relaxed)  // made before a handler needs it
        for number in [SIGTERM, SIGINT, SIGHUP] {
            signal(number) { _ in StopSignal.requested.store(true, ordering: .relaxed) }
        }
    }

    static var isRequested: Bool { requested.load(ordering: .relaxed) }
}
