internal import Glibc

/// The mapped fields of one record, as stretches of one arena that is used again for the next. Wiped when it dies.
///
/// Columns are numbered as in the mapping's `columns`.
package struct RecordFields: ~Copyable {
    struct Slot {
        /// Negative: missing or null.
        var start = -1
        var count = 0
        var integer: Int64 = 0
    }

    private var arena: [UInt8] = []
    private var slots: [Slot] = []

    /// Members of the record that the mapping does not name.
    package internal(set) var unknownKeyCount = 0

    package init() { arena.reserveCapacity(4096) }

    deinit { wipeStorage() }

    /// Whether the column has a value; otherwise it was missing or null.
    package func isPresent(_ column: Int) -> Bool { slots[column].start >= 0 }

    /// Lends the text of a column; `nil` when missing or null. Empty for a column of type integer.
    package func withText<R, E: Error>(
        of column: Int, _ body: (Span<UInt8>) throws(E) -> R
    ) throws(E) -> R? {
        guard let range = textRange(of: column) else { return nil }
        return try body(arena.span.extracting(range))
    }

    /// Where in ``withArena(_:)`` the text of a column stands; `nil` when missing or null.
    package func textRange(of column: Int) -> Range<Int>? {
        let slot = slots[column]
        return slot.start < 0 ? nil : slot.start..<slot.start + slot.count
    }

    /// Lends all texts at once.
    package func withArena<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R { try body(arena.span) }

    /// The number in a column of type integer or version; `nil` when missing or null.
    package func integer(of column: Int) -> Int64? {
        slots[column].start < 0 ? nil : slots[column].integer
    }

    /// The normalised value of a personal column; `nil` when missing or null.
    package func normalizedValue(
        of column: Int, in mapping: borrowing RecordMapping
    ) throws(RecordRejection) -> NormalizedValue? {
        guard let domain = mapping.columns[column].domain, let range = textRange(of: column) else { return nil }
        do {
            return try NormalizedValue(arena.span.extracting(range), kind: domain.kind)
        } catch {
            throw .field(mapping.columns[column].key, .notNormalizable(error))
        }
    }

    mutating func clear(columnCount: Int) {
        arena.removeAll(keepingCapacity: true)
        unknownKeyCount = 0
        if slots.count == columnCount {
            for column in slots.indices { slots[column] = Slot() }
        } else {
            slots = [Slot](repeating: Slot(), count: columnCount)
        }
    }

    mutating func set(_ column: Int, text: Span<UInt8>) {
        slots[column].start = arena.count
        slots[column].count = text.count
        if arena.count + text.count > arena.capacity { grow(by: text.count) }
        unsafe text.withUnsafeBufferPointer { unsafe arena.append(contentsOf: $0) }
    }

    /// Zeroes the last record's texts. There are no fields afterwards.
    package mutating func wipe() {
        clear(columnCount: slots.count)
        wipeStorage()
    }

    /// As an array grows by itself, but leaves no copy behind.
    private mutating func grow(by count: Int) {
        var larger: [UInt8] = []
        larger.reserveCapacity(max(arena.count + count, arena.capacity * 2))
        larger += arena
        wipeStorage()
        arena = larger
    }

    /// Zeroes the arena to the end of its storage, which earlier records may have filled further. The storage has no
    /// other owner: `arena` is never handed out.
    private func wipeStorage() {
        unsafe arena.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return }
            unsafe explicit_bzero(UnsafeMutableRawPointer(mutating: start), arena.capacity)
        }
    }

    mutating func set(_ column: Int, integer: Int64) {
        if slots[column].start < 0 { slots[column].start = arena.count }
        slots[column].integer = integer
    }
}
