internal import VaultCrypto

/// One line that carries a public key from its owner to those who need it, as an SSH public key does:
///
///     tokenvault-recovery-key analyst-1 * <base64>
///     tokenvault-recovery-key analyst-2 ip,device_id <base64>
///     tokenvault-signing-key ingest-1 <base64>
///
/// Nothing in it is secret, but compare the key id with its owner before use: whoever can change the line
/// can read what is sealed to it.
extension RecoveryPublicKey {
    private static let label = "tokenvault-recovery-key"

    package var text: String {
        "\(Self.label) \(name) \(domains?.joined(separator: ",") ?? "*") \(Base64.encode(publicKey))"
    }

    /// Reads a line as ``text`` writes it. The key is active from now on.
    package init(text: String) throws(KeyringError) {
        let words = text.split(whereSeparator: \.isWhitespace).map(String.init)
        guard words.count == 4, words[0] == Self.label, let key = Base64.decode(words[3]) else {
            throw .invalidName(what: "the recovery public key's text")
        }
        let domains = words[2] == "*" ? nil : words[2].split(separator: ",").map(String.init)
        try self.init(name: words[1], domains: domains, publicKey: key)
    }
}

extension SigningPublicKey {
    private static let label = "tokenvault-signing-key"

    package var text: String { "\(Self.label) \(name) \(Base64.encode(publicKey))" }

    /// Reads a line as ``text`` writes it. The key is trusted from now on.
    package init(text: String) throws(KeyringError) {
        let words = text.split(whereSeparator: \.isWhitespace).map(String.init)
        guard words.count == 3, words[0] == Self.label, let key = Base64.decode(words[2]) else {
            throw .invalidName(what: "the signing public key's text")
        }
        try self.init(name: words[1], publicKey: key)
    }
}
