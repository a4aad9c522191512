/*-------------------------------------------------------------------------
 *
 * create.c
 *	  Makes and drops a rollup: target table, capture, live view, and its row.
 *
 * All is done with the rights of the current user, to whom the table and the
 * view then belong.
 *
 * No state.  Locks are those of the DDL; a drop first locks the rollup's row,
 * as refreshes do.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/create.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/spi.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "rollup/capture_install.h"
#include "rollup/define.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

#define MAX_NAME (NAMEDATALEN - 1 - (int) sizeof(AJ_LIVE_SUFFIX) + 1)

static void
check_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) > MAX_NAME ||
		strcmp(aj_clip(name), name) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_NAME),
			 errmsg("\"%s\" can't be the name of a rollup", aj_clip(name)),
			 errdetail(
				 "Its table has the same name, and its live view that and " AJ_LIVE_SUFFIX
				 "."),
			 errhint("Use 1 to %d bytes and no control characters.",
					 MAX_NAME)));
	if (strchr(name, '.') != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("\"%s\" can't be the name of a rollup", aj_clip(name)),
				 errhint("Give the schema apart: schema => '...'.")));
	if (aj_rollup_find(name, true) != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("rollup \"%s\" already exists", aj_clip(name)),
			 errhint(
				 "Give it another name, or drop that one with aggjobs_drop_rollup().")));
}

static void
check_free(const char *name, Oid schema)
{
	if (get_relname_relid(name, schema) != InvalidOid)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("relation \"%s\" already exists", name),
				 errhint(
					 "Drop it, or give the rollup another name or schema.")));
}

static Oid
schema_for(const char *schema)
{
	Oid namespace = schema != NULL
		? get_namespace_oid(schema, false)
		: RangeVarGetCreationNamespace(
			  makeRangeVar(NULL, pstrdup("rollup"), -1));

	if (isAnyTempNamespace(namespace))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("a rollup can't be in a temporary schema"),
				 errdetail("Other sessions could not refresh it."),
				 errhint("Give a schema: schema => '...'.")));
	return namespace;
}

/* The columns of the target's key: the bucket, then the keys in order. */
static char *
key_columns(const AjRollup *rollup)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoString(&text, quote_identifier(rollup->bucket_column));
	for (int i = 0; i < rollup->nkeys; i++)
		appendStringInfo(&text, ", %s", quote_identifier(rollup->keys[i]));
	return text.data;
}

static void
append_column(StringInfo sql, const AjColumn *column)
{
	appendStringInfo(sql, "%s %s", quote_identifier(column->name),
					 format_type_extended(column->type, column->typmod,
										  FORMAT_TYPE_TYPEMOD_GIVEN |
											  FORMAT_TYPE_FORCE_QUALIFY));
	if (OidIsValid(column->collation) &&
		column->collation != get_typcollation(column->type))
		appendStringInfo(sql, " COLLATE %s",
						 generate_collation_name(column->collation));
	if (column->role == AJ_COLUMN_BUCKET)
		appendStringInfoString(sql, " NOT NULL");
}

static void
create_table(AjRollup *rollup, const AjDefinition *definition, Oid namespace)
{
	char *key = psprintf("%s_key", rollup->name);
	AjSpi spi;
	StringInfoData sql;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (", rollup->target_name);
	for (int i = 0; i < definition->ncolumns; i++)
	{
		append_column(&sql, &definition->columns[i]);
		appendStringInfoString(&sql, ", ");
	}
	/* If the name is taken, the server finds another. */
	if (get_relname_relid(key, namespace) == InvalidOid)
		appendStringInfo(&sql, "CONSTRAINT %s ", quote_identifier(key));
	appendStringInfo(&sql, "UNIQUE NULLS NOT DISTINCT (%s))",
					 key_columns(rollup));
	(void) aj_spi_run_command(sql.data);
	aj_spi_close(&spi);
}

/* Names and kinds of the columns, as they are stored. */
static void
set_columns(AjRollup *rollup, const AjDefinition *definition)
{
	StringInfoData measures;

	initStringInfo(&measures);
	rollup->nkeys = 0;
	rollup->keys = palloc(sizeof(char *) * (Size) Max(definition->ncolumns, 1));
	for (int i = 0; i < definition->ncolumns; i++)
	{
		const AjColumn *column = &definition->columns[i];
		AjJson json;

		if (column->role == AJ_COLUMN_KEY)
			rollup->keys[rollup->nkeys++] = column->name;
		if (column->role != AJ_COLUMN_MEASURE)
			continue;
		aj_json_begin(&json);
		aj_json_add_text(&json, "name", column->name);
		aj_json_add_text(&json, "kind", column->kind);
		appendStringInfo(&measures, "%s%s", measures.len > 0 ? ", " : "",
						 aj_json_as_text(aj_json_end(&json)));
	}
	rollup->measures = aj_json_parse(psprintf("[%s]", measures.data));
}

/* What is stored of a definition, but for the tables. */
static void
describe(AjRollup *rollup, const AjDefinition *definition)
{
	const AjColumn *bucket = &definition->columns[definition->bucket_index];

	rollup->source = definition->source;
	rollup->source_rollup = definition->source_rollup == NULL
		? NULL
		: definition->source_rollup->name;
	rollup->time_column = definition->time_column;
	rollup->bucket_column = bucket->name;
	rollup->bucket_type = bucket->type;
	rollup->bucket = definition->bucket;
	rollup->query = pstrdup(definition->query);
	rollup->lookback = definition->lookback;
	rollup->replaces = definition->replaces;
	set_columns(rollup, definition);
}

/* Say on table and live view what they are. */
void
aj_rollup_comment(const AjRollup *rollup)
{
	aj_caller_command(psprintf("COMMENT ON TABLE %s IS %s", rollup->target_name,
							   quote_literal_cstr(
								   psprintf("filled by rollup %s; read %s",
											rollup->name, rollup->live_name))));
	aj_caller_command(psprintf(
		"COMMENT ON VIEW %s IS %s", rollup->live_name,
		quote_literal_cstr(psprintf(
			rollup->lookback > 0
				? "rollup %s, with what has not been computed yet"
				: "rollup %s, equal to its query on the raw rows in every snapshot",
			rollup->name))));
}

static void
tell_dimensions(const AjDefinition *definition)
{
	Oid source = definition->source;
	ListCell *cell;

	if (creating_extension || definition->lookback > 0)
		return;
	foreach (cell, definition->dimensions)
		ereport(
			NOTICE,
			(errmsg("changes of table \"%s\" are not followed",
					get_rel_name(lfirst_oid(cell))),
			 errhint(
				 "After a change that matters, call aggjobs_mark_changed(%s, from, to).",
				 quote_literal_cstr(quote_qualified_identifier(
					 get_namespace_name(get_rel_namespace(source)),
					 get_rel_name(source))))));
}

/*
 * aj_rollup_create
 *		Make a rollup: target table, capture of the source, live view.
 *		"schema" may be NULL for the one in which tables are made.
 *
 * Errors: 42602, 42710, 42P07 about the name; whatever the DDL raises.
 */
AjRollup *
aj_rollup_create(const char *name, const char *schema, AjDefinition *definition)
{
	AjRollup *rollup = palloc0(sizeof(AjRollup));
	Oid namespace = schema_for(schema);

	check_name(name);
	check_free(name, namespace);
	check_free(psprintf("%s" AJ_LIVE_SUFFIX, name), namespace);
	rollup->name = pstrdup(name);
	rollup->builtin = creating_extension;
	rollup->horizon = AJ_NO_TIME;
	rollup->frozen_before = AJ_NO_TIME;
	rollup->target_name =
		quote_qualified_identifier(get_namespace_name(namespace), name);
	describe(rollup, definition);
	create_table(rollup, definition, namespace);
	rollup->target = get_relname_relid(name, namespace);
	if (rollup->lookback == 0)
		aj_capture_install(rollup->source, rollup->time_column,
						   rollup->bucket.epoch, definition->read);
	aj_live_view_replace(rollup, definition);
	/* What is left of one of this name, whose table was dropped. */
	aj_rollup_delete(name);
	aj_rollup_insert(rollup);
	aj_capture_depend(rollup);
	aj_rollup_comment(rollup);
	tell_dimensions(definition);
	return rollup;
}

/* The owner of a relation; InvalidOid if it is gone. */
Oid
aj_owner_of(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Error 42501 unless the current user may act as the owner of a rollup. */
void
aj_rollup_check_owner(const AjRollup *rollup)
{
	Oid owner = aj_owner_of(rollup->target);

	if (owner != InvalidOid && !has_privs_of_role(GetUserId(), owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of rollup \"%s\"", rollup->name),
				 errhint("Ask role \"%s\", who owns its table.",
						 GetUserNameFromId(owner, false))));
}

static void
check_unread(const AjRollup *rollup)
{
	int n;
	AjRollup **parents = aj_rollup_parents(rollup->name, &n);

	if (n > 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("rollup \"%s\" can't be dropped: rollup \"%s\" reads it",
					rollup->name, parents[0]->name),
			 errhint("Drop that one first.")));
}

/*
 * aj_rollup_drop
 *		Drop a rollup with its live view, and its table unless that is to be
 *		kept, as a plain table.
 *
 * Its row is locked first, as by refreshes, and only then its tables.
 *
 * Errors: 42501; 2BP01 if another rollup, or something of the user's, depends
 * on it.
 */
void
aj_rollup_drop(AjRollup *rollup, bool keep_table)
{
	aj_rollup_check_owner(rollup);
	if (!aj_rollup_lock(rollup))
		return;
	check_unread(rollup);
	aj_caller_command(psprintf("DROP VIEW %s", rollup->live_name));
	if (!keep_table)
		aj_caller_command(psprintf("DROP TABLE %s", rollup->target_name));
	if (keep_table)
		aj_capture_independ(rollup);
	aj_rollup_delete(rollup->name);
	if (rollup->lookback == 0)
		aj_capture_remove(rollup->source);
}
