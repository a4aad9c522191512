/*
 * retention.h
 *	  Remove old rows without destroying what was computed from them.
 */
#ifndef AJ_ROLLUP_RETENTION_H
#define AJ_ROLLUP_RETENTION_H

#include "base/compat.h"
#include "base/limited.h"
#include "rollup/refresh.h"

/* What a run may do over all tables; shared by their AjRetire. */
typedef struct AjBudget
{
	int64 rows;			  /* still to be deleted; PG_INT64_MAX: no limit */
	TimestampTz deadline; /* no piece begins after it; DT_NOEND: no limit */
	bool used;			  /* by something that was removed */
} AjBudget;

typedef struct AjRetire
{
	/* in */
	Oid table;
	const char *time_column; /* not quoted */
	TimestampTz before;
	bool keep_rows;		  /* only move the frozen line */
	int batch;			  /* most rows of one transaction; 0: the default */
	AjBudget *budget;	  /* NULL: no end before all is done, and who waits for
					   * a lock waits as the session has it */
	AjLimits limits;	  /* of a piece */
	AjLimits drop_limits; /* of a piece that keeps readers waiting */
	AjCommit commit;
	void *commit_arg;

	/* out */
	TimestampTz limit; /* AJ_NO_TIME: nothing might go */
	int64 rows;
	int partitions;		 /* dropped */
	const char *stopped; /* what ended it before all was done, or NULL */

	/* between pieces */
	bool frozen; /* committed, or done in this piece */
	List *left;	 /* of AjRange *: partitions that are for the next run */
} AjRetire;

#define AJ_RETIRE_BATCH 10000
#define AJ_BACKLOG_BOUND 100000

extern void aj_retire(AjRetire *retire);
extern int64 aj_retire_plan(AjRetire *retire);
extern bool aj_retire_backlog(AjRetire *retire, int64 *rows);

/* retention.c, for the two below */
extern bool aj_retire_may_go_on(AjRetire *retire);
extern AjLimited aj_retire_piece(AjRetire *retire, const AjLimits *limits,
								 void (*work)(void *arg), void *arg);
extern void aj_retire_freeze(AjRetire *retire);
extern TimestampTz aj_retire_line(const AjRetire *retire);

/* retention_parts.c */
extern bool aj_retire_parts(AjRetire *retire);

/* retention_rows.c */
extern void aj_retire_rows(AjRetire *retire);
extern int64 aj_retire_count(const AjRetire *retire, TimestampTz line,
							 int64 most);

#endif /* AJ_ROLLUP_RETENTION_H */
