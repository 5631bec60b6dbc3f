import Postgres
package import VaultStore

extension Recovery {
    /// How a request of one's own stands; refused for anybody else's.
    package mutating func standing(of request: UInt128) throws(RecoveryError) -> RequestStanding {
        do throws(PostgresError) { return try store.ownRequest(request) } catch { throw .database(error) }
    }

    /// Makes the requests that follow break-glass: at once, without approvals and hours, with a budget and an event of its own.
    package mutating func askForBreakGlass() throws(RecoveryError) {
        do throws(PostgresError) { try store.askForBreakGlass() } catch { throw .database(error) }
    }
}
