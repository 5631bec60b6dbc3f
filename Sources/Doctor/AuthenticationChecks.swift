import Postgres
import VaultStore

/// How the server makes sure who connects: pg_hba.conf, for those who may read it, and this session for all.
enum AuthenticationChecks {
    private static let check = "client-authentication"

    static func run(_ store: inout VaultStore, _ findings: inout Findings) throws(PostgresError) {
        judge(store.route, &findings)
        let rules: [AuthenticationRule]
        do {
            rules = try store.authenticationRules()
        } catch {
            guard error.state == .insufficientPrivilege else { throw error }
            return findings.notChecked(
                check,
                "pg_hba.conf needs a superuser, or SELECT on pg_hba_file_rules and EXECUTE on pg_hba_file_rules()")
        }
        for rule in rules { judge(rule, &findings) }
        findings.close(check, "pg_hba.conf asks everybody for proof, and for TLS from other hosts")
    }

    /// What any role sees: whether its own login was asked for anything.
    static func judge(_ route: Route, _ findings: inout Findings) {
        guard !route.isLocal, !route.usedPassword, !route.hasOwnCertificate else { return }
        findings.warning(
            check,
            "\(route.host) let this login in without a password: unless it checked a Kerberos ticket, whoever reaches it can be this role",
            .advice("in pg_hba.conf, ask for scram-sha-256 or cert instead of trust or ident, and reload the server"))
    }

    private static func judge(_ rule: AuthenticationRule, _ findings: inout Findings) {
        let place = "line \(rule.line) of pg_hba.conf"
        func advice(_ text: String) -> Finding.Remedy { .advice("in \(place), \(text); then reload the server") }
        if let fault = rule.fault {
            guard !rule.type.isEmpty else {
                return findings.failure(
                    check,
                    "\(place) cannot be read (\(fault)): the server keeps to older rules, and does not start again",
                    advice("correct the line"))
            }
            findings.warning(
                check, "\(place) has no effect: \(fault)", advice("mend what it needs (ssl = on), or drop the line"))
        }
        guard rule.method != "reject" else { return }
        let isLocal = rule.type == "local" || isLoopback(rule.address)
        let whom = rule.type == "local" ? "local connections" : rule.address ?? "any address"
        switch rule.method {
        case "trust" where !isLocal:
            findings.failure(
                check, "\(place) trusts \(whom): whoever reaches the server is any role", advice("write scram-sha-256"))
        case "trust":
            findings.warning(
                check, "\(place) trusts \(whom): every user of the server's host is any role",
                advice(rule.type == "local" ? "write peer or scram-sha-256" : "write scram-sha-256"))
        case "ident" where !isLocal:
            findings.failure(
                check, "\(place) believes what \(whom) says about its users (ident)", advice("write scram-sha-256"))
        case "password":
            let isOpen = rule.type != "hostssl" && !isLocal
            let message = "\(place) asks \(whom) for the password itself, which the server then sees"
            isOpen
                ? findings.failure(check, message + ", and the network, too", advice("write scram-sha-256"))
                : findings.warning(check, message, advice("write scram-sha-256"))
        case "md5":
            findings.warning(
                check, "\(place) allows md5 for \(whom): a stolen hash opens the door, and is guessed fast",
                advice("write scram-sha-256, once every password is stored that way"))
        default: break
        }
        if !isLocal, ["host", "hostnossl", "hostnogssenc"].contains(rule.type) {
            findings.warning(
                check, "\(place) lets \(whom) in without TLS: tokens, reasons and sealed values can be read on the way",
                advice("write hostssl"))
        }
    }

    private static func isLoopback(_ address: String?) -> Bool {
        guard let address else { return false }
        return address.hasPrefix("127.") || address == "::1" || address == "localhost"
    }
}
