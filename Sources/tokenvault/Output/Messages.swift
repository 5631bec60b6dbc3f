import Foundation
import Synchronization
import VaultStore

/// Everything that is not a result: one line each, on standard error. Never a value, never a key.
///
/// A message that cannot be written is dropped: `FileHandle.write(_:)` would end the program in mid-run.
enum Messages {
    static func error(_ text: String) { write("error: \(text)") }
    static func warning(_ text: String) { write("warning: \(text)") }
    static func note(_ text: String) { write(text) }

    private static func write(_ line: String) {
        endProgress()
        try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8))
    }
}

extension Messages {
    /// Where the audit log stood after the event just written. Kept elsewhere, it proves that the event was there.
    static func receipt(_ receipt: AuditReceipt?) {
        if let receipt { note("audit receipt: \(receipt.text)") }
    }

    private static let barStands = Atomic<Bool>(false)

    /// Rewrites the current line of a terminal.
    static func progress(_ text: String) {
        barStands.store(true, ordering: .relaxed)
        try? FileHandle.standardError.write(contentsOf: Data("\r\u{1B}[K\(text)".utf8))
    }

    /// Takes the bar away, if one stands, so that what follows has the line for itself.
    static func endProgress() {
        guard barStands.exchange(false, ordering: .relaxed) else { return }
        try? FileHandle.standardError.write(contentsOf: Data("\r\u{1B}[K".utf8))
    }
}
