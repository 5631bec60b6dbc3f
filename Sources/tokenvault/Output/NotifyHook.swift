import Foundation
import VaultCrypto
import VaultStore

/// What `notify_command` is called for.
enum NotifyEvent: String {
    case request
    case approval
    case denial
    case breakGlass = "break-glass"
}

extension RequestStanding {
    /// One JSON object for the hook: who, how many, why; never a token or a value.
    func facts(_ event: NotifyEvent, actor: String, approvals: Int? = nil, needed: Int? = nil) -> String {
        var line = JSONLine()
        line.add("event", event.rawValue)
        line.add("request", Hex.encode(id))
        line.add("requester", requester)
        line.add("actor", actor)
        line.add("kind", kind)
        line.add("values", itemCount)
        line.add("domains", counts: counts)
        line.add("reason", reason)
        line.add("ticket", ticket)
        line.add("approvals", approvals ?? self.approvals)
        line.add("approvals_needed", needed ?? approvalsNeeded)
        line.add("lapses", lapses)
        return line.text
    }
}

/// The program that `notify_command` names, under way. It gets one line of JSON on standard input and nothing by argument.
///
/// Whatever goes wrong is a warning: a hook neither delays the database's part nor changes an exit code. It gets five seconds,
/// a few harmless variables of the environment, and standard error for both of its outputs. What it leaves running in its
/// process group ends with it, or whoever reads this program's standard error to its end would wait for that.
/// docs/FORMATS.md, section 10.
final class NotifyHook {
    private static let allowance = Duration.seconds(5)
    private static let environment = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ"]

    private let process: pid_t
    private var input: Int32
    private var rest: ArraySlice<UInt8>
    private let deadline = ContinuousClock.now + allowance

    private init(process: pid_t, input: Int32, text: String) {
        self.process = process
        self.input = input
        rest = Array((text + "\n").utf8)[...]
    }

    /// Starts the hook, or warns and gives `nil`; `nil` as well where none is configured.
    static func start(_ settings: Settings, _ facts: String) -> NotifyHook? {
        guard let text = settings.string(.notifyCommand, flag: nil) else { return nil }
        guard let words = commandWords(text), let program = words.first, program.hasPrefix("/") else {
            warn("does not begin with an absolute path, or has a quote without its end; nobody was notified")
            return nil
        }
        var ends: [Int32] = [0, 0]
        guard unsafe pipe(&ends) == 0 else {
            warn("was not started: \(systemError())")
            return nil
        }
        let variables = environment.compactMap { name in
            ProcessInfo.processInfo.environment[name].map { "\(name)=\($0)" }
        }
        let (process, code) = spawn(words, variables, input: ends[0], closing: ends[1])
        close(ends[0])
        guard let process else {
            close(ends[1])
            warn("was not started: \(systemError(code))")
            return nil
        }
        _ = fcntl(ends[1], F_SETFD, FD_CLOEXEC)
        _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
        let hook = NotifyHook(process: process, input: ends[1], text: facts)
        hook.feed(wait: 0)
        return hook
    }

    /// Waits for the hook's end, for what is left of its time, and ends it then.
    func finish() {
        var status: Int32 = 0
        while ContinuousClock.now < deadline {
            feed(wait: 10)
            if hasEnded {
                stopFeeding()
                kill(-process, SIGKILL)  // before it is waited for: until then its number is nobody else's
                _ = unsafe waitpid(process, &status, 0)
                if status != 0 {
                    let signal = status & 0x7F
                    Self.warn(
                        signal == 0 ? "ended with exit code \(status >> 8 & 0xFF)" : "was ended by signal \(signal)")
                }
                return
            }
        }
        stopFeeding()
        kill(-process, SIGKILL)
        _ = unsafe waitpid(process, &status, 0)
        Self.warn("did not end within 5 seconds and was stopped")
    }

    private var hasEnded: Bool {
        var found = unsafe siginfo_t()
        let code = unsafe waitid(P_PID, id_t(process), &found, WEXITED | WNOHANG | WNOWAIT)
        return unsafe code == 0 ? found.si_signo == SIGCHLD : errno != EINTR
    }

    /// Writes what the pipe takes now, or sleeps `wait` milliseconds when nothing is left or nothing is taken.
    private func feed(wait: Int32) {
        guard input >= 0 else {
            if wait > 0 { usleep(useconds_t(wait) * 1000) }
            return
        }
        var ready = [pollfd(fd: input, events: Int16(POLLOUT), revents: 0)]
        guard unsafe poll(&ready, 1, wait) > 0 else { return }
        let count = unsafe rest.withUnsafeBytes { unsafe write(input, $0.baseAddress, $0.count) }
        if count > 0 { rest = rest.dropFirst(count) }
        // A hook may close its input unread: that is its own affair.
        if rest.isEmpty || (count < 0 && errno != EAGAIN && errno != EINTR) { stopFeeding() }
    }

    private func stopFeeding() {
        if input >= 0 { close(input) }
        input = -1
    }

    private static func warn(_ text: String) { Messages.warning("notify_command \(text)") }

    /// A process group of its own, so that all of it can be ended; signals as a fresh program expects them.
    private static func spawn(
        _ words: [String], _ variables: [String], input: Int32, closing: Int32
    ) -> (process: pid_t?, code: Int32) {
        var actions = unsafe posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        unsafe posix_spawn_file_actions_init(&actions)
        unsafe posix_spawnattr_init(&attributes)
        defer {
            unsafe posix_spawn_file_actions_destroy(&actions)
            unsafe posix_spawnattr_destroy(&attributes)
        }
        unsafe posix_spawn_file_actions_addclose(&actions, closing)
        unsafe posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
        unsafe posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO)
        if input != STDIN_FILENO { unsafe posix_spawn_file_actions_addclose(&actions, input) }
        var (all, none) = (sigset_t(), sigset_t())
        unsafe sigemptyset(&none)
        unsafe sigemptyset(&all)
        for number in [SIGPIPE, SIGTERM, SIGINT, SIGHUP] { unsafe sigaddset(&all, number) }
        unsafe posix_spawnattr_setsigdefault(&attributes, &all)
        unsafe posix_spawnattr_setsigmask(&attributes, &none)
        unsafe posix_spawnattr_setpgroup(&attributes, 0)
        unsafe posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))

        var arguments = unsafe words.map { unsafe strdup($0) } + [nil]
        var environment = unsafe variables.map { unsafe strdup($0) } + [nil]
        defer {
            unsafe (arguments + environment).forEach { unsafe free($0) }
        }
        var process: pid_t = 0
        let code = unsafe posix_spawn(&process, words[0], &actions, &attributes, &arguments, &environment)
        return (code == 0 ? process : nil, code)
    }
}

/// The words of a command, without a shell: separated by spaces and tabs; '…' and "…" keep what they enclose, also within a
/// word. Nothing else means anything: no variables, no globs, no escapes. `nil` for a quote without its end.
func commandWords(_ text: String) -> [String]? {
    var words: [String] = []
    var word: String?
    var quote: Character?
    for character in text {
        if let open = quote {
            if character == open { quote = nil } else { word?.append(character) }
        } else if character == "'" || character == "\"" {
            quote = character
            word = word ?? ""
        } else if character == " " || character == "\t" {
            if let ended = word { words.append(ended) }
            word = nil
        } else {
            word = (word ?? "") + String(character)
        }
    }
    if let word { words.append(word) }
    return quote == nil ? words : nil
}
