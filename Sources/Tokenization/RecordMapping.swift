/// Which member of a record goes to which column, and what it must look like there.
package struct RecordMapping: Sendable {
    package enum ColumnType: String, Sendable, CaseIterable {
        /// A JSON string.
        case text
        /// A JSON integer that fits `Int64`.
        case integer
        /// A JSON string such as `2.3.0`, kept as the integer of ``VersionNumber``.
        case version
    }

    package struct Column: Sendable {
        package let key: String
        package let name: String
        package let type: ColumnType
        /// Longest text in characters, counted as PostgreSQL's `varchar` does: in Unicode scalars.
        package let maximumLength: Int
        /// A required member may be neither missing, null nor empty.
        package let isRequired: Bool
        /// Set for a personal value: the column then gets its token.
        package let domain: Domain?
        /// The column for the tokens of the domain's derived domain.
        package let derivedName: String?

        package init(
            key: String, name: String, type: ColumnType = .text, maximumLength: Int, isRequired: Bool = false,
            domain: Domain? = nil, derivedName: String? = nil
        ) {
            (self.key, self.name, self.type, self.maximumLength) = (key, name, type, maximumLength)
            (self.isRequired, self.domain, self.derivedName) = (isRequired, domain, derivedName)
        }
    }

    package let columns: [Column]

    /// The most columns that a mapping may have.
    package static let maximumColumnCount = 64

    package init(columns: [Column]) throws(RecordMappingError) {
        guard (1...Self.maximumColumnCount).contains(columns.count) else { throw .columnCount(columns.count) }
        var keys: Set<String> = []
        var names: Set<String> = []
        for column in columns {
            guard keys.insert(column.key).inserted else { throw .repeatedKey(column.key) }
            for name in [column.name, column.derivedName].compactMap(\.self) {
                guard names.insert(name).inserted else { throw .repeatedColumn(name) }
            }
            guard column.maximumLength > 0 else { throw .lengthNotPositive(key: column.key) }
            guard column.domain == nil || column.type == .text else { throw .personalValueIsNoText(key: column.key) }
            guard column.derivedName == nil || column.domain?.derived != nil else {
                throw .noDerivedDomain(key: column.key)
            }
        }
        self.columns = columns
    }

    private init(builtIn columns: [Column]) { self.columns = columns }

    /// The built-in data set `user_logins`, in the order of its table.
    package static let userLogins = userLogins(versionsAsIntegers: false, networkColumn: "masked_ip_net")

    /// `user_logins` as a table of the original exercise has it: `app_version` may be an integer, and there may be no
    /// column for networks.
    package static func userLogins(versionsAsIntegers: Bool, networkColumn: String?) -> RecordMapping {
        let longest = NormalizedValue.maximumByteCount
        return RecordMapping(builtIn: [
            Column(key: "user_id", name: "user_id", maximumLength: 128, isRequired: true),
            Column(key: "device_type", name: "device_type", maximumLength: 32),
            Column(key: "ip", name: "masked_ip", maximumLength: longest, domain: .ip, derivedName: networkColumn),
            Column(key: "device_id", name: "masked_device_id", maximumLength: longest, domain: .deviceID),
            Column(key: "locale", name: "locale", maximumLength: 32),
            Column(
                key: "app_version", name: "app_version", type: versionsAsIntegers ? .version : .text, maximumLength: 32),
        ])
    }
}

/// Why a mapping cannot be used. Names configuration only.
package enum RecordMappingError: Error, Equatable {
    case columnCount(Int)
    case repeatedKey(String)
    case repeatedColumn(String)
    case lengthNotPositive(key: String)
    case personalValueIsNoText(key: String)
    case noDerivedDomain(key: String)
}

extension RecordMappingError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .columnCount(let count):
            "the record mapping has \(count) columns; give it 1 to \(RecordMapping.maximumColumnCount)"
        case .repeatedKey(let key): "the record mapping names the key \(key) twice; keep one"
        case .repeatedColumn(let name): "the record mapping fills the column \(name) twice; keep one"
        case .lengthNotPositive(let key): "the record mapping's length for \(key) must be 1 or more"
        case .personalValueIsNoText(let key): "the record mapping's key \(key) has a domain; its type must be text"
        case .noDerivedDomain(let key):
            "the record mapping's key \(key) has a column for derived tokens, but its domain derives none; remove it"
        }
    }
}
