internal import JSON
internal import VaultCrypto

/// A keyring file's text, checked and parsed: answers questions about its members, strictly.
///
/// Its parser holds copies of the secrets; they are wiped when the document dies.
struct KeyringDocument: ~Copyable {
    let path: String
    private var parser: JSONParser

    private init(adopting parser: consuming JSONParser, path: String) {
        self.parser = parser
        self.path = path
    }

    /// Checks size, characters and checksum, then the format's name and version.
    static func open(
        _ text: borrowing SecretBytes, path: String, kind: KeyringKind
    ) throws(KeyringError) -> KeyringDocument {
        let document = try open(text, path: path)
        let found = try document.kind()
        guard found == kind else { throw .wrongKind(path: path, expected: kind, found: found) }
        let version = try document.integer("version", of: document.root)
        guard version == 1 else { throw .unknownFormatVersion(path: path, version: version) }
        return document
    }

    /// Checks size, characters and checksum.
    static func open(_ text: borrowing SecretBytes, path: String) throws(KeyringError) -> KeyringDocument {
        let intact = text.withBytes(isIntact)
        guard intact else {
            throw .damaged(path: path, reason: "the checksum does not match, or it is no keyring")
        }
        do throws(JSONError) {
            return KeyringDocument(adopting: try parse(text), path: path)
        } catch { throw .damaged(path: path, reason: "it is not JSON") }
    }

    private static func parse(_ text: borrowing SecretBytes) throws(JSONError) -> JSONParser {
        var parser = try JSONParser()
        try text.withBytes { bytes throws(JSONError) in try parser.parse(bytes) }
        return parser
    }

    /// Whether the last 83 bytes are a checksum line, and right for all bytes before.
    static func isIntact(_ bytes: Span<UInt8>) -> Bool {
        let count = bytes.count - KeyringText.checksumByteCount
        guard count > 1, bytes.count <= KeyringText.byteLimit, bytes[count - 1] == UInt8(ascii: "\n") else {
            return false
        }
        for index in bytes.indices where bytes[index] > 0x7E { return false }
        return bytes.extracting(last: KeyringText.checksumByteCount)
            .equals(KeyringText.checksumLines(over: bytes.extracting(first: count)))
    }

    /// The checksum line of a text that is intact: names the text as a whole.
    static func checksumLine(of text: borrowing SecretBytes) -> [UInt8] {
        text.withBytes { bytes in
            let line = bytes.extracting(last: min(bytes.count, KeyringText.checksumByteCount))
            return line.indices.map { line[$0] }
        }
    }

    var root: JSONNode { parser.root }

    func kind() throws(KeyringError) -> KeyringKind {
        guard parser.kind(of: root) == .object, let node = parser.member("format", of: root),
            let kind = parser.string(of: node).flatMap(KeyringKind.init(rawValue:))
        else { throw damage("it names no known format") }
        return kind
    }

    /// Refuses an object that has other members than `names`, or not all of them.
    func require(_ names: [StaticString], of node: JSONNode) throws(KeyringError) {
        guard parser.kind(of: node) == .object else { throw damage("an object is missing") }
        let known = Set(names.map(\.description))
        let children = parser.children(of: node)
        guard children.allSatisfy({ known.contains(parser.key(of: $0)) }) else { throw damage("it has an unknown key") }
        guard children.count == names.count else { throw damage("a key is missing") }
    }

    func member(_ name: StaticString, of node: JSONNode) throws(KeyringError) -> JSONNode {
        guard let member = parser.member(name, of: node) else { throw damage("a key is missing") }
        return member
    }

    func elements(_ name: StaticString, of node: JSONNode) throws(KeyringError) -> [JSONNode] {
        let array = try member(name, of: node)
        guard parser.kind(of: array) == .array else { throw damage("a list is missing") }
        return parser.children(of: array)
    }

    func integer(_ name: StaticString, of node: JSONNode) throws(KeyringError) -> Int64 {
        guard let number = parser.integer(of: try member(name, of: node)) else { throw damage("a number is missing") }
        return number
    }

    func text(_ name: StaticString, of node: JSONNode) throws(KeyringError) -> String {
        guard let text = parser.string(of: try member(name, of: node)) else { throw damage("a text is missing") }
        return text
    }

    func bytes(_ name: StaticString, of node: JSONNode, count: Int) throws(KeyringError) -> [UInt8] {
        let bytes = parser.withText(of: try member(name, of: node)) { Base64.decode($0) } ?? nil
        guard let bytes, bytes.count == count else { throw damage("a key or salt has the wrong length or encoding") }
        return bytes
    }

    /// Decodes a secret straight into protected memory.
    func secret(_ name: StaticString, of node: JSONNode, count: Int) throws(KeyringError) -> SecretBytes {
        let member = try member(name, of: node)
        var secret: SecretBytes?
        do throws(CryptoError) {
            _ = try parser.withText(of: member) { text throws(CryptoError) in
                secret = try Base64.decodeSecret(text)
            }
        } catch {
            if case .outOfLockedMemory = error { throw .crypto(error) }
            throw damage("a key has the wrong encoding")
        }
        guard let secret = consume secret, secret.count == count else { throw damage("a key has the wrong length") }
        return secret
    }

    func id(of node: JSONNode) throws(KeyringError) -> KeyID {
        guard let id = KeyID(try text("id", of: node)) else { throw damage("a key id is not 32 hex digits") }
        return id
    }

    func state(of node: JSONNode) throws(KeyringError) -> KeyState {
        guard let state = KeyState(rawValue: try text("state", of: node)), state != .destroyed else {
            throw damage("a key's state is unknown")
        }
        return state
    }

    func created(of node: JSONNode) throws(KeyringError) -> String {
        let created = try text("created", of: node)
        guard Timestamp.isValid(created) else { throw damage("a time is not YYYY-MM-DDTHH:MM:SSZ") }
        return created
    }

    /// `null` or a list of names, which the key's own initialiser checks.
    func domains(of node: JSONNode) throws(KeyringError) -> [String]? {
        let member = try member("domains", of: node)
        if parser.kind(of: member) == .null { return nil }
        guard parser.kind(of: member) == .array else { throw damage("a list of domains is missing") }
        var domains: [String] = []
        for child in parser.children(of: member) {
            guard let domain = parser.string(of: child) else { throw damage("a domain is no text") }
            domains.append(domain)
        }
        return domains
    }

    func damage(_ reason: StaticText) -> KeyringError { .damaged(path: path, reason: reason) }
}

extension Span<UInt8> {
    func equals(_ text: String) -> Bool {
        guard count == text.utf8.count else { return false }
        return text.utf8.enumerated().allSatisfy { self[$0.offset] == $0.element }
    }
}
