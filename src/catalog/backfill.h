/*
 * backfill.h
 *	  aggjobs.backfill: long work that is cut into chunks, and who does it.
 */
#ifndef AJ_CATALOG_BACKFILL_H
#define AJ_CATALOG_BACKFILL_H

#include "base/compat.h"
#include "catalog/rollup.h"
#include "utils/jsonb.h"

typedef struct AjBackfill
{
	int64 backfill_id;
	char *name;
	AjRange range; /* asked for */
	int workers;
	bool newest_first;
	Interval *chunk_width; /* asked for, or NULL */
	Jsonb *step;		   /* of the run, with what it has to say; or NULL */
	bool has_parts;		   /* of a step of kind "parts" */
	int64 run_id;		   /* that works at it as worker 1; 0: none */
	char *state;
	Oid owner;		  /* of its workers; InvalidOid if they are gone */
	bool uncommitted; /* written by the transaction that is open here */
} AjBackfill;

/* What a rollup said before a backfill. */
typedef struct AjBackfillCopy
{
	char *rollup;
	Oid target;
	Oid copy; /* a table */
	AjRange range;
} AjBackfillCopy;

/* For whom the workers of a backfill work. */
typedef struct AjBackfillOwner
{
	Oid owner;
	char *owner_name;
	int64 job_id; /* whose settings and limits they have; 0: none */
} AjBackfillOwner;

extern int64 aj_backfill_insert(const AjBackfill *backfill);
extern AjBackfill *aj_backfill_find(int64 backfill_id);
extern AjBackfill *aj_backfill_allowed(int64 backfill_id);
extern char *aj_backfill_state_latest(int64 backfill_id);
extern bool aj_backfill_move(int64 backfill_id, const char *from,
							 const char *to);
extern void aj_backfill_set_workers(int64 backfill_id, int workers);
extern void aj_backfill_finish(int64 backfill_id);
extern void aj_backfill_retry_failed(int64 backfill_id);
extern int aj_backfill_chunks_left(int64 backfill_id);
extern int aj_backfill_done_latest(int64 backfill_id, int *chunks);
extern int64 aj_backfill_rows_of_others(int64 backfill_id, int64 run_id);
extern char *aj_backfill_first_error(int64 backfill_id, int *failed,
									 char **sqlstate);
extern void aj_backfill_add_worker(const AjBackfill *backfill, int worker,
								   const AjBackfillOwner *owner);
extern void aj_backfill_queue_runs(int64 backfill_id, int delay_ms);
extern void aj_backfill_take_up(int64 backfill_id);
extern void aj_backfills_pause_copied(void);
extern void aj_backfill_worker_ended(int64 run_id, bool failed);
extern int64 *aj_backfill_runs(int64 backfill_id, int *n);
extern int64 aj_backfill_adopt(int64 run_id, const Jsonb *step);
extern void aj_backfill_leave(int64 backfill_id);
extern void aj_backfill_stop(int64 backfill_id, const char *note);
extern void aj_backfills_end_with(int64 run_id);
extern void aj_backfill_add_copy(int64 backfill_id, const AjBackfillCopy *copy);
extern AjBackfillCopy *aj_backfill_copies(int64 backfill_id, int *n);
extern void aj_backfill_forget_copies(int64 backfill_id);
extern void aj_backfills_prune(int keep_minutes);

#endif /* AJ_CATALOG_BACKFILL_H */
