// swift-tools-version: 6.2
import PackageDescription

/// One dialect for every target: unsafe code must say `unsafe`, imports are
/// internal unless said otherwise, existentials are spelled `any`.
let dialect: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
]

let package = Package(
    name: "tokenvault",
    products: [.executable(name: "tokenvault", targets: ["tokenvault"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.6.0"),
        .package(url: "https://github.com/jpsim/Yams.git", from: "6.0.0"),
    ],
    targets: [
        // C libraries: module maps and shims only. Each is imported by exactly one Swift target.
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CLibCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CLibCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CLibSodium", pkgConfig: "libsodium", providers: [.apt(["libsodium-dev"])]),
        .systemLibrary(name: "CLibZ", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "CSimdjson", linkerSettings: [.linkedLibrary("simdjson")]),
        .target(name: "CWipingHeap"),

        // Arrows point down this list only.
        .executableTarget(
            name: "tokenvault",
            dependencies: [
                "Ingest", "Recovery", "Rotation", "Erasure", "Doctor", "VaultStore", "Tokenization", "SQS", "Keys",
                "Postgres",
                "VaultCrypto", "CWipingHeap",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: dialect),
        .target(
            name: "Ingest",
            dependencies: ["VaultStore", "SQS", "Tokenization", "Keys", "Postgres", "JSON", "VaultCrypto", "CLibZ"],
            swiftSettings: dialect),
        .target(
            name: "Recovery", dependencies: ["VaultStore", "Tokenization", "Keys", "Postgres", "VaultCrypto"],
            swiftSettings: dialect),
        .target(
            name: "Rotation", dependencies: ["VaultStore", "Tokenization", "Keys", "Postgres", "VaultCrypto"],
            swiftSettings: dialect),
        .target(
            name: "Erasure", dependencies: ["VaultStore", "Postgres", "VaultCrypto"], swiftSettings: dialect),
        .target(
            name: "Doctor", dependencies: ["VaultStore", "SQS", "Keys", "Postgres", "VaultCrypto"],
            swiftSettings: dialect),
        .target(
            name: "VaultStore", dependencies: ["Postgres", "Tokenization", "Keys", "VaultCrypto"],
            swiftSettings: dialect),
        .target(name: "Tokenization", dependencies: ["Keys", "JSON", "VaultCrypto"], swiftSettings: dialect),
        .target(name: "SQS", dependencies: ["CLibCurl", "JSON", "VaultCrypto"], swiftSettings: dialect),
        .target(name: "Keys", dependencies: ["JSON", "VaultCrypto"], swiftSettings: dialect),
        .target(name: "Postgres", dependencies: ["CLibPQ"], swiftSettings: dialect),
        .target(name: "JSON", dependencies: ["CSimdjson"], swiftSettings: dialect),
        .target(name: "VaultCrypto", dependencies: ["CLibCrypto", "CLibSodium"], swiftSettings: dialect),

        // Real servers for tests: a private PostgreSQL cluster, an SQS-compatible server.
        .target(
            name: "TestSupport", dependencies: ["Postgres"], path: "Tests/TestSupport", swiftSettings: dialect),
        .testTarget(name: "JSONTests", dependencies: ["JSON"], swiftSettings: dialect),
        .testTarget(name: "VaultCryptoTests", dependencies: ["VaultCrypto", "TestSupport"], swiftSettings: dialect),
        .testTarget(
            name: "KeysTests", dependencies: ["Keys", "VaultCrypto", "TestSupport"],
            swiftSettings: dialect),
        .testTarget(
            name: "TokenizationTests", dependencies: ["Tokenization", "Keys", "VaultCrypto", "JSON", "TestSupport"],
            exclude: ["Vectors"], swiftSettings: dialect),
        .testTarget(name: "PostgresTests", dependencies: ["Postgres", "TestSupport"], swiftSettings: dialect),
        .testTarget(
            name: "DatabaseTests", dependencies: ["VaultStore", "Postgres", "VaultCrypto", "TestSupport"],
            swiftSettings: dialect),
        .testTarget(name: "SQSTests", dependencies: ["SQS", "TestSupport"], swiftSettings: dialect),
        .testTarget(
            name: "DoctorTests", dependencies: ["Doctor", "TestSupport", "Postgres", "tokenvault"],
            exclude: ["fakes.c"],
            swiftSettings: dialect),
        .testTarget(
            name: "RotationTests", dependencies: ["TestSupport", "Postgres", "tokenvault"], swiftSettings: dialect),
        .testTarget(
            name: "ErasureTests", dependencies: ["TestSupport", "Postgres", "tokenvault"], swiftSettings: dialect),
        .testTarget(
            name: "CommandTests", dependencies: ["TestSupport", "Postgres", "tokenvault"], swiftSettings: dialect),
    ],
    cxxLanguageStandard: .cxx17
)
