/*
 * alter.h
 *	  Gives a rollup another query.
 */
#ifndef AJ_ROLLUP_ALTER_H
#define AJ_ROLLUP_ALTER_H

#include "access/tupdesc.h"
#include "base/compat.h"
#include "catalog/rollup.h"
#include "rollup/define.h"

/* One thing in which two queries differ. */
typedef struct AjDifference
{
	const char *part;	/* "bucket", "key", "measure", "from" or "where" */
	const char *name;	/* of a column; NULL for the rest */
	const char *change; /* "added", "dropped" or "changed" */
	const char *before; /* SQL, or NULL */
	const char *after;
} AjDifference;

/* A query, and which of its columns are bucket and keys. */
typedef struct AjVersion
{
	Query *query;
	const char *bucket;
} AjVersion;

/* differences.c */
extern List *aj_differences(const AjVersion *before, const AjVersion *after);
extern AjVersion aj_version_of(const AjRollup *rollup);
extern AjVersion aj_version_defined(AjDefinition *definition);
extern bool aj_differs_in(const List *differences, const char *part,
						  const char *change);
extern bool aj_column_is_same(const List *differences, const char *name);

/* alter_check.c */
extern TupleDesc aj_alter_columns(Oid view);
extern bool aj_alter_in_place(TupleDesc old, TupleDesc new);
extern void aj_alter_check(const AjRollup *rollup,
						   const AjDefinition *definition);
extern List *aj_alter_views(const AjRollup *rollup);

/* alter.c */
extern List *aj_alter_plan(AjRollup *rollup, AjDefinition *definition);
extern AjRollup *aj_alter_begin(AjRollup *rollup, AjDefinition *definition,
								const List *differences);

/* succeed.c */
extern bool aj_rollup_succeed(AjRollup *old, AjRollup *successor);

#endif /* AJ_ROLLUP_ALTER_H */
