import Keys
import Testing
import Tokenization
import VaultCrypto

@Suite("Sealed values")
struct SealedValueTests {
    let original = Array("::FFFF:192.0.2.1".utf8)
    let token: Token

    init() throws { token = Token(domain: "ip", version: try #require(KeyVersion(1)), bits: 4711 << 64) }

    func makeKey(id: UInt128 = 1, domain: String = "ip", secret: UInt8 = 9) throws -> DataKey {
        DataKey(
            id: id, domain: domain, secret: try SecretBytes(copying: [UInt8](repeating: secret, count: 32).span))
    }

    func seal(_ value: [UInt8]) throws -> [UInt8] {
        var sealer = ValueSealer(version: token.version, dataKey: try makeKey())
        var sealed: [UInt8] = []
        try sealer.seal(value.span, bits: token.bits, into: &sealed)
        return sealed
    }

    func open(_ sealed: [UInt8], _ token: Token, _ key: borrowing DataKey) throws -> [UInt8] {
        try SealedValue.open(sealed.span, token: token, dataKey: key)
    }

    @Test("A value opens as it came, and its length shows up to 32 bytes only", arguments: [1, 31, 32, 63, 1024])
    func roundTrip(_ count: Int) throws {
        let value = (0..<count).map { UInt8(truncatingIfNeeded: $0) }
        let sealed = try seal(value)
        #expect(sealed.count == 1 + 24 + (count / 32 + 1) * 32 + 16)
        #expect(sealed[0] == 1)
        #expect(try open(sealed, token, try makeKey()) == value)
        #expect(try seal(value) != sealed, "two seals of a value differ")
    }

    @Test("A flipped bit in any byte is refused, with the key's id and without the value")
    func bitFlips() throws {
        let sealed = try seal(original)
        for index in sealed.indices {
            for bit in 0..<8 {
                var damaged = sealed
                damaged[index] ^= 1 << bit
                let error = #expect(throws: SealedValueError.self) { try open(damaged, token, try makeKey()) }
                #expect(error?.description.contains("00000000000000000000000000000001") == true)
                #expect(error?.description.contains("192.0.2.1") == false)
            }
        }
    }

    @Test("Every truncation and extension is refused")
    func truncations() throws {
        let sealed = try seal(original)
        for count in sealed.indices {
            #expect(throws: SealedValueError.self) { try open(Array(sealed[..<count]), token, try makeKey()) }
        }
        #expect(throws: SealedValueError.self) { try open(sealed + [0], token, try makeKey()) }
    }

    @Test("Another token, version, key id, secret or domain is refused")
    func contexts() throws {
        let sealed = try seal(original)
        let version2 = try #require(KeyVersion(2))
        let others = [
            Token(domain: "ip", version: token.version, bits: token.bits ^ 1),
            Token(domain: "ip", version: version2, bits: token.bits),
        ]
        for other in others {
            #expect(throws: SealedValueError.notAuthentic(dataKey: Hex.encode(1))) {
                try open(sealed, other, try makeKey())
            }
        }
        #expect(throws: SealedValueError.notAuthentic(dataKey: Hex.encode(2))) {
            try open(sealed, token, try makeKey(id: 2))
        }
        #expect(throws: SealedValueError.notAuthentic(dataKey: Hex.encode(1))) {
            try open(sealed, token, try makeKey(secret: 8))
        }
        #expect(throws: SealedValueError.self) { try open(sealed, token, try makeKey(domain: "ip_net")) }
        let moved = Token(domain: "ip_net", version: token.version, bits: token.bits)
        #expect(throws: SealedValueError.notAuthentic(dataKey: Hex.encode(1))) {
            try open(sealed, moved, try makeKey(domain: "ip_net"))
        }
        #expect(throws: SealedValueError.notAuthentic(dataKey: Hex.encode(1))) {
            try SealedValue.openRecord(sealed.span, id: token.bits, dataKey: try makeKey())
        }
    }

    @Test("Another format is named")
    func format() throws {
        var sealed = try seal(original)
        sealed[0] = 2
        #expect(throws: SealedValueError.unknownFormat(2, dataKey: Hex.encode(1))) {
            try open(sealed, token, try makeKey())
        }
    }

    @Test("Empty and over-long values are not sealed, and nothing is appended")
    func lengths() throws {
        var sealer = ValueSealer(version: token.version, dataKey: try makeKey())
        for count in [0, 1025] {
            var sealed: [UInt8] = []
            #expect(throws: SealedValueError.wrongLength(byteCount: count, limit: 1024)) {
                try sealer.seal([UInt8](repeating: 1, count: count).span, bits: token.bits, into: &sealed)
            }
            #expect(sealed.isEmpty)
        }
    }

    @Test("Many values sealed with shared buffers open one by one")
    func sealer() throws {
        var sealer = ValueSealer(version: token.version, dataKey: try makeKey())
        var arena: [UInt8] = []
        var parts: [(Token, [UInt8], Range<Int>)] = []
        for index in 0..<3_000 {
            let value = Array(String(repeating: "v\(index)", count: index % 40 + 1).utf8)
            let token = Token(domain: "ip", version: token.version, bits: UInt128(index) << 100 | UInt128(index))
            let start = arena.count
            try sealer.seal(value.span, bits: token.bits, into: &arena)
            parts.append((token, value, start..<arena.count))
        }
        let count = sealer.count
        #expect(count == 3_000)
        var nonces: Set<[UInt8]> = []
        for (token, value, range) in parts {
            #expect(try open(Array(arena[range]), token, try makeKey()) == value)
            nonces.insert(Array(arena[range.lowerBound + 1..<range.lowerBound + 25]))
        }
        #expect(nonces.count == 3_000)
    }

    @Test("A refused record opens under its own entry only", arguments: [0, 1, 1 << 20])
    func records(_ count: Int) throws {
        let record = [UInt8](repeating: 0x7B, count: count)
        var sealer = ValueSealer(version: token.version, dataKey: try makeKey(domain: Domain.quarantineName))
        var sealed: [UInt8] = []
        try sealer.sealRecord(record.span, id: 5, into: &sealed)
        let room = sealer.room
        #expect(room == (1 << 20) - 1, "a refused record counts, too")
        #expect(try SealedValue.openRecord(sealed.span, id: 5, dataKey: try makeKey()) == record)
        #expect(throws: SealedValueError.notAuthentic(dataKey: Hex.encode(1))) {
            try SealedValue.openRecord(sealed.span, id: 6, dataKey: try makeKey())
        }
    }
}
