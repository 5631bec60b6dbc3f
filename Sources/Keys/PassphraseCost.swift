/// How long Argon2id makes each guess of a passphrase take.
package struct PassphraseCost: Sendable, Equatable {
    package let operations: Int
    package let memoryBytes: Int

    /// 3 passes over 64 MiB (RFC 9106 section 4, second choice, with one lane).
    package static let standard = PassphraseCost(uncheckedOperations: 3, memoryBytes: 64 << 20)
    /// The least that a keyring may have. For tests.
    package static let minimum = PassphraseCost(uncheckedOperations: 1, memoryBytes: 8 << 20)

    /// 1 to 16 operations and 8 MiB to 4 GiB.
    package init(operations: Int, memoryBytes: Int) throws(KeyringError) {
        guard (1...16).contains(operations), ((8 << 20)...(4 << 30)).contains(memoryBytes) else {
            throw .costOutOfRange
        }
        self.init(uncheckedOperations: operations, memoryBytes: memoryBytes)
    }

    private init(uncheckedOperations operations: Int, memoryBytes: Int) {
        self.operations = operations
        self.memoryBytes = memoryBytes
    }
}
