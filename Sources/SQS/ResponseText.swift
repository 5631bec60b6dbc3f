internal import JSON
internal import VaultCrypto

/// Reading what SQS answers. The responses are untrusted: each member is checked for presence and type.
/// Source: Amazon SQS API Reference (AWS JSON 1.0).
enum ResponseText {
    /// Bodies that lack the MD5 named beside them are counted, not handed on.
    static func deliveries(
        _ json: borrowing JSONParser, _ root: JSONNode
    ) throws(InvalidResponse) -> DeliveryBatch {
        var batch = DeliveryBatch()
        guard let messages = json.member("Messages", of: root) else { return batch }  // no messages: left out
        if json.kind(of: messages) == .null { return batch }
        guard json.kind(of: messages) == .array else { throw .unexpectedShape }
        for message in json.children(of: messages) {
            guard json.kind(of: message) == .object,
                let id = text("MessageId", of: message, in: json), !id.isEmpty, id.utf8.count <= 128,
                let handle = text("ReceiptHandle", of: message, in: json), !handle.isEmpty,
                let checksum = text("MD5OfBody", of: message, in: json),
                let body = json.member("Body", of: message), json.kind(of: body) == .string
            else { throw .unexpectedShape }
            let sent = attribute("SentTimestamp", of: message, in: json) ?? 0
            let receives = attribute("ApproximateReceiveCount", of: message, in: json) ?? 0
            let isStored = json.withText(of: body) { (text) -> Bool? in
                if let digest = MD5.hexDigits(of: text), digest != Array(checksum.lowercased().utf8) { return nil }
                return batch.add(
                    body: text, messageID: id, receiptHandle: handle, sentTimestamp: sent,
                    receiveCount: Int(receives))
            }
            switch isStored ?? nil {
            case nil: batch.damagedCount += 1
            case false?: throw .tooLarge(limit: Transfer.responseLimit)
            case true?: continue
            }
        }
        return batch
    }

    /// Positions that SQS confirmed, and those it refused for good. A position in neither is to be tried again;
    /// ids that were never sent are ignored.
    static func batchResult(
        _ json: borrowing JSONParser, _ root: JSONNode, sent: Int
    ) throws(InvalidResponse) -> BatchResult {
        var result = BatchResult()
        for entry in try entries("Successful", of: root, in: json) {
            if let id = text("Id", of: entry, in: json).flatMap({ Int($0) }), (0..<sent).contains(id) {
                result.done.insert(id)
            }
        }
        for entry in try entries("Failed", of: root, in: json) {
            guard let id = text("Id", of: entry, in: json).flatMap({ Int($0) }), (0..<sent).contains(id) else {
                continue
            }
            result.done.remove(id)
            let code = Refusal.name(of: (text("Code", of: entry, in: json) ?? "").utf8)
            result.lastCode = code
            if ["ReceiptHandleIsInvalid", "MessageNotInflight"].contains(code) { result.hopeless.insert(id) }
        }
        return result
    }

    static func counts(_ json: borrowing JSONParser, _ root: JSONNode) throws(InvalidResponse) -> QueueCounts {
        guard let attributes = json.member("Attributes", of: root), json.kind(of: attributes) == .object,
            let visible = number("ApproximateNumberOfMessages", of: attributes, in: json),
            let inFlight = number("ApproximateNumberOfMessagesNotVisible", of: attributes, in: json)
        else { throw .unexpectedShape }
        let delayed = number("ApproximateNumberOfMessagesDelayed", of: attributes, in: json) ?? 0
        return QueueCounts(visible: Int(visible), inFlight: Int(inFlight), delayed: Int(delayed))
    }

    private static func entries(
        _ name: StaticString, of root: JSONNode, in json: borrowing JSONParser
    ) throws(InvalidResponse) -> [JSONNode] {
        guard let list = json.member(name, of: root), json.kind(of: list) != .null else { return [] }
        guard json.kind(of: list) == .array else { throw .unexpectedShape }
        let entries = json.children(of: list)
        for entry in entries where json.kind(of: entry) != .object { throw .unexpectedShape }
        return entries
    }

    private static func text(_ name: StaticString, of node: JSONNode, in json: borrowing JSONParser) -> String? {
        json.member(name, of: node).flatMap { json.string(of: $0) }
    }

    private static func attribute(
        _ name: StaticString, of message: JSONNode, in json: borrowing JSONParser
    ) -> Int64? {
        guard let attributes = json.member("Attributes", of: message), json.kind(of: attributes) == .object else {
            return nil
        }
        return number(name, of: attributes, in: json)
    }

    /// SQS writes numbers as strings.
    private static func number(_ name: StaticString, of node: JSONNode, in json: borrowing JSONParser) -> Int64? {
        guard let member = json.member(name, of: node) else { return nil }
        let number = json.string(of: member).flatMap { Int64($0) } ?? json.integer(of: member)
        return number.flatMap { $0 >= 0 ? $0 : nil }
    }
}

struct BatchResult {
    var done: Set<Int> = []
    /// No retry will help: the message is no longer ours.
    var hopeless: Set<Int> = []
    var lastCode: String?
}
