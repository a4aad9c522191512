/*-------------------------------------------------------------------------
 *
 * job_owner.c
 *	  All jobs of a role, in aggjobs.job: given to another, or dropped.
 *
 * A job is a role's only if both its oid and its name are what the job says:
 * the jobs of a role that was dropped are not those of one that got its oid
 * or its name later.
 *
 * Needs a transaction and works with the rights of the extension's owner; who
 * may do it is asked by the caller.  Rows of aggjobs.job are locked first,
 * then those of aggjobs.run, as by whoever changes a job.
 *
 * State: the tables alone.  The scheduler hears of it at commit.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/job_owner.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/spi.h"
#include "catalog/job.h"
#include "catalog/job_owner.h"
#include "miscadmin.h"
#include "shmem/wake.h"

/* The ids that the last statement returned, in "context". */
static int64 *
returned_ids(uint64 rows, MemoryContext context)
{
	int64 *ids =
		MemoryContextAllocHuge(context, sizeof(int64) * (Size) Max(rows, 1));

	for (uint64 i = 0; i < rows; i++)
		ids[i] = aj_spi_int8(i, 1, 0);
	return ids;
}

/*
 * aj_jobs_of_role_give
 *		The jobs of role "from" are those of role "to" from now on, and so are
 *		their queued runs; a run that goes on stays what it is.  Returns how
 *		many jobs there were.
 */
int
aj_jobs_of_role_give(Oid from, Oid to)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	uint64 n;
	int64 *ids;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	n = aj_spi_run(
		"UPDATE aggjobs.job SET owner = $3, owner_name = $4,"
		" changed_by = session_user, changed_at = now()"
		" WHERE owner = $1 AND owner_name = $2 RETURNING job_id",
		AJ_ARGS(aj_arg_oid(from), aj_arg_text(GetUserNameFromId(from, false)),
				aj_arg_oid(to), aj_arg_text(GetUserNameFromId(to, false))));
	ids = returned_ids(n, context);
	for (uint64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		(void) aj_spi_run("UPDATE aggjobs.run SET owner = $3"
						  " WHERE job_id = $1 AND owner = $2"
						  " AND status = 'queued'",
						  AJ_ARGS(aj_arg_int8(ids[i]), aj_arg_oid(from),
								  aj_arg_oid(to)));
		aj_wake_job(ids[i]);
	}
	aj_spi_close(&spi);
	if (n > 0)
		aj_wake_runs();
	return (int) n;
}

/*
 * aj_jobs_of_role_drop
 *		Drop the jobs of a role, as aggjobs_drop_job() does.  Returns how many
 *		there were.
 */
int
aj_jobs_of_role_drop(Oid role)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	uint64 n;
	int64 *ids;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	n = aj_spi_run("SELECT job_id FROM aggjobs.job WHERE owner = $1"
				   " AND owner_name = $2 ORDER BY job_id FOR NO KEY UPDATE",
				   AJ_ARGS(aj_arg_oid(role),
						   aj_arg_text(GetUserNameFromId(role, false))));
	ids = returned_ids(n, context);
	aj_spi_close(&spi);
	for (uint64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		aj_job_delete(ids[i]);
		aj_wake_job(ids[i]);
	}
	return (int) n;
}
