/*-------------------------------------------------------------------------
 *
 * observe_api.c
 *	  SQL functions that show what is in shared memory, and the one that the
 *	  extension script calls at its end.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/observe_api.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "base/spi.h"
#include "catalog/pg_authid_d.h"
#include "catalog/pg_database.h"
#include "catalog/version.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "shmem/databases.h"
#include "shmem/slots.h"
#include "shmem/wake.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(aggjobs_installed);
PG_FUNCTION_INFO_V1(aggjobs_scheduler_state);
PG_FUNCTION_INFO_V1(aggjobs_version);
PG_FUNCTION_INFO_V1(aggjobs_worker_slots);

/* A template must have no process of ours, or nobody could copy it. */
static bool
is_template(Oid dboid)
{
	HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dboid));
	bool result;

	if (!HeapTupleIsValid(tuple))
		return false;
	result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
	ReleaseSysCache(tuple);
	return result;
}

/*
 * aggjobs.installed()
 *		The extension has been created: its scheduler starts at commit, unless
 *		the database is a template.  Warns if the library is not preloaded,
 *		with the line to add.
 */
Datum
aggjobs_installed(PG_FUNCTION_ARGS)
{
	if (!is_template(MyDatabaseId))
		aj_wake_extension(true);
	if (!aj_segment_present())
		ereport(
			WARNING,
			(errmsg(
				 "pg_aggjobs is not preloaded: jobs can be defined, but will not run by themselves"),
			 errhint(
				 "Add this line to postgresql.conf and restart the server: shared_preload_libraries = 'pg_aggjobs'")));
	PG_RETURN_VOID();
}

/*
 * aggjobs.scheduler_state() -> text
 *		running, starting or not preloaded.
 */
Datum
aggjobs_scheduler_state(PG_FUNCTION_ARGS)
{
	const char *state = "not preloaded";

	if (aj_segment_present())
		state =
			aj_databases_has_scheduler(MyDatabaseId) ? "running" : "starting";
	PG_RETURN_TEXT_P(cstring_to_text(state));
}

/*
 * aggjobs.version() -> (library, script, state)
 *		The versions of the loaded library and of the extension's script, and
 *		how they stand: same, script older or script newer.
 */
Datum
aggjobs_version(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[3];
	bool nulls[3] = {0};
	char *script;
	AjVersionState state = aj_version_state(&script);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = CStringGetTextDatum(AGGJOBS_VERSION);
	values[1] = CStringGetTextDatum(script == NULL ? "" : script);
	nulls[1] = script == NULL;
	values[2] = CStringGetTextDatum(aj_version_state_names[state]);
	PG_RETURN_DATUM(HeapTupleGetDatum(
		heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

static const char *
state_name(const AjSlotView *slot)
{
	static const char *const names[] = {
		[AJ_SLOT_FREE] = "free",	   [AJ_SLOT_STARTING] = "starting",
		[AJ_SLOT_RUNNING] = "running", [AJ_SLOT_DONE] = "idle",
		[AJ_SLOT_IDLE] = "idle",	   [AJ_SLOT_ASSIGNED] = "starting",
		[AJ_SLOT_ENDED] = "ended",
	};

	if (slot->state == AJ_SLOT_RUNNING && slot->stop != AJ_STOP_NONE)
	{
		if (slot->unresponsive)
			return "unresponsive";
		return slot->terminated ? "terminating" : "cancelling";
	}
	return names[slot->state];
}

static bool
has_run(const AjSlotView *slot)
{
	return slot->state == AJ_SLOT_STARTING || slot->state == AJ_SLOT_RUNNING ||
		slot->state == AJ_SLOT_ASSIGNED;
}

/* Workers of others are for members of pg_monitor. */
static bool
may_see(const AjSlotView *slot)
{
	return has_privs_of_role(GetUserId(), slot->owner) ||
		has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
}

#define COLUMNS 13

static const char *
phase_name(AjPhase phase)
{
	static const char *const names[] = {
		[AJ_PHASE_NONE] = "none",
		[AJ_PHASE_STARTING] = "starting",
		[AJ_PHASE_COMPUTING] = "computing",
		[AJ_PHASE_WRITING] = "writing",
		[AJ_PHASE_LOCKS] = "waiting: locks",
		[AJ_PHASE_WAL] = "waiting: WAL",
	};

	return names[phase];
}

/* How far a worker of a backfill is in its chunk. */
static void
put_progress(const AjProgressView *progress, Datum *values, bool *nulls)
{
	values[0] = Int32GetDatum(progress->chunk_no);
	values[1] = CStringGetTextDatum(phase_name(progress->phase));
	values[2] = Int64GetDatum(progress->rows_read);
	values[3] = Int64GetDatum(progress->blocks);
	values[4] = TimestampTzGetDatum(progress->seen_at);
	for (int i = 0; i < 5; i++)
		nulls[i] = progress->chunk_no == 0;
	nulls[1] = nulls[4] = progress->phase == AJ_PHASE_NONE;
}

static void
put_slot(ReturnSetInfo *result, const AjSlotView *slot)
{
	Datum values[COLUMNS];
	bool nulls[COLUMNS] = {0};

	values[0] = Int32GetDatum(slot->index);
	values[1] = Int32GetDatum(slot->pid);
	values[2] = ObjectIdGetDatum(slot->owner);
	values[3] = CStringGetTextDatum(state_name(slot));
	values[4] = Int64GetDatum(slot->run_id);
	values[5] = TimestampTzGetDatum(slot->run_started);
	values[6] = TimestampTzGetDatum(slot->deadline);
	values[7] = Int32GetDatum(slot->runs_done);
	nulls[1] = slot->pid == 0;
	nulls[4] = !has_run(slot);
	nulls[5] = slot->state != AJ_SLOT_RUNNING;
	nulls[6] = slot->state != AJ_SLOT_RUNNING || slot->deadline == DT_NOEND;
	put_progress(&slot->progress, &values[8], &nulls[8]);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * aggjobs.worker_slots() -> setof (slot, pid, owner, state, run_id,
 *		started_at, deadline, runs_done, chunk_no, phase, rows_read,
 *		blocks_read, seen_at)
 *		The workers of this database.
 */
Datum
aggjobs_worker_slots(PG_FUNCTION_ARGS)
{
	AjSlotView *slots;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	if (!aj_segment_present())
		PG_RETURN_NULL();
	slots = palloc(sizeof(AjSlotView) * (Size) aj_segment()->nslots);
	n = aj_slots_look(MyDatabaseId, slots);
	for (int i = 0; i < n; i++)
		if (may_see(&slots[i]))
			put_slot((ReturnSetInfo *) fcinfo->resultinfo, &slots[i]);
	PG_RETURN_NULL();
}
