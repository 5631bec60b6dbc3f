import Postgres
import Tokenization
import VaultStore

/// Everything a batch's transaction sends, ready to send.
struct StagedWork {
    /// Tells the staged works of a run apart.
    let id: Int
    var rows: CopyRows
    var groups: [OriginalGroup] = []
    /// Sealed under; those that are not stored yet are stored with it.
    var keys: [SealingKey] = []
    var quarantined: [QuarantinedRecord] = []
    var sentTokens: [UInt128] = []
    var successors: [SuccessorPairs] = []
    var summary = IngestSummary()

    /// Keeps what is needed once the transaction has committed.
    mutating func dropWhatWasSent() {
        rows = CopyRows(columns: 0, capacity: 0)
        (groups, quarantined, successors) = ([], [], [])
    }
}

/// A batch on its way from records to ``StagedWork``, as far as ``BatchStager`` has come.
struct Staging {
    /// Of the batch, where it is staged ahead of its turn.
    let serial: Int?
    let admission: Admission
    let refusedByServer: Bool
    /// The work before it: once that has committed as staged, and while the epoch is the same, ``promised`` are in the vault.
    let follows: Int?
    let promised: Set<UInt128>
    /// Of the work before it: how often originals had been removed.
    let epoch: Int?

    var work: StagedWork
    var isDone = false
    /// Records masked so far.
    var position = 0
    var masked: MaskedBatch
    var refused: [(index: Int, cause: String)] = []
    /// By domain: what is still to be sealed, sorted by token; `nil` until all records are masked.
    var unsealed: [ArraySlice<OriginalReference>]?
}
