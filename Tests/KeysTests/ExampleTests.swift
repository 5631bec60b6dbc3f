import Foundation
import Keys
import TestSupport
import Testing
import VaultCrypto

@Suite("The example keyrings")
struct ExampleTests {
    @Test("do not load, protected or not", arguments: ["ingest", "recovery"])
    func doNotLoad(kind: String) throws {
        let example = Repository.path("keys.example/\(kind).keyring.json")
        let folder = try TemporaryFolder()
        try folder.write(Array(Data(contentsOf: URL(filePath: example))), to: "copy")
        let refusal = keyringError { () throws(KeyringError) in try KeyringFile.kind(path: folder.file("copy")) }
        #expect(
            refusal
                == .damaged(path: folder.file("copy"), reason: "the checksum does not match, or it is no keyring"))
    }

    @Test("have the keys that real keyrings have, in the same order")
    func sameKeys() throws {
        let folder = try TemporaryFolder()
        var recovery = try Sample.recovery()
        let ingest = try Sample.ingest(recovery.publicKeys)
        try recovery.trust(signingKey: ingest.signingPublicKey)
        try ingest.save(path: folder.file("ingest"))
        try recovery.save(path: folder.file("recovery"))
        for kind in ["ingest", "recovery"] {
            let path = Repository.path("keys.example/\(kind).keyring.json")
            let example = try String(contentsOfFile: path, encoding: .utf8)
            let real = String(decoding: try folder.bytes(kind), as: UTF8.self)
            #expect(unique(names(in: example)) == unique(names(in: real)))
        }
    }

    private func names(in text: String) -> [String] { text.matches(of: /"([a-z_]+)":/).map { String($0.output.1) } }

    private func unique(_ names: [String]) -> [String] {
        names.reduce(into: []) { unique, name in if !unique.contains(name) { unique.append(name) } }
    }
}
