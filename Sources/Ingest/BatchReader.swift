/// Reads one NDJSON input batch by batch.
struct BatchReader: ~Copyable {
    /// Longest batch, in bytes, that is held while the next one is read, so that long lines do not need twice the memory.
    static let maximumAheadBytes = 4 << 20

    private var lines: LineReader
    private var origin: RecordBatch.Origin
    private let date: Int32
    private let batchSize: Int
    /// The last line, where it is incomplete: still being written, or cut. It stays in the file.
    private(set) var incomplete: Line?

    /// - Parameters:
    ///   - stream: where `origin` says.
    ///   - date: of the records, in days since 2000-01-01.
    init(_ stream: consuming ByteStream, from origin: RecordBatch.Origin, date: Int32, batchSize: Int) {
        var (offset, line) = (0, 0)
        if case .file(_, _, let from, let fromLine) = origin { (offset, line) = (from, fromLine) }
        lines = LineReader(stream, offset: offset, lineNumber: line)
        self.origin = origin
        self.date = date
        self.batchSize = batchSize
    }

    /// Whether batches may be read ahead of their turn. A pipe's records are committed before more are waited for.
    var readsAhead: Bool { if case .file = origin { true } else { false } }

    /// Lines read so far.
    var lineNumber: Int { lines.lineNumber }
    var damage: StreamDamage? { lines.damage }

    /// The next batch, each record of which stands in the input whole; `nil` at the end. Its bytes are wiped by the caller.
    mutating func next(_ stager: inout BatchStager) -> RecordBatch? {
        var batch = RecordBatch(origin: origin, serial: stager.nextNumber(), bytes: [], records: [])
        batch.bytes.reserveCapacity(batchSize * 192)
        let read = lines.nextLines(batchSize, into: &batch.bytes)
        batch.records = read.map { line in
            SourceRecord(
                range: line.range, position: .line(line.number, endOffset: line.endOffset), date: date,
                isTruncated: line.isTruncated)
        }
        if let last = read.last, last.isUnterminated, readsAhead, !stager.isReadable(batch, last.range) {
            batch.records.removeLast()
            incomplete = last
        }
        guard case .line(let number, let end)? = batch.records.last?.position else {
            wipeBytes(&batch.bytes)
            return nil
        }
        if case .file(let id, let name, _, _) = origin {
            origin = .file(id: id, name: name, from: end, fromLine: number)
        }
        return batch
    }
}
