import VaultCrypto

/// Zeroes a buffer that held personal values.
func wipeBytes(_ bytes: inout [UInt8]) { wipe(&bytes) }
