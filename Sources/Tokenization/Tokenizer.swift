package import Keys
package import VaultCrypto

/// Makes the tokens of one domain under one version of the token key. Immutable and safe to share between threads.
package struct Tokenizer: ~Copyable, Sendable {
    package let domain: String
    package let version: KeyVersion
    private let key: HMACKey
    private let prefix: [UInt8]

    /// - Parameter subkey: the token key's subkey for this domain and version, never the token key itself.
    package init(domain: String, version: KeyVersion, subkey: borrowing SecretBytes) throws(CryptoError) {
        (self.domain, self.version) = (domain, version)
        prefix = Array(Token.prefix(domain: domain, version: version).utf8)
        key = try HMACKey(key: subkey)
    }

    package borrowing func token(of value: NormalizedValue) -> Token {
        Token(domain: domain, version: version, bits: bits(of: value))
    }

    /// The first 16 bytes of HMAC-SHA-256(subkey, value), big-endian. Allocates nothing.
    package borrowing func bits(of value: NormalizedValue) -> UInt128 { key.code128(for: value.bytes.span) }

    /// Appends the text of the token with these bits, for COPY and the like; makes no `String`.
    package borrowing func appendText(of bits: UInt128, to output: inout [UInt8]) {
        output += prefix
        unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 32) { text in
            for index in 0..<32 {
                let digit = UInt8(truncatingIfNeeded: bits >> UInt128(124 - 4 * index)) & 15
                unsafe text[index] = digit + (digit < 10 ? UInt8(ascii: "0") : UInt8(ascii: "a") - 10)
            }
            unsafe output.append(contentsOf: text)
        }
    }

    /// How many bytes ``appendText(of:to:)`` appends.
    package var textByteCount: Int { prefix.count + 32 }
}
