/*-------------------------------------------------------------------------
 *
 * errors.c
 *	  Helps for messages that quote what users wrote, and kinds of errors.
 *
 * No state, no locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/base/errors.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/errors.h"
#include "mb/pg_wchar.h"

#define LONGEST 100
#define LONGEST_STORED 16384

typedef struct ErrorKind
{
	const char *prefix; /* of SQLSTATEs: a class, or one of them */
	AjErrorKind kind;
} ErrorKind;

/* From the table of error codes in the server's manual; first match counts. */
static const ErrorKind error_kinds[] = {
	{"40", AJ_ERROR_PASSES},	/* serialization failure, deadlock */
	{"55P03", AJ_ERROR_PASSES}, /* lock timeout */
	{"55006", AJ_ERROR_PASSES}, /* object in use */
	{"53", AJ_ERROR_PASSES},	/* memory, disk, connections are short */
	{"08", AJ_ERROR_PASSES},	/* connections of foreign tables and the like */
	{"57P", AJ_ERROR_PASSES},	/* shutdown, crash, cannot connect now */
	{"58030", AJ_ERROR_PASSES}, /* I/O error */
	{"72", AJ_ERROR_PASSES},	/* snapshot too old */
	{"42", AJ_ERROR_STAYS},		/* syntax, privileges, what does not exist */
	{"0A", AJ_ERROR_STAYS},		/* feature not supported */
	{"28", AJ_ERROR_STAYS},		/* invalid authorization */
	{"2B", AJ_ERROR_STAYS},		/* dependent objects */
	{"3D", AJ_ERROR_STAYS},		/* no such database */
	{"3F", AJ_ERROR_STAYS},		/* no such schema */
	{"25", AJ_ERROR_STAYS},		/* transaction state, read only included */
	{"AJ001", AJ_ERROR_STAYS},	/* a rollup differs from its query */
};

/* U+0080 to U+009F, some of which terminals obey as they do escape sequences. */
static bool
is_wide_control(const char *c)
{
	return GetDatabaseEncoding() == PG_UTF8 && (unsigned char) c[0] == 0xc2 &&
		(unsigned char) c[1] < 0xa0;
}

/*
 * aj_clip
 *		"text" fit for a message: at most 100 bytes, whole characters, control
 *		characters shown as "?", tabs as blanks, "..." where something was cut off.
 */
char *
aj_clip(const char *text)
{
	int length = (int) strlen(text);
	int kept = pg_mbcliplen(text, length, LONGEST);
	char *clipped = palloc((Size) kept + sizeof("..."));

	memcpy(clipped, text, (size_t) kept);
	strcpy(clipped + kept, kept < length ? "..." : "");
	for (char *c = clipped; *c != '\0'; c++)
	{
		if (is_wide_control(c))
		{
			*c++ = '?';
			*c = '?';
		}
		else if (*c == '\t')
			*c = ' ';
		else if ((unsigned char) *c < ' ' || *c == 0x7f)
			*c = '?';
	}
	return clipped;
}

/*
 * aj_cut
 *		"text" fit to be stored with a run or chunk: at most 16 kB of whole
 *		characters, and how much there was besides; NULL stays NULL.
 */
const char *
aj_cut(const char *text)
{
	size_t length = text == NULL ? 0 : strlen(text);
	int kept;

	if (length <= LONGEST_STORED)
		return text;
	kept = pg_mbcliplen(text, (int) length, LONGEST_STORED);
	return psprintf("%.*s... (%zu bytes more)", kept, text,
					length - (size_t) kept);
}

/* Whether an error with this SQLSTATE, or NULL, may be gone the next time. */
AjErrorKind
aj_error_kind(const char *sqlstate)
{
	for (size_t i = 0; sqlstate != NULL && i < lengthof(error_kinds); i++)
		if (strncmp(sqlstate, error_kinds[i].prefix,
					strlen(error_kinds[i].prefix)) == 0)
			return error_kinds[i].kind;
	return AJ_ERROR_OTHER;
}
