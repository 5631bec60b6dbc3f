/// A value for `$1`, `$2`, … in PostgreSQL's binary format. Never printed.
///
/// Source: PostgreSQL's `*send`/`*recv` functions; arrays as `array_recv` reads them.
package struct Parameter: Sendable {
    let type: ParameterType
    /// `nil` is SQL NULL.
    let bytes: [UInt8]?

    package static func text(_ value: String?) -> Parameter {
        Parameter(type: .text, bytes: value.map { Array($0.utf8) })
    }

    package static func bytes(_ value: [UInt8]?) -> Parameter { Parameter(type: .bytea, bytes: value) }

    package static func int(_ value: Int?) -> Parameter {
        Parameter(type: .int8, bytes: value.map { bigEndian(Int64($0)) })
    }

    package static func int4(_ value: Int32?) -> Parameter { Parameter(type: .int4, bytes: value.map(bigEndian)) }

    package static func bool(_ value: Bool) -> Parameter { Parameter(type: .bool, bytes: [value ? 1 : 0]) }

    package static func uuid(_ value: UInt128?) -> Parameter { Parameter(type: .uuid, bytes: value.map(bigEndian)) }

    package static func textArray(_ values: [String]?) -> Parameter {
        guard let values else { return Parameter(type: .textArray, bytes: nil) }
        var array = BinaryArray(of: .text, capacity: values.count * 32)
        for value in values { array.append(utf8: value) }
        return .array(array)
    }

    /// NULL in place of a list of ids.
    package static let noUUIDs = Parameter(type: .uuidArray, bytes: nil)

    package static func array(_ array: consuming BinaryArray) -> Parameter {
        Parameter(type: array.element.arrayType, bytes: array.finished())
    }
}

/// Object ids of the types the vault sends. Source: PostgreSQL, `pg_type.dat`.
package enum ParameterType: UInt32, Sendable {
    case bool = 16
    case bytea = 17
    case int8 = 20
    case int4 = 23
    case text = 25
    case tid = 27
    case uuid = 2950
    case byteaArray = 1001
    case int4Array = 1007
    case textArray = 1009
    case tidArray = 1010
    case int8Array = 1016
    case uuidArray = 2951

    var arrayType: ParameterType {
        switch self {
        case .bytea: .byteaArray
        case .int4: .int4Array
        case .int8: .int8Array
        case .tid: .tidArray
        case .uuid: .uuidArray
        default: .textArray
        }
    }
}

/// A one-dimensional array in binary format, built element by element without intermediate copies.
package struct BinaryArray {
    let element: ParameterType
    package private(set) var count = 0
    private var storage: [UInt8]

    /// - Parameters:
    ///   - element: ``ParameterType/text``, `bytea`, `uuid`, `int4`, `int8` or `tid`.
    ///   - capacity: bytes expected.
    package init(of element: ParameterType, capacity: Int) {
        self.element = element
        storage = []
        storage.reserveCapacity(capacity + 20)
        storage += bigEndian(Int32(1)) + bigEndian(Int32(0)) + bigEndian(Int32(bitPattern: element.rawValue))
        storage += bigEndian(Int32(0)) + bigEndian(Int32(1))
    }

    package mutating func append(_ bytes: Span<UInt8>) {
        storage.appendInteger(Int32(bytes.count))
        storage.append(copying: bytes)
        count += 1
    }

    package mutating func append(utf8 text: String) {
        storage.appendInteger(Int32(text.utf8.count))
        storage += text.utf8
        count += 1
    }

    package mutating func append(uuid: UInt128) {
        storage.appendInteger(Int32(16))
        storage.appendInteger(uuid)
        count += 1
    }

    package mutating func append(int4: Int32) {
        storage.appendInteger(Int32(4))
        storage.appendInteger(int4)
        count += 1
    }

    consuming func finished() -> [UInt8] {
        guard count > 0 else {  // PostgreSQL's empty array has no dimension
            return bigEndian(Int32(0)) + bigEndian(Int32(0)) + bigEndian(Int32(bitPattern: element.rawValue))
        }
        storage.replaceSubrange(12..<16, with: bigEndian(Int32(count)))
        return storage
    }
}
