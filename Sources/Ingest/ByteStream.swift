internal import CLibZ
import Foundation

/// Bytes of a file or of standard input, decompressed where they are gzip. Closed when the value dies.
///
/// zlib tells gzip from plain data by itself and reads concatenated members. Source: zlib.h, "gzip File Access Functions".
@safe struct ByteStream: ~Copyable {
    private let handle: gzFile

    private init(adopting handle: gzFile) { unsafe self.handle = handle }

    deinit { unsafe gzclose_r(handle) }

    /// - Parameter path: of a file, or `-` for standard input.
    static func open(_ path: String) throws(IngestError) -> ByteStream {
        let descriptor = unsafe path == "-" ? dup(STDIN_FILENO) : Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .inputMissing(path, reason: unsafe String(cString: strerror(errno))) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT != S_IFDIR else {
            close(descriptor)
            throw .inputMissing(path, reason: "it is a directory")
        }
        guard let handle = unsafe gzdopen(descriptor, "rb") else {
            close(descriptor)
            throw .inputMissing(path, reason: "out of memory")
        }
        unsafe gzbuffer(handle, 256 * 1024)
        return unsafe ByteStream(adopting: handle)
    }

    /// Whether offsets into this input mean the same on the next run.
    static func isRegularFile(_ path: String) -> Bool {
        var status = stat()
        return unsafe path != "-" && stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    /// Whether opening it would wait for, or take from, another program.
    static func isPipe(_ path: String) -> Bool {
        var status = stat()
        return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
    }

    /// Appends up to `limit` bytes to `buffer`; returns how many, 0 at the end.
    mutating func read(into buffer: inout [UInt8], limit: Int) throws(StreamDamage) -> Int {
        let start = buffer.count
        buffer.append(contentsOf: repeatElement(0, count: limit))
        let count = unsafe buffer.withUnsafeMutableBytes { bytes in
            unsafe gzread(handle, bytes.baseAddress! + start, UInt32(limit))
        }
        buffer.removeLast(limit - max(0, Int(count)))
        var code: Int32 = 0
        _ = unsafe gzerror(handle, &code)
        guard count >= 0, code == Z_OK || code == Z_STREAM_END else {
            throw StreamDamage(isTruncated: code == Z_BUF_ERROR)
        }
        return Int(count)
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
}

/// The compressed data ends early or is not gzip. What was read before it is whole.
struct StreamDamage: Error {
    let isTruncated: Bool
}
