internal import CLibCrypto
internal import CLibSodium

/// Versions of the libraries that this process runs with, which may differ from those it was built with.
package enum CryptoLibraries {
    package static var sodium: String { unsafe String(cString: sodium_version_string()) }

    /// `3.0.17`.
    package static var openSSL: String {
        "\(OPENSSL_version_major()).\(OPENSSL_version_minor()).\(OPENSSL_version_patch())"
    }
}
