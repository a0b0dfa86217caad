/* `pick`: keeps the records whose value contains a text or, with `field`, those whose JSON member equals it. */

#include "json.h"
#include "tidegate.h"

static const tg_config_key KEYS[] = {
    {.name = "text", .kind = TG_TEXT, .required = true, .doc = "What to look for."},
    {.name = "field", .kind = TG_TEXT, .default_ = "",
     .doc = "A member of the JSON object in the value, which must be a string equal to `text`. Empty: `text` stands "
            "anywhere in the value."},
    {.name = "max.bytes", .kind = TG_INTEGER, .default_ = "65536", .doc = "The longest value that is not rejected."},
};

static tg_bytes text, field;
static size_t max_bytes;

tg_description tg_describe(void) {
    return (tg_description){
        .name = "pick",
        .version = "0.1.0",
        .summary = "Keeps the records whose value has a text in it.",
        .columns = TG_VALUE,
        .config = KEYS,
        .config_count = sizeof KEYS / sizeof *KEYS,
    };
}

const char *tg_configure(const tg_config *config) {
    text = tg_text(tg_config_text(config, "text"));
    field = tg_text(tg_config_text(config, "field"));
    const int64_t max = tg_config_integer(config, "max.bytes", 65536);
    if (text.len == 0) return "`text` is empty, which would keep everything";
    if (max < 1) return tg_format("`max.bytes` must be above 0, and is %lld", (long long)max);
    max_bytes = (size_t)max;
    return NULL;
}

static tg_verdict judge(tg_bytes value) {
    if (!value.data) return tg_drop();
    if (value.len > max_bytes) {
        return tg_reject(tg_format("the value has %zu bytes, and at most %zu are allowed", value.len, max_bytes));
    }
    return tg_keep_if(field.len ? json_member_is(value, field, text) : tg_contains(value, text));
}

const char *tg_filter(const tg_batch *batch, tg_verdicts *verdicts) {
    uint32_t kept = 0, rejected = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        const tg_record record = {batch, i};
        const tg_verdict verdict = judge(tg_value(record));
        kept += verdict.code == 0;
        rejected += verdict.code == 2;
        tg_set(verdicts, record, verdict);
    }
    if (kept) tg_count("kept", kept);
    if (rejected) tg_logf(TG_WARN, "%u of %u values are too long", rejected, batch->count);
    return NULL;
}
