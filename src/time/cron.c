/*-------------------------------------------------------------------------
 *
 * cron.c
 *	  Turn the text of a cron schedule into sets of bits, or say why not.
 *
 * Five fields (minute, hour, day of month, month, day of week) or six with the
 * second first.  A field is a list of items: a star, a value, a range, each
 * star or range with a step, and "L" for what comes last in the month.
 *
 * Bounds are checked before anything is expanded.  What other crons read in
 * different ways, such as a step behind a single value or one that is larger
 * than its range, is refused with the unambiguous form as hint.  So is a set
 * of dates that no calendar has, as 30 February.
 *
 * Pure: no state, no allocation, no ereport.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/cron.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "port/pg_bitutils.h"

#include "time/cron.h"

typedef enum CronPart
{
	CRON_SECOND,
	CRON_MINUTE,
	CRON_HOUR,
	CRON_DAY,
	CRON_MONTH,
	CRON_WEEKDAY
} CronPart;

#define CRON_PARTS (CRON_WEEKDAY + 1)

/* What one field may hold.  Names are three letters each, from "low" on. */
typedef struct CronRule
{
	const char *name;
	int low;
	int high;
	const char *names;
	const char *hint;
} CronRule;

static const CronRule rules[CRON_PARTS] = {
	[CRON_SECOND] = {"second", 0, 59, NULL,
					 "Seconds are numbers from 0 to 59."},
	[CRON_MINUTE] = {"minute", 0, 59, NULL,
					 "Minutes are numbers from 0 to 59."},
	[CRON_HOUR] = {"hour", 0, 23, NULL, "Hours are numbers from 0 to 23."},
	[CRON_DAY] =
		{"day of month", 1, 31, NULL,
		 "Days are numbers from 1 to 31, or L for the last day of the month."},
	[CRON_MONTH] =
		{"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec",
		 "Months are numbers from 1 to 12 or names from jan to dec."},
	[CRON_WEEKDAY] =
		{"day of week", 0, 7, "sunmontuewedthufrisat",
		 "Days of the week are numbers from 0 to 7 (0 and 7 are Sunday) or names from sun to sat; 5L or friL is the last Friday of the month."},
};

/* What one field holds. */
typedef struct CronSet
{
	uint64 bits;
	uint8 last_weekdays;
	bool last_day;
	bool star;	/* begins with a star */
	bool whole; /* an item spans all that the field may hold */
} CronSet;

/* One item's range while it is read. */
typedef struct CronSpan
{
	const char *start;
	int low;
	int high;
	int step;
	bool single; /* one value, neither star nor range */
} CronSpan;

/*
 * aj_next_bit
 *		The lowest bit in "set" that is not below "from", or -1.
 */
int
aj_next_bit(uint64 set, int from)
{
	if (from > 63)
		return -1;
	set &= ~UINT64CONST(0) << from;
	return set == 0 ? -1 : pg_rightmost_one_pos64(set);
}

/* Read a name such as "fri"; an L that follows it is left for the caller. */
static bool
parse_name(AjScan *scan, const CronRule *rule, int *value)
{
	const char *start = scan->at;
	char word[AJ_SCAN_WORD];
	int length = aj_scan_word(scan, word);
	bool last = (rule == &rules[CRON_WEEKDAY] && length == 4 && word[3] == 'l');

	for (const char *name = rule->names; *name != '\0'; name += 3)
	{
		if ((length != 3 && !last) || strncmp(name, word, 3) != 0)
			continue;
		*value = rule->low + (int) (name - rule->names) / 3;
		scan->at = start + 3;
		return true;
	}
	return aj_scan_fail(scan, start, rule->hint, "unknown %s \"%s\"",
						rule->name, word);
}

/* Read a number or name and check its bounds. */
static bool
parse_value(AjScan *scan, const CronRule *rule, int *value)
{
	const char *start = scan->at;
	char shown[AJ_SCAN_WORD];

	if (rule->names != NULL && aj_scan_letters(scan))
		return parse_name(scan, rule, value);
	if (!aj_scan_digits(scan))
	{
		snprintf(shown, sizeof(shown), "a %s", rule->name);
		return aj_scan_expected(scan, shown, rule->hint);
	}
	*value = aj_scan_number(scan);
	if (*value >= rule->low && *value <= rule->high)
		return true;
	return aj_scan_fail(scan, start, rule->hint,
						"%s %.*s is not in the range %d-%d", rule->name,
						(int) Min(scan->at - start, 12), start, rule->low,
						rule->high);
}

/* Read the upper end of a range whose lower end is known. */
static bool
parse_range_end(AjScan *scan, const CronRule *rule, CronSpan *span)
{
	bool week = (rule == &rules[CRON_WEEKDAY]);

	span->single = false;
	if (!parse_value(scan, rule, &span->high))
		return false;
	if (week && span->high == 0 && span->low > 0)
		span->high = 7; /* fri-sun */
	if (span->high >= span->low)
		return true;
	aj_scan_fail(scan, span->start, "", "range %d-%d goes backwards", span->low,
				 span->high);
	aj_scan_advise(scan, "Write two ranges: %d-%d,%d-%d.", span->low,
				   week ? 6 : rule->high, rule->low, span->high);
	return false;
}

/* Read the step of a range, if there is one. */
static bool
parse_step(AjScan *scan, const CronRule *rule, CronSpan *span)
{
	const char *slash = scan->at;
	const char *start;

	if (!aj_scan_character(scan, '/'))
		return true;
	start = scan->at;
	if (!aj_scan_digits(scan))
		return aj_scan_expected(scan, "a step",
								"A step is a number, as in */5 or 10-40/10.");
	span->step = aj_scan_number(scan);
	if (span->single)
	{
		aj_scan_fail(scan, slash, "", "a step needs a range or * before it");
		aj_scan_advise(scan, "Write %d-%d/%d for every step from %d on.",
					   span->low, rule->high, span->step, span->low);
		return false;
	}
	if (span->step == 0)
		return aj_scan_fail(scan, start, "The smallest step is 1.",
							"the step is 0");
	if (span->step > Max(span->high - span->low, 1))
		return aj_scan_fail(
			scan, start,
			"A step counts within its field only; write for example \"every 90 minutes\" for a grid that does not start again with the field.",
			"step %d is larger than the range %d-%d", span->step, span->low,
			span->high);
	return true;
}

/* Add each value of the span to the set. */
static void
add_span(const CronRule *rule, const CronSpan *span, CronSet *set)
{
	bool week = (rule == &rules[CRON_WEEKDAY]);

	for (int value = span->low; value <= span->high; value += span->step)
		set->bits |= UINT64CONST(1) << (week ? value % 7 : value);
	if (span->low == rule->low && span->high == rule->high)
		set->whole = true;
}

/* Is this the "L" that stands for the last day of the month? */
static bool
parse_last_day(AjScan *scan, const CronRule *rule, CronSet *set)
{
	if (rule != &rules[CRON_DAY] || !aj_scan_character(scan, 'l'))
		return false;
	set->last_day = true;
	return true;
}

/* Is this the "L" behind a day of the week? */
static bool
parse_last_weekday(AjScan *scan, const CronRule *rule, int weekday,
				   CronSet *set)
{
	if (rule != &rules[CRON_WEEKDAY] || !aj_scan_character(scan, 'l'))
		return false;
	set->last_weekdays |= 1 << (weekday % 7);
	return true;
}

/* Read one item of the list that a field is. */
static bool
parse_item(AjScan *scan, const CronRule *rule, CronSet *set)
{
	CronSpan span = {scan->at, rule->low, rule->high, 1, false};

	if (aj_scan_character(scan, '*'))
		span.high = (rule == &rules[CRON_WEEKDAY]) ? 6 : rule->high;
	else if (parse_last_day(scan, rule, set))
		return true;
	else
	{
		if (!parse_value(scan, rule, &span.low))
			return false;
		if (parse_last_weekday(scan, rule, span.low, set))
			return true;
		span.high = span.low;
		span.single = true;
		if (aj_scan_character(scan, '-') && !parse_range_end(scan, rule, &span))
			return false;
	}
	if (!parse_step(scan, rule, &span))
		return false;
	add_span(rule, &span, set);
	return true;
}

/* Read one field and the blanks behind it. */
static bool
parse_field(AjScan *scan, const CronRule *rule, CronSet *set)
{
	memset(set, 0, sizeof(*set));
	set->star = (*scan->at == '*');
	do
	{
		if (!parse_item(scan, rule, set))
			return false;
	} while (aj_scan_character(scan, ','));
	if (aj_scan_blanks(scan))
		return true;
	return aj_scan_expected(scan, "the end of the field", rule->hint);
}

/* Count the fields; *seventh is where one begins that is too many. */
static int
count_fields(AjScan scan, const char **seventh)
{
	int fields = 0;

	while (*scan.at != '\0')
	{
		if (++fields == CRON_PARTS + 1)
			*seventh = scan.at;
		while (!aj_scan_blanks(&scan))
			scan.at++;
	}
	return fields;
}

/* Find out whether the text has five fields or six. */
static bool
check_field_count(AjScan *scan, int *fields)
{
	static const char *const hint =
		"Write minute, hour, day of month, month and day of week, with the second before them if needed: 5 0 * * *";
	const char *where = scan->text + strlen(scan->text);

	*fields = count_fields(*scan, &where);
	if (*fields == CRON_PARTS - 1 || *fields == CRON_PARTS)
		return true;
	return aj_scan_fail(scan, where, hint, "cron has 5 or 6 fields, found %d",
						*fields);
}

/* Put the fields together. */
static void
fill_cron(const CronSet *sets, AjCron *cron)
{
	cron->seconds = sets[CRON_SECOND].bits;
	cron->minutes = sets[CRON_MINUTE].bits;
	cron->hours = (uint32) sets[CRON_HOUR].bits;
	cron->days = (uint32) sets[CRON_DAY].bits;
	cron->months = (uint16) sets[CRON_MONTH].bits;
	cron->weekdays = (uint8) sets[CRON_WEEKDAY].bits;
	cron->last_weekdays = sets[CRON_WEEKDAY].last_weekdays;
	cron->last_day = sets[CRON_DAY].last_day;
	cron->any_day = sets[CRON_DAY].star;
	cron->any_weekday = sets[CRON_WEEKDAY].star;
	cron->elapsed = sets[CRON_HOUR].whole;
}

/* Does one of the chosen months have one of the chosen days? */
static bool
day_exists(const AjCron *cron)
{
	static const uint8 longest[] = {31, 29, 31, 30, 31, 30,
									31, 31, 30, 31, 30, 31};

	if (cron->last_day)
		return true;
	for (int month = aj_next_bit(cron->months, 1); month > 0;
		 month = aj_next_bit(cron->months, month + 1))
	{
		if (aj_next_bit(cron->days, 1) <= longest[month - 1])
			return true;
	}
	return false;
}

/*
 * check_dates
 *		Refuse dates that never occur; "where" is the day-of-month field.
 *
 * If both day fields are restricted, the day of the week alone is enough.
 */
static bool
check_dates(AjScan *scan, const char *where, const AjCron *cron)
{
	static const char *const months[] = {"January", "February", "March",
										 "April",	"May",		"June",
										 "July",	"August",	"September",
										 "October", "November", "December"};
	static const char *const hint = "Write L for the last day of the month.";
	int month = Max(aj_next_bit(cron->months, 1), 1); /* never empty */
	int64 ignored;

	if ((cron->any_day || cron->any_weekday) && !day_exists(cron))
	{
		if (aj_next_bit(cron->months, month + 1) < 0)
			return aj_scan_fail(scan, where, hint, "%d %s never occurs",
								aj_next_bit(cron->days, 1), months[month - 1]);
		return aj_scan_fail(scan, where, hint,
							"the months given never have %d days",
							aj_next_bit(cron->days, 1));
	}
	if (aj_cron_next(cron, 0, &ignored))
		return true;
	return aj_scan_fail(
		scan, where,
		"A day field that begins with * does not add days: both day fields must match then.",
		"day of month, month and day of week never meet");
}

/*
 * aj_cron_parse
 *		Read a cron schedule from scan->at to the end of the text.
 *
 * Returns false with the reason in scan->error if the text is refused; then
 * *cron is undefined.
 */
bool
aj_cron_parse(AjScan *scan, AjCron *cron)
{
	CronSet sets[CRON_PARTS];
	const char *starts[CRON_PARTS];
	int fields = 0;
	int part;

	if (!check_field_count(scan, &fields))
		return false;
	memset(cron, 0, sizeof(*cron));
	memset(sets, 0, sizeof(sets));
	sets[CRON_SECOND].bits = 1;
	cron->with_seconds = (fields == CRON_PARTS);

	part = cron->with_seconds ? CRON_SECOND : CRON_MINUTE;
	for (; part < CRON_PARTS; part++)
	{
		starts[part] = scan->at;
		if (!parse_field(scan, &rules[part], &sets[part]))
			return false;
	}
	fill_cron(sets, cron);
	return check_dates(scan, starts[CRON_DAY], cron);
}
