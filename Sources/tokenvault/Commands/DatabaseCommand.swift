import ArgumentParser
import Foundation
import VaultStore

struct DatabaseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "database",
        abstract: "Make roles and schema, and prove that they are as they should be.",
        discussion: "Runs as the owner of the database: NOSUPERUSER CREATEROLE is enough.",
        subcommands: [CreateRoles.self, Migrate.self, Verify.self, Status.self])

    struct CreateRoles: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make the group roles. Safe to repeat.",
            discussion: "Where another team owns roles, --print gives the SQL for them to run.")

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var migrations: MigrationsOption
        @Flag(help: "Print the SQL instead of running it.")
        var print = false

        func run() throws {
            let folder = try migrations.folder(database.settings())
            if self.print {
                let output = StandardOutput()
                try output.write(Array(try migrations.rolesScript(folder).utf8))
                return try output.flush()
            }
            var store = try database.open(.unhurried)
            try store.createRoles(from: folder)
            Messages.note("roles are in place; docs/ROLES.md says which login roles to make in them")
        }
    }

    struct Migrate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Apply the migrations that are missing, each in a transaction of its own.")

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var migrations: MigrationsOption
        @OptionGroup var output: OutputOptions

        func run() throws {
            let all = try Migration.load(from: try migrations.folder(database.settings()))
            var store = try database.open(.unhurried)
            let applied = try store.migrate(all)
            let standardOutput = StandardOutput()
            if output.json {
                var line = JSONLine()
                line.add("applied", applied.map(\.name))
                line.add("schema_version", all.last?.number)
                try standardOutput.line(line.text)
            } else {
                for migration in applied { try standardOutput.line("applied \(migration.number) \(migration.name)") }
                if applied.isEmpty {
                    try standardOutput.line("nothing to apply; the schema is at \(all.last?.number ?? 0)")
                }
            }
            try standardOutput.flush()
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prove schema and privileges: every verify script must pass.")

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var migrations: MigrationsOption

        func run() throws {
            var store = try database.open(.unhurried)
            let passed: [String]
            do {
                passed = try store.verifySchema(from: try migrations.folder(database.settings()))
            } catch MigrationError.failed(let file, let reason) {
                throw Failure(.doesNotVerify, "\(file): \(reason)")
            }
            let output = StandardOutput()
            for name in passed { try output.line("ok  \(name)") }
            try output.flush()
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show which migrations are applied and which are missing.")

        @OptionGroup var database: DatabaseOptions
        @OptionGroup var migrations: MigrationsOption
        @OptionGroup var output: OutputOptions

        func run() throws {
            let all = try Migration.load(from: try migrations.folder(database.settings()))
            var store = try database.open(.unhurried)
            let applied = Set(try store.appliedMigrations())
            let standardOutput = StandardOutput()
            for migration in all {
                if output.json {
                    var line = JSONLine()
                    line.add("migration", migration.number)
                    line.add("name", migration.name)
                    line.add("applied", applied.contains(migration.number))
                    try standardOutput.line(line.text)
                } else {
                    let state = applied.contains(migration.number) ? "applied" : "missing"
                    try standardOutput.line("\(state)  \(migration.number)  \(migration.name)")
                }
            }
            try standardOutput.flush()
        }
    }
}

struct MigrationsOption: ParsableArguments {
    @Option(help: ArgumentHelp("Folder with the migrations (TOKENVAULT_MIGRATIONS).", valueName: "folder"))
    var migrations: String?

    /// The setting, or `migrations` here, or `../share/tokenvault/migrations` beside the program.
    func folder(_ settings: Settings) throws -> URL {
        if let path = settings.string(.migrations, flag: migrations) { return URL(filePath: path) }
        let program = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        let candidates = [
            URL(filePath: "migrations"), program.appending(path: "../share/tokenvault/migrations").standardized,
        ]
        return candidates.first { FileManager.default.fileExists(atPath: $0.path) } ?? candidates[0]
    }

    func rolesScript(_ folder: URL) throws -> String {
        let url = folder.appending(path: "roles.sql")
        guard let text = try? String(contentsOf: url, encoding: .utf8) else {
            throw MigrationError.folderMissing(url.path)
        }
        return text
    }
}
