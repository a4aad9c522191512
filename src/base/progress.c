/*-------------------------------------------------------------------------
 *
 * progress.c
 *	  How far a long piece of work is, for others to see while it goes on.
 *
 * A timer writes a sign of life, and how many blocks were looked at, several
 * times a second, also in the middle of a statement.  Rows are those that the
 * server counts for its statistics of the source and its partitions, in this
 * process; they are read where the work comes by.
 *
 * State: which progress is written, and from where it counts, private to the
 * process, from aj_progress_begin() to aj_progress_end().  What is shared is
 * only ever written here.  No locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/base/progress.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/progress.h"
#include "catalog/pg_inherits.h"
#include "executor/instrument.h"
#include "pgstat.h"
#include "storage/lockdefs.h"
#include "utils/memutils.h"
#include "utils/timeout.h"

#define TICK_MS 250

static AjProgress *volatile current = NULL;
static MemoryContext context = NULL; /* of "tables" */
static List *tables = NIL;
static int64 rows_before;
static volatile int64 blocks_before;
static TimeoutId timer = MAX_TIMEOUTS;

/* Called once, when shared memory is made. */
void
aj_progress_init(AjProgress *progress)
{
	pg_atomic_init_u32(&progress->chunk_no, 0);
	pg_atomic_init_u32(&progress->phase, AJ_PHASE_NONE);
	pg_atomic_init_u64(&progress->rows_read, 0);
	pg_atomic_init_u64(&progress->blocks, 0);
	pg_atomic_init_u64(&progress->seen_at, 0);
}

/* What others see; the parts may be of different moments. */
void
aj_progress_view(AjProgress *progress, AjProgressView *view)
{
	view->chunk_no = (int) pg_atomic_read_u32(&progress->chunk_no);
	view->phase = (AjPhase) pg_atomic_read_u32(&progress->phase);
	view->rows_read = (int64) pg_atomic_read_u64(&progress->rows_read);
	view->blocks = (int64) pg_atomic_read_u64(&progress->blocks);
	view->seen_at = (TimestampTz) pg_atomic_read_u64(&progress->seen_at);
}

static int64
blocks_so_far(void)
{
	return pgBufferUsage.shared_blks_hit + pgBufferUsage.shared_blks_read +
		pgBufferUsage.local_blks_hit + pgBufferUsage.local_blks_read;
}

/* In a handler of signals: nothing but reads and stores. */
static void
tick(void)
{
	AjProgress *progress = current;

	if (progress == NULL)
		return;
	pg_atomic_write_u64(&progress->blocks,
						(uint64) (blocks_so_far() - blocks_before));
	pg_atomic_write_u64(&progress->seen_at, (uint64) aj_now());
}

/* What this process has read of the tables since its counts were last sent. */
static int64
rows_so_far(void)
{
	int64 rows = 0;
	ListCell *cell;

	foreach (cell, tables)
	{
		PgStat_TableStatus *status = find_tabstat_entry(lfirst_oid(cell));

		if (status != NULL)
			rows += aj_rows_counted(status);
	}
	return rows;
}

/*
 * aj_progress_begin
 *		Begin with a chunk that reads a source, or InvalidOid.  Until
 *		aj_progress_end() the tables of the source must not be altered, which
 *		is for the locks of the work to see to.
 */
void
aj_progress_begin(AjProgress *progress, int chunk_no, Oid source)
{
	MemoryContext saved;

	if (progress == NULL)
		return;
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "pg_aggjobs progress",
										ALLOCSET_SMALL_SIZES);
	MemoryContextReset(context);
	saved = MemoryContextSwitchTo(context);
	tables =
		OidIsValid(source) ? find_all_inheritors(source, NoLock, NULL) : NIL;
	MemoryContextSwitchTo(saved);
	rows_before = rows_so_far();
	blocks_before = blocks_so_far();
	pg_atomic_write_u64(&progress->rows_read, 0);
	pg_atomic_write_u32(&progress->phase, AJ_PHASE_STARTING);
	pg_atomic_write_u32(&progress->chunk_no, (uint32) chunk_no);
	current = progress;
	tick();
	if (timer == MAX_TIMEOUTS)
		timer = RegisterTimeout(USER_TIMEOUT, tick);
	enable_timeout_every(timer,
						 TimestampTzPlusMilliseconds(aj_real_now(), TICK_MS),
						 TICK_MS);
}

/* The work goes on with another phase, or another part of the same. */
void
aj_progress_phase(AjPhase phase)
{
	AjProgress *progress = current;

	if (progress == NULL)
		return;
	pg_atomic_write_u32(&progress->phase, (uint32) phase);
	pg_atomic_write_u64(&progress->rows_read, (uint64) aj_progress_rows());
	tick();
}

/* Why no chunk is begun; AJ_PHASE_NONE: it can be. */
void
aj_progress_wait(AjProgress *progress, AjPhase phase)
{
	if (progress == NULL)
		return;
	pg_atomic_write_u32(&progress->phase, (uint32) phase);
	pg_atomic_write_u64(&progress->seen_at, (uint64) aj_now());
}

/*
 * How many rows of the source this chunk has read.  At the end of a transaction
 * the counts are sent, and begin anew.
 */
int64
aj_progress_rows(void)
{
	int64 rows;

	if (current == NULL)
		return 0;
	rows = rows_so_far();
	if (rows < rows_before)
		rows_before = 0;
	return rows - rows_before;
}

/* The chunk is over, well or not. */
void
aj_progress_end(void)
{
	AjProgress *progress = current;

	if (progress == NULL)
		return;
	disable_timeout(timer, false);
	current = NULL;
	tables = NIL;
	pg_atomic_write_u32(&progress->chunk_no, 0);
	pg_atomic_write_u32(&progress->phase, AJ_PHASE_NONE);
	pg_atomic_write_u64(&progress->seen_at, (uint64) aj_now());
}
