import Foundation

/// What the operating system says about `errno` value `code`.
func systemError(_ code: Int32 = errno) -> String { unsafe String(cString: strerror(code)) }
