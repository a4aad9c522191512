/*-------------------------------------------------------------------------
 *
 * refuse.c
 *	  Why a query can't be kept as a rollup: all reasons in one table.
 *
 * Each has a message, which may name the offending thing, why it is so, the
 * nearest form that is accepted, and its SQLSTATE.  The place in the query is
 * told with it: where nothing smaller can be pointed at, its beginning.
 *
 * State: the text that is being looked at, for the position.  No locks.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/refuse.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/errors.h"
#include "mb/pg_wchar.h"
#include "rollup/refuse.h"

typedef struct Reason
{
	const char *message; /* %s: what was found */
	const char *why;
	const char *hint;
	int sqlstate; /* 0: 0A000, feature_not_supported */
} Reason;

static const Reason reasons[] = {
	[AJ_REFUSE_NOT_ONE_QUERY] =
		{
			"a rollup is defined by exactly one query",
			"The text holds none, or more than one.",
			"Write one SELECT ... GROUP BY.",
			ERRCODE_SYNTAX_ERROR,
		},
	[AJ_REFUSE_NOT_SELECT] =
		{
			"a rollup is defined by a SELECT",
			"Nothing else can be computed again for a part of the time.",
			"Write SELECT date_trunc('hour', t, 'UTC') AS bucket, count(*) AS n FROM table GROUP BY 1.",
		},
	[AJ_REFUSE_WITH] =
		{
			"WITH is not allowed in the query of a rollup",
			"Rows of a common table expression have no time that could be followed.",
			"Write the table itself in FROM, or define a rollup for the inner query and another over it.",
		},
	[AJ_REFUSE_SET_OPERATION] =
		{
			"UNION, INTERSECT and EXCEPT are not allowed in the query of a rollup",
			"A rollup has one source.",
			"Define one rollup for each SELECT and combine their live views in a view.",
		},
	[AJ_REFUSE_VALUES] =
		{
			"VALUES can't be kept as a rollup",
			"There is no table whose changes could be followed.",
			"Write SELECT ... FROM table GROUP BY.",
		},
	[AJ_REFUSE_INTO] =
		{
			"INTO is not allowed in the query of a rollup",
			"The target table is made by aggjobs_create_rollup().",
			"Leave INTO out.",
		},
	[AJ_REFUSE_LOCKING] =
		{
			"FOR UPDATE and FOR SHARE are not allowed in the query of a rollup",
			"A refresh only reads the source.",
			"Leave the locking clause out.",
		},
	[AJ_REFUSE_ORDER_BY] =
		{
			"ORDER BY is not allowed in the query of a rollup",
			"A table has no order.",
			"Leave it out, and sort when you read the live view.",
		},
	[AJ_REFUSE_LIMIT] =
		{
			"LIMIT, OFFSET and FETCH are not allowed in the query of a rollup",
			"Which rows they leave out depends on all others.",
			"Leave them out, and limit when you read the live view.",
		},
	[AJ_REFUSE_DISTINCT] =
		{
			"SELECT DISTINCT is not allowed in the query of a rollup",
			"GROUP BY makes the rows distinct.",
			"Leave DISTINCT out.",
		},
	[AJ_REFUSE_WINDOW] =
		{
			"window functions are not allowed in the query of a rollup",
			"They look at other buckets, which may not be computed with this one.",
			"Apply them when you read the live view.",
		},
	[AJ_REFUSE_HAVING] =
		{
			"HAVING is not allowed in the query of a rollup",
			"Rollups over this one would miss the groups that it leaves out.",
			"Leave it out, and filter when you read the live view.",
		},
	[AJ_REFUSE_GROUPING_SETS] =
		{
			"GROUPING SETS, CUBE and ROLLUP are not allowed in the query of a rollup",
			"Rows of different groupings would share one key.",
			"Define one rollup for each grouping; the coarser ones can read the finest.",
		},
	[AJ_REFUSE_NO_GROUP_BY] =
		{
			"the query of a rollup needs GROUP BY",
			"A rollup has one row for each bucket and key.",
			"Group by a bucket, as in GROUP BY date_trunc('hour', t, 'UTC').",
		},
	[AJ_REFUSE_NO_FROM] =
		{
			"the query of a rollup needs FROM",
			"There is no table whose changes could be followed.",
			"Write FROM and the name of a table.",
		},
	[AJ_REFUSE_PARAMETER] =
		{
			"parameters are not allowed in the query of a rollup",
			"Nobody gives them a value when the rollup is refreshed.",
			"Write the value itself.",
		},
	[AJ_REFUSE_SUBQUERY] =
		{
			"subqueries are not allowed in the query of a rollup",
			"Changes of what they read can't be followed.",
			"Join the other table instead, or define a rollup for the inner query and another over it.",
		},
	[AJ_REFUSE_NOT_A_TABLE] =
		{
			"FROM may only name tables in the query of a rollup",
			"Rows of functions and of VALUES have no changes that could be followed.",
			"Store what they return in a table, and join it.",
		},
	[AJ_REFUSE_TABLESAMPLE] =
		{
			"TABLESAMPLE is not allowed in the query of a rollup",
			"Each refresh would see another sample.",
			"Leave it out, or filter by a hash of a column.",
		},
	[AJ_REFUSE_JOIN_ALIAS] =
		{
			"an alias over a join is not allowed in the query of a rollup",
			"It hides the name of the source.",
			"Give the tables aliases, and the join none.",
		},
	[AJ_REFUSE_CURRENT_TIME] =
		{
			"the current time, date or user is not allowed in the query of a rollup",
			"The result would change without a change of the rows.",
			"Compare with the present when you read the live view.",
		},
	[AJ_REFUSE_NO_BUCKET] =
		{
			"the query groups by no bucket of time",
			"A rollup is computed piece by piece of time.",
			"Group by date_trunc('hour', t, 'UTC'), date_bin('15 minutes', t, '2000-01-01 00:00:00+00') or aggjobs_bucket('1 month', t, 'Europe/Berlin').",
		},
	[AJ_REFUSE_TWO_BUCKETS] =
		{
			"the query groups by more than one bucket of time",
			"A rollup is computed by one of them.",
			"Keep the finer one; derive the other from it when you read the live view, or by a rollup over this one.",
		},
	[AJ_REFUSE_BUCKET_CAST] =
		{
			"a cast or AT TIME ZONE is no bucket of time that can be followed",
			"Its pieces of time can't be told from the expression.",
			"Write date_trunc('day', t, 'Europe/Berlin') with the column itself, or aggjobs_bucket('1 day', t, 'Europe/Berlin').",
		},
	[AJ_REFUSE_BUCKET_DATE] =
		{
			"date_trunc and date_bin take a date for a timestamp in the zone of the session",
			"The result would depend on who reads it.",
			"Write aggjobs_bucket('1 month', day) for a column of type date.",
		},
	[AJ_REFUSE_BUCKET_CONVERTED] =
		{
			"the bucket first converts its column from timestamp to timestamptz",
			"The result would depend on the time zone of the session.",
			"Leave the zone out, as in date_trunc('day', t), and give an origin without one.",
		},
	[AJ_REFUSE_BUCKET_EXPRESSION] =
		{
			"the time of a bucket must be a column of type timestamptz, timestamp, date or bigint",
			"Changes are captured by a column of the source.",
			"Add the expression to the table as a generated column, and use that.",
		},
	[AJ_REFUSE_BUCKET_NOT_CONSTANT] =
		{
			"the unit, width, zone and origin of a bucket must be constants, and not NULL",
			"All buckets of a rollup follow one rule.",
			"Write them as literals.",
		},
	[AJ_REFUSE_BUCKET_UNIT] =
		{
			"\"%s\" is no unit of date_trunc",
			"There are no buckets of such a length.",
			"Use hour, day, week, month or the like.",
			ERRCODE_INVALID_PARAMETER_VALUE,
		},
	[AJ_REFUSE_SET_RETURNING] =
		{
			"set-returning functions are not allowed in the query of a rollup",
			"Rows that they make have no time that could be followed.",
			"Store what they return in a table, and join it.",
		},
	[AJ_REFUSE_VOLATILE] =
		{
			"%s is volatile",
			"It may return something else each time, so that no stored result could equal the query.",
			"Use what is immutable only.",
		},
	[AJ_REFUSE_STABLE] =
		{
			"%s is not immutable",
			"Its result may depend on settings of the session, such as the time zone, or on other tables.",
			"Use an immutable form: name the zone, as in date_trunc('day', t, 'UTC') or t AT TIME ZONE 'UTC', and compare and subtract times of one type.",
		},
	[AJ_REFUSE_ORDER_DEPENDENT] =
		{
			"the result of %s depends on the order of the rows",
			"Computed again, it could come out in another order.",
			"Give the order, as in array_agg(x ORDER BY x).",
		},
	[AJ_REFUSE_SYSTEM_COLUMN] =
		{
			"system column \"%s\" is not allowed in the query of a rollup",
			"The server changes it without a change of the row.",
			"Use columns of the table's own.",
		},
	[AJ_REFUSE_HIDDEN_OPERATOR] =
		{
			"this uses operator %s, which is not the server's own, without naming it",
			"The query is turned back into text to be run, and would then mean the server's own operator.",
			"Write the comparison itself, as in x = y or CASE WHEN x = y THEN, or join with ON.",
		},
	[AJ_REFUSE_NOT_SELECTED] =
		{
			"each expression of GROUP BY must be in the select list",
			"Rows of the rollup could not be told apart without it.",
			"Add it to the select list.",
		},
	[AJ_REFUSE_UNNAMED] =
		{
			"each column of a rollup needs a name",
			"The target table has the names of the query.",
			"Write AS name after the expression.",
		},
	[AJ_REFUSE_DUPLICATE_NAME] =
		{
			"column \"%s\" is there more than once",
			"The target table has the names of the query.",
			"Write AS with another name.",
			ERRCODE_DUPLICATE_COLUMN,
		},
	[AJ_REFUSE_SYSTEM_NAME] =
		{
			"column name \"%s\" is taken by a system column",
			"The target table has the names of the query.",
			"Write AS with another name.",
		},
	[AJ_REFUSE_PSEUDO_TYPE] =
		{
			"column \"%s\" has no type that a table can store",
			"The target table has the types of the query.",
			"Cast it to a type, such as text or jsonb.",
		},
	[AJ_REFUSE_KEY_TYPE] =
		{
			"column \"%s\" can't be a key: its type has no order",
			"The target table is unique by bucket and keys.",
			"Cast it to a type with an order, such as text or jsonb.",
		},
	[AJ_REFUSE_TOO_MANY_KEYS] =
		{
			"a rollup can have no more than 31 keys beside its bucket",
			"The target table is unique by all of them.",
			"Put several into one, as an array or jsonb.",
			ERRCODE_TOO_MANY_COLUMNS,
		},
	[AJ_REFUSE_SAME_NAME] =
		{
			"two tables are called \"%s\" in the query",
			"A condition on the time of one of them could not be written.",
			"Give one of them an alias.",
			ERRCODE_DUPLICATE_ALIAS,
		},
	[AJ_REFUSE_SOURCE_TWICE] =
		{
			"table \"%s\" is in the query more than once",
			"A change of one row could change buckets of others.",
			"Write it once; define a rollup for the other part and join its table.",
		},
	[AJ_REFUSE_NULLABLE_SIDE] =
		{
			"table \"%s\" stands on the nullable side of an outer join",
			"Rows without a partner would have no time.",
			"Put it on the other side of the join.",
		},
	[AJ_REFUSE_TIME_NULLABLE] =
		{
			"column \"%s\" may be NULL",
			"Rows without a time are in no bucket.",
			"ALTER TABLE ... ALTER COLUMN ... SET NOT NULL, or use another column.",
			ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
		},
	[AJ_REFUSE_TIME_VIRTUAL] =
		{
			"column \"%s\" is generated when it is read",
			"Changes are captured by an index on the time column, which such a column can't have.",
			"Let it be STORED, or use the column that it is made from.",
		},
	[AJ_REFUSE_TEMPORARY] =
		{
			"\"%s\" is temporary",
			"Other sessions could not refresh the rollup.",
			"Use a permanent table.",
		},
	[AJ_REFUSE_SYSTEM_TABLE] =
		{
			"\"%s\" is a table of the server's own",
			"Its changes can't be captured.",
			"Copy what is needed into a table of yours.",
		},
	[AJ_REFUSE_LIVE_VIEW] =
		{
			"\"%s\" is the live view of a rollup",
			"A rollup over another names its table, and is then as exact.",
			"Write the name of the table, without _live.",
		},
	[AJ_REFUSE_BOOKKEEPING] =
		{
			"\"%s\" is a table in which pg_aggjobs keeps books",
			"Its changes can't be captured.",
			"Read the views in schema aggjobs, or copy what is needed.",
		},
	[AJ_REFUSE_NEEDS_LOOKBACK] =
		{
			"changes of \"%s\" can't be captured: it is no table",
			"Views, materialized views and foreign tables carry no index and no row trigger of ours.",
			"Give lookback => N, and the last N buckets are computed again each time; or name the tables behind it.",
		},
	[AJ_REFUSE_UNLOGGED] =
		{
			"\"%s\" is an unlogged table",
			"It is emptied by a crash, and nobody is told.",
			"ALTER TABLE ... SET LOGGED.",
		},
	[AJ_REFUSE_ONLY] =
		{
			"ONLY is not allowed in the query of a rollup",
			"Changes are captured for a table with all its partitions.",
			"Leave ONLY out, or name the partition as the source.",
		},
	[AJ_REFUSE_INHERITANCE] =
		{
			"\"%s\" inherits, or is inherited from",
			"Changes are captured for plain and partitioned tables.",
			"Use partitions, or give lookback => N, and the last N buckets are computed again each time.",
		},
	[AJ_REFUSE_FOREIGN_PARTITION] =
		{
			"changes of partition \"%s\" can't be captured: it is a foreign or unlogged table",
			"Rows that are written to it would go unnoticed.",
			"Detach it, or give lookback => N, and the last N buckets are computed again each time.",
		},
	[AJ_REFUSE_OVERLAPPING_SOURCE] =
		{
			"\"%s\" is a source of rollups already, and holds rows of this table",
			"The triggers of a partition are those of its parent, so both can't be sources.",
			"Use that table as the source, with a condition in WHERE if needed, or drop its rollups first.",
		},
	[AJ_REFUSE_ROW_SECURITY] =
		{
			"table \"%s\" hides rows from its owner",
			"A refresh would see only some of the rows.",
			"ALTER TABLE ... NO FORCE ROW LEVEL SECURITY.",
		},
	[AJ_REFUSE_NOT_OWNER] =
		{
			"must be owner of table %s to capture its changes",
			"Capture adds an index and two triggers to it.",
			"Ask its owner, or give lookback => N, and the last N buckets are computed again each time.",
			ERRCODE_INSUFFICIENT_PRIVILEGE,
		},
	[AJ_REFUSE_PARENT_TIME] =
		{
			"a rollup over another must be grouped by its bucket, \"%s\"",
			"Only the bucket tells which raw rows a row comes from.",
			"Use the bucket column as the time.",
		},
	[AJ_REFUSE_PARENT_BUCKET] =
		{
			"buckets can't be put together from those of rollup \"%s\"",
			"One of them would begin in the middle of a bucket below.",
			"Use a multiple of its width, in the same zone and from the same origin, or the raw table as the source.",
		},
	[AJ_REFUSE_NOT_DERIVABLE] =
		{
			"this can't be computed from column \"%s\" of the rollup below",
			"An average, a count of distinct values or a percentile of a longer time doesn't follow from those of its parts.",
			"Let the rollup below store what it takes: sum(x) and count(x) for an average, a sketch such as hll_add_agg() or tdigest() for the others.",
		},
	[AJ_REFUSE_AVERAGE_OF_SUMS] =
		{
			"an average over column \"%s\" of the rollup below is one of its groups, not of the raw rows",
			"Groups count the same, however many rows they have.",
			"Write sum(total) / nullif(sum(n), 0) over a stored sum and count.",
		},
};

static const char *query_text = NULL;

/* The text to which the locations of the following refusals belong. */
void
aj_refuse_in(const char *query)
{
	query_text = query;
}

/* The character, from 1, at the location of a parse node. */
int
aj_position_in_query(int location)
{
	location = Max(location, 0);
	/* Before 18 a statement begins with the white space before it. */
	location += (int) strspn(query_text + location, " \t\r\n\f\v");
	return pg_mbstrlen_with_len(query_text, location) + 1;
}

/*
 * aj_refuse
 *		Raise the error for a reason; "location" is that of a parse node, -1
 *		where there is none, and "what" what the message names, or NULL.
 *
 * Only between aj_refuse_in() and the end of that query's analysis.
 */
void
aj_refuse(AjReason reason, int location, const char *what)
{
	const Reason *r = &reasons[reason];

	ereport(ERROR,
			(errcode(r->sqlstate != 0 ? r->sqlstate
									  : ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg(r->message, what == NULL ? "" : aj_clip(what)),
			 errdetail("%s", r->why), errhint("%s", r->hint),
			 errposition(aj_position_in_query(location))));
}
