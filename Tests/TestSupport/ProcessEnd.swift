package import Foundation

extension Process {
    /// Starts the program; `ended` is entered until it has ended.
    ///
    /// `waitUntilExit()` is no way to wait here: on a thread whose run loop has no source it polls without a pause.
    package func run(noting ended: DispatchGroup) throws {
        ended.enter()
        terminationHandler = { _ in ended.leave() }
        do {
            try run()
        } catch {
            ended.leave()
            throw error
        }
    }
}

extension FileHandle {
    /// Writes all of `data` to a pipe. A reader that has gone is an error (EPIPE), not this process's end by SIGPIPE.
    func writeUnlessClosed(_ data: Data) throws {
        var signals = sigset_t()
        var before = sigset_t()
        unsafe sigemptyset(&signals)
        unsafe sigaddset(&signals, SIGPIPE)
        unsafe pthread_sigmask(SIG_BLOCK, &signals, &before)
        defer {
            var atOnce = timespec()
            unsafe sigtimedwait(&signals, nil, &atOnce)  // takes the signal away, if there is one
            unsafe pthread_sigmask(SIG_SETMASK, &before, nil)
        }
        try write(contentsOf: data)
    }
}
