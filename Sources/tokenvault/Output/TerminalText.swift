import Foundation

/// `text` with control and bidirectional characters made visible, so that a stored value cannot drive the terminal.
func escapingControls(_ text: String) -> String {
    var escaped = ""
    for scalar in text.unicodeScalars {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate:
            escaped += "\\u{" + String(scalar.value, radix: 16) + "}"
        default: escaped.unicodeScalars.append(scalar)
        }
    }
    return escaped
}

/// Whether a person sees standard output as it is written.
var standardOutputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
