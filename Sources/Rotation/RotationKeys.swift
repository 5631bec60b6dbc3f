import Keys
import Tokenization
import VaultCrypto
import VaultStore

/// What is known of a domain's values, by its name.
enum KnownDomain {
    static func named(_ name: String) -> Domain? { [Domain.ip, Domain.deviceID].first { $0.name == name } }
}

/// Why one original is left as it is. Names keys, never a value.
struct LeftAlone: Error {
    let reason: String
}

/// A data key opened for a rotation. A class, because collections cannot hold what cannot be copied.
final class OpenedKey {
    let key: DataKey

    init(_ key: consuming DataKey) { self.key = key }
}

/// A tokenizer in a collection.
final class TokenizerHolder {
    let tokenizer: Tokenizer

    init(_ domain: String, _ version: KeyVersion, _ keyring: borrowing IngestKeyring) throws(RotationError) {
        do throws(KeyringError) {
            let subkey = try keyring.subkey(.token(domain: domain), version: version)
            do { tokenizer = try Tokenizer(domain: domain, version: version, subkey: subkey) } catch {
                throw KeyringError.crypto(error)
            }
        } catch { throw .keyring(error) }
    }
}

/// The tokenizers of a rotation, made when first needed.
struct Tokenizers {
    private struct Name: Hashable {
        let domain: String
        let version: KeyVersion
    }

    private var made: [Name: TokenizerHolder] = [:]

    mutating func tokenizer(
        _ domain: String, _ version: KeyVersion, _ keyring: borrowing IngestKeyring
    ) throws(RotationError) -> TokenizerHolder {
        let name = Name(domain: domain, version: version)
        if let found = made[name] { return found }
        let holder = try TokenizerHolder(domain, version, keyring)
        made[name] = holder
        return holder
    }
}

/// A keyed fingerprint of a set of values: the sum, modulo 2^128, of a MAC of each. Independent of order, token and data key.
struct ValueFingerprint {
    private let key: MACKey

    private final class MACKey: Sendable {
        let key: HMACKey
        init(_ key: consuming HMACKey) { self.key = key }
    }

    /// - Parameter version: the token key that stays. A subkey of its own, so it tells nothing of tokens.
    init(_ keyring: borrowing IngestKeyring, version: KeyVersion) throws(RotationError) {
        do throws(KeyringError) {
            let subkey = try keyring.subkey(.token(domain: "rotation_fingerprint"), version: version)
            do { key = MACKey(try HMACKey(key: subkey)) } catch { throw KeyringError.crypto(error) }
        } catch { throw .keyring(error) }
    }

    func code(of value: [UInt8], domain: String) -> UInt128 {
        var message = Array(domain.utf8) + [0]
        message += value
        defer { wipe(&message) }
        return key.key.code128(for: message.span)
    }
}
