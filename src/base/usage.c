/*-------------------------------------------------------------------------
 *
 * usage.c
 *	  What a run has used, and how much memory it may use.
 *
 * WAL and buffers are the server's own counters and include parallel workers;
 * CPU is this process alone.  Peak memory is the kernel's high-water mark of
 * resident memory, set back at the start of each run, less the shared memory
 * that is mapped at the end: private memory, close enough to size a limit.
 *
 * The limit is the kernel's as well (RLIMIT_DATA): an allocation above it
 * fails inside malloc and becomes the server's ordinary "out of memory"
 * error, so nothing is killed and nothing has to poll.  Only the soft limit
 * moves, so it can be put back without privileges.
 *
 * State: the soft limit that the process started with.  No locks.  Systems
 * without /proc report zero memory and take no limit.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/base/usage.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/usage.h"
#include "storage/fd.h"

static bool limit_is_set = false;
static struct rlimit limit_before;

static double
process_cpu_seconds(void)
{
	struct rusage used;

	if (getrusage(RUSAGE_SELF, &used) != 0)
		return 0;
	return (double) used.ru_utime.tv_sec + (double) used.ru_stime.tv_sec +
		(double) (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* Bytes of a "Name:  123 kB" line of /proc/self/status, 0 if not there. */
static int64
proc_status_bytes(const char *name)
{
	char line[128];
	int64 bytes = 0;
	size_t length = strlen(name);
	FILE *file = AllocateFile("/proc/self/status", "r");

	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL)
	{
		if (strncmp(line, name, length) != 0 || line[length] != ':')
			continue;
		bytes = (int64) strtol(line + length + 1, NULL, 10) * 1024;
		break;
	}
	FreeFile(file);
	return bytes;
}

/* Make the kernel forget the high-water mark; "5" is its word for that. */
static void
reset_peak_memory(void)
{
	int file = open("/proc/self/clear_refs", O_WRONLY);

	if (file < 0)
		return;
	if (write(file, "5", 1) != 1)
		elog(DEBUG1, "could not reset the peak of memory in use: %m");
	close(file);
}

/*
 * aj_usage_private_memory
 *		Bytes of resident memory that no other process shares; 0 if unknown.
 */
int64
aj_usage_private_memory(void)
{
	return proc_status_bytes("RssAnon");
}

/*
 * aj_usage_start
 *		Remember the counters at the start of a run.
 */
void
aj_usage_start(AjUsageStart *start)
{
	start->wal = pgWalUsage;
	start->buffers = pgBufferUsage;
	start->cpu_seconds = process_cpu_seconds();
	reset_peak_memory();
}

/*
 * aj_usage_since
 *		Fill "usage" with what was used since "start".
 */
void
aj_usage_since(const AjUsageStart *start, AjUsage *usage)
{
	int64 peak = proc_status_bytes("VmHWM") - proc_status_bytes("RssShmem") -
		proc_status_bytes("RssFile");

	usage->wal_bytes = (int64) (pgWalUsage.wal_bytes - start->wal.wal_bytes);
	usage->buffers_hit =
		pgBufferUsage.shared_blks_hit - start->buffers.shared_blks_hit;
	usage->buffers_read =
		pgBufferUsage.shared_blks_read - start->buffers.shared_blks_read;
	usage->buffers_written =
		pgBufferUsage.shared_blks_written - start->buffers.shared_blks_written;
	usage->cpu_seconds = process_cpu_seconds() - start->cpu_seconds;
	usage->peak_memory = Max(peak, aj_usage_private_memory());
}

/*
 * aj_memory_limit_set
 *		Let this process allocate at most "bytes" more than it has now.
 *
 * Allocations beyond fail with SQLSTATE 53200.  Does nothing where the system
 * does not tell how much is in use.
 */
void
aj_memory_limit_set(int64 bytes)
{
	struct rlimit limit;
	int64 in_use = proc_status_bytes("VmData");

	if (in_use == 0 || getrlimit(RLIMIT_DATA, &limit) != 0)
		return;
	limit_before = limit;
	limit.rlim_cur = (rlim_t) (in_use + bytes);
	if (limit.rlim_max != RLIM_INFINITY && limit.rlim_cur > limit.rlim_max)
		return;
	limit_is_set = setrlimit(RLIMIT_DATA, &limit) == 0;
}

/*
 * aj_memory_limit_clear
 *		Put back the limit that was there before; for error handlers too.
 */
void
aj_memory_limit_clear(void)
{
	if (!limit_is_set)
		return;
	(void) setrlimit(RLIMIT_DATA, &limit_before);
	limit_is_set = false;
}
