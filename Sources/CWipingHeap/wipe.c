// A heap that forgets: memory is zeroed before it can be handed out again, whoever gives it back (Swift, libpq,
// libcurl, zlib, simdjson). Buffers that are known to hold values are wiped by their owners; this is for the copies
// that nobody owns: a String's, an array's that grew, a library's.
//
// The program defines `free` and `realloc` over glibc's own, which glibc allows ("Replacing malloc") and exports as
// __libc_free and __libc_realloc. Everything else of the heap stays as it is.
#define _GNU_SOURCE
#include "CWipingHeap.h"
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// A sanitiser brings a heap of its own.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

extern void __libc_free(void *block);
extern void *__libc_realloc(void *block, size_t size);

// Whether the block is a mapping of its own, whose pages go to the kernel when it is freed: no need to touch them.
// Source: glibc, malloc/malloc.c: the bit IS_MMAPPED of the size that stands before each block.
static bool is_mapping(const void *block) {
    size_t size;
    memcpy(&size, (const char *)block - sizeof size, sizeof size);
    return size & 2;
}

void free(void *block) {
    if (block == NULL) { return; }
    if (!is_mapping(block)) { explicit_bzero(block, malloc_usable_size(block)); }
    __libc_free(block);
}

void *realloc(void *block, size_t size) {
    if (block == NULL || is_mapping(block)) { return __libc_realloc(block, size); }
    if (size == 0) {
        free(block);
        return NULL;
    }
    const size_t old = malloc_usable_size(block);
    if (size <= old) {  // stays where it is
        explicit_bzero((char *)block + size, old - size);
        return __libc_realloc(block, size);
    }
    void *larger = malloc(size);
    if (larger == NULL) { return NULL; }
    memcpy(larger, block, old);
    free(block);
    return larger;
}

#endif
