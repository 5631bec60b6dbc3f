internal import VaultCrypto

/// Builds a keyring file's text with its secrets, in one buffer of known size that is wiped afterwards.
///
/// The text is composed twice: once to learn its length, once into a buffer that therefore never moves and
/// leaves no copy behind.
struct KeyringText {
    static let byteLimit = 1 << 20
    /// `  "checksum": "`, 64 digits, `"`, newline, `}`, newline.
    static let checksumByteCount = 15 + 64 + 4

    private var bytes: [UInt8] = []
    private var count = 0
    private let isCounting: Bool

    private init(capacity: Int?) {
        isCounting = capacity == nil
        if let capacity { bytes.reserveCapacity(capacity + 1) }  // 1: see Base64.append
    }

    /// Lends the finished text, checksum included, to `body`.
    static func with(
        _ compose: (inout KeyringText) -> Void, body: (Span<UInt8>) throws(KeyringError) -> Void
    ) throws(KeyringError) {
        var measure = KeyringText(capacity: nil)
        compose(&measure)
        var text = KeyringText(capacity: measure.count + checksumByteCount)
        defer { wipe(&text.bytes) }
        compose(&text)
        text.add(checksumLines(over: text.bytes.span))
        try body(text.bytes.span)
    }

    static func checksumLines(over bytes: Span<UInt8>) -> String {
        "  \"checksum\": \"\(Hex.encode(SHA256.hash(bytes)))\"\n}\n"
    }

    mutating func add(_ text: String) {
        count += text.utf8.count
        if !isCounting { bytes += text.utf8 }
    }

    /// Adds base64 between quotes.
    mutating func add(base64 secret: Span<UInt8>) {
        add("\"")
        count += Base64.encodedByteCount(secret.count)
        if !isCounting { Base64.append(secret, to: &bytes) }
        add("\"")
    }

    /// Adds a JSON array, one element a line.
    mutating func addArray(_ name: StaticString, count: Int, element: (inout KeyringText, Int) -> Void) {
        add("  \"\(name)\": [")
        for index in 0..<count {
            add(index == 0 ? "\n    {" : ",\n    {")
            element(&self, index)
            add("}")
        }
        add(count == 0 ? "],\n" : "\n  ],\n")
    }

    mutating func add(_ key: RecoveryPublicKey) {
        let domains = key.domains.map { "[" + $0.map { "\"\($0)\"" }.joined(separator: ", ") + "]" }
        addPublicPart(name: key.name, id: key.id, state: key.state, created: key.created)
        add(", \"domains\": \(domains ?? "null"), \"public_key\": ")
        add(base64: key.publicKey.span)
    }

    mutating func add(_ key: SigningPublicKey) {
        addPublicPart(name: key.name, id: key.id, state: key.state, created: key.created)
        add(", \"public_key\": ")
        add(base64: key.publicKey.span)
    }

    // Names, times and domains are of characters that JSON does not escape: their initialisers see to it.
    private mutating func addPublicPart(name: String, id: KeyID, state: KeyState, created: String) {
        add("\"name\": \"\(name)\", \"id\": \"\(id)\", \"state\": \"\(state.rawValue)\", \"created\": \"\(created)\"")
    }
}
