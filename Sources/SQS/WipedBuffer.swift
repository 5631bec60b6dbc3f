internal import Glibc

/// Bytes that are zeroed before their memory is given back: when the buffer
/// grows, when it is cleared, and when it dies.
///
/// For message bodies and responses, which hold personal data. Not locked in
/// memory; keys belong in `SecretBytes`.
@safe struct WipedBuffer: ~Copyable, @unchecked Sendable {
    // @unchecked: one owner; the memory is reachable through this value alone.
    private var memory: UnsafeMutableRawBufferPointer
    private(set) var count = 0

    init() { unsafe memory = UnsafeMutableRawBufferPointer(start: nil, count: 0) }

    deinit {
        guard let start = unsafe memory.baseAddress else { return }
        unsafe explicit_bzero(start, count)
        unsafe free(start)
    }

    /// Lends the bytes to `body`. The span cannot outlive the call.
    func withBytes<R: ~Copyable, E: Error>(
        _ range: Range<Int>? = nil, _ body: (Span<UInt8>) throws(E) -> R
    ) throws(E) -> R {
        let bytes = unsafe UnsafeRawBufferPointer(rebasing: memory[range ?? 0..<count])
        return try body(unsafe bytes.bindMemory(to: UInt8.self).span)
    }

    /// False when memory ran out; the buffer is then as before.
    mutating func append(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count > 0 else { return true }
        guard reserve(count + bytes.count) else { return false }
        unsafe UnsafeMutableRawBufferPointer(rebasing: memory[count...]).copyMemory(from: bytes)
        count += bytes.count
        return true
    }

    mutating func append(_ span: Span<UInt8>) -> Bool {
        unsafe span.withUnsafeBytes { unsafe append($0) }
    }

    /// Zeroes what was written. Keeps the memory for the next use.
    mutating func clear() {
        if let start = unsafe memory.baseAddress { unsafe explicit_bzero(start, count) }
        count = 0
    }

    private mutating func reserve(_ needed: Int) -> Bool {
        let current = unsafe memory.count
        guard needed > current else { return true }
        let capacity = max(needed, current * 2, 4096)
        guard let start = unsafe malloc(capacity) else { return false }
        if let old = unsafe memory.baseAddress {
            unsafe memcpy(start, old, count)
            unsafe explicit_bzero(old, count)
            unsafe free(old)
        }
        unsafe memory = UnsafeMutableRawBufferPointer(start: start, count: capacity)
        return true
    }
}
