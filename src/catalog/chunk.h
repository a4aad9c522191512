/*
 * chunk.h
 *	  aggjobs.chunk: the pieces of backfills.
 */
#ifndef AJ_CATALOG_CHUNK_H
#define AJ_CATALOG_CHUNK_H

#include "base/compat.h"
#include "base/usage.h"
#include "catalog/backfill.h"

typedef enum AjChunkKind
{
	AJ_CHUNK_COPY,	  /* keep what a rollup says */
	AJ_CHUNK_PREPARE, /* a rollup, before its ranges */
	AJ_CHUNK_RANGE,	  /* of a rollup */
	AJ_CHUNK_STEP,	  /* of a job */
	AJ_CHUNK_PART	  /* of a step of kind "parts" */
} AjChunkKind;

typedef struct AjChunk
{
	int64 backfill_id;
	int chunk_no;
	int stage; /* after all of lower stages that overlap */
	AjChunkKind kind;
	char *rollup;  /* NULL for a step */
	AjRange range; /* of all time but for a range */
	Jsonb *step;   /* or a part's values; or NULL */
	int attempts;  /* this one included */
} AjChunk;

/* Why a chunk can't be done. */
typedef struct AjChunkError
{
	const char *message;
	const char *sqlstate;
} AjChunkError;

/* What was done in a chunk. */
typedef struct AjChunkDone
{
	int64 rows_read;
	int64 rows_deleted;
	int64 rows_written;
	AjUsage usage;
} AjChunkDone;

/* What there is for a worker to do. */
typedef enum AjChunkTaken
{
	AJ_CHUNK_TAKEN,
	AJ_CHUNK_LATER,	 /* others are at work, whose end may bring more */
	AJ_CHUNK_NOTHING /* it is over, paused, or this worker too many */
} AjChunkTaken;

extern AjRange *aj_chunk_ranges(int64 backfill_id, const char *rollup, int *n);
extern void aj_chunk_insert(const AjChunk *chunk);
extern AjChunkTaken aj_chunk_take(const AjBackfill *backfill, int worker,
								  int64 run_id, AjChunk *chunk);
extern void aj_chunk_done(const AjChunk *chunk, int64 run_id,
						  const AjChunkDone *done);
extern bool aj_chunk_is_of(const AjChunk *chunk, int64 run_id);
extern void aj_chunk_again(const AjChunk *chunk, const AjChunkError *error,
						   TimestampTz ready_at);
extern void aj_chunk_halve(const AjChunk *chunk, TimestampTz at);
extern void aj_chunk_shorten(AjChunk *chunk, TimestampTz at);
extern double aj_chunk_seconds(const AjChunk *chunk, double least);
extern void aj_chunk_give_up(const AjChunk *chunk, const AjChunkError *error);
extern void aj_chunk_give_up_copied(const AjChunk *copy);
extern void aj_chunk_skip(const AjChunk *chunk, const AjChunkError *error);
extern void aj_chunk_sample(const AjChunk *chunk, int64 rows,
							const Jsonb *sample);

#endif /* AJ_CATALOG_CHUNK_H */
