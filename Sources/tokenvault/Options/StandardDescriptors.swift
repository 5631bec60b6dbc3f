import Foundation

/// Keeps descriptors 0, 1 and 2 from ever meaning anything but standard input, output and error.
///
/// A caller may start a program with one of them closed (`>&-`). The next file or socket opened would get the free number:
/// recovered values would go to the database's socket, with exit code 0.
enum StandardDescriptors {
    /// Fills those that are closed. Call it before anything else is opened.
    ///
    /// Input then reads as empty, output fails as any lost write does, and messages are discarded.
    /// - Returns: false where that is impossible.
    static func reserve() -> Bool {
        for (descriptor, mode) in [(STDIN_FILENO, O_RDONLY), (STDOUT_FILENO, O_RDONLY), (STDERR_FILENO, O_WRONLY)] {
            guard fcntl(descriptor, F_GETFD) < 0 else { continue }
            // open(2) gives the lowest free number, and all below this one are taken.
            guard unsafe open("/dev/null", mode) == descriptor else { return false }
        }
        return true
    }
}
