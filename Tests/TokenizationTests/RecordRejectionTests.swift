import Testing
import Tokenization

/// Lines 24 to 26 of the fault list: what arrives and is no usable record.
@Suite("Refused records")
struct RecordRejectionTests {
    static let refusals: [(String, String)] = [
        ("", "empty_record"), ("  \n", "empty_record"), ("{", "malformed_json"), ("nonsense 4711", "malformed_json"),
        (#"{"user_id":"u"} x"#, "malformed_json"), ("\u{FEFF}{\"user_id\":\"u\"}", "malformed_json"),
        ("{\"user_id\":\"u\0\"}", "malformed_json"), (#"{"user_id":"\ud800"}"#, "malformed_json"),
        ("null", "not_an_object"), ("[]", "not_an_object"), ("4711", "not_an_object"), ("\"secret\"", "not_an_object"),
        ("true", "not_an_object"), ("[{\"user_id\":\"u\"}]", "not_an_object"),
        ("{}", "wrong_record_type"), (#"{"foo":"secret"}"#, "wrong_record_type"),
        (#"{"x":{"user_id":"u"}}"#, "wrong_record_type"),
        (#"{"user_id":"u","user_id":"secret"}"#, "duplicate_key"),
        (#"{"user_id":"u","x":{"y":1,"y":2}}"#, "duplicate_key"),
        (#"{"user_id":"u","x":1e999}"#, "number_out_of_range"),
        (
            #"{"user_id":"u","x":\#(String(repeating: "[", count: 10_000) + String(repeating: "]", count: 10_000))}"#,
            "too_deep"
        ),
        (#"{"user_id":"\#(String(repeating: "x", count: 10_000_000))"}"#, "too_large"),
        (#"{"ip":"1.2.3.4"}"#, "missing_field:user_id"), (#"{"user_id":null}"#, "missing_field:user_id"),
        (#"{"user_id":""}"#, "empty_value:user_id"), (#"{"user_id":4711}"#, "wrong_type:user_id"),
        (#"{"user_id":["u"]}"#, "wrong_type:user_id"), (#"{"user_id":"u","ip":true}"#, "wrong_type:ip"),
        (#"{"user_id":"u","app_version":2.3}"#, "wrong_type:app_version"),
        (#"{"user_id":"u","app_version":9007199254740993}"#, "wrong_type:app_version"),
        (#"{"user_id":"u","device_id":{}}"#, "wrong_type:device_id"),
        (#"{"user_id":"u","ip":""}"#, "empty_value:ip"), (#"{"user_id":"u","device_id":""}"#, "empty_value:device_id"),
        (#"{"user_id":"u\u0000x"}"#, "nul_character:user_id"), (#"{"user_id":"u","ip":"1\u0000"}"#, "nul_character:ip"),
        (#"{"user_id":"u","device_type":"\#(String(repeating: "é", count: 33))"}"#, "too_long:device_type"),
        (#"{"user_id":"\#(String(repeating: "x", count: 129))"}"#, "too_long:user_id"),
        (#"{"user_id":"u","ip":"\#(String(repeating: "1", count: 1025))"}"#, "too_long:ip"),
    ]

    @Test("Each has its cause, and says nothing of the value", arguments: refusals)
    func refused(_ record: String, _ cause: String) throws {
        let error = #expect(throws: RecordRejection.self) { try ReadRecord(record) }
        let rejection = try #require(error)
        #expect(rejection.cause == cause)
        for text in ["\(rejection)", String(reflecting: rejection)] {
            #expect(!text.contains("secret") && !text.contains("4711") && !text.contains("1.2.3"))
        }
    }

    @Test("Invalid UTF-8 anywhere is refused")
    func invalidUTF8() {
        let record = Array(#"{"user_id":"u","unknown":""#.utf8) + [0xC3, 0x28] + Array(#""}"#.utf8)
        let error = #expect(throws: RecordRejection.self) { try ReadRecord(record) }
        #expect(error?.cause == "invalid_utf8")
    }

    @Test("A NUL in a member that no column takes is no reason")
    func nulElsewhere() throws {
        #expect(try ReadRecord(#"{"user_id":"u","x\u0000":"\u0000"}"#).unknown == 1)
    }

    @Test(
        "A value that cannot be normalised names its field and kind",
        arguments: [
            (#"{"user_id":"u","ip":"1.2.3.04"}"#, "invalid_ip:ip"), (#"{"user_id":"u","ip":" \n"}"#, "empty_value:ip"),
            (#"{"user_id":"u","ip":"\#(String(repeating: "é", count: 600))"}"#, "too_long:ip"),
        ])
    func normalization(_ record: String, _ cause: String) throws {
        var reader = try RecordReader(mapping: .userLogins)
        var fields = RecordFields()
        try reader.read(Array(record.utf8).span, into: &fields)
        var found: String?
        do { _ = try fields.normalizedValue(of: 2, in: .userLogins) } catch { found = error.cause }
        #expect(found == cause)
        let absent = try fields.normalizedValue(of: 3, in: .userLogins)
        #expect(absent == nil)
        let impersonal = try fields.normalizedValue(of: 0, in: .userLogins)
        #expect(impersonal == nil)
    }

    @Test(
        "An integer column refuses versions that it cannot keep apart",
        arguments: [(#"{"user_id":"u","app_version":"2.1000"}"#), #"{"user_id":"u","app_version":"2.3.0-beta"}"#])
    func versions(_ record: String) {
        let mapping = RecordMapping.userLogins(versionsAsIntegers: true, networkColumn: nil)
        let error = #expect(throws: RecordRejection.self) { try ReadRecord(record, mapping: mapping) }
        #expect(error?.cause == "unsupported_version:app_version")
        #expect(throws: Never.self) { try ReadRecord(record) }
    }

    @Test("Every truncation of a record is refused")
    func truncations() {
        let record = Array(RecordReaderTests.whole.utf8)
        for count in 0..<record.count {
            #expect(throws: RecordRejection.self) { try ReadRecord(Array(record[..<count])) }
        }
    }
}
