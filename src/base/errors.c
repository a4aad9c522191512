/*-------------------------------------------------------------------------
 *
 * errors.c
 *	  Helps for messages that quote what users wrote.
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

/*
 * aj_clip
 *		"text" fit for a message: at most 100 bytes, whole characters, control
 *		characters shown as "?", "..." where something was cut off.
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
		if ((unsigned char) *c < ' ' || *c == 0x7f)
			*c = '?';
	return clipped;
}
