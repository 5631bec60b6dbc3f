import Foundation
import TestSupport
import Testing

/// Who counts as whom: login roles that can become each other, and names that somebody else gets.
@Suite("One person behind several login roles, and several behind one name", .serialized)
struct PersonTests {
    private static let shared = Result { () throws -> PolicyVault in
        let people = try PolicyVault("dbt_person")
        try people.make("ben2", in: "tokenvault_approver, \(people.login("ben"))")
        try people.make("ben3", in: "tokenvault_approver, \(people.login("ben2"))")
        return people
    }
    private let people: PolicyVault

    init() throws {
        people = try Self.shared.get()
        try people.open()
        try people.change(#"{"approvals":2}"#)
    }

    @Test(
        "Approvals by login roles that can become each other are one, whichever comes first",
        arguments: [["ben", "ben2"], ["ben2", "ben"], ["ben3", "ben"], ["ben", "ben2", "ben3"]])
    func linkedApprovers(approvers: [String]) throws {
        let asked = try people.request()
        for approver in approvers { #expect(try people.decide(asked, as: people.login(approver)) == []) }
        #expect(try people.take(asked) == ["TV002", "TV002"])
        #expect(
            try people.vault.psql(people.login("eve"), "SELECT approvals FROM vault.waiting_requests(9, '\(asked)')")
                == "1")
        #expect(try people.decide(asked, as: people.login("eve")) == [])
        #expect(try people.take(asked) == [])
    }

    @Test("Approvals of two people become one when their roles are linked afterwards, and two again when they are not")
    func linkedAfterwards() throws {
        let asked = try people.request()
        for approver in ["ben", "eve"] { #expect(try people.decide(asked, as: people.login(approver)) == []) }
        #expect(try people.take(asked) == [])
        for (member, role) in [("ben", "eve"), ("eve", "ben")] {
            try people.admin("GRANT \(people.login(role)) TO \(people.login(member))")
            #expect(try people.take(asked) == ["TV002", "TV002"])
            try people.admin("REVOKE \(people.login(role)) FROM \(people.login(member))")
            #expect(try people.take(asked) == [])
        }
    }

    @Test("Whoever gets a requester's name does not get their requests", arguments: [false, true])
    func sameName(quarantine: Bool) throws {
        try people.change(#"{"approvals":0}"#)
        let ask = quarantine ? PolicyVault.askQuarantine : PolicyVault.ask
        try people.make("former", in: "tokenvault_recoverer")
        let asked = try people.request("former", ask)
        #expect(try people.take(asked, "former", quarantine: quarantine) == [])
        try people.admin("DROP ROLE \(people.login("former"))")
        try people.make("former", in: "tokenvault_recoverer")
        #expect(try people.take(asked, "former", quarantine: quarantine) == ["TV004", "TV004"])
        #expect(
            try people.vault.session(people.login("former"), "SELECT * FROM vault.own_request('\(asked)');").states
                == ["TV004"])
        // What the newcomer asks for is theirs.
        #expect(try people.take(try people.request("former", ask), "former", quarantine: quarantine) == [])
        try people.admin("DROP ROLE \(people.login("former"))")
    }

    @Test("A login role whose name needs quotes asks and receives like any")
    func quotedName() throws {
        try people.change(#"{"approvals":0}"#)
        try people.admin(#"CREATE ROLE "Dr. ""O'Neil""" LOGIN IN ROLE tokenvault_recoverer"#)
        let script = "SELECT request AS r FROM \(PolicyVault.ask) \\gset\nSELECT sealed FROM vault.release(:'r', 0, 1);"
        let finished = try people.vault.session(#"'Dr. "O\'Neil"'"#, script)
        #expect(
            finished.states.isEmpty && finished.standardOutput.contains(Planted.marker), "\(finished.standardError)")
        try people.admin(#"DROP ROLE "Dr. ""O'Neil""""#)
    }
}
