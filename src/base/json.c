/*-------------------------------------------------------------------------
 *
 * json.c
 *	  jsonb values in C: the server's own code behind short names.
 *
 * No state, no locks.  What is returned lives in the current memory context.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/base/json.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/errors.h"
#include "base/json.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

bool
aj_json_is_object(const Jsonb *json)
{
	return JB_ROOT_IS_OBJECT(json);
}

bool
aj_json_is_array(const Jsonb *json)
{
	return JB_ROOT_IS_ARRAY(json) && !JB_ROOT_IS_SCALAR(json);
}

/* Number of elements of an array or of keys of an object. */
int
aj_json_length(const Jsonb *json)
{
	return (int) JB_ROOT_COUNT(json);
}

/* The element at "index", counted from 0, or NULL beyond the end. */
Jsonb *
aj_json_element(const Jsonb *array, int index)
{
	JsonbValue *value;

	value = getIthJsonbValueFromContainer((JsonbContainer *) &array->root,
										  (uint32) index);
	return value == NULL ? NULL : JsonbValueToJsonb(value);
}

/* The value of a key, or NULL if the key is missing or its value is null. */
Jsonb *
aj_json_field(const Jsonb *object, const char *key)
{
	JsonbValue buffer;
	JsonbValue *value;

	value = getKeyJsonValueFromContainer((JsonbContainer *) &object->root, key,
										 (int) strlen(key), &buffer);
	if (value == NULL || value->type == jbvNull)
		return NULL;
	return JsonbValueToJsonb(value);
}

/* A scalar's text without quotes; an object's or array's JSON text. */
char *
aj_json_as_text(const Jsonb *json)
{
	JsonbValue value;

	if (JsonbExtractScalar((JsonbContainer *) &json->root, &value) &&
		value.type == jbvString)
		return pnstrdup(value.val.string.val, value.val.string.len);
	return JsonbToCString(NULL, (JsonbContainer *) &json->root, VARSIZE(json));
}

/* aj_json_field() as text, or NULL. */
char *
aj_json_text_field(const Jsonb *object, const char *key)
{
	Jsonb *field = aj_json_field(object, key);

	return field == NULL ? NULL : aj_json_as_text(field);
}

static bool
is_known(const char *const *known, const char *key, int length)
{
	for (; *known != NULL; known++)
		if ((int) strlen(*known) == length &&
			strncmp(*known, key, (size_t) length) == 0)
			return true;
	return false;
}

static char *
join_names(const char *const *names)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; names[i] != NULL; i++)
		appendStringInfo(&text, "%s%s", i == 0 ? "" : ", ", names[i]);
	return text.data;
}

/*
 * aj_json_check_keys
 *		Refuse keys that are not in "known", a list that ends with NULL;
 *		"what" names the kind of object in the message.
 *
 * ERRCODE_INVALID_PARAMETER_VALUE, with the accepted keys in the hint.
 */
void
aj_json_check_keys(const Jsonb *object, const char *what,
				   const char *const *known)
{
	JsonbIterator *it = JsonbIteratorInit((JsonbContainer *) &object->root);
	JsonbValue value;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token != WJB_KEY ||
			is_known(known, value.val.string.val, value.val.string.len))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown key \"%s\" in %s",
						aj_clip(pnstrdup(value.val.string.val,
										 (Size) value.val.string.len)),
						what),
				 errhint("Accepted keys are: %s.", join_names(known))));
	}
}

/* Parse JSON text; the server's own error if it is none. */
Jsonb *
aj_json_parse(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

static void
push_key(AjJson *json, const char *key)
{
	JsonbValue value;

	value.type = jbvString;
	value.val.string.val = pstrdup(key);
	value.val.string.len = (int) strlen(key);
	(void) pushJsonbValue(&json->state, WJB_KEY, &value);
}

void
aj_json_begin(AjJson *json)
{
	json->state = NULL;
	(void) pushJsonbValue(&json->state, WJB_BEGIN_OBJECT, NULL);
}

void
aj_json_add_text(AjJson *json, const char *key, const char *text)
{
	JsonbValue value;

	if (text == NULL)
		return;
	push_key(json, key);
	value.type = jbvString;
	value.val.string.val = pstrdup(text);
	value.val.string.len = (int) strlen(text);
	(void) pushJsonbValue(&json->state, WJB_VALUE, &value);
}

void
aj_json_add_int(AjJson *json, const char *key, int64 number)
{
	JsonbValue value;

	push_key(json, key);
	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(number);
	(void) pushJsonbValue(&json->state, WJB_VALUE, &value);
}

void
aj_json_add_json(AjJson *json, const char *key, const Jsonb *added)
{
	JsonbValue value;

	if (added == NULL)
		return;
	push_key(json, key);
	value.type = jbvBinary;
	value.val.binary.data = (JsonbContainer *) &added->root;
	value.val.binary.len = (int) VARSIZE(added) - VARHDRSZ;
	(void) pushJsonbValue(&json->state, WJB_VALUE, &value);
}

Jsonb *
aj_json_end(AjJson *json)
{
	return JsonbValueToJsonb(
		pushJsonbValue(&json->state, WJB_END_OBJECT, NULL));
}
