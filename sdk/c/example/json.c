#include "json.h"

enum { MAX_DEPTH = 128 };

typedef struct {
    const uint8_t *at, *end;
} cursor;

static int peek(const cursor *c) {
    return c->at < c->end ? *c->at : -1;
}

static void space(cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) c->at++;
}

static bool take(cursor *c, int byte) {
    space(c);
    if (peek(c) != byte) return false;
    c->at++;
    return true;
}

static bool is_delimiter(uint8_t byte) {
    return byte == ',' || byte == '}' || byte == ']' || byte == ':' || byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* What stands between the quotes of a string, escapes and all; `data` is NULL if there is no whole string. */
static tg_bytes quoted(cursor *c) {
    if (!take(c, '"')) return (tg_bytes){NULL, 0};
    const uint8_t *start = c->at;
    while ((c->at = tg_find_either(c->at, c->end, '"', '\\')) < c->end) {
        if (*c->at == '"') {
            const tg_bytes found = {start, (size_t)(c->at - start)};
            c->at++;
            return found;
        }
        c->at += c->end - c->at < 2 ? 1 : 2;
    }
    return (tg_bytes){NULL, 0};
}

/* Over a value that nobody asked for, without recursion. */
static bool skip(cursor *c) {
    int depth = 0;
    do {
        space(c);
        const int byte = peek(c);
        if (byte == '"') {
            if (!quoted(c).data) return false;
        } else if (byte == '{' || byte == '[') {
            if (++depth > MAX_DEPTH) return false;
            c->at++;
        } else if (byte == '}' || byte == ']') {
            if (--depth < 0) return false;
            c->at++;
        } else if (byte == ',' || byte == ':') {
            if (depth == 0) return false;
            c->at++;
        } else if (byte < 0) {
            return false;
        } else {
            while (c->at < c->end && !is_delimiter(*c->at)) c->at++;
        }
    } while (depth > 0);
    return true;
}

static int hex4(const uint8_t *at, const uint8_t *end) {
    if (end - at < 4) return -1;
    int code = 0;
    for (int i = 0; i < 4; i++) {
        const uint8_t byte = at[i] | 0x20;
        const int digit = at[i] >= '0' && at[i] <= '9' ? at[i] - '0' : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
        if (digit < 0) return -1;
        code = code * 16 + digit;
    }
    return code;
}

/* The next character of a string's inside as UTF-8: its length, 0 at the end, -1 for an escape that is none. */
static int character(cursor *c, uint8_t out[4]) {
    if (c->at == c->end) return 0;
    if (*c->at != '\\') {
        out[0] = *c->at++;
        return 1;
    }
    if (c->end - c->at < 2) return -1;
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const uint8_t escape = c->at[1];
    c->at += 2;
    const char *simple = memchr(from, escape, sizeof from - 1);
    if (simple) {
        out[0] = (uint8_t)to[simple - from];
        return 1;
    }
    int code = escape == 'u' ? hex4(c->at, c->end) : -1;
    if (code < 0) return -1;
    c->at += 4;
    if (code >= 0xd800 && code < 0xdc00 && c->end - c->at >= 6 && c->at[0] == '\\' && c->at[1] == 'u') {
        const int low = hex4(c->at + 2, c->end);
        if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            c->at += 6;
        }
    }
    if (code < 0x80) return out[0] = (uint8_t)code, 1;
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint8_t first[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (uint8_t)(first[more] | code >> 6 * more);
    for (int i = 1; i <= more; i++) out[i] = (uint8_t)(0x80 | (code >> 6 * (more - i) & 0x3f));
    return more + 1;
}

/* Whether a string's inside, unescaped, is this text. */
static bool is(tg_bytes inside, tg_bytes text) {
    if (!memchr(inside.data, '\\', inside.len)) return tg_equal(inside, text);
    cursor c = {inside.data, inside.data + inside.len};
    size_t matched = 0;
    for (;;) {
        uint8_t bytes[4];
        const int len = character(&c, bytes);
        if (len <= 0) return len == 0 && matched == text.len;
        if ((size_t)len > text.len - matched || memcmp(text.data + matched, bytes, (size_t)len) != 0) return false;
        matched += (size_t)len;
    }
}

bool json_member_is(tg_bytes document, tg_bytes name, tg_bytes text) {
    cursor c = {document.data, document.data + document.len};
    bool found = false;
    if (!take(&c, '{')) return false;
    if (take(&c, '}')) return false;
    do {
        const tg_bytes key = quoted(&c);
        if (!key.data || !take(&c, ':')) return false;
        space(&c);
        const bool string = peek(&c) == '"';
        const uint8_t *start = c.at;
        if (!skip(&c)) return false;
        if (is(key, name)) {
            const tg_bytes inside = {start + 1, string ? (size_t)(c.at - start) - 2 : 0};
            found = string && is(inside, text);
        }
    } while (take(&c, ','));
    return found && take(&c, '}');
}
