// Breaks one thing of the host for a program started with this in LD_PRELOAD: $BREAK says which. For HostTests.
#define _GNU_SOURCE
#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int breaks(const char *what) {
    const char *wanted = getenv("BREAK");
    return wanted && strcmp(wanted, what) == 0;
}

int PQlibVersion(void) {
    return breaks("libpq") ? 120022 : ((int (*)(void))dlsym(RTLD_NEXT, "PQlibVersion"))();
}

curl_version_info_data *curl_version_info(CURLversion age) {
    static curl_version_info_data old;
    curl_version_info_data *real = REAL(curl_version_info)(age);
    if (!breaks("libcurl")) return real;
    old = *real;
    old.version = "7.85.0";
    old.version_num = 0x075500;
    return &old;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = REAL(clock_gettime)(clock, time);
    if (clock == CLOCK_REALTIME && breaks("minute")) time->tv_sec += 60;
    if (clock == CLOCK_REALTIME && breaks("hour")) time->tv_sec -= 3600;
    return result;
}

int prctl(int option, ...) {
    if (option == PR_SET_DUMPABLE && breaks("undumpable")) {
        errno = EPERM;
        return -1;
    }
    va_list list;
    va_start(list, option);
    unsigned long a = va_arg(list, unsigned long), b = va_arg(list, unsigned long);
    unsigned long c = va_arg(list, unsigned long), d = va_arg(list, unsigned long);
    va_end(list);
    return REAL(prctl)(option, a, b, c, d);
}

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit) {
    if (resource == RLIMIT_CORE && breaks("core")) {
        errno = EPERM;
        return -1;
    }
    return REAL(setrlimit)(resource, limit);
}
