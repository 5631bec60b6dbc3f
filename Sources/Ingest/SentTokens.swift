/// Tokens whose originals this run has committed, so that they are sealed and sent once.
///
/// Filled only after COMMIT, compares all 128 bits, and knows nothing of other runs: a stale or false hit would lose an
/// original.
/// So it ends with its epoch: an erasure or expiry since the last batch may have removed any of them.
struct SentTokens {
    /// 2^19 tokens of 16 bytes at the set's load factor: about 16 MiB.
    static let maximumCount = 1 << 19

    private var tokens: Set<UInt128> = []
    /// How often originals had been removed when it was filled.
    private(set) var epoch: Int?

    func contains(_ bits: UInt128) -> Bool { tokens.contains(bits) }

    mutating func enter(epoch: Int) {
        if epoch != self.epoch { tokens.removeAll(keepingCapacity: true) }
        self.epoch = epoch
    }

    mutating func insert(_ sent: [UInt128]) {
        if tokens.count + sent.count > Self.maximumCount { tokens.removeAll(keepingCapacity: true) }
        guard sent.count <= Self.maximumCount else { return }
        tokens.formUnion(sent)
    }
}
