package import Keys

/// What is known from outside the database about how the log once stood.
package struct ExpectedLog: Sendable {
    package var receipts: [AuditReceipt] = []
    package var checkpoints: [Checkpoint] = []

    package init() {}

    /// Compares the log's first events, up to where the chain stands, with what is expected there.
    func check(_ chain: inout AuditChain) throws(AuditDamage) {
        for receipt in receipts
        where receipt.sequence == chain.receipt.sequence && receipt.head != chain.receipt.head {
            throw .receiptDiffers(sequence: receipt.sequence)
        }
        for checkpoint in checkpoints
        where checkpoint.size == chain.receipt.sequence && checkpoint.root != chain.root() {
            throw .checkpointDiffers(size: checkpoint.size)
        }
    }

    func finish(_ chain: AuditChain) throws(AuditDamage) {
        for receipt in receipts where receipt.sequence > chain.receipt.sequence {
            throw .receiptDiffers(sequence: receipt.sequence)
        }
        for checkpoint in checkpoints where checkpoint.size > chain.receipt.sequence {
            throw .checkpointIsAhead(size: checkpoint.size, found: chain.receipt.sequence)
        }
    }
}

extension VaultStore {
    /// Recomputes the whole log and holds it to what is expected.
    ///
    /// - Throws: ``AuditDamage`` at the first event that does not verify.
    package mutating func verifyAuditLog(_ expected: ExpectedLog) throws -> AuditChain {
        var chain = AuditChain()
        let isExpecting = !expected.receipts.isEmpty || !expected.checkpoints.isEmpty
        if isExpecting { try expected.check(&chain) }
        let head = try readAuditLog { page in
            for row in 0..<page.count {
                try chain.append(page, row)
                if isExpecting { try expected.check(&chain) }
            }
        }
        try expected.finish(chain)
        try chain.finish(at: head)
        return chain
    }
}
