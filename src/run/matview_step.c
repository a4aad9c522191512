/*-------------------------------------------------------------------------
 *
 * matview_step.c
 *	  Step {"kind": "refresh_matview", "view": NAME | "views": [NAME, ...]}:
 *	  refresh materialized views.
 *
 * A view that others of the step read comes before them.  CONCURRENTLY is
 * used where the server allows it: a populated view with a unique index on
 * plain columns and without a condition; where it doesn't, a NOTICE says why,
 * since a plain refresh keeps readers out while it runs.
 *
 * No state, no locks of its own.  Runs as the current user, who must own the
 * views.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/run/matview_step.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "base/errors.h"
#include "base/spi.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "run/step.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/varlena.h"

static const char *const keys[] = {"kind", "view", "views", NULL};

static Oid
find_view(const char *name)
{
	Oid view;

	view =
		RangeVarGetRelid(makeRangeVarFromNameList(aj_qualified_name_list(name)),
						 NoLock, true);
	if (view == InvalidOid)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("materialized view \"%s\" does not exist",
						aj_clip(name)),
				 errhint("Create it first, and name it with its schema.")));
	if (get_rel_relkind(view) != RELKIND_MATVIEW)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a materialized view", aj_clip(name))));
	return view;
}

/* The views that a step names, in the order in which it names them. */
static Datum *
views_of(const Jsonb *step, int *n)
{
	Jsonb *list = aj_json_field(step, "views");
	char *single = aj_json_text_field(step, "view");
	Datum *views;

	if ((list == NULL) == (single == NULL) ||
		(list != NULL &&
		 (!aj_json_is_array(list) || aj_json_length(list) == 0)))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(
				 "a step of kind \"refresh_matview\" needs either \"view\" or a list of \"views\""),
			 errhint(
				 "Write {\"kind\": \"refresh_matview\", \"view\": \"schema.name\"}.")));
	*n = single != NULL ? 1 : aj_json_length(list);
	views = palloc(sizeof(Datum) * (Size) *n);
	for (int i = 0; i < *n; i++)
		views[i] = ObjectIdGetDatum(find_view(
			single != NULL ? single
						   : aj_json_as_text(aj_json_element(list, i))));
	return views;
}

static void
check(const Jsonb *step)
{
	int n;

	(void) views_of(step, &n);
}

/* One view, in the order in which they are to be refreshed. */
typedef struct View
{
	char *name; /* qualified and quoted */
	bool populated;
	bool has_key;
	bool is_mine;
	char *owner;
} View;

/*
 * Who reads whom stands in pg_depend; a view comes as many places later as
 * the longest chain of views of the step below it.
 */
static View *
views_in_order(const Jsonb *step, int *n)
{
	MemoryContext context = CurrentMemoryContext;
	Datum *oids = views_of(step, n);
	ArrayType *array =
		construct_array(oids, *n, OIDOID, sizeof(Oid), true, TYPALIGN_INT);
	AjSpi spi;
	View *views;

	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	*n = (int) aj_spi_run(
		"WITH RECURSIVE reads AS (SELECT w.ev_class AS reader,"
		" d.refobjid AS view FROM pg_rewrite w"
		" JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass"
		" AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass"
		" AND d.refobjid <> w.ev_class"
		" GROUP BY 1, 2),"
		" depth AS (SELECT v AS view, v AS seen, 0 AS depth"
		" FROM unnest($1::oid[]) v"
		" UNION SELECT d.view, r.view,"
		" d.depth + (r.view = ANY ($1))::int"
		" FROM depth d JOIN reads r ON r.reader = d.seen"
		" WHERE d.depth < 100)"
		" SELECT format('%I.%I', n.nspname, c.relname),"
		" c.relispopulated,"
		" EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid"
		" AND i.indisunique AND i.indisvalid AND i.indimmediate"
		" AND i.indpred IS NULL AND i.indexprs IS NULL),"
		" pg_has_role(current_user, c.relowner, 'USAGE'),"
		" pg_get_userbyid(c.relowner)::text"
		" FROM (SELECT view, max(depth) AS depth FROM depth"
		" GROUP BY view) d JOIN pg_class c ON c.oid = d.view"
		" JOIN pg_namespace n ON n.oid = c.relnamespace"
		" ORDER BY d.depth, array_position($1, c.oid)",
		AJ_ARGS(aj_arg(OIDARRAYOID, PointerGetDatum(array), false)));
	views = MemoryContextAlloc(context, sizeof(View) * (Size) Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		views[i].name = aj_spi_text((uint64) i, 1, context);
		views[i].populated = aj_spi_bool((uint64) i, 2);
		views[i].has_key = aj_spi_bool((uint64) i, 3);
		views[i].is_mine = aj_spi_bool((uint64) i, 4);
		views[i].owner = aj_spi_text((uint64) i, 5, context);
	}
	aj_spi_close(&spi);
	return views;
}

/* Why a view can't be refreshed concurrently, or NULL if it can. */
static const char *
obstacle(const View *view)
{
	if (!view->populated)
		return "it has never been filled";
	if (!view->has_key)
		return "it has no unique index on plain columns without a condition";
	return NULL;
}

static void
plan(const Jsonb *step, const AjStepHost *host)
{
	int n;
	View *views = views_in_order(step, &n);

	for (int i = 0; i < n; i++)
	{
		const char *why_not = obstacle(&views[i]);

		ereport(NOTICE,
				(errmsg("materialized view %s would be refreshed%s",
						views[i].name, why_not == NULL ? " concurrently" : ""),
				 why_not == NULL
					 ? 0
					 : errdetail("Not concurrently, because %s.", why_not)));
	}
}

static void
refresh_view(const View *view)
{
	AjSpi spi;
	const char *why_not = obstacle(view);

	CHECK_FOR_INTERRUPTS();
	if (!view->is_mine)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("materialized view %s belongs to role \"%s\"",
						view->name, view->owner),
				 errhint("Let a job of that role refresh it.")));
	if (why_not != NULL)
		ereport(
			NOTICE,
			(errmsg(
				"materialized view %s is not refreshed concurrently, so readers wait: %s",
				view->name, why_not)));
	aj_spi_open(&spi, AJ_RIGHTS_CALLER);
	(void) aj_spi_run_once(psprintf("REFRESH MATERIALIZED VIEW %s%s",
									why_not == NULL ? "CONCURRENTLY " : "",
									view->name),
						   AJ_NO_ARGS);
	aj_spi_close(&spi);
}

static void
run(const Jsonb *step, AjStepHost *host, AjJson *result)
{
	int n;
	int concurrent = 0;
	View *views = views_in_order(step, &n);

	for (int i = 0; i < n; i++)
	{
		refresh_view(&views[i]);
		concurrent += obstacle(&views[i]) == NULL;
	}
	aj_json_add_int(result, "views", n);
	aj_json_add_int(result, "concurrently", concurrent);
}

const AjStepKind aj_step_matview = {
	.name = "refresh_matview",
	.keys = keys,
	.check = check,
	.plan = plan,
	.run = run,
};
