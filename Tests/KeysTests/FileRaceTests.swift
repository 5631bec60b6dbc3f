import Foundation
import Keys
import Synchronization
import Testing
import VaultCrypto

@Suite("A key file that is swapped while it is opened")
struct FileRaceTests {
    /// Shared with the thread that swaps.
    private final class Flag: Sendable {
        private let raised = Atomic<Bool>(false)
        var isRaised: Bool { raised.load(ordering: .relaxed) }
        func raise() { raised.store(true, ordering: .relaxed) }
    }

    enum Plant: String, CaseIterable, Sendable {
        /// A symbolic link to a file that is protected as a key file should be.
        case link
        /// A file that others can write.
        case mode
        /// A folder in the way, which holds a file that others can write.
        case folder
    }

    @Test("is read as it should be or refused, never the one planted", arguments: Plant.allCases)
    func race(_ plant: Plant) throws {
        let folder = try TemporaryFolder()
        let (good, evil, live) = (folder.file("good"), folder.file("evil"), folder.file("live"))
        var path = live
        switch plant {
        case .link:
            try folder.write(Array("good".utf8), to: "good")
            try folder.write(Array("evil".utf8), to: "target")
            #expect(unsafe symlink(folder.file("target"), evil) == 0)
        case .mode:
            try folder.write(Array("good".utf8), to: "good")
            try folder.write(Array("evil".utf8), to: "evil", mode: 0o666)
        case .folder:
            #expect(unsafe mkdir(good, 0o700) == 0 && mkdir(evil, 0o700) == 0)
            try folder.write(Array("good".utf8), to: "good/key")
            try folder.write(Array("evil".utf8), to: "evil/key", mode: 0o666)
            path += "/key"
        }
        let stop = Flag()
        let ended = DispatchGroup()
        DispatchQueue(label: "swapping").async(group: ended) {
            while !stop.isRaised {
                for source in [good, evil] {
                    _ = unsafe rename(source, live)
                    _ = unsafe rename(live, source)
                }
            }
        }
        var (read, refused, planted) = (0, 0, 0)
        let start = ContinuousClock.now
        while read < 500 || refused < 500, ContinuousClock.now - start < .seconds(10) {
            do throws(KeyringError) {
                let bytes = try ProtectedFile.read(path: path, limit: 100)
                let isGood = bytes.withBytes { $0[0] == UInt8(ascii: "g") }
                if isGood { read += 1 } else { planted += 1 }
            } catch {
                if case .missing = error { continue }
                refused += 1
            }
        }
        stop.raise()
        ended.wait()
        #expect(planted == 0)
        #expect(read > 20 && refused > 20, "\(read) reads, \(refused) refusals: there was no race")
    }
}
