import ArgumentParser
import Foundation
import Ingest
import Keys
import Postgres
import SQS
import VaultStore

struct IngestCommand: ParsableCommand, StoppableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ingest",
        abstract: "Replace personal values by tokens and store the originals sealed: the nightly job.",
        discussion: """
            SOURCE is an SQS queue URL, a file of JSON records (one a line, gzip or not), or - for standard input. A file that \
            was read before goes on where it was committed; standard input has no such memory. Needs a role in \
            tokenvault_ingest and the ingest keyring. AWS credentials come from the environment.

            Records that cannot be processed go, sealed, to the quarantine; the run then ends with exit code 3.
            """)

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var keyring: IngestKeyringOption
    @OptionGroup var output: OutputOptions

    @Option(help: "Records a transaction (TOKENVAULT_BATCH_SIZE).")
    var batchSize: Int?

    @Option(help: "Stop when more records than this are refused (TOKENVAULT_MAX_QUARANTINED).")
    var maxQuarantined: Int?

    @Option(help: "Seconds of one SQS long poll (TOKENVAULT_POLL_SECONDS).")
    var pollSeconds: Int?

    @Option(help: "Seconds for which SQS lends a message before another may have it (TOKENVAULT_VISIBILITY_SECONDS).")
    var visibilitySeconds: Int?

    @Option(
        name: .customLong("endpoint-url"),
        help: ArgumentHelp("SQS endpoint (AWS_ENDPOINT_URL_SQS, AWS_ENDPOINT_URL).", valueName: "url"))
    var endpointURL: String?

    @Argument(help: "Queue URL, file, or -.")
    var sources: [String]

    func run() throws {
        let settings = try database.settings()
        let options = try options(settings)
        let sources = try sources.map { try source($0, settings) }
        for source in sources { try source.requireReadable() }
        let path = try settings.requiredPath(.ingestKeyring, flag: keyring.ingestKeyring, option: "ingest-keyring")
        let keyring = try IngestKeyring.load(path: path)

        var run = try IngestRun.begin(
            try database.openChecked(options.limits, attempts: 4), keyring: keyring, sources: sources, options: options)
        let start = ContinuousClock.now
        var failure: IngestError?
        for source in sources {
            do {
                try run.ingest(source)
            } catch {
                failure = error
                break
            }
        }
        do {
            Messages.receipt(try run.finish(outcome: failure == nil ? "completed" : "stopped"))
        } catch {
            failure = failure ?? error
        }
        Messages.endProgress()
        do {
            try report(run.summary, id: run.id, elapsed: ContinuousClock.now - start)
        } catch {
            guard failure != nil else { throw error }
            Messages.warning("\(error)")  // the run's own end is the news, and no success either
        }
        if let failure { throw Self.ended(failure, run.summary) }
        if run.summary.undeleted > 0 {
            throw Failure(
                .tryAgain, "\(run.summary.undeleted) messages are stored but SQS did not delete them; run again")
        }
        if run.summary.quarantinedTotal > 0 {
            throw Failure(
                .someQuarantined,
                "\(run.summary.quarantinedTotal) records were refused and wait in the quarantine; see `tokenvault quarantine list`"
            )
        }
    }

    /// An outage in the middle of a run is "try again": what is committed stays, and the rest is still in its source. The
    /// run began in the database; a queue that never answered was not in the middle of anything.
    private static func ended(_ failure: IngestError, _ summary: IngestSummary) -> Failure {
        let status = Failure.status(failure)
        let isMidway =
            switch failure {
            case .queue: summary.batches > 0
            case .database(.refused(_, let state, _, let message, _)): !state.meansOutdatedServer(message)
            default: true
            }
        return Failure(status == .unavailable && isMidway ? .tryAgain : status, "\(failure)")
    }

    private func options(_ settings: Settings) throws -> IngestOptions {
        var options = IngestOptions()
        options.database = settings.string(.database, flag: database.database) ?? ""
        options.batchSize = try settings.integer(.batchSize, flag: batchSize, in: 1...50_000, builtIn: 10_000)
        options.messagesPerBatch = min(options.batchSize, 1_000)
        options.pollSeconds = try settings.integer(.pollSeconds, flag: pollSeconds, in: 0...20, builtIn: 10)
        options.visibilityTimeout = try settings.integer(
            .visibilitySeconds, flag: visibilitySeconds, in: 1...43_200, builtIn: 300)
        let limit = try settings.integer(.maxQuarantined, flag: maxQuarantined, in: 0...Int.max, builtIn: Int.max)
        options.maxQuarantined = limit == Int.max ? nil : limit
        options.limits = try database.batchLimits()
        let retry = try settings.integer(.retrySeconds, flag: nil, in: 0...3_600, builtIn: 30)
        options.retryFor = .seconds(retry)
        options.shouldStop = { StopSignal.isRequested }
        options.warn = { Messages.warning($0) }
        if isatty(STDERR_FILENO) == 1, !output.json {
            options.progress = {
                Messages.progress("\($0.stored) stored, \($0.repeated) repeated, \($0.quarantinedTotal) refused")
            }
        }
        return options
    }

    private func source(_ text: String, _ settings: Settings) throws -> IngestSource {
        guard text.hasPrefix("https://") || text.hasPrefix("http://") else { return .file(text) }
        let environment = ProcessInfo.processInfo.environment
        return .queue(
            try QueueAddress(
                queueURL: text, endpoint: settings.string(.endpointURL, flag: endpointURL), environment: environment),
            try CredentialSource.environment(environment),
            QueueClientOptions(caBundle: environment["AWS_CA_BUNDLE"]))
    }

    private func report(_ summary: IngestSummary, id: String, elapsed: Duration) throws {
        let seconds = elapsed / .seconds(1)
        let rate = seconds > 0 ? Int(Double(summary.read) / seconds) : 0
        let standardOutput = StandardOutput()
        if output.json {
            var line = JSONLine()
            line.add("run", id)
            line.add("read", summary.read)
            line.add("stored", summary.stored)
            line.add("repeated", summary.repeated)
            line.add("quarantined", counts: summary.quarantined)
            line.add("unknown_keys", summary.unknownKeys)
            line.add("originals_sent", summary.originalsSent)
            line.add("undeleted", summary.undeleted)
            line.add("batches", summary.batches)
            line.add("seconds", Int(seconds.rounded(.up)))
            line.add("records_per_second", rate)
            try standardOutput.line(line.text)
        } else {
            var table = Table("RUN", id)
            table.add("read", "\(summary.read)")
            table.add("stored", "\(summary.stored)")
            table.add("repeated (processed before)", "\(summary.repeated)")
            table.add("refused (in the quarantine)", "\(summary.quarantinedTotal)")
            for (cause, count) in summary.quarantined.sorted(by: { $0.key < $1.key }) {
                table.add("  \(cause)", "\(count)")
            }
            table.add("unknown keys ignored", "\(summary.unknownKeys)")
            table.add("originals sent to the vault", "\(summary.originalsSent)")
            table.add("records a second", "\(rate)")
            for line in table.lines { try standardOutput.line(line) }
        }
        try standardOutput.flush()
    }
}
