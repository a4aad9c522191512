/*-------------------------------------------------------------------------
 *
 * ddl_hook.c
 *	  Makes way for DDL on databases and on the extension.
 *
 * DROP, RENAME, SET TABLESPACE and use as a template need a database without
 * other sessions, and DROP EXTENSION locks our tables.  Before the server
 * looks for itself, we ask our processes out: runs that go on are cancelled,
 * their workers end, the scheduler leaves.  They may come back when the
 * transaction is over.
 *
 * Only who may do the statement may make us leave: the checks for ownership
 * come first.  What it can't clear in time is left to the server to complain
 * about.
 *
 * State: none here; holds are kept by shmem/wake.c until the transaction
 * ends.  The wait for our processes can be cancelled.
 *
 * Copyright (c) 2026, pg_aggjobs contributors
 *
 * IDENTIFICATION
 *	  src/process/ddl_hook.c
 *
 *-------------------------------------------------------------------------
 */
#include "base/compat.h"

#include "access/htup_details.h"
#include "base/clock.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "process/process.h"
#include "shmem/databases.h"
#include "shmem/slots.h"
#include "shmem/wake.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define ASK_MS 3000 /* then workers are ended */
#define GIVE_UP_MS 10000
#define LOOK_AGAIN_MS 20

static ProcessUtility_hook_type previous_utility_hook = NULL;
static object_access_hook_type previous_access_hook = NULL;

/* Keep our processes out of a database until the transaction ends. */
static void
make_way(Oid dboid, const char *reason)
{
	TimestampTz start = aj_now();

	aj_wake_hold(dboid);
	aj_slots_stop_database(dboid, AJ_STOP_LEAVE, reason, false);
	while (!aj_databases_is_empty(dboid))
	{
		TimestampTz now = aj_now();

		if (TimestampDifferenceExceeds(start, now, GIVE_UP_MS))
			break;
		if (TimestampDifferenceExceeds(start, now, ASK_MS))
			aj_slots_stop_database(dboid, AJ_STOP_LEAVE, reason, true);
		(void) aj_process_wait(LOOK_AGAIN_MS, "AggjobsMakeWay");
	}
}

static void
make_way_for_owner(const char *database, const char *reason)
{
	Oid dboid = get_database_oid(database, true);

	if (dboid != InvalidOid && aj_owns_database(dboid, GetUserId()))
		make_way(dboid, reason);
}

/* The same for what the server refuses to do with one's own database. */
static void
make_way_for_other(const char *database, const char *reason)
{
	if (get_database_oid(database, true) != MyDatabaseId)
		make_way_for_owner(database, reason);
}

static const char *
option_text(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* Renaming and copying ask for this right, too, before anything is done. */
static bool
may_create_databases(void)
{
	HeapTuple tuple;
	bool may;

	if (superuser())
		return true;
	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	may = HeapTupleIsValid(tuple) &&
		((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return may;
}

static void
before_create_database(const CreatedbStmt *statement)
{
	const char *name = option_text(statement->options, "template");
	Oid dboid = get_database_oid(name == NULL ? "template1" : name, true);

	if (dboid == InvalidOid || !may_create_databases())
		return;
	/* Copies of what is no template are for its owner. */
	if (aj_owns_database(dboid, GetUserId()))
		make_way(dboid, "the database is being copied");
}

/*
 * Where nobody may connect our workers can't either, so slots wait there until
 * they can again.
 */
static void
before_allow_connections(const char *database, const char *allow)
{
	bool allowed;

	if (!parse_bool(allow, &allowed))
		return;
	if (allowed)
		aj_wake_rescan();
	else
		make_way_for_other(database, "the database is closed to connections");
}

/* A template has no scheduler, or others could not copy it. */
static void
before_alter_database(const AlterDatabaseStmt *statement)
{
	const char *allow = option_text(statement->options, "allow_connections");

	if (option_text(statement->options, "tablespace") != NULL)
		make_way_for_other(statement->dbname, "the database is being moved");
	if (option_text(statement->options, "is_template") != NULL)
		make_way_for_owner(
			statement->dbname,
			"the database is made a template, or is none any more");
	if (allow != NULL)
		before_allow_connections(statement->dbname, allow);
}

static bool
drops_us(const DropStmt *statement)
{
	ListCell *cell;

	if (statement->removeType != OBJECT_EXTENSION)
		return false;
	foreach (cell, statement->objects)
		if (strcmp(strVal(lfirst(cell)), "pg_aggjobs") == 0)
			return true;
	return false;
}

static void
make_way_for_extension(const char *reason)
{
	Oid extension = get_extension_oid("pg_aggjobs", true);

	if (extension != InvalidOid && aj_owns_extension(extension, GetUserId()))
		make_way(MyDatabaseId, reason);
}

static void
before_utility(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			make_way_for_other(castNode(DropdbStmt, statement)->dbname,
							   "the database is being dropped");
			break;
		case T_RenameStmt:
			if (castNode(RenameStmt, statement)->renameType ==
					OBJECT_DATABASE &&
				may_create_databases())
				make_way_for_other(castNode(RenameStmt, statement)->subname,
								   "the database is being renamed");
			break;
		case T_AlterDatabaseStmt:
			before_alter_database(castNode(AlterDatabaseStmt, statement));
			break;
		case T_CreatedbStmt:
			before_create_database(castNode(CreatedbStmt, statement));
			break;
		case T_DropStmt:
			if (drops_us(castNode(DropStmt, statement)))
				make_way_for_extension("the extension is being dropped");
			break;
		case T_AlterExtensionStmt:
			if (strcmp(castNode(AlterExtensionStmt, statement)->extname,
					   "pg_aggjobs") == 0)
				make_way_for_extension("the extension is being updated");
			break;
		default:
			break;
	}
}

/* What has to follow a statement; its tree may be gone by then. */
typedef enum AfterWhat
{
	AFTER_NOTHING,
	AFTER_DATABASE_LIST, /* CREATE or DROP DATABASE */
	AFTER_PREPARED		 /* COMMIT PREPARED */
} AfterWhat;

static AfterWhat
what_follows(Node *statement)
{
	if (IsA(statement, CreatedbStmt) || IsA(statement, DropdbStmt))
		return AFTER_DATABASE_LIST;
	if (IsA(statement, TransactionStmt) &&
		castNode(TransactionStmt, statement)->kind ==
			TRANS_STMT_COMMIT_PREPARED)
		return AFTER_PREPARED;
	return AFTER_NOTHING;
}

/*
 * What was prepared, maybe by another session, may have created or dropped the
 * extension, changed jobs or queued runs.
 */
static void
after_prepared(void)
{
	bool exists = get_extension_oid("pg_aggjobs", true) != InvalidOid;

	if (exists != aj_databases_has_scheduler(MyDatabaseId))
		aj_databases_set_extension(MyDatabaseId, exists);
	if (exists)
		aj_databases_post(MyDatabaseId, AJ_WAKE_ALL_JOBS | AJ_WAKE_RUNS, 0);
}

static void
after_utility(AfterWhat what)
{
	if (what == AFTER_DATABASE_LIST)
		aj_wake_rescan();
	else if (what == AFTER_PREPARED)
		after_prepared();
}

static void
on_utility(PlannedStmt *planned, const char *query, bool read_only_tree,
		   ProcessUtilityContext context, ParamListInfo params,
		   QueryEnvironment *environment, DestReceiver *dest,
		   QueryCompletion *completion)
{
	AfterWhat follows = what_follows(planned->utilityStmt);

	before_utility(planned->utilityStmt);
	if (previous_utility_hook)
		previous_utility_hook(planned, query, read_only_tree, context, params,
							  environment, dest, completion);
	else
		standard_ProcessUtility(planned, query, read_only_tree, context, params,
								environment, dest, completion);
	after_utility(follows);
}

/* However the extension goes, its scheduler must hear of it at commit. */
static void
on_access(ObjectAccessType access, Oid class, Oid object, int column,
		  void *argument)
{
	if (previous_access_hook)
		previous_access_hook(access, class, object, column, argument);
	if (access == OAT_DROP && class == ExtensionRelationId)
	{
		char *name = get_extension_name(object);

		if (name != NULL && strcmp(name, "pg_aggjobs") == 0)
			aj_wake_extension(false);
	}
}

/* Called once, when the postmaster loads the library. */
void
aj_ddl_hook_install(void)
{
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = on_utility;
	previous_access_hook = object_access_hook;
	object_access_hook = on_access;
}
