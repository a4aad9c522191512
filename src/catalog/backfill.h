/*
 * backfill.h
 *	  aggjobs.backfill and aggjobs.chunk: long refreshes, piece by piece.
 */
#ifndef AJ_CATALOG_BACKFILL_H
#define AJ_CATALOG_BACKFILL_H

#include "base/compat.h"
#include "base/usage.h"
#include "catalog/rollup.h"
#include "utils/jsonb.h"

typedef enum AjChunkKind
{
	AJ_CHUNK_PREPARE, /* a rollup, before its ranges */
	AJ_CHUNK_RANGE,	  /* of a rollup */
	AJ_CHUNK_STEP	  /* of a job */
} AjChunkKind;

typedef struct AjChunk
{
	int64 backfill_id;
	int chunk_no;
	int stage; /* after all of lower stages that overlap */
	AjChunkKind kind;
	char *rollup;  /* NULL for a step */
	AjRange range; /* of all time but for a range */
	Jsonb *step;   /* or NULL */
	int attempts;  /* this one included */
} AjChunk;

/* What was done in a chunk. */
typedef struct AjChunkDone
{
	int64 rows_read;
	int64 rows_deleted;
	int64 rows_written;
	AjUsage usage;
} AjChunkDone;

typedef struct AjBackfill
{
	int64 backfill_id;
	char *name;
	AjRange range; /* asked for */
	int workers;
	bool newest_first;
	char *state;
	Oid owner;		  /* of its workers; InvalidOid if they are gone */
	bool uncommitted; /* written by the transaction that is open here */
} AjBackfill;

/* What there is for a worker to do. */
typedef enum AjChunkTaken
{
	AJ_CHUNK_TAKEN,
	AJ_CHUNK_LATER,	 /* others are at work, whose end may bring more */
	AJ_CHUNK_NOTHING /* it is over, paused, or this worker too many */
} AjChunkTaken;

extern int64 aj_backfill_insert(const AjBackfill *backfill);
extern AjBackfill *aj_backfill_find(int64 backfill_id);
extern char *aj_backfill_state_latest(int64 backfill_id);
extern bool aj_backfill_move(int64 backfill_id, const char *from,
							 const char *to);
extern void aj_backfill_set_workers(int64 backfill_id, int workers);
extern void aj_backfill_finish(int64 backfill_id);
extern void aj_backfill_retry_failed(int64 backfill_id);
extern int aj_backfill_chunks_left(int64 backfill_id);
extern int aj_backfill_done_latest(int64 backfill_id, int *chunks);
extern void aj_backfill_add_worker(const AjBackfill *backfill, int worker,
								   Oid owner, const char *owner_name);
extern void aj_backfill_queue_runs(int64 backfill_id);
extern int64 *aj_backfill_runs(int64 backfill_id, int *n);
extern void aj_backfills_prune(int keep_minutes);

extern AjRange *aj_chunk_ranges(int64 backfill_id, const char *rollup, int *n);
extern void aj_chunk_insert(const AjChunk *chunk);
extern AjChunkTaken aj_chunk_take(const AjBackfill *backfill, int worker,
								  int64 run_id, AjChunk *chunk);
extern void aj_chunk_done(const AjChunk *chunk, const AjChunkDone *done);
extern void aj_chunk_again(const AjChunk *chunk, const char *error,
						   const char *sqlstate, TimestampTz ready_at);
extern void aj_chunk_halve(const AjChunk *chunk, TimestampTz at);
extern void aj_chunk_give_up(const AjChunk *chunk, const char *error,
							 const char *sqlstate);

#endif /* AJ_CATALOG_BACKFILL_H */
