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
        if case .file(_, _, let from, let fromLine) = origin {
            do {
                guard try stream.skip(from) else { throw IngestError.inputChanged(path) }
            } catch let error as IngestError {
                throw error
            } catch {
                throw .inputDamaged(path, line: fromLine, reason: "the compressed data ends early or is damaged")
            }
        }
        var reader = BatchReader(stream, from: origin, date: date, batchSize: writer.options.batchSize)
        try ingest(&reader, with: &writer)
        if let damage = reader.damage {
            guard !writer.options.shouldStop() else { throw .stopped }  // a signal ends a read that waits
            let reason = damage.isTruncated ? "the gzip data ends early" : "the gzip data is damaged"
            throw .inputDamaged(path, line: reader.lineNumber + 1, reason: reason)
        }
        if let incomplete = reader.incomplete {
            throw .inputDamaged(
                path, line: incomplete.number, reason: "the last line is incomplete and was left in the file")
        }
    }

    private func ingest(_ reader: inout BatchReader, with writer: inout BatchWriter) throws(IngestError) {
        var next: RecordBatch?
        defer { if next != nil { wipeBytes(&next!.bytes) } }
        while true {
            guard !writer.options.shouldStop() else { throw .stopped }
            guard var batch = next.take() ?? reader.next(&writer.stager) else { return }
            defer { wipeBytes(&batch.bytes) }
            if reader.readsAhead, batch.bytes.count <= BatchReader.maximumAheadBytes {
                next = reader.next(&writer.stager)
            }
            _ = try writer.write(batch, following: next)
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
}
