import Foundation
import TestSupport
import Testing

/// The real program, stopped and searched wherever it appends to the audit log: each command does so with its keys in
/// hand, at its beginning, its end, or both.
struct WatchedRun {
    /// One secret found in the process's memory.
    struct Found: Decodable, Hashable {
        let name: String
        let flags: [String]
        let `where`: String

        /// In memory that is locked (no swap) and left out of core files.
        var isProtected: Bool { flags.contains("lo") && flags.contains("dd") }
    }

    let finished: Finished
    let stops: Int
    let found: Set<Found>

    /// Makes every append to the log wait a moment. As the superuser; for good.
    static func prepare(_ vault: LiveVault) throws {
        _ = try vault.query(
            """
            CREATE FUNCTION public.pause() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
            AS 'BEGIN PERFORM pg_catalog.pg_sleep(0.3); RETURN NULL; END';
            CREATE TRIGGER pause BEFORE INSERT ON audit.event FOR EACH STATEMENT EXECUTE FUNCTION public.pause();
            """)
    }

    /// - Parameter values: personal values, looked for as well, as `value-0` and so on.
    init(_ vault: LiveVault, _ command: Command, values: [String]) throws {
        let python = try SecondImplementationTests.python.get()
        let script = Repository.path("scripts/search_secrets.py")
        let superuser = vault.cluster.connectionString(user: "postgres", database: vault.database)
        let running = try command.start()
        var stops = 0
        var found: Set<Found> = []
        var lastPause = ""
        while running.isRunning {
            let pause = try vault.query(
                """
                SELECT query_start FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event = 'PgSleep'
                """)
            guard !pause.isEmpty, pause != lastPause, running.isRunning else {
                usleep(20_000)
                continue
            }
            lastPause = pause
            running.signal(SIGSTOP)  // what is looked at must not move
            let search = try Command(
                python, [script, "process", "\(running.processIdentifier)", vault.folder.path, superuser],
                input: Data(values.joined(separator: "\n").utf8)
            ).run()
            running.signal(SIGCONT)
            #expect(search.status == 0, "\(search.standardError)")
            stops += 1
            for line in search.standardOutput.split(separator: "\n") {
                found.insert(try JSONDecoder().decode(Found.self, from: Data(line.utf8)))
            }
        }
        finished = running.wait()
        self.stops = stops
        self.found = found
    }

    var unprotectedKeys: [Found] { found.filter { !$0.isProtected && !$0.name.hasPrefix("value") } }
    var protectedKeys: Set<String> { Set(found.filter(\.isProtected).map(\.name)) }
    var values: [Found] { found.filter { $0.name.hasPrefix("value") } }
}
