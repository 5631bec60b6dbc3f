import SQS
import Testing

@Suite("Queue addresses")
struct QueueAddressTests {
    @Test(
        "tell the region where the host does",
        arguments: [
            ("sqs.eu-central-1.amazonaws.com", "eu-central-1"), ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("sqs-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"), ("queue.amazonaws.com", "us-east-1"),
            ("eu-west-1.queue.amazonaws.com", "eu-west-1"), ("sqs.ap-south-2.api.aws", "ap-south-2"),
            ("vpce-0a1b-c2d3.sqs.eu-west-3.vpce.amazonaws.com", "eu-west-3"),
        ])
    func region(host: String, region: String) throws {
        let address = try QueueAddress(queueURL: "https://\(host)/123456789012/q.fifo", region: "us-west-1")
        #expect(address.region == region)
        #expect(address.endpoint == "https://\(host)/")
        #expect(address.queueName == "q.fifo")
    }

    @Test("take the region from the environment elsewhere, and fail without it")
    func regionFromEnvironment() throws {
        let url = "https://sqs.amazonaws.com.evil.example/1/q"
        let both = ["AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"]
        #expect(try QueueAddress(queueURL: url, endpoint: nil, environment: both).region == "eu-west-1")
        let other = ["AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-west-2"]
        #expect(try QueueAddress(queueURL: url, endpoint: nil, environment: other).region == "eu-west-2")
        #expect(throws: SQSError.invalidSettings("the queue URL does not name its AWS region; set AWS_REGION")) {
            try QueueAddress(queueURL: url, endpoint: nil, environment: [:])
        }
    }

    @Test("take the endpoint from the flag, else AWS_ENDPOINT_URL_SQS, else AWS_ENDPOINT_URL")
    func endpoint() throws {
        let url = "https://sqs.eu-west-1.amazonaws.com/1/q"
        var environment = ["AWS_ENDPOINT_URL": "https://c.example", "AWS_ENDPOINT_URL_SQS": "https://b.example:8443/"]
        func endpoint(_ flag: String?) throws -> String {
            try QueueAddress(queueURL: url, endpoint: flag, environment: environment).endpoint
        }
        #expect(try endpoint("https://a.example") == "https://a.example/")
        #expect(try endpoint(nil) == "https://b.example:8443/")
        environment["AWS_ENDPOINT_URL_SQS"] = nil
        #expect(try endpoint(nil) == "https://c.example/")
        environment["AWS_ENDPOINT_URL"] = nil
        #expect(try endpoint(nil) == "https://sqs.eu-west-1.amazonaws.com/")
    }

    @Test(
        "may use plain http to this host",
        arguments: ["http://127.0.0.1:4566", "http://localhost:4566/", "http://[::1]:4566", "http://127.8.9.10"])
    func loopback(endpoint: String) throws {
        _ = try QueueAddress(queueURL: "http://x.example:4566/1/q", endpoint: endpoint, region: "us-east-1")
    }

    @Test(
        "may not use plain http to another, however it is spelled",
        arguments: [
            "http://sqs.eu-west-1.amazonaws.com/1/q", "http://127.0.0.1.evil.example/1/q", "http://127.evil/1/q",
            "http://localhost.evil.example/1/q", "http://10.0.0.1:4566/1/q", "http://127.0.0.256/1/q",
            "http://127.1/1/q", "http://0.0.0.0/1/q", "http://127.0.0.01/1/q",
        ])
    func plain(url: String) {
        let error = failure { _ = try QueueAddress(queueURL: url, region: "us-east-1") }
        #expect(error?.description.contains("refusing plain http") == true)
    }

    @Test(
        "are refused when they are not plainly a queue's URL",
        arguments: [
            "", "q", "https://", "https:///1/q", "ftp://h/1/q", "HTTPS://h/1/q", "https://h", "https://h/q",
            "http://127.0.0.1@evil.example/1/q", "https://user:secret@h/1/q", "https://h/1/q?x=1", "https://h/1/q#x",
            "https://h/1/%2e", "https://h/1/q\n", "https://h\\@e/1/q", "https://h:0/1/q", "https://h:70000/1/q",
            "https://h:+1/1/q", "https://é.example/1/q", "https://h/1/\u{0}q",
        ])
    func malformed(url: String) {
        let error = failure { _ = try QueueAddress(queueURL: url, region: "us-east-1") }
        #expect(error?.description.contains("the queue URL is not of the form") == true)
        if !url.isEmpty, url.contains("secret") { #expect(error?.description.contains("secret") == false) }
    }

    @Test("hold a region that could not change the signature's scope", arguments: ["eu/west", "EU", "", "a:b", "é"])
    func badRegion(region: String) {
        let error = failure { _ = try QueueAddress(queueURL: "https://h.example/1/q", region: region) }
        #expect(error?.description.contains("AWS region") == true)
    }
}
