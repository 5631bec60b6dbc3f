internal import CSimdjson

/// Parses one JSON document at a time, strictly, and answers questions about the last one.
///
/// The whole document is validated before anything can be read: UTF-8, grammar (RFC 8259; no byte order mark, no
/// lone surrogate escapes, nothing after the value), numbers within 64 bits, at most ``maximumDepth`` levels, and no
/// name twice in any object. Duplicates are found by sorting, so a hostile document costs n·log n.
///
/// The buffers are kept from document to document; they hold its text until ``wipe()``, which `deinit` does too.
@safe package struct JSONParser: ~Copyable {
    /// Objects and arrays may stand this deep in each other.
    package static let maximumDepth = 64
    /// The longest document.
    package static let maximumByteCount = 16 << 20

    private let parser: OpaquePointer
    private(set) var last = unsafe tv_json_document()
    private(set) var document: UInt32 = 0

    package init() throws(JSONError) {
        guard let parser = unsafe tv_json_parser_create() else { throw .outOfMemory }
        unsafe self.parser = parser
    }

    deinit { unsafe tv_json_parser_destroy(parser) }

    /// Replaces the last document by the one in `bytes`. After an error there is none: everything reads as `null`.
    package mutating func parse(_ bytes: Span<UInt8>) throws(JSONError) {
        document &+= 1
        var found = unsafe tv_json_document()
        let code = unsafe bytes.withUnsafeBufferPointer {
            unsafe tv_json_parse(parser, $0.baseAddress, $0.count, Self.maximumByteCount, Self.maximumDepth, &found)
        }
        unsafe last = found
        switch Int(code) {
        case TV_JSON_OK: return
        case TV_JSON_INVALID_UTF8: throw .invalidUTF8
        case TV_JSON_TOO_DEEP: throw .tooDeep
        case TV_JSON_TOO_LARGE: throw .tooLarge
        case TV_JSON_DUPLICATE_KEY: throw .duplicateKey
        case TV_JSON_EMPTY: throw .empty
        case TV_JSON_OUT_OF_MEMORY: throw .outOfMemory
        case TV_JSON_BAD_NUMBER: throw NumberGrammar.holds(for: bytes) ? .numberOutOfRange : .malformed
        default: throw .malformed
        }
    }

    /// Zeroes every buffer that held a part of a document: simdjson's and our own. There is no document afterwards.
    package mutating func wipe() {
        document &+= 1
        unsafe last = tv_json_document()
        unsafe tv_json_parser_wipe(parser)
    }

    /// The document's one value.
    package var root: JSONNode { JSONNode(index: 0, document: document) }

    func node(_ node: JSONNode) -> tv_json_node? {
        guard node.document == document, unsafe node.index < last.node_count else { return nil }
        return unsafe last.nodes[node.index]
    }

    func withArena<R, E: Error>(_ offset: Int, _ count: Int, _ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R? {
        guard unsafe offset + count <= last.text_length else { return nil }
        return try body(unsafe UnsafeBufferPointer(start: last.text + offset, count: count).span)
    }
}
