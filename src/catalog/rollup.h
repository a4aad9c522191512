/*
 * rollup.h
 *	  aggjobs.rollup, change and stale: what is derived, and what is out of
 *	  date.
 */
#ifndef AJ_CATALOG_ROLLUP_H
#define AJ_CATALOG_ROLLUP_H

#include "base/compat.h"
#include "datatype/timestamp.h"

typedef struct AjRollup
{
	int64 rollup_id;
	char *name;
	Oid target;
	char *target_name; /* qualified and quoted */
	Oid source;
	char *source_name;
	int64 source_rollup; /* 0: the source is no rollup */
	char *time_column;	 /* of the source, quoted */
	char *unit;
	char *time_zone;
	char *query;
	TimestampTz horizon;	   /* AJ_NO_TIME: nothing computed yet */
	TimestampTz frozen_before; /* AJ_NO_TIME: nothing frozen */
} AjRollup;

/* A half-open range of time. */
typedef struct AjRange
{
	TimestampTz from;
	TimestampTz to;
} AjRange;

extern AjRollup *aj_rollup_find(const char *name, bool missing_ok);
extern AjRollup *aj_rollup_get(int64 rollup_id);
extern void aj_rollup_lock(AjRollup *rollup);
extern void aj_rollup_lock_all_of(Oid source);
extern AjRange aj_rollup_bucket(const AjRollup *rollup, TimestampTz at);
extern void aj_rollup_set_horizon(int64 rollup_id, TimestampTz horizon);
extern void aj_rollup_freeze(Oid source, TimestampTz before);
extern TimestampTz aj_rollup_retire_limit(Oid source, TimestampTz wanted);
extern char *aj_rollup_time_column(Oid source);

extern void aj_change_add(Oid source, TimestampTz from, TimestampTz to);
extern uint64 aj_change_absorb(Oid source);
extern AjRange *aj_stale_ranges(const AjRollup *rollup, AjRange within, int *n);
extern AjRange *aj_stale_ranges_to_come(const AjRollup *rollup, AjRange within,
										int *n);
extern void aj_stale_take(int64 rollup_id, AjRange within);
extern void aj_stale_add_parents(int64 rollup_id, AjRange range);

#endif /* AJ_CATALOG_ROLLUP_H */
