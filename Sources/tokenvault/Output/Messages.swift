import Foundation
import VaultStore

/// Everything that is not a result: one line each, on standard error. Never a value, never a key.
///
/// A message that cannot be written is dropped: `FileHandle.write(_:)` would end the program in mid-run.
enum Messages {
    static func error(_ text: String) { write("error: \(text)") }
    static func warning(_ text: String) { write("warning: \(text)") }
    static func note(_ text: String) { write(text) }

    private static func write(_ line: String) {
        try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8))
    }
}

extension Messages {
    /// Where the audit log stood after the event just written. Kept elsewhere, it proves that the event was there.
    static func receipt(_ receipt: AuditReceipt?) {
        if let receipt { note("audit receipt: \(receipt.text)") }
    }

    /// Rewrites the current line of a terminal; an empty text leaves it clear for what follows.
    static func progress(_ text: String) {
        try? FileHandle.standardError.write(contentsOf: Data("\r\u{1B}[K\(text)".utf8))
    }
}
