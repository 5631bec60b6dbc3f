package import Foundation

/// Where the checkout and what was built from it are.
package enum Repository {
    package static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    package static func path(_ relative: String) -> String { root.appending(path: relative).path }

    /// The `tokenvault` built beside the running tests.
    ///
    /// TOKENVAULT_UNDER_TEST names another one: scripts/mutants.sh tries the tests on programs that are wrong.
    package static let tokenvault: String = {
        if let other = ProcessInfo.processInfo.environment["TOKENVAULT_UNDER_TEST"] { return other }
        let bundle = URL(filePath: CommandLine.arguments[0]).deletingLastPathComponent()
        let candidates = [bundle, Bundle.main.bundleURL, Repository.root.appending(path: ".build/debug")]
        let found = candidates.map { $0.appending(path: "tokenvault").path }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
        return found ?? candidates[2].appending(path: "tokenvault").path
    }()

    /// A name for a folder that does not exist yet, short since a socket's path holds 107 bytes.
    ///
    /// It lies in TOKENVAULT_TEST_FOLDER, which scripts/run_tests.py removes with all that tests left there, or in /tmp.
    package static func newFolder(_ purpose: String) -> URL {
        let name = "\(purpose)-\(UInt32.random(in: 0...UInt32.max))"
        guard let all = ProcessInfo.processInfo.environment["TOKENVAULT_TEST_FOLDER"] else {
            return URL(filePath: "/tmp/tv-\(name)")
        }
        return URL(filePath: all).appending(path: name)
    }

    /// A new folder, removed by whoever asked for it.
    package static func temporaryFolder(_ purpose: String) throws -> URL {
        let url = newFolder(purpose)
        try FileManager.default.createDirectory(
            at: url, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
        return url
    }
}
