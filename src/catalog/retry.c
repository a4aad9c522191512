/*-------------------------------------------------------------------------
 *
 * retry.c
 *	  Further attempts at runs that failed.
 *
 * The next attempt is a row of its own, queued by the transaction that stores
 * the failure, so that neither is without the other.  It waits until
 * "ready_at", twice as long after each failure, and goes on with the step that
 * failed: what earlier steps did is committed and must not be done twice.
 *
 * Which errors are worth another attempt is told by base/errors.c.  A job may
 * say how many there are; if it does not, errors that pass by themselves get
 * a few and others none.  Runs in a session are not tried again: who called
 * has the error.
 *
 * State: the table alone; the row of the run is locked by the caller's update.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/catalog/retry.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/spi.h"
#include "catalog/retry.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "shmem/wake.h"
#include "time/backoff.h"

#define USUAL_RETRIES 3
#define USUAL_DELAY_MS 1000
#define USUAL_LIMIT_MS 30000

/* What the job says, and how often it has been tried. */
typedef struct Retries
{
	int attempt;
	int retries; /* -1: not said */
	int64 delay_ms;
	int64 limit_ms;
} Retries;

static bool
is_worth_it(const AjRunEnd *end, const Retries *r)
{
	AjErrorKind kind = AJ_ERROR_OTHER;
	int retries = r->retries;

	if (strcmp(end->status, "crashed") == 0 || end->is_interrupted)
		kind = AJ_ERROR_PASSES;
	else if (strcmp(end->status, "failed") == 0)
		kind = aj_error_kind(end->sqlstate);
	else if (strcmp(end->status, "timed_out") != 0)
		return false;
	if (kind == AJ_ERROR_STAYS)
		return false;
	if (retries < 0)
		retries = kind == AJ_ERROR_PASSES ? USUAL_RETRIES : 0;
	return r->attempt <= retries;
}

/* False if there is nothing to try again: job gone or paused, or a session. */
static bool
read_retries(int64 run_id, Retries *r)
{
	AjSpi spi;
	bool found;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	found =
		aj_spi_run("SELECT r.attempt, j.retries,"
				   " (extract(epoch FROM CASE WHEN j.retry_delay"
				   " <= interval '1000 years' THEN j.retry_delay END)"
				   " * 1000)::bigint,"
				   " (extract(epoch FROM CASE WHEN j.retry_delay_limit"
				   " <= interval '1000 years' THEN j.retry_delay_limit END)"
				   " * 1000)::bigint"
				   " FROM aggjobs.run r JOIN aggjobs.job j USING (job_id)"
				   " WHERE r.run_id = $1 AND r.definition IS NOT NULL"
				   " AND j.enabled AND j.database_oid = $2",
				   AJ_ARGS(aj_arg_int8(run_id), aj_arg_oid(MyDatabaseId))) > 0;
	if (found)
	{
		r->attempt = (int) aj_spi_int8(0, 1, 1);
		r->retries = (int) aj_spi_int8(0, 2, -1);
		r->delay_ms = aj_spi_int8(0, 3, USUAL_DELAY_MS);
		r->limit_ms = aj_spi_int8(0, 4, Max(USUAL_LIMIT_MS, r->delay_ms));
	}
	aj_spi_close(&spi);
	return found;
}

/*
 * aj_retry_queue
 *		Queue another attempt at a run that has just ended like this, in this
 *		transaction; false if there is to be none.
 */
bool
aj_retry_queue(int64 run_id, const AjRunEnd *end)
{
	Retries r;
	TimestampTz now = aj_now();
	TimestampTz ready_at;
	bool queued;

	if (!read_retries(run_id, &r) || !is_worth_it(end, &r))
		return false;
	ready_at = TimestampTzPlusMilliseconds(
		now,
		aj_backoff_ms(r.attempt, r.delay_ms, r.limit_ms,
					  pg_prng_double(&pg_global_prng_state)));
	queued =
		aj_catalog_run(
			"INSERT INTO aggjobs.run (job_id, job_name, owner, slot, at,"
			" attempt, retry_of, status, trigger, triggered_by, queued_at,"
			" ready_at, definition, steps)"
			" SELECT r.job_id, j.job_name, j.owner, r.slot, r.at,"
			" r.attempt + 1, r.run_id, 'queued', 'retry', 'scheduler', $2, $3,"
			" r.definition, r.steps"
			" FROM aggjobs.run r JOIN aggjobs.job j USING (job_id)"
			" WHERE r.run_id = $1 ON CONFLICT DO NOTHING",
			AJ_ARGS(aj_arg_int8(run_id), aj_arg_time(now),
					aj_arg_time(ready_at))) > 0;
	if (queued)
		aj_wake_runs();
	return queued;
}
