/// JSON text built as bytes, for many objects in a row or for values that must not become Strings.
enum JSONBytes {
    /// Appends `text` between quotes. Plain ASCII is copied as it stands; everything else goes ``JSONLine/quote(_:)``'s way.
    static func append(_ text: Span<UInt8>, to output: inout [UInt8]) {
        for index in text.indices where !isPlain(text[index]) {
            let whole = unsafe text.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
            output += JSONLine.quote(whole).utf8
            return
        }
        output.append(UInt8(ascii: "\""))
        for index in text.indices { output.append(text[index]) }
        output.append(UInt8(ascii: "\""))
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        (0x20...0x7E).contains(byte) && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
    }
}
