import ArgumentParser

struct AuditCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit",
        abstract: "Read the audit log, and prove that it is whole.",
        discussion: "Needs a role in tokenvault_auditor.",
        subcommands: [
            AuditListCommand.self, AuditVerifyCommand.self, AuditCheckpointCommand.self,
            AuditCheckpointKeyCommand.self, AuditExportCommand.self,
        ])
}
