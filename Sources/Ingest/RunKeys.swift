import Keys
import Tokenization

/// The data keys of one run, one a domain, made when first needed and replaced when full.
struct RunKeys: ~Copyable {
    private let keyring: IngestKeyring
    private let now: () -> Int64
    private var keys: [String: SealingKey] = [:]

    init(_ keyring: consuming IngestKeyring, now: @escaping () -> Int64) {
        self.keyring = keyring
        self.now = now
    }

    /// The data key of `domain`, with room for one more value at least.
    mutating func key(for domain: String) throws(IngestError) -> SealingKey {
        if let key = keys[domain], key.sealer.room > 0 { return key }
        do {
            let key = SealingKey(
                try keyring.makeDataKey(domain: domain, createdAt: now()), version: keyring.activeTokenKey)
            keys[domain] = key
            return key
        } catch {
            throw .keyring(error)
        }
    }

    /// Forgets the keys whose storing is uncertain, so that the next attempt makes new ones.
    mutating func forgetUnstored() { keys = keys.filter { $0.value.isStored } }
}
