import ArgumentParser

@main
struct Tokenvault: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tokenvault",
        abstract: "Replaces personal values with tokens, and keeps the originals sealed.")
}
