internal import CSimdjson

extension JSONParser {
    /// What `node` is.
    package func kind(of node: JSONNode) -> JSONKind {
        guard let found = self.node(node) else { return .null }
        return Self.kind(found)
    }

    static func kind(_ node: tv_json_node) -> JSONKind {
        switch Int(node.kind) {
        case TV_JSON_OBJECT: .object
        case TV_JSON_ARRAY: .array
        case TV_JSON_STRING: .string
        case TV_JSON_INTEGER: .integer
        case TV_JSON_NUMBER: .number
        case TV_JSON_TRUE, TV_JSON_FALSE: .bool
        default: .null
        }
    }

    /// The first element of an array, or member of an object.
    package func firstChild(of node: JSONNode) -> JSONNode? {
        guard let found = self.node(node), Int(found.end) > node.index + 1 else { return nil }
        return JSONNode(index: node.index + 1, document: node.document)
    }

    /// The element or member of `parent` that follows `child`.
    package func child(after child: JSONNode, of parent: JSONNode) -> JSONNode? {
        guard let found = node(child), let around = node(parent), found.end < around.end else { return nil }
        return JSONNode(index: Int(found.end), document: child.document)
    }

    /// An array's elements, or an object's members in the order of the text.
    package func children(of node: JSONNode) -> [JSONNode] {
        var children: [JSONNode] = []
        var next = firstChild(of: node)
        while let child = next {
            children.append(child)
            next = self.child(after: child, of: node)
        }
        return children
    }

    /// The value of the member `name`, or `nil` when there is none or `node` is no object.
    package func member(_ name: StaticString, of node: JSONNode) -> JSONNode? {
        guard kind(of: node) == .object else { return nil }
        var next = firstChild(of: node)
        while let child = next {
            if withKey(of: child, { $0.equals(name) }) == true { return child }
            next = self.child(after: child, of: node)
        }
        return nil
    }

    /// A member's name; empty for what is no member of an object.
    package func key(of node: JSONNode) -> String {
        withKey(of: node, String.init(copying:)) ?? ""
    }

    /// Lends a member's name, unescaped, without copying it.
    package func withKey<R, E: Error>(of node: JSONNode, _ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R? {
        guard let found = self.node(node), found.key_length != TV_JSON_NO_KEY else { return nil }
        return try withArena(Int(found.key_offset), Int(found.key_length), body)
    }

    /// Lends a string's unescaped UTF-8, which may hold NUL, without copying it; `nil` for what is no string.
    package func withText<R, E: Error>(of node: JSONNode, _ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R? {
        guard let found = self.node(node), Int(found.kind) == TV_JSON_STRING else { return nil }
        return try withArena(Int(found.value >> 32), Int(found.value & 0xFFFF_FFFF), body)
    }

    /// A copy of a string.
    package func string(of node: JSONNode) -> String? { withText(of: node, String.init(copying:)) }

    /// A copy of a string's unescaped UTF-8, which may hold NUL.
    package func bytes(of node: JSONNode) -> [UInt8]? { withText(of: node, [UInt8].init(copying:)) }

    package func integer(of node: JSONNode) -> Int64? {
        guard let found = self.node(node), Int(found.kind) == TV_JSON_INTEGER else { return nil }
        return Int64(bitPattern: found.value)
    }

    package func bool(of node: JSONNode) -> Bool? {
        guard let found = self.node(node) else { return nil }
        return switch Int(found.kind) {
        case TV_JSON_TRUE: true
        case TV_JSON_FALSE: false
        default: nil
        }
    }
}
