import VaultCrypto
import VaultStore

extension AuditReceipt {
    /// `SEQUENCE:HEAD`, as printed.
    var text: String { "\(sequence):\(Hex.encode(head))" }

    init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let sequence = Int(parts[0]), sequence >= 1, String(sequence) == parts[0],
            let head = Hex.decode(String(parts[1])), head.count == 32
        else { return nil }
        self.init(sequence: sequence, head: head)
    }
}

extension AuditEvent {
    /// `YYYY-MM-DDTHH:MM:SS.uuuuuuZ`.
    var time: String {
        let (day, rest) = (microseconds.floored(by: 86_400_000_000), microseconds.remainder(by: 86_400_000_000))
        // Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days.
        let shifted = day + 719_468
        let era = shifted.floored(by: 146_097)
        let ofEra = shifted - era * 146_097
        let year = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * year + year / 4 - year / 100)
        let month = (5 * ofYear + 2) / 153
        let date = (
            year: year + era * 400 + (month >= 10 ? 1 : 0), month: month < 10 ? month + 3 : month - 9,
            day: ofYear - (153 * month + 2) / 5 + 1
        )
        let seconds = rest / 1_000_000
        return
            "\(pad(date.year, 4))-\(pad(date.month, 2))-\(pad(date.day, 2))T\(pad(seconds / 3600, 2)):\(pad(seconds / 60 % 60, 2)):\(pad(seconds % 60, 2)).\(pad(rest % 1_000_000, 6))Z"
    }

    private func pad(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }

    var json: String {
        var line = JSONLine()
        line.add("sequence", sequence)
        line.add("id", Hex.encode(id))
        line.add("time", time)
        line.add("actor", actor)
        line.add("address", address)
        line.add("action", action)
        line.add("object", object)
        line.add("reason", reason)
        line.add("ticket", ticket)
        line.add("outcome", outcome)
        line.add("head", Hex.encode(head))
        return line.text
    }
}

extension Int {
    fileprivate func floored(by divisor: Int) -> Int { (self - remainder(by: divisor)) / divisor }
    fileprivate func remainder(by divisor: Int) -> Int { (self % divisor + divisor) % divisor }
}
