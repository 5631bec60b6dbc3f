internal import CLibCurl

/// libcurl as a whole: started once in this process, and recent enough to sign for SQS.
enum CurlLibrary {
    /// 7.86.0, the first that signs session token and target header (`x-amz-*`). Source: curl's changelog, measured.
    private static let minimum: UInt32 = 0x07_56_00

    private static let readiness: SQSError? = {
        guard curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK else {
            return .libraryFailure("it does not initialise")
        }
        guard let info = unsafe tv_curl_version() else {
            return .libraryFailure("it does not tell its version")
        }
        guard unsafe info.pointee.version_num >= minimum else {
            return .libraryTooOld(found: unsafe String(cString: info.pointee.version))
        }
        guard unsafe info.pointee.features & CURL_VERSION_SSL != 0 else {
            return .libraryFailure("it was built without TLS")
        }
        return nil
    }()

    static func check() throws(SQSError) {
        if let readiness { throw readiness }
    }
}

/// For `doctor`: the libcurl that this process runs with.
package enum CurlVersion {
    package static var text: String {
        guard let info = unsafe tv_curl_version() else { return "unknown" }
        return unsafe String(cString: info.pointee.version)
    }

    /// `nil` when it will do; otherwise why not.
    package static var fault: SQSError? {
        do throws(SQSError) {
            try CurlLibrary.check()
            return nil
        } catch { return error }
    }
}
