/*
 * segment.h
 *	  What our processes share, and which lock guards it.
 */
#ifndef AJ_SHMEM_SEGMENT_H
#define AJ_SHMEM_SEGMENT_H

#include "base/compat.h"
#include "base/progress.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/lwlock.h"

#define AJ_NO_PROC (-1)
#define AJ_CHANGED_JOBS 32
#define AJ_LOG_RING_SIZE 16384
#define AJ_REASON_SIZE 256

/* What a scheduler is woken for. */
#define AJ_WAKE_ALL_JOBS 0x01	 /* read all jobs again */
#define AJ_WAKE_JOBS 0x02		 /* read the jobs in changed_jobs again */
#define AJ_WAKE_RUNS 0x04		 /* look for queued runs */
#define AJ_WAKE_SLOTS 0x08		 /* a worker ended or is done */
#define AJ_WAKE_ORPHANS 0x20	 /* a session has left a run without its end */
#define AJ_WAKE_SESSION_RUN 0x40 /* one of changed_jobs was run in a session */
#define AJ_WAKE_LOGS 0x10		 /* log lines are waiting */

typedef enum AjDatabaseState
{
	AJ_DATABASE_FREE = 0, /* entry not in use */
	AJ_DATABASE_UNKNOWN,  /* nobody has looked for the extension */
	AJ_DATABASE_ABSENT,	  /* no extension, so no process */
	AJ_DATABASE_WANTED,	  /* extension is there, no scheduler yet */
	AJ_DATABASE_STARTING, /* scheduler asked for */
	AJ_DATABASE_RUNNING	  /* scheduler at work */
} AjDatabaseState;

/* One database; guarded by AjShared.lock. */
typedef struct AjDatabase
{
	Oid dboid;
	AjDatabaseState state;
	int holds;		 /* DDL that wants our processes out */
	bool look_again; /* CREATE EXTENSION came before it left */
	int procno;		 /* of the scheduler, or AJ_NO_PROC */
	pid_t pid;
	TimestampTz started_at;
	TimestampTz start_after; /* launcher waits so long after deaths */
	int deaths;				 /* in a row, without a minute of life */
	uint32 wake;			 /* AJ_WAKE_* */
	int nchanged;
	int64 changed_jobs[AJ_CHANGED_JOBS];
} AjDatabase;

typedef enum AjSlotState
{
	AJ_SLOT_FREE = 0,
	AJ_SLOT_STARTING, /* worker asked for, has a run to do */
	AJ_SLOT_RUNNING,  /* worker at work on run_id */
	AJ_SLOT_DONE,	  /* run is over and recorded; not yet noticed */
	AJ_SLOT_IDLE,	  /* worker waits for another run */
	AJ_SLOT_ASSIGNED, /* idle worker was given run_id */
	AJ_SLOT_ENDED	  /* process is gone; scheduler looks why */
} AjSlotState;

/* Why a run or worker is asked to stop. */
typedef enum AjStop
{
	AJ_STOP_NONE = 0,
	AJ_STOP_CANCEL,	  /* somebody asked for it */
	AJ_STOP_TIMEOUT,  /* run is over its time limit */
	AJ_STOP_LEAVE,	  /* DDL wants the database or extension */
	AJ_STOP_SHUTDOWN, /* the server is shut down */
	AJ_STOP_RETIRE	  /* idle worker makes room */
} AjStop;

/* Log lines on their way to the table; one writer, one reader, no lock. */
typedef struct AjLogRing
{
	pg_atomic_uint64 head; /* bytes ever written; moved by the worker */
	pg_atomic_uint64 tail; /* bytes ever read; moved by the scheduler */
	char data[AJ_LOG_RING_SIZE];
} AjLogRing;

/* One worker; guarded by AjShared.lock but for the ring and the progress. */
typedef struct AjSlot
{
	AjSlotState state;
	Oid dboid;
	Oid owner;
	int procno;
	pid_t pid;
	TimestampTz reserved_at;
	TimestampTz worker_start;
	int64 run_id;
	int64 job_id;
	int queue_id;			 /* of the job; 0: none */
	int least_of_queue;		 /* idle workers that are kept for it */
	TimestampTz run_started; /* 0 while none runs */
	TimestampTz deadline;	 /* DT_NOEND without time limit */
	AjStop stop;
	TimestampTz stop_at; /* when it was asked */
	bool terminated;	 /* SIGTERM was sent */
	bool unresponsive;	 /* and had no effect */
	bool unnoticed;		 /* it ended before the scheduler saw it done */
	bool run_recorded;	 /* the end of run_id is in the table */
	int runs_done;
	int fatal_sqlstate;			 /* of the error that ended the process */
	char reason[AJ_REASON_SIZE]; /* for stop, or the fatal message */
	AjProgress progress;		 /* guards itself */
	AjLogRing log;
} AjSlot;

typedef struct AjShared
{
	/* fixed after start */
	LWLock *lock;
	int ndatabases;
	int nslots;
	AjDatabase *databases;
	AjSlot *slots;

	/* guarded by lock */
	int launcher_procno;
	pid_t launcher_pid;
	bool rescan; /* launcher: read pg_database again */

	/* guards itself; broadcast when a run has ended */
	ConditionVariable run_ended;
} AjShared;

extern void aj_segment_install_hooks(void);
extern AjShared *aj_segment(void);
extern bool aj_segment_present(void);
extern void aj_segment_require(const char *what);
extern void aj_segment_set_latch(int procno);
#ifdef AGGJOBS_TESTING
extern void aj_segment_wake_all(void);
#endif

#endif /* AJ_SHMEM_SEGMENT_H */
