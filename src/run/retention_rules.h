/*
 * retention_rules.h
 *	  Which rows retention removes, and in which order of tables.
 */
#ifndef AJ_RUN_RETENTION_RULES_H
#define AJ_RUN_RETENTION_RULES_H

#include "base/compat.h"
#include "base/json.h"
#include "datatype/timestamp.h"

typedef struct AjRetentionRule
{
	const char *table_name;
	Oid table; /* InvalidOid: dropped since */
	const char *column;
	const char *keep; /* an interval's text, or "forever" */
} AjRetentionRule;

extern AjRetentionRule *aj_retention_rules(const Jsonb *step, int *n);
extern void aj_retention_rules_check(const Jsonb *step);
extern TimestampTz aj_retention_keep_from(const char *keep, TimestampTz now);
extern void aj_retention_check(const char *table, const char *keep);

#endif /* AJ_RUN_RETENTION_RULES_H */
