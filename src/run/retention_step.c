/*-------------------------------------------------------------------------
 *
 * retention_step.c
 *	  Step {"kind": "retention"}: remove rows that have outlived their keep.
 *
 * Without further keys it follows the settings retention.TABLE; with "table",
 * "column" and "keep" it removes from that one table.  The work is done in
 * rollup/retention.c.  No state, no locks of its own.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/retention_step.c
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
#include "rollup/retention.h"
#include "run/step.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/varlena.h"

static const char *const keys[] = {"kind", "table", "column", "keep", NULL};

typedef struct Rule
{
	const char *table_name;
	Oid table; /* InvalidOid: dropped since */
	const char *column;
	const char *keep; /* an interval's text, or "forever" */
} Rule;

/* The instant before which rows may go; AJ_NO_TIME to keep them for ever. */
static TimestampTz
keep_from(const char *keep, TimestampTz now)
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
	(void) keep_from(keep, aj_now());
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
check_column_of_source(const Rule *rule)
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

static Rule
rule_of_step(const Jsonb *step)
{
	Rule rule;

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

static Rule *
rules_of(const Jsonb *step, int *n)
{
	AjRetentionSetting *settings;
	Rule *rules;

	if (names_a_table(step))
	{
		*n = 1;
		rules = palloc(sizeof(Rule));
		rules[0] = rule_of_step(step);
		return rules;
	}
	settings = aj_setting_retentions(n);
	rules = palloc(sizeof(Rule) * (Size) Max(*n, 1));
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

static bool
is_time_type(Oid type)
{
	return type == TIMESTAMPTZOID || type == TIMESTAMPOID || type == DATEOID;
}

static void
check(const Jsonb *step)
{
	Rule rule;
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
	(void) keep_from(rule.keep, 0);
}

static bool
prepare(const Rule *rule, const AjStepHost *host, AjRetire *retire)
{
	if (rule->table == InvalidOid || rule->column == NULL)
	{
		ereport(
			WARNING,
			(errmsg("setting retention.%s names no table with a time column",
					rule->table_name)));
		return false;
	}
	retire->table = rule->table;
	retire->time_column = rule->column;
	retire->before = keep_from(rule->keep, host->now);
	retire->commit = host->commit;
	retire->commit_arg = unconstify(AjStepHost *, host);
	return retire->before != AJ_NO_TIME;
}

static void
plan(const Jsonb *step, const AjStepHost *host)
{
	int n;
	Rule *rules = rules_of(step, &n);

	for (int i = 0; i < n; i++)
	{
		AjRetire retire = {0};

		if (!prepare(&rules[i], host, &retire))
			continue;
		ereport(NOTICE,
				(errmsg("retention would delete " INT64_FORMAT
						" rows of \"%s\"",
						aj_retire_plan(&retire), rules[i].table_name)));
	}
}

static void
run(const Jsonb *step, AjStepHost *host, AjJson *result)
{
	int n;
	Rule *rules = rules_of(step, &n);
	int64 total = 0;

	for (int i = 0; i < n; i++)
	{
		AjRetire retire = {0};

		if (!prepare(&rules[i], host, &retire))
			continue;
		aj_retire(&retire);
		total += retire.rows;
		aj_json_add_int(result, rules[i].table_name, retire.rows);
	}
	aj_json_add_int(result, "rows_deleted", total);
}

const AjStepKind aj_step_retention = {
	.name = "retention",
	.keys = keys,
	.check = check,
	.plan = plan,
	.run = run,
};
