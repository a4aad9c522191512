/*-------------------------------------------------------------------------
 *
 * succeed.c
 *	  The successor of an altered rollup takes its place.
 *
 * All in one transaction, in which nothing is computed:
 *
 *	1. what the old table does not have yet is stale in the rollups above, or
 *	   everything is where the new query says something else;
 *	2. the capture of the old table is put on the new one, and the rollups
 *	   above read that;
 *	3. the live view gets the new query, under its name;
 *	4. the old table goes, and the new one gets its name and privileges.
 *
 * Live views know a rollup by its table.  So a snapshot from before sees the
 * new one as far as it was computed then, and the rest is read from raw rows.
 *
 * Locks: the rows of both rollups, which the caller has taken, those of the
 * rollups above, then ACCESS EXCLUSIVE on live views, from those above
 * downwards, and on the tables, in the order in which readers take theirs.
 * Runs with the rights of the owner of the old table.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/rollup/succeed.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/xact.h"
#include "base/limited.h"
#include "base/spi.h"
#include "catalog/change.h"
#include "catalog/job.h"
#include "catalog/source.h"
#include "catalog/succession.h"
#include "miscadmin.h"
#include "rollup/alter.h"
#include "rollup/capture_install.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/* How long readers may be kept waiting, in milliseconds. */
#define LOCK_LIMIT 1000

/* Run a statement as the owner of what it is about; an error undoes both. */
static void
run_as(Oid owner, const char *sql)
{
	Oid saved_user;
	int saved_context;

	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(owner, saved_context | SECURITY_LOCAL_USERID_CHANGE);
	aj_caller_command(sql);
	SetUserIdAndSecContext(saved_user, saved_context);
}

/* What a literal query returns for a relation and a name. */
static List *
texts_about(const char *sql, Oid relation, const char *name)
{
	return aj_caller_texts(sql,
						   AJ_ARGS(aj_arg_oid(relation), aj_arg_text(name)));
}

static void
run_all_as(Oid owner, const List *statements)
{
	ListCell *cell;

	foreach (cell, statements)
		run_as(owner, lfirst(cell));
}

/* Statements that give relation $2 the privileges, and more, of relation $1. */
static const char *const adorn_sql =
	"SELECT format('GRANT %s ON %s TO %s%s', a.privilege_type, $2::text,"
	" CASE a.grantee WHEN 0 THEN 'PUBLIC'"
	" ELSE quote_ident(pg_get_userbyid(a.grantee)) END,"
	" CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END)"
	" FROM pg_class c, aclexplode(c.relacl) a"
	" WHERE c.oid = $1 AND a.grantee <> c.relowner"
	" UNION ALL"
	" SELECT format('GRANT %s (%I) ON %s TO %s%s', a.privilege_type, t.attname,"
	" $2::text, CASE a.grantee WHEN 0 THEN 'PUBLIC'"
	" ELSE quote_ident(pg_get_userbyid(a.grantee)) END,"
	" CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END)"
	" FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid,"
	" aclexplode(t.attacl) a WHERE c.oid = $1 AND NOT t.attisdropped"
	" AND a.grantee <> c.relowner AND EXISTS (SELECT FROM pg_attribute n"
	" WHERE n.attrelid = $2::regclass AND n.attname = t.attname)"
	" UNION ALL"
	" SELECT format('ALTER %s %s SET (%s = %L)', CASE c.relkind WHEN 'v'"
	" THEN 'VIEW' ELSE 'TABLE' END, $2::text, split_part(o, '=', 1),"
	" substr(o, strpos(o, '=') + 1))"
	" FROM pg_class c, unnest(c.reloptions) o WHERE c.oid = $1"
	" UNION ALL"
	" SELECT format(s.text, $2::text, t.attname, s.value)"
	" FROM pg_attribute t CROSS JOIN LATERAL (VALUES"
	" ('COMMENT ON COLUMN %s.%I IS %L', col_description(t.attrelid, t.attnum)),"
	" ('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s',"
	" CASE WHEN t.attstattarget >= 0 THEN t.attstattarget::text END)"
	") s (text, value)"
	" WHERE t.attrelid = $1 AND t.attnum > 0 AND s.value IS NOT NULL"
	" AND NOT t.attisdropped AND EXISTS (SELECT FROM pg_attribute n"
	" WHERE n.attrelid = $2::regclass AND n.attname = t.attname)";

static const char *const view_text_sql =
	"SELECT rtrim(pg_get_viewdef($1::oid), ';') WHERE $2::text IS NULL";

static char *
view_text(Oid view)
{
	return linitial(texts_about(view_text_sql, view, NULL));
}

/* A name that nobody uses, in the schema of the relation that gets it. */
static char *
passing_name(Oid relation)
{
	return psprintf("aggjobs_replaced_%u", relation);
}

static char *
qualified(Oid relation, const char *name)
{
	return quote_qualified_identifier(
		get_namespace_name(get_rel_namespace(relation)), name);
}

static void
rename_as_owner(const char *kind, Oid relation, const char *to)
{
	run_as(aj_owner_of(relation),
		   psprintf("ALTER %s %s RENAME TO %s", kind,
					qualified(relation, get_rel_name(relation)),
					quote_identifier(to)));
}

/* What is locked before anything is done. */
typedef struct Held
{
	int nabove;
	AjRollup **above; /* against refreshes */
	List *views;	  /* each before those that read it */
	Oid table;
} Held;

static void
lock(void *arg)
{
	const Held *held = arg;

	for (int i = 0; i < held->nabove; i++)
		(void) aj_rollup_lock(held->above[i]);
	for (int i = list_length(held->views) - 1; i >= 0; i--)
		LockRelationOid(list_nth_oid(held->views, i), AccessExclusiveLock);
	LockRelationOid(held->table, AccessExclusiveLock);
}

/*
 * While we wait, readers wait for us: so it is not for long, and if that was
 * not long enough nothing is locked, and the result is false.
 */
static bool
lock_in_time(Held *held)
{
	const AjLimits limits = {.lock = LOCK_LIMIT};

	return aj_limited(&limits, lock, held) == AJ_LIMITED_DONE;
}

/* Does anything that the rollups above read say something else now? */
static bool
says_something_else(const AjRollup *old, const AjRollup *successor)
{
	AjVersion before = aj_version_of(old);
	AjVersion after = aj_version_of(successor);
	ListCell *cell;

	foreach (cell, aj_differences(&before, &after))
	{
		AjDifference *difference = lfirst(cell);

		if (strcmp(difference->part, "measure") != 0 ||
			strcmp(difference->change, "changed") == 0)
			return true;
	}
	return false;
}

static void
tell_ranges(AjRollup **above, int n, const AjRange *ranges, int nranges)
{
	for (int i = 0; i < n; i++)
		for (int k = 0; k < nranges && above[i]->horizon != AJ_NO_TIME; k++)
			aj_stale_add(above[i], aj_rollup_widen(above[i], ranges[k]));
}

/*
 * The new table may have what the old one never got, and then nothing in it
 * will tell the rollups above: where the old one is stale, and where the new
 * one is, which was computed from rows that the source's own table did not
 * have yet (keep_uncertain in refresh.c).
 */
static void
tell_above(const AjRollup *old, const AjRollup *successor, AjRollup **above,
		   int n)
{
	int ndirty;
	AjRange *dirty = aj_dirty_of(old, false, &ndirty);

	tell_ranges(above, n, dirty, ndirty);
	dirty = aj_dirty_of(successor, false, &ndirty);
	tell_ranges(above, n, dirty, ndirty);
}

/* Nothing that the rollups above have computed holds. */
static void
tell_all_above(AjRollup **above, int n)
{
	for (int i = 0; i < n; i++)
	{
		AjRange everything = {DT_NOBEGIN, above[i]->horizon};

		if (above[i]->horizon != AJ_NO_TIME)
			aj_stale_add(above[i], everything);
	}
}

/*
 * Rollups above rely on all that lies below the horizon of the old one.  It
 * was published and waited for then, so that it can be that of the new one.
 */
static void
keep_horizon(const AjRollup *old, AjRollup *successor)
{
	AjRange missing = {successor->horizon == AJ_NO_TIME ? DT_NOBEGIN
														: successor->horizon,
					   old->horizon};

	if (old->horizon == AJ_NO_TIME || missing.from >= missing.to)
		return;
	aj_stale_add(successor, missing);
	aj_rollup_set_horizon(successor, old->horizon);
	successor->horizon = old->horizon;
}

/* Capture on the new table what is captured on the old one. */
static void
move_capture(const AjRollup *old, const AjRollup *successor)
{
	Bitmapset *compared = aj_capture_columns(old->target);
	Bitmapset *read = NULL;
	int bit = -1;

	while ((bit = bms_next_member(compared, bit)) >= 0)
	{
		char *name = get_attname(old->target, (AttrNumber) bit, true);
		AttrNumber number = name == NULL ? InvalidAttrNumber
										 : get_attnum(successor->target, name);

		if (number != InvalidAttrNumber)
			read = bms_add_member(read, number);
	}
	aj_capture_install(successor->target, successor->bucket_column,
					   successor->bucket.epoch, read);
}

/* Both rollups, and those above, change places in our tables. */
static void
change_places(const AjRollup *old, AjRollup *successor, AjRollup **above, int n)
{
	for (int i = 0; i < n; i++)
		aj_capture_independ(above[i]);
	if (n > 0)
		move_capture(old, successor);
	aj_succession_complete(old, successor);
	above = aj_rollup_parents(successor->name, &n);
	for (int i = 0; i < n; i++)
		aj_capture_depend(above[i]);
	if (n > 0)
		aj_capture_remove(old->target);
}

/* The view stays, with the query of the other, which goes. */
static void
replace_view_in_place(const AjRollup *old, Oid other)
{
	char *text = view_text(other);
	List *adornments = texts_about(adorn_sql, old->live, old->live_name);

	run_as(aj_owner_of(old->live),
		   psprintf("CREATE OR REPLACE VIEW %s AS %s", old->live_name, text));
	/* Its options were replaced, too. */
	run_all_as(aj_owner_of(old->live), adornments);
	aj_caller_command(
		psprintf("DROP VIEW %s", qualified(other, get_rel_name(other))));
}

/* A view of the name and text that another had, which has been renamed. */
static Oid
remake_view(Oid replaced, const char *name, const char *text)
{
	Oid owner = aj_owner_of(replaced);
	char *full_name = qualified(replaced, name);
	Oid view;

	run_as(owner, psprintf("CREATE VIEW %s AS %s", full_name, text));
	view = get_relname_relid(name, get_rel_namespace(replaced));
	run_all_as(owner, texts_about(adorn_sql, replaced, full_name));
	return view;
}

/*
 * The view is made anew, and with it those above.  The old ones go last, when
 * nothing refers to them.
 */
static void
replace_views(const AjRollup *old, Oid other, const List *views)
{
	char *name = get_rel_name(old->live);
	List *names = NIL;
	List *texts = NIL;
	ListCell *cell;

	foreach (cell, views)
	{
		names = lappend(names, get_rel_name(lfirst_oid(cell)));
		texts = lappend(texts, view_text(lfirst_oid(cell)));
	}
	foreach (cell, views)
		rename_as_owner("VIEW", lfirst_oid(cell),
						passing_name(lfirst_oid(cell)));
	rename_as_owner("VIEW", other, name);
	run_all_as(aj_owner_of(other),
			   texts_about(adorn_sql, old->live, qualified(other, name)));
	aj_succession_set_live(old->live, other);
	for (int i = 1; i < list_length(views); i++)
		aj_succession_set_live(list_nth_oid(views, i),
							   remake_view(list_nth_oid(views, i),
										   list_nth(names, i),
										   list_nth(texts, i)));
	for (int i = list_length(views) - 1; i >= 0; i--)
		run_as(aj_owner_of(list_nth_oid(views, i)),
			   psprintf("DROP VIEW %s",
						qualified(list_nth_oid(views, i),
								  passing_name(list_nth_oid(views, i)))));
}

/*
 * Statements for the indexes of table $2, which is to be called like table $1
 * is: each gets the name of the like index there, or one after its table.
 */
static const char *const index_names_sql =
	"WITH indexes AS (SELECT c.oid, c.relname, n.nspname, i.indrelid,"
	" substr(d.text, strpos(d.text, ' USING ')) AS what"
	" FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
	" JOIN pg_namespace n ON n.oid = c.relnamespace,"
	" LATERAL (SELECT pg_get_indexdef(c.oid) AS text) d"
	/* of other tables, which are not locked, an index may just be going */
	" WHERE i.indrelid IN ($1, $2::regclass))"
	" SELECT format('ALTER INDEX %I.%I RENAME TO %I', x.nspname, x.relname,"
	" coalesce(min(o.relname), min(t.relname) ||"
	" substr(x.relname, length(min(s.relname)) + 1)))"
	" FROM indexes x JOIN pg_class s ON s.oid = x.indrelid"
	" JOIN pg_class t ON t.oid = $1"
	" LEFT JOIN indexes o ON o.indrelid = $1 AND o.what = x.what"
	" WHERE x.indrelid = $2::regclass"
	" AND (o.oid IS NOT NULL OR starts_with(x.relname, s.relname))"
	" GROUP BY x.oid, x.nspname, x.relname";

static void
replace_table(const AjRollup *old, AjRollup *successor)
{
	char *name = get_rel_name(old->target);
	Oid owner = aj_owner_of(successor->target);
	List *index_names =
		texts_about(index_names_sql, old->target, successor->target_name);

	run_all_as(owner,
			   texts_about(adorn_sql, old->target, successor->target_name));
	aj_caller_command(psprintf("DROP TABLE %s", old->target_name));
	rename_as_owner("TABLE", successor->target, name);
	successor->target_name = old->target_name;
	run_all_as(owner, index_names);
}

static bool
succeed(AjRollup *old, AjRollup *successor)
{
	Held held = {.views = aj_alter_views(old), .table = old->target};
	List *views = held.views;
	bool in_place = aj_alter_in_place(aj_alter_columns(old->live),
									  aj_alter_columns(successor->live));
	Oid other = successor->live;

	held.above = aj_rollup_parents(old->name, &held.nabove);
	if (in_place)
		held.views = list_make1_oid(old->live);
	if (!lock_in_time(&held))
		return false;
	if (old->lookback == 0)
		aj_capture_absorb(old->source);
	if (held.nabove > 0)
		aj_capture_absorb(old->target);
	if (old->lookback > 0 || says_something_else(old, successor))
		tell_all_above(held.above, held.nabove);
	else
		tell_above(old, successor, held.above, held.nabove);
	keep_horizon(old, successor);
	change_places(old, successor, held.above, held.nabove);
	if (in_place)
		replace_view_in_place(old, other);
	else
		replace_views(old, other, views);
	replace_table(old, successor);
	return true;
}

/*
 * aj_rollup_succeed
 *		Let a successor, whose row is locked, take the place of the rollup
 *		that it replaces, whose row is locked too; false if readers do not let
 *		go of that one's view or table in time.
 *
 * Errors: 2BP01 if anything depends by now on what goes.
 */
bool
aj_rollup_succeed(AjRollup *old, AjRollup *successor)
{
	char *passing = successor->name;
	Oid saved_user;
	int saved_context;
	bool done;

	GetUserIdAndSecContext(&saved_user, &saved_context);
	SetUserIdAndSecContext(aj_owner_of(old->target),
						   saved_context | SECURITY_LOCAL_USERID_CHANGE);
	done = succeed(old, successor);
	if (done)
		aj_rollup_comment(aj_rollup_find(old->name, false));
	SetUserIdAndSecContext(saved_user, saved_context);
	if (done)
		aj_job_delete_of_rollup(passing, false);
	CommandCounterIncrement();
	return done;
}
