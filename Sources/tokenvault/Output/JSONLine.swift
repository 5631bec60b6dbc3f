import Foundation

/// One JSON object on one line, keys in the order given.
struct JSONLine {
    private var members: [String] = []

    mutating func add(_ key: String, _ value: String?) { append(key, value.map(Self.quote) ?? "null") }
    mutating func add(_ key: String, _ value: Int?) { append(key, value.map(String.init) ?? "null") }
    mutating func add(_ key: String, _ value: Bool) { append(key, value ? "true" : "false") }
    mutating func add(_ key: String, _ value: [String]?) {
        append(key, value.map { "[" + $0.map(Self.quote).joined(separator: ",") + "]" } ?? "null")
    }
    mutating func add(_ key: String, counts: [String: Int]) {
        let members = counts.sorted { $0.key < $1.key }.map { "\(Self.quote($0.key)):\($0.value)" }
        append(key, "{" + members.joined(separator: ",") + "}")
    }

    var text: String { "{" + members.joined(separator: ",") + "}" }

    private mutating func append(_ key: String, _ json: String) { members.append("\(Self.quote(key)):\(json)") }

    static func quote(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != 0x22 && $0 != 0x5C }
        if isPlain { return "\"\(text)\"" }
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            case _ where scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value):
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
