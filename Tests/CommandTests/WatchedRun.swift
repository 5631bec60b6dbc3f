import Foundation
import TestSupport
import Testing

/// The real program, stopped and searched wherever it counts a batch or appends to the audit log: each command does so
/// with its keys in hand, at its beginning, its end, or both. And searched once more when it has called exit.
///
/// Only root can look; anybody else is refused, at each stop.
struct WatchedRun {
    /// One secret found in one region of the process's memory.
    struct Found: Decodable, Hashable {
        let name: String
        let flags: [String]
        let `where`: String
        /// How often it stands there.
        let count: Int

        /// In memory that is locked (no swap) and left out of core files.
        var isProtected: Bool { flags.contains("lo") && flags.contains("dd") }
        var isValue: Bool { name.hasPrefix("value") }
    }

    struct Stop {
        /// The statement that waits, or `exit`.
        let place: String
        fileprivate(set) var found: [Found] = []
        /// The kernel did not let the memory be read.
        fileprivate(set) var isRefused = false

        var values: [Found] { found.filter(\.isValue) }
    }

    let finished: Finished
    /// In order; the last is the exit.
    let stops: [Stop]

    /// Makes every append to the log, and every count of a run, wait for the advisory lock 7. As the superuser; for good.
    static func prepare(_ vault: LiveVault) throws {
        _ = try vault.query(
            """
            CREATE FUNCTION public.pause() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
            AS 'BEGIN
                PERFORM pg_catalog.pg_advisory_lock_shared(7);
                PERFORM pg_catalog.pg_advisory_unlock_shared(7);
                RETURN NULL;
            END';
            CREATE TRIGGER pause BEFORE INSERT ON audit.event FOR EACH STATEMENT EXECUTE FUNCTION public.pause();
            CREATE TRIGGER pause BEFORE UPDATE ON vault.ingest_run FOR EACH STATEMENT EXECUTE FUNCTION public.pause();
            """)
    }

    /// - Parameter values: personal values, looked for as well, as `value-0` and so on.
    init(_ vault: LiveVault, _ command: Command, values: [String]) throws {
        let superuser = vault.cluster.connectionString(user: "postgres", database: vault.database)
        let folder = try Repository.temporaryFolder("watch")
        defer { try? FileManager.default.removeItem(at: folder) }
        let (wanted, report) = (folder.appending(path: "values"), folder.appending(path: "report"))
        try Data(values.joined(separator: "\n").utf8).write(to: wanted)
        finished = try Command(
            try SecondImplementationTests.python.get(),
            [
                Repository.path("scripts/search_secrets.py"), "watch", vault.folder.path, superuser, wanted.path,
                report.path, command.executable,
            ] + command.arguments, environment: command.environment, input: command.input
        ).run()
        stops = try Self.stops(try String(contentsOf: report, encoding: .utf8))
    }

    private static func stops(_ report: String) throws -> [Stop] {
        struct Line: Decodable {
            let stop: String?
            let refused: String?
        }
        var stops: [Stop] = []
        for text in report.split(separator: "\n") {
            let line = try JSONDecoder().decode(Line.self, from: Data(text.utf8))
            if let place = line.stop {
                stops.append(Stop(place: place))
            } else if line.refused != nil {
                stops[stops.count - 1].isRefused = true
            } else {
                stops[stops.count - 1].found.append(try JSONDecoder().decode(Found.self, from: Data(text.utf8)))
            }
        }
        return stops
    }

    private var found: [Found] { stops.flatMap(\.found) }
    var unprotectedKeys: [Found] { found.filter { !$0.isProtected && !$0.isValue } }
    var protectedKeys: Set<String> { Set(found.filter(\.isProtected).map(\.name)) }
}
