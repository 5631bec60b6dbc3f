import Foundation
import TestSupport
import Testing

@Suite("Rotations under kill -9")
struct DrillTests {
    @Test("lose no value and split no group, with ingest running beside", .timeLimit(.minutes(10)))
    func drill() throws {
        let finished = try Command(
            "/usr/bin/env",
            [
                "python3", Repository.path("scripts/rotation_drill.py"), "--kills", "2", "--rows", "1500",
                "--program", Repository.tokenvault,
            ]
        ).run()
        #expect(finished.status == 0, "\(finished.standardError)")
        #expect(finished.standardOutput.split(separator: "\n").count == 3)
    }
}
