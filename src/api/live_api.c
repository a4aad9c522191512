/*-------------------------------------------------------------------------
 *
 * live_api.c
 *	  The functions that live views call: open_from, open_beyond, is_clean,
 *	  dirty_buckets.
 *
 * All calls of one query answer from one picture of a rollup.  The latest is
 * kept for the next query, until the backend looks at the rollup in another
 * snapshot, writes to a source itself, or learns that a table has changed.
 *
 * State: the latest picture of each rollup whose live view this backend has
 * read, and those in use by open queries, each in a memory context of its own
 * under CacheMemoryContext.  No locks.  The functions may be called by
 * everybody who reads a live view; they tell times of rollups, and nothing
 * else.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/api/live_api.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "base/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "rollup/capture.h"
#include "rollup/live.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(aggjobs_open_from);
PG_FUNCTION_INFO_V1(aggjobs_open_beyond);
PG_FUNCTION_INFO_V1(aggjobs_is_clean);
PG_FUNCTION_INFO_V1(aggjobs_dirty_buckets);
PG_FUNCTION_INFO_V1(aggjobs_is_clean_support);
PG_FUNCTION_INFO_V1(aggjobs_dirty_buckets_support);

/* Part of the buckets that is clean, as the planner is told. */
#define CLEAN_PART 0.99

/* What tells one snapshot from another within a backend. */
typedef struct SnapshotKey
{
	TransactionId xmin;
	TransactionId xmax;
	uint32 running;
	int32 running_sub;
	bool overflowed;
	CommandId command;
} SnapshotKey;

/* Lives in a context of its own, as long as anybody uses it. */
typedef struct Picture
{
	MemoryContext context;
	int users;
	SnapshotKey key;
	TransactionId own;
	uint64 generation; /* of what no snapshot shows, before we looked */
	AjRollup *rollup;
	AjLive *live;
	TimestampTz open_beyond; /* open buckets before it are read one by one */
} Picture;

/* The picture that a query goes by, from its first call to its end. */
typedef struct Use
{
	struct Use *next;
	MemoryContext query;
	Picture *picture;
	MemoryContextCallback callback;
} Use;

/* The latest picture of a rollup. */
typedef struct Latest
{
	Oid target; /* key */
	Picture *picture;
} Latest;

static HTAB *latest_pictures = NULL;
static Use *uses = NULL;

static SnapshotKey
current_key(void)
{
	Snapshot snapshot = GetActiveSnapshot();
	SnapshotKey key;

	key.xmin = snapshot->xmin;
	key.xmax = snapshot->xmax;
	key.running = snapshot->xcnt;
	key.running_sub = snapshot->subxcnt;
	key.overflowed = snapshot->suboverflowed;
	key.command = snapshot->curcid;
	return key;
}

static bool
same_key(const SnapshotKey *a, const SnapshotKey *b)
{
	return a->xmin == b->xmin && a->xmax == b->xmax &&
		a->running == b->running && a->running_sub == b->running_sub &&
		a->overflowed == b->overflowed && a->command == b->command;
}

/* Would another look, now, show the same? */
static bool
is_current(const Picture *picture)
{
	SnapshotKey key = current_key();

	return same_key(&picture->key, &key) &&
		picture->own == GetTopTransactionIdIfAny() &&
		picture->generation == aj_capture_generation();
}

static void
stop_using(Picture *picture)
{
	if (picture != NULL && --picture->users == 0)
		MemoryContextDelete(picture->context);
}

static Latest *
find_latest(Oid target)
{
	Latest *latest;
	bool found;

	if (latest_pictures == NULL)
	{
		HASHCTL control = {0};

		control.keysize = sizeof(Oid);
		control.entrysize = sizeof(Latest);
		latest_pictures = hash_create("pg_aggjobs live views", 16, &control,
									  HASH_ELEM | HASH_BLOBS);
	}
	latest = hash_search(latest_pictures, &target, HASH_ENTER, &found);
	if (!found)
		latest->picture = NULL;
	return latest;
}

static Picture *
look(Oid target)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "pg_aggjobs live view",
							  ALLOCSET_SMALL_SIZES);
	MemoryContext saved = MemoryContextSwitchTo(context);
	Picture *picture = palloc0(sizeof(Picture));

	picture->context = context;
	picture->users = 1;
	picture->key = current_key();
	picture->own = GetTopTransactionIdIfAny();
	picture->generation = aj_capture_generation();
	picture->rollup = aj_rollup_of_target_in_snapshot(target);
	if (picture->rollup == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table \"%s\" is not that of a rollup",
						get_rel_name(target) == NULL ? psprintf("%u", target)
													 : get_rel_name(target)),
				 errhint("Drop its live view.")));
	picture->live = aj_live_compute(picture->rollup);
	picture->open_beyond = aj_live_open_beyond(picture->rollup, picture->live);
	MemoryContextSwitchTo(saved);
	MemoryContextSetParent(context, CacheMemoryContext);
	return picture;
}

/* A picture that is right now; good until the next call of anything here. */
static Picture *
current_picture(Oid target)
{
	Latest *latest;
	Picture *picture;

	/* Tables may have changed that we hold locks on already. */
	AcceptInvalidationMessages();
	latest = find_latest(target);
	if (latest->picture != NULL && is_current(latest->picture))
		return latest->picture;
	picture = look(target);
	stop_using(latest->picture);
	latest->picture = picture;
	return picture;
}

static void
end_of_query(void *arg)
{
	Use *use = arg;
	Use **place = &uses;

	while (*place != use)
		place = &(*place)->next;
	*place = use->next;
	stop_using(use->picture);
}

static Use *
start_using(MemoryContext query, Picture *picture)
{
	Use *use = MemoryContextAllocZero(query, sizeof(Use));

	use->query = query;
	use->picture = picture;
	picture->users++;
	use->next = uses;
	uses = use;
	use->callback.func = end_of_query;
	use->callback.arg = use;
	MemoryContextRegisterResetCallback(query, &use->callback);
	return use;
}

static Use *
find_use(MemoryContext query, Oid target)
{
	for (Use *use = uses; use != NULL; use = use->next)
		if (use->query == query && use->picture->rollup->target == target)
			return use;
	return NULL;
}

/* A query goes by one snapshot; only a call outside of one sees another. */
static Picture *
picture_of_use(Use *use)
{
	SnapshotKey key = current_key();

	if (!same_key(&use->picture->key, &key))
	{
		Picture *picture = current_picture(use->picture->rollup->target);

		picture->users++;
		stop_using(use->picture);
		use->picture = picture;
	}
	return use->picture;
}

/*
 * The picture for a call.  All calls of a query get the same, whatever it
 * writes itself and whatever is noted meanwhile, or a bucket might be read
 * from the target and from raw rows, or from neither.
 */
static Picture *
picture_for_call(FunctionCallInfo fcinfo)
{
	FmgrInfo *function = fcinfo->flinfo;
	Use *use = function->fn_extra;

	if (use == NULL)
	{
		Oid target = PG_GETARG_OID(0);

		use = find_use(function->fn_mcxt, target);
		if (use == NULL)
			use = start_using(function->fn_mcxt, current_picture(target));
		if (get_fn_expr_arg_stable(function, 0))
			function->fn_extra = use;
	}
	return picture_of_use(use);
}

static void
check_type(FunctionCallInfo fcinfo, const Picture *picture)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, 1);

	if (type != picture->rollup->bucket.time_type)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the time of rollup \"%s\" is of type %s, not %s",
						picture->rollup->name,
						format_type_be(picture->rollup->bucket.time_type),
						format_type_be(type))));
}

static Datum
time_datum(const Picture *picture, TimestampTz instant)
{
	const AjBucket *bucket = &picture->rollup->bucket;

	return aj_axis_to_datum(bucket->time_type, bucket->epoch, instant);
}

/*
 * aggjobs_open_from
 *		(target regclass, sample anyelement) -> the time from which on nothing can
 *		be read from the target, in the type of the sample.
 */
Datum
aggjobs_open_from(PG_FUNCTION_ARGS)
{
	Picture *picture;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	picture = picture_for_call(fcinfo);
	check_type(fcinfo, picture);
	return time_datum(picture, picture->live->open_from);
}

/*
 * aggjobs_open_beyond
 *		(rollup text, sample anyelement) -> the time from which on raw rows are
 *		read in one go, in the type of the sample.
 */
Datum
aggjobs_open_beyond(PG_FUNCTION_ARGS)
{
	Picture *picture;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	picture = picture_for_call(fcinfo);
	check_type(fcinfo, picture);
	return time_datum(picture, picture->open_beyond);
}

static bool
is_dirty(const AjLive *live, TimestampTz instant)
{
	int low = 0;
	int high = live->ndirty;

	while (low < high)
	{
		int middle = (low + high) / 2;

		if (instant < live->dirty[middle].from)
			high = middle;
		else if (instant >= live->dirty[middle].to)
			low = middle + 1;
		else
			return true;
	}
	return false;
}

/*
 * aggjobs_is_clean
 *		(target regclass, bucket anyelement) -> are the target's rows of this
 *		bucket, which lies below open_from, right?
 */
Datum
aggjobs_is_clean(PG_FUNCTION_ARGS)
{
	Picture *picture;
	const AjBucket *bucket;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	picture = picture_for_call(fcinfo);
	if (picture->live->ndirty == 0)
		PG_RETURN_BOOL(true);
	check_type(fcinfo, picture);
	bucket = &picture->rollup->bucket;
	PG_RETURN_BOOL(
		!is_dirty(picture->live,
				  aj_axis_from_datum(bucket->time_type, bucket->epoch,
									 PG_GETARG_DATUM(1))));
}

static void
put_buckets(const Picture *picture, AjRange range, ReturnSetInfo *result)
{
	TimestampTz at = range.from;

	while (at < range.to)
	{
		TimestampTz end = aj_bucket_end(&picture->rollup->bucket, at);
		Datum values[3];
		bool isnull[3] = {false, false, false};

		CHECK_FOR_INTERRUPTS();
		values[0] = time_datum(picture, at);
		values[1] = time_datum(picture, end);
		values[2] =
			time_datum(picture, aj_bucket_name(&picture->rollup->bucket, at));
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 isnull);
		at = end;
	}
}

/*
 * aggjobs_dirty_buckets
 *		(target regclass, sample anyelement) -> start, end and name of each bucket
 *		below open_beyond that is not clean, in the type of the sample.
 */
Datum
aggjobs_dirty_buckets(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Picture *picture;
	AjRange open;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	picture = picture_for_call(fcinfo);
	check_type(fcinfo, picture);
	for (int i = 0; i < picture->live->ndirty; i++)
		put_buckets(picture, picture->live->dirty[i], result);
	open.from = picture->live->open_from;
	open.to = picture->open_beyond;
	put_buckets(picture, open, result);
	PG_RETURN_NULL();
}

Datum
aggjobs_is_clean_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);

	if (!IsA(request, SupportRequestSelectivity))
		PG_RETURN_POINTER(NULL);
	castNode(SupportRequestSelectivity, request)->selectivity = CLEAN_PART;
	PG_RETURN_POINTER(request);
}

/* How many buckets are read one by one. */
static double
count_buckets(const Picture *picture)
{
	double n = (double) picture->live->nbuckets;
	TimestampTz at = picture->live->open_from;

	for (; at < picture->open_beyond; n++)
		at = aj_bucket_end(&picture->rollup->bucket, at);
	return n;
}

/* How many these are right now, if the planner has a snapshot. */
static double
estimated_buckets(Node *call)
{
	Node *target;

	if (!IsA(call, FuncExpr) || !ActiveSnapshotSet())
		return 1;
	target = linitial(castNode(FuncExpr, call)->args);
	if (!IsA(target, Const) || castNode(Const, target)->constisnull)
		return 1;
	return Max(1.0,
			   count_buckets(current_picture(
				   DatumGetObjectId(castNode(Const, target)->constvalue))));
}

Datum
aggjobs_dirty_buckets_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);

	if (!IsA(request, SupportRequestRows))
		PG_RETURN_POINTER(NULL);
	castNode(SupportRequestRows, request)->rows =
		estimated_buckets(castNode(SupportRequestRows, request)->node);
	PG_RETURN_POINTER(request);
}
