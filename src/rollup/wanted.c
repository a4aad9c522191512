/*-------------------------------------------------------------------------
 *
 * wanted.c
 *	  The few keys that late rows have touched, and a condition for them.
 *
 * Where only a few rows were inserted into old buckets, it is enough to
 * compute the groups that they belong to.  Their keys are found by the places
 * of the rows, and aggjobs.wanted(bucket, keys...) is true for rows of these
 * keys.  Keys are the same if the server would put them into one group: by
 * the equality of their type, NULLs equal.
 *
 * All is done in one snapshot: if each of the places holds a row of the noted
 * transaction there, then the rows are found; if not, because it was moved,
 * or its place was given to another, the caller computes whole buckets.
 *
 * State: the set of keys, private to the backend, in a memory context of its
 * own, from aj_wanted_find() to aj_wanted_forget() or the end of the
 * transaction.  No locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/wanted.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/spi.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "rollup/compute.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(aggjobs_wanted);

#define MAX_KEYS 32
#define MAX_WANTED 100000

typedef struct Key
{
	uint32 hash;
	Datum *values;
	bool *isnull;
} Key;

typedef struct Column
{
	TypeCacheEntry *type;
	Oid collation;
} Column;

typedef struct Wanted
{
	MemoryContext context;
	int ncolumns;
	Column columns[MAX_KEYS];
	HTAB *keys;
} Wanted;

static Wanted *wanted = NULL;

static uint32
hash_key(const Wanted *set, const Datum *values, const bool *isnull)
{
	uint32 hash = 0;

	for (int i = 0; i < set->ncolumns; i++)
	{
		uint32 part = 0;

		if (!isnull[i])
			part = DatumGetUInt32(
				FunctionCall1Coll(&set->columns[i].type->hash_proc_finfo,
								  set->columns[i].collation, values[i]));
		hash = hash_combine(hash, part);
	}
	return hash;
}

static uint32
hash_of(const void *key, Size size)
{
	return ((const Key *) key)->hash;
}

static int
compare(const void *a, const void *b, Size size)
{
	const Key *x = a;
	const Key *y = b;

	if (x->hash != y->hash)
		return 1;
	for (int i = 0; i < wanted->ncolumns; i++)
	{
		if (x->isnull[i] != y->isnull[i])
			return 1;
		if (!x->isnull[i] &&
			!DatumGetBool(FunctionCall2Coll(
				&wanted->columns[i].type->eq_opr_finfo,
				wanted->columns[i].collation, x->values[i], y->values[i])))
			return 1;
	}
	return 0;
}

/* Set up for keys of these columns; false if one has no hash. */
static bool
set_columns(Wanted *set, TupleDesc desc)
{
	set->ncolumns = desc->natts;
	if (desc->natts > MAX_KEYS)
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		set->columns[i].collation = column->attcollation;
		set->columns[i].type = lookup_type_cache(column->atttypid,
												 TYPECACHE_HASH_PROC_FINFO |
													 TYPECACHE_EQ_OPR_FINFO);
		if (!OidIsValid(set->columns[i].type->hash_proc) ||
			!OidIsValid(set->columns[i].type->eq_opr))
			return false;
	}
	return true;
}

static void
forget_at_reset(void *arg)
{
	wanted = NULL;
}

static void
begin_set(void)
{
	MemoryContext context =
		AllocSetContextCreate(TopTransactionContext, "pg_aggjobs wanted keys",
							  ALLOCSET_DEFAULT_SIZES);
	MemoryContextCallback *callback =
		MemoryContextAllocZero(context, sizeof(MemoryContextCallback));
	HASHCTL control = {0};

	wanted = MemoryContextAllocZero(context, sizeof(Wanted));
	wanted->context = context;
	callback->func = forget_at_reset;
	MemoryContextRegisterResetCallback(context, callback);
	control.keysize = sizeof(Key);
	control.entrysize = sizeof(Key);
	control.hash = hash_of;
	control.match = compare;
	control.hcxt = context;
	wanted->keys =
		hash_create("pg_aggjobs wanted keys", 256, &control,
					HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

/* Add one key; its values are copied. */
static void
add_key(TupleTableSlot *slot)
{
	int n = wanted->ncolumns;
	MemoryContext saved = MemoryContextSwitchTo(wanted->context);
	Key key;
	bool found;

	slot_getallattrs(slot);
	key.values = palloc(sizeof(Datum) * (Size) n);
	key.isnull = palloc(sizeof(bool) * (Size) n);
	for (int i = 0; i < n; i++)
	{
		const TypeCacheEntry *type = wanted->columns[i].type;

		key.isnull[i] = slot->tts_isnull[i];
		key.values[i] = key.isnull[i]
			? (Datum) 0
			: datumCopy(slot->tts_values[i], type->typbyval, type->typlen);
	}
	key.hash = hash_key(wanted, key.values, key.isnull);
	(void) hash_search(wanted->keys, &key, HASH_ENTER, &found);
	MemoryContextSwitchTo(saved);
}

static bool
read_keys(Tuplestorestate *store, TupleDesc desc)
{
	TupleTableSlot *slot;

	if (wanted->ncolumns == 0 && !set_columns(wanted, desc))
		return false;
	slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	while (tuplestore_gettupleslot(store, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		add_key(slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	return hash_get_num_entries(wanted->keys) <= MAX_WANTED;
}

/* The places in one table, of all its stale rows in a batch. */
typedef struct Places
{
	Oid part;
	int n;
	Datum tids;
	Datum xids;
} Places;

static Places
gather(const AjStale *stale, int n, Oid part)
{
	Places places = {.part = part};
	int nxids = 0;
	Datum *tids;
	Datum *xids = palloc(sizeof(Datum) * (Size) n);

	for (int i = 0; i < n; i++)
		if (stale[i].places.part == part)
			places.n += stale[i].places.ntids;
	tids = palloc(sizeof(Datum) * (Size) places.n);
	places.n = 0;
	for (int i = 0; i < n; i++)
	{
		Datum *elements;
		int nelements;

		if (stale[i].places.part != part)
			continue;
		xids[nxids++] = TransactionIdGetDatum(stale[i].places.xid);
		deconstruct_array(DatumGetArrayTypeP(stale[i].places.tids), TIDOID,
						  sizeof(ItemPointerData), false, TYPALIGN_SHORT,
						  &elements, NULL, &nelements);
		memcpy(&tids[places.n], elements, sizeof(Datum) * (Size) nelements);
		places.n += nelements;
	}
	places.tids = PointerGetDatum(construct_array(tids, places.n, TIDOID,
												  sizeof(ItemPointerData),
												  false, TYPALIGN_SHORT));
	places.xids = PointerGetDatum(construct_array(
		xids, nxids, XIDOID, sizeof(TransactionId), true, TYPALIGN_INT));
	return places;
}

/*
 * Is there a row of these transactions at each of the places, and of the time
 * that makes the range stale?
 */
static bool
rows_are_there(const AjRollup *rollup, AjRange range, const Places *places)
{
	char *time = psprintf("s.%s", quote_identifier(rollup->time_column));
	char *sql =
		psprintf("SELECT count(*) FROM %s s WHERE s.ctid = ANY ($1)"
				 " AND s.tableoid = $2 AND s.xmin = ANY ($3) AND %s",
				 rollup->source_name, aj_compute_range(rollup, time, range));
	AjSpi spi;
	bool all;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_read_once(sql,
							AJ_ARGS(aj_arg(TIDARRAYOID, places->tids, false),
									aj_arg_oid(places->part),
									aj_arg(XIDARRAYOID, places->xids, false)));
	all = aj_spi_int8(0, 1, 0) == places->n;
	aj_spi_close(&spi);
	return all;
}

static bool
find_keys(const AjRollup *rollup, AjRange range, const Places *places)
{
	TupleDesc desc;
	Tuplestorestate *store;
	AjSpi spi;
	bool good;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	store = aj_spi_query_store(aj_compute_keys_text(rollup, range, places->part,
													places->tids, places->xids),
							   wanted->context, &desc);
	good = read_keys(store, desc);
	aj_spi_close(&spi);
	tuplestore_end(store);
	return good;
}

static bool
is_current(const AjPlaces *places)
{
	return places->ntids > 0 &&
		places->epoch ==
		aj_places_epoch(places->part, aj_file_of(places->part));
}

/*
 * aj_wanted_find
 *		Find the keys of the rows that make a range of a rollup stale.  False
 *		if that can't be said, and the buckets have to be computed as a whole;
 *		if true, aggjobs.wanted() answers until aj_wanted_forget().
 *
 * Reads in the active snapshot.
 */
bool
aj_wanted_find(const AjRollup *rollup, AjRange range, const AjStale *stale,
			   int n)
{
	Oid *done = palloc(sizeof(Oid) * (Size) Max(n, 1));
	int ndone = 0;
	bool good = n > 0 && rollup->source_rollup == NULL;

	for (int i = 0; i < n && good; i++)
		good = is_current(&stale[i].places);
	if (!good)
		return false;
	begin_set();
	for (int i = 0; i < n && good; i++)
	{
		Places places;
		bool seen = false;

		for (int j = 0; j < ndone; j++)
			seen |= done[j] == stale[i].places.part;
		if (seen)
			continue;
		done[ndone++] = stale[i].places.part;
		places = gather(stale, n, stale[i].places.part);
		good = rows_are_there(rollup, range, &places) &&
			find_keys(rollup, range, &places);
	}
	if (!good)
		aj_wanted_forget();
	return good;
}

/* The keys are no longer needed. */
void
aj_wanted_forget(void)
{
	if (wanted != NULL)
		MemoryContextDelete(wanted->context);
}

/*
 * aggjobs_wanted
 *		(bucket, keys...) -> is this one of the keys to be computed?
 */
Datum
aggjobs_wanted(PG_FUNCTION_ARGS)
{
	Datum values[MAX_KEYS];
	bool isnull[MAX_KEYS];
	Key key = {.values = values, .isnull = isnull};

	if (wanted == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("function is only called by a refresh")));
	/* No keys at all: no row that was noted falls into the rollup. */
	if (hash_get_num_entries(wanted->keys) == 0)
		PG_RETURN_BOOL(false);
	if (PG_NARGS() != wanted->ncolumns)
		elog(ERROR, "wrong number of keys: %d", PG_NARGS());
	for (int i = 0; i < wanted->ncolumns; i++)
	{
		isnull[i] = PG_ARGISNULL(i);
		values[i] = isnull[i] ? (Datum) 0 : PG_GETARG_DATUM(i);
	}
	key.hash = hash_key(wanted, values, isnull);
	PG_RETURN_BOOL(hash_search(wanted->keys, &key, HASH_FIND, NULL) != NULL);
}
