internal import CLibSodium

/// Base64 with padding (RFC 4648 section 4), canonical only: what does not re-encode to itself is refused.
/// Runs in a time that depends on the lengths only.
package enum Base64 {
    package static func encodedByteCount(_ count: Int) -> Int { (count + 2) / 3 * 4 }

    package static func encode(_ bytes: [UInt8]) -> String {
        var text: [UInt8] = []
        append(bytes.span, to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Appends the encoding of `bytes`. Needs room for ``encodedByteCount(_:)`` and 1 more byte
    /// if `output` is not to grow.
    package static func append(_ bytes: Span<UInt8>, to output: inout [UInt8]) {
        let start = output.count
        output.append(contentsOf: repeatElement(0, count: encodedByteCount(bytes.count) + 1))
        unsafe output.withUnsafeMutableBytes { output in
            unsafe bytes.withUnsafeBufferPointer { bytes in
                let text = unsafe (output.baseAddress! + start).assumingMemoryBound(to: CChar.self)
                _ = unsafe sodium_bin2base64(
                    text, output.count - start, bytes.baseAddress, bytes.count, sodium_base64_VARIANT_ORIGINAL)
            }
        }
        output.removeLast()  // the NUL that libsodium ends its text with
    }

    package static func decode(_ text: Span<UInt8>) -> [UInt8]? {
        guard let count = decodedByteCount(text) else { return nil }
        var bytes = [UInt8](repeating: 0, count: count)
        let done = unsafe bytes.withUnsafeMutableBufferPointer { unsafe decode(text, into: $0) }
        return done ? bytes : nil
    }

    package static func decode(_ text: String) -> [UInt8]? { decode(Array(text.utf8).span) }

    /// Decodes a secret without a copy outside protected memory.
    package static func decodeSecret(_ text: Span<UInt8>) throws(CryptoError) -> SecretBytes {
        guard let count = decodedByteCount(text), count > 0 else { throw .invalidEncoding(what: "a base64 text") }
        return try SecretBytes(count: count) { output throws(CryptoError) in
            let done = unsafe output.withUnsafeMutableBufferPointer { unsafe decode(text, into: $0) }
            guard done else { throw .invalidEncoding(what: "a base64 text") }
        }
    }

    private static func decodedByteCount(_ text: Span<UInt8>) -> Int? {
        guard text.count.isMultiple(of: 4) else { return nil }
        var padding = 0
        while padding < 2, padding < text.count, text[text.count - 1 - padding] == UInt8(ascii: "=") { padding += 1 }
        return text.count / 4 * 3 - padding
    }

    private static func decode(_ text: Span<UInt8>, into output: UnsafeMutableBufferPointer<UInt8>) -> Bool {
        var count = 0
        let done = unsafe text.withUnsafeBytes { text in
            unsafe sodium_base642bin(
                output.baseAddress!, output.count, text.baseAddress?.assumingMemoryBound(to: CChar.self), text.count,
                nil, &count, nil, sodium_base64_VARIANT_ORIGINAL) == 0
        }
        return done && count == output.count
    }
}
