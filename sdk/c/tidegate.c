/* The other half of tidegate.h: what the generated glue calls, and what is too long to be inline. */

#include "tidegate.h"

#include <stdarg.h>
#include <stdlib.h>
#include <wasm_simd128.h>

#if defined(TIDEGATE_router)
#include "generated/router.c"
#elif defined(TIDEGATE_transform)
#include "generated/transform.c"
#else
#include "generated/filter.c"
#endif

/* The glue asks for an object file that would carry the world's type. The build puts it into the module itself. */
void __component_type_object_force_link_tidegate(void) {}

enum { SENTENCE_BYTES = 512 };

/* ---- Memory --------------------------------------------------------------------------------------------------------- */

/* Out of memory is a trap: the host throws the instance away, and the binding's error policy says what then. */
static void *grown(void *old, size_t bytes) {
    void *memory = realloc(old, bytes ? bytes : 1);
    if (!memory) abort();
    return memory;
}

/* What is given to the host is freed by the glue after the call, so it is a copy. */
static tidegate_string_t copied(tg_bytes bytes) {
    tidegate_string_t copy = {NULL, bytes.len};
    if (bytes.len == 0) return copy;
    copy.ptr = grown(NULL, bytes.len);
    memcpy(copy.ptr, bytes.data, bytes.len);
    return copy;
}

/* Room for one entry more. Lists grow by doubling: there is room up to the power of two at or above `len`. */
static void *one_more(void *list, size_t len, size_t entry_bytes) {
    const bool full = (len & (len - 1)) == 0;
    return full ? grown(list, (len ? len * 2 : 1) * entry_bytes) : list;
}

/* ---- Bytes ---------------------------------------------------------------------------------------------------------- */

/* Bit i is set where byte i of the sixteen at `at` is `byte`. */
static inline uint32_t matches(const uint8_t *at, uint8_t byte) {
    return wasm_i8x16_bitmask(wasm_i8x16_eq(wasm_v128_load(at), wasm_u8x16_splat(byte)));
}

const uint8_t *tg_find_either(const uint8_t *at, const uint8_t *end, uint8_t a, uint8_t b) {
    for (; end - at >= 16; at += 16) {
        const uint32_t found = matches(at, a) | matches(at, b);
        if (found) return at + __builtin_ctz(found);
    }
    while (at < end && *at != a && *at != b) at++;
    return at;
}

bool tg_contains(tg_bytes whole, tg_bytes part) {
    if (!whole.data || part.len > whole.len) return false;
    if (part.len == 0) return true;
    const uint8_t first = part.data[0], last = part.data[part.len - 1];
    const uint8_t *at = whole.data;
    const uint8_t *const stop = whole.data + (whole.len - part.len) + 1;
    /* Sixteen places at a time: only where the first byte and the last one fit are the others compared. */
    for (; stop - at >= 16; at += 16) {
        for (uint32_t fits = matches(at, first) & matches(at + part.len - 1, last); fits; fits &= fits - 1) {
            if (memcmp(at + __builtin_ctz(fits), part.data, part.len) == 0) return true;
        }
    }
    for (; at < stop; at++) {
        if (*at == first && memcmp(at, part.data, part.len) == 0) return true;
    }
    return false;
}

tg_bytes tg_header(tg_record record, const char *name) {
    const tg_bytes wanted = tg_text(name);
    if (!record.batch->headers.is_some) return (tg_bytes){NULL, 0};
    const tidegate_plugin_types_headers_column_t *headers = &record.batch->headers.val;
    const uint32_t start = headers->offsets.ptr[record.index];
    for (uint32_t at = headers->offsets.ptr[record.index + 1]; at-- > start;) {
        if (tg_equal(tg_entry(&headers->keys, at), wanted)) return tg_entry(&headers->values, at);
    }
    return (tg_bytes){NULL, 0};
}

/* ---- Sentences ------------------------------------------------------------------------------------------------------ */

typedef struct {
    char text[SENTENCE_BYTES];
    size_t len;
} sentence;

static void put(sentence *out, const char *bytes, size_t len) {
    const size_t room = SENTENCE_BYTES - 1 - out->len;
    const size_t taken = len < room ? len : room;
    memcpy(out->text + out->len, bytes, taken);
    out->len += taken;
}

static void put_number(sentence *out, uint64_t number, bool negative) {
    char digits[21];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    if (negative) digits[--at] = '-';
    put(out, digits + at, sizeof digits - at);
}

/* Small on purpose: printf of a C library brings its streams, and those want WASI. */
static void put_format(sentence *out, const char *format, va_list arguments) {
    for (; *format; format++) {
        if (*format != '%') {
            put(out, format, 1);
            continue;
        }
        size_t precision = SIZE_MAX;
        unsigned longs = 0;
        if (format[1] == '.' && format[2] == '*') {
            precision = (size_t)va_arg(arguments, int);
            format += 2;
        }
        for (; format[1] == 'l' || format[1] == 'z'; format++) longs += format[1] == 'l';
        switch (*++format) {
        case 'd': {
            const long long number = longs > 1    ? va_arg(arguments, long long)
                                     : longs == 1 ? va_arg(arguments, long)
                                                  : va_arg(arguments, int);
            put_number(out, number < 0 ? -(uint64_t)number : (uint64_t)number, number < 0);
            break;
        }
        case 'u': /* size_t is as wide as unsigned here, and long is too */
            put_number(out, longs > 1 ? va_arg(arguments, unsigned long long) : va_arg(arguments, unsigned), false);
            break;
        case 's': {
            const char *text = va_arg(arguments, const char *);
            size_t len = 0;
            while (len < precision && (precision != SIZE_MAX || text[len])) len++;
            put(out, text, len);
            break;
        }
        case 'c': {
            const char byte = (char)va_arg(arguments, int);
            put(out, &byte, 1);
            break;
        }
        case '%':
            put(out, "%", 1);
            break;
        default:
            return; /* the compiler has warned of it */
        }
    }
}

const char *tg_format(const char *format, ...) {
    static sentence out;
    va_list arguments;
    va_start(arguments, format);
    out.len = 0;
    put_format(&out, format, arguments);
    va_end(arguments);
    out.text[out.len] = 0;
    return out.text;
}

/* ---- The host ------------------------------------------------------------------------------------------------------- */

void tg_log(tg_level level, tg_bytes message) {
    tidegate_string_t text = {(uint8_t *)message.data, message.len};
    tidegate_plugin_host_log((uint8_t)level, &text);
}

void tg_logf(tg_level level, const char *format, ...) {
    sentence out = {.len = 0};
    va_list arguments;
    va_start(arguments, format);
    put_format(&out, format, arguments);
    va_end(arguments);
    tg_log(level, (tg_bytes){(const uint8_t *)out.text, out.len});
}

void tg_count(const char *counter, uint64_t delta) {
    tidegate_string_t name;
    tidegate_string_set(&name, counter);
    tidegate_plugin_host_counter(&name, delta);
}

/* ---- Description and configuration ---------------------------------------------------------------------------------- */

void exports_tidegate_describe(tidegate_description_t *ret) {
    const tg_description given = tg_describe();
    *ret = (tidegate_description_t){
        .name = copied(tg_text(given.name)),
        .version = copied(tg_text(given.version)),
        .summary = copied(tg_text(given.summary)),
        .columns = given.columns,
        .state = (uint8_t)given.state,
        .config = {given.config_count ? grown(NULL, given.config_count * sizeof *ret->config.ptr) : NULL,
                   given.config_count},
        .writes = given.writes,
    };
    for (size_t i = 0; i < given.config_count; i++) {
        const tg_config_key *key = &given.config[i];
        ret->config.ptr[i] = (tidegate_plugin_types_config_key_t){
            .name = copied(tg_text(key->name)),
            .kind = (uint8_t)key->kind,
            .required = key->required,
            .default_ = {key->default_ != NULL, copied(tg_text(key->default_))},
            .doc = copied(tg_text(key->doc)),
            .secret = key->secret,
        };
    }
}

tg_bytes tg_config_bytes(const tg_config *config, const char *key) {
    const tg_bytes wanted = tg_text(key);
    for (size_t i = 0; i < config->len; i++) {
        const tidegate_string_t *name = &config->ptr[i].f0, *value = &config->ptr[i].f1;
        if (tg_equal((tg_bytes){name->ptr, name->len}, wanted)) {
            /* An empty value may have no memory at all, and yet it is not null. */
            return (tg_bytes){value->len ? value->ptr : (const uint8_t *)"", value->len};
        }
    }
    return (tg_bytes){NULL, 0};
}

char *tg_config_text(const tg_config *config, const char *key) {
    const tg_bytes value = tg_config_bytes(config, key);
    if (!value.data) return NULL;
    char *text = grown(NULL, value.len + 1);
    memcpy(text, value.data, value.len);
    text[value.len] = 0;
    return text;
}

int64_t tg_config_integer(const tg_config *config, const char *key, int64_t otherwise) {
    char *text = tg_config_text(config, key);
    if (!text) return otherwise;
    const int64_t number = strtoll(text, NULL, 10);
    free(text);
    return number;
}

bool tg_config_boolean(const tg_config *config, const char *key, bool otherwise) {
    const tg_bytes value = tg_config_bytes(config, key);
    return value.data ? tg_equal(value, tg_text("true")) : otherwise;
}

/* true = fine; otherwise the sentence is the error. */
static bool told(const char *complaint, tidegate_string_t *err) {
    if (!complaint) return true;
    *err = copied(tg_text(complaint));
    return false;
}

bool exports_tidegate_configure(tidegate_list_tuple2_string_string_t *config, tidegate_string_t *err) {
    const bool fine = told(tg_configure(config), err);
    tidegate_list_tuple2_string_string_free(config);
    return fine;
}

/* ---- Verdicts ------------------------------------------------------------------------------------------------------- */

void tg_judge(tidegate_list_u8_t *codes, tidegate_list_tuple2_u32_string_t *reasons, uint32_t count, uint32_t index,
              tg_verdict verdict) {
    if (codes->len == 0) {
        if (verdict.code == 0 || count == 0) return;
        codes->ptr = grown(NULL, count);
        memset(codes->ptr, 0, count);
        codes->len = count;
    }
    codes->ptr[index] = verdict.code;
    if (verdict.code != 2) return;
    reasons->ptr = one_more(reasons->ptr, reasons->len, sizeof *reasons->ptr);
    reasons->ptr[reasons->len].f0 = index;
    reasons->ptr[reasons->len].f1 = copied(tg_text(verdict.reason ? verdict.reason : "rejected"));
    reasons->len++;
}

#if defined(TIDEGATE_router)

void tg_target(tidegate_list_string_t *targets, tg_bytes topic) {
    targets->ptr = one_more(targets->ptr, targets->len, sizeof *targets->ptr);
    targets->ptr[targets->len++] = copied(topic);
}

bool exports_tidegate_targets(tidegate_list_string_t *ret, tidegate_string_t *err) {
    *ret = (tidegate_list_string_t){NULL, 0};
    return told(tg_targets(ret), err);
}

static uint32_t topic_index(tg_routes *routes, tg_bytes topic) {
    for (size_t i = 0; i < routes->topics.len; i++) {
        if (tg_equal((tg_bytes){routes->topics.ptr[i].ptr, routes->topics.ptr[i].len}, topic)) return (uint32_t)i;
    }
    tg_target(&routes->topics, topic);
    return (uint32_t)(routes->topics.len - 1);
}

void tg_send(tg_routes *routes, uint32_t record, tg_bytes topic, int32_t partition) {
    const uint32_t target = topic_index(routes, topic);
    const size_t at = routes->records.len;
    routes->records.ptr = one_more(routes->records.ptr, at, sizeof(uint32_t));
    routes->targets.ptr = one_more(routes->targets.ptr, at, sizeof(uint32_t));
    routes->partitions.ptr = one_more(routes->partitions.ptr, at, sizeof(int32_t));
    routes->records.ptr[at] = record;
    routes->targets.ptr[at] = target;
    routes->partitions.ptr[at] = partition;
    routes->records.len = routes->targets.len = routes->partitions.len = at + 1;
}

void tg_stays(tg_routes *routes, uint32_t count, uint32_t record, tg_verdict verdict) {
    tg_judge(&routes->codes, &routes->reasons, count, record, verdict);
}

bool exports_tidegate_route(tidegate_batch_t *batch, tidegate_routes_t *ret, tidegate_string_t *err) {
    memset(ret, 0, sizeof *ret);
    const bool fine = told(tg_route(batch, ret), err);
    tidegate_batch_free(batch);
    return fine;
}

#elif defined(TIDEGATE_transform)

/* Puts one entry more at the end of a column, which has an offset more than entries. */
static void append(tidegate_plugin_types_bytes_column_t *column, tg_bytes bytes) {
    if (column->offsets.len == 0) {
        column->offsets.ptr = grown(NULL, sizeof(uint32_t));
        column->offsets.ptr[column->offsets.len++] = 0;
    }
    const size_t at = column->offsets.len - 1, from = column->data.len, end = from + bytes.len;
    column->offsets.ptr = one_more(column->offsets.ptr, at + 1, sizeof(uint32_t));
    column->offsets.ptr[column->offsets.len++] = (uint32_t)end;
    size_t room = 1;
    while (room < from) room *= 2;
    if (from == 0 || end > room) {
        while (room < end) room *= 2;
        column->data.ptr = grown(column->data.ptr, room);
    }
    if (bytes.len) memcpy(column->data.ptr + from, bytes.data, bytes.len);
    column->data.len = end;
    if (at / 8 >= column->nulls.len) {
        column->nulls.ptr = one_more(column->nulls.ptr, column->nulls.len, 1);
        column->nulls.ptr[column->nulls.len++] = 0;
    }
    if (!bytes.data) column->nulls.ptr[at / 8] |= (uint8_t)(1u << at % 8);
}

static void add_row(tidegate_list_u32_t *rows, uint32_t record) {
    rows->ptr = one_more(rows->ptr, rows->len, sizeof(uint32_t));
    rows->ptr[rows->len++] = record;
}

static void set(tidegate_plugin_types_option_bytes_edit_t *edit, uint32_t record, tg_bytes bytes) {
    edit->is_some = true;
    add_row(&edit->val.rows, record);
    append(&edit->val.column, bytes);
}

void tg_set_value(tg_edits *edits, uint32_t record, tg_bytes value) {
    set(&edits->values, record, value);
}

void tg_set_key(tg_edits *edits, uint32_t record, tg_bytes key) {
    set(&edits->keys, record, key);
}

void tg_add_header(tg_edits *edits, tg_record record, tg_bytes name, tg_bytes value) {
    tidegate_plugin_types_headers_edit_t *to = &edits->headers.val;
    const bool has_row = to->rows.len && to->rows.ptr[to->rows.len - 1] == record.index;
    if (!has_row) {
        edits->headers.is_some = true;
        if (to->column.offsets.len == 0) add_row(&to->column.offsets, 0);
        add_row(&to->rows, record.index);
        add_row(&to->column.offsets, to->column.offsets.ptr[to->column.offsets.len - 1]);
        /* An edit says all the headers that the record then has, so those that it has come first. */
        if (record.batch->headers.is_some) {
            const tidegate_plugin_types_headers_column_t *from = &record.batch->headers.val;
            for (uint32_t at = from->offsets.ptr[record.index]; at < from->offsets.ptr[record.index + 1]; at++) {
                append(&to->column.keys, tg_entry(&from->keys, at));
                append(&to->column.values, tg_entry(&from->values, at));
                to->column.offsets.ptr[to->column.offsets.len - 1]++;
            }
        }
    }
    append(&to->column.keys, name);
    append(&to->column.values, value);
    to->column.offsets.ptr[to->column.offsets.len - 1]++;
}

void tg_set_timestamp(tg_edits *edits, uint32_t record, int64_t ms) {
    tidegate_plugin_types_timestamps_edit_t *to = &edits->timestamps.val;
    edits->timestamps.is_some = true;
    add_row(&to->rows, record);
    to->values.ptr = one_more(to->values.ptr, to->values.len, sizeof(int64_t));
    to->values.ptr[to->values.len++] = ms;
}

void tg_stays(tg_edits *edits, uint32_t count, uint32_t record, tg_verdict verdict) {
    tg_judge(&edits->codes, &edits->reasons, count, record, verdict);
}

bool exports_tidegate_apply(tidegate_batch_t *batch, tidegate_edits_t *ret, tidegate_string_t *err) {
    memset(ret, 0, sizeof *ret);
    const bool fine = told(tg_apply(batch, ret), err);
    tidegate_batch_free(batch);
    return fine;
}

#else

bool exports_tidegate_filter(tidegate_batch_t *batch, tidegate_verdicts_t *ret, tidegate_string_t *err) {
    memset(ret, 0, sizeof *ret);
    const bool fine = told(tg_filter(batch, ret), err);
    tidegate_batch_free(batch);
    return fine;
}

#endif
