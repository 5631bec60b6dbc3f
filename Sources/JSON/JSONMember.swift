internal import CSimdjson

/// One member of an object with all that is known of it, for walking an object without looking each part up.
/// The ranges are places in the text that ``JSONParser/withDocumentText(_:)`` lends.
package struct JSONMember: Sendable {
    package let kind: JSONKind
    package let key: Range<Int>
    /// Of a string, unescaped; empty for other kinds.
    package let text: Range<Int>
    /// Of an integer; 0 for other kinds.
    package let integer: Int64
}

/// A place between two members of an object.
package struct JSONCursor: Sendable {
    fileprivate var index: Int
    fileprivate let end: Int
    fileprivate let document: UInt32
}

extension JSONParser {
    /// The place before the first member of `node`, which has none unless it is an object.
    package func cursor(in node: JSONNode) -> JSONCursor {
        guard let found = self.node(node), Int(found.kind) == TV_JSON_OBJECT else {
            return JSONCursor(index: 0, end: 0, document: document)
        }
        return JSONCursor(index: node.index + 1, end: Int(found.end), document: node.document)
    }

    /// The member after `cursor`, which moves behind it.
    package func nextMember(_ cursor: inout JSONCursor) -> JSONMember? {
        let place = JSONNode(index: cursor.index, document: cursor.document)
        guard cursor.index < cursor.end, let found = node(place) else { return nil }
        cursor.index = Int(found.end)
        let key = Int(found.key_offset)
        let isString = Int(found.kind) == TV_JSON_STRING
        let text = isString ? Int(found.value >> 32) : 0
        return JSONMember(
            kind: Self.kind(found), key: key..<key + Int(found.key_length),
            text: text..<text + (isString ? Int(found.value & 0xFFFF_FFFF) : 0),
            integer: Int(found.kind) == TV_JSON_INTEGER ? Int64(bitPattern: found.value) : 0)
    }

    /// Lends the names and strings of the whole document, unescaped.
    package func withDocumentText<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        try body(unsafe UnsafeBufferPointer(start: last.text, count: last.text_length).span)
    }
}
