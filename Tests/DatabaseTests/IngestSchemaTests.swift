import Postgres
import TestSupport
import Testing

@testable import VaultStore

@Suite("What ingest needs of the schema")
struct IngestSchemaTests {
    @Test("is noticed column by column when it is not there")
    func columns() throws {
        let vault = try TestVault("ingest_schema")
        var owner = VaultStore(try vault.connect("postgres"))
        var ingest = VaultStore(try vault.connect("vault_ingest"))
        #expect(try ingest.missingForIngest() == [])
        let names = VaultStore.namesNeededForIngest
        #expect(names.count > 60)
        for name in names {
            let parts = name.split(separator: ".").map(String.init)
            let table = "\(parts[0]).\(parts[1])"
            try owner.connection.runTrustedScript("dropping", "ALTER TABLE \(table) RENAME COLUMN \(parts[2]) TO gone")
            #expect(try ingest.missingForIngest() == [name])
            try owner.connection.runTrustedScript("mending", "ALTER TABLE \(table) RENAME COLUMN gone TO \(parts[2])")
        }
        try owner.connection.runTrustedScript("dropping", "ALTER TABLE vault.original RENAME TO gone")
        #expect(try ingest.missingForIngest().allSatisfy { $0.hasPrefix("vault.original.") })
        #expect(try ingest.missingForIngest().count == 5)
    }
}
