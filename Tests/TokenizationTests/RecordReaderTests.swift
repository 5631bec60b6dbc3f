import Testing
import Tokenization

/// The texts of one record's columns, and what else was said about it.
struct ReadRecord: Equatable {
    var texts: [String?]
    var unknown: Int

    init(_ record: [UInt8], mapping: RecordMapping = .userLogins) throws {
        var reader = try RecordReader(mapping: mapping)
        var fields = RecordFields()
        try reader.read(record.span, into: &fields)
        texts = mapping.columns.indices.map { column in
            fields.withText(of: column) {
                unsafe $0.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
            }
        }
        unknown = fields.unknownKeyCount
    }

    init(_ record: String, mapping: RecordMapping = .userLogins) throws {
        try self.init(Array(record.utf8), mapping: mapping)
    }
}

@Suite("Records")
struct RecordReaderTests {
    static let whole = """
        {"user_id": "424cdd21-063a-43a7-b91b-7ca1a833afae", "app_version": "2.3.0", "device_type": "android", \
        "ip": "199.172.111.135", "locale": "RU", "device_id": "593-47-5928"}
        """

    @Test("Fields are found whatever their order")
    func whole() throws {
        let texts = [
            "424cdd21-063a-43a7-b91b-7ca1a833afae", "android", "199.172.111.135", "593-47-5928", "RU", "2.3.0",
        ]
        #expect(try ReadRecord(Self.whole).texts == texts)
        let turned = """
            {"device_id":"593-47-5928","locale":"RU","ip":"199.172.111.135","device_type":"android",\
            "app_version":"2.3.0","user_id":"424cdd21-063a-43a7-b91b-7ca1a833afae"}
            """
        #expect(try ReadRecord(turned).texts == texts)
    }

    @Test("Null and missing are the same, and differ from empty")
    func absent() throws {
        let read = try ReadRecord(#"{"user_id":"u","locale":null,"device_type":""}"#)
        #expect(read.texts == ["u", "", nil, nil, nil, nil])
    }

    @Test("Unknown members are ignored and counted")
    func unknown() throws {
        let read = try ReadRecord(#"{"user_id":"u","x":{"ip":"1.2.3.4"},"IP":1,"user_id2":[],"y":9007199254740993}"#)
        #expect(read == (try ReadRecord(#"{"a":0,"b":0,"c":0,"d":-0,"user_id":"u"}"#)))
        #expect(read.unknown == 4)
        #expect(read.texts[2] == nil)
    }

    @Test("One reader reads record after record, also after a refusal")
    func reuse() throws {
        var reader = try RecordReader(mapping: .userLogins)
        var fields = RecordFields()
        try reader.read(Array(Self.whole.utf8).span, into: &fields)
        #expect(throws: RecordRejection.self) { try reader.read(Array("[]".utf8).span, into: &fields) }
        try reader.read(Array(#"{"user_id":"next","z":1}"#.utf8).span, into: &fields)
        let present = (0..<6).map { fields.isPresent($0) }
        #expect(present == [true, false, false, false, false, false])
        let unknown = fields.unknownKeyCount
        #expect(unknown == 1)
    }

    @Test("Length is counted in characters, as varchar counts")
    func characters() throws {
        let longest = String(repeating: "\u{1F600}", count: 32)
        #expect(try ReadRecord(#"{"user_id":"u","locale":"\#(longest)"}"#).texts[4] == longest)
        let error = #expect(throws: RecordRejection.self) {
            try ReadRecord(#"{"user_id":"u","locale":"\#(longest)e"}"#)
        }
        #expect(error == .field("locale", .tooLong(limit: 32)))
        #expect(error?.cause == "too_long:locale")
    }

    @Test("A long record is read, its arena grows")
    func long() throws {
        let mapping = try RecordMapping(columns: [
            .init(key: "a", name: "a", maximumLength: 1 << 20), .init(key: "b", name: "b", maximumLength: 1 << 20),
        ])
        let (a, b) = (String(repeating: "x", count: 300_000), String(repeating: "y", count: 400_000))
        #expect(try ReadRecord(#"{"a":"\#(a)","b":"\#(b)"}"#, mapping: mapping).texts == [a, b])
    }

    @Test("Integers and versions are read as numbers")
    func numbers() throws {
        let mapping = try RecordMapping(columns: [
            .init(key: "n", name: "n", type: .integer, maximumLength: 1),
            .init(key: "v", name: "v", type: .version, maximumLength: 32),
        ])
        var reader = try RecordReader(mapping: mapping)
        var fields = RecordFields()
        try reader.read(Array(#"{"v":"2.3.0","n":-9223372036854775808}"#.utf8).span, into: &fields)
        let (n, v) = (fields.integer(of: 0), fields.integer(of: 1))
        #expect(n == .min)
        #expect(v == 2_003_000)
        try reader.read(Array(#"{"v":null}"#.utf8).span, into: &fields)
        let (noN, noV) = (fields.integer(of: 0), fields.integer(of: 1))
        #expect(noN == nil && noV == nil)
        for record in [#"{"n":1.0}"#, #"{"n":"1"}"#, #"{"n":9223372036854775808}"#, #"{"v":2}"#, #"{"v":["2"]}"#] {
            let error = #expect(throws: RecordRejection.self) { try ReadRecord(record, mapping: mapping) }
            #expect(error?.code == "wrong_type")
        }
    }
}
