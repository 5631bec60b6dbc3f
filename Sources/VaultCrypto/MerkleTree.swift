/// The Merkle tree of RFC 6962, section 2.1, grown leaf by leaf: 32 bytes are kept per level, whatever its size.
///
///     node = SHA-256(01 || left || right)
package struct MerkleTree: Sendable {
    package private(set) var count = 0
    /// The root of each whole subtree of 2^index leaves that the binary digits of ``count`` name.
    private var subtrees: [[UInt8]] = []
    private var message = [UInt8](repeating: 1, count: 1 + 2 * SHA256.byteCount)

    package init() {}

    /// - Parameter leaf: a leaf's hash, SHA-256(00 || entry).
    package mutating func append(leaf: [UInt8]) {
        var hash = leaf
        var level = 0
        while count >> level & 1 == 1 {
            hash = node(subtrees[level], hash)
            level += 1
        }
        if level == subtrees.count { subtrees.append(hash) } else { subtrees[level] = hash }
        count += 1
    }

    /// The root of all leaves so far; of none, the hash of nothing.
    package mutating func root() -> [UInt8] {
        var root: [UInt8]?
        for level in subtrees.indices where count >> level & 1 == 1 {
            root = root.map { node(subtrees[level], $0) } ?? subtrees[level]
        }
        return root ?? SHA256.hash([])
    }

    private mutating func node(_ left: [UInt8], _ right: [UInt8]) -> [UInt8] {
        for index in 0..<SHA256.byteCount {
            message[1 + index] = left[index]
            message[1 + SHA256.byteCount + index] = right[index]
        }
        return SHA256.hash(message.span)
    }
}
