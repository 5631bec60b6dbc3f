package import Foundation

/// What a finished program left behind.
package struct Finished: Sendable {
    package let status: Int32
    package let standardOutput: String
    package let standardError: String
    package let wasKilled: Bool
}

package struct CommandFailed: Error, CustomStringConvertible {
    package let description: String
}

/// Runs real programs, with only the environment given plus PATH, HOME and LANG.
package struct Command {
    package var executable: String
    package var arguments: [String]
    package var environment: [String: String]
    package var input: Data

    package init(
        _ executable: String, _ arguments: [String] = [], environment: [String: String] = [:], input: Data = Data()
    ) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
        self.input = input
    }

    /// Starts the program and waits for its end.
    package func run() throws -> Finished {
        let running = try start()
        return running.wait()
    }

    /// Runs the program and throws unless it exits with 0.
    @discardableResult
    package func check() throws -> String {
        let finished = try run()
        guard finished.status == 0 else {
            throw CommandFailed(
                description:
                    "\(executable) \(arguments.joined(separator: " ")): exit \(finished.status)\n\(finished.standardError)"
            )
        }
        return finished.standardOutput
    }

    package func start() throws -> RunningCommand {
        let process = Process()
        process.executableURL = URL(filePath: executable)
        process.arguments = arguments
        let inherited = ProcessInfo.processInfo.environment
        var all = environment
        for name in ["PATH", "HOME", "LANG", "PIP_CERT", "GIT_SSL_CAINFO", "TOKENVAULT_MUTANT"] where all[name] == nil {
            all[name] = inherited[name]
        }
        process.environment = all
        return try RunningCommand(process, input: input)
    }
}

/// A program under way, its output gathered in the background so that no pipe fills up.
package final class RunningCommand: @unchecked Sendable {
    // @unchecked: each pipe is read by one queue; results are read after the group has finished.
    private let process: Process
    private let gathering = DispatchGroup()
    private var output = Data()
    private var errors = Data()

    fileprivate init(_ process: Process, input: Data) throws {
        self.process = process
        let (standardInput, standardOutput, standardError) = (Pipe(), Pipe(), Pipe())
        process.standardInput = standardInput
        process.standardOutput = standardOutput
        process.standardError = standardError
        try process.run(noting: gathering)
        // Queues of their own: each blocks a thread, and the global one has few. Pipes are closed by hand, since a
        // Process outlives its program: its thread's run loop, which never runs, holds it with all its descriptors.
        DispatchQueue(label: "reading").async(group: gathering) {
            self.output = standardOutput.fileHandleForReading.readDataToEndOfFile()
            try? standardOutput.fileHandleForReading.close()
        }
        DispatchQueue(label: "reading").async(group: gathering) {
            self.errors = standardError.fileHandleForReading.readDataToEndOfFile()
            try? standardError.fileHandleForReading.close()
        }
        DispatchQueue(label: "writing").async {
            try? standardInput.fileHandleForWriting.writeUnlessClosed(input)
            try? standardInput.fileHandleForWriting.close()
        }
    }

    package var isRunning: Bool { process.isRunning }

    package var processIdentifier: Int32 { process.processIdentifier }

    package func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    package func wait() -> Finished {
        gathering.wait()
        return Finished(
            status: process.terminationStatus,
            standardOutput: String(decoding: output, as: UTF8.self),
            standardError: String(decoding: errors, as: UTF8.self),
            wasKilled: process.terminationReason == .uncaughtSignal)
    }
}
