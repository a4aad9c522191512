/*
 * define.h
 *	  From the text of a query to what is needed to keep it as a rollup.
 */
#ifndef AJ_ROLLUP_DEFINE_H
#define AJ_ROLLUP_DEFINE_H

#include "base/compat.h"
#include "catalog/rollup.h"
#include "nodes/parsenodes.h"

typedef enum AjColumnRole
{
	AJ_COLUMN_BUCKET,
	AJ_COLUMN_KEY,
	AJ_COLUMN_MEASURE
} AjColumnRole;

typedef struct AjColumn
{
	char *name;
	Oid type;
	int32 typmod;
	Oid collation;
	AjColumnRole role;
	const char *kind; /* of a measure: "count", "sum", "least", "greatest",
								 * "average", "distinct", "percentile", "other" */
} AjColumn;

/* What analysis finds; memory is the caller's context. */
typedef struct AjDefinition
{
	const char *query; /* as written */
	SelectStmt
		*select; /* raw parse tree, two-argument date_trunc made explicit */
	Oid source;
	char *source_alias;		 /* by which the query calls the source */
	RangeVar *source_ref;	 /* its node in select->fromClause */
	AjRollup *source_rollup; /* NULL: the source is no rollup */
	char *time_column;
	char *time_name; /* by which the query may call it */
	AttrNumber time_attnum;
	AjBucket bucket;
	int ncolumns;
	AjColumn *columns; /* of the target, in order */
	int bucket_index;
	Bitmapset *read;  /* attnums of the source that the query reads */
	List *dimensions; /* Oids of the other tables that are joined */
	int lookback;
	char *replaces; /* the rollup whose place this is to take, or NULL */
} AjDefinition;

/* What the maker of a rollup says beside the query. */
typedef struct AjDefineOptions
{
	int lookback;	   /* 0: capture changes */
	const char *epoch; /* NULL, or the unit of a bigint time column */
} AjDefineOptions;

extern AjDefinition *aj_define(const char *query,
							   const AjDefineOptions *options);

/* The live view is called like the target, and this. */
#define AJ_LIVE_SUFFIX "_live"

/* create.c */
extern AjRollup *aj_rollup_create(const char *name, const char *schema,
								  AjDefinition *definition);
extern void aj_rollup_comment(const AjRollup *rollup);
extern Oid aj_owner_of(Oid relation);
extern void aj_rollup_check_owner(const AjRollup *rollup);
extern void aj_rollup_drop(AjRollup *rollup, bool keep_table);

/* live_view.c */
extern Query *aj_live_query(AjDefinition *definition);
extern void aj_live_view_replace(AjRollup *rollup, AjDefinition *definition);

#endif /* AJ_ROLLUP_DEFINE_H */
