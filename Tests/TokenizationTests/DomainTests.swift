import Testing
import Tokenization

@Suite("Domains")
struct DomainTests {
    @Test(
        "Names that keep the rules",
        arguments: ["a", "ip", "ip_net", "device_id", "x9", "a_v", "a_vb1", "v1", "ab_v1_x"])
    func valid(_ name: String) {
        #expect(Domain.isValidName(name))
        #expect(Domain(name: name, kind: .opaque)?.name == name)
    }

    @Test(
        "Names that do not",
        arguments: ["", "9a", "_a", "A", "a-b", "a b", "é", "ip_v1", "a_v123", String(repeating: "a", count: 32)])
    func invalid(_ name: String) {
        #expect(!Domain.isValidName(name))
        #expect(Domain(name: name, kind: .opaque) == nil)
    }

    @Test("Only addresses have a derived domain, and it has another name")
    func derived() {
        #expect(Domain(name: "address", kind: .ip, derived: "address_net") != nil)
        #expect(Domain(name: "address", kind: .ip, derived: "address") == nil)
        #expect(Domain(name: "address", kind: .ip, derived: "Net") == nil)
        #expect(Domain(name: "mail", kind: .email, derived: "mail_host") == nil)
        #expect(Domain.ip.derived == "ip_net")
    }
}
