/*-------------------------------------------------------------------------
 *
 * backfill_plan.c
 *	  What a backfill consists of: which rollups, in what order, cut where.
 *
 * A rollup brings those below it with it, as it is computed from them.  They
 * are in stages: a chunk is computed when all chunks of lower stages that
 * overlap its range are.  Before the ranges of a rollup comes the chunk that
 * prepares it, and what a job does beside its rollups comes last.
 *
 * A range is cut so that a chunk reads about aggjobs.backfill_chunk_size of the
 * raw table, as if its rows were spread evenly over their time, with at least some chunks
 * for each worker, and never inside a bucket.  Where a part of the time can't
 * be read for less than all of it, there is but one.
 *
 * No state, no locks.  Reads the sources with the rights of the current user.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/backfill_plan.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/disk.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/settings.h"
#include "base/spi.h"
#include "catalog/job.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "rollup/batch.h"
#include "rollup/define.h"
#include "rollup/estimate.h"
#include "rollup/refresh.h"
#include "run/backfill_plan.h"
#include "utils/lsyscache.h"

#define CHUNKS_WORTH_A_WORKER 2
#define CHUNKS_OF_WORKER 4
#define MOST_CHUNKS 1000 /* of one rollup */
#define LAST_STAGE 1000	 /* of steps that are no rollups */
#define STAGES_OF_LEVEL 2

/* A rollup of the backfill, and what is known of its raw rows. */
typedef struct Member
{
	AjRollup *rollup;
	int level;		/* 0: over a table, 1: over such a rollup, ... */
	AjRange range;	/* to be computed, of whole buckets */
	AjRange filled; /* the part of it that has rows */
	int64 bytes;	/* of the raw table */
	int64 result;	/* bytes that its query is likely to return */
	bool can_split;
} Member;

typedef struct Planner
{
	const AjBackfillWish *wish;
	AjBackfillPlan *plan;
	List *members; /* of Member, each after those below it */
} Planner;

static Member *
find_member(const Planner *planner, const char *name)
{
	ListCell *cell;

	foreach (cell, planner->members)
	{
		Member *member = lfirst(cell);

		if (strcmp(member->rollup->name, name) == 0)
			return member;
	}
	return NULL;
}

/* What was computed before is not filled for the first time. */
static bool
is_left_out(const Planner *planner, const AjRollup *rollup)
{
	return planner->wish->first_fill && rollup->horizon != AJ_NO_TIME;
}

/* What a table and its partitions occupy; what is no table, nothing. */
static int64
size_of(Oid table)
{
	AjSpi spi;
	int64 bytes;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_read(
		"SELECT coalesce(sum(pg_relation_size(p.relid)), pg_relation_size($1))"
		"::bigint FROM pg_partition_tree($1) p WHERE p.isleaf",
		AJ_ARGS(aj_arg_oid(table)));
	bytes = aj_spi_int8(0, 1, 0);
	aj_spi_close(&spi);
	return bytes;
}

/* The raw rows in the range: where they begin and end, and how big they are. */
static void
look_at_source(Planner *planner, Member *member)
{
	const AjRollup *rollup = member->rollup;
	AjRange finite = {Max(member->range.from, MIN_TIMESTAMP), member->range.to};
	TimestampTz first = aj_batch_edge(rollup, finite, "min");
	TimestampTz last =
		first == AJ_NO_TIME ? AJ_NO_TIME : aj_batch_edge(rollup, finite, "max");

	member->bytes = size_of(rollup->source);
	member->can_split = aj_batch_reads_by_time(rollup);
	if (!is_left_out(planner, rollup))
		planner->plan->source_bytes += member->bytes;
	if (first == AJ_NO_TIME)
		return;
	member->filled.from = aj_bucket_start(&rollup->bucket, first);
	member->filled.to = aj_bucket_end(&rollup->bucket, last);
}

/* The table of a rollup may be filled by this very backfill: ask what it knows. */
static void
look_at_child(Planner *planner, Member *member, const Member *child)
{
	AjRange filled = child->filled;

	member->bytes = child->bytes;
	member->can_split = true;
	if (is_left_out(planner, child->rollup))
	{
		member->bytes = size_of(child->rollup->target);
		planner->plan->source_bytes += member->bytes;
	}
	if (filled.from >= filled.to)
		return;
	filled = aj_rollup_widen(member->rollup, filled);
	member->filled.from = Max(filled.from, member->range.from);
	member->filled.to = Min(filled.to, member->range.to);
}

/*
 * How much the table is likely to grow.  That of a rollup over another has no
 * more rows than the one below, which may have to be filled first.
 */
static void
look_at_target(Planner *planner, Member *member, const Member *child)
{
	Oid tablespace = get_rel_tablespace(member->rollup->target);
	AjSpaceNeed *need = NULL;
	ListCell *cell;
	int64 bytes;

	member->result = child != NULL
		? child->result
		: aj_estimate_bytes(member->rollup, member->range);
	foreach (cell, planner->plan->needs)
		if (((AjSpaceNeed *) lfirst(cell))->tablespace == tablespace)
			need = lfirst(cell);
	if (need == NULL)
	{
		need = palloc0(sizeof(AjSpaceNeed));
		need->tablespace = tablespace;
		planner->plan->needs = lappend(planner->plan->needs, need);
	}
	bytes = size_of(member->rollup->target);
	need->bytes += Max(member->result - bytes, 0);
	if (planner->wish->snapshot)
		need->bytes += bytes;
}

static Member *
add_rollup(Planner *planner, AjRollup *rollup)
{
	Member *member = find_member(planner, rollup->name);
	Member *child = NULL;
	TimestampTz frozen;

	if (member != NULL)
		return member;
	if (rollup->source_rollup != NULL)
		child =
			add_rollup(planner, aj_rollup_find(rollup->source_rollup, false));
	member = palloc0(sizeof(Member));
	member->rollup = rollup;
	member->level = child == NULL ? 0 : child->level + 1;
	member->range = aj_rollup_widen(rollup, planner->wish->range);
	frozen = rollup->frozen_before == AJ_NO_TIME ? DT_NOBEGIN
												 : rollup->frozen_before;
	member->range.from = Max(member->range.from, frozen);
	member->range.to =
		Min(member->range.to, aj_refresh_reaches(rollup, planner->wish->now));
	if (member->range.from < member->range.to)
	{
		if (child == NULL)
			look_at_source(planner, member);
		else
			look_at_child(planner, member, child);
		if (!planner->wish->first_fill)
			look_at_target(planner, member, child);
	}
	planner->members = lappend(planner->members, member);
	return member;
}

static void
add_parents(Planner *planner, const char *name)
{
	int n;
	AjRollup **parents = aj_rollup_parents(name, &n);

	for (int i = 0; i < n; i++)
	{
		(void) add_rollup(planner, parents[i]);
		add_parents(planner, parents[i]->name);
	}
}

static AjChunk *
add_chunk(Planner *planner, AjChunkKind kind, int stage, char *rollup,
		  AjRange range)
{
	AjChunk *chunk = palloc0(sizeof(AjChunk));

	chunk->kind = kind;
	chunk->stage = stage;
	chunk->rollup = rollup;
	chunk->range = range;
	planner->plan->chunks = lappend(planner->plan->chunks, chunk);
	chunk->chunk_no = list_length(planner->plan->chunks);
	return chunk;
}

static int64
interval_width(const Interval *interval)
{
	return (interval->month * (int64) DAYS_PER_MONTH + interval->day) *
		USECS_PER_DAY +
		interval->time;
}

static int64
chunk_bytes(void)
{
	return (int64) aj_backfill_chunk_size * 1024;
}

/* How wide a chunk of this rollup is to be, before it is made whole buckets. */
static int64
chunk_width(const Planner *planner, const Member *member)
{
	int64 span = member->filled.to - member->filled.from;
	int64 pieces;

	if (planner->wish->chunk != NULL)
		return Max(interval_width(planner->wish->chunk), 1);
	if (!member->can_split)
		return span;
	pieces = member->bytes / chunk_bytes() + 1;
	if (planner->plan->workers > 1)
		pieces = Max(pieces, planner->plan->workers * CHUNKS_OF_WORKER);
	pieces = Min(pieces, MOST_CHUNKS);
	return span / pieces + 1;
}

/*
 * Cut the filled part from its end; what lies before and after it, which may
 * have leftovers in the target, belongs to the first chunk and the last.
 */
static void
add_ranges(Planner *planner, const Member *member)
{
	const AjBucket *bucket = &member->rollup->bucket;
	int stage = member->level * STAGES_OF_LEVEL + 1;
	int64 width = chunk_width(planner, member);
	TimestampTz to = member->range.to;
	TimestampTz end = member->filled.to;

	while (end - width > member->filled.from)
	{
		AjRange range = {aj_bucket_start(bucket, end - width), to};

		CHECK_FOR_INTERRUPTS();
		if (range.from <= member->filled.from)
			break;
		(void) add_chunk(planner, AJ_CHUNK_RANGE, stage, member->rollup->name,
						 range);
		to = end = range.from;
	}
	if (TIMESTAMP_IS_NOBEGIN(member->range.from) &&
		member->filled.from < member->filled.to)
	{
		AjRange range = {member->filled.from, to};

		(void) add_chunk(planner, AJ_CHUNK_RANGE, stage, member->rollup->name,
						 range);
		to = range.from;
	}
	if (member->range.from < to)
	{
		AjRange range = {member->range.from, to};

		(void) add_chunk(planner, AJ_CHUNK_RANGE, stage, member->rollup->name,
						 range);
	}
}

static void
add_member_chunks(Planner *planner, const Member *member)
{
	if (member->range.from >= member->range.to ||
		is_left_out(planner, member->rollup))
		return;
	if (planner->wish->snapshot)
		(void) add_chunk(planner, AJ_CHUNK_COPY,
						 member->level * STAGES_OF_LEVEL, member->rollup->name,
						 member->range);
	(void) add_chunk(planner, AJ_CHUNK_PREPARE, member->level * STAGES_OF_LEVEL,
					 member->rollup->name, AJ_ALL_TIME);
	add_ranges(planner, member);
}

/* Steps that compute what is in the database, and how; others are left out. */
static bool
is_computing(const Jsonb *step)
{
	return strcmp(aj_json_text_field(step, "kind"), "refresh_matview") == 0;
}

static void
add_steps(Planner *planner, const AjJob *job)
{
	for (int i = 0; i < aj_json_length(job->steps); i++)
	{
		Jsonb *step = aj_json_element(job->steps, i);
		char *kind = aj_json_text_field(step, "kind");

		if (strcmp(kind, "rollup") == 0)
			continue;
		if (is_computing(step))
			add_chunk(planner, AJ_CHUNK_STEP, LAST_STAGE + i, NULL, AJ_ALL_TIME)
				->step = step;
		else
			ereport(
				NOTICE,
				(errmsg(
					"step %d of job \"%s\" is left out, as it is of kind \"%s\"",
					i + 1, job->name, kind)));
	}
}

static void
add_rollups_of_job(Planner *planner, const AjJob *job)
{
	for (int i = 0; i < aj_json_length(job->steps); i++)
	{
		Jsonb *step = aj_json_element(job->steps, i);
		char *name;

		if (strcmp(aj_json_text_field(step, "kind"), "rollup") != 0)
			continue;
		name = aj_json_text_field(step, "rollup");
		(void) add_rollup(planner, aj_rollup_find(name, false));
		if (planner->wish->parents)
			add_parents(planner, name);
	}
	if (planner->members == NIL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("job \"%s\" has no step of kind \"rollup\"", job->name),
			 errhint(
				 "Name a job that computes rollups, or a rollup: SELECT rollup_name FROM aggjobs.rollups.")));
}

static void
complain_of_name(const char *name)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_UNDEFINED_OBJECT),
		 errmsg("there is neither a job nor a rollup \"%s\"", aj_clip(name)),
		 errhint(
			 "See SELECT job_name FROM aggjobs.jobs and SELECT rollup_name FROM aggjobs.rollups.")));
}

/* A job is backfilled as its owner, a rollup as the owner of its table. */
static void
set_owner(AjBackfillPlan *plan, Oid owner)
{
	if (!has_privs_of_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to backfill what role \"%s\" owns",
						GetUserNameFromId(owner, false))));
	plan->owner.owner = owner;
	plan->owner.owner_name = GetUserNameFromId(owner, false);
}

static int
useful_workers(const Planner *planner)
{
	int64 workers =
		planner->plan->source_bytes / (CHUNKS_WORTH_A_WORKER * chunk_bytes()) +
		1;

	return (int) Min(workers, Max(aj_max_backfill_workers, 1));
}

/*
 * aj_backfill_plan
 *		Say what is to be done for a wish.
 *
 * Errors: 42704, 42501; 22023 where there is nothing to compute.
 */
void
aj_backfill_plan(const AjBackfillWish *wish, AjBackfillPlan *plan)
{
	Planner planner = {.wish = wish, .plan = plan};
	AjJob *job = wish->is_rollup ? NULL : aj_job_find(wish->name, true);
	AjRollup *rollup =
		job == NULL ? aj_rollup_find(wish->name, !wish->is_rollup) : NULL;
	ListCell *cell;

	memset(plan, 0, sizeof(AjBackfillPlan));
	if (job != NULL)
	{
		set_owner(plan, job->owner);
		plan->owner.job_id = job->job_id;
		add_rollups_of_job(&planner, job);
	}
	else if (rollup != NULL)
	{
		/* Whose run it is does it, though he may not own the table. */
		set_owner(plan,
				  wish->first_fill ? GetUserId() : aj_owner_of(rollup->target));
		(void) add_rollup(&planner, rollup);
		if (wish->parents)
			add_parents(&planner, rollup->name);
	}
	else
		complain_of_name(wish->name);

	plan->workers =
		wish->workers > 0 ? wish->workers : useful_workers(&planner);
	foreach (cell, planner.members)
		add_member_chunks(&planner, lfirst(cell));
	if (job != NULL && plan->chunks != NIL)
		add_steps(&planner, job);
	plan->workers = Min(plan->workers, Max(list_length(plan->chunks), 1));
}

static char *
tablespace_name(Oid tablespace)
{
	return get_tablespace_name(OidIsValid(tablespace) ? tablespace
													  : MyDatabaseTableSpace);
}

/* Say in NOTICEs how much room is likely to be taken. */
void
aj_backfill_tell_space(const AjBackfillPlan *plan)
{
	ListCell *cell;

	foreach (cell, plan->needs)
	{
		const AjSpaceNeed *need = lfirst(cell);

		ereport(NOTICE,
				(errmsg("about %s would be written in tablespace \"%s\", "
						"where %s are free",
						aj_disk_pretty(need->bytes),
						tablespace_name(need->tablespace),
						aj_disk_pretty(aj_disk_free(need->tablespace)))));
	}
}

/*
 * aj_backfill_check_space
 *		Refuse (53100) what is likely to leave less than aggjobs.disk_reserve
 *		of a disk free.
 */
void
aj_backfill_check_space(const AjBackfillPlan *plan)
{
	int64 reserve = (int64) aj_disk_reserve * 1024 * 1024;
	ListCell *cell;

	foreach (cell, plan->needs)
	{
		const AjSpaceNeed *need = lfirst(cell);
		int64 free = aj_disk_free(need->tablespace);

		if (free < 0 || reserve == 0 || free - need->bytes >= reserve)
			continue;
		ereport(
			ERROR,
			(errcode(ERRCODE_DISK_FULL),
			 errmsg("there is not enough room in tablespace \"%s\"",
					tablespace_name(need->tablespace)),
			 errdetail("About %s are needed and %s are free, of which %s are "
					   "kept back.",
					   aj_disk_pretty(need->bytes), aj_disk_pretty(free),
					   aj_disk_pretty(reserve)),
			 errhint("Make room, backfill a smaller range, or lower "
					 "aggjobs.disk_reserve.")));
	}
}
