import Foundation
import Yams

/// Where each setting's value came from.
enum Origin: String {
    case flag
    case environment
    case file
    case builtIn = "built-in"
}

/// Settings in their order of precedence: flag, `TOKENVAULT_…` environment, configuration file, built-in.
///
/// Values are parsed strictly: a value of the wrong form is an error that names key and origin, never "not set". Secrets are
/// paths, never values.
struct Settings {
    /// Every key, its environment variable and what it is.
    enum Key: String, CaseIterable {
        case database
        case ingestKeyring = "ingest_keyring"
        case recoveryKeyring = "recovery_keyring"
        case passphraseFile = "passphrase_file"
        case checkpointKey = "checkpoint_key"
        case migrations
        case endpointURL = "endpoint_url"
        case region
        case batchSize = "batch_size"
        case maxQuarantined = "max_quarantined"
        case pollSeconds = "poll_seconds"
        case visibilitySeconds = "visibility_seconds"
        case backupRetentionDays = "backup_retention_days"
        case retentionDays = "retention_days"
        case notifyCommand = "notify_command"
        case statementTimeoutSeconds = "statement_timeout_seconds"
        case lockTimeoutSeconds = "lock_timeout_seconds"
        case retrySeconds = "retry_seconds"

        var variable: String { "TOKENVAULT_" + rawValue.uppercased() }
    }

    let path: String?
    private let file: [String: String]
    private let environment: [String: String]

    /// - Parameter path: from `--config`; otherwise TOKENVAULT_CONFIG, otherwise `tokenvault.yaml` where it stands.
    static func load(path: String?) throws -> Settings {
        let environment = ProcessInfo.processInfo.environment
        let named = path ?? environment["TOKENVAULT_CONFIG"]
        let found = named ?? (FileManager.default.fileExists(atPath: "tokenvault.yaml") ? "tokenvault.yaml" : nil)
        guard let found else { return Settings(path: nil, file: [:], environment: environment) }
        guard let text = try? String(contentsOfFile: found, encoding: .utf8) else {
            throw Failure(
                .badConfiguration, "cannot read the configuration file \(found); check --config or TOKENVAULT_CONFIG")
        }
        return Settings(path: found, file: try parse(text, path: found), environment: environment)
    }

    private static func parse(_ text: String, path: String) throws -> [String: String] {
        let node: Node?
        do {
            node = try compose(yaml: text)
        } catch {
            throw Failure(.badConfiguration, "the configuration file \(path) is not valid YAML; mend it or remove it")
        }
        guard let node else { return [:] }
        guard let mapping = node.mapping else {
            throw Failure(.badConfiguration, "the configuration file \(path) must be a mapping of keys to values")
        }
        var values: [String: String] = [:]
        for (key, value) in mapping {
            guard let name = key.string, Key(rawValue: name) != nil else {
                let known = Key.allCases.map(\.rawValue).joined(separator: ", ")
                throw Failure(
                    .badConfiguration,
                    "\(path), line \(key.mark?.line ?? 0): unknown key `\(key.string ?? "?")`; known keys are \(known)")
            }
            guard let scalar = value.scalar else {
                throw Failure(
                    .badConfiguration, "\(path), line \(key.mark?.line ?? 0): `\(name)` must be a single value")
            }
            values[name] = scalar.string
        }
        return values
    }

    /// The raw text of a setting and where it came from.
    func text(_ key: Key, flag: String?) -> (text: String, origin: Origin)? {
        if let flag { return (flag, .flag) }
        if let value = environment[key.variable], !value.isEmpty { return (value, .environment) }
        return file[key.rawValue].map { ($0, .file) }
    }

    func string(_ key: Key, flag: String?) -> String? { text(key, flag: flag)?.text }

    /// A whole number within `range`, or `builtIn` where the setting is not given.
    func integer(_ key: Key, flag: Int?, in range: ClosedRange<Int>, builtIn: Int) throws -> Int {
        guard let (text, origin) = text(key, flag: flag.map(String.init)) else { return builtIn }
        guard let value = Int(text), range.contains(value) else {
            let form = "a whole number from \(range.lowerBound) to \(range.upperBound)"
            throw Failure(
                origin == .flag ? .usage : .badConfiguration,
                "\(key.rawValue) (from \(origin.rawValue)) must be \(form)")
        }
        return value
    }

    /// The path of a file that a command cannot do without.
    func requiredPath(_ key: Key, flag: String?, option: String) throws -> String {
        guard let path = string(key, flag: flag) else {
            throw Failure(.badConfiguration, "no \(key.rawValue) is set; give --\(option) or \(key.variable)")
        }
        return path
    }
}
