internal import CLibSodium

/// What a process that holds keys asks of the system before it reads one.
package enum ProcessHardening {
    /// Forbids core files and reading by debuggers of the same user. Affects this process for good.
    ///
    /// - Returns: a sentence for each protection that the system refused. The caller warns and goes on.
    package static func apply() -> [String] {
        var warnings: [String] = []
        if tokenvault_forbid_core_files() != 0 {
            warnings.append("cannot forbid core files: a crash may write keys to disk; set `ulimit -c 0`")
        }
        if tokenvault_forbid_dumps() != 0 {
            warnings.append("cannot forbid memory dumps: processes of the same user may read keys from memory")
        }
        return warnings + memoryLockWarning()
    }

    /// Whether a core file of this process is impossible: what ``apply()`` asked for really holds.
    package static var isUndumpable: Bool { tokenvault_is_dumpable() == 0 }

    private static func memoryLockWarning() -> [String] {
        guard let probe = try? SecretBytes(randomCount: 32), probe.isLocked else {
            return ["cannot lock memory: keys may be written to swap; raise the limit (`ulimit -l`)"]
        }
        return []
    }
}
