// expect: 'pending' consumed more than once

import Postgres

func f(_ c: inout Connection, _ pending: consuming PendingStatement) throws {
    _ = try c.receive(pending)
    _ = try c.receive(pending)
}
