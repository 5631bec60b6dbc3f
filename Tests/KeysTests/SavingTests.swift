import Foundation
import Testing
import VaultCrypto

@testable import Keys

@Suite("Saving never loses a keyring")
struct SavingTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test("An existing file is left alone unless it is to be replaced")
    func noOverwriting() throws {
        let path = folder.file("ingest")
        try folder.write(Array("something else".utf8), to: "ingest")
        let keyring = try Sample.ingest()
        let refusal = keyringError { () throws(KeyringError) in try keyring.save(path: path) }
        #expect(refusal == .alreadyExists(path: path))
        #expect(try folder.bytes("ingest") == Array("something else".utf8))
        #expect(folder.names == ["ingest"])
    }

    @Test("Replacing a file with something else in it is refused")
    func foreignFile() throws {
        let path = folder.file("ingest")
        try Sample.ingest().save(path: path)
        let before = try folder.bytes("ingest")
        let other = try Sample.ingest()
        let refusal = keyringError { () throws(KeyringError) in try other.save(path: path, replacing: true) }
        #expect(refusal == .changedMeanwhile(path: path))
        #expect(try folder.bytes("ingest") == before)
        #expect(folder.names == ["ingest"])
    }

    @Test("Of two editors who loaded the same file, the second is told")
    func lostUpdate() throws {
        let path = folder.file("ingest")
        try Sample.ingest().save(path: path)
        var first = try IngestKeyring.load(path: path)
        var second = try IngestKeyring.load(path: path)
        _ = try first.addTokenKey()
        _ = try second.addTokenKey()
        try first.save(path: path, replacing: true)
        let refusal = keyringError { () throws(KeyringError) in try second.save(path: path, replacing: true) }
        #expect(refusal == .changedMeanwhile(path: path))
        #expect(try IngestKeyring.load(path: path).descriptions == first.descriptions)
    }

    @Test("The same value may be saved, changed and saved again")
    func again() throws {
        let path = folder.file("ingest")
        var keyring = try Sample.ingest()
        try keyring.save(path: path)
        for _ in 0..<3 {
            _ = try keyring.addTokenKey()
            try keyring.save(path: path, replacing: true)
        }
        #expect(try IngestKeyring.load(path: path).tokenKeyVersions.count == 4)
        #expect(folder.names == ["ingest"])
    }

    @Test("A new file that does not work never takes the old one's place")
    func failedTest() throws {
        let path = folder.file("file")
        try folder.write(Array("old".utf8), to: "file")
        let new = Array("new".utf8)
        let failure = keyringError { () throws(KeyringError) in
            try ProtectedFile.write(
                new.span, path: path, precondition: .present { _ in true }, limit: 100,
                verify: { _ throws(KeyringError) in throw .emptyPassphrase })
        }
        #expect(failure == .emptyPassphrase)
        #expect(try folder.bytes("file") == Array("old".utf8))
        #expect(folder.names == ["file"])
    }

    @Test("A folder that does not exist is named")
    func noFolder() throws {
        let keyring = try Sample.ingest()
        let refusal = keyringError { () throws(KeyringError) in try keyring.save(path: folder.file("none/ingest")) }
        #expect(refusal == .missing(path: folder.file("none")))
    }

    @Test("A symbolic link is not followed when replacing")
    func link() throws {
        let (path, link) = (folder.file("ingest"), folder.file("link"))
        let keyring = try Sample.ingest()
        try keyring.save(path: path)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
        let refusal = keyringError { () throws(KeyringError) in try keyring.save(path: link, replacing: true) }
        #expect(refusal == .symbolicLink(path: link))
    }

    @Test("The file ends with the checksum lines of docs/FORMATS.md")
    func form() throws {
        try Sample.ingest().save(path: folder.file("ingest"))
        let text = String(decoding: try folder.bytes("ingest"), as: UTF8.self)
        #expect(text.wholeMatch(of: /(?s)\{\n.*\n  "checksum": "[0-9a-f]{64}"\n\}\n/) != nil)
        #expect(text.utf8.allSatisfy { $0 < 0x7F })
    }
}
