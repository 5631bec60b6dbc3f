package import Foundation
import Keys
import Postgres
import VaultStore

/// Everything that `tokenvault doctor` looks at. Changes nothing and leaves no audit event.
package struct Examination {
    package private(set) var findings = Findings()
    /// The database could not be examined: unreachable, or its server must be restarted.
    package private(set) var databaseIsDown = false

    private var ingestKeys: [KeyDescription]?

    package init() {}

    package mutating func host(_ checks: HostChecks, _ files: KeyFileChecks) {
        checks.run(&findings)
        files.run(&findings)
        ingestKeys = files.ingestKeys
    }

    /// - Parameters:
    ///   - conninfo: as ``VaultStore/open(_:)`` takes it.
    ///   - migrations: the folder with this release's migrations.
    package mutating func database(_ conninfo: String, migrations: URL) {
        do throws(PostgresError) {
            var store = try VaultStore.openForInspection(conninfo)
            try store.tryProceduralLanguage()
            findings.ok("server-libraries", "the server runs with the libraries it was started with")
            try ServerChecks.run(&store, &findings)
            try AuthenticationChecks.run(&store, &findings)
            try RoomChecks.server(&store, &findings)
            try ClockCheck.run(&store, &findings)
            try RoleChecks.run(&store, &findings)
            try PrivilegeChecks.run(&store, &findings)
            try CodeChecks.run(&store, &findings)
            try KeyringChecks.run(ingestKeys, &store, &findings)
            try VaultChecks.run(&store, migrations: migrations, &findings)
        } catch {
            report(error)
        }
    }

    private mutating func report(_ error: PostgresError) {
        if case .refused(_, let state, _, let message, _) = error {
            if state.meansOutdatedServer(message) {
                databaseIsDown = true
                return findings.failure("server-libraries", "\(error)", .advice("restart the PostgreSQL server"))
            }
            if SQLState.undefinedPrimitive.contains(state) {
                return findings.failure(
                    "schema", "\(error)", .advice("run `tokenvault database migrate`, then doctor again"))
            }
            return findings.failure("database", "\(error)", .advice("mend what is named above, then run doctor again"))
        }
        databaseIsDown = true
        findings.failure("database", "\(error)", .advice("see that the server runs and that --database names it"))
    }
}
