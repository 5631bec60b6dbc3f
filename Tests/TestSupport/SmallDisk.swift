package import Foundation

/// A file system of a few megabytes that can be filled to the last byte: scripts/small-disk.sh.
package final class SmallDisk: Sendable {
    /// A folder on it that a private cluster's server may write to.
    package let space: URL
    private let helper: HelperProcess

    /// - Parameter size: as tmpfs takes it, e.g. `4m`.
    package init(size: String) throws {
        let folder = Repository.newFolder("disk")
        space = folder.appending(path: "space")
        helper = try HelperProcess(Repository.path("scripts/small-disk.sh"), [folder.path, size])
        guard helper.readLine() == "ready" else {
            throw CommandFailed(
                description: "no small disk could be mounted; that takes root, or sudo without a password")
        }
    }

    deinit { stop() }

    package func stop() { helper.stop() }
    package func fill() throws { try tell("fill") }
    package func free() throws { try tell("free") }

    /// Makes it as small as what is used and `kibibytes` more.
    package func leave(kibibytes: Int) throws { try tell("leave \(kibibytes)") }
    package func resize(_ size: String) throws { try tell("resize \(size)") }
    package func setReadOnly(_ isReadOnly: Bool) throws { try tell(isReadOnly ? "read-only" : "read-write") }

    private func tell(_ command: String) throws {
        try helper.writeLine(command)
        guard helper.readLine() == "done" else { throw CommandFailed(description: "\(command) failed") }
    }
}
