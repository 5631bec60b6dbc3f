extension Span<UInt8> {
    /// Whether these are the UTF-8 bytes of `name`.
    func equals(_ name: StaticString) -> Bool {
        guard name.hasPointerRepresentation, name.utf8CodeUnitCount == count else { return false }
        let wanted = unsafe UnsafeBufferPointer(start: name.utf8Start, count: count)
        for index in indices where unsafe self[index] != wanted[index] { return false }
        return true
    }
}

extension String {
    init(copying text: Span<UInt8>) {
        self = unsafe text.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }
}

extension [UInt8] {
    init(copying bytes: Span<UInt8>) {
        self = unsafe bytes.withUnsafeBufferPointer { unsafe [UInt8]($0) }
    }
}
