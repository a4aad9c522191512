/*
 * slots.h
 *	  Worker slots: what each worker does, and how it is asked to stop.
 */
#ifndef AJ_SHMEM_SLOTS_H
#define AJ_SHMEM_SLOTS_H

#include "base/compat.h"
#include "shmem/segment.h"

/* A run that is to be given to a worker. */
typedef struct AjSlotRun
{
	int64 run_id;
	int64 job_id;
	Oid owner;
	int queue_id;		/* 0: none */
	int least_of_queue; /* idle workers to keep for the queue */
} AjSlotRun;

/* A copy of what is of interest in a slot, taken under the lock. */
typedef struct AjSlotView
{
	int index;
	AjSlotState state;
	Oid dboid;
	Oid owner;
	pid_t pid;
	TimestampTz reserved_at;
	TimestampTz worker_start;
	int64 run_id;
	int64 job_id;
	int queue_id;
	TimestampTz run_started;
	TimestampTz deadline;
	AjStop stop;
	TimestampTz stop_at;
	bool terminated;
	bool unresponsive;
	bool unnoticed;
	bool run_recorded;
	int runs_done;
	int fatal_sqlstate;
	bool has_log;
	AjProgressView progress;
	char reason[AJ_REASON_SIZE];
} AjSlotView;

#define AJ_SHUTDOWN_REASON "the server was shut down"

/* scheduler */
extern int aj_slots_reserve(Oid dboid, const AjSlotRun *run);
extern bool aj_slots_assign(Oid dboid, const AjSlotRun *run);
extern int aj_slots_look(Oid dboid, AjSlotView *views);
extern void aj_slots_noticed(int index);
extern void aj_slots_free(int index);
extern bool aj_slots_retire_one(Oid dboid, Oid owner, bool anywhere);
extern bool aj_slots_escalate(int index, TimestampTz now);

/* worker */
extern bool aj_slots_attach(int index, Oid *dboid, Oid *owner);
extern int64 aj_slots_take_run(int index, TimestampTz now);
extern void aj_slots_set_deadline(int index, TimestampTz deadline);
extern void aj_slots_run_over(int index, bool recorded, bool leaving);
extern bool aj_slots_may_idle(int index, bool timed_out, bool must_leave);
extern bool aj_slots_has_assignment(int index);
extern AjStop aj_slots_stop(int index, char *reason);
extern AjProgress *aj_slots_progress(int index);
extern void aj_slots_leave(int index, int sqlstate, const char *message);

/* anybody */
extern bool aj_slots_stop_run(Oid dboid, int64 run_id, AjStop stop,
							  const char *reason);
extern void aj_slots_stop_database(Oid dboid, AjStop stop, const char *reason,
								   bool terminate);
extern void aj_slots_tell_run_ended(void);

#endif /* AJ_SHMEM_SLOTS_H */
