import Postgres
import VaultStore

/// An original to be sealed: its token's bits and where its value stands in ``MaskedBatch/values``.
struct OriginalReference {
    let bits: UInt128
    let range: Range<Int>

    /// Sorted by token, as the database wants them, each token once, without those already sent.
    static func sortedUnique(_ references: [OriginalReference], isSent: (UInt128) -> Bool) -> [OriginalReference] {
        var unique: [OriginalReference] = []
        unique.reserveCapacity(references.count)
        for reference in references.sorted(by: { $0.bits < $1.bits })
        where unique.last?.bits != reference.bits && !isSent(reference.bits) {
            unique.append(reference)
        }
        return unique
    }
}

/// Login rows with tokens in place of personal values, and the values still to be sealed.
struct MaskedBatch {
    var rows: CopyRows
    /// Personal values as they came, one after the other. Wiped by the caller.
    var values: [UInt8] = []
    /// By personal domain, in the masker's order.
    var originals: [[OriginalReference]]
    var unknownKeys = 0

    init(shape: LoginTableShape, domains: Int, expecting count: Int) {
        rows = CopyRows(columns: shape.columnCount, capacity: count * 240)
        values.reserveCapacity(count * 40)
        originals = Array(repeating: [], count: domains)
        for index in originals.indices { originals[index].reserveCapacity(count) }
    }
}
