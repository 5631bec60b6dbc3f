import Foundation
import TestSupport
import Testing

@Suite("The promises of the README")
struct PromiseTests {
    @Test("each have a row in the threat model, which names files of tests that exist")
    func rows() throws {
        let readme = try text("README.md")
        let promised = readme.split(separator: "\n").compactMap { $0.firstMatch(of: #/^(\d+)\. \*\*/#)?.1 }
        #expect(promised.count == 9)
        let rows = try text("docs/THREAT-MODEL.md").split(separator: "\n").filter { $0.contains("`Tests/") }
        #expect(rows.compactMap { $0.firstMatch(of: #/^\| (\d+) /#)?.1 } == promised)
        for row in rows {
            let files = row.matches(of: #/`(Tests/[^`]+)`/#).map { String($0.1) }
            #expect(!files.isEmpty)
            for file in files {
                let holdsTest = (try? text(file).contains("@Test(")) == true || file.hasPrefix("Tests/Misuse/")
                #expect(holdsTest && FileManager.default.fileExists(atPath: Repository.path(file)), "\(file)")
            }
        }
    }

    private func text(_ path: String) throws -> String {
        try String(contentsOfFile: Repository.path(path), encoding: .utf8)
    }
}
