/* Finds one string member of a JSON object, skipping over the rest: what is not asked for is not parsed. */

#ifndef JSON_H
#define JSON_H

#include "tidegate.h"

/* Whether `document` is an object with a member `name` that is the string `text`. Where names repeat, the last counts. */
bool json_member_is(tg_bytes document, tg_bytes name, tg_bytes text);

#endif
