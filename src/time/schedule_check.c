/*-------------------------------------------------------------------------
 *
 * schedule_check.c
 *	  Schedules and time zones as the user wrote them, or an error.
 *
 * The only part of the schedule language that raises errors.  Text of the
 * user's is shown clipped; the place in it with a caret where that fits.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/time/schedule_check.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/errors.h"
#include "lib/stringinfo.h"

#include "time/schedule.h"

/* Longest text shown with a caret below, in bytes. */
#define SHOWN_LINE 72

/* Can a caret be put below the right character of the text? */
static bool
fits_on_line(const char *text)
{
	const char *at = text;

	while (*at >= ' ' && *at < 0x7f)
		at++;
	return *at == '\0' && at - text <= SHOWN_LINE;
}

/* Where and why, and the place in the text if it is short and plain. */
static char *
make_detail(const char *text, const AjScheduleError *error)
{
	StringInfoData detail;

	initStringInfo(&detail);
	appendStringInfo(&detail, "column %d: %s", error->column, error->reason);
	if (fits_on_line(text))
		appendStringInfo(&detail, "\n%s\n%*s", text, error->column, "^");
	return detail.data;
}

/*
 * aj_schedule_check
 *		Read a schedule, or raise an error that shows where and why not.
 */
void
aj_schedule_check(const char *text, AjSchedule *schedule)
{
	AjScheduleError error = {0};

	if (aj_schedule_parse(text, schedule, &error))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid schedule \"%s\"", aj_clip(text)),
			 errdetail_internal("%s", make_detail(text, &error)),
			 error.hint[0] != '\0' ? errhint("%s", error.hint) : 0));
}

/*
 * Is this the name of a zone that has a number in it?  Any other name with a
 * number would be read as a POSIX rule, in which UTC+2 lies west of Greenwich
 * and XYZ5 is a zone as well.
 */
static bool
is_numbered_zone(const char *name)
{
	static const char *const zones[] = {"EST5EDT", "CST6CDT", "MST7MDT",
										"PST8PDT", "GMT0",	  "GMT+0",
										"GMT-0"};
	static const char *const prefix = "Etc/GMT";
	const char *offset = name + strlen(prefix);
	int hours;

	for (int i = 0; i < lengthof(zones); i++)
	{
		if (pg_strcasecmp(name, zones[i]) == 0)
			return true;
	}
	if (pg_strncasecmp(name, prefix, strlen(prefix)) != 0)
		return false;
	if (strcmp(offset, "0") == 0)
		return true;
	hours = (offset[0] == '+' || offset[0] == '-') ? atoi(offset + 1) : -1;
	return hours >= 0 && hours <= (offset[0] == '+' ? 12 : 14) &&
		strcmp(offset + 1, psprintf("%d", hours)) == 0;
}

static bool
has_digit(const char *name)
{
	return strpbrk(name, "0123456789") != NULL;
}

/*
 * aj_zone_lookup
 *		The time zone of a name, which must be one of pg_timezone_names.
 *
 * The server keeps zones for the life of the process.  Raises an error if
 * there is no such zone, or if its clock counts leap seconds.
 */
pg_tz *
aj_zone_lookup(const char *name)
{
	pg_tz *zone = NULL;

	if (name == NULL)
		name = "";
	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone must not be empty"),
				 errhint("The names are in the view pg_timezone_names.")));
	if (strlen(name) <= TZ_STRLEN_MAX &&
		(!has_digit(name) || is_numbered_zone(name)))
		zone = pg_tzset(name);
	if (zone == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" is not known", aj_clip(name)),
				 errhint("The names are in the view pg_timezone_names.")));
	if (!pg_tz_acceptable(zone))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" counts leap seconds", aj_clip(name)),
				 errhint("Use the zone of the same name without \"right/\".")));
	return zone;
}
