/*
 * json.h
 *	  jsonb values in C.
 */
#ifndef AJ_BASE_JSON_H
#define AJ_BASE_JSON_H

#include "base/compat.h"
#include "utils/jsonb.h"

extern bool aj_json_is_object(const Jsonb *json);
extern bool aj_json_is_array(const Jsonb *json);
extern int aj_json_length(const Jsonb *json);
extern Jsonb *aj_json_element(const Jsonb *array, int index);
extern Jsonb *aj_json_field(const Jsonb *object, const char *key);
extern char *aj_json_text_field(const Jsonb *object, const char *key);
extern char *aj_json_as_text(const Jsonb *json);
extern void aj_json_check_keys(const Jsonb *object, const char *what,
							   const char *const *known);
extern Jsonb *aj_json_parse(const char *text);

/* Building an object: begin, add, end. */
typedef struct AjJson
{
	JsonbParseState *state;
} AjJson;

extern void aj_json_begin(AjJson *json);
extern void aj_json_add_text(AjJson *json, const char *key, const char *text);
extern void aj_json_add_int(AjJson *json, const char *key, int64 value);
extern void aj_json_add_json(AjJson *json, const char *key, const Jsonb *value);
extern Jsonb *aj_json_end(AjJson *json);

#endif /* AJ_BASE_JSON_H */
