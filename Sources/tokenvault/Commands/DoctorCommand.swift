import ArgumentParser
import Doctor
import Foundation

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check host, keyrings, server, privileges and vault, and say how to mend what is wrong.",
        discussion: """
            Any role may run it: what this role cannot see is said, with the role that can. Changes nothing. A remedy that is \
            SQL is meant for psql in the vault's database, as the administrator or as a superuser, as it says.

            Exits with 0 when nothing fails (warnings and unchecked lines do not count), 1 when something does, 69 when \
            the database cannot be reached or its server must be restarted.
            """)

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var ingestKeyring: IngestKeyringOption
    @OptionGroup var recoveryKeyring: RecoveryKeyringOptions
    @OptionGroup var migrations: MigrationsOption
    @OptionGroup var output: OutputOptions

    func run() throws {
        let settings = try database.settings()
        let environment = ProcessInfo.processInfo.environment
        var examination = Examination()
        examination.host(
            HostChecks(environment: environment),
            KeyFileChecks(
                ingestKeyring: settings.string(.ingestKeyring, flag: ingestKeyring.ingestKeyring),
                recoveryKeyring: settings.string(.recoveryKeyring, flag: recoveryKeyring.recoveryKeyring),
                passphraseFile: settings.string(.passphraseFile, flag: recoveryKeyring.passphraseFile)))
        examination.database(
            settings.string(.database, flag: database.database) ?? "", migrations: try migrations.folder(settings))
        try print(examination.findings.all)
        if examination.databaseIsDown { Foundation.exit(ExitStatus.unavailable.rawValue) }
        if examination.findings.hasFailure { Foundation.exit(ExitStatus.failed.rawValue) }
    }

    private func print(_ findings: [Finding]) throws {
        let standardOutput = StandardOutput()
        for finding in findings {
            for line in output.json ? [json(finding)] : lines(finding) { try standardOutput.line(line) }
        }
        try standardOutput.flush()
    }

    private func json(_ finding: Finding) -> String {
        var line = JSONLine()
        line.add("check", finding.check)
        line.add("verdict", finding.verdict.rawValue)
        line.add("message", finding.message)
        let (kind, text, role) = parts(finding.remedy)
        line.add("remedy", text)
        line.add("remedy_kind", kind)
        line.add("run_as", role)
        return line.text
    }

    private func lines(_ finding: Finding) -> [String] {
        let verdict = finding.verdict == .notChecked ? "not checked" : finding.verdict.rawValue
        let first = verdict.padding(toLength: 13, withPad: " ", startingAt: 0) + "\(finding.check): \(finding.message)"
        let (_, text, role) = parts(finding.remedy)
        guard let text else { return [escapingControls(first)] }
        let by = role.map { " (as the \($0))" } ?? ""
        return [escapingControls(first), escapingControls("             fix\(by): \(text)")]
    }

    private func parts(_ remedy: Finding.Remedy?) -> (kind: String?, text: String?, role: String?) {
        switch remedy {
        case .sql(let text, let who): ("sql", text, who.rawValue)
        case .shell(let text): ("shell", text, nil)
        case .advice(let text): ("advice", text, nil)
        case nil: (nil, nil, nil)
        }
    }
}
