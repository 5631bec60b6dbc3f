import ArgumentParser
import Foundation
import Keys
import VaultCrypto
import VaultStore

struct AuditVerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Recompute the whole log; exit 65 at the first event that does not verify.",
        discussion: """
            The chain alone finds edits and deletions. A log that was rewritten whole, or whose end was cut with its head \
            mended, is consistent in itself: only a receipt or a checkpoint kept outside the database finds that.
            """)

    @OptionGroup var database: DatabaseOptions
    @OptionGroup var output: OutputOptions
    @OptionGroup var key: CheckpointKeyOption

    @Option(
        help: ArgumentHelp(
            "A receipt printed earlier; the log must still hold it. May be repeated.", valueName: "sequence:head"))
    var receipt: [String] = []

    @Option(
        help: ArgumentHelp(
            "A checkpoint signed earlier; the log must still begin with its events. May be repeated.",
            valueName: "file"))
    var checkpoint: [String] = []

    func validate() throws {
        for text in receipt where AuditReceipt(text) == nil {
            throw ValidationError("--receipt needs SEQUENCE:HEAD as a command printed it, the head in 64 hex digits")
        }
    }

    func run() throws {
        let settings = try database.settings()
        var expected = ExpectedLog()
        expected.receipts = receipt.compactMap(AuditReceipt.init)
        if !checkpoint.isEmpty {
            let verifier = try key.verifier(settings)
            for path in checkpoint { expected.checkpoints.append(try CheckpointFile.open(path, key: verifier)) }
        }
        var store = try database.open()
        let chain = try store.verifyAuditLog(expected)
        let standardOutput = StandardOutput()
        if output.json {
            var line = JSONLine()
            line.add("verified", chain.receipt.sequence)
            line.add("head", Hex.encode(chain.receipt.head))
            try standardOutput.line(line.text)
        } else {
            try standardOutput.line(
                "\(chain.receipt.sequence) of \(chain.receipt.sequence) events verify; head \(chain.receipt.text)")
        }
        try standardOutput.flush()
    }
}

/// A checkpoint in a file of its own: nothing in it is secret.
enum CheckpointFile {
    static func open(_ path: String, key: CheckpointVerifier) throws -> Checkpoint {
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw Failure(.inputMissing, "cannot read the checkpoint \(path)")
        }
        do {
            return try Checkpoint.open(Array(bytes), key: key)
        } catch { throw Failure(.doesNotVerify, "\(path): \(error)") }
    }
}

struct CheckpointKeyOption: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Checkpoint key file, or its public half (TOKENVAULT_CHECKPOINT_KEY).", valueName: "file|name+hash+key"))
    var checkpointKey: String?

    func path(_ settings: Settings) throws -> String {
        try settings.requiredPath(.checkpointKey, flag: checkpointKey, option: "checkpoint-key")
    }

    /// The public half: given as such, standing in a file, or part of the key file.
    func verifier(_ settings: Settings) throws -> CheckpointVerifier {
        let named = try path(settings)
        if let verifier = CheckpointVerifier(named) { return verifier }
        if let bytes = FileManager.default.contents(atPath: named), bytes.count <= 1024,
            let verifier = CheckpointVerifier(
                String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
        {
            return verifier
        }
        return try CheckpointKey.load(path: named).verifier
    }
}
