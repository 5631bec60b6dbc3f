/// What a key is for. A key is never used for two purposes.
package enum KeyPurpose: String, Sendable, CaseIterable {
    case token
    case recovery
    case signing
    case checkpoint
}

/// What a key may still do (NIST SP 800-57 part 1, section 7). It only ever moves down this list.
package enum KeyState: String, Sendable, CaseIterable {
    /// Made, and not used yet.
    case preActivation = "pre-activation"
    /// Makes and opens.
    case active
    /// Opens what it once made; makes nothing new.
    case deactivated
    /// As deactivated, and somebody else may hold it: rotate what it protects.
    case compromised
    /// The material is gone. Keyring files do not list such keys, the database does.
    case destroyed

    package func mayBecome(_ next: KeyState) -> Bool {
        switch (self, next) {
        case (.preActivation, .active), (.active, .deactivated): true
        case (.preActivation, .compromised), (.active, .compromised), (.deactivated, .compromised): true
        case (.preActivation, .destroyed), (.deactivated, .destroyed), (.compromised, .destroyed): true
        default: false
        }
    }
}

/// What everybody may know of a key.
package struct KeyDescription: Sendable, Equatable {
    package let purpose: KeyPurpose
    /// As people call it; `token-v1` for token keys.
    package let name: String
    package let id: KeyID
    /// Of token keys only.
    package let version: KeyVersion?
    package let state: KeyState
    /// `YYYY-MM-DDTHH:MM:SSZ`.
    package let created: String
    /// Of recovery keys: the domains that the key may open, `nil` for all.
    package let domains: [String]?
    package let publicKey: [UInt8]?
}
