import JSON

/// A whole document as a Swift value, for comparing. Test macros cannot hold a ~Copyable parser.
indirect enum Tree: Equatable {
    case object([String: Tree])
    case array([Tree])
    case string(String)
    case integer(Int64)
    case number
    case bool(Bool)
    case null

    init(parsing bytes: [UInt8]) throws {
        var parser = try JSONParser()
        try parser.parse(bytes.span)
        self = Tree(parser.root, of: parser)
    }

    init(_ node: JSONNode, of parser: borrowing JSONParser) {
        switch parser.kind(of: node) {
        case .object:
            var members: [String: Tree] = [:]
            for child in parser.children(of: node) { members[parser.key(of: child)] = Tree(child, of: parser) }
            self = .object(members)
        case .array: self = .array(parser.children(of: node).map { Tree($0, of: parser) })
        case .string: self = parser.string(of: node).map(Tree.string) ?? .null
        case .integer: self = parser.integer(of: node).map(Tree.integer) ?? .null
        case .number: self = .number
        case .bool: self = parser.bool(of: node).map(Tree.bool) ?? .null
        case .null: self = .null
        }
    }
}
