package import Foundation

/// A way to the private cluster that cuts answers or hangs on demand: scripts/socket_proxy.py.
package final class DatabaseProxy: Sendable {
    package let folder: URL
    private let helper: HelperProcess

    package init(to cluster: PrivateCluster) throws {
        folder = Repository.newFolder("proxy")
        helper = try HelperProcess(
            Repository.path("scripts/socket_proxy.py"),
            [cluster.folder.appending(path: "socket/.s.PGSQL.5432").path, folder.path])
        guard helper.readLine() == "ready" else { throw CommandFailed(description: "the proxy did not start") }
    }

    package func stop() {
        helper.stop()
        try? FileManager.default.removeItem(at: folder)
    }

    /// `cut-commit`, `cut-call NAME`, `hang` or `pass`.
    package func tell(_ command: String) throws {
        try helper.writeLine(command)
        guard helper.readLine() == "done" else { throw CommandFailed(description: "\(command) was not done") }
    }

    /// Environment that leads `user` to `vault`'s database by this way.
    package func environment(_ user: String, _ vault: LiveVault) -> [String: String] {
        ["TOKENVAULT_DATABASE": "host=\(folder.path) user=\(user) dbname=\(vault.database)"]
    }
}
