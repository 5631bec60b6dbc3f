import Testing
import Tokenization

@Suite("Record mappings")
struct RecordMappingTests {
    typealias Column = RecordMapping.Column

    @Test("The built-in data set has the columns of its table in their order")
    func userLogins() throws {
        let mapping = RecordMapping.userLogins
        #expect(
            mapping.columns.map(\.name)
                == ["user_id", "device_type", "masked_ip", "masked_device_id", "locale", "app_version"])
        #expect(mapping.columns.map(\.isRequired) == [true, false, false, false, false, false])
        #expect(mapping.columns.map { $0.domain?.name } == [nil, nil, "ip", "device_id", nil, nil])
        #expect(mapping.columns[2].derivedName == "masked_ip_net")
        #expect(try RecordMapping(columns: mapping.columns).columns.count == 6, "it keeps its own rules")
    }

    @Test("Contradictory mappings are refused by name")
    func refused() {
        let cases: [([Column], RecordMappingError)] = [
            ([], .columnCount(0)),
            ((0..<65).map { Column(key: "k\($0)", name: "n\($0)", maximumLength: 1) }, .columnCount(65)),
            (
                [Column(key: "k", name: "a", maximumLength: 1), Column(key: "k", name: "b", maximumLength: 1)],
                .repeatedKey("k")
            ),
            (
                [Column(key: "a", name: "n", maximumLength: 1), Column(key: "b", name: "n", maximumLength: 1)],
                .repeatedColumn("n")
            ),
            ([Column(key: "a", name: "n", maximumLength: 1, domain: .ip, derivedName: "n")], .repeatedColumn("n")),
            ([Column(key: "a", name: "n", maximumLength: 0)], .lengthNotPositive(key: "a")),
            (
                [Column(key: "a", name: "n", type: .integer, maximumLength: 1, domain: .ip)],
                .personalValueIsNoText(key: "a")
            ),
            (
                [Column(key: "a", name: "n", maximumLength: 1, domain: .deviceID, derivedName: "m")],
                .noDerivedDomain(key: "a")
            ),
        ]
        for (columns, error) in cases {
            #expect(throws: error) { try RecordMapping(columns: columns) }
            #expect(error.description.hasPrefix("the record mapping"))
        }
    }
}
