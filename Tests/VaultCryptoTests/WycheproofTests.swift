import Foundation
import TestSupport
import Testing

@testable import VaultCrypto

/// Project Wycheproof's attacks and edge cases. The files stand beside the repository in our CI and nowhere else;
/// there the numbers of cases are held too, so that an emptied file does not pass.
@Suite("Project Wycheproof")
struct WycheproofTests {
    private struct File<Group: Decodable>: Decodable { let testGroups: [Group] }

    /// Reads one file's groups, or `nil` (and says so) where the files are not.
    private func groups<Group: Decodable>(_ name: String, of: Group.Type) throws -> [Group]? {
        let folder = Repository.path("../shared/vectors/wycheproof")
        guard FileManager.default.fileExists(atPath: folder) else {
            print("Wycheproof vectors are not at \(folder): \(name) not run")
            return nil
        }
        let file = URL(filePath: folder).appending(path: name)
        return try JSONDecoder().decode(File<Group>.self, from: Data(contentsOf: file)).testGroups
    }

    @Test("HMAC-SHA-256")
    func hmac() throws {
        struct Case: Decodable { let tcId: Int, key, msg, tag, result: String }
        struct Group: Decodable { let tagSize: Int, tests: [Case] }
        guard let groups = try groups("hmac_sha256_test.json", of: Group.self) else { return }
        var count = 0
        for group in groups {
            for test in group.tests {
                let key = try HMACKey(key: try secret(hex: test.key))
                let message = try bytes(test.msg)
                let code = key.code(for: message.span)
                let isEqual = Hex.encode(Array(code.prefix(group.tagSize / 8))) == test.tag
                #expect(isEqual == (test.result == "valid"), "case \(test.tcId)")
                count += 1
            }
        }
        #expect(count == 174)
    }

    @Test("HKDF-SHA-256")
    func hkdf() throws {
        struct Case: Decodable { let tcId: Int, ikm, salt, info: String, size: Int, okm, result: String }
        struct Group: Decodable { let tests: [Case] }
        guard let groups = try groups("hkdf_sha256_test.json", of: Group.self) else { return }
        var count = 0
        for test in groups.flatMap(\.tests) {
            count += 1
            let key = try secret(hex: test.ikm)
            let (salt, info) = (try bytes(test.salt), try bytes(test.info))
            do throws(CryptoError) {
                let output = try HKDFSHA256.derive(from: key, salt: salt, info: info, count: test.size)
                #expect(test.result == "valid" && hex(output) == test.okm, "case \(test.tcId)")
            } catch {
                #expect(test.result == "invalid", "case \(test.tcId)")
            }
        }
        #expect(count == 86)
    }

    private struct SealedCase: Decodable { let tcId: Int, key, iv, aad, msg, ct, tag, result: String }

    @Test("XChaCha20-Poly1305")
    func xchacha() throws {
        struct Group: Decodable { let tests: [SealedCase] }
        guard let groups = try groups("xchacha20_poly1305_test.json", of: Group.self) else { return }
        let cases = groups.flatMap(\.tests)
        for test in cases {
            #expect(try open(test) == (test.result == "valid" ? bytes(test.msg) : nil), "case \(test.tcId)")
            guard test.result == "valid" else { continue }
            #expect(try seal(test) == bytes(test.iv + test.ct + test.tag), "case \(test.tcId)")
        }
        #expect(cases.count == 315)
    }

    private func open(_ test: SealedCase) throws -> [UInt8]? {
        let (sealed, context) = (try bytes(test.iv + test.ct + test.tag), try bytes(test.aad))
        let key = try secret(hex: test.key)
        return try? XChaCha20Poly1305.open(sealed.span, context: context.span, key: key)
    }

    private func seal(_ test: SealedCase) throws -> [UInt8] {
        var output = try bytes(test.iv)
        let (plaintext, context) = (try bytes(test.msg), try bytes(test.aad))
        let key = try secret(hex: test.key)
        try XChaCha20Poly1305.encrypt(plaintext.span, context: context.span, key: key, nonceAt: 0, into: &output)
        return output
    }

    @Test("X25519 refuses exactly the public keys that give the all-zero secret")
    func x25519() throws {
        struct Case: Decodable {
            let tcId: Int, flags: [String], publicKey, privateKey, shared: String
            enum CodingKeys: String, CodingKey {
                case tcId, flags, shared
                case publicKey = "public"
                case privateKey = "private"
            }
        }
        struct Group: Decodable { let tests: [Case] }
        guard let groups = try groups("x25519_test.json", of: Group.self) else { return }
        var (count, refused) = (0, 0)
        for test in groups.flatMap(\.tests) {
            count += 1
            let publicKey = try bytes(test.publicKey)
            let isZero = test.flags.contains("ZeroSharedSecret")
            let privateKey = try secret(hex: test.privateKey)
            do throws(CryptoError) {
                let shared = try X25519.sharedSecret(privateKey: privateKey, publicKey: publicKey)
                #expect(!isZero && hex(shared) == test.shared, "case \(test.tcId)")
            } catch {
                #expect(isZero && error == .unusablePublicKey, "case \(test.tcId)")
                refused += 1
            }
            #expect(X25519.isUsable(publicKey: publicKey) == !isZero, "case \(test.tcId)")
        }
        #expect(count == 518)
        #expect(refused == 31)
    }

    @Test("Ed25519 verification")
    func ed25519() throws {
        struct Case: Decodable { let tcId: Int, msg, sig, result: String }
        struct Key: Decodable { let pk: String }
        struct Group: Decodable { let publicKey: Key, tests: [Case] }
        guard let groups = try groups("ed25519_test.json", of: Group.self) else { return }
        var count = 0
        for group in groups {
            for test in group.tests {
                count += 1
                let isValid = try SignatureVerification.isValid(
                    bytes(test.sig), of: bytes(test.msg), publicKey: bytes(group.publicKey.pk))
                #expect(isValid == (test.result == "valid"), "case \(test.tcId)")
            }
        }
        #expect(count == 151)
    }
}
