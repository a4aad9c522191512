/*
 * classify.h
 *	  What a query is made of: measures, buckets, and what may follow from what.
 */
#ifndef AJ_ROLLUP_CLASSIFY_H
#define AJ_ROLLUP_CLASSIFY_H

#include "base/compat.h"
#include "nodes/parsenodes.h"
#include "rollup/define.h"

/* classify.c */
extern const char *aj_measure_kind(Node *expr);
extern void aj_check_hierarchy(const AjDefinition *definition, Query *query,
							   Index source, int location);

/* bucket_call.c */
extern bool aj_bucket_is_call(Node *expr);
extern Var *aj_bucket_from_call(FuncExpr *call, AjBucket *bucket);
extern bool aj_bucket_is_cast(Node *expr);

/* check_select.c */
extern void aj_check_select(const SelectStmt *select);
extern List *aj_tables_in_from(const SelectStmt *select);

/* check_query.c */
extern void aj_check_query(Query *query);
extern void aj_check_tables(const Query *query, const List *tables);

/* immutable.c */
extern void aj_check_immutable(Node *node);

/* check_source.c */
extern void aj_check_source(const RangeTblEntry *rte, int lookback,
							int location);
extern bool aj_is_not_null(Oid table, AttrNumber column);
extern bool aj_is_virtual(Oid table, AttrNumber column);
extern void aj_check_may_read(Oid table, const Bitmapset *columns);

#endif /* AJ_ROLLUP_CLASSIFY_H */
