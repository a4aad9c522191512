/*-------------------------------------------------------------------------
 *
 * setting.c
 *	  aggjobs.setting: named values, and ${NAME} in texts.
 *
 * Every function needs a transaction and works with the rights of the
 * extension's owner; results live in the caller's memory context.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/setting.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/errors.h"
#include "base/spi.h"
#include "catalog/setting.h"
#include "lib/stringinfo.h"

/* The value of a setting, or NULL. */
char *
aj_setting_get(const char *name)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	char *value = NULL;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("SELECT s.value FROM aggjobs.setting s WHERE s.name = $1"
				   " ORDER BY s.builtin LIMIT 1",
				   AJ_ARGS(aj_arg_text(name))) > 0)
		value = aj_spi_text(0, 1, context);
	aj_spi_close(&spi);
	return value;
}

/* Set a setting, new or not. */
void
aj_setting_put(const char *name, const char *value)
{
	(void) aj_catalog_run("INSERT INTO aggjobs.setting AS s (name, value)"
						  " VALUES ($1, $2)"
						  " ON CONFLICT (name, builtin) DO UPDATE"
						  " SET value = excluded.value,"
						  " changed_by = session_user, changed_at = now()",
						  AJ_ARGS(aj_arg_text(name), aj_arg_text(value)));
}

/* Remove a setting, so that a built-in one counts again; false if none. */
bool
aj_setting_remove(const char *name)
{
	return aj_catalog_run("DELETE FROM aggjobs.setting"
						  " WHERE name = $1 AND NOT builtin",
						  AJ_ARGS(aj_arg_text(name))) > 0;
}

typedef struct Expansion
{
	char *text;	   /* NULL if it could not be done */
	char *unknown; /* the name that does not exist */
} Expansion;

/* Replace each ${NAME}; "" as the unknown name stands for a missing "}". */
static Expansion
expand(const char *text)
{
	Expansion result = {0};
	StringInfoData out;
	const char *at = text;
	const char *open;

	initStringInfo(&out);
	while ((open = strstr(at, "${")) != NULL)
	{
		const char *close = strchr(open, '}');
		char *value;

		result.unknown =
			close == NULL ? "" : pnstrdup(open + 2, (Size) (close - open - 2));
		if (close == NULL)
			return result;
		value = aj_setting_get(result.unknown);
		if (value == NULL)
			return result;
		appendBinaryStringInfo(&out, at, (int) (open - at));
		appendStringInfoString(&out, value);
		at = close + 1;
	}
	appendStringInfoString(&out, at);
	result.text = out.data;
	return result;
}

/*
 * aj_setting_expand
 *		"text" with each ${NAME} replaced by the value of that setting.
 *
 * Values are not expanded again.  Errors: 42704 for an unknown name, 22023
 * for a "${" that is never closed.
 */
char *
aj_setting_expand(const char *text)
{
	Expansion result = expand(text);

	if (result.text != NULL)
		return result.text;
	if (result.unknown[0] == '\0')
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("no setting is named between \"${\" and \"}\" in \"%s\"",
					aj_clip(text)),
			 errhint("Write ${NAME}, with the name of a setting.")));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("setting \"%s\" does not exist", aj_clip(result.unknown)),
			 errdetail("It is used in \"%s\".", aj_clip(text)),
			 errhint("Set it with SELECT aggjobs_set('%s', value).",
					 aj_clip(result.unknown))));
}

/* The same, but NULL instead of an error. */
char *
aj_setting_try_expand(const char *text)
{
	return strstr(text, "${") == NULL ? pstrdup(text) : expand(text).text;
}

/* The settings called retention.TABLE, in the order of their names. */
AjRetentionSetting *
aj_setting_retentions(int *n)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	AjRetentionSetting *settings;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) aj_spi_run(
		"SELECT DISTINCT ON (s.name) substr(s.name, 11), s.value"
		" FROM aggjobs.setting s"
		" WHERE s.name LIKE 'retention.%'"
		" ORDER BY s.name, s.builtin",
		AJ_NO_ARGS);
	settings =
		MemoryContextAlloc(context,
						   sizeof(AjRetentionSetting) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		settings[i].table = aj_spi_text((uint64) i, 1, context);
		settings[i].keep = aj_spi_text((uint64) i, 2, context);
	}
	aj_spi_close(&spi);
	return settings;
}
