/*-------------------------------------------------------------------------
 *
 * capture.c
 *	  Notes what a transaction has written to the sources of rollups.
 *
 * The index access method (index_am.c) tells of rows that were inserted, the
 * triggers' conditions (capture_call.c) of rows updated or deleted.  Here the
 * pieces of time written are collected in cells; just before the transaction
 * commits those that lie below the horizon of a source are appended to
 * aggjobs.change, so that the data and the note about it become visible
 * together.  What lies above costs nothing more: no rollup has it yet.
 *
 * The look at the horizon and the commit are one step for refreshes: see
 * shmem/gate.c.  A prepared transaction is committed by nobody knows whom, at
 * nobody knows what horizon, and so logs all that it wrote.
 *
 * Doubt means "note it".  Cells written by a part that was rolled back to a
 * savepoint stay noted, and a transaction that writes very many different
 * cells goes over to wider ones.
 *
 * A row that is written late, below the horizon as it was then, is noted with
 * its place, as long as there are few: then only its key has to be computed
 * again, not its whole bucket.
 *
 * State: private to the backend, in TopTransactionContext, gone with the
 * transaction.  No locks.  Failure: an error while appending fails the
 * writer's commit, as it must: a lost note would be a wrong answer.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/capture.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "base/settings.h"
#include "catalog/change.h"
#include "catalog/partition.h"
#include "catalog/source.h"
#include "miscadmin.h"
#include "rollup/capture.h"
#include "shmem/gate.h"
#include "storage/latch.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define MINUTE INT64CONST(60000000)
#define WIDER 60 /* a wider cell is so many of the narrower */
#define MAX_CELLS 2000
#define MAX_TIDS_OF_CELL 64
#define MAX_TIDS 4096
#define MAX_ANCESTORS 16

typedef struct Cell
{
	int64 number; /* key: its start in units of its width */
	int64 rows;
	bool whole; /* other things were done than insert "tids" */
	int ntids;
	ItemPointerData *tids;
} Cell;

/* What was written to one table, which is a source or a part of one. */
typedef struct Written
{
	Oid table;
	struct Written *next;
	TimestampTz horizon; /* above it rows are not late, as far as we know */
	int64 width;		 /* of a cell */
	int ncells;
	Cell first;			  /* most transactions need no more */
	HTAB *others;		  /* NULL: none */
	TimestampTz earliest; /* where the first of them in time begins */
	Cell *last;			  /* the one written last, and where it lies */
	TimestampTz from;
	TimestampTz to;
	int ntids;
	Oid tids_file; /* file of the table to which the places belong */
	AjRange range; /* written apart from the cells; empty: from > to */
} Written;

static Written *written = NULL;
static uint64 generation = 0;	   /* see aj_capture_generation() */
static bool raised = false;		   /* has this transaction raised a horizon? */
static Oid suspended = InvalidOid; /* source whose rows retention removes */

/*
 * The tables that may be a source that this one is a part of, itself the
 * first.  Kept over transactions until any relation changes.
 */
typedef struct Ancestry
{
	Oid table; /* key */
	int n;
	Oid tables[MAX_ANCESTORS];
} Ancestry;

static HTAB *ancestries = NULL;
static bool ancestries_valid = false;

static void
forget_ancestries(Datum arg, Oid relid)
{
	ancestries_valid = false;
	generation++;
}

static void
start_ancestries(void)
{
	HASHCTL control = {0};

	if (ancestries_valid)
		return;
	if (ancestries != NULL)
		hash_destroy(ancestries);
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(Ancestry);
	ancestries = hash_create("pg_aggjobs ancestors of tables", 32, &control,
							 HASH_ELEM | HASH_BLOBS);
	ancestries_valid = true;
}

static const Ancestry *
ancestry_of(Oid table)
{
	List *ancestors = NIL;
	ListCell *cell;
	Ancestry *ancestry;
	bool found;

	start_ancestries();
	ancestry = hash_search(ancestries, &table, HASH_FIND, NULL);
	if (ancestry != NULL)
		return ancestry;

	/* Reading the catalog may bring an invalidation, so it comes first. */
	if (get_rel_relispartition(table))
		ancestors = get_partition_ancestors(table);
	start_ancestries();
	ancestry = hash_search(ancestries, &table, HASH_ENTER, &found);
	ancestry->n = 0;
	ancestry->tables[ancestry->n++] = table;
	foreach (cell, ancestors)
	{
		if (ancestry->n == MAX_ANCESTORS)
		{
			(void) hash_search(ancestries, &table, HASH_REMOVE, NULL);
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("partitions are nested more than %d deep",
							MAX_ANCESTORS - 1)));
		}
		ancestry->tables[ancestry->n++] = lfirst_oid(cell);
	}
	list_free(ancestors);
	return ancestry;
}

static int64
cell_number(TimestampTz instant, int64 width)
{
	return instant >= 0 ? instant / width : -((-(instant + 1)) / width) - 1;
}

static HTAB *
make_cells(void)
{
	HASHCTL control = {0};

	control.keysize = sizeof(int64);
	control.entrysize = sizeof(Cell);
	control.hcxt = TopTransactionContext;
	return hash_create("pg_aggjobs written cells", 64, &control,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Horizon above which no rollup has anything of this table, or unknown. */
static TimestampTz
greatest_horizon(Oid table)
{
	const Ancestry *ancestry = ancestry_of(table);
	TimestampTz horizon = DT_NOBEGIN;

	for (int i = 0; i < ancestry->n; i++)
	{
		TimestampTz found = aj_gate_horizon(ancestry->tables[i]);

		/* Places of rows only help where the horizon is known. */
		if (found != AJ_GATE_UNKNOWN)
			horizon = Max(horizon, found);
	}
	return horizon;
}

#ifdef AGGJOBS_TESTING
static int64
first_width(void)
{
	return aj_test_cell_width * INT64CONST(1000);
}
#else
#define first_width() MINUTE
#endif

static Written *
find_written(Oid table)
{
	Written *w;

	for (w = written; w != NULL; w = w->next)
		if (w->table == table)
			return w;

	w = MemoryContextAllocZero(TopTransactionContext, sizeof(Written));
	w->table = table;
	w->horizon = greatest_horizon(table);
	w->width = first_width();
	w->range.from = DT_NOEND;
	w->range.to = DT_NOBEGIN;
	w->from = DT_NOEND;
	w->to = DT_NOBEGIN;
	w->earliest = DT_NOEND;
	w->next = written;
	written = w;
	return w;
}

static Cell *
look_up_cell(Written *w, int64 number, bool *found)
{
	*found = w->ncells > 0 && w->first.number == number;
	if (*found)
		return &w->first;
	if (w->ncells == 0)
	{
		w->first.number = number;
		return &w->first;
	}
	if (w->others == NULL)
		w->others = make_cells();
	return hash_search(w->others, &number, HASH_ENTER, found);
}

static Cell *
enter_cell(Written *w, TimestampTz instant)
{
	int64 number = cell_number(instant, w->width);
	bool found;
	Cell *cell = look_up_cell(w, number, &found);

	w->last = cell;
	w->from = number * w->width;
	w->to = w->from + w->width;
	if (found)
		return cell;
	generation++;
	w->ncells++;
	w->earliest = Min(w->earliest, w->from);
	cell->rows = 0;
	cell->whole = false;
	cell->ntids = 0;
	cell->tids = NULL;
	return cell;
}

/* All cells, in no order. */
static Cell **
cells_of(Written *w)
{
	Cell **cells = palloc(sizeof(Cell *) * (Size) (w->ncells + 1));
	HASH_SEQ_STATUS scan;
	Cell *cell;
	int n = 0;

	if (w->ncells > 0)
		cells[n++] = &w->first;
	if (w->others == NULL)
		return cells;
	hash_seq_init(&scan, w->others);
	while ((cell = hash_seq_search(&scan)) != NULL)
		cells[n++] = cell;
	return cells;
}

/* Too many cells: go over to wider ones, which know no places of rows. */
static void
widen(Written *w)
{
	Written narrow = *w;
	Cell **cells = cells_of(&narrow);

	w->width *= WIDER;
	w->ncells = 0;
	w->others = NULL;
	w->earliest = DT_NOEND;
	for (int i = 0; i < narrow.ncells; i++)
	{
		Cell *wide = enter_cell(w, cells[i]->number * narrow.width);

		wide->rows += cells[i]->rows;
		wide->whole = true;
	}
	pfree(cells);
	hash_destroy(narrow.others);
}

static Cell *
find_cell(Written *w, TimestampTz instant)
{
	if (instant >= w->from && instant < w->to)
		return w->last;
	if (w->ncells >= MAX_CELLS)
		widen(w);
	return enter_cell(w, instant);
}

/* Infinite times have a place of their own at either end. */
static bool
note_infinite(Written *w, TimestampTz instant)
{
	if (!TIMESTAMP_NOT_FINITE(instant))
		return false;
	/* Nothing above every horizon is ever computed. */
	if (TIMESTAMP_IS_NOBEGIN(instant))
		aj_capture_range(w->table, DT_NOBEGIN, MIN_TIMESTAMP);
	return true;
}

static void
note_place(Written *w, Cell *cell, ItemPointer tid)
{
	if (cell->ntids == MAX_TIDS_OF_CELL || w->ntids == MAX_TIDS ||
		GetCurrentTransactionNestLevel() > 1)
	{
		cell->whole = true;
		return;
	}
	if (w->ntids == 0)
		w->tids_file = aj_file_of(w->table);
	if (cell->ntids == 0)
		cell->tids =
			MemoryContextAlloc(TopTransactionContext,
							   sizeof(ItemPointerData) * MAX_TIDS_OF_CELL);
	cell->tids[cell->ntids++] = *tid;
	w->ntids++;
}

/*
 * aj_capture_insert
 *		A row of this time was inserted into a table at this place.
 */
void
aj_capture_insert(Oid table, TimestampTz instant, ItemPointer tid)
{
	Written *w = written;
	Cell *cell;

	/* The way of nearly every row: the cell is that of the row before. */
	if (w != NULL && w->table == table && instant >= w->from &&
		instant < w->to && w->last->whole)
	{
		w->last->rows++;
		return;
	}
	w = find_written(table);
	if (note_infinite(w, instant))
		return;
	cell = find_cell(w, instant);
	cell->rows++;
	if (cell->whole)
		return;
	if (instant < w->horizon)
		note_place(w, cell, tid);
	else
		cell->whole = true;
}

/* A row of this time was changed or deleted. */
void
aj_capture_write(Oid table, TimestampTz instant)
{
	Written *w = written;
	Cell *cell;

	/* The way of nearly every row, as above. */
	if (w != NULL && w->table == table && instant >= w->from && instant < w->to)
	{
		w->last->rows++;
		w->last->whole = true;
		return;
	}
	w = find_written(table);
	if (note_infinite(w, instant))
		return;
	cell = find_cell(w, instant);
	cell->rows++;
	cell->whole = true;
}

/* Anything may have been done within a range. */
void
aj_capture_range(Oid table, TimestampTz from, TimestampTz to)
{
	Written *w = find_written(table);

	generation++;
	w->range.from = Min(w->range.from, from);
	w->range.to = Max(w->range.to, to);
}

static int
compare_cells(const void *a, const void *b)
{
	int64 x = (*(Cell *const *) a)->number;
	int64 y = (*(Cell *const *) b)->number;

	return (x > y) - (x < y);
}

/* Append a cell, and those right after it if none of them has places. */
static int
append_cells(const Written *w, Oid source, Cell **cells, int n)
{
	AjChange change = {.source = source};
	int used = 1;

	change.range.from = cells[0]->number * w->width;
	change.rows = cells[0]->rows;
	if (!cells[0]->whole)
	{
		change.part = w->table;
		change.file = w->tids_file;
		change.ntids = cells[0]->ntids;
		change.tids = cells[0]->tids;
	}
	else
		for (; used < n && cells[used]->whole &&
			 cells[used]->number == cells[used - 1]->number + 1;
			 used++)
			change.rows += cells[used]->rows;
	change.range.to = (cells[used - 1]->number + 1) * w->width;
	aj_change_append(&change);
	return used;
}

static void
append_below(Written *w, Oid source, TimestampTz horizon)
{
	Cell **cells = cells_of(w);
	int end = w->ncells;

	qsort(cells, (size_t) end, sizeof(Cell *), compare_cells);
	while (end > 0 && cells[end - 1]->number * w->width >= horizon)
		end--;
	for (int i = 0; i < end;)
		i += append_cells(w, source, &cells[i], end - i);
	pfree(cells);

	if (w->range.from < w->range.to && w->range.from < horizon)
	{
		AjChange change = {.source = source, .range = w->range};

		if (w->table != source)
			(void) aj_source_cut_to_part(source, w->table, &change.range);
		aj_change_append(&change);
	}
}

/* Both the table and the extension may be gone, by this transaction. */
static bool
can_append(const Written *w)
{
	return aj_change_can_append() && get_rel_relkind(w->table) != '\0';
}

/*
 * Append what was written to a table for each source that it is a part of.
 * Where all of it lies above the horizons, as is the rule, nothing is looked
 * up but these.
 */
static void
append_written(Written *w, bool all)
{
	TimestampTz earliest = Min(w->earliest, w->range.from);
	Ancestry ancestry = *ancestry_of(w->table);

	for (int i = 0; i < ancestry.n; i++)
	{
		Oid source = ancestry.tables[i];
		TimestampTz horizon = aj_gate_horizon(source);

		if (earliest >= horizon && !all)
			continue;
		if (!can_append(w))
			return;
		if (horizon == AJ_GATE_UNKNOWN && !aj_source_exists(source))
			continue;
		append_below(w, source, all ? DT_NOEND : horizon);
	}
}

static void
append_all(bool all)
{
	for (Written *w = written; w != NULL; w = w->next)
		append_written(w, all);
}

#ifdef AGGJOBS_TESTING
/*
 * Widen the gap that the gate is there for: by some time, or for as long as
 * somebody else holds a lock.
 */
static void
linger(void)
{
	if (aj_test_commit_lock > 0)
		(void) DirectFunctionCall1(pg_advisory_xact_lock_shared_int8,
								   Int64GetDatum(aj_test_commit_lock));
	if (aj_test_commit_delay > 0)
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 aj_test_commit_delay,
						 aj_wait_event("AggjobsTestCommitDelay"));
}
#else
#define linger() ((void) 0)
#endif

static bool
is_part_of(Oid table, Oid source)
{
	const Ancestry *ancestry = ancestry_of(table);

	for (int i = 0; i < ancestry->n; i++)
		if (ancestry->tables[i] == source)
			return true;
	return false;
}

/*
 * aj_capture_pending
 *		What this transaction has written to a source and will append to
 *		aggjobs.change when it commits, whatever the horizon is by then.
 */
AjRange *
aj_capture_pending(Oid source, int *n)
{
	int size = 0;
	AjRange *ranges;

	*n = 0;
	for (Written *w = written; w != NULL; w = w->next)
		size += w->ncells + 1;
	ranges = palloc(sizeof(AjRange) * (Size) Max(size, 1));
	for (Written *w = written; w != NULL; w = w->next)
	{
		Cell **cells;

		if (!is_part_of(w->table, source))
			continue;
		if (w->range.from < w->range.to)
			ranges[(*n)++] = w->range;
		cells = cells_of(w);
		for (int i = 0; i < w->ncells; i++)
		{
			ranges[*n].from = cells[i]->number * w->width;
			ranges[(*n)++].to = (cells[i]->number + 1) * w->width;
		}
		pfree(cells);
	}
	return ranges;
}

/*
 * A number that moves whenever aj_capture_pending() may say something new, or
 * a table may have got another file or other partitions.
 */
uint64
aj_capture_generation(void)
{
	return generation;
}

/*
 * aj_capture_horizon_raised
 *		This transaction stores a horizon that it has published.
 */
void
aj_capture_horizon_raised(void)
{
	raised = true;
}

/*
 * After a crash nobody would know the horizon of a prepared transaction:
 * another rollup of the source would publish its own, and what is written
 * between the two would not be noted.
 */
static void
refuse_prepare(void)
{
	if (raised)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("can't prepare a transaction in which a refresh "
						"has moved the horizon of a rollup"),
				 errhint("Commit it, or refresh in a transaction of its "
						 "own.")));
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (written != NULL)
			{
				aj_gate_enter();
				append_all(false);
				linger();
			}
			written = NULL;
			break;
		case XACT_EVENT_PRE_PREPARE:
			refuse_prepare();
			if (written != NULL)
				append_all(true);
			written = NULL;
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
			written = NULL;
			raised = false;
			generation++;
			aj_gate_leave();
			break;
		default:
			break;
	}
}

/*
 * aj_capture_suspend, aj_capture_resume
 *		Retention deletes rows of a source without making their buckets stale.
 *		Who suspends resumes, also after an error.
 */
void
aj_capture_suspend(Oid source)
{
	suspended = source;
}

void
aj_capture_resume(void)
{
	suspended = InvalidOid;
}

bool
aj_capture_is_suspended(Oid source)
{
	return suspended == source && suspended != InvalidOid;
}

/* Called once per process, when the library is loaded. */
void
aj_capture_register(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	CacheRegisterRelcacheCallback(forget_ancestries, (Datum) 0);
	aj_capture_exec_register();
}
