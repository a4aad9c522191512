/*-------------------------------------------------------------------------
 *
 * schedule.c
 *	  Read the text that says when a job runs.
 *
 * One language with five forms, told apart by the first word: cron fields,
 * "@daily" and its like, "every 15 minutes from ...", "after 10 minutes" and
 * "at 2026-12-01 02:00".  What a schedule means in time is the matter of
 * next_slot.c; messages to the user are made by schedule_check.c.
 *
 * Pure: no state, no allocation, no ereport, any bytes are safe as input.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/schedule.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "utils/datetime.h"

#include "time/schedule.h"

/* No step is longer than this, so that sums of a few can't overflow. */
#define LONGEST_YEARS 1000

/* Grids without an origin of their own: 2000-01-03 was a Monday. */
#define ORIGIN_DAY 3
#define ORIGIN_MONTH 1
#define ORIGIN_YEAR 2000

static const char *const form_hint =
	"A schedule is cron (5 0 * * *), a word such as @daily, \"every 15 minutes\", \"after 10 minutes\" or \"at 2026-12-01 02:00\".";
static const char *const time_hint =
	"Write a date and time as in 2026-12-01 02:00, local to the job's time zone.";
static const char *const day_hint =
	"For a time of day write cron (0 2 * * *) or give an origin (every day from 2026-01-01 02:00).";
static const char *const unit_hint =
	"Units are second, minute, hour, day, week, month, quarter and year, in singular or plural.";

typedef struct WordRule
{
	const char *word;
	const char *cron; /* NULL for @start */
} WordRule;

static const WordRule at_words[] = {
	{"hourly", "0 * * * *"},   {"daily", "0 0 * * *"},
	{"midnight", "0 0 * * *"}, {"weekly", "0 0 * * 0"},
	{"monthly", "0 0 1 * *"},  {"yearly", "0 0 1 1 *"},
	{"annually", "0 0 1 1 *"}, {"start", NULL},
};

typedef enum UnitClass
{
	UNIT_NONE,
	UNIT_TIME,
	UNIT_DAY,
	UNIT_MONTH
} UnitClass;

/* A unit is "size" seconds, days or months, as its class says. */
typedef struct UnitRule
{
	const char *names; /* between blanks */
	UnitClass class;
	int size;
} UnitRule;

static const UnitRule units[] = {
	{" second seconds sec secs ", UNIT_TIME, 1},
	{" minute minutes min mins ", UNIT_TIME, SECS_PER_MINUTE},
	{" hour hours hr hrs ", UNIT_TIME, SECS_PER_HOUR},
	{" day days ", UNIT_DAY, 1},
	{" week weeks ", UNIT_DAY, 7},
	{" month months mon mons ", UNIT_MONTH, 1},
	{" quarter quarters ", UNIT_MONTH, 3},
	{" year years ", UNIT_MONTH, MONTHS_PER_YEAR},
};

/* The longest step in seconds, days and months. */
static const int64 longest[] = {
	[UNIT_TIME] = (int64) LONGEST_YEARS * SECS_PER_YEAR,
	[UNIT_DAY] = (int64) LONGEST_YEARS * 36525 / 100,
	[UNIT_MONTH] = (int64) LONGEST_YEARS * MONTHS_PER_YEAR,
};

typedef bool (*FormParser)(AjScan *scan, AjSchedule *schedule);

static bool parse_every(AjScan *scan, AjSchedule *schedule);
static bool parse_after(AjScan *scan, AjSchedule *schedule);
static bool parse_at(AjScan *scan, AjSchedule *schedule);

static const struct
{
	const char *word;
	FormParser parse;
} forms[] = {
	{"every", parse_every},
	{"after", parse_after},
	{"at", parse_at},
};

/* Is "word" one of "names", which stand between blanks? */
static bool
is_one_of(const char *word, const char *names)
{
	char between[AJ_SCAN_WORD + 2];

	snprintf(between, sizeof(between), " %s ", word);
	return strstr(names, between) != NULL;
}

static const UnitRule *
find_unit(const char *word)
{
	for (int i = 0; i < lengthof(units); i++)
	{
		if (is_one_of(word, units[i].names))
			return &units[i];
	}
	return NULL;
}

/* Read a unit; all units of one step must be of the same class. */
static const UnitRule *
parse_unit(AjScan *scan, UnitClass *class)
{
	AjScan start = *scan;
	char word[AJ_SCAN_WORD];
	const UnitRule *unit;

	aj_scan_word(scan, word);
	unit = find_unit(word);
	if (unit == NULL)
	{
		aj_scan_expected(&start, "a unit of time", unit_hint);
		return NULL;
	}
	if (*class != UNIT_NONE && *class != unit->class)
	{
		aj_scan_fail(
			scan, start.at,
			"Add up seconds, minutes and hours, or days and weeks, or months, quarters and years: 1 day 12 hours is 36 hours.",
			"\"%s\" does not go with the units before it", word);
		return NULL;
	}
	*class = unit->class;
	return unit;
}

/* Read how many of a unit; just the unit, where it is allowed, means one. */
static bool
parse_count(AjScan *scan, bool unit_alone, int64 *count)
{
	const char *start = scan->at;

	*count = 1;
	if (unit_alone && aj_scan_letters(scan))
		return true;
	if (!aj_scan_digits(scan))
		return aj_scan_expected(scan,
								unit_alone ? "a number or a unit of time"
										   : "a number",
								unit_alone ? unit_hint : day_hint);
	*count = aj_scan_number(scan);
	if (*count == 0)
		return aj_scan_fail(scan, start, "The smallest number is 1.",
							"the number is 0");
	if (*count == AJ_SCAN_NUMBER_MAX)
		return aj_scan_fail(scan, start, "", "the number is too large");
	aj_scan_blanks(scan);
	return true;
}

/* Is this the end of the step: of the text, or the word before an origin? */
static bool
at_step_end(const AjScan *scan)
{
	AjScan ahead = *scan;
	char word[AJ_SCAN_WORD];

	if (*scan->at == '\0')
		return true;
	aj_scan_word(&ahead, word);
	return strcmp(word, "from") == 0;
}

/* Read a length of time such as "1 hour 30 minutes". */
static bool
parse_step(AjScan *scan, AjStep *step)
{
	const char *start = scan->at;
	bool unit_alone = aj_scan_letters(scan);
	UnitClass class = UNIT_NONE;
	int64 total = 0;

	do
	{
		const UnitRule *unit;
		int64 count;

		if (!parse_count(scan, scan->at == start, &count))
			return false;
		unit = parse_unit(scan, &class);
		if (unit == NULL)
			return false;
		total += count * unit->size;
		if (total > longest[class])
			return aj_scan_fail(scan, start, "", "longer than %d years",
								LONGEST_YEARS);
		if (!aj_scan_blanks(scan) && !aj_scan_digits(scan))
			return aj_scan_expected(scan, "a blank", unit_hint);
	} while (!at_step_end(scan) && !unit_alone);
	if (!at_step_end(scan))
		return aj_scan_expected(scan, "the end of the text", day_hint);

	step->seconds = (class == UNIT_TIME) ? total : 0;
	step->days = (class == UNIT_DAY) ? (int) total : 0;
	step->months = (class == UNIT_MONTH) ? (int) total : 0;
	return true;
}

/* Read a number of just "width" digits within bounds. */
static bool
parse_part(AjScan *scan, const char *name, int width, int low, int high,
		   int *value)
{
	const char *start = scan->at;

	if (!aj_scan_digits(scan))
		return aj_scan_expected(scan, name, time_hint);
	*value = aj_scan_number(scan);
	if (scan->at - start != width)
		return aj_scan_fail(scan, start, time_hint, "%s has %d digits, not %d",
							name, width, (int) (scan->at - start));
	if (*value >= low && *value <= high)
		return true;
	return aj_scan_fail(scan, start, time_hint,
						"%s %0*d is not in the range %d-%d", name, width,
						*value, low, high);
}

/* Take one character that must stand here. */
static bool
parse_mark(AjScan *scan, char mark)
{
	char shown[] = {'"', mark, '"', '\0'};

	if (aj_scan_character(scan, mark))
		return true;
	return aj_scan_expected(scan, shown, time_hint);
}

/* Read a date as days since 1970. */
static bool
parse_date(AjScan *scan, int *day)
{
	int year = 0;
	int month = 0;
	int month_day = 0;
	const char *start;
	int days_in_month;

	if (!parse_part(scan, "year", 4, 1, 9999, &year) ||
		!parse_mark(scan, '-') ||
		!parse_part(scan, "month", 2, 1, MONTHS_PER_YEAR, &month) ||
		!parse_mark(scan, '-'))
		return false;
	start = scan->at;
	if (!parse_part(scan, "day", 2, 1, 31, &month_day))
		return false;
	days_in_month = day_tab[isleap(year)][month - 1];
	if (month_day > days_in_month)
		return aj_scan_fail(scan, start, time_hint,
							"month %04d-%02d has only %d days", year, month,
							days_in_month);
	*day = date2j(year, month, month_day) - UNIX_EPOCH_JDATE;
	return true;
}

/* Read hours, minutes and, if they follow, seconds. */
static bool
parse_time(AjScan *scan, int *time)
{
	int hour = 0;
	int minute = 0;
	int second = 0;

	if (!parse_part(scan, "hour", 2, 0, 23, &hour) || !parse_mark(scan, ':') ||
		!parse_part(scan, "minute", 2, 0, 59, &minute))
		return false;
	if (aj_scan_character(scan, ':') &&
		!parse_part(scan, "second", 2, 0, 59, &second))
		return false;
	*time = (hour * MINS_PER_HOUR + minute) * SECS_PER_MINUTE + second;
	return true;
}

/* Read a date and time, behind which the text must end. */
static bool
parse_local(AjScan *scan, bool date_only, int64 *local)
{
	int day = 0;
	int time = 0;
	bool with_time;

	if (!parse_date(scan, &day))
		return false;
	with_time = aj_scan_character(scan, 't');
	if (!with_time)
	{
		if (!aj_scan_blanks(scan))
			return aj_scan_expected(scan, "a time of day", time_hint);
		with_time = !date_only || *scan->at != '\0';
	}
	if (with_time && !parse_time(scan, &time))
		return false;
	aj_scan_blanks(scan);
	if (*scan->at != '\0')
		return aj_scan_expected(
			scan, "the end of the text",
			"The time is local to the time zone of the job, which is not part of the schedule.");
	*local = (int64) day * SECS_PER_DAY + time;
	return true;
}

/* every STEP [from ORIGIN] */
static bool
parse_every(AjScan *scan, AjSchedule *schedule)
{
	char word[AJ_SCAN_WORD];
	int day;

	schedule->kind = AJ_SCHEDULE_EVERY;
	if (!parse_step(scan, &schedule->step))
		return false;
	if (*scan->at == '\0')
	{
		day = schedule->step.months > 0 ? 1 : ORIGIN_DAY;
		schedule->local = (int64) SECS_PER_DAY *
			(date2j(ORIGIN_YEAR, ORIGIN_MONTH, day) - UNIX_EPOCH_JDATE);
		return true;
	}
	schedule->has_origin = true;
	aj_scan_word(scan, word);
	if (!aj_scan_blanks(scan))
		return aj_scan_expected(scan, "a blank", time_hint);
	return parse_local(scan, true, &schedule->local);
}

/* after STEP */
static bool
parse_after(AjScan *scan, AjSchedule *schedule)
{
	schedule->kind = AJ_SCHEDULE_AFTER;
	if (!parse_step(scan, &schedule->step))
		return false;
	if (*scan->at == '\0')
		return true;
	return aj_scan_expected(
		scan, "the end of the text",
		"Only \"every\" has an origin; \"after\" counts from the end of the last run.");
}

/* at DATE TIME */
static bool
parse_at(AjScan *scan, AjSchedule *schedule)
{
	schedule->kind = AJ_SCHEDULE_AT;
	return parse_local(scan, false, &schedule->local);
}

/* The rule for a word such as "daily". */
static const WordRule *
find_at_word(const char *word)
{
	for (int i = 0; i < lengthof(at_words); i++)
	{
		if (strcmp(word, at_words[i].word) == 0)
			return &at_words[i];
	}
	return NULL;
}

/* Read a word such as "@daily", behind which the text must end. */
static bool
parse_at_word(AjScan *scan, AjSchedule *schedule)
{
	static const char *const hint =
		"The words are @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually and @start.";
	const char *start = scan->at;
	char shown[AJ_SCAN_WORD];
	char word[AJ_SCAN_WORD];
	const WordRule *rule;
	AjScan cron = *scan;

	aj_scan_character(scan, '@');
	aj_scan_word(scan, word);
	rule = aj_scan_blanks(scan) ? find_at_word(word) : NULL;
	if (rule == NULL)
		return aj_scan_fail(scan, start, hint, "unknown word \"%s\"",
							aj_scan_shown(start, shown, sizeof(shown)));
	if (*scan->at != '\0')
		return aj_scan_expected(scan, "the end of the text", hint);
	schedule->kind = AJ_SCHEDULE_START;
	if (rule->cron == NULL)
		return true;
	schedule->kind = AJ_SCHEDULE_CRON;
	cron.text = cron.at = rule->cron;
	return aj_cron_parse(&cron, &schedule->cron);
}

/* Read a schedule that begins with a letter. */
static bool
parse_form(AjScan *scan, AjSchedule *schedule)
{
	AjScan start = *scan;
	char word[AJ_SCAN_WORD];

	aj_scan_word(scan, word);
	for (int i = 0; i < lengthof(forms); i++)
	{
		if (strcmp(word, forms[i].word) != 0)
			continue;
		if (!aj_scan_blanks(scan))
			return aj_scan_expected(scan, "a blank", form_hint);
		return forms[i].parse(scan, schedule);
	}
	return aj_scan_expected(&start, "a schedule", form_hint);
}

/* Is this "15 minutes", where "every" was forgotten? */
static bool
lacks_every(const AjScan *scan)
{
	AjScan ahead = *scan;
	char word[AJ_SCAN_WORD];

	aj_scan_number(&ahead);
	aj_scan_blanks(&ahead);
	aj_scan_word(&ahead, word);
	return find_unit(word) != NULL;
}

/*
 * aj_schedule_parse
 *		Read a schedule.
 *
 * Returns false if the text is refused, with the column of the offending
 * character, the reason and perhaps a hint in *error; *schedule is undefined
 * then.  Allocates nothing and raises no error.
 */
bool
aj_schedule_parse(const char *text, AjSchedule *schedule,
				  AjScheduleError *error)
{
	AjScan scan = {text, text, error};

	memset(schedule, 0, sizeof(*schedule));
	if (!aj_scan_is_plain(&scan))
		return aj_scan_fail(&scan, scan.at, form_hint,
							"the character is not plain ASCII");
	scan.at = text;
	aj_scan_blanks(&scan);
	if (*scan.at == '\0')
		return aj_scan_fail(&scan, text, form_hint, "the schedule is empty");
	if (*scan.at == '@')
		return parse_at_word(&scan, schedule);
	if (aj_scan_letters(&scan))
		return parse_form(&scan, schedule);
	if (lacks_every(&scan))
		return aj_scan_fail(
			&scan, scan.at,
			"Write \"every\" before it, or \"after\" to count from the end of the last run.",
			"a length of time alone is not a schedule");
	schedule->kind = AJ_SCHEDULE_CRON;
	return aj_cron_parse(&scan, &schedule->cron);
}
