/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  aggjobs.queue: groups of jobs with limits of their own.
 *
 * What the limits mean is up to the scheduler (process/dispatch.c), which
 * reads them with the queued runs.
 *
 * State: the table alone; no locks.  Runs with the rights of the extension's
 * owner.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/queue.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/errors.h"
#include "base/spi.h"
#include "catalog/queue.h"

#define LONGEST_NAME 100

static void
refuse_unknown(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("queue \"%s\" does not exist", aj_clip(name)),
			 errhint("Make it with SELECT aggjobs_set_queue(name, "
					 "max_workers), or see SELECT * FROM aggjobs.queues.")));
}

/* A name is 1 to 100 bytes without control characters. */
void
aj_queue_name_check(const char *name)
{
	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the name of a queue must not be NULL"),
				 errhint(
					 "List the queues with SELECT * FROM aggjobs.queues.")));
	if (name[0] == '\0' || strlen(name) > LONGEST_NAME ||
		strcmp(aj_clip(name), name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid name of a queue: \"%s\"", aj_clip(name)),
				 errhint("A name has 1 to %d bytes and no control characters.",
						 LONGEST_NAME)));
}

/* The name, if there is such a queue, else error 42704; NULL for "". */
char *
aj_queue_checked(const char *name)
{
	if (name[0] == '\0')
		return NULL;
	if (aj_catalog_run("SELECT FROM aggjobs.queue WHERE queue_name = $1"
					   " FOR KEY SHARE",
					   AJ_ARGS(aj_arg_text(name))) == 0)
		refuse_unknown(name);
	return pstrdup(name);
}

/* Make a queue or change its limits. */
void
aj_queue_put(const char *name, int max_workers, int min_workers)
{
	(void) aj_catalog_run(
		"INSERT INTO aggjobs.queue (queue_name, max_workers, min_workers)"
		" VALUES ($1, $2, $3) ON CONFLICT (queue_name) DO UPDATE"
		" SET max_workers = $2, min_workers = $3,"
		" changed_by = session_user, changed_at = now()",
		AJ_ARGS(aj_arg_text(name), aj_arg_int4(max_workers),
				aj_arg_int4(min_workers)));
}

/* Remove a queue; error 42704 if there is none, 2BP01 if jobs use it. */
void
aj_queue_drop(const char *name)
{
	/* First, so that no job can come to it from now on. */
	if (aj_catalog_run("DELETE FROM aggjobs.queue WHERE queue_name = $1",
					   AJ_ARGS(aj_arg_text(name))) == 0)
		refuse_unknown(name);
	if (aj_catalog_run("SELECT FROM aggjobs.job WHERE queue = $1 LIMIT 1",
					   AJ_ARGS(aj_arg_text(name))) > 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("queue \"%s\" is used by jobs", name),
			 errhint("Find them with SELECT job_name FROM aggjobs.jobs WHERE "
					 "queue = '%s', and give them another with "
					 "aggjobs_alter_job(name, queue => '').",
					 name)));
}
