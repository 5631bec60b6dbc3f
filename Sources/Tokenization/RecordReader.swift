internal import JSON

/// Turns the bytes of one record into the fields that a mapping names, and refuses what the mapping does not allow.
///
/// The whole record is validated, also where the mapping does not look. Keeps its buffers from record to record, so
/// that reading allocates nothing; they are wiped when it dies. Order of members does not matter.
package struct RecordReader: ~Copyable {
    /// The longest record.
    package static let maximumByteCount = 1 << 20

    package let mapping: RecordMapping
    private var parser: JSONParser
    private let keys: [UInt8]  // all, one after the other
    private let rules: [Rule]
    private let required: UInt64

    /// A column without its names, so that the hot path touches no strings.
    private struct Rule {
        let key: Range<Int>  // in `keys`
        let type: RecordMapping.ColumnType
        let maximumLength: Int
        let mayBeEmpty: Bool
    }

    /// Columns met so far, as bits.
    private struct Found {
        var seen: UInt64 = 0
        var filled: UInt64 = 0
        var expected = 0  // records of one sender have their members in one order
    }

    /// - Throws: ``RecordRejection/unreadable(_:)`` when there is no memory for the parser.
    package init(mapping: RecordMapping) throws(RecordRejection) {
        do { parser = try JSONParser() } catch { throw .unreadable(error) }
        self.mapping = mapping
        var keys: [UInt8] = []
        rules = mapping.columns.map {
            let start = keys.count
            keys += $0.key.utf8
            return Rule(
                key: start..<keys.count, type: $0.type, maximumLength: $0.maximumLength,
                mayBeEmpty: $0.type == .text && $0.domain == nil && !$0.isRequired)
        }
        self.keys = keys
        required = mapping.columns.enumerated().reduce(0) { $1.element.isRequired ? $0 | 1 << $1.offset : $0 }
    }

    /// Replaces the contents of `fields` by those of `record`. After an error they are of no use.
    package mutating func read(_ record: Span<UInt8>, into fields: inout RecordFields) throws(RecordRejection) {
        fields.clear(columnCount: rules.count)
        guard record.count <= Self.maximumByteCount else { throw .unreadable(.tooLarge) }
        do { try parser.parse(record) } catch { throw .unreadable(error) }
        let root = parser.root
        guard parser.kind(of: root) == .object else { throw .notAnObject }

        var found = Found()
        try parser.withDocumentText { text throws(RecordRejection) in
            var cursor = parser.cursor(in: root)
            while let member = parser.nextMember(&cursor) {
                guard let column = column(of: text.extracting(member.key), expected: found.expected) else {
                    fields.unknownKeyCount += 1
                    continue
                }
                found.seen |= 1 << column
                found.expected = column + 1
                if try read(member, text, into: &fields, column: column) { found.filled |= 1 << column }
            }
        }
        guard found.seen != 0 else { throw .wrongRecordType }
        let missing = required & ~found.filled
        guard missing == 0 else { throw problem(.missing, missing.trailingZeroBitCount) }
    }

    /// Zeroes the parser's copy of the last record.
    package mutating func wipe() { parser.wipe() }

    private func column(of key: Span<UInt8>, expected: Int) -> Int? {
        let keys = self.keys.span
        var column = expected
        for _ in 0..<rules.count {
            if column >= rules.count { column = 0 }
            if keys.extracting(rules[column].key).hasSameBytes(as: key) { return column }
            column += 1
        }
        return nil
    }

    /// Whether there was a value other than null.
    private func read(
        _ member: JSONMember, _ document: Span<UInt8>, into fields: inout RecordFields, column: Int
    ) throws(RecordRejection) -> Bool {
        let rule = rules[column]
        switch (member.kind, rule.type) {
        case (.null, _): return false
        case (.integer, .integer): fields.set(column, integer: member.integer)
        case (.string, .text), (.string, .version):
            let text = document.extracting(member.text)
            if let problem = Self.problem(with: text, rule) { throw self.problem(problem, column) }
            fields.set(column, text: text)
            guard rule.type == .version else { return true }
            guard let number = VersionNumber.integer(from: text) else { throw problem(.unsupportedVersion, column) }
            fields.set(column, integer: Int64(number))
        default: throw problem(.wrongType, column)
        }
        return true
    }

    private static func problem(with text: Span<UInt8>, _ rule: Rule) -> FieldProblem? {
        if text.isEmpty { return rule.mayBeEmpty ? nil : .empty }
        var (hasNUL, continuations) = (false, 0)
        for index in text.indices {
            hasNUL = hasNUL || text[index] == 0
            continuations += text[index] & 0xC0 == 0x80 ? 1 : 0
        }
        if hasNUL { return .nulCharacter }
        return text.count - continuations > rule.maximumLength ? .tooLong(limit: rule.maximumLength) : nil
    }

    private func problem(_ problem: FieldProblem, _ column: Int) -> RecordRejection {
        .field(mapping.columns[column].key, problem)
    }
}

extension Span<UInt8> {
    func hasSameBytes(as other: Span<UInt8>) -> Bool {
        guard count == other.count else { return false }
        for index in indices where self[index] != other[index] { return false }
        return true
    }
}
