#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// simdjson is C++; this is all of it that Swift sees. The parsed document is a
// flat array of nodes in document order, and one arena of unescaped UTF-8 text.
// No C++ exception leaves these functions; every one may be called at any time.

#ifdef __cplusplus
extern "C" {
#endif

enum {
    TV_JSON_NULL,
    TV_JSON_FALSE,
    TV_JSON_TRUE,
    TV_JSON_INTEGER,  // value: the int64_t's bits
    TV_JSON_NUMBER,   // a number that is no int64_t; its value is not kept
    TV_JSON_STRING,   // value: offset in the arena << 32 | length
    TV_JSON_ARRAY,    // value: number of elements
    TV_JSON_OBJECT,   // value: number of members
};

enum {
    TV_JSON_OK,
    TV_JSON_MALFORMED,
    TV_JSON_INVALID_UTF8,
    TV_JSON_TOO_DEEP,
    TV_JSON_TOO_LARGE,
    TV_JSON_BAD_NUMBER,  // malformed or out of range: the caller finds out which
    TV_JSON_DUPLICATE_KEY,
    TV_JSON_EMPTY,
    TV_JSON_OUT_OF_MEMORY,
};

static const uint32_t TV_JSON_NO_KEY = UINT32_MAX;

typedef struct {
    uint32_t kind;
    uint32_t end;         // index of the first node after this one and all below it
    uint32_t key_offset;  // of a member's name, in the arena
    uint32_t key_length;  // TV_JSON_NO_KEY for what is no member of an object
    uint64_t value;
} tv_json_node;

typedef struct {
    const tv_json_node *nodes;
    size_t node_count;
    const uint8_t *text;
    size_t text_length;
} tv_json_document;

typedef struct tv_json_parser tv_json_parser;

// NULL when there is no memory.
tv_json_parser *tv_json_parser_create(void);

// Wipes, then frees.
void tv_json_parser_destroy(tv_json_parser *parser);

// Containers may stand at most max_depth deep. *document is valid until the next
// call on this parser, and empty unless the result is TV_JSON_OK.
int tv_json_parse(
    tv_json_parser *parser, const uint8_t *bytes, size_t length, size_t max_length, size_t max_depth,
    tv_json_document *document);

// Zeroes every buffer that held a part of a document.
void tv_json_parser_wipe(tv_json_parser *parser);

#ifdef __cplusplus
}
#endif
