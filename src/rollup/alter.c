/*-------------------------------------------------------------------------
 *
 * alter.c
 *	  Begins to give a rollup another query.
 *
 * The rollup stays as it is and goes on being refreshed and read.  Beside it
 * a second one is made, its successor, with the new query and a table of its
 * own, that is filled by its own job, the newest buckets first.  When it is
 * computed up to where the old one is, it takes its place (succeed.c).  Until
 * then it is a rollup like others, with a live view that is right at once.
 *
 * What was computed from rows that are gone since, below the frozen line, is
 * copied: columns that mean the same keep their values, new ones are NULL.
 *
 * No state.  Locks are those of making a rollup.  Runs with the rights of the
 * owner of the rollup's table.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/alter.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/spi.h"
#include "catalog/succession.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "rollup/alter.h"
#include "utils/lsyscache.h"

#define SUCCESSOR_SUFFIX "_next"

/* A name for the successor, that leaves room for that of its live view. */
static char *
successor_name(const AjRollup *rollup)
{
	int most = NAMEDATALEN - (int) sizeof(SUCCESSOR_SUFFIX AJ_LIVE_SUFFIX);
	int length = pg_mbcliplen(rollup->name, (int) strlen(rollup->name), most);

	return psprintf("%.*s" SUCCESSOR_SUFFIX, length, rollup->name);
}

/* Below the frozen line, rows can be kept only under the keys they have. */
static void
check_frozen(const AjRollup *rollup, const List *differences)
{
	if (rollup->frozen_before == AJ_NO_TIME ||
		(!aj_differs_in(differences, "bucket", NULL) &&
		 !aj_differs_in(differences, "key", NULL)))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("bucket and keys of rollup \"%s\" can't be altered",
				rollup->name),
		 errdetail("The raw rows before %s were retired, and what was computed "
				   "from them is kept by these keys.",
				   timestamptz_to_str(rollup->frozen_before)),
		 errhint(
			 "Make another rollup with aggjobs_create_rollup() for the time from then on.")));
}

/*
 * aj_alter_plan
 *		The differences (AjDifference) between a rollup and a new definition
 *		of it, once it is sure that it may be altered so.
 *
 * Errors: those of aj_alter_check(); 55000 if rows are frozen by other keys.
 */
List *
aj_alter_plan(AjRollup *rollup, AjDefinition *definition)
{
	AjVersion before;
	AjVersion after;
	List *differences;

	aj_alter_check(rollup, definition);
	before = aj_version_of(rollup);
	after = aj_version_defined(definition);
	differences = aj_differences(&before, &after);
	check_frozen(rollup, differences);
	return differences;
}

/* The columns of both tables that mean the same. */
static char *
same_columns(const AjDefinition *definition, const List *differences)
{
	StringInfoData columns;

	initStringInfo(&columns);
	for (int i = 0; i < definition->ncolumns; i++)
	{
		const char *name = definition->columns[i].name;

		if (aj_column_is_same(differences, name))
			appendStringInfo(&columns, "%s%s", columns.len > 0 ? ", " : "",
							 quote_identifier(name));
	}
	return columns.data;
}

static void
copy_frozen(const AjRollup *rollup, const AjRollup *successor,
			const AjDefinition *definition, const List *differences)
{
	char *columns;

	if (rollup->frozen_before == AJ_NO_TIME)
		return;
	columns = same_columns(definition, differences);
	aj_caller_command(
		psprintf("INSERT INTO %s (%s) SELECT %s FROM %s t WHERE t.%s < %s",
				 successor->target_name, columns, columns, rollup->target_name,
				 quote_identifier(rollup->bucket_column),
				 aj_axis_literal(rollup->bucket_type, rollup->bucket.epoch,
								 rollup->frozen_before)));
	aj_rollup_set_frozen(successor, rollup->frozen_before);
}

/* Indexes of the old table on columns that are still there. */
static const char *const indexes_sql =
	"SELECT format('CREATE %sINDEX ON %s ', CASE WHEN i.indisunique"
	" THEN 'UNIQUE ' END, $2::text)"
	" || substr(pg_get_indexdef(i.indexrelid),"
	" strpos(pg_get_indexdef(i.indexrelid), ' USING ') + 1)"
	" FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
	" JOIN pg_am m ON m.oid = c.relam"
	" WHERE i.indrelid = $1 AND m.amname <> 'aggjobs'"
	" AND NOT EXISTS (SELECT FROM pg_constraint k"
	" WHERE k.conindid = i.indexrelid)"
	" AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_attribute a"
	" ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
	" WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid"
	" AND d.refobjid = $1 AND NOT EXISTS (SELECT FROM pg_attribute b"
	" WHERE b.attrelid = $3 AND b.attname = a.attname"
	" AND b.atttypid = a.atttypid)) ORDER BY c.relname";

static void
copy_indexes(const AjRollup *rollup, const AjRollup *successor)
{
	ListCell *cell;

	foreach (cell,
			 aj_caller_texts(indexes_sql,
							 AJ_ARGS(aj_arg_oid(rollup->target),
									 aj_arg_text(successor->target_name),
									 aj_arg_oid(successor->target))))
		aj_caller_command(lfirst(cell));
}

/*
 * aj_alter_begin
 *		Make the successor of a rollup, for a definition that aj_alter_plan()
 *		has let pass.  It is empty but for what is frozen.
 *
 * Errors: those of aj_rollup_create().
 */
AjRollup *
aj_alter_begin(AjRollup *rollup, AjDefinition *definition,
			   const List *differences)
{
	char *schema = get_namespace_name(get_rel_namespace(rollup->target));
	AjRollup *successor;

	definition->replaces = rollup->name;
	successor = aj_rollup_create(successor_name(rollup), schema, definition);
	copy_indexes(rollup, successor);
	copy_frozen(rollup, successor, definition, differences);
	return successor;
}
