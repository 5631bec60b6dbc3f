import Foundation
import Postgres
import SQS
import VaultCrypto

/// This host: what could carry a key or a value out of the process.
package struct HostChecks {
    /// Where `proc` and `sys` stand; another folder in tests.
    let root: String
    let environment: [String: String]

    package init(root: String = "", environment: [String: String]) {
        self.root = root
        self.environment = environment
    }

    package func run(_ findings: inout Findings) {
        checkLibraries(&findings)
        checkCores(&findings)
        checkMemoryLock(&findings)
        checkSwap(&findings)
        checkEnvironment(&findings)
    }

    private func checkLibraries(_ findings: inout Findings) {
        if let fault = CurlVersion.fault {
            findings.failure("libraries", "\(fault)", .advice("install libcurl 7.86 or newer, with TLS"))
        }
        let client = Connection.libraryVersion
        if client < 130_000 {
            findings.failure("libraries", "libpq is too old", .advice("install libpq 13 or newer; 15 is tested"))
        }
        findings.close(
            "libraries",
            "libcurl \(CurlVersion.text), libsodium \(CryptoLibraries.sodium), OpenSSL \(CryptoLibraries.openSSL), "
                + "libpq \(client / 10_000).\(client % 10_000)")
    }

    private func checkCores(_ findings: inout Findings) {
        if !ProcessHardening.isUndumpable {
            findings.failure(
                "core", "this process can be dumped: a crash may write keys to disk",
                .advice("run it where prctl(PR_SET_DUMPABLE) is allowed, and set LimitCORE=0 in its unit"))
        }
        let limits = read("/proc/self/limits") ?? ""
        let line = limits.split(separator: "\n").first { $0.hasPrefix("Max core file size") }
        if let line, line.split(separator: " ").dropFirst(4).first != "0" {
            findings.warning(
                "core", "the limit of core files is not 0", .advice("set `ulimit -c 0`, or LimitCORE=0 in its unit"))
        }
        findings.close("core", "this process leaves no core file and cannot be read by its own user")
    }

    private func checkMemoryLock(_ findings: inout Findings) {
        let limits = read("/proc/self/limits") ?? ""
        let line = limits.split(separator: "\n").first { $0.hasPrefix("Max locked memory") }
        let soft = line.flatMap { $0.split(separator: " ").dropFirst(3).first }.map(String.init)
        if let soft, let bytes = Int(soft), bytes < 1 << 20 {
            findings.warning(
                "memory-lock", "only \(bytes) bytes of memory may be locked: keys may be written to swap",
                .advice("raise the limit: `ulimit -l`, or LimitMEMLOCK=8M in its unit"))
        }
        findings.close("memory-lock", "keys are locked into memory")
    }

    /// Keys are locked into memory, values are not.
    private func checkSwap(_ findings: inout Findings) {
        guard let table = read("/proc/swaps") else { return findings.notChecked("swap", "needs /proc/swaps") }
        for line in table.split(separator: "\n").dropFirst() {
            guard let device = line.split(separator: " ").first.map(String.init) else { continue }
            if device.hasPrefix("/dev/zram") || isEncrypted(device) { continue }
            findings.warning(
                "swap", "swap on \(device) is not encrypted: values in memory may be written there",
                .advice("`swapoff \(device)`, or put it on an encrypted device (crypttab, option swap)"))
        }
        findings.close("swap", "no unencrypted swap is active")
    }

    private func isEncrypted(_ device: String) -> Bool {
        guard device.hasPrefix("/dev/") else { return false }
        let resolved = root.isEmpty ? URL(filePath: device).resolvingSymlinksInPath().path : device
        let name = resolved.split(separator: "/").last.map(String.init) ?? ""
        return read("/sys/block/\(name)/dm/uuid")?.hasPrefix("CRYPT-") == true
    }

    private func checkEnvironment(_ findings: inout Findings) {
        if environment["SWIFT_BACKTRACE"]?.contains("enable=no") != true {
            findings.warning(
                "backtrace",
                "SWIFT_BACKTRACE is not enable=no: a crash would print registers, which may hold part of a key",
                .advice("put Environment=SWIFT_BACKTRACE=enable=no into the unit, or export it"))
        }
        findings.close("backtrace", "a crash prints no registers")
        if environment["PGPASSWORD"] != nil {
            findings.warning(
                "environment", "PGPASSWORD holds a password, which every child process inherits",
                .advice("keep it in a file of mode 0600 and name that by PGPASSFILE"))
        }
        if environment["TOKENVAULT_DATABASE"].map(ConnectionString.holdsPassword) == true {
            findings.warning(
                "environment", "TOKENVAULT_DATABASE holds a password, which every child process inherits",
                .advice("keep it in a file of mode 0600 and name that by PGPASSFILE"))
        }
        findings.close("environment", "no password stands in the environment")
    }

    private func read(_ path: String) -> String? { try? String(contentsOfFile: root + path, encoding: .utf8) }
}
