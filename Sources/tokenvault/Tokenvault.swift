import ArgumentParser
import Foundation
import VaultCrypto

@main
struct Tokenvault: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenvault",
        abstract: "Replaces personal values with tokens, and keeps the originals sealed.",
        discussion: """
            Results go to standard output, everything else to standard error. Settings: flag, then TOKENVAULT_… environment, \
            then configuration file, then built-in.

            Exit codes: 0 done; 1 failed; 3 done, but some records were quarantined; 64 usage; 65 something does not verify \
            (log, sealed value, keyring, input); 66 input missing; 69 database, queue or key service unavailable after retries; \
            75 try again (stopped by a signal, lock held, waiting for approval); 77 refused (role, policy, file mode); \
            78 bad configuration.
            """,
        version: "0.1.0",
        subcommands: [
            DatabaseCommand.self, KeysCommand.self, IngestCommand.self, TokenizeCommand.self, DuplicatesCommand.self,
            RecoverCommand.self, ApprovalsCommand.self, PolicyCommand.self, AuditCommand.self, QuarantineCommand.self,
            EraseCommand.self, ExpireCommand.self, RotateCommand.self, StatusCommand.self, DoctorCommand.self,
        ])

    static func main() {
        StopSignal.hold()
        guard StandardDescriptors.reserve() else { Foundation.exit(ExitStatus.failed.rawValue) }
        _ = unsafe setenv("PGCONNECT_TIMEOUT", "10", 0)  // libpq waits for ever without one; connect_timeout still wins
        signal(SIGPIPE, SIG_IGN)  // a closed pipe is a failed write, reported like any other
        for warning in ProcessHardening.apply() { Messages.warning(warning) }
        do {
            var command = try parseAsRoot()
            if command is any StoppableCommand { StopSignal.install() } else { StopSignal.letThrough() }
            defer { wipeStack() }
            try command.run()
        } catch {
            exit(withReporting: error)
        }
    }

    /// Usage errors go the parser's way; everything else becomes one clear line and an exit code.
    private static func exit(withReporting error: any Error) -> Never {
        if let failure = Failure(error) ?? unwrittenHelp(error) {
            // A server that is given up because of a signal is no outage.
            let isStopped = failure.status == .unavailable && StopSignal.isRequested
            Messages.error(isStopped ? "stopped by a signal: \(failure.message)" : failure.message)
            Foundation.exit((isStopped ? .tryAgain : failure.status).rawValue)
        }
        // The parser quotes what it cannot parse, and a value given by mistake must not reach a log.
        Messages.note(withoutArguments(fullMessage(for: error)))
        Foundation.exit(exitCode(for: error).rawValue)
    }

    /// `text` with quoted arguments replaced by their place, names of options apart.
    private static func withoutArguments(_ text: String) -> String {
        var text = text
        for (place, argument) in CommandLine.arguments.enumerated().dropFirst() where !argument.isEmpty {
            let isName = argument.hasPrefix("--")
            let value =
                isName ? argument.split(separator: "=", maxSplits: 1).dropFirst().first.map(String.init) : argument
            guard let value, !value.isEmpty else { continue }
            text = text.replacing("'\(value)'", with: "(argument \(place))")
        }
        return text
    }

    /// Writes help and version, which the parser would print without looking whether that succeeds.
    ///
    /// - Returns: what was wrong with standard output; `nil` for anything else than help.
    private static func unwrittenHelp(_ error: any Error) -> Failure? {
        guard exitCode(for: error).isSuccess else { return nil }
        let output = StandardOutput()
        do {
            let text = fullMessage(for: error)
            if !text.isEmpty { try output.line(text) }
            try output.flush()
        } catch {
            return Failure(error)
        }
        Foundation.exit(0)
    }
}
