import Foundation

/// Reads one NDJSON input to its end, batch by batch.
struct FileSource {
    /// Bytes that identify a file across runs (`docs/FORMATS.md`, section 3).
    static let prefixLength = 4096

    let path: String

    /// The name a file has in the ledger: its real path, so that two spellings are one file.
    var name: String {
        path == "-" ? "standard input" : URL(filePath: path).resolvingSymlinksInPath().path
    }

    /// Ingests what the file holds beyond its committed offset. It is opened once: what is recognised is what is read.
    func ingest(with writer: inout BatchWriter, date: Int32) throws(IngestError) {
        var stream: ByteStream
        do {
            stream = try ByteStream.open(path)
        } catch {
            throw writer.options.shouldStop() ? .stopped : error  // a signal ends the wait for a pipe's writer
        }
        var origin = RecordBatch.Origin.stream(name: name)
        if stream.isRegularFile {
            guard let admitted = try admit(&stream, to: &writer) else { return }
            origin = admitted
        }
        var (offset, line) = (0, 0)
        if case .file(_, _, let from, let fromLine) = origin {
            do {
                guard try stream.skip(from) else { throw IngestError.inputChanged(path) }
            } catch let error as IngestError {
                throw error
            } catch {
                throw .inputDamaged(path, line: fromLine, reason: "the compressed data ends early or is damaged")
            }
            (offset, line) = (from, fromLine)
        }
        var reader = LineReader(stream, offset: offset, lineNumber: line)
        while try ingestBatch(from: &reader, origin: &origin, with: &writer, date: date) {}
        if let damage = reader.damage {
            guard !writer.options.shouldStop() else { throw .stopped }  // a signal ends a read that waits
            let reason = damage.isTruncated ? "the gzip data ends early" : "the gzip data is damaged"
            throw .inputDamaged(path, line: reader.lineNumber + 1, reason: reason)
        }
    }

    /// The file's place in the ledger; `nil` when it is empty. Leaves `stream` at its first byte.
    private func admit(
        _ stream: inout ByteStream, to writer: inout BatchWriter
    ) throws(IngestError) -> RecordBatch.Origin? {
        var prefix: [UInt8] = []
        do {
            while prefix.count < Self.prefixLength {
                let count = try stream.read(into: &prefix, limit: Self.prefixLength - prefix.count)
                if count == 0 { break }
            }
        } catch {
            guard !prefix.isEmpty else {
                throw .inputDamaged(path, line: 1, reason: "the gzip data is damaged from its start")
            }
        }
        defer { wipeBytes(&prefix) }
        guard !prefix.isEmpty else { return nil }
        do { try stream.rewind() } catch { throw .inputMissing(path, reason: "it cannot be read twice") }
        return try writer.admitFile(named: name, prefix: prefix)
    }

    /// Reads and commits one batch; false at the end.
    private func ingestBatch(
        from reader: inout LineReader, origin: inout RecordBatch.Origin, with writer: inout BatchWriter, date: Int32
    ) throws(IngestError) -> Bool {
        guard !writer.options.shouldStop() else { throw .stopped }
        var batch = RecordBatch(origin: origin, bytes: [], records: [])
        batch.bytes.reserveCapacity(writer.options.batchSize * 192)
        let lines = reader.nextLines(writer.options.batchSize, into: &batch.bytes)
        batch.records = lines.map { line in
            SourceRecord(
                range: line.range, position: .line(line.number, endOffset: line.endOffset), date: date,
                isTruncated: line.isTruncated)
        }
        defer { wipeBytes(&batch.bytes) }
        var incomplete: Line?
        if let last = lines.last, last.isUnterminated, case .file = origin, !writer.isReadable(batch, last.range) {
            batch.records.removeLast()  // still being written, or cut: it stays in the file
            incomplete = last
        }
        if !batch.records.isEmpty {
            _ = try writer.write(batch)
            if case .file(let id, let name, _, _) = origin,
                case .line(let number, let end)? = batch.records.last?.position
            {
                origin = .file(id: id, name: name, from: end, fromLine: number)
            }
        }
        if let incomplete, reader.damage == nil {
            throw .inputDamaged(
                path, line: incomplete.number, reason: "the last line is incomplete and was left in the file")
        }
        return !lines.isEmpty
    }
}
