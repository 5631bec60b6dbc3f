import Foundation
import SQS
import TestSupport
import Testing

@Suite("The server's identity")
struct TransportSecurityTests {
    /// A PEM file with a fresh key and a certificate for `name`, signed by itself.
    private func certificate(for name: String, in folder: URL) throws -> String {
        let (key, certificate) = (folder.appending(path: "key").path, folder.appending(path: "certificate").path)
        try Command(
            "/usr/bin/openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", "/CN=test", "-addext", "subjectAltName=\(name)", "-keyout", key, "-out", certificate,
            ]
        ).check()
        let both = try Data(contentsOf: URL(filePath: key)) + Data(contentsOf: URL(filePath: certificate))
        let file = folder.appending(path: "both.pem")
        try both.write(to: file)
        return file.path
    }

    /// Calls an https stub that has a certificate for `name`.
    private func call(certificateFor name: String, isTrusted: Bool) throws -> SQSStub.State {
        let folder = try Repository.temporaryFolder("tls")
        defer { try? FileManager.default.removeItem(at: folder) }
        let certificate = try certificate(for: name, in: folder)
        let stub = try SQSStub(certificate: certificate)
        let options = QueueClientOptions(retry: impatient, caBundle: isTrusted ? certificate : nil)
        var client = try QueueClient(
            address: QueueAddress(queueURL: SQSStub.queueURL, endpoint: nil, environment: stub.environment),
            credentials: CredentialSource.environment(stub.environment), options: options)
        let error = failure { _ = try client.approximateCounts() }
        let state = try stub.state()
        if let error {
            #expect(state.requests.isEmpty)
            throw error
        }
        return state
    }

    @Test("is proved by a certificate of a trusted authority for its name")
    func trusted() throws {
        let state = try call(certificateFor: "IP:127.0.0.1", isTrusted: true)
        #expect(state.requests.map(\.signature) == [nil])
    }

    @Test(
        "is refused without: nothing is sent, nothing tried again, and the message says what to check",
        arguments: [("IP:127.0.0.1", false), ("DNS:sqs.eu-central-1.amazonaws.com", true)])
    func untrusted(name: String, isTrusted: Bool) throws {
        let error = failure { _ = try call(certificateFor: name, isTrusted: isTrusted) }
        guard case .untrustedServer(host: "127.0.0.1", _)? = error else {
            Issue.record("unexpected: \(String(describing: error))")
            return
        }
        #expect(error?.description.contains("AWS_CA_BUNDLE") == true)
    }

    @Test("matters to plain servers, too: https asked for is never given up")
    func plaintextServer() throws {
        let stub = try SQSStub()
        let endpoint = stub.endpoint.replacing("http:", with: "https:")
        var client = try QueueClient(
            address: QueueAddress(queueURL: SQSStub.queueURL, endpoint: endpoint, region: "eu-central-1"),
            credentials: CredentialSource.environment(stub.environment),
            options: QueueClientOptions(retry: impatient))
        guard case .unavailable(.attributes, attempts: 4, _)? = failure({ _ = try client.approximateCounts() }) else {
            Issue.record("expected no connection")
            return
        }
        #expect(try stub.state().requests.isEmpty)
    }
}
