/*
 * gate.h
 *	  The grace period between a writer's commit and a refresh's snapshot.
 */
#ifndef AJ_SHMEM_GATE_H
#define AJ_SHMEM_GATE_H

#include "base/compat.h"
#include "datatype/timestamp.h"

/* No horizon is known: everything that is written must be logged. */
#define AJ_GATE_UNKNOWN DT_NOEND

extern Size aj_gate_size(void);
extern void aj_gate_initialize(void *start, bool found);

/* Writers. */
extern TimestampTz aj_gate_horizon(Oid source);
extern void aj_gate_enter(void);
extern void aj_gate_leave(void);

/* Refreshers. */
extern void aj_gate_publish(Oid source, TimestampTz horizon);
extern void aj_gate_wait(void);
extern void aj_gate_forget(Oid dboid, Oid source);

#endif /* AJ_SHMEM_GATE_H */
