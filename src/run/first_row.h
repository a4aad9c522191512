/*
 * first_row.h
 *	  Keeps the first row that a command returns.
 */
#ifndef AJ_RUN_FIRST_ROW_H
#define AJ_RUN_FIRST_ROW_H

#include "base/compat.h"
#include "tcop/dest.h"
#include "utils/jsonb.h"

typedef struct AjFirstRow
{
	DestReceiver receiver; /* must be first */
	MemoryContext context;
	bool started; /* a row has come */
	Jsonb *row;	  /* column names and values as text; NULL if none came */
} AjFirstRow;

extern void aj_first_row_init(AjFirstRow *first, MemoryContext context);

#endif /* AJ_RUN_FIRST_ROW_H */
