import Testing
import Tokenization

@Suite("Versions as integers")
struct VersionNumberTests {
    @Test(
        "Three parts of three digits",
        arguments: [
            ("2.3.0", 2_003_000), ("0.2.6", 2_006), ("0.26", 26_000), ("2", 2_000_000), ("2.00", 2_000_000),
            ("9.10", 9_010_000), ("2147.483.647", Int32.max), ("0", 0), ("1.999.999", 1_999_999),
        ])
    func supported(_ text: String, _ number: Int32) {
        #expect(VersionNumber.integer(from: Array(text.utf8).span) == number)
    }

    @Test(
        "Anything else has no integer",
        arguments: [
            "", ".", "1.", ".1", "1..2", "1.2.3.4", "1.2.3.", "1.1000", "1.2.1000", "2147.483.648", "2148", "-1", "+1",
            "1.2b", "v1", " 1", "1 ", "99999999999999999999", "１",
        ])
    func unsupported(_ text: String) {
        #expect(VersionNumber.integer(from: Array(text.utf8).span) == nil)
    }
}
