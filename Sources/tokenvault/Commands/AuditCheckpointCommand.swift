import ArgumentParser
import Keys
import VaultStore

struct AuditCheckpointCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint",
        abstract: "Verify the whole log and print a signed checkpoint of it.",
        discussion: """
            Run it on the auditor's own host, and keep what it prints there. Signs nothing when the log does not verify, or does \
            not begin with the events of the checkpoint before.

              tokenvault audit checkpoint --previous monday.checkpoint > tuesday.checkpoint
            """)

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var key: CheckpointKeyOption

    @Option(help: ArgumentHelp("The checkpoint signed before; the log must go on from there.", valueName: "file"))
    var previous: String?

    func run() throws {
        let settings = try database.settings()
        let key = try CheckpointKey.load(path: try key.path(settings))
        var expected = ExpectedLog()
        if let previous { expected.checkpoints.append(try CheckpointFile.open(previous, key: key.verifier)) }
        var store = try database.open()
        var chain = try store.verifyAuditLog(expected)
        let checkpoint = Checkpoint(origin: key.verifier.name, size: chain.receipt.sequence, root: chain.root())
        let standardOutput = StandardOutput()
        try standardOutput.write(Array(key.sign(checkpoint).utf8))
        try standardOutput.flush()
        Messages.receipt(chain.receipt)
    }
}

struct AuditCheckpointKeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "checkpoint-key",
        abstract: "Make the auditor's signing key, or show its public half.",
        subcommands: [Generate.self, Show.self])

    struct Generate: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a checkpoint key in a new file (mode 0600) and print its public half.",
            discussion: "Needs no database. Give the public half to everyone who is to check your checkpoints.")

        @OptionGroup var key: CheckpointKeyOption
        @Option(help: ArgumentHelp("The log's name, a URL without scheme by custom.", valueName: "origin"))
        var name: String

        func run() throws {
            let path = try key.path(try Settings.load(path: nil))
            let made = try CheckpointKey.generate(name: name)
            try made.save(path: path)
            let standardOutput = StandardOutput()
            try standardOutput.line(made.verifier.text)
            try standardOutput.flush()
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print the public half.")

        @OptionGroup var key: CheckpointKeyOption

        func run() throws {
            let standardOutput = StandardOutput()
            try standardOutput.line(try key.verifier(try Settings.load(path: nil)).text)
            try standardOutput.flush()
        }
    }
}
