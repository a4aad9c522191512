/*
 * rollup.h
 *	  aggjobs.rollup and rollup_state: what is derived, and how far it is.
 */
#ifndef AJ_CATALOG_ROLLUP_H
#define AJ_CATALOG_ROLLUP_H

#include "base/compat.h"
#include "time/bucket.h"
#include "utils/jsonb.h"

typedef struct AjRollup
{
	int64 rollup_id; /* 0 before it is stored */
	char *name;
	Oid target;
	char *target_name; /* qualified and quoted, as all *_name */
	Oid live;
	char *live_name;
	Oid source;
	char *source_name;
	char *source_rollup; /* NULL: the source is no rollup */
	char *time_column;	 /* of the source, not quoted */
	char *bucket_column; /* of the target, not quoted */
	Oid bucket_type;
	AjBucket bucket;
	int nkeys;		 /* key columns beside the bucket */
	char **keys;	 /* not quoted */
	Jsonb *measures; /* array of {"name", "kind"} */
	char *query;	 /* as written */
	int lookback;	 /* buckets; 0: changes are captured */
	bool builtin;
	char *replaces; /* the rollup whose place this one is to take, or NULL */
	TimestampTz horizon;	   /* AJ_NO_TIME: nothing computed yet */
	TimestampTz frozen_before; /* AJ_NO_TIME: nothing frozen */
} AjRollup;

/* A half-open range of the axis. */
typedef struct AjRange
{
	TimestampTz from;
	TimestampTz to;
} AjRange;

#define AJ_ALL_TIME ((AjRange){DT_NOBEGIN, DT_NOEND})

extern AjRollup *aj_rollup_find(const char *name, bool missing_ok);
extern AjRollup *aj_rollup_find_in_snapshot(const char *name);
extern AjRollup *aj_rollup_of_target_in_snapshot(Oid target);
extern AjRollup **aj_rollups_of(Oid source, int *n);
extern AjRollup **aj_rollup_parents(const char *name, int *n);
extern AjRollup *aj_rollup_of_target(Oid target);
extern AjRollup *aj_rollup_of_live(Oid live);
extern void aj_rollup_insert(AjRollup *rollup);
extern void aj_rollup_delete(const char *name);
extern char **aj_rollup_delete_orphans(int *n);

extern bool aj_rollup_lock(AjRollup *rollup);
extern bool aj_rollup_lock_shared(AjRollup *rollup);
extern void aj_rollup_lock_all_of(Oid source);
extern AjRange aj_rollup_bucket(const AjRollup *rollup, TimestampTz at);
extern AjRange aj_rollup_widen(const AjRollup *rollup, AjRange range);
extern void aj_rollup_set_horizon(const AjRollup *rollup, TimestampTz horizon);
extern void aj_rollup_set_frozen(const AjRollup *rollup, TimestampTz before);
extern void aj_rollup_add_late(const AjRollup *rollup, int64 rows);
extern TimestampTz aj_rollup_greatest_horizon(Oid source);
extern bool aj_rollup_has_problem(const char *name);
extern void aj_rollup_set_problem(const char *name, const char *problem);
extern char *aj_rollup_time_column(Oid source);
extern bool aj_rollup_source_is_used(Oid source);
extern bool aj_rollup_rename_column(const AjRollup *rollup, const char *from,
									const char *to);
extern void aj_rollup_rename_time_column(Oid source, const char *from,
										 const char *to);

#endif /* AJ_CATALOG_ROLLUP_H */
