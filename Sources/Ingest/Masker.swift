import Keys
import Postgres
import Tokenization
import VaultCrypto
import VaultStore

/// Turns records into login rows that hold tokens, under the active token key.
struct Masker: ~Copyable {
    /// A domain whose originals go to the vault.
    struct PersonalDomain {
        let name: String
        let version: KeyVersion
        fileprivate let column: Int
        fileprivate let tokenizer: TokenizerHolder
        fileprivate let derived: TokenizerHolder?
        let kind: ValueKind
        let derivedName: String?
        /// Older token keys that may still stand somewhere: their tokens are noted as the same value's.
        let older: [OlderTokenizers]

        struct OlderTokenizers {
            let version: KeyVersion
            fileprivate let tokenizer: TokenizerHolder
            fileprivate let derived: TokenizerHolder?
        }

        /// The older token of a value with its present one; and of its network with that one's.
        func pairs(
            of value: NormalizedValue, bits: UInt128, under older: OlderTokenizers
        ) -> (value: TokenPair, network: TokenPair?) {
            let own = TokenPair(
                old: older.tokenizer.tokenizer.token(of: value).text,
                new: Token(domain: name, version: version, bits: bits).text)
            guard let network = value.network, let old = older.derived, let new = derived else { return (own, nil) }
            return (
                own,
                TokenPair(old: old.tokenizer.token(of: network).text, new: new.tokenizer.token(of: network).text)
            )
        }
    }

    struct TokenPair {
        let old: String
        let new: String
    }

    let domains: [PersonalDomain]
    let shape: LoginTableShape
    private var reader: RecordReader
    private var fields = RecordFields()
    private let mapping: RecordMapping

    private init(
        adopting reader: consuming RecordReader, mapping: RecordMapping, domains: [PersonalDomain],
        shape: LoginTableShape
    ) {
        self.reader = reader
        self.mapping = mapping
        self.domains = domains
        self.shape = shape
    }

    static func make(
        shape: LoginTableShape, keyring: borrowing IngestKeyring, superseded: [KeyVersion]
    ) throws(IngestError) -> Masker {
        let mapping = RecordMapping.userLogins(
            versionsAsIntegers: shape.versionIsInteger, networkColumn: shape.hasNetworkColumn ? "masked_ip_net" : nil)
        let version = keyring.activeTokenKey
        var domains: [PersonalDomain] = []
        for (index, column) in mapping.columns.enumerated() {
            guard let domain = column.domain else { continue }
            var derived: TokenizerHolder?
            if column.derivedName != nil, let name = domain.derived {
                derived = try TokenizerHolder(name, version, keyring)
            }
            var older: [PersonalDomain.OlderTokenizers] = []
            for old in superseded where old != version && keyring.tokenKeyVersions.contains(old) {
                let network = derived == nil ? nil : domain.derived
                older.append(
                    PersonalDomain.OlderTokenizers(
                        version: old, tokenizer: try TokenizerHolder(domain.name, old, keyring),
                        derived: try network.map { name throws(IngestError) in try TokenizerHolder(name, old, keyring) }
                    ))
            }
            domains.append(
                PersonalDomain(
                    name: domain.name, version: version, column: index,
                    tokenizer: try TokenizerHolder(domain.name, version, keyring), derived: derived, kind: domain.kind,
                    derivedName: derived == nil ? nil : domain.derived, older: older))
        }
        let reader: RecordReader
        do {
            reader = try RecordReader(mapping: mapping)
        } catch { throw .crypto(.outOfLockedMemory(byteCount: 0)) }
        return Masker(adopting: reader, mapping: mapping, domains: domains, shape: shape)
    }

    /// Adds the record's row and originals to `batch`; or returns the cause for which it is refused, leaving `batch` as it was.
    ///
    /// - Parameter date: days since 2000-01-01.
    mutating func mask(_ record: Span<UInt8>, date: Int32, into batch: inout MaskedBatch) -> String? {
        var values: [NormalizedValue?] = []
        do throws(RecordRejection) {
            try reader.read(record, into: &fields)
            for domain in domains { values.append(try fields.normalizedValue(of: domain.column, in: mapping)) }
        } catch {
            return error.cause
        }
        batch.unknownKeys += fields.unknownKeyCount
        append(values, date: date, to: &batch)
        return nil
    }

    /// Zeroes what is left of the last record.
    mutating func wipe() {
        reader.wipe()
        fields.wipe()
    }

    private func append(_ values: [NormalizedValue?], date: Int32, to batch: inout MaskedBatch) {
        batch.rows.beginRow()
        for (index, column) in mapping.columns.enumerated() {
            if let position = domains.firstIndex(where: { $0.column == index }) {
                append(values[position], domain: position, to: &batch)
            } else if column.type == .text {
                if fields.withText(of: index, { batch.rows.append($0) }) == nil { batch.rows.append(nil) }
            } else {
                batch.rows.append(int4: fields.integer(of: index).map(Int32.init))
            }
        }
        batch.rows.append(date: date)
        for (position, domain) in domains.enumerated() {
            guard let derived = domain.derived else { continue }
            if let network = values[position]?.network {
                batch.rows.append { derived.tokenizer.appendText(of: derived.tokenizer.bits(of: network), to: &$0) }
            } else {
                batch.rows.append(nil)
            }
        }
    }

    private func append(_ value: NormalizedValue?, domain position: Int, to batch: inout MaskedBatch) {
        let domain = domains[position]
        guard let value else { return batch.rows.append(nil) }
        let bits = domain.tokenizer.tokenizer.bits(of: value)
        batch.rows.append { domain.tokenizer.tokenizer.appendText(of: bits, to: &$0) }
        let start = batch.values.count
        fields.withText(of: domain.column) { text in
            for index in text.indices { batch.values.append(text[index]) }
        }
        batch.originals[position].append(OriginalReference(bits: bits, range: start..<batch.values.count))
    }
}

/// A tokenizer in a collection: collections cannot hold what cannot be copied.
final class TokenizerHolder: Sendable {
    let tokenizer: Tokenizer

    init(_ domain: String, _ version: KeyVersion, _ keyring: borrowing IngestKeyring) throws(IngestError) {
        let subkey: SecretBytes
        do { subkey = try keyring.subkey(.token(domain: domain), version: version) } catch { throw .keyring(error) }
        do {
            tokenizer = try Tokenizer(domain: domain, version: version, subkey: subkey)
        } catch { throw .crypto(error) }
    }
}
