/*-------------------------------------------------------------------------
 *
 * alter_check.c
 *	  May a rollup be altered as asked, with all that hangs on it?
 *
 * An altered rollup gets a new table.  What of the old one can be carried over
 * is (succeed.c); what can't is found here, before any work is done, and the
 * user is told what to do about it.
 *
 * The live view stays the same view as long as its columns stay where they
 * are and new ones follow them, which is the server's own rule.  Else it is
 * made anew, and with it the live views of rollups that read it, and nothing
 * else may depend on these.
 *
 * No state, no locks; reads catalogs with the rights of the current user.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/alter_check.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/table.h"
#include "base/spi.h"
#include "miscadmin.h"
#include "rollup/alter.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* The columns of a view, a copy. */
TupleDesc
aj_alter_columns(Oid view)
{
	Relation rel = table_open(view, AccessShareLock);
	TupleDesc columns = CreateTupleDescCopy(RelationGetDescr(rel));

	table_close(rel, AccessShareLock);
	return columns;
}

static TupleDesc
columns_defined(const AjDefinition *definition)
{
	TupleDesc columns = CreateTemplateTupleDesc(definition->ncolumns);

	for (int i = 0; i < definition->ncolumns; i++)
	{
		const AjColumn *column = &definition->columns[i];

		TupleDescInitEntry(columns, (AttrNumber) (i + 1), column->name,
						   column->type, column->typmod, 0);
		TupleDescInitEntryCollation(columns, (AttrNumber) (i + 1),
									column->collation);
	}
	return columns;
}

/*
 * aj_alter_in_place
 *		Can a view have new columns without being made anew?
 */
bool
aj_alter_in_place(TupleDesc old, TupleDesc new)
{
	if (old->natts > new->natts)
		return false;
	for (int i = 0; i < old->natts; i++)
	{
		Form_pg_attribute a = TupleDescAttr(old, i);
		Form_pg_attribute b = TupleDescAttr(new, i);

		if (strcmp(NameStr(a->attname), NameStr(b->attname)) != 0 ||
			a->atttypid != b->atttypid || a->atttypmod != b->atttypmod ||
			a->attcollation != b->attcollation)
			return false;
	}
	return true;
}

static List *
add_views_above(List *views, const AjRollup *rollup)
{
	int n;
	AjRollup **parents = aj_rollup_parents(rollup->name, &n);

	check_stack_depth();
	views = lappend_oid(views, rollup->live);
	for (int i = 0; i < n; i++)
		views = add_views_above(views, parents[i]);
	return views;
}

/*
 * aj_alter_views
 *		The live view of a rollup and those of all rollups above it, each
 *		before those that read it.
 */
List *
aj_alter_views(const AjRollup *rollup)
{
	return add_views_above(NIL, rollup);
}

static AjArg
oids_arg(const List *oids)
{
	Datum *elements = palloc(sizeof(Datum) * (Size) list_length(oids));
	int n = 0;
	ListCell *cell;

	foreach (cell, oids)
		elements[n++] = ObjectIdGetDatum(lfirst_oid(cell));
	return aj_arg(OIDARRAYOID,
				  PointerGetDatum(construct_array(
					  elements, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT)),
				  false);
}

/*
 * Other objects that depend on relations $1, but for the views $2 and what is
 * of the relations themselves.
 */
static const char *const dependents_sql =
	"SELECT string_agg(DISTINCT CASE WHEN w.oid IS NULL"
	" THEN pg_describe_object(d.classid, d.objid, d.objsubid)"
	" ELSE pg_describe_object('pg_class'::regclass, w.ev_class, 0) END, ', ')"
	" FROM pg_depend d LEFT JOIN pg_rewrite w"
	" ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid"
	" WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ($1)"
	" AND d.deptype = 'n'"
	" AND (w.oid IS NULL OR w.ev_class <> ALL ($2))"
	" AND NOT EXISTS (SELECT FROM pg_trigger g"
	" WHERE d.classid = 'pg_trigger'::regclass AND g.oid = d.objid"
	" AND g.tgrelid = d.refobjid)"
	" AND NOT EXISTS (SELECT FROM pg_constraint k"
	" WHERE d.classid = 'pg_constraint'::regclass AND k.oid = d.objid"
	" AND k.conrelid = d.refobjid)";

static char *
others_on(const List *relations, const List *views)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	char *others;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_run(dependents_sql,
					  AJ_ARGS(oids_arg(relations), oids_arg(views)));
	others = aj_spi_text(0, 1, context);
	aj_spi_close(&spi);
	return others;
}

static void
check_table_is_free(const AjRollup *rollup)
{
	char *others =
		others_on(list_make1_oid(rollup->target), list_make1_oid(rollup->live));

	if (others != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg(
				 "rollup \"%s\" can't be altered: its table gets replaced, and other objects depend on it",
				 rollup->name),
			 errdetail("These depend on table %s: %s.", rollup->target_name,
					   others),
			 errhint("Let them read %s, or drop them.", rollup->live_name)));
}

static void
check_views_are_free(const AjRollup *rollup)
{
	List *views = aj_alter_views(rollup);
	char *others = others_on(views, views);

	if (others != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg(
				 "rollup \"%s\" can't be altered: its live view gets replaced, and other objects depend on it",
				 rollup->name),
			 errdetail("These depend on view %s: %s.", rollup->live_name,
					   others),
			 errhint(
				 "Keep its columns as they are and add new ones after them, or drop those objects.")));
}

/* A column of live view $1 that a view among $2 reads, and that view. */
static const char *const columns_read_sql =
	"SELECT DISTINCT a.attname::text, w.ev_class::regclass::text"
	" FROM pg_depend d JOIN pg_rewrite w"
	" ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid"
	" JOIN pg_attribute a ON a.attrelid = d.refobjid"
	" AND a.attnum = d.refobjsubid"
	" WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = $1"
	" AND w.ev_class = ANY ($2) AND w.ev_class <> $1 ORDER BY 1, 2";

static const AjColumn *
find_column(const AjDefinition *definition, const char *name)
{
	for (int i = 0; i < definition->ncolumns; i++)
		if (strcmp(definition->columns[i].name, name) == 0)
			return &definition->columns[i];
	return NULL;
}

static bool
has_same_column(const AjRollup *rollup, const AjDefinition *definition,
				const char *name)
{
	const AjColumn *new = find_column(definition, name);

	return new != NULL &&new->type ==
		get_atttype(rollup->live, get_attnum(rollup->live, name));
}

/* Rollups above must be able to read what they read. */
static void
check_rollups_above(const AjRollup *rollup, const AjDefinition *definition)
{
	MemoryContext context = CurrentMemoryContext;
	uint64 n;
	AjSpi spi;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	n = aj_spi_run(columns_read_sql,
				   AJ_ARGS(aj_arg_oid(rollup->live),
						   oids_arg(aj_alter_views(rollup))));
	for (uint64 i = 0; i < n; i++)
	{
		char *column = aj_spi_text(i, 1, context);

		if (has_same_column(rollup, definition, column))
			continue;
		ereport(
			ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg(
				 "rollup \"%s\" can't be altered: column \"%s\" is read by view %s",
				 rollup->name, column, aj_spi_text(i, 2, context)),
			 errhint(
				 "Keep the column with its type, or alter or drop the rollup of that view first.")));
	}
	aj_spi_close(&spi);
}

/* What a table has that its successor would not get. */
static const char *const lost_sql =
	"SELECT string_agg(l.what, ', ' ORDER BY l.what) FROM ("
	"SELECT format('trigger %I', g.tgname) AS what FROM pg_trigger g"
	" WHERE g.tgrelid = $1 AND NOT g.tgisinternal"
	" AND g.tgname NOT IN ('aggjobs_capture_update', 'aggjobs_capture_delete')"
	" UNION ALL SELECT format('policy %I', p.polname) FROM pg_policy p"
	" WHERE p.polrelid = $1"
	" UNION ALL SELECT format('rule %I', w.rulename) FROM pg_rewrite w"
	" WHERE w.ev_class = $1"
	" UNION ALL SELECT format('constraint %I', c.conname) FROM pg_constraint c"
	" WHERE c.conrelid = $1 AND c.contype IN ('c', 'f', 'x', 'p')"
	" UNION ALL SELECT format('its place in publication %I', p.pubname)"
	" FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid"
	" WHERE r.prrelid = $1"
	" UNION ALL SELECT format('statistics %I', s.stxname)"
	" FROM pg_statistic_ext s WHERE s.stxrelid = $1"
	" UNION ALL SELECT format('inheritance with %s', h.inhrelid::regclass)"
	" FROM pg_inherits h WHERE $1 IN (h.inhparent, h.inhrelid)) l";

static void
check_nothing_is_lost(const AjRollup *rollup)
{
	MemoryContext context = CurrentMemoryContext;
	AjSpi spi;
	char *lost;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_run(lost_sql, AJ_ARGS(aj_arg_oid(rollup->target)));
	lost = aj_spi_text(0, 1, context);
	aj_spi_close(&spi);
	if (lost != NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg(
				 "rollup \"%s\" can't be altered: its table gets replaced, and has what the new one would not have",
				 rollup->name),
			 errdetail("Table %s has: %s.", rollup->target_name, lost),
			 errhint(
				 "Drop these, and make them again when the rollup has been altered.")));
}

static void
check_source(const AjRollup *rollup, const AjDefinition *definition)
{
	if (rollup->source != definition->source)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("rollup \"%s\" is computed from %s, not from %s",
					rollup->name, rollup->source_name,
					get_rel_name(definition->source)),
			 errhint(
				 "Make another rollup with aggjobs_create_rollup() and drop this one.")));
}

/*
 * aj_alter_check
 *		Error if a rollup can't get this definition: 0A000 if it reads another
 *		table or is the extension's own, 2BP01 if something depends on what is
 *		replaced, 55000 if its table has what can't be carried over.
 */
void
aj_alter_check(const AjRollup *rollup, const AjDefinition *definition)
{
	if (rollup->builtin)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg(
				 "rollup \"%s\" belongs to the extension and can't be altered",
				 rollup->name),
			 errhint(
				 "Make one of your own with aggjobs_create_rollup() over %s.",
				 rollup->source_name)));
	if (rollup->replaces != NULL &&
		aj_rollup_find(rollup->replaces, true) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rollup \"%s\" is to take the place of \"%s\"",
						rollup->name, rollup->replaces),
				 errhint("Alter that one.")));
	check_source(rollup, definition);
	check_table_is_free(rollup);
	check_nothing_is_lost(rollup);
	check_rollups_above(rollup, definition);
	if (!aj_alter_in_place(aj_alter_columns(rollup->live),
						   columns_defined(definition)))
		check_views_are_free(rollup);
}
