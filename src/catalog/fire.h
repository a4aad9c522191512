/*
 * fire.h
 *	  Slots that are due, written down as runs.
 */
#ifndef AJ_CATALOG_FIRE_H
#define AJ_CATALOG_FIRE_H

#include "base/compat.h"
#include "datatype/timestamp.h"

/* What becomes of a slot, as far as the scheduler can tell. */
typedef enum AjFate
{
	AJ_FATE_RUN,	  /* it is run, if "overlap" lets it */
	AJ_FATE_RUN_LATE, /* it is run in its turn */
	AJ_FATE_MISSED	  /* it is not run */
} AjFate;

/* One row of aggjobs.run to be: a slot, or a sequence that was missed. */
typedef struct AjFiredSlot
{
	TimestampTz slot;
	TimestampTz until; /* last of the sequence; AJ_NO_TIME: there is but one */
	int64 count;
	AjFate fate;
} AjFiredSlot;

/* A job whose planned slot has come. */
typedef struct AjFiredJob
{
	int64 job_id;
	TimestampTz slot;	   /* as planned */
	TimestampTz last_slot; /* the last one that has come */
	TimestampTz next_slot; /* AJ_NO_TIME: none follows */
	int nrows;
	AjFiredSlot *rows;
	bool claimed;	 /* out: it was recorded */
	bool is_running; /* out: a run goes on that a slot is to replace */
} AjFiredJob;

extern void aj_runs_fire(AjFiredJob *jobs, int n);

#endif /* AJ_CATALOG_FIRE_H */
