import Testing
import VaultCrypto

func bytes(_ hex: String) throws -> [UInt8] { try #require(Hex.decode(hex)) }

func secret(hex: String) throws -> SecretBytes {
    let bytes = try bytes(hex)
    return try SecretBytes(copying: bytes.span)
}

/// A secret's digits, for comparison with a vector.
func hex(_ secret: borrowing SecretBytes) -> String {
    secret.withBytes { bytes in Hex.encode(bytes.indices.map { bytes[$0] }) }
}

/// `count` bytes that count up from `first`, as digits.
func hexRange(_ first: UInt8, _ count: Int) -> String { Hex.encode((0..<count).map { first &+ UInt8($0) }) }
