import Foundation
import Recovery
import VaultCrypto

/// Recovered values as lines: `TOKEN<TAB>VALUE`, or one JSON object each. What has no value is named on standard error, and
/// in JSON has a line of its own.
///
/// A value is held in one buffer, which is wiped, and in the output's.
final class RecoveredLines: RecoveredOutput {
    private let output: StandardOutput
    private let isTerminal: Bool
    private let isJSON: Bool
    private let isFile: Bool
    private var line: [UInt8] = []
    /// Where in the output the values end that the operating system may not have taken yet.
    private var pendingEnds: [Int] = []
    private var settled = 0

    init(_ destination: Destination, json: Bool) {
        output = destination.output
        isTerminal = destination.isTerminal
        isFile = destination.isFile
        isJSON = json
        line.reserveCapacity(16 * 1024)  // the longest value has 1,024 bytes, escaped at most 8 times as many
    }

    func take(_ token: Span<UInt8>, _ state: RecoveredState, _ value: Span<UInt8>) throws {
        if isJSON { return try takeJSON(token, state, value) }
        guard case .present = state else { return warn(token, state) }
        append(token)
        line.append(UInt8(ascii: "\t"))
        // A line break inside a value would pass for another token's line.
        if isTerminal || hasControl(value) {
            line +=
                escapingControls(unsafe value.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) })
                .utf8
        } else {
            append(value)
        }
        try endLine(isValue: true)
    }

    func finish() throws {
        try output.flush()
        if isFile { try output.synchronize() }
    }

    var written: Int { settled + pendingEnds.count(where: { $0 <= output.accepted }) }

    private func takeJSON(_ token: Span<UInt8>, _ state: RecoveredState, _ value: Span<UInt8>) throws {
        line += "{\"token\":".utf8
        JSONBytes.append(token, to: &line)
        line += ",\"value\":".utf8
        switch state {
        case .present:
            JSONBytes.append(value, to: &line)
            line.append(UInt8(ascii: "}"))
            return try endLine(isValue: true)
        case .absent: line += "null,\"state\":\"absent\"}".utf8
        case .erased: line += "null,\"state\":\"erased\"}".utf8
        case .unopenable(let reason):
            warn(token, state)
            line += "null,\"state\":\"unopenable\",\"reason\":\(JSONLine.quote(reason))}".utf8
        }
        try endLine(isValue: false)
    }

    private func warn(_ token: Span<UInt8>, _ state: RecoveredState) {
        let token = unsafe token.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
        switch state {
        case .present: break
        case .absent: Messages.warning("\(token): no value is stored for this token")
        case .erased: Messages.warning("\(token): the value was erased")
        case .unopenable(let reason): Messages.warning("\(token): \(reason)")
        }
    }

    private func endLine(isValue: Bool) throws {
        line.append(UInt8(ascii: "\n"))
        defer {
            clear(&line, first: line.count)
            line.removeAll(keepingCapacity: true)
        }
        if isValue { pendingEnds.append(output.appended + line.count) }
        try output.write(line.span)
        if pendingEnds.count >= 4096 { settle() }
    }

    /// Forgets the ends that are passed.
    private func settle() {
        let passed = pendingEnds.firstIndex { $0 > output.accepted } ?? pendingEnds.count
        settled += passed
        pendingEnds.removeFirst(passed)
    }

    private func append(_ bytes: Span<UInt8>) { for index in bytes.indices { line.append(bytes[index]) } }

    private func hasControl(_ value: Span<UInt8>) -> Bool {
        for index in value.indices where value[index] < 0x20 || value[index] == 0x7F { return true }
        return false
    }
}
