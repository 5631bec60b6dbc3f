/// A value in the document that a ``JSONParser`` parsed last: a name for it, not the value itself.
///
/// A node of an earlier document is answered like `null`; no node ever reaches memory outside the document.
package struct JSONNode: Sendable, Equatable {
    let index: Int
    let document: UInt32
}

/// What a value is.
package enum JSONKind: Sendable, Equatable {
    case object
    case array
    case string
    /// A number without fraction or exponent that fits `Int64`.
    case integer
    /// Any other number; its value is not kept.
    case number
    case bool
    case null
}
