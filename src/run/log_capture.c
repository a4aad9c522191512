/*-------------------------------------------------------------------------
 *
 * log_capture.c
 *	  Collects the messages that a run raises, NOTICE and above.
 *
 * Each line goes into the ring of the worker's slot, from which the scheduler
 * stores it while the run goes on, and is kept here as well, so that the
 * worker can store at the end what found no room in the ring.  A line that
 * is stored twice is one line: (run_id, seq) is its key.
 *
 * A run keeps aggjobs.log_lines lines; what comes after is counted, not kept.
 *
 * State: private to the worker, in the context "pg_aggjobs log lines", reset
 * at the start of each run.  The hook runs wherever a message is raised, also
 * in the middle of an error: it takes no lock but the one that wakes the
 * scheduler, under which no message is ever raised, and when memory is short
 * it counts the line as dropped.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/log_capture.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/settings.h"
#include "catalog/run_log.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "run/log_capture.h"
#include "shmem/databases.h"
#include "shmem/logring.h"
#include "utils/guc.h"
#include "utils/memutils.h"

typedef struct KeptLine
{
	struct KeptLine *next;
	bool in_ring;
	AjLogLine line; /* allocated for its length only */
} KeptLine;

static emit_log_hook_type previous_hook = NULL;
static MemoryContext context = NULL;
static AjLogRing *ring = NULL;
static int usual_level; /* log_min_messages as the server has it */
static int64 current_run = 0;
static int nlines = 0;
static int ndropped = 0;
static KeptLine *first_line = NULL;
static KeptLine *last_line = NULL;
static KeptLine *first_unsent = NULL;
static int fatal_sqlstate = 0;
static char fatal_message[AJ_REASON_SIZE];

/* Move lines into the ring, in order, as long as they fit. */
static void
send_lines(void)
{
	bool wake = false;

	while (first_unsent != NULL)
	{
		bool was_empty;

		if (!aj_logring_put(ring, &first_unsent->line, &was_empty))
			break;
		wake |= was_empty;
		first_unsent->in_ring = true;
		first_unsent = first_unsent->next;
	}
	if (wake)
		aj_databases_post(MyDatabaseId, AJ_WAKE_LOGS, 0);
}

static KeptLine *
keep_line(const ErrorData *error)
{
	const char *message = error->message == NULL ? "" : error->message;
	size_t length = (size_t) pg_mbcliplen(message, (int) strlen(message),
										  AJ_LOG_MESSAGE_SIZE - 1);
	KeptLine *kept;

	kept = MemoryContextAllocExtended(context,
									  offsetof(KeptLine, line.message) +
										  length + 1,
									  MCXT_ALLOC_NO_OOM);
	if (kept == NULL)
		return NULL;
	kept->next = NULL;
	kept->in_ring = false;
	kept->line.run_id = current_run;
	kept->line.logged_at = aj_now();
	kept->line.seq = nlines + 1;
	kept->line.elevel = error->elevel;
	kept->line.length = (uint32) length;
	memcpy(kept->line.message, message, length);
	kept->line.message[length] = '\0';
	return kept;
}

static void
capture(const ErrorData *error)
{
	KeptLine *kept = NULL;

	if (nlines < aj_log_lines)
		kept = keep_line(error);
	if (kept == NULL)
	{
		ndropped++;
		return;
	}
	nlines++;
	if (last_line == NULL)
		first_line = kept;
	else
		last_line->next = kept;
	last_line = kept;
	if (first_unsent == NULL)
		first_unsent = kept;
	if (error->elevel < FATAL)
		send_lines();
}

/*
 * Would a message of this level be in the server's log anyway?  There LOG, as a
 * level, ranks between ERROR and FATAL; its number is below that of NOTICE.
 */
static bool
is_usual(int elevel)
{
	if (elevel == LOG || elevel == LOG_SERVER_ONLY)
		return usual_level == LOG || usual_level <= ERROR;
	return elevel >= (usual_level == LOG ? FATAL : usual_level);
}

static void
on_message(ErrorData *error)
{
	if (error->elevel >= FATAL)
	{
		fatal_sqlstate = error->sqlerrcode;
		strlcpy(fatal_message, error->message == NULL ? "" : error->message,
				sizeof(fatal_message));
	}
	else if (current_run != 0 && error->elevel >= NOTICE)
		capture(error);
	/* A run that has set the level itself gets what it wants. */
	if (log_min_messages == NOTICE && !is_usual(error->elevel))
		error->output_to_server = false;
	if (previous_hook)
		previous_hook(error);
}

/*
 * aj_log_capture_register
 *		Begin to listen in this worker; once, when it knows its slot.
 *
 * The server's log keeps its own level: messages that are raised only for us
 * are taken out of it again.
 */
void
aj_log_capture_register(int slot_index)
{
	ring = &aj_segment()->slots[slot_index].log;
	context = AllocSetContextCreate(TopMemoryContext, "pg_aggjobs log lines",
									ALLOCSET_DEFAULT_SIZES);
	usual_level = log_min_messages;
	if (log_min_messages > NOTICE || log_min_messages == LOG)
		SetConfigOption("log_min_messages", "notice", PGC_SUSET,
						PGC_S_OVERRIDE);
	previous_hook = emit_log_hook;
	emit_log_hook = on_message;
}

/* Messages belong to this run from now on. */
void
aj_log_capture_start(int64 run_id)
{
	MemoryContextReset(context);
	first_line = last_line = first_unsent = NULL;
	nlines = ndropped = 0;
	current_run = run_id;
}

/* The run is over; its lines stay until the next one starts. */
void
aj_log_capture_stop(void)
{
	current_run = 0;
}

/*
 * aj_log_capture_store
 *		Store all lines of the run, in the transaction that ends it.
 */
void
aj_log_capture_store(void)
{
	for (KeptLine *kept = first_line; kept != NULL; kept = kept->next)
		aj_run_log_add(kept->line.run_id, kept->line.seq, kept->line.logged_at,
					   kept->line.elevel, kept->line.message);
	first_unsent = NULL;
}

int
aj_log_capture_lines(void)
{
	return nlines;
}

int
aj_log_capture_dropped(void)
{
	return ndropped;
}

/* The error that is ending this process: its SQLSTATE, or 0. */
int
aj_log_capture_fatal(const char **message)
{
	*message = fatal_sqlstate == 0 ? NULL : fatal_message;
	return fatal_sqlstate;
}
