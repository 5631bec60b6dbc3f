internal import CLibZ
import Foundation

/// Bytes of a file or of standard input, decompressed where they begin as gzip does. Closed when the value dies.
///
/// Members may follow each other; anything else after a member is damage, not an end: zlib's own file functions would
/// drop it without a word. Source: RFC 1952; zlib.h, "Advanced Functions".
@safe struct ByteStream: ~Copyable {
    private static let chunk = 256 * 1024

    private let descriptor: Int32
    /// Whether offsets into this input mean the same on the next run.
    let isRegularFile: Bool
    private var input: [UInt8] = []
    private var position = 0
    private var isAtEnd = false
    private var isPlain: Bool?
    /// On the heap, because zlib keeps its address. `nil` between members.
    private var inflater: UnsafeMutablePointer<z_stream>?

    private init(adopting descriptor: Int32, isRegularFile: Bool) {
        self.descriptor = descriptor
        self.isRegularFile = isRegularFile
    }

    deinit {
        unsafe Self.end(inflater)
        close(descriptor)
    }

    /// - Parameter path: of a file, or `-` for standard input.
    static func open(_ path: String) throws(IngestError) -> ByteStream {
        let descriptor = unsafe path == "-" ? dup(STDIN_FILENO) : Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .inputMissing(path, reason: unsafe String(cString: strerror(errno))) }
        var status = stat()
        let isKnown = unsafe fstat(descriptor, &status) == 0
        let kind = status.st_mode & S_IFMT
        let stream = ByteStream(adopting: descriptor, isRegularFile: isKnown && path != "-" && kind == S_IFREG)
        guard isKnown, kind != S_IFDIR else { throw .inputMissing(path, reason: "it is a directory") }
        return stream
    }

    /// Goes back to the first byte of a regular file. What is read again is the same file, whatever its name leads to by now.
    mutating func rewind() throws(StreamDamage) {
        guard lseek(descriptor, 0, SEEK_SET) == 0 else { throw StreamDamage(isTruncated: false) }
        unsafe Self.end(inflater)
        unsafe inflater = nil
        input.removeAll(keepingCapacity: true)
        position = 0
        isAtEnd = false
        isPlain = nil
    }

    /// Whether opening it would wait for, or take from, another program.
    static func isPipe(_ path: String) -> Bool {
        var status = stat()
        return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
    }

    /// Appends up to `limit` bytes to `buffer`; returns how many, 0 at the end.
    mutating func read(into buffer: inout [UInt8], limit: Int) throws(StreamDamage) -> Int {
        if unsafe position == input.count && inflater == nil { guard try fill() else { return 0 } }
        guard isPlain == false else {
            let count = min(limit, input.count - position)
            buffer += input[position..<position + count]
            position += count
            return count
        }
        return try inflate(into: &buffer, limit: limit)
    }

    /// Moves to `offset` (decompressed bytes) by reading up to it.
    mutating func skip(_ offset: Int) throws(StreamDamage) -> Bool {
        var left = offset
        var scratch: [UInt8] = []
        scratch.reserveCapacity(1 << 16)
        while left > 0 {
            scratch.removeAll(keepingCapacity: true)
            let count = try read(into: &scratch, limit: min(left, 1 << 16))
            guard count > 0 else { return false }
            left -= count
        }
        return true
    }

    private mutating func inflate(into buffer: inout [UInt8], limit: Int) throws(StreamDamage) -> Int {
        let start = buffer.count
        buffer.append(contentsOf: repeatElement(0, count: limit))
        var produced = 0
        defer { buffer.removeLast(limit - produced) }
        while produced == 0 {
            if position == input.count {
                guard try fill() else {
                    guard unsafe inflater == nil else { throw StreamDamage(isTruncated: true) }
                    return 0
                }
            }
            if unsafe inflater == nil { unsafe inflater = try Self.begin() }
            guard let stream = unsafe inflater else { throw StreamDamage(isTruncated: false) }
            let available = input.count - position
            let code = unsafe input.withUnsafeMutableBytes { source in
                unsafe buffer.withUnsafeMutableBytes { target in
                    unsafe stream.pointee.next_in = source.baseAddress!.advanced(by: position)
                        .assumingMemoryBound(to: UInt8.self)
                    unsafe stream.pointee.avail_in = UInt32(available)
                    unsafe stream.pointee.next_out = target.baseAddress!.advanced(by: start)
                        .assumingMemoryBound(to: UInt8.self)
                    unsafe stream.pointee.avail_out = UInt32(limit)
                    return unsafe CLibZ.inflate(stream, Z_NO_FLUSH)
                }
            }
            position += available - Int(unsafe stream.pointee.avail_in)
            produced = limit - Int(unsafe stream.pointee.avail_out)
            if code == Z_STREAM_END {
                unsafe Self.end(inflater)
                unsafe inflater = nil
            } else if code != Z_OK {
                throw StreamDamage(isTruncated: false)
            }
        }
        return produced
    }

    private static func begin() throws(StreamDamage) -> UnsafeMutablePointer<z_stream> {
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        guard unsafe tv_inflate_begin(stream) == Z_OK else {
            unsafe stream.deallocate()
            throw StreamDamage(isTruncated: false)
        }
        return unsafe stream
    }

    private static func end(_ stream: UnsafeMutablePointer<z_stream>?) {
        guard let stream = unsafe stream else { return }
        unsafe inflateEnd(stream)
        unsafe stream.deallocate()
    }

    /// Reads more input behind what is left; false at the end.
    private mutating func fill() throws(StreamDamage) -> Bool {
        guard !isAtEnd else { return false }
        if position == input.count {
            input.removeAll(keepingCapacity: true)
            position = 0
        }
        let start = input.count
        input.append(contentsOf: repeatElement(0, count: Self.chunk))
        let count = unsafe input.withUnsafeMutableBytes { bytes in
            unsafe Glibc.read(descriptor, bytes.baseAddress!.advanced(by: start), Self.chunk)
        }
        input.removeLast(Self.chunk - max(0, count))
        guard count >= 0 else { throw StreamDamage(isTruncated: false) }
        isAtEnd = count == 0
        // Two bytes tell gzip from plain; a pipe may bring them one by one.
        if isPlain == nil, count > 0, input.count < 2 { return try fill() || true }
        if isPlain == nil, !input.isEmpty { isPlain = !(input.count >= 2 && input[0] == 0x1F && input[1] == 0x8B) }
        if isPlain == nil { isPlain = true }
        return count > 0
    }
}

/// The compressed data ends early, is not gzip, or could not be read. What was read before it is whole.
struct StreamDamage: Error {
    let isTruncated: Bool
}
