#include <zlib.h>

// inflateInit2 is a macro. 15 + 16: a gzip member, and nothing else.
static inline int tv_inflate_begin(z_stream *stream) {
    return inflateInit2(stream, 15 + 16);
}
