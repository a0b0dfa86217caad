/* What a Tidegate plugin in C is written against: one function for a record over the columns of a batch.
 *
 * A plugin defines `tg_describe`, `tg_configure`, and what its world asks for: `tg_filter` (or TG_FILTER_RECORDS),
 * `tg_targets` and `tg_route`, or `tg_apply`. build.sh says which world by defining TIDEGATE_filter, TIDEGATE_router or
 * TIDEGATE_transform. All text is UTF-8. Nothing here needs WASI: no files, no clock, no sockets.
 */
#ifndef TIDEGATE_H
#define TIDEGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(TIDEGATE_router)
#include "generated/router.h"
#elif defined(TIDEGATE_transform)
#include "generated/transform.h"
#else
#include "generated/filter.h"
#endif

/* ---- Bytes and text ------------------------------------------------------------------------------------------------- */

/* Bytes that somebody else owns. `data` is NULL for Kafka's null, which is not the same as empty. */
typedef struct {
    const uint8_t *data;
    size_t len;
} tg_bytes;

static inline tg_bytes tg_text(const char *text) {
    return (tg_bytes){(const uint8_t *)text, text ? strlen(text) : 0};
}

static inline bool tg_equal(tg_bytes a, tg_bytes b) {
    return a.data && b.data && a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* Whether `part` stands somewhere in `whole`; an empty part does in anything but null. */
bool tg_contains(tg_bytes whole, tg_bytes part);

/* The first place from `at` on that holds one of two bytes; `end` if there is none. */
const uint8_t *tg_find_either(const uint8_t *at, const uint8_t *end, uint8_t a, uint8_t b);

/* ---- The description ------------------------------------------------------------------------------------------------ */

enum { TG_KEY = 1, TG_VALUE = 2, TG_HEADERS = 4, TG_TIMESTAMP = 8 };
typedef enum { TG_STATE_NONE, TG_STATE_PARTITION } tg_state;
typedef enum { TG_TEXT, TG_INTEGER, TG_FLOAT, TG_BOOLEAN } tg_kind;

typedef struct {
    const char *name;
    tg_kind kind;
    bool required;
    const char *default_; /* NULL: none */
    const char *doc;      /* one sentence */
    bool secret;
} tg_config_key;

typedef struct {
    const char *name, *version, *summary;
    uint8_t columns; /* of TG_KEY and its neighbours: what the others hold is never copied in */
    tg_state state;
    const tg_config_key *config;
    size_t config_count;
    uint8_t writes; /* what a transform may replace */
} tg_description;

/* To be defined by the plugin. */
tg_description tg_describe(void);

/* ---- The configuration ---------------------------------------------------------------------------------------------- */

typedef tidegate_list_tuple2_string_string_t tg_config;

/* The value of a key, or null where neither the binding nor a default gives one. Lives as long as `tg_configure` runs. */
tg_bytes tg_config_bytes(const tg_config *config, const char *key);
/* A copy that ends in a zero byte and is the plugin's; NULL if there is no value. */
char *tg_config_text(const tg_config *config, const char *key);
/* The host has checked that a TG_INTEGER key holds one, so this is `otherwise` only where there is no value. */
int64_t tg_config_integer(const tg_config *config, const char *key, int64_t otherwise);
bool tg_config_boolean(const tg_config *config, const char *key, bool otherwise);

/* To be defined by the plugin: runs once in each instance. NULL, or a sentence for whoever binds the plugin. */
const char *tg_configure(const tg_config *config);

/* Within tg_configure: with this configuration no more than these columns are needed. */
static inline void tg_narrow(uint8_t columns) {
    tidegate_plugin_host_narrow(columns);
}

/* ---- The host ------------------------------------------------------------------------------------------------------- */

typedef enum { TG_TRACE, TG_DEBUG, TG_INFO, TG_WARN, TG_ERROR } tg_level;

void tg_log(tg_level level, tg_bytes message);
/* As printf, of %s, %.*s, %d, %u, %ld, %lu, %lld, %llu, %zu, %% and %c; cut off at 512 bytes. */
__attribute__((format(printf, 2, 3))) void tg_logf(tg_level level, const char *format, ...);
void tg_count(const char *counter, uint64_t delta);

/* A sentence made as tg_logf makes its own. It is overwritten by the next one. */
__attribute__((format(printf, 1, 2))) const char *tg_format(const char *format, ...);

/* ---- Records -------------------------------------------------------------------------------------------------------- */

typedef tidegate_batch_t tg_batch;
typedef tidegate_plugin_types_bytes_column_t tg_column;

typedef struct {
    const tg_batch *batch;
    uint32_t index;
} tg_record;

/* Entry `index` of a column; null, too, if the column was not asked for. */
static inline tg_bytes tg_entry(const tg_column *column, uint32_t index) {
    const bool null = index / 8 < column->nulls.len && column->nulls.ptr[index / 8] >> index % 8 & 1;
    if (null) return (tg_bytes){NULL, 0};
    const uint32_t start = column->offsets.ptr[index];
    /* A column of empty entries has no data, and yet they are not null. */
    const uint8_t *data = column->data.len ? column->data.ptr + start : (const uint8_t *)"";
    return (tg_bytes){data, column->offsets.ptr[index + 1] - start};
}

static inline tg_bytes tg_key(tg_record record) {
    return record.batch->keys.is_some ? tg_entry(&record.batch->keys.val, record.index) : (tg_bytes){NULL, 0};
}

static inline tg_bytes tg_value(tg_record record) {
    return record.batch->values.is_some ? tg_entry(&record.batch->values.val, record.index) : (tg_bytes){NULL, 0};
}

/* The last header of this name, as Kafka's lastHeader has it. */
tg_bytes tg_header(tg_record record, const char *name);

/* Milliseconds since the Unix epoch; 0 if the column was not asked for. */
static inline int64_t tg_timestamp_ms(tg_record record) {
    const bool has = record.index < record.batch->timestamps.len;
    return has ? record.batch->timestamps.ptr[record.index] : 0;
}

/* ---- Verdicts ------------------------------------------------------------------------------------------------------- */

typedef struct {
    uint8_t code; /* 0 keep, 1 drop, 2 reject */
    const char *reason;
} tg_verdict;

static inline tg_verdict tg_keep(void) {
    return (tg_verdict){0, NULL};
}
static inline tg_verdict tg_drop(void) {
    return (tg_verdict){1, NULL};
}
/* `reason` is a sentence for whoever produced the record. */
static inline tg_verdict tg_reject(const char *reason) {
    return (tg_verdict){2, reason};
}
static inline tg_verdict tg_keep_if(bool keep) {
    return (tg_verdict){keep ? 0 : 1, NULL};
}

/* Writes the verdict on one record into a `codes` list and a `reasons` list, which begin empty: all are kept. The
 * reason is copied. */
void tg_judge(tidegate_list_u8_t *codes, tidegate_list_tuple2_u32_string_t *reasons, uint32_t count, uint32_t index,
              tg_verdict verdict);

#if defined(TIDEGATE_router)

typedef tidegate_routes_t tg_routes;
enum { TG_BY_KEY = -1, TG_SAME_PARTITION = -2 };

/* To be defined by the plugin: adds with tg_target every topic that this binding may name, exactly or as `prefix-*`. */
const char *tg_targets(tidegate_list_string_t *targets);
void tg_target(tidegate_list_string_t *targets, tg_bytes topic);
/* To be defined by the plugin. NULL, or why the whole batch failed. Records are kept here too, unless tg_stays says no. */
const char *tg_route(const tg_batch *batch, tg_routes *routes);
/* Sends a record to a topic too. Calls come in the order of the records. */
void tg_send(tg_routes *routes, uint32_t record, tg_bytes topic, int32_t partition);
void tg_stays(tg_routes *routes, uint32_t count, uint32_t record, tg_verdict verdict);

#elif defined(TIDEGATE_transform)

typedef tidegate_edits_t tg_edits;

/* To be defined by the plugin. NULL, or why the whole batch failed. What is not named stays as it is. */
const char *tg_apply(const tg_batch *batch, tg_edits *edits);
/* Replaces one record's value or key; a null one sets null. Calls for one column come in the order of the records. */
void tg_set_value(tg_edits *edits, uint32_t record, tg_bytes value);
void tg_set_key(tg_edits *edits, uint32_t record, tg_bytes key);
/* Adds a header behind those that the record has, or that were added to it before. */
void tg_add_header(tg_edits *edits, tg_record record, tg_bytes name, tg_bytes value);
/* In milliseconds since the Unix epoch. */
void tg_set_timestamp(tg_edits *edits, uint32_t record, int64_t ms);
void tg_stays(tg_edits *edits, uint32_t count, uint32_t record, tg_verdict verdict);

#else

typedef tidegate_verdicts_t tg_verdicts;

/* To be defined by the plugin, by itself or with TG_FILTER_RECORDS. NULL, or why the whole batch failed. */
const char *tg_filter(const tg_batch *batch, tg_verdicts *verdicts);

static inline void tg_set(tg_verdicts *verdicts, tg_record record, tg_verdict verdict) {
    /* Most records of most batches stay, and then there is no list to write to. */
    if (verdict.code == 0 && verdicts->codes.len == 0) return;
    if (verdict.code != 2 && verdicts->codes.len != 0) {
        verdicts->codes.ptr[record.index] = verdict.code;
        return;
    }
    tg_judge(&verdicts->codes, &verdicts->reasons, record.batch->count, record.index, verdict);
}

/* Makes the filter of a function `tg_verdict function(tg_record record)`. */
#define TG_FILTER_RECORDS(function)                                       \
    const char *tg_filter(const tg_batch *batch, tg_verdicts *verdicts) { \
        for (uint32_t i = 0; i < batch->count; i++) {                     \
            const tg_record record = {batch, i};                          \
            tg_set(verdicts, record, function(record));                   \
        }                                                                 \
        return NULL;                                                      \
    }

#endif
#endif
