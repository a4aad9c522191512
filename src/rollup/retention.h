/*
 * retention.h
 *	  Remove old rows without destroying what was computed from them.
 */
#ifndef AJ_ROLLUP_RETENTION_H
#define AJ_ROLLUP_RETENTION_H

#include "base/compat.h"
#include "rollup/refresh.h"

typedef struct AjRetire
{
	/* in */
	Oid table;
	const char *time_column; /* not quoted */
	TimestampTz before;
	bool keep_rows; /* only move the frozen line */
	AjCommit commit;
	void *commit_arg;

	/* out */
	TimestampTz limit; /* AJ_NO_TIME: nothing might go */
	int64 rows;
	int partitions; /* dropped */
} AjRetire;

extern void aj_retire(AjRetire *retire);
extern int64 aj_retire_plan(AjRetire *retire);

#endif /* AJ_ROLLUP_RETENTION_H */
