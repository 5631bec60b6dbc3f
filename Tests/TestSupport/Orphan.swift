import Foundation

/// Ends this process when the one that started it is gone: `swift test` killed by force would otherwise leave its test
/// runner at work, with every server that it had started.
enum Orphan {
    /// Begins to watch; repeating it does nothing.
    static let isWatched: Bool = {
        let parent = getppid()
        let thread = Thread {
            while getppid() == parent { Thread.sleep(forTimeInterval: 0.5) }
            _exit(1)  // the helpers see the end of their standard input, and end too
        }
        thread.start()
        return true
    }()
}
