/*-------------------------------------------------------------------------
 *
 * zone_files.c
 *	  When the rules of the time zones were installed.
 *
 * The server reads the file of a zone once in the life of a process.  One that
 * lives for months goes by old rules, unless it notices that there are others,
 * and ends.  Which directory the server was built to read is known to the
 * server alone: it is its own one if there is such a thing, else the system's.
 *
 * No state, no locks, no errors.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/zone_files.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include <sys/stat.h>

#include "miscadmin.h"
#include "port.h"
#include "time/zone_files.h"

#define SYSTEM_DIRECTORY "/usr/share/zoneinfo"

/* Whether there is such a directory, and when a file of it was replaced. */
static bool
look_at(const char *directory, time_t *changed_at)
{
	struct stat found;

	if (stat(directory, &found) != 0)
		return false;
	*changed_at = found.st_mtime;
	return true;
}

/*
 * aj_zone_files_installed_at
 *		The time at which the directory of the zones was last written to, as
 *		whoever installs rules does; 0 if there is none.
 */
time_t
aj_zone_files_installed_at(void)
{
	char own[MAXPGPATH];
	time_t changed_at = 0;

#ifdef AGGJOBS_TESTING
	const char *of_test = getenv("AGGJOBS_TEST_ZONES");

	if (of_test != NULL && look_at(of_test, &changed_at))
		return changed_at;
#endif
	get_share_path(my_exec_path, own);
	strlcat(own, "/timezone", sizeof(own));
	if (!look_at(own, &changed_at))
		(void) look_at(SYSTEM_DIRECTORY, &changed_at);
	return changed_at;
}
