import Foundation
import SQS
import TestSupport
import Testing

@Suite("Signatures")
struct SignatureTests {
    @Test("are right by a second implementation, call after call on one handle")
    func stub() throws {
        let stub = try SQSStub(#"{"messages":[{"body":"é"}],"region":"eu-central-1"}"#)
        var client = try stub.client()
        for _ in 0..<200 { _ = try client.approximateCounts() }
        let batch = try client.receive(waitSeconds: 0)
        _ = client.changeVisibility(of: batch.leases, seconds: 30)
        _ = client.delete(batch.acknowledgeAll(after: Committed()))
        #expect(try stub.state().requests.allSatisfy { $0.signature == nil })
        #expect(client.retries == 0)
    }

    @Test("cover the session token of temporary credentials")
    func sessionToken() throws {
        let stub = try SQSStub(#"{"token":"FwoGZXIvYXdzE//////////+=="}"#)
        let credentials = try Credentials(
            accessKeyID: "AKIDSTUB", secretAccessKey: "stub/secret+key", sessionToken: "FwoGZXIvYXdzE//////////+==")
        var client = try stub.client(credentials: .fixed(credentials))
        _ = try client.approximateCounts()
        #expect(try stub.state().requests.map(\.signature) == [nil])
    }

    @Test("are refused by the stub when the secret is wrong: it does look")
    func wrongSecret() throws {
        let stub = try SQSStub()
        let credentials = try Credentials(accessKeyID: "AKIDSTUB", secretAccessKey: "wrong")
        var client = try stub.client(credentials: .fixed(credentials))
        #expect(
            failure { _ = try client.approximateCounts() }
                == .credentialsRefused(code: "SignatureDoesNotMatch", region: "eu-central-1"))
        #expect(try stub.state().requests.map(\.signature) == ["the signature is wrong"])
    }

    @Test("are right in moto's opinion, which verifies by botocore, and a wrong one is refused")
    func moto() throws {
        let moto = try HelperProcess(Repository.path("scripts/moto-server.sh"), [])
        defer { moto.stop() }
        let words = moto.readLine().split(separator: " ").map(String.init)
        try #require(words.count == 5 && words[0] == "ready")
        func call(secret: String) throws -> Int {
            let source = CredentialSource.fixed(try Credentials(accessKeyID: words[3], secretAccessKey: secret))
            var client = try QueueClient(
                address: QueueAddress(queueURL: words[2], endpoint: words[1], region: "eu-central-1"),
                credentials: source, options: QueueClientOptions(retry: impatient))
            let batch = try client.receive(waitSeconds: 0, visibilityTimeout: 30)
            #expect(batch.texts == ["from boto3"])
            return client.delete(batch.acknowledgeAll(after: Committed())).done
        }
        guard case .credentialsRefused? = failure({ _ = try call(secret: "wrong") }) else {
            Issue.record("moto took a wrong signature")
            return
        }
        #expect(try call(secret: words[4]) == 1)
    }
}
