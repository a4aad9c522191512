/*-------------------------------------------------------------------------
 *
 * version.c
 *	  The versions of the library that is loaded and of the script.
 *
 * A new library is installed while the old one runs on in all processes, until
 * the server is restarted; the script of a database is brought up to date by
 * ALTER EXTENSION, before that or after.  A library works with the scripts of
 * earlier versions, as those come to it without being asked for, and with none
 * of later ones.
 *
 * Versions are numbers with points between them; one that is not is newer
 * than all.
 *
 * No state.  Needs a transaction.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/version.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include <limits.h>

#include "base/spi.h"
#include "catalog/version.h"

const char *const aj_version_state_names[] = {
	[AJ_VERSION_SAME] = "same",
	[AJ_VERSION_SCRIPT_OLDER] = "script older",
	[AJ_VERSION_SCRIPT_NEWER] = "script newer",
};

/* The next number of a version, which has come to its end for 0. */
static long
next_number(const char **version)
{
	char *end;
	long number;

	if (**version == '\0')
		return 0;
	if (**version < '0' || **version > '9')
		return LONG_MAX;
	number = strtol(*version, &end, 10);
	*version = *end == '.' ? end + 1 : end;
	return number;
}

static AjVersionState
compare(const char *script, const char *library)
{
	while (*script != '\0' || *library != '\0')
	{
		long of_script = next_number(&script);
		long of_library = next_number(&library);

		if (of_script != of_library)
			return of_script < of_library ? AJ_VERSION_SCRIPT_OLDER
										  : AJ_VERSION_SCRIPT_NEWER;
		if (of_script == LONG_MAX)
			break;
	}
	return AJ_VERSION_SAME;
}

/*
 * aj_version_state
 *		How the script that made this database's objects stands to the library
 *		(AGGJOBS_VERSION); *script is its version, or NULL if the extension is
 *		not there.
 */
AjVersionState
aj_version_state(char **script)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;

	*script = NULL;
	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	if (aj_spi_run("SELECT e.extversion FROM pg_extension e"
				   " WHERE e.extname = 'pg_aggjobs'",
				   AJ_NO_ARGS) > 0)
		*script = aj_spi_text(0, 1, context);
	aj_spi_close(&spi);
	return *script == NULL ? AJ_VERSION_SAME
						   : compare(*script, AGGJOBS_VERSION);
}
