/*-------------------------------------------------------------------------
 *
 * run_log.c
 *	  aggjobs.run_log: messages of runs.
 *
 * Needs a transaction; works with the rights of the extension's owner.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/run_log.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/spi.h"
#include "catalog/run_log.h"

/* The name of an error level as psql shows it. */
static const char *
level_name(int elevel)
{
	static const struct
	{
		int elevel;
		const char *name;
	} levels[] = {
		{INFO, "INFO"},		  {NOTICE, "NOTICE"},
		{WARNING, "WARNING"}, {WARNING_CLIENT_ONLY, "WARNING"},
		{ERROR, "ERROR"},	  {FATAL, "FATAL"},
		{PANIC, "PANIC"},
	};

	for (size_t i = 0; i < lengthof(levels); i++)
		if (levels[i].elevel == elevel)
			return levels[i].name;
	return "LOG";
}

/*
 * aj_run_log_add
 *		Store one line; a line that is stored already stays as it is.
 */
void
aj_run_log_add(int64 run_id, int seq, TimestampTz logged_at, int elevel,
			   const char *message)
{
	(void) aj_catalog_run(
		"INSERT INTO aggjobs.run_log"
		" (run_id, seq, logged_at, level, message)"
		" SELECT $1, $2, $3, $4, $5 WHERE EXISTS"
		" (SELECT FROM aggjobs.run r WHERE r.run_id = $1)"
		" ON CONFLICT DO NOTHING",
		AJ_ARGS(aj_arg_int8(run_id), aj_arg_int4(seq), aj_arg_time(logged_at),
				aj_arg_text(level_name(elevel)), aj_arg_text(message)));
}
