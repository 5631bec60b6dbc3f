/// One record as it came, with where it came from.
struct SourceRecord {
    /// Content, in ``RecordBatch/bytes``.
    let range: Range<Int>
    /// Line number or message id, as the quarantine names it.
    let position: Position
    /// Days since 2000-01-01 (UTC) for `create_date`.
    let date: Int32
    let isTruncated: Bool

    enum Position {
        /// `endOffset`: where the input goes on after this line.
        case line(Int, endOffset: Int)
        case message(String)
    }
}

extension SourceRecord.Position: CustomStringConvertible {
    var description: String {
        switch self {
        case .line(let number, _): "line \(number)"
        case .message(let id): id
        }
    }
}

/// What is read together and committed together.
struct RecordBatch {
    /// Where the records came from, and what makes each of them count once.
    enum Origin {
        /// A regular file: its committed offset moves from `from` in the records' own transaction.
        case file(id: UInt128, name: String, from: Int, fromLine: Int)
        /// A pipe or standard input: nothing tells a repetition.
        case stream(name: String)
        /// A queue: message ids stand in a ledger.
        case queue(name: String)
        /// A refused record: it is marked as replayed in its row's own transaction.
        case quarantine(id: UInt128, reason: String)

        var name: String {
            switch self {
            case .file(_, let name, _, _), .stream(let name), .queue(let name): name
            case .quarantine: "quarantine"
            }
        }
    }

    let origin: Origin
    /// Tells the batches of a run apart, where they are read ahead of their turn.
    var serial: Int?
    var bytes: [UInt8]
    var records: [SourceRecord]

    /// Two batches that together do what this one does, each in a transaction of its own.
    func halves() -> (RecordBatch, RecordBatch) {
        let middle = records.count / 2
        let (first, second) = (Array(records[..<middle]), Array(records[middle...]))
        var secondOrigin = origin
        if case .file(let id, let name, _, _) = origin, case .line(let line, let end)? = first.last?.position {
            secondOrigin = .file(id: id, name: name, from: end, fromLine: line)
        }
        return (
            RecordBatch(origin: origin, bytes: bytes, records: first),
            RecordBatch(origin: secondOrigin, bytes: bytes, records: second)
        )
    }
}
