/*
 * progress.h
 *	  How far a long piece of work is, for others to see while it goes on.
 */
#ifndef AJ_BASE_PROGRESS_H
#define AJ_BASE_PROGRESS_H

#include "base/compat.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"

typedef enum AjPhase
{
	AJ_PHASE_NONE,
	AJ_PHASE_STARTING,
	AJ_PHASE_COMPUTING,
	AJ_PHASE_WRITING,
	AJ_PHASE_LOCKS, /* waits until fewer sessions wait for locks */
	AJ_PHASE_WAL	/* ... until less is logged */
} AjPhase;

/* In shared memory; written by one process, read by all, guarded by nothing. */
typedef struct AjProgress
{
	pg_atomic_uint32 chunk_no; /* 0: none is at work */
	pg_atomic_uint32 phase;
	pg_atomic_uint64 rows_read; /* of the source, in this chunk */
	pg_atomic_uint64 blocks;	/* looked at, wherever they were found */
	pg_atomic_uint64 seen_at;	/* last sign of life */
} AjProgress;

/* A copy. */
typedef struct AjProgressView
{
	int chunk_no;
	AjPhase phase;
	int64 rows_read;
	int64 blocks;
	TimestampTz seen_at;
} AjProgressView;

extern void aj_progress_init(AjProgress *progress);
extern void aj_progress_view(AjProgress *progress, AjProgressView *view);
extern void aj_progress_begin(AjProgress *progress, int chunk_no, Oid source);
extern void aj_progress_phase(AjPhase phase);
extern void aj_progress_wait(AjProgress *progress, AjPhase phase);
extern int64 aj_progress_rows(void);
extern void aj_progress_end(void);

#endif /* AJ_BASE_PROGRESS_H */
