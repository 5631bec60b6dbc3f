package import JSON

/// Why a record goes to the quarantine. Names a field of the mapping where one is at fault, never a value, nor a key
/// that the record brought: safe to log and to store in the clear.
package enum RecordRejection: Error, Equatable {
    case unreadable(JSONError)
    case notAnObject
    /// None of the mapping's keys is there: this is another kind of record.
    case wrongRecordType
    case field(String, FieldProblem)
}

/// What is wrong with one field.
package enum FieldProblem: Error, Equatable {
    case missing
    case wrongType
    /// More characters than the column holds.
    case tooLong(limit: Int)
    case nulCharacter
    case empty
    case unsupportedVersion
    case notNormalizable(NormalizationError)
}

extension RecordRejection {
    /// A stable name for scripts and the quarantine's `cause`.
    package var code: String {
        switch self {
        case .unreadable(.malformed): "malformed_json"
        case .unreadable(.invalidUTF8): "invalid_utf8"
        case .unreadable(.tooDeep): "too_deep"
        case .unreadable(.tooLarge): "too_large"
        case .unreadable(.numberOutOfRange): "number_out_of_range"
        case .unreadable(.duplicateKey): "duplicate_key"
        case .unreadable(.empty): "empty_record"
        case .unreadable(.outOfMemory): "out_of_memory"
        case .notAnObject: "not_an_object"
        case .wrongRecordType: "wrong_record_type"
        case .field(_, let problem): problem.code
        }
    }

    /// The mapping's key for the field at fault.
    package var field: String? {
        if case .field(let field, _) = self { field } else { nil }
    }

    /// The code, and the field where there is one: `too_long:locale`.
    package var cause: String { field.map { "\(code):\($0)" } ?? code }
}

extension FieldProblem {
    var code: String {
        switch self {
        case .missing: "missing_field"
        case .wrongType: "wrong_type"
        case .tooLong: "too_long"
        case .nulCharacter: "nul_character"
        case .empty: "empty_value"
        case .unsupportedVersion: "unsupported_version"
        case .notNormalizable(let error): error.code
        }
    }
}

extension RecordRejection: CustomStringConvertible {
    package var description: String {
        switch self {
        case .unreadable(.tooLarge): "the record is longer than \(RecordReader.maximumByteCount) bytes; split it"
        case .unreadable(let error): "the record cannot be read: \(error)"
        case .notAnObject: "the record is JSON but no object; send one object a record"
        case .wrongRecordType: "the record has none of the expected fields; check what is sent to this source"
        case .field(let field, let problem): "field \(field): \(problem)"
        }
    }
}

extension FieldProblem: CustomStringConvertible {
    package var description: String {
        switch self {
        case .missing: "it is required and missing or null; send it"
        case .wrongType: "it has another JSON type than the mapping says; correct the sender or the mapping"
        case .tooLong(let limit): "it is longer than \(limit) characters; shorten it or widen the column and mapping"
        case .nulCharacter: "it holds a NUL character, which PostgreSQL cannot store; remove it"
        case .empty: "it is empty; send null where there is no value"
        case .unsupportedVersion: "it is no version of up to three numbers below 1000, which an integer column needs"
        case .notNormalizable(let error): error.description
        }
    }
}
