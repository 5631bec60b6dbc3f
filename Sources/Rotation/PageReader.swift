import VaultStore

/// Originals that are done in one transaction.
struct RotationPage {
    let originals: [SealedOriginal]
    /// Where the rotation's cursor stands when they are done; later passes leave it where it is.
    let end: UInt128?
}

/// What a pass of a rotation does next.
///
/// The first pass goes through the blocks of `vault.original` as they lie on disk, so that each is read and written once:
/// in order of token every page would touch every block. Later passes do what is left, wherever it lies.
struct PageReader {
    /// Blocks to read; `nil` in later passes.
    private(set) var blocks: Range<Int>?
    private let pageSize: Int
    private let place: UInt128?
    private let extent: Range<Int>
    /// Originals a block, as the last page had; the first guess is a vault of addresses and device ids.
    private var density = 50

    /// Pages may be read ahead: what is done in one does not change which originals are in the next.
    var readsAhead: Bool { blocks != nil }

    init(_ state: RotationRecord, extent: Int, pageSize: Int) {
        (self.pageSize, place) = (pageSize, state.place)
        let first = min(extent, Self.block(state.place))
        self.extent = first..<extent
        if state.pass == 1 { blocks = self.extent }
    }

    /// About how many originals this pass will have done at its end, when it did `done` up to `end`.
    func total(_ done: Int, at end: UInt128?) -> Int {
        let passed = Self.block(end) - extent.lowerBound
        guard readsAhead, passed > 0 else { return done }
        return max(done, done * extent.count / passed)
    }

    private static func block(_ place: UInt128?) -> Int { Int(UInt64(truncatingIfNeeded: place ?? 0) & 0xFFFF_FFFF) }

    /// Reads the pages after this place again.
    mutating func goBack(to end: UInt128?) {
        if let blocks { self.blocks = min(Self.block(end), blocks.upperBound)..<blocks.upperBound }
    }

    mutating func next(_ rotation: UInt128, from store: inout VaultStore) throws -> RotationPage? {
        guard blocks != nil else {
            let left = try store.rotationLeftovers(rotation, limit: pageSize)
            return left.isEmpty ? nil : RotationPage(originals: left, end: place)
        }
        while let rest = blocks, !rest.isEmpty {
            let end = min(rest.upperBound, rest.lowerBound + max(1, pageSize / density))
            let originals = try store.rotationPage(rotation, blocks: rest.lowerBound..<end)
            density = max(10, originals.count / (end - rest.lowerBound))
            blocks = end..<rest.upperBound
            if !originals.isEmpty { return RotationPage(originals: originals, end: UInt128(end)) }
        }
        return nil
    }
}

extension RotationRun {
    /// A reader of the pass that the rotation is in.
    mutating func pageReader(_ state: RotationRecord) throws(RotationError) -> PageReader {
        do {
            return PageReader(state, extent: try store.rotationExtent().originals, pageSize: options.pageSize)
        } catch { throw .database(error) }
    }

    /// The next page, read in a session of its own, beside those that write, with its data keys opened.
    mutating func nextPage(_ rotation: UInt128, _ reader: inout PageReader) throws(RotationError) -> RotationPage? {
        try beside { run, session throws(RotationError) in
            do {
                let page = try reader.next(rotation, from: &session)
                if let page { try run.open(dataKeys: page.originals.map(\.dataKey), from: &session) }
                return page
            } catch { throw wrapped(error) }
        }
    }

    /// Lets the reading session do something. It is opened when first needed, and closed by a failure.
    mutating func beside<Result>(
        _ body: (inout RotationRun, inout VaultStore) throws(RotationError) -> Result
    ) throws(RotationError) -> Result {
        do {
            var session = try besideSession.take() ?? VaultStore.open(options.database, limits: options.limits(.beside))
            let result = try body(&self, &session)
            besideSession = consume session
            return result
        } catch { throw wrapped(error) }
    }
}
