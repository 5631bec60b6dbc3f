import Keys
import VaultCrypto

/// Keyed fingerprints by which a message or a file is recognised. No unkeyed hash of a record is ever stored: with all other
/// fields known, it would give the address away.
struct RecordIdentity: ~Copyable {
    let activeVersion: UInt32
    private let messageKeys: [UInt32: KeyHolder]
    private let fileKeys: [UInt32: KeyHolder]

    init(_ keyring: borrowing IngestKeyring) throws(IngestError) {
        activeVersion = keyring.activeTokenKey.number
        var (messages, files): ([UInt32: KeyHolder], [UInt32: KeyHolder]) = ([:], [:])
        for version in keyring.tokenKeyVersions {
            messages[version.number] = try Self.key(.messageMAC, version, keyring)
            files[version.number] = try Self.key(.fileFingerprint, version, keyring)
        }
        (messageKeys, fileKeys) = (messages, files)
    }

    private static func key(
        _ label: TokenKeyLabel, _ version: KeyVersion, _ keyring: borrowing IngestKeyring
    ) throws(IngestError) -> KeyHolder {
        let subkey: SecretBytes
        do { subkey = try keyring.subkey(label, version: version) } catch { throw .keyring(error) }
        do { return KeyHolder(try HMACKey(key: subkey)) } catch { throw .crypto(error) }
    }

    func knows(_ version: UInt32) -> Bool { messageKeys[version] != nil }

    /// 16 bytes (`docs/FORMATS.md`, section 3).
    func bodyMAC(of body: ArraySlice<UInt8>, version: UInt32) throws(IngestError) -> [UInt8] {
        try mac(of: body, with: messageKeys[version], version: version)
    }

    func fileFingerprint(of prefix: ArraySlice<UInt8>, version: UInt32) throws(IngestError) -> [UInt8] {
        try mac(of: prefix, with: fileKeys[version], version: version)
    }

    private func mac(of bytes: ArraySlice<UInt8>, with holder: KeyHolder?, version: UInt32) throws(IngestError)
        -> [UInt8]
    {
        guard let holder else { throw .keyGone(version) }
        return Array(holder.key.code(for: bytes.span).prefix(16))
    }
}

/// A key in a collection: collections cannot hold what cannot be copied.
private final class KeyHolder {
    let key: HMACKey

    init(_ key: consuming HMACKey) { self.key = key }
}
