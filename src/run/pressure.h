/*
 * pressure.h
 *	  Whether the server has better to do than work that can wait.
 */
#ifndef AJ_RUN_PRESSURE_H
#define AJ_RUN_PRESSURE_H

#include "access/xlogdefs.h"
#include "base/compat.h"
#include "base/progress.h"
#include "datatype/timestamp.h"

/* The server's write-ahead log, since when it is looked at. */
typedef struct AjPressure
{
	XLogRecPtr start;
	TimestampTz since;
} AjPressure;

extern void aj_pressure_begin(AjPressure *pressure);
extern AjPhase aj_pressure_look(AjPressure *pressure);

#endif /* AJ_RUN_PRESSURE_H */
