// No exceptions from simdjson; memory comes from malloc and new (std::nothrow).
#define SIMDJSON_EXCEPTIONS 0
#include "CSimdjson.h"

#include <simdjson.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace {

namespace dom = simdjson::dom;

// Up to this many members, comparing all pairs is cheaper than sorting.
constexpr size_t pairwise_limit = 12;
constexpr size_t smallest_capacity = 4096;

// A growing array that wipes what it gives up. For plain structs only.
template <typename T> struct wiped_array {
    T *items = nullptr;
    size_t count = 0;
    size_t capacity = 0;
    size_t dirty = 0;  // the most items that were ever in use since the last wipe

    ~wiped_array() {
        wipe();
        std::free(items);
    }

    bool reserve(size_t wanted) noexcept {
        if (wanted <= capacity) return true;
        size_t grown = std::max(wanted, capacity * 2);
        T *fresh = static_cast<T *>(std::calloc(grown, sizeof(T)));
        if (!fresh) return false;
        size_t used = count;
        if (used) std::memcpy(fresh, items, used * sizeof(T));
        wipe();
        std::free(items);
        items = fresh;
        capacity = grown;
        count = dirty = used;
        return true;
    }

    T *append() noexcept {
        if (count == capacity && !reserve(std::max<size_t>(64, count + 1))) return nullptr;
        T *item = &items[count++];
        if (count > dirty) dirty = count;
        return item;
    }

    void wipe() noexcept {
        if (items) explicit_bzero(items, dirty * sizeof(T));
        count = dirty = 0;
    }
};

}  // namespace

struct tv_json_parser {
    dom::parser parser;
    wiped_array<uint8_t> input;  // the document and simdjson's padding
    wiped_array<tv_json_node> nodes;
    wiped_array<tv_json_node> names;  // scratch: the members of one object, sorted by name
    size_t capacity = 0;              // longest document the buffers below have room for
    size_t max_depth = 0;
    size_t dirty = 0;  // longest document since the last wipe

    ~tv_json_parser() { wipe(); }

    static size_t text_capacity(size_t length) noexcept {
        // As in simdjson's document::allocate: five bytes of arena for every three of input, and a vector's width.
        return (5 * length / 3 + simdjson::SIMDJSON_PADDING + 63) / 64 * 64;
    }

    void wipe() noexcept {
        if (parser.doc.string_buf) explicit_bzero(parser.doc.string_buf.get(), text_capacity(dirty));
        if (parser.doc.tape) explicit_bzero(parser.doc.tape.get(), (dirty + 3) * sizeof(uint64_t));
        input.wipe();
        nodes.wipe();
        names.wipe();
        dirty = 0;
    }

    bool make_room(size_t length, size_t depth) noexcept {
        if (length <= capacity && depth == max_depth) return true;
        wipe();
        size_t wanted = std::max({length, smallest_capacity, capacity});
        if (length > capacity && capacity > 0) wanted = std::max(wanted, capacity * 2);
        capacity = 0;
        // simdjson counts the document itself as a level.
        if (parser.allocate(wanted, depth + 1) != simdjson::SUCCESS) return false;
        if (parser.doc.allocate(wanted) != simdjson::SUCCESS) return false;
        if (!input.reserve(wanted + simdjson::SIMDJSON_PADDING)) return false;
        capacity = wanted;
        max_depth = depth;
        return true;
    }

    uint32_t offset(std::string_view text) const noexcept {
        return static_cast<uint32_t>(reinterpret_cast<const uint8_t *>(text.data()) - parser.doc.string_buf.get());
    }

    bool same_name(const tv_json_node &a, const tv_json_node &b) const noexcept {
        const uint8_t *text = parser.doc.string_buf.get();
        return a.key_length == b.key_length && std::memcmp(text + a.key_offset, text + b.key_offset, a.key_length) == 0;
    }

    // The members of the object at `index` have been written.
    int check_names(uint32_t index) noexcept {
        const tv_json_node object = nodes.items[index];
        if (object.value <= pairwise_limit) {
            for (uint32_t i = index + 1; i < object.end; i = nodes.items[i].end)
                for (uint32_t j = nodes.items[i].end; j < object.end; j = nodes.items[j].end)
                    if (same_name(nodes.items[i], nodes.items[j])) return TV_JSON_DUPLICATE_KEY;
            return TV_JSON_OK;
        }
        names.count = 0;
        if (!names.reserve(object.value)) return TV_JSON_OUT_OF_MEMORY;
        for (uint32_t i = index + 1; i < object.end; i = nodes.items[i].end) *names.append() = nodes.items[i];
        const uint8_t *text = parser.doc.string_buf.get();
        std::sort(names.items, names.items + names.count, [text](const tv_json_node &a, const tv_json_node &b) {
            if (a.key_length != b.key_length) return a.key_length < b.key_length;
            return std::memcmp(text + a.key_offset, text + b.key_offset, a.key_length) < 0;
        });
        for (size_t i = 1; i < names.count; i++)
            if (same_name(names.items[i - 1], names.items[i])) return TV_JSON_DUPLICATE_KEY;
        return TV_JSON_OK;
    }

    // `room`: how many more levels may follow. simdjson has checked the depth, but does not count an empty innermost
    // container.
    int flatten(dom::element element, size_t room, uint32_t key_offset, uint32_t key_length) noexcept {
        const size_t index = nodes.count;
        if (index >= UINT32_MAX) return TV_JSON_TOO_LARGE;
        tv_json_node *node = nodes.append();
        if (!node) return TV_JSON_OUT_OF_MEMORY;
        *node = {TV_JSON_NULL, static_cast<uint32_t>(index) + 1, key_offset, key_length, 0};
        switch (element.type()) {
        case dom::element_type::NULL_VALUE: return TV_JSON_OK;
        case dom::element_type::BOOL: {
            bool value = false;
            if (element.get(value)) return TV_JSON_MALFORMED;
            node->kind = value ? TV_JSON_TRUE : TV_JSON_FALSE;
            return TV_JSON_OK;
        }
        case dom::element_type::INT64: {
            int64_t value = 0;
            if (element.get(value)) return TV_JSON_MALFORMED;
            node->kind = TV_JSON_INTEGER;
            node->value = static_cast<uint64_t>(value);
            return TV_JSON_OK;
        }
        case dom::element_type::STRING: {
            std::string_view value;
            if (element.get(value)) return TV_JSON_MALFORMED;
            node->kind = TV_JSON_STRING;
            node->value = static_cast<uint64_t>(offset(value)) << 32 | static_cast<uint32_t>(value.size());
            return TV_JSON_OK;
        }
        case dom::element_type::ARRAY: {
            if (room == 0) return TV_JSON_TOO_DEEP;
            dom::array array;
            if (element.get(array)) return TV_JSON_MALFORMED;
            uint64_t count = 0;
            for (dom::element child : array) {
                if (int failure = flatten(child, room - 1, 0, TV_JSON_NO_KEY)) return failure;
                count++;
            }
            close(index, TV_JSON_ARRAY, count);
            return TV_JSON_OK;
        }
        case dom::element_type::OBJECT: {
            if (room == 0) return TV_JSON_TOO_DEEP;
            dom::object object;
            if (element.get(object)) return TV_JSON_MALFORMED;
            uint64_t count = 0;
            for (dom::key_value_pair member : object) {
                uint32_t length = static_cast<uint32_t>(member.key.size());
                if (int failure = flatten(member.value, room - 1, offset(member.key), length)) return failure;
                count++;
            }
            close(index, TV_JSON_OBJECT, count);
            return check_names(static_cast<uint32_t>(index));
        }
        default: node->kind = TV_JSON_NUMBER; return TV_JSON_OK;
        }
    }

    void close(size_t index, uint32_t kind, uint64_t count) noexcept {
        tv_json_node &node = nodes.items[index];
        node.kind = kind;
        node.value = count;
        node.end = static_cast<uint32_t>(nodes.count);
    }
};

static int code_for(simdjson::error_code error) noexcept {
    switch (error) {
    case simdjson::SUCCESS: return TV_JSON_OK;
    case simdjson::CAPACITY: return TV_JSON_TOO_LARGE;
    case simdjson::MEMALLOC: return TV_JSON_OUT_OF_MEMORY;
    case simdjson::DEPTH_ERROR: return TV_JSON_TOO_DEEP;
    case simdjson::UTF8_ERROR: return TV_JSON_INVALID_UTF8;
    case simdjson::EMPTY: return TV_JSON_EMPTY;
    case simdjson::NUMBER_ERROR: return TV_JSON_BAD_NUMBER;
    case simdjson::NUMBER_OUT_OF_RANGE: return TV_JSON_BAD_NUMBER;
    default: return TV_JSON_MALFORMED;
    }
}

extern "C" {

tv_json_parser *tv_json_parser_create(void) { return new (std::nothrow) tv_json_parser(); }

void tv_json_parser_destroy(tv_json_parser *parser) { delete parser; }

void tv_json_parser_wipe(tv_json_parser *parser) { parser->wipe(); }

int tv_json_parse(
    tv_json_parser *self, const uint8_t *bytes, size_t length, size_t max_length, size_t max_depth,
    tv_json_document *document) {
    *document = {nullptr, 0, nullptr, 0};
    if (length == 0) return TV_JSON_EMPTY;
    if (length > max_length) return TV_JSON_TOO_LARGE;
    // Newer releases of simdjson skip a byte order mark; RFC 8259 has none.
    if (length >= 3 && std::memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) return TV_JSON_MALFORMED;
    if (!self->make_room(length, max_depth)) return TV_JSON_OUT_OF_MEMORY;

    std::memcpy(self->input.items, bytes, length);
    std::memset(self->input.items + length, 0, simdjson::SIMDJSON_PADDING);
    self->input.count = length;
    self->input.dirty = std::max(self->input.dirty, length);
    self->dirty = std::max(self->dirty, length);
    self->nodes.count = 0;

    dom::element root;
    if (simdjson::error_code error = self->parser.parse(self->input.items, length, false).get(root)) {
        return code_for(error);
    }
    if (int failure = self->flatten(root, max_depth, 0, TV_JSON_NO_KEY)) return failure;
    *document = {
        self->nodes.items, self->nodes.count, self->parser.doc.string_buf.get(),
        tv_json_parser::text_capacity(length)};
    return TV_JSON_OK;
}

}  // extern "C"
