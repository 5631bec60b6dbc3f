package import VaultCrypto

/// Recomputes the audit log's hash chain and tree, event by event (`docs/FORMATS.md`, section 8).
package struct AuditChain {
    /// Where the recomputed chain stands.
    package private(set) var receipt = AuditReceipt(sequence: 0, head: [UInt8](repeating: 0, count: 32))
    /// The Merkle tree over the leaves so far.
    package private(set) var tree = MerkleTree()

    private var message: [UInt8] = []
    private var link = [UInt8](repeating: 2, count: 1 + 2 * SHA256.byteCount)

    package init() {}

    /// Takes the next event in sequence.
    ///
    /// - Throws: ``AuditDamage`` at the first event that is missing, altered, repeated or out of place.
    package mutating func append(_ page: borrowing AuditPage, _ row: Int) throws(AuditDamage) {
        let sequence = receipt.sequence + 1
        let found = page.sequence(row)
        guard found == sequence else {
            guard let found, found > sequence else { throw .outOfPlace(sequence: found, after: receipt.sequence) }
            throw .missing(sequence: sequence)
        }
        message.removeAll(keepingCapacity: true)
        message.append(0x00)
        page.appendEncoding(of: row, to: &message)
        let leaf = SHA256.hash(message.span)
        guard page.leaf(row, equals: leaf) else { throw .altered(sequence: sequence) }
        for index in 0..<SHA256.byteCount {
            link[1 + index] = receipt.head[index]
            link[1 + SHA256.byteCount + index] = leaf[index]
        }
        let head = SHA256.hash(link.span)
        guard page.head(row, equals: head) else { throw .unchained(sequence: sequence) }
        receipt = AuditReceipt(sequence: sequence, head: head)
        tree.append(leaf: leaf)
    }

    /// Ends the check: the log must stand where `head` says.
    package func finish(at head: AuditReceipt) throws(AuditDamage) {
        guard head == receipt else { throw .headDiffers(sequence: head.sequence, found: receipt.sequence) }
    }

    package mutating func root() -> [UInt8] { tree.root() }
}

/// Where the audit log stops being what was written.
package enum AuditDamage: Error, Equatable {
    case missing(sequence: Int)
    /// Repeated, not positive, or without a number.
    case outOfPlace(sequence: Int?, after: Int)
    case altered(sequence: Int)
    case unchained(sequence: Int)
    case headDiffers(sequence: Int, found: Int)
    case receiptDiffers(sequence: Int)
    case checkpointDiffers(size: Int)
    case checkpointIsAhead(size: Int, found: Int)
}

extension AuditDamage: CustomStringConvertible {
    package var description: String {
        switch self {
        case .missing(let sequence): "event \(sequence) is missing from the audit log"
        case .outOfPlace(let sequence, let after):
            "the audit log holds an event \(sequence.map(String.init) ?? "without a number") after event \(after), where \(after + 1) belongs"
        case .altered(let sequence): "event \(sequence) of the audit log was altered"
        case .unchained(let sequence): "event \(sequence) of the audit log does not follow from the one before it"
        case .headDiffers(let sequence, let found):
            "the audit log's head says \(sequence) events, the log holds \(found) that verify: events were removed or added at its end"
        case .receiptDiffers(let sequence):
            "the audit log does not hold the receipt given for event \(sequence): the log was rewritten or cut after it was printed"
        case .checkpointDiffers(let size):
            "the first \(size) events of the audit log are not those of the checkpoint: the log was rewritten after it was signed"
        case .checkpointIsAhead(let size, let found):
            "the checkpoint counts \(size) events, the audit log holds \(found): it was cut after the checkpoint was signed"
        }
    }
}
