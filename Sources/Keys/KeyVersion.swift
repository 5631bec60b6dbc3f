/// Which generation of the token key made a token. Counts up from 1.
package struct KeyVersion: Hashable, Comparable, Sendable {
    package let number: UInt32

    /// `nil` for 0 and for what SQL's `integer` cannot hold.
    package init?(_ number: UInt32) {
        guard (1...UInt32(Int32.max)).contains(number) else { return nil }
        self.number = number
    }

    package static let first = KeyVersion(unchecked: 1)

    /// The version after this one, or `nil` after the last.
    package var next: KeyVersion? { KeyVersion(number + 1) }

    private init(unchecked number: UInt32) { self.number = number }

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.number < rhs.number }
}

extension KeyVersion: CustomStringConvertible {
    package var description: String { "v\(number)" }
}
