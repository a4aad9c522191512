/*
 * command.h
 *	  Runs what users wrote, as the server runs what clients send.
 */
#ifndef AJ_RUN_COMMAND_H
#define AJ_RUN_COMMAND_H

#include "base/compat.h"
#include "base/json.h"
#include "nodes/params.h"

/* Of the parameters $1 to $n. */
typedef struct AjCommandValues
{
	int n;
	Oid *types;
	ParamListInfo list; /* NULL if there are none */
} AjCommandValues;

extern void aj_command_check(const char *text);
extern void aj_command_check_query(const char *text);
extern bool aj_command_is_bare(const char *text);
extern int64 aj_command_run(const char *text, const AjCommandValues *values,
							MemoryContext context, AjJson *result);

#endif /* AJ_RUN_COMMAND_H */
