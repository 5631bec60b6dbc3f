import SQS
import TestSupport
import Testing

/// Faults 19 and 20 of the list: refusals are not tried again, and say what to do.
@Suite("A queue that refuses")
struct RefusalTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let status: Int
        let code: String
        var dateOffset = 0
        let error: SQSError
        let text: String

        var testDescription: String { "\(status) \(code)" }
    }

    static let cases = [
        Case(
            status: 403, code: "ExpiredToken", error: .credentialsExpired(code: "ExpiredToken"),
            text: "have expired (ExpiredToken); get new ones"),
        Case(
            status: 403, code: "RequestTimeTooSkewed", dateOffset: -720, error: .clockSkew(seconds: 720),
            text: "clock is 12 min off (ahead)"),
        Case(
            status: 403, code: "SignatureDoesNotMatch", dateOffset: 720, error: .clockSkew(seconds: -720),
            text: "clock is 12 min off (behind)"),
        Case(
            status: 403, code: "SignatureDoesNotMatch",
            error: .credentialsRefused(code: "SignatureDoesNotMatch", region: "eu-central-1"),
            text: "signed for region eu-central-1"),
        Case(
            status: 403, code: "InvalidClientTokenId",
            error: .credentialsRefused(code: "InvalidClientTokenId", region: "eu-central-1"), text: "belong together"),
        Case(
            status: 400, code: "QueueDoesNotExist",
            error: .queueNotFound(queue: "login-queue", region: "eu-central-1"),
            text: "no queue login-queue in region eu-central-1"),
        Case(
            status: 400, code: "NonExistentQueue", error: .queueNotFound(queue: "login-queue", region: "eu-central-1"),
            text: "check the queue URL and AWS_REGION"),
        Case(
            status: 404, code: "InvalidAddress", error: .wrongRegion(queue: "login-queue", region: "eu-central-1"),
            text: "not served by this endpoint in region eu-central-1"),
        Case(
            status: 403, code: "AccessDeniedException", error: .accessDenied(.receive, code: "AccessDeniedException"),
            text: "grant sqs:ReceiveMessage,"),
        Case(
            status: 403, code: "KmsAccessDenied", error: .accessDenied(.receive, code: "KmsAccessDenied"),
            text: "kms:Decrypt"),
        Case(
            status: 400, code: "InvalidParameterValue",
            error: .refused(.receive, status: 400, code: "InvalidParameterValue"), text: "HTTP 400"),
        Case(status: 301, code: "", error: .refused(.receive, status: 301, code: ""), text: "HTTP 301"),
    ]

    @Test("is believed at once, and explained", arguments: cases, ["json", "xml", "header"])
    func refused(_ refusal: Case, format: String) throws {
        let stub = try SQSStub(
            #"{"messages":[{"body":"x"}],"faults":[{"kind":"status","status":\#(refusal.status),"#
                + #""code":"\#(refusal.code)","date_offset":\#(refusal.dateOffset),"format":"\#(format)","times":-1}]}"#
        )
        var client = try stub.client()
        let error = failure { _ = try client.receive(waitSeconds: 0) }
        if case .clockSkew(let seconds?)? = error, case .clockSkew(let expected?) = refusal.error {
            #expect(abs(seconds - expected) <= 2)
        } else {
            #expect(error == refusal.error)
        }
        #expect(error?.description.contains(refusal.text) == true, "\(String(describing: error))")
        #expect(error?.description.contains("\n") == false)
        let state = try stub.state()
        #expect(state.requests.count == 1)
        #expect(state.deleted.isEmpty)
    }

    @Test("credentials as expired gets new ones once, where there is a source of them")
    func renewal() throws {
        let expired = #"{"token":"new","faults":[{"kind":"status","status":403,"code":"ExpiredToken","times":TIMES}]}"#
        let stub = try SQSStub(expired.replacing("TIMES", with: "1"))
        let source = CredentialSource(canRenew: true) { (isRenewal) throws(SQSError) in
            try Credentials(
                accessKeyID: "AKIDSTUB", secretAccessKey: "stub/secret+key", sessionToken: isRenewal ? "new" : "old")
        }
        var client = try stub.client(credentials: source)
        _ = try client.approximateCounts()
        #expect(try stub.state().requests.map { $0.signature == nil } == [false, true])
        try stub.tell(expired.replacing("TIMES", with: "-1"))
        #expect(failure { _ = try client.approximateCounts() } == .credentialsExpired(code: "ExpiredToken"))
        #expect(try stub.state().requests.count == 2)
    }

    @Test("quotes no more of a strange code than letters and digits")
    func strangeCode() throws {
        let stub = try SQSStub(
            #"{"faults":[{"kind":"status","status":400,"code":"Bad\u001b[31m\nCode 10.0.0.1","times":-1}]}"#)
        var client = try stub.client()
        let error = failure { _ = try client.approximateCounts() }
        #expect(error?.description.utf8.allSatisfy { $0 >= 32 && $0 < 127 } == true)
    }
}
