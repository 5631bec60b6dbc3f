import Keys
import Postgres
import VaultCrypto
import VaultStore

/// What the ledger says of a batch's records.
struct Admission {
    /// Processed before: indices that are not to be stored again.
    var repeated: Set<Int> = []
    /// Their id stands with another body.
    var conflicting: Set<Int> = []
}

/// What makes each record count once: the file's offset, the message ledger, the quarantine entry.
extension BatchWriter {
    /// Where to go on in a file: its ledger entry, made when it is new.
    mutating func admitFile(named name: String, prefix: [UInt8]) throws(IngestError) -> RecordBatch.Origin {
        do {
            for known in try store.findFiles(named: name) {
                guard prefix.count >= known.prefixLength else { throw IngestError.inputChanged(name) }
                let mac = try stager.identity.fileFingerprint(
                    of: prefix[..<known.prefixLength], version: known.keyVersion)
                guard ConstantTime.equal(mac, known.fingerprint) else { continue }
                if known.keyVersion < stager.identity.activeVersion {  // so that the old key can be destroyed one day
                    let version = stager.identity.activeVersion
                    try store.rekeyFile(
                        known.id, keyVersion: version, prefixLength: prefix.count,
                        fingerprint: try stager.identity.fileFingerprint(of: prefix[...], version: version))
                }
                return .file(id: known.id, name: name, from: known.committedOffset, fromLine: known.committedLines)
            }
            let id = RandomBytes.uuid()
            let version = stager.identity.activeVersion
            let mac = try stager.identity.fileFingerprint(of: prefix[...], version: version)
            try store.registerFile(
                id, name: name, keyVersion: version, prefixLength: prefix.count, fingerprint: mac)
            return .file(id: id, name: name, from: 0, fromLine: 0)
        } catch let error as PostgresError {
            throw error.state == .fileAdvancedByAnother ? .fileInUse(name) : .database(error)
        } catch let error as IngestError {
            throw error
        } catch {
            throw .inputChanged(name)
        }
    }

    mutating func admit(_ batch: RecordBatch) throws(IngestError) -> Admission {
        var admission = Admission()
        switch batch.origin {
        case .stream: break
        case .file(let id, _, let from, let fromLine):
            guard case .line(let line, let end)? = batch.records.last?.position else { break }
            do {
                try store.advanceFile(id, from: from, to: end, lines: line - fromLine)
            } catch { throw .database(error) }
        case .quarantine(let id, let reason):
            do { try store.resolveQuarantine(id, resolution: "replayed", reason: reason) } catch {
                throw .database(error)
            }
        case .queue(let name):
            var ids: [String] = []
            var macs: [[UInt8]] = []
            for record in batch.records {
                ids.append(record.position.description)
                macs.append(
                    try stager.identity.bodyMAC(of: batch.bytes[record.range], version: stager.identity.activeVersion))
            }
            let known: [KnownMessage]
            do {
                known = try store.claimMessages(
                    queue: name, ids: ids, keyVersion: stager.identity.activeVersion, bodyMACs: macs)
            } catch { throw .database(error) }
            for message in known {
                let body = batch.bytes[batch.records[message.index].range]
                // A body MAC under a key that is gone cannot be compared; the id alone then tells.
                if stager.identity.knows(message.keyVersion),
                    !ConstantTime.equal(
                        try stager.identity.bodyMAC(of: body, version: message.keyVersion), message.bodyMAC)
                {
                    admission.conflicting.insert(message.index)
                } else {
                    admission.repeated.insert(message.index)
                }
            }
        }
        return admission
    }
}
