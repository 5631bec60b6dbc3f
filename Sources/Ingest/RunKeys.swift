import Keys
import VaultCrypto

/// One data key of the run, with how far it is used.
final class DataKeySlot {
    let signed: SignedDataKey
    /// Its record stands in the database, committed.
    var isStored = false
    var used = 0

    init(_ signed: consuming SignedDataKey) { self.signed = signed }
}

/// The data keys of one run, one a domain, made when first needed and replaced when full.
struct RunKeys: ~Copyable {
    /// Most values sealed under one data key (`docs/FORMATS.md`, section 5).
    static let maximumUses = 1 << 20
    static let quarantineDomain = "quarantine"

    let keyring: IngestKeyring
    private let now: () -> Int64
    private var slots: [String: DataKeySlot] = [:]

    init(_ keyring: consuming IngestKeyring, now: @escaping () -> Int64) {
        self.keyring = keyring
        self.now = now
    }

    /// A data key of `domain` with room for `count` more values.
    mutating func slot(for domain: String, count: Int) throws(IngestError) -> DataKeySlot {
        if let slot = slots[domain], slot.used + count <= Self.maximumUses { return slot }
        do {
            let slot = DataKeySlot(try keyring.makeDataKey(domain: domain, createdAt: now()))
            slots[domain] = slot
            return slot
        } catch {
            throw .keyring(error)
        }
    }

    /// Forgets the keys whose storing is uncertain, so that the next attempt makes new ones.
    mutating func forgetUnstored() { slots = slots.filter { $0.value.isStored } }
}
