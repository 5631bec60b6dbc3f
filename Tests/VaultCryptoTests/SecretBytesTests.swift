import Glibc
import Testing
import VaultCrypto

@Suite("Secrets have one owner and leave nothing behind")
struct SecretBytesTests {
    @Test("Filling in place, copying and lending give the same bytes")
    func filling() throws {
        let secret = try SecretBytes(count: 5) { page in for index in page.indices { page[index] = UInt8(index) } }
        let copy = try secret.copy()
        #expect(hex(copy) == "0001020304")
        let isEqual = copy.isEqual(to: secret)
        #expect(isEqual)
    }

    @Test("Secrets of another length or byte are not equal")
    func equality() throws {
        let secret = try SecretBytes(copying: [1, 2, 3].span)
        let results = [
            secret.isEqual(to: try SecretBytes(copying: [1, 2, 4].span)),
            secret.isEqual(to: try SecretBytes(copying: [1, 2].span)),
            secret.isEqual(to: try SecretBytes(copying: [1, 2, 3].span)),
        ]
        #expect(results == [false, false, true])
    }

    @Test("A filling that fails gives no secret")
    func failure() {
        var failure: CryptoError?
        do throws(CryptoError) {
            _ = try SecretBytes(count: 5) { _ throws(CryptoError) in throw .unusablePublicKey }
        } catch { failure = error }
        #expect(failure == .unusablePublicKey)
    }

    @Test("Random secrets differ, and the page is kept out of swap where the system agrees")
    func random() throws {
        let first = try SecretBytes(randomCount: 32)
        let second = try SecretBytes(randomCount: 32)
        let isEqual = first.isEqual(to: second)
        #expect(!isEqual)
        let isLocked = first.isLocked
        #expect(isLocked || !ProcessHardening.apply().isEmpty)
    }

    @Test("A thousand secrets come and go")
    func many() throws {
        for count in 1...1000 { _ = try SecretBytes(randomCount: count) }
    }

    @Test("Wiping empties the array")
    func wiping() {
        var bytes: [UInt8] = [1, 2, 3]
        wipe(&bytes)
        #expect(bytes.isEmpty)
        wipe(&bytes)
    }

    @Test("A hardened process writes no core file")
    func hardening() {
        _ = ProcessHardening.apply()
        var limit = rlimit()
        #expect(unsafe getrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit) == 0)
        #expect(limit.rlim_cur == 0 && limit.rlim_max == 0)
    }
}
