/// The JSON bodies of the four requests. Receipt handles and queue URLs are escaped; all else is fixed or a number.
enum RequestText {
    static func receive(queueURL: String, maximum: Int, waitSeconds: Int, visibilityTimeout: Int?) -> String {
        let visibility = visibilityTimeout.map { ",\"VisibilityTimeout\":\($0)" } ?? ""
        // AttributeNames is the older spelling of MessageSystemAttributeNames; some servers know only that one.
        let names = "[\"ApproximateReceiveCount\",\"SentTimestamp\"]"
        return "{\"QueueUrl\":\(quoted(queueURL)),\"MaxNumberOfMessages\":\(maximum)"
            + ",\"WaitTimeSeconds\":\(waitSeconds)\(visibility)"
            + ",\"AttributeNames\":\(names),\"MessageSystemAttributeNames\":\(names)}"
    }

    /// Entry ids are the handles' positions, from 0.
    static func batch(queueURL: String, receiptHandles: some Sequence<String>, visibilityTimeout: Int?) -> String {
        let visibility = visibilityTimeout.map { ",\"VisibilityTimeout\":\($0)" } ?? ""
        let entries = receiptHandles.enumerated().map { position, handle in
            "{\"Id\":\"\(position)\",\"ReceiptHandle\":\(quoted(handle))\(visibility)}"
        }
        return "{\"QueueUrl\":\(quoted(queueURL)),\"Entries\":[\(entries.joined(separator: ","))]}"
    }

    static func attributes(queueURL: String) -> String {
        "{\"QueueUrl\":\(quoted(queueURL)),\"AttributeNames\":"
            + "[\"ApproximateNumberOfMessages\",\"ApproximateNumberOfMessagesNotVisible\","
            + "\"ApproximateNumberOfMessagesDelayed\"]}"
    }

    /// A JSON string (RFC 8259, section 7).
    static func quoted(_ text: String) -> String {
        var json = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": json += "\\\""
            case "\\": json += "\\\\"
            case "\0"..<" ":
                let hex = String(scalar.value, radix: 16)
                json += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: json.unicodeScalars.append(scalar)
            }
        }
        return json + "\""
    }
}
