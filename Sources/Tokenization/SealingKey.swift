package import Keys

/// A fresh data key in use: what seals under it, and what the database stores of it.
package final class SealingKey {
    package let record: DataKeyRecord
    package var sealer: ValueSealer
    /// Its record stands in the database, committed.
    package var isStored = false

    /// - Parameter version: of the tokens whose originals it seals.
    package init(_ signed: consuming SignedDataKey, version: KeyVersion) {
        record = signed.record
        sealer = ValueSealer(version: version, dataKey: signed.takeKey())
    }
}
