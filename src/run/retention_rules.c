/*-------------------------------------------------------------------------
 *
 * retention_rules.c
 *	  Which rows retention removes, and in which order of tables.
 *
 * A rule is a table, its time column and for how long its rows are kept.  It
 * is in the step, or in a setting retention.TABLE.  No state, no locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/retention_rules.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/clock.h"
#include "base/errors.h"
#include "base/spi.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/rollup.h"
#include "catalog/setting.h"
#include "nodes/makefuncs.h"
#include "run/retention_rules.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/varlena.h"

/*
 * aj_retention_keep_from
 *		The instant before which rows may go; AJ_NO_TIME to keep them for ever.
 */
TimestampTz
aj_retention_keep_from(const char *keep, TimestampTz now)
{
	Datum interval;
	Interval zero = {0};

	if (pg_strcasecmp(keep, "forever") == 0)
		return AJ_NO_TIME;
	interval =
		DirectFunctionCall3(interval_in, CStringGetDatum(keep),
							ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	/* A negative one would remove rows that have only just been written. */
	if (DatumGetInt32(DirectFunctionCall2(interval_cmp, interval,
										  IntervalPGetDatum(&zero))) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rows can't be kept for a negative time: \"%s\"",
						aj_clip(keep)),
				 errhint("Write for how long, as in 90 days, or forever.")));
	return DatumGetTimestampTz(DirectFunctionCall2(
		timestamptz_mi_interval, TimestampTzGetDatum(now), interval));
}

/*
 * aj_retention_check
 *		Refuse a retention setting that a run could only fail on: a name that
 *		can't be a table's, or a time that can't be counted back from now.
 *
 * The table need not exist; a run says so in a WARNING.
 */
void
aj_retention_check(const char *table, const char *keep)
{
	if (table[0] == '\0' || list_length(aj_qualified_name_list(table)) > 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("setting \"retention.%s\" can't name a table",
						aj_clip(table)),
				 errhint("Write retention.TABLE, or retention.SCHEMA.TABLE.")));
	(void) aj_retention_keep_from(keep, aj_now());
}

static Oid
find_table(const char *name, bool missing_ok)
{
	List *names = aj_qualified_name_list(name);

	/* A bare name is one of the ready-made pipeline's. */
	if (list_length(names) == 1)
		names = lcons(makeString(pstrdup("aggjobs")), names);
	return RangeVarGetRelid(makeRangeVarFromNameList(names), NoLock,
							missing_ok);
}

/*
 * The time column of a rollup's source is known; that of a rollup's target is
 * its bucket.
 */
static char *
known_time_column(Oid table)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	char *column;
	bool some;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	some = aj_spi_run("SELECT a.attname::text FROM pg_attribute a"
					  " WHERE a.attrelid = $1 AND a.attnum > 0"
					  " AND NOT a.attisdropped"
					  " AND a.atttypid = 'timestamptz'::regtype"
					  " AND a.attnotnull"
					  " ORDER BY a.attname = 'bucket' DESC, a.attnum LIMIT 1",
					  AJ_ARGS(aj_arg_oid(table))) > 0;
	column = some ? aj_spi_text(0, 1, context) : NULL;
	aj_spi_close(&spi);
	return column;
}

/*
 * What may go from a source is counted in the time that its rollups are
 * computed from; by another column, rows would go that are still needed.
 */
static void
check_column_of_source(const AjRetentionRule *rule)
{
	char *column = aj_rollup_time_column(rule->table);

	if (column != NULL && strcmp(column, rule->column) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("rows of \"%s\" can't age by column \"%s\"",
						aj_clip(rule->table_name), aj_clip(rule->column)),
				 errdetail("Rollups are computed from them by column \"%s\".",
						   column),
				 errhint("Write that column.")));
}

static AjRetentionRule
rule_of_step(const Jsonb *step)
{
	AjRetentionRule rule;

	rule.table_name = aj_json_text_field(step, "table");
	rule.column = aj_json_text_field(step, "column");
	rule.keep = aj_json_text_field(step, "keep");
	if (rule.table_name == NULL || rule.column == NULL || rule.keep == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "a step of kind \"retention\" needs the keys \"table\", \"column\" and \"keep\", or none of them"),
			 errhint(
				 "Write {\"kind\": \"retention\", \"table\": \"public.events\", \"column\": \"created_at\", \"keep\": \"90 days\"}.")));
	rule.table = find_table(rule.table_name, false);
	check_column_of_source(&rule);
	return rule;
}

static bool
names_a_table(const Jsonb *step)
{
	return aj_json_field(step, "table") != NULL ||
		aj_json_field(step, "column") != NULL ||
		aj_json_field(step, "keep") != NULL;
}

static AjRetentionRule *
rules_of_settings(int *n)
{
	AjRetentionSetting *settings = aj_setting_retentions(n);
	AjRetentionRule *rules =
		palloc(sizeof(AjRetentionRule) * (Size) Max(*n, 1));

	for (int i = 0; i < *n; i++)
	{
		rules[i].table_name = settings[i].table;
		rules[i].keep = settings[i].keep;
		rules[i].table = find_table(settings[i].table, true);
		rules[i].column = rules[i].table == InvalidOid
			? NULL
			: known_time_column(rules[i].table);
	}
	return rules;
}

/*
 * Which of these tables refer to which by foreign keys, also by way of tables
 * in between: is_before[child * n + parent].  A partition stands for the table
 * that it is a part of.
 */
static bool *
references_among(const AjRetentionRule *rules, int n)
{
	bool *is_before = palloc0(sizeof(bool) * (Size) (n * n + 1));
	Datum *oids = palloc(sizeof(Datum) * (Size) Max(n, 1));
	ArrayType *array;
	AjSpi spi;
	uint64 found;

	for (int i = 0; i < n; i++)
		oids[i] = ObjectIdGetDatum(rules[i].table);
	array = construct_array(oids, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT);
	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	found = aj_spi_run(
		"WITH RECURSIVE direct AS (SELECT DISTINCT"
		" coalesce(pg_partition_root(c.conrelid)::oid, c.conrelid) AS child,"
		" coalesce(pg_partition_root(c.confrelid)::oid, c.confrelid) AS parent"
		" FROM pg_constraint c WHERE c.contype = 'f'),"
		" refers AS (SELECT d.child, d.parent FROM direct d"
		" UNION SELECT r.child, d.parent FROM refers r"
		" JOIN direct d ON d.child = r.parent),"
		" listed AS (SELECT u.n,"
		" coalesce(pg_partition_root(u.oid::regclass)::oid, u.oid) AS oid"
		" FROM unnest($1::oid[]) WITH ORDINALITY u (oid, n))"
		" SELECT c.n, p.n FROM refers r JOIN listed c ON c.oid = r.child"
		" JOIN listed p ON p.oid = r.parent WHERE r.child <> r.parent",
		AJ_ARGS(aj_arg(OIDARRAYOID, PointerGetDatum(array), false)));
	for (uint64 i = 0; i < found; i++)
		is_before[(aj_spi_int8(i, 1, 1) - 1) * n + aj_spi_int8(i, 2, 1) - 1] =
			true;
	aj_spi_close(&spi);
	return is_before;
}

/*
 * The first rule that is left and that no other one has to go before; or,
 * where tables refer to each other in a circle, the first that is left.
 */
static int
next_rule(const bool *is_before, const bool *is_done, int n)
{
	int first = -1;

	for (int i = 0; i < n; i++)
	{
		bool waits = false;

		if (is_done[i])
			continue;
		if (first < 0)
			first = i;
		for (int k = 0; k < n; k++)
			waits |= !is_done[k] && is_before[k * n + i];
		if (!waits)
			return i;
	}
	return first;
}

/*
 * Rows that refer to others go before them, or those could not go.  Rollups
 * need no order: what may go from a table does not depend on what has gone
 * from others.
 */
static AjRetentionRule *
in_order(const AjRetentionRule *rules, int n)
{
	bool *is_before = references_among(rules, n);
	bool *is_done = palloc0(sizeof(bool) * (Size) Max(n, 1));
	AjRetentionRule *ordered =
		palloc(sizeof(AjRetentionRule) * (Size) Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		int next = next_rule(is_before, is_done, n);

		is_done[next] = true;
		ordered[i] = rules[next];
	}
	return ordered;
}

/*
 * aj_retention_rules
 *		What a step says, or the settings where it names no table: tables that
 *		refer to others by foreign keys before those, else in the order given.
 */
AjRetentionRule *
aj_retention_rules(const Jsonb *step, int *n)
{
	AjRetentionRule *rules;

	if (!names_a_table(step))
	{
		rules = rules_of_settings(n);
		return in_order(rules, *n);
	}
	*n = 1;
	rules = palloc(sizeof(AjRetentionRule));
	rules[0] = rule_of_step(step);
	return rules;
}

static bool
is_time_type(Oid type)
{
	return type == TIMESTAMPTZOID || type == TIMESTAMPOID || type == DATEOID;
}

/*
 * aj_retention_rules_check
 *		Refuse a step whose table or column is none, or can't be kept so.
 */
void
aj_retention_rules_check(const Jsonb *step)
{
	AjRetentionRule rule;
	AttrNumber column;

	if (!names_a_table(step))
		return;
	rule = rule_of_step(step);
	column = get_attnum(rule.table, rule.column);
	if (column == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist",
						aj_clip(rule.column), aj_clip(rule.table_name)),
				 errhint("\"column\" is the time column by which rows age.")));
	if (!is_time_type(get_atttype(rule.table, column)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s\" is not a time",
						aj_clip(rule.column), aj_clip(rule.table_name)),
				 errhint("Rows age by a column of type timestamptz, timestamp "
						 "or date.")));
	(void) aj_retention_keep_from(rule.keep, 0);
}
