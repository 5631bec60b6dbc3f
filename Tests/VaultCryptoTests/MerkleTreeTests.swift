import Testing
import VaultCrypto

@Suite("Merkle trees")
struct MerkleTreeTests {
    /// Leaves and roots of the Certificate Transparency reference implementation.
    private static let entries = [
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    ]
    private static let roots = [
        0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]

    @Test("have the roots that RFC 6962 gives, at every size on the way")
    func published() {
        var tree = MerkleTree()
        for size in 0...Self.entries.count {
            #expect(tree.count == size)
            if let root = Self.roots[size] { #expect(Hex.encode(tree.root()) == root, "size \(size)") }
            if size < Self.entries.count { tree.append(leaf: SHA256.hash([0] + Hex.decode(Self.entries[size])!)) }
        }
    }

    @Test("agree with the recursive definition at every size up to 70")
    func recursion() {
        func root(_ leaves: ArraySlice<[UInt8]>) -> [UInt8] {
            if leaves.isEmpty { return SHA256.hash([]) }
            if leaves.count == 1 { return leaves.first! }
            var split = 1
            while split * 2 < leaves.count { split *= 2 }
            return SHA256.hash([1] + root(leaves.prefix(split)) + root(leaves.dropFirst(split)))
        }
        var tree = MerkleTree()
        var leaves: [[UInt8]] = []
        for number in 0..<70 {
            let leaf = SHA256.hash([0, UInt8(number)])
            tree.append(leaf: leaf)
            leaves.append(leaf)
            #expect(tree.root() == root(leaves[...]))
        }
    }
}
