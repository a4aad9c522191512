/*-------------------------------------------------------------------------
 *
 * spi.c
 *	  The one way to run SQL from C.
 *
 * Whoever opens SPI here gets a search_path of pg_catalog and pg_temp only,
 * unless it is to run what a user wrote, and says whose rights the statements
 * have: the caller's, or those of the extension's owner, for our own tables.
 * Both are put
 * back by aj_spi_close(), and by the abort of the (sub)transaction when an
 * error comes first, so callers need no PG_TRY.
 *
 * State: the plans of literal statements, kept for the life of the process
 * and keyed by the address of the literal.  The server revalidates them when
 * tables change.  No locks.
 *
 * Failure: every error of a statement is the server's own, passed on.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/base/spi.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "base/spi.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "portability/instr_time.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/queryenvironment.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

typedef struct PlanEntry
{
	const char *sql; /* key: address of the literal */
	SPIPlanPtr plan;
} PlanEntry;

#define MAX_ARGS 32

static HTAB *plans = NULL;

/*
 * aj_catalog_owner
 *		The role that owns our tables.  An error if the schema is not there.
 */
Oid
aj_catalog_owner(void)
{
	Oid schema = get_namespace_oid("aggjobs", false);
	HeapTuple tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for namespace %u", schema);
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * aj_spi_open
 *		Open SPI with a locked search_path and the rights asked for.
 *
 * "spi" is the caller's and remembers what aj_spi_close() puts back.  Needs a
 * transaction.
 */
void
aj_spi_open(AjSpi *spi, AjRights rights)
{
	spi->rights = rights;
	GetUserIdAndSecContext(&spi->saved_user, &spi->saved_context);
	if (rights == AJ_RIGHTS_CATALOG)
		SetUserIdAndSecContext(aj_catalog_owner(),
							   spi->saved_context |
								   SECURITY_LOCAL_USERID_CHANGE);

	spi->guc_level = 0;
	if (rights != AJ_RIGHTS_SESSION)
	{
		spi->guc_level = NewGUCNestLevel();
		(void) set_config_option("search_path", "pg_catalog, pg_temp",
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
	}
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not open SPI");
}

/*
 * aj_spi_close
 *		Close what aj_spi_open() opened; results of statements are gone.
 */
void
aj_spi_close(AjSpi *spi)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "could not close SPI");
	if (spi->guc_level != 0)
		AtEOXact_GUC(true, spi->guc_level);
	if (spi->rights == AJ_RIGHTS_CATALOG)
		SetUserIdAndSecContext(spi->saved_user, spi->saved_context);
}

static SPIPlanPtr
prepare(const char *sql, int nargs, const AjArg *args)
{
	Oid types[MAX_ARGS];
	SPIPlanPtr plan;

	if (nargs > MAX_ARGS)
		elog(ERROR, "too many arguments for a statement: %d", nargs);
	for (int i = 0; i < nargs; i++)
		types[i] = args[i].type;
	plan = SPI_prepare(sql, nargs, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare statement: %s",
			 SPI_result_code_string(SPI_result));
	return plan;
}

static uint64
execute(SPIPlanPtr plan, int nargs, const AjArg *args, bool read_only)
{
	Datum values[MAX_ARGS] = {0};
	char nulls[MAX_ARGS] = {0};
	int result;

	for (int i = 0; i < nargs; i++)
	{
		values[i] = args[i].value;
		nulls[i] = args[i].isnull ? 'n' : ' ';
	}
	result = SPI_execute_plan(plan, values, nulls, read_only, 0);
	if (result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("could not execute statement: %s",
						SPI_result_code_string(result))));
	return SPI_processed;
}

/* Plan of a literal, made at its first use by this process. */
static SPIPlanPtr
kept_plan(const char *sql, int nargs, const AjArg *args)
{
	PlanEntry *entry;
	bool found;

	if (plans == NULL)
	{
		HASHCTL control = {0};

		control.keysize = sizeof(const char *);
		control.entrysize = sizeof(PlanEntry);
		plans = hash_create("pg_aggjobs plans", 64, &control,
							HASH_ELEM | HASH_BLOBS);
	}

	entry = hash_search(plans, &sql, HASH_ENTER, &found);
	if (!found)
		entry->plan = NULL;
	if (entry->plan == NULL)
	{
		SPIPlanPtr plan = prepare(sql, nargs, args);

		if (SPI_keepplan(plan) != 0)
			elog(ERROR, "could not keep plan");
		entry->plan = plan;
	}
	return entry->plan;
}

/*
 * aj_spi_run
 *		Run one statement, which must be a string literal, and keep its plan.
 *
 * Returns the number of rows returned or written.  Returned rows are read
 * with aj_spi_text() and the like, until the next statement or the close.
 */
uint64
aj_spi_run(const char *sql, int nargs, const AjArg *args)
{
	return execute(kept_plan(sql, nargs, args), nargs, args, false);
}

/*
 * aj_spi_run_once
 *		Run one statement whose text is made at run time; its plan is dropped.
 */
uint64
aj_spi_run_once(const char *sql, int nargs, const AjArg *args)
{
	SPIPlanPtr plan = prepare(sql, nargs, args);
	uint64 rows = execute(plan, nargs, args, false);

	(void) SPI_freeplan(plan);
	return rows;
}

/*
 * aj_spi_read_latest
 *		Run a reading literal with what is committed now, whatever the
 *		snapshot of the transaction.
 */
uint64
aj_spi_read_latest(const char *sql, int nargs, const AjArg *args)
{
	uint64 rows;

	PushActiveSnapshot(GetLatestSnapshot());
	rows = execute(kept_plan(sql, nargs, args), nargs, args, true);
	PopActiveSnapshot();
	return rows;
}

/*
 * aj_spi_read
 *		Run a reading literal in the active snapshot, which is that of the
 *		query that called us.
 */
uint64
aj_spi_read(const char *sql, int nargs, const AjArg *args)
{
	return execute(kept_plan(sql, nargs, args), nargs, args, true);
}

/* The same for a statement whose text is made at run time. */
uint64
aj_spi_read_once(const char *sql, int nargs, const AjArg *args)
{
	SPIPlanPtr plan = prepare(sql, nargs, args);
	uint64 rows = execute(plan, nargs, args, true);

	(void) SPI_freeplan(plan);
	return rows;
}

/*
 * aj_spi_run_command
 *		Run one or more statements that a user wrote.  Returns the number of
 *		rows of the last one.
 */
uint64
aj_spi_run_command(const char *sql)
{
	int result = SPI_execute(sql, false, 0);

	if (result < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("could not execute command: %s",
						SPI_result_code_string(result))));
	return SPI_processed;
}

/* A query whose text is made at run time, parallel where that is found good. */
static SPIPlanPtr
prepare_query(const char *sql)
{
	SPIPlanPtr plan = SPI_prepare_cursor(sql, 0, NULL, CURSOR_OPT_PARALLEL_OK);

	if (plan == NULL)
		elog(ERROR, "could not prepare query: %s",
			 SPI_result_code_string(SPI_result));
	return plan;
}

static TupleDesc
rows_of_query(SPIPlanPtr plan, MemoryContext context)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(plan));
	MemoryContext saved = MemoryContextSwitchTo(context);
	TupleDesc desc = CreateTupleDescCopy(source->resultDesc);

	MemoryContextSwitchTo(saved);
	return desc;
}

/* Add the rows of a query to a tuplestore, and drop its plan. */
static void
execute_into(SPIPlanPtr plan, Tuplestorestate *store, MemoryContext context)
{
	SPIExecuteOptions options = {0};

	options.read_only = true;
	options.dest = CreateDestReceiver(DestTuplestore);
	SetTuplestoreDestReceiverParams(options.dest, store, context, false, NULL,
									NULL);
	if (SPI_execute_plan_extended(plan, &options) < 0)
		elog(ERROR, "could not execute query");
	options.dest->rDestroy(options.dest);
	(void) SPI_freeplan(plan);
}

/*
 * aj_spi_query_store
 *		Run a query whose text is made at run time, in the active snapshot and
 *		with a parallel plan where the server finds one good; returns its rows
 *		as a tuplestore in the memory context "context", and what they are.
 */
Tuplestorestate *
aj_spi_query_store(const char *sql, MemoryContext context, TupleDesc *desc)
{
	SPIPlanPtr plan = prepare_query(sql);
	MemoryContext saved = MemoryContextSwitchTo(context);
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);

	MemoryContextSwitchTo(saved);
	*desc = rows_of_query(plan, context);
	execute_into(plan, store, context);
	return store;
}

static double
seconds_since(instr_time start)
{
	instr_time now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_DOUBLE(now);
}

/*
 * aj_spi_query_append
 *		The same, but the rows are added to a tuplestore in "context".  What
 *		they are is put into *desc, if that is NULL.  Returns how long it took.
 */
AjSpent
aj_spi_query_append(const char *sql, Tuplestorestate *store,
					MemoryContext context, TupleDesc *desc)
{
	AjSpent spent;
	instr_time start;
	SPIPlanPtr plan;

	INSTR_TIME_SET_CURRENT(start);
	plan = prepare_query(sql);
	/* Without parameters, this is the plan that is going to be executed. */
	ReleaseCachedPlan(SPI_plan_get_cached_plan(plan), NULL);
	spent.planning = seconds_since(start);
	if (*desc == NULL)
		*desc = rows_of_query(plan, context);
	execute_into(plan, store, context);
	spent.execution = seconds_since(start) - spent.planning;
	return spent;
}

/*
 * aj_spi_offer_store
 *		Let statements read a tuplestore by a name, until the close.
 */
void
aj_spi_offer_store(const char *name, Tuplestorestate *store, TupleDesc desc)
{
	EphemeralNamedRelation relation =
		palloc0(sizeof(EphemeralNamedRelationData));

	relation->md.name = pstrdup(name);
	relation->md.reliddesc = InvalidOid;
	relation->md.tupdesc = desc;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = (double) tuplestore_tuple_count(store);
	relation->reldata = store;
	if (SPI_register_relation(relation) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register relation \"%s\"", name);
}

/*
 * aj_caller_command
 *		Open SPI with the rights of the current user, run one statement whose
 *		text is made at run time, close.
 */
void
aj_caller_command(const char *sql)
{
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_run_command(sql);
	aj_spi_close(&spi);
}

/*
 * aj_caller_texts
 *		With the rights of the current user, what a literal query returns in
 *		its first column, as a list of char * in the current context.
 */
List *
aj_caller_texts(const char *sql, int nargs, const AjArg *args)
{
	MemoryContext context = CurrentMemoryContext;
	List *texts = NIL;
	AjSpi spi;
	uint64 n;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	n = aj_spi_run(sql, nargs, args);
	for (uint64 i = 0; i < n; i++)
	{
		char *text = aj_spi_text(i, 1, context);
		MemoryContext saved = MemoryContextSwitchTo(context);

		texts = lappend(texts, text);
		MemoryContextSwitchTo(saved);
	}
	aj_spi_close(&spi);
	return texts;
}

/*
 * aj_catalog_run
 *		Open SPI with the rights of the extension's owner, run one literal,
 *		close.  Returns the number of rows written.
 */
uint64
aj_catalog_run(const char *sql, int nargs, const AjArg *args)
{
	AjSpi spi;
	uint64 rows;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	rows = aj_spi_run(sql, nargs, args);
	aj_spi_close(&spi);
	return rows;
}

/* A table's name for statements and messages: schema and name, quoted. */
char *
aj_qualified_name(Oid table)
{
	return quote_qualified_identifier(
		get_namespace_name(get_rel_namespace(table)), get_rel_name(table));
}

/* The ids that a statement on our own tables returns, in "context". */
int64 *
aj_catalog_ids(const char *sql, int nargs, const AjArg *args, int *n,
			   MemoryContext context)
{
	AjSpi spi;
	int64 *ids;

	aj_spi_open(&spi, AJ_RIGHTS_CATALOG);
	*n = (int) aj_spi_run(sql, nargs, args);
	ids = MemoryContextAlloc(context, sizeof(int64) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
		ids[i] = aj_spi_int8((uint64) i, 1, 0);
	aj_spi_close(&spi);
	return ids;
}

/*
 * aj_spi_datum
 *		Value of a result: rows count from 0, columns from 1.  By-reference
 *		values live until the close.
 */
Datum
aj_spi_datum(uint64 row, int column, bool *isnull)
{
	if (SPI_tuptable == NULL || row >= SPI_tuptable->numvals)
		elog(ERROR, "statement returned no row " UINT64_FORMAT, row);
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column,
						 isnull);
}

/* The readers below copy into "context" or return plain values. */

char *
aj_spi_text(uint64 row, int column, MemoryContext context)
{
	bool isnull;
	Datum value = aj_spi_datum(row, column, &isnull);

	if (isnull)
		return NULL;
	return MemoryContextStrdup(context, TextDatumGetCString(value));
}

int64
aj_spi_int8(uint64 row, int column, int64 if_null)
{
	bool isnull;
	Datum value = aj_spi_datum(row, column, &isnull);

	if (isnull)
		return if_null;
	if (SPI_gettypeid(SPI_tuptable->tupdesc, column) == INT4OID)
		return DatumGetInt32(value);
	return DatumGetInt64(value);
}

Oid
aj_spi_oid(uint64 row, int column)
{
	bool isnull;
	Datum value = aj_spi_datum(row, column, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

bool
aj_spi_bool(uint64 row, int column)
{
	bool isnull;
	Datum value = aj_spi_datum(row, column, &isnull);

	return !isnull && DatumGetBool(value);
}

bool
aj_spi_isnull(uint64 row, int column)
{
	bool isnull;

	(void) aj_spi_datum(row, column, &isnull);
	return isnull;
}

TimestampTz
aj_spi_time(uint64 row, int column, TimestampTz if_null)
{
	bool isnull;
	Datum value = aj_spi_datum(row, column, &isnull);

	return isnull ? if_null : DatumGetTimestampTz(value);
}

/* 0 if it is NULL. */
double
aj_spi_float8(uint64 row, int column)
{
	bool isnull;
	Datum value = aj_spi_datum(row, column, &isnull);

	return isnull ? 0 : DatumGetFloat8(value);
}

/* NULL if it is NULL. */
Interval *
aj_spi_interval(uint64 row, int column, MemoryContext context)
{
	bool isnull;
	Datum value = aj_spi_datum(row, column, &isnull);
	Interval *copy;

	if (isnull)
		return NULL;
	copy = MemoryContextAlloc(context, sizeof(Interval));
	*copy = *DatumGetIntervalP(value);
	return copy;
}

Jsonb *
aj_spi_jsonb(uint64 row, int column, MemoryContext context)
{
	bool isnull;
	Datum value = aj_spi_datum(row, column, &isnull);
	MemoryContext saved;
	Jsonb *copy;

	if (isnull)
		return NULL;
	saved = MemoryContextSwitchTo(context);
	copy = DatumGetJsonbPCopy(value);
	MemoryContextSwitchTo(saved);
	return copy;
}

/*
 * aj_spi_is_nonatomic
 *		Was this procedure CALLed where it may commit?
 */
bool
aj_spi_is_nonatomic(FunctionCallInfo fcinfo)
{
	return fcinfo->context != NULL && IsA(fcinfo->context, CallContext) &&
		!castNode(CallContext, fcinfo->context)->atomic;
}

/*
 * aj_spi_open_nonatomic, aj_spi_close_nonatomic, aj_spi_commit
 *		The outer level of a procedure that commits as it goes.
 */
void
aj_spi_open_nonatomic(void)
{
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "could not open SPI");
}

void
aj_spi_close_nonatomic(void)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "could not close SPI");
}

void
aj_spi_commit(void)
{
	SPI_commit();
}
