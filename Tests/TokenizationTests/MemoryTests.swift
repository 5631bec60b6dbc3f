import Glibc
import JSON
import Testing
import Tokenization
import VaultCrypto

/// A text that stands nowhere in this process but where a test writes it: kept inverted, so that looking for it does
/// not find the search itself.
private struct Marker {
    private let inverted = RandomBytes.fill(16).map { 0x61 + $0 % 26 }.map { ~$0 }

    /// A record with the marker as `user_id`; the escape makes the parser write its own copy.
    func record(padding: Int = 0) -> [UInt8] {
        var record: [UInt8] = []
        record.reserveCapacity(400 + padding)
        // The filler keeps the marker away from a buffer's first bytes, which free() overwrites.
        record += Array(#"{"x":"\#(String(repeating: "x", count: 256))","user_id":"\u0041"#.utf8)
        for byte in inverted { record.append(~byte) }
        record += Array(#""}"#.utf8)
        record.append(contentsOf: repeatElement(0x20, count: padding))
        return record
    }

    /// How often the marker stands in the process's writable memory.
    func occurrences() throws -> Int {
        let memory = unsafe open("/proc/self/mem", O_RDONLY)
        try #require(memory >= 0)
        defer { close(memory) }
        var chunk = [UInt8](repeating: 0, count: 1 << 20)
        defer { wipe(&chunk) }
        var count = 0
        // Reading the chunk into itself would multiply what it holds.
        let ownStart = unsafe chunk.withUnsafeBytes { UInt64(UInt(bitPattern: $0.baseAddress)) }
        let own = ownStart..<ownStart + UInt64(chunk.count)
        for region in try Self.writableRegions() {
            for part in [region.clamped(to: 0..<own.lowerBound), region.clamped(to: own.upperBound..<UInt64.max)] {
                var start = part.lowerBound
                while start < part.upperBound {
                    let wanted = min(chunk.count, Int(part.upperBound - start))
                    let read = unsafe chunk.withUnsafeMutableBytes { chunk in
                        unsafe pread(memory, chunk.baseAddress, wanted, off_t(start))
                    }
                    guard read > 0 else { break }
                    count += occurrences(in: chunk, read)
                    start += UInt64(read)
                }
            }
        }
        return count
    }

    private func occurrences(in chunk: [UInt8], _ length: Int) -> Int {
        unsafe chunk.withUnsafeBytes { chunk in
            var (count, offset) = (0, 0)
            while offset + 16 <= length,
                let found = unsafe memchr(chunk.baseAddress! + offset, Int32(~inverted[0]), length - 15 - offset)
            {
                offset = unsafe UnsafeRawPointer(found) - chunk.baseAddress!
                var same = 1
                while same < 16, unsafe chunk[offset + same] == ~inverted[same] { same += 1 }
                if same == 16 { count += 1 }
                offset += 1
            }
            return count
        }
    }

    private static func writableRegions() throws -> [Range<UInt64>] {
        let maps = unsafe try #require(fopen("/proc/self/maps", "r"))
        defer { unsafe _ = fclose(maps) }
        var regions: [Range<UInt64>] = []
        var line = [CChar](repeating: 0, count: 1 << 20)  // of a size that overwrites no freed buffer
        while unsafe fgets(&line, Int32(line.count), maps) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let parts = text.split(separator: " ", maxSplits: 2)
            let bounds = parts[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
            if parts[1].hasPrefix("rw"), bounds.count == 2, !text.contains("[v") {
                regions.append(bounds[0]..<bounds[1])
            }
        }
        return regions
    }
}

@Suite("What stays in memory", .serialized)
struct MemoryTests {
    @Test("A wiped parser keeps nothing of the document")
    func parser() throws {
        let marker = Marker()
        var parser = try JSONParser()
        var record = marker.record()
        try parser.parse(record.span)
        wipe(&record)
        #expect(try marker.occurrences() >= 2, "the search finds the parser's copies")
        parser.wipe()
        #expect(try marker.occurrences() == 0)
    }

    @Test(
        "A parser that dies keeps nothing, also of longer documents that made it grow",
        arguments: [[0], [0, 5_000], [0, 5_000, 50_000]])
    func growth(_ paddings: [Int]) throws {
        let marker = Marker()
        do {
            var parser = try JSONParser()
            for padding in paddings {
                var record = marker.record(padding: padding)
                try parser.parse(record.span)
                wipe(&record)
            }
        }
        #expect(try marker.occurrences() == 0)
    }

    @Test("A reader and its fields keep nothing when they die")
    func reader() throws {
        let marker = Marker()
        do {
            var reader = try RecordReader(mapping: .userLogins)
            var fields = RecordFields()
            var record = marker.record()
            try reader.read(record.span, into: &fields)
            wipe(&record)
            reader.wipe()
            let left = try marker.occurrences()
            #expect(left == 1, "only the fields hold it")
        }
        #expect(try marker.occurrences() == 0)
    }
}
