/*-------------------------------------------------------------------------
 *
 * retention_step.c
 *	  Step {"kind": "retention"}: remove rows that have outlived their keep.
 *
 * Without further keys it follows the settings retention.TABLE; with "table",
 * "column" and "keep" it removes from that one table.  Further keys say how
 * much a run may do, and how long it waits.  A run that ends before all is
 * done has succeeded, and says in its result what is left; the next one goes
 * on.  The work is done in rollup/retention.c.  No state, no locks of its own.
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
#include "common/int.h"
#include "rollup/retention.h"
#include "run/retention_rules.h"
#include "run/step.h"
#include "utils/datetime.h"

static const char *const keys[] = {
	"kind",	 "table",		 "column",
	"keep",	 "max_rows",	 "max_time",
	"batch", "lock_timeout", "statement_timeout",
	NULL,
};

#define DEFAULT_TIME_USEC USECS_PER_HOUR
#define DEFAULT_LOCK_MS 10000
#define DEFAULT_DROP_LOCK_MS 1000 /* readers wait meanwhile */
#define LARGEST_BATCH 1000000
#define LARGEST_ROWS INT64CONST(1000000000000)
#define LONGEST_TIME (20 * USECS_PER_DAY)

/* What the keys of a step say about how much it may do. */
typedef struct Settings
{
	int64 max_rows;
	int64 max_usec;
	int batch;
	AjLimits limits;
	AjLimits drop_limits;
} Settings;

/* A whole number from 1 to "most", or "otherwise" without the key. */
static int64
number_of(const Jsonb *step, const char *key, int64 most, int64 otherwise)
{
	char *text = aj_json_text_field(step, key);
	char *end;
	long long number;

	if (text == NULL)
		return otherwise;
	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno != 0 || *end != '\0' || number < 1 || number > most)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" of a step of kind \"retention\" can't be \"%s\"",
					key, aj_clip(text)),
			 errhint("Write a whole number from 1 to " INT64_FORMAT
					 ", or leave \"%s\" out.",
					 most, key)));
	return number;
}

/* An interval's text in microseconds; false if it is none, or too long. */
static bool
parse_interval(const char *text, int64 *usec)
{
	char buffer[256];
	char *fields[MAXDATEFIELDS];
	int types[MAXDATEFIELDS];
	struct pg_itm_in parts;
	int64 days;
	int type;
	int n;

	if (ParseDateTime(text, buffer, sizeof(buffer), fields, types,
					  MAXDATEFIELDS, &n) != 0 ||
		DecodeInterval(fields, types, n, INTERVAL_FULL_RANGE, &type, &parts) !=
			0 ||
		type != DTK_DELTA)
		return false;
	days = ((int64) parts.tm_year * MONTHS_PER_YEAR + parts.tm_mon) *
			DAYS_PER_MONTH +
		parts.tm_mday;
	return !pg_mul_s64_overflow(days, USECS_PER_DAY, usec) &&
		!pg_add_s64_overflow(*usec, parts.tm_usec, usec);
}

/* A time from "least" to "most", or "otherwise" without the key. */
static int64
time_of(const Jsonb *step, const char *key, int64 least, int64 most,
		int64 otherwise)
{
	char *text = aj_json_text_field(step, key);
	int64 usec;

	if (text == NULL)
		return otherwise;
	if (!parse_interval(text, &usec) || usec < least || usec > most)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" of a step of kind \"retention\" can't be \"%s\"",
					key, aj_clip(text)),
			 errhint(
				 "Write an interval above zero and not above 20 days, as in \"30 seconds\", or leave \"%s\" out.",
				 key)));
	return usec;
}

/* The same as timers count. */
static int
milliseconds_of(const Jsonb *step, const char *key, int otherwise)
{
	return (int) (time_of(step, key, 1000, LONGEST_TIME,
						  otherwise * INT64CONST(1000)) /
				  1000);
}

static Settings
settings_of(const Jsonb *step)
{
	Settings settings;

	settings.max_rows = number_of(step, "max_rows", LARGEST_ROWS, PG_INT64_MAX);
	settings.max_usec =
		time_of(step, "max_time", 1, LONGEST_TIME, DEFAULT_TIME_USEC);
	settings.batch =
		(int) number_of(step, "batch", LARGEST_BATCH, AJ_RETIRE_BATCH);
	settings.limits.lock =
		milliseconds_of(step, "lock_timeout", DEFAULT_LOCK_MS);
	settings.limits.time = milliseconds_of(step, "statement_timeout", 0);
	settings.drop_limits.lock =
		milliseconds_of(step, "lock_timeout", DEFAULT_DROP_LOCK_MS);
	settings.drop_limits.time = settings.limits.time;
	return settings;
}

static void
check(const Jsonb *step)
{
	aj_retention_rules_check(step);
	(void) settings_of(step);
}

/* False if there is nothing that could go. */
static bool
prepare(const AjRetentionRule *rule, const AjStepHost *host, AjRetire *retire)
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
	retire->before = aj_retention_keep_from(rule->keep, host->now);
	retire->commit = host->commit;
	retire->commit_arg = unconstify(AjStepHost *, host);
	return retire->before != AJ_NO_TIME;
}

/* The table of another may be a view, whose functions would be run to count. */
static void
plan_rule(const AjRetentionRule *rule, AjRetire *retire, bool may_look)
{
	if (may_look)
		ereport(NOTICE,
				(errmsg("retention would delete " INT64_FORMAT
						" rows of \"%s\"",
						aj_retire_plan(retire), rule->table_name)));
	else
		ereport(
			NOTICE,
			(errmsg(
				 "retention would delete rows of \"%s\" that are older than %s",
				 rule->table_name, rule->keep),
			 errdetail("Only the owner of the job has them counted.")));
}

static void
plan(const Jsonb *step, const AjStepHost *host)
{
	int n;
	AjRetentionRule *rules = aj_retention_rules(step, &n);

	for (int i = 0; i < n; i++)
	{
		AjRetire retire = {0};

		if (prepare(&rules[i], host, &retire))
			plan_rule(&rules[i], &retire, host->may_look);
	}
}

/* What a run has done to all tables. */
typedef struct Totals
{
	AjJson tables;
	int64 rows;
	int64 partitions;
	int64 backlog;
	bool is_exact;		 /* the backlog */
	const char *stopped; /* the budget that ended it, or NULL */
} Totals;

/* How many rows are left, as far as that was counted, and why. */
static void
add_backlog(AjJson *figures, AjRetire *retire, Totals *totals)
{
	int64 rows;
	bool known = true;
	bool is_exact;

	if (retire->stopped == NULL && retire->limit == aj_retire_line(retire))
		rows = 0;
	else
		known = aj_retire_backlog(retire, &rows);
	is_exact = known && rows < AJ_BACKLOG_BOUND;
	if (known)
		aj_json_add_int(figures, is_exact ? "backlog" : "backlog_at_least",
						rows);
	if (known && rows == 0)
		retire->stopped = NULL;
	else if (retire->stopped == NULL)
		retire->stopped = "rollups";
	aj_json_add_text(figures, "stopped", retire->stopped);
	totals->backlog += known ? rows : 0;
	totals->is_exact &= is_exact;
	if (retire->stopped != NULL && strncmp(retire->stopped, "max_", 4) == 0)
		totals->stopped = retire->stopped;
}

static void
run_rule(const AjRetentionRule *rule, AjRetire *retire, Totals *totals)
{
	AjJson figures;

	aj_retire(retire);
	aj_json_begin(&figures);
	aj_json_add_int(&figures, "rows", retire->rows);
	aj_json_add_int(&figures, "partitions", retire->partitions);
	add_backlog(&figures, retire, totals);
	aj_json_add_json(&totals->tables, rule->table_name, aj_json_end(&figures));
	totals->rows += retire->rows;
	totals->partitions += retire->partitions;
}

static void
run(const Jsonb *step, AjStepHost *host, AjJson *result)
{
	int n;
	AjRetentionRule *rules = aj_retention_rules(step, &n);
	Settings settings = settings_of(step);
	AjBudget budget = {
		.rows = settings.max_rows,
		.deadline = aj_now() + settings.max_usec,
	};
	Totals totals = {.is_exact = true};

	aj_json_begin(&totals.tables);
	for (int i = 0; i < n; i++)
	{
		AjRetire retire = {
			.batch = settings.batch,
			.budget = &budget,
			.limits = settings.limits,
			.drop_limits = settings.drop_limits,
		};

		if (prepare(&rules[i], host, &retire))
			run_rule(&rules[i], &retire, &totals);
	}
	aj_json_add_json(result, "tables", aj_json_end(&totals.tables));
	aj_json_add_int(result, "rows_deleted", totals.rows);
	aj_json_add_int(result, "partitions_dropped", totals.partitions);
	aj_json_add_int(result, totals.is_exact ? "backlog" : "backlog_at_least",
					totals.backlog);
	aj_json_add_text(result, "stopped", totals.stopped);
}

const AjStepKind aj_step_retention = {
	.name = "retention",
	.keys = keys,
	.check = check,
	.plan = plan,
	.run = run,
};
