import Foundation
import Recovery
import VaultCrypto
import VaultStore

extension RecoverCommand {
    /// Refuses mixtures: what a standing request asks for, and why, is settled already.
    func checkSource() throws {
        if finishing != nil {
            guard tokens.isEmpty, source == nil, reason == nil, ticket == nil, !breakGlass else {
                throw Failure(
                    .usage, "--request ID finishes a request as it was made; give no tokens, reason or ticket")
            }
            _ = try finishing.map(requestID)
        } else if reason == nil || ticket == nil {
            throw Failure(.usage, "--reason TEXT and --ticket ID are needed; both are kept in the audit log")
        }
    }

    /// Tells the hook of a request just booked, and ends here when people have to approve it first.
    ///
    /// - Returns: the hook under way, to be finished when the values are out.
    func settle(_ request: UInt128, _ recovery: inout Recovery, _ settings: Settings) throws -> NotifyHook? {
        let standing = try recovery.standing(of: request)
        let hook = NotifyHook.start(
            settings, standing.facts(standing.isBreakGlass ? .breakGlass : .request, actor: standing.requester))
        guard standing.state == .waiting else { return hook }
        defer { hook?.finish() }
        // Made for this run, and empty; the run that finishes makes it again.
        if let outputFile { _ = unsafe unlink(outputFile) }
        try refuse(standing)
        return nil
    }

    /// A request made earlier, with its receipt printed; refused unless it may be released now.
    func standingRequest(_ recovery: inout Recovery) throws -> UInt128? {
        guard let finishing else { return nil }
        let standing = try recovery.standing(of: try requestID(finishing))
        if standing.state != .approved { try refuse(standing) }
        guard standing.kind == "tokens" else {
            throw Failure(
                .refused, "this request is for quarantined records; use `tokenvault quarantine show --request`")
        }
        Messages.receipt(standing.receipt)
        return standing.id
    }

    private func refuse(_ standing: RequestStanding) throws {
        try standing.refuse(json: output.json, finish: "recover")
    }
}

extension RequestStanding {
    /// Says why nothing is released, and whom to ask; exit 75 while it waits, 77 when it is over.
    func refuse(json asJSON: Bool, finish command: String) throws -> Never {
        let hex = Hex.encode(id)
        switch state {
        case .denied: throw Failure(.refused, "request \(hex) was denied; ask the approvers why before you ask again")
        case .lapsed: throw Failure(.refused, "request \(hex) has lapsed; request again")
        case .waiting, .approved: break
        }
        if asJSON {
            let standardOutput = StandardOutput()
            try standardOutput.line(json.text)
            try standardOutput.flush()
        }
        Messages.note(
            """
            request \(hex) asks for \(countsText) and has \(approvals) of \(approvalsNeeded) approvals. It lapses at \(lapses).
            An approver looks at it and decides by:
              tokenvault approvals show \(hex)
              tokenvault approvals approve \(hex)
            Then finish it by:
              tokenvault \(command) --request \(hex)
            """)
        throw RecoveryError.waitsForApproval(request: hex, approvals: approvalsNeeded - approvals)
    }
}
