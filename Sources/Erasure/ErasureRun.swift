import Foundation
import Postgres
import VaultCrypto
package import VaultStore

/// One erasure or expiry by an operator, begun or gone on with, to its end.
///
/// Each batch is a transaction that leaves the vault whole and takes its tokens off the list, so a run that dies at any
/// moment is gone on with by the next. No key is needed, and none is read.
package struct ErasureRun: ~Copyable {
    private var store: VaultStore
    private let options: ErasureOptions

    package init(_ store: consuming VaultStore, options: ErasureOptions) {
        self.store = store
        self.options = options
    }

    /// Removes what is asked for, and says what was removed, kept, and left elsewhere.
    package mutating func erase(_ request: ErasureRequest) throws(ErasureError) -> ErasureReport {
        let id = RandomBytes.uuid()
        let begun = try persist { store throws(PostgresError) in
            try store.beginErasure(
                id, tokens: request.tokens, user: request.user, maskedRows: request.maskedRows, shared: request.shared,
                reason: request.reason, ticket: request.ticket, isDryRun: false)
        }
        return try finish(begun, user: request.user, listsItems: true)
    }

    /// Removes originals that nobody has seen since the cutoff. An unfinished expiry is finished instead: ask again then.
    package mutating func expire(_ request: ExpiryRequest) throws(ErasureError) -> ErasureReport {
        let id = RandomBytes.uuid()
        let begun = try persist { store throws(PostgresError) in
            try store.beginExpiry(
                id, domain: request.domain, cutoff: request.cutoff, reason: request.reason, ticket: request.ticket,
                isDryRun: false)
        }
        return try finish(begun, user: nil, listsItems: false)
    }

    /// What ``erase(_:)`` would do now. Changes nothing but the audit log.
    package mutating func plan(_ request: ErasureRequest) throws(ErasureError) -> ErasureReport {
        try plan(kind: "erase", reason: request.reason, ticket: request.ticket, listsItems: true) {
            store throws(PostgresError) in
            try store.beginErasure(
                RandomBytes.uuid(), tokens: request.tokens, user: request.user, maskedRows: request.maskedRows,
                shared: request.shared, reason: request.reason, ticket: request.ticket, isDryRun: true)
        }
    }

    package mutating func plan(_ request: ExpiryRequest) throws(ErasureError) -> ErasureReport {
        try plan(kind: "expire", reason: request.reason, ticket: request.ticket, listsItems: false) {
            store throws(PostgresError) in
            try store.beginExpiry(
                RandomBytes.uuid(), domain: request.domain, cutoff: request.cutoff, reason: request.reason,
                ticket: request.ticket, isDryRun: true)
        }
    }

    /// Begins in a transaction that is rolled back: the plan is made by the code that would carry it out.
    private mutating func plan(
        kind: String, reason: String, ticket: String?, listsItems: Bool,
        _ begin: (inout VaultStore) throws(PostgresError) -> BegunErasure
    ) throws(ErasureError) -> ErasureReport {
        let report: ErasureReport
        let receipt: AuditReceipt?
        do {
            report = try rolledBack { store throws(PostgresError) in
                try Self.report(try begin(&store), from: &store, listsItems: listsItems)
            }
            let waiting = report.numbers.asked - (listsItems ? report.numbers.kept : 0)
            receipt = try store.recordErasurePlan(
                kind: kind, reason: reason, ticket: ticket,
                outcome: "dry run: tokens to erase \(waiting), kept \(report.numbers.kept)")
        } catch { throw .database(error) }
        return ErasureReport(
            id: report.id, isResumed: report.isResumed, isDryRun: true, items: report.items, numbers: report.numbers,
            remains: report.remains, receipt: receipt)
    }

    private mutating func rolledBack<R>(
        _ body: (inout VaultStore) throws(PostgresError) -> R
    ) throws(PostgresError) -> R {
        try store.begin()
        let result: R
        do { result = try body(&store) } catch {
            store.rollback()
            throw error
        }
        store.rollback()
        return result
    }

    private mutating func finish(
        _ begun: BegunErasure, user: String?, listsItems: Bool
    ) throws(ErasureError) -> ErasureReport {
        let size = options.batchSize
        let total = try progress(of: begun.id).asked
        while true {
            let (handled, remaining) = try persist { store throws(PostgresError) in
                try store.eraseBatch(begun.id, user: user, limit: size)
            }
            guard handled > 0 else { break }
            options.progress(total - remaining, total)
            if options.shouldStop() { throw .stopped(remaining: remaining) }
        }
        if user != nil {
            try persist { store throws(PostgresError) in try store.eraseUserRows(begun.id, user: user) }
        }
        let items: [ErasureItem]
        if listsItems {
            items = try persist { store throws(PostgresError) in try store.erasureItems(begun.id) }
        } else {
            items = []
        }
        let receipt = try persist { store throws(PostgresError) in try store.finishErasure(begun.id, user: user) }
        let remains = try persist { store throws(PostgresError) in try store.erasureRemains(begun.id) }
        return ErasureReport(
            id: begun.id, isResumed: begun.isResumed, isDryRun: false, items: items,
            numbers: try progress(of: begun.id), remains: remains, receipt: receipt)
    }

    private static func report(
        _ begun: BegunErasure, from store: inout VaultStore, listsItems: Bool
    ) throws(PostgresError) -> ErasureReport {
        guard let numbers = try store.erasureProgress(begun.id) else {
            throw .connectionLost(during: "reading how far the erasure is")
        }
        return ErasureReport(
            id: begun.id, isResumed: begun.isResumed, isDryRun: true,
            items: listsItems ? try store.erasureItems(begun.id) : [], numbers: numbers,
            remains: try store.erasureRemains(begun.id), receipt: nil)
    }

    private mutating func progress(of erasure: UInt128) throws(ErasureError) -> ErasureProgress {
        let progress = try persist { store throws(PostgresError) in try store.erasureProgress(erasure) }
        guard let progress else { throw .database(.connectionLost(during: "reading how far the erasure is")) }
        return progress
    }

    /// Repeats a step that failed in a way that may pass: each does nothing twice.
    @discardableResult
    private mutating func persist<R>(
        _ step: (inout VaultStore) throws(PostgresError) -> R
    ) throws(ErasureError) -> R {
        let deadline = ContinuousClock.now + options.retryFor
        var failures = 0
        while true {
            let failure: PostgresError
            do { return try step(&store) } catch { failure = error }
            failures += 1
            guard failure.isTransient, ContinuousClock.now < deadline, !options.shouldStop() else {
                throw .database(failure)
            }
            options.warn("\(failure); trying again")
            Thread.sleep(forTimeInterval: min(0.1 * Double(failures), 2))
            if failure.needsReconnect, let again = try? VaultStore.open(options.database) { store = again }
        }
    }
}
