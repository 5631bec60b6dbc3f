import SQS
import Testing

@Suite("Credentials")
struct CredentialsTests {
    @Test("show their id and nothing else, however they are printed")
    func redacted() throws {
        let credentials = try Credentials(
            accessKeyID: "AKIDEXAMPLE", secretAccessKey: "s3cret", sessionToken: "t0ken")
        var dumped = ""
        dump(credentials, to: &dumped)
        for text in ["\(credentials)", String(reflecting: credentials), dumped, "\([credentials])"] {
            #expect(text.contains("AKIDEXAMPLE"))
            #expect(!text.contains("s3cret") && !text.contains("t0ken"))
        }
    }

    @Test(
        "are refused when a part is missing, and the message names the variable",
        arguments: ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], [nil, ""])
    func missing(variable: String, value: String?) {
        var environment = ["AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"]
        environment[variable] = value
        let error = failure { _ = try CredentialSource.environment(environment) }
        #expect(error == .credentialsMissing("\(variable) is not set"))
    }

    @Test(
        "cannot smuggle a header into the request",
        arguments: ["t\r\nX-Evil: 1", "t\nX", "a b", "t\u{0}", "é", String(repeating: "x", count: 20_000)])
    func injection(token: String) {
        let error = failure {
            _ = try Credentials(accessKeyID: "a", secretAccessKey: "b", sessionToken: token)
        }
        #expect(error == .credentialsMissing("the session token holds a character that no AWS key has"))
    }
}
