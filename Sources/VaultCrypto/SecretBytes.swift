internal import CLibSodium

/// Key material in locked, guard-paged memory that is wiped when the value dies.
///
/// There is one owner: the type cannot be copied unasked, has no `description`, and
/// lends its bytes only inside ``withBytes(_:)``. Once filled, the page is
/// read-only, so a stray write crashes instead of changing a key.
///
/// Source: libsodium, "Secure memory" (`sodium_malloc`, `sodium_mprotect_readonly`).
@safe package struct SecretBytes: ~Copyable, @unchecked Sendable {
    // @unchecked: one owner, read-only after init, freed only by deinit.
    private let page: UnsafeMutablePointer<UInt8>

    /// Number of secret bytes. Not itself secret.
    package let count: Int

    /// Whether the system agreed to keep the page out of swap. `sodium_malloc` alone hides a refusal.
    package let isLocked: Bool

    /// Copies `bytes` into a protected page. The caller still owns, and must wipe, the original.
    ///
    /// - Parameter bytes: 1 or more bytes.
    package init(copying bytes: Span<UInt8>) throws(CryptoError) {
        try self.init(allocating: bytes.count)
        unsafe bytes.withUnsafeBufferPointer { unsafe page.initialize(from: $0.baseAddress!, count: $0.count) }
        unsafe sodium_mprotect_readonly(page)
    }

    /// `count` fresh bytes from the operating system's random generator.
    package init(randomCount count: Int) throws(CryptoError) {
        try self.init(allocating: count)
        unsafe randombytes_buf(page, count)
        unsafe sodium_mprotect_readonly(page)
    }

    /// A page of `count` zero bytes that `filling` writes in place, so that no copy is made elsewhere.
    package init(
        count: Int, filling: (inout MutableSpan<UInt8>) throws(CryptoError) -> Void
    ) throws(CryptoError) {
        let page = try unsafe Self.allocate(count)
        unsafe page.initialize(repeating: 0, count: count)
        do throws(CryptoError) {
            var span = unsafe UnsafeMutableBufferPointer(start: page, count: count).mutableSpan
            try filling(&span)
        } catch {
            unsafe sodium_free(page)
            throw error
        }
        unsafe sodium_mprotect_readonly(page)
        unsafe self.init(adopting: page, count: count)
    }

    private init(allocating count: Int) throws(CryptoError) {
        unsafe self.init(adopting: try Self.allocate(count), count: count)
    }

    private init(adopting page: UnsafeMutablePointer<UInt8>, count: Int) {
        unsafe self.page = unsafe page
        self.count = count
        self.isLocked = unsafe sodium_mlock(page, count) == 0
    }

    private static func allocate(_ count: Int) throws(CryptoError) -> UnsafeMutablePointer<UInt8> {
        precondition(count > 0, "a secret has at least one byte")
        guard Sodium.isReady else { throw .libraryUnavailable }
        guard let page = unsafe sodium_malloc(count) else { throw .outOfLockedMemory(byteCount: count) }
        return unsafe page.bindMemory(to: UInt8.self, capacity: count)
    }

    deinit { unsafe sodium_free(page) }  // wipes, unlocks, unmaps

    /// Lends the bytes to `body`. The span cannot outlive the call.
    package borrowing func withBytes<R: ~Copyable, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
        try body(unsafe UnsafeBufferPointer(start: page, count: count).span)
    }

    /// A second page with the same bytes.
    package borrowing func copy() throws(CryptoError) -> SecretBytes {
        try withBytes { bytes throws(CryptoError) in try SecretBytes(copying: bytes) }
    }

    /// Compares in a time that depends on the lengths only.
    package borrowing func isEqual(to other: borrowing SecretBytes) -> Bool {
        guard count == other.count else { return false }
        return unsafe sodium_memcmp(page, other.page, count) == 0
    }

    /// The address, for C functions of this module. Valid while `self` lives.
    borrowing func withPointer<R: ~Copyable, E: Error>(
        _ body: (UnsafePointer<UInt8>) throws(E) -> R
    ) throws(E) -> R {
        try unsafe body(UnsafePointer(page))
    }
}

/// libsodium's one-time set-up.
enum Sodium {
    static let isReady = sodium_init() >= 0
}

/// Overwrites the array's bytes with zeros in a way that the compiler keeps.
///
/// Works on this array's storage only: copies made by growing or sharing it earlier are out of reach.
package func wipe(_ bytes: inout [UInt8]) {
    unsafe bytes.withUnsafeMutableBytes { unsafe sodium_memzero($0.baseAddress, $0.count) }
    bytes.removeAll(keepingCapacity: false)
}

/// Overwrites what the calls made so far from here left on the stack: short Strings, and values in spilled registers.
package func wipeStack() { sodium_stackzero(256 * 1024) }

/// Overwrites the first `count` bytes with zeros in a way that the compiler keeps, for a buffer that is used again.
package func clear(_ bytes: inout [UInt8], first count: Int) {
    precondition(count <= bytes.count, "\(count) of \(bytes.count) bytes")
    unsafe bytes.withUnsafeMutableBytes { unsafe sodium_memzero($0.baseAddress, count) }
}
