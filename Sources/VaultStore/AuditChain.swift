import VaultCrypto

/// Recomputes the audit log's hash chain, event by event (`docs/FORMATS.md`, section 8).
package struct AuditChain {
    /// Where the recomputed chain stands.
    package private(set) var receipt = AuditReceipt(sequence: 0, head: [UInt8](repeating: 0, count: 32))

    package init() {}

    /// Takes the next event in sequence.
    ///
    /// - Throws: ``AuditDamage`` at the first event that is missing, altered or out of place.
    package mutating func append(_ event: AuditEvent) throws(AuditDamage) {
        let sequence = receipt.sequence + 1
        guard event.sequence == sequence else { throw .missing(sequence: sequence) }
        let leaf = SHA256.hash([0x00] + Self.encoding(of: event))
        guard leaf == event.leaf else { throw .altered(sequence: sequence) }
        let head = SHA256.hash([0x02] + receipt.head + leaf)
        guard head == event.head else { throw .unchained(sequence: sequence) }
        receipt = AuditReceipt(sequence: sequence, head: head)
    }

    /// Ends the check: the log must stand where `head` says.
    package func finish(at head: AuditReceipt) throws(AuditDamage) {
        guard head == receipt else { throw .headDiffers(sequence: head.sequence, found: receipt.sequence) }
    }

    static func encoding(of event: AuditEvent) -> [UInt8] {
        var fields = FieldEncoder()
        fields.append("tokenvault/audit-event/1")
        fields.append(u64: UInt64(event.sequence))
        fields.append(uuid: event.id)
        fields.append(u64: UInt64(bitPattern: Int64(event.microseconds)))
        fields.append(event.actor)
        for text in [event.address] { append(text, to: &fields) }
        fields.append(event.action)
        for text in [event.object, event.reason, event.ticket, event.outcome] { append(text, to: &fields) }
        return fields.bytes
    }

    private static func append(_ text: String?, to fields: inout FieldEncoder) {
        if let text { fields.append(text) } else { fields.appendNull() }
    }
}

/// Where the audit log stops being what was written.
package enum AuditDamage: Error, Equatable {
    case missing(sequence: Int)
    case altered(sequence: Int)
    case unchained(sequence: Int)
    case headDiffers(sequence: Int, found: Int)
    case receiptDiffers(sequence: Int)
}

extension AuditDamage: CustomStringConvertible {
    package var description: String {
        switch self {
        case .missing(let sequence): "event \(sequence) is missing from the audit log"
        case .altered(let sequence): "event \(sequence) of the audit log was altered"
        case .unchained(let sequence): "event \(sequence) of the audit log does not follow from the one before it"
        case .headDiffers(let sequence, let found):
            "the audit log's head says \(sequence) events, the log holds \(found) that verify: events were removed or added at its end"
        case .receiptDiffers(let sequence):
            "the audit log does not hold the receipt given for event \(sequence): the log was rewritten or cut after it was printed"
        }
    }
}
