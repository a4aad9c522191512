/*
 * spi.h
 *	  The one way to run SQL from C.
 */
#ifndef AJ_BASE_SPI_H
#define AJ_BASE_SPI_H

#include "base/compat.h"
#include "catalog/pg_type_d.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* Whose rights a statement runs with. */
typedef enum AjRights
{
	AJ_RIGHTS_CALLER,  /* the current user: statements made by us */
	AJ_RIGHTS_CATALOG, /* the extension's owner: our own tables */
	AJ_RIGHTS_SESSION  /* the current user, with the search_path of
								 * the session: what users wrote */
} AjRights;

typedef struct AjArg
{
	Oid type;
	Datum value;
	bool isnull;
} AjArg;

typedef struct AjSpi
{
	AjRights rights;
	Oid saved_user;
	int saved_context;
	int guc_level;
} AjSpi;

/* Seconds that a query took. */
typedef struct AjSpent
{
	double planning;
	double execution;
} AjSpent;

#define AJ_NO_ARGS 0, NULL
#define AJ_ARGS(...)                                    \
	(int) lengthof(((AjArg[]){__VA_ARGS__})), (AjArg[]) \
	{                                                   \
		__VA_ARGS__                                     \
	}

extern void aj_spi_open(AjSpi *spi, AjRights rights);
extern void aj_spi_close(AjSpi *spi);
extern uint64 aj_spi_run(const char *sql, int nargs, const AjArg *args);
extern uint64 aj_spi_run_once(const char *sql, int nargs, const AjArg *args);
extern uint64 aj_spi_read_latest(const char *sql, int nargs, const AjArg *args);
extern uint64 aj_spi_read(const char *sql, int nargs, const AjArg *args);
extern uint64 aj_spi_read_once(const char *sql, int nargs, const AjArg *args);
extern uint64 aj_spi_run_command(const char *sql);
extern Tuplestorestate *aj_spi_query_store(const char *sql,
										   MemoryContext context,
										   TupleDesc *desc);
extern AjSpent aj_spi_query_append(const char *sql, Tuplestorestate *store,
								   MemoryContext context, TupleDesc *desc);
extern void aj_spi_offer_store(const char *name, Tuplestorestate *store,
							   TupleDesc desc);
extern void aj_caller_command(const char *sql);
extern List *aj_caller_texts(const char *sql, int nargs, const AjArg *args);
extern char *aj_qualified_name(Oid table);
extern uint64 aj_catalog_run(const char *sql, int nargs, const AjArg *args);
extern int64 *aj_catalog_ids(const char *sql, int nargs, const AjArg *args,
							 int *n, MemoryContext context);

extern Datum aj_spi_datum(uint64 row, int column, bool *isnull);
extern char *aj_spi_text(uint64 row, int column, MemoryContext context);
extern int64 aj_spi_int8(uint64 row, int column, int64 if_null);
extern Oid aj_spi_oid(uint64 row, int column);
extern bool aj_spi_bool(uint64 row, int column);
extern bool aj_spi_isnull(uint64 row, int column);
extern TimestampTz aj_spi_time(uint64 row, int column, TimestampTz if_null);
extern double aj_spi_float8(uint64 row, int column);
extern Interval *aj_spi_interval(uint64 row, int column, MemoryContext context);
extern Jsonb *aj_spi_jsonb(uint64 row, int column, MemoryContext context);

extern bool aj_spi_is_nonatomic(FunctionCallInfo fcinfo);
extern void aj_spi_open_nonatomic(void);
extern void aj_spi_close_nonatomic(void);
extern void aj_spi_commit(void);

extern Oid aj_catalog_owner(void);

/* An instant that stands for SQL NULL in C; no timestamptz has this value. */
#define AJ_NO_TIME (PG_INT64_MIN + 1)

static inline AjArg
aj_arg(Oid type, Datum value, bool isnull)
{
	AjArg arg = {type, value, isnull};

	return arg;
}

#define aj_arg_int8(v) aj_arg(INT8OID, Int64GetDatum(v), false)
#define aj_arg_int4(v) aj_arg(INT4OID, Int32GetDatum(v), false)
#define aj_arg_int4_or_null(v, isnull) \
	aj_arg(INT4OID, Int32GetDatum(v), (isnull))
#define aj_arg_float8(v) aj_arg(FLOAT8OID, Float8GetDatum(v), false)
#define aj_arg_bool(v) aj_arg(BOOLOID, BoolGetDatum(v), false)
#define aj_arg_oid(v) aj_arg(OIDOID, ObjectIdGetDatum(v), false)
#define aj_arg_time(v) \
	aj_arg(TIMESTAMPTZOID, TimestampTzGetDatum(v), (v) == AJ_NO_TIME)
#define aj_arg_jsonb(v) aj_arg(JSONBOID, PointerGetDatum(v), (v) == NULL)
#define aj_arg_interval(v) aj_arg(INTERVALOID, PointerGetDatum(v), (v) == NULL)

static inline AjArg
aj_arg_text(const char *text)
{
	if (text == NULL)
		return aj_arg(TEXTOID, (Datum) 0, true);
	return aj_arg(TEXTOID, CStringGetTextDatum(text), false);
}

#endif /* AJ_BASE_SPI_H */
